//! `ringfence stats`: figures from the roll-ups, and the recount that proves them. The catalogue of reports is
//! `report`, what the daemon writes by itself `schedule`.

mod report;
mod schedule;
#[cfg(test)]
mod tests;

use std::{io::Write, path::Path};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    clock::Clock,
    stats::{
        check, day_sheets, rebuild, repaid,
        rollup::Row,
        seal::{self, Sealing},
    },
    store::{Db, agent_days::Spent, batches, figures::Axis},
};

/// Arguments of `ringfence stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// What to show.
    #[command(subcommand)]
    pub command: StatsCommand,
}

/// What to show.
#[derive(Debug, Subcommand)]
pub enum StatsCommand {
    /// Attempts, seizures, connected, connect rate with its 95 % interval, ASR, NER and talk time over all days: short for
    /// `report connect-rate`
    ConnectRate(ConnectRateArgs),
    /// A report of the catalogue as a table, CSV, XLSX or JSON, with the SQL query that reproduces it
    Report(Box<report::ReportArgs>),
    /// List the reports of the catalogue
    Reports,
    /// Have reports written by the daemon, again and again
    Schedule(Box<schedule::ScheduleArgs>),
    /// Recount every figure from the attempts and prove every seal; fails and lists every difference if one does not agree
    Check(Days),
    /// Recount and seal the days that are over everywhere; what changes afterwards is a dated correction
    Seal(Days),
    /// Make the figures anew from the attempts, while calls go on
    Rebuild(Days),
    /// What each figure means, in English and Chinese
    Definitions,
}

/// Which days a command is about.
#[derive(Debug, Args)]
pub struct Days {
    /// First day, as YYYY-MM-DD local to the person called; the first there is if left out
    #[arg(long)]
    pub from: Option<jiff::civil::Date>,
    /// Last day, included; the last there is if left out
    #[arg(long)]
    pub to: Option<jiff::civil::Date>,
}

impl Days {
    fn range(&self) -> anyhow::Result<(String, String)> {
        let (from, to) = range(self.from, self.to)?;
        Ok((from.to_string(), to.to_string()))
    }
}

fn range(
    from: Option<jiff::civil::Date>,
    to: Option<jiff::civil::Date>,
) -> anyhow::Result<(jiff::civil::Date, jiff::civil::Date)> {
    let from = from.unwrap_or(jiff::civil::date(1970, 1, 1));
    let to = to.unwrap_or(jiff::civil::date(9999, 12, 31));
    if from > to {
        bail!("--from {from} is after --to {to}");
    }
    Ok((from, to))
}

/// Arguments of `ringfence stats connect-rate`.
#[derive(Debug, Args)]
pub struct ConnectRateArgs {
    /// One line for each: hour, day, week, month, agent, client, batch, team, bucket, relation, number-kind, trunk,
    /// caller-id, cause, disposition
    #[arg(long, default_value = "hour")]
    pub by: Axis,
    /// First day, as YYYY-MM-DD local to the person called; the first there is if left out
    #[arg(long)]
    pub from: Option<jiff::civil::Date>,
    /// Last day, included; the last there is if left out
    #[arg(long)]
    pub to: Option<jiff::civil::Date>,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub format: report::Form,
    /// Into this file, which must not exist yet; a workbook needs one
    #[arg(long)]
    pub out: Option<std::path::PathBuf>,
}

/// What the commands work with.
pub struct Context<'a> {
    /// The database.
    pub db: &'a Db,
    /// Time.
    pub clock: &'a Clock,
    /// Zone of times shown to operators, and of agents' days.
    pub zone: &'a TimeZone,
    /// Below which scheduled reports are written.
    pub reports_dir: &'a Path,
}

impl Context<'_> {
    /// Today, as operators count days.
    fn today(&self) -> anyhow::Result<jiff::civil::Date> {
        let now = jiff::Timestamp::from_millisecond(self.clock.wall_ms())?;
        Ok(self.zone.to_datetime(now).date())
    }
}

/// Runs `ringfence stats`.
///
/// # Errors
/// A range that ends before it begins, a recount that does not agree, or the database.
pub async fn run(
    args: StatsArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (db, clock) = (context.db, context.clock);
    match args.command {
        StatsCommand::ConnectRate(args) => report::connect_rate(args, context, out).await,
        StatsCommand::Report(args) => report::run(*args, context, out).await,
        StatsCommand::Reports => report::list(out),
        StatsCommand::Schedule(args) => schedule::run(*args, context, out).await,
        StatsCommand::Check(days) => recount(context, &days, out).await,
        StatsCommand::Seal(days) => seal_days(db, &days, clock, out).await,
        StatsCommand::Rebuild(days) => rebuild_days(context, &days, out).await,
        StatsCommand::Definitions => {
            for d in crate::stats::definitions::DEFINITIONS {
                writeln!(out, "{} = {}\n  {}\n  {}", d.name, d.formula, d.en, d.zh)?;
            }
            Ok(())
        }
    }
}

