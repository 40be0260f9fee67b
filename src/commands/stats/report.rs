//! `ringfence stats report`: a report of the catalogue, with the query that reproduces it.

use std::{
    fs::OpenOptions,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::Context;
use crate::{
    export,
    stats::{
        report,
        reports::{self, Asked, Frame, Name, Report, shown},
    },
    store::{
        figures::{self, Axis, Over},
        users::Scope,
    },
};

/// Arguments of `ringfence stats report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Which one; `ringfence stats reports` lists them
    pub name: Name,
    /// First day, as YYYY-MM-DD; as many days before the last as is usual for the report if left out
    #[arg(long)]
    pub from: Option<jiff::civil::Date>,
    /// Last day, included; today if left out
    #[arg(long)]
    pub to: Option<jiff::civil::Date>,
    /// What it shows of it
    #[command(flatten)]
    pub which: WhichArgs,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub format: Form,
    /// Into this file, which must not exist yet; a workbook needs one
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What a report is about, beside its days.
#[derive(Debug, Clone, Args)]
pub struct WhichArgs {
    /// Of connect-rate, one line for each: hour, day, week, month, agent, client, batch, team, bucket, relation, number-kind,
    /// trunk, caller-id, cause, disposition
    #[arg(long)]
    pub by: Option<Axis>,
    /// Of connect-rate, and for each of these
    #[arg(long)]
    pub and: Option<Axis>,
    /// Of connect-rate, these over time: by day, week (called by its Monday) or month
    #[arg(long)]
    pub over: Option<Over>,
    /// Limited to the client of this code
    #[arg(long, value_name = "CODE")]
    pub client: Option<String>,
    /// Of promises, days after the promised one on which the money may still come
    #[arg(long, value_name = "DAYS")]
    pub grace: Option<u16>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people, with what explains it and the query below.
    Table,
    /// For spreadsheets; the query goes to standard error.
    Csv,
    /// A workbook; the query is on its second sheet.
    Xlsx,
    /// For programs; the query is a field.
    Json,
}

pub(super) async fn run(
    args: ReportArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let today = context.today()?;
    let asked = Asked {
        by: args.which.by,
        and: args.which.and,
        over: args.which.over,
        client: args.which.client,
        grace_days: args.which.grace,
        ..Asked::new(args.name, args.from, args.to, today)
    };
    let report = read(&asked, context).await?;
    deliver(&report, args.format, args.out, out, |out| {
        print(&report, args.format, out)
    })
}

/// `ringfence stats connect-rate`: the report of that name over all days if none are told, by hour of the day.
pub(super) async fn connect_rate(
    args: super::ConnectRateArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (from, to) = super::range(args.from, args.to)?;
    let mut tx = context.db.read().await?;
    let span = figures::span(&mut tx).await?;
    // All days: the first and the last that have figures, unless what was told lies beyond them.
    let known = span.and_then(|(first, last)| first.parse().ok().zip(last.parse().ok()));
    let (first, last) = known.unwrap_or((context.today()?, context.today()?));
    let from = args.from.unwrap_or(from.max(first).min(to));
    let to = args.to.unwrap_or(to.min(last).max(from));
    let short = report::connect_rate(&mut tx, args.by, from, to).await?;
    tx.rollback().await?;
    let asked = Asked {
        by: Some(args.by),
        ..Asked::new(Name::ConnectRate, Some(from), Some(to), context.today()?)
    };
    let report = read(&asked, context).await?;
    deliver(&report, args.format, args.out, out, |out| {
        match args.format {
            // As the API answers.
            Form::Json => Ok(writeln!(out, "{:#}", short.json())?),
            format => print(&report, format, out),
        }
    })
}

async fn read(asked: &Asked, context: &Context<'_>) -> anyhow::Result<Report> {
    let frame = Frame {
        zone: context.zone,
        today: context.today()?,
        scope: &Scope::All,
    };
    let mut tx = context.db.read().await?;
    let report = reports::read(&mut tx, asked, frame).await?;
    tx.rollback().await?;
    Ok(report)
}

/// Prints a report, or writes it into a new file.
fn deliver(
    report: &Report,
    form: Form,
    path: Option<PathBuf>,
    out: &mut (dyn Write + Send),
    print: impl Fn(&mut (dyn Write + Send)) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = path else {
        if form == Form::Xlsx {
            bail!("a workbook is no text: name a file with --out");
        }
        if form == Form::Csv {
            eprintln!("{}", report.queries());
        }
        return print(out);
    };
    let shown = path.display().to_string();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {shown}; name a file that does not exist"))?;
    let mut file = BufWriter::new(file);
    let done = print(&mut file).and_then(|()| Ok(file.flush()?));
    if let Err(error) = done {
        // Half a report must not be taken for a whole one.
        let _ = std::fs::remove_file(&path);
        return Err(error.context(format!("cannot write {shown}")));
    }
    if form == Form::Csv {
        eprintln!("{}", report.queries());
    }
    writeln!(out, "{} lines in {shown}", report.rows.len())?;
    Ok(())
}

fn print(report: &Report, form: Form, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let format = match form {
        Form::Csv => export::Format::Csv,
        Form::Xlsx => export::Format::Xlsx,
        Form::Json => export::Format::Json,
        Form::Table => return table(report, out),
    };
    Ok(report.write(out, format)?)
}

/// A table for people, with the interval of each rate below it, and what explains it below that.
fn table(report: &Report, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let (heads, rows) = shown::folded(&report.heads, report.lines());
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
        .set_header(heads);
    for row in rows {
        table.add_row(row);
    }
    writeln!(out, "{table}")?;
    for line in report.explained() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// `ringfence stats reports`: what there is.
pub(super) fn list(out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut table = super::super::table(["report", "days if not told", "by client", "shows"]);
    for name in Name::ALL {
        table.add_row([
            name.to_string(),
            name.usual_days().to_string(),
            if name.by_client() { "yes" } else { "no" }.to_owned(),
            name.about().to_owned(),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}
