//! The pages that come with the daemon: so far the agent's bare telephone. They hold no rules and load nothing from
//! elsewhere; the content security policy says so to the browser.

use axum::{
    Router,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::get,
};

use super::App;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/agent") }))
        // Browsers ask for it unasked; without it every page would log an error.
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/agent",
            get(|| async {
                page(
                    "text/html; charset=utf-8",
                    include_str!("../../web/agent.html"),
                )
            }),
        )
        .route(
            "/agent.css",
            get(|| async {
                page(
                    "text/css; charset=utf-8",
                    include_str!("../../web/agent.css"),
                )
            }),
        )
        .route(
            "/agent.js",
            get(|| async {
                page(
                    "text/javascript; charset=utf-8",
                    include_str!("../../web/agent.js"),
                )
            }),
        )
}

fn page(kind: &'static str, body: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (
                HeaderName::from_static("permissions-policy"),
                "microphone=(self), camera=(), geolocation=()",
            ),
        ],
        body,
    )
}
