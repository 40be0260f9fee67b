//! Repayments: money that came in on a case, as the client reported it. A case whose balance is paid closes by itself.
//!
//! A balance is told for a day. What was paid until then, that day included, is in it already and is not taken off once
//! more: a case that is half paid must not be settled because its payment was told twice.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Dialect, Result, Tx, bulk::Among, cases, sql::Sql};
use crate::ids::{CaseId, ClientId};

/// Locks the case as well, so that what follows goes by the day on which its batch was placed as it is now.
macro_rules! insert {
    ($lock:literal) => {
        concat!(
            "INSERT INTO repayments (client_id, case_id, reference, amount_e4, currency, paid_on, settles, agent_id,
                                     import_id, created_at_ms)
             SELECT client_id, id, $2, $3, $4, $5, $6, agent_id, $7, $8 FROM cases WHERE id = $1",
            $lock,
            " ON CONFLICT (client_id, reference) DO NOTHING"
        )
    };
}

pub(crate) const fn insert(dialect: Dialect) -> &'static Sql {
    match dialect {
        // There is one writer at a time.
        Dialect::Sqlite => &Sql {
            act: "enter a repayment",
            text: insert!(""),
        },
        Dialect::Postgres => &Sql {
            act: "enter a repayment",
            text: insert!(" FOR NO KEY UPDATE"),
        },
    }
}

/// What came back of a case, all of it.
macro_rules! repaid {
    ($case:literal) => {
        concat!(
            "(SELECT CAST(COALESCE(SUM(r.amount_e4), 0) AS BIGINT) FROM repayments r WHERE r.case_id = ",
            $case,
            ".id)"
        )
    };
}

/// And of that, what was paid within the cycle of its batch.
macro_rules! repaid_in_cycle {
    ($case:literal) => {
        concat!(
            "(SELECT CAST(COALESCE(SUM(r.amount_e4), 0) AS BIGINT) FROM batches b JOIN repayments r ON r.case_id = ",
            $case,
            ".id
                  AND r.paid_on >= b.placed_on AND r.paid_on < b.cycle_end_on WHERE b.id = ",
            $case,
            ".batch_id)"
        )
    };
}
pub(super) use repaid_in_cycle;

statements! {
    TAKE_OFF("take a repayment off the balance") =
        "UPDATE cases SET repaid_e4 = repaid_e4 + $2,
                cycle_repaid_e4 = cycle_repaid_e4 +
                    CASE WHEN EXISTS (SELECT 1 FROM batches b WHERE b.id = cases.batch_id
                                      AND b.placed_on <= $3 AND b.cycle_end_on > $3) THEN $2 ELSE 0 END,
                balance_e4 = CASE WHEN balance_on >= $3 THEN balance_e4 ELSE balance_e4 - $2 END
         WHERE id = $1
         RETURNING balance_e4, CAST(CASE WHEN balance_on >= $3 THEN 1 ELSE 0 END AS BIGINT) AS in_balance";
    SETTLES("note that a repayment settled the case") =
        "UPDATE repayments SET settles = 1
         WHERE reference = $2 AND client_id = (SELECT client_id FROM cases WHERE id = $1)";
    RECOUNTED("add up the repayments of cases") = concat!(
        "SELECT k.id, k.repaid_e4, k.cycle_repaid_e4, ", repaid!("k"), " AS all_e4, ", repaid_in_cycle!("k"), " AS cycle_e4
         FROM cases k WHERE k.id > $1 ORDER BY k.id LIMIT $2");
    LOCK("add up the repayments of a case") = "UPDATE cases SET repaid_e4 = repaid_e4 WHERE id = $1";
    ADD_UP("add up the repayments of a case") =
        concat!("UPDATE cases SET repaid_e4 = ", repaid!("cases"), ", cycle_repaid_e4 = ", repaid_in_cycle!("cases"), " WHERE id = $1");
    OF_CASE("list the repayments of a case") =
        "SELECT reference, amount_e4, currency, paid_on, settles FROM repayments WHERE case_id = $1 ORDER BY id";
    LIST("list the repayments") =
        "SELECT r.id, k.code AS client, c.reference AS case_reference, r.reference, r.amount_e4, r.currency, r.paid_on,
                r.settles, COALESCE(a.code, '') AS agent, r.created_at_ms
         FROM repayments r JOIN clients k ON k.id = r.client_id JOIN cases c ON c.id = r.case_id
              LEFT JOIN agents a ON a.id = r.agent_id
         WHERE (CAST($1 AS BIGINT) IS NULL OR r.client_id = $1) AND r.paid_on >= $2 AND r.paid_on <= $3 AND r.id > $4
         ORDER BY r.id LIMIT $5";
}

static KNOWN: Among = Among::new(
    "look up repayments",
    "SELECT reference, case_id, amount_e4, currency, paid_on FROM repayments WHERE client_id = $1 AND reference IN",
    1,
    "",
);

/// The statements that are made of parts.
#[cfg(test)]
pub(crate) fn texts() -> Vec<super::sql::Sql> {
    super::bulk::texts_of(&[], &[&KNOWN])
}

/// A repayment to be entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRepayment {
    /// The client's number of it.
    pub reference: String,
    /// How much; negative for one taken back.
    pub amount_e4: i64,
    /// ISO 4217.
    pub currency: String,
    /// On which day.
    pub paid_on: String,
    /// Whether the client calls the case settled with it.
    pub settles: bool,
}

/// What entering a repayment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// Whether it was new.
    pub new: bool,
    /// Whether the case was settled by it.
    pub settled: bool,
    /// Whether the balance was told for its day or a later one, and holds it already.
    pub in_balance: bool,
}

