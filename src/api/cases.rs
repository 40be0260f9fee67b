//! `/api/v1/cases`: a case with the numbers that a page shows to be clicked. Only for those who may dial them.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Away, Malformed, NoCase, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    ids::{CaseId, ContactPointId},
    rulebook::{self, By},
    store::{self, cases::Case},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(find))
        .routes(routes!(read))
        .routes(routes!(set_zone))
}

/// A case.
#[derive(Debug, Serialize, ToSchema)]
struct CaseBody {
    /// Id.
    case_id: i64,
    /// Code of the client that placed it.
    client: String,
    /// The client's own number of the case.
    reference: String,
    /// `open`, or why it is not worked.
    state: String,
    /// Whom to reach, in the order of entry.
    contact_points: Vec<ContactPointBody>,
}

/// One number of one person.
#[derive(Debug, Serialize, ToSchema)]
struct ContactPointBody {
    /// What `POST /api/v1/calls` takes.
    contact_point_id: i64,
    /// Who answers there.
    name: String,
    /// What that person is to the debt: `debtor`, `spouse`, …
    relation: String,
    /// The number in E.164, or a short code.
    number: String,
    /// `invalid`: found dead, or not the number of this person, and nobody answered since (`number-faults` says more);
    /// otherwise `usable`.
    state: String,
    /// Something bars calls to it now: `/api/v1/bars` says what.
    barred: bool,
    /// The person, being a third party, asked not to be called again.
    refused: bool,
    /// The time zone on record for the person; absent: by the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

/// In which time zone somebody lives.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ZoneBody {
    /// IANA name, such as `America/New_York`; null: by the number again.
    #[schema(required)]
    zone: Option<String>,
    /// Where that is known from, in words; no number and no name.
    reason: String,
}

/// Which case.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Code of the client.
    client: String,
    /// The client's own number of the case.
    reference: String,
}

/// The case that a client knows by its own number.
#[utoipa::path(
    operation_id = "find_case",
    get, path = "/api/v1/cases", tag = "cases", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "The case with its numbers", body = CaseBody),
        Malformed, NoToken, NoRight, NoCase,
    )
)]
async fn find(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<CaseBody>, Problem> {
    let mut tx = app.db.read().await?;
    let case = match store::clients::by_code(&mut tx, &wanted.client).await? {
        Some(client) => store::cases::by_reference(&mut tx, client.id, &wanted.reference).await?,
        None => None,
    };
    drop(tx);
    show(&caller, &app, case).await
}

/// One case with its numbers.
#[utoipa::path(
    operation_id = "read_case",
    get, path = "/api/v1/cases/{case}", tag = "cases", security(("token" = [])),
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 200, description = "The case with its numbers", body = CaseBody),
        NoToken, NoRight, NoCase,
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(case): Path,
) -> Result<Json<CaseBody>, Problem> {
    let case = match case.parse::<CaseId>() {
        Ok(id) => {
            let mut tx = app.db.read().await?;
            store::cases::by_id(&mut tx, id).await?
        }
        Err(_) => None,
    };
    show(&caller, &app, case).await
}

async fn show(caller: &Caller, app: &App, case: Option<Case>) -> Result<Json<CaseBody>, Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))?;
    let case = case
        .filter(|case| caller.sees(case.client_id))
        .ok_or_else(|| Problem::absent("case"))?;
    let mut tx = app.db.read().await?;
    let client = store::clients::by_id(&mut tx, case.client_id).await?;
    let people = store::contact_points::people_of_case(&mut tx, case.id).await?;
    let now_ms = app.clock.wall_ms();
    let mut contact_points = Vec::with_capacity(people.len());
    for (target, name) in people {
        let bars = store::bars::active_for(&mut tx, &target, now_ms).await?;
        contact_points.push(ContactPointBody {
            contact_point_id: target.contact_point.get(),
            name,
            relation: target.relation.as_str().to_owned(),
            number: target.number.dial_string().to_owned(),
            state: target.number_state.as_str().to_owned(),
            barred: !bars.is_empty(),
            refused: target.refused,
            zone: target.zone,
        });
    }
    Ok(Json(CaseBody {
        case_id: case.id.get(),
        client: client.map(|client| client.code).unwrap_or_default(),
        reference: case.reference,
        state: case.state.as_str().to_owned(),
        contact_points,
    }))
}

/// Puts on record in which time zone the person at a contact point lives, or takes it off: whose hour counts from now on.
#[utoipa::path(
    operation_id = "set_zone",
    put, path = "/api/v1/contact-points/{contact_point}/zone", tag = "rules", security(("token" = [])), request_body = ZoneBody,
    params(("contact_point" = String, Path, description = "The contact point's id")),
    responses(
        (status = 204, description = "It is on record"),
        (status = 400, description = "Malformed, or no zone", body = ProblemBody, content_type = "application/problem+json"),
        NoToken, NoRight,
        (status = 404, description = "No such contact point", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn set_zone(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    Body { value, .. }: Body<ZoneBody>,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Zone)?;
    let id: ContactPointId = id.parse().map_err(|_| Problem::absent("contact point"))?;
    let by = By {
        actor: &caller.name,
        now_ms: app.clock.wall_ms(),
    };
    let zone = value.zone.as_deref();
    rulebook::zones::set(&app.db, id, zone, &value.reason, Some(&caller), by).await?;
    Ok(StatusCode::NO_CONTENT)
}
