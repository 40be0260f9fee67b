//! `ringfence receipts`: decide again from a stored receipt alone, and see that it comes to the same.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    ids::ReceiptId,
    policy::{self, Decision},
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
        .with_context(|| {
            format!("there is no receipt {id}; take the id from a refusal, or from `receipts` in the database")
        })?;
    let decision = policy::replay(&receipt.body)
        .with_context(|| format!("receipt {id} does not prove what it says"))?;
    if let Some(column) = contradiction(&receipt, &decision) {
        anyhow::bail!(
            "receipt {id}: its row says another {column} than the receipt itself; one of them was altered or moved"
        );
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

/// The first column of the row that says something else than the receipt it holds: a whole receipt proves nothing
/// under the name of another decision.
fn contradiction(row: &store::receipts::Receipt, proof: &Decision) -> Option<&'static str> {
    let subject = proof.receipt.subject();
    let codes: Vec<&str> = proof.reasons().iter().map(|r| r.reason.code()).collect();
    let reasons: Option<Vec<String>> = serde_json::from_str(&row.reasons).ok();
    [
        (row.allowed == proof.is_allowed(), "verdict"),
        (
            row.rules_sha256 == proof.receipt.rules_hash(),
            "hash of the rules",
        ),
        (
            reasons.is_some_and(|stored| stored == codes),
            "list of reasons",
        ),
        (row.at_ms == subject.at_ms, "instant"),
        (row.client == subject.client, "client"),
        (row.case == subject.case, "case"),
        (row.contact_point == subject.contact_point, "contact point"),
    ]
    .into_iter()
    .find_map(|(same, column)| (!same).then_some(column))
}
