//! Deciding again: one receipt, every stored receipt, or every stored receipt by other rules.
//!
//! Nothing is looked at but the receipts themselves: no case, no time-zone file, no clock.

use std::collections::BTreeMap;

use super::files::{Loaded, Set};
use crate::{
    ids::{ClientId, ReceiptId},
    policy::{self, Against, Comparison, Decision, Refusal, Verdict},
    store::{
        Db,
        clients::Client,
        receipts::{self, Receipt, Span},
    },
};

/// Receipts read at a time.
const PAGE: u32 = 500;

/// Which stored receipts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which {
    /// Only those of this client's cases.
    pub client: Option<ClientId>,
    /// Only those decided for this instant or later.
    pub from_ms: Option<i64>,
    /// Only those decided for an earlier instant than this.
    pub to_ms: Option<i64>,
}

/// By which other rules receipts are judged.
#[derive(Debug, Clone)]
pub enum Judges {
    /// All by the same.
    One(Set),
    /// Each by those of its client.
    Clients {
        /// Of clients with rules of their own.
        own: BTreeMap<ClientId, Set>,
        /// Of every other.
        general: Set,
    },
}

impl Judges {
    /// Those of a folder.
    #[must_use]
    pub fn of_folder(loaded: &Loaded, clients: &[Client]) -> Self {
        let own = clients.iter().filter_map(|client| {
            let set = loaded.clients.get(&client.code)?;
            Some((client.id, set.clone()))
        });
        Self::Clients {
            own: own.collect(),
            general: loaded.general.clone(),
        }
    }

    /// The rules for a client's receipts.
    #[must_use]
    pub fn of(&self, client: ClientId) -> &Set {
        match self {
            Self::One(set) => set,
            Self::Clients { own, general } => own.get(&client).unwrap_or(general),
        }
    }
}

/// A receipt that does not prove what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// Which.
    pub id: ReceiptId,
    /// What is wrong with it.
    pub problem: String,
}

/// A decision that other rules would have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its receipt.
    pub id: ReceiptId,
    /// The instant it was decided for.
    pub at_ms: i64,
    /// Codes of the reasons then; empty if it was allowed.
    pub before: Vec<&'static str>,
    /// Codes of the reasons by the other rules; empty if it would be allowed.
    pub after: Vec<&'static str>,
    /// What was decided otherwise is not known, because the receipt does not hold what `after` names.
    pub unknown: bool,
}

/// What came of deciding many receipts again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Receipts read.
    pub read: u64,
    /// Of these, allowed as stored.
    pub allowed: u64,
    /// Those that do not prove what they say, the first thousand.
    pub unproven: Vec<Unproven>,
    /// How many those are.
    pub unproven_count: u64,
    /// Decisions that the other rules would have turned from allowed to refused.
    pub to_refused: u64,
    /// And from refused to allowed.
    pub to_allowed: u64,
    /// Refused by both, for other reasons.
    pub otherwise: u64,
    /// The receipts do not hold what the other rules look at, such as a counter nobody asked for then.
    pub unknown: u64,
    /// Of the changes to refused, how many for which reason; one decision may have several.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The changed decisions, the first thousand.
    pub changed: Vec<Changed>,
}

/// The most receipts that a tally lists; more are counted.
const LISTED: usize = 1_000;

/// Decides a stored receipt again from its text alone, and compares its row with it.
///
/// # Errors
/// What is wrong with it.
pub fn prove(receipt: &Receipt) -> Result<Decision, String> {
    let decision = policy::replay(&receipt.body)
        .map_err(|error| format!("it does not prove what it says: {error}"))?;
    match contradiction(receipt, &decision) {
        None => Ok(decision),
        Some(column) => Err(format!(
            "its row says another {column} than the receipt itself; one of them was altered or moved"
        )),
    }
}

