//! The access log: who touched what. Each row's hash covers the hash before it, so that changing, removing or
//! reordering a row shows in [`verify`].

use super::{
    Error, Result, Tx,
    db::Row,
    guards::{self, Guard},
    users::hex,
};
use crate::ids::ClientId;

/// The hash before the first row.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// When.
    pub at_ms: i64,
    /// Login name, or `system`.
    pub actor: &'a str,
    /// What was done: `recording.play`, `recording.export`, `user.add`, …
    pub action: &'a str,
    /// Id of what was touched.
    pub object: &'a str,
    /// Whose object it was.
    pub client_id: Option<ClientId>,
    /// Particulars without phone numbers and names of persons.
    pub detail: serde_json::Value,
}

statements! {
    LAST("read the end of the access log") = "SELECT seq, hash FROM access_log ORDER BY seq DESC LIMIT 1";
    INSERT("write the access log") =
        "INSERT INTO access_log (seq, at_ms, actor, action, object, client_id, detail, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    AFTER("read the access log") =
        "SELECT seq, at_ms, actor, action, object, client_id, detail, previous_hash, hash FROM access_log
         WHERE seq > $1 ORDER BY seq LIMIT $2";
}

/// Writes one access. Commit before the access happens. Must be the last statement of a transaction that does more,
/// because everybody waits for the end of the log.
pub async fn log(tx: &mut Tx, access: &Access<'_>) -> Result<()> {
    guards::touch(tx, &[Guard::AccessLog]).await?;
    let (seq, previous) = match tx.fetch_optional(&LAST, args![]).await? {
        Some(row) => (row.get::<i64>("seq")? + 1, row.get::<String>("hash")?),
        None => (1, GENESIS.to_owned()),
    };
    let detail = access.detail.to_string();
    let hash = link(
        &previous,
        seq,
        access.at_ms,
        access.actor,
        access.action,
        access.object,
        access.client_id,
        &detail,
    );
    let args = args![
        seq,
        access.at_ms,
        access.actor,
        access.action,
        access.object,
        access.client_id,
        detail,
        previous,
        hash
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// The hash of a row: SHA-256 over the previous hash and the row's fields as one JSON array.
#[expect(
    clippy::too_many_arguments,
    reason = "these are the columns, in their order"
)]
fn link(
    previous: &str,
    seq: i64,
    at_ms: i64,
    actor: &str,
    action: &str,
    object: &str,
    client_id: Option<ClientId>,
    detail: &str,
) -> String {
    let canonical = serde_json::json!([
        previous, seq, at_ms, actor, action, object, client_id, detail
    ])
    .to_string();
    hex(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()).as_ref())
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every link holds. Keep `last_hash` elsewhere: a log cut off at its end still verifies, but not against it.
    Intact {
        /// Rows in all.
        rows: i64,
        /// Hash of the last row.
        last_hash: String,
    },
    /// The row of this number is missing, changed or out of place.
    Broken {
        /// The first number that does not fit.
        seq: i64,
    },
}

/// Recomputes the whole chain in constant memory.
pub async fn verify(tx: &mut Tx) -> Result<Verdict> {
    let (mut seq, mut hash) = (0, GENESIS.to_owned());
    loop {
        let rows = tx.fetch_all(&AFTER, args![seq, 1_000]).await?;
        if rows.is_empty() {
            return Ok(Verdict::Intact {
                rows: seq,
                last_hash: hash,
            });
        }
        for row in &rows {
            match next(row, seq, &hash) {
                Ok(Some(link)) => (seq, hash) = (seq + 1, link),
                Ok(None) | Err(Error::Corrupt { .. }) => {
                    return Ok(Verdict::Broken { seq: seq + 1 });
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// The hash of a row, if it is the one that follows.
fn next(row: &Row, last: i64, previous: &str) -> Result<Option<String>> {
    let seq = row.get::<i64>("seq")?;
    let hash = link(
        previous,
        seq,
        row.get("at_ms")?,
        &row.get::<String>("actor")?,
        &row.get::<String>("action")?,
        &row.get::<String>("object")?,
        row.get::<Option<i64>>("client_id")?.map(ClientId::new),
        &row.get::<String>("detail")?,
    );
    let fits = seq == last + 1
        && row.get::<String>("previous_hash")? == previous
        && row.get::<String>("hash")? == hash;
    Ok(fits.then_some(hash))
}
