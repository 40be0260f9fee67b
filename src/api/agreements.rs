//! `/api/v1/agreements`: who agreed to be called at which other hours, with the proof, and what it allowed.

use axum::{
    Json,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Away, Malformed, NoRight, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    bars::case_name,
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    ids::{AgreementId, CaseId, ClientId, RecordingId},
    policy::Week,
    rulebook::{
        self, By,
        agreements::{Act, Evidence, Letter, MAX_LETTER, Proposal},
    },
    store::{
        self,
        access::{self, Access},
        agreements::{Agreement, AgreementState, Proof, Wanted},
    },
};

/// Agreements of one answer at most.
const PAGE: u32 = 200;
/// A letter in base64 with what stands around it.
pub(super) const MAX_BODY: usize = MAX_LETTER / 3 * 4 + 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, propose))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .routes(routes!(read))
        .routes(routes!(letter))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(revoke))
}

/// An agreement.
#[derive(Debug, Serialize, ToSchema)]
struct AgreementBody {
    /// Id.
    agreement_id: i64,
    /// Case.
    case_id: i64,
    /// Our id of the person who agreed.
    contact_id: i64,
    /// Our ids of the numbers it is for.
    numbers: Vec<i64>,
    /// The hours of each weekday, local to the person, as in a rule file: `{"mon": ["20:00-22:00"], …}`.
    #[schema(value_type = Object)]
    hours: Week,
    /// Since when, milliseconds UTC.
    from_ms: i64,
    /// Until when; it expires by itself.
    until_ms: i64,
    /// So many calls at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_most: Option<u32>,
    /// So many calls it has allowed.
    uses: u32,
    /// `waiting`, `active`, `refused`, `revoked`; or by its own terms `not_yet`, `expired`, `used_up`.
    state: String,
    /// The recording in which it was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    /// Where in it, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset_ms: Option<i64>,
    /// SHA-256 of the letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter_sha256: Option<String>,
    /// Name of the letter's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter_name: Option<String>,
    /// Who entered it.
    proposed_by: String,
    /// When.
    proposed_at_ms: i64,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    /// Who refused or revoked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_reason: Option<String>,
    /// Receipts of the decisions that it allowed; only where one agreement is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Vec<String>>,
}

/// An agreement to be entered. Its proof is a recording and an offset, or a letter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgreement {
    /// The case.
    case_id: i64,
    /// The numbers of the case that it is for, all of one person, in E.164 or as dialled at home.
    numbers: Vec<String>,
    /// The person, where several of the case share a number.
    contact_id: Option<i64>,
    /// The hours of each weekday, local to the person: all seven of `mon` to `sun`, each a list such as
    /// `["20:00-22:00"]`.
    #[schema(value_type = Object)]
    hours: Week,
    /// Since when, milliseconds UTC; now if left out.
    from_ms: Option<i64>,
    /// Until when, milliseconds UTC.
    until_ms: i64,
    /// So many calls at most.
    uses_most: Option<u32>,
    /// The recording in which it was said.
    recording: Option<String>,
    /// Where in it, milliseconds from its beginning.
    offset_ms: Option<i64>,
    /// The letter: PDF, JPEG or PNG, 5 MiB at most.
    letter: Option<LetterBody>,
}

/// A letter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LetterBody {
    /// Name of the file.
    name: String,
    /// The file in base64.
    base64: String,
}

/// Why something ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ending {
    /// In words; no number and no name.
    reason: String,
}

/// Which agreements.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Only those of this case.
    case_id: Option<i64>,
    /// Only those in this state: `waiting`, `active`, `refused`, `revoked`.
    state: Option<String>,
    /// Only those entered before this one, for the next page.
    before: Option<i64>,
}

fn body(agreement: Agreement, now_ms: i64, two_persons: bool) -> AgreementBody {
    let state = agreement.standing(now_ms, two_persons).to_owned();
    let (recording, offset_ms, letter_sha256, letter_name) = match agreement.proof {
        Proof::Recording { id, offset_ms } => (Some(id.to_string()), Some(offset_ms), None, None),
        Proof::Letter { sha256, name } => (None, None, Some(sha256), Some(name)),
    };
    AgreementBody {
        agreement_id: agreement.id.get(),
        case_id: agreement.case.get(),
        contact_id: agreement.contact,
        numbers: agreement.numbers,
        hours: agreement.hours,
        from_ms: agreement.from_ms,
        until_ms: agreement.until_ms,
        uses_most: agreement.uses_most,
        uses: agreement.uses,
        state,
        recording,
        offset_ms,
        letter_sha256,
        letter_name,
        proposed_by: agreement.proposed_by,
        proposed_at_ms: agreement.proposed_at_ms,
        approved_by: agreement.approved_by,
        ended_by: agreement.ended_by,
        ended_reason: agreement.ended_reason,
        receipts: None,
    }
}

