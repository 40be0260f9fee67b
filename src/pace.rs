//! How many rows a piece of bulk work has, so that it holds the database's one writer for some twenty milliseconds, and how
//! long the gap behind it is, in which a call finds its turn: imports, allocations, many cases at once, rebuilds.

use std::{pin::Pin, time::Duration};

use tokio::time::Sleep;

/// What a piece should take; the limit is 50 ms.
const WANTED: Duration = Duration::from_millis(24);
/// Another process asks SQLite for its turn every millisecond or two (`store/db.rs`), so that it needs a gap it can hit.
const GAP: Duration = Duration::from_millis(5);

/// The pace of one bulk work.
pub(crate) struct Pace {
    rows: u32,
    gaps: bool,
    /// Begins with the end of the piece before: what is read and compared meanwhile is part of it.
    gap: Option<Pin<Box<Sleep>>>,
    longest: Duration,
}

impl Pace {
    /// Where there is one writer for everybody (`Db::one_writer`), pieces leave gaps.
    pub(crate) fn new(one_writer: bool) -> Self {
        Self {
            rows: 40,
            gaps: one_writer,
            gap: None,
            longest: Duration::ZERO,
        }
    }

    /// Rows of the next piece.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Waits until the gap behind the piece before is over; before each piece.
    pub(crate) async fn turn(&mut self) {
        if let Some(gap) = self.gap.take() {
            gap.await;
        }
    }

    /// A piece took so long and is over now: fits the next one, and begins the gap.
    pub(crate) fn after(&mut self, took: Duration) {
        self.longest = self.longest.max(took);
        self.rows = if took > WANTED * 2 {
            (self.rows / 2).max(5)
        } else if took > WANTED {
            (self.rows * 9 / 10).max(5)
        } else {
            (self.rows + self.rows / 8 + 1).min(1_000)
        };
        if self.gaps {
            self.gap = Some(Box::pin(tokio::time::sleep(GAP)));
        }
    }

    /// The longest that a piece held the writer.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_towards_what_is_wanted_and_shrink_at_once() {
        let mut pace = Pace::new(false);
        for _ in 0..100 {
            // 40 µs a row: 600 rows fill what is wanted.
            pace.after(Duration::from_micros(40) * pace.rows());
        }
        assert!((500..=680).contains(&pace.rows()), "{}", pace.rows());
        let before = pace.rows();
        pace.after(Duration::from_millis(500));
        assert_eq!(
            (pace.rows(), pace.longest()),
            (before / 2, Duration::from_millis(500))
        );
        for _ in 0..100 {
            pace.after(Duration::ZERO);
        }
        assert_eq!(pace.rows(), 1_000);
    }
}
