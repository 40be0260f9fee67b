//! Attempts: one row per call, stored before its first INVITE, closed once. The fact that every figure is a sum of.
//!
//! Life of a row: [`insert`] in the transaction that decided, under [`super::guards`]; [`mark_seizure`] just before the
//! customer INVITE; [`close`] at the end, which adds to the roll-ups and writes the event in the same transaction.
//! While a row is open it counts against every cap, as unanswered and as connected; closing releases what did not
//! happen, all of it if no customer INVITE left.

use serde::{Deserialize, Serialize};

use super::{Error, Result, Tx, contact_points::Target, db::Row, events, rollups, users::User};
use crate::{
    call::{Cause, Class, Outcome, Party},
    ids::{
        AgentId, BatchId, CallId, CaseId, ClientId, ContactPointId, DebtorId, ReceiptId, UserId,
    },
    policy::{CaseState, NumberState, Relation},
    stats::rollup::Fact,
};

words! {
    /// What an attempt is for.
    pub enum Purpose {
        /// To reach a person of a case.
        Case = "case",
        /// To test the installation: counts against caps, never in figures.
        Test = "test",
    }
}

/// An attempt about to be made.
#[derive(Debug, Clone)]
pub struct NewAttempt<'a> {
    /// The call's id.
    pub id: CallId,
    /// The receipt of the decision that allowed it, stored before.
    pub receipt: ReceiptId,
    /// What it is for.
    pub purpose: Purpose,
    /// The daemon that runs the call.
    pub node: &'a str,
    /// Whom it shall reach.
    pub target: &'a Target,
    /// Who calls.
    pub agent: AgentId,
    /// The account that clicked.
    pub user: Option<UserId>,
    /// Name of the trunk.
    pub trunk: &'a str,
    /// The number of ours that is shown.
    pub caller_id: &'a str,
    /// Zone of the person called that the local day and hour are of.
    pub zone: &'a str,
    /// Local day of the person called, `YYYY-MM-DD`.
    pub local_date: &'a str,
    /// Local hour of the person called, 0 to 23.
    pub local_hour: u8,
    /// When it was allowed.
    pub started_at_ms: i64,
    /// No customer INVITE at or after this instant.
    pub valid_until_ms: i64,
}

/// What [`mark_seizure`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seizure {
    /// Marked: the customer INVITE may leave, once this is committed.
    Marked,
    /// The permission ran out.
    Expired,
    /// The case is not open any more.
    CaseBarred(CaseState),
    /// The number was barred.
    NumberBarred,
    /// The attempt is over already.
    Ended,
}

/// How an attempt ended, in wall-clock time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub cause: Cause,
    /// Who ended it.
    pub ended_by: Party,
    /// Final SIP status of the leg that failed.
    pub sip_status: Option<u16>,
    /// Its Q.850 cause.
    pub q850: Option<u8>,
    /// When the customer INVITE left; `None` if none did, whatever was marked.
    pub seized_at_ms: Option<i64>,
    /// First ringing or early media of the customer.
    pub rang_at_ms: Option<i64>,
    /// Customer's 200 OK.
    pub answered_at_ms: Option<i64>,
    /// When it was over.
    pub ended_at_ms: i64,
    /// Talk time behind the closing hour.
    pub overrun_ms: i64,
}

