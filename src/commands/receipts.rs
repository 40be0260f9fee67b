//! `ringfence receipts`: the older name of `ringfence policy replay` for one stored receipt.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::{ids::ReceiptId, store::Db};

/// Arguments of `ringfence receipts`.
#[derive(Debug, Args)]
pub struct ReceiptsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ReceiptsCommand,
}

/// What to do with receipts.
#[derive(Debug, Subcommand)]
pub enum ReceiptsCommand {
    /// Decide again from the receipt alone; fails if it was altered or the result is another
    Replay {
        /// The receipt's id, as a refusal names it
        id: ReceiptId,
    },
}

/// Runs `ringfence receipts`.
///
/// # Errors
/// An unknown receipt, one that does not prove what it says, or the database.
pub async fn run(args: ReceiptsArgs, db: &Db, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let ReceiptsCommand::Replay { id } = args.command;
    super::policy::replay_one(id, db, out).await
}
