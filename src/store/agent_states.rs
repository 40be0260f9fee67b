//! What an agent did when: one row per stretch of time in one state. Being logged in is the union of all of them.
//!
//! Written by the switchboard beside the calls, never on their path. An interval that lasts has no end; at most one of an
//! agent does on one node. What ends is added to the agent's day in the same transaction: see [`agent_days`].

use std::collections::{HashMap, hash_map::Entry};

use jiff::tz::TimeZone;

use super::{
    Result, Tx,
    agent_days::{self, Span},
    db::Row,
};
use crate::ids::AgentId;

words! {
    /// A state that lasts.
    pub enum Doing {
        /// Free to call.
        Ready = "ready",
        /// A call is being decided or the phone rings.
        Reserved = "reserved",
        /// On a call.
        Talk = "talk",
        /// Writing the note.
        WrapUp = "wrap_up",
        /// Away, with a reason.
        Break = "break",
    }
}

/// A change of an agent's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub agent: AgentId,
    /// What the agent does from now on; `None`: logged out.
    pub doing: Option<Doing>,
    /// Of a break.
    pub reason: String,
    /// Since when.
    pub at_ms: i64,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// Who.
    pub agent: AgentId,
    /// What.
    pub doing: Doing,
    /// Of a break.
    pub reason: String,
    /// Since.
    pub from_ms: i64,
    /// To; `None` while it lasts.
    pub until_ms: Option<i64>,
}

statements! {
    END("end what an agent did") =
        "UPDATE agent_states SET until_ms = CASE WHEN from_ms > $3 THEN from_ms ELSE $3 END
         WHERE agent_id = $1 AND node = $2 AND until_ms IS NULL
         RETURNING agent_id, state, reason, from_ms, until_ms";
    BEGIN("note what an agent does") =
        "INSERT INTO agent_states (agent_id, node, state, reason, from_ms) VALUES ($1, $2, $3, $4, $5)";
    LAST_KNOWN("look for what is known of an agent") =
        "SELECT MAX(COALESCE(until_ms, from_ms)) AS at_ms FROM agent_states WHERE agent_id = $1 AND node = $2";
    LAST_SIGN("look for the last sign of life before a crash") =
        "SELECT MAX(at_ms) AS at_ms FROM (
             SELECT MAX(from_ms) AS at_ms FROM agent_states WHERE node = $1
             UNION ALL SELECT MAX(until_ms) FROM agent_states WHERE node = $1
             UNION ALL SELECT MAX(started_at_ms) FROM attempts WHERE node = $1
                 AND started_at_ms >= (SELECT COALESCE(MIN(from_ms), 0) FROM agent_states WHERE node = $1 AND until_ms IS NULL)
             UNION ALL SELECT MAX(ended_at_ms) FROM attempts WHERE node = $1
                 AND started_at_ms >= (SELECT COALESCE(MIN(from_ms), 0) FROM agent_states WHERE node = $1 AND until_ms IS NULL)
         ) AS signs";
    CLOSE("end what a crash left open") =
        "UPDATE agent_states SET until_ms = CASE WHEN from_ms > $2 THEN from_ms ELSE $2 END
         WHERE node = $1 AND until_ms IS NULL
         RETURNING agent_id, state, reason, from_ms, until_ms";
    OF_TIME("read what agents did") =
        "SELECT agent_id, state, reason, from_ms, until_ms FROM agent_states
         WHERE (CAST($1 AS BIGINT) = 0 OR agent_id = $1) AND from_ms < $3 AND COALESCE(until_ms, $3) > $2
         ORDER BY agent_id, from_ms, id";
}

/// Writes changes in their order: what an agent did so far on this node ends, what comes now begins. `zone` is the one
/// whose days agents' days are.
pub async fn change(tx: &mut Tx, node: &str, changes: &[Change], zone: &TimeZone) -> Result<()> {
    let mut over = Vec::new();
    for change in changes {
        let args = args![change.agent, node, change.at_ms];
        over.extend(tx.fetch_all(&END, args).await?);
        if let Some(doing) = change.doing {
            let args = args![change.agent, node, doing, &change.reason, change.at_ms];
            tx.execute(&BEGIN, args).await?;
        }
    }
    agent_days::add(tx, &spans(&over)?, zone).await
}

/// The changes that are later than all that is known of their agents on this node: those of a journal that were not written
/// before.
pub async fn unknown(tx: &mut Tx, node: &str, changes: Vec<Change>) -> Result<Vec<Change>> {
    let mut known = HashMap::new();
    let mut unknown = Vec::new();
    for change in changes {
        let agent = change.agent;
        if let Entry::Vacant(entry) = known.entry(agent) {
            let row = tx.fetch_one(&LAST_KNOWN, args![agent, node]).await?;
            entry.insert(row.get::<Option<i64>>("at_ms")?);
        }
        if known[&agent].is_none_or(|at_ms| change.at_ms > at_ms) {
            unknown.push(change);
        }
    }
    Ok(unknown)
}

/// Ends what a crash of this node left open, at the last sign of life that the database has: nobody was logged in while
/// the daemon was down. Returns how many there were. Call it before attempts are settled, which are ended with the
/// present time.
pub async fn close_leftovers(
    tx: &mut Tx,
    node: &str,
    now_ms: i64,
    zone: &TimeZone,
) -> Result<usize> {
    let sign: Option<i64> = tx.fetch_one(&LAST_SIGN, args![node]).await?.get("at_ms")?;
    let end = sign.unwrap_or(now_ms).min(now_ms);
    let over = tx.fetch_all(&CLOSE, args![node, end]).await?;
    agent_days::add(tx, &spans(&over)?, zone).await?;
    Ok(over.len())
}

/// The stretches that are over.
fn spans(rows: &[Row]) -> Result<Vec<Span>> {
    rows.iter()
        .map(|row| {
            Ok(Span {
                agent: AgentId::new(row.get("agent_id")?),
                state: row.get("state")?,
                reason: row.get("reason")?,
                from_ms: row.get("from_ms")?,
                until_ms: row.get("until_ms")?,
            })
        })
        .collect()
}

/// What agents (or one) did in a stretch of time, by agent and time.
pub async fn between(
    tx: &mut Tx,
    agent: Option<AgentId>,
    from_ms: i64,
    until_ms: i64,
) -> Result<Vec<Interval>> {
    let agent = agent.map_or(0, AgentId::get);
    tx.fetch_all(&OF_TIME, args![agent, from_ms, until_ms])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Interval> {
    Ok(Interval {
        agent: AgentId::new(row.get("agent_id")?),
        doing: row.parse("state")?,
        reason: row.get("reason")?,
        from_ms: row.get("from_ms")?,
        until_ms: row.get("until_ms")?,
    })
}
