//! `/api/v1/policy`: the rules in force, their history, and what they would decide.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::{Away, Malformed, NoRight, NoToken},
    auth::{Caller, Right},
    bars::case_name,
    extract::Query,
    problem::{Problem, ProblemBody, ReasonBody},
};
use crate::{
    rulebook::{self, elsewhere::Differing, find},
    store::{self, users::Scope},
};

/// Rows of history in one answer at most.
const PAGE: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(history))
        .routes(routes!(explain))
        .routes(routes!(reload))
}

/// The rules in force.
#[derive(Debug, Serialize, ToSchema)]
struct RulesBody {
    /// SHA-256 of the canonical text, which receipts name.
    sha256: String,
    /// Preset and files they come from; absent where a set was asked for by its hash, which may have come from several.
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    /// The rules.
    #[schema(value_type = Object)]
    rules: serde_json::Value,
    /// What is wrong with the files, if they were found bad when they were last read; then the rules are those of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// Other daemons on this database whose files say something else for this client: until they agree, the strictest of
    /// all is gone by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differing_nodes: Vec<String>,
}

/// Rules that came into force.
#[derive(Debug, Serialize, ToSchema)]
struct InForceBody {
    /// Order of coming into force.
    id: i64,
    /// Code of the client; absent: every client without rules of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// SHA-256 of the canonical text.
    sha256: String,
    /// Name.
    name: String,
    /// Revision.
    revision: String,
    /// Since when, milliseconds UTC.
    from_ms: i64,
    /// Preset and files they came from.
    source: String,
    /// Who loaded them.
    actor: String,
    /// The daemon that went by them; empty for what was noted before daemons were told apart.
    node: String,
}

/// What would be decided for one person.
#[derive(Debug, Serialize, ToSchema)]
struct ExplainedBody {
    /// Whom the call would be to.
    contact_point_id: i64,
    /// What that person is to the debt.
    relation: String,
    /// Whether the call would be allowed.
    allowed: bool,
    /// Every reason of a refusal.
    reasons: Vec<ReasonBody>,
    /// The receipt that would be stored: rules, clock, zones, counters, verdict.
    #[schema(value_type = Object)]
    decision: serde_json::Value,
}

/// What loading again came to.
#[derive(Debug, Serialize, ToSchema)]
struct ReloadedBody {
    /// Whose rules are other ones now: codes of clients, and `all`.
    changed: Vec<String>,
    /// Files whose client is not known yet.
    strangers: Vec<String>,
    /// Clients at other daemons whose files say something else, such as `bank-a at node floor-2`: until they agree, the
    /// strictest of all is gone by.
    differing: Vec<String>,
}

/// Which rules.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichRules {
    /// Code of the client; left out: every client without rules of its own.
    client: Option<String>,
    /// Hash of a set that ever decided, as receipts and the history name it; goes without `client`.
    sha256: Option<String>,
}

/// Whose rules.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Code of the client; left out: every client without rules of its own.
    client: Option<String>,
    /// Only what came into force before this row of the history, for the next page.
    before: Option<i64>,
}

/// Which call.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The case.
    case_id: i64,
    /// A number of the case, in E.164 or as dialled at home.
    number: String,
    /// The instant, milliseconds UTC; now if left out.
    at_ms: Option<i64>,
}

/// The rules in force for a client, or any set that ever decided.
#[utoipa::path(
    operation_id = "read_policy",
    get, path = "/api/v1/policy", tag = "rules", params(WhichRules), security(("token" = [])),
    responses(
        (status = 200, description = "The rules", body = RulesBody),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such client, or no such set", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    caller: Caller,
    State(app): State<App>,
    Query(which): Query<WhichRules>,
) -> Result<Json<RulesBody>, Problem> {
    caller.must(Right::Rules)?;
    if let Some(sha256) = which.sha256 {
        if which.client.is_some() {
            return Err(Problem::Invalid(
                "client and sha256: name one of them; a set is the same for whomever it was in force".into(),
            ));
        }
        return kept(&caller, &app, sha256).await.map(Json);
    }
    let in_force = app.rules.now();
    let client = which.client.as_deref().unwrap_or("");
    if !client.is_empty() {
        let mut tx = app.db.read().await?;
        find::client(&mut tx, client, Some(&caller)).await?;
    }
    let set = in_force.of(client);
    // Whose rules are the general ones differs where those do.
    let own = in_force.sets.clients.contains_key(client);
    let differing = in_force.differing.iter();
    let differing_nodes = differing
        .filter(|one| one.client == if own { client } else { "" })
        .map(|one| one.node.clone())
        .collect();
    Ok(Json(RulesBody {
        sha256: set.sha256.clone(),
        source: set.source.clone(),
        rules: serde_json::from_str(&set.rules.canonical_text()).map_err(anyhow::Error::new)?,
        fault: app.rules.fault(),
        differing_nodes,
    }))
}

