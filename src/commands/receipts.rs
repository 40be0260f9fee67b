//! `ringfence receipts`: find the decisions of the gate, read them, prove them.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Desk;
use crate::{
    ids::ReceiptId,
    rulebook::{
        self,
        find::{self, CaseName},
        replay::prove,
    },
    store::{
        agents, cases, clients, contact_points,
        receipts::{self, Wanted},
    },
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
    /// List decisions, newest first
    List(ListArgs),
    /// Say what was decided and why, rule by rule
    Show {
        /// The receipt's id, as a refusal or the list names it
        id: ReceiptId,
        /// Print the receipt itself, which `ringfence policy replay FILE` decides again anywhere
        #[arg(long)]
        json: bool,
    },
    /// Decide again from the receipt alone; fails if it was altered or the result is another
    Replay {
        /// The receipt's id, as a refusal or the list names it
        id: ReceiptId,
    },
}

/// Arguments of `ringfence receipts list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this case
    #[arg(long, value_name = "CLIENT/CASE")]
    pub case: Option<CaseName>,
    /// Only those about this number, in whatever case
    #[arg(long)]
    pub number: Option<String>,
    /// Only those of this client's cases
    #[arg(long, value_name = "CODE")]
    pub client: Option<String>,
    /// Decided for this instant or later: 2026-11-23T20:59:40+08:00, or without the offset in the operators' zone
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<String>,
    /// Decided for an earlier instant
    #[arg(long, value_name = "INSTANT")]
    pub to: Option<String>,
    /// Only refusals
    #[arg(long)]
    pub refused: bool,
    /// Only refusals with this code among their reasons, such as cap_reached
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// The most to list
    #[arg(long, default_value_t = 200)]
    pub limit: u32,
}

/// Runs `ringfence receipts`.
///
/// # Errors
/// An unknown receipt, case, client or number, a receipt that does not prove what it says, or the database.
pub async fn run(
    args: ReceiptsArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        ReceiptsCommand::List(args) => list(&args, desk, out).await,
        ReceiptsCommand::Show { id, json } => show(id, json, desk, out).await,
        ReceiptsCommand::Replay { id } => super::policy::replay_one(id, desk, out).await,
    }
}

async fn list(
    args: &ListArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let instant = |text: &String| rulebook::instant(text, &desk.zone);
    let reason = args.reason.as_deref().unwrap_or("");
    rulebook::receipts::check_reason(reason)?;
    let mut tx = desk.db.read().await?;
    let mut wanted = Wanted {
        allowed: args.refused.then_some(false),
        reason,
        ..Wanted::default()
    };
    if let Some(name) = &args.case {
        wanted.case = Some(find::case(&mut tx, name, None).await?.id);
    }
    if let Some(code) = &args.client {
        wanted.client = Some(find::client(&mut tx, code, None).await?.id);
    }
    if let Some(text) = &args.number {
        let number = desk.numbering.number(text)?;
        let id = contact_points::number_id(&mut tx, &number).await?;
        wanted.number =
            Some(id.context("this number was never entered, so nothing was decided about it")?);
    }
    if let Some(text) = &args.from {
        wanted.from_ms = instant(text)?;
    }
    if let Some(text) = &args.to {
        wanted.to_ms = instant(text)?;
    }
    let found = receipts::list(&mut tx, &wanted, None, args.limit.saturating_add(1)).await?;
    let agents = agents::list(&mut tx).await?;
    let mut table = super::table([
        "receipt",
        "decided for",
        "case",
        "contact point",
        "agent",
        "decision",
        "rules",
    ]);
    for line in found.iter().take(args.limit as usize) {
        let agent = agents.iter().find(|agent| Some(agent.id) == line.agent);
        let decision = if line.allowed {
            "allowed".to_owned()
        } else {
            line.reasons.join(", ")
        };
        table.add_row([
            line.id.to_string(),
            desk.local(line.at_ms),
            format!("{}/{}", line.client, line.reference),
            line.contact_point.to_string(),
            agent.map_or_else(String::new, |agent| agent.code.clone()),
            decision,
            line.rules_sha256.get(..12).unwrap_or_default().to_owned(),
        ]);
    }
    writeln!(out, "{table}")?;
    if found.len() > args.limit as usize {
        writeln!(
            out,
            "more than {}: narrow it with --from and --to, or raise --limit",
            args.limit
        )?;
    }
    Ok(())
}

async fn show(
    id: ReceiptId,
    json: bool,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let receipt = receipts::by_id(&mut tx, id)
        .await?
        .with_context(|| format!("there is no receipt {id}; `ringfence receipts list` finds it"))?;
    if json {
        writeln!(out, "{}", receipt.body)?;
        return Ok(());
    }
    let client = clients::by_id(&mut tx, receipt.client).await?;
    let case = cases::by_id(&mut tx, receipt.case).await?;
    let decision = prove(&receipt).map_err(|problem| anyhow::anyhow!("receipt {id}: {problem}"))?;
    let verdict = if decision.is_allowed() {
        "allowed"
    } else {
        "refused"
    };
    writeln!(
        out,
        "receipt {id}: {verdict}, for {}",
        desk.local(receipt.at_ms)
    )?;
    writeln!(
        out,
        "  case {}/{}, contact point {}",
        client.map(|c| c.code).unwrap_or_default(),
        case.map(|c| c.reference).unwrap_or_default(),
        receipt.contact_point
    )?;
    writeln!(
        out,
        "  rules SHA-256 {}; `ringfence policy show --sha256` reads them",
        receipt.rules_sha256
    )?;
    super::policy::rule_by_rule(&receipt.body, out)
}
