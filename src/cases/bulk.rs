//! Many cases at once: pause, resume, return, close, reopen, mark, each with its reason, in pieces that hold the writer for a
//! moment. What is selected is read first, then changed; a case that was settled meanwhile stays settled.

use super::marks::{self, MarkError};
use crate::{
    clock::Clock,
    ids::{CaseId, ClientId},
    pace::Pace,
    store::{
        self, Db,
        access::{self, Access},
        case_states::{self, Act, CHUNK, Why},
    },
};

/// Characters of the longest reason.
pub const LONGEST_REASON: usize = 500;
/// Pauses that are ended in one round.
const PAUSES: u32 = 2_000;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Cases asked for.
    pub asked: usize,
    /// Of these, those changed; the others were in a state from which there is no way, or have the mark already.
    pub changed: u64,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// A reason is missing or too long.
    #[error("reason: write why, in 1 to {LONGEST_REASON} characters")]
    Reason,
    /// A mark is no colour.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// A pause that would be over at once.
    #[error(
        "until: choose an instant from now on, or leave it out to pause until somebody resumes"
    )]
    Until,
    /// The database; what was done before stays, doing it again does the rest.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Does it with these cases, whose client is `client` if they have only one.
///
/// # Errors
/// [`BulkError`].
pub async fn act(
    db: &Db,
    clock: &Clock,
    cases: &[CaseId],
    act: Act<'_>,
    client: Option<ClientId>,
    (actor, reason): (&str, &str),
) -> Result<Done, BulkError> {
    let now_ms = clock.wall_ms();
    let reason = reason.trim();
    if !(1..=LONGEST_REASON).contains(&reason.chars().count()) || reason.contains(char::is_control)
    {
        return Err(BulkError::Reason);
    }
    let act = match act {
        Act::Mark(mark) => Act::Mark(marks::stored(mark)?),
        Act::Pause {
            until_ms: Some(until_ms),
        } if until_ms <= now_ms => return Err(BulkError::Until),
        other => other,
    };
    let action = format!("cases.{}", act.as_str());
    let access = Access {
        at_ms: now_ms,
        actor,
        action: &action,
        object: "cases",
        client_id: client,
        detail: serde_json::json!({ "cases": cases.len(), "reason": reason }),
    };
    let mut tx = db.begin().await?;
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let why = Why {
        actor,
        reason,
        now_ms,
    };
    let mut pace = Pace::new(db, clock);
    let mut changed = 0;
    let mut rest = cases;
    while !rest.is_empty() {
        let size = (pace.rows() as usize).min(rest.len());
        let (piece, later) = rest.split_at(size);
        let mut tx = pace.begin().await?;
        for chunk in piece.chunks(CHUNK) {
            changed += case_states::act(&mut tx, chunk, act, &why).await?;
        }
        pace.commit(tx).await?;
        rest = later;
    }
    Ok(Done {
        asked: cases.len(),
        changed,
    })
}

/// Ends the pauses that are over; returns how many.
///
/// # Errors
/// The database.
pub async fn end_pauses(db: &Db, now_ms: i64) -> Result<u64, store::Error> {
    let mut tx = db.read().await?;
    let over = case_states::pauses_over(&mut tx, now_ms, PAUSES).await?;
    tx.rollback().await?;
    let why = Why {
        actor: "system",
        reason: "the pause is over",
        now_ms,
    };
    let mut ended = 0;
    for chunk in over.chunks(CHUNK) {
        let mut tx = db.begin().await?;
        ended += case_states::end_pauses(&mut tx, chunk, &why).await?;
        tx.commit().await?;
    }
    Ok(ended)
}
