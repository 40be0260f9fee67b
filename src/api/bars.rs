//! `/api/v1/bars`: who must not be called. A bar stops a call whose agent's phone still rings.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Away, Malformed, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    ids::{BarId, CaseId},
    policy::{BarKind, BarScope},
    rulebook::{
        self, By,
        bars::{Order, What},
        find::CaseName,
    },
    store::{
        self, Tx,
        bars::{Bar, Subject, Wanted},
        users::Scope,
    },
};

/// Bars of one answer at most.
const PAGE: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(lift))
}

/// A bar.
#[derive(Debug, Serialize, ToSchema)]
struct BarBody {
    /// Id.
    bar_id: i64,
    /// `number`, `person`, `case`, `client` or `everything`.
    scope: String,
    /// Our id of it; 0 for everything.
    subject_id: i64,
    /// Code of the client for whose cases alone it holds; absent: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_client: Option<String>,
    /// `do_not_call`, `complaint`, `deceased` or `suspected_fraud`.
    kind: String,
    /// Why, in words.
    reason: String,
    /// Since when, milliseconds UTC.
    from_ms: i64,
    /// Until when; absent: until lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
    /// Who entered it.
    actor: String,
    /// Whether it bars now.
    active: bool,
    /// When it was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_at_ms: Option<i64>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_by: Option<String>,
}

/// A bar to be entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBar {
    /// `number` (with `number`), `person` or `case` (with `case_id`), `client` (with `client`), or `everything`.
    scope: String,
    /// The number, in E.164 or as dialled at home.
    number: Option<String>,
    /// The case, or a case of the person.
    case_id: Option<i64>,
    /// Code of the client.
    client: Option<String>,
    /// Code of the client for whose cases alone it shall hold.
    only_client: Option<String>,
    /// `do_not_call`, `complaint`, `deceased` or `suspected_fraud`.
    kind: String,
    /// Why, in words; no number and no name.
    reason: String,
    /// When it ends by itself, milliseconds UTC.
    until_ms: Option<i64>,
}

/// Why a bar is lifted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Lifting {
    /// In words; no number and no name.
    reason: String,
}

/// Which bars.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Only those on this case itself.
    case_id: Option<i64>,
    /// Also those that were lifted or ran out.
    all: Option<bool>,
    /// Only those entered before this one, for the next page.
    before: Option<i64>,
}

/// The bars that concern one's clients, newest first, 200 at most.
#[utoipa::path(
    operation_id = "list_bars",
    get, path = "/api/v1/bars", tag = "rules", params(Listing), security(("token" = [])),
    responses(
        (status = 200, description = "The bars", body = Vec<BarBody>),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(listing): Query<Listing>,
) -> Result<Json<Vec<BarBody>>, Problem> {
    caller.must(Right::Rules)?;
    let now_ms = app.clock.wall_ms();
    let wanted = Wanted {
        subject: listing.case_id.map(|id| Subject::Case(CaseId::new(id))),
        active_at_ms: (listing.all != Some(true)).then_some(now_ms),
        before: listing.before.map(BarId::new),
    };
    let mut tx = app.db.read().await?;
    let found = store::bars::list(&mut tx, wanted, Some(&caller), PAGE).await?;
    let mut bodies = Vec::with_capacity(found.len());
    for bar in found {
        bodies.push(body(&mut tx, bar, now_ms).await?);
    }
    Ok(Json(bodies))
}

async fn body(tx: &mut Tx, bar: Bar, now_ms: i64) -> Result<BarBody, Problem> {
    let only_client = match bar.client {
        Some(id) => store::clients::by_id(tx, id)
            .await?
            .map(|client| client.code),
        None => None,
    };
    Ok(BarBody {
        bar_id: bar.id.get(),
        scope: bar.subject.scope().as_str().to_owned(),
        subject_id: bar.subject.id(),
        only_client,
        kind: bar.kind.as_str().to_owned(),
        active: bar.is_active(now_ms),
        reason: bar.reason,
        from_ms: bar.from_ms,
        until_ms: bar.until_ms,
        actor: bar.actor,
        lifted_at_ms: bar.lifted_at_ms,
        lifted_by: bar.lifted_by,
    })
}

