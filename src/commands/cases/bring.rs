//! `ringfence cases import` and `imports`; the templates by which files are read are in `templates`.

use std::{
    io::{IsTerminal as _, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{super::instant, ACTOR, Context, table};
use crate::{
    cases::{
        entry::Reading,
        import::{self, ImportError, Job, Mode, Placed, Report},
        sheet,
        template::{self, Kind, Template},
    },
    phone::Region,
    store::{clients, imports, templates, users::hex},
};

/// Arguments of `ringfence cases import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, CSV (UTF-8, UTF-16 or GBK) or XLSX
    pub file: PathBuf,
    /// Code of the client that sent it
    #[arg(long, value_name = "CODE")]
    pub client: String,
    /// What it holds
    #[arg(long, value_enum, default_value_t = FileKind::Cases)]
    pub kind: FileKind,
    /// The client's name of the lot; for cases
    #[arg(long, value_name = "CODE", required_if_eq("kind", "cases"))]
    pub batch: Option<String>,
    /// Day on which the client placed the lot, YYYY-MM-DD: recovery is reckoned from it; today if not told
    #[arg(long, value_name = "DATE")]
    pub placed_on: Option<jiff::civil::Date>,
    /// Day for which the file tells balances, YYYY-MM-DD: only what was paid later is taken off; where neither this nor a row
    /// says, it is today, and of a new case the day it was placed
    #[arg(long, value_name = "DATE")]
    pub balance_on: Option<jiff::civil::Date>,
    /// Name of the template by which it is read; `cases templates list` lists them
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// Only say what would be new, changed and faulty
    #[arg(long)]
    pub preview: bool,
    /// What to do if rows are faulty
    #[arg(long, value_enum, default_value_t = FaultMode::AllOrNothing)]
    pub mode: FaultMode,
    /// Write the faulty rows into this file, with what is wrong in a last column; after --mode good-rows it can be corrected
    /// and imported by itself
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Enter the client under this name if there is none with this code
    #[arg(long, value_name = "NAME")]
    pub new_client: Option<String>,
    /// Country of the numbers that are written without +, two letters; the configuration's if not told
    #[arg(long)]
    pub region: Option<String>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    /// Cases, new ones and ones known already
    Cases,
    /// News of cases that are known
    Updates,
    /// Money that came in
    Repayments,
}

impl FileKind {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Cases => Kind::Cases,
            Self::Updates => Kind::Updates,
            Self::Repayments => Kind::Repayments,
        }
    }

    /// The template that is taken if none is named.
    fn usual(self) -> &'static str {
        match self {
            Self::Cases => "simple",
            Self::Updates => "updates",
            Self::Repayments => "repayments",
        }
    }
}

/// What to do if rows are faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultMode {
    /// Import nothing
    AllOrNothing,
    /// Import the good rows; of a case with a faulty row, none
    GoodRows,
}

