//! `ringfence stats schedule`: reports that the daemon writes by itself.

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{
    super::{ACTOR, instant, table},
    Context,
    report::WhichArgs,
};
use crate::{
    export::Format,
    stats::{
        reports::{self, Frame, Name},
        scheduled::{self, Writer},
        timetable::{Period, Planned, Timetable},
    },
    store::{
        access::{self, Access},
        report_schedules::{self, NewSchedule},
        users::Scope,
    },
};

/// Arguments of `ringfence stats schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ScheduleCommand,
}

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Have a report written again and again
    Add(AddArgs),
    /// List the schedules: when next, and how the last time went
    List,
    /// Write it no more; files that are written stay
    Remove {
        /// Name of the schedule
        name: String,
    },
    /// Write it now, as if it were due
    Run {
        /// Name of the schedule
        name: String,
    },
}

/// Arguments of `ringfence stats schedule add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Name of the schedule; files are called NAME_DATE_TIME
    pub name: String,
    /// Which report; `ringfence stats reports` lists them
    #[arg(long)]
    pub report: Name,
    /// Which days, seen from the day it is written: 1d for the day before, 7d, …, last-week, last-month
    #[arg(long, default_value = "1d")]
    pub period: Period,
    /// What it shows of it
    #[command(flatten)]
    pub which: WhichArgs,
    /// When: minute, hour, day of the month, month, day of the week, in the zone shown to operators
    #[arg(long)]
    pub cron: String,
    /// csv, xlsx or json
    #[arg(long, value_enum, default_value = "csv")]
    pub format: Format,
    /// Into which folder below `reports.dir`; that one itself if left out
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

pub(super) async fn run(
    args: ScheduleArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        ScheduleCommand::Add(args) => add(args, context, out).await,
        ScheduleCommand::List => list(context, out).await,
        ScheduleCommand::Remove { name } => {
            let mut tx = context.db.begin().await?;
            if report_schedules::by_name(&mut tx, &name).await?.is_none() {
                bail!("there is no schedule {name}; `ringfence stats schedule list` shows them");
            }
            report_schedules::remove(&mut tx, &name).await?;
            let detail = serde_json::json!({});
            log(&mut tx, "report_schedule.remove", &name, detail, context).await?;
            tx.commit().await?;
            Ok(writeln!(out, "{name} is written no more")?)
        }
        ScheduleCommand::Run { name } => {
            let mut tx = context.db.read().await?;
            let schedule = report_schedules::by_name(&mut tx, &name).await?;
            tx.rollback().await?;
            let schedule = schedule.with_context(|| {
                format!("there is no schedule {name}; `ringfence stats schedule list` shows them")
            })?;
            let writer = Writer {
                db: context.db.clone(),
                clock: context.clock.clone(),
                zone: context.zone.clone(),
                root: context.reports_dir.to_owned(),
                node: ACTOR.to_owned(),
            };
            let done = writer.run(&schedule, context.clock.wall_ms()).await?;
            let path = done.map_err(anyhow::Error::msg)?;
            Ok(writeln!(out, "written: {}", path.display())?)
        }
    }
}

async fn add(
    args: AddArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let name = scheduled::checked_name(&args.name).map_err(anyhow::Error::msg)?;
    let dir = args.dir.unwrap_or_default();
    let dir = scheduled::below(context.reports_dir, &dir).map_err(anyhow::Error::msg)?;
    let dir = dir.to_str().context("--dir: it is no UTF-8")?;
    let times: Timetable = args
        .cron
        .parse()
        .map_err(|e| anyhow::anyhow!("--cron: {e}"))?;
    let now_ms = context.clock.wall_ms();
    let next_at_ms = times
        .next_ms(now_ms, context.zone)
        .context("--cron: that time never comes")?;
    let planned = Planned {
        report: args.report.to_string(),
        period: args.period,
        by: args.which.by.map(|axis| axis.to_string()),
        and: args.which.and.map(|axis| axis.to_string()),
        over: args.which.over.map(|over| over.to_string()),
        client: args.which.client,
        grace_days: args.which.grace,
    };
    // What cannot be had now cannot be had later either.
    let today = context.today()?;
    let asked = planned.asked(today).map_err(anyhow::Error::msg)?;
    let frame = Frame {
        zone: context.zone,
        today,
        scope: &Scope::All,
    };
    let mut tx = context.db.read().await?;
    reports::read(&mut tx, &asked, frame).await?;
    tx.rollback().await?;
    let report = serde_json::to_string(&planned)?;
    let new = NewSchedule {
        name,
        report: &report,
        format: args.format.as_str(),
        cron: &args.cron,
        dir,
        next_at_ms,
        actor: ACTOR,
    };
    let mut tx = context.db.begin().await?;
    match report_schedules::insert(&mut tx, &new, now_ms).await {
        Err(error) if error.exists_already() => {
            bail!("there is a schedule {name} already; remove it first")
        }
        other => other?,
    }
    let detail = serde_json::json!({ "report": planned, "cron": args.cron, "dir": dir });
    log(&mut tx, "report_schedule.add", name, detail, context).await?;
    tx.commit().await?;
    writeln!(
        out,
        "{name} is written next at {}, below {}",
        instant(next_at_ms, context.zone),
        context.reports_dir.join(dir).display()
    )?;
    Ok(())
}

async fn list(context: &Context<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = context.db.read().await?;
    let all = report_schedules::list(&mut tx).await?;
    tx.rollback().await?;
    let mut table = table([
        "name", "report", "format", "when", "folder", "next", "last", "wrong",
    ]);
    for one in all {
        table.add_row([
            one.name,
            one.report,
            one.format,
            one.cron,
            one.dir,
            instant(one.next_at_ms, context.zone),
            one.last_at_ms
                .map(|at_ms| instant(at_ms, context.zone))
                .unwrap_or_default(),
            one.last_error.unwrap_or_default(),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

async fn log(
    tx: &mut crate::store::Tx,
    action: &str,
    name: &str,
    detail: serde_json::Value,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let access = Access {
        at_ms: context.clock.wall_ms(),
        actor: ACTOR,
        action,
        object: name,
        client_id: None,
        detail,
    };
    access::log(tx, &access).await?;
    Ok(())
}
