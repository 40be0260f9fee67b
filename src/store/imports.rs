//! Imports: one row a file that was brought in, and how what it brings becomes seen.
//!
//! New cases are written in pieces that nobody sees; what changes in cases that are seen already waits in `import_rows`.
//! One short transaction decides ([`decide`]): from then on all of it happens, also after a crash. What was never decided
//! is swept away ([`sweep_some`]). Only whoever holds [`super::Db::import_lock`] may call any of these.

use super::{Error, Result, Tx, many::Many, sql::Value};
use crate::ids::{BatchId, ClientId};

words! {
    /// How far an import is.
    pub enum State {
        /// Its rows are being written; nobody sees them.
        Running = "running",
        /// Decided; what is left is carried out.
        Applying = "applying",
        /// All of it is there.
        Done = "done",
        /// Nothing of it is there: the file had faults.
        Refused = "refused",
        /// Nothing of it is there: it broke off.
        BrokenOff = "broken_off",
    }
}

statements! {
    BEGIN("note an import") =
        "INSERT INTO imports (client_id, template_id, kind, batch_id, file_name, file_sha256, state, started_at_ms, actor)
         VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $8) RETURNING id";
    FENCE("go on with an import") = "UPDATE imports SET rows_read = $2 WHERE id = $1 AND state = 'running'";
    DECIDE("decide an import") =
        "UPDATE imports SET state = 'applying', rows_read = $2, rows_new = $3, rows_changed = $4, rows_same = $5,
                rows_faulty = $6 WHERE id = $1 AND state = 'running'";
    REVEAL_BATCH("reveal a batch") =
        "UPDATE batches SET revealed_at_ms = $2
         WHERE id = (SELECT batch_id FROM imports WHERE id = $1) AND revealed_at_ms IS NULL";
    REVEAL("reveal cases") =
        "UPDATE cases SET revealed_at_ms = $2 WHERE id IN
         (SELECT id FROM cases WHERE import_id = $1 AND revealed_at_ms IS NULL ORDER BY id LIMIT $3)";
    STAGED("read what an import changes") =
        "SELECT line, body FROM import_rows WHERE import_id = $1 ORDER BY line LIMIT $2";
    UNSTAGE("strike off changes") = "DELETE FROM import_rows WHERE import_id = $1 AND line <= $2";
    END("end an import") = "UPDATE imports SET state = $2, ended_at_ms = $3 WHERE id = $1";
    FAULTY("count the faults of an import") = "UPDATE imports SET rows_read = $2, rows_faulty = $3 WHERE id = $1";
    UNFINISHED("look for imports that broke off") =
        "SELECT id, state, actor FROM imports WHERE state IN ('running', 'applying') ORDER BY id";
    LIST("list the imports") =
        "SELECT i.id, k.code AS client, i.kind, COALESCE(b.code, '') AS batch, i.file_name, i.state, i.rows_read,
                i.rows_new, i.rows_changed, i.rows_same, i.rows_faulty, i.started_at_ms, i.ended_at_ms, i.actor
         FROM imports i JOIN clients k ON k.id = i.client_id LEFT JOIN batches b ON b.id = i.batch_id
         ORDER BY i.id DESC LIMIT $1";
    SWEPT("look for what is to be swept") =
        "SELECT id, debtor_id FROM cases WHERE import_id = $1 ORDER BY id LIMIT $2";
    SWEEP_ADDRESSES("sweep addresses") =
        "DELETE FROM addresses WHERE contact_id IN (SELECT id FROM contacts WHERE case_id = $1)";
    SWEEP_POINTS("sweep contact points") = "DELETE FROM contact_points WHERE case_id = $1";
    SWEEP_CONTACTS("sweep contacts") = "DELETE FROM contacts WHERE case_id = $1";
    SWEEP_HISTORY("sweep the history of a case") = "DELETE FROM case_changes WHERE case_id = $1";
    SWEEP_CASE("sweep a case") = "DELETE FROM cases WHERE id = $1";
    SWEEP_DEBTOR("sweep a debtor") =
        "DELETE FROM debtors WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM cases WHERE debtor_id = $1)
         RETURNING person_id";
    SWEEP_PERSON("sweep a person") =
        "DELETE FROM persons WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM debtors WHERE person_id = $1)
           AND NOT EXISTS (SELECT 1 FROM contacts t WHERE t.identity_hash = persons.identity_hash)
           AND NOT EXISTS (SELECT 1 FROM bars WHERE scope = 'person' AND subject_id = $1 AND lifted_at_ms IS NULL)";
    /// Who was a contact of this case only.
    SWEEP_KNOWN("sweep persons") =
        "DELETE FROM persons
         WHERE identity_hash IN (SELECT identity_hash FROM contacts WHERE case_id = $1 AND identity_hash IS NOT NULL)
           AND NOT EXISTS (SELECT 1 FROM debtors WHERE person_id = persons.id)
           AND NOT EXISTS (SELECT 1 FROM contacts t WHERE t.identity_hash = persons.identity_hash AND t.case_id <> $1)
           AND NOT EXISTS (SELECT 1 FROM bars
                           WHERE scope = 'person' AND subject_id = persons.id AND lifted_at_ms IS NULL)";
    SWEEP_ROWS("sweep what an import would have changed") =
        "DELETE FROM import_rows WHERE import_id = $1 AND line IN
         (SELECT line FROM import_rows WHERE import_id = $1 ORDER BY line LIMIT $2)";
    LEAVE_BATCH("sweep a batch") = "UPDATE imports SET batch_id = NULL WHERE id = $1";
    SWEEP_BATCH("sweep a batch") =
        "DELETE FROM batches WHERE id = $1 AND revealed_at_ms IS NULL
           AND NOT EXISTS (SELECT 1 FROM cases WHERE batch_id = $1)
           AND NOT EXISTS (SELECT 1 FROM imports WHERE batch_id = $1)";
    BATCH_OF("look up the batch of an import") = "SELECT batch_id FROM imports WHERE id = $1";
}

