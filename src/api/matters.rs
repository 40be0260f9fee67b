//! `/api/v1/major-matters`: complaints, threats, deaths and the like, reported to the client within 30 minutes.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{
        Malformed, NoRight, NoToken, NotInThisState, NotJson, NotNow, NotSo, NotYours, TooLarge,
    },
    auth::{Caller, Right},
    extract::{Body, Path, Query},
    problem::Problem,
};
use crate::{
    cases::matters::{self, MatterError, NewMatter},
    ids::CaseId,
    store::{self, major_matters::Matter},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, enter))
        .routes(routes!(report))
}

/// A major matter.
#[derive(Debug, Serialize, ToSchema)]
struct MatterBody {
    /// Id.
    major_matter: i64,
    /// Code of the client.
    client: String,
    /// The case, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    case_id: Option<i64>,
    /// `complaint`, `threat`, `death`, `police`, `media` or `other`.
    kind: String,
    /// `light`, `ordinary` or `serious`.
    grade: String,
    /// What happened.
    text: String,
    /// When it became known, milliseconds UTC.
    occurred_at_ms: i64,
    /// When the client was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at_ms: Option<i64>,
    /// Who was told.
    told: String,
    /// Who entered it.
    actor: String,
}

impl MatterBody {
    fn of(matter: Matter) -> Self {
        Self {
            major_matter: matter.id,
            client: matter.client_code,
            case_id: matter.case.map(CaseId::get),
            kind: matter.kind.to_string(),
            grade: matter.grade.to_string(),
            text: matter.text,
            occurred_at_ms: matter.occurred_at_ms,
            reported_at_ms: matter.reported_at_ms,
            told: matter.told,
            actor: matter.actor,
        }
    }
}

/// What happened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBody {
    /// Code of the client.
    client: String,
    /// The case, if it is about one.
    case_id: Option<i64>,
    /// `complaint`, `threat`, `death`, `police`, `media` or `other`.
    kind: String,
    /// `light`, `ordinary` or `serious`; ordinary if left out.
    grade: Option<String>,
    /// In words.
    text: String,
    /// When it became known, milliseconds UTC; now if left out.
    occurred_at_ms: Option<i64>,
}

/// Who was told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReportBody {
    /// Who was told, and how.
    told: String,
    /// How grave it is, where that was found out.
    grade: Option<String>,
}

/// Which.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those that were not reported.
    waiting: bool,
    /// Only those entered before this one: the last id of the page before.
    before: Option<i64>,
    /// At most so many, 1 to 500; 100 if left out.
    limit: Option<u32>,
}

/// Major matters, newest first.
#[utoipa::path(
    operation_id = "list_major_matters",
    get, path = "/api/v1/major-matters", tag = "work", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Matters, newest first", body = [MatterBody]),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<MatterBody>>, Problem> {
    caller
        .must(Right::Report)
        .or_else(|_| caller.must(Right::Receipts))?;
    let before = wanted.before.unwrap_or(i64::MAX);
    let limit = wanted.limit.unwrap_or(100).clamp(1, 500);
    let mut tx = app.db.read().await?;
    let found =
        store::major_matters::list(&mut tx, Some(&caller), wanted.waiting, before, limit).await?;
    Ok(Json(found.into_iter().map(MatterBody::of).collect()))
}

/// Enter a major matter; its clock begins when it became known.
#[utoipa::path(
    operation_id = "enter_major_matter",
    post, path = "/api/v1/major-matters", tag = "work", request_body = NewBody, security(("token" = [])),
    responses(
        (status = 201, description = "Entered", body = MatterBody),
        Malformed, NoToken, NoRight, NotYours, TooLarge, NotJson, NotSo, NotNow,
    )
)]
async fn enter(
    caller: Caller,
    State(app): State<App>,
    Body { value: new, .. }: Body<NewBody>,
) -> Result<(StatusCode, Json<MatterBody>), Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Report))?;
    let now_ms = app.clock.wall_ms();
    let new = NewMatter {
        client: &new.client,
        case: new.case_id.map(CaseId::new),
        kind: word("kind", &new.kind)?,
        grade: word("grade", new.grade.as_deref().unwrap_or("ordinary"))?,
        text: &new.text,
        occurred_at_ms: new.occurred_at_ms.unwrap_or(now_ms),
    };
    let mut tx = app.db.begin().await?;
    let entered = matters::enter(&mut tx, &new, Some(&caller), &caller.name, now_ms).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(MatterBody::of(entered))))
}

/// Note that the client was told, and who was. The first report stands.
#[utoipa::path(
    operation_id = "report_major_matter",
    post, path = "/api/v1/major-matters/{matter}/report", tag = "work", request_body = ReportBody, security(("token" = [])),
    params(("matter" = String, Path, description = "The matter's id")),
    responses(
        (status = 200, description = "Noted", body = MatterBody),
        Malformed, NoToken, NoRight, NotYours, NotInThisState, TooLarge, NotJson, NotSo, NotNow,
    )
)]
async fn report(
    caller: Caller,
    State(app): State<App>,
    Path(matter): Path,
    Body { value: said, .. }: Body<ReportBody>,
) -> Result<Json<MatterBody>, Problem> {
    caller.must(Right::Report)?;
    let id = matter.parse().map_err(|_| MatterError::NotFound)?;
    let grade = match said.grade.as_deref() {
        None => None,
        Some(text) => Some(word("grade", text)?),
    };
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    let by = (Some(&caller.0), caller.name.as_str());
    let reported = matters::report(&mut tx, id, &said.told, grade, by, now_ms).await?;
    tx.commit().await?;
    Ok(Json(MatterBody::of(reported)))
}

fn word<T: std::str::FromStr<Err = String>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|e| Problem::Invalid(format!("{field}: {e}")))
}

impl From<MatterError> for Problem {
    fn from(error: MatterError) -> Self {
        match error {
            MatterError::NotFound | MatterError::Client => Self::NotFound(error.to_string()),
            MatterError::Reported => Self::Conflict(error.to_string()),
            MatterError::Text | MatterError::Time => Self::Unprocessable(error.to_string()),
            MatterError::Store(error) => error.into(),
        }
    }
}