/// Bars a number, a person, a case, a client, or everything.
///
/// The same bar again changes nothing and is answered with 200.
#[utoipa::path(
    operation_id = "add_bar",
    post, path = "/api/v1/bars", tag = "rules", request_body = NewBar, security(("token" = [])),
    responses(
        (status = 200, description = "It stood already", body = BarBody),
        (status = 201, description = "Barred", body = BarBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such case, client or number", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn create(
    caller: Caller,
    State(app): State<App>,
    Body { value: new, .. }: Body<NewBar>,
) -> Result<(StatusCode, Json<BarBody>), Problem> {
    caller.must(Right::Bar)?;
    let kind = BarKind::parse(&new.kind).ok_or_else(|| {
        let known: Vec<_> = BarKind::ALL.iter().map(|kind| kind.as_str()).collect();
        Problem::Invalid(format!("kind: must be one of: {}", known.join(", ")))
    })?;
    let order = Order {
        what: what(&app, &caller, &new).await?,
        only_client: new.only_client.clone(),
        kind,
        reason: new.reason.clone(),
        until_ms: new.until_ms,
    };
    let now_ms = app.clock.wall_ms();
    let by = By {
        actor: &caller.name,
        now_ms,
    };
    let (id, is_new) = rulebook::bars::add(&app.db, &order, Some(&caller), by).await?;
    let mut tx = app.db.read().await?;
    let bar = store::bars::by_id(&mut tx, id)
        .await?
        .ok_or_else(|| Problem::absent("bar"))?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(body(&mut tx, bar, now_ms).await?)))
}

async fn what(app: &App, caller: &Caller, new: &NewBar) -> Result<What, Problem> {
    let scope = BarScope::parse(&new.scope).ok_or_else(|| {
        let known: Vec<_> = BarScope::ALL.iter().map(|scope| scope.as_str()).collect();
        Problem::Invalid(format!("scope: must be one of: {}", known.join(", ")))
    })?;
    let given = (new.number.as_deref(), new.case_id, new.client.as_deref());
    Ok(match (scope, given) {
        (BarScope::Number, (Some(text), None, None)) => What::Number(app.numbering().number(text)?),
        (BarScope::Person, (None, Some(case), None)) => {
            What::PersonOf(case_name(app, caller, case).await?)
        }
        (BarScope::Case, (None, Some(case), None)) => {
            What::Case(case_name(app, caller, case).await?)
        }
        (BarScope::Client, (None, None, Some(code))) => What::Client(code.to_owned()),
        (BarScope::Everything, (None, None, None)) if caller.scope == Scope::All => {
            What::Everything
        }
        (BarScope::Everything, (None, None, None)) => {
            return Err(Problem::Forbidden(
                "stopping every call needs an account that sees all clients".into(),
            ));
        }
        _ => {
            return Err(Problem::Invalid(
                "with scope number give number, with person or case give case_id, with client give client, and nothing \
                 else"
                    .into(),
            ));
        }
    })
}

/// The name of a case that the caller may see.
pub(super) async fn case_name(app: &App, caller: &Caller, id: i64) -> Result<CaseName, Problem> {
    let absent = || Problem::absent("case");
    let mut tx = app.db.read().await?;
    let case = store::cases::by_id(&mut tx, CaseId::new(id))
        .await?
        .filter(|case| caller.sees(case.client_id))
        .ok_or_else(absent)?;
    let client = store::clients::by_id(&mut tx, case.client_id)
        .await?
        .ok_or_else(absent)?;
    Ok(CaseName {
        client: client.code,
        reference: case.reference,
    })
}

/// Lifts a bar; it stays readable.
#[utoipa::path(
    operation_id = "lift_bar",
    post, path = "/api/v1/bars/{bar}/lift", tag = "rules", request_body = Lifting, security(("token" = [])),
    params(("bar" = String, Path, description = "The bar's id")),
    responses(
        (status = 200, description = "Lifted", body = BarBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such bar", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was lifted before", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn lift(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    Body { value: lifting, .. }: Body<Lifting>,
) -> Result<Json<BarBody>, Problem> {
    caller.must(Right::Lift)?;
    let absent = || Problem::absent("bar");
    let id: BarId = id.parse().map_err(|_| absent())?;
    let now_ms = app.clock.wall_ms();
    let by = By {
        actor: &caller.name,
        now_ms,
    };
    if !rulebook::bars::lift(&app.db, id, Some(&caller), &lifting.reason, by).await? {
        return Err(Problem::Conflict(
            "this bar was lifted before; nothing is left to do".into(),
        ));
    }
    let mut tx = app.db.read().await?;
    let bar = store::bars::by_id(&mut tx, id).await?.ok_or_else(absent)?;
    Ok(Json(body(&mut tx, bar, now_ms).await?))
}
