//! Cases that are kept elsewhere: pushed to us one by one, as an import of one row, and silenced there and then.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoCase, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    case_store::case_of,
    extract::{Body, Path},
    problem::{Problem, ProblemBody},
};
use crate::{
    cases::{
        entry::{Reading, silenced},
        foreign,
        import::{self, ImportError, Job, Mode, Placed},
        money::{Currency, Money},
    },
    ids::{CaseId, ClientId},
    phone::PhoneNumber,
    policy::{CaseState, Zones},
    rulebook::{self, By},
    store::{
        self, Tx,
        access::{self, Access},
        cases::Case,
        imports::Counts,
    },
};

const STATES: &str = "state: one of open, paused, settled, returned, closed";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(push))
        .routes(routes!(set_state))
}

/// A case that is kept elsewhere. What is left out is not known and changes nothing; amounts are exact text, `"1234.56"`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PushBody {
    /// Code of the client.
    client: String,
    /// The client's name of the lot.
    batch: String,
    /// Day on which the client placed the lot; the day of its first case if left out. Of a lot that is known it must be the
    /// same.
    #[schema(value_type = Option<String>, format = Date)]
    placed_on: Option<jiff::civil::Date>,
    /// `open`, `paused`, `settled`, `returned` or `closed`: a new case enters in it, a known one takes it over. Left out, a new
    /// case is open and a known one stays as it is.
    state: Option<String>,
    /// The client's own number of the case.
    reference: String,
    /// The client's own key of the debtor.
    #[serde(default)]
    debtor: String,
    /// Name of the debtor.
    #[serde(default)]
    name: String,
    /// Identity number of the debtor.
    #[serde(default)]
    identity: String,
    /// Card or account number.
    #[serde(default)]
    card: String,
    /// ISO 4217; `CNY` if left out.
    #[serde(default)]
    currency: String,
    /// Amount notified at placement.
    #[serde(default)]
    placed: String,
    /// Amount owed now; `"0"` settles the case.
    #[serde(default)]
    balance: String,
    /// Day for which `balance` is told: what was paid later is taken off it. Today if left out; of a new case, the day on which
    /// its lot was placed.
    #[schema(value_type = Option<String>, format = Date)]
    balance_on: Option<jiff::civil::Date>,
    /// Of it: principal.
    #[serde(default)]
    principal: String,
    /// Of it: interest.
    #[serde(default)]
    interest: String,
    /// Of it: fees.
    #[serde(default)]
    fees: String,
    /// Days overdue at placement.
    overdue_days: Option<i64>,
    /// Where the debtor lives.
    #[serde(default)]
    region: String,
    /// Whom to reach.
    #[serde(default)]
    contacts: Vec<PushContact>,
}

/// A person with one number.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PushContact {
    /// Name.
    name: String,
    /// `debtor`, `joint_debtor`, `guarantor`, `relative`, `colleague`, `friend`, `other`.
    relation: String,
    /// Telephone number.
    number: String,
    /// IANA time zone of where the person lives, such as `America/New_York`: it decides whose hour counts. Left out, what is
    /// on record stays.
    zone: Option<String>,
}

/// What a push did.
#[derive(Debug, Serialize, ToSchema)]
struct PushedBody {
    /// Id of the case.
    case_id: i64,
    /// Whether the case is new.
    new: bool,
    /// Rows by what became of them: one for each contact, one at least.
    rows: Counts,
}

