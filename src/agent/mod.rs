//! The agent: who is there, who is talking, who still writes notes. Pure; the switchboard owns one per agent.
//!
//! ```text
//! offline <-> ready -> reserved -> on call -> wrap-up -> ready
//!                ^________|  refused, or nobody was reached
//!             ready, wrap-up -> break -> ready
//! ```
//! Only these steps exist. A step for a call that is not this agent's call is refused, so that a late
//! message can never free an agent who talks to somebody else. Nobody signs out or takes a break in the middle of a call.

pub mod disposition;

use std::time::{Duration, Instant};

pub use disposition::{Disposition, Effect};
use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CallId};

/// Where an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// Not signed in.
    Offline,
    /// Free to call.
    Ready,
    /// A call was asked for; the agent's phone may ring.
    Reserved {
        /// The call.
        call: CallId,
    },
    /// The agent's leg is up.
    OnCall {
        /// The call.
        call: CallId,
    },
    /// After-call work.
    WrapUp {
        /// The call it is about.
        call: CallId,
        /// It ends by itself at this instant.
        until: Instant,
    },
    /// Away for a while, signed in.
    Break,
}

/// The words for [`AgentState`] that others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Not signed in.
    Offline,
    /// Free to call.
    Ready,
    /// About to call.
    Reserved,
    /// Talking.
    OnCall,
    /// Writing notes.
    WrapUp,
    /// Away for a while.
    Break,
}

impl Presence {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Ready => "ready",
            Self::Reserved => "reserved",
            Self::OnCall => "on_call",
            Self::WrapUp => "wrap_up",
            Self::Break => "break",
        }
    }
}

/// A step that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not from where the agent is.
    #[error("the agent is {}; {needed}", from.as_str())]
    NotFrom {
        /// Where the agent is.
        from: Presence,
        /// What would be needed.
        needed: &'static str,
    },
    /// The agent is with another call.
    #[error("the agent is with another call")]
    OtherCall,
}

/// One agent.
#[derive(Debug, Clone)]
pub struct Agent {
    id: AgentId,
    state: AgentState,
    since: Instant,
}

impl Agent {
    /// An agent who has not signed in.
    #[must_use]
    pub fn new(id: AgentId, now: Instant) -> Self {
        Self {
            id,
            state: AgentState::Offline,
            since: now,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> AgentId {
        self.id
    }

    /// Where the agent is.
    #[must_use]
    pub fn state(&self) -> AgentState {
        self.state
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The word for where the agent is.
    #[must_use]
    pub fn presence(&self) -> Presence {
        match self.state {
            AgentState::Offline => Presence::Offline,
            AgentState::Ready => Presence::Ready,
            AgentState::Reserved { .. } => Presence::Reserved,
            AgentState::OnCall { .. } => Presence::OnCall,
            AgentState::WrapUp { .. } => Presence::WrapUp,
            AgentState::Break => Presence::Break,
        }
    }

    /// The call the agent is reserved for, on, or writing about.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        match self.state {
            AgentState::Offline | AgentState::Ready | AgentState::Break => None,
            AgentState::Reserved { call }
            | AgentState::OnCall { call }
            | AgentState::WrapUp { call, .. } => Some(call),
        }
    }

    /// Signs in. Signing in twice is refused.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] unless offline.
    pub fn sign_in(&mut self, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::Offline => self.go(AgentState::Ready, now),
            _ => return Err(self.not_from("only somebody who is offline signs in")),
        }
        Ok(())
    }

