//! `/api/v1/recordings`: list, describe, play with Range, export. Every access is in the log of accesses before the
//! first byte leaves; if it cannot be logged, nothing is played.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoRight, NoToken},
    auth::{Caller, Right},
    extract::{Path, Query},
    problem::{Problem, ProblemBody},
};
use crate::{
    coverage,
    ids::{AgentId, RecordingId},
    library::{LibraryError, Purpose},
    store::{self, recordings::Recording},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(describe))
        .routes(routes!(audio))
        .routes(routes!(export))
}

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only recordings of this agent's calls.
    agent_id: Option<i64>,
    /// Only those older than this recording: the last id of the page before.
    before: Option<String>,
    /// At most so many, 1 to 500; 100 if left out.
    limit: Option<u32>,
}

/// A recording.
#[derive(Debug, Serialize, ToSchema)]
struct RecordingBody {
    /// Id.
    recording: String,
    /// The call it belongs to.
    call: String,
    /// Which stretch of the call, from 1.
    segment: u32,
    /// `live`, `sealed`, `recovered`, `abandoned` or `lost`.
    state: String,
    /// When it began, milliseconds UTC.
    started_at_ms: i64,
    /// Length in milliseconds, once sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    /// Share of the answered time that is accounted for, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<f64>,
    /// Kept at least until, milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    retain_until_ms: Option<i64>,
    /// SHA-256 of the WAV.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// The recordings of the caller's clients, newest first.
#[utoipa::path(
    operation_id = "list_recordings",
    get, path = "/api/v1/recordings", tag = "recordings", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Recordings, newest first", body = [RecordingBody]),
        Malformed, NoToken, NoRight,
    )
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<RecordingBody>>, Problem> {
    caller.must(Right::Recordings)?;
    let before = match wanted.before.as_deref().map(str::parse::<RecordingId>) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Problem::Invalid("before: not the id of a recording".into())),
    };
    let agent = wanted.agent_id.map(AgentId::new);
    let limit = wanted.limit.unwrap_or(100).clamp(1, 500);
    let mut tx = app.db.read().await?;
    let found = store::recordings::list(&mut tx, &caller, agent, before, limit).await?;
    Ok(Json(found.into_iter().map(body).collect()))
}

