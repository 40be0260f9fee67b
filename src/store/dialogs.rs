//! The journal of SIP dialogs: written before an INVITE leaves, so that a restart can release what a crash left open.

use super::{Result, Row, Tx};
use crate::ids::CallId;

/// One leg as it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// The call.
    pub call_id: CallId,
    /// Which leg of it: `agent`, `customer`, or a later leg's own name.
    pub leg: String,
    /// Through which connection it was sent.
    pub trunk: String,
    /// The snapshot as text of `ringfence-sip`.
    pub snapshot: String,
}

statements! {
    PUT("journal a dialog") =
        "INSERT INTO dialogs (call_id, leg, node, trunk, snapshot, written_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (call_id, leg) DO UPDATE SET node = excluded.node, trunk = excluded.trunk,
             snapshot = excluded.snapshot, written_at_ms = excluded.written_at_ms";
    REMOVE("remove a dialog from the journal") = "DELETE FROM dialogs WHERE call_id = $1 AND leg = $2";
    LEFTOVERS("list the dialogs that a crash left open") =
        "SELECT call_id, leg, trunk, snapshot FROM dialogs WHERE node = $1 ORDER BY written_at_ms, call_id, leg";
    FORGOTTEN("list the dialogs of ended calls that the PBX has not released") =
        "SELECT call_id, leg, trunk, snapshot FROM dialogs WHERE node = $1
         AND call_id IN (SELECT id FROM attempts WHERE ended_at_ms < $2) ORDER BY written_at_ms, call_id, leg";
}

/// Writes a leg's snapshot, over the one before. Commit before the INVITE leaves.
pub async fn put(tx: &mut Tx, node: &str, dialog: &Dialog, now_ms: i64) -> Result<()> {
    let args = args![
        dialog.call_id,
        &dialog.leg,
        node,
        &dialog.trunk,
        &dialog.snapshot,
        now_ms
    ];
    tx.execute(&PUT, args).await.map(drop)
}

/// Removes a leg that the peer is known to have released. Removing twice does no harm.
pub async fn remove(tx: &mut Tx, call_id: CallId, leg: &str) -> Result<()> {
    tx.execute(&REMOVE, args![call_id, leg]).await.map(drop)
}

/// The legs of this node that are still in the journal: at start-up, those that a crash left open.
pub async fn leftovers(tx: &mut Tx, node: &str) -> Result<Vec<Dialog>> {
    let rows = tx.fetch_all(&LEFTOVERS, args![node]).await?;
    parse(&rows)
}

/// The legs of this node whose calls ended before `ended_before_ms`: the PBX did not answer when they were released.
pub async fn forgotten(tx: &mut Tx, node: &str, ended_before_ms: i64) -> Result<Vec<Dialog>> {
    let rows = tx
        .fetch_all(&FORGOTTEN, args![node, ended_before_ms])
        .await?;
    parse(&rows)
}

fn parse(rows: &[Row]) -> Result<Vec<Dialog>> {
    rows.iter()
        .map(|row| {
            Ok(Dialog {
                call_id: row.parse("call_id")?,
                leg: row.get("leg")?,
                trunk: row.get("trunk")?,
                snapshot: row.get("snapshot")?,
            })
        })
        .collect()
}
