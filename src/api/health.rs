//! `/healthz` (the process lives) and `/readyz` (it can take a call), for supervisors and load balancers.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
}

/// What a call needs, each with what is wrong; an empty text is well.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Everything is well.
    ready: bool,
    /// The database.
    database: String,
    /// The PBX.
    trunk: String,
    /// The recording store.
    vault: String,
    /// The wall clock.
    clock: String,
    /// Being stopped.
    draining: bool,
    /// Other daemons on this database whose rule files differ. It keeps nobody from calling: until they agree, the strictest
    /// of all is gone by.
    rules: String,
}

/// The process lives.
#[utoipa::path(get, operation_id = "health", path = "/healthz", tag = "operation", security(()), responses(
    (status = 200, description = "It lives", body = String, content_type = "text/plain")
))]
async fn health() -> &'static str {
    "ok\n"
}

/// Whether a call could be placed now, and what stands in its way.
#[utoipa::path(get, operation_id = "readiness", path = "/readyz", tag = "operation", security(()), responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready, with the reasons", body = Readiness),
))]
async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let database = match app.db.probe().await {
        Ok(()) => String::new(),
        Err(error) => {
            tracing::warn!(%error, "the database cannot be asked");
            "cannot be asked".into()
        }
    };
    let standing = app.switchboard.standing().await;
    let body = Readiness {
        ready: database.is_empty()
            && standing.trunk.is_empty()
            && standing.vault.is_empty()
            && standing.clock.is_empty()
            && !standing.draining,
        database,
        trunk: standing.trunk,
        vault: standing.vault,
        clock: standing.clock,
        draining: standing.draining,
        rules: nodes_that_differ(&app),
    };
    let status = if body.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body))
}

/// Nodes alone, for anybody may ask: whose rules they are is told to whoever may read the rules.
fn nodes_that_differ(app: &App) -> String {
    let in_force = app.rules.now();
    let mut nodes: Vec<&str> = in_force.differing.iter().map(|d| d.node.as_str()).collect();
    nodes.dedup();
    if nodes.is_empty() {
        return String::new();
    }
    format!(
        "{} rule sets differ from the files of {}; GET /api/v1/policy and the log say whose",
        in_force.differing.len(),
        nodes.join(", ")
    )
}
