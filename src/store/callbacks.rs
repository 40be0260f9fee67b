//! Callbacks: calls promised for later. When one comes due it is offered to its agent, and placed through the gate like
//! every other call.
//!
//! Life of a row: `queued`; `offered` when it is due and its agent is there; then `done` (a call began), `refused` (the
//! gate said no; the reason is the receipt), `missed` (nobody took it in time) or `cancelled` (by somebody, or because
//! the case was settled or ended).

use super::{Error, Result, Tx, db::Row, users::User};
use crate::{
    ids::{AgentId, CallId, CallbackId, CaseId, ClientId, ContactPointId},
    policy::CaseState,
};

words! {
    /// How far a callback is.
    pub enum CallbackState {
        /// Not due yet, or its agent is not there.
        Queued = "queued",
        /// Its agent was told.
        Offered = "offered",
        /// It became a call.
        Done = "done",
        /// The gate said no when it came due.
        Refused = "refused",
        /// Called off.
        Cancelled = "cancelled",
        /// Nobody took it in time.
        Missed = "missed",
    }
}

/// A callback about to be queued.
#[derive(Debug, Clone, Copy)]
pub struct NewCallback<'a> {
    /// The case.
    pub case: CaseId,
    /// Whom to call.
    pub contact_point: ContactPointId,
    /// Who calls.
    pub agent: AgentId,
    /// Not before.
    pub due_at_ms: i64,
    /// By whom it was promised.
    pub actor: &'a str,
}

/// A stored callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Our id.
    pub id: CallbackId,
    /// Whose case.
    pub client: ClientId,
    /// The case.
    pub case: CaseId,
    /// Whom to call.
    pub contact_point: ContactPointId,
    /// Who calls.
    pub agent: AgentId,
    /// Not before.
    pub due_at_ms: i64,
    /// How far it is.
    pub state: CallbackState,
    /// Why cancelled, refused (the receipt) or missed.
    pub reason: Option<String>,
    /// The call it became.
    pub call: Option<CallId>,
    /// When it was promised.
    pub created_at_ms: i64,
    /// By whom.
    pub created_by: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, c.client_id, b.case_id, b.contact_point_id, b.agent_id, b.due_at_ms, b.state, b.reason, b.call_id,
                    b.created_at_ms, b.created_by
             FROM callbacks b JOIN cases c ON c.id = b.case_id ",
            $rest
        )
    };
}

