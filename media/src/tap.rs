//! The recording tap: both directions of a bridge on one stereo time line, handed over through a bounded ring.
//!
//! Position 0 is the bridge instant; position `n` is `n / 8000` s later by the monotonic clock. The agent is left, the
//! customer right. The tap holds samples back while a stream begins and while a channel has a hole, at most [`HOLD`],
//! then writes silence for the hole. Digits (RFC 4733) are recorded as silence: they may be a card number. A full ring
//! never blocks: what does not fit is counted and written as silence later, so that the time line never shifts.
//!
//! Each side has its own time: how far it has been heard. It moves with the packets of that side, by the instant at
//! which they came and not at which the audio thread got to them, and with [`Tap::idle`]. So a thread that stood still
//! loses nothing that waits in its sockets, in whatever order it empties them.
//!
//! Placement of packets on a channel is `timeline.rs`. The tap allocates nothing after [`Tap::new`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::Codec;
use crate::stats::Counter;
use crate::stream::Arrival;
use crate::timeline::{Channel, Edges, WINDOW};

/// Longest time a sample waits for late packets before it.
pub const HOLD: Duration = Duration::from_millis(200);
pub(crate) const HOLD_SAMPLES: i64 = 1_600;
/// One side's socket may be this far behind the other's (400 ms): then the window is full.
const BEHIND: u64 = 3_200;

/// Whose voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Left channel.
    Agent,
    /// Right channel.
    Customer,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Agent => Self::Customer,
            Self::Customer => Self::Agent,
        }
    }
}

/// A packet as the tap takes it.
#[derive(Debug, Clone, Copy)]
pub struct TapPacket<'a> {
    /// Its place in its stream.
    pub arrival: Arrival,
    /// Marker bit.
    pub marker: bool,
    /// RTP time stamp.
    pub timestamp: u32,
    /// What it carries.
    pub content: TapContent<'a>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
pub enum TapContent<'a> {
    /// G.711 code words.
    Audio(Codec, &'a [u8]),
    /// A digit that lasts this many samples so far, from the packet's time stamp on.
    Digit(u32),
}

/// The writing end: owned by the audio thread while its bridge lasts.
#[derive(Debug)]
pub struct Tap {
    ring: Producer<u32>,
    shared: Arc<Shared>,
    channels: [Channel; 2],
    /// How far each side has been heard, as a position.
    heard: [u64; 2],
    origin: Option<Instant>,
    /// Nothing is written from this position on.
    limit: u64,
    /// Samples handed to the ring or owed to it.
    written: u64,
    /// Samples of silence owed because the ring was full.
    owed: u64,
    /// Positions where a pause began, and between which the pause before it lay.
    paused_since: Option<u64>,
    paused_before: Range<u64>,
    stopped: bool,
}

/// The reading end, for the recorder's thread. It polls: 50 to 200 ms apart is right.
#[derive(Debug)]
pub struct TapReader {
    ring: Consumer<u32>,
    shared: Arc<Shared>,
    delivered: u64,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Exact length in samples, valid once ended.
    length: AtomicU64,
    overflow: Counter,
    paused: Counter,
    channels: [Arc<ChannelCounters>; 2],
}

#[derive(Debug, Default)]
pub(crate) struct ChannelCounters {
    pub(crate) packets: Counter,
    pub(crate) lost: Counter,
    pub(crate) late: Counter,
    pub(crate) duplicate: Counter,
    pub(crate) reanchored: Counter,
    pub(crate) repeated: Counter,
    pub(crate) dropped: Counter,
    pub(crate) silence: Counter,
    pub(crate) digits: Counter,
    pub(crate) samples: Counter,
    pub(crate) before_start: Counter,
    pub(crate) late_samples: Counter,
    pub(crate) crowded: Counter,
    pub(crate) after_end: Counter,
}

