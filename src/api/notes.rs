//! `/api/v1/notes`: call notes. An agent finishes and sees their own; those who lead or check see and write out those of
//! their clients. Finishing ends the agent's wrap-up.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, Right},
    extract::{Body, Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    cases::{
        money::{Currency, Money},
        note_export::{self, NoteExportError},
        notes::{self, Begin, Finish, Followed, Hours, NoteError, Promise},
    },
    ids::{CaseId, ContactPointId, NoteId},
    policy::Week,
    store::{
        self, Tx,
        access::{self, Access},
        notes::{Filter, Line, Note, NoteState},
        users::Role,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, write))
        .routes(routes!(export))
        .routes(routes!(read, finish))
        .routes(routes!(dispositions))
}

/// A call note.
#[derive(Debug, Serialize, ToSchema)]
struct NoteBody {
    /// Number of the note.
    note: i64,
    /// Case.
    case_id: i64,
    /// Code of the client.
    client: String,
    /// The client's case number.
    reference: String,
    /// The call; absent for a note without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    /// Contact point.
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_point_id: Option<i64>,
    /// The number reached.
    number: String,
    /// Who answers there.
    person: String,
    /// What that person is to the debt.
    relation: String,
    /// Employee number of the agent.
    agent: String,
    /// `draft`: what the daemon knows by itself; `final`: finished.
    state: String,
    /// Code of what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<String>,
    /// Free words.
    text: String,
    /// Promised amount, exact, in the currency of the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    promise: Option<String>,
    /// Promised day.
    #[serde(skip_serializing_if = "Option::is_none")]
    promise_on: Option<String>,
    /// Currency of the case.
    currency: String,
    /// The client's own fields.
    fields: serde_json::Value,
    /// Day of the call, local to the person called.
    local_date: String,
    /// When the call began, or the note; milliseconds UTC.
    started_at_ms: i64,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at_ms: Option<i64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at_ms: Option<i64>,
    /// What ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    /// When it was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at_ms: Option<i64>,
}

impl NoteBody {
    fn of(line: Line) -> Self {
        let note = line.note;
        Self {
            note: note.id.get(),
            case_id: note.case.get(),
            client: line.client,
            reference: line.reference,
            call: note.call.map(|call| call.to_string()),
            contact_point_id: note.contact_point.map(ContactPointId::get),
            number: line.number,
            person: line.person,
            relation: note.relation.as_str().to_owned(),
            agent: line.agent,
            state: note.state.to_string(),
            disposition: note.disposition,
            text: note.text,
            promise: note.promise_e4.map(crate::export::money),
            promise_on: note.promise_on,
            currency: line.currency,
            fields: serde_json::from_str(&note.fields).unwrap_or_default(),
            local_date: note.local_date,
            started_at_ms: note.started_at_ms,
            answered_at_ms: note.answered_at_ms,
            ended_at_ms: note.ended_at_ms,
            cause: note.cause,
            recording: line.recording.map(|id| id.to_string()),
            finished_at_ms: note.finished_at_ms,
        }
    }
}

/// What came of it, in words.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SaidBody {
    /// Code of the disposition; see `GET /api/v1/dispositions`.
    disposition: String,
    /// Free words.
    #[serde(default)]
    text: String,
    /// What was promised, for a disposition with the effect `promise`.
    promise: Option<PromiseBody>,
    /// When to call back, milliseconds UTC, for one with `callback`.
    callback_at_ms: Option<i64>,
    /// Hours that the person asks for, for one with `agreement`.
    agreement: Option<HoursBody>,
    /// The client's own fields: texts, numbers, true or false.
    #[serde(default)]
    #[schema(value_type = Object)]
    fields: serde_json::Map<String, serde_json::Value>,
}

/// A promise to pay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PromiseBody {
    /// Such as `1234.50`, in the currency of the case.
    amount: String,
    /// Such as `2026-11-30`.
    #[schema(value_type = String)]
    on: jiff::civil::Date,
}

/// Hours that were agreed in the call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HoursBody {
    /// The hours of each weekday, local to the person: `{"mon": ["21:00-22:00"], "tue": [], …}`.
    #[schema(value_type = Object)]
    hours: Week,
    /// Until when, milliseconds UTC.
    until_ms: i64,
    /// Where in the recording it was said, milliseconds from its beginning.
    #[serde(default)]
    offset_ms: i64,
}

