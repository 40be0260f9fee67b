//! Attempts: one row per call, stored before its first INVITE, closed once. The fact that every figure is a sum of.
//!
//! Life of a row: [`insert`] in the transaction that decided, under [`super::guards`]; [`mark_seizure`] just before the
//! customer INVITE; [`close`] at the end, which adds to the roll-ups, begins the note and writes the event in the same
//! transaction.
//! The end of a row is in `attempts/end.rs`.
//! While a row is open it counts against every cap, as unanswered and as connected; closing releases what did not
//! happen, all of it if no customer INVITE left.

mod end;

use super::{Error, Result, Tx, contact_points::Target, db::Row, users::User};
use crate::{
    call::{Cause, Class},
    ids::{
        AgentId, BatchId, CallId, CaseId, ClientId, ContactPointId, DebtorId, ReceiptId, UserId,
    },
    policy::{BarKind, CaseState, Relation},
    stats::rollup::Fact,
};

pub use end::{
    Closed, Closing, close, close_many, correct, set_disposition, settle, settle_leftovers,
};
#[cfg(test)]
pub(crate) use end::{MANY, STATEMENTS as END_STATEMENTS};

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
    /// Something was barred that the call would touch.
    Barred(BarKind),
    /// The person, being a third party, asked not to be called again.
    PersonRefused,
    /// The agreement that allowed the call was revoked.
    AgreementEnded,
    /// The attempt is over already.
    Ended,
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
    /// Team of the agent at dial time.
    pub team: Option<i64>,
    /// Overdue bucket of the case at dial time.
    pub bucket: String,
    /// Type of the number, as [`crate::phone::NumberKind::as_str`] calls it.
    pub number_kind: String,
    /// What the agent said came of it; empty until noted.
    pub disposition: String,
    /// By the disposition, the right person was spoken to.
    pub right_party: bool,
    /// The first attempt at its case.
    pub first_call: bool,
}

impl Attempt {
    /// Answer to hang-up; `None` unless answered and ended.
    pub fn talk_ms(&self) -> Option<i64> {
        Some(self.ended_at_ms? - self.answered_at_ms?)
    }

