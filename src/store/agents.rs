//! Agents: the humans who call, each with the extension of a phone.

use super::{Error, Result, Tx, db::Row};
use crate::ids::AgentId;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Our id.
    pub id: AgentId,
    /// Employee number.
    pub code: String,
    /// Name shown to people.
    pub name: String,
    /// The listed extension of the agent's phone at the PBX.
    pub extension: String,
    /// Whether the agent may call.
    pub active: bool,
}

statements! {
    ENSURE("enter an agent") =
        "INSERT INTO agents (code, name, extension, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (code) DO UPDATE SET name = excluded.name, extension = excluded.extension";
    BY_CODE("look up an agent") = "SELECT id, code, name, extension, active FROM agents WHERE code = $1";
    BY_ID("look up an agent") = "SELECT id, code, name, extension, active FROM agents WHERE id = $1";
    LIST("list the agents") = "SELECT id, code, name, extension, active FROM agents ORDER BY code";
    SET_ACTIVE("let or bar an agent") = "UPDATE agents SET active = $2 WHERE id = $1";
}

/// The agent with this code, entered or brought to this name and extension.
///
/// # Errors
/// [`Error::Constraint`] if another agent has the extension.
pub async fn ensure(
    tx: &mut Tx,
    code: &str,
    name: &str,
    extension: &str,
    now_ms: i64,
) -> Result<Agent> {
    tx.execute(&ENSURE, args![code, name, extension, now_ms])
        .await?;
    read(&tx.fetch_one(&BY_CODE, args![code]).await?)
}

/// The agent with this employee number.
pub async fn by_code(tx: &mut Tx, code: &str) -> Result<Option<Agent>> {
    tx.fetch_optional(&BY_CODE, args![code])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The agent with this id.
pub async fn by_id(tx: &mut Tx, id: AgentId) -> Result<Option<Agent>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All agents by employee number.
pub async fn list(tx: &mut Tx) -> Result<Vec<Agent>> {
    tx.fetch_all(&LIST, args![])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Lets an agent call, or bars the agent.
pub async fn set_active(tx: &mut Tx, id: AgentId, active: bool) -> Result<()> {
    match tx.execute(&SET_ACTIVE, args![id, active]).await? {
        0 => Err(Error::NotFound { what: "such agent" }),
        _ => Ok(()),
    }
}

fn read(row: &Row) -> Result<Agent> {
    Ok(Agent {
        id: AgentId::new(row.get("id")?),
        code: row.get("code")?,
        name: row.get("name")?,
        extension: row.get("extension")?,
        active: row.flag("active")?,
    })
}
