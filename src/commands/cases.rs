//! `ringfence cases`: bringing cases in, and looking at what is there.
//!
//! One file a group of verbs: `bring` (imports), `templates` (how files are read), `look` (lists, exact search, one case),
//! `numbers` (what is wrong with them), `elsewhere` (a foreign case store), `terms` (contracts), `work` (the day's work:
//! allocation, many cases at once, overdue lists, major matters), `zone` (where a person lives).

mod allocation;
mod bring;
mod elsewhere;
mod look;
mod matters;
mod numbers;
mod templates;
mod terms;
mod which;
mod work;
mod zone;

use std::io::Write;

use clap::{Args, Subcommand};

use super::ACTOR;
use crate::{
    cases::fields::FieldKey,
    clock::Clock,
    config,
    phone::{Region, ShortCodes},
    store::{Db, Tx, clients, clients::Client},
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
    /// Import cases, updates of cases or repayments from a CSV or XLSX file, by a template
    Import(bring::ImportArgs),
    /// List the imports
    Imports {
        /// The most imports to list
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// List, show, check, enter and withdraw templates of files
    Templates(templates::TemplatesArgs),
    /// List the cases
    List {
        /// The most cases to list
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
    /// Find cases by an exact identity, card or telephone number, which is read from standard input
    Find(look::FindArgs),
    /// Show one case
    Show(look::ShowArgs),
    /// Put a colour mark on a case, or take it off
    Mark(look::MarkArgs),
    /// Put on record in which time zone a person of a case lives: it decides whose hour counts
    Zone(zone::ZoneArgs),
    /// List what is wrong with the numbers of a case, and say that one is good again
    #[command(subcommand)]
    Numbers(numbers::NumbersCommand),
    /// List or export repayments
    Repayments(look::RepaymentsArgs),
    /// Check the views of a foreign case store on the same PostgreSQL
    Check,
    /// Pull the cases of a client from the views of a foreign case store
    Pull {
        /// Code of the client
        #[arg(long, value_name = "CODE")]
        client: String,
        /// Day on which batches that are new were placed, YYYY-MM-DD; today if not told
        #[arg(long, value_name = "DATE")]
        placed_on: Option<jiff::civil::Date>,
    },
    /// List and enter contracts with clients, put batches under them, and say when batches were placed
    Contracts(terms::ContractsArgs),
    /// The day's work
    #[command(flatten)]
    Work(work::WorkCommand),
}

/// What the commands work with.
pub struct Context<'a> {
    /// The database.
    pub db: &'a Db,
    /// Time.
    pub clock: Clock,
    /// Short codes that may be dialled.
    pub short: ShortCodes,
    /// Numbering plan of numbers without `+`.
    pub region: Region,
    /// Opens the key of identity and card numbers.
    pub key: &'a (dyn Fn(bool) -> anyhow::Result<FieldKey> + Sync),
    /// Zone of days and times shown to operators.
    pub zone: jiff::tz::TimeZone,
    /// How soon what has to be done.
    pub limits: config::Floor,
}

impl Context<'_> {
    /// The key of identity and card numbers, made if the database holds none that it would have to open.
    async fn field_key(&self) -> anyhow::Result<FieldKey> {
        let mut tx = self.db.read().await?;
        let boxes = crate::store::cases::any_box(&mut tx).await?;
        tx.rollback().await?;
        (self.key)(!boxes)
    }
}

/// Runs `ringfence cases`.
///
/// # Errors
/// The faults of the file with line and column, what does not exist, or the database.
pub async fn run(
    args: CasesArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        CasesCommand::Import(args) => Box::pin(bring::import(&args, context, out)).await,
        CasesCommand::Imports { limit } => bring::imports(context, limit, out).await,
        CasesCommand::Templates(args) => templates::run(args, context, out).await,
        CasesCommand::List { limit } => look::list(context.db, limit, out).await,
        CasesCommand::Find(args) => look::find(&args, context, &mut std::io::stdin(), out).await,
        CasesCommand::Show(args) => look::show(&args, context, out).await,
        CasesCommand::Mark(args) => look::mark(&args, context, out).await,
        CasesCommand::Zone(args) => zone::run(&args, context, out).await,
        CasesCommand::Numbers(command) => numbers::run(command, context, out).await,
        CasesCommand::Repayments(args) => look::repayments(&args, context, out).await,
        CasesCommand::Check => elsewhere::check(context, out).await,
        CasesCommand::Pull { client, placed_on } => {
            elsewhere::pull(&client, placed_on, context, out).await
        }
        CasesCommand::Contracts(args) => terms::run(args, context, out).await,
        CasesCommand::Work(command) => Box::pin(work::run(command, context, out)).await,
    }
}

/// The client with this code.
async fn client(tx: &mut Tx, code: &str) -> anyhow::Result<Client> {
    match clients::by_code(tx, code).await? {
        Some(client) => Ok(client),
        None => anyhow::bail!(
            "there is no client {code}; `ringfence cases import --new-client NAME` enters one"
        ),
    }
}

fn table(heads: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(heads.iter().copied());
    table
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
