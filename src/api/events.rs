//! `/api/v1/events`: what happens on the floor as server-sent events. An agent sees its own calls, others the calls of
//! their clients. A reader that is too slow is told how many events it missed.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::Caller,
    problem::{Problem, ProblemBody},
};
use crate::{
    store::users::Role,
    switchboard::{FloorEvent, News},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Events as they happen, `text/event-stream`; `call` for each step of a call, `session` for the
/// agent's own browser connection.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", security(("token" = [])), responses(
    (status = 200, description = "Events", body = FloorEvent, content_type = "text/event-stream"),
    (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
))]
async fn stream(
    caller: Caller,
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let events =
        BroadcastStream::new(app.switchboard.events()).filter_map(move |news| match news {
            Ok(news) => visible(&caller, &news).then(|| Ok(render(&news))),
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Ok(Event::default()
                .event("missed")
                .data(format!("{{\"missed\":{missed}}}")))),
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn visible(caller: &Caller, news: &News) -> bool {
    match (news, caller.role) {
        (News::Call(event), Role::Agent) => caller.agent_id == Some(event.agent),
        (News::Call(event), _) => event.client.is_none_or(|client| caller.sees(client)),
        (News::Session(event), _) => caller.agent_id == Some(event.agent),
    }
}

fn render(news: &News) -> Event {
    let (name, data) = match news {
        News::Call(event) => ("call", serde_json::to_string(event)),
        News::Session(event) => ("session", serde_json::to_string(event)),
    };
    Event::default()
        .event(name)
        .data(data.unwrap_or_else(|_| "{}".into()))
}
