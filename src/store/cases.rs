//! Cases and their debtors.
//!
//! A case that an import has not revealed yet, by itself or by its batch, does not exist for anybody here.

use super::{Error, Result, Tx, db::Row, persons};
use crate::{
    ids::{BatchId, CaseId, ClientId, DebtorId},
    policy::CaseState,
};

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Our id.
    pub id: CaseId,
    /// Who placed it.
    pub client_id: ClientId,
    /// The lot it came in.
    pub batch_id: BatchId,
    /// Who owes.
    pub debtor_id: DebtorId,
    /// The client's case number.
    pub reference: String,
    /// What may be done with it.
    pub state: CaseState,
}

/// A case as lists show it: with words instead of ids, and how many numbers it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseLine {
    /// The case.
    pub case: Case,
    /// Code of the client.
    pub client: String,
    /// Code of the batch.
    pub batch: String,
    /// Numbers on file.
    pub contact_points: i64,
}

statements! {
    ENSURE_DEBTOR("enter a debtor") =
        "INSERT INTO debtors (client_id, reference, person_id, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (client_id, reference) DO NOTHING";
    DEBTOR("look up a debtor") = "SELECT id FROM debtors WHERE client_id = $1 AND reference = $2";
    INSERT("enter a case") =
        "INSERT INTO cases (client_id, batch_id, debtor_id, reference, created_at_ms, changed_at_ms, revealed_at_ms)
         VALUES ($1, $2, $3, $4, $5, $5, $5)";
    BY_REFERENCE("look up a case") =
        "SELECT c.id, c.client_id, c.batch_id, c.debtor_id, c.reference, c.state
         FROM cases c JOIN batches b ON b.id = c.batch_id
         WHERE c.client_id = $1 AND c.reference = $2
           AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL";
    BY_ID("look up a case") =
        "SELECT c.id, c.client_id, c.batch_id, c.debtor_id, c.reference, c.state
         FROM cases c JOIN batches b ON b.id = c.batch_id
         WHERE c.id = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL";
    SET_STATE("change the state of a case") = "UPDATE cases SET state = $2, changed_at_ms = $3 WHERE id = $1";
    LIST("list the cases") =
        "SELECT c.id, c.client_id, c.batch_id, c.debtor_id, c.reference, c.state, k.code AS client, b.code AS batch,
                (SELECT COUNT(*) FROM contact_points p WHERE p.case_id = c.id) AS points
         FROM cases c JOIN clients k ON k.id = c.client_id JOIN batches b ON b.id = c.batch_id
         WHERE c.id > $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL ORDER BY c.id LIMIT $2";
}

/// The debtor with the client's own key, entered if there is none, with a person of his own.
pub async fn ensure_debtor(
    tx: &mut Tx,
    client: ClientId,
    reference: &str,
    now_ms: i64,
) -> Result<DebtorId> {
    if let Some(row) = tx.fetch_optional(&DEBTOR, args![client, reference]).await? {
        return Ok(DebtorId::new(row.get("id")?));
    }
    let person = persons::insert(tx, now_ms).await?;
    let entered = tx
        .execute(&ENSURE_DEBTOR, args![client, reference, person, now_ms])
        .await?;
    if entered == 0 {
        // Somebody else was faster; the person made for nothing goes.
        persons::remove(tx, person).await?;
    }
    Ok(DebtorId::new(
        tx.fetch_one(&DEBTOR, args![client, reference])
            .await?
            .get("id")?,
    ))
}

/// Enters an open case that is seen at once.
///
/// # Errors
/// [`Error::Constraint`] (exists) if the client has a case with this reference already.
pub async fn insert(
    tx: &mut Tx,
    client: ClientId,
    batch: BatchId,
    debtor: DebtorId,
    reference: &str,
    now_ms: i64,
) -> Result<Case> {
    tx.execute(&INSERT, args![client, batch, debtor, reference, now_ms])
        .await?;
    read(
        &tx.fetch_one(&BY_REFERENCE, args![client, reference])
            .await?,
    )
}

/// The client's case with this reference.
pub async fn by_reference(tx: &mut Tx, client: ClientId, reference: &str) -> Result<Option<Case>> {
    tx.fetch_optional(&BY_REFERENCE, args![client, reference])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The case with this id.
pub async fn by_id(tx: &mut Tx, id: CaseId) -> Result<Option<Case>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Changes what may be done with a case. A call whose agent's phone still rings is stopped by it
/// (see [`super::attempts::mark_seizure`]).
pub async fn set_state(tx: &mut Tx, id: CaseId, state: CaseState, now_ms: i64) -> Result<()> {
    match tx.execute(&SET_STATE, args![id, state, now_ms]).await? {
        0 => Err(Error::NotFound { what: "such case" }),
        _ => Ok(()),
    }
}

/// Cases in the order of entry, after an id (0 for the first), at most `limit`.
pub async fn list(tx: &mut Tx, after: CaseId, limit: u32) -> Result<Vec<CaseLine>> {
    let rows = tx.fetch_all(&LIST, args![after, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(CaseLine {
                case: read(row)?,
                client: row.get("client")?,
                batch: row.get("batch")?,
                contact_points: row.get("points")?,
            })
        })
        .collect()
}

fn read(row: &Row) -> Result<Case> {
    Ok(Case {
        id: CaseId::new(row.get("id")?),
        client_id: ClientId::new(row.get("client_id")?),
        batch_id: BatchId::new(row.get("batch_id")?),
        debtor_id: DebtorId::new(row.get("debtor_id")?),
        reference: row.get("reference")?,
        state: row.word("state", CaseState::parse)?,
    })
}
