//! `ringfence policy replay`: one receipt from its text alone, or every stored one, also by other rules.

use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::super::Desk;
use crate::{
    ids::ReceiptId,
    policy::{self, Against, Decision, Refusal, Verdict},
    rulebook::{
        self,
        files::{Configured, Loaded, Set, Single},
        find,
        replay::{Judges, Tally, Which, all, prove},
    },
    store::{self, clients},
};

/// The most bytes of a file that may be a receipt.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Arguments of `ringfence policy replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file with a receipt (needs no database), or the id of a stored one
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub receipt: Option<String>,
    /// Every stored receipt
    #[arg(long)]
    pub all: bool,
    /// Only those decided for this instant or later
    #[arg(long, value_name = "INSTANT", requires = "all")]
    pub from: Option<String>,
    /// Only those decided for an earlier instant
    #[arg(long, value_name = "INSTANT", requires = "all")]
    pub to: Option<String>,
    /// Only those of this client's cases
    #[arg(long, value_name = "CODE", requires = "all")]
    pub client: Option<String>,
    /// Say what other rules would have decided otherwise: a file, with the all.toml beside it or in policy.dir, by which every
    /// receipt is judged; or a folder like policy.dir, by which each is judged by the rules of its client
    #[arg(long, value_name = "RULES.toml|FOLDER")]
    pub against: Option<PathBuf>,
}

/// Replays a receipt in a file; gives whether it was one.
///
/// # Errors
/// A receipt that does not prove what it says, or rules that cannot be read.
pub fn offline(
    args: &ReplayArgs,
    configured: Option<&Configured>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let Some(receipt) = &args.receipt else {
        return Ok(false);
    };
    if receipt.parse::<ReceiptId>().is_ok() {
        return Ok(false);
    }
    let path = Path::new(receipt);
    let text = read(path)?;
    // `GET /api/v1/receipts/ID` wraps it.
    let wrapped: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let inner = wrapped.and_then(|json| json.get("decision").map(ToString::to_string));
    let text = inner.as_deref().unwrap_or(text.trim());
    let decision = policy::replay(text).with_context(|| receipt.clone())?;
    print(&decision, "as it says", out)?;
    if let Some(against) = &args.against {
        if against.is_dir() {
            bail!(
                "{}: a receipt in a file does not say the code of its client; name the client's file in the folder",
                against.display()
            );
        }
        let set = Single::read(against, configured)?.judging().clone();
        against_one(text, &set, out)?;
    }
    Ok(true)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path)
        .with_context(|| format!("{shown}: neither a receipt's id nor a file that can be read"))?;
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {shown}"))?;
    Ok(text)
}

/// Runs `ringfence policy replay` on stored receipts.
///
/// # Errors
/// An unknown receipt, one that does not prove what it says, or the database.
pub async fn run(
    args: &ReplayArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if let Some(receipt) = &args.receipt {
        let id = receipt.parse().map_err(|e| anyhow::anyhow!("{e}"))?;
        return one(id, desk, args.against.as_deref(), out).await;
    }
    let client = match &args.client {
        Some(code) => {
            let mut tx = desk.db.read().await?;
            Some(find::client(&mut tx, code, None).await?.id)
        }
        None => None,
    };
    let instant = |text: &String| rulebook::instant(text, &desk.zone);
    let which = Which {
        client,
        from_ms: args.from.as_ref().map(instant).transpose()?,
        to_ms: args.to.as_ref().map(instant).transpose()?,
    };
    let judges = match &args.against {
        Some(path) => Some(judges(path, desk).await?),
        None => None,
    };
    if let (Some(Judges::One(set)), None) = (&judges, &args.client) {
        writeln!(
            out,
            "every client is judged by {}; --client narrows it, a folder judges each client by its own rules",
            set.source
        )?;
    }
    let tally = all(desk.db, which, judges.as_ref(), |read| {
        if read.is_multiple_of(100_000) {
            eprintln!("{read} receipts");
        }
    })
    .await?;
    report(&tally, judges.as_ref(), desk, out)
}

