//! `/api/v1/cases` beyond dialling: exact search, what is on file, revealing a secret, marks. Cases that are kept
//! elsewhere come in by `case_push.rs`.
//!
//! Searched numbers come in a body and stand in no address. Identity and card numbers are masked; revealing one is a right
//! of its own and is logged before it is answered.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoCase, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::{Body, Path},
    problem::Problem,
};
use crate::{
    cases::{
        identity::{Card, Identity, masked},
        marks,
        money::{Currency, Money},
    },
    ids::CaseId,
    phone::PhoneNumber,
    store::{
        self,
        access::{self, Access},
        cases::{Case, FindBy},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search))
        .routes(routes!(detail))
        .routes(routes!(reveal))
        .routes(routes!(mark))
        .routes(routes!(repayments))
}

/// A case of one of the caller's clients.
pub(super) async fn case_of(app: &App, caller: &Caller, id: &str) -> Result<Case, Problem> {
    let absent = || Problem::absent("case");
    let id: CaseId = id.parse().map_err(|_| absent())?;
    let mut tx = app.db.read().await?;
    let case = store::cases::by_id(&mut tx, id).await?;
    case.filter(|case| caller.sees(case.client_id))
        .ok_or_else(absent)
}

fn worker(caller: &Caller) -> Result<(), Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))
}

/// What is searched for: exactly one of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SearchBody {
    /// An identity number.
    identity: Option<String>,
    /// A card or account number.
    card: Option<String>,
    /// A telephone number.
    number: Option<String>,
}

/// Cases that were found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundBody {
    /// In the order of entry, at most 200.
    cases: Vec<FoundCase>,
}

/// A case that was found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundCase {
    /// Id.
    case_id: i64,
    /// Code of the client.
    client: String,
    /// The client's own number of the case.
    reference: String,
    /// `open`, or why it is not worked.
    state: String,
}

/// Cases by an exact identity, card or telephone number.
#[utoipa::path(
    operation_id = "search_cases",
    post, path = "/api/v1/cases/search", tag = "cases", security(("token" = [])), request_body = SearchBody,
    responses(
        (status = 200, description = "The cases, possibly none", body = FoundBody),
        Malformed, NoToken, NoRight, TooLarge, NotJson,
    )
)]
async fn search(
    caller: Caller,
    State(app): State<App>,
    wanted: Body<SearchBody>,
) -> Result<Json<FoundBody>, Problem> {
    worker(&caller)?;
    let SearchBody {
        identity,
        card,
        number,
    } = wanted.value;
    let invalid = |e: String| Problem::Invalid(e);
    let value = match (&identity, &card, &number) {
        (Some(text), None, None) => {
            let identity = Identity::parse(text).map_err(|e| invalid(format!("identity: {e}")))?;
            app.fields.identity_hash(&identity)
        }
        (None, Some(text), None) => {
            let card = Card::parse(text).map_err(|e| invalid(format!("card: {e}")))?;
            app.fields.card_hash(&card)
        }
        (None, None, Some(text)) => PhoneNumber::parse(text, app.region, &app.short_codes)
            .map_err(|e| invalid(format!("number: {e}")))?
            .dial_string()
            .to_owned(),
        _ => return Err(invalid("name one of identity, card, number".to_owned())),
    };
    let by = match (identity.is_some(), card.is_some()) {
        (true, _) => FindBy::Identity(&value),
        (_, true) => FindBy::Card(&value),
        _ => FindBy::Number(&value),
    };
    let mut tx = app.db.read().await?;
    let mut cases = Vec::new();
    for id in store::cases::find(&mut tx, by).await? {
        let Some(case) = store::cases::by_id(&mut tx, id).await? else {
            continue;
        };
        if !caller.sees(case.client_id) {
            continue;
        }
        let client = store::clients::by_id(&mut tx, case.client_id).await?;
        cases.push(FoundCase {
            case_id: id.get(),
            client: client.map(|client| client.code).unwrap_or_default(),
            reference: case.reference,
            state: case.state.as_str().to_owned(),
        });
    }
    Ok(Json(FoundBody { cases }))
}

