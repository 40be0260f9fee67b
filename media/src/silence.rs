//! Notices that a peer which should send sends nothing. It watches packets, not loudness: a peer that sends digital
//! silence is alive (the vault's analysis finds that).

use std::time::{Duration, Instant};

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing for this long.
    Silent(Duration),
    /// Packets again, after this long.
    Resumed(Duration),
}

/// The watch over one leg.
#[derive(Debug)]
pub struct SilenceWatch {
    limit: Duration,
    last: Option<Instant>,
    silent: bool,
}

impl SilenceWatch {
    /// A watch that reports after `limit` without a packet. It is off until [`SilenceWatch::expect`].
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: None,
            silent: false,
        }
    }

    /// From `now` on packets are due (`true`), or none are (`false`: hold, no peer yet).
    pub fn expect(&mut self, due: bool, now: Instant) {
        match (due, self.last) {
            (true, None) => self.last = Some(now),
            (false, _) => {
                self.last = None;
                self.silent = false;
            }
            (true, Some(_)) => {}
        }
    }

    /// A packet arrived.
    #[inline]
    pub fn heard(&mut self, now: Instant) -> Option<Change> {
        let last = self.last?;
        self.last = Some(now);
        if !self.silent {
            return None;
        }
        self.silent = false;
        Some(Change::Resumed(now.saturating_duration_since(last)))
    }

    /// Time passed.
    pub fn check(&mut self, now: Instant) -> Option<Change> {
        let since = now.saturating_duration_since(self.last?);
        if self.silent || since < self.limit {
            return None;
        }
        self.silent = true;
        Some(Change::Silent(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_once_and_its_end_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = SilenceWatch::new(Duration::from_secs(2));
        assert_eq!(watch.check(at(10_000)), None, "off until packets are due");
        watch.expect(true, at(10_000));
        assert_eq!(watch.check(at(11_999)), None);
        assert_eq!(
            watch.check(at(12_000)),
            Some(Change::Silent(Duration::from_secs(2)))
        );
        assert_eq!(watch.check(at(15_000)), None);
        assert_eq!(
            watch.heard(at(15_000)),
            Some(Change::Resumed(Duration::from_secs(5)))
        );
        assert_eq!(watch.heard(at(15_020)), None);
        watch.expect(true, at(16_000));
        assert_eq!(
            watch.check(at(17_020)),
            Some(Change::Silent(Duration::from_secs(2)))
        );
        watch.expect(false, at(18_000));
        assert_eq!(watch.check(at(60_000)), None, "nothing is due on hold");
    }
}