    /// The fact that figures are sums of; `None` while under way and for tests.
    pub(crate) fn fact(&self) -> Option<Fact> {
        let (ended_at_ms, cause) = (self.ended_at_ms?, self.cause?);
        (self.purpose == Purpose::Case).then(|| Fact {
            client: self.client,
            batch: self.batch,
            team: self.team,
            agent: self.agent,
            bucket: self.bucket.clone(),
            relation: self.relation,
            number_kind: self.number_kind.clone(),
            trunk: self.trunk.clone(),
            caller_id: self.caller_id.clone(),
            cause,
            disposition: self.disposition.clone(),
            right_party: self.right_party,
            first_call: self.first_call,
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
         answered_at_ms, ended_at_ms, cause, class, sip_status, q850, ended_by, overrun_ms, settled, team_id, bucket, number_kind,
         disposition, right_party, first_call"
    };
}
pub(super) use columns;

/// What bars an attempt at `$2`: the same that [`super::bars::active_for`] finds, and joined in the same way.
macro_rules! bars {
    ($attempt:literal) => {
        concat!(
            "FROM (SELECT 'number' AS scope, ", $attempt, ".number_id AS subject
                   UNION SELECT 'case', ", $attempt, ".case_id UNION SELECT 'client', ", $attempt, ".client_id
                   UNION SELECT 'everything', 0
                   UNION SELECT 'person', d.person_id FROM debtors d WHERE d.id = ", $attempt, ".debtor_id
                   UNION SELECT 'person', d.person_id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                         JOIN cases c ON c.id = p.case_id JOIN debtors d ON d.id = c.debtor_id
                         WHERE p.number_id = ", $attempt, ".number_id
                           AND t.relation IN ('debtor', 'joint_debtor')
                   UNION SELECT 'person', h.id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                         JOIN persons h ON h.identity_hash = t.identity_hash
                         WHERE p.number_id = ", $attempt, ".number_id) AS s
                  LEFT JOIN bars x ON x.scope = s.scope AND x.subject_id = s.subject AND x.lifted_at_ms IS NULL
                       AND (x.until_ms IS NULL OR x.until_ms > $2)
                       AND (x.client_id IS NULL OR x.client_id = ", $attempt, ".client_id)
             WHERE COALESCE(x.id, 0) <> 0"
        )
    };
}

/// The refusal of the person called, being a third party: the same that [`super::contact_points::target`] finds.
macro_rules! refusal {
    ($attempt:literal) => {
        concat!(
            "FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN cases c ON c.id = p.case_id
                  JOIN debtors d ON d.id = c.debtor_id
             WHERE p.id = ",
            $attempt,
            ".contact_point_id AND t.relation NOT IN ('debtor', 'joint_debtor', 'guarantor') AND ",
            super::contact_points::refused!()
        )
    };
}

/// The agreement that allowed an attempt and holds no longer.
macro_rules! revoked {
    ($attempt:literal) => {
        concat!(
            "FROM agreement_uses u JOIN agreements g ON g.id = u.agreement_id
             WHERE u.receipt_id = ",
            $attempt,
            ".receipt_id AND g.state <> 'active'"
        )
    };
}

statements! {
    INSERT("store an attempt") =
        "INSERT INTO attempts (id, receipt_id, purpose, node, client_id, batch_id, case_id, debtor_id, contact_point_id,
                               number_id, relation, agent_id, user_id, trunk, caller_id, zone, local_date, local_hour,
                               started_at_ms, valid_until_ms, number_kind, team_id, bucket, first_call)
         VALUES ($1, $2, CAST($3 AS TEXT), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                 (SELECT team_id FROM agents WHERE id = $12), (SELECT bucket FROM cases WHERE id = $7),
                 CASE WHEN CAST($3 AS TEXT) = 'case' AND NOT EXISTS (SELECT 1 FROM attempts WHERE case_id = $7 AND purpose = 'case')
                      THEN 1 ELSE 0 END)";
    MARK("mark a seizure") = concat!(
        "UPDATE attempts SET seized_at_ms = COALESCE(seized_at_ms, $2)
         WHERE id = $1 AND ended_at_ms IS NULL AND valid_until_ms > $2
           AND EXISTS (SELECT 1 FROM cases c JOIN batches b ON b.id = c.batch_id
                       WHERE c.id = attempts.case_id AND c.state = 'open' AND c.revealed_at_ms IS NOT NULL
                         AND b.revealed_at_ms IS NOT NULL)
           AND NOT EXISTS (SELECT 1 ", bars!("attempts"), ")
           AND NOT EXISTS (SELECT 1 ", refusal!("attempts"), ")
           AND NOT EXISTS (SELECT 1 ", revoked!("attempts"), ")");
    WHY_NOT("look up why a seizure is barred") = concat!(
        "SELECT a.ended_at_ms, c.state AS case_state, c.revealed_at_ms,
                (SELECT MIN(x.kind) ", bars!("a"), ") AS bar,
                (SELECT COUNT(*) ", refusal!("a"), ") AS refusals,
                (SELECT COUNT(*) ", revoked!("a"), ") AS revoked
         FROM attempts a JOIN cases c ON c.id = a.case_id WHERE a.id = $1");
    BY_ID("read an attempt") = concat!("SELECT ", columns!(), " FROM attempts WHERE id = $1");
    OPEN("list the attempts under way") =
        concat!("SELECT ", columns!(), " FROM attempts WHERE node = $1 AND ended_at_ms IS NULL ORDER BY id");
    LIST("list attempts") = concat!(
        "SELECT ", columns!(), " FROM attempts
         WHERE (CAST($1 AS BIGINT) = 0 OR client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR agent_id = $2) AND id < $3
         ORDER BY id DESC LIMIT $4");
}

/// Stores an attempt, with the dimensions that the database knows as they are now: the agent's team, the case's overdue
/// bucket, and whether it is the first call at its case (the guards of the debtor are held, so there is only one).
/// Commit before any INVITE leaves.
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
        a.valid_until_ms,
        t.number.kind().as_str()
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// Marks that the customer INVITE is about to leave, unless the permission ran out, or since it was given the case was
/// settled or paused, a bar came, the person refused, or the agreement that allowed it was revoked. Only after
/// [`Seizure::Marked`] is committed may the INVITE leave. Marking again keeps the first time.
pub async fn mark_seizure(tx: &mut Tx, id: CallId, now_ms: i64) -> Result<Seizure> {
    if tx.execute(&MARK, args![id, now_ms]).await? > 0 {
        return Ok(Seizure::Marked);
    }
    let row = tx
        .fetch_optional(&WHY_NOT, args![id, now_ms])
        .await?
        .ok_or(Error::NotFound { what: "such call" })?;
    let case: CaseState = row.word("case_state", CaseState::parse)?;
    let bar = row.get::<Option<String>>("bar")?;
    Ok(if row.get::<Option<i64>>("ended_at_ms")?.is_some() {
        Seizure::Ended
    } else if case != CaseState::Open {
        Seizure::CaseBarred(case)
    } else if let Some(kind) = bar {
        let kind = BarKind::parse(&kind);
        Seizure::Barred(kind.ok_or_else(|| Error::unknown("mark a seizure", "bars.kind"))?)
    } else if row.get::<i64>("refusals")? > 0 {
        Seizure::PersonRefused
    } else if row.get::<i64>("revoked")? > 0 {
        Seizure::AgreementEnded
    } else {
        Seizure::Expired
    })
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
        team: row.get("team_id")?,
        bucket: row.get("bucket")?,
        number_kind: row.get("number_kind")?,
        disposition: row.get("disposition")?,
        right_party: row.flag("right_party")?,
        first_call: row.flag("first_call")?,
    })
}
