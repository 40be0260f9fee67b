//! `/api/v1/agent/session`: the agent's browser takes the agent leg of its calls. One long-lived connection serves
//! many calls; a new offer by the same agent replaces the old one.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoToken, NotJson, TooLarge},
    auth::{Caller, Right},
    extract::{Body, Path},
    problem::{Problem, ProblemBody},
};
use crate::{ids::AgentId, switchboard::BrowserRefused};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(connect))
        .routes(routes!(disconnect))
        .routes(routes!(stats))
}

/// A session description (RFC 8866) as the browser made it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Offer {
    /// `RTCPeerConnection.localDescription.sdp`; G.711 must be among the codecs.
    sdp: String,
}

/// Our answer.
#[derive(Serialize, ToSchema)]
struct Answer {
    /// Names this connection.
    session: String,
    /// For `setRemoteDescription({type: "answer", sdp})`.
    sdp: String,
}

/// What `getStats()` said in the browser, which the daemon cannot see from its side.
#[derive(Debug, Deserialize, ToSchema)]
struct BrowserStats {
    /// `RTCPeerConnection.connectionState`.
    connection: String,
    /// Round trip in milliseconds.
    round_trip_ms: Option<f64>,
    /// What the browser received.
    received: ReceivedStats,
}

/// The browser's receiving side.
#[derive(Debug, Deserialize, ToSchema)]
struct ReceivedStats {
    /// Packets.
    packets: u64,
    /// Lost packets; the browser may count below zero after duplicates.
    lost: i64,
    /// Jitter in milliseconds.
    jitter_ms: Option<f64>,
}

/// Connect the agent's browser.
#[utoipa::path(
    operation_id = "connect_browser",
    post, path = "/api/v1/agent/session", tag = "agent", request_body = Offer, security(("token" = [])),
    responses(
        (status = 201, description = "The answer", body = Answer),
        Malformed,
        (status = 404, description = "The agent has left", body = ProblemBody, content_type = "application/problem+json"),
        TooLarge, NotJson,
        (status = 422, description = "An offer that cannot be served", body = ProblemBody, content_type = "application/problem+json"),
        NoToken,
        (status = 403, description = "The token belongs to no agent", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "In the middle of a call", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "No port, or being stopped", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn connect(
    caller: Caller,
    State(app): State<App>,
    Body { value: offer, .. }: Body<Offer>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let agent = own_agent(&caller)?;
    let (session, sdp) = app.switchboard.connect_browser(agent, offer.sdp).await?;
    Ok((StatusCode::CREATED, Json(Answer { session, sdp })))
}

/// Disconnect it; a call that goes through it ends.
#[utoipa::path(
    operation_id = "disconnect_browser",
    delete, path = "/api/v1/agent/session/{session}", tag = "agent", security(("token" = [])),
    params(("session" = String, Path, description = "The connection, as its answer named it")),
    responses(
        (status = 204, description = "Disconnected, or was not connected"),
        NoToken,
        (status = 403, description = "The token belongs to no agent", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn disconnect(
    caller: Caller,
    State(app): State<App>,
    Path(session): Path,
) -> Result<StatusCode, Problem> {
    app.switchboard
        .disconnect_browser(own_agent(&caller)?, &session)
        .await;
    Ok(StatusCode::NO_CONTENT)
}

/// Report the browser's own figures, about every five seconds.
#[utoipa::path(
    operation_id = "report_browser",
    post, path = "/api/v1/agent/session/stats", tag = "agent", request_body = BrowserStats, security(("token" = [])),
    responses(
        (status = 204, description = "Noted"),
        Malformed, TooLarge, NotJson, NoToken,
        (status = 403, description = "The token belongs to no agent", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn stats(
    caller: Caller,
    State(_app): State<App>,
    Body { value: stats, .. }: Body<BrowserStats>,
) -> Result<StatusCode, Problem> {
    let agent = own_agent(&caller)?;
    let received = stats.received;
    if let Some(ms) = stats.round_trip_ms {
        metrics::histogram!("ringfence_browser_round_trip_seconds")
            .record((ms / 1_000.0).clamp(0.0, 60.0));
    }
    tracing::debug!(
        %agent,
        packets = received.packets,
        lost = received.lost,
        jitter_ms = received.jitter_ms,
        connected = stats.connection == "connected",
        "browser audio"
    );
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn own_agent(caller: &Caller) -> Result<AgentId, Problem> {
    caller.must(Right::Dial)?;
    caller.agent_id.ok_or_else(|| {
        Problem::Forbidden(
            "this token belongs to no agent; make one with `ringfence users add --agent`".into(),
        )
    })
}

impl From<BrowserRefused> for Problem {
    fn from(refused: BrowserRefused) -> Self {
        match refused {
            BrowserRefused::Offer(why) => Self::Unprocessable(why),
            BrowserRefused::InCall => {
                Self::Conflict("a call is up on the present connection; end it first".into())
            }
            BrowserRefused::Draining => Self::Unavailable(
                "the daemon is being stopped; connect again when it is back".into(),
            ),
            BrowserRefused::AgentUnknown => Self::agent_absent(),
            BrowserRefused::Ours(why) => Self::Unavailable(why),
        }
    }
}