/// One recording.
#[utoipa::path(
    operation_id = "read_recording",
    get, path = "/api/v1/recordings/{recording}", tag = "recordings", security(("token" = [])),
    params(("recording" = String, Path, description = "The recording's id")),
    responses(
        (status = 200, description = "The recording", body = RecordingBody),
        NoToken, NoRight,
        (status = 404, description = "No such recording", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn describe(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
) -> Result<Json<RecordingBody>, Problem> {
    Ok(Json(body(visible(&app, &caller, &id).await?)))
}

/// Listen: the WAV, whole or the part that a Range header asks for.
#[utoipa::path(
    operation_id = "play_recording",
    get, path = "/api/v1/recordings/{recording}/audio", tag = "recordings", security(("token" = [])),
    params(
        ("recording" = String, Path, description = "The recording's id"),
        ("Range" = Option<String>, Header, description = "bytes=FIRST-LAST (RFC 9110 section 14)"),
    ),
    responses(
        (status = 200, description = "Stereo PCM WAV, agent left, customer right", content_type = "audio/wav"),
        (status = 206, description = "The part asked for", content_type = "audio/wav"),
        NoToken, NoRight,
        (status = 404, description = "No such recording", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Not sealed yet", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "No such part", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn audio(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let recording = visible(&app, &caller, &id).await?;
    let range = headers.get(header::RANGE);
    send(&app, &caller, &recording, Purpose::Play, &method, range).await
}

/// Export: the whole WAV as a file.
#[utoipa::path(
    operation_id = "export_recording",
    get, path = "/api/v1/recordings/{recording}/export", tag = "recordings", security(("token" = [])),
    params(("recording" = String, Path, description = "The recording's id")),
    responses(
        (status = 200, description = "Stereo PCM WAV, agent left, customer right", content_type = "audio/wav"),
        NoToken, NoRight,
        (status = 404, description = "No such recording", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Not sealed yet", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn export(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path,
    method: Method,
) -> Result<Response, Problem> {
    let recording = visible(&app, &caller, &id).await?;
    let mut response = send(&app, &caller, &recording, Purpose::Export, &method, None).await?;
    let name = format!("attachment; filename=\"{}.wav\"", recording.id);
    if let Ok(value) = HeaderValue::from_str(&name) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn visible(app: &App, caller: &Caller, id: &str) -> Result<Recording, Problem> {
    caller.must(Right::Recordings)?;
    let absent = || Problem::absent("recording");
    let id: RecordingId = id.parse().map_err(|_| absent())?;
    let mut tx = app.db.read().await?;
    let recording = store::recordings::by_id(&mut tx, id)
        .await?
        .ok_or_else(absent)?;
    if caller.sees(recording.client) {
        Ok(recording)
    } else {
        Err(absent())
    }
}

async fn send(
    app: &App,
    caller: &Caller,
    recording: &Recording,
    purpose: Purpose,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let found = app.library.find(recording).await?;
    let length = found.length();
    let part = match range.map(|value| parse_range(value, length)) {
        None | Some(Ok(None)) => None,
        Some(Ok(Some(part))) => Some(part),
        Some(Err(())) => return Err(Problem::RangeNotSatisfiable { length }),
    };
    let (first, last) = part.unwrap_or((0, length.saturating_sub(1)));
    // HEAD asks for the length; nothing is heard, so nothing is logged as heard.
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let opened = app
            .library
            .open(found, &caller.name, purpose, (first, last));
        Body::from_stream(ReceiverStream::new(opened.await?.stream(first, last)))
    };
    let status = if part.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    let ranges = match purpose {
        Purpose::Play => "bytes",
        Purpose::Export => "none",
    };
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static(ranges));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(last + 1 - first));
    if part.is_some()
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{length}"))
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// One range of bytes (RFC 9110 section 14.1.2). Other units, several ranges and nonsense are ignored, as the RFC
/// allows; a range that begins behind the end is an error.
fn parse_range(value: &HeaderValue, length: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(spec) = value
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
    else {
        return Ok(None);
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Ok(None);
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), last_or_none) => {
            let last = match last_or_none {
                Ok(last) if last < first => return Ok(None),
                Ok(last) => last.min(length.saturating_sub(1)),
                Err(_) if last.is_empty() => length.saturating_sub(1),
                Err(_) => return Ok(None),
            };
            if first < length {
                Ok(Some((first, last)))
            } else {
                Err(())
            }
        }
        (Err(_), Ok(suffix)) if first.is_empty() => match suffix {
            0 => Err(()),
            _ => Ok(Some((
                length.saturating_sub(suffix),
                length.saturating_sub(1),
            ))),
        },
        _ => Ok(None),
    }
}

fn body(recording: Recording) -> RecordingBody {
    let seal = recording.seal.as_ref();
    RecordingBody {
        recording: recording.id.to_string(),
        call: recording.call.to_string(),
        segment: recording.segment,
        state: recording.state.as_str().to_owned(),
        started_at_ms: seal
            .and_then(|s| s.started_at_ms)
            .unwrap_or(recording.created_at_ms),
        duration_ms: seal.map(|s| s.duration_ms),
        coverage: seal.map(coverage::share),
        retain_until_ms: seal.map(|s| s.retain_until_ms),
        sha256: seal.map(|s| s.wav_sha256.clone()),
    }
}

impl From<LibraryError> for Problem {
    fn from(error: LibraryError) -> Self {
        match error {
            LibraryError::NotSealed => {
                Self::Conflict("the call is not over or not sealed yet; try again after it".into())
            }
            LibraryError::NoAudio(_) => Self::NotFound(error.to_string()),
            LibraryError::Store(error) => error.into(),
            LibraryError::Vault(_) | LibraryError::Interrupted(_) => {
                Self::Internal(anyhow::Error::new(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn range(text: &str) -> Result<Option<(u64, u64)>, ()> {
        parse_range(&HeaderValue::from_str(text).unwrap(), 1_000)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(range("bytes=0-99"), Ok(Some((0, 99))));
        assert_eq!(range("bytes=900-"), Ok(Some((900, 999))));
        assert_eq!(range("bytes=990-5000"), Ok(Some((990, 999))));
        assert_eq!(range("bytes=-10"), Ok(Some((990, 999))));
        assert_eq!(range("bytes=-5000"), Ok(Some((0, 999))));
        assert_eq!(range("bytes=1000-"), Err(()));
        assert_eq!(range("bytes=-0"), Err(()));
        for nonsense in [
            "bytes=5-2",
            "bytes=",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-1,5-6",
            "bytes=--1",
        ] {
            assert_eq!(range(nonsense), Ok(None), "{nonsense}");
        }
    }
}
