//! Bulk work in pieces: how many rows a piece has, so that it holds the database's one writer for some twenty milliseconds,
//! and how long the gap behind it is, in which a call finds its turn. Imports, allocations, lists, many cases at once and
//! rebuilds all write through it.
//!
//! A piece is a transaction between [`Pace::begin`] and [`Pace::commit`]; one that is not committed is rolled back.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::{
    clock::Clock,
    store::{Db, Result, Tx},
};

/// What a piece should take; the limit is 50 ms.
const WANTED: Duration = Duration::from_millis(24);
/// Another process asks SQLite for its turn every millisecond or two (`store/db.rs`), so that it needs a gap it can hit.
const GAP: Duration = Duration::from_millis(5);

/// The pace of one bulk work.
pub(crate) struct Pace<'a> {
    db: &'a Db,
    clock: &'a Clock,
    size: Size,
    /// When the piece that is under way got the writer.
    began: Instant,
    /// Begins with the end of the piece before: what is read and compared meanwhile is part of it.
    gap: Option<Pin<Box<Sleep>>>,
    longest: Duration,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(db: &'a Db, clock: &'a Clock) -> Self {
        Self {
            db,
            clock,
            size: Size(40),
            began: clock.monotonic(),
            gap: None,
            longest: Duration::ZERO,
        }
    }

    /// Rows of the next piece.
    pub(crate) fn rows(&self) -> u32 {
        self.size.0
    }

    /// Begins a piece, after the gap behind the one before.
    pub(crate) async fn begin(&mut self) -> Result<Tx> {
        if let Some(gap) = self.gap.take() {
            gap.await;
        }
        let tx = self.db.begin().await?;
        self.began = self.clock.monotonic();
        Ok(tx)
    }

    /// Ends the piece that [`Self::begin`] began, fits the size of the next one, and begins the gap.
    pub(crate) async fn commit(&mut self, tx: Tx) -> Result<()> {
        tx.commit().await?;
        let took = self.clock.monotonic().saturating_duration_since(self.began);
        self.longest = self.longest.max(took);
        self.size.fit(took);
        // Where everybody has a writer of his own, nobody waits for a gap.
        if self.db.one_writer() {
            self.gap = Some(Box::pin(tokio::time::sleep(GAP)));
        }
        Ok(())
    }

    /// The longest that a piece held the writer.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

/// Rows of a piece.
struct Size(u32);

impl Size {
    /// A piece of this size took so long.
    fn fit(&mut self, took: Duration) {
        self.0 = if took > WANTED * 2 {
            (self.0 / 2).max(5)
        } else if took > WANTED {
            (self.0 * 9 / 10).max(5)
        } else {
            (self.0 + self.0 / 8 + 1).min(1_000)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_towards_what_is_wanted_and_shrink_at_once() {
        let mut size = Size(40);
        for _ in 0..100 {
            // 40 µs a row: 600 rows fill what is wanted.
            size.fit(Duration::from_micros(40) * size.0);
        }
        assert!((500..=680).contains(&size.0), "{}", size.0);
        let before = size.0;
        size.fit(Duration::from_millis(500));
        assert_eq!(size.0, before / 2);
        for _ in 0..100 {
            size.fit(Duration::ZERO);
        }
        assert_eq!(size.0, 1_000);
    }
}
