//! Cases and their debtors.
//!
//! A case that an import has not revealed yet, by itself or by its batch, does not exist for anybody here.

use super::{Error, Result, Tx, case_changes, db::Row, persons};
use crate::{
    ids::{AgentId, BatchId, CaseId, ClientId, DebtorId},
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
    SETTLE("settle a case") =
        "UPDATE cases SET state = 'settled', reason = $2, changed_at_ms = $3, paused_until_ms = NULL
         WHERE id = $1 AND state IN ('open', 'paused')";
    TAKE_OVER("change the state of a case") =
        "UPDATE cases SET state = $2, reason = $3, changed_at_ms = $4, paused_until_ms = NULL WHERE id = $1";
    STATE("look up the state of a case") = "SELECT state FROM cases WHERE id = $1";
    END_CALLBACKS("end the callbacks of a case") =
        "UPDATE callbacks SET state = 'cancelled', reason = $2, changed_at_ms = $3
         WHERE case_id = $1 AND state IN ('queued', 'offered')";
    FIND_BY_PERSON("find cases by identity number") =
        "SELECT c.id FROM persons p JOIN debtors d ON d.person_id = p.id JOIN cases c ON c.debtor_id = d.id
              JOIN batches b ON b.id = c.batch_id
         WHERE p.identity_hash = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL ORDER BY c.id LIMIT 200";
    FIND_BY_CARD("find cases by card number") =
        "SELECT c.id FROM cases c JOIN batches b ON b.id = c.batch_id
         WHERE c.card_hash = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL ORDER BY c.id LIMIT 200";
    FIND_BY_NUMBER("find cases by telephone number") =
        "SELECT DISTINCT c.id FROM numbers n JOIN contact_points p ON p.number_id = n.id JOIN cases c ON c.id = p.case_id
              JOIN batches b ON b.id = c.batch_id
         WHERE n.digits = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL ORDER BY c.id LIMIT 200";
    DETAIL("read a case") =
        "SELECT c.currency, c.placed_e4, c.balance_e4, c.principal_e4, c.interest_e4, c.fees_e4, c.repaid_e4,
                c.balance_on, c.overdue_days, c.bucket, c.region, c.card_box, c.card_last4, c.fields, c.mark, c.reason,
                d.id AS debtor_id, d.reference AS debtor, d.name AS debtor_name, p.identity_hash, p.identity_box,
                b.code AS batch
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN persons p ON p.id = d.person_id
              JOIN batches b ON b.id = c.batch_id WHERE c.id = $1";
    ANY_BOX("look for encrypted numbers") =
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM persons WHERE identity_box IS NOT NULL LIMIT 1) p) +
                (SELECT COUNT(*) FROM (SELECT 1 FROM cases WHERE card_box IS NOT NULL LIMIT 1) c) +
                (SELECT COUNT(*) FROM (SELECT 1 FROM agreements WHERE letter_box IS NOT NULL LIMIT 1) g) AS boxes";
    AGENT("look up whose case it is") =
        "SELECT c.agent_id FROM cases c JOIN agents a ON a.id = c.agent_id WHERE c.id = $1 AND a.active = 1";
    MARK("look up the mark of a case") = "SELECT mark FROM cases WHERE id = $1";
    SET_MARK("mark a case") = "UPDATE cases SET mark = $2 WHERE id = $1";
    SET_STATE("change the state of a case") = "UPDATE cases SET state = $2, changed_at_ms = $3 WHERE id = $1";
    NOTE_ATTEMPT("note that a case was called") =
        "UPDATE cases SET worked_at_ms = COALESCE(worked_at_ms, $2), called_at_ms = COALESCE(called_at_ms, $2),
                followed_at_ms = $2
         WHERE id = $1";
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

/// Settles a case that is being worked: from now on nobody calls about it. Its history says why, and its queued callbacks
/// end in this very transaction. Says whether there was anything to settle: a settled, returned or closed case stays as
/// it is, but its callbacks end too.
pub async fn settle(
    tx: &mut Tx,
    case: CaseId,
    reason: &str,
    actor: &str,
    now_ms: i64,
) -> Result<bool> {
    let before = tx.fetch_one(&STATE, args![case]).await?;
    let before = before.word("state", CaseState::parse)?;
    let settled = tx.execute(&SETTLE, args![case, reason, now_ms]).await? > 0;
    tx.execute(&END_CALLBACKS, args![case, reason, now_ms])
        .await?;
    if settled {
        let state = |state: CaseState| serde_json::json!({ "state": state.as_str() });
        let (before, after) = (state(before), state(CaseState::Settled));
        case_changes::note(tx, case, "state", &before, &after, reason, actor, now_ms).await?;
    }
    Ok(settled)
}