/// Enters a repayment once, takes it off the balance, and settles the case if nothing is left or the client says so:
/// the case and its queued callbacks end in this very transaction.
pub async fn enter(
    tx: &mut Tx,
    case: CaseId,
    new: &NewRepayment,
    import: Option<i64>,
    actor: &str,
    now_ms: i64,
) -> Result<Entered> {
    let args = args![
        case,
        &new.reference,
        new.amount_e4,
        &new.currency,
        &new.paid_on,
        new.settles,
        import,
        now_ms
    ];
    if tx.execute(insert(tx.dialect()), args).await? == 0 {
        return Ok(Entered {
            new: false,
            settled: false,
            in_balance: false,
        });
    }
    let args = args![case, new.amount_e4, &new.paid_on];
    let row = tx.fetch_one(&TAKE_OFF, args).await?;
    let left: i64 = row.get("balance_e4")?;
    let in_balance = row.flag("in_balance")?;
    // Of a case whose balance the client never told nothing can be said to be paid.
    let paid = !in_balance && left <= 0 && left.saturating_add(new.amount_e4) > 0;
    let mut settled = false;
    if new.settles || paid {
        tx.execute(&SETTLES, args![case, &new.reference]).await?;
        settled = cases::settle(tx, case, "repaid", actor, now_ms).await?;
    }
    Ok(Entered {
        new: true,
        settled,
        in_balance,
    })
}

/// What came back of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repaid {
    /// The case.
    pub case: CaseId,
    /// All of it, in ten-thousandths.
    pub all_e4: i64,
    /// Of that, what was paid within the cycle of its batch.
    pub cycle_e4: i64,
}

/// What is stored with cases and what their repayments add up to, of so many cases after an id, in the order of their ids.
pub async fn recounted(tx: &mut Tx, after: i64, most: i64) -> Result<Vec<(Repaid, Repaid)>> {
    tx.fetch_all(&RECOUNTED, args![after, most])
        .await?
        .iter()
        .map(|row| {
            let case = CaseId::new(row.get("id")?);
            let stored = Repaid {
                case,
                all_e4: row.get("repaid_e4")?,
                cycle_e4: row.get("cycle_repaid_e4")?,
            };
            let recounted = Repaid {
                case,
                all_e4: row.get("all_e4")?,
                cycle_e4: row.get("cycle_e4")?,
            };
            Ok((stored, recounted))
        })
        .collect()
}

/// Makes the sums of a case what its repayments add up to. The case is locked by a statement of its own first, so that the
/// second sees whatever was entered before it.
pub(crate) async fn add_up(tx: &mut Tx, case: CaseId) -> Result<()> {
    tx.execute(&LOCK, args![case]).await?;
    tx.execute(&ADD_UP, args![case]).await.map(drop)
}

/// A repayment that is on file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its case.
    pub case: CaseId,
    /// How much.
    pub amount_e4: i64,
    /// ISO 4217.
    pub currency: String,
    /// On which day.
    pub paid_on: String,
}

/// What is on file of a client's repayments, by their numbers.
pub async fn known(
    tx: &mut Tx,
    client: ClientId,
    references: &[&str],
) -> Result<HashMap<String, Known>> {
    let keys: Vec<_> = references.iter().map(|r| (*r).into()).collect();
    let rows = KNOWN.fetch(tx, &[client.into()], &keys).await?;
    rows.iter()
        .map(|row| {
            let known = Known {
                case: CaseId::new(row.get("case_id")?),
                amount_e4: row.get("amount_e4")?,
                currency: row.get("currency")?,
                paid_on: row.get("paid_on")?,
            };
            Ok((row.get("reference")?, known))
        })
        .collect()
}

/// A repayment as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Our id.
    pub id: i64,
    /// Code of the client.
    pub client: String,
    /// The client's case number.
    pub case_reference: String,
    /// The client's number of it.
    pub reference: String,
    /// How much.
    pub amount_e4: i64,
    /// ISO 4217.
    pub currency: String,
    /// On which day.
    pub paid_on: String,
    /// Whether the case was settled with it.
    pub settles: bool,
    /// Code of the agent whose case it was; empty if it was nobody's.
    pub agent: String,
    /// When it was entered.
    pub created_at_ms: i64,
}

/// Repayments of a client (`None`: of all) paid between two days, both included, after an id, in the order of entry.
pub async fn list(
    tx: &mut Tx,
    client: Option<ClientId>,
    from: &str,
    to: &str,
    after: i64,
    most: u32,
) -> Result<Vec<Line>> {
    tx.fetch_all(&LIST, args![client, from, to, after, most])
        .await?
        .iter()
        .map(|row| {
            Ok(Line {
                id: row.get("id")?,
                client: row.get("client")?,
                case_reference: row.get("case_reference")?,
                reference: row.get("reference")?,
                amount_e4: row.get("amount_e4")?,
                currency: row.get("currency")?,
                paid_on: row.get("paid_on")?,
                settles: row.flag("settles")?,
                agent: row.get("agent")?,
                created_at_ms: row.get("created_at_ms")?,
            })
        })
        .collect()
}

/// The repayments of a case, in the order of entry.
pub async fn of_case(tx: &mut Tx, case: CaseId) -> Result<Vec<NewRepayment>> {
    tx.fetch_all(&OF_CASE, args![case])
        .await?
        .iter()
        .map(|row| {
            Ok(NewRepayment {
                reference: row.get("reference")?,
                amount_e4: row.get("amount_e4")?,
                currency: row.get("currency")?,
                paid_on: row.get("paid_on")?,
                settles: row.flag("settles")?,
            })
        })
        .collect()
}
