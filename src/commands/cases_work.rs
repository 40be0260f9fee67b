//! The day's work of `ringfence cases`: who gets which case, bulk states and marks, what is overdue, what came in, what
//! must be reported.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::{civil::Date, tz::TimeZone};

use super::{ACTOR, instant, table};
use crate::{
    cases::{
        allocate::{self, Outcome, Request},
        allocation::Method,
        bulk,
        matters::{self, NewMatter},
        money::{Currency, Money},
        overdue::{self, Asked, Clock as WorkClock},
    },
    clock::Clock,
    config,
    export::money,
    ids::{AllocationId, CaseId},
    policy::CaseState,
    store::{
        Db,
        allocations::{self, Total},
        case_states::Act,
        clients,
        major_matters::{self, Grade, MatterKind},
        selection::{self, CaseFilter},
        work_clocks,
    },
};

/// What these commands work with.
pub struct Context<'a> {
    /// Database.
    pub db: &'a Db,
    /// Time.
    pub clock: &'a Clock,
    /// Zone of days and times shown to operators.
    pub zone: &'a TimeZone,
    /// The work clocks.
    pub limits: &'a config::Floor,
}

/// The day's work.
#[derive(Debug, Subcommand)]
pub enum WorkCommand {
    /// Deal cases out to agents and teams: plan, look, carry out, undo
    #[command(subcommand)]
    Allocate(AllocateCommand),
    /// Pause cases: nobody is called until the pause is over
    Pause {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
        /// The pause ends by itself then, such as 2026-12-01T09:00:00+08:00; left out: when somebody resumes
        #[arg(long, value_name = "INSTANT")]
        until: Option<jiff::Timestamp>,
    },
    /// End pauses
    Resume {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Give cases back to their client
    Return {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Close cases
    Close {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Mark cases
    MarkMany {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
        /// The mark; empty takes it away
        #[arg(long = "as", value_name = "MARK")]
        new_mark: String,
    },
    /// List what has passed its work clock
    Overdue {
        /// Only this clock: new-case, first-call, note, major-matter
        #[arg(long)]
        clock: Option<WorkClock>,
        /// Code of the client
        #[arg(long, default_value = "", value_name = "CODE")]
        client: String,
        /// Employee number
        #[arg(long, default_value = "", value_name = "CODE")]
        agent: String,
        /// The most of each clock
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
    /// Add up what came in, by batch, amount and overdue time
    Intake {
        /// Code of the client
        #[arg(long, default_value = "", value_name = "CODE")]
        client: String,
        /// First day, YYYY-MM-DD
        #[arg(long, value_name = "DAY")]
        from: Option<Date>,
        /// Last day
        #[arg(long, value_name = "DAY")]
        to: Option<Date>,
    },
    /// Major matters: enter, report, list
    #[command(subcommand)]
    Matters(MattersCommand),
}

/// What to do with allocations.
#[derive(Debug, Subcommand)]
pub enum AllocateCommand {
    /// Plan, and show what each would get; nothing changes hands yet
    Plan(Box<PlanArgs>),
    /// Carry a plan out
    Apply {
        /// The allocation
        allocation: i64,
    },
    /// Undo an allocation as a whole; cases dealt again since are left and named
    Undo {
        /// The allocation
        allocation: i64,
    },
    /// Show an allocation with its totals; without a number, list the last ones
    Show {
        /// The allocation
        allocation: Option<i64>,
    },
}

/// Arguments of `ringfence cases allocate plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// match, even-count, even-amount, even-both, cumulative or manual
    #[arg(long)]
    pub method: Method,
    /// Which cases
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Employee number of one who gets cases; may be given several times
    #[arg(long = "to-agent", value_name = "CODE")]
    pub agents: Vec<String>,
    /// Code of a team whose active agents get cases; may be given several times
    #[arg(long = "to-team", value_name = "CODE")]
    pub teams: Vec<String>,
    /// The teams get the cases as a whole, and not their agents
    #[arg(long, requires = "teams")]
    pub as_teams: bool,
    /// For match: the agents of a region; may be given several times
    #[arg(long = "for-region", value_name = "REGION=CODE,CODE")]
    pub regions: Vec<String>,
}

/// Which cases, by what they are.
#[derive(Debug, Args, Clone, Default)]
pub struct FilterArgs {
    /// Code of the client
    #[arg(long, default_value = "", value_name = "CODE")]
    pub client: String,
    /// The client's name of the lot
    #[arg(long, default_value = "", value_name = "CODE")]
    pub batch: String,
    /// open, paused, settled, returned, closed
    #[arg(long, value_parser = state)]
    pub state: Option<CaseState>,
    /// to_90, to_180, to_360, above_360
    #[arg(long, default_value = "")]
    pub bucket: String,
    /// Where the debtor lives, as the client calls it
    #[arg(long, default_value = "")]
    pub region: String,
    /// Colour mark
    #[arg(long, default_value = "")]
    pub mark: String,
    /// Currency
    #[arg(long, default_value = "")]
    pub currency: String,
    /// Least amount owed
    #[arg(long, value_parser = amount)]
    pub from_amount: Option<i64>,
    /// Largest amount owed
    #[arg(long, value_parser = amount)]
    pub to_amount: Option<i64>,
    /// Employee number of who has it
    #[arg(long, default_value = "", value_name = "CODE")]
    pub agent: String,
    /// Code of the team that has it
    #[arg(long, default_value = "", value_name = "CODE")]
    pub team: String,
    /// Only those that no agent has
    #[arg(long)]
    pub unallocated: bool,
}

impl FilterArgs {
    fn filter(&self) -> CaseFilter {
        CaseFilter {
            client: self.client.clone(),
            batch: self.batch.clone(),
            state: self.state,
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            mark: self.mark.clone(),
            currency: self.currency.clone(),
            from_e4: self.from_amount,
            to_e4: self.to_amount,
            agent: self.agent.clone(),
            team: self.team.clone(),
            unallocated: self.unallocated,
        }
    }
}

/// Which cases, by what they are or by a list, and why.
#[derive(Debug, Args, Clone)]
pub struct WhichArgs {
    /// By what they are
    #[command(flatten)]
    pub filter: FilterArgs,
    /// A CSV file whose first column holds the client's case numbers; needs --client and nothing else
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Why
    #[arg(long)]
    pub reason: String,
}

/// What to do with major matters.
#[derive(Debug, Subcommand)]
pub enum MattersCommand {
    /// List them, newest first
    List {
        /// Only those that were not reported
        #[arg(long)]
        waiting: bool,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Enter one; it has to be reported within 30 minutes of becoming known
    Enter {
        /// Code of the client
        #[arg(long, value_name = "CODE")]
        client: String,
        /// The case, if it is about one
        #[arg(long, value_name = "ID")]
        case: Option<i64>,
        /// complaint, threat, death, police, media or other
        #[arg(long)]
        kind: MatterKind,
        /// light, ordinary or serious
        #[arg(long, default_value = "ordinary")]
        grade: Grade,
        /// When it became known; now if left out
        #[arg(long, value_name = "INSTANT")]
        at: Option<jiff::Timestamp>,
        /// What happened
        text: String,
    },
    /// Note that the client was told
    Report {
        /// The matter
        matter: i64,
        /// Who was told, and how
        #[arg(long)]
        told: String,
        /// How grave it is, where that was found out
        #[arg(long)]
        grade: Option<Grade>,
    },
}

fn state(word: &str) -> Result<CaseState, String> {
    CaseState::parse(word)
        .ok_or_else(|| "must be one of: open, paused, settled, returned, closed".into())
}

fn amount(text: &str) -> Result<i64, String> {
    // The currency of the cases is their own; only the digits are read here.
    Money::parse(text, Currency::CNY)
        .map(|money| money.e4)
        .map_err(|e| e.to_string())
}

/// Runs one of the day's commands.
///
/// # Errors
/// What is missing, unknown or wrong in its arguments or its file, or the database.
pub async fn run(
    command: WorkCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        WorkCommand::Allocate(command) => allocation(command, context, out).await,
        WorkCommand::Pause { which, until } => {
            let until_ms = until.map(|at| at.as_millisecond());
            act(&which, Act::Pause { until_ms }, context, out).await
        }
        WorkCommand::Resume { which } => act(&which, Act::Resume, context, out).await,
        WorkCommand::Return { which } => act(&which, Act::Return, context, out).await,
        WorkCommand::Close { which } => act(&which, Act::Close, context, out).await,
        WorkCommand::MarkMany { which, new_mark } => {
            act(&which, Act::Mark(&new_mark), context, out).await
        }
        WorkCommand::Overdue {
            clock,
            client,
            agent,
            limit,
        } => {
            let clocks = clock.map_or_else(|| WorkClock::ALL.to_vec(), |clock| vec![clock]);
            let asked = Asked {
                viewer: None,
                client: &client,
                agent: &agent,
                now_ms: context.clock.wall_ms(),
                zone: context.zone,
                limits: context.limits,
                limit,
            };
            overdue_list(&clocks, &asked, context, out).await
        }
        WorkCommand::Intake { client, from, to } => intake(&client, from, to, context, out).await,
        WorkCommand::Matters(command) => matter(command, context, out).await,
    }
}

async fn allocation(
    command: AllocateCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (db, clock) = (context.db, context.clock);
    match command {
        AllocateCommand::Plan(args) => {
            let mut regions = BTreeMap::new();
            for region in &args.regions {
                let (name, codes) = region
                    .split_once('=')
                    .with_context(|| format!("--for-region {region:?}: write REGION=CODE,CODE"))?;
                let codes = codes.split(',').map(|code| code.trim().to_owned());
                regions.insert(name.to_owned(), codes.collect());
            }
            let request = Request {
                method: args.method,
                cases: args.filter.filter(),
                agents: args.agents,
                teams: args.teams,
                to_teams: args.as_teams,
                regions,
            };
            let (id, totals) = allocate::plan(db, clock, &request, None, ACTOR).await?;
            show(&totals, out)?;
            Ok(writeln!(
                out,
                "allocation {id} is planned; `ringfence cases allocate apply {id}` carries it out"
            )?)
        }
        AllocateCommand::Apply { allocation } => {
            let id = AllocationId::new(allocation);
            let outcome = allocate::apply(db, clock, id, ACTOR).await?;
            say(&outcome, "changed hands", out)
        }
        AllocateCommand::Undo { allocation } => {
            let id = AllocationId::new(allocation);
            let outcome = allocate::undo(db, clock, id, ACTOR).await?;
            say(&outcome, "went back", out)
        }
        AllocateCommand::Show { allocation: None } => {
            let mut tx = db.read().await?;
            let list = allocations::list(&mut tx, None, 50).await?;
            tx.rollback().await?;
            let mut table = table(["allocation", "method", "state", "by", "planned"]);
            for one in list {
                table.add_row([
                    one.id.to_string(),
                    one.method,
                    one.state.to_string(),
                    one.actor,
                    instant(one.created_at_ms, context.zone),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        AllocateCommand::Show {
            allocation: Some(allocation),
        } => {
            let id = AllocationId::new(allocation);
            let mut tx = db.read().await?;
            let found = allocations::by_id(&mut tx, id).await?;
            let found = found.with_context(|| format!("there is no allocation {id}"))?;
            let totals = allocations::totals(&mut tx, id).await?;
            tx.rollback().await?;
            show(&totals, out)?;
            Ok(writeln!(
                out,
                "allocation {id}, {}, {}, planned by {}",
                found.method, found.state, found.actor
            )?)
        }
    }
}

fn show(totals: &[Total], out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut table = table([
        "agent",
        "team",
        "cases",
        "households",
        "amount",
        "carried out",
    ]);
    for total in totals {
        table.add_row([
            total.agent.clone().unwrap_or_else(|| "(team)".into()),
            total.team.clone().unwrap_or_default(),
            total.cases.to_string(),
            total.households.to_string(),
            money(total.amount_e4),
            total.applied.to_string(),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

fn say(outcome: &Outcome, what: &str, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} cases {what}; {} are left as they are; no piece held the writer longer than {} ms",
        outcome.changed, outcome.left, outcome.longest_ms
    )?;
    for (client, reference) in &outcome.left_cases {
        writeln!(out, "left: {client} {reference}")?;
    }
    Ok(())
}

async fn act(
    which: &WhichArgs,
    act: Act<'_>,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let filter = which.filter.filter();
    let mut tx = context.db.read().await?;
    let client = match filter.client.as_str() {
        "" => None,
        code => {
            let client = clients::by_code(&mut tx, code).await?;
            Some(
                client
                    .with_context(|| format!("there is no client {code}"))?
                    .id,
            )
        }
    };
    let (selected, unknown) = match &which.file {
        Some(file) => {
            let only_client = CaseFilter {
                client: filter.client.clone(),
                ..CaseFilter::default()
            };
            let (Some(client), true) = (client, filter == only_client) else {
                bail!("--file: name the client with --client, and no other filter");
            };
            let shown = file.display();
            let text = std::fs::File::open(file).with_context(|| format!("cannot open {shown}"))?;
            let references = references(text).with_context(|| shown.to_string())?;
            selection::by_references(&mut tx, client, &references).await?
        }
        None if filter == CaseFilter::default() => {
            bail!(
                "name at least one filter, or a list with --file: all cases of all clients are never meant"
            )
        }
        None => (selection::select(&mut tx, None, &filter).await?, Vec::new()),
    };
    tx.rollback().await?;
    let cases: Vec<CaseId> = selected.into_iter().map(|one| one.case).collect();
    let by = (ACTOR, which.reason.as_str());
    let done = bulk::act(context.db, context.clock, &cases, act, client, by).await?;
    writeln!(
        out,
        "{} of {} cases changed; from the state of the others there is no such way, or they are so already",
        done.changed, done.asked
    )?;
    for reference in unknown {
        writeln!(out, "unknown: {reference}")?;
    }
    Ok(())
}

/// The first column of a CSV file; a head that says `case` is none.
fn references(file: impl std::io::Read) -> anyhow::Result<Vec<String>> {
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file);
    let mut all = Vec::new();
    for row in rows.records() {
        let row = row?;
        let first = row.get(0).unwrap_or_default();
        let first = first.trim_start_matches('\u{feff}').trim();
        if first.is_empty() || (all.is_empty() && first == "case") {
            continue;
        }
        all.push(first.to_owned());
    }
    if all.is_empty() {
        bail!("the file names no case");
    }
    Ok(all)
}

async fn overdue_list(
    clocks: &[WorkClock],
    asked: &Asked<'_>,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = context.db.read().await?;
    let late = overdue::list(&mut tx, clocks, asked).await?;
    tx.rollback().await?;
    let mut table = table(["clock", "id", "client", "case", "agent", "since", "was due"]);
    for one in &late {
        table.add_row([
            one.clock.as_str().to_owned(),
            one.id.to_string(),
            one.client.clone(),
            one.reference.clone().unwrap_or_default(),
            one.agent.clone().unwrap_or_default(),
            instant(one.since_ms, context.zone),
            instant(one.due_ms, context.zone),
        ]);
    }
    Ok(writeln!(out, "{table}\n{} overdue", late.len())?)
}

async fn intake(
    client: &str,
    from: Option<Date>,
    to: Option<Date>,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (from_ms, until_ms) = overdue::span(from, to, context.zone).map_err(anyhow::Error::msg)?;
    let mut tx = context.db.read().await?;
    let lines = work_clocks::intake(&mut tx, None, client, from_ms, until_ms).await?;
    tx.rollback().await?;
    let mut table = table([
        "client",
        "batch",
        "placed",
        "imported",
        "bucket",
        "cases",
        "households",
        "amount",
        "",
        "days overdue",
    ]);
    for line in lines {
        let days = match (
            line.least_days,
            line.most_days,
            line.days.checked_div(line.days_of),
        ) {
            (Some(least), Some(most), Some(mean)) => format!("{least} to {most}, mean {mean}"),
            _ => String::new(),
        };
        table.add_row([
            line.client,
            line.batch,
            line.placed_on.unwrap_or_default(),
            instant(line.created_at_ms, context.zone),
            line.bucket,
            line.cases.to_string(),
            line.households.to_string(),
            money(line.placed_e4),
            line.currency,
            days,
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

async fn matter(
    command: MattersCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let now_ms = context.clock.wall_ms();
    match command {
        MattersCommand::List { waiting, limit } => {
            let mut tx = context.db.read().await?;
            let list = major_matters::list(&mut tx, None, waiting, i64::MAX, limit).await?;
            tx.rollback().await?;
            let mut table = table([
                "id", "client", "case", "kind", "grade", "known", "reported", "told", "text",
            ]);
            for one in list {
                table.add_row([
                    one.id.to_string(),
                    one.client_code,
                    one.case.map(|case| case.to_string()).unwrap_or_default(),
                    one.kind.to_string(),
                    one.grade.to_string(),
                    instant(one.occurred_at_ms, context.zone),
                    one.reported_at_ms
                        .map(|at_ms| instant(at_ms, context.zone))
                        .unwrap_or_default(),
                    one.told,
                    one.text,
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        MattersCommand::Enter {
            client,
            case,
            kind,
            grade,
            at,
            text,
        } => {
            let new = NewMatter {
                client: &client,
                case: case.map(CaseId::new),
                kind,
                grade,
                text: &text,
                occurred_at_ms: at.map_or(now_ms, |at| at.as_millisecond()),
            };
            let mut tx = context.db.begin().await?;
            let entered = matters::enter(&mut tx, &new, None, ACTOR, now_ms).await?;
            tx.commit().await?;
            let limit_ms = i64::try_from(context.limits.major_matter_s)?.saturating_mul(1_000);
            let due = instant(
                entered.occurred_at_ms.saturating_add(limit_ms),
                context.zone,
            );
            Ok(writeln!(
                out,
                "major matter {} is entered; report it by {due}",
                entered.id
            )?)
        }
        MattersCommand::Report {
            matter,
            told,
            grade,
        } => {
            let mut tx = context.db.begin().await?;
            matters::report(&mut tx, matter, &told, grade, (None, ACTOR), now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "major matter {matter} is reported")?)
        }
    }
}
