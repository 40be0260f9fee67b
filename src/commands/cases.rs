//! `ringfence cases`: bringing cases in, and looking at what is there.

use std::{fs::File, io::Write, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::ACTOR;
use crate::{
    cases::import,
    ids::CaseId,
    phone::{Region, ShortCodes},
    store::{
        Db,
        access::{self, Access},
        cases, clients,
    },
};

/// Arguments of `ringfence cases`.
#[derive(Debug, Args)]
pub struct CasesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CasesCommand,
}

/// What to do with cases.
#[derive(Debug, Subcommand)]
pub enum CasesCommand {
    /// Import cases from a CSV file (UTF-8) with the columns case, debtor, name, relation, number; all rows or none
    Import(ImportArgs),
    /// List the cases
    List {
        /// The most cases to list
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
}

/// Arguments of `ringfence cases import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file
    pub file: PathBuf,
    /// Code of the client that placed the cases
    #[arg(long, value_name = "CODE")]
    pub client: String,
    /// The client's name of the lot
    #[arg(long, value_name = "CODE")]
    pub batch: String,
    /// Enter the client under this name if there is none with this code
    #[arg(long, value_name = "NAME")]
    pub new_client: Option<String>,
    /// Country of the numbers that are written without +, two letters
    #[arg(long, default_value = "CN")]
    pub region: String,
}

/// Runs `ringfence cases`. `short` are the short codes that may be dialled.
///
/// # Errors
/// The faults of the file with line and column, a client that does not exist, or the database.
pub async fn run(
    args: CasesArgs,
    db: &Db,
    now_ms: i64,
    short: &ShortCodes,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        CasesCommand::Import(args) => import(&args, db, now_ms, short, out).await,
        CasesCommand::List { limit } => list(db, limit, out).await,
    }
}

async fn import(
    args: &ImportArgs,
    db: &Db,
    now_ms: i64,
    short: &ShortCodes,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let shown = args.file.display();
    let region =
        Region::parse(&args.region).with_context(|| format!("--region {}", args.region))?;
    let file = File::open(&args.file).with_context(|| format!("cannot open {shown}"))?;
    let rows = import::parse(file, region, short).with_context(|| shown.to_string())?;
    let mut tx = db.begin().await?;
    let client = match (
        clients::by_code(&mut tx, &args.client).await?,
        &args.new_client,
    ) {
        (Some(client), _) => client,
        (None, Some(name)) => clients::ensure(&mut tx, &args.client, name, now_ms).await?,
        (None, None) => anyhow::bail!(
            "there is no client {}; enter it with --new-client NAME",
            args.client
        ),
    };
    let detail = serde_json::json!({ "batch": args.batch, "rows": rows.len() });
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action: "cases.import",
        object: &args.client,
        client_id: Some(client.id),
        detail,
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let done = import::apply(db, &client, &args.batch, &rows, now_ms)
        .await
        .with_context(|| shown.to_string())?;
    Ok(writeln!(
        out,
        "{} rows: {} new cases, {} new numbers; what was known stayed as it was",
        done.rows, done.new_cases, done.new_contact_points
    )?)
}

async fn list(db: &Db, limit: u32, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = db.read().await?;
    let lines = cases::list(&mut tx, CaseId::new(0), limit.saturating_add(1)).await?;
    tx.rollback().await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["id", "client", "batch", "case", "state", "numbers"]);
    for line in lines.iter().take(limit as usize) {
        table.add_row([
            line.case.id.to_string(),
            line.client.clone(),
            line.batch.clone(),
            line.case.reference.clone(),
            line.case.state.as_str().to_owned(),
            line.contact_points.to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    if lines.len() > limit as usize {
        writeln!(out, "more than {limit}: raise --limit")?;
    }
    Ok(())
}
