//! Idempotency keys: a request that is sent twice with one key is carried out once and answered twice.

use super::{Result, Tx};
use crate::ids::UserId;

/// What was answered to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Never seen: carry the request out.
    New,
    /// Seen with the same request: answer this again.
    Same(Answer),
    /// Seen with another request: refuse.
    Other,
}

statements! {
    FIND("look up an idempotency key") =
        "SELECT request_sha256, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2";
    INSERT("store an idempotency key") =
        "INSERT INTO idempotency_keys (user_id, key, request_sha256, status, body, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)";
    TAKE_BACK("take an answer back") = "DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2";
    FORGET("forget old idempotency keys") = "DELETE FROM idempotency_keys WHERE created_at_ms < $1";
}

/// Looks a key up. `request` is the body of the request.
pub async fn find(tx: &mut Tx, user_id: UserId, key: &str, request: &[u8]) -> Result<Known> {
    let Some(row) = tx.fetch_optional(&FIND, args![user_id, key]).await? else {
        return Ok(Known::New);
    };
    if row.get::<String>("request_sha256")? != sha256(request) {
        return Ok(Known::Other);
    }
    Ok(Known::Same(Answer {
        status: row.small("status")?,
        body: row.get("body")?,
    }))
}

/// Stores the answer, in the transaction that carries the request out.
///
/// # Errors
/// [`super::Error::Constraint`] (exists) if the same key was used meanwhile: roll back, then [`find`] it.
pub async fn insert(
    tx: &mut Tx,
    user_id: UserId,
    key: &str,
    request: &[u8],
    answer: &Answer,
    now_ms: i64,
) -> Result<()> {
    let args = args![
        user_id,
        key,
        sha256(request),
        answer.status,
        &answer.body,
        now_ms
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// Takes the answer to a key back, because it does not hold: the same request is carried out anew.
pub async fn take_back(tx: &mut Tx, user_id: UserId, key: &str) -> Result<()> {
    tx.execute(&TAKE_BACK, args![user_id, key]).await.map(drop)
}

/// Forgets keys stored before an instant; returns how many.
pub async fn forget(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    tx.execute(&FORGET, args![before_ms]).await
}

fn sha256(request: &[u8]) -> String {
    super::users::hex(ring::digest::digest(&ring::digest::SHA256, request).as_ref())
}
