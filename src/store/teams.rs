//! Teams: people who work together under a lead. An agent is in one team or in none.

use super::{Error, Result, Tx, db::Row};
use crate::ids::{AgentId, TeamId};

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Our id.
    pub id: TeamId,
    /// Short name.
    pub code: String,
    /// Name shown to people.
    pub name: String,
}

/// An agent with the team, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The agent.
    pub agent: AgentId,
    /// Employee number.
    pub code: String,
    /// Name shown to people.
    pub name: String,
    /// Whether the agent may call.
    pub active: bool,
    /// The team.
    pub team: Option<TeamId>,
    /// Its short name.
    pub team_code: Option<String>,
}

statements! {
    ENSURE("enter a team") =
        "INSERT INTO teams (code, name, created_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (code) DO UPDATE SET name = excluded.name";
    BY_CODE("look up a team") = "SELECT id, code, name FROM teams WHERE code = $1";
    LIST("list the teams") = "SELECT id, code, name FROM teams ORDER BY code";
    JOIN("put an agent into a team") = "UPDATE agents SET team_id = $2 WHERE id = $1";
    MEMBERS("list the agents with their teams") =
        "SELECT a.id, a.code, a.name, a.active, a.team_id, t.code AS team
         FROM agents a LEFT JOIN teams t ON t.id = a.team_id ORDER BY a.code";
}

/// The team with this code, entered or brought to this name.
pub async fn ensure(tx: &mut Tx, code: &str, name: &str, now_ms: i64) -> Result<Team> {
    tx.execute(&ENSURE, args![code, name, now_ms]).await?;
    read(&tx.fetch_one(&BY_CODE, args![code]).await?)
}

/// The team with this code.
pub async fn by_code(tx: &mut Tx, code: &str) -> Result<Option<Team>> {
    tx.fetch_optional(&BY_CODE, args![code])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All teams by code.
pub async fn list(tx: &mut Tx) -> Result<Vec<Team>> {
    tx.fetch_all(&LIST, args![])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Puts an agent into a team, or into none. Cases stay where they are; calls from now on count for the new team.
pub async fn join(tx: &mut Tx, agent: AgentId, team: Option<TeamId>) -> Result<()> {
    match tx.execute(&JOIN, args![agent, team]).await? {
        0 => Err(Error::NotFound { what: "such agent" }),
        _ => Ok(()),
    }
}

/// All agents by employee number, with their teams.
pub async fn members(tx: &mut Tx) -> Result<Vec<Member>> {
    let rows = tx.fetch_all(&MEMBERS, args![]).await?;
    rows.iter()
        .map(|row| {
            Ok(Member {
                agent: AgentId::new(row.get("id")?),
                code: row.get("code")?,
                name: row.get("name")?,
                active: row.flag("active")?,
                team: row.get::<Option<i64>>("team_id")?.map(TeamId::new),
                team_code: row.get("team")?,
            })
        })
        .collect()
}

fn read(row: &Row) -> Result<Team> {
    Ok(Team {
        id: TeamId::new(row.get("id")?),
        code: row.get("code")?,
        name: row.get("name")?,
    })
}
