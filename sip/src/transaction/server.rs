//! The non-INVITE server transaction (RFC 3261 17.2.2).

use std::time::Instant;

use super::{ServerStep, Timer};
use crate::config::Timers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not answered, or only provisionally.
    Waiting {
        provisional: bool,
    },
    /// Answered; repetitions get the same answer until J.
    Completed {
        until: Instant,
    },
    Over,
}

/// One request other than INVITE and ACK that we received.
#[derive(Debug, Clone)]
pub struct Server {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl Server {
    /// The request has just arrived.
    pub const fn new(timers: Timers, reliable: bool) -> Self {
        Self {
            timers,
            reliable,
            state: State::Waiting { provisional: false },
        }
    }

    /// The request arrived again.
    pub const fn on_repetition(&self) -> ServerStep {
        let resend = matches!(
            self.state,
            State::Waiting { provisional: true } | State::Completed { .. }
        );
        ServerStep {
            resend,
            unacknowledged: false,
        }
    }

    /// A response is being sent. `false` if there was a final one already: then nothing may be sent.
    pub fn respond(&mut self, now: Instant, status: u16) -> bool {
        let State::Waiting { provisional } = &mut self.state else {
            return false;
        };
        if status < 200 {
            *provisional = true;
        } else {
            let linger = self
                .timers
                .duration(Timer::J, self.reliable)
                .unwrap_or_default();
            self.state = State::Completed {
                until: now + linger,
            };
        }
        true
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) -> ServerStep {
        if matches!(self.state, State::Completed { until } if until <= now) {
            self.state = State::Over;
        }
        ServerStep::default()
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    pub const fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Completed { until } => Some(until),
            _ => None,
        }
    }

    /// Whether a final response is still owed.
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Whether it can be forgotten.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_repetition_gets_the_last_answer_again_until_timer_j() {
        let start = Instant::now();
        let mut server = Server::new(Timers::default(), false);
        assert!(!server.on_repetition().resend);
        assert!(server.respond(start, 200));
        assert!(!server.respond(start, 500), "there is one final response");
        assert!(server.on_repetition().resend);
        assert_eq!(server.next_timeout(), Some(start + Duration::from_secs(32)));
        server.on_timeout(start + Duration::from_secs(32));
        assert!(server.is_over());
    }
}
