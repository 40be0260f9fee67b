//! `/api/v1/allocations`: who gets which case. A plan is shown with its totals before it is carried out, and undone as a
//! whole.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{
        Malformed, NoRight, NoToken, NotInThisState, NotJson, NotNow, NotSo, NotYours, TooLarge,
    },
    auth::{Caller, Right},
    extract::{Body, Path},
    problem::{Problem, ProblemBody},
};
use crate::{
    cases::allocate::{self, AllocateError, Outcome, Request},
    ids::AllocationId,
    store::{
        self,
        allocations::{Allocation, Total},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(plan))
        .routes(routes!(read))
        .routes(routes!(apply))
        .routes(routes!(undo))
}

/// What to allocate, among whom and how.
#[derive(ToSchema)]
#[schema(as = AllocationRequest)]
#[allow(
    dead_code,
    reason = "describes crate::cases::allocate::Request in the document"
)]
struct RequestBody {
    /// `match`, `even_count`, `even_amount`, `even_both`, `cumulative` or `manual`.
    method: String,
    /// Which cases; only open ones where it does not say. All members are optional: `client`, `batch`, `state`, `bucket`,
    /// `region`, `mark`, `currency`, `from_e4`, `to_e4` (amount owed in ten-thousandths), `agent`, `team`, `unallocated`,
    /// `case_type`, `from_days`, `to_days` (overdue at placement), `placed_from`, `placed_to` (days on which the batch was
    /// placed), `not_followed_since_ms`, `fields` (the client's own, by their names).
    #[schema(value_type = Object)]
    cases: Option<serde_json::Value>,
    /// Or: code of the client whose cases `references` names; of `cases` only `state` may be there then.
    client: Option<String>,
    /// The client's case numbers.
    references: Option<Vec<String>>,
    /// Employee numbers of those who get them.
    agents: Option<Vec<String>>,
    /// Codes of teams, whose active agents get them.
    teams: Option<Vec<String>>,
    /// The teams get them as a whole, and not their agents.
    to_teams: Option<bool>,
    /// For `match`: employee numbers of the agents of a region.
    #[schema(value_type = Object)]
    regions: Option<serde_json::Value>,
}

/// An allocation.
#[derive(Debug, Serialize, ToSchema)]
struct AllocationBody {
    /// Id.
    allocation_id: i64,
    /// How it was dealt.
    method: String,
    /// `planned`, `running`, `done`, `undoing` or `undone`.
    state: String,
    /// Who planned it.
    actor: String,
    /// When.
    created_at_ms: i64,
    /// What was asked for.
    request: serde_json::Value,
    /// What each receiver gets.
    totals: Vec<TotalBody>,
    /// Of a plan just made: the case numbers of its list of which there is no case, or none in the state that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

/// What one receiver gets.
#[derive(Debug, Serialize, ToSchema)]
struct TotalBody {
    /// Employee number; absent for a team as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Code of the team.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// Cases.
    cases: i64,
    /// Persons.
    households: i64,
    /// What is owed on them, exact.
    amount: String,
    /// Of the cases, those carried out.
    applied: i64,
}

/// What was carried out or undone.
#[derive(Debug, Serialize, ToSchema)]
struct OutcomeBody {
    /// Cases that changed hands.
    changed: u64,
    /// Cases left as they are, because they changed hands or were ended since.
    left: i64,
    /// The first of those: client and case number.
    left_cases: Vec<LeftBody>,
}

/// A case left as it is.
#[derive(Debug, Serialize, ToSchema)]
struct LeftBody {
    /// Code of the client.
    client: String,
    /// The client's case number.
    reference: String,
}

impl AllocationBody {
    fn of(allocation: Allocation, totals: Vec<Total>) -> Self {
        Self {
            allocation_id: allocation.id.get(),
            method: allocation.method,
            state: allocation.state.to_string(),
            actor: allocation.actor,
            created_at_ms: allocation.created_at_ms,
            request: serde_json::from_str(&allocation.query).unwrap_or_default(),
            totals: totals
                .into_iter()
                .map(|total| TotalBody {
                    agent: total.agent,
                    team: total.team,
                    cases: total.cases,
                    households: total.households,
                    amount: crate::export::money(total.amount_e4),
                    applied: total.applied,
                })
                .collect(),
            left_out: Vec::new(),
        }
    }
}

impl From<Outcome> for OutcomeBody {
    fn from(outcome: Outcome) -> Self {
        let left = outcome.left_cases.into_iter();
        Self {
            changed: outcome.changed,
            left: outcome.left,
            left_cases: left
                .map(|(client, reference)| LeftBody { client, reference })
                .collect(),
        }
    }
}

/// Plan an allocation and see what each would get. Nothing changes hands yet.
#[utoipa::path(
    operation_id = "plan_allocation",
    post, path = "/api/v1/allocations", tag = "allocation", request_body = RequestBody, security(("token" = [])),
    responses(
        (status = 201, description = "The plan", body = AllocationBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such client among yours", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, NotSo, NotNow,
    )
)]
async fn plan(
    caller: Caller,
    State(app): State<App>,
    Body { value: request, .. }: Body<Request>,
) -> Result<(StatusCode, Json<AllocationBody>), Problem> {
    caller.must(Right::DealCases)?;
    let planned =
        allocate::plan(&app.db, &app.clock, &request, Some(&caller), &caller.name).await?;
    let mut tx = app.db.read().await?;
    let stored = store::allocations::by_id(&mut tx, planned.id).await?;
    let stored = stored.ok_or(AllocateError::NotFound)?;
    let mut body = AllocationBody::of(stored, planned.totals);
    body.left_out = planned.left_out;
    Ok((StatusCode::CREATED, Json(body)))
}

