//! `/api/v1/receipts`: why a call was allowed or refused, as it was decided.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, Right},
    extract::Path,
    problem::{Problem, ProblemBody},
};
use crate::{ids::ReceiptId, store};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read))
}

/// A stored decision.
#[derive(Debug, Serialize, ToSchema)]
struct ReceiptBody {
    /// Id.
    receipt: String,
    /// The instant decided for, milliseconds UTC.
    at_ms: i64,
    /// Whether the call was allowed.
    allowed: bool,
    /// Case.
    case_id: i64,
    /// Contact point.
    contact_point_id: i64,
    /// SHA-256 of the rule set's canonical text.
    rules_sha256: String,
    /// Everything the decision looked at: rules, clock, zones, counters; it can be replayed from this alone.
    decision: serde_json::Value,
}

/// One receipt.
#[utoipa::path(
    operation_id = "read_receipt",
    get, path = "/api/v1/receipts/{receipt}", tag = "receipts", security(("token" = [])),
    params(("receipt" = String, Path, description = "The receipt's id")),
    responses(
        (status = 200, description = "The receipt", body = ReceiptBody),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not with this role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such receipt", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<ReceiptBody>, Problem> {
    caller.must(Right::Receipts)?;
    let absent = || Problem::absent("receipt");
    let id: ReceiptId = id.parse().map_err(|_| absent())?;
    let mut tx = app.db.read().await?;
    let receipt = store::receipts::by_id(&mut tx, id)
        .await?
        .filter(|r| caller.sees(r.client))
        .ok_or_else(absent)?;
    Ok(Json(ReceiptBody {
        receipt: id.to_string(),
        at_ms: receipt.at_ms,
        allowed: receipt.allowed,
        case_id: receipt.case.get(),
        contact_point_id: receipt.contact_point.get(),
        rules_sha256: receipt.rules_sha256,
        decision: serde_json::from_str(&receipt.body).map_err(anyhow::Error::new)?,
    }))
}
