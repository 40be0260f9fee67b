//! `ringfence receipts`: decide again from a stored receipt alone, and see that it comes to the same.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    ids::ReceiptId,
    policy,
    store::{self, Db},
};

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
    let mut tx = db.read().await?;
    let receipt = store::receipts::by_id(&mut tx, id)
        .await?
        .with_context(|| format!("there is no receipt {id}"))?;
    let decision = policy::replay(&receipt.body).with_context(|| format!("receipt {id}"))?;
    if decision.is_allowed() != receipt.allowed
        || decision.receipt.rules_hash() != receipt.rules_sha256
    {
        anyhow::bail!("receipt {id}: its row does not say what the receipt itself says");
    }
    let verdict = if decision.is_allowed() {
        "allowed"
    } else {
        "refused"
    };
    writeln!(
        out,
        "{verdict}, as stored; rules {}",
        decision.receipt.rules_hash()
    )?;
    for refusal in decision.reasons() {
        writeln!(
            out,
            "  {}: {} ({})",
            refusal.reason.code(),
            refusal.reason.english(),
            refusal.clause
        )?;
    }
    Ok(())
}