impl Closing {
    /// The end that the call's machine reported. `began_ms` is the wall clock at the machine's beginning, to which its
    /// marks are relative.
    pub fn of(outcome: &Outcome, began_ms: i64) -> Closing {
        let at = |mark: Option<u64>| {
            mark.map(|ms| began_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
        };
        let marks = &outcome.marks;
        let last = [
            marks.bridged_ms,
            marks.customer_answered_ms,
            marks.customer_ringing_ms,
            marks.invited_ms,
        ];
        let ended = marks.ended_ms.or_else(|| last.into_iter().flatten().max());
        Closing {
            cause: outcome.cause,
            ended_by: outcome.ended_by,
            sip_status: outcome.sip_status,
            q850: outcome.q850,
            seized_at_ms: at(marks.invited_ms).filter(|_| outcome.seized),
            rang_at_ms: at(marks.customer_ringing_ms),
            answered_at_ms: at(marks.customer_answered_ms).filter(|_| outcome.connected),
            ended_at_ms: at(ended).unwrap_or(began_ms),
            overrun_ms: i64::try_from(outcome.overrun_ms).unwrap_or(i64::MAX),
        }
    }

    /// The same end with times that follow each other from `started_at_ms` on. Nothing rings or answers without an
    /// INVITE, so a missing seizure time is filled from what came after it.
    fn in_order(&self, started_at_ms: i64) -> Closing {
        let ended = self.ended_at_ms.max(started_at_ms);
        let answered = self.answered_at_ms.map(|at| at.clamp(started_at_ms, ended));
        let latest_ring = answered.unwrap_or(ended);
        let rang = self
            .rang_at_ms
            .map(|at| at.clamp(started_at_ms, latest_ring));
        let latest_seizure = rang.unwrap_or(latest_ring);
        let seized = self
            .seized_at_ms
            .or(rang)
            .or(answered)
            .map(|at| at.clamp(started_at_ms, latest_seizure));
        Closing {
            seized_at_ms: seized,
            rang_at_ms: rang,
            answered_at_ms: answered,
            ended_at_ms: ended,
            overrun_ms: self.overrun_ms.max(0),
            ..self.clone()
        }
    }
}

/// A stored attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The call's id.
    pub id: CallId,
    /// The decision that allowed it.
    pub receipt: ReceiptId,
    /// What it is for.
    pub purpose: Purpose,
    /// The daemon that runs the call.
    pub node: String,
    /// Whose case.
    pub client: ClientId,
    /// The lot of the case.
    pub batch: BatchId,
    /// The case.
    pub case: CaseId,
    /// Who owes.
    pub debtor: DebtorId,
    /// What was dialled.
    pub contact_point: ContactPointId,
    /// Relation of the person called to the debtor.
    pub relation: Relation,
    /// Who called.
    pub agent: AgentId,
    /// Name of the trunk.
    pub trunk: String,
    /// The number of ours that was shown.
    pub caller_id: String,
    /// Zone of the person called.
    pub zone: String,
    /// Local day of the person called.
    pub local_date: String,
    /// Local hour of the person called.
    pub local_hour: u8,
    /// When it was allowed.
    pub started_at_ms: i64,
    /// No customer INVITE at or after this instant.
    pub valid_until_ms: i64,
    /// When the customer INVITE left.
    pub seized_at_ms: Option<i64>,
    /// When the customer's phone first rang.
    pub rang_at_ms: Option<i64>,
    /// When the customer answered.
    pub answered_at_ms: Option<i64>,
    /// When it was over; `None` while under way.
    pub ended_at_ms: Option<i64>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// Whose doing that was.
    pub class: Option<Class>,
    /// Final SIP status of the leg that failed.
    pub sip_status: Option<u16>,
    /// Its Q.850 cause.
    pub q850: Option<u8>,
    /// Who ended it: agent, customer, system.
    pub ended_by: Option<String>,
    /// Talk time behind the closing hour.
    pub overrun_ms: i64,
    /// Closed by settling: at start-up after a crash, or when the call's task broke off.
    pub settled: bool,
}

impl Attempt {
    /// Answer to hang-up; `None` unless answered and ended.
    pub fn talk_ms(&self) -> Option<i64> {
        Some(self.ended_at_ms? - self.answered_at_ms?)
    }

    /// The fact that figures are sums of; `None` while under way and for tests.
    fn fact(&self) -> Option<Fact> {
        let (ended_at_ms, cause) = (self.ended_at_ms?, self.cause?);
        (self.purpose == Purpose::Case).then(|| Fact {
            client: self.client,
            batch: self.batch,
            agent: self.agent,
            relation: self.relation,
            trunk: self.trunk.clone(),
            caller_id: self.caller_id.clone(),
            cause,
            local_date: self.local_date.clone(),
            local_hour: self.local_hour,
            seized_at_ms: self.seized_at_ms,
            rang_at_ms: self.rang_at_ms,
            answered_at_ms: self.answered_at_ms,
            ended_at_ms,
        })
    }
}

