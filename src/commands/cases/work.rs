//! The day's work of `ringfence cases`: what is overdue and what came in; read on in `allocation` (who gets which case),
//! `which` (many cases at once) and `matters` (what must be reported).

use std::io::Write;

use clap::Subcommand;
use jiff::civil::Date;

use super::{
    super::{instant, table},
    Context,
    allocation::{self, AllocateCommand},
    matters::{self, MattersCommand},
    which::{WhichArgs, act},
};
use crate::{
    cases::{
        marks,
        overdue::{self, Asked, Clock as WorkClock},
    },
    export::money,
    store::{case_states::Act, work_clocks},
};

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
        which: Box<WhichArgs>,
        /// The pause ends by itself then, such as 2026-12-01T09:00:00+08:00; left out: when somebody resumes
        #[arg(long, value_name = "INSTANT")]
        until: Option<jiff::Timestamp>,
    },
    /// End pauses
    Resume {
        /// Which
        #[command(flatten)]
        which: Box<WhichArgs>,
    },
    /// Give cases back to their client
    Return {
        /// Which
        #[command(flatten)]
        which: Box<WhichArgs>,
    },
    /// Close cases
    Close {
        /// Which
        #[command(flatten)]
        which: Box<WhichArgs>,
    },
    /// Open returned and closed cases again that were ended by mistake
    Reopen {
        /// Which
        #[command(flatten)]
        which: Box<WhichArgs>,
        /// Settled ones too, which were paid as far as anybody told; only of a list, for a person decides that of each
        #[arg(long, requires = "file")]
        settled: bool,
    },
    /// Put a colour mark on cases, or take it off
    MarkMany {
        /// Which
        #[command(flatten)]
        which: Box<WhichArgs>,
        /// red, orange, yellow, green, blue or purple; none takes the mark away
        #[arg(long = "as", value_name = "MARK", value_parser = marks::stored)]
        new_mark: &'static str,
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
        // Boxed, so that the future of the whole command is not as large as all of its parts together.
        WorkCommand::Allocate(command) => Box::pin(allocation::run(command, context, out)).await,
        WorkCommand::Pause { which, until } => {
            let until_ms = until.map(|at| at.as_millisecond());
            act(&which, Act::Pause { until_ms }, context, out).await
        }
        WorkCommand::Resume { which } => act(&which, Act::Resume, context, out).await,
        WorkCommand::Return { which } => act(&which, Act::Return, context, out).await,
        WorkCommand::Close { which } => act(&which, Act::Close, context, out).await,
        WorkCommand::Reopen { which, settled } => {
            act(&which, Act::Reopen { settled }, context, out).await
        }
        WorkCommand::MarkMany { which, new_mark } => {
            act(&which, Act::Mark(new_mark), context, out).await
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
                zone: &context.zone,
                limits: &context.limits,
                limit,
            };
            overdue_list(&clocks, &asked, context, out).await
        }
        WorkCommand::Intake { client, from, to } => intake(&client, from, to, context, out).await,
        WorkCommand::Matters(command) => matters::run(command, context, out).await,
    }
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
            instant(one.since_ms, &context.zone),
            instant(one.due_ms, &context.zone),
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
    let (from_ms, until_ms) = overdue::span(from, to, &context.zone).map_err(anyhow::Error::msg)?;
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
            instant(line.created_at_ms, &context.zone),
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
