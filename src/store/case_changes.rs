//! What changes in cases that are on file: carried out in one transaction with its history.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Result, Tx,
    case_bulk::{self, NewPerson},
    cases,
    many::Many,
    persons,
    repayments::{self, NewRepayment},
};
use crate::{
    ids::{CaseId, DebtorId},
    policy::CaseState,
};

statements! {
    UPDATE("change a case") =
        "UPDATE cases SET placed_e4 = COALESCE($2, placed_e4),
                balance_e4 = CASE WHEN CAST($3 AS BIGINT) IS NULL THEN balance_e4
                                  ELSE CAST($3 AS BIGINT) - COALESCE((
                                       SELECT CAST(SUM(r.amount_e4) AS BIGINT) FROM repayments r
                                       WHERE r.case_id = cases.id AND r.paid_on > CAST($14 AS TEXT)), 0) END,
                balance_on = COALESCE($14, balance_on), principal_e4 = COALESCE($4, principal_e4), interest_e4 = COALESCE($5, interest_e4),
                fees_e4 = COALESCE($6, fees_e4), overdue_days = COALESCE($7, overdue_days),
                bucket = COALESCE($8, bucket), region = COALESCE($9, region), fields = COALESCE($10, fields),
                card_hash = COALESCE($11, card_hash), card_box = COALESCE($12, card_box),
                card_last4 = COALESCE($13, card_last4)
         WHERE id = $1
         RETURNING balance_e4";
    NAME("change the name of a debtor") = "UPDATE debtors SET name = $2 WHERE id = $1";
    NOTE("note the history of a case") =
        "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    OF_CASE("read the history of a case") =
        "SELECT at_ms, actor, kind, before, after, reason FROM case_changes WHERE case_id = $1 ORDER BY id";
}

/// Why a case is settled whose balance is nothing or less.
pub const NOTHING_OWED: &str = "the client reports that nothing is owed";

static NOTES: Many = Many::new(
    "note the history of cases",
    "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason) VALUES ",
    &[""; 7],
    "",
);

/// The statement of many rows, for the test that prepares it on both databases.
#[cfg(test)]
pub(crate) fn texts() -> Vec<super::sql::Sql> {
    NOTES.texts().to_vec()
}

/// A change of a case. `None` and empty lists change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// The case.
    pub case: i64,
    /// Placed, balance, principal, interest, fees.
    pub amounts: [Option<i64>; 5],
    /// The day for which the balance is told: what was paid later is taken off it.
    pub balance_on: Option<String>,
    /// A balance was told, but for an earlier day than the one on file: it changes nothing.
    #[serde(skip)]
    pub older_balance: bool,
    /// Days overdue at placement.
    pub overdue_days: Option<i64>,
    /// Word of the bucket that follows from them.
    pub bucket: Option<String>,
    /// Where the debtor lives.
    pub region: Option<String>,
    /// JSON of all the client's own fields.
    pub fields: Option<String>,
    /// Hash, box and last four characters of the card number.
    pub card: Option<(String, String, String)>,
    /// The debtor that the next two are of.
    pub debtor: Option<i64>,
    /// His name.
    pub name: Option<String>,
    /// Hash and box of his identity number.
    pub identity: Option<(String, String)>,
    /// People, numbers and addresses that are new.
    pub people: Vec<NewPerson>,
    /// A payment.
    pub payment: Option<NewRepayment>,
    /// For the history: what it was, JSON; never an identity or card number.
    pub before: serde_json::Map<String, serde_json::Value>,
    /// And what it became.
    pub after: serde_json::Map<String, serde_json::Value>,
}

/// What carrying out changes did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Contact points that are new.
    pub new_points: usize,
    /// Cases that were settled.
    pub settled: usize,
    /// Payments that are in a balance already, because it was told for their day or a later one.
    pub in_balance: usize,
}

/// Carries out changes in their order. Must be in a transaction that, on PostgreSQL, does little else: it takes the guards
/// of persons that turn out to be one.
pub async fn apply(
    tx: &mut Tx,
    changes: &[Change],
    import: Option<i64>,
    actor: &str,
    now_ms: i64,
) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut left = changes;
    // What is entered for many cases at once comes before what each of them does by itself, so each is there once.
    while !left.is_empty() {
        let mut seen = BTreeSet::new();
        let once = left.iter().take_while(|change| seen.insert(change.case));
        let (now, later) = left.split_at(once.count());
        left = later;
        enter(tx, now, &mut applied, actor, now_ms).await?;
        for change in now {
            let (settled, in_balance) = change_case(tx, change, import, actor, now_ms).await?;
            applied.settled += usize::from(settled);
            applied.in_balance += usize::from(in_balance);
        }
    }
    Ok(applied)
}

