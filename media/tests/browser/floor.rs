//! The daemon's part towards the page, as small as it can be: the page, its requests, its event stream.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use ringfence_media::Codec;
use ringfence_media::webrtc_leg::{BrowserConfig, BrowserEvent, BrowserLeg};
use serde_json::{Value, json};
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use crate::engine::{Engine, Line};

/// The one token that is let in.
pub const TOKEN: &str = "an agent's token";
/// The strictest policy the page works under; the daemon sends the same.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Above the 15 s after which a silent browser is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// What the handlers share.
struct Shared {
    /// The session's name and its leg.
    leg: Mutex<Option<(String, BrowserLeg)>>,
    sessions: AtomicU32,
    lines: mpsc::Sender<Line>,
    states: mpsc::Sender<BrowserEvent>,
    events: broadcast::Sender<(&'static str, Value)>,
    hung_up: mpsc::Sender<String>,
    figures: mpsc::Sender<Value>,
    left: mpsc::Sender<()>,
}

impl Shared {
    fn tell(&self, kind: &'static str, data: Value) {
        // Nobody listens while the page is away; the test sees what it misses.
        let _ = self.events.send((kind, data));
    }
}

/// The floor with the test's ends of everything.
pub struct Floor {
    port: u16,
    shared: Arc<Shared>,
    lines: mpsc::Receiver<Line>,
    states: mpsc::Receiver<BrowserEvent>,
    hung_up: mpsc::Receiver<String>,
    figures: mpsc::Receiver<Value>,
    left: mpsc::Receiver<()>,
}

impl Floor {
    /// Serves on a free port of the loopback address.
    pub async fn start() -> Self {
        let (line, lines) = mpsc::channel(4);
        let (state, states) = mpsc::channel(16);
        let (hang_up, hung_up) = mpsc::channel(4);
        let (figure, figures) = mpsc::channel(64);
        let (leave, left) = mpsc::channel(4);
        let shared = Arc::new(Shared {
            leg: Mutex::new(None),
            sessions: AtomicU32::new(0),
            lines: line,
            states: state,
            events: broadcast::channel(16).0,
            hung_up: hang_up,
            figures: figure,
            left: leave,
        });
        let router = Router::new()
            .route(
                "/agent",
                get(|| async {
                    page(
                        "text/html; charset=utf-8",
                        include_str!("../../../web/agent.html"),
                    )
                }),
            )
            .route(
                "/agent.js",
                get(|| async {
                    page(
                        "text/javascript; charset=utf-8",
                        include_str!("../../../web/agent.js"),
                    )
                }),
            )
            .route(
                "/agent.css",
                get(|| async {
                    page(
                        "text/css; charset=utf-8",
                        include_str!("../../../web/agent.css"),
                    )
                }),
            )
            .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
            .route("/api/v1/agent/session", post(begin))
            .route("/api/v1/agent/session/{session}", delete(end))
            .route("/api/v1/agent/session/stats", post(stats))
            .route("/api/v1/events", get(events))
            .route(
                "/api/v1/calls",
                get(|| async { Json(Value::Array(Vec::new())) }),
            )
            .route("/api/v1/calls/{id}", delete(hang_up_call))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            port,
            shared,
            lines,
            states,
            hung_up,
            figures,
            left,
        }
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}/agent", self.port)
    }

    /// The test in the engine's place, at the leg that was opened last.
    pub async fn engine(&mut self) -> Engine {
        self.line().await.engine()
    }

    /// The engine's end of the leg that was opened last.
    pub async fn line(&mut self) -> Line {
        within(self.lines.recv()).await
    }

    pub async fn event(&mut self) -> BrowserEvent {
        within(self.states.recv()).await
    }

    pub async fn hung_up(&mut self) -> String {
        within(self.hung_up.recv()).await
    }

    /// The newest figures of the page that were posted after now.
    pub async fn figures(&mut self) -> Value {
        while self.figures.try_recv().is_ok() {}
        within(self.figures.recv()).await
    }

    pub async fn left(&mut self) {
        within(self.left.recv()).await;
        assert!(self.shared.leg.lock().await.is_none());
    }

    pub fn tell_call(&self, id: &str, state: &str) {
        self.shared
            .tell("call", json!({ "call_id": id, "state": state }));
    }

    /// Says of the session that is up what became of it.
    pub async fn tell_session(&self, state: &str) {
        let place = self.shared.leg.lock().await;
        let (session, _) = place.as_ref().expect("a session");
        self.shared
            .tell("session", json!({ "session": session, "state": state }));
    }

    /// Closes the leg behind the page's back, as a restart of the daemon does.
    pub async fn drop_leg(&mut self) {
        let (_, leg) = self.shared.leg.lock().await.take().expect("a leg");
        let traffic = leg.traffic();
        assert_eq!((traffic.refused, traffic.dropped), (0, 0), "{traffic:?}");
        leg.close().await;
    }
}

