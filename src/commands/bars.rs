//! `ringfence bars`: who must not be called, by number, person, case, client, or everything.

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{ACTOR, Desk};
use crate::{
    ids::BarId,
    policy::BarKind,
    rulebook::{
        self, By,
        bars::{Order, What},
        find::{self, CaseName},
    },
    store::{
        bars::{self, Bar, Subject, Wanted},
        clients, contact_points,
    },
};

/// Arguments of `ringfence bars`.
#[derive(Debug, Args)]
pub struct BarsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BarsCommand,
}

/// What to do with bars.
#[derive(Debug, Subcommand)]
pub enum BarsCommand {
    /// Bar a number, a person, a case, a client, or everything
    Add(AddArgs),
    /// Lift a bar; it stays readable
    Lift {
        /// The bar's number, as `bars list` shows it
        id: BarId,
        /// Why, in words
        #[arg(long)]
        reason: String,
        /// Who does it, as the books will say
        #[arg(long, value_name = "NAME", default_value = ACTOR)]
        by: String,
    },
    /// List the bars, newest first
    List(ListArgs),
    /// Bar every number of a CSV or XLSX file with the column number (and reason, if it differs); all rows or none
    Import(ImportArgs),
}

/// What a bar is on: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct On {
    /// A number, in every case
    #[arg(long, value_name = "NUMBER")]
    pub number: Option<String>,
    /// The person who owes this case, in all cases
    #[arg(long, value_name = "CLIENT/CASE")]
    pub person_of: Option<CaseName>,
    /// A case
    #[arg(long, value_name = "CLIENT/CASE")]
    pub case: Option<CaseName>,
    /// Every case of a client
    #[arg(long, value_name = "CODE")]
    pub client: Option<String>,
    /// Every call
    #[arg(long)]
    pub everything: bool,
}

/// Arguments of `ringfence bars add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What.
    #[command(flatten)]
    pub on: On,
    /// do_not_call, complaint, deceased or suspected_fraud
    #[arg(long, value_parser = kind, default_value = "do_not_call")]
    pub kind: BarKind,
    /// Why, in words; no number and no name
    #[arg(long)]
    pub reason: String,
    /// It holds for this client's cases only
    #[arg(long, value_name = "CODE")]
    pub only_client: Option<String>,
    /// It ends by itself: 2026-12-31T21:00:00+08:00, or without the offset in the operators' zone
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    /// Who does it, as the books will say
    #[arg(long, value_name = "NAME", default_value = ACTOR)]
    pub by: String,
}

/// Arguments of `ringfence bars list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those that were lifted or ran out
    #[arg(long)]
    pub all: bool,
    /// Only those on this number
    #[arg(long, conflicts_with = "case")]
    pub number: Option<String>,
    /// Only those on this case
    #[arg(long, value_name = "CLIENT/CASE")]
    pub case: Option<CaseName>,
    /// The most to list
    #[arg(long, default_value_t = 200)]
    pub limit: u32,
}

/// Arguments of `ringfence bars import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file
    pub file: PathBuf,
    /// do_not_call, complaint, deceased or suspected_fraud
    #[arg(long, value_parser = kind, default_value = "do_not_call")]
    pub kind: BarKind,
    /// Why, where a row does not say it
    #[arg(long)]
    pub reason: String,
    /// They hold for this client's cases only
    #[arg(long, value_name = "CODE")]
    pub only_client: Option<String>,
    /// Who does it, as the books will say
    #[arg(long, value_name = "NAME", default_value = ACTOR)]
    pub by: String,
}

fn kind(word: &str) -> Result<BarKind, String> {
    BarKind::parse(word).ok_or_else(|| {
        let known: Vec<_> = BarKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("one of: {}", known.join(", "))
    })
}