/// Enters the new people and the history of cases that are each there once.
async fn enter(
    tx: &mut Tx,
    changes: &[Change],
    applied: &mut Applied,
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let people: Vec<_> = changes
        .iter()
        .flat_map(|change| change.people.iter().map(|p| (CaseId::new(change.case), p)))
        .collect();
    applied.new_points += case_bulk::enter_people(tx, &people, now_ms).await?;
    let noted = changes
        .iter()
        .filter(|change| !change.after.is_empty())
        .map(|change| {
            let (before, after) = (
                serde_json::Value::Object(change.before.clone()).to_string(),
                serde_json::Value::Object(change.after.clone()).to_string(),
            );
            args![
                change.case,
                now_ms,
                actor,
                "update",
                before,
                after,
                "import"
            ]
        })
        .collect();
    NOTES.run(tx, noted).await?;
    Ok(())
}

/// Changes one case, its debtor and its money; says whether it was settled by that, and whether its payment was in the
/// balance already.
async fn change_case(
    tx: &mut Tx,
    change: &Change,
    import: Option<i64>,
    actor: &str,
    now_ms: i64,
) -> Result<(bool, bool)> {
    let case = CaseId::new(change.case);
    if let (Some(debtor), Some((hash, boxed))) = (change.debtor, &change.identity) {
        persons::learn(tx, DebtorId::new(debtor), hash, boxed).await?;
    }
    if let (Some(debtor), Some(name)) = (change.debtor, &change.name) {
        tx.execute(&NAME, args![debtor, name]).await?;
    }
    let [placed, balance, principal, interest, fees] = change.amounts;
    let (hash, boxed, last4) = match &change.card {
        Some((hash, boxed, last4)) => {
            (Some(hash.clone()), Some(boxed.clone()), Some(last4.clone()))
        }
        None => (None, None, None),
    };
    let changes_row = change.amounts.iter().any(Option::is_some)
        || change.overdue_days.is_some()
        || change.region.is_some()
        || change.fields.is_some()
        || hash.is_some();
    let mut left: Option<i64> = None;
    if changes_row {
        let args = args![
            case,
            placed,
            balance,
            principal,
            interest,
            fees,
            change.overdue_days,
            change.bucket.clone(),
            change.region.clone(),
            change.fields.clone(),
            hash,
            boxed,
            last4,
            change.balance_on.clone()
        ];
        let changed = tx.fetch_optional(&UPDATE, args).await?;
        left = changed.map(|row| row.get("balance_e4")).transpose()?;
    }
    let mut settled = false;
    if let (Some(told), Some(..=0)) = (balance, left) {
        let reason = if told <= 0 { NOTHING_OWED } else { "repaid" };
        settled = cases::settle(tx, case, reason, actor, now_ms).await?;
    }
    let mut in_balance = false;
    if let Some(payment) = &change.payment {
        let entered = repayments::enter(tx, case, payment, import, actor, now_ms).await?;
        settled |= entered.settled;
        in_balance = entered.in_balance;
    }
    Ok((settled, in_balance))
}

/// Notes with which state, and why, new cases enter that are not open.
pub async fn note_entries(
    tx: &mut Tx,
    entered: &[(CaseId, CaseState, &str)],
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let row = |(case, state, reason): &(CaseId, CaseState, &str)| {
        let after = serde_json::json!({ "state": state.as_str() }).to_string();
        args![*case, now_ms, actor, "state", "{}", after, *reason]
    };
    NOTES
        .run(tx, entered.iter().map(row).collect())
        .await
        .map(drop)
}

/// Notes one change in a case's history.
#[expect(
    clippy::too_many_arguments,
    reason = "these are the columns, in their order"
)]
pub async fn note(
    tx: &mut Tx,
    case: CaseId,
    kind: &str,
    before: &serde_json::Value,
    after: &serde_json::Value,
    reason: &str,
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let args = args![
        case,
        now_ms,
        actor,
        kind,
        before.to_string(),
        after.to_string(),
        reason
    ];
    tx.execute(&NOTE, args).await.map(drop)
}

/// One line of a case's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// What kind of change.
    pub kind: String,
    /// What it was, JSON.
    pub before: String,
    /// What it became, JSON.
    pub after: String,
    /// Why.
    pub reason: String,
}

/// The history of a case, oldest first.
pub async fn of_case(tx: &mut Tx, case: CaseId) -> Result<Vec<Noted>> {
    tx.fetch_all(&OF_CASE, args![case])
        .await?
        .iter()
        .map(|row| {
            Ok(Noted {
                at_ms: row.get("at_ms")?,
                actor: row.get("actor")?,
                kind: row.get("kind")?,
                before: row.get("before")?,
                after: row.get("after")?,
                reason: row.get("reason")?,
            })
        })
        .collect()
}