async fn within<T>(wait: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(LIMIT, wait)
        .await
        .expect("it happens in time")
        .expect("the floor is open")
}

fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        text,
    )
}

fn signed_in(headers: &HeaderMap) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == format!("Bearer {TOKEN}").as_bytes())
}

fn problem(status: StatusCode, detail: String) -> Response {
    (
        status,
        Json(json!({ "status": status.as_u16(), "detail": detail })),
    )
        .into_response()
}

async fn begin(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !signed_in(&headers) {
        return problem(StatusCode::UNAUTHORIZED, "no such token".to_owned());
    }
    let mut place = shared.leg.lock().await;
    if let Some((replaced, old)) = place.take() {
        shared.tell(
            "session",
            json!({ "session": replaced, "state": "replaced" }),
        );
        old.close().await;
    }
    let config = BrowserConfig {
        ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        advertise: None,
        ports: 0..=0,
        prefer: Codec::Pcma,
    };
    let (ours, theirs) = UnixDatagram::pair().expect("a socket pair");
    let offer = body["sdp"].as_str().unwrap_or_default();
    match BrowserLeg::answer(offer, &config, theirs, shared.states.clone()).await {
        Ok((leg, answer)) => {
            assert_eq!(answer.codec, Codec::Pcma);
            let telephone_event = answer
                .telephone_event
                .expect("Chromium offers telephone-event/8000");
            let line = Line {
                socket: ours.into(),
                payload_type: answer.payload_type,
                telephone_event,
            };
            shared.lines.send(line).await.expect("a test");
            let id = format!(
                "session {}",
                shared.sessions.fetch_add(1, Ordering::Relaxed)
            );
            *place = Some((id.clone(), leg));
            (
                StatusCode::CREATED,
                Json(json!({ "session": id, "sdp": answer.sdp })),
            )
                .into_response()
        }
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    }
}

async fn end(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(session): Path<String>,
) -> StatusCode {
    assert!(signed_in(&headers));
    let (name, leg) = shared.leg.lock().await.take().expect("a session");
    assert_eq!(name, session);
    leg.close().await;
    shared.left.send(()).await.expect("a test");
    StatusCode::NO_CONTENT
}

async fn stats(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    assert!(signed_in(&headers));
    let _ = shared.figures.try_send(body);
    StatusCode::NO_CONTENT
}

async fn hang_up_call(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> StatusCode {
    assert!(signed_in(&headers));
    shared.hung_up.send(id).await.expect("a test");
    StatusCode::ACCEPTED
}

async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Sse<impl tokio_stream::Stream<Item = Result<Event, Infallible>>> {
    assert!(signed_in(&headers));
    let events = BroadcastStream::new(shared.events.subscribe());
    Sse::new(events.filter_map(|event| {
        let (kind, data) = event.ok()?;
        Some(Ok(Event::default().event(kind).data(data.to_string())))
    }))
}
