//! Rule sets: every version that ever decided, and which was in force for which client since when.

use super::{Result, Tx, db::Row};
use crate::ids::ClientId;

/// A rule set that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Order of coming into force.
    pub id: i64,
    /// Code of the client; `None`: every client without rules of its own.
    pub client: Option<String>,
    /// Hash of its canonical text.
    pub sha256: String,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Since when.
    pub from_ms: i64,
    /// The files it came from.
    pub source: String,
    /// Who loaded it.
    pub actor: String,
}

statements! {
    ENSURE("keep a rule set") =
        "INSERT INTO rule_sets (sha256, name, revision, body, first_at_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (sha256) DO NOTHING";
    TEXT("read a rule set") = "SELECT body FROM rule_sets WHERE sha256 = $1";
    NEWEST("look up the rules in force") =
        "SELECT f.sha256, f.source FROM rules_in_force f WHERE COALESCE(f.client_id, 0) = $1 ORDER BY f.id DESC LIMIT 1";
    INSERT("note rules that come into force") =
        "INSERT INTO rules_in_force (client_id, sha256, from_ms, source, actor) VALUES ($1, $2, $3, $4, $5)";
    OWN("see whether a client has rules of its own") =
        "SELECT COUNT(*) AS n FROM rules_in_force WHERE client_id = $1";
    HISTORY("list the rules that were in force") =
        "SELECT f.id, k.code AS client, f.sha256, s.name, s.revision, f.from_ms, f.source, f.actor
         FROM rules_in_force f JOIN rule_sets s ON s.sha256 = f.sha256 LEFT JOIN clients k ON k.id = f.client_id
         WHERE ($1 = '' OR k.code = $1 OR f.client_id IS NULL) AND f.id < $2
         ORDER BY f.id DESC LIMIT $3";
}

/// A rule set as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// Hash of its canonical text.
    pub sha256: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its revision.
    pub revision: &'a str,
    /// Its canonical text.
    pub text: &'a str,
}

/// Notes that a rule set is in force from now on, unless it is already; gives whether that is new.
pub async fn put_in_force(
    tx: &mut Tx,
    client: Option<ClientId>,
    rules: Kept<'_>,
    source: &str,
    actor: &str,
    now_ms: i64,
) -> Result<bool> {
    let args = args![rules.sha256, rules.name, rules.revision, rules.text, now_ms];
    tx.execute(&ENSURE, args).await?;
    let key = client.map_or(0, ClientId::get);
    if let Some(row) = tx.fetch_optional(&NEWEST, args![key]).await?
        && row.get::<String>("sha256")? == rules.sha256
        && row.get::<String>("source")? == source
    {
        return Ok(false);
    }
    let args = args![client, rules.sha256, now_ms, source, actor];
    tx.execute(&INSERT, args).await.map(|_| true)
}

/// Whether rules of its own were ever in force for a client.
pub async fn has_own(tx: &mut Tx, client: ClientId) -> Result<bool> {
    Ok(tx.fetch_one(&OWN, args![client]).await?.get::<i64>("n")? > 0)
}

/// The canonical text of a rule set that was ever in force.
pub async fn text(tx: &mut Tx, sha256: &str) -> Result<Option<String>> {
    tx.fetch_optional(&TEXT, args![sha256])
        .await?
        .map(|row| row.get("body"))
        .transpose()
}

/// What came into force when, newest first, before an id, at most `limit`; with a client, what held for it.
pub async fn history(
    tx: &mut Tx,
    client: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<InForce>> {
    let args = args![client.unwrap_or(""), before.unwrap_or(i64::MAX), limit];
    tx.fetch_all(&HISTORY, args)
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<InForce> {
    Ok(InForce {
        id: row.get("id")?,
        client: row.get("client")?,
        sha256: row.get("sha256")?,
        name: row.get("name")?,
        revision: row.get("revision")?,
        from_ms: row.get("from_ms")?,
        source: row.get("source")?,
        actor: row.get("actor")?,
    })
}