/// An allocation with its totals.
#[utoipa::path(
    operation_id = "read_allocation",
    get, path = "/api/v1/allocations/{allocation}", tag = "allocation", security(("token" = [])),
    params(("allocation" = String, Path, description = "The allocation's id")),
    responses(
        (status = 200, description = "The allocation", body = AllocationBody),
        NoToken, NoRight, NotYours,
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(allocation): Path,
) -> Result<Json<AllocationBody>, Problem> {
    let found = visible(&app, &caller, &allocation).await?;
    let mut tx = app.db.read().await?;
    let totals = store::allocations::totals(&mut tx, found.id).await?;
    Ok(Json(AllocationBody::of(found, totals)))
}

/// Carry it out, in pieces that hold up nobody who dials. One that broke off goes on.
#[utoipa::path(
    operation_id = "apply_allocation",
    post, path = "/api/v1/allocations/{allocation}/apply", tag = "allocation", security(("token" = [])),
    params(("allocation" = String, Path, description = "The allocation's id")),
    responses(
        (status = 200, description = "Carried out", body = OutcomeBody),
        NoToken, NoRight, NotYours, NotInThisState, NotNow,
    )
)]
async fn apply(
    caller: Caller,
    State(app): State<App>,
    Path(allocation): Path,
) -> Result<Json<OutcomeBody>, Problem> {
    let found = visible(&app, &caller, &allocation).await?;
    let outcome = allocate::apply(&app.db, &app.clock, found.id, &caller.name).await?;
    Ok(Json(outcome.into()))
}

/// Undo it as a whole; cases that were dealt again or changed hands since are left and named.
#[utoipa::path(
    operation_id = "undo_allocation",
    post, path = "/api/v1/allocations/{allocation}/undo", tag = "allocation", security(("token" = [])),
    params(("allocation" = String, Path, description = "The allocation's id")),
    responses(
        (status = 200, description = "Undone", body = OutcomeBody),
        NoToken, NoRight, NotYours, NotInThisState, NotNow,
    )
)]
async fn undo(
    caller: Caller,
    State(app): State<App>,
    Path(allocation): Path,
) -> Result<Json<OutcomeBody>, Problem> {
    let found = visible(&app, &caller, &allocation).await?;
    let outcome = allocate::undo(&app.db, &app.clock, found.id, &caller.name).await?;
    Ok(Json(outcome.into()))
}

/// An allocation all of whose cases the caller may see.
async fn visible(app: &App, caller: &Caller, allocation: &str) -> Result<Allocation, Problem> {
    caller.must(Right::DealCases)?;
    let id: AllocationId = allocation.parse().map_err(|_| AllocateError::NotFound)?;
    let mut tx = app.db.read().await?;
    let found = store::allocations::by_id(&mut tx, id).await?;
    let clients = store::allocations::clients(&mut tx, id).await?;
    let found = found.filter(|_| clients.into_iter().all(|client| caller.sees(client)));
    Ok(found.ok_or(AllocateError::NotFound)?)
}

impl From<AllocateError> for Problem {
    fn from(error: AllocateError) -> Self {
        match error {
            AllocateError::NotFound => Self::absent("allocation"),
            AllocateError::NoClient => Self::absent("client"),
            AllocateError::List => Self::Invalid(error.to_string()),
            AllocateError::State(_) => Self::Conflict(error.to_string()),
            AllocateError::Unknown { what, .. } => Self::Unprocessable(format!(
                "one of the {what}s that are named does not exist or has left"
            )),
            AllocateError::NoCases
            | AllocateError::Region(_)
            | AllocateError::Currencies(_)
            | AllocateError::Plan(_) => Self::Unprocessable(error.to_string()),
            AllocateError::Busy | AllocateError::Pending(_) => Self::Unavailable(error.to_string()),
            AllocateError::Store(error) => error.into(),
        }
    }
}
