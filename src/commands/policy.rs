//! `ringfence policy`: the calling rules. What they are, what they would decide, and proof of what they decided.

mod files;
mod replay;

use std::{io::Write, path::PathBuf};

use clap::{Args, Subcommand};

use super::Desk;
use crate::{
    policy::{self, Outcome, Verdict, Zones},
    rulebook::{
        self,
        explain::{Explained, explain},
        files::Configured,
        find::CaseName,
    },
    store::{self, agents},
};

pub use self::replay::{ReplayArgs, replay_one};

/// Arguments of `ringfence policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a client's rule file: readable, and in nothing looser than the preset it names. Needs no database; where there
    /// is a configuration, it also says if that names another preset. With an all.toml beside the file or in policy.dir, it
    /// says what both come to
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the rules in force, as the daemon noted them when it loaded them, or any set that ever decided
    Show {
        /// Of this client; left out: of every client without rules of its own
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
        /// Those that the files say now, in force or not
        #[arg(long)]
        files: bool,
        /// The set with this SHA-256, as receipts and the history name it
        #[arg(long, value_name = "HASH", conflicts_with_all = ["client", "files"])]
        sha256: Option<String>,
    },
    /// List which rules were in force since when
    History {
        /// Of this client
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
        /// The most to list
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    /// Say what would be decided at an instant and why, by the rules in force and the facts of now; stores nothing, rings nobody
    Explain(ExplainArgs),
    /// Decide again from receipts alone, and see that it comes to the same
    Replay(ReplayArgs),
    /// Public holidays and other days with hours of their own
    SpecialDays {
        /// What to do.
        #[command(subcommand)]
        command: SpecialDaysCommand,
    },
    /// List the files of bars and outside counts that were brought in, newest first, with what became of them
    Lists {
        /// The most to list
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Calls that a client's other agencies made, added to ours in every cap
    OutsideCounts {
        /// What to do.
        #[command(subcommand)]
        command: OutsideCountsCommand,
    },
}

/// What to do with special days.
#[derive(Debug, Subcommand)]
pub enum SpecialDaysCommand {
    /// Import a CSV or XLSX file with the columns date, name, hours (08:00-21:00, several with ; and empty for none); it
    /// takes the place of what is known of its years, and is refused if days that are known would fall away
    Import {
        /// The file
        file: PathBuf,
        /// Two letters of the country, or country and subdivision such as CN-XJ; days of a subdivision hold for every number
        /// of the country, for no number says in which it rings
        #[arg(long)]
        region: String,
        /// Let the known days of these years fall away that the file does not hold
        #[arg(long)]
        replace: bool,
        /// Who does it, as the books will say
        #[arg(long, value_name = "NAME", default_value = super::ACTOR)]
        by: String,
    },
    /// Remove days, so that they are days like others again
    Remove {
        /// Of this region
        #[arg(long)]
        region: String,
        /// The day, YYYY-MM-DD; may be given several times
        #[arg(long = "date", value_name = "DAY", required_unless_present = "year")]
        dates: Vec<jiff::civil::Date>,
        /// All days of this year
        #[arg(long, conflicts_with = "dates")]
        year: Option<i16>,
        /// Who does it, as the books will say
        #[arg(long, value_name = "NAME", default_value = super::ACTOR)]
        by: String,
    },
    /// List them from a day on
    List {
        /// Only of this region
        #[arg(long)]
        region: Option<String>,
        /// The first day, YYYY-MM-DD; left out: today
        #[arg(long)]
        from: Option<jiff::civil::Date>,
    },
}

/// What to do with outside counts.
#[derive(Debug, Subcommand)]
pub enum OutsideCountsCommand {
    /// Import a CSV or XLSX file with the columns case, date, attempts, connected, source, and number where it is known;
    /// the same file again changes nothing
    Import {
        /// The file
        file: PathBuf,
        /// Code of the client that told us
        #[arg(long, value_name = "CODE")]
        client: String,
        /// Enter the good rows and list the bad ones, instead of nothing
        #[arg(long)]
        good_rows: bool,
        /// Who does it, as the books will say
        #[arg(long, value_name = "NAME", default_value = super::ACTOR)]
        by: String,
    },
    /// List those of a case
    List {
        /// The case
        #[arg(long, value_name = "CLIENT/CASE")]
        case: CaseName,
    },
}

/// Arguments of `ringfence policy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The case
    #[arg(long, value_name = "CLIENT/CASE")]
    pub case: CaseName,
    /// A number of the case
    #[arg(long)]
    pub number: String,
    /// The instant: 2026-11-23T20:59:40+08:00, or without the offset in the operators' zone; left out: now
    #[arg(long, value_name = "INSTANT")]
    pub at: Option<String>,
    /// Employee number of who would call
    #[arg(long, value_name = "CODE")]
    pub agent: Option<String>,
    /// By the rules that the files say now, in force or not
    #[arg(long)]
    pub files: bool,
    /// Print the receipt that would be stored
    #[arg(long)]
    pub json: bool,
}

/// Runs what needs neither configuration nor database; gives whether that was all.
///
/// # Errors
/// A bad rule file, or a receipt that does not prove what it says.
pub fn offline(
    args: &PolicyArgs,
    configured: Option<&Configured>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    match &args.command {
        PolicyCommand::Check { file } => {
            files::check(file, configured, out)?;
            Ok(true)
        }
        PolicyCommand::Replay(args) => replay::offline(args, configured, out),
        _ => Ok(false),
    }
}

