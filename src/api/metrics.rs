//! `/metrics` for Prometheus. Never a label by case, number or name.

use std::time::Duration;

use axum::extract::State;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::App;

/// What renders the metrics.
pub type Handle = PrometheusHandle;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(render))
}

/// Installs the process-wide recorder and describes every metric.
pub fn install() -> anyhow::Result<Handle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("ringfence_bridge_seconds".into()),
            &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5],
        )?
        .install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    metrics::describe_counter!(
        "ringfence_dials_total",
        "Requests to dial, by the gate's answer"
    );
    metrics::describe_counter!(
        "ringfence_calls_ended_total",
        "Calls that ended, by cause and class"
    );
    metrics::describe_counter!(
        "ringfence_calls_broken_off_total",
        "Calls whose task broke off by a fault of ours and was settled at once"
    );
    metrics::describe_gauge!("ringfence_calls", "Calls that are up");
    metrics::describe_gauge!(
        "ringfence_trunk_up",
        "1 while the PBX is registered and reachable"
    );
    metrics::describe_gauge!(
        "ringfence_rules_differing",
        "Rules of clients that are others in the files of another daemon on this database; the strictest is gone by"
    );
    metrics::describe_gauge!(
        "ringfence_caller_ids_falling",
        "Numbers of ours that are answered less than before, by yesterday's report"
    );
    metrics::describe_counter!(
        "ringfence_recordings_sealed_total",
        "Recordings sealed, by state"
    );
    metrics::describe_counter!(
        "ringfence_recording_alarms_total",
        "Recordings that are not as they should be, by kind"
    );
    metrics::describe_counter!(
        "ringfence_dials_unsure_total",
        "Calls that were allowed as the database went away, and never rang"
    );
    metrics::describe_counter!(
        "ringfence_attempts_not_closed_total",
        "Attempts that stay open until the next start settles them"
    );
    metrics::describe_histogram!(
        "ringfence_browser_round_trip_seconds",
        metrics::Unit::Seconds,
        "Round trip as agents' browsers report it"
    );
    metrics::describe_histogram!(
        "ringfence_bridge_seconds",
        metrics::Unit::Seconds,
        "From the customer's 200 OK read from the socket to both legs joined by the audio thread"
    );
    Ok(handle)
}

/// Counters, gauges and histograms in Prometheus' text format.
#[utoipa::path(get, operation_id = "metrics", path = "/metrics", tag = "operation", security(()), responses(
    (status = 200, description = "Prometheus text", body = String, content_type = "text/plain")
))]
async fn render(State(app): State<App>) -> String {
    app.metrics.render()
}
