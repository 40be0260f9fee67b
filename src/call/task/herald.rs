//! Who tells the floor about a call: how far it is, what is to be known of it, and its end. Carries no number and no name;
//! nobody listening is fine.

use tokio::sync::{broadcast, watch};

use super::Floorwork;
use crate::{
    call::{Cause, machine::Event},
    clock::Clock,
    ids::{AgentId, CallId, ClientId},
    switchboard::{FloorEvent, News},
};

/// The last state of every call.
const ENDED: &str = "ended";

/// Tells about one call. Outlives the call's task, so that the end of one that broke off is told as well.
#[derive(Clone)]
pub(crate) struct Herald {
    call: CallId,
    agent: AgentId,
    client: ClientId,
    clock: Clock,
    state: watch::Sender<&'static str>,
    events: broadcast::Sender<News>,
}

impl Herald {
    /// `state` is what handles on the call see.
    pub(super) fn new(
        floor: &Floorwork,
        call: CallId,
        agent: AgentId,
        client: ClientId,
        state: watch::Sender<&'static str>,
    ) -> Self {
        Self {
            call,
            agent,
            client,
            clock: floor.clock.clone(),
            state,
            events: floor.events.clone(),
        }
    }

    /// What the machine said.
    pub(super) fn publish(&self, event: Event) {
        let (state, leg, is_progress) = match event {
            Event::AgentRinging => ("agent_ringing", None, true),
            Event::AgentAnswered => ("agent_answered", None, true),
            Event::CustomerCalled => ("customer_dialling", None, true),
            Event::CustomerRinging => ("customer_ringing", None, true),
            Event::CustomerAnswered => ("customer_answered", None, true),
            Event::Bridged => ("talking", None, true),
            Event::WindowClosing => ("window_closing", None, false),
            Event::WindowClosed => ("window_closed", None, false),
            Event::RecordingBroke => ("recording_broken", None, false),
            Event::Silent(leg) => ("silent", Some(leg.as_str()), false),
            Event::Resumed(leg) => ("resumed", Some(leg.as_str()), false),
            Event::Draining => ("draining", None, false),
        };
        if let Event::Silent(leg) = event {
            tracing::warn!(call = %self.call, leg = leg.as_str(), "no audio comes from a leg");
        }
        // What is only an alarm is not how far the call is.
        if is_progress {
            self.state.send_replace(state);
        }
        self.tell(state, None, leg);
    }

    /// Its end stands in the store, or will not before the next start. A second end is not told.
    pub(crate) fn ended(&self, cause: Cause) {
        if self.state.send_replace(ENDED) == ENDED {
            return;
        }
        let class = cause.class().as_str();
        tracing::info!(call = %self.call, cause = cause.as_str(), class, "a call ended");
        metrics::counter!("ringfence_calls_ended_total", "cause" => cause.as_str(), "class" => class)
            .increment(1);
        self.tell(ENDED, Some(cause), None);
    }

    fn tell(&self, state: &'static str, cause: Option<Cause>, leg: Option<&'static str>) {
        let event = FloorEvent {
            call_id: self.call.to_string(),
            state,
            agent: self.agent,
            client: Some(self.client),
            at_ms: self.clock.wall_ms(),
            cause,
            leg,
        };
        let _ = self.events.send(News::Call(event));
    }
}