/// The rules that receipts are judged by: of a folder, or of a file with what holds for all.
async fn judges(path: &Path, desk: &Desk<'_>) -> anyhow::Result<Judges> {
    let configured = desk.configured()?;
    if !path.is_dir() {
        return Ok(Judges::One(
            Single::read(path, Some(&configured))?.judging().clone(),
        ));
    }
    let loaded = Loaded::read(configured.preset, Some(path))?;
    let mut tx = desk.db.read().await?;
    let clients = clients::list(&mut tx).await?;
    Ok(Judges::of_folder(&loaded, &clients))
}

/// Replays one stored receipt.
///
/// # Errors
/// An unknown receipt, one that does not prove what it says, or the database.
pub async fn replay_one(
    id: ReceiptId,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    one(id, desk, None, out).await
}

async fn one(
    id: ReceiptId,
    desk: &Desk<'_>,
    against: Option<&Path>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let receipt = store::receipts::by_id(&mut tx, id)
        .await?
        .with_context(|| {
            format!("there is no receipt {id}; take the id from a refusal, or from `ringfence receipts list`")
        })?;
    let decision = match prove(&receipt) {
        Ok(decision) => decision,
        Err(problem) => bail!("receipt {id}: {problem}"),
    };
    print(&decision, "as stored", out)?;
    tx.rollback().await?;
    match against {
        Some(path) => {
            let judges = judges(path, desk).await?;
            against_one(&receipt.body, judges.of(receipt.client), out)
        }
        None => Ok(()),
    }
}

fn print(decision: &Decision, how: &str, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let verdict = if decision.is_allowed() {
        "allowed"
    } else {
        "refused"
    };
    writeln!(
        out,
        "{verdict}, {how}; rules {}",
        decision.receipt.rules_hash()
    )?;
    list(decision.reasons(), out)
}

fn list(refusals: &[Refusal], out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for refusal in refusals {
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

fn against_one(text: &str, against: &Set, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let comparison = policy::replay_against(text, &against.rules)?;
    let shown = &against.source;
    let (verdict, refusals) = match &comparison.with {
        Against::Unknown { missing } => (
            "the receipt does not hold what they look at".to_owned(),
            missing.as_slice(),
        ),
        Against::Decided(verdict) => {
            let same = comparison.is_changed() == Some(false);
            let word = if same { "the same" } else { "otherwise" };
            match verdict {
                Verdict::Allow { .. } => (format!("allowed, {word}"), &[][..]),
                Verdict::Deny { reasons } => (format!("refused, {word}"), reasons.as_slice()),
            }
        }
    };
    writeln!(out, "by {shown}: {verdict}")?;
    list(refusals, out)
}

fn report(
    tally: &Tally,
    against: Option<&Judges>,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} receipts decided again: {} allowed, {} refused; {} do not prove what they say",
        tally.read,
        tally.allowed,
        tally.read - tally.allowed,
        tally.unproven_count
    )?;
    for unproven in &tally.unproven {
        writeln!(out, "  {}: {}", unproven.id, unproven.problem)?;
    }
    if let Some(judges) = against {
        let by = match judges {
            Judges::One(set) => format!(
                "by {}, {} revision {}",
                set.source, set.rules.name, set.rules.revision
            ),
            Judges::Clients { own, general } => format!(
                "each by the rules of its client: {} clients have rules of their own there, the others {}",
                own.len(),
                general.source
            ),
        };
        writeln!(
            out,
            "{by}: {} allowed ones would have been refused, {} refused ones allowed, {} refused for other \
             reasons; of {} the receipts do not hold what these rules look at",
            tally.to_refused, tally.to_allowed, tally.otherwise, tally.unknown
        )?;
        for (code, count) in &tally.reasons {
            writeln!(out, "  {count} x {code}")?;
        }
        let codes = |codes: &[&str]| match codes {
            [] => "allowed".to_owned(),
            codes => codes.join(", "),
        };
        for changed in &tally.changed {
            writeln!(
                out,
                "  {} {}: {} -> {}{}",
                changed.id,
                desk.local(changed.at_ms),
                codes(&changed.before),
                if changed.unknown { "not known: " } else { "" },
                codes(&changed.after)
            )?;
        }
        let more = tally.differing().saturating_sub(tally.changed.len() as u64);
        if more > 0 {
            writeln!(out, "  and {more} more")?;
        }
    }
    if tally.unproven_count > 0 {
        bail!(
            "{} receipts do not prove what they say",
            tally.unproven_count
        );
    }
    Ok(())
}
