//! The INVITE client transaction (RFC 3261 17.1.1, RFC 6026 8.4).

use std::time::{Duration, Instant};

use super::{ClientStep, Timer};
use crate::config::Timers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sent, no response: A retransmits, B gives up.
    Calling {
        retransmit: Option<Instant>,
        interval: Duration,
        give_up: Instant,
    },
    /// A 1xx came: the peer rings as long as it likes, unless the owner has cancelled.
    Proceeding {
        give_up: Option<Instant>,
    },
    /// A 2xx came; further ones (forks, retransmissions) go to the owner until M.
    Accepted {
        until: Instant,
    },
    /// A 3xx to 6xx came; its retransmissions are acknowledged until D.
    Completed {
        until: Instant,
    },
    Over,
}

/// One INVITE that we sent.
#[derive(Debug, Clone)]
pub struct ClientInvite {
    timers: Timers,
    reliable: bool,
    state: State,
    /// From then on it is not retransmitted any more.
    not_after: Option<Instant>,
}

impl ClientInvite {
    /// The INVITE has just been sent.
    pub fn new(now: Instant, timers: Timers, reliable: bool) -> Self {
        let interval = timers.duration(Timer::A, reliable);
        Self {
            timers,
            reliable,
            state: State::Calling {
                retransmit: interval.map(|interval| now + interval),
                interval: timers.t1,
                give_up: now + timers.span(),
            },
            not_after: None,
        }
    }

    /// Bounds the retransmissions: none at or after this instant. Timer B still waits for a response to what was sent.
    #[must_use]
    pub const fn resent_before(mut self, not_after: Option<Instant>) -> Self {
        self.not_after = not_after;
        self
    }

    /// The owner does not want the call any more: it is not retransmitted, but Timer B still waits for a response.
    pub const fn resend_no_more(&mut self) {
        if let State::Calling { retransmit, .. } = &mut self.state {
            *retransmit = None;
        }
    }

    /// A response to it arrived.
    pub fn on_response(&mut self, now: Instant, status: u16) -> ClientStep {
        let after = |timer| {
            now + self
                .timers
                .duration(timer, self.reliable)
                .unwrap_or_default()
        };
        let deliver = ClientStep {
            deliver: true,
            ..ClientStep::default()
        };
        match (self.state, status) {
            (State::Calling { .. }, 100..=199) => {
                self.state = State::Proceeding { give_up: None };
                deliver
            }
            (State::Proceeding { .. }, 100..=199) => deliver,
            (State::Calling { .. } | State::Proceeding { .. }, 200..=299) => {
                self.state = State::Accepted {
                    until: after(Timer::M),
                };
                deliver
            }
            (State::Accepted { .. }, 200..=299) => deliver,
            (State::Calling { .. } | State::Proceeding { .. }, 300..=699) => {
                self.state = State::Completed {
                    until: after(Timer::D),
                };
                ClientStep {
                    ack: true,
                    ..deliver
                }
            }
            (State::Completed { .. }, 300..=699) => ClientStep {
                ack: true,
                ..ClientStep::default()
            },
            _ => ClientStep::default(),
        }
    }