static STAGE: Many = Many::new(
    "note what an import changes",
    "INSERT INTO import_rows (import_id, line, body) VALUES ",
    &[""; 3],
    "",
);

/// The statements that are made of parts.
#[cfg(test)]
pub(crate) fn texts() -> Vec<super::sql::Sql> {
    super::bulk::texts_of(&[&STAGE], &[])
}

/// A file that is about to be brought in.
#[derive(Debug, Clone, Copy)]
pub struct NewImport<'a> {
    /// Whose file.
    pub client: ClientId,
    /// The stored template it is read by; `None`: one that comes with the program.
    pub template: Option<i64>,
    /// What it holds, as its word.
    pub kind: &'a str,
    /// The lot, for cases.
    pub batch: Option<BatchId>,
    /// Name of the file, without its folder.
    pub file_name: &'a str,
    /// SHA-256 of its bytes in hexadecimal.
    pub file_sha256: &'a str,
    /// Who brings it.
    pub actor: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// Rows of a file by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Rows read.
    pub read: u64,
    /// Rows that entered something new.
    pub new: u64,
    /// Rows that changed something known.
    pub changed: u64,
    /// Rows that said nothing new.
    pub same: u64,
    /// Rows refused.
    pub faulty: u64,
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Notes an import that begins.
pub async fn begin(tx: &mut Tx, new: &NewImport<'_>) -> Result<i64> {
    let args = args![
        new.client,
        new.template,
        new.kind,
        new.batch,
        new.file_name,
        new.file_sha256,
        new.now_ms,
        new.actor
    ];
    tx.fetch_one(&BEGIN, args).await?.get("id")
}

/// The first statement of every piece: fails if the import was swept by somebody who thought it dead.
pub async fn fence(tx: &mut Tx, import: i64, read: u64) -> Result<()> {
    match tx.execute(&FENCE, args![import, int(read)]).await? {
        1 => Ok(()),
        _ => Err(swept()),
    }
}

fn swept() -> Error {
    Error::Unavailable {
        act: "go on with an import",
        cause: "its lock was lost and somebody else swept it away".into(),
        remedy: "bring the file in again".into(),
    }
}

/// Notes what will change in cases that are seen already: line and JSON.
pub async fn stage(tx: &mut Tx, import: i64, changes: Vec<(u64, String)>) -> Result<()> {
    let rows: Vec<Vec<Value>> = changes
        .into_iter()
        .map(|(line, body)| args![import, int(line), body])
        .collect();
    STAGE.run(tx, rows).await.map(drop)
}

/// Decides: what was written is revealed and what was noted will be carried out, whatever happens from now on.
pub async fn decide(tx: &mut Tx, import: i64, counts: &Counts, now_ms: i64) -> Result<()> {
    let args = args![
        import,
        int(counts.read),
        int(counts.new),
        int(counts.changed),
        int(counts.same),
        int(counts.faulty)
    ];
    if tx.execute(&DECIDE, args).await? != 1 {
        return Err(swept());
    }
    tx.execute(&REVEAL_BATCH, args![import, now_ms])
        .await
        .map(drop)
}

