//! States and marks of many cases at once, with their history. A chunk of [`CHUNK`] cases is three statements, so that a
//! caller can hold the writer for as long as it likes and no longer.
//!
//! A settled case is touched only if somebody says that it is to be opened again all the same: it was paid, and
//! `store::cases::settle` is the one that says so.

use super::{Result, Tx};
use crate::{ids::CaseId, policy::CaseState, store::sql::Value};

/// Cases of one round of statements.
pub const CHUNK: usize = 32;

/// What is done with cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// Work rests, until an instant or until somebody resumes it.
    Pause {
        /// It ends by itself then.
        until_ms: Option<i64>,
    },
    /// A pause ends.
    Resume,
    /// Given back to the client.
    Return,
    /// Ended for any other reason.
    Close,
    /// Returned and closed ones are open again: somebody ended them by mistake.
    Reopen {
        /// Settled ones too.
        settled: bool,
    },
    /// Gets a mark; empty takes it away.
    Mark(&'a str),
}

impl Act<'_> {
    /// The word of it, for the access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Return => "return",
            Self::Close => "close",
            Self::Reopen { .. } => "reopen",
            Self::Mark(_) => "mark",
        }
    }

    /// The state that it leads to.
    const fn leads_to(self) -> Option<CaseState> {
        match self {
            Self::Pause { .. } => Some(CaseState::Paused),
            Self::Resume | Self::Reopen { .. } => Some(CaseState::Open),
            Self::Return => Some(CaseState::Returned),
            Self::Close => Some(CaseState::Closed),
            Self::Mark(_) => None,
        }
    }

    /// Out of which states: what [`fits`] knows by a number.
    const fn out_of(self) -> i64 {
        match self {
            Self::Resume => PAUSED,
            Self::Reopen { settled: false } => ENDED,
            Self::Reopen { settled: true } => ENDED_OR_SETTLED,
            Self::Pause { .. } | Self::Return | Self::Close | Self::Mark(_) => WORKED,
        }
    }
}

const WORKED: i64 = 0;
const PAUSED: i64 = 1;
const ENDED: i64 = 2;
const ENDED_OR_SETTLED: i64 = 3;

/// Who does it, when and why.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// Login name, or `system`.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// The first [`CHUNK`] parameters are cases; a shorter list is filled up with its last one.
macro_rules! chunk {
    () => {
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
          $26, $27, $28, $29, $30, $31, $32)"
    };
}

/// Which of them may change: `$33` out of which states (see [`Act::out_of`]), `$34` only pauses that were over by then (0: all).
macro_rules! fits {
    () => {
        "((CAST($33 AS BIGINT) = 0 AND state IN ('open', 'paused')) OR (CAST($33 AS BIGINT) = 1 AND state = 'paused')
          OR (CAST($33 AS BIGINT) >= 2 AND state IN ('returned', 'closed')) OR (CAST($33 AS BIGINT) = 3 AND state = 'settled'))
         AND (CAST($34 AS BIGINT) = 0 OR paused_until_ms <= $34)"
    };
}

statements! {
    STATE_CHANGES("write the history of cases") = concat!(
        "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason)
         SELECT id, CAST($35 AS BIGINT), $36, 'state', '{\"state\":\"' || state || '\"}', '{\"state\":\"' || CAST($37 AS TEXT) || '\"}',
                $38
         FROM cases WHERE id IN ", chunk!(), " AND ", fits!());
    CANCEL("call off the callbacks of cases") = concat!(
        "UPDATE callbacks SET state = 'cancelled', reason = $35, changed_at_ms = $36
         WHERE state IN ('queued', 'offered') AND case_id IN (
             SELECT id FROM cases WHERE id IN ", chunk!(), " AND ", fits!(), ")");
    STATE("change the state of cases") = concat!(
        "UPDATE cases SET state = $35, reason = $36, changed_at_ms = $37, paused_until_ms = $38
         WHERE id IN ", chunk!(), " AND ", fits!());
    MARK_CHANGES("write the history of cases") = concat!(
        "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after, reason)
         SELECT id, CAST($33 AS BIGINT), $34, 'mark', '{\"mark\":\"' || mark || '\"}', '{\"mark\":\"' || CAST($35 AS TEXT) || '\"}',
                $36
         FROM cases WHERE mark <> $35 AND id IN ", chunk!());
    MARK("mark cases") = concat!("UPDATE cases SET mark = $33 WHERE mark <> $33 AND id IN ", chunk!());
    PAUSES_OVER("look for pauses that are over") =
        "SELECT id FROM cases WHERE state = 'paused' AND paused_until_ms <= $1 ORDER BY id LIMIT $2";
}

/// Does it with at most [`CHUNK`] cases; returns how many it changed. The others were in a state from which there is no way.
pub async fn act(tx: &mut Tx, cases: &[CaseId], act: Act<'_>, why: &Why<'_>) -> Result<u64> {
    let Some(ids) = filled(cases) else {
        return Ok(0);
    };
    match (act.leads_to(), act) {
        (Some(state), _) => {
            let until = match act {
                Act::Pause { until_ms } => until_ms,
                _ => None,
            };
            set_state(tx, &ids, state, until, (act.out_of(), 0), why).await
        }
        (None, Act::Mark(mark)) => {
            let own = args![why.now_ms, why.actor, mark, why.reason];
            tx.execute(&MARK_CHANGES, with(&ids, own)).await?;
            tx.execute(&MARK, with(&ids, args![mark])).await
        }
        (None, _) => Ok(0),
    }
}

/// Ends those of at most [`CHUNK`] pauses that are over; returns how many.
pub async fn end_pauses(tx: &mut Tx, cases: &[CaseId], why: &Why<'_>) -> Result<u64> {
    match filled(cases) {
        Some(ids) => set_state(tx, &ids, CaseState::Open, None, (PAUSED, why.now_ms), why).await,
        None => Ok(0),
    }
}

async fn set_state(
    tx: &mut Tx,
    ids: &[Value],
    state: CaseState,
    until_ms: Option<i64>,
    (out_of, over_by_ms): (i64, i64),
    why: &Why<'_>,
) -> Result<u64> {
    let mut ids = ids.to_vec();
    ids.extend(args![out_of, over_by_ms]);
    let own = args![why.now_ms, why.actor, state, why.reason];
    tx.execute(&STATE_CHANGES, with(&ids, own)).await?;
    if matches!(state, CaseState::Returned | CaseState::Closed) {
        let called_off = format!("the case was {}", state.as_str());
        tx.execute(&CANCEL, with(&ids, args![called_off, why.now_ms]))
            .await?;
    }
    let own = args![state, why.reason, why.now_ms, until_ms];
    tx.execute(&STATE, with(&ids, own)).await
}

/// Cases whose pause is over, at most `limit`.
pub async fn pauses_over(tx: &mut Tx, now_ms: i64, limit: u32) -> Result<Vec<CaseId>> {
    let rows = tx.fetch_all(&PAUSES_OVER, args![now_ms, limit]).await?;
    rows.iter()
        .map(|row| row.get("id").map(CaseId::new))
        .collect()
}

/// Exactly [`CHUNK`] values; `None` of none.
fn filled(cases: &[CaseId]) -> Option<Vec<Value>> {
    let last = *cases.last()?;
    debug_assert!(cases.len() <= CHUNK, "{} cases in one chunk", cases.len());
    let all = cases.iter().copied().chain(std::iter::repeat(last));
    Some(all.take(CHUNK).map(Value::from).collect())
}

fn with(ids: &[Value], own: Vec<Value>) -> Vec<Value> {
    let mut all = ids.to_vec();
    all.extend(own);
    all
}
