//! `/api/v1/callbacks`: calls promised for later. An agent sees and places their own; those who supervise see those of
//! their clients. Placing goes through the gate like every call.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{
        Malformed, NoRight, NoToken, NotInThisState, NotJson, NotNow, NotSo, NotYours, TooLarge,
    },
    auth::{Caller, Right},
    calls,
    calls::must_work_for,
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    callbacks::{self, CallbackError},
    ids::{AgentId, CallbackId, ContactPointId},
    store::{
        self, Tx,
        access::{self, Access},
        callbacks::{Callback, CallbackState, Move, NewCallback, QueueError},
        users::Role,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, cancel))
        .routes(routes!(dial))
}

/// A callback.
#[derive(Debug, Serialize, ToSchema)]
struct CallbackBody {
    /// Id.
    callback_id: i64,
    /// Case.
    case_id: i64,
    /// Whom to call.
    contact_point_id: i64,
    /// Who calls.
    agent_id: i64,
    /// Not before, milliseconds UTC.
    due_at_ms: i64,
    /// `queued`, `offered`, `done`, `refused`, `cancelled` or `missed`.
    state: String,
    /// Why cancelled or missed; the receipt of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The call it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
}

impl CallbackBody {
    fn of(callback: Callback) -> Self {
        Self {
            callback_id: callback.id.get(),
            case_id: callback.case.get(),
            contact_point_id: callback.contact_point.get(),
            agent_id: callback.agent.get(),
            due_at_ms: callback.due_at_ms,
            state: callback.state.to_string(),
            reason: callback.reason,
            call: callback.call.map(|call| call.to_string()),
        }
    }
}

/// A callback to be queued.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCallbackBody {
    /// Whom to call.
    contact_point_id: i64,
    /// Not before, milliseconds UTC.
    due_at_ms: i64,
    /// Who calls. Left out: the agent this token belongs to.
    agent_id: Option<i64>,
}

/// Which callbacks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those of this agent.
    agent_id: Option<i64>,
    /// Only those in this state.
    state: Option<String>,
    /// Only those entered after this one: the last id of the page before.
    after: Option<i64>,
    /// At most so many, 1 to 500; 100 if left out.
    limit: Option<u32>,
}

/// Callbacks in the order of entry: an agent's own, for others those of their clients.
#[utoipa::path(
    operation_id = "list_callbacks",
    get, path = "/api/v1/callbacks", tag = "callbacks", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Callbacks", body = [CallbackBody]),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<CallbackBody>>, Problem> {
    let agent = match caller.role {
        Role::Agent => Some(super::agent::own_agent(&caller)?),
        _ => {
            caller.must(Right::Supervise)?;
            wanted.agent_id.map(AgentId::new)
        }
    };
    let state = match wanted.state.as_deref() {
        None | Some("") => None,
        Some(word) => Some(
            word.parse::<CallbackState>()
                .map_err(|e| Problem::Invalid(format!("state: {e}")))?,
        ),
    };
    let after = CallbackId::new(wanted.after.unwrap_or(0));
    let limit = wanted.limit.unwrap_or(100).clamp(1, 500);
    let mut tx = app.db.read().await?;
    let found = store::callbacks::list(&mut tx, Some(&caller), agent, state, after, limit).await?;
    Ok(Json(found.into_iter().map(CallbackBody::of).collect()))
}

/// Queue a callback.
#[utoipa::path(
    operation_id = "queue_callback",
    post, path = "/api/v1/callbacks", tag = "callbacks", request_body = NewCallbackBody, security(("token" = [])),
    responses(
        (status = 201, description = "Queued", body = CallbackBody),
        Malformed, NoToken, NoRight, NotYours,
        (status = 409, description = "The case is over", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, NotNow,
    )
)]
async fn create(
    caller: Caller,
    State(app): State<App>,
    Body { value: new, .. }: Body<NewCallbackBody>,
) -> Result<(StatusCode, Json<CallbackBody>), Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))?;
    let agent = match (new.agent_id.map(AgentId::new), caller.agent_id) {
        (Some(agent), own) => {
            if own != Some(agent) {
                caller.must(Right::Supervise)?;
            }
            agent
        }
        (None, Some(own)) => own,
        (None, None) => {
            return Err(Problem::Invalid(
                "agent_id: this token belongs to no agent; say who will call".into(),
            ));
        }
    };
    let now_ms = app.clock.wall_ms();
    if new.due_at_ms < now_ms {
        return Err(Problem::Invalid("due_at_ms: lies in the past".into()));
    }
    let mut tx = app.db.begin().await?;
    let point = ContactPointId::new(new.contact_point_id);
    let target = store::contact_points::target(&mut tx, point).await?;
    let target = target
        .filter(|target| caller.sees(target.client))
        .ok_or_else(|| Problem::absent("contact point"))?;
    if store::agents::by_id(&mut tx, agent)
        .await?
        .is_none_or(|a| !a.active)
    {
        return Err(Problem::agent_absent());
    }
    if caller.agent_id != Some(agent) {
        must_work_for(&mut tx, agent, target.client).await?;
    }
    let callback = NewCallback {
        case: target.case,
        contact_point: point,
        agent,
        due_at_ms: new.due_at_ms,
        actor: &caller.name,
    };
    let id = store::callbacks::queue(&mut tx, &callback, now_ms).await?;
    let stored = store::callbacks::by_id(&mut tx, id)
        .await?
        .ok_or_else(absent)?;
    log(&mut tx, &caller, "callback.queue", &stored, now_ms).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(CallbackBody::of(stored))))
}

