//! How many rows a piece has, so that it holds the database's one writer for some twenty milliseconds, and how long the
//! gap behind it is, in which a call finds its turn.

use std::{pin::Pin, time::Duration};

use tokio::time::Sleep;

/// What a piece should take; the limit is 50 ms.
const WANTED: Duration = Duration::from_millis(24);
/// Another process asks SQLite for its turn every millisecond or two (`store/db.rs`), so that it needs a gap it can hit.
const GAP: Duration = Duration::from_millis(5);

pub(crate) struct Pace {
    rows: u32,
    gaps: bool,
    /// Begins with the end of the piece before: what is read and compared meanwhile is part of it.
    gap: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(one_writer: bool) -> Self {
        Self {
            rows: 40,
            gaps: one_writer,
            gap: None,
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
}
