//! `/api/v1/reports`: the catalogue of reports, each with its definitions and the SQL query that reproduces it.
//!
//! For those who may see figures. An account that sees some clients only gets the reports that can be limited to one of
//! them, and names it if it has several.

use axum::{
    Json,
    extract::{OriginalUri, State},
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
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
    export::Format,
    stats::reports::{self, Asked, Frame, Name, ReportError},
    store::figures::{Axis, Over},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
}

/// A report of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
struct ListedBody {
    /// Its name in the path.
    report: &'static str,
    /// What it shows.
    about: &'static str,
    /// Whether it can be limited to a client.
    by_client: bool,
    /// Days of the period if none is told.
    usual_days: i32,
}

/// The reports there are.
#[utoipa::path(
    operation_id = "list_reports",
    get, path = "/api/v1/reports", tag = "stats", security(("token" = [])),
    responses(
        (status = 200, description = "The reports there are", body = [ListedBody]),
        NoToken, NoRight,
    )
)]
async fn list(caller: Caller) -> Result<Json<Vec<ListedBody>>, Problem> {
    caller.must(Right::Figures)?;
    let listed = Name::ALL.iter().map(|name| ListedBody {
        report: name.as_str(),
        about: name.about(),
        by_client: name.by_client(),
        usual_days: name.usual_days(),
    });
    Ok(Json(listed.collect()))
}

/// Which days, which columns, in which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// First day, YYYY-MM-DD; as many days before the last as is usual for the report if left out.
    from: Option<String>,
    /// Last day, YYYY-MM-DD; today if left out.
    to: Option<String>,
    /// Of `connect-rate`: `hour`, `day`, `week`, `month`, `agent`, `client`, …; `day` if this and `over` are left out.
    by: Option<String>,
    /// Of `connect-rate`: a second one.
    and: Option<String>,
    /// Of `connect-rate`: `day`, `week` (called by its Monday) or `month`, over which these are shown.
    over: Option<String>,
    /// Code of the client to which it is limited.
    client: Option<String>,
    /// Of `promises`: days of grace.
    grace_days: Option<u16>,
    /// `json` (if left out), `csv` or `xlsx`.
    format: Option<String>,
}

/// A report: columns, lines, corrections of sealed days, definitions, and the SQL query that reproduces it; of a total the
/// query too, as `sql_of_total`.
#[utoipa::path(
    operation_id = "read_report",
    get, path = "/api/v1/reports/{report}", tag = "stats", params(
        ("report" = String, Path, description = "Name of the report"),
        Wanted,
    ), security(("token" = [])),
    responses(
        (status = 200, description = "The report; as CSV or XLSX if asked for. A workbook explains itself on its second sheet; beside \
                                      CSV a Link with rel=\"describedby\" leads to the JSON form with definitions and query",
         body = serde_json::Value, headers(("link" = Option<String>, description = "Beside CSV: the JSON form"))),
        Malformed, NoToken,
        (status = 403, description = "Not with this role, or not for the clients of this account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such report", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "More than the form can hold", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    caller: Caller,
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Path(name): Path,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    caller.must(Right::Figures)?;
    let name: Name = name
        .parse()
        .map_err(|e| Problem::NotFound(format!("there is no such report; it {e}")))?;
    let format = match wanted.format.as_deref() {
        None => Format::Json,
        Some(word) => Format::parse(word)
            .ok_or_else(|| Problem::Invalid("format: must be one of: json, csv, xlsx".into()))?,
    };
    let day = |name: &str, text: &Option<String>| {
        let parsed = text.as_ref().map(|text| text.parse::<jiff::civil::Date>());
        parsed
            .transpose()
            .map_err(|_| Problem::Invalid(format!("{name}: that is no day; write YYYY-MM-DD")))
    };
    let axis = |name: &str, text: &Option<String>| {
        let parsed = text.as_ref().map(|text| text.parse::<Axis>());
        parsed
            .transpose()
            .map_err(|e| Problem::Invalid(format!("{name}: {e}")))
    };
    let over = wanted.over.as_ref().map(|text| text.parse::<Over>());
    let over = over.transpose();
    let today = app.switchboard.today();
    let asked = Asked {
        by: axis("by", &wanted.by)?,
        and: axis("and", &wanted.and)?,
        over: over.map_err(|e| Problem::Invalid(format!("over: {e}")))?,
        client: wanted.client,
        grace_days: wanted.grace_days,
        ..Asked::new(
            name,
            day("from", &wanted.from)?,
            day("to", &wanted.to)?,
            today,
        )
    };
    let frame = Frame {
        zone: app.switchboard.display_zone(),
        today,
        scope: &caller.scope,
    };
    let mut tx = app.db.read().await?;
    let report = reports::read(&mut tx, &asked, frame).await?;
    tx.rollback().await?;
    if format == Format::Json {
        return Ok(Json(report.json()).into_response());
    }
    let mut bytes = Vec::new();
    report
        .write(&mut bytes, format)
        .map_err(|e| Problem::Unprocessable(e.to_string()))?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    let file = format!("{name}_{}_{}.{}", report.from, report.to, format.as_str());
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    if format == Format::Csv
        && let Ok(link) = HeaderValue::from_str(&described_by(&uri, &report.from, &report.to))
    {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// The link (RFC 8288) to the form of this report that explains it, with its days named, so that it is the same tomorrow.
fn described_by(uri: &Uri, from: &str, to: &str) -> String {
    let mut link = format!("<{}?from={from}&to={to}", uri.path());
    // As it was asked, and so encoded already.
    for part in uri.query().unwrap_or_default().split('&') {
        let name = part.split('=').next().unwrap_or_default();
        if !matches!(name, "" | "format" | "from" | "to") && !part.contains(['<', '>']) {
            link.push('&');
            link.push_str(part);
        }
    }
    link + ">; rel=\"describedby\"; type=\"application/json\""
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Unfit(detail) => Self::Invalid(detail),
            ReportError::Forbidden(detail) => Self::Forbidden(detail),
            ReportError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_names_the_days_and_keeps_what_else_was_asked() {
        let uri = Uri::from_static(
            "/api/v1/reports/connect-rate?by=hour&format=csv&client=%E6%8B%9B&to=2026-11-30",
        );
        assert_eq!(
            described_by(&uri, "2026-11-30", "2026-11-30"),
            "</api/v1/reports/connect-rate?from=2026-11-30&to=2026-11-30&by=hour&client=%E6%8B%9B>; rel=\"describedby\"; \
             type=\"application/json\""
        );
    }
}