/// A note without a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNoteBody {
    /// The case.
    case_id: i64,
    /// The number it is about, if it is about one.
    contact_point_id: Option<i64>,
    /// What it says.
    said: SaidBody,
}

/// What followed from a finished note.
#[derive(Debug, Serialize, ToSchema)]
struct FollowedBody {
    /// Number of the note.
    note: i64,
    /// What was carried out.
    effects: Vec<&'static str>,
    /// The callback that was queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<i64>,
    /// The agreement that waits for a second person.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<i64>,
    /// The major matter that has to be reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    major_matter: Option<i64>,
}

impl FollowedBody {
    fn of(note: NoteId, followed: Followed) -> Self {
        Self {
            note: note.get(),
            effects: followed.effects.iter().map(|e| e.as_str()).collect(),
            callback: followed.callback,
            agreement: followed.agreement,
            major_matter: followed.major_matter,
        }
    }
}

/// Which notes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Code of the client.
    client: String,
    /// Employee number of the agent.
    agent: String,
    /// First local day, `YYYY-MM-DD`.
    #[param(value_type = Option<String>)]
    from: Option<jiff::civil::Date>,
    /// Last local day.
    #[param(value_type = Option<String>)]
    to: Option<jiff::civil::Date>,
    /// Code of the disposition.
    disposition: String,
    /// The client's case number.
    case: String,
    /// Words in the text.
    text: String,
    /// `draft` or `final`.
    state: String,
    /// Only those older than this note: the last one of the page before.
    before: Option<i64>,
    /// At most so many, 1 to 500; 100 if left out.
    limit: Option<u32>,
    /// Of an export: name of the template, `default` if left out.
    template: String,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, Problem> {
        let day = |day: Option<jiff::civil::Date>| day.map(|d| d.to_string()).unwrap_or_default();
        let texts = [
            &self.client,
            &self.agent,
            &self.disposition,
            &self.case,
            &self.text,
            &self.template,
        ];
        if texts.iter().any(|text| text.contains(char::is_control)) {
            return Err(Problem::Invalid(
                "the query: no text has control characters".into(),
            ));
        }
        let state = match self.state.as_str() {
            "" => None,
            word => Some(
                word.parse::<NoteState>()
                    .map_err(|e| Problem::Invalid(format!("state: {e}")))?,
            ),
        };
        Ok(Filter {
            client: self.client.clone(),
            agent: self.agent.clone(),
            from: day(self.from),
            to: day(self.to),
            disposition: self.disposition.clone(),
            reference: self.case.clone(),
            text: self.text.clone(),
            state,
        })
    }
}