/// What the tap did to one channel. Nothing is lost without being counted: `samples + repeated - dropped` is
/// `before_start + late_samples + crowded + after_end` and what stands in the recording, and that is its length but for
/// `silence_filled` and `digit_samples`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelReport {
    /// Packets taken.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after their time had been written.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Times the channel was placed anew: source change, time stamp jump, a sender that paused, or far off the clock.
    pub reanchored: u64,
    /// Single samples repeated because the sender's clock is slow.
    pub repeated: u64,
    /// Single samples dropped because the sender's clock is fast.
    pub dropped: u64,
    /// Samples written as silence because nothing was there.
    pub silence_filled: u64,
    /// Samples written as silence because a digit was pressed.
    pub digit_samples: u64,
    /// Samples that came, in the packets taken.
    pub samples: u64,
    /// Samples that were spoken before the recording began.
    pub before_start: u64,
    /// Samples that came after their time had been written.
    pub late_samples: u64,
    /// Samples whose place was taken: two streams claim one time.
    pub crowded: u64,
    /// Samples that were spoken after the hang-up.
    pub after_end: u64,
}

impl fmt::Display for ChannelReport {
    /// The figures that an operator looks for, as `name=value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "packets={} lost={} late={} duplicate={} reanchored={} repeated={} dropped={} late_samples={} crowded={} \
             silence_filled={}",
            self.packets,
            self.lost,
            self.late,
            self.duplicate,
            self.reanchored,
            self.repeated,
            self.dropped,
            self.late_samples,
            self.crowded,
            self.silence_filled
        )
    }
}

/// What the tap did to the whole recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TapReport {
    /// Left channel.
    pub agent: ChannelReport,
    /// Right channel.
    pub customer: ChannelReport,
    /// Samples (of both channels at once) that became silence because the reader was too slow.
    pub overflow_samples: u64,
    /// Samples (of both channels at once) that became silence because the recording was paused.
    pub paused_samples: u64,
    /// Exact length in samples, once the tap has stopped.
    pub length: Option<u64>,
}

impl Tap {
    /// A tap whose ring holds `capacity_ms` of stereo audio (4 octets a sample: 32 kB a second).
    pub fn new(capacity_ms: u32) -> (Tap, TapReader) {
        let slots = usize::try_from(capacity_ms)
            .unwrap_or(usize::MAX)
            .saturating_mul(8)
            .max(WINDOW);
        let (producer, consumer) = RingBuffer::new(slots);
        let shared = Arc::new(Shared::default());
        let [agent, customer] = &shared.channels;
        let tap = Tap {
            ring: producer,
            channels: [
                Channel::new(Arc::clone(agent)),
                Channel::new(Arc::clone(customer)),
            ],
            shared: Arc::clone(&shared),
            heard: [0; 2],
            origin: None,
            limit: u64::MAX,
            written: 0,
            owed: 0,
            paused_since: None,
            paused_before: 0..0,
            stopped: false,
        };
        (
            tap,
            TapReader {
                ring: consumer,
                shared,
                delivered: 0,
            },
        )
    }

    /// Sets position 0. Packets before are ignored. A second start changes nothing.
    pub fn start(&mut self, at: Instant) {
        self.origin.get_or_insert(at);
    }

    /// Takes a packet of `side` that came at `at`.
    pub fn push(&mut self, side: Side, packet: &TapPacket<'_>, at: Instant) {
        let Some(position) = self.position(at) else {
            return;
        };
        self.hear(side, position);
        self.hear(side.other(), position.saturating_sub(BEHIND));
        // First what is overdue, so that the window has room however long nothing came.
        self.write_settled();
        let silent = self.paused_before.contains(&position)
            || self.paused_since.is_some_and(|since| since <= position);
        let [agent, customer] = &mut self.channels;
        let channel = match side {
            Side::Agent => agent,
            Side::Customer => customer,
        };
        let edges = Edges {
            written: self.written,
            floor: self
                .written
                .max(position.saturating_sub(HOLD_SAMPLES as u64)),
        };
        channel.take(packet, position, edges, silent);
        self.write_settled();
    }