pub(super) async fn import(
    args: &ImportArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let shown = args.file.display();
    if args.placed_on.is_some() && args.kind != FileKind::Cases {
        anyhow::bail!("--placed-on is for files of cases: a batch is placed with them");
    }
    if args.balance_on.is_some() && args.kind == FileKind::Repayments {
        anyhow::bail!("--balance-on is for files that tell balances");
    }
    let now_ms = context.clock.wall_ms();
    let today = import::today(now_ms, &context.zone);
    if args.balance_on.is_some_and(|day| day > today) {
        anyhow::bail!("--balance-on: that day is yet to come");
    }
    if let Some(errors) = &args.errors
        && one_file(&args.file, errors)
    {
        anyhow::bail!(
            "--errors {}: that is the file to be imported; name another one, or its rows would be lost",
            errors.display()
        );
    }
    if let Some(errors) = &args.errors
        && errors
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("xlsx"))
    {
        anyhow::bail!(
            "--errors {}: faulty rows are written as CSV, also those of a workbook; give it the ending .csv",
            errors.display()
        );
    }
    let region = match &args.region {
        Some(code) => Region::parse(code).with_context(|| format!("--region {code}"))?,
        None => context.region,
    };
    let file = args.file.clone();
    let sha256 = tokio::task::spawn_blocking(move || sha256(&file))
        .await?
        .with_context(|| format!("cannot open {shown}"))?;
    let client = known_client(args, context).await?;
    let name = args.template.as_deref().unwrap_or(args.kind.usual());
    let (template, template_id) = find_template(context, client.id, args.kind.kind(), name).await?;
    let rows = sheet::open(&args.file.clone().into(), &template.options())
        .with_context(|| shown.to_string())?;
    let again: import::Again = {
        let (file, options) = (args.file.clone(), template.options());
        Box::new(move || Ok(Box::new(sheet::open(&file.into(), &options)?)))
    };
    let key = match template.has_secrets() {
        true => Some(context.field_key().await?.into()),
        false => None,
    };
    let job = Job {
        reading: Reading {
            client: client.id,
            region,
            short: context.short.clone(),
            key,
        },
        client,
        batch: args.batch.clone(),
        placed: Placed::told_or_today(args.placed_on, now_ms, &context.zone),
        balance_on: args.balance_on,
        today,
        template,
        template_id,
        rows: Box::new(rows),
        again: Some(again),
        file_name: file_name(&args.file),
        file_sha256: sha256,
        mode: match args.mode {
            FaultMode::AllOrNothing => Mode::AllOrNothing,
            FaultMode::GoodRows => Mode::GoodRows,
        },
        preview: args.preview,
        rejects: args.errors.clone(),
        actor: ACTOR.to_owned(),
    };
    let mut progress = Progress::new();
    let done = import::run(context.db, &context.clock, job, &mut |rows| {
        progress.at(rows)
    })
    .await;
    progress.end();
    let report = match done {
        Ok(report) => report,
        Err(ImportError::Faults(report)) => {
            let hint = refused(&report, args);
            let error = ImportError::Faults(report);
            return Err(error).with_context(|| format!("{shown} ({hint})"));
        }
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    print(&report, args, out)
}

/// What to do about a file of which nothing was imported. Its error file holds the faulty rows and nothing else: whoever
/// corrects and imports that one alone has imported a few rows and believes it was the whole file.
fn refused(report: &Report, args: &ImportArgs) -> String {
    let again = "correct the rows in the original and import it again, or import the original with --mode good-rows";
    match &args.errors {
        Some(errors) if report.rejects_written => format!(
            "{again} and then {}, which holds the faulty rows and no others, corrected",
            errors.display()
        ),
        _ => format!("{again}; --errors FILE writes the faulty rows into a file"),
    }
}

/// Whether two names are of one file.
fn one_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn print(report: &Report, args: &ImportArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let counts = &report.counts;
    if args.preview {
        for line in &report.sample {
            writeln!(out, "{line}")?;
        }
        if !report.left_out.is_empty() {
            writeln!(
                out,
                "columns that are not read: {}",
                report.left_out.join(", ")
            )?;
        }
        write!(out, "preview, nothing was imported: ")?;
    }
    writeln!(
        out,
        "{} rows: {} new cases, {} new numbers; {} rows new, {} changed, {} said nothing new, {} faulty",
        counts.read,
        report.new_cases,
        report.new_contact_points,
        counts.new,
        counts.changed,
        counts.same,
        counts.faulty
    )?;
    if report.pending {
        writeln!(
            out,
            "the database went away before all of it was carried out: the next import or start of the daemon goes on"
        )?;
    }
    if report.settled > 0 {
        writeln!(
            out,
            "{} cases are settled and will not be called any more",
            report.settled
        )?;
    }
    if report.older_balances > 0 {
        writeln!(
            out,
            "{} rows tell a balance of an earlier day than the one on file: it was not taken; `cases show` says as of which day is owed",
            report.older_balances
        )?;
    }
    if report.in_balance > 0 {
        writeln!(
            out,
            "{} payments were made by the day for which the balance was told: it holds them already, they are not taken off it",
            report.in_balance
        )?;
    }
    if report.doubtful_cards > 0 {
        writeln!(
            out,
            "{} card numbers have a check digit that does not fit; they were taken as they are",
            report.doubtful_cards
        )?;
    }
    for fault in &report.faults {
        writeln!(out, "  {fault}")?;
    }
    if report.more_faults > 0 {
        writeln!(out, "  and {} more", report.more_faults)?;
    }
    if let (true, Some(path)) = (report.rejects_written, &args.errors) {
        let then = match args.preview {
            true => refused(report, args),
            false => format!(
                "the rows that were left out are in {}: correct them and import that file",
                path.display()
            ),
        };
        writeln!(out, "{then}")?;
    }
    if let Some(import) = report.import {
        writeln!(out, "import {import}")?;
    }
    Ok(())
}

