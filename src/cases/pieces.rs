//! How many rows one transaction of bulk work takes, so that the writer is held for at most 50 ms and dialling never waits.
//!
//! The first piece is small; each one after it is sized by what the last one took, towards half of the limit, so that a
//! slower one still stays below it.

use std::time::Duration;

/// What a piece may take.
pub const LIMIT: Duration = Duration::from_millis(50);
const AIM: Duration = Duration::from_millis(25);
const FIRST: u32 = 64;
const LARGEST: u32 = 20_000;

/// The size of the next piece.
#[derive(Debug, Clone)]
pub struct Pieces {
    size: u32,
    longest: Duration,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            size: FIRST,
            longest: Duration::ZERO,
        }
    }
}

impl Pieces {
    /// Rows of the next piece.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// A piece of so many rows held the writer for so long.
    pub fn took(&mut self, rows: u32, time: Duration) {
        self.longest = self.longest.max(time);
        if rows == 0 {
            return;
        }
        let each = time.as_nanos().max(1) / u128::from(rows);
        let fitting = AIM.as_nanos() / each.max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        self.size = fitting.clamp(16, self.size.saturating_mul(2)).min(LARGEST);
    }

    /// The longest that a piece held the writer.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_towards_half_the_limit_and_shrink_at_once() {
        let mut pieces = Pieces::default();
        // 20 µs a row: 1,250 rows fill the aim.
        for _ in 0..10 {
            let rows = pieces.size();
            pieces.took(rows, Duration::from_micros(20) * rows);
        }
        assert_eq!(pieces.size(), 1_250);
        pieces.took(1_250, Duration::from_millis(500));
        assert_eq!(pieces.size(), 62);
        pieces.took(62, Duration::ZERO);
        assert_eq!(pieces.size(), 124);
        pieces.took(0, Duration::from_secs(1));
        assert_eq!(
            (pieces.size(), pieces.longest()),
            (124, Duration::from_secs(1))
        );
    }
}