    /// Nothing more comes of `side` that came before `until`: its socket was seen empty then.
    pub fn idle(&mut self, side: Side, until: Instant) {
        if let Some(position) = self.position(until) {
            self.hear(side, position);
            self.write_settled();
        }
    }

    /// Lets time pass on both sides; call it at least every 100 ms.
    pub fn advance(&mut self, now: Instant) {
        self.idle(Side::Agent, now);
        self.idle(Side::Customer, now);
    }

    /// From `at` on, drops both voices before any buffer; silence keeps the time line. What came before `at` stays, also
    /// if it is taken later.
    pub fn pause(&mut self, at: Instant) {
        self.paused_since = self.paused_since.or(self.position(at));
    }

    /// Ends a pause. What came before `at` is kept out, also if it is taken later.
    pub fn resume(&mut self, at: Instant) {
        if let Some(position) = self.position(at) {
            self.count_pause(position);
        }
    }

    /// Keeps what comes after `at` out of the recording; to be called before the sockets are emptied for the last time
    /// and [`Tap::stop`] ends it.
    pub fn end_at(&mut self, at: Instant) {
        if let Some(origin) = self.origin {
            self.limit = self
                .limit
                .min(samples(at.saturating_duration_since(origin)));
        }
    }

    /// Ends the recording: exactly the samples from the start to `at`, padded with silence or cut. Idempotent.
    pub fn stop(&mut self, at: Instant) {
        if self.stopped {
            return;
        }
        let length = match self.origin {
            Some(origin) => samples(at.saturating_duration_since(origin)),
            None => 0,
        };
        self.write_to(length);
        for channel in &self.channels {
            channel.end(self.written);
        }
        self.count_pause(length);
        self.stopped = true;
        self.shared.length.store(length, Ordering::Relaxed);
        self.shared.ended.store(true, Ordering::Release);
    }

    fn count_pause(&mut self, position: u64) {
        if let Some(since) = self.paused_since.take() {
            self.shared.paused.add(position.saturating_sub(since));
            self.paused_before = since..position;
        }
    }

    /// The position of an instant; `None` before the start and after the stop.
    fn position(&self, now: Instant) -> Option<u64> {
        if self.stopped {
            return None;
        }
        Some(samples(now.checked_duration_since(self.origin?)?))
    }

    fn hear(&mut self, side: Side, position: u64) {
        let [agent, customer] = &mut self.heard;
        let heard = match side {
            Side::Agent => agent,
            Side::Customer => customer,
        };
        *heard = position.max(*heard);
    }

    /// Writes what nothing can change any more.
    fn write_settled(&mut self) {
        let mut target = self.limit;
        for (channel, &heard) in self.channels.iter().zip(&self.heard) {
            let due = heard.saturating_sub(HOLD_SAMPLES as u64);
            target = target.min(channel.settled(heard).min(heard).max(due));
        }
        self.write_to(target);
    }

    fn write_to(&mut self, target: u64) {
        while self.written < target {
            self.write_piece((target - self.written).min(WINDOW as u64) as usize);
        }
    }

