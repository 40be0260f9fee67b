//! `/api/v1/calls`: click to dial, read, hang up.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody, ReasonBody},
};
use crate::{
    ids::{AgentId, CallId, CaseId, ClientId, ContactPointId},
    phone::PhoneNumber,
    store::{self, Tx, attempts::Attempt, contact_points::Target, users::Role},
    switchboard::{DialAnswer, DialError, DialRequest, RequestKey},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, hang_up))
}

/// A click on a number. Name the contact point, or a case and one of its numbers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCall {
    /// The contact point, as the case lists it.
    contact_point_id: Option<i64>,
    /// The case, together with `number`.
    case_id: Option<i64>,
    /// A number of that case, in E.164 or as dialled at home. Never a number outside the case.
    number: Option<String>,
    /// The agent who will talk. Left out: the agent this token belongs to.
    agent_id: Option<i64>,
}

/// The call was allowed and begins: the agent's phone rings first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallAccepted {
    /// The call's id; everything else arrives as events.
    call: String,
}

/// A call as it stands.
#[derive(Debug, Serialize, ToSchema)]
struct CallBody {
    /// Id.
    call: String,
    /// Case.
    case_id: i64,
    /// Contact point.
    contact_point_id: i64,
    /// Agent.
    agent_id: i64,
    /// As in the events: `agent_ringing`, `customer_ringing`, `talking`, … or `ended`; `starting` before the first.
    state: String,
    /// When it was asked for, milliseconds UTC.
    started_at_ms: i64,
    /// When the customer answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at_ms: Option<i64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at_ms: Option<i64>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Whose doing the end was: `ours`, `trunk`, `callee`, `caller`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Talk time in milliseconds.
    talk_ms: i64,
    /// The decision that allowed it.
    receipt: String,
    /// Its recording; only where one call is read, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
}

/// Click to dial.
///
/// The gate decides before anything rings. With an `Idempotency-Key` header the same request sent again is answered
/// as the first time, and nothing rings twice.
#[utoipa::path(
    operation_id = "dial",
    post, path = "/api/v1/calls", tag = "calls", request_body = NewCall, security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Names this click; up to 128 characters")),
    responses(
        (status = 202, description = "Allowed; the agent's phone rings", body = CallAccepted),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such contact point or agent", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Agent busy, or key used otherwise", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson,
        (status = 422, description = "Refused by the rules, with every reason and the receipt", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Vault, database or capacity", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn create(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    Body { value: new, bytes }: Body<NewCall>,
) -> Result<Response, Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))?;
    let agent = match (new.agent_id.map(AgentId::new), caller.agent_id) {
        (None, Some(own)) => own,
        (None, None) => {
            return Err(Problem::Invalid(
                "agent_id: this token belongs to no agent; say who will talk".into(),
            ));
        }
        (Some(agent), own) => {
            if own != Some(agent) {
                caller.must(Right::Supervise)?;
            }
            agent
        }
    };
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(value) => match value.to_str() {
            Ok(text) if (1..=128).contains(&text.len()) => Some(RequestKey {
                user: caller.id,
                key: text.to_owned(),
                request: bytes.to_vec(),
            }),
            _ => {
                return Err(Problem::Invalid(
                    "Idempotency-Key: 1 to 128 visible characters".into(),
                ));
            }
        },
    };
    let target = find_target(&app, &caller, &new).await?;
    if caller.agent_id != Some(agent) {
        let mut tx = app.db.read().await?;
        must_work_for(&mut tx, agent, target.client).await?;
    }
    let request = DialRequest {
        contact_point: target.contact_point,
        agent,
        user: Some(caller.id),
        key,
    };
    answer(app.switchboard.dial(request).await?)
}

/// An agent who has logins, none of which sees the client, is given none of its calls by others either.
pub(super) async fn must_work_for(
    tx: &mut Tx,
    agent: AgentId,
    client: ClientId,
) -> Result<(), Problem> {
    let logins = store::users::of_agent(tx, agent).await?;
    if logins.is_empty() || logins.iter().any(|user| user.scope.includes(client)) {
        return Ok(());
    }
    Err(Problem::Forbidden(
        "agent_id: this agent does not work for the client of the case; choose another, or add the client to his account"
            .into(),
    ))
}

