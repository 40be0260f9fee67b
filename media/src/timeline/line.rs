//! Where the packets of one channel belong: the line that ties a sender's time stamps to positions of the recording.
//!
//! The first packet of a stream ends where the recording stood when it came. It may have been late, so for 140 ms, while
//! nothing of it is written yet, the stream is moved earlier by whatever packet proves that ([`Found::earlier`]). After
//! that the time stamps alone place every packet, and the line moves for four reasons only: the stream was cut (new
//! source, time stamp jump, a sender that paused and goes on where it was), packets come before they can have been
//! spoken, the sender's clock drifts (`drift.rs`), or all its packets have long been far too late.

use crate::stream::Step;
use crate::tap::{HOLD_SAMPLES, TapPacket};
use crate::timeline::drift::{self, Drift};

/// A packet this far ahead of the clock proves the line wrong.
const AHEAD: i64 = 1_600;
/// So long the first packets of a stream may still move it: the hold time less the longest packet (60 ms).
const SETTLE: u64 = 1_120;
/// A sender that resumed late must have sent for this long (80 ms), and this many packets, so that a burst after a stall,
/// which is late audio, is not taken for it.
const RESUMED: u64 = 640;
const RESUMED_PACKETS: u32 = 5;

#[derive(Debug)]
pub(super) struct Line {
    anchor: Option<Anchor>,
    settled_from: u64,
    drift: Drift,
    /// The packet before which the line was moved by one sample, and by how much: what was sent before it and comes
    /// after it belongs on the line as it was.
    moved: Option<(u32, i64)>,
    /// Newest packets that came beyond the hold time, one after another.
    late_run: Option<LateRun>,
}

/// A time stamp and the position it belongs to; may lie before the start.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    timestamp: u32,
    position: i64,
}

/// Where a packet belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Position of its first sample.
    pub(super) position: i64,
    /// A stream begins here.
    pub(super) anew: bool,
    /// By how many samples everything of this stream so far moves to an earlier place.
    pub(super) earlier: u64,
    /// 1: its first sample is to be there twice, from one position before. -1: its first sample is to be left out.
    pub(super) slip: i64,
}

#[derive(Debug, Clone, Copy)]
struct LateRun {
    since: u64,
    timestamp: u32,
    count: u32,
}

impl LateRun {
    /// True if these packets come as they are spoken and not much faster, as late audio does after a stall.
    fn is_at_pace(&self, now: u64, timestamp: u32) -> bool {
        let arrived = now.saturating_sub(self.since);
        let spoken = u64::from(timestamp.wrapping_sub(self.timestamp));
        self.count >= RESUMED_PACKETS && arrived >= RESUMED && arrived * 5 >= spoken * 4
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            anchor: None,
            settled_from: 0,
            drift: Drift::new(0),
            moved: None,
            late_run: None,
        }
    }

    /// False while the first packets of a stream may still move it.
    pub(super) fn is_settled(&self, now: u64) -> bool {
        now >= self.settled_from
    }

    /// True once a stream has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.anchor.is_some()
    }

    /// The position of a time stamp; `None` before a stream has begun.
    pub(super) fn position_of(&self, timestamp: u32) -> Option<i64> {
        let anchor = self.anchor?;
        let position = anchor.position + i64::from(timestamp.wrapping_sub(anchor.timestamp) as i32);
        Some(match self.moved {
            Some((from, by)) if (timestamp.wrapping_sub(from) as i32) < 0 => position - by,
            _ => position,
        })
    }

    /// Where a packet of `len` samples that came at `now` belongs; `None` if it is too late to matter.
    pub(super) fn locate(&mut self, packet: &TapPacket<'_>, len: i64, now: u64) -> Option<Found> {
        let timestamp = packet.timestamp;
        let Some(position) = self.position_of(timestamp) else {
            return Some(self.place_anew(timestamp, len, now));
        };
        if packet.arrival.step == Step::First {
            return Some(self.place_anew(timestamp, len, now));
        }
        let delay = now as i64 - (position + len);
        let found = Found {
            position,
            anew: false,
            earlier: 0,
            slip: 0,
        };
        if !packet.arrival.is_newest() {
            return (-AHEAD..=HOLD_SAMPLES + len)
                .contains(&delay)
                .then_some(found);
        }
        if delay > HOLD_SAMPLES {
            let mut run = self.late_run.unwrap_or(LateRun {
                since: now,
                timestamp,
                count: 0,
            });
            run.count += 1;
            self.late_run = Some(run);
            let resumed = run.is_at_pace(now, timestamp);
            return (packet.arrival.jumped || packet.marker || resumed)
                .then(|| self.place_anew(timestamp, len, now));
        }
        self.late_run = None;
        if !self.is_settled(now) {
            let earlier = (-delay).max(0);
            let position = position - earlier;
            self.anchor = Some(Anchor {
                timestamp,
                position,
            });
            return Some(Found {
                position,
                earlier: earlier as u64,
                ..found
            });
        }
        if delay < -AHEAD {
            return Some(self.place_anew(timestamp, len, now));
        }
        let slip = match self.drift.judge(delay, now) {
            drift::Step::Stay => 0,
            drift::Step::Insert => 1,
            drift::Step::Drop => -1,
            drift::Step::Anew => return Some(self.place_anew(timestamp, len, now)),
        };
        if slip != 0 {
            self.moved = Some((timestamp, slip));
        }
        self.anchor = Some(Anchor {
            timestamp,
            position: position + slip,
        });
        // An inserted sample pushes this packet back by one; a dropped one is its own first, so that what follows that
        // keeps its place.
        Some(Found {
            position: position + slip.max(0),
            slip,
            ..found
        })
    }

    fn place_anew(&mut self, timestamp: u32, len: i64, now: u64) -> Found {
        let position = now as i64 - len;
        self.anchor = Some(Anchor {
            timestamp,
            position,
        });
        self.settled_from = now + SETTLE;
        self.drift = Drift::new(now + SETTLE);
        self.moved = None;
        self.late_run = None;
        Found {
            position,
            anew: true,
            earlier: 0,
            slip: 0,
        }
    }
}
