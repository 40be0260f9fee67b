//! The INVITE server transaction (RFC 3261 17.2.1, RFC 6026 8.5). Repeating a 2xx until its ACK comes is the session's
//! work (13.3.1.4), not this machine's.

use std::time::{Duration, Instant};

use super::{ServerStep, Timer};
use crate::config::Timers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No final response yet.
    Proceeding,
    /// A 2xx was sent; repeated INVITEs are absorbed until L.
    Accepted {
        until: Instant,
    },
    /// A 3xx to 6xx was sent: G repeats it, H gives up.
    Completed {
        retransmit: Option<Instant>,
        interval: Duration,
        give_up: Instant,
    },
    /// Its ACK came; further ones are absorbed until I.
    Confirmed {
        until: Instant,
    },
    Over,
}

/// One INVITE that we received.
#[derive(Debug, Clone)]
pub struct ServerInvite {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl ServerInvite {
    /// The INVITE has just arrived.
    pub const fn new(timers: Timers, reliable: bool) -> Self {
        Self {
            timers,
            reliable,
            state: State::Proceeding,
        }
    }

    /// The INVITE arrived again.
    pub const fn on_repetition(&self) -> ServerStep {
        let resend = matches!(self.state, State::Proceeding | State::Completed { .. });
        ServerStep {
            resend,
            unacknowledged: false,
        }
    }

    /// The ACK for a 3xx to 6xx arrived.
    pub fn on_ack(&mut self, now: Instant) {
        if matches!(self.state, State::Completed { .. }) {
            let linger = self
                .timers
                .duration(Timer::I, self.reliable)
                .unwrap_or_default();
            self.state = State::Confirmed {
                until: now + linger,
            };
        }
    }

    /// A response is being sent. `false` if there was a final one already: then nothing may be sent.
    pub fn respond(&mut self, now: Instant, status: u16) -> bool {
        if self.state != State::Proceeding {
            return false;
        }
        match status {
            0..=199 => {}
            200..=299 => {
                self.state = State::Accepted {
                    until: now + self.timers.span(),
                }
            }
            _ => {
                let interval = self.timers.duration(Timer::G, self.reliable);
                self.state = State::Completed {
                    retransmit: interval.map(|interval| now + interval),
                    interval: self.timers.t1,
                    give_up: now + self.timers.span(),
                };
            }
        }
        true
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) -> ServerStep {
        match &mut self.state {
            State::Completed { give_up, .. } if *give_up <= now => {
                self.state = State::Over;
                ServerStep {
                    resend: false,
                    unacknowledged: true,
                }
            }
            State::Completed {
                retransmit: Some(at),
                interval,
                ..
            } if *at <= now => {
                *interval = interval.saturating_mul(2).min(self.timers.t2);
                *at = now + *interval;
                ServerStep {
                    resend: true,
                    unacknowledged: false,
                }
            }
            State::Accepted { until } | State::Confirmed { until } if *until <= now => {
                self.state = State::Over;
                ServerStep::default()
            }
            _ => ServerStep::default(),
        }
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Completed {
                retransmit,
                give_up,
                ..
            } => Some(retransmit.map_or(give_up, |at| at.min(give_up))),
            State::Accepted { until } | State::Confirmed { until } => Some(until),
            State::Proceeding | State::Over => None,
        }
    }

    /// Whether a final response is still owed.
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, State::Proceeding)
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

    #[test]
    fn a_refusal_is_repeated_until_its_ack_comes() {
        let start = Instant::now();
        let mut invite = ServerInvite::new(Timers::default(), false);
        assert!(invite.respond(start, 180));
        assert!(invite.respond(start, 486));
        let first = invite.next_timeout().unwrap();
        assert_eq!(first, start + Duration::from_millis(500));
        assert!(invite.on_timeout(first).resend);
        assert_eq!(
            invite.next_timeout(),
            Some(start + Duration::from_millis(1_500))
        );
        invite.on_ack(first);
        assert!(!invite.on_repetition().resend);
        assert_eq!(invite.next_timeout(), Some(first + Duration::from_secs(5)));
    }

    #[test]
    fn a_refusal_without_ack_ends_after_64_t1() {
        let start = Instant::now();
        let mut invite = ServerInvite::new(Timers::default(), false);
        invite.respond(start, 603);
        let mut last = start;
        let mut unacknowledged = false;
        let mut repeated = Vec::new();
        while let Some(at) = invite.next_timeout() {
            let step = invite.on_timeout(at);
            if step.resend {
                repeated.push((at - start).as_millis());
            }
            unacknowledged |= step.unacknowledged;
            last = at;
        }
        assert!(unacknowledged && invite.is_over());
        assert_eq!(last - start, Duration::from_secs(32));
        // Doubled up to T2, as table 4 says of timer G.
        assert_eq!(
            repeated,
            [
                500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
            ]
        );
    }

    #[test]
    fn an_accepted_invite_absorbs_repetitions() {
        let start = Instant::now();
        let mut invite = ServerInvite::new(Timers::default(), false);
        assert!(invite.on_repetition().resend, "the 100 is repeated");
        invite.respond(start, 200);
        assert!(
            !invite.on_repetition().resend,
            "the session repeats its 2xx"
        );
        assert!(!invite.respond(start, 486));
        // Until timer L: then a repetition would be a new INVITE.
        let end = start + Duration::from_secs(32);
        assert_eq!(invite.next_timeout(), Some(end));
        invite.on_timeout(end);
        assert!(invite.is_over());
    }
}