/// Takes over the state that whoever keeps the case elsewhere gives it; says whether that is another one. Whatever is not
/// open any more has no callbacks.
pub async fn take_over_state(
    tx: &mut Tx,
    case: &Case,
    state: CaseState,
    reason: &str,
    actor: &str,
    now_ms: i64,
) -> Result<bool> {
    if case.state == state {
        return Ok(false);
    }
    tx.execute(&TAKE_OVER, args![case.id, state, reason, now_ms])
        .await?;
    if !matches!(state, CaseState::Open | CaseState::Paused) {
        tx.execute(&END_CALLBACKS, args![case.id, reason, now_ms])
            .await?;
    }
    let word = |state: CaseState| serde_json::json!({ "state": state.as_str() });
    let (before, after) = (word(case.state), word(state));
    case_changes::note(tx, case.id, "state", &before, &after, reason, actor, now_ms).await?;
    Ok(true)
}

/// What cases are found by.
#[derive(Debug, Clone, Copy)]
pub enum FindBy<'a> {
    /// Keyed hash of the debtor's identity number.
    Identity(&'a str),
    /// Keyed hash of the card number.
    Card(&'a str),
    /// A telephone number's digits.
    Number(&'a str),
}

/// Cases by an exact value, at most 200, in the order of entry.
pub async fn find(tx: &mut Tx, by: FindBy<'_>) -> Result<Vec<CaseId>> {
    let (sql, value) = match by {
        FindBy::Identity(hash) => (&FIND_BY_PERSON, hash),
        FindBy::Card(hash) => (&FIND_BY_CARD, hash),
        FindBy::Number(digits) => (&FIND_BY_NUMBER, digits),
    };
    tx.fetch_all(sql, args![value])
        .await?
        .iter()
        .map(|row| Ok(CaseId::new(row.get("id")?)))
        .collect()
}

/// What is on file of a case beside its key and its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Code of the batch.
    pub batch: String,
    /// Currency of the amounts.
    pub currency: String,
    /// Placed, balance, principal, interest, fees.
    pub amounts: [i64; 5],
    /// The day for which the client told the balance; what was paid later is taken off.
    pub balance_on: Option<String>,
    /// Sum of its repayments.
    pub repaid_e4: i64,
    /// Days overdue at placement.
    pub overdue_days: Option<i64>,
    /// Word of the overdue bucket.
    pub bucket: String,
    /// Where the debtor lives.
    pub region: String,
    /// Box of the card number.
    pub card_box: Option<String>,
    /// Its last four characters.
    pub card_last4: Option<String>,
    /// JSON of the client's own fields.
    pub fields: String,
    /// Colour mark.
    pub mark: String,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// The client's own key of the debtor.
    pub debtor: String,
    /// Name of the debtor.
    pub debtor_name: String,
    /// Hash and box of the debtor's identity number.
    pub identity: Option<(String, String)>,
}

/// What is on file of a case.
pub async fn detail(tx: &mut Tx, case: CaseId) -> Result<Option<Detail>> {
    let Some(row) = tx.fetch_optional(&DETAIL, args![case]).await? else {
        return Ok(None);
    };
    let hash: Option<String> = row.get("identity_hash")?;
    let boxed: Option<String> = row.get("identity_box")?;
    Ok(Some(Detail {
        batch: row.get("batch")?,
        currency: row.get("currency")?,
        amounts: [
            row.get("placed_e4")?,
            row.get("balance_e4")?,
            row.get("principal_e4")?,
            row.get("interest_e4")?,
            row.get("fees_e4")?,
        ],
        balance_on: row.get("balance_on")?,
        repaid_e4: row.get("repaid_e4")?,
        overdue_days: row.get("overdue_days")?,
        bucket: row.get("bucket")?,
        region: row.get("region")?,
        card_box: row.get("card_box")?,
        card_last4: row.get("card_last4")?,
        fields: row.get("fields")?,
        mark: row.get("mark")?,
        reason: row.get("reason")?,
        debtor: row.get("debtor")?,
        debtor_name: row.get("debtor_name")?,
        identity: hash.zip(boxed),
    }))
}

/// Whether the database holds numbers that only their key opens, so that another key must not be made.
pub async fn any_box(tx: &mut Tx) -> Result<bool> {
    Ok(tx.fetch_one(&ANY_BOX, args![]).await?.get::<i64>("boxes")? > 0)
}

/// Puts a colour mark on a case, an empty word takes it off; its history says who.
pub async fn change_mark(
    tx: &mut Tx,
    case: CaseId,
    mark: &str,
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let before: String = tx.fetch_one(&MARK, args![case]).await?.get("mark")?;
    if before == mark {
        return Ok(());
    }
    tx.execute(&SET_MARK, args![case, mark]).await?;
    let word = |mark: &str| serde_json::json!({ "mark": mark });
    case_changes::note(
        tx,
        case,
        "mark",
        &word(&before),
        &word(mark),
        "",
        actor,
        now_ms,
    )
    .await
}

/// Notes an attempt for the work clocks: the first call, the last follow-up.
pub async fn note_attempt(tx: &mut Tx, id: CaseId, now_ms: i64) -> Result<()> {
    tx.execute(&NOTE_ATTEMPT, args![id, now_ms]).await.map(drop)
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

/// The agent that a case is allocated to, if that one may still call.
pub async fn agent_of(tx: &mut Tx, id: CaseId) -> Result<Option<AgentId>> {
    let found = tx.fetch_optional(&AGENT, args![id]).await?;
    found
        .map(|row| row.get("agent_id").map(AgentId::new))
        .transpose()
}