/// The agreements of one's clients, newest first, 200 at most; used and expired ones too.
#[utoipa::path(
    operation_id = "list_agreements",
    get, path = "/api/v1/agreements", tag = "rules", params(Listing), security(("token" = [])),
    responses(
        (status = 200, description = "The agreements", body = Vec<AgreementBody>),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(listing): Query<Listing>,
) -> Result<Json<Vec<AgreementBody>>, Problem> {
    caller
        .must(Right::Agree)
        .or_else(|_| caller.must(Right::Rules))?;
    let state = listing
        .state
        .map(|word| word.parse::<AgreementState>())
        .transpose()
        .map_err(|e| Problem::Invalid(format!("state: {e}")))?;
    let wanted = Wanted {
        case: listing.case_id.map(CaseId::new),
        state,
        before: listing.before.map(AgreementId::new),
    };
    let mut tx = app.db.read().await?;
    let two_persons: Vec<ClientId> = store::clients::list(&mut tx)
        .await?
        .into_iter()
        .filter(|client| app.rules.two_persons(&client.code))
        .map(|client| client.id)
        .collect();
    let found = store::agreements::list(&mut tx, wanted, &two_persons, Some(&caller), PAGE).await?;
    let now_ms = app.clock.wall_ms();
    let bodies = found.into_iter().map(|agreement| {
        let two_persons = two_persons.contains(&agreement.client);
        body(agreement, now_ms, two_persons)
    });
    Ok(Json(bodies.collect()))
}