/// Reveals some of the cases that were added to a batch that is seen already; says how many.
pub async fn reveal_some(tx: &mut Tx, import: i64, most: u32, now_ms: i64) -> Result<u64> {
    tx.execute(&REVEAL, args![import, now_ms, most]).await
}

/// Some of the changes that are still to be carried out, in the order of the file.
pub async fn staged(tx: &mut Tx, import: i64, most: u32) -> Result<Vec<(u64, String)>> {
    tx.fetch_all(&STAGED, args![import, most])
        .await?
        .iter()
        .map(|row| Ok((row.small("line")?, row.get("body")?)))
        .collect()
}

/// Strikes off the changes up to a line, in the transaction that carries them out.
pub async fn unstage(tx: &mut Tx, import: i64, last: u64) -> Result<()> {
    tx.execute(&UNSTAGE, args![import, int(last)])
        .await
        .map(drop)
}

/// Ends an import.
pub async fn end(tx: &mut Tx, import: i64, state: State, now_ms: i64) -> Result<()> {
    tx.execute(&END, args![import, state, now_ms])
        .await
        .map(drop)
}

/// Notes how many rows of a file that is refused were read and faulty.
pub async fn note_faults(tx: &mut Tx, import: i64, counts: &Counts) -> Result<()> {
    let args = args![import, int(counts.read), int(counts.faulty)];
    tx.execute(&FAULTY, args).await.map(drop)
}

/// Imports that were neither ended nor swept, with who brought them.
pub async fn unfinished(tx: &mut Tx) -> Result<Vec<(i64, State, String)>> {
    tx.fetch_all(&UNFINISHED, args![])
        .await?
        .iter()
        .map(|row| Ok((row.get("id")?, row.parse("state")?, row.get("actor")?)))
        .collect()
}

/// Sweeps some of what an undecided import has written; says whether there may be more.
///
/// Numbers stay: a number without a person says nothing about anybody, and another import may just have met it.
pub async fn sweep_some(tx: &mut Tx, import: i64, most: u32) -> Result<bool> {
    let changes = tx.execute(&SWEEP_ROWS, args![import, most]).await?;
    if changes > 0 {
        return Ok(true);
    }
    let cases = tx.fetch_all(&SWEPT, args![import, most]).await?;
    for row in &cases {
        let (case, debtor): (i64, i64) = (row.get("id")?, row.get("debtor_id")?);
        for sql in [
            &SWEEP_ADDRESSES,
            &SWEEP_POINTS,
            &SWEEP_KNOWN,
            &SWEEP_CONTACTS,
            &SWEEP_HISTORY,
            &SWEEP_CASE,
        ] {
            tx.execute(sql, args![case]).await?;
        }
        if let Some(row) = tx.fetch_optional(&SWEEP_DEBTOR, args![debtor]).await? {
            let person: i64 = row.get("person_id")?;
            tx.execute(&SWEEP_PERSON, args![person]).await?;
        }
    }
    if !cases.is_empty() {
        return Ok(true);
    }
    let batch: Option<i64> = tx
        .fetch_one(&BATCH_OF, args![import])
        .await?
        .get("batch_id")?;
    if let Some(batch) = batch {
        tx.execute(&LEAVE_BATCH, args![import]).await?;
        tx.execute(&SWEEP_BATCH, args![batch]).await?;
    }
    Ok(false)
}

/// The counts in a row of `imports`, or of [`super::rule_lists`].
pub(super) fn read_counts(row: &super::Row) -> Result<Counts> {
    Ok(Counts {
        read: row.small("rows_read")?,
        new: row.small("rows_new")?,
        changed: row.small("rows_changed")?,
        same: row.small("rows_same")?,
        faulty: row.small("rows_faulty")?,
    })
}

/// An import as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// Code of the client.
    pub client: String,
    /// What the file held.
    pub kind: String,
    /// Code of the lot; empty if there is none.
    pub batch: String,
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

/// The newest imports.
pub async fn list(tx: &mut Tx, most: u32) -> Result<Vec<Line>> {
    tx.fetch_all(&LIST, args![most])
        .await?
        .iter()
        .map(|row| {
            Ok(Line {
                id: row.get("id")?,
                client: row.get("client")?,
                kind: row.get("kind")?,
                batch: row.get("batch")?,
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