    /// Signs out; ends the wrap-up.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] while reserved or on a call, and when offline already.
    pub fn sign_out(&mut self, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::Ready | AgentState::WrapUp { .. } | AgentState::Break => {
                self.go(AgentState::Offline, now)
            }
            _ => return Err(self.not_from("end the call first")),
        }
        Ok(())
    }

    /// Goes away for a while; ends the wrap-up.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] unless ready or in wrap-up.
    pub fn take_break(&mut self, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::Ready | AgentState::WrapUp { .. } => self.go(AgentState::Break, now),
            _ => return Err(self.not_from("only a ready agent takes a break")),
        }
        Ok(())
    }

    /// Is back.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] unless on a break.
    pub fn end_break(&mut self, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::Break => self.go(AgentState::Ready, now),
            _ => return Err(self.not_from("only a break can be ended")),
        }
        Ok(())
    }

    /// Takes the agent for a call. From the wrap-up as well: the next click ends it.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] unless ready or in wrap-up.
    pub fn reserve(&mut self, call: CallId, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::Ready | AgentState::WrapUp { .. } => {
                self.go(AgentState::Reserved { call }, now)
            }
            _ => return Err(self.not_from("only a ready agent can call")),
        }
        Ok(())
    }

    /// The gate refused, or the call could not begin: free again.
    ///
    /// # Errors
    /// [`StepError`] unless reserved for this call.
    pub fn refused(&mut self, call: CallId, now: Instant) -> Result<(), StepError> {
        self.expect_reserved(call)?;
        self.go(AgentState::Ready, now);
        Ok(())
    }

    /// The agent's leg was answered.
    ///
    /// # Errors
    /// [`StepError`] unless reserved for this call.
    pub fn answered(&mut self, call: CallId, now: Instant) -> Result<(), StepError> {
        self.expect_reserved(call)?;
        self.go(AgentState::OnCall { call }, now);
        Ok(())
    }

    /// The call is over: into the wrap-up if somebody was reached, free again otherwise.
    ///
    /// # Errors
    /// [`StepError`] unless reserved for or on this call.
    pub fn call_ended(
        &mut self,
        call: CallId,
        connected: bool,
        wrap_up: Duration,
        now: Instant,
    ) -> Result<(), StepError> {
        match self.state {
            AgentState::Reserved { call: mine } | AgentState::OnCall { call: mine }
                if mine == call =>
            {
                let next = if connected && !wrap_up.is_zero() {
                    AgentState::WrapUp {
                        call,
                        until: now + wrap_up,
                    }
                } else {
                    AgentState::Ready
                };
                self.go(next, now);
                Ok(())
            }
            AgentState::Reserved { .. } | AgentState::OnCall { .. } => Err(StepError::OtherCall),
            _ => Err(self.not_from("no call is up")),
        }
    }

    /// The note is written.
    ///
    /// # Errors
    /// [`StepError::NotFrom`] unless in wrap-up.
    pub fn wrap_up_done(&mut self, now: Instant) -> Result<(), StepError> {
        match self.state {
            AgentState::WrapUp { .. } => self.go(AgentState::Ready, now),
            _ => return Err(self.not_from("only a wrap-up can be ended")),
        }
        Ok(())
    }

    /// When [`Agent::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            AgentState::WrapUp { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Ends a wrap-up whose time is over; gives whether it did.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let over = self.next_timeout().is_some_and(|until| until <= now);
        if over {
            self.go(AgentState::Ready, now);
        }
        over
    }

    fn expect_reserved(&self, call: CallId) -> Result<(), StepError> {
        match self.state {
            AgentState::Reserved { call: mine } if mine == call => Ok(()),
            AgentState::Reserved { .. } => Err(StepError::OtherCall),
            _ => Err(self.not_from("the agent is not reserved")),
        }
    }

    fn go(&mut self, state: AgentState, now: Instant) {
        self.state = state;
        self.since = now;
    }

    fn not_from(&self, needed: &'static str) -> StepError {
        StepError::NotFrom {
            from: self.presence(),
            needed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WRAP_UP: Duration = Duration::from_secs(30);

    fn call(n: u8) -> CallId {
        CallId::from_parts(1_790_000_000_000, [n; 10])
    }

    /// Puts a new agent into each state and names it.
    fn everywhere(now: Instant) -> Vec<Agent> {
        let offline = Agent::new(AgentId::new(1), now);
        let mut ready = offline.clone();
        ready.sign_in(now).unwrap();
        let mut reserved = ready.clone();
        reserved.reserve(call(1), now).unwrap();
        let mut on_call = reserved.clone();
        on_call.answered(call(1), now).unwrap();
        let mut wrap_up = on_call.clone();
        wrap_up.call_ended(call(1), true, WRAP_UP, now).unwrap();
        let mut away = ready.clone();
        away.take_break(now).unwrap();
        vec![offline, ready, reserved, on_call, away, wrap_up]
    }

    #[test]
    fn exactly_the_drawn_steps_exist() {
        use Presence::{Break, Offline, OnCall, Ready, Reserved, WrapUp};
        type Step = fn(&mut Agent, Instant) -> Result<(), StepError>;
        type Row<'a> = (&'a str, Step, &'a [(Presence, Presence)]);
        let steps: [Row<'_>; 10] = [
            ("sign_in", |a, t| a.sign_in(t), &[(Offline, Ready)]),
            (
                "sign_out",
                |a, t| a.sign_out(t),
                &[(Ready, Offline), (WrapUp, Offline), (Break, Offline)],
            ),
            (
                "take_break",
                |a, t| a.take_break(t),
                &[(Ready, Break), (WrapUp, Break)],
            ),
            ("end_break", |a, t| a.end_break(t), &[(Break, Ready)]),
            (
                "reserve",
                |a, t| a.reserve(call(2), t),
                &[(Ready, Reserved), (WrapUp, Reserved)],
            ),
            (
                "refused",
                |a, t| a.refused(call(1), t),
                &[(Reserved, Ready)],
            ),
            (
                "answered",
                |a, t| a.answered(call(1), t),
                &[(Reserved, OnCall)],
            ),
            (
                "reached",
                |a, t| a.call_ended(call(1), true, WRAP_UP, t),
                &[(Reserved, WrapUp), (OnCall, WrapUp)],
            ),
            (
                "not reached",
                |a, t| a.call_ended(call(1), false, WRAP_UP, t),
                &[(Reserved, Ready), (OnCall, Ready)],
            ),
            ("wrap_up_done", |a, t| a.wrap_up_done(t), &[(WrapUp, Ready)]),
        ];
        let now = Instant::now();
        for (name, step, legal) in steps {
            for mut agent in everywhere(now) {
                let from = agent.presence();
                let before = agent.state();
                let to = legal.iter().find(|(f, _)| *f == from).map(|(_, to)| *to);
                match (step(&mut agent, now), to) {
                    (Ok(()), Some(to)) => assert_eq!(agent.presence(), to, "{name} from {from:?}"),
                    (Err(_), None) => assert_eq!(
                        agent.state(),
                        before,
                        "{name} from {from:?} changed the agent"
                    ),
                    (result, _) => panic!("{name} from {from:?} gave {result:?}"),
                }
            }
        }
    }

    #[test]
    fn a_message_about_another_call_never_frees_an_agent() {
        let now = Instant::now();
        for mut agent in everywhere(now) {
            let before = agent.state();
            assert!(agent.refused(call(9), now).is_err());
            assert!(agent.answered(call(9), now).is_err());
            assert!(agent.call_ended(call(9), true, WRAP_UP, now).is_err());
            assert_eq!(agent.state(), before);
        }
    }

    #[test]
    fn a_wrap_up_ends_by_itself_and_only_then() {
        let now = Instant::now();
        let mut agent = everywhere(now).pop().unwrap();
        assert_eq!(agent.next_timeout(), Some(now + WRAP_UP));
        assert!(!agent.handle_timeout(now + WRAP_UP - Duration::from_millis(1)));
        assert!(agent.handle_timeout(now + WRAP_UP));
        assert_eq!(agent.presence(), Presence::Ready);
        assert_eq!(agent.next_timeout(), None);
        assert_eq!(agent.call(), None);
    }
}
