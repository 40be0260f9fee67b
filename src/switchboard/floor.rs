//! The task that owns who sits where and which calls are up. It decides nothing about rules and does no IO: it keeps
//! one call an agent, the limit of calls, wrap-up times, breaks and the drain, and hands each change of an agent's state
//! to `states.rs`, which writes it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};

use super::{
    DialError, Settings,
    browser::{BrowserRefused, BrowserSeat},
    states::{States, Wish, Working},
};
use crate::{
    agent::{Agent, AgentState, Presence, StepError},
    call::task::{CallHandle, Seat},
    clock::Clock,
    ids::{AgentId, CallId},
};

/// What others ask the floor.
pub(super) enum Ask {
    /// Takes the agent for a call that is being decided.
    Reserve {
        agent: AgentId,
        call: CallId,
        reply: oneshot::Sender<Result<Seat, DialError>>,
    },
    /// The call was not allowed, or could not be decided: the agent is as before.
    Release { agent: AgentId, call: CallId },
    /// The call's task runs.
    Begin {
        call: CallId,
        agent: AgentId,
        handle: CallHandle,
    },
    /// The call is over: the agent writes the note.
    WrapUp {
        call: CallId,
        agent: AgentId,
        connected: bool,
    },
    /// Its recording is sealed and its legs are released.
    End { call: CallId },
    /// Somebody wants it over.
    HangUp { call: CallId },
    /// How far it is.
    StateOf {
        call: CallId,
        reply: oneshot::Sender<Option<&'static str>>,
    },
    /// Whether new calls are refused.
    IsDraining { reply: oneshot::Sender<bool> },
    /// Takes no new calls; the inner channel answers when the last one is over.
    Drain {
        patience: Duration,
        reply: oneshot::Sender<oneshot::Receiver<()>>,
    },
    /// The agent's browser is connected; answers with the name of the connection it replaces.
    Browser {
        agent: AgentId,
        seat: BrowserSeat,
        reply: oneshot::Sender<Result<Option<String>, BrowserRefused>>,
    },
    /// Whether audio flows to the agent's browser; `None` where there is none.
    Connected {
        agent: AgentId,
        reply: oneshot::Sender<Option<watch::Receiver<bool>>>,
    },
    /// The connection of that number broke by itself.
    BrowserGone { agent: AgentId, number: u64 },
    /// The agent comes, goes, or takes a break.
    Wish {
        agent: AgentId,
        wish: Wish,
        reply: oneshot::Sender<Result<(), StepError>>,
    },
    /// The note of that call is written: its wrap-up is over.
    Noted { agent: AgentId, call: CallId },
    /// Who does what.
    Working {
        reply: oneshot::Sender<Vec<Working>>,
    },
    /// The daemon stops: nobody is there any more.
    AllGone { reply: oneshot::Sender<()> },
}

/// An agent's place on the floor.
struct Desk {
    agent: Agent,
    browser: Option<BrowserSeat>,
    /// The call that goes, or will go, through a browser, and that connection's number.
    through: Option<(CallId, u64)>,
    /// Of a break.
    reason: String,
    /// What was handed on last.
    told: (Presence, String),
}

impl Desk {
    /// Whether `call` was to go through a connection that is gone by now.
    fn lost_browser_of(&self, call: CallId) -> bool {
        let present = self.browser.as_ref().map(BrowserSeat::number);
        self.through
            .is_some_and(|(through, number)| through == call && present != Some(number))
    }
}

struct Live {
    agent: AgentId,
    handle: CallHandle,
}

struct Draining {
    until: Instant,
    told: bool,
    done: Vec<oneshot::Sender<()>>,
}

pub(super) struct Floor {
    clock: Clock,
    settings: Arc<Settings>,
    states: States,
    desks: HashMap<AgentId, Desk>,
    calls: HashMap<CallId, Live>,
    /// Clicks being decided; they count against the limit too.
    reserved: usize,
    draining: Option<Draining>,
}

impl Floor {
    pub fn new(clock: Clock, settings: Arc<Settings>, states: States) -> Self {
        Self {
            clock,
            settings,
            states,
            desks: HashMap::new(),
            calls: HashMap::new(),
            reserved: 0,
            draining: None,
        }
    }

    pub async fn run(mut self, mut inbox: mpsc::Receiver<Ask>) {
        loop {
            let deadline = self.draining.as_ref().filter(|d| !d.told).map(|d| d.until);
            tokio::select! {
                ask = inbox.recv() => match ask {
                    Some(ask) => self.on(ask),
                    None => return,
                },
                () = wait(deadline) => self.end_all(),
                () = wait(self.next_timeout()) => self.handle_timeouts(),
            }
            self.tell_states();
            self.finish_drain();
            #[expect(clippy::cast_precision_loss, reason = "there are never 2^52 calls")]
            metrics::gauge!("ringfence_calls").set(self.calls.len() as f64);
        }
    }

