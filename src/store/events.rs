//! Events: what happened, in order, for those who follow from outside. One row per call end, small.

use super::{Result, Tx};
use crate::ids::ClientId;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Order of writing; ask for what comes after the last one seen.
    pub seq: i64,
    /// When it happened.
    pub at_ms: i64,
    /// What happened: `call.ended`.
    pub kind: String,
    /// Whose object it is about.
    pub client_id: Option<ClientId>,
    /// Id of the object.
    pub subject: String,
    /// JSON without numbers and names.
    pub body: String,
}

statements! {
    INSERT("store an event") =
        "INSERT INTO events (at_ms, kind, client_id, subject, body) VALUES ($1, $2, $3, $4, $5)";
    AFTER("read events") =
        "SELECT seq, at_ms, kind, client_id, subject, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
}

/// Stores an event in the transaction of what it tells.
pub(crate) async fn insert(
    tx: &mut Tx,
    at_ms: i64,
    kind: &str,
    client_id: Option<ClientId>,
    subject: &str,
    body: &str,
) -> Result<()> {
    tx.execute(&INSERT, args![at_ms, kind, client_id, subject, body])
        .await
        .map(drop)
}

/// Events after a position, oldest first, at most `limit`. With several nodes on PostgreSQL a transaction may become
/// visible after a later number: followers there ask again from a little before their last position.
pub async fn after(tx: &mut Tx, seq: i64, limit: u32) -> Result<Vec<Event>> {
    let rows = tx.fetch_all(&AFTER, args![seq, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Event {
                seq: row.get("seq")?,
                at_ms: row.get("at_ms")?,
                kind: row.get("kind")?,
                client_id: row.get::<Option<i64>>("client_id")?.map(ClientId::new),
                subject: row.get("subject")?,
                body: row.get("body")?,
            })
        })
        .collect()
}
