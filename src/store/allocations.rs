//! Allocations: the cases dealt to agents and teams by one plan, with what to go back to.
//!
//! A plan is written in pieces that nobody sees, shown, and carried out or undone as a whole: one short transaction decides
//! ([`decide`]), pieces that hold the writer for a moment each do it, and what broke off ([`unfinished`]) is done to its end
//! by whoever comes next. A case that changed hands or was ended since the plan is left as it is, and so is, when undoing,
//! one that was dealt again. Only whoever holds [`super::Db::allocation_lock`] may write here.

use super::{Error, Result, Tx, db::Row, many::Many};
use crate::{
    cases::allocation::{Given, Owner},
    ids::{AgentId, AllocationId, CaseId, TeamId},
};

words! {
    /// How far an allocation is.
    pub enum AllocationState {
        /// Its cases are being written; nobody sees it.
        Staging = "staging",
        /// Written, nothing done.
        Planned = "planned",
        /// Decided; what is left is carried out.
        Running = "running",
        /// Carried out.
        Done = "done",
        /// Decided to go back on; what is left goes back.
        Undoing = "undoing",
        /// Gone back on.
        Undone = "undone",
    }
}

/// An allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Our id.
    pub id: AllocationId,
    /// How it was dealt.
    pub method: String,
    /// JSON: which cases, among whom.
    pub query: String,
    /// How far it is.
    pub state: AllocationState,
    /// Who planned it.
    pub actor: String,
    /// When.
    pub created_at_ms: i64,
    /// Last change.
    pub changed_at_ms: i64,
}

/// What one receiver gets by an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Who.
    pub to: Owner,
    /// Code of the team.
    pub team: Option<String>,
    /// Employee number.
    pub agent: Option<String>,
    /// Cases.
    pub cases: i64,
    /// Persons.
    pub households: i64,
    /// What is owed on them now, ten-thousandths.
    pub amount_e4: i64,
    /// Of the cases, those carried out.
    pub applied: i64,
}

/// The cases in `($2, $3]` of allocation `$1` that are still as the plan found them.
macro_rules! as_planned {
    () => {
        "i.allocation_id = $1 AND i.case_id > $2 AND i.case_id <= $3 AND i.applied = 0
         AND c.state IN ('open', 'paused') AND c.agent_id IS NOT DISTINCT FROM i.from_agent_id
         AND c.team_id IS NOT DISTINCT FROM i.from_team_id"
    };
}

/// The cases in `($2, $3]` of allocation `$1` that nothing was done with since it was carried out.
macro_rules! as_left {
    () => {
        "i.allocation_id = $1 AND i.case_id > $2 AND i.case_id <= $3 AND i.applied = 1
         AND c.agent_id IS NOT DISTINCT FROM i.to_agent_id AND c.team_id IS NOT DISTINCT FROM i.to_team_id
         AND NOT EXISTS (SELECT 1 FROM allocation_items j
                         WHERE j.case_id = i.case_id AND j.allocation_id > i.allocation_id AND j.applied = 1)"
    };
}

/// How far an allocation is: two of the steps stand in columns of their own.
macro_rules! state {
    () => {
        "CASE WHEN staged = 0 THEN 'staging' WHEN undoing = 1 THEN 'undoing' ELSE state END"
    };
}

macro_rules! owner {
    ($team:literal, $agent:literal) => {
        concat!(
            "'{\"team\":' || COALESCE(CAST(",
            $team,
            " AS TEXT), 'null') || ',\"agent\":' || COALESCE(CAST(",
            $agent,
            " AS TEXT), 'null') || '}'"
        )
    };
}

pub(crate) static ITEMS: Many = Many::new(
    "write the cases of an allocation",
    "INSERT INTO allocation_items (allocation_id, case_id, from_team_id, from_agent_id, to_team_id, to_agent_id) VALUES ",
    &[""; 6],
    "",
);