    fn on(&mut self, ask: Ask) {
        match ask {
            Ask::Reserve { agent, call, reply } => {
                let seat = self.reserve(agent, call);
                let taken = seat.is_ok();
                if reply.send(seat).is_err() && taken {
                    self.release(agent, call);
                }
            }
            Ask::Release { agent, call } => self.release(agent, call),
            Ask::Begin {
                call,
                agent,
                handle,
            } => {
                self.reserved = self.reserved.saturating_sub(1);
                let now = self.clock.monotonic();
                let desk = self.desk(agent);
                // The floor knows an agent with a running call as on it, from the agent's ringing on.
                let _ = desk.agent.answered(call, now);
                if desk.lost_browser_of(call) {
                    handle.agent_gone();
                }
                if self.draining.as_ref().is_some_and(|d| d.told) {
                    handle.drain();
                }
                self.calls.insert(call, Live { agent, handle });
            }
            Ask::WrapUp {
                call,
                agent,
                connected,
            } => self.wrap_up(agent, call, connected),
            Ask::End { call } => {
                self.calls.remove(&call);
            }
            Ask::HangUp { call } => {
                if let Some(live) = self.calls.get(&call) {
                    live.handle.hang_up();
                }
            }
            Ask::StateOf { call, reply } => {
                let _ = reply.send(
                    self.calls
                        .get(&call)
                        .map(|live| *live.handle.state.borrow()),
                );
            }
            Ask::IsDraining { reply } => {
                let _ = reply.send(self.draining.is_some());
            }
            Ask::Drain { patience, reply } => {
                let (done, wait) = oneshot::channel();
                let until = self.clock.monotonic() + patience;
                let draining = self.draining.get_or_insert(Draining {
                    until,
                    told: false,
                    done: Vec::new(),
                });
                draining.until = draining.until.min(until);
                draining.done.push(done);
                let _ = reply.send(wait);
            }
            Ask::Browser { agent, seat, reply } => {
                let _ = reply.send(self.seat_browser(agent, seat));
            }
            Ask::Connected { agent, reply } => {
                let desk = self.desks.get(&agent);
                let browser = desk.and_then(|desk| desk.browser.as_ref());
                let _ = reply.send(browser.map(BrowserSeat::connected));
            }
            Ask::BrowserGone { agent, number } => self.browser_gone(agent, number),
            Ask::Wish { agent, wish, reply } => {
                let _ = reply.send(self.wish(agent, wish));
            }
            Ask::Noted { agent, call } => {
                let now = self.clock.monotonic();
                let desk = self.desk(agent);
                if matches!(desk.agent.state(), AgentState::WrapUp { call: mine, .. } if mine == call)
                {
                    let _ = desk.agent.wrap_up_done(now);
                }
            }
            Ask::Working { reply } => {
                let now = self.clock.monotonic();
                self.handle_timeouts();
                let there = |desk: &&Desk| desk.agent.presence() != Presence::Offline;
                let working = self.desks.values().filter(there).map(|desk| Working {
                    agent: desk.agent.id(),
                    presence: desk.agent.presence(),
                    reason: desk.reason.clone(),
                    call: desk.agent.call(),
                    since: now.saturating_duration_since(desk.agent.since()),
                });
                let _ = reply.send(working.collect());
            }
            Ask::AllGone { reply } => {
                let now = self.clock.monotonic();
                for desk in self.desks.values_mut() {
                    let _ = desk.agent.sign_out(now);
                }
                self.tell_states();
                let _ = reply.send(());
            }
        }
    }

    /// The agent's desk.
    fn desk(&mut self, id: AgentId) -> &mut Desk {
        let now = self.clock.monotonic();
        let desk = self.desks.entry(id).or_insert_with(|| Desk {
            agent: Agent::new(id, now),
            browser: None,
            through: None,
            reason: String::new(),
            told: (Presence::Offline, String::new()),
        });
        desk.agent.handle_timeout(now);
        desk
    }

    /// The desk of somebody who is there: who clicks or connects a browser is.
    fn manned_desk(&mut self, id: AgentId) -> &mut Desk {
        let now = self.clock.monotonic();
        let desk = self.desk(id);
        // Refused for everybody who is there already, which is just as well.
        let _ = desk.agent.sign_in(now);
        desk
    }