/// What is on file of a case beside its numbers.
#[derive(Debug, Serialize, ToSchema)]
struct DetailBody {
    /// Code of the batch.
    batch: String,
    /// The client's own key of the debtor.
    debtor: String,
    /// Name of the debtor.
    name: String,
    /// Identity number, masked.
    identity: Option<String>,
    /// Card or account number, masked.
    card: Option<String>,
    /// ISO 4217.
    currency: String,
    /// Amount notified at placement, exact.
    placed: String,
    /// Amount owed now.
    balance: String,
    /// Day for which the client told it; what was paid later is taken off. Absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance_on: Option<String>,
    /// Of it: principal.
    principal: String,
    /// Of it: interest.
    interest: String,
    /// Of it: fees.
    fees: String,
    /// Sum of the repayments.
    repaid: String,
    /// Days overdue at placement.
    overdue_days: Option<i64>,
    /// `to_90`, `to_180`, `to_360`, `above_360`; empty if not known.
    bucket: String,
    /// Where the debtor lives.
    region: String,
    /// Colour mark, set by people.
    mark: String,
    /// What bars every call of the case now: `deceased`, `suspected_fraud`, `complaint`, `do_not_call`.
    bars: Vec<&'static str>,
    /// Why it is in its state.
    reason: Option<String>,
    /// The client's own fields.
    fields: BTreeMap<String, String>,
}

/// What is on file of a case.
#[utoipa::path(
    operation_id = "read_case_detail",
    get, path = "/api/v1/cases/{case}/detail", tag = "cases", security(("token" = [])),
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 200, description = "What is on file", body = DetailBody),
        NoToken, NoRight, NoCase,
    )
)]
async fn detail(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<DetailBody>, Problem> {
    worker(&caller)?;
    let case = case_of(&app, &caller, &id).await?;
    let mut tx = app.db.read().await?;
    let detail = store::cases::detail(&mut tx, case.id)
        .await?
        .ok_or_else(|| Problem::absent("case"))?;
    let bars = store::bars::kinds_on(&mut tx, case.id, app.clock.wall_ms()).await?;
    let currency = Currency::parse(&detail.currency).unwrap_or(Currency::CNY);
    let money = |e4| Money { e4, currency }.to_string();
    let identity = match &detail.identity {
        Some((hash, boxed)) => {
            let whole = app
                .fields
                .open_identity(hash, boxed)
                .map_err(anyhow::Error::new)?;
            Some(masked(&whole))
        }
        None => None,
    };
    let [placed, balance, principal, interest, fees] = detail.amounts.map(money);
    Ok(Json(DetailBody {
        batch: detail.batch,
        debtor: detail.debtor,
        name: detail.debtor_name,
        identity,
        card: detail.card_last4.as_deref().map(masked),
        currency: detail.currency,
        placed,
        balance,
        balance_on: detail.balance_on,
        principal,
        interest,
        fees,
        repaid: money(detail.repaid_e4),
        overdue_days: detail.overdue_days,
        bucket: detail.bucket,
        region: detail.region,
        mark: detail.mark,
        bars: bars.iter().map(|kind| kind.as_str()).collect(),
        reason: detail.reason,
        fields: serde_json::from_str(&detail.fields).map_err(anyhow::Error::new)?,
    }))
}

/// Why a number is wanted whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RevealBody {
    /// Stands in the access log.
    reason: String,
}

/// The numbers of a case, whole.
#[derive(Debug, Serialize, ToSchema)]
struct RevealedBody {
    /// Identity number of the debtor.
    identity: Option<String>,
    /// Card or account number.
    card: Option<String>,
}

