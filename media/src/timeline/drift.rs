//! How far a sender's clock runs from ours, judged by when its packets come. Pure: positions in, single samples to
//! insert or drop out.
//!
//! A packet can only ever be late: by the network, by a sender that was not scheduled, by our own lateness where the
//! kernel noted no time. So the least delay of a long while says where the clocks stand, and no stall, burst or bad spell
//! does. What counts:
//!
//! - A sender that is slow shows in the least delay of 40 s: nobody is unlucky with two thousand packets in a row.
//! - A sender that is fast shows in the least delays of two windows of 5 s, since no packet comes before it was spoken.
//! - The delay at the start is no drift, however large, nor is what falls faster than a clock can run, 500 ppm from the
//!   start on, or by more than 20 ms from one window to the next: then the way became shorter, not the sender faster.
//! - Below 20 ms nothing is done; beyond, one sample each 240 ms, which nobody hears, follows 500 ppm. Telephones are
//!   within 100 ppm, so a call of three minutes is recorded as it was sent, sample by sample.
//!
//! So the line is off a drifting clock by 20 ms and what it gains in 45 s, at most: 25 ms at 100 ppm.

/// A window, 5 s.
const WINDOW: u64 = 40_000;
/// Packets a window has at least: it lasts longer where fewer come.
const LEAST: u32 = 50;
/// Windows in a long while.
const LONG: usize = 8;
/// So far from where it was at first nothing is done, 20 ms.
const TOLERANCE: i64 = 160;
/// Samples are inserted or dropped at least this far apart, 240 ms: a multiple of every usual packet time.
const APART: u64 = 1_920;
/// No clock gains more than a sample in so many, 500 ppm.
const GAINS: u64 = 2_000;
/// Every packet of two windows being this late, 100 ms, the line is wrong: too little is left of the time to wait for
/// late ones.
const STANDING: i64 = 800;

#[derive(Debug)]
pub(super) struct Drift {
    began: u64,
    since: u64,
    packets: u32,
    least: i64,
    /// Least delays of past windows, the newest first, as if nothing had been inserted or dropped.
    past: [i64; LONG],
    known: usize,
    /// The least delay of the first window: what is no drift.
    home: i64,
    /// Samples inserted less samples dropped so far, and how many it should be.
    applied: i64,
    wanted: i64,
    last: u64,
}

/// What to do before the packet just judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// Insert a sample: the sender is slow.
    Insert,
    /// Drop a sample: the sender is fast.
    Drop,
    /// Place the channel anew: all its packets have long been far too late.
    Anew,
}

impl Drift {
    /// Begins to judge at `now`.
    pub(super) fn new(now: u64) -> Self {
        Self {
            began: now,
            since: now,
            packets: 0,
            least: i64::MAX,
            past: [i64::MAX; LONG],
            known: 0,
            home: 0,
            applied: 0,
            wanted: 0,
            last: now,
        }
    }

    /// A packet came at `now`, `delay` samples after the line says that its last sample was spoken.
    pub(super) fn judge(&mut self, delay: i64, now: u64) -> Step {
        self.least = self.least.min(delay + self.applied);
        self.packets += 1;
        if now.saturating_sub(self.since) >= WINDOW && self.packets >= LEAST && self.close(now) {
            return Step::Anew;
        }
        if self.wanted == self.applied || now.saturating_sub(self.last) < APART {
            return Step::Stay;
        }
        self.last = now;
        if self.wanted > self.applied {
            self.applied += 1;
            Step::Insert
        } else {
            self.applied -= 1;
            Step::Drop
        }
    }

    /// Ends a window; true if the channel must be placed anew.
    fn close(&mut self, now: u64) -> bool {
        let least = self.least;
        self.since = now;
        self.packets = 0;
        self.least = i64::MAX;
        if self.known == 0 {
            self.home = least;
        }
        let before = self.past[0];
        self.past.rotate_right(1);
        self.past[0] = least;
        self.known = (self.known + 1).min(LONG);
        if self.known < 2 {
            return false;
        }
        if least.min(before) - self.applied > STANDING {
            return true;
        }
        let fast = least.max(before);
        let slow = self.past.iter().copied().min().unwrap_or(fast);
        let gained = (now.saturating_sub(self.began) / GAINS) as i64;
        self.home = self.home.min(least - self.applied + gained);
        let off = |delay: i64| delay - self.home - self.applied;
        if off(least) < -TOLERANCE && before - least > TOLERANCE {
            // The way became shorter, or was never as long as it seemed.
            self.home = least - self.applied;
            self.known = 1;
            self.wanted = self.applied;
        } else if off(fast) < -TOLERANCE {
            self.wanted = fast - self.home + TOLERANCE;
        } else if self.known == LONG && off(slow) > TOLERANCE {
            self.wanted = slow - self.home - TOLERANCE;
        } else {
            self.wanted = self.applied;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a packet each 20 ms, whose delay at a position is `delay`; what was done, and where.
    fn steps(seconds: u64, delay: impl Fn(u64) -> i64) -> Vec<(u64, Step)> {
        let mut drift = Drift::new(0);
        let mut inserted = 0;
        let mut steps = Vec::new();
        for now in (0..seconds * 8_000).step_by(160) {
            let step = drift.judge(delay(now) - inserted, now);
            inserted += match step {
                Step::Insert => 1,
                Step::Drop => -1,
                Step::Stay | Step::Anew => 0,
            };
            if step != Step::Stay {
                steps.push((now, step));
            }
            if step == Step::Anew {
                break;
            }
        }
        steps
    }

    #[test]
    fn samples_are_inserted_and_dropped_far_apart_and_only_beyond_20_ms() {
        for (ppm, expected) in [(500, Step::Insert), (-500, Step::Drop), (100, Step::Insert)] {
            let drifted = |now: u64| now as i64 * ppm / 1_000_000;
            let steps = steps(1_200, drifted);
            assert!(steps.iter().all(|&(_, step)| step == expected), "{ppm} ppm");
            assert!(
                steps.windows(2).all(|pair| pair[1].0 - pair[0].0 >= APART),
                "{ppm} ppm"
            );
            assert!(drifted(steps[0].0).abs() > TOLERANCE, "{ppm} ppm");
            let left = drifted(9_600_000).abs() - steps.len() as i64;
            // Tolerated, and what a clock gains in the long while and the window after it.
            let lag = 9 * WINDOW as i64 * ppm.abs() / 1_000_000;
            assert!(
                (TOLERANCE..=TOLERANCE + lag + 20).contains(&left),
                "{ppm} ppm: {left}"
            );
        }
    }

    #[test]
    fn a_bad_spell_of_half_a_minute_is_no_drift_and_neither_is_its_end() {
        for late in [100, 170, 400, 799] {
            let spell = |now: u64| {
                if (480_000..720_000).contains(&now) {
                    late
                } else {
                    0
                }
            };
            assert_eq!(steps(300, spell), [], "{late} in the middle");
            let start = |now: u64| if now < 240_000 { late } else { 0 };
            assert_eq!(steps(300, start), [], "{late} at the start");
            let easing = |now: u64| (late - (now / 60_000) as i64 * late / 5).max(0);
            assert_eq!(steps(300, easing), [], "{late}, easing");
        }
    }

    #[test]
    fn where_every_packet_has_long_been_far_too_late_the_line_is_wrong() {
        let steps = steps(300, |now| if now < 480_000 { 0 } else { 900 });
        assert!(
            matches!(steps[..], [(at, Step::Anew)] if (560_000..640_000).contains(&at)),
            "{steps:?}"
        );
    }
}
