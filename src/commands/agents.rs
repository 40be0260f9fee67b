//! `ringfence agents`: teams, what agents did, and calls promised for later.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::{civil::Date, tz::TimeZone};

use super::{ACTOR, instant, table};
use crate::{
    cases::overdue,
    ids::{CallbackId, ContactPointId},
    store::{
        self, Db, Tx,
        access::{self, Access},
        callbacks::{CallbackState, Move, NewCallback},
    },
};

/// Arguments of `ringfence agents`.
#[derive(Debug, Args)]
pub struct AgentsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AgentsCommand,
}

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// List the agents with their teams
    List,
    /// Enter a team, or give it another name
    Team {
        /// Short name
        code: String,
        /// Name shown to people
        #[arg(long)]
        name: String,
    },
    /// Put an agent into a team; without a team, into none
    Join {
        /// Employee number
        agent: String,
        /// Short name of the team
        team: Option<String>,
    },
    /// List what agents did: ready, reserved, talk, wrap-up, break with its reason
    States {
        /// Employee number; left out: everybody
        #[arg(long, value_name = "CODE")]
        agent: Option<String>,
        /// First day, YYYY-MM-DD
        #[arg(long, value_name = "DAY")]
        from: Option<Date>,
        /// Last day
        #[arg(long, value_name = "DAY")]
        to: Option<Date>,
    },
    /// Calls promised for later
    #[command(subcommand)]
    Callbacks(CallbacksCommand),
}