async fn recount(
    context: &Context<'_>,
    days: &Days,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (from, to) = days.range()?;
    let found = check::recount_days(context.db, &from, &to).await?;
    for d in &found.differences {
        let row = match &d.row {
            Row::Hour {
                dimension,
                value,
                hour,
            } => format!("{hour:02}:00 {dimension} {value:?}"),
            Row::Day { dimension, value } => format!("{dimension} {value:?}"),
            Row::FirstCall { batch, disposition } => {
                format!("first calls of batch {batch} {disposition:?}")
            }
            Row::ClientDay {
                client,
                dimension,
                value,
            } => format!("client {client} {dimension} {value:?}"),
        };
        writeln!(
            out,
            "{} {row}: stored {:?}, recounted {:?}",
            d.date, d.stored, d.recounted
        )?;
    }
    for date in &found.broken_seals {
        writeln!(
            out,
            "{date}: the seal is broken: figures less corrections are not what was sealed"
        )?;
    }
    let sheets = day_sheets::recount(context.db, context.zone, &from, &to).await?;
    for day_sheets::Difference { stored, recounted } in &sheets.differences {
        writeln!(
            out,
            "{} agent {} {} {:?}: stored {}, recounted {}",
            stored.date,
            stored.agent,
            stored.state,
            stored.reason,
            of_a_day(stored, context.zone),
            of_a_day(recounted, context.zone)
        )?;
    }
    let mut tx = context.db.read().await?;
    let cycles = batches::wrong_cycles(&mut tx).await?;
    tx.rollback().await?;
    for wrong in &cycles {
        writeln!(
            out,
            "batch {} {:?}, placed on {}: its cycle ends on {}, by its day on {}",
            wrong.id,
            wrong.code,
            wrong.placed_on,
            wrong.stored.as_deref().unwrap_or("no day"),
            wrong.reckoned
        )?;
    }
    let mut repaid = Vec::new();
    let cases = repaid::recount(context.db, |difference| repaid.push(difference)).await?;
    for repaid::Difference { stored, recounted } in &repaid {
        let money = crate::export::money;
        writeln!(
            out,
            "case {}: stored {} repaid, {} of it within the cycle; recounted {}, {} of it",
            stored.case,
            money(stored.all_e4),
            money(stored.cycle_e4),
            money(recounted.all_e4),
            money(recounted.cycle_e4)
        )?;
    }
    let summary = format!(
        "{} attempts of {} days, {} rows of figures, {} sealed days, {} corrections, {} rows of agents' days, what was repaid on \
         {cases} cases",
        found.attempts, found.days, found.rows, found.sealed, found.corrections, sheets.rows
    );
    let differences =
        found.differences.len() + sheets.differences.len() + cycles.len() + repaid.len();
    match (differences, found.broken_seals.len()) {
        (0, 0) => writeln!(out, "{summary}: all agree")?,
        (0, seals) => bail!(
            "{summary}: {seals} seals are broken, see above; attempts of sealed days were changed past ringfence: \
             compare with a backup and report this"
        ),
        (n, _) => bail!(
            "{summary}: {n} do not agree with what they are sums of, see above; `ringfence stats rebuild` makes them anew, but \
             report this first"
        ),
    }
    Ok(())
}

/// What an agent did on a day, in words.
fn of_a_day(spent: &Spent, zone: &TimeZone) -> String {
    let clock = |at_ms| {
        let at = Timestamp::from_millisecond(at_ms).map(|at| zone.to_datetime(at));
        at.map_or_else(|_| at_ms.to_string(), |at| at.to_string())
    };
    let between = spent.present.map_or("never counted".into(), |present| {
        format!("{} to {}", clock(present.came_ms), clock(present.went_ms))
    });
    format!("{} ms of {} stretches, {between}", spent.ms, spent.spans)
}

async fn seal_days(
    db: &Db,
    days: &Days,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (from, to) = days.range()?;
    let now_ms = clock.wall_ms();
    let due = seal::due(db, now_ms, std::time::Duration::ZERO).await?;
    let mut refused = Vec::new();
    for date in due.iter().filter(|date| (&from..=&to).contains(date)) {
        match seal::seal(db, date, now_ms).await? {
            Sealing::Sealed(day) => writeln!(
                out,
                "{date}: sealed, {} attempts, {} rows, SHA-256 {}",
                day.attempts, day.rows, day.sha256
            )?,
            Sealing::Before => writeln!(out, "{date}: was sealed before")?,
            Sealing::Differs(rows) => refused.push(format!(
                "{date}: {rows} rows do not agree with the attempts"
            )),
            Sealing::Busy => refused.push(format!("{date}: its figures keep changing")),
        }
    }
    if !refused.is_empty() {
        bail!(
            "not sealed: {}; see `ringfence stats check`",
            refused.join("; ")
        );
    }
    let which = match (days.from, days.to) {
        (None, None) => "every day",
        _ => "of the days asked for every one",
    };
    writeln!(out, "{which} that is over everywhere is sealed")?;
    Ok(())
}

async fn rebuild_days(
    context: &Context<'_>,
    days: &Days,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (db, clock) = (context.db, context.clock);
    let (from, to) = days.range()?;
    let holder = format!("command line {}", std::process::id());
    let mut told = Ok(());
    let done = rebuild::rebuild(db, &from, &to, &holder, clock, |date, rows| {
        if rows > 0 && told.is_ok() {
            told = writeln!(out, "{date}: {rows} rows made anew");
        }
    })
    .await?;
    told?;
    let mut told = Ok(());
    let sheets = rebuild::rebuild_agents_days(
        db,
        (&from, &to),
        context.zone,
        &holder,
        clock,
        |date, rows| {
            if rows > 0 && told.is_ok() {
                told = writeln!(out, "{date}: {rows} rows of agents' days made anew");
            }
        },
    )
    .await?;
    told?;
    let cases = rebuild::rebuild_repaid(db, &holder, clock).await?;
    writeln!(
        out,
        "{} days looked at, {} changed, {} rows written, longest transaction {} ms; agents' days: {} looked at, {} changed; \
         sums of repayments: {cases} cases changed",
        done.days,
        done.changed_days,
        done.rows + sheets.rows,
        done.longest.max(sheets.longest).as_millis(),
        sheets.days,
        sheets.changed_days
    )?;
    Ok(())
}