statements! {
    INSERT("write an allocation") =
        "INSERT INTO allocations (method, query, state, staged, actor, created_at_ms, changed_at_ms)
         VALUES ($1, $2, 'planned', 0, $3, $4, $4) RETURNING id";
    STAGED("show an allocation") = "UPDATE allocations SET staged = 1, changed_at_ms = $2 WHERE id = $1 AND staged = 0";
    BY_ID("read an allocation") = concat!(
        "SELECT id, method, query, ", state!(), " AS state, actor, created_at_ms, changed_at_ms FROM allocations
         WHERE id = $1 AND staged = 1");
    LIST("list the allocations") = concat!(
        "SELECT id, method, query, ", state!(), " AS state, actor, created_at_ms, changed_at_ms FROM allocations
         WHERE id < $1 AND staged = 1 ORDER BY id DESC LIMIT $2");
    UNFINISHED("look for allocations that broke off") = concat!(
        "SELECT id, ", state!(), " AS state, COALESCE(decided_by, actor) AS actor FROM allocations
         WHERE staged = 0 OR undoing = 1 OR state = 'running' ORDER BY id");
    APPLY("decide an allocation") =
        "UPDATE allocations SET state = 'running', decided_by = $2, changed_at_ms = $3
         WHERE id = $1 AND state = 'planned' AND staged = 1";
    UNDO("decide to undo an allocation") =
        "UPDATE allocations SET undoing = 1, decided_by = $2, changed_at_ms = $3
         WHERE id = $1 AND state = 'done' AND undoing = 0";
    STAGING("go on with an allocation") = "UPDATE allocations SET changed_at_ms = $2 WHERE id = $1 AND staged = 0";
    APPLYING("go on with an allocation") =
        "UPDATE allocations SET changed_at_ms = $2 WHERE id = $1 AND state = 'running' AND undoing = 0";
    UNDOING("go on with an allocation") = "UPDATE allocations SET changed_at_ms = $2 WHERE id = $1 AND undoing = 1";
    END("end an allocation") = "UPDATE allocations SET state = $2, undoing = 0, changed_at_ms = $3 WHERE id = $1";
    SWEEP_ITEMS("sweep the cases of an allocation") =
        "DELETE FROM allocation_items WHERE allocation_id = $1 AND case_id IN
         (SELECT case_id FROM allocation_items WHERE allocation_id = $1 ORDER BY case_id LIMIT $2)";
    SWEEP("sweep an allocation") = "DELETE FROM allocations WHERE id = $1 AND staged = 0";
    TOTALS("add up an allocation") =
        "SELECT i.to_team_id, i.to_agent_id, t.code AS team, a.code AS agent, COUNT(*) AS cases,
                COUNT(DISTINCT d.person_id) AS households,
                CAST(SUM(CASE WHEN c.balance_e4 > 0 THEN c.balance_e4 ELSE 0 END) AS BIGINT) AS amount_e4,
                CAST(SUM(i.applied) AS BIGINT) AS applied
         FROM allocation_items i JOIN cases c ON c.id = i.case_id JOIN debtors d ON d.id = c.debtor_id
              LEFT JOIN teams t ON t.id = i.to_team_id LEFT JOIN agents a ON a.id = i.to_agent_id
         WHERE i.allocation_id = $1 GROUP BY i.to_team_id, i.to_agent_id, t.code, a.code ORDER BY a.code, t.code";
    CLIENTS("look up whose cases an allocation holds") =
        "SELECT DISTINCT c.client_id FROM allocation_items i JOIN cases c ON c.id = i.case_id WHERE i.allocation_id = $1";
    PIECE("measure a piece of an allocation") =
        "SELECT MAX(case_id) AS last FROM (
             SELECT case_id FROM allocation_items WHERE allocation_id = $1 AND case_id > $2 ORDER BY case_id LIMIT $3) AS piece";
    LEFT("list what an allocation left as it was") =
        "SELECT k.code AS client, c.reference FROM allocation_items i JOIN cases c ON c.id = i.case_id
              JOIN clients k ON k.id = c.client_id
         WHERE i.allocation_id = $1 AND i.applied = $2 ORDER BY i.case_id LIMIT $3";
    COUNT("count the cases of an allocation") =
        "SELECT COUNT(*) AS n FROM allocation_items WHERE allocation_id = $1 AND applied = $2";
    APPLY_CHANGES("write the history of dealt cases") = concat!(
        "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason)
         SELECT c.id, CAST($4 AS BIGINT), $5, 'allocation', ", owner!("c.team_id", "c.agent_id"), ", ",
        owner!("i.to_team_id", "i.to_agent_id"), ", 'allocation ' || CAST(i.allocation_id AS TEXT)
         FROM allocation_items i JOIN cases c ON c.id = i.case_id WHERE ", as_planned!());
    APPLY_ITEMS("mark dealt cases") = concat!(
        "UPDATE allocation_items SET applied = 1 WHERE allocation_id = $1 AND case_id > $2 AND case_id <= $3 AND case_id IN (
             SELECT i.case_id FROM allocation_items i JOIN cases c ON c.id = i.case_id WHERE ", as_planned!(), ")");
    APPLY_CASES("deal cases") =
        "UPDATE cases SET team_id = i.to_team_id, agent_id = i.to_agent_id, allocated_at_ms = $4
         FROM allocation_items i
         WHERE i.case_id = cases.id AND i.allocation_id = $1 AND i.case_id > $2 AND i.case_id <= $3 AND i.applied = 1
           AND cases.agent_id IS NOT DISTINCT FROM i.from_agent_id AND cases.team_id IS NOT DISTINCT FROM i.from_team_id";
    UNDO_CHANGES("write the history of cases dealt back") = concat!(
        "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason)
         SELECT c.id, CAST($4 AS BIGINT), $5, 'allocation', ", owner!("c.team_id", "c.agent_id"), ", ",
        owner!("i.from_team_id", "i.from_agent_id"), ", 'allocation ' || CAST(i.allocation_id AS TEXT) || ' undone'
         FROM allocation_items i JOIN cases c ON c.id = i.case_id WHERE ", as_left!());
    UNDO_CASES("deal cases back") = concat!(
        "UPDATE cases SET team_id = i.from_team_id, agent_id = i.from_agent_id,
                allocated_at_ms = CASE WHEN i.from_agent_id IS NULL THEN NULL ELSE CAST($4 AS BIGINT) END
         FROM allocation_items i JOIN cases c ON c.id = i.case_id WHERE cases.id = i.case_id AND ", as_left!());
    UNDO_ITEMS("mark cases dealt back") =
        "UPDATE allocation_items SET applied = 0
         WHERE allocation_id = $1 AND case_id > $2 AND case_id <= $3 AND applied = 1
           AND EXISTS (SELECT 1 FROM cases c WHERE c.id = allocation_items.case_id
                       AND c.agent_id IS NOT DISTINCT FROM allocation_items.from_agent_id
                       AND c.team_id IS NOT DISTINCT FROM allocation_items.from_team_id)
           AND NOT EXISTS (SELECT 1 FROM allocation_items j WHERE j.case_id = allocation_items.case_id
                           AND j.allocation_id > allocation_items.allocation_id AND j.applied = 1)";
}

/// Writes an allocation that nobody sees, without its cases.
pub async fn insert(
    tx: &mut Tx,
    method: &str,
    query: &str,
    actor: &str,
    now_ms: i64,
) -> Result<AllocationId> {
    let row = tx
        .fetch_one(&INSERT, args![method, query, actor, now_ms])
        .await?;
    Ok(AllocationId::new(row.get("id")?))
}

/// Writes cases of an allocation.
pub async fn insert_items(tx: &mut Tx, id: AllocationId, given: &[Given]) -> Result<()> {
    let row = |given: &Given| {
        args![
            id,
            given.case,
            given.from.team,
            given.from.agent,
            given.to.team,
            given.to.agent
        ]
    };
    ITEMS
        .run(tx, given.iter().map(row).collect())
        .await
        .map(drop)
}

/// The allocation with this id.
pub async fn by_id(tx: &mut Tx, id: AllocationId) -> Result<Option<Allocation>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Allocations, newest first, before an id (`None`: the newest), at most `limit`.
pub async fn list(
    tx: &mut Tx,
    before: Option<AllocationId>,
    limit: u32,
) -> Result<Vec<Allocation>> {
    let before = before.map_or(i64::MAX, AllocationId::get);
    tx.fetch_all(&LIST, args![before, limit])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Shows an allocation all of whose cases are written.
pub async fn show(tx: &mut Tx, id: AllocationId, now_ms: i64) -> Result<()> {
    match tx.execute(&STAGED, args![id, now_ms]).await? {
        1 => Ok(()),
        _ => Err(taken_over()),
    }
}

/// What is decided of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is carried out.
    Apply,
    /// It is gone back on.
    Undo,
}

/// Decides: from now on all of it happens, whatever breaks off. Says whether it could be decided.
pub async fn decide(
    tx: &mut Tx,
    id: AllocationId,
    decision: Decision,
    actor: &str,
    now_ms: i64,
) -> Result<bool> {
    let sql = match decision {
        Decision::Apply => &APPLY,
        Decision::Undo => &UNDO,
    };
    Ok(tx.execute(sql, args![id, actor, now_ms]).await? > 0)
}

/// The first statement of every piece (`None`: of a plan that is being written): fails if somebody who thought us dead has
/// swept it or done it to its end.
pub async fn fence(
    tx: &mut Tx,
    id: AllocationId,
    decision: Option<Decision>,
    now_ms: i64,
) -> Result<()> {
    let sql = match decision {
        None => &STAGING,
        Some(Decision::Apply) => &APPLYING,
        Some(Decision::Undo) => &UNDOING,
    };
    match tx.execute(sql, args![id, now_ms]).await? {
        1 => Ok(()),
        _ => Err(taken_over()),
    }
}

fn taken_over() -> Error {
    Error::Unavailable {
        act: "go on with an allocation",
        cause: "its lock was lost and somebody else took it over".into(),
        remedy: "look at it again: what was decided is carried out, a plan that was not yet shown is made anew".into(),
    }
}

/// Ends what was decided.
pub async fn end(tx: &mut Tx, id: AllocationId, decision: Decision, now_ms: i64) -> Result<()> {
    let state = match decision {
        Decision::Apply => AllocationState::Done,
        Decision::Undo => AllocationState::Undone,
    };
    tx.execute(&END, args![id, state, now_ms]).await.map(drop)
}

/// Allocations that broke off, with who decided them or wrote them.
pub async fn unfinished(tx: &mut Tx) -> Result<Vec<(AllocationId, AllocationState, String)>> {
    tx.fetch_all(&UNFINISHED, args![])
        .await?
        .iter()
        .map(|row| {
            let id = AllocationId::new(row.get("id")?);
            Ok((id, row.parse("state")?, row.get("actor")?))
        })
        .collect()
}

/// Sweeps some of a plan that nobody saw; says whether there may be more.
pub async fn sweep_some(tx: &mut Tx, id: AllocationId, most: u32) -> Result<bool> {
    if tx.execute(&SWEEP_ITEMS, args![id, most]).await? > 0 {
        return Ok(true);
    }
    tx.execute(&SWEEP, args![id]).await.map(|_| false)
}

/// What each receiver gets.
pub async fn totals(tx: &mut Tx, id: AllocationId) -> Result<Vec<Total>> {
    let rows = tx.fetch_all(&TOTALS, args![id]).await?;
    rows.iter()
        .map(|row| {
            Ok(Total {
                to: Owner {
                    team: row.get::<Option<i64>>("to_team_id")?.map(TeamId::new),
                    agent: row.get::<Option<i64>>("to_agent_id")?.map(AgentId::new),
                },
                team: row.get("team")?,
                agent: row.get("agent")?,
                cases: row.get("cases")?,
                households: row.get("households")?,
                amount_e4: row.get("amount_e4")?,
                applied: row.get("applied")?,
            })
        })
        .collect()
}

/// Whose cases it holds.
pub async fn clients(tx: &mut Tx, id: AllocationId) -> Result<Vec<crate::ids::ClientId>> {
    let rows = tx.fetch_all(&CLIENTS, args![id]).await?;
    rows.iter()
        .map(|row| row.get("client_id").map(crate::ids::ClientId::new))
        .collect()
}

/// The last case of the next `size` after one; `None` if there are none.
pub async fn piece(
    tx: &mut Tx,
    id: AllocationId,
    after: CaseId,
    size: u32,
) -> Result<Option<CaseId>> {
    let row = tx.fetch_one(&PIECE, args![id, after, size]).await?;
    Ok(row.get::<Option<i64>>("last")?.map(CaseId::new))
}

/// A piece of an allocation: the cases after `after` up to `last`.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The allocation.
    pub id: AllocationId,
    /// Behind this case.
    pub after: CaseId,
    /// Up to this one.
    pub last: CaseId,
    /// Who carries it out.
    pub actor: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// Carries out a piece; returns how many cases changed hands.
pub async fn apply(tx: &mut Tx, p: &Piece<'_>) -> Result<u64> {
    let history = args![p.id, p.after, p.last, p.now_ms, p.actor];
    tx.execute(&APPLY_CHANGES, history).await?;
    tx.execute(&APPLY_ITEMS, args![p.id, p.after, p.last])
        .await?;
    tx.execute(&APPLY_CASES, args![p.id, p.after, p.last, p.now_ms])
        .await
}

/// Undoes a piece; returns how many cases went back.
pub async fn undo(tx: &mut Tx, p: &Piece<'_>) -> Result<u64> {
    let history = args![p.id, p.after, p.last, p.now_ms, p.actor];
    tx.execute(&UNDO_CHANGES, history).await?;
    let back = tx
        .execute(&UNDO_CASES, args![p.id, p.after, p.last, p.now_ms])
        .await?;
    tx.execute(&UNDO_ITEMS, args![p.id, p.after, p.last])
        .await?;
    Ok(back)
}

/// How many cases are carried out (or not).
pub async fn count(tx: &mut Tx, id: AllocationId, applied: bool) -> Result<i64> {
    tx.fetch_one(&COUNT, args![id, applied]).await?.get("n")
}

/// Client and case number of those that are carried out (or not), at most `limit`.
pub async fn left(
    tx: &mut Tx,
    id: AllocationId,
    applied: bool,
    limit: u32,
) -> Result<Vec<(String, String)>> {
    let rows = tx.fetch_all(&LEFT, args![id, applied, limit]).await?;
    rows.iter()
        .map(|row| Ok::<_, Error>((row.get("client")?, row.get("reference")?)))
        .collect()
}

fn read(row: &Row) -> Result<Allocation> {
    Ok(Allocation {
        id: AllocationId::new(row.get("id")?),
        method: row.get("method")?,
        query: row.get("query")?,
        state: row.parse("state")?,
        actor: row.get("actor")?,
        created_at_ms: row.get("created_at_ms")?,
        changed_at_ms: row.get("changed_at_ms")?,
    })
}
