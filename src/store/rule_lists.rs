//! Lists of the rules' own that are brought in as files: calls of other agencies, numbers that must not be called.
//!
//! Their rows are written in pieces that no decision reads. One short transaction decides ([`decide`]): from then on all of
//! them are carried out, also after a crash. What was never decided is swept away ([`sweep_some`]). Only whoever holds
//! [`super::Db::import_lock`] may call any of these but [`list`]. Read next: `rulebook/lists.rs`.

use super::{
    Error, Result, Tx,
    imports::{Counts, State, read_counts},
    many::Many,
    sql::Value,
};
use crate::ids::ClientId;

words! {
    /// What a list holds.
    pub enum Kind {
        /// Calls that a client's other agencies made.
        OutsideCounts = "outside_counts",
        /// Numbers that must not be called.
        Bars = "bars",
    }
}

statements! {
    BEGIN("note a list") =
        "INSERT INTO rule_lists (kind, client_id, file_name, state, rows_read, rows_faulty, started_at_ms, actor)
         VALUES ($1, $2, $3, 'running', $4, $5, $6, $7) RETURNING id";
    FENCE("go on with a list") = "UPDATE rule_lists SET state = 'running' WHERE id = $1 AND state = 'running'";
    DECIDE("decide a list") = "UPDATE rule_lists SET state = 'applying' WHERE id = $1 AND state = 'running'";
    STAGED("read the rows of a list") =
        "SELECT line, body FROM rule_list_rows WHERE list_id = $1 ORDER BY line LIMIT $2";
    UNSTAGE("strike off rows of a list") = "DELETE FROM rule_list_rows WHERE list_id = $1 AND line <= $2";
    COUNT("count the rows of a list") =
        "UPDATE rule_lists SET rows_new = rows_new + $2, rows_changed = rows_changed + $3, rows_same = rows_same + $4
         WHERE id = $1";
    END("end a list") = "UPDATE rule_lists SET state = $2, ended_at_ms = $3 WHERE id = $1";
    SWEEP("sweep a list") =
        "DELETE FROM rule_list_rows WHERE list_id = $1 AND line IN
         (SELECT line FROM rule_list_rows WHERE list_id = $1 ORDER BY line LIMIT $2)";
    UNFINISHED("look for lists that broke off") =
        "SELECT id, state FROM rule_lists WHERE state IN ('running', 'applying') ORDER BY id";
    COUNTS("read the counts of a list") =
        "SELECT rows_read, rows_new, rows_changed, rows_same, rows_faulty FROM rule_lists WHERE id = $1";
    LIST("list the lists") =
        "SELECT l.id, l.kind, COALESCE(k.code, '') AS client, l.file_name, l.state, l.rows_read, l.rows_new, l.rows_changed,
                l.rows_same, l.rows_faulty, l.started_at_ms, l.ended_at_ms, l.actor
         FROM rule_lists l LEFT JOIN clients k ON k.id = l.client_id ORDER BY l.id DESC LIMIT $1";
}

static STAGE: Many = Many::new(
    "note the rows of a list",
    "INSERT INTO rule_list_rows (list_id, line, body) VALUES ",
    &[""; 3],
    "",
);

/// The statements that are made of parts.
#[cfg(test)]
pub(crate) fn texts() -> Vec<super::sql::Sql> {
    super::bulk::texts_of(&[&STAGE], &[])
}

/// A list that is about to be brought in.
#[derive(Debug, Clone, Copy)]
pub struct NewList<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Whose file, or for whose cases alone it holds.
    pub client: Option<ClientId>,
    /// Name of the file, without its folder.
    pub file_name: &'a str,
    /// Rows of the file.
    pub read: u64,
    /// Of these, left out.
    pub faulty: u64,
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Notes a list that begins.
pub async fn begin(tx: &mut Tx, new: &NewList<'_>, actor: &str, now_ms: i64) -> Result<i64> {
    let args = args![
        new.kind,
        new.client,
        new.file_name,
        int(new.read),
        int(new.faulty),
        now_ms,
        actor
    ];
    tx.fetch_one(&BEGIN, args).await?.get("id")
}

