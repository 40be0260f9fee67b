//! The order of what arrives from one peer (RFC 3550 A.1, A.3, A.8): new, late, twice, restarted, lost; jitter; and
//! whether the time stamp jumped. The bridge and the tap both act on its verdict, so a packet is judged once.

use std::time::Instant;

use crate::rtp::Header;
use crate::stats::LegCounters;

/// A sequence number may run this far ahead of the last (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3_000;
/// A late packet may be this far behind (RFC 3550 A.1, MAX_MISORDER).
const MAX_MISORDER: u16 = 100;
/// A time stamp that departs from both the sequence and the clock by more than this has jumped: 200 ms.
const JUMP: i64 = 1_600;

/// Where a packet stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// First of a source: first ever, a new SSRC, or the sequence restarted.
    First,
    /// Later than all before, after a hole of `gap` packets.
    Next {
        /// Packets missing before this one.
        gap: u16,
    },
    /// Earlier than one already seen, and not seen before.
    Reordered,
    /// Seen before. To be dropped.
    Duplicate,
    /// Far out of sequence, and alone so far. To be dropped; a second in a row restarts the stream.
    Doubtful,
}

/// The verdict on one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its place.
    pub step: Step,
    /// Its time stamp agrees neither with the sequence nor with the clock: the sender's time line was cut.
    pub jumped: bool,
}

impl Arrival {
    /// True for the packet that is the newest of its stream.
    pub fn is_newest(&self) -> bool {
        matches!(self.step, Step::First | Step::Next { .. })
    }
}

/// The receiving half of a leg.
#[derive(Debug, Default)]
pub struct InStream {
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    began: Instant,
    highest: u16,
    cycles: u32,
    base: u32,
    received: u32,
    /// Bit n: `highest - n` was seen.
    seen: u128,
    /// The sequence number that would prove a restart.
    restart_at: Option<u16>,
    audio: Option<Audio>,
    /// Jitter in 1/16 ticks.
    jitter: u32,
    transit: Option<u32>,
    /// Expected and received when the last report was made (RFC 3550 A.3).
    expected_prior: u32,
    received_prior: u32,
}

/// The last newest audio packet.
#[derive(Debug, Clone, Copy)]
struct Audio {
    sequence: u16,
    timestamp: u32,
    at: Instant,
    samples: u32,
}

/// What a report block says about a source (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    /// Its SSRC.
    pub ssrc: u32,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all; may be negative with duplicates; 24 bits.
    pub cumulative_lost: i32,
    /// Extended highest sequence number.
    pub highest: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
}

impl InStream {
    /// SSRC heard last.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Judges a packet that arrived at `now`. `audio_samples` is its length in samples, or `None` for an event, whose
    /// time stamp stands still (RFC 4733) and says nothing about time.
    pub(crate) fn judge(
        &mut self,
        header: &Header,
        audio_samples: Option<u32>,
        now: Instant,
        counters: &LegCounters,
    ) -> Arrival {
        let arrival = match self.source.as_mut() {
            Some(source) if source.ssrc == header.ssrc => source.step(header.sequence, counters),
            Some(_) => {
                counters.restarts.bump();
                Step::First
            }
            None => Step::First,
        };
        if arrival == Step::First {
            self.source = Some(Source::new(header.ssrc, header.sequence, now));
        }
        let mut jumped = false;
        if let Some(source) = self.source.as_mut()
            && !matches!(arrival, Step::Duplicate | Step::Doubtful)
        {
            counters.received.bump();
            if let Some(samples) = audio_samples {
                if matches!(arrival, Step::First | Step::Next { .. }) {
                    jumped = source.advance(header, samples, now);
                }
                source.observe_transit(header.timestamp, now, jumped);
                counters.jitter.set(u64::from(source.jitter >> 4));
            }
        }
        Arrival {
            step: arrival,
            jumped,
        }
    }

    /// The report block about what arrived since the last one; `None` if nothing ever did.
    pub fn report(&mut self) -> Option<Reception> {
        let source = self.source.as_mut()?;
        let highest = source.cycles.wrapping_add(u32::from(source.highest));
        let expected = highest.wrapping_sub(source.base).wrapping_add(1);
        let expected_interval = expected.wrapping_sub(source.expected_prior);
        let received_interval = source.received.wrapping_sub(source.received_prior);
        source.expected_prior = expected;
        source.received_prior = source.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = match expected_interval {
            0 => 0,
            _ => (u64::from(lost_interval) * 256 / u64::from(expected_interval)).min(255) as u8,
        };
        let lost = i64::from(expected) - i64::from(source.received);
        Some(Reception {
            ssrc: source.ssrc,
            fraction_lost: fraction,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest,
            jitter: source.jitter >> 4,
        })
    }
}

impl Source {
    fn new(ssrc: u32, sequence: u16, began: Instant) -> Self {
        Self {
            ssrc,
            began,
            highest: sequence,
            cycles: 0,
            base: u32::from(sequence),
            received: 1,
            seen: 1,
            restart_at: None,
            audio: None,
            jitter: 0,
            transit: None,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    fn step(&mut self, sequence: u16, counters: &LegCounters) -> Step {
        let ahead = sequence.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(sequence);
        if ahead != 0 && ahead < MAX_DROPOUT {
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = sequence;
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.restart_at = None;
            self.received = self.received.wrapping_add(1);
            counters.lost.add(u64::from(ahead - 1));
            return Step::Next { gap: ahead - 1 };
        }
        if behind <= MAX_MISORDER {
            let bit = 1_u128 << behind;
            if self.seen & bit != 0 {
                counters.duplicate.bump();
                return Step::Duplicate;
            }
            self.seen |= bit;
            self.received = self.received.wrapping_add(1);
            counters.reordered.bump();
            counters.lost.set(counters.lost.get().saturating_sub(1));
            return Step::Reordered;
        }
        if self.restart_at == Some(sequence) {
            counters.restarts.bump();
            return Step::First;
        }
        self.restart_at = Some(sequence.wrapping_add(1));
        counters.doubtful.bump();
        Step::Doubtful
    }

    /// Notes a newest audio packet and says whether its time stamp jumped.
    fn advance(&mut self, header: &Header, samples: u32, now: Instant) -> bool {
        let last = self.audio.replace(Audio {
            sequence: header.sequence,
            timestamp: header.timestamp,
            at: now,
            samples,
        });
        let Some(last) = last else { return false };
        let moved = i64::from(header.timestamp.wrapping_sub(last.timestamp) as i32);
        let by_sequence =
            i64::from(header.sequence.wrapping_sub(last.sequence)) * i64::from(last.samples);
        let by_clock = i64::try_from(now.saturating_duration_since(last.at).as_micros() / 125)
            .unwrap_or(i64::MAX);
        (moved - by_sequence).abs() > JUMP && moved.saturating_sub(by_clock).saturating_abs() > JUMP
    }

    /// RFC 3550 A.8. The clock of arrival may start anywhere: only differences count.
    fn observe_transit(&mut self, timestamp: u32, now: Instant, jumped: bool) {
        let arrival = (now.saturating_duration_since(self.began).as_micros() / 125) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        let before = self.transit.replace(transit);
        if let Some(before) = before
            && !jumped
        {
            let change = (transit.wrapping_sub(before) as i32).unsigned_abs();
            self.jitter = self
                .jitter
                .saturating_add(change)
                .saturating_sub((self.jitter + 8) >> 4);
        }
    }
}