macro_rules! columns {
    () => {
        "id, receipt_id, purpose, node, client_id, batch_id, case_id, debtor_id, contact_point_id, relation, agent_id,
         trunk, caller_id, zone, local_date, local_hour, started_at_ms, valid_until_ms, seized_at_ms, rang_at_ms,
         answered_at_ms, ended_at_ms, cause, class, sip_status, q850, ended_by, overrun_ms, settled"
    };
}

statements! {
    INSERT("store an attempt") =
        "INSERT INTO attempts (id, receipt_id, purpose, node, client_id, batch_id, case_id, debtor_id, contact_point_id,
                               number_id, relation, agent_id, user_id, trunk, caller_id, zone, local_date, local_hour,
                               started_at_ms, valid_until_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
    MARK("mark a seizure") =
        "UPDATE attempts SET seized_at_ms = COALESCE(seized_at_ms, $2)
         WHERE id = $1 AND ended_at_ms IS NULL AND valid_until_ms > $2
           AND EXISTS (SELECT 1 FROM cases WHERE cases.id = attempts.case_id AND cases.state = 'open')
           AND EXISTS (SELECT 1 FROM numbers WHERE numbers.id = attempts.number_id AND numbers.state <> 'barred')";
    WHY_NOT("look up why a seizure is barred") =
        "SELECT a.ended_at_ms, a.valid_until_ms, c.state AS case_state, n.state AS number_state
         FROM attempts a JOIN cases c ON c.id = a.case_id JOIN numbers n ON n.id = a.number_id WHERE a.id = $1";
    BY_ID("read an attempt") = concat!("SELECT ", columns!(), " FROM attempts WHERE id = $1");
    LOCK("begin to close an attempt") = "UPDATE attempts SET settled = settled WHERE id = $1";
    CLOSE("close an attempt") =
        "UPDATE attempts SET seized_at_ms = $2, rang_at_ms = $3, answered_at_ms = $4, ended_at_ms = $5, cause = $6,
                class = $7, sip_status = $8, q850 = $9, ended_by = $10, overrun_ms = $11, settled = $12
         WHERE id = $1";
    OPEN("list the attempts under way") =
        concat!("SELECT ", columns!(), " FROM attempts WHERE node = $1 AND ended_at_ms IS NULL ORDER BY id");
    LIST("list attempts") = concat!(
        "SELECT ", columns!(), " FROM attempts
         WHERE (CAST($1 AS BIGINT) = 0 OR client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR agent_id = $2) AND id < $3
         ORDER BY id DESC LIMIT $4");
}

/// Stores an attempt. Commit before any INVITE leaves.
///
/// # Errors
/// [`Error::Constraint`] if the id or the receipt was used before: one decision allows one attempt.
pub async fn insert(tx: &mut Tx, a: &NewAttempt<'_>) -> Result<()> {
    let t = a.target;
    let args = args![
        a.id,
        a.receipt,
        a.purpose,
        a.node,
        t.client,
        t.batch,
        t.case,
        t.debtor,
        t.contact_point,
        t.number_id,
        t.relation,
        a.agent,
        a.user,
        a.trunk,
        a.caller_id,
        a.zone,
        a.local_date,
        a.local_hour,
        a.started_at_ms,
        a.valid_until_ms
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// Marks that the customer INVITE is about to leave, unless the permission ran out or case or number were barred since
/// it was given. Only after [`Seizure::Marked`] is committed may the INVITE leave. Marking again keeps the first time.
pub async fn mark_seizure(tx: &mut Tx, id: CallId, now_ms: i64) -> Result<Seizure> {
    if tx.execute(&MARK, args![id, now_ms]).await? > 0 {
        return Ok(Seizure::Marked);
    }
    let row = tx
        .fetch_optional(&WHY_NOT, args![id])
        .await?
        .ok_or(Error::NotFound { what: "such call" })?;
    let case: CaseState = row.word("case_state", CaseState::parse)?;
    Ok(if row.get::<Option<i64>>("ended_at_ms")?.is_some() {
        Seizure::Ended
    } else if case != CaseState::Open {
        Seizure::CaseBarred(case)
    } else if row.word("number_state", NumberState::parse)? == NumberState::Barred {
        Seizure::NumberBarred
    } else {
        Seizure::Expired
    })
}

/// Closes an attempt: its end, the roll-ups and the event, all or nothing. Returns whether it was open; closing again
/// changes nothing.
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt.
pub async fn close(tx: &mut Tx, id: CallId, closing: &Closing) -> Result<bool> {
    let attempt = lock(tx, id).await?;
    if attempt.ended_at_ms.is_some() {
        return Ok(false);
    }
    finish(tx, attempt, closing, false).await?;
    Ok(true)
}

/// Corrects the end of an attempt that was closed before, and the roll-ups with it: f(new) - f(old).
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt, or it is still under way.
pub async fn correct(tx: &mut Tx, id: CallId, closing: &Closing) -> Result<()> {
    let attempt = lock(tx, id).await?;
    if attempt.ended_at_ms.is_none() {
        return Err(Error::NotFound {
            what: "such ended call",
        });
    }
    let settled = attempt.settled;
    write_end(tx, attempt, closing, settled).await.map(drop)
}

/// Closes what a crash of this node left open; returns those attempts as they are now. `end` says, for each, how it
/// ended: [`Closing::after_crash`] is what the store alone can know. Twice does no harm.
pub async fn settle_leftovers(
    tx: &mut Tx,
    node: &str,
    mut end: impl FnMut(&Attempt) -> Closing,
) -> Result<Vec<Attempt>> {
    let mut settled = Vec::new();
    for attempt in open_on(tx, node).await? {
        let closing = end(&attempt);
        settled.push(finish(tx, attempt, &closing, true).await?);
    }
    Ok(settled)
}

/// Closes, in the same way, the attempt of one call whose task broke off; `None` if it was closed already.
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt.
pub async fn settle(
    tx: &mut Tx,
    id: CallId,
    end: impl FnOnce(&Attempt) -> Closing,
) -> Result<Option<Attempt>> {
    let attempt = lock(tx, id).await?;
    if attempt.ended_at_ms.is_some() {
        return Ok(None);
    }
    let closing = end(&attempt);
    finish(tx, attempt, &closing, true).await.map(Some)
}

impl Closing {
    /// The end of an attempt of which nothing is known but what was stored: seized if it was marked (the INVITE may
    /// have left, so it counts), and not connected, because an answer is stored with the end only.
    /// `connected` overrules that where the recording or the dialog journal shows an answer: its instant and the
    /// last instant of talk that is known.
    pub fn after_crash(
        attempt: &Attempt,
        cause: Cause,
        now_ms: i64,
        connected: Option<(i64, i64)>,
    ) -> Closing {
        Closing {
            cause: if connected.is_some() {
                Cause::Answered
            } else {
                cause
            },
            ended_by: Party::System,
            sip_status: None,
            q850: None,
            seized_at_ms: attempt.seized_at_ms,
            rang_at_ms: None,
            answered_at_ms: connected.map(|(answered, _)| answered),
            ended_at_ms: connected.map_or(now_ms, |(_, ended)| ended),
            overrun_ms: 0,
        }
    }
}

/// Reads the attempt and makes others that want to change it wait.
async fn lock(tx: &mut Tx, id: CallId) -> Result<Attempt> {
    tx.execute(&LOCK, args![id]).await?;
    by_id(tx, id)
        .await?
        .ok_or(Error::NotFound { what: "such call" })
}

/// Writes the end and the event of an open attempt; returns it as it is now.
async fn finish(
    tx: &mut Tx,
    attempt: Attempt,
    closing: &Closing,
    settled: bool,
) -> Result<Attempt> {
    let ended = write_end(tx, attempt, closing, settled).await?;
    let body = serde_json::json!({
        "call": ended.id,
        "case": ended.case,
        "agent": ended.agent,
        "cause": ended.cause,
        "class": ended.class,
        "talk_ms": ended.talk_ms().unwrap_or(0),
        "settled": settled,
    });
    let at_ms = ended.ended_at_ms.unwrap_or(closing.ended_at_ms);
    events::insert(
        tx,
        at_ms,
        "call.ended",
        Some(ended.client),
        &ended.id.to_string(),
        &body.to_string(),
    )
    .await?;
    Ok(ended)
}

/// Writes the end of an attempt and the difference it makes to the roll-ups; returns it as it is now.
async fn write_end(tx: &mut Tx, old: Attempt, closing: &Closing, settled: bool) -> Result<Attempt> {
    let end = closing.in_order(old.started_at_ms);
    let args = args![
        old.id,
        end.seized_at_ms,
        end.rang_at_ms,
        end.answered_at_ms,
        end.ended_at_ms,
        end.cause.as_str(),
        end.cause.class().as_str(),
        end.sip_status,
        end.q850,
        end.ended_by.as_str(),
        end.overrun_ms,
        settled
    ];
    tx.execute(&CLOSE, args).await?;
    let new = Attempt {
        seized_at_ms: end.seized_at_ms,
        rang_at_ms: end.rang_at_ms,
        answered_at_ms: end.answered_at_ms,
        ended_at_ms: Some(end.ended_at_ms),
        cause: Some(end.cause),
        class: Some(end.cause.class()),
        sip_status: end.sip_status,
        q850: end.q850,
        ended_by: Some(end.ended_by.as_str().to_owned()),
        overrun_ms: end.overrun_ms,
        settled,
        ..old.clone()
    };
    rollups::change(tx, old.fact().as_ref(), new.fact().as_ref()).await?;
    Ok(new)
}

/// The attempt with this id.
pub async fn by_id(tx: &mut Tx, id: CallId) -> Result<Option<Attempt>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The attempts of a node that are under way: at start-up, those that a crash left open.
pub async fn open_on(tx: &mut Tx, node: &str) -> Result<Vec<Attempt>> {
    tx.fetch_all(&OPEN, args![node])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Attempts that a user may see, newest first, before an id (`None` for the newest), at most `limit`; with `agent`,
/// only that agent's.
pub async fn list(
    tx: &mut Tx,
    viewer: &User,
    agent: Option<AgentId>,
    before: Option<CallId>,
    limit: u32,
) -> Result<Vec<Attempt>> {
    let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
    let agent = agent.map_or(0, AgentId::get);
    tx.fetch_all(&LIST, args![viewer.scope_parameter(), agent, before, limit])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Attempt> {
    const ACT: &str = "read an attempt";
    let cause = match row.get::<Option<String>>("cause")? {
        Some(word) => {
            Some(Cause::parse(&word).ok_or_else(|| Error::unknown(ACT, "attempts.cause"))?)
        }
        None => None,
    };
    let small = |column| {
        let value = row.get::<Option<i64>>(column)?;
        value
            .map(|v| u16::try_from(v).map_err(|_| Error::unknown(ACT, column)))
            .transpose()
    };
    Ok(Attempt {
        id: row.parse("id")?,
        receipt: row.parse("receipt_id")?,
        purpose: row.parse("purpose")?,
        node: row.get("node")?,
        client: ClientId::new(row.get("client_id")?),
        batch: BatchId::new(row.get("batch_id")?),
        case: CaseId::new(row.get("case_id")?),
        debtor: DebtorId::new(row.get("debtor_id")?),
        contact_point: ContactPointId::new(row.get("contact_point_id")?),
        relation: row.word("relation", Relation::parse)?,
        agent: AgentId::new(row.get("agent_id")?),
        trunk: row.get("trunk")?,
        caller_id: row.get("caller_id")?,
        zone: row.get("zone")?,
        local_date: row.get("local_date")?,
        local_hour: row.small("local_hour")?,
        started_at_ms: row.get("started_at_ms")?,
        valid_until_ms: row.get("valid_until_ms")?,
        seized_at_ms: row.get("seized_at_ms")?,
        rang_at_ms: row.get("rang_at_ms")?,
        answered_at_ms: row.get("answered_at_ms")?,
        ended_at_ms: row.get("ended_at_ms")?,
        cause,
        class: cause.map(Cause::class),
        sip_status: small("sip_status")?,
        q850: small("q850")?
            .map(|v| u8::try_from(v).map_err(|_| Error::unknown(ACT, "q850")))
            .transpose()?,
        ended_by: row.get("ended_by")?,
        overrun_ms: row.get("overrun_ms")?,
        settled: row.flag("settled")?,
    })
}
