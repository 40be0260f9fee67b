//! `/api/v1/notes`: call notes. An agent finishes and sees their own; those who lead or check see and write out those of
//! their clients. Finishing ends the agent's wrap-up.

mod bodies;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::bodies::{DispositionBody, FollowedBody, NewNoteBody, NoteBody, SaidBody, Wanted, Whose};
use super::{
    App,
    answers::{Malformed, NoRight, NoToken, NotJson, NotNow, NotSo, NotYours, TooLarge},
    auth::{Caller, Right, may},
    extract::{Body, Path, Query},
    problem::Problem,
};
use crate::{
    cases::{
        money::{Currency, Money},
        note_export::{self, NoteExportError},
        note_filter::FilterError,
        notes::{self, Author, Begin, Finish, Hours, NoteError, Promise},
    },
    ids::{CaseId, ContactPointId, NoteId},
    store::{
        self, Tx,
        access::{self, Access},
        notes::{Filter, Note},
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

/// Notes, newest first: an agent's own, for others those of their clients.
#[utoipa::path(
    operation_id = "list_notes",
    get, path = "/api/v1/notes", tag = "notes", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Notes, newest first", body = [NoteBody]),
        Malformed, NoToken, NoRight,
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
    let filter = wanted.filter()?;
    let mut tx = app.db.read().await?;
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
        NoToken, NotYours,
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
        Malformed, NoToken, NoRight, NotYours, TooLarge, NotJson, NotSo, NotNow,
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
    let followed = notes::finish(&mut tx, note.id, &said, author(&caller), now_ms).await?;
    tx.commit().await?;
    if let (Some(agent), Some(call)) = (note.agent, note.call) {
        app.switchboard.noted(agent, call).await;
    }
    Ok(Json(FollowedBody::of(note.id, followed)))
}

/// Write a note without a call. What it says of a number is evidence of loss of contact only if the caller may judge numbers.
#[utoipa::path(
    operation_id = "write_note",
    post, path = "/api/v1/notes", tag = "notes", request_body = NewNoteBody, security(("token" = [])),
    responses(
        (status = 201, description = "Written, and what followed", body = FollowedBody),
        Malformed, NoToken, NoRight, NotYours, TooLarge, NotJson, NotSo, NotNow,
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
    let (id, followed) = notes::write(&mut tx, &begin, &said, author(&caller), now_ms).await?;
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
        Malformed, NoToken, NoRight, NotYours, NotSo, NotNow,
    )
)]
async fn export(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    caller.must(Right::Notes)?;
    let name = match wanted.template.as_str() {
        "" => "default".to_owned(),
        name => name.to_owned(),
    };
    let name = name.as_str();
    let filter = wanted.filter()?;
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
        HeaderValue::from_static(template.media_type()),
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

/// What may be said to have come of a call for a client.
#[utoipa::path(
    operation_id = "list_dispositions",
    get, path = "/api/v1/dispositions", tag = "notes", params(Whose), security(("token" = [])),
    responses(
        (status = 200, description = "What is offered", body = [DispositionBody]),
        Malformed, NoToken, NotYours,
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

fn author(caller: &Caller) -> Author<'_> {
    Author {
        name: &caller.name,
        vouches: may(caller.role, Right::Numbers),
    }
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

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<NoteExportError> for Problem {
    fn from(error: NoteExportError) -> Self {
        match error {
            NoteExportError::NoTemplate(_) => Self::NotFound(
                "there is no such template for notes; `ringfence notes templates list` shows those there are".into(),
            ),
            NoteExportError::TooMany | NoteExportError::Character { .. } => {
                Self::Unprocessable(error.to_string())
            }
            NoteExportError::Store(error) => error.into(),
            NoteExportError::Template(_) | NoteExportError::Export(_) => {
                Self::Internal(anyhow::Error::new(error))
            }
        }
    }
}
