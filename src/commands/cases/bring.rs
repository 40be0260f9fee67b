//! `ringfence cases import`, `imports` and `templates`.

use std::{
    io::{IsTerminal as _, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::{ACTOR, Context, client, table};
use crate::{
    cases::{
        entry::Reading,
        import::{self, ImportError, Job, Mode, Placed, Report},
        sheet,
        template::{self, Kind, Template},
    },
    phone::Region,
    store::{
        access::{self, Access},
        clients, imports, templates,
        users::hex,
    },
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
    /// Name of the template by which it is read; `cases templates list` lists them
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// Only say what would be new, changed and faulty
    #[arg(long)]
    pub preview: bool,
    /// What to do if rows are faulty
    #[arg(long, value_enum, default_value_t = FaultMode::AllOrNothing)]
    pub mode: FaultMode,
    /// Write the faulty rows into this file, with what is wrong in a last column; corrected, it can be imported
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
    fn kind(self) -> Kind {
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
    /// Import the good rows
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
        placed: Placed::told_or_today(args.placed_on, context.clock.wall_ms(), &context.zone),
        template,
        template_id,
        rows: Box::new(rows),
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
        Err(error @ ImportError::Faults(_)) => {
            let hint = match &args.errors {
                Some(path) => format!("the faulty rows are in {}", path.display()),
                None => {
                    "--errors FILE writes the faulty rows into a file to be corrected".to_owned()
                }
            };
            return Err(error).with_context(|| format!("{shown} ({hint})"));
        }
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    print(&report, args, out)
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
    if counts.faulty > 0
        && let Some(path) = &args.errors
    {
        writeln!(
            out,
            "the faulty rows are in {}; correct them and import that file",
            path.display()
        )?;
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
        "import", "client", "kind", "batch", "file", "state", "rows", "new", "changed", "same",
        "faulty", "by",
    ]);
    for line in lines {
        table.add_row([
            line.id.to_string(),
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

/// Arguments of `ringfence cases templates`.
#[derive(Debug, Args)]
pub struct TemplatesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TemplatesCommand,
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// List the templates: those entered, and those that come with the program
    List,
    /// Print a template that comes with the program, to be copied and changed
    Show {
        /// Its name
        name: String,
    },
    /// Say whether a template can be used
    Check {
        /// The file
        file: PathBuf,
    },
    /// Enter a template; the newest of its name counts
    Add {
        /// The file
        file: PathBuf,
        /// Code of the client whose files it reads; every client without one of its own if not told
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
    },
}

pub(super) async fn templates(
    args: TemplatesArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        TemplatesCommand::List => {
            let mut tx = context.db.read().await?;
            let lines = templates::list(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table(&["kind", "name", "client", "version", "by"]);
            for line in lines {
                let client = if line.client.is_empty() {
                    "all".to_owned()
                } else {
                    line.client
                };
                table.add_row([
                    line.kind,
                    line.name,
                    client,
                    line.version.to_string(),
                    line.created_by,
                ]);
            }
            for (name, text) in template::SHIPPED {
                let kind = Template::parse(text)?.kind.as_str().to_owned();
                let by = "comes with the program";
                table.add_row([kind.as_str(), name, "all", "", by]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        TemplatesCommand::Show { name } => match template::shipped(&name) {
            Some(text) => Ok(write!(out, "{text}")?),
            None => anyhow::bail!("no template of this name comes with the program"),
        },
        TemplatesCommand::Check { file } => {
            let (template, _) = read_template(&file)?;
            Ok(writeln!(
                out,
                "the template {} for {} can be used",
                template.name,
                template.kind.as_str()
            )?)
        }
        TemplatesCommand::Add { file, client: code } => {
            let (template, text) = read_template(&file)?;
            let now_ms = context.clock.wall_ms();
            let mut tx = context.db.begin().await?;
            let client_id = match &code {
                Some(code) => Some(client(&mut tx, code).await?.id),
                None => None,
            };
            let (id, version) = templates::add(
                &mut tx,
                client_id,
                template.kind.as_str(),
                &template.name,
                &text,
                ACTOR,
                now_ms,
            )
            .await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "template.add",
                object: &id.to_string(),
                client_id,
                detail: serde_json::json!({ "kind": template.kind.as_str(), "name": template.name, "version": version }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            Ok(writeln!(
                out,
                "template {} for {}, version {version}",
                template.name,
                template.kind.as_str()
            )?)
        }
    }
}

fn read_template(file: &Path) -> anyhow::Result<(Template, String)> {
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| {
            file.take(template::MOST_BYTES as u64 + 1)
                .read_to_string(&mut text)
        })
        .with_context(|| format!("cannot read {shown}"))?;
    let template = Template::parse(&text).with_context(|| shown.to_string())?;
    Ok((template, text))
}