/// What to do with callbacks.
#[derive(Debug, Subcommand)]
pub enum CallbacksCommand {
    /// List them in the order of entry
    List {
        /// queued, offered, done, refused, cancelled or missed
        #[arg(long)]
        state: Option<CallbackState>,
        /// The most to list
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
    /// Queue one; when it is due it is offered to the agent, and the gate decides
    Queue {
        /// Whom to call
        #[arg(long, value_name = "ID")]
        contact_point: i64,
        /// Employee number of who calls
        #[arg(long, value_name = "CODE")]
        agent: String,
        /// Not before, such as 2026-11-24T10:00:00+08:00
        #[arg(long, value_name = "INSTANT")]
        at: jiff::Timestamp,
    },
    /// Call one off
    Cancel {
        /// The callback
        callback: i64,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

/// Runs `ringfence agents`. Times are shown in `zone`.
///
/// # Errors
/// An agent, team, contact point or callback that does not exist, or the database.
pub async fn run(
    args: AgentsArgs,
    db: &Db,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        AgentsCommand::List => {
            let mut tx = db.read().await?;
            let members = store::teams::members(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table(["agent", "name", "team", ""]);
            for one in members {
                let active = if one.active { "" } else { "left" };
                table.add_row([
                    one.code,
                    one.name,
                    one.team_code.unwrap_or_default(),
                    active.to_owned(),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        AgentsCommand::Team { code, name } => {
            if code.is_empty() || code.chars().count() > 64 || code.contains(char::is_whitespace) {
                anyhow::bail!("a team's short name has 1 to 64 characters, no spaces");
            }
            let mut tx = db.begin().await?;
            store::teams::ensure(&mut tx, &code, &name, now_ms).await?;
            log(&mut tx, "team.set", &code, serde_json::json!({}), now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "team {code}")?)
        }
        AgentsCommand::Join { agent, team } => {
            let mut tx = db.begin().await?;
            let id = agent_id(&mut tx, &agent).await?;
            let team_id = match &team {
                None => None,
                Some(code) => {
                    let team = store::teams::by_code(&mut tx, code).await?;
                    let team = team.with_context(|| {
                        format!("there is no team {code}; enter it with `ringfence agents team`")
                    })?;
                    Some(team.id)
                }
            };
            store::teams::join(&mut tx, id, team_id).await?;
            let detail = serde_json::json!({ "team": team });
            log(&mut tx, "agent.join", &agent, detail, now_ms).await?;
            tx.commit().await?;
            let team = team.unwrap_or_else(|| "no team".into());
            Ok(writeln!(out, "agent {agent} is in {team}")?)
        }
        AgentsCommand::States { agent, from, to } => {
            let (from_ms, until_ms) = overdue::span(from, to, zone).map_err(anyhow::Error::msg)?;
            let mut tx = db.read().await?;
            let only = match &agent {
                None => None,
                Some(code) => Some(agent_id(&mut tx, code).await?),
            };
            let found = store::agent_states::between(&mut tx, only, from_ms, until_ms).await?;
            let members = store::teams::members(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table(["agent", "state", "reason", "from", "to", "seconds"]);
            for one in found {
                let code = members.iter().find(|member| member.agent == one.agent);
                let length = one.until_ms.unwrap_or(now_ms).saturating_sub(one.from_ms) / 1_000;
                table.add_row([
                    code.map(|member| member.code.clone()).unwrap_or_default(),
                    one.doing.to_string(),
                    one.reason,
                    instant(one.from_ms, zone),
                    one.until_ms
                        .map(|at_ms| instant(at_ms, zone))
                        .unwrap_or_default(),
                    length.to_string(),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        AgentsCommand::Callbacks(command) => callbacks(command, db, now_ms, zone, out).await,
    }
}

async fn callbacks(
    command: CallbacksCommand,
    db: &Db,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        CallbacksCommand::List { state, limit } => {
            let mut tx = db.read().await?;
            let first = CallbackId::new(0);
            let found = store::callbacks::list(&mut tx, None, None, state, first, limit).await?;
            let members = store::teams::members(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table([
                "callback",
                "case",
                "contact point",
                "agent",
                "due",
                "state",
                "reason",
            ]);
            for one in found {
                let code = members.iter().find(|member| member.agent == one.agent);
                table.add_row([
                    one.id.to_string(),
                    one.case.to_string(),
                    one.contact_point.to_string(),
                    code.map(|member| member.code.clone()).unwrap_or_default(),
                    instant(one.due_at_ms, zone),
                    one.state.to_string(),
                    one.reason.unwrap_or_default(),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        CallbacksCommand::Queue {
            contact_point,
            agent,
            at,
        } => {
            let point = ContactPointId::new(contact_point);
            let mut tx = db.begin().await?;
            let target = store::contact_points::target(&mut tx, point).await?;
            let target =
                target.with_context(|| format!("there is no contact point {contact_point}"))?;
            let callback = NewCallback {
                case: target.case,
                contact_point: point,
                agent: agent_id(&mut tx, &agent).await?,
                due_at_ms: at.as_millisecond(),
                actor: ACTOR,
            };
            let id = store::callbacks::queue(&mut tx, &callback, now_ms).await?;
            let detail = serde_json::json!({ "case": target.case });
            log(&mut tx, "callback.queue", &id.to_string(), detail, now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "callback {id} is queued")?)
        }
        CallbacksCommand::Cancel { callback, reason } => {
            let id = CallbackId::new(callback);
            let mut tx = db.begin().await?;
            let found = store::callbacks::by_id(&mut tx, id).await?;
            let found = found.with_context(|| format!("there is no callback {callback}"))?;
            if !matches!(found.state, CallbackState::Queued | CallbackState::Offered) {
                anyhow::bail!("callback {callback} is {}", found.state);
            }
            let step = Move {
                from: found.state,
                to: CallbackState::Cancelled,
                reason: Some(&reason),
                call: None,
            };
            store::callbacks::advance(&mut tx, id, &step, now_ms).await?;
            let detail = serde_json::json!({ "case": found.case, "reason": reason });
            log(&mut tx, "callback.cancel", &id.to_string(), detail, now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "callback {callback} is called off")?)
        }
    }
}

async fn agent_id(tx: &mut Tx, code: &str) -> anyhow::Result<crate::ids::AgentId> {
    let agent = store::agents::by_code(tx, code).await?;
    Ok(agent
        .with_context(|| format!("there is no agent {code}"))?
        .id)
}

async fn log(
    tx: &mut Tx,
    action: &str,
    object: &str,
    detail: serde_json::Value,
    now_ms: i64,
) -> anyhow::Result<()> {
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action,
        object,
        client_id: None,
        detail,
    };
    Ok(access::log(tx, &access).await?)
}
