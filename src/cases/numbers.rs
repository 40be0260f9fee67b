//! Numbers of a case: what was found wrong with them, and the word of somebody who may judge it that one is good again.
//!
//! What a note finds wrong is in `notes`; what the gate makes of it is `store::facts`.

use crate::{
    ids::ContactPointId,
    store::{
        self, Tx,
        access::{self, Access},
        number_faults::{self, Lifting},
        users::User,
    },
};

/// Characters of the longest reason.
const LONGEST_REASON: usize = 500;

/// Why a number is not good again.
#[derive(Debug, thiserror::Error)]
pub enum NumberError {
    /// No such contact point, or not for this viewer.
    #[error("there is no such contact point")]
    NotFound,
    /// A reason is missing or too long.
    #[error(
        "reason: write why, in 1 to {LONGEST_REASON} characters, without the number and without a name"
    )]
    Reason,
    /// Nothing is left to do.
    #[error("nothing is on record against this number; nothing is left to do")]
    Nothing,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Says that a number reaches its person again: what was found wrong with it is lifted, for the person in every case and,
/// where the number was dead, for everybody; gives how many faults that were. `viewer` `None`: the command line, which sees
/// all. Commit afterwards.
///
/// # Errors
/// [`NumberError`].
pub async fn good_again(
    tx: &mut Tx,
    point: ContactPointId,
    viewer: Option<&User>,
    reason: &str,
    actor: &str,
    now_ms: i64,
) -> Result<u64, NumberError> {
    let reason = reason.trim();
    if !(1..=LONGEST_REASON).contains(&reason.chars().count()) || reason.contains(char::is_control)
    {
        return Err(NumberError::Reason);
    }
    let target = store::contact_points::target(tx, point).await?;
    let target = target
        .filter(|target| viewer.is_none_or(|user| user.scope.includes(target.client)))
        .ok_or(NumberError::NotFound)?;
    let lifting = Lifting {
        actor,
        why: reason,
        now_ms,
    };
    let lifted = number_faults::lift(tx, point, i64::MAX, &lifting).await?;
    if lifted == 0 {
        return Err(NumberError::Nothing);
    }
    let access = Access {
        at_ms: now_ms,
        actor,
        action: "number.good",
        object: &point.to_string(),
        client_id: Some(target.client),
        detail: serde_json::json!({ "case": target.case, "faults": lifted, "reason": reason }),
    };
    access::log(tx, &access).await?;
    Ok(lifted)
}
