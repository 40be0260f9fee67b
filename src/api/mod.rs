//! The HTTP API: one file a resource, each with its routes, bodies and errors; the OpenAPI document grows from them.
//!
//! Holds no rules and knows no legs: calls are reached only through the switchboard, recordings through the library.
//! Bodies never carry a phone number except where the caller may see it, logs never do.

mod agent;
mod agreements;
mod allocations;
mod answers;
mod auth;
mod bars;
mod bulk;
mod callbacks;
mod calls;
mod case_push;
mod case_store;
mod cases;
mod events;
mod extract;
mod health;
mod matters;
mod metrics;
mod notes;
mod numbers;
mod overdue;
mod pages;
mod policy;
mod problem;
mod receipts;
mod recordings;
mod reports;
mod stats;
mod working;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, http::HeaderValue};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

pub use self::{
    auth::{Right, may},
    metrics::install as install_metrics,
};
use crate::{
    cases::fields::FieldKey,
    clock::Clock,
    config,
    library::Library,
    phone::{Region, ShortCodes},
    rulebook::{find::Numbering, in_force::Rulebook},
    store::Db,
    switchboard::Switchboard,
};

/// Bytes of the largest request body; a browser's offer is the largest there is.
const MAX_BODY: usize = 64 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The database beside the cases.
    pub db: Db,
    /// The only door to calls.
    pub switchboard: Switchboard,
    /// The only door to recordings.
    pub library: Library,
    /// The calling rules in force.
    pub rules: Rulebook,
    /// Time.
    pub clock: Clock,
    /// Key of identity and card numbers.
    pub fields: Arc<FieldKey>,
    /// Numbering plan of numbers without `+`.
    pub region: Region,
    /// Short codes that may be dialled.
    pub short_codes: Arc<ShortCodes>,
    /// Renders the metrics.
    pub metrics: Arc<metrics::Handle>,
    /// How soon what has to be done.
    pub work: Arc<config::Floor>,
}

impl App {
    /// How numbers are read.
    fn numbering(&self) -> Numbering<'_> {
        Numbering {
            region: self.switchboard.region(),
            short: self.switchboard.short_codes(),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringfence",
        description = "The telephone floor of a debt-collection agency: click to dial, the gate, recordings, figures. \
                       Errors are RFC 9457 problem details that say what to do.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&BearerTokens),
    tags(
        (name = "calls", description = "Click to dial, read, hang up"),
        (name = "cases", description = "Whose numbers can be dialled"),
        (name = "recordings", description = "List, play, export; every access is logged before the first byte"),
        (name = "receipts", description = "Why a call was allowed or refused"),
        (name = "rules", description = "What is in force, what is barred, what was agreed, and what would be decided"),
        (name = "stats", description = "Connect rates and every report, with their definitions and the SQL query that reproduces each"),
        (name = "agent", description = "The agent's browser, and whether the agent is there"),
        (name = "notes", description = "Call notes: finish, find, write out in a bank's own form"),
        (name = "callbacks", description = "Calls promised for later"),
        (name = "allocation", description = "Who gets which case"),
        (name = "work", description = "What is overdue, what came in, what must be reported"),
        (name = "events", description = "What happens on the floor, as it happens"),
        (name = "operation", description = "Health, readiness, metrics"),
    )
)]
struct Document;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token from `ringfence users add`."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(calls::routes())
        .merge(cases::routes())
        .merge(case_store::routes())
        .merge(case_push::routes())
        .merge(recordings::routes())
        .merge(receipts::routes())
        .merge(policy::routes())
        .merge(bars::routes())
        .merge(agreements::routes())
        .merge(stats::routes())
        .merge(reports::routes())
        .merge(agent::routes())
        .merge(working::routes())
        .merge(notes::routes())
        .merge(numbers::routes())
        .merge(callbacks::routes())
        .merge(allocations::routes())
        .merge(bulk::routes())
        .merge(overdue::routes())
        .merge(matters::routes())
        .merge(events::routes())
        .merge(health::routes())
        .merge(metrics::routes())
}

/// The OpenAPI document of this version.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// Every route, ready to be served.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Arc::new(document);
    let headers = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ];
    let mut router = router
        .merge(pages::routes())
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || async move { axum::Json(document.as_ref().clone()) }),
        )
        .fallback(|| async {
            problem::Problem::NotFound("no such path; see /api/v1/openapi.json".into())
        })
        .method_not_allowed_fallback(|| async { problem::Problem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app);
    for (name, value) in headers {
        router = router.layer(SetResponseHeaderLayer::if_not_present(
            axum::http::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        ));
    }
    router
}

/// Serves until `stop`, then lets requests under way finish for a moment.
pub async fn serve(
    listener: TcpListener,
    app: App,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let stopped = stop.clone();
    let serve = axum::serve(listener, router(app)).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        ended = serve => ended,
        // Streams (SSE, long downloads) never end by themselves.
        () = async { stopped.cancelled().await; tokio::time::sleep(Duration::from_secs(2)).await } => Ok(()),
    }
}
