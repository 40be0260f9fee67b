//! One channel of the recording: where each packet belongs on the time line, and a window of samples that wait for
//! earlier ones.
//!
//! A packet that arrives at `t` and holds `n` samples ends at `t` when the channel is anchored; after that its RTP time
//! stamp alone places it. The anchor moves for three reasons: the stream was cut (new source, time stamp jump, pause
//! of the sender), the channel is more than 40 ms off the clock over a whole observation window, or the sender's clock
//! drifts (then by single samples, which nobody hears). The earliest packets of a window say where the line is, because
//! a network can only delay.

use std::sync::Arc;

use crate::stream::Step;
use crate::tap::{ChannelCounters, HOLD_SAMPLES, TapContent, TapPacket};

/// Samples a channel can hold: the hold time behind the clock, as much ahead of it, and some.
pub(crate) const WINDOW: usize = 4_096;
const MASK: usize = WINDOW - 1;
const WORDS: usize = WINDOW / 64;
/// Longest packet taken: the payload of one Ethernet frame.
const LONGEST: usize = 1_500;
/// A packet this far ahead of the clock proves the anchor wrong.
const AHEAD: i64 = 1_600;
/// Offsets are judged over this many samples (2 s).
const OBSERVE: u64 = 16_000;
/// Offsets below this are jitter of the clock reading (3 ms).
const TOLERANCE: i64 = 24;
/// From here on the channel is placed anew instead of slipping (40 ms).
const TOO_FAR: i64 = 320;
/// A sender that resumed late must have sent for this long (40 ms), so that a burst after a stall, which is late audio,
/// is not taken for it.
const RESUMED: u64 = 320;

#[derive(Debug)]
pub(crate) struct Channel {
    samples: Box<[i16; WINDOW]>,
    filled: Box<[u64; WORDS]>,
    /// Every position below is filled or written.
    frontier: u64,
    anchor: Option<Anchor>,
    observation: Observation,
    /// Samples to insert (positive) or drop.
    slip: i64,
    /// Newest packets that came beyond the hold time, one after another.
    late_run: Option<LateRun>,
    counters: Arc<ChannelCounters>,
}

/// A time stamp and the position it belongs to; may lie before the start.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    timestamp: u32,
    position: i64,
}

#[derive(Debug, Clone, Copy)]
struct LateRun {
    since: u64,
    timestamp: u32,
    count: u32,
}

impl LateRun {
    /// True if these packets come as they are spoken: over at least 40 ms, and not much faster than their time stamps,
    /// as late audio does after a stall.
    fn is_at_pace(&self, now: u64, timestamp: u32) -> bool {
        let arrived = now - self.since;
        let spoken = u64::from(timestamp.wrapping_sub(self.timestamp));
        self.count >= 3 && arrived >= RESUMED && arrived * 2 >= spoken
    }
}

#[derive(Debug, Clone, Copy)]
struct Observation {
    since: u64,
    earliest: i64,
}

impl Channel {
    pub(crate) fn new(counters: Arc<ChannelCounters>) -> Self {
        Self {
            samples: Box::new([0; WINDOW]),
            filled: Box::new([0; WORDS]),
            frontier: 0,
            anchor: None,
            observation: Observation {
                since: 0,
                earliest: i64::MAX,
            },
            slip: 0,
            late_run: None,
            counters,
        }
    }

