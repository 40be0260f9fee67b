//! Batches: the lots in which clients place cases.

use jiff::civil::Date;

use super::{Dialect, Result, Tx, sql::Sql};
use crate::ids::{BatchId, ClientId};

/// In the order of their ids, as others lock several cases.
pub(crate) const LOCK_CASES: Sql = Sql {
    act: "add up what came back within the cycle of a batch",
    text: "SELECT id FROM cases WHERE batch_id = $1 ORDER BY id FOR NO KEY UPDATE",
};

statements! {
    OF_CLIENT("list a client's batches") = "SELECT id FROM batches WHERE client_id = $1 ORDER BY id";
    ENSURE("enter a batch") =
        "INSERT INTO batches (client_id, code, created_at_ms, revealed_at_ms) VALUES ($1, $2, $3, $3)
         ON CONFLICT (client_id, code) DO NOTHING";
    ENSURE_HIDDEN("enter a batch") =
        "INSERT INTO batches (client_id, code, created_at_ms, case_type, placed_on, cycle_end_on)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (client_id, code) DO NOTHING";
    HIDDEN("look up a batch") =
        "SELECT id, revealed_at_ms, placed_on FROM batches WHERE client_id = $1 AND code = $2";
    PLACE("say when a batch was placed") = "UPDATE batches SET placed_on = $2, cycle_end_on = $3 WHERE id = $1";
    CYCLES("read the cycles of batches") =
        "SELECT id, code, placed_on, cycle_end_on FROM batches WHERE placed_on IS NOT NULL ORDER BY id";
    MEND("set the cycle of a batch") = "UPDATE batches SET cycle_end_on = $3 WHERE id = $1 AND placed_on = $2";
    COUNT("add up what came back within the cycle of a batch") =
        concat!(
            "UPDATE cases SET cycle_repaid_e4 = ", super::repayments::repaid_in_cycle!("cases"), "
             WHERE batch_id = $1 AND EXISTS (SELECT 1 FROM repayments r WHERE r.case_id = cases.id)");
    ID("look up a batch") = "SELECT id FROM batches WHERE client_id = $1 AND code = $2";
    LIST("list the batches") =
        "SELECT b.id, b.code, c.code AS client FROM batches b JOIN clients c ON c.id = b.client_id
         WHERE b.revealed_at_ms IS NOT NULL ORDER BY c.code, b.code";
}

/// The id of a client's batch, entered, and seen at once, if there is none with this code.
pub async fn ensure(tx: &mut Tx, client_id: ClientId, code: &str, now_ms: i64) -> Result<BatchId> {
    tx.execute(&ENSURE, args![client_id, code, now_ms]).await?;
    Ok(BatchId::new(
        tx.fetch_one(&ID, args![client_id, code]).await?.get("id")?,
    ))
}

/// A batch that cases go into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// Our id.
    pub id: BatchId,
    /// Whether nobody sees it yet, nor its cases.
    pub hidden: bool,
    /// The day on which the client placed it, `YYYY-MM-DD`.
    pub placed_on: Option<String>,
}

/// A client's batch, entered hidden and placed on this day if there is none with this code.
pub async fn ensure_hidden(
    tx: &mut Tx,
    client_id: ClientId,
    code: &str,
    case_type: &str,
    placed_on: Date,
    now_ms: i64,
) -> Result<Lot> {
    let [placed_on, cycle_end_on] = cycle(placed_on);
    let new = args![client_id, code, now_ms, case_type, placed_on, cycle_end_on];
    tx.execute(&ENSURE_HIDDEN, new).await?;
    let row = tx.fetch_one(&HIDDEN, args![client_id, code]).await?;
    Ok(Lot {
        id: BatchId::new(row.get("id")?),
        hidden: row.get::<Option<i64>>("revealed_at_ms")?.is_none(),
        placed_on: row.get("placed_on")?,
    })
}

/// Says, or corrects, on which day the client placed a batch: its cycle of recovery begins with it, and what came back
/// within it is added up anew, under the locks of all its cases, so that a repayment that is being entered is in it or
/// goes by the new day.
pub async fn place(tx: &mut Tx, batch: BatchId, placed_on: Date) -> Result<()> {
    let [placed_on, cycle_end_on] = cycle(placed_on);
    tx.execute(&PLACE, args![batch, placed_on, cycle_end_on])
        .await?;
    if tx.dialect() == Dialect::Postgres {
        tx.execute(&LOCK_CASES, args![batch]).await?;
    }
    tx.execute(&COUNT, args![batch]).await.map(drop)
}

/// The first day of a cycle, and the first day after it: the same day three months later, or the last one of that month.
fn cycle(placed_on: Date) -> [String; 2] {
    let end = placed_on.saturating_add(jiff::Span::new().months(3));
    [placed_on.to_string(), end.to_string()]
}

/// A batch whose cycle does not end when it should by its day of placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongCycle {
    /// Our id.
    pub id: BatchId,
    /// The client's name of the lot.
    pub code: String,
    /// The day of placement.
    pub placed_on: String,
    /// What is stored.
    pub stored: Option<String>,
    /// When it should end.
    pub reckoned: String,
}

/// The batches whose cycles end otherwise than their days of placement say. A day of placement that is none has no cycle.
pub async fn wrong_cycles(tx: &mut Tx) -> Result<Vec<WrongCycle>> {
    let mut wrong = Vec::new();
    for row in tx.fetch_all(&CYCLES, args![]).await? {
        let placed_on: String = row.get("placed_on")?;
        let stored: Option<String> = row.get("cycle_end_on")?;
        let Ok(day) = placed_on.parse::<Date>() else {
            continue;
        };
        let [_, reckoned] = cycle(day);
        if stored.as_ref() != Some(&reckoned) {
            wrong.push(WrongCycle {
                id: BatchId::new(row.get("id")?),
                code: row.get("code")?,
                placed_on,
                stored,
                reckoned,
            });
        }
    }
    Ok(wrong)
}

/// Sets when the cycle ends, unless the batch was placed on another day meanwhile. What came back within it is to be added
/// up anew.
pub(crate) async fn mend_cycle(tx: &mut Tx, wrong: &WrongCycle) -> Result<()> {
    let args = args![wrong.id, &wrong.placed_on, &wrong.reckoned];
    tx.execute(&MEND, args).await.map(drop)
}

/// A batch as reports name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Our id.
    pub id: BatchId,
    /// The client's name of the lot.
    pub code: String,
    /// Code of the client.
    pub client: String,
}

impl Batch {
    /// Client and batch: different clients may use the same name.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.client, self.code)
    }
}

/// The batches of a client.
pub async fn of_client(tx: &mut Tx, client: ClientId) -> Result<Vec<BatchId>> {
    let rows = tx.fetch_all(&OF_CLIENT, args![client]).await?;
    rows.iter()
        .map(|row| Ok(BatchId::new(row.get("id")?)))
        .collect()
}

/// All batches.
pub async fn list(tx: &mut Tx) -> Result<Vec<Batch>> {
    let rows = tx.fetch_all(&LIST, args![]).await?;
    rows.iter()
        .map(|row| {
            Ok(Batch {
                id: BatchId::new(row.get("id")?),
                code: row.get("code")?,
                client: row.get("client")?,
            })
        })
        .collect()
}
