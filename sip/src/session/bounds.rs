//! Until when the INVITEs of a call may leave, and how long each of them lets the peer ring.
//!
//! Every INVITE that begins a call is asked here before it leaves: the first, each retransmission, and each that is sent
//! anew with credentials or a longer session timer. A re-INVITE rings nowhere and is not bound.

use std::time::{Duration, Instant};

use crate::headers::name;
use crate::message::Request;

/// The least an Expires header can say: zero would end the call at once.
const SHORTEST_RING: Duration = Duration::from_secs(1);

/// The bounds of one call; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    ring: Option<Duration>,
    ring_until: Option<Instant>,
    not_after: Option<Instant>,
}

impl Bounds {
    /// Each INVITE lets it ring for `ring` and not beyond `ring_until`; none leaves at or after `not_after`, nor when
    /// less than a second of ringing is left.
    pub(crate) fn new(
        ring: Option<Duration>,
        ring_until: Option<Instant>,
        not_after: Option<Instant>,
    ) -> Self {
        let last_ring = ring_until.map(|end| end.checked_sub(SHORTEST_RING).unwrap_or(end));
        Self {
            ring,
            ring_until,
            not_after: [not_after, last_ring].into_iter().flatten().min(),
        }
    }

    /// From this instant on no INVITE leaves.
    pub(crate) const fn not_after(&self) -> Option<Instant> {
        self.not_after
    }

    /// Whether it is too late for an INVITE.
    pub(crate) fn are_over(&self, now: Instant) -> bool {
        self.not_after.is_some_and(|end| end <= now)
    }

    /// Says in `request` how long from `now` on it may ring, in whole seconds, rounded down. True if that changed it:
    /// a retransmission counts from the instant at which it arrives, so near the end it must say less than the first.
    pub(crate) fn stamp(&self, request: &mut Request, now: Instant) -> bool {
        let left = self
            .ring_until
            .map(|end| end.saturating_duration_since(now));
        let Some(ring) = [self.ring, left].into_iter().flatten().min() else {
            return false;
        };
        let seconds = ring.max(SHORTEST_RING).as_secs().to_string();
        if request.headers.get(name::EXPIRES) == Some(seconds.as_bytes()) {
            return false;
        }
        request.headers.set(name::EXPIRES, seconds);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::method::Method;
    use crate::uri::Uri;

    const SECOND: Duration = Duration::from_secs(1);

    fn request() -> Request {
        Request::new(Method::INVITE, Uri::parse("sip:a@10.0.0.1").unwrap())
    }

    #[test]
    fn expires_is_the_shorter_of_ring_time_and_what_is_left_rounded_down() {
        let now = Instant::now();
        let bounds = Bounds::new(Some(SECOND * 60), Some(now + SECOND * 90), None);
        let mut request = request();
        for (after_ms, says) in [
            (0, "60"),
            (30_000, "60"),
            (30_001, "59"),
            (59_999, "30"),
            (88_999, "1"),
        ] {
            let at = now + Duration::from_millis(after_ms);
            assert!(!bounds.are_over(at));
            bounds.stamp(&mut request, at);
            assert_eq!(
                request.headers.text(name::EXPIRES).as_deref(),
                Some(says),
                "{after_ms}"
            );
            assert!(!bounds.stamp(&mut request, at), "said already");
        }
        assert!(bounds.are_over(now + SECOND * 89));
    }

    #[test]
    fn without_bounds_an_invite_says_nothing_and_is_never_late() {
        let mut request = request();
        let bounds = Bounds::default();
        assert!(!bounds.stamp(&mut request, Instant::now()));
        assert_eq!(request.headers.get(name::EXPIRES), None);
        assert!(!bounds.are_over(Instant::now() + SECOND * 1_000_000));
    }

    #[test]
    fn the_earlier_end_counts() {
        let now = Instant::now();
        let bounds = Bounds::new(None, Some(now + SECOND * 10), Some(now + SECOND * 4));
        assert_eq!(bounds.not_after(), Some(now + SECOND * 4));
        let bounds = Bounds::new(None, Some(now + SECOND * 10), Some(now + SECOND * 40));
        assert_eq!(bounds.not_after(), Some(now + SECOND * 9));
    }
}