/// One agreement with everything it allowed.
#[utoipa::path(
    operation_id = "read_agreement",
    get, path = "/api/v1/agreements/{agreement}", tag = "rules", security(("token" = [])),
    params(("agreement" = String, Path, description = "The agreement's id")),
    responses(
        (status = 200, description = "The agreement", body = AgreementBody),
        NoToken, NoRight,
        (status = 404, description = "No such agreement", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<AgreementBody>, Problem> {
    caller
        .must(Right::Agree)
        .or_else(|_| caller.must(Right::Rules))?;
    show(&caller, &app, parse(&id)?).await.map(Json)
}

fn parse(id: &str) -> Result<AgreementId, Problem> {
    id.parse().map_err(|_| Problem::absent("agreement"))
}

async fn show(caller: &Caller, app: &App, id: AgreementId) -> Result<AgreementBody, Problem> {
    let mut tx = app.db.read().await?;
    let agreement = rulebook::agreements::visible(&mut tx, id, Some(caller)).await?;
    let receipts = store::agreements::uses(&mut tx, id).await?;
    let client = store::clients::by_id(&mut tx, agreement.client).await?;
    let two_persons = client.is_some_and(|client| app.rules.two_persons(&client.code));
    Ok(AgreementBody {
        receipts: Some(receipts.iter().map(ToString::to_string).collect()),
        ..body(agreement, app.clock.wall_ms(), two_persons)
    })
}

/// The letter that proves an agreement. The access is logged before the first byte.
#[utoipa::path(
    operation_id = "read_letter",
    get, path = "/api/v1/agreements/{agreement}/letter", tag = "rules", security(("token" = [])),
    params(("agreement" = String, Path, description = "The agreement's id")),
    responses(
        (status = 200, description = "The file: PDF, JPEG or PNG", content_type = "application/octet-stream"),
        NoToken, NoRight,
        (status = 404, description = "No such agreement, or a recording proves it", body = ProblemBody, content_type = "application/problem+json"),
        Away,
    )
)]
async fn letter(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Response, Problem> {
    caller.must(Right::Rules)?;
    let id = parse(&id)?;
    let mut tx = app.db.begin().await?;
    let agreement = rulebook::agreements::visible(&mut tx, id, Some(&caller)).await?;
    let sealed = store::agreements::letter_box(&mut tx, id)
        .await?
        .ok_or_else(|| {
            Problem::NotFound(
                "a recording proves this agreement, not a letter; the agreement names it".into(),
            )
        })?;
    let access = Access {
        at_ms: app.clock.wall_ms(),
        actor: &caller.name,
        action: "agreement.letter",
        object: &id.to_string(),
        client_id: Some(agreement.client),
        detail: serde_json::json!({}),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let Proof::Letter { sha256, .. } = &agreement.proof else {
        return Err(Problem::Internal(anyhow::anyhow!(
            "a letter without its hash"
        )));
    };
    let bytes = app
        .fields
        .open_letter(sha256, &sealed)
        .map_err(anyhow::Error::new)?;
    let ending = match rulebook::agreements::media_type(&bytes) {
        Some("image/jpeg") => "jpg",
        Some("image/png") => "png",
        _ => "pdf",
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"agreement-{id}.{ending}\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// Enters an agreement. It counts at once, unless the client's rules ask for a second person's approval.
#[utoipa::path(
    operation_id = "propose_agreement",
    post, path = "/api/v1/agreements", tag = "rules", request_body = NewAgreement, security(("token" = [])),
    responses(
        (status = 201, description = "Entered", body = AgreementBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such case, number or recording", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The recording is not sealed yet", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn propose(
    caller: Caller,
    State(app): State<App>,
    Body { value: new, .. }: Body<NewAgreement>,
) -> Result<(StatusCode, HeaderMap, Json<AgreementBody>), Problem> {
    caller.must(Right::Agree)?;
    let evidence = match (&new.recording, new.offset_ms, new.letter) {
        (Some(id), Some(offset_ms), None) => {
            let id: RecordingId = id
                .parse()
                .map_err(|_| Problem::Invalid("recording: not a recording's id".into()))?;
            Evidence::Recording { id, offset_ms }
        }
        (None, None, Some(letter)) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(letter.base64.as_bytes())
                .map_err(|_| Problem::Invalid("letter.base64: not base64".into()))?;
            Evidence::Letter(Letter::new(&letter.name, bytes)?)
        }
        _ => {
            return Err(Problem::Invalid(
                "say what proves it: either recording and offset_ms, or letter".into(),
            ));
        }
    };
    let numbering = app.numbering();
    let case = case_name(&app, &caller, new.case_id).await?;
    let proposal = Proposal {
        numbers: new
            .numbers
            .iter()
            .map(|text| numbering.number(text))
            .collect::<Result<_, _>>()?,
        contact: new.contact_id,
        hours: new.hours,
        from_ms: new.from_ms,
        until_ms: new.until_ms,
        uses_most: new.uses_most,
        evidence,
        case,
    };
    let two_persons = app.rules.two_persons(&proposal.case.client);
    let by = By {
        actor: &caller.name,
        now_ms: app.clock.wall_ms(),
    };
    let seal = |sha256: &str, bytes: &[u8]| Ok(app.fields.seal_letter(sha256, bytes)?);
    let id =
        rulebook::agreements::propose(&app.db, &proposal, two_persons, seal, Some(&caller), by)
            .await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = format!("/api/v1/agreements/{id}").parse() {
        headers.insert(header::LOCATION, location);
    }
    let body = show(&caller, &app, id).await?;
    Ok((StatusCode::CREATED, headers, Json(body)))
}

async fn act(
    caller: &Caller,
    app: &App,
    id: &str,
    act: Act<'_>,
) -> Result<Json<AgreementBody>, Problem> {
    caller.must(Right::Approve)?;
    let id = parse(id)?;
    let by = By {
        actor: &caller.name,
        now_ms: app.clock.wall_ms(),
    };
    rulebook::agreements::act(&app.db, id, act, Some(caller), by).await?;
    show(caller, app, id).await.map(Json)
}

/// Says yes as the second person; never by who entered it. Also to one that counted when it was entered, because the rules
/// asked for no second person then.
#[utoipa::path(
    operation_id = "approve_agreement",
    post, path = "/api/v1/agreements/{agreement}/approve", tag = "rules", security(("token" = [])),
    params(("agreement" = String, Path, description = "The agreement's id")),
    responses(
        (status = 200, description = "It counts", body = AgreementBody),
        NoToken, NoRight,
        (status = 404, description = "No such agreement", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is approved or ended, or one's own proposal", body = ProblemBody, content_type = "application/problem+json"),
        Away,
    )
)]
async fn approve(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<AgreementBody>, Problem> {
    act(&caller, &app, &id, Act::Approve).await
}

/// Says no as the second person.
#[utoipa::path(
    operation_id = "refuse_agreement",
    post, path = "/api/v1/agreements/{agreement}/refuse", tag = "rules", request_body = Ending, security(("token" = [])),
    params(("agreement" = String, Path, description = "The agreement's id")),
    responses(
        (status = 200, description = "Refused", body = AgreementBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such agreement", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It does not wait", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn refuse(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    Body { value: ending, .. }: Body<Ending>,
) -> Result<Json<AgreementBody>, Problem> {
    act(&caller, &app, &id, Act::Refuse(&ending.reason)).await
}

/// Takes an agreement back. A call whose agent's phone still rings is stopped by it.
#[utoipa::path(
    operation_id = "revoke_agreement",
    post, path = "/api/v1/agreements/{agreement}/revoke", tag = "rules", request_body = Ending, security(("token" = [])),
    params(("agreement" = String, Path, description = "The agreement's id")),
    responses(
        (status = 200, description = "Revoked", body = AgreementBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such agreement", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is ended already", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson, Away,
    )
)]
async fn revoke(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    Body { value: ending, .. }: Body<Ending>,
) -> Result<Json<AgreementBody>, Problem> {
    act(&caller, &app, &id, Act::Revoke(&ending.reason)).await
}
