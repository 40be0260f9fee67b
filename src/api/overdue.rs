//! `/api/v1/overdue` and `/api/v1/stats/intake`: what has passed its work clock, and what came in.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoRight, NoToken},
    auth::{Caller, Right},
    extract::Query,
    problem::Problem,
};
use crate::{
    cases::overdue::{self, Clock},
    store,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(intake))
}

/// Something overdue.
#[derive(Debug, Serialize, ToSchema)]
struct OverdueBody {
    /// `new_case` (nobody worked it), `first_call` (nobody called), `note` (not written on its day) or `major_matter` (not
    /// reported).
    clock: &'static str,
    /// Id of the case, note or major matter.
    id: i64,
    /// Code of the client.
    client: String,
    /// The client's case number.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Employee number of who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Since when the clock runs, milliseconds UTC.
    since_ms: i64,
    /// When it was due.
    due_ms: i64,
}

/// Which.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only this clock: `new_case`, `first_call`, `note` or `major_matter`.
    clock: String,
    /// Code of the client.
    client: String,
    /// Employee number.
    agent: String,
    /// At most so many of each, 1 to 1000; 200 if left out.
    limit: Option<u32>,
}

/// What has passed its work clock, the oldest first. An agent sees their own.
#[utoipa::path(
    operation_id = "list_overdue",
    get, path = "/api/v1/overdue", tag = "work", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "What is overdue", body = [OverdueBody]),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(mut wanted): Query<Wanted>,
) -> Result<Json<Vec<OverdueBody>>, Problem> {
    let clocks = match wanted.clock.as_str() {
        "" => Clock::ALL.to_vec(),
        word => vec![
            word.parse::<Clock>()
                .map_err(|e| Problem::Invalid(format!("clock: {e}")))?,
        ],
    };
    let mut tx = app.db.read().await?;
    if caller.must(Right::Notes).is_err() {
        // Their own, and nobody else's.
        let own = super::agent::own_agent(&caller)?;
        let own = store::agents::by_id(&mut tx, own).await?;
        wanted.agent = own.map(|agent| agent.code).unwrap_or_default();
    }
    let asked = overdue::Asked {
        viewer: Some(&caller),
        client: &wanted.client,
        agent: &wanted.agent,
        now_ms: app.clock.wall_ms(),
        zone: app.switchboard.display_zone(),
        limits: &app.work,
        limit: wanted.limit.unwrap_or(200).clamp(1, 1_000),
    };
    let found = overdue::list(&mut tx, &clocks, &asked).await?;
    Ok(Json(
        found
            .into_iter()
            .map(|late| OverdueBody {
                clock: late.clock.as_str(),
                id: late.id,
                client: late.client,
                reference: late.reference,
                agent: late.agent,
                since_ms: late.since_ms,
                due_ms: late.due_ms,
            })
            .collect(),
    ))
}

/// What came in of one batch, currency and overdue bucket.
#[derive(Debug, Serialize, ToSchema)]
struct IntakeBody {
    /// Code of the client.
    client: String,
    /// The client's name of the lot.
    batch: String,
    /// Day on which the client placed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    placed_on: Option<String>,
    /// When its first case was imported, milliseconds UTC.
    imported_at_ms: i64,
    /// `to_90`, `to_180`, `to_360`, `above_360`; empty if the client did not say.
    bucket: String,
    /// Currency.
    currency: String,
    /// Cases.
    cases: i64,
    /// Persons.
    households: i64,
    /// Amount notified at placement, exact.
    amount: String,
    /// Fewest days overdue at placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    least_days: Option<i64>,
    /// Most days overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    most_days: Option<i64>,
    /// Days overdue on average, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_days: Option<i64>,
}

/// Of which days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Days {
    /// Code of the client.
    client: String,
    /// First day, in the zone shown to operators.
    #[param(value_type = Option<String>)]
    from: Option<jiff::civil::Date>,
    /// Last day.
    #[param(value_type = Option<String>)]
    to: Option<jiff::civil::Date>,
}

/// What came in, by batch, currency and overdue bucket.
#[utoipa::path(
    operation_id = "read_intake",
    get, path = "/api/v1/stats/intake", tag = "work", params(Days), security(("token" = [])),
    responses(
        (status = 200, description = "What came in", body = [IntakeBody]),
        Malformed, NoToken, NoRight,
    )
)]
async fn intake(
    caller: Caller,
    State(app): State<App>,
    Query(days): Query<Days>,
) -> Result<Json<Vec<IntakeBody>>, Problem> {
    caller.must(Right::Figures)?;
    let zone = app.switchboard.display_zone();
    let (from_ms, until_ms) = overdue::span(days.from, days.to, zone)
        .map_err(|e| Problem::Invalid(format!("from, to: {e}")))?;
    let mut tx = app.db.read().await?;
    let lines =
        store::work_clocks::intake(&mut tx, Some(&caller), &days.client, from_ms, until_ms).await?;
    Ok(Json(
        lines
            .into_iter()
            .map(|line| IntakeBody {
                mean_days: line.days.checked_div(line.days_of),
                client: line.client,
                batch: line.batch,
                placed_on: line.placed_on,
                imported_at_ms: line.created_at_ms,
                bucket: line.bucket,
                currency: line.currency,
                cases: line.cases,
                households: line.households,
                amount: crate::export::money(line.placed_e4),
                least_days: line.least_days,
                most_days: line.most_days,
            })
            .collect(),
    ))
}
