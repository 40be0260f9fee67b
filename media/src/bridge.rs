//! What leaves towards one peer: a single RTP stream with one SSRC, unbroken sequence and time stamp, whatever feeds it:
//! the bridged leg, another one after a transfer, a tone. Sources may restart, jump, or alternate.
//!
//! Holes and reordering of one source are passed on as they are (the far jitter buffer must see them).

use std::time::{Duration, Instant};

use crate::rtp::Header;
use crate::stream::{Arrival, Step};

/// Where a packet comes from, as far as continuity goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A leg, by a number that is its own within the engine.
    Leg(u64),
    /// Our tone generator.
    Tone,
}

/// The header fields of the outgoing packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp.
    pub timestamp: u32,
    /// Our SSRC on this leg.
    pub ssrc: u32,
}

/// The sending half of a leg.
#[derive(Debug)]
pub struct OutStream {
    ssrc: u32,
    /// Highest sequence number sent.
    sequence: u16,
    /// Latest time stamp sent, its length and when.
    timestamp: u32,
    samples: u32,
    at: Option<Instant>,
    splice: Option<Splice>,
    packets: u32,
    octets: u32,
}

/// How the present source's numbers become ours.
#[derive(Debug, Clone, Copy)]
struct Splice {
    source: Source,
    ssrc: u32,
    first: u16,
    sequence: u16,
    timestamp: u32,
}

impl OutStream {
    /// A stream whose numbers start at random values, which the caller provides (RFC 3550 section 5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            sequence,
            timestamp,
            samples: 0,
            at: None,
            splice: None,
            packets: 0,
            octets: 0,
        }
    }

    /// Our SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets and payload octets sent, and our clock at `now`, for a sender report; `None` if nothing was sent.
    pub fn sent(&self, now: Instant) -> Option<(u32, u32, u32)> {
        self.at.map(|at| {
            (
                self.packets,
                self.octets,
                self.timestamp
                    .wrapping_add(ticks(now.saturating_duration_since(at))),
            )
        })
    }

    /// Numbers for a relayed packet of `samples` samples (0 for an event). `None`: it must not be sent, because its place
    /// lies before the source took over, or it is a duplicate.
    pub fn relay(
        &mut self,
        source: Source,
        header: &Header,
        arrival: Arrival,
        samples: u32,
        now: Instant,
    ) -> Option<Outgoing> {
        if matches!(arrival.step, Step::Duplicate | Step::Doubtful) {
            return None;
        }
        let current = self
            .splice
            .filter(|splice| splice.source == source && splice.ssrc == header.ssrc);
        let (splice, fresh) = match current {
            Some(splice) if arrival.step != Step::First && !arrival.jumped => (splice, false),
            _ if arrival.step == Step::Reordered => return None,
            _ => (self.splice_in(source, header, now), true),
        };
        if arrival.step == Step::Reordered && header.sequence.wrapping_sub(splice.first) as i16 <= 0
        {
            return None;
        }
        self.splice = Some(splice);
        let sequence = header.sequence.wrapping_add(splice.sequence);
        let timestamp = header.timestamp.wrapping_add(splice.timestamp);
        if arrival.is_newest() {
            self.sequence = sequence;
            if samples > 0 {
                self.timestamp = timestamp;
                self.samples = samples;
                self.at = Some(now);
            } else if self.at.is_none() {
                self.timestamp = timestamp;
                self.at = Some(now);
            }
        }
        Some(Outgoing {
            marker: header.marker || fresh,
            sequence,
            timestamp,
            ssrc: self.ssrc,
        })
    }

    /// Numbers for a packet of our own making. `first` starts a talkspurt.
    pub fn originate(&mut self, samples: u32, first: bool, now: Instant) -> Outgoing {
        let fresh = first
            || !matches!(
                self.splice,
                Some(Splice {
                    source: Source::Tone,
                    ..
                })
            );
        let (sequence, timestamp) = if fresh {
            self.next(now)
        } else {
            (
                self.sequence.wrapping_add(1),
                self.timestamp.wrapping_add(self.samples),
            )
        };
        self.splice = Some(Splice {
            source: Source::Tone,
            ssrc: 0,
            first: sequence,
            sequence: 0,
            timestamp: 0,
        });
        self.sequence = sequence;
        self.timestamp = timestamp;
        self.samples = samples;
        self.at = Some(now);
        Outgoing {
            marker: fresh,
            sequence,
            timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Counts a packet that left.
    pub fn count(&mut self, octets: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
    }

    fn splice_in(&self, source: Source, header: &Header, now: Instant) -> Splice {
        let (sequence, timestamp) = self.next(now);
        Splice {
            source,
            ssrc: header.ssrc,
            first: header.sequence,
            sequence: sequence.wrapping_sub(header.sequence),
            timestamp: timestamp.wrapping_sub(header.timestamp),
        }
    }

    /// The numbers that follow what was sent: the next sequence number, and the time stamp that the clock has reached,
    /// but never before the end of the last packet.
    fn next(&self, now: Instant) -> (u16, u32) {
        let Some(at) = self.at else {
            return (self.sequence, self.timestamp);
        };
        let passed = ticks(now.saturating_duration_since(at));
        (
            self.sequence.wrapping_add(1),
            self.timestamp.wrapping_add(passed.max(self.samples)),
        )
    }
}

fn ticks(time: Duration) -> u32 {
    (time.as_micros() / 125) as u32
}

#[cfg(test)]
mod tests;