/// Runs `ringfence policy`, as far as it needs the database.
///
/// # Errors
/// Whatever is not there or makes no sense, and the database.
pub async fn run(
    args: PolicyArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        // `offline` has done it.
        PolicyCommand::Check { .. } => Ok(()),
        PolicyCommand::Show {
            client,
            files,
            sha256,
        } => match sha256 {
            Some(sha256) => files::show_kept(&sha256, desk, out).await,
            None => files::show(client.as_deref(), files, desk, out).await,
        },
        PolicyCommand::Lists { limit } => files::lists(limit, desk, out).await,
        PolicyCommand::History { client, limit } => {
            files::history(client.as_deref(), limit, desk, out).await
        }
        PolicyCommand::Explain(args) => explain_call(&args, desk, out).await,
        PolicyCommand::Replay(args) => replay::run(&args, desk, out).await,
        PolicyCommand::SpecialDays { command } => files::special_days(command, desk, out).await,
        PolicyCommand::OutsideCounts { command } => files::outside_counts(command, desk, out).await,
    }
}

async fn explain_call(
    args: &ExplainArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let at_ms = match &args.at {
        Some(text) => rulebook::instant(text, &desk.zone)?,
        None => desk.now_ms,
    };
    let number = desk.numbering.number(&args.number)?;
    let deciding = desk.deciding(Some(&args.case.client), args.files).await?;
    for warning in &deciding.warnings {
        // The receipt stands alone on the output.
        if args.json {
            eprintln!("warning: {warning}");
        } else {
            writeln!(out, "warning: {warning}")?;
        }
    }
    let rules = &deciding.set.rules;
    let explained = explain(desk.db, rules, &args.case, &number, at_ms, None).await?;
    if let Some(code) = &args.agent {
        agent(code, desk, out).await?;
    }
    for one in &explained {
        if args.json {
            writeln!(out, "{}", one.decision.receipt.text())?;
        } else {
            say(one, at_ms, desk, out)?;
        }
    }
    Ok(())
}

/// The rules do not look at who calls; whether that one could is said beside them.
async fn agent(code: &str, desk: &Desk<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let found = agents::list(&mut tx).await?;
    let found = found.iter().find(|agent| agent.code == code);
    let word = match found {
        Some(agent) if agent.active => "may call",
        Some(_) => "has left and may not call",
        None => anyhow::bail!("there is no agent {code}"),
    };
    writeln!(out, "agent {code} {word}")?;
    Ok(())
}

fn say(
    one: &Explained,
    at_ms: i64,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let Explained {
        target,
        facts,
        decision,
    } = one;
    writeln!(
        out,
        "contact point {} ({}), number {}",
        target.contact_point,
        target.relation.as_str(),
        target.number
    )?;
    match &decision.verdict {
        Verdict::Allow {
            ring_ms,
            closes_at_ms,
            valid_until_ms,
            ..
        } => writeln!(
            out,
            "  would be allowed: rings at most {} s, the customer's INVITE leaves before {}, the window closes {}",
            ring_ms / 1_000,
            desk.local(*valid_until_ms),
            desk.local(*closes_at_ms)
        )?,
        Verdict::Deny { reasons } => {
            let codes: Vec<&str> = reasons.iter().map(|r| r.reason.code()).collect();
            writeln!(out, "  would be refused: {}", codes.join(", "))?;
        }
    }
    writeln!(
        out,
        "  rules {} revision {}, SHA-256 {}",
        facts.rules.name,
        facts.rules.revision,
        decision.receipt.rules_hash()
    )?;
    writeln!(out, "  {}", there(&facts.zones, at_ms))?;
    // From the receipt alone, so that what is explained is what would be proven.
    rule_by_rule(decision.receipt.text(), out)
}

/// What time it is where the person called is, as far as that is known.
fn there(zones: &Zones, at_ms: i64) -> String {
    let local = |zone: &String| store::facts::LocalMoment::of(&Zones::recorded(zone), at_ms);
    let mut moments: Vec<_> = zones.names.iter().filter_map(local).collect();
    moments.sort_by(|a, b| (&a.date, a.hour, &a.zone).cmp(&(&b.date, b.hour, &b.zone)));
    let word = |m: &store::facts::LocalMoment| format!("{} {:02} h ({})", m.date, m.hour, m.zone);
    match (moments.first(), moments.last()) {
        (Some(only), Some(_)) if moments.len() == 1 => {
            format!(
                "there it is {} {:02} h, {}",
                only.date, only.hour, only.zone
            )
        }
        (Some(first), Some(last)) => format!(
            "there it is somewhere between {} and {}: in which of {} zones, the number does not say",
            word(first),
            word(last),
            moments.len()
        ),
        _ => "nobody can say what time it is there".to_owned(),
    }
}

/// The rules that a receipt was decided by, each with what it saw.
///
/// # Errors
/// A receipt that does not prove what it says.
pub fn rule_by_rule(receipt: &str, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for line in policy::explain(receipt)? {
        let word = match line.outcome {
            Outcome::Passed => "passed",
            Outcome::Refused => "REFUSED",
            Outcome::Lifted => "lifted",
            Outcome::NotAsked => "-",
        };
        writeln!(out, "  {word:<8} {:<12} {}", line.rule, line.english)?;
        writeln!(out, "  {:<8} {:<12} {}", "", "", line.chinese)?;
        if !line.clause.is_empty() {
            writeln!(out, "  {:<8} {:<12} [{}]", "", "", line.clause)?;
        }
    }
    Ok(())
}