/// The first column of the row that says something else than the receipt it holds: a whole receipt proves nothing
/// under the name of another decision.
fn contradiction(row: &Receipt, proof: &Decision) -> Option<&'static str> {
    let subject = proof.receipt.subject();
    // Rows of before name a code as often as there were reasons for it.
    let each: Option<Vec<String>> = serde_json::from_str(&row.reasons).ok();
    let reasons = row.reasons == receipts::codes(proof)
        || each.is_some_and(|each| each == codes(proof.reasons()));
    [
        (row.allowed == proof.is_allowed(), "verdict"),
        (
            row.rules_sha256 == proof.receipt.rules_hash(),
            "hash of the rules",
        ),
        (reasons, "list of reasons"),
        (row.at_ms == subject.at_ms, "instant"),
        (row.client == subject.client, "client"),
        (row.case == subject.case, "case"),
        (row.contact_point == subject.contact_point, "contact point"),
    ]
    .into_iter()
    .find_map(|(same, column)| (!same).then_some(column))
}

/// Decides every stored receipt again; with `against`, also by those rules. `seen` is told how many were read.
///
/// # Errors
/// The database.
pub async fn all(
    db: &Db,
    which: Which,
    against: Option<&Judges>,
    mut seen: impl FnMut(u64),
) -> anyhow::Result<Tally> {
    let span = Span {
        client: which.client,
        from_ms: which.from_ms.unwrap_or(i64::MIN),
        to_ms: which.to_ms.unwrap_or(i64::MAX),
    };
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        // A transaction a page: the oldest page must not hold back the database's own cleaning for an hour.
        let mut tx = db.read().await?;
        let page = receipts::page(&mut tx, span, after, PAGE).await?;
        tx.rollback().await?;
        let Some(last) = page.last() else {
            return Ok(tally);
        };
        after = Some(last.id);
        for receipt in &page {
            tally.add(receipt, against);
        }
        seen(tally.read);
        tokio::task::yield_now().await;
    }
}

impl Tally {
    fn add(&mut self, receipt: &Receipt, against: Option<&Judges>) {
        self.read += 1;
        self.allowed += u64::from(receipt.allowed);
        if let Err(problem) = prove(receipt) {
            return self.doubt(receipt.id, problem);
        }
        let Some(judges) = against else { return };
        match policy::replay_against(&receipt.body, &judges.of(receipt.client).rules) {
            Ok(comparison) => self.compare(receipt, &comparison),
            Err(error) => self.doubt(receipt.id, error.to_string()),
        }
    }

    fn doubt(&mut self, id: ReceiptId, problem: String) {
        self.unproven_count += 1;
        if self.unproven.len() < LISTED {
            self.unproven.push(Unproven { id, problem });
        }
    }

    fn compare(&mut self, receipt: &Receipt, comparison: &Comparison) {
        let before = codes(reasons(&comparison.then));
        let (after, unknown) = match &comparison.with {
            Against::Decided(verdict) => (codes(reasons(verdict)), false),
            Against::Unknown { missing } => (codes(missing), true),
        };
        if before == after {
            return;
        }
        match (before.is_empty(), after.is_empty()) {
            _ if unknown => self.unknown += 1,
            (true, _) => {
                self.to_refused += 1;
                let mut once = after.clone();
                once.sort_unstable();
                once.dedup();
                for code in once {
                    *self.reasons.entry(code).or_default() += 1;
                }
            }
            (false, true) => self.to_allowed += 1,
            (false, false) => self.otherwise += 1,
        }
        if self.changed.len() < LISTED {
            self.changed.push(Changed {
                id: receipt.id,
                at_ms: receipt.at_ms,
                before,
                after,
                unknown,
            });
        }
    }

    /// How many differ, or may.
    #[must_use]
    pub fn differing(&self) -> u64 {
        self.to_refused + self.to_allowed + self.otherwise + self.unknown
    }
}

fn reasons(verdict: &Verdict) -> &[Refusal] {
    match verdict {
        Verdict::Allow { .. } => &[],
        Verdict::Deny { reasons } => reasons,
    }
}

fn codes(refusals: &[Refusal]) -> Vec<&'static str> {
    refusals
        .iter()
        .map(|refusal| refusal.reason.code())
        .collect()
}
