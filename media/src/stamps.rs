//! When a packet came. The kernel notes the time as a packet enters its socket's queue (SO_TIMESTAMPNS), so that however
//! late an audio thread gets to it, that lateness is taken neither for the network's nor for a sender's clock.
//!
//! The kernel notes by the wall clock, everything here goes by the monotonic one. Both are read together once a round;
//! where the wall clock was set in between, notes from before that are not believed, and a packet counts as having come
//! when it is read. Nothing here tells the time of day to anybody.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Two readings of the clocks differ by less, unless the wall clock was set.
const SET_NS: i64 = 1_000_000;
/// A reading that takes longer was interrupted and pairs nothing.
const INTERRUPTED: Duration = Duration::from_micros(100);
/// Nothing waits in a socket for longer.
const LONGEST_NS: i64 = 10_000_000_000;

/// Translates the kernel's notes.
#[derive(Debug)]
pub(crate) struct Stamps {
    origin: Instant,
    /// Wall clock at `origin`, in nanoseconds since 1970; `None` before the clocks could be read together.
    wall_at_origin: Option<i64>,
    /// Notes before this wall-clock time are of another setting of the clock.
    valid_from: i64,
    now: Instant,
}

impl Stamps {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            wall_at_origin: None,
            valid_from: i64::MIN,
            now: origin,
        }
    }

    /// The instant of the last reading.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Reads both clocks: the present instant.
    pub(crate) fn read(&mut self) -> Instant {
        for _ in 0..3 {
            let before = Instant::now();
            let wall = clock_gettime(ClockId::Realtime);
            let wall = wall
                .tv_sec
                .saturating_mul(1_000_000_000)
                .saturating_add(wall.tv_nsec);
            if self.pair(before, wall, Instant::now()) {
                break;
            }
        }
        self.now
    }

    /// Takes a wall-clock reading between two monotonic ones; false if they lie too far apart.
    fn pair(&mut self, before: Instant, wall: i64, after: Instant) -> bool {
        self.now = after;
        if after.saturating_duration_since(before) > INTERRUPTED {
            return false;
        }
        let wall_at_origin = wall.saturating_sub(nanos(self.origin, before));
        if self
            .wall_at_origin
            .is_some_and(|last| last.abs_diff(wall_at_origin) > SET_NS.unsigned_abs())
        {
            self.valid_from = wall;
        }
        self.wall_at_origin = Some(wall_at_origin);
        true
    }

    /// The instant of a note, `read_at` giving the present; `None` if there is none to believe.
    fn translate(&self, note: i64, read_at: impl FnOnce() -> Instant) -> Option<Instant> {
        let since = note.checked_sub(self.wall_at_origin?)?;
        if note < self.valid_from || nanos(self.origin, self.now).saturating_sub(since) > LONGEST_NS
        {
            return None;
        }
        let at = self.origin + Duration::from_nanos(u64::try_from(since).ok()?);
        // Later than this round's reading is a packet that came while the round lasts, or a clock that was set in it.
        (at <= self.now || at <= read_at()).then_some(at)
    }

    /// When a packet came that the kernel noted `note` for, in nanoseconds since 1970.
    #[inline]
    pub(crate) fn arrival(&self, note: Option<i64>) -> Instant {
        note.and_then(|note| self.translate(note, Instant::now))
            .unwrap_or_else(Instant::now)
    }
}

fn nanos(from: Instant, to: Instant) -> i64 {
    i64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i64 = 1_700_000_000_000_000_000;
    const MS: i64 = 1_000_000;

    fn after(origin: Instant, ms: i64) -> Instant {
        origin + Duration::from_millis(ms.unsigned_abs())
    }

    /// Clocks read together after so many milliseconds, the wall clock being `ahead` of where it was.
    fn read(stamps: &mut Stamps, origin: Instant, ms: i64, ahead: i64) {
        let now = after(origin, ms);
        assert!(stamps.pair(now, WALL + (ms + ahead) * MS, now));
    }

    #[test]
    fn a_note_is_the_instant_at_which_the_packet_came() {
        let origin = Instant::now();
        let mut stamps = Stamps::new(origin);
        let never = || -> Instant { unreachable!("the round's reading is enough") };
        assert_eq!(stamps.translate(WALL, never), None, "no clock was read");
        read(&mut stamps, origin, 0, 0);
        read(&mut stamps, origin, 900, 0);
        assert_eq!(
            stamps.translate(WALL + 100 * MS, never),
            Some(after(origin, 100)),
            "a packet that waited for 800 ms"
        );
        assert_eq!(
            stamps.translate(WALL + 901 * MS, || after(origin, 902)),
            Some(after(origin, 901)),
            "a packet that came while the round lasts"
        );
    }

    #[test]
    fn no_note_of_the_future_or_of_long_ago_is_believed() {
        let origin = Instant::now();
        let mut stamps = Stamps::new(origin);
        read(&mut stamps, origin, 20_000, 0);
        let now = || after(origin, 20_000);
        assert_eq!(stamps.translate(WALL + 20_001 * MS, now), None);
        assert_eq!(stamps.translate(WALL + 9_999 * MS, now), None);
        assert_eq!(stamps.translate(WALL - MS, now), None);
        assert_eq!(stamps.translate(i64::MIN, now), None);
        assert_eq!(stamps.translate(i64::MAX, now), None);
    }

    #[test]
    fn notes_from_before_the_wall_clock_was_set_are_not_believed() {
        for ahead in [3_600_000, 40, -40] {
            let origin = Instant::now();
            let mut stamps = Stamps::new(origin);
            read(&mut stamps, origin, 0, 0);
            read(&mut stamps, origin, 500, ahead);
            let now = || after(origin, 500);
            let before = stamps.translate(WALL + 400 * MS, now);
            // Set back, the note seems to come from now or later; forward, from long before.
            assert_eq!(
                before.filter(|&at| at != after(origin, 440)),
                None,
                "{ahead}"
            );
            read(&mut stamps, origin, 600, ahead);
            let now = || after(origin, 600);
            assert_eq!(
                stamps.translate(WALL + (550 + ahead) * MS, now),
                Some(after(origin, 550)),
                "{ahead}"
            );
        }
    }

    #[test]
    fn a_reading_that_was_interrupted_changes_nothing() {
        let origin = Instant::now();
        let mut stamps = Stamps::new(origin);
        read(&mut stamps, origin, 0, 0);
        assert!(!stamps.pair(after(origin, 10), WALL + 60 * MS, after(origin, 60)));
        assert_eq!(
            stamps.translate(WALL + 30 * MS, || after(origin, 60)),
            Some(after(origin, 30))
        );
    }
}
