//! What is wrong with the numbers of a case, and that one is good again. Numbers themselves are not shown here: the contact
//! points of the case are.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Away, Malformed, NoRight, NoToken, NotJson, NotYours, TooLarge},
    auth::{Caller, Right},
    case_store::case_of,
    extract::{Body, Path},
    problem::{Problem, ProblemBody},
};
use crate::{
    cases::numbers::{self, NumberError},
    ids::{ContactPointId, NoteId},
    store::{self, number_faults::Fault},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(good))
}

/// Something that was found wrong with a number.
#[derive(Debug, Serialize, ToSchema)]
struct FaultBody {
    /// Number of the fault.
    fault: i64,
    /// Whose number.
    contact_point_id: i64,
    /// `wrong_number`: it is not the number of this person; `number_dead`: nobody has it.
    kind: String,
    /// Whether it is evidence of loss of contact, until somebody answers there.
    counts_towards_loss_of_contact: bool,
    /// The note that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<i64>,
    /// When it was found, milliseconds UTC.
    at_ms: i64,
    /// Who says so.
    actor: String,
    /// When it was taken back; absent while it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_at_ms: Option<i64>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_by: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_why: Option<String>,
}

impl FaultBody {
    fn of(fault: Fault) -> Self {
        Self {
            fault: fault.id,
            contact_point_id: fault.contact_point.get(),
            kind: fault.kind.to_string(),
            counts_towards_loss_of_contact: fault.counts,
            note: fault.note.map(NoteId::get),
            at_ms: fault.at_ms,
            actor: fault.actor,
            lifted_at_ms: fault.lifted_at_ms,
            lifted_by: fault.lifted_by,
            lifted_why: fault.lifted_why,
        }
    }
}

/// Why a number is good again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GoodBody {
    /// In words; no number and no name.
    reason: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
struct GoodAgainBody {
    /// How many faults were lifted.
    lifted: u64,
}

/// What was found wrong with the numbers of a case, lifted or not.
#[utoipa::path(
    operation_id = "list_number_faults",
    get, path = "/api/v1/cases/{case}/number-faults", tag = "cases", security(("token" = [])),
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 200, description = "In the order of entry", body = [FaultBody]),
        NoToken, NoRight, NotYours,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Path(case): Path,
) -> Result<Json<Vec<FaultBody>>, Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Numbers))
        .or_else(|_| caller.must(Right::Notes))?;
    let case = case_of(&app, &caller, &case).await?;
    let mut tx = app.db.read().await?;
    let faults = store::number_faults::of_case(&mut tx, case.id).await?;
    Ok(Json(faults.into_iter().map(FaultBody::of).collect()))
}

/// The number of a contact point reaches its person again: what was found wrong with it counts no more.
///
/// A wrong number is good again for that person in every case, a dead one for everybody. Third parties are then locked until
/// there is other evidence of loss of contact.
#[utoipa::path(
    operation_id = "number_good_again",
    post, path = "/api/v1/contact-points/{contact_point}/good-again", tag = "cases", request_body = GoodBody,
    security(("token" = [])),
    params(("contact_point" = String, Path, description = "The contact point's id")),
    responses(
        (status = 200, description = "It is good again", body = GoodAgainBody),
        Malformed, NoToken, NoRight, NotYours,
        (status = 409, description = "Nothing is on record against it", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn good(
    caller: Caller,
    State(app): State<App>,
    Path(point): Path,
    Body { value: body, .. }: Body<GoodBody>,
) -> Result<Json<GoodAgainBody>, Problem> {
    caller.must(Right::Numbers)?;
    let point: ContactPointId = point
        .parse()
        .map_err(|_| Problem::absent("contact point"))?;
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    let (viewer, reason, actor) = (Some(&caller.0), body.reason.as_str(), &caller.name);
    let lifted = numbers::good_again(&mut tx, point, viewer, reason, actor, now_ms).await?;
    tx.commit().await?;
    Ok(Json(GoodAgainBody { lifted }))
}

impl From<NumberError> for Problem {
    fn from(error: NumberError) -> Self {
        match error {
            NumberError::NotFound => Self::absent("contact point"),
            NumberError::Reason => Self::Invalid(error.to_string()),
            NumberError::Nothing => Self::Conflict(error.to_string()),
            NumberError::Store(error) => error.into(),
        }
    }
}
