//! `/api/v1/stats`: connect rates from the roll-up, with their definitions beside them.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoToken},
    auth::{Caller, Right},
    extract::Query,
    problem::{Problem, ProblemBody},
};
use crate::{
    stats::report::connect_rate,
    store::{figures::Axis, users::Scope},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rates))
}

/// Which figures.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `hour`, `day`, `week`, `month`, `agent`, `client`, …
    by: String,
    /// First local day of the persons called, YYYY-MM-DD; today if left out.
    from: Option<String>,
    /// Last local day, YYYY-MM-DD; `from` if left out.
    to: Option<String>,
}

/// Attempts, seizures, connected, connect rate with its interval, ASR, NER and talk time.
#[utoipa::path(
    operation_id = "connect_rate",
    get, path = "/api/v1/stats/connect-rate", tag = "stats", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "The report, its definitions and its total, with the queries that reproduce them", body = serde_json::Value),
        Malformed, NoToken,
        (status = 403, description = "Not with this role, or not for all clients", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn rates(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<serde_json::Value>, Problem> {
    caller.must(Right::Figures)?;
    if !matches!(caller.scope, Scope::All) {
        return Err(Problem::Forbidden(
            "figures over all clients need an account that sees all clients".into(),
        ));
    }
    let by = wanted
        .by
        .parse::<Axis>()
        .map_err(|e| Problem::Invalid(format!("by: {e}")))?;
    let day = |name: &str, text: &str| {
        text.parse::<jiff::civil::Date>()
            .map_err(|_| Problem::Invalid(format!("{name}: {text:?} is no day; write YYYY-MM-DD")))
    };
    let from = match &wanted.from {
        Some(text) => day("from", text)?,
        None => app.switchboard.today(),
    };
    let to = wanted
        .to
        .as_ref()
        .map_or(Ok(from), |text| day("to", text))?;
    if to < from {
        return Err(Problem::Invalid(format!("to: {to} is before from: {from}")));
    }
    let mut tx = app.db.read().await?;
    Ok(Json(connect_rate(&mut tx, by, from, to).await?.json()))
}