/// Runs `ringfence bars`.
///
/// # Errors
/// Whatever is not there or makes no sense, and the database.
pub async fn run(
    args: BarsArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let by = |actor| By {
        actor,
        now_ms: desk.now_ms,
    };
    match args.command {
        BarsCommand::Add(args) => {
            let order = Order {
                what: what(&args.on, desk)?,
                only_client: args.only_client,
                kind: args.kind,
                reason: args.reason,
                until_ms: args
                    .until
                    .map(|text| rulebook::instant(&text, &desk.zone))
                    .transpose()?,
            };
            let (id, new) = rulebook::bars::add(desk.db, &order, None, by(&args.by)).await?;
            let known = if new { "" } else { ", which stood already" };
            writeln!(
                out,
                "bar {id}{known}; a call whose agent's phone still rings is stopped by it"
            )?;
        }
        BarsCommand::Lift {
            id,
            reason,
            by: actor,
        } => {
            if !rulebook::bars::lift(desk.db, id, None, &reason, by(&actor)).await? {
                bail!("bar {id} was lifted before");
            }
            writeln!(out, "bar {id} is lifted")?;
        }
        BarsCommand::List(args) => list(&args, desk, out).await?,
        BarsCommand::Import(args) => {
            let named = || args.file.display().to_string();
            let rows =
                rulebook::bars::read_numbers(&args.file, &desk.numbering).with_context(named)?;
            let client = args.only_client.as_deref();
            let count = rows.len();
            let name = args.file.file_name().unwrap_or_default().to_string_lossy();
            let new = rulebook::bars::add_numbers(
                desk.db,
                &desk.clock,
                &name,
                (&rows, client),
                (args.kind, &args.reason),
                by(&args.by),
            )
            .await
            .with_context(named)?;
            writeln!(out, "{count} numbers: {new} newly barred")?;
        }
    }
    Ok(())
}

fn what(on: &On, desk: &Desk<'_>) -> anyhow::Result<What> {
    Ok(match on {
        On {
            number: Some(text), ..
        } => What::Number(desk.numbering.number(text)?),
        On {
            person_of: Some(case),
            ..
        } => What::PersonOf(case.clone()),
        On {
            case: Some(case), ..
        } => What::Case(case.clone()),
        On {
            client: Some(code), ..
        } => What::Client(code.clone()),
        // The command line has exactly one of them.
        _ => What::Everything,
    })
}

async fn list(
    args: &ListArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let subject = match (&args.number, &args.case) {
        (Some(text), _) => {
            let number = desk.numbering.number(text)?;
            match contact_points::number_id(&mut tx, &number).await? {
                Some(id) => Some(Subject::Number(id)),
                None => bail!("this number was never entered, so nothing bars it by itself"),
            }
        }
        (None, Some(name)) => Some(Subject::Case(find::case(&mut tx, name, None).await?.id)),
        (None, None) => None,
    };
    let wanted = Wanted {
        subject,
        active_at_ms: (!args.all).then_some(desk.now_ms),
        before: None,
    };
    let found = bars::list(&mut tx, wanted, None, args.limit).await?;
    let clients = clients::list(&mut tx).await?;
    let code = |id| {
        let client = clients.iter().find(|client| client.id == id);
        client.map_or_else(String::new, |client| client.code.clone())
    };
    let mut table = super::table([
        "bar", "on", "kind", "client", "since", "until", "by", "reason",
    ]);
    for bar in &found {
        table.add_row([
            bar.id.to_string(),
            on(bar),
            bar.kind.as_str().to_owned(),
            bar.client.map_or_else(|| "every".to_owned(), code),
            desk.local(bar.from_ms),
            until(bar, desk),
            bar.actor.clone(),
            bar.reason.clone(),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// A number is shown by our id: who may know the digits knows the case.
fn on(bar: &Bar) -> String {
    match bar.subject {
        Subject::Everything => "everything".to_owned(),
        subject => format!("{} {}", subject.scope().as_str(), subject.id()),
    }
}

fn until(bar: &Bar, desk: &Desk<'_>) -> String {
    match (bar.lifted_at_ms, &bar.lifted_by, bar.until_ms) {
        (Some(at_ms), by, _) => format!(
            "lifted {} by {}",
            desk.local(at_ms),
            by.as_deref().unwrap_or("?")
        ),
        (None, _, Some(until_ms)) => desk.local(until_ms),
        (None, _, None) => "open".to_owned(),
    }
}
