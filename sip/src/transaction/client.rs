//! The non-INVITE client transaction (RFC 3261 17.1.2).

use std::time::{Duration, Instant};

use super::{ClientStep, Timer};
use crate::config::Timers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No final response yet: E retransmits, F gives up.
    Waiting {
        provisional: bool,
        retransmit: Option<Instant>,
        interval: Duration,
        give_up: Instant,
    },
    /// A final response came; its retransmissions are absorbed until K.
    Completed {
        until: Instant,
    },
    Over,
}

/// One request other than INVITE and ACK that we sent.
#[derive(Debug, Clone)]
pub struct Client {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl Client {
    /// The request has just been sent.
    pub fn new(now: Instant, timers: Timers, reliable: bool) -> Self {
        Self {
            timers,
            reliable,
            state: State::Waiting {
                provisional: false,
                retransmit: timers
                    .duration(Timer::E, reliable)
                    .map(|interval| now + interval),
                interval: timers.t1,
                give_up: now + timers.span(),
            },
        }
    }

    /// A response to it arrived.
    pub fn on_response(&mut self, now: Instant, status: u16) -> ClientStep {
        let State::Waiting {
            provisional,
            interval,
            ..
        } = &mut self.state
        else {
            return ClientStep::default();
        };
        if status < 200 {
            *provisional = true;
            *interval = self.timers.t2;
        } else {
            let linger = self
                .timers
                .duration(Timer::K, self.reliable)
                .unwrap_or_default();
            self.state = State::Completed {
                until: now + linger,
            };
        }
        ClientStep {
            deliver: true,
            ..ClientStep::default()
        }
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) -> ClientStep {
        match &mut self.state {
            State::Waiting { give_up, .. } if *give_up <= now => {
                self.state = State::Over;
                ClientStep {
                    timed_out: true,
                    ..ClientStep::default()
                }
            }
            State::Waiting {
                retransmit: Some(at),
                interval,
                provisional,
                ..
            } if *at <= now => {
                *interval = match provisional {
                    true => self.timers.t2,
                    false => interval.saturating_mul(2).min(self.timers.t2),
                };
                *at = now + *interval;
                ClientStep {
                    resend: true,
                    ..ClientStep::default()
                }
            }
            State::Completed { until } if *until <= now => {
                self.state = State::Over;
                ClientStep::default()
            }
            _ => ClientStep::default(),
        }
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting {
                retransmit,
                give_up,
                ..
            } => Some(retransmit.map_or(give_up, |at| at.min(give_up))),
            State::Completed { until } => Some(until),
            State::Over => None,
        }
    }

    /// Whether a final response is still awaited.
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

    fn run(client: &mut Client, start: Instant) -> (Vec<u128>, Option<u128>) {
        let (mut sent, mut gave_up) = (Vec::new(), None);
        while let Some(at) = client.next_timeout() {
            let step = client.on_timeout(at);
            if step.resend {
                sent.push((at - start).as_millis());
            }
            if step.timed_out {
                gave_up = Some((at - start).as_millis());
            }
        }
        (sent, gave_up)
    }

    #[test]
    fn an_unanswered_request_is_repeated_up_to_every_4_seconds() {
        let start = Instant::now();
        let mut client = Client::new(start, Timers::default(), false);
        let (sent, gave_up) = run(&mut client, start);
        assert_eq!(
            sent,
            [
                500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
            ]
        );
        assert_eq!(gave_up, Some(32_000));
    }

    #[test]
    fn nothing_is_repeated_over_a_stream() {
        let start = Instant::now();
        let mut client = Client::new(start, Timers::default(), true);
        assert_eq!(run(&mut client, start), (vec![], Some(32_000)));
    }

    #[test]
    fn the_answer_is_told_once() {
        let start = Instant::now();
        let mut client = Client::new(start, Timers::default(), false);
        assert!(client.on_response(start, 200).deliver);
        assert!(!client.on_response(start, 200).deliver);
        assert_eq!(client.next_timeout(), Some(start + Duration::from_secs(5)));
    }
}