    /// Moves `count` samples, at most a window, from the windows to the ring.
    fn write_piece(&mut self, count: usize) {
        let from = self.written;
        if self.owed > 0 {
            let silence = self
                .ring
                .slots()
                .min(usize::try_from(self.owed).unwrap_or(usize::MAX));
            if let Ok(chunk) = self.ring.write_chunk_uninit(silence) {
                self.owed -= chunk.fill_from_iter(std::iter::repeat_n(0, silence)) as u64;
            }
        }
        let room = if self.owed > 0 {
            0
        } else {
            self.ring.slots().min(count)
        };
        let [agent, customer] = &self.channels;
        if room > 0
            && let Ok(chunk) = self.ring.write_chunk_uninit(room)
        {
            chunk.fill_from_iter(
                agent
                    .read(from, room)
                    .zip(customer.read(from, room))
                    .map(|(left, right)| pair(left, right)),
            );
        }
        let missing = (count - room) as u64;
        if missing > 0 {
            self.owed += missing;
            self.shared.overflow.add(missing);
        }
        for channel in &mut self.channels {
            channel.consume(from, count);
        }
        self.written += count as u64;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A tap that was never stopped ends where it is; the reader must not wait for ever.
        if !self.stopped {
            self.shared.length.store(self.written, Ordering::Relaxed);
            self.shared.ended.store(true, Ordering::Release);
        }
    }
}

impl TapReader {
    /// Copies what is ready into `interleaved` (left, right, left, ...) and gives the number of values written: even, 0 if
    /// nothing is ready. Silence owed for an overflow is delivered in its place.
    pub fn read(&mut self, interleaved: &mut [i16]) -> usize {
        let ended = self.shared.ended.load(Ordering::Acquire);
        let mut wanted = interleaved.len() / 2;
        if ended {
            let left = self
                .shared
                .length
                .load(Ordering::Relaxed)
                .saturating_sub(self.delivered);
            wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let mut pairs = interleaved.chunks_exact_mut(2).take(wanted);
        let mut done = 0;
        if let Ok(chunk) = self.ring.read_chunk(self.ring.slots().min(wanted)) {
            done = chunk.len();
            let (first, second) = chunk.as_slices();
            for (&value, out) in first.iter().chain(second).zip(&mut pairs) {
                let [l0, l1, r0, r1] = value.to_ne_bytes();
                out.copy_from_slice(&[i16::from_ne_bytes([l0, l1]), i16::from_ne_bytes([r0, r1])]);
            }
            chunk.commit_all();
        }
        if ended {
            // The ring is drained or `wanted` is met: what is still due is silence the tap could not write any more.
            for out in pairs {
                out.fill(0);
                done += 1;
            }
        }
        self.delivered += done as u64;
        done * 2
    }

    /// True when the tap has stopped and every sample has been read.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
            && self.delivered >= self.shared.length.load(Ordering::Relaxed)
    }

    /// Samples read so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The figures as of now; final once [`TapReader::ended`].
    pub fn report(&self) -> TapReport {
        let ended = self.shared.ended.load(Ordering::Acquire);
        let [agent, customer] = &self.shared.channels;
        TapReport {
            agent: agent.report(),
            customer: customer.report(),
            overflow_samples: self.shared.overflow.get(),
            paused_samples: self.shared.paused.get(),
            length: ended.then(|| self.shared.length.load(Ordering::Relaxed)),
        }
    }
}

impl ChannelCounters {
    fn report(&self) -> ChannelReport {
        ChannelReport {
            packets: self.packets.get(),
            lost: self.lost.get(),
            late: self.late.get(),
            duplicate: self.duplicate.get(),
            reanchored: self.reanchored.get(),
            repeated: self.repeated.get(),
            dropped: self.dropped.get(),
            silence_filled: self.silence.get(),
            digit_samples: self.digits.get(),
            samples: self.samples.get(),
            before_start: self.before_start.get(),
            late_samples: self.late_samples.get(),
            crowded: self.crowded.get(),
            after_end: self.after_end.get(),
        }
    }
}

/// Samples in a time, rounded to the nearest.
fn samples(time: Duration) -> u64 {
    u64::try_from((time.as_nanos() + 62_500) / 125_000).unwrap_or(u64::MAX)
}

fn pair(left: i16, right: i16) -> u32 {
    let ([l0, l1], [r0, r1]) = (left.to_ne_bytes(), right.to_ne_bytes());
    u32::from_ne_bytes([l0, l1, r0, r1])
}

#[cfg(test)]
mod tests;
