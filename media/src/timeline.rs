//! One channel of the recording: where each packet belongs (`timeline/line.rs`), whether its sender's clock drifts
//! (`timeline/drift.rs`), and the window of samples that wait for earlier ones (`timeline/window.rs`). Here they are put
//! together, and what became of every sample is counted.

mod drift;
mod line;
mod window;

use std::sync::Arc;

use self::line::Line;
pub(crate) use self::window::{Edges, WINDOW};
use self::window::{Unplaced, Window};
use crate::stream::Step;
use crate::tap::{ChannelCounters, TapContent, TapPacket};

/// Longest packet taken: the payload of one Ethernet frame.
const LONGEST: usize = 1_500;

#[derive(Debug)]
pub(crate) struct Channel {
    window: Window,
    line: Line,
    /// Where the present stream begins, and what earlier streams left beyond that.
    begins: i64,
    others: u64,
    counters: Arc<ChannelCounters>,
}

impl Channel {
    pub(crate) fn new(counters: Arc<ChannelCounters>) -> Self {
        Self {
            window: Window::new(),
            line: Line::new(),
            begins: 0,
            others: 0,
            counters,
        }
    }

    /// Every position below is settled, as far as this channel has been heard until `now`.
    pub(crate) fn settled(&self, now: u64) -> u64 {
        if self.line.is_settled(now) {
            self.window.frontier()
        } else {
            0
        }
    }

    /// Takes a packet that came at position `now`. `silent` keeps what it says out of the recording.
    pub(crate) fn take(&mut self, packet: &TapPacket<'_>, now: u64, edges: Edges, silent: bool) {
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
                let table = codec.table();
                let heard = |code: &u8| if silent { 0 } else { table[usize::from(*code)] };
                self.take_audio(packet, payload.iter().map(heard), now, edges);
            }
            TapContent::Digit(duration) => {
                // A digit before any audio has no line to stand on; it is silence either way.
                let Some(from) = self.line.position_of(packet.timestamp) else {
                    return;
                };
                let to = (from + i64::from(duration)).min(now as i64);
                let digits = self.window.silence(from, to, edges);
                self.counters.digits.add(digits);
            }
        }
    }

    fn take_audio(
        &mut self,
        packet: &TapPacket<'_>,
        mut samples: impl ExactSizeIterator<Item = i16> + Clone,
        now: u64,
        edges: Edges,
    ) {
        let len = samples.len();
        self.counters.samples.add(len as u64);
        let had_begun = self.line.has_begun();
        let Some(found) = self.line.locate(packet, len as i64, now) else {
            self.counters.late.bump();
            self.counters.late_samples.add(len as u64);
            return;
        };
        if found.anew {
            self.counters.reanchored.add(u64::from(had_begun));
            self.begins = found.position;
            self.others = self.window.end();
        }
        if found.earlier > 0 {
            let unplaced = self
                .window
                .shift(self.begins, self.others, found.earlier, edges);
            self.begins -= found.earlier as i64;
            self.count(unplaced);
        }
        self.begins = self.begins.min(found.position);
        match found.slip {
            1 => {
                self.counters.repeated.bump();
                let first = samples.clone().take(1);
                let unplaced = self.window.place(found.position - 1, first, edges);
                self.count(unplaced);
            }
            -1 => {
                self.counters.dropped.bump();
                samples.next();
            }
            _ => {}
        }
        let len = samples.len() as u64;
        let unplaced = self.window.place(found.position, samples, edges);
        if len > 0 && unplaced.late == len {
            self.counters.late.bump();
        }
        self.count(unplaced);
    }

    fn count(&self, unplaced: Unplaced) {
        self.counters.before_start.add(unplaced.before);
        self.counters.late_samples.add(unplaced.late);
        self.counters.crowded.add(unplaced.crowded);
    }

    /// The samples from `from` on; holes are 0.
    pub(crate) fn read(&self, from: u64, count: usize) -> impl Iterator<Item = i16> + '_ {
        self.window.read(from, count)
    }

    /// Frees positions that were written, and counts those that nothing had filled.
    pub(crate) fn consume(&mut self, from: u64, count: usize) {
        self.counters.silence.add(self.window.consume(from, count));
    }

    /// Counts what waits from the recording's end on: it was said after the hang-up.
    pub(crate) fn end(&self, length: u64) {
        self.counters.after_end.add(self.window.waiting(length));
    }
}
