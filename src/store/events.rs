//! Events: what happened, in order, for those who follow from outside. One row per call end, small.

use super::{Result, Tx, many::Many};
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
    AFTER("read events") =
        "SELECT seq, at_ms, kind, client_id, subject, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
}

/// An event about to be stored.
#[derive(Debug, Clone)]
pub(crate) struct New<'a> {
    pub(crate) at_ms: i64,
    pub(crate) kind: &'a str,
    pub(crate) client: Option<ClientId>,
    pub(crate) subject: String,
    pub(crate) body: &'a str,
}

pub(crate) static INSERT: Many = Many::new(
    "store events",
    "INSERT INTO events (at_ms, kind, client_id, subject, body) VALUES ",
    &["", "", "", "", ""],
    "",
);

/// Stores events in the transaction of what they tell.
pub(crate) async fn insert_many<'a>(
    tx: &mut Tx,
    events: impl Iterator<Item = New<'a>>,
) -> Result<()> {
    let rows = events
        .map(|e| args![e.at_ms, e.kind, e.client, e.subject, e.body])
        .collect();
    INSERT.run(tx, rows).await.map(drop)
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
