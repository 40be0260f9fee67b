//! Session timers (RFC 4028): refresh at half time if that is our part, BYE if nobody refreshes.

use std::time::{Duration, Instant};

use super::Leg;
use crate::config::SessionTimer;
use crate::core::Core;
use crate::headers::{Headers, Refresher, SessionExpires, name};
use crate::message::{Request, Response};

/// A refresh that cannot be sent now (another offer is open) is tried again after this time.
const POSTPONE: Duration = Duration::from_secs(1);
/// Session-Expires beyond a day is a mistake and read as a day.
const LONGEST_S: u32 = 86_400;

/// The timer of one session.
pub(crate) struct SessionClock {
    /// What we ask for: Session-Expires and Min-SE, the latter raised by 422.
    wanted_s: u64,
    min_s: u64,
    /// What holds.
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    seconds: u32,
    we_refresh: bool,
    refresh_at: Option<Instant>,
    expires_at: Instant,
}

impl SessionClock {
    pub(crate) const fn new(timer: SessionTimer) -> Self {
        Self {
            wanted_s: timer.interval.as_secs(),
            min_s: timer.min.as_secs(),
            running: None,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let running = self.running?;
        Some(
            running
                .refresh_at
                .map_or(running.expires_at, |at| at.min(running.expires_at)),
        )
    }

    fn run(&mut self, now: Instant, seconds: u32, we_refresh: bool) {
        let seconds = seconds.clamp(1, LONGEST_S);
        let interval = Duration::from_secs(seconds.into());
        // RFC 4028 10: the other side gives up min(32 s, a third) before the end.
        let margin = (interval / 3).min(Duration::from_secs(32));
        self.running = Some(Running {
            seconds,
            we_refresh,
            refresh_at: we_refresh.then(|| now + interval / 2),
            expires_at: now
                + if we_refresh {
                    interval
                } else {
                    interval - margin
                },
        });
    }
}

impl Leg {
    /// A 2xx to our INVITE or refresh came: what it says about the timer holds (7.2).
    pub(super) fn start_session_clock(&mut self, now: Instant, headers: &Headers) {
        match headers.session_expires() {
            Ok(Some(expires)) => {
                let we_refresh = expires.refresher != Some(Refresher::Uas);
                self.session_timer.run(now, expires.seconds, we_refresh);
            }
            // No word of it: the peer has no timer, and the session no end.
            Ok(None) | Err(_) => self.session_timer.running = None,
        }
    }

    /// Adds Session-Expires and Min-SE to a refresh or re-INVITE of ours, naming who refreshes now.
    pub(super) fn ask_session_timer(&self, request: &mut Request) {
        request.headers.set(name::SUPPORTED, "timer");
        let clock = &self.session_timer;
        let (seconds, refresher) = match clock.running {
            Some(running) if running.we_refresh => {
                (u64::from(running.seconds), Some(Refresher::Uac))
            }
            Some(running) => (u64::from(running.seconds), Some(Refresher::Uas)),
            None if clock.wanted_s > 0 => (clock.wanted_s, None),
            None => return,
        };
        let seconds = u32::try_from(seconds.max(clock.min_s)).unwrap_or(LONGEST_S);
        request.headers.set(
            name::SESSION_EXPIRES,
            SessionExpires { seconds, refresher }.to_string(),
        );
        request.headers.set(name::MIN_SE, clock.min_s.to_string());
    }

    /// The request of a 422 again, with the interval that the peer wants at least (7.3).
    pub(super) fn longer_session(
        &mut self,
        request: &Request,
        response: &Response,
    ) -> Option<Request> {
        let wanted = u64::from(response.headers.min_se().ok()??.min(LONGEST_S));
        if wanted <= self.session_timer.min_s {
            return None;
        }
        let clock = &mut self.session_timer;
        clock.min_s = wanted;
        clock.wanted_s = clock.wanted_s.max(wanted);
        let mut request = request.clone();
        let refresher = request
            .headers
            .session_expires()
            .ok()
            .flatten()
            .and_then(|expires| expires.refresher);
        let seconds = u32::try_from(clock.wanted_s).unwrap_or(LONGEST_S);
        request.headers.set(
            name::SESSION_EXPIRES,
            SessionExpires { seconds, refresher }.to_string(),
        );
        request.headers.set(name::MIN_SE, wanted.to_string());
        Some(request)
    }

    /// Whether the interval a peer asks for is too small: the Min-SE to say with 422 (9).
    pub(crate) fn too_small(timer: Option<SessionTimer>, headers: &Headers) -> Option<u64> {
        let min = timer.map_or(90, |timer| timer.min.as_secs());
        let asked = headers.session_expires().ok().flatten()?.seconds;
        (u64::from(asked) < min && headers.supports("timer")).then_some(min)
    }

    /// Decides the timer for a 2xx of ours and starts it (9): the peer's wish for the refresher, else the peer if it
    /// can, else us.
    pub(super) fn grant_session_timer(
        &mut self,
        now: Instant,
        request: &Headers,
        response: &mut Headers,
    ) {
        let peer_can = request.supports("timer");
        let asked = request.session_expires().ok().flatten();
        let clock = &mut self.session_timer;
        let (seconds, refresher) = match (asked, clock.running) {
            (Some(asked), _) if peer_can => {
                (asked.seconds, asked.refresher.unwrap_or(Refresher::Uac))
            }
            (Some(asked), _) => (asked.seconds, Refresher::Uas),
            (None, Some(running)) if running.we_refresh => (running.seconds, Refresher::Uas),
            (None, Some(running)) => (running.seconds, Refresher::Uac),
            (None, None) if clock.wanted_s > 0 => {
                let min = request.min_se().ok().flatten().unwrap_or(0);
                let seconds = u32::try_from(clock.wanted_s)
                    .unwrap_or(LONGEST_S)
                    .max(min.min(LONGEST_S));
                (seconds, Refresher::Uas)
            }
            (None, None) => return,
        };
        clock.run(now, seconds, refresher == Refresher::Uas);
        let expires = SessionExpires {
            seconds: seconds.clamp(1, LONGEST_S),
            refresher: Some(refresher),
        };
        response.set(name::SESSION_EXPIRES, expires.to_string());
        if refresher == Refresher::Uac {
            response.set(name::REQUIRE, "timer");
        }
    }

    /// The timer is due: refresh, or end the session.
    pub(super) fn on_session_clock(&mut self, core: &mut Core, now: Instant) {
        let Some(running) = self.session_timer.running else {
            return;
        };
        if running.expires_at <= now {
            self.session_timer.running = None;
            self.fail(core, now, 408, "the session timer ran out");
            return;
        }
        if running.refresh_at.is_some_and(|at| at <= now) {
            let sent = self.refresh(core, now);
            if let Some(running) = &mut self.session_timer.running {
                running.refresh_at = if sent { None } else { Some(now + POSTPONE) };
            }
        }
    }
}