    /// Every position below is settled.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// Takes a packet at position `now`; `written` is where the recording already stands.
    pub(crate) fn take(&mut self, packet: &TapPacket<'_>, now: u64, written: u64, paused: bool) {
        match packet.arrival.step {
            Step::Duplicate => {
                self.counters.duplicate.bump();
                return;
            }
            Step::Doubtful => return,
            Step::Next { gap } => self.counters.lost.add(u64::from(gap)),
            Step::Reordered => self
                .counters
                .lost
                .set(self.counters.lost.get().saturating_sub(1)),
            Step::First => {}
        }
        self.counters.packets.bump();
        match packet.content {
            TapContent::Audio(codec, payload) => {
                let payload = payload.get(..payload.len().min(LONGEST)).unwrap_or(payload);
                if payload.is_empty() {
                    return;
                }
                let Some((position, slip)) = self.locate(packet, payload.len() as i64, now as i64)
                else {
                    self.counters.late.bump();
                    return;
                };
                let table = codec.table();
                let heard = |code: &u8| if paused { 0 } else { table[usize::from(*code)] };
                if position + payload.len() as i64 <= written as i64 {
                    self.counters.late.bump();
                }
                match slip {
                    1 => {
                        self.place(position - 1, payload.iter().take(1).map(heard), written);
                        self.place(position, payload.iter().map(heard), written);
                    }
                    -1 => self.place(position, payload.iter().skip(1).map(heard), written),
                    _ => self.place(position, payload.iter().map(heard), written),
                }
            }
            TapContent::Digit(duration) => {
                // A digit before any audio has no line to stand on; it is silence either way.
                let Some(anchor) = self.anchor else { return };
                let from = anchor.position
                    + i64::from(packet.timestamp.wrapping_sub(anchor.timestamp) as i32);
                let to = (from + i64::from(duration)).min(now as i64);
                self.settle_as_silence(from, to, written);
            }
        }
    }

    /// Where the packet's first sample belongs, and whether to insert (1) or drop (-1) a sample there; `None` if it is
    /// too late to matter.
    fn locate(&mut self, packet: &TapPacket<'_>, len: i64, now: i64) -> Option<(i64, i64)> {
        let newest = packet.arrival.is_newest();
        let Some(anchor) = self.anchor else {
            return Some((self.place_anew(packet.timestamp, now - len, now), 0));
        };
        if packet.arrival.step == Step::First {
            self.counters.reanchored.bump();
            return Some((self.place_anew(packet.timestamp, now - len, now), 0));
        }
        let position =
            anchor.position + i64::from(packet.timestamp.wrapping_sub(anchor.timestamp) as i32);
        let offset = now - (position + len); // positive: later than the line says
        if !newest {
            return (-AHEAD..=HOLD_SAMPLES + len)
                .contains(&offset)
                .then_some((position, 0));
        }
        if offset < -AHEAD {
            self.counters.reanchored.bump();
            return Some((self.place_anew(packet.timestamp, now - len, now), 0));
        }
        if offset > HOLD_SAMPLES {
            let mut run = self.late_run.unwrap_or(LateRun {
                since: now as u64,
                timestamp: packet.timestamp,
                count: 0,
            });
            run.count += 1;
            self.late_run = Some(run);
            let resumed = run.is_at_pace(now as u64, packet.timestamp);
            if packet.arrival.jumped || packet.marker || resumed {
                self.counters.reanchored.bump();
                return Some((self.place_anew(packet.timestamp, now - len, now), 0));
            }
            return None;
        }
        self.late_run = None;
        self.observe(offset, now);
        let slip = self.slip.signum();
        self.slip -= slip;
        self.counters.slipped.add(slip.unsigned_abs());
        // An inserted sample pushes this packet back by one; a dropped one pulls all that follow forward by one.
        let position = if slip > 0 { position + 1 } else { position };
        let following = if slip < 0 { position - 1 } else { position };
        self.anchor = Some(Anchor {
            timestamp: packet.timestamp,
            position: following,
        });
        Some((position, slip))
    }

    fn place_anew(&mut self, timestamp: u32, position: i64, now: i64) -> i64 {
        self.anchor = Some(Anchor {
            timestamp,
            position,
        });
        self.observation = Observation {
            since: now as u64,
            earliest: i64::MAX,
        };
        self.slip = 0;
        self.late_run = None;
        position
    }

    /// Follows the earliest packets of each observation window.
    fn observe(&mut self, offset: i64, now: i64) {
        self.observation.earliest = self.observation.earliest.min(offset);
        if now as u64 - self.observation.since < OBSERVE {
            return;
        }
        let earliest = self.observation.earliest;
        self.observation = Observation {
            since: now as u64,
            earliest: i64::MAX,
        };
        if earliest.abs() > TOO_FAR {
            self.counters.reanchored.bump();
            self.slip = 0;
            if let Some(anchor) = &mut self.anchor {
                anchor.position += earliest;
            }
        } else if earliest.abs() > TOLERANCE {
            self.slip = earliest;
        } else {
            self.slip = 0;
        }
    }