/// Enters a case that is kept elsewhere, or takes over what has changed of it.
#[utoipa::path(
    operation_id = "push_case",
    post, path = "/api/v1/cases", tag = "cases", security(("token" = [])), request_body = PushBody,
    responses(
        (status = 200, description = "It is as was sent", body = PushedBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such client", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson,
        (status = 422, description = "It contradicts itself or what is known; every fault is named", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 503, description = "An import is at work; try again", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
async fn push(
    caller: Caller,
    State(app): State<App>,
    body: Body<PushBody>,
) -> Result<Json<PushedBody>, Problem> {
    caller.must(Right::EnterCases)?;
    let case = body.value;
    let mut tx = app.db.read().await?;
    let client = store::clients::by_code(&mut tx, &case.client)
        .await?
        .filter(|client| caller.sees(client.id))
        .ok_or_else(|| Problem::absent("client"))?;
    tx.rollback().await?;
    for (name, text) in [("batch", &case.batch), ("reference", &case.reference)] {
        if text.trim().is_empty()
            || text.chars().count() > 200
            || text.chars().any(char::is_control)
        {
            return Err(Problem::Invalid(format!("{name}: 1 to 200 characters")));
        }
    }
    let reference = case.reference.trim().to_owned();
    if let Some(word) = &case.state {
        let state = CaseState::parse(word).ok_or_else(|| Problem::Invalid(STATES.into()))?;
        let owed = [&case.balance, &case.placed].map(|text| Money::parse(text, Currency::CNY).ok());
        let owed = owed.into_iter().flatten().next().map(|owed| owed.e4);
        // What is known is silenced before anything else, and while somebody imports.
        silence(&app, &caller, client.id, &reference, silenced(state, owed)).await?;
    }
    let zones = zones(&app, &case.contacts)?;
    let job = Job {
        reading: Reading {
            client: client.id,
            region: app.region,
            short: app.short_codes.as_ref().clone(),
            key: Some(Arc::clone(&app.fields)),
        },
        client: client.clone(),
        batch: Some(case.batch.trim().to_owned()),
        placed: Placed::told_or_today(
            case.placed_on,
            app.clock.wall_ms(),
            app.switchboard.display_zone(),
        ),
        balance_on: None,
        today: import::today(app.clock.wall_ms(), app.switchboard.display_zone()),
        template: foreign::template().map_err(anyhow::Error::new)?,
        template_id: None,
        rows: foreign::rows(rows(case)),
        again: None,
        file_name: "POST /api/v1/cases".to_owned(),
        file_sha256: String::new(),
        mode: Mode::AllOrNothing,
        preview: false,
        rejects: None,
        actor: caller.name.clone(),
    };
    // In a task of its own: a client that goes away must not leave half of it to be swept.
    let (db, clock) = (app.db.clone(), app.clock.clone());
    let done = tokio::spawn(async move { import::run(&db, &clock, job, &mut |_| {}).await });
    let report = match done.await.map_err(anyhow::Error::new)? {
        Ok(report) => report,
        Err(ImportError::Faults(report)) => {
            let said: Vec<String> = report
                .faults
                .iter()
                .map(|fault| match (&fault.column, fault.line) {
                    (Some(column), 0..=2) => format!("{column}: {}", fault.problem),
                    (Some(column), line) => {
                        format!("contact {}, {column}: {}", line - 1, fault.problem)
                    }
                    (None, _) => fault.problem.clone(),
                })
                .collect();
            return Err(Problem::Unprocessable(said.join("; ")));
        }
        Err(ImportError::Busy) => {
            return Err(Problem::Unavailable(ImportError::Busy.to_string()));
        }
        Err(error @ (ImportError::Placed(_) | ImportError::PlacedToCome(_))) => {
            return Err(Problem::Unprocessable(error.to_string()));
        }
        Err(ImportError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(anyhow::Error::new(error).into()),
    };
    let mut tx = app.db.read().await?;
    let case = store::cases::by_reference(&mut tx, client.id, &reference)
        .await?
        .ok_or_else(|| Problem::absent("case"))?;
    tx.rollback().await?;
    put_on_record(&app, &caller, case.id, &zones).await?;
    Ok(Json(PushedBody {
        case_id: case.id.get(),
        new: report.new_cases > 0,
        rows: report.counts,
    }))
}

/// Whose zone a push says: the person by name, relation and number.
struct ZoneOf {
    name: String,
    relation: String,
    number: PhoneNumber,
    zone: String,
}

/// The zones that a push says, checked before anything is done. A number that is none is left to the import, which says so.
fn zones(app: &App, contacts: &[PushContact]) -> Result<Vec<ZoneOf>, Problem> {
    let mut zones = Vec::new();
    for (contact, at) in contacts.iter().zip(1..) {
        let Some(zone) = &contact.zone else { continue };
        let zone = Zones::on_record(zone)
            .map_err(|problem| Problem::Unprocessable(format!("contact {at}, {problem}")))?;
        if let Ok(number) = app.numbering().number(&contact.number) {
            zones.push(ZoneOf {
                name: contact.name.trim().to_owned(),
                relation: contact.relation.trim().to_owned(),
                number,
                zone,
            });
        }
    }
    Ok(zones)
}

/// Puts the zones of a push on record, as far as they are not.
async fn put_on_record(
    app: &App,
    caller: &Caller,
    case: CaseId,
    zones: &[ZoneOf],
) -> Result<(), Problem> {
    if zones.is_empty() {
        return Ok(());
    }
    let by = By {
        actor: &caller.name,
        now_ms: app.clock.wall_ms(),
    };
    let mut tx = app.db.begin().await?;
    for (target, name) in store::contact_points::people_of_case(&mut tx, case).await? {
        let said = zones.iter().find(|said| {
            said.number == target.number
                && said.name == name
                && said.relation == target.relation.as_str()
        });
        if let Some(said) = said.filter(|said| target.zone.as_ref() != Some(&said.zone)) {
            let why = "by the foreign case store";
            rulebook::zones::note(&mut tx, &target, Some(&said.zone), why, by).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Takes over the state of a case if it is known.
async fn silence(
    app: &App,
    caller: &Caller,
    client: ClientId,
    reference: &str,
    state: CaseState,
) -> Result<(), Problem> {
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    let Some(known) = store::cases::by_reference(&mut tx, client, reference).await? else {
        return Ok(tx.rollback().await?);
    };
    let reason = "by the foreign case store";
    if store::cases::take_over_state(&mut tx, &known, state, reason, &caller.name, now_ms).await? {
        log_state(&mut tx, caller, &known, state, now_ms).await?;
    }
    Ok(tx.commit().await?)
}

async fn log_state(
    tx: &mut Tx,
    caller: &Caller,
    case: &Case,
    state: CaseState,
    now_ms: i64,
) -> store::Result<()> {
    let access = Access {
        at_ms: now_ms,
        actor: &caller.name,
        action: "case.state",
        object: &case.id.to_string(),
        client_id: Some(case.client_id),
        detail: serde_json::json!({ "state": state.as_str() }),
    };
    access::log(tx, &access).await
}

/// The rows of a pushed case, under the heads of a foreign one.
fn rows(case: PushBody) -> Vec<Vec<String>> {
    let head = [
        case.reference,
        case.debtor,
        case.name,
        case.identity,
        case.card,
        case.currency,
        case.placed,
        case.balance,
        case.balance_on
            .map(|day| day.to_string())
            .unwrap_or_default(),
        case.principal,
        case.interest,
        case.fees,
        case.overdue_days
            .map(|days| days.to_string())
            .unwrap_or_default(),
        case.region,
        case.state.unwrap_or_default(),
    ];
    let mut people: Vec<[String; 3]> = case
        .contacts
        .into_iter()
        .map(|contact| [contact.name, contact.relation, contact.number])
        .collect();
    if people.is_empty() {
        people.push(Default::default());
    }
    people
        .into_iter()
        .map(|person| head.iter().cloned().chain(person).collect())
        .collect()
}

/// A state.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CaseStateBody {
    /// `open`, `paused`, `settled`, `returned` or `closed`.
    state: String,
    /// Why; stands in the case's history.
    reason: String,
}

/// Changes the state of a case: from then on it is not dialled unless it is open, also if an agent's phone rings already.
#[utoipa::path(
    operation_id = "set_case_state",
    put, path = "/api/v1/cases/{case}/state", tag = "cases", security(("token" = [])), request_body = CaseStateBody,
    params(("case" = String, Path, description = "The case's id")),
    responses(
        (status = 204, description = "It is in this state"),
        Malformed, NoToken, NoRight, NoCase, TooLarge, NotJson,
    )
)]
async fn set_state(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    body: Body<CaseStateBody>,
) -> Result<axum::http::StatusCode, Problem> {
    caller
        .must(Right::EnterCases)
        .or_else(|_| caller.must(Right::DealCases))?;
    let state =
        CaseState::parse(&body.value.state).ok_or_else(|| Problem::Invalid(STATES.into()))?;
    let reason = body.value.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > 500 {
        return Err(Problem::Invalid(
            "reason: write why, in 500 characters at most".into(),
        ));
    }
    let case = case_of(&app, &caller, &id).await?;
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    store::cases::take_over_state(&mut tx, &case, state, &reason, &caller.name, now_ms).await?;
    log_state(&mut tx, &caller, &case, state, now_ms).await?;
    tx.commit().await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}