statements! {
    /// Whoever ends the case meanwhile waits, and then ends the callback with it.
    HOLD("hold the case of a callback") =
        "UPDATE cases SET changed_at_ms = changed_at_ms WHERE id = $1 AND state IN ('open', 'paused')";
    CASE("look up the case of a callback") = "SELECT state FROM cases WHERE id = $1";
    INSERT("queue a callback") =
        "INSERT INTO callbacks (case_id, contact_point_id, agent_id, due_at_ms, state, created_at_ms, created_by, changed_at_ms)
         SELECT p.case_id, p.id, CAST($3 AS BIGINT), CAST($4 AS BIGINT), 'queued', CAST($5 AS BIGINT), $6, CAST($5 AS BIGINT) FROM contact_points p WHERE p.id = $2 AND p.case_id = $1
         RETURNING id";
    BY_ID("read a callback") = select!("WHERE b.id = $1");
    DUE("look for callbacks that are due") =
        select!("WHERE b.state = 'queued' AND b.due_at_ms <= $1 ORDER BY b.due_at_ms, b.id LIMIT $2");
    LATE("look for callbacks that nobody took") =
        select!("WHERE b.state IN ('queued', 'offered') AND b.due_at_ms <= $1 ORDER BY b.due_at_ms, b.id LIMIT $2");
    MOVE("change the state of a callback") =
        "UPDATE callbacks SET state = $3, reason = $4, call_id = $5, changed_at_ms = $6 WHERE id = $1 AND state = $2";
    LIST("list callbacks") = select!(
        "WHERE (CAST($1 AS BIGINT) = 0 OR c.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR b.agent_id = $2) AND ($3 = '' OR b.state = $3) AND b.id > $4
         ORDER BY b.id LIMIT $5");
}

/// Why a callback is not queued.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody is called for a case that is over.
    #[error("the case is {}; calls are promised only for a case that is open or paused", .0.as_str())]
    CaseOver(CaseState),
    /// The database; [`Error::NotFound`] unless the contact point is one of that case.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Queues a callback.
///
/// # Errors
/// [`QueueError`]
pub async fn queue(
    tx: &mut Tx,
    new: &NewCallback<'_>,
    now_ms: i64,
) -> std::result::Result<CallbackId, QueueError> {
    if tx.execute(&HOLD, args![new.case]).await? == 0 {
        let found = tx.fetch_optional(&CASE, args![new.case]).await?;
        let row = found.ok_or(Error::NotFound { what: "such case" })?;
        return Err(QueueError::CaseOver(row.word("state", CaseState::parse)?));
    }
    let args = args![
        new.case,
        new.contact_point,
        new.agent,
        new.due_at_ms,
        now_ms,
        new.actor
    ];
    let row = tx
        .fetch_optional(&INSERT, args)
        .await?
        .ok_or(Error::NotFound {
            what: "such contact point in that case",
        })?;
    Ok(CallbackId::new(row.get("id")?))
}

/// The callback with this id.
pub async fn by_id(tx: &mut Tx, id: CallbackId) -> Result<Option<Callback>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Those queued that are due, the longest waiting first, at most `limit`.
pub async fn due(tx: &mut Tx, now_ms: i64, limit: u32) -> Result<Vec<Callback>> {
    tx.fetch_all(&DUE, args![now_ms, limit])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Those that came due before an instant and were not taken, at most `limit`.
pub async fn late(tx: &mut Tx, before_ms: i64, limit: u32) -> Result<Vec<Callback>> {
    tx.fetch_all(&LATE, args![before_ms, limit])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// What becomes of a callback.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// Where it is.
    pub from: CallbackState,
    /// Where it goes.
    pub to: CallbackState,
    /// Why.
    pub reason: Option<&'a str>,
    /// The call it became.
    pub call: Option<CallId>,
}

/// Moves a callback on; returns whether it was where `step` says.
pub async fn advance(tx: &mut Tx, id: CallbackId, step: &Move<'_>, now_ms: i64) -> Result<bool> {
    let args = args![id, step.from, step.to, step.reason, step.call, now_ms];
    Ok(tx.execute(&MOVE, args).await? > 0)
}

/// Callbacks that a user may see (`None`: the command line, which sees all), in the order of entry, after an id, at most `limit`; with `agent`, only that agent's.
pub async fn list(
    tx: &mut Tx,
    viewer: Option<&User>,
    agent: Option<AgentId>,
    state: Option<CallbackState>,
    after: CallbackId,
    limit: u32,
) -> Result<Vec<Callback>> {
    let args = args![
        viewer.map_or(0, User::scope_parameter),
        agent.map_or(0, AgentId::get),
        state.map_or("", CallbackState::as_str),
        after,
        limit
    ];
    tx.fetch_all(&LIST, args).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Callback> {
    let call: Option<String> = row.get("call_id")?;
    Ok(Callback {
        id: CallbackId::new(row.get("id")?),
        client: ClientId::new(row.get("client_id")?),
        case: CaseId::new(row.get("case_id")?),
        contact_point: ContactPointId::new(row.get("contact_point_id")?),
        agent: AgentId::new(row.get("agent_id")?),
        due_at_ms: row.get("due_at_ms")?,
        state: row.parse("state")?,
        reason: row.get("reason")?,
        call: match call {
            Some(_) => Some(row.parse("call_id")?),
            None => None,
        },
        created_at_ms: row.get("created_at_ms")?,
        created_by: row.get("created_by")?,
    })
}