/// One callback.
#[utoipa::path(
    operation_id = "read_callback",
    get, path = "/api/v1/callbacks/{callback}", tag = "callbacks", security(("token" = [])),
    params(("callback" = String, Path, description = "The callback's id")),
    responses(
        (status = 200, description = "The callback", body = CallbackBody),
        NoToken, NotYours,
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(callback): Path,
) -> Result<Json<CallbackBody>, Problem> {
    let mut tx = app.db.read().await?;
    let callback = visible(&mut tx, &caller, &callback).await?;
    Ok(Json(CallbackBody::of(callback)))
}

/// Call it off.
#[utoipa::path(
    operation_id = "cancel_callback",
    delete, path = "/api/v1/callbacks/{callback}", tag = "callbacks", security(("token" = [])),
    params(("callback" = String, Path, description = "The callback's id")),
    responses(
        (status = 200, description = "Called off", body = CallbackBody),
        NoToken, NotYours, NotInThisState, NotNow,
    )
)]
async fn cancel(
    caller: Caller,
    State(app): State<App>,
    Path(callback): Path,
) -> Result<Json<CallbackBody>, Problem> {
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    let callback = visible(&mut tx, &caller, &callback).await?;
    let open = matches!(
        callback.state,
        CallbackState::Queued | CallbackState::Offered
    );
    let reason = format!("called off by {}", caller.name);
    let step = Move {
        from: callback.state,
        to: CallbackState::Cancelled,
        reason: Some(&reason),
        call: None,
    };
    if !open || !store::callbacks::advance(&mut tx, callback.id, &step, now_ms).await? {
        return Err(CallbackError::Over(callback.state).into());
    }
    log(&mut tx, &caller, "callback.cancel", &callback, now_ms).await?;
    let stored = store::callbacks::by_id(&mut tx, callback.id)
        .await?
        .ok_or_else(absent)?;
    tx.commit().await?;
    Ok(Json(CallbackBody::of(stored)))
}

/// Place it now. The gate decides; a refusal ends the callback, with the receipt as its reason.
#[utoipa::path(
    operation_id = "dial_callback",
    post, path = "/api/v1/callbacks/{callback}/dial", tag = "callbacks", security(("token" = [])),
    params(("callback" = String, Path, description = "The callback's id")),
    responses(
        (status = 202, description = "Allowed; the agent's phone rings", body = calls::CallAccepted),
        NoToken, NoRight, NotYours, NotInThisState, NotSo, NotNow,
    )
)]
async fn dial(
    caller: Caller,
    State(app): State<App>,
    Path(callback): Path,
) -> Result<Response, Problem> {
    let mut tx = app.db.read().await?;
    let callback = visible(&mut tx, &caller, &callback).await?;
    drop(tx);
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))?;
    let now_ms = app.clock.wall_ms();
    let answer = callbacks::place(
        &app.db,
        &app.switchboard,
        callback.id,
        Some(caller.id),
        now_ms,
    )
    .await?;
    calls::answer(answer)
}

fn absent() -> Problem {
    Problem::absent("callback")
}

async fn visible(tx: &mut Tx, caller: &Caller, callback: &str) -> Result<Callback, Problem> {
    let id: CallbackId = callback.parse().map_err(|_| absent())?;
    let callback = store::callbacks::by_id(tx, id).await?.ok_or_else(absent)?;
    let own = caller.agent_id == Some(callback.agent);
    if own || (caller.sees(callback.client) && caller.must(Right::Supervise).is_ok()) {
        return Ok(callback);
    }
    Err(absent())
}

async fn log(
    tx: &mut Tx,
    caller: &Caller,
    action: &str,
    callback: &Callback,
    now_ms: i64,
) -> Result<(), Problem> {
    let access = Access {
        at_ms: now_ms,
        actor: &caller.name,
        action,
        object: &callback.id.to_string(),
        client_id: Some(callback.client),
        detail: serde_json::json!({ "case": callback.case, "agent": callback.agent }),
    };
    Ok(access::log(tx, &access).await?)
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::CaseOver(_) => Self::Conflict(error.to_string()),
            QueueError::Store(error) => error.into(),
        }
    }
}

impl From<CallbackError> for Problem {
    fn from(error: CallbackError) -> Self {
        match error {
            CallbackError::NotFound => absent(),
            CallbackError::NotDue | CallbackError::Over(_) => Self::Conflict(error.to_string()),
            CallbackError::Dial(error) => error.into(),
            CallbackError::Store(error) => error.into(),
        }
    }
}
