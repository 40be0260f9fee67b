//! `/api/v1/agent/state` and `/api/v1/agents`: whether an agent is there, on a break or gone, and what everybody does.

use std::collections::HashMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    agent::own_agent,
    answers::{Malformed, NoRight, NoToken, NotInThisState, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::Body,
    problem::Problem,
};
use crate::{agent::StepError, store, switchboard::Wish};

/// Characters of the longest reason of a break.
const LONGEST_REASON: usize = 64;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read, change))
        .routes(routes!(agents))
}

/// What an agent does.
#[derive(Debug, Serialize, ToSchema)]
struct AgentStateBody {
    /// `offline`, `ready`, `reserved`, `on_call`, `wrap_up` or `break`.
    state: String,
    /// Of a break.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// The call the agent is reserved for, on, or writing about.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    /// For how many milliseconds.
    for_ms: u64,
}

/// What an agent wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WishBody {
    /// `ready` (signs in, ends a break or a wrap-up), `break`, or `offline` (signs out).
    state: String,
    /// Why a break is taken.
    #[serde(default)]
    reason: String,
}

/// An agent with the team and what they do.
#[derive(Debug, Serialize, ToSchema)]
struct AgentBody {
    /// Id.
    agent_id: i64,
    /// Employee number.
    code: String,
    /// Name.
    name: String,
    /// Code of the team.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// Whether the agent may call.
    active: bool,
    /// What the agent does on this node.
    #[serde(flatten)]
    doing: AgentStateBody,
}

fn offline() -> AgentStateBody {
    AgentStateBody {
        state: "offline".into(),
        reason: String::new(),
        call: None,
        for_ms: 0,
    }
}

async fn working(app: &App) -> HashMap<i64, AgentStateBody> {
    let working = app.switchboard.working().await;
    working
        .into_iter()
        .map(|one| {
            let body = AgentStateBody {
                state: one.presence.as_str().to_owned(),
                reason: match one.presence {
                    crate::agent::Presence::Break => one.reason,
                    _ => String::new(),
                },
                call: one.call.map(|call| call.to_string()),
                for_ms: u64::try_from(one.since.as_millis()).unwrap_or(u64::MAX),
            };
            (one.agent.get(), body)
        })
        .collect()
}

/// What I am doing, as the floor sees it.
#[utoipa::path(
    operation_id = "read_own_state",
    get, path = "/api/v1/agent/state", tag = "agent", security(("token" = [])),
    responses(
        (status = 200, description = "The state", body = AgentStateBody),
        NoToken, NoRight,
    )
)]
async fn read(caller: Caller, State(app): State<App>) -> Result<Json<AgentStateBody>, Problem> {
    let agent = own_agent(&caller)?;
    let mut all = working(&app).await;
    Ok(Json(all.remove(&agent.get()).unwrap_or_else(offline)))
}

/// Sign in, take a break, come back, sign out. Not in the middle of a call.
#[utoipa::path(
    operation_id = "change_own_state",
    put, path = "/api/v1/agent/state", tag = "agent", request_body = WishBody, security(("token" = [])),
    responses(
        (status = 200, description = "The state now", body = AgentStateBody),
        Malformed, NoToken, NoRight, NotInThisState, TooLarge, NotJson,
    )
)]
async fn change(
    caller: Caller,
    State(app): State<App>,
    Body { value: wish, .. }: Body<WishBody>,
) -> Result<Json<AgentStateBody>, Problem> {
    let agent = own_agent(&caller)?;
    let reason = wish.reason.trim();
    let wish = match (wish.state.as_str(), reason) {
        ("ready", "") => Wish::Ready,
        ("offline", "") => Wish::Gone,
        ("ready" | "offline", _) => {
            return Err(Problem::Invalid("reason: only a break has one".into()));
        }
        ("break", reason)
            if (1..=LONGEST_REASON).contains(&reason.chars().count())
                && !reason.contains(char::is_control) =>
        {
            Wish::Break(reason.to_owned())
        }
        ("break", _) => {
            return Err(Problem::Invalid(format!(
                "reason: a break has one, of 1 to {LONGEST_REASON} characters"
            )));
        }
        _ => {
            return Err(Problem::Invalid(
                "state: one of ready, break, offline".into(),
            ));
        }
    };
    app.switchboard
        .wish(agent, wish)
        .await
        .map_err(|error: StepError| Problem::Conflict(error.to_string()))?;
    let mut all = working(&app).await;
    Ok(Json(all.remove(&agent.get()).unwrap_or_else(offline)))
}

/// Everybody, with what they do on this node.
#[utoipa::path(
    operation_id = "list_agents",
    get, path = "/api/v1/agents", tag = "agent", security(("token" = [])),
    responses(
        (status = 200, description = "All agents by employee number", body = [AgentBody]),
        NoToken, NoRight,
    )
)]
async fn agents(caller: Caller, State(app): State<App>) -> Result<Json<Vec<AgentBody>>, Problem> {
    caller.must(Right::Supervise)?;
    let mut tx = app.db.read().await?;
    let members = store::teams::members(&mut tx).await?;
    drop(tx);
    let mut all = working(&app).await;
    Ok(Json(
        members
            .into_iter()
            .map(|member| AgentBody {
                agent_id: member.agent.get(),
                doing: all.remove(&member.agent.get()).unwrap_or_else(offline),
                code: member.code,
                name: member.name,
                team: member.team_code,
                active: member.active,
            })
            .collect(),
    ))
}
