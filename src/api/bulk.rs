//! `/api/v1/cases/bulk`: pause, resume, return, close, reopen or mark many cases at once, with the reason.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Malformed, NoRight, NoToken, NotJson, NotNow, NotSo, NotYours, TooLarge},
    auth::{Caller, Right},
    extract::Body,
    problem::Problem,
};
use crate::{
    cases::bulk::{self, BulkError},
    store::{
        self,
        case_states::Act,
        selection::{self, CaseFilter},
    },
};

/// References of one request; the body's limit allows for about as many.
const MOST: usize = 5_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(act))
}

/// What to do with which cases.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkBody {
    /// `pause`, `resume`, `return`, `close`, `reopen` (what was returned or closed by mistake) or `mark`.
    action: String,
    /// Why.
    reason: String,
    /// Of a pause: it ends by itself then, milliseconds UTC. Left out: when somebody resumes.
    until_ms: Option<i64>,
    /// Of `reopen`: settled ones too; only with `references`, for a person decides that of each.
    settled: Option<bool>,
    /// Of `mark`: `red`, `orange`, `yellow`, `green`, `blue`, `purple`; empty takes it away.
    mark: Option<String>,
    /// Which cases, as in an allocation; at least one member.
    #[schema(value_type = Object)]
    cases: Option<CaseFilter>,
    /// Or: code of the client whose cases `references` names.
    client: Option<String>,
    /// The client's case numbers.
    references: Option<Vec<String>>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
struct DoneBody {
    /// Cases selected.
    selected: usize,
    /// Of these, those changed; the others were in a state from which there is no way.
    changed: u64,
    /// Of the references, those of which there is no case.
    unknown: Vec<String>,
}

/// Do it.
#[utoipa::path(
    operation_id = "change_cases",
    post, path = "/api/v1/cases/bulk", tag = "cases", request_body = BulkBody, security(("token" = [])),
    responses(
        (status = 200, description = "Done", body = DoneBody),
        Malformed, NoToken, NoRight, NotYours, TooLarge, NotJson, NotSo, NotNow,
    )
)]
async fn act(
    caller: Caller,
    State(app): State<App>,
    Body { value: body, .. }: Body<BulkBody>,
) -> Result<Json<DoneBody>, Problem> {
    caller.must(Right::DealCases)?;
    let invalid = |text: &str| Err(Problem::Invalid(text.into()));
    let act = match (
        body.action.as_str(),
        body.until_ms,
        &body.mark,
        body.settled,
    ) {
        ("pause", until_ms, None, None) => Act::Pause { until_ms },
        ("resume", None, None, None) => Act::Resume,
        ("return", None, None, None) => Act::Return,
        ("close", None, None, None) => Act::Close,
        ("reopen", None, None, settled) => Act::Reopen {
            settled: settled == Some(true),
        },
        ("mark", None, Some(mark), None) => Act::Mark(mark),
        ("mark", _, None, _) => return invalid("mark: say which; empty takes the mark away"),
        ("pause" | "resume" | "return" | "close" | "reopen" | "mark", ..) => {
            return invalid("until_ms is for pause, mark is for mark, settled is for reopen");
        }
        _ => return invalid("action: one of pause, resume, return, close, reopen, mark"),
    };
    if body.settled == Some(true) && body.references.is_none() {
        return invalid("settled: name the cases one by one with client and references");
    }
    let mut tx = app.db.read().await?;
    let (selected, unknown, client) = match (body.cases, body.client, body.references) {
        (Some(filter), None, None) if filter != CaseFilter::default() => {
            let client = match filter.client.as_str() {
                "" => None,
                code => store::clients::by_code(&mut tx, code).await?,
            };
            let selected = selection::select(&mut tx, Some(&caller), &filter).await?;
            (selected, Vec::new(), client.map(|client| client.id))
        }
        (Some(_), None, None) => {
            return invalid(
                "cases: name at least one filter; all cases of all clients are never meant",
            );
        }
        (None, Some(code), Some(references)) if (1..=MOST).contains(&references.len()) => {
            let client = store::clients::by_code(&mut tx, &code).await?;
            let client = client
                .filter(|client| caller.sees(client.id))
                .ok_or_else(|| Problem::absent("client"))?;
            let (selected, unknown) =
                selection::by_references(&mut tx, client.id, &references).await?;
            (selected, unknown, Some(client.id))
        }
        _ => {
            return Err(Problem::Invalid(format!(
                "name either cases, or client and 1 to {MOST} references"
            )));
        }
    };
    drop(tx);
    let cases: Vec<_> = selected.into_iter().map(|one| one.case).collect();
    let by = (caller.name.as_str(), body.reason.as_str());
    let done = bulk::act(&app.db, &app.clock, &cases, act, client, by).await?;
    Ok(Json(DoneBody {
        selected: done.asked,
        changed: done.changed,
        unknown,
    }))
}

impl From<BulkError> for Problem {
    fn from(error: BulkError) -> Self {
        match error {
            BulkError::Reason | BulkError::Mark(_) | BulkError::Until => {
                Self::Invalid(error.to_string())
            }
            BulkError::Store(error) => error.into(),
        }
    }
}
