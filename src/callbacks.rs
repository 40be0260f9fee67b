//! Callbacks as they come due: offered to an agent who is there, placed through the switchboard like every other call, or
//! missed.
//!
//! Decides nothing about rules: the gate does, at the moment of the call, and a refusal keeps its receipt as the reason.
//! Rows are `store::callbacks`; `rounds` calls [`offer_due`] and [`miss_late`] every few seconds.

use std::collections::HashSet;

use crate::{
    ids::{CallbackId, UserId},
    store::{
        self, Db,
        callbacks::{Callback, CallbackState, Move},
    },
    switchboard::{CallbackEvent, DialAnswer, DialError, DialRequest, News, Switchboard},
};

/// Callbacks of one round; the rest comes with the next.
const ROUND: u32 = 500;

/// Why a callback was not placed.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// No such callback.
    #[error("there is no such callback")]
    NotFound,
    /// It is not due yet.
    #[error("the callback is not due yet")]
    NotDue,
    /// It is over.
    #[error("the callback is {0}")]
    Over(CallbackState),
    /// The click could not be decided; it can be placed again.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Offers what is due to agents who are there; returns how many. Others stay queued until their agent comes.
///
/// # Errors
/// The database.
pub async fn offer_due(
    db: &Db,
    switchboard: &Switchboard,
    now_ms: i64,
) -> Result<usize, store::Error> {
    let mut tx = db.read().await?;
    let due = store::callbacks::due(&mut tx, now_ms, ROUND).await?;
    tx.rollback().await?;
    if due.is_empty() {
        return Ok(0);
    }
    let there: HashSet<_> = switchboard
        .working()
        .await
        .into_iter()
        .map(|one| one.agent)
        .collect();
    let mut offered = Vec::new();
    let mut tx = db.begin().await?;
    for callback in due.into_iter().filter(|one| there.contains(&one.agent)) {
        let step = Move {
            from: CallbackState::Queued,
            to: CallbackState::Offered,
            reason: None,
            call: None,
        };
        // Another node may have been faster.
        if store::callbacks::advance(&mut tx, callback.id, &step, now_ms).await? {
            offered.push(callback);
        }
    }
    tx.commit().await?;
    for callback in &offered {
        switchboard.announce(News::Callback(event(callback)));
    }
    Ok(offered.len())
}

fn event(callback: &Callback) -> CallbackEvent {
    CallbackEvent {
        callback_id: callback.id.get(),
        case_id: callback.case,
        contact_point_id: callback.contact_point,
        agent: callback.agent,
        client: callback.client,
        due_at_ms: callback.due_at_ms,
    }
}

/// Gives up what came due before an instant and was not placed; returns how many.
///
/// # Errors
/// The database.
pub async fn miss_late(db: &Db, before_ms: i64, now_ms: i64) -> Result<usize, store::Error> {
    let mut tx = db.read().await?;
    let late = store::callbacks::late(&mut tx, before_ms, ROUND).await?;
    tx.rollback().await?;
    if late.is_empty() {
        return Ok(0);
    }
    let mut missed = 0;
    let mut tx = db.begin().await?;
    for callback in late {
        let reason = match callback.state {
            CallbackState::Offered => "offered, and not placed in time",
            _ => "the agent was not there in time",
        };
        let step = Move {
            from: callback.state,
            to: CallbackState::Missed,
            reason: Some(reason),
            call: None,
        };
        missed +=
            usize::from(store::callbacks::advance(&mut tx, callback.id, &step, now_ms).await?);
    }
    tx.commit().await?;
    Ok(missed)
}

/// Places a callback: through the switchboard's door and the gate. A refusal ends it, with the receipt as the reason; an
/// agent who is busy leaves it as it is.
///
/// # Errors
/// [`CallbackError`].
pub async fn place(
    db: &Db,
    switchboard: &Switchboard,
    id: CallbackId,
    user: Option<UserId>,
    now_ms: i64,
) -> Result<DialAnswer, CallbackError> {
    let mut tx = db.read().await?;
    let callback = store::callbacks::by_id(&mut tx, id)
        .await?
        .ok_or(CallbackError::NotFound)?;
    tx.rollback().await?;
    match callback.state {
        CallbackState::Offered => {}
        CallbackState::Queued if callback.due_at_ms <= now_ms => {}
        CallbackState::Queued => return Err(CallbackError::NotDue),
        over => return Err(CallbackError::Over(over)),
    }
    let answer = switchboard
        .dial(DialRequest {
            contact_point: callback.contact_point,
            agent: callback.agent,
            user,
            key: None,
        })
        .await?;
    let receipt;
    let step = match &answer {
        DialAnswer::Accepted { call } => Move {
            from: callback.state,
            to: CallbackState::Done,
            reason: None,
            call: Some(*call),
        },
        DialAnswer::Refused { receipt: id, .. } => {
            receipt = id.to_string();
            Move {
                from: callback.state,
                to: CallbackState::Refused,
                reason: Some(&receipt),
                call: None,
            }
        }
    };
    let mut tx = db.begin().await?;
    if !store::callbacks::advance(&mut tx, id, &step, now_ms).await? {
        tracing::info!(callback = %id, "a callback was called off or placed while its call was decided");
    }
    tx.commit().await?;
    Ok(answer)
}