async fn known_client(args: &ImportArgs, context: &Context<'_>) -> anyhow::Result<clients::Client> {
    let mut tx = context.db.read().await?;
    let known = clients::by_code(&mut tx, &args.client).await?;
    tx.rollback().await?;
    match (known, &args.new_client) {
        (Some(client), _) => Ok(client),
        // A preview writes nothing; of a client without an id nothing is known.
        (None, Some(name)) if args.preview => Ok(clients::Client {
            id: crate::ids::ClientId::new(0),
            code: args.client.clone(),
            name: name.clone(),
        }),
        (None, Some(name)) => {
            let mut tx = context.db.begin().await?;
            let now_ms = context.clock.wall_ms();
            let client = clients::ensure(&mut tx, &args.client, name, now_ms).await?;
            tx.commit().await?;
            Ok(client)
        }
        (None, None) => anyhow::bail!(
            "there is no client {}; enter it with --new-client NAME",
            args.client
        ),
    }
}

/// The client's own template, or the one for every client, or one that comes with the program.
pub(super) async fn find_template(
    context: &Context<'_>,
    client: crate::ids::ClientId,
    kind: Kind,
    name: &str,
) -> anyhow::Result<(Template, Option<i64>)> {
    let mut tx = context.db.read().await?;
    let stored = templates::newest(&mut tx, client, kind.as_str(), name).await?;
    tx.rollback().await?;
    let (text, id) = match &stored {
        Some(stored) => (stored.body.as_str(), Some(stored.id)),
        None => match template::shipped(name) {
            Some(text) => (text, None),
            None => anyhow::bail!(
                "there is no template {name} for {}; `ringfence cases templates list` lists them",
                kind.as_str()
            ),
        },
    };
    let template = Template::parse(text).with_context(|| format!("template {name}"))?;
    if template.kind != kind {
        anyhow::bail!(
            "the template {name} is for {}: say --kind {}",
            template.kind.as_str(),
            template.kind.as_str()
        );
    }
    Ok((template, id))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(digest.finish().as_ref())),
            n => digest.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// How far it is: one line that is written over on a terminal, a line every ten thousand rows otherwise.
struct Progress {
    terminal: bool,
    told: u64,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            told: 0,
        }
    }

    fn at(&mut self, rows: u64) {
        let step = if self.terminal { 500 } else { 10_000 };
        if rows / step > self.told / step {
            self.told = rows;
            // Progress that cannot be shown is no reason to stop.
            let _ = match self.terminal {
                true => write!(std::io::stderr(), "\r{rows} rows"),
                false => writeln!(std::io::stderr(), "{rows} rows"),
            };
        }
    }

    fn end(&self) {
        if self.terminal && self.told > 0 {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

pub(super) async fn imports(
    context: &Context<'_>,
    limit: u32,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = context.db.read().await?;
    let lines = imports::list(&mut tx, limit).await?;
    tx.rollback().await?;
    let mut table = table(&[
        "import", "begun", "ended", "client", "kind", "batch", "file", "state", "rows", "new",
        "changed", "same", "faulty", "by",
    ]);
    for line in lines {
        table.add_row([
            line.id.to_string(),
            instant(line.started_at_ms, &context.zone),
            line.ended_at_ms
                .map(|at_ms| instant(at_ms, &context.zone))
                .unwrap_or_default(),
            line.client,
            line.kind,
            line.batch,
            line.file_name,
            line.state.to_string(),
            line.counts.read.to_string(),
            line.counts.new.to_string(),
            line.counts.changed.to_string(),
            line.counts.same.to_string(),
            line.counts.faulty.to_string(),
            line.actor,
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}
