//! The waiting room of one channel: a window of samples from what is written up to now, in which packets take their
//! places in whatever order they come. It knows positions and nothing of packets, time stamps or clocks.
//!
//! Who comes first keeps its place. Every sample that finds none is counted, so that what comes in equals what was
//! recorded and what was counted.

/// Samples it can hold: what waits (200 ms), what the other side's socket may be behind (400 ms), what may lie ahead of
/// the clock (200 ms), and the longest packet.
pub(crate) const WINDOW: usize = 8_192;
const MASK: usize = WINDOW - 1;
const WORDS: usize = WINDOW / 64;

#[derive(Debug)]
pub(super) struct Window {
    samples: Box<[i16; WINDOW]>,
    filled: Box<[u64; WORDS]>,
    /// Every position below is filled or written.
    frontier: u64,
    /// One past the newest position ever filled.
    end: u64,
}

/// What is past.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edges {
    /// Where the recording already stands.
    pub(crate) written: u64,
    /// Nothing takes a place below: what belongs there came too late. Not below `written`.
    pub(crate) floor: u64,
}

/// Samples that found no place.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unplaced {
    /// They belong before the start of the recording.
    pub(super) before: u64,
    /// Their place is written already.
    pub(super) late: u64,
    /// Their place is taken, or farther ahead than the window reaches.
    pub(super) crowded: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            samples: Box::new([0; WINDOW]),
            filled: Box::new([0; WORDS]),
            frontier: 0,
            end: 0,
        }
    }

    /// Every position below is settled.
    pub(super) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// One past the newest position ever filled.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Gives samples their places from `position` on.
    pub(super) fn place(
        &mut self,
        position: i64,
        samples: impl ExactSizeIterator<Item = i16>,
        edges: Edges,
    ) -> Unplaced {
        let len = samples.len() as i64;
        let past = (edges.floor as i64 - position).clamp(0, len);
        let before = (-position).clamp(0, past);
        let from = (position + past).max(0) as u64;
        let to = (from + (len - past) as u64)
            .min(edges.written + WINDOW as u64)
            .max(from);
        let mut crowded = (len - past) as u64 - (to - from);
        let samples = samples.skip(past as usize);
        if self.count(from, to) == 0 {
            for (position, sample) in (from..to).zip(samples) {
                self.samples[position as usize & MASK] = sample;
            }
            for_words(from, to, |word, mask| self.filled[word] |= mask);
        } else {
            for (position, sample) in (from..to).zip(samples) {
                if !self.fill(position, sample) {
                    crowded += 1;
                }
            }
        }
        self.extend(from, to);
        Unplaced {
            before: before as u64,
            late: (past - before) as u64,
            crowded,
        }
    }

    /// Fills what is free of `from..to` with silence, and says how much that was.
    pub(super) fn silence(&mut self, from: i64, to: i64, edges: Edges) -> u64 {
        let from = (from.max(0) as u64).max(edges.floor);
        let to = (to.max(0) as u64).min(edges.written + WINDOW as u64);
        let filled = (from..to)
            .filter(|&position| self.fill(position, 0))
            .count();
        self.extend(from, to);
        filled as u64
    }

    /// Moves everything from `from` on `by` samples earlier; what lies below `fixed` stays, and so does what is due to be
    /// written, whether or not the other side has let it be written yet.
    pub(super) fn shift(&mut self, from: i64, fixed: u64, by: u64, edges: Edges) -> Unplaced {
        let mut unplaced = Unplaced::default();
        let from = (from.max(0) as u64).max(fixed).max(edges.floor);
        for old in from..self.end {
            let (word, bit) = place_of(old);
            if self.filled[word] & bit == 0 {
                continue;
            }
            self.filled[word] &= !bit;
            let sample = std::mem::take(&mut self.samples[old as usize & MASK]);
            match old.checked_sub(by) {
                None => unplaced.before += 1,
                Some(new) if new < edges.floor => unplaced.late += 1,
                Some(new) => unplaced.crowded += u64::from(!self.fill(new, sample)),
            }
        }
        self.end = self.end.saturating_sub(by).max(fixed);
        self.frontier = self.past_filled(edges.written);
        unplaced
    }

    /// The samples from `from` on; holes are 0.
    pub(super) fn read(&self, from: u64, count: usize) -> impl Iterator<Item = i16> + '_ {
        let start = from as usize & MASK;
        let first = count.min(WINDOW - start);
        let head = self.samples.get(start..start + first).unwrap_or_default();
        let tail = self.samples.get(..count - first).unwrap_or_default();
        head.iter().chain(tail).copied()
    }

    /// Frees positions that were written, and says how many of them nothing had filled.
    pub(super) fn consume(&mut self, from: u64, count: usize) -> u64 {
        let to = from + count as u64;
        let holes = count as u64 - self.count(from, to);
        for_words(from, to, |word, mask| self.filled[word] &= !mask);
        let start = from as usize & MASK;
        let first = count.min(WINDOW - start);
        if let Some(head) = self.samples.get_mut(start..start + first) {
            head.fill(0);
        }
        if let Some(tail) = self.samples.get_mut(..count - first) {
            tail.fill(0);
        }
        if self.frontier < to {
            self.frontier = self.past_filled(to);
        }
        holes
    }

    /// How much waits from `from` on.
    pub(super) fn waiting(&self, from: u64) -> u64 {
        self.count(from, from + WINDOW as u64)
    }

    fn fill(&mut self, position: u64, sample: i16) -> bool {
        let (word, bit) = place_of(position);
        let free = self.filled[word] & bit == 0;
        if free {
            self.filled[word] |= bit;
            self.samples[position as usize & MASK] = sample;
        }
        free
    }

    fn extend(&mut self, from: u64, to: u64) {
        if to > from {
            self.end = self.end.max(to);
        }
        if from <= self.frontier && self.frontier < to {
            self.frontier = self.past_filled(to);
        }
    }

    fn count(&self, from: u64, to: u64) -> u64 {
        let mut count = 0;
        for_words(from, to, |word, mask| {
            count += u64::from((self.filled[word] & mask).count_ones());
        });
        count
    }

    /// The first position from `start` on that is not filled.
    fn past_filled(&self, start: u64) -> u64 {
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
        at
    }
}

fn place_of(position: u64) -> (usize, u64) {
    ((position as usize & MASK) / 64, 1 << (position & 63))
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