fn swept() -> Error {
    Error::Unavailable {
        act: "go on with a list",
        cause: "its lock was lost and somebody else swept it away".into(),
        remedy: "bring the file in again".into(),
    }
}

/// Notes some rows, by their place in the list; fails if the list was swept by somebody who thought it dead.
pub async fn stage(tx: &mut Tx, list: i64, rows: Vec<(u64, String)>) -> Result<()> {
    if tx.execute(&FENCE, args![list]).await? != 1 {
        return Err(swept());
    }
    let rows: Vec<Vec<Value>> = rows
        .into_iter()
        .map(|(line, body)| args![list, int(line), body])
        .collect();
    STAGE.run(tx, rows).await.map(drop)
}

/// Decides: what was noted will be carried out, whatever happens from now on.
pub async fn decide(tx: &mut Tx, list: i64) -> Result<()> {
    match tx.execute(&DECIDE, args![list]).await? {
        1 => Ok(()),
        _ => Err(swept()),
    }
}

/// Some of the rows that are still to be carried out, in their order.
pub async fn staged(tx: &mut Tx, list: i64, most: u32) -> Result<Vec<(u64, String)>> {
    tx.fetch_all(&STAGED, args![list, most])
        .await?
        .iter()
        .map(|row| Ok((row.small("line")?, row.get("body")?)))
        .collect()
}

/// Strikes off the rows up to one and counts what became of them, in the transaction that carries them out.
pub async fn unstage(tx: &mut Tx, list: i64, last: u64, became: &Counts) -> Result<()> {
    tx.execute(&UNSTAGE, args![list, int(last)]).await?;
    let args = args![list, int(became.new), int(became.changed), int(became.same)];
    tx.execute(&COUNT, args).await.map(drop)
}

/// Ends a list.
pub async fn end(tx: &mut Tx, list: i64, state: State, now_ms: i64) -> Result<()> {
    tx.execute(&END, args![list, state, now_ms]).await.map(drop)
}

/// Sweeps some rows of an undecided list; says whether there may be more.
pub async fn sweep_some(tx: &mut Tx, list: i64, most: u32) -> Result<bool> {
    Ok(tx.execute(&SWEEP, args![list, most]).await? > 0)
}

/// Lists that were neither ended nor swept.
pub async fn unfinished(tx: &mut Tx) -> Result<Vec<(i64, State)>> {
    tx.fetch_all(&UNFINISHED, args![])
        .await?
        .iter()
        .map(|row| Ok((row.get("id")?, row.parse("state")?)))
        .collect()
}

/// What became of the rows of a list so far.
pub async fn counts(tx: &mut Tx, list: i64) -> Result<Counts> {
    read_counts(&tx.fetch_one(&COUNTS, args![list]).await?)
}

/// A list as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// What it holds.
    pub kind: Kind,
    /// Code of the client; empty for all.
    pub client: String,
    /// Name of the file.
    pub file_name: String,
    /// How far it is.
    pub state: State,
    /// Its rows.
    pub counts: Counts,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// Who brought it.
    pub actor: String,
}

/// The newest lists.
pub async fn list(tx: &mut Tx, most: u32) -> Result<Vec<Line>> {
    tx.fetch_all(&LIST, args![most])
        .await?
        .iter()
        .map(|row| {
            Ok(Line {
                id: row.get("id")?,
                kind: row.parse("kind")?,
                client: row.get("client")?,
                file_name: row.get("file_name")?,
                state: row.parse("state")?,
                counts: read_counts(row)?,
                started_at_ms: row.get("started_at_ms")?,
                ended_at_ms: row.get("ended_at_ms")?,
                actor: row.get("actor")?,
            })
        })
        .collect()
}
