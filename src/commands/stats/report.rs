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
    stats::reports::{self, Asked, Frame, Name, Report, shown},
    store::{figures::Axis, users::Scope},
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
    /// Of connect-rate, one line for each: hour, day, agent, client, batch, team, bucket, relation, number-kind, trunk,
    /// caller-id, cause, disposition
    #[arg(long)]
    pub by: Option<Axis>,
    /// Of connect-rate, and for each of these
    #[arg(long)]
    pub and: Option<Axis>,
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
        client: args.which.client,
        grace_days: args.which.grace,
        ..Asked::new(args.name, args.from, args.to, today)
    };
    if args.format == Form::Xlsx && args.out.is_none() {
        bail!("a workbook is no text: name a file with --out");
    }
    let frame = Frame {
        zone: context.zone,
        today,
        scope: &Scope::All,
    };
    let mut tx = context.db.read().await?;
    let report = reports::read(&mut tx, &asked, frame).await?;
    tx.rollback().await?;
    let Some(path) = args.out else {
        if args.format == Form::Csv {
            eprintln!("{}", report.sql);
        }
        return print(&report, args.format, out);
    };
    let shown = path.display().to_string();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {shown}; name a file that does not exist"))?;
    let mut file = BufWriter::new(file);
    let done = print(&report, args.format, &mut file).and_then(|()| Ok(file.flush()?));
    if let Err(error) = done {
        // Half a report must not be taken for a whole one.
        let _ = std::fs::remove_file(&path);
        return Err(error.context(format!("cannot write {shown}")));
    }
    if args.format == Form::Csv {
        eprintln!("{}", report.sql);
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

/// A table for people, with the interval of each rate below it.
pub(super) fn folded_table(
    heads: &[String],
    lines: impl Iterator<Item = Vec<export::Cell>>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (heads, rows) = shown::folded(heads, lines);
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
        .set_header(heads);
    for row in rows {
        table.add_row(row);
    }
    Ok(writeln!(out, "{table}")?)
}

fn table(report: &Report, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    folded_table(&report.heads, report.lines(), out)?;
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
