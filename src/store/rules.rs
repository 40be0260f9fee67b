//! Rule sets: every version that ever decided, which was in force for which client since when, and what each daemon that
//! shares the database goes by.

use super::{Result, Tx, db::Row, users::User};
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
    /// The daemon that went by it; empty for what was noted before daemons were told apart.
    pub node: String,
}

/// What a daemon goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfNode {
    /// Name of the daemon.
    pub node: String,
    /// Code of the client; empty: every client without rules of its own.
    pub client: String,
    /// Hash of what its own files come to.
    pub files_sha256: String,
    /// Hash of what it decides by.
    pub sha256: String,
    /// The files it came from.
    pub source: String,
}

statements! {
    ENSURE("keep a rule set") =
        "INSERT INTO rule_sets (sha256, name, revision, body, first_at_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (sha256) DO NOTHING";
    TEXT("read a rule set") = "SELECT body FROM rule_sets WHERE sha256 = $1";
    NEWEST("look up the rules in force") =
        "SELECT f.sha256, f.source FROM rules_in_force f WHERE f.node = $2 AND COALESCE(f.client_id, 0) = $1
         ORDER BY f.id DESC LIMIT 1";
    INSERT("note rules that come into force") =
        "INSERT INTO rules_in_force (client_id, sha256, from_ms, source, actor, node) VALUES ($1, $2, $3, $4, $5, $6)";
    OWN("see whether a client has rules of its own") =
        "SELECT COUNT(*) AS n FROM rules_in_force WHERE client_id = $1 AND node = $2";
    BEAT("give a sign of life") =
        "INSERT INTO nodes (node, seen_at_ms) VALUES ($1, $2)
         ON CONFLICT (node) DO UPDATE SET seen_at_ms = excluded.seen_at_ms";
    LEAVE("take leave of the other daemons") = "DELETE FROM nodes WHERE node = $1";
    FORGET("forget what a daemon went by") = "DELETE FROM node_rules WHERE node = $1";
    TELL("tell what a daemon goes by") =
        "INSERT INTO node_rules (node, client, files_sha256, sha256, source) VALUES ($1, $2, $3, $4, $5)";
    ELSEWHERE("look up the rules of the other daemons") =
        "SELECT r.node, r.client, r.files_sha256, r.sha256, r.source FROM node_rules r JOIN nodes n ON n.node = r.node
         WHERE r.node <> $1 AND n.seen_at_ms >= $2 ORDER BY r.node, r.client";
    OF_NODE("look up the rules of a daemon") =
        "SELECT node, client, files_sha256, sha256, source FROM node_rules WHERE node = $1 ORDER BY client";
    /// Whoever sees all clients may read every set; others, what was in force for all or for a client of theirs.
    MAY_READ("see whether a rule set may be read") =
        "SELECT COUNT(*) AS n FROM rules_in_force f
         WHERE f.sha256 = $1 AND (CAST($2 AS BIGINT) = 0 OR f.client_id IS NULL
                                  OR f.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $2))";
    HISTORY("list the rules that were in force") =
        "SELECT f.id, k.code AS client, f.sha256, s.name, s.revision, f.from_ms, f.source, f.actor, f.node
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

/// Keeps a rule set, if it is not kept yet.
pub async fn keep(tx: &mut Tx, rules: Kept<'_>, now_ms: i64) -> Result<()> {
    let args = args![rules.sha256, rules.name, rules.revision, rules.text, now_ms];
    tx.execute(&ENSURE, args).await.map(drop)
}

/// Whose rules come into force, where, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The daemon.
    pub node: &'a str,
    /// The client; `None`: every client without rules of its own.
    pub client: Option<ClientId>,
    /// The files they came from.
    pub source: &'a str,
    /// Who loaded them.
    pub actor: &'a str,
    /// Since when.
    pub now_ms: i64,
}

/// Keeps a rule set and notes that a daemon goes by it from now on, unless it does already; gives whether that is new.
pub async fn put_in_force(tx: &mut Tx, rules: Kept<'_>, entry: &Entry<'_>) -> Result<bool> {
    keep(tx, rules, entry.now_ms).await?;
    let key = entry.client.map_or(0, ClientId::get);
    if let Some(row) = tx.fetch_optional(&NEWEST, args![key, entry.node]).await?
        && row.get::<String>("sha256")? == rules.sha256
        && row.get::<String>("source")? == entry.source
    {
        return Ok(false);
    }
    let args = args![
        entry.client,
        rules.sha256,
        entry.now_ms,
        entry.source,
        entry.actor,
        entry.node
    ];
    tx.execute(&INSERT, args).await.map(|_| true)
}

/// Whether rules of its own were ever in force for a client at a daemon.
pub async fn has_own(tx: &mut Tx, client: ClientId, node: &str) -> Result<bool> {
    let args = args![client, node];
    Ok(tx.fetch_one(&OWN, args).await?.get::<i64>("n")? > 0)
}

/// A daemon's sign of life.
pub async fn beat(tx: &mut Tx, node: &str, now_ms: i64) -> Result<()> {
    tx.execute(&BEAT, args![node, now_ms]).await.map(drop)
}

/// A daemon ends: the others need not heed its rules any more.
pub async fn leave(tx: &mut Tx, node: &str) -> Result<()> {
    tx.execute(&LEAVE, args![node]).await.map(drop)
}

/// Puts what a daemon goes by in the place of what it went by. The sets must be kept before.
pub async fn tell(tx: &mut Tx, node: &str, rules: &[OfNode]) -> Result<()> {
    tx.execute(&FORGET, args![node]).await?;
    for one in rules {
        let args = args![
            node,
            &one.client,
            &one.files_sha256,
            &one.sha256,
            &one.source
        ];
        tx.execute(&TELL, args).await?;
    }
    Ok(())
}

/// What the other daemons go by that gave a sign of life since an instant, by daemon and client.
pub async fn elsewhere(tx: &mut Tx, node: &str, since_ms: i64) -> Result<Vec<OfNode>> {
    tx.fetch_all(&ELSEWHERE, args![node, since_ms])
        .await?
        .iter()
        .map(of_node)
        .collect()
}

/// What a daemon goes by, or went by when it ended.
pub async fn told(tx: &mut Tx, node: &str) -> Result<Vec<OfNode>> {
    tx.fetch_all(&OF_NODE, args![node])
        .await?
        .iter()
        .map(of_node)
        .collect()
}

fn of_node(row: &Row) -> Result<OfNode> {
    Ok(OfNode {
        node: row.get("node")?,
        client: row.get("client")?,
        files_sha256: row.get("files_sha256")?,
        sha256: row.get("sha256")?,
        source: row.get("source")?,
    })
}

/// Whether somebody who does not see all clients may read a rule set.
pub async fn may_read(tx: &mut Tx, sha256: &str, viewer: &User) -> Result<bool> {
    let scope = viewer.scope_parameter();
    if scope == 0 {
        return Ok(true);
    }
    Ok(tx
        .fetch_one(&MAY_READ, args![sha256, scope])
        .await?
        .get::<i64>("n")?
        > 0)
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
        node: row.get("node")?,
    })
}
