//! `/api/v1/receipts`: why a call was allowed or refused, as it was decided.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoRight, NoToken},
    auth::{Caller, Right},
    bars::case_name,
    extract::{Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    ids::{AgentId, CaseId, ReceiptId},
    policy,
    rulebook::{self, find},
    store::{self, receipts::Wanted},
};

/// Receipts of one answer at most.
const PAGE: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
}

/// A decision in a list.
#[derive(Debug, Serialize, ToSchema)]
struct ReceiptLineBody {
    /// Id.
    receipt: String,
    /// The instant decided for, milliseconds UTC.
    at_ms: i64,
    /// Whether the call was allowed.
    allowed: bool,
    /// Code of the client.
    client: String,
    /// Case.
    case_id: i64,
    /// The client's own number of the case.
    reference: String,
    /// Contact point.
    contact_point_id: i64,
    /// The agent who wanted to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<i64>,
    /// SHA-256 of the rule set's canonical text; `GET /api/v1/policy?sha256=` reads it.
    rules_sha256: String,
    /// Codes of every reason of a refusal.
    reasons: Vec<String>,
}

/// Which receipts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Only those of this case.
    case_id: Option<i64>,
    /// Only those about this number, in E.164 or as dialled at home.
    number: Option<String>,
    /// Only those of this client's cases: its code.
    client: Option<String>,
    /// Decided for this instant or later, milliseconds UTC.
    from_ms: Option<i64>,
    /// Decided for an earlier instant.
    to_ms: Option<i64>,
    /// Only allowed ones, or only refused ones.
    allowed: Option<bool>,
    /// Only those with this code among their reasons, such as `cap_reached`.
    reason: Option<String>,
    /// Only those before this one, for the next page.
    before: Option<String>,
}

/// Decisions about one's clients' cases, newest first, 200 at most.
#[utoipa::path(
    operation_id = "list_receipts",
    get, path = "/api/v1/receipts", tag = "receipts", params(Listing), security(("token" = [])),
    responses(
        (status = 200, description = "The receipts", body = Vec<ReceiptLineBody>),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such case or client", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(listing): Query<Listing>,
) -> Result<Json<Vec<ReceiptLineBody>>, Problem> {
    caller.must(Right::Receipts)?;
    let reason = listing.reason.as_deref().unwrap_or("");
    rulebook::receipts::check_reason(reason)?;
    let before = listing.before.map(|id| id.parse::<ReceiptId>());
    let before = before
        .transpose()
        .map_err(|_| Problem::Invalid("before: the id of a receipt".into()))?;
    let number = listing.number.map(|text| app.numbering().number(&text));
    let number = number.transpose()?;
    if let Some(id) = listing.case_id {
        case_name(&app, &caller, id).await?;
    }
    let mut tx = app.db.read().await?;
    let client = match &listing.client {
        Some(code) => Some(find::client(&mut tx, code, Some(&caller)).await?.id),
        None => None,
    };
    let number = match number {
        Some(number) => match store::contact_points::number_id(&mut tx, &number).await? {
            Some(id) => Some(id),
            None => return Ok(Json(Vec::new())),
        },
        None => None,
    };
    let wanted = Wanted {
        client,
        case: listing.case_id.map(CaseId::new),
        number,
        from_ms: listing.from_ms.unwrap_or(i64::MIN),
        to_ms: listing.to_ms.unwrap_or(i64::MAX),
        allowed: listing.allowed,
        reason,
        before,
    };
    let found = store::receipts::list(&mut tx, &wanted, Some(&caller), PAGE).await?;
    let bodies = found.into_iter().map(|line| ReceiptLineBody {
        receipt: line.id.to_string(),
        at_ms: line.at_ms,
        allowed: line.allowed,
        client: line.client,
        case_id: line.case.get(),
        reference: line.reference,
        contact_point_id: line.contact_point.get(),
        agent_id: line.agent.map(AgentId::get),
        rules_sha256: line.rules_sha256,
        reasons: line.reasons,
    });
    Ok(Json(bodies.collect()))
}

/// One rule that was asked.
#[derive(Debug, Serialize, ToSchema)]
struct RuleBody {
    /// `clock`, `zone`, `window`, `ring`, `agreement`, `case`, `number`, `bars`, `third_party`, `cap`, `pause` or `gap`.
    rule: String,
    /// `passed`, `refused`, `lifted` (it would refuse, and an agreement stands against it) or `not_asked`.
    outcome: String,
    /// What it saw.
    text: String,
    /// The same in Chinese.
    text_zh: String,
    /// Where the rule comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    clause: String,
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
    /// The same in words, rule by rule; empty if the receipt does not prove what it says.
    explained: Vec<RuleBody>,
    /// Why it does not prove what it says; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    unproven: Option<String>,
}

/// One receipt.
#[utoipa::path(
    operation_id = "read_receipt",
    get, path = "/api/v1/receipts/{receipt}", tag = "receipts", security(("token" = [])),
    params(("receipt" = String, Path, description = "The receipt's id")),
    responses(
        (status = 200, description = "The receipt", body = ReceiptBody),
        NoToken, NoRight,
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
    let unproven = rulebook::replay::prove(&receipt).err();
    let explained = match &unproven {
        None => policy::explain(&receipt.body).map_err(anyhow::Error::new)?,
        Some(_) => Vec::new(),
    };
    let explained = explained.into_iter().map(|line| RuleBody {
        rule: line.rule.to_owned(),
        outcome: line.outcome.as_str().to_owned(),
        text: line.english,
        text_zh: line.chinese,
        clause: line.clause,
    });
    let explained = explained.collect();
    Ok(Json(ReceiptBody {
        explained,
        unproven,
        receipt: id.to_string(),
        at_ms: receipt.at_ms,
        allowed: receipt.allowed,
        case_id: receipt.case.get(),
        contact_point_id: receipt.contact_point.get(),
        rules_sha256: receipt.rules_sha256,
        decision: serde_json::from_str(&receipt.body).map_err(anyhow::Error::new)?,
    }))
}