    fn place(&mut self, position: i64, mut samples: impl Iterator<Item = i16>, written: u64) {
        // What lies before the recording's end is past; what lies beyond the window cannot be kept (never reached: the
        // window is longer than hold, ahead and the longest packet together).
        let mut at = position;
        while at < written as i64 {
            if samples.next().is_none() {
                return;
            }
            at += 1;
        }
        let from = at as u64;
        let mut to = from;
        for sample in samples.take((written + WINDOW as u64).saturating_sub(from) as usize) {
            self.samples[to as usize & MASK] = sample;
            to += 1;
        }
        self.mark(from, to);
    }

    fn settle_as_silence(&mut self, from: i64, to: i64, written: u64) {
        let from = from.max(written as i64) as u64;
        let to = (to.max(0) as u64).min(written + WINDOW as u64);
        for position in from..to {
            let bit = 1_u64 << (position & 63);
            let word = &mut self.filled[(position as usize & MASK) / 64];
            if *word & bit == 0 {
                *word |= bit;
                self.samples[position as usize & MASK] = 0;
                self.counters.digits.bump();
            }
        }
        self.extend_frontier(from, to);
    }

    /// Marks positions as filled.
    fn mark(&mut self, from: u64, to: u64) {
        for_words(from, to, |word, mask| self.filled[word] |= mask);
        self.extend_frontier(from, to);
    }

    fn extend_frontier(&mut self, from: u64, to: u64) {
        if from <= self.frontier && self.frontier < to {
            self.frontier = to;
            self.skip_filled(to);
        }
    }

    /// Moves the frontier over what is filled behind it.
    fn skip_filled(&mut self, start: u64) {
        let mut at = start;
        let limit = start + WINDOW as u64;
        while at < limit {
            let word = self.filled[(at as usize & MASK) / 64] >> (at & 63);
            let run = u64::from(word.trailing_ones()).min(64 - (at & 63));
            at += run;
            if run == 0 || at & 63 != 0 {
                break;
            }
        }
        self.frontier = at;
    }

    /// The samples from `from` on; holes are 0.
    pub(crate) fn read(&self, from: u64, count: usize) -> impl Iterator<Item = i16> + '_ {
        let start = from as usize & MASK;
        let first = count.min(WINDOW - start);
        let head = self.samples.get(start..start + first).unwrap_or_default();
        let tail = self.samples.get(..count - first).unwrap_or_default();
        head.iter().chain(tail).copied()
    }

    /// Frees positions that were written, and counts those that nothing had filled.
    pub(crate) fn consume(&mut self, from: u64, count: usize) {
        let to = from + count as u64;
        let mut filled = 0;
        for_words(from, to, |word, mask| {
            filled += u64::from((self.filled[word] & mask).count_ones());
            self.filled[word] &= !mask;
        });
        self.counters.silence.add(count as u64 - filled);
        let start = from as usize & MASK;
        let first = count.min(WINDOW - start);
        if let Some(head) = self.samples.get_mut(start..start + first) {
            head.fill(0);
        }
        if let Some(tail) = self.samples.get_mut(..count - first) {
            tail.fill(0);
        }
        if self.frontier < to {
            self.skip_filled(to);
        }
    }
}

/// Calls `act` with each word of the window's bitmap that `from..to` touches, and its bits. At most one window.
#[inline]
fn for_words(from: u64, to: u64, mut act: impl FnMut(usize, u64)) {
    let mut at = from;
    while at < to {
        let bit = at & 63;
        let run = (64 - bit).min(to - at);
        let mask = if run == 64 {
            u64::MAX
        } else {
            ((1 << run) - 1) << bit
        };
        act((at as usize & MASK) / 64, mask);
        at += run;
    }
}
