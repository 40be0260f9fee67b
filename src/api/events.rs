//! `/api/v1/events`: what happens on the floor, as it happens, as server-sent events. An agent sees their own calls, others
//! see those of their clients. A reader that is too slow is told how many it missed, and a token that is barred ends its
//! stream. Nothing is sent again: who comes back reads `/api/v1/calls` for how things stand.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    answers::NoToken,
    auth::{self, Caller, Right},
    problem::Problem,
};
use crate::{
    store::users::{Role, Scope},
    switchboard::{FloorEvent, News},
};

/// Events under way to one reader; what it does not take stays with the floor, which counts what it drops.
const ON_THE_WAY: usize = 16;
/// A token that was barred is noticed within this time.
const RECHECK: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Events as they happen, `text/event-stream`: `call` for each step of a call, `session` for the agent's own browser
/// connection, `callback.due` for a callback to be placed, `caller_ids.falling` when numbers of ours are answered less than
/// before (for those who see figures of all clients), `missed` with how many events a slow reader lost.
#[utoipa::path(get, operation_id = "stream_events", path = "/api/v1/events", tag = "events", security(("token" = [])), responses(
    (status = 200, description = "Events", body = FloorEvent, content_type = "text/event-stream"),
    NoToken,
))]
async fn stream(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let news = app.switchboard.events();
    let (sender, receiver) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        tokio::select! {
            () = relay(news, &caller, &sender) => {}
            () = until_barred(&app, &headers, &caller) => tracing::info!(user = %caller.id, "a stream of events ends with its token"),
        }
    });
    let events = ReceiverStream::new(receiver).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Hands on what the caller may see, until either end is gone.
async fn relay(mut news: broadcast::Receiver<News>, caller: &Caller, sender: &mpsc::Sender<Event>) {
    loop {
        let event = tokio::select! {
            news = news.recv() => match news {
                Ok(news) if visible(caller, &news) => render(&news),
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(missed)) => Event::default()
                    .event("missed")
                    .data(format!("{{\"missed\":{missed}}}")),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = sender.closed() => return,
        };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

/// Returns when the token no longer stands for this very user with this very scope.
async fn until_barred(app: &App, headers: &HeaderMap, caller: &Caller) {
    let mut tick = tokio::time::interval(RECHECK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match auth::user(app, headers).await {
            Ok(user)
                if user.id == caller.id
                    && user.role == caller.role
                    && user.agent_id == caller.agent_id
                    && user.scope == caller.scope => {}
            // A database that is away bars nobody; new requests are refused by themselves.
            Err(Problem::Unavailable(_) | Problem::Internal(_)) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

fn visible(caller: &Caller, news: &News) -> bool {
    match (news, caller.role) {
        (News::Call(event), Role::Agent) => caller.agent_id == Some(event.agent),
        (News::Call(event), _) => event.client.is_none_or(|client| caller.sees(client)),
        (News::Session(event), _) => caller.agent_id == Some(event.agent),
        (News::Callback(event), Role::Agent) => caller.agent_id == Some(event.agent),
        (News::Callback(event), _) => caller.sees(event.client),
        // Figures over all clients, for those who may see them.
        (News::CallerIds(_), role) => caller.scope == Scope::All && auth::may(role, Right::Figures),
    }
}

fn render(news: &News) -> Event {
    let (name, data) = match news {
        News::Call(event) => ("call", serde_json::to_string(event)),
        News::Session(event) => ("session", serde_json::to_string(event)),
        News::Callback(event) => ("callback.due", serde_json::to_string(event)),
        News::CallerIds(event) => ("caller_ids.falling", serde_json::to_string(event)),
    };
    Event::default()
        .event(name)
        .data(data.unwrap_or_else(|_| "{}".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use axum::{body::to_bytes, response::IntoResponse};

    use super::*;
    use crate::{
        ids::{AgentId, ClientId, UserId},
        store::users::User,
    };

    fn caller(role: Role, agent: Option<i64>, scope: Scope) -> Caller {
        Caller(User {
            id: UserId::new(1),
            name: "x".into(),
            role,
            agent_id: agent.map(AgentId::new),
            scope,
            revoked_at_ms: None,
            used_at_ms: None,
        })
    }

    fn step(agent: i64, client: i64, at_ms: i64) -> News {
        News::Call(FloorEvent {
            call_id: "c".into(),
            state: "talking",
            agent: AgentId::new(agent),
            client: Some(ClientId::new(client)),
            at_ms,
            cause: None,
            leg: None,
        })
    }

    async fn told(caller: Caller, capacity: usize, news: Vec<News>) -> String {
        let (floor, listening) = broadcast::channel(capacity);
        for news in news {
            floor.send(news).expect("somebody listens");
        }
        drop(floor);
        let (sender, receiver) = mpsc::channel(64);
        relay(listening, &caller, &sender).await;
        drop(sender);
        let events = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
        let body = Sse::new(events).into_response().into_body();
        String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_how_many_events_it_missed() {
        let news = (1..=10).map(|n| step(1, 1, n)).collect();
        let text = told(caller(Role::Lead, None, Scope::All), 4, news).await;
        assert!(
            text.starts_with("event: missed\ndata: {\"missed\":6}\n\n"),
            "{text}"
        );
        assert_eq!(text.matches("event: call").count(), 4, "{text}");
        assert!(text.contains("\"at_ms\":10"), "{text}");
    }

    #[tokio::test]
    async fn falling_caller_ids_are_told_to_those_who_see_all_figures() {
        let heard = async |role, scope| {
            let news = vec![News::CallerIds(crate::switchboard::CallerIdsEvent {
                falling: 2,
                new: 1,
                until: "2026-11-22".into(),
                at_ms: 7,
            })];
            told(caller(role, Some(1), scope), 8, news).await
        };
        let text = heard(Role::Operations, Scope::All).await;
        assert!(
            text.starts_with("event: caller_ids.falling\ndata: {\"falling\":2,\"new\":1,"),
            "{text}"
        );
        assert_eq!(heard(Role::Agent, Scope::All).await, "");
        let one = Scope::Clients(vec![ClientId::new(1)]);
        assert_eq!(heard(Role::Operations, one).await, "");
    }

    #[tokio::test]
    async fn everybody_hears_of_their_own_calls_or_clients_only() {
        let news = || vec![step(1, 1, 11), step(2, 1, 21), step(2, 2, 22)];
        let count = |text: String| text.matches("event: call").count();
        let all = || Scope::All;
        assert_eq!(
            count(told(caller(Role::Agent, Some(2), all()), 8, news()).await),
            2
        );
        assert_eq!(
            count(told(caller(Role::Agent, None, all()), 8, news()).await),
            0
        );
        let one = Scope::Clients(vec![ClientId::new(1)]);
        assert_eq!(count(told(caller(Role::Qa, None, one), 8, news()).await), 2);
        assert_eq!(
            count(told(caller(Role::Auditor, None, all()), 8, news()).await),
            3
        );
    }
}