/// Identity and card number of a case, whole. Logged before it is answered.
#[utoipa::path(
    operation_id = "reveal_case",
    post, path = "/api/v1/cases/{case}/reveal", tag = "cases", security(("token" = [])), request_body = RevealBody,
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 200, description = "The numbers", body = RevealedBody),
        Malformed, NoToken, NoRight, NoCase, TooLarge, NotJson,
    )
)]
async fn reveal(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    body: Body<RevealBody>,
) -> Result<Json<RevealedBody>, Problem> {
    caller.must(Right::Reveal)?;
    let reason = body.value.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > 500 {
        return Err(Problem::Invalid(
            "reason: write why, in 500 characters at most".into(),
        ));
    }
    let case = case_of(&app, &caller, &id).await?;
    let mut tx = app.db.begin().await?;
    let access = Access {
        at_ms: app.clock.wall_ms(),
        actor: &caller.name,
        action: "case.reveal",
        object: &case.id.to_string(),
        client_id: Some(case.client_id),
        detail: serde_json::json!({ "reason": reason }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let mut tx = app.db.read().await?;
    let detail = store::cases::detail(&mut tx, case.id)
        .await?
        .ok_or_else(|| Problem::absent("case"))?;
    let key = &app.fields;
    let identity = detail
        .identity
        .map(|(hash, boxed)| key.open_identity(&hash, &boxed))
        .transpose()
        .map_err(anyhow::Error::new)?;
    let card = detail
        .card_box
        .map(|boxed| key.open_card(case.client_id, &case.reference, &boxed))
        .transpose()
        .map_err(anyhow::Error::new)?;
    Ok(Json(RevealedBody { identity, card }))
}

/// A colour.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MarkBody {
    /// `red`, `orange`, `yellow`, `green`, `blue`, `purple`; empty takes the mark off.
    mark: String,
}

/// Puts a colour mark on a case, or takes it off.
#[utoipa::path(
    operation_id = "mark_case",
    put, path = "/api/v1/cases/{case}/mark", tag = "cases", security(("token" = [])), request_body = MarkBody,
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 204, description = "Marked"),
        Malformed, NoToken, NoRight, NoCase, TooLarge, NotJson,
    )
)]
async fn mark(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    body: Body<MarkBody>,
) -> Result<axum::http::StatusCode, Problem> {
    worker(&caller)?;
    let mark =
        marks::stored(&body.value.mark).map_err(|error| Problem::Invalid(error.to_string()))?;
    let case = case_of(&app, &caller, &id).await?;
    let mut tx = app.db.begin().await?;
    store::cases::change_mark(&mut tx, case.id, mark, &caller.name, app.clock.wall_ms()).await?;
    tx.commit().await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Repayments of a case.
#[derive(Debug, Serialize, ToSchema)]
struct RepaymentsBody {
    /// In the order of entry.
    repayments: Vec<RepaymentBody>,
}

/// A repayment.
#[derive(Debug, Serialize, ToSchema)]
struct RepaymentBody {
    /// The client's number of it.
    reference: String,
    /// How much, exact; negative for one taken back.
    amount: String,
    /// ISO 4217.
    currency: String,
    /// On which day.
    paid_on: String,
    /// Whether the case was settled with it.
    settles: bool,
}

/// The repayments of a case.
#[utoipa::path(
    operation_id = "list_case_repayments",
    get, path = "/api/v1/cases/{case}/repayments", tag = "cases", security(("token" = [])),
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 200, description = "Its repayments", body = RepaymentsBody),
        NoToken, NoRight, NoCase,
    )
)]
async fn repayments(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<RepaymentsBody>, Problem> {
    worker(&caller)?;
    let case = case_of(&app, &caller, &id).await?;
    let mut tx = app.db.read().await?;
    let lines = store::repayments::of_case(&mut tx, case.id).await?;
    let repayments = lines
        .into_iter()
        .map(|line| {
            let currency = Currency::parse(&line.currency).unwrap_or(Currency::CNY);
            let amount = Money {
                e4: line.amount_e4,
                currency,
            };
            RepaymentBody {
                reference: line.reference,
                amount: amount.to_string(),
                currency: line.currency,
                paid_on: line.paid_on,
                settles: line.settles,
            }
        })
        .collect();
    Ok(Json(RepaymentsBody { repayments }))
}