    /// The owner will not wait for ever: without a final response in 64 * T1 from now the transaction is given up. For
    /// an INVITE that was cancelled (RFC 3261 9.1), and for a re-INVITE.
    pub fn bound_wait(&mut self, now: Instant) {
        if let State::Proceeding { give_up } = &mut self.state {
            give_up.get_or_insert(now + self.timers.span());
        }
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) -> ClientStep {
        match &mut self.state {
            State::Calling { give_up, .. }
            | State::Proceeding {
                give_up: Some(give_up),
            } if *give_up <= now => {
                self.state = State::Over;
                ClientStep {
                    timed_out: true,
                    ..ClientStep::default()
                }
            }
            State::Calling { retransmit, .. } if self.not_after.is_some_and(|end| end <= now) => {
                *retransmit = None;
                ClientStep::default()
            }
            State::Calling {
                retransmit: Some(at),
                interval,
                ..
            } if *at <= now => {
                *interval = interval.saturating_mul(2);
                *at = now + *interval;
                ClientStep {
                    resend: true,
                    ..ClientStep::default()
                }
            }
            State::Accepted { until } | State::Completed { until } if *until <= now => {
                self.state = State::Over;
                ClientStep::default()
            }
            _ => ClientStep::default(),
        }
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Calling {
                retransmit,
                give_up,
                ..
            } => Some(retransmit.map_or(give_up, |at| at.min(give_up))),
            State::Proceeding { give_up } => give_up,
            State::Accepted { until } | State::Completed { until } => Some(until),
            State::Over => None,
        }
    }

    /// Whether a final response is still awaited.
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
    }

    /// Whether a provisional response came, so that a CANCEL may be sent (RFC 3261 9.1).
    pub const fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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
    fn an_unanswered_invite_is_sent_seven_times_in_32_seconds() {
        let start = Instant::now();
        let mut invite = ClientInvite::new(start, Timers::default(), false);
        let mut sent = vec![0];
        let mut gave_up = None;
        while let Some(at) = invite.next_timeout() {
            let step = invite.on_timeout(at);
            if step.resend {
                sent.push((at - start).as_millis());
            }
            if step.timed_out {
                gave_up = Some((at - start).as_millis());
            }
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(gave_up, Some(32_000));
        assert!(invite.is_over());
    }

    #[test]
    fn nothing_is_sent_again_after_the_end_or_once_nobody_wants_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let invite = || ClientInvite::new(start, Timers::default(), false);
        let mut bounded = invite().resent_before(Some(at(1_500)));
        assert!(bounded.on_timeout(at(500)).resend);
        // Due at the very end is late, and so is what was due before but is done after.
        assert_eq!(bounded.on_timeout(at(1_500)), ClientStep::default());
        let mut late = invite().resent_before(Some(at(1_500)));
        assert_eq!(late.on_timeout(at(9_000)), ClientStep::default());
        let mut unwanted = invite();
        unwanted.resend_no_more();
        for mut invite in [bounded, late, unwanted] {
            assert_eq!(invite.next_timeout(), Some(at(32_000)));
            assert!(invite.clone().on_response(at(20_000), 180).deliver);
            assert!(invite.on_timeout(at(32_000)).timed_out);
        }
    }

    #[test]
    fn a_ringing_invite_waits_for_ever_but_not_once_cancelled() {
        let start = Instant::now();
        let mut invite = ClientInvite::new(start, Timers::default(), false);
        assert!(invite.on_response(start, 180).deliver);
        assert_eq!(invite.next_timeout(), None);
        invite.bound_wait(start + Duration::from_secs(100));
        assert_eq!(
            invite.next_timeout(),
            Some(start + Duration::from_secs(132))
        );
        assert!(
            invite
                .on_timeout(start + Duration::from_secs(132))
                .timed_out
        );
    }

    #[test]
    fn a_refusal_is_acknowledged_each_time_but_told_once() {
        let start = Instant::now();
        let mut invite = ClientInvite::new(start, Timers::default(), false);
        let first = invite.on_response(start, 486);
        assert!(first.ack && first.deliver);
        let second = invite.on_response(start, 486);
        assert!(second.ack && !second.deliver);
        assert_eq!(invite.on_response(start, 200), ClientStep::default());
    }

    #[test]
    fn every_2xx_reaches_the_owner_until_timer_m() {
        let start = Instant::now();
        let mut invite = ClientInvite::new(start, Timers::default(), true);
        for _ in 0..3 {
            assert!(invite.on_response(start, 200).deliver);
        }
        assert!(!invite.on_response(start, 180).deliver);
        assert_eq!(invite.next_timeout(), Some(start + Duration::from_secs(32)));
        invite.on_timeout(start + Duration::from_secs(32));
        assert!(invite.is_over());
    }
}
