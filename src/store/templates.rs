//! Templates by which files are read and written: data with versions, the newest of which counts.

use super::{Result, Tx, db::Row};
use crate::ids::ClientId;

statements! {
    ADD("enter a template") =
        "INSERT INTO templates (client_id, kind, name, version, body, created_at_ms, created_by)
         SELECT $1, $2, $3, COALESCE(MAX(version), 0) + 1, $4, $5, $6 FROM templates
         WHERE COALESCE(client_id, 0) = COALESCE(CAST($1 AS BIGINT), 0) AND kind = $2 AND name = $3
         RETURNING id, version";
    NEWEST("look up a template") =
        "SELECT id, kind, version, body, withdrawn_at_ms FROM templates
         WHERE kind = $2 AND name = $3 AND (client_id IS NULL OR client_id = $1) AND withdrawn_at_ms IS NULL
         ORDER BY COALESCE(client_id, 0) DESC, version DESC LIMIT 1";
    VERSIONS("look up the versions of a template") =
        "SELECT id, kind, version, body, withdrawn_at_ms FROM templates
         WHERE name = $2 AND COALESCE(client_id, 0) = COALESCE(CAST($1 AS BIGINT), 0) ORDER BY kind, version DESC";
    WITHDRAW("withdraw a template") =
        "UPDATE templates SET withdrawn_at_ms = $2 WHERE id = $1 AND withdrawn_at_ms IS NULL";
    LIST("list the templates") =
        "SELECT t.id, COALESCE(k.code, '') AS client, t.kind, t.name, t.version, t.created_at_ms, t.created_by,
                t.withdrawn_at_ms
         FROM templates t LEFT JOIN clients k ON k.id = t.client_id ORDER BY t.kind, t.name, t.id";
}

/// A stored template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Our id.
    pub id: i64,
    /// What its files hold.
    pub kind: String,
    /// Its version.
    pub version: i64,
    /// TOML.
    pub body: String,
    /// Whether it counts no more.
    pub withdrawn: bool,
}

fn read(row: &Row) -> Result<Stored> {
    Ok(Stored {
        id: row.get("id")?,
        kind: row.get("kind")?,
        version: row.get("version")?,
        body: row.get("body")?,
        withdrawn: row.get::<Option<i64>>("withdrawn_at_ms")?.is_some(),
    })
}

/// Enters a template as the next version of its name; returns id and version.
///
/// # Errors
/// [`super::Error::Constraint`] (exists) if somebody entered the same version at the same moment.
pub async fn add(
    tx: &mut Tx,
    client: Option<ClientId>,
    kind: &str,
    name: &str,
    body: &str,
    actor: &str,
    now_ms: i64,
) -> Result<(i64, i64)> {
    let args = args![client, kind, name, body, now_ms, actor];
    let row = tx.fetch_one(&ADD, args).await?;
    Ok((row.get("id")?, row.get("version")?))
}

/// All versions of a client's templates of a name, or (`None`) of those for every client; of each kind the newest first.
pub async fn versions(tx: &mut Tx, client: Option<ClientId>, name: &str) -> Result<Vec<Stored>> {
    let rows = tx.fetch_all(&VERSIONS, args![client, name]).await?;
    rows.iter().map(read).collect()
}

/// Withdraws a version; says whether it still counted.
pub async fn withdraw(tx: &mut Tx, id: i64, now_ms: i64) -> Result<bool> {
    Ok(tx.execute(&WITHDRAW, args![id, now_ms]).await? > 0)
}

/// The newest version that counts: the client's own, or else the one for every client.
pub async fn newest(
    tx: &mut Tx,
    client: ClientId,
    kind: &str,
    name: &str,
) -> Result<Option<Stored>> {
    tx.fetch_optional(&NEWEST, args![client, kind, name])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// A template as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Our id.
    pub id: i64,
    /// Code of the client; empty: for every client.
    pub client: String,
    /// What its files hold.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: i64,
    /// When it was entered.
    pub created_at_ms: i64,
    /// By whom.
    pub created_by: String,
    /// When it was withdrawn, if it counts no more.
    pub withdrawn_at_ms: Option<i64>,
}

/// All versions of all templates.
pub async fn list(tx: &mut Tx) -> Result<Vec<Line>> {
    tx.fetch_all(&LIST, args![])
        .await?
        .iter()
        .map(|row| {
            Ok(Line {
                id: row.get("id")?,
                client: row.get("client")?,
                kind: row.get("kind")?,
                name: row.get("name")?,
                version: row.get("version")?,
                created_at_ms: row.get("created_at_ms")?,
                created_by: row.get("created_by")?,
                withdrawn_at_ms: row.get("withdrawn_at_ms")?,
            })
        })
        .collect()
}