/// A set that is or was in force, by its hash.
async fn kept(caller: &Caller, app: &App, sha256: String) -> Result<RulesBody, Problem> {
    let sha256 = sha256.to_ascii_lowercase();
    let mut tx = app.db.read().await?;
    let text = match store::rules::may_read(&mut tx, &sha256, caller).await? {
        true => store::rules::text(&mut tx, &sha256).await?,
        false => None,
    };
    let text = text.ok_or_else(|| Problem::absent("rule set"))?;
    Ok(RulesBody {
        rules: serde_json::from_str(&text).map_err(anyhow::Error::new)?,
        sha256,
        source: String::new(),
        fault: None,
        differing_nodes: Vec::new(),
    })
}

/// Which rules were in force since when, newest first, 200 at most.
#[utoipa::path(
    operation_id = "list_policy_history",
    get, path = "/api/v1/policy/history", tag = "rules", params(Whose), security(("token" = [])),
    responses(
        (status = 200, description = "What came into force", body = Vec<InForceBody>),
        Malformed, NoToken,
        (status = 403, description = "Not with this role, or not for all clients", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such client", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn history(
    caller: Caller,
    State(app): State<App>,
    Query(whose): Query<Whose>,
) -> Result<Json<Vec<InForceBody>>, Problem> {
    caller.must(Right::Rules)?;
    let mut tx = app.db.read().await?;
    match &whose.client {
        Some(code) => drop(find::client(&mut tx, code, Some(&caller)).await?),
        None if caller.scope == Scope::All => {}
        None => {
            return Err(Problem::Forbidden(
                "the history of all clients needs an account that sees all clients; name one"
                    .into(),
            ));
        }
    }
    let found = store::rules::history(&mut tx, whose.client.as_deref(), whose.before, PAGE).await?;
    let bodies = found.into_iter().map(|row| InForceBody {
        id: row.id,
        client: row.client,
        sha256: row.sha256,
        name: row.name,
        revision: row.revision,
        from_ms: row.from_ms,
        source: row.source,
        actor: row.actor,
        node: row.node,
    });
    Ok(Json(bodies.collect()))
}

/// What would be decided at an instant, and why. Stores nothing and rings nobody.
#[utoipa::path(
    operation_id = "explain_policy",
    get, path = "/api/v1/policy/explain", tag = "rules", params(Wanted), security(("token" = [])),
    responses(
        (status = 200, description = "Once for each person of the case with that number", body = Vec<ExplainedBody>),
        Malformed, NoToken, NoRight,
        (status = 404, description = "No such case or number", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn explain(
    caller: Caller,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<ExplainedBody>>, Problem> {
    caller.must(Right::Rules)?;
    let case = case_name(&app, &caller, wanted.case_id).await?;
    let number = app.numbering().number(&wanted.number)?;
    let at_ms = wanted.at_ms.unwrap_or_else(|| app.clock.wall_ms());
    jiff::Timestamp::from_millisecond(at_ms)
        .map_err(|_| Problem::Invalid("at_ms: beyond the calendar".into()))?;
    let explained = rulebook::explain::explain(
        &app.db,
        &app.rules.of(&case.client),
        &case,
        &number,
        at_ms,
        Some(&caller),
    )
    .await?;
    let body = |one: rulebook::explain::Explained| -> Result<ExplainedBody, Problem> {
        Ok(ExplainedBody {
            contact_point_id: one.target.contact_point.get(),
            relation: one.target.relation.as_str().to_owned(),
            allowed: one.decision.is_allowed(),
            reasons: one
                .decision
                .reasons()
                .iter()
                .map(|refusal| ReasonBody {
                    code: refusal.reason.code().to_owned(),
                    text: refusal.reason.english(),
                    text_zh: refusal.reason.chinese(),
                    clause: refusal.clause.clone(),
                })
                .collect(),
            decision: serde_json::from_str(one.decision.receipt.text())
                .map_err(anyhow::Error::new)?,
        })
    };
    explained
        .into_iter()
        .map(body)
        .collect::<Result<_, _>>()
        .map(Json)
}

/// Reads the rule files again, as SIGHUP does. Bad files leave the rules as they were.
#[utoipa::path(
    operation_id = "reload_policy",
    post, path = "/api/v1/policy/reload", tag = "rules", security(("token" = [])),
    responses(
        (status = 200, description = "Every decision from now on is by them", body = ReloadedBody),
        NoToken, NoRight,
        (status = 422, description = "A file is bad; which, and its line, is said", body = ProblemBody, content_type = "application/problem+json"),
        Away,
    )
)]
async fn reload(caller: Caller, State(app): State<App>) -> Result<Json<ReloadedBody>, Problem> {
    caller.must(Right::Reload)?;
    let now_ms = app.clock.wall_ms();
    match app.rules.reload(&app.db, &caller.name, now_ms).await {
        Ok(done) => Ok(Json(ReloadedBody {
            changed: done.changed,
            strangers: done.strangers,
            differing: done.differing.iter().map(Differing::words).collect(),
        })),
        Err(error) => Err(match error.downcast::<store::Error>() {
            Ok(error) => error.into(),
            Err(error) => match error.downcast::<rulebook::files::FilesError>() {
                Ok(error) => {
                    Problem::Unprocessable(format!("the rules stay as they were: {error}"))
                }
                Err(error) => Problem::Internal(error),
            },
        }),
    }
}