/// What the gate said, as an answer.
pub(super) fn answer(answer: DialAnswer) -> Result<Response, Problem> {
    match answer {
        DialAnswer::Accepted { call } => Ok((
            StatusCode::ACCEPTED,
            [("location", format!("/api/v1/calls/{call}"))],
            Json(CallAccepted {
                call: call.to_string(),
            }),
        )
            .into_response()),
        DialAnswer::Refused { receipt, reasons } => {
            let reasons = reasons
                .into_iter()
                .map(|r| ReasonBody {
                    code: r.code,
                    text: r.text,
                    text_zh: r.text_zh,
                    clause: r.clause,
                })
                .collect();
            Err(Problem::Refused {
                reasons,
                receipt: receipt.to_string(),
            })
        }
    }
}

async fn find_target(app: &App, caller: &Caller, new: &NewCall) -> Result<Target, Problem> {
    let absent = || Problem::absent("contact point");
    let mut tx = app.db.read().await?;
    let target = match (new.contact_point_id, new.case_id, new.number.as_deref()) {
        (Some(id), None, None) => {
            store::contact_points::target(&mut tx, ContactPointId::new(id)).await?
        }
        (None, Some(case), Some(number)) => {
            let number = PhoneNumber::parse(
                number,
                app.switchboard.region(),
                app.switchboard.short_codes(),
            )
            .map_err(|e| Problem::Invalid(format!("number: {e}")))?;
            let points = store::contact_points::of_case(&mut tx, CaseId::new(case)).await?;
            points.into_iter().find(|point| point.number == number)
        }
        _ => {
            return Err(Problem::Invalid(
                "name either contact_point_id, or case_id and number, and nothing else".into(),
            ));
        }
    };
    target
        .filter(|target| caller.sees(target.client))
        .ok_or_else(absent)
}

/// A call as it stands, live or ended.
#[utoipa::path(
    operation_id = "read_call",
    get, path = "/api/v1/calls/{call}", tag = "calls", security(("token" = [])),
    params(("call" = String, Path, description = "The call's id")),
    responses(
        (status = 200, description = "The call", body = CallBody),
        NoToken,
        (status = 404, description = "No such call", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(call): Path,
) -> Result<Json<CallBody>, Problem> {
    let (attempt, _) = visible_call(&app, &caller, &call).await?;
    let mut tx = app.db.read().await?;
    let recording = store::recordings::of_call(&mut tx, attempt.id)
        .await?
        .first()
        .map(|r| r.id.to_string());
    Ok(Json(CallBody {
        recording,
        ..body(&app, attempt).await?
    }))
}

async fn body(app: &App, attempt: Attempt) -> Result<CallBody, Problem> {
    let live = match attempt.ended_at_ms {
        Some(_) => None,
        None => app.switchboard.state_of(attempt.id).await,
    };
    // It may have ended since its row was read; its end stands in the row before anybody is told.
    let attempt = match (attempt.ended_at_ms, live) {
        (None, None | Some("ended")) => {
            let mut tx = app.db.read().await?;
            store::attempts::by_id(&mut tx, attempt.id)
                .await?
                .unwrap_or(attempt)
        }
        _ => attempt,
    };
    let state = match attempt.ended_at_ms {
        Some(_) => "ended",
        None => live.unwrap_or("starting"),
    };
    Ok(CallBody {
        call: attempt.id.to_string(),
        case_id: attempt.case.get(),
        contact_point_id: attempt.contact_point.get(),
        agent_id: attempt.agent.get(),
        state: state.to_owned(),
        started_at_ms: attempt.started_at_ms,
        answered_at_ms: attempt.answered_at_ms,
        ended_at_ms: attempt.ended_at_ms,
        cause: attempt.cause.map(|c| c.as_str().to_owned()),
        class: attempt.cause.map(|c| c.class().as_str().to_owned()),
        talk_ms: attempt.talk_ms().unwrap_or(0),
        receipt: attempt.receipt.to_string(),
        recording: None,
    })
}

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only calls of this agent.
    agent_id: Option<i64>,
    /// Only those older than this call: the last id of the page before.
    before: Option<String>,
    /// At most so many, 1 to 500; 100 if left out.
    limit: Option<u32>,
}

