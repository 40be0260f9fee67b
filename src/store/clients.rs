//! Clients: the banks that place cases with us.

use super::{Result, Tx, db::Row};
use crate::ids::ClientId;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Our id.
    pub id: ClientId,
    /// Short name on the command line, in key names and reports.
    pub code: String,
    /// Name shown to people.
    pub name: String,
}

statements! {
    ENSURE("enter a client") =
        "INSERT INTO clients (code, name, created_at_ms) VALUES ($1, $2, $3) ON CONFLICT (code) DO NOTHING";
    BY_CODE("look up a client") = "SELECT id, code, name FROM clients WHERE code = $1";
    BY_ID("look up a client") = "SELECT id, code, name FROM clients WHERE id = $1";
    LIST("list the clients") = "SELECT id, code, name FROM clients ORDER BY code";
}

/// The client with this code, entered under `name` if there is none. An existing one keeps its name.
pub async fn ensure(tx: &mut Tx, code: &str, name: &str, now_ms: i64) -> Result<Client> {
    tx.execute(&ENSURE, args![code, name, now_ms]).await?;
    read(&tx.fetch_one(&BY_CODE, args![code]).await?)
}

/// The client with this code.
pub async fn by_code(tx: &mut Tx, code: &str) -> Result<Option<Client>> {
    tx.fetch_optional(&BY_CODE, args![code])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The client with this id.
pub async fn by_id(tx: &mut Tx, id: ClientId) -> Result<Option<Client>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All clients by code.
pub async fn list(tx: &mut Tx) -> Result<Vec<Client>> {
    tx.fetch_all(&LIST, args![])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Client> {
    Ok(Client {
        id: ClientId::new(row.get("id")?),
        code: row.get("code")?,
        name: row.get("name")?,
    })
}