    fn wish(&mut self, agent: AgentId, wish: Wish) -> Result<(), StepError> {
        let now = self.clock.monotonic();
        let desk = self.desk(agent);
        let presence = desk.agent.presence();
        match (wish, presence) {
            (Wish::Ready, Presence::Ready) | (Wish::Gone, Presence::Offline) => Ok(()),
            (Wish::Ready, Presence::WrapUp) => desk.agent.wrap_up_done(now),
            (Wish::Ready, Presence::Break) => desk.agent.end_break(now),
            (Wish::Ready, _) => desk.agent.sign_in(now),
            (Wish::Gone, _) => desk.agent.sign_out(now),
            (Wish::Break(reason), presence) => {
                match presence {
                    Presence::Break => desk.agent.end_break(now)?,
                    Presence::Offline => desk.agent.sign_in(now)?,
                    _ => {}
                }
                desk.agent.take_break(now)?;
                desk.reason = reason;
                Ok(())
            }
        }
    }

    /// When the next wrap-up ends by itself.
    fn next_timeout(&self) -> Option<Instant> {
        self.desks
            .values()
            .filter_map(|desk| desk.agent.next_timeout())
            .min()
    }

    fn handle_timeouts(&mut self) {
        let now = self.clock.monotonic();
        for desk in self.desks.values_mut() {
            desk.agent.handle_timeout(now);
        }
    }

    /// Hands on what agents do since now.
    fn tell_states(&mut self) {
        let now_ms = self.clock.wall_ms();
        for desk in self.desks.values_mut() {
            let presence = desk.agent.presence();
            let reason = match presence {
                Presence::Break => desk.reason.as_str(),
                _ => "",
            };
            if (desk.told.0, desk.told.1.as_str()) != (presence, reason) {
                desk.told = (presence, reason.to_owned());
                self.states
                    .changed(desk.agent.id(), presence, reason, now_ms);
            }
        }
    }

    fn reserve(&mut self, agent: AgentId, call: CallId) -> Result<Seat, DialError> {
        if self.draining.is_some() {
            return Err(DialError::Draining);
        }
        let now = self.clock.monotonic();
        let full = self.calls.len() + self.reserved >= self.settings.max_calls;
        let desk = self.manned_desk(agent);
        let presence = desk.agent.presence();
        if let Some(browser) = &desk.browser
            && !*browser.connected().borrow()
        {
            return Err(DialError::BrowserSilent);
        }
        // Dialling says that the note is written: it ends the wrap-up.
        desk.agent
            .reserve(call, now)
            .map_err(|_| DialError::AgentBusy(presence.as_str()))?;
        if full {
            let _ = desk.agent.refused(call, now);
            return Err(DialError::Full(self.settings.max_calls));
        }
        desk.through = desk.browser.as_ref().map(|seat| (call, seat.number()));
        let seat = desk
            .browser
            .as_ref()
            .map_or(Seat::DeskPhone, |seat| Seat::Browser(seat.leg()));
        self.reserved += 1;
        Ok(seat)
    }

    fn release(&mut self, agent: AgentId, call: CallId) {
        let now = self.clock.monotonic();
        if self.desk(agent).agent.refused(call, now).is_ok() {
            self.reserved = self.reserved.saturating_sub(1);
        }
    }

    fn wrap_up(&mut self, agent: AgentId, call: CallId, connected: bool) {
        let (now, wrap_up) = (self.clock.monotonic(), self.settings.wrap_up);
        if let Err(error) = self
            .desk(agent)
            .agent
            .call_ended(call, connected, wrap_up, now)
        {
            tracing::debug!(%agent, %call, %error, "a call ended for an agent who had moved on");
        }
    }

    fn browser_gone(&mut self, agent: AgentId, number: u64) {
        let desk = self.desk(agent);
        if desk
            .browser
            .as_ref()
            .is_none_or(|seat| seat.number() != number)
        {
            return;
        }
        desk.browser = None;
        // A call that began on the desk phone goes on; one that is still being decided is told when it begins.
        let call = desk
            .through
            .filter(|(_, through)| *through == number)
            .map(|(call, _)| call);
        if let Some(live) = call.and_then(|call| self.calls.get(&call)) {
            live.handle.agent_gone();
        }
    }

    fn seat_browser(
        &mut self,
        agent: AgentId,
        seat: BrowserSeat,
    ) -> Result<Option<String>, BrowserRefused> {
        if self.draining.is_some() {
            return Err(BrowserRefused::Draining);
        }
        let desk = self.manned_desk(agent);
        let in_call = matches!(
            desk.agent.state(),
            AgentState::Reserved { .. } | AgentState::OnCall { .. }
        );
        if in_call && desk.through.is_some() {
            return Err(BrowserRefused::InCall);
        }
        Ok(desk.browser.replace(seat).map(|old| old.name()))
    }

    fn end_all(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.told = true;
        }
        for live in self.calls.values() {
            tracing::info!(agent = %live.agent, "the drain ends a call");
            live.handle.drain();
        }
    }

    fn finish_drain(&mut self) {
        if self.calls.is_empty()
            && self.reserved == 0
            && let Some(draining) = &mut self.draining
        {
            for done in draining.done.drain(..) {
                let _ = done.send(());
            }
        }
    }
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "floor_tests.rs"]
mod tests;