/// Calls that are up and that were, newest first: an agent's own, for others those of their clients.
#[utoipa::path(
    operation_id = "list_calls",
    get, path = "/api/v1/calls", tag = "calls", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Calls, newest first", body = [CallBody]),
        Malformed, NoToken,
        (status = 403, description = "Another agent's calls", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<CallBody>>, Problem> {
    let mut agent = wanted.agent_id.map(AgentId::new);
    if caller.role == Role::Agent {
        if agent.is_some() && agent != caller.agent_id {
            caller.must(Right::Supervise)?;
        }
        agent = Some(caller.agent_id.ok_or_else(|| {
            Problem::Forbidden("this token belongs to no agent, so it has no calls".into())
        })?);
    }
    let before = match wanted.before.as_deref().map(str::parse::<CallId>) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Problem::Invalid("before: not the id of a call".into())),
    };
    let limit = wanted.limit.unwrap_or(100).clamp(1, 500);
    let mut tx = app.db.read().await?;
    let found = store::attempts::list(&mut tx, &caller, agent, before, limit).await?;
    drop(tx);
    let mut bodies = Vec::with_capacity(found.len());
    for attempt in found {
        bodies.push(body(&app, attempt).await?);
    }
    Ok(Json(bodies))
}

/// Hang up, whatever state the call is in.
#[utoipa::path(
    operation_id = "hang_up",
    delete, path = "/api/v1/calls/{call}", tag = "calls", security(("token" = [])),
    params(("call" = String, Path, description = "The call's id")),
    responses(
        (status = 202, description = "It is being ended, or had ended"),
        NoToken,
        (status = 403, description = "Another agent's call", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such call", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn hang_up(
    caller: Caller,
    State(app): State<App>,
    Path(call): Path,
) -> Result<StatusCode, Problem> {
    let (attempt, own) = visible_call(&app, &caller, &call).await?;
    if !own {
        caller.must(Right::Supervise)?;
    }
    app.switchboard.hang_up(attempt.id).await;
    Ok(StatusCode::ACCEPTED)
}

/// The attempt behind a call id, and whether it is the caller's own.
async fn visible_call(app: &App, caller: &Caller, call: &str) -> Result<(Attempt, bool), Problem> {
    let absent = || Problem::absent("call");
    let call: CallId = call.parse().map_err(|_| absent())?;
    let mut tx = app.db.read().await?;
    let attempt = store::attempts::by_id(&mut tx, call)
        .await?
        .ok_or_else(absent)?;
    let own = caller.agent_id == Some(attempt.agent);
    // Whoever is talking can hang up and look, although the client was taken from him meanwhile.
    let talking = own && attempt.ended_at_ms.is_none();
    let sees = caller.sees(attempt.client) && (own || caller.role != Role::Agent);
    if talking || sees {
        return Ok((attempt, own));
    }
    Err(absent())
}

impl From<DialError> for Problem {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NotFound => Self::absent("contact point"),
            DialError::AgentUnknown => {
                Self::agent_absent()
            }
            DialError::AgentBusy(state) => {
                Self::Conflict(format!("the agent is {state}; end that first"))
            }
            DialError::BrowserSilent => Self::Conflict(
                "the agent's browser is not connected yet, or nothing is heard from it; try again in a moment".into(),
            ),
            DialError::KeyReused => Self::Conflict(
                "this Idempotency-Key was used for another request; use a new one".into(),
            ),
            DialError::Draining => {
                Self::Unavailable(
                    "the daemon is being stopped and takes no new calls; dial again when it is back".into(),
                )
            }
            DialError::Full(max) => {
                Self::Unavailable(format!(
                    "{max} calls are up, which is calls.max; dial again when one has ended, or raise it"
                ))
            }
            DialError::Vault(why) => Self::Unavailable(format!(
                "no recording, no call: the vault cannot take a new file: {why}; tell the administrator"
            )),
            DialError::Randomness | DialError::BrokeOff(_) => {
                Self::Internal(anyhow::Error::new(error))
            }
            DialError::Store(error) => error.into(),
        }
    }
}
