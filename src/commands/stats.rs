//! `ringfence stats`: figures from the roll-ups, and the recount that proves them.

use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    export,
    stats::{
        check,
        report::{self, By, Report},
    },
    store::Db,
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
    /// Attempts, seizures, connected, connect rate with its 95 % interval, ASR, NER and talk time
    ConnectRate(ConnectRateArgs),
    /// Recount every figure from the attempts; fails and lists every difference if one does not agree
    Check,
    /// What each figure means, in English and Chinese
    Definitions,
}

/// Arguments of `ringfence stats connect-rate`.
#[derive(Debug, Args)]
pub struct ConnectRateArgs {
    /// One line for each: hour, day, agent, client, batch, relation, trunk, caller-id, cause
    #[arg(long, default_value = "hour")]
    pub by: By,
    /// First day, as YYYY-MM-DD local to the person called; the first there is if left out
    #[arg(long)]
    pub from: Option<jiff::civil::Date>,
    /// Last day, included; the last there is if left out
    #[arg(long)]
    pub to: Option<jiff::civil::Date>,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs, with sums, intervals and definitions.
    Json,
    /// For spreadsheets.
    Csv,
}

/// Runs `ringfence stats`.
///
/// # Errors
/// A range that ends before it begins, a recount that does not agree, or the database.
pub async fn run(args: StatsArgs, db: &Db, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    match args.command {
        StatsCommand::ConnectRate(args) => {
            let from = args.from.unwrap_or(jiff::civil::date(1970, 1, 1));
            let to = args.to.unwrap_or(jiff::civil::date(9999, 12, 31));
            if from > to {
                bail!("--from {from} is after --to {to}");
            }
            let mut tx = db.read().await?;
            let report = report::connect_rate(&mut tx, args.by, from, to).await?;
            tx.rollback().await?;
            print(&report, args.format, out)
        }
        StatsCommand::Check => recount(db, out).await,
        StatsCommand::Definitions => {
            for d in crate::stats::definitions::DEFINITIONS {
                writeln!(out, "{} = {}\n  {}\n  {}", d.name, d.formula, d.en, d.zh)?;
            }
            Ok(())
        }
    }
}

fn print(report: &Report, format: Format, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{:#}", report.json())?,
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(report.heads())?;
            for row in report.rows() {
                csv.write_record(row.iter().map(|cell| export::neutral(cell)))?;
            }
            csv.flush()?;
        }
        Format::Table => {
            let mut table = comfy_table::Table::new();
            table
                .load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
                .set_header(report.heads());
            for row in report.rows() {
                table.add_row(row);
            }
            writeln!(out, "{table}")?;
            let s = &report.total;
            writeln!(
                out,
                "connect rate = connected {} / (attempts {} - lost by our own faults {}), interval at 95 % (Wilson); \
                 refused, test and inbound calls are no attempts; `ringfence stats definitions` explains each figure",
                s.connected, s.attempts, s.lost_ours
            )?;
        }
    }
    Ok(())
}

async fn recount(db: &Db, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let found = check::recount(db).await?;
    for d in &found.differences {
        let hour = d.hour.map(|h| format!(" {h:02}:00")).unwrap_or_default();
        writeln!(
            out,
            "{}{hour} {} {:?}: stored {:?}, recounted {:?}",
            d.date, d.dimension, d.value, d.stored, d.recounted
        )?;
    }
    let summary = format!(
        "{} attempts of {} days, {} rows of figures",
        found.attempts, found.days, found.rows
    );
    match found.differences.len() {
        0 => writeln!(out, "{summary}: all agree")?,
        n => bail!(
            "{summary}: {n} do not agree with the attempts, see above; restore a backup and report this"
        ),
    }
    Ok(())
}