/// Notes, newest first: an agent's own, for others those of their clients.
#[utoipa::path(
    operation_id = "list_notes",
    get, path = "/api/v1/notes", tag = "notes", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Notes, newest first", body = [NoteBody]),
        (status = 400, description = "Malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not with this role", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<NoteBody>>, Problem> {
    let own = match caller.role {
        Role::Agent => Some(super::agent::own_agent(&caller)?),
        _ => {
            caller.must(Right::Notes)?;
            None
        }
    };
    let limit = wanted.limit.unwrap_or(100).clamp(1, 500);
    let before = wanted.before.map(NoteId::new);
    let mut tx = app.db.read().await?;
    let filter = wanted.filter()?;
    let lines = store::notes::newest(&mut tx, Some(&caller), &filter, own, before, limit).await?;
    Ok(Json(lines.into_iter().map(NoteBody::of).collect()))
}

/// One note.
#[utoipa::path(
    operation_id = "read_note",
    get, path = "/api/v1/notes/{note}", tag = "notes", security(("token" = [])),
    params(("note" = String, Path, description = "Number of the note")),
    responses(
        (status = 200, description = "The note", body = NoteBody),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such thing among your clients'", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    Path(note): Path,
) -> Result<Json<NoteBody>, Problem> {
    let mut tx = app.db.read().await?;
    let (note, _) = visible(&mut tx, &caller, &note).await?;
    let all = Filter::default();
    let next = Some(NoteId::new(note.id.get().saturating_add(1)));
    let line = store::notes::newest(&mut tx, None, &all, None, next, 1).await?;
    let line = line.into_iter().find(|line| line.note.id == note.id);
    line.map(|line| Json(NoteBody::of(line))).ok_or_else(absent)
}

/// Finish a note, or change what a finished one says. What the disposition does is done with it; the wrap-up ends.
#[utoipa::path(
    operation_id = "finish_note",
    put, path = "/api/v1/notes/{note}", tag = "notes", request_body = SaidBody, security(("token" = [])),
    params(("note" = String, Path, description = "Number of the note")),
    responses(
        (status = 200, description = "Finished, and what followed", body = FollowedBody),
        (status = 400, description = "Malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not with this role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such thing among your clients'", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done so", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not at the moment", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn finish(
    caller: Caller,
    State(app): State<App>,
    Path(note): Path,
    Body { value: said, .. }: Body<SaidBody>,
) -> Result<Json<FollowedBody>, Problem> {
    let mut tx = app.db.begin().await?;
    let (note, own) = visible(&mut tx, &caller, &note).await?;
    if !own {
        caller.must(Right::Supervise)?;
    }
    let said = said_of(&mut tx, note.case, said).await?;
    let now_ms = app.clock.wall_ms();
    let followed = notes::finish(&mut tx, note.id, &said, &caller.name, now_ms).await?;
    tx.commit().await?;
    if let (Some(agent), Some(call)) = (note.agent, note.call) {
        app.switchboard.noted(agent, call).await;
    }
    Ok(Json(FollowedBody::of(note.id, followed)))
}

/// Write a note without a call.
#[utoipa::path(
    operation_id = "write_note",
    post, path = "/api/v1/notes", tag = "notes", request_body = NewNoteBody, security(("token" = [])),
    responses(
        (status = 201, description = "Written, and what followed", body = FollowedBody),
        (status = 400, description = "Malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not with this role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such thing among your clients'", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done so", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not at the moment", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn write(
    caller: Caller,
    State(app): State<App>,
    Body { value: new, .. }: Body<NewNoteBody>,
) -> Result<(StatusCode, Json<FollowedBody>), Problem> {
    caller
        .must(Right::Dial)
        .or_else(|_| caller.must(Right::Supervise))?;
    let mut tx = app.db.begin().await?;
    let case = CaseId::new(new.case_id);
    let known = store::cases::by_id(&mut tx, case).await?;
    if known.is_none_or(|case| !caller.sees(case.client_id)) {
        return Err(Problem::absent("case"));
    }
    let said = said_of(&mut tx, case, new.said).await?;
    let today = app.switchboard.today().to_string();
    let begin = Begin {
        case,
        contact_point: new.contact_point_id.map(ContactPointId::new),
        agent: caller.agent_id,
        today: &today,
    };
    let now_ms = app.clock.wall_ms();
    let (id, followed) = notes::write(&mut tx, &begin, &said, &caller.name, now_ms).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(FollowedBody::of(id, followed))))
}

/// Notes as a file in the client's own template. The export is in the access log before its first byte.
#[utoipa::path(
    operation_id = "export_notes",
    get, path = "/api/v1/notes/export", tag = "notes", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "The file, as the template says: XLSX or CSV", content(
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            (String = "text/csv"),
        )),
        (status = 400, description = "Malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not with this role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such thing among your clients'", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done so", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not at the moment", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn export(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    caller.must(Right::Notes)?;
    let filter = wanted.filter()?;
    let name = match wanted.template.as_str() {
        "" => "default",
        name => name,
    };
    let now_ms = app.clock.wall_ms();
    let mut tx = app.db.begin().await?;
    let client = match filter.client.as_str() {
        "" => None,
        code => {
            let client = store::clients::by_code(&mut tx, code).await?;
            let client = client.filter(|client| caller.sees(client.id));
            Some(client.ok_or_else(|| Problem::absent("client"))?.id)
        }
    };
    let template = note_export::template(&mut tx, client, name).await?;
    let access = Access {
        at_ms: now_ms,
        actor: &caller.name,
        action: "note.export",
        object: name,
        client_id: client,
        detail: serde_json::json!({ "from": filter.from, "to": filter.to, "agent": filter.agent }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let mut bytes = Vec::new();
    let mut tx = app.db.read().await?;
    let zone = app.switchboard.display_zone();
    note_export::write(&mut tx, Some(&caller), &filter, &template, zone, &mut bytes).await?;
    let today = app.switchboard.today().to_string();
    let file = template.file_name(&filter.client, &filter.from, &filter.to, &today);
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(template.format().media_type()),
    );
    // RFC 8187: a name that is not ASCII.
    let encoded: String = file
        .bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{encoded}")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Something that may be said to have come of a call.
#[derive(Debug, Serialize, ToSchema)]
struct DispositionBody {
    /// The stable word.
    code: String,
    /// In English.
    name_en: String,
    /// 中文.
    name_zh: String,
    /// The right person was spoken to.
    right_party: bool,
    /// What it does, and so what it asks for.
    effects: Vec<&'static str>,
}

/// Whose list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Code of the client.
    client: String,
}

/// What may be said to have come of a call for a client.
#[utoipa::path(
    operation_id = "list_dispositions",
    get, path = "/api/v1/dispositions", tag = "notes", params(Whose), security(("token" = [])),
    responses(
        (status = 200, description = "What is offered", body = [DispositionBody]),
        (status = 400, description = "Malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such thing among your clients'", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn dispositions(
    caller: Caller,
    State(app): State<App>,
    Query(whose): Query<Whose>,
) -> Result<Json<Vec<DispositionBody>>, Problem> {
    let mut tx = app.db.read().await?;
    let client = store::clients::by_code(&mut tx, &whose.client).await?;
    let client = client
        .filter(|client| caller.sees(client.id))
        .ok_or_else(|| Problem::absent("client"))?;
    let list = store::dispositions::list(&mut tx, Some(client.id)).await?;
    let offered = list.into_iter().filter(|one| one.active);
    Ok(Json(
        offered
            .map(|one| DispositionBody {
                effects: one.disposition.effects.iter().map(|e| e.as_str()).collect(),
                code: one.disposition.code,
                name_en: one.disposition.name_en,
                name_zh: one.disposition.name_zh,
                right_party: one.disposition.right_party,
            })
            .collect(),
    ))
}

fn absent() -> Problem {
    Problem::absent("note")
}

/// The note of that number, and whether it is the caller's own.
async fn visible(tx: &mut Tx, caller: &Caller, note: &str) -> Result<(Note, bool), Problem> {
    let id: NoteId = note.parse().map_err(|_| absent())?;
    let note = store::notes::by_id(tx, id).await?.ok_or_else(absent)?;
    let own = note.agent.is_some() && note.agent == caller.agent_id;
    if own || (caller.sees(note.client) && caller.must(Right::Notes).is_ok()) {
        return Ok((note, own));
    }
    Err(absent())
}

async fn said_of(tx: &mut Tx, case: CaseId, said: SaidBody) -> Result<Finish, Problem> {
    let promise = match said.promise {
        None => None,
        Some(promise) => {
            let currency = store::notes::currency(tx, case).await?.unwrap_or_default();
            let currency = Currency::parse(&currency)
                .map_err(|_| store::Error::unknown("read a case", "cases.currency"))?;
            let amount = Money::parse(&promise.amount, currency)
                .map_err(|e| Problem::Invalid(format!("promise.amount: {e}")))?;
            Some(Promise {
                amount_e4: amount.e4,
                on: promise.on,
            })
        }
    };
    Ok(Finish {
        disposition: said.disposition,
        text: said.text,
        promise,
        callback_at_ms: said.callback_at_ms,
        agreement: said.agreement.map(|asked| Hours {
            hours: asked.hours,
            until_ms: asked.until_ms,
            offset_ms: asked.offset_ms,
        }),
        fields: said.fields,
    })
}

impl From<NoteError> for Problem {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::NotFound(what) => Self::absent(what),
            NoteError::Disposition { offered, .. } => Self::Unprocessable(format!(
                "disposition: not offered for this client; one of: {offered}"
            )),
            NoteError::Field { .. } => Self::Unprocessable(error.to_string()),
            NoteError::Store(error) => error.into(),
        }
    }
}

impl From<NoteExportError> for Problem {
    fn from(error: NoteExportError) -> Self {
        match error {
            NoteExportError::NoTemplate(_) => Self::NotFound(
                "there is no such template for notes; `ringfence notes templates list` shows those there are".into(),
            ),
            NoteExportError::TooMany => Self::Unprocessable(error.to_string()),
            NoteExportError::Store(error) => error.into(),
            NoteExportError::Template(_) | NoteExportError::Export(_) => {
                Self::Internal(anyhow::Error::new(error))
            }
        }
    }
}
