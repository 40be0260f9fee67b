//! Rebuild: the roll-ups made anew from the attempts, on demand, while calls go on; so are agents' days and the sums kept
//! with cases.
//!
//! A day is recounted beside everything else, and what the roll-ups lack is added in short transactions. Sums commute, so
//! calls that end in between are neither lost nor counted twice; an empty roll-up and a damaged one are the same case.
//! A claim keeps two rebuilds from adding the same twice.
//!
//! What belongs together becomes right at once: the rows of one hour in all dimensions, those of the day, its first
//! calls, those of one client; of agents' days, one agent's. Until the last of them is written, the hours of a day may be right already and
//! the day not; nothing is ever worse than it was.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{
    check::Day,
    day_sheets, repaid,
    rollup::{Changes, Row, Sums},
};
use crate::{
    clock::Clock,
    pace::Pace,
    store::{
        Db, Error, Result, Tx, agent_days, agent_days::Spent, batches, claims, repayments, rollups,
    },
};

/// Rows that one transaction writes unless more belong together, far below the 50 ms that dialling may wait for the writer
/// (measured in docs/figures.md). A day of 14,000 attempts has some 5,000, an hour of it 250, a client's day 150.
const PIECE: usize = 500;
/// How long a rebuild keeps others out if it dies.
const CLAIM_MS: i64 = 120_000;
const CLAIM: &str = "rebuild";

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Days looked at.
    pub days: usize,
    /// Days that were not as they should be.
    pub changed_days: usize,
    /// Rows written.
    pub rows: usize,
    /// The longest transaction.
    pub longest: Duration,
}

/// Makes the roll-ups of the days from `from` to `to` (both included) what the attempts add up to. `told` hears of each
/// day with the rows written.
///
/// # Errors
/// Another rebuild is at work, or the database; days done before stay done.
pub async fn rebuild(
    db: &Db,
    from: &str,
    to: &str,
    holder: &str,
    clock: &Clock,
    mut told: impl FnMut(&str, usize),
) -> Result<Rebuilt> {
    let mut work = Work::begin(db, holder, clock).await?;
    let mut tx = db.read().await?;
    let dates = rollups::dates(&mut tx, from, to).await?;
    tx.rollback().await?;
    for date in dates {
        work.claim().await?;
        let mut tx = db.read().await?;
        let lacking = Day::read(&mut tx, &date).await?.lacking();
        tx.rollback().await?;
        let rows: Vec<(&Row, &str, &Sums)> = lacking.iter().collect();
        let written = rows.len();
        for piece in pieces(rows, |(row, ..)| at_once(row)) {
            let mut changes = Changes::default();
            for (row, date, sums) in piece {
                changes.add(row.clone(), date, *sums);
            }
            let mut tx = work.piece().await?;
            rollups::add(&mut tx, &changes).await?;
            work.pace.commit(tx).await?;
        }
        work.day(written);
        told(&date, written);
    }
    work.end().await
}

/// Makes agents' days from `from` to `to` (both included) what their stretches add up to, in days of `zone`. `told` hears
/// of each day with the rows written.
///
/// # Errors
/// As of [`rebuild`].
pub async fn rebuild_agents_days(
    db: &Db,
    (from, to): (&str, &str),
    zone: &TimeZone,
    holder: &str,
    clock: &Clock,
    told: impl FnMut(&str, usize),
) -> Result<Rebuilt> {
    mend_agents_days(db, (from, to), zone, holder, clock, |_| true, told).await
}

/// Sets when agents came and went on the days from `from` to `to` (both included) where that was never counted and their
/// sums agree with the stretches. Returns days and rows that stay open.
///
/// # Errors
/// As of [`rebuild`].
pub(super) async fn count_presence(
    db: &Db,
    (from, to): (&str, &str),
    zone: &TimeZone,
    holder: &str,
    clock: &Clock,
) -> Result<(usize, usize)> {
    let mut open = 0;
    let countable = |d: &day_sheets::Difference| {
        let never = d.stored.present.is_none();
        let agree = (d.stored.spans, d.stored.ms) == (d.recounted.spans, d.recounted.ms);
        open += usize::from(never && !agree);
        never && agree
    };
    let done = mend_agents_days(db, (from, to), zone, holder, clock, countable, |_, _| {}).await?;
    Ok((done.changed_days, open))
}

/// Makes those rows of agents' days right that are wanted.
async fn mend_agents_days(
    db: &Db,
    (from, to): (&str, &str),
    zone: &TimeZone,
    holder: &str,
    clock: &Clock,
    mut wanted: impl FnMut(&day_sheets::Difference) -> bool,
    mut told: impl FnMut(&str, usize),
) -> Result<Rebuilt> {
    let mut work = Work::begin(db, holder, clock).await?;
    let mut tx = db.read().await?;
    let (days, longest_ms) = day_sheets::days(&mut tx, zone, from, to).await?;
    tx.rollback().await?;
    for date in days {
        work.claim().await?;
        let mut tx = db.read().await?;
        let (_, mut differences) = day_sheets::compare(&mut tx, &date, zone, longest_ms).await?;
        tx.rollback().await?;
        differences.retain(&mut wanted);
        let lacking: Vec<(Spent, Spent)> = differences
            .into_iter()
            .map(|d| (d.stored.clone(), d.lacking()))
            .collect();
        let written = lacking.len();
        for piece in pieces(lacking, |(stored, _)| stored.agent.get()) {
            let mut tx = work.piece().await?;
            agent_days::mend(&mut tx, &piece).await?;
            work.pace.commit(tx).await?;
        }
        work.day(written);
        told(&date, written);
    }
    work.end().await
}

/// Makes the cycles of batches and the sums kept with cases what days of placement and repayments come to. Returns how many
/// cases were mended.
///
/// # Errors
/// As of [`rebuild`].
pub async fn rebuild_repaid(db: &Db, holder: &str, clock: &Clock) -> Result<usize> {
    let mut work = Work::begin(db, holder, clock).await?;
    let mut tx = db.read().await?;
    let cycles = batches::wrong_cycles(&mut tx).await?;
    tx.rollback().await?;
    for wrong in cycles {
        let mut tx = work.piece().await?;
        batches::mend_cycle(&mut tx, &wrong).await?;
        work.pace.commit(tx).await?;
    }
    let mut cases = Vec::new();
    repaid::recount(db, |difference| cases.push(difference.stored.case)).await?;
    for piece in cases.chunks(PIECE) {
        let mut tx = work.piece().await?;
        for case in piece {
            repayments::add_up(&mut tx, *case).await?;
        }
        work.pace.commit(tx).await?;
    }
    work.end().await?;
    Ok(cases.len())
}

/// A rebuild under way, which holds the claim.
struct Work<'a> {
    db: &'a Db,
    holder: &'a str,
    clock: &'a Clock,
    pace: Pace<'a>,
    done: Rebuilt,
}

impl<'a> Work<'a> {
    async fn begin(db: &'a Db, holder: &'a str, clock: &'a Clock) -> Result<Self> {
        let work = Self {
            db,
            holder,
            clock,
            pace: Pace::new(db, clock),
            done: Rebuilt::default(),
        };
        work.claim().await?;
        Ok(work)
    }

    /// Keeps others out for a while longer.
    async fn claim(&self) -> Result<()> {
        let mut tx = self.db.begin().await?;
        self.renew(&mut tx).await?;
        tx.commit().await
    }

    /// A transaction that writes, with the claim renewed in it.
    async fn piece(&mut self) -> Result<Tx> {
        let mut tx = self.pace.begin().await?;
        self.renew(&mut tx).await?;
        Ok(tx)
    }

    async fn renew(&self, tx: &mut Tx) -> Result<()> {
        let now_ms = self.clock.wall_ms();
        if claims::take(tx, CLAIM, self.holder, now_ms + CLAIM_MS, now_ms).await? {
            return Ok(());
        }
        Err(Error::Unavailable {
            act: "rebuild the figures",
            cause: "another rebuild is at work".into(),
            remedy: "wait until it is done, at most two minutes after it died".into(),
        })
    }

    fn day(&mut self, written: usize) {
        self.done.days += 1;
        self.done.changed_days += usize::from(written > 0);
        self.done.rows += written;
    }

    async fn end(mut self) -> Result<Rebuilt> {
        self.done.longest = self.pace.longest();
        let mut tx = self.db.begin().await?;
        claims::free(&mut tx, CLAIM, self.holder).await?;
        tx.commit().await?;
        Ok(self.done)
    }
}

/// What of a day has to become right at once: an hour, the day, its first calls, a client's day.
fn at_once(row: &Row) -> (u8, i64) {
    match row {
        Row::Hour { hour, .. } => (0, *hour),
        Row::Day { .. } => (1, 0),
        Row::FirstCall { .. } => (2, 0),
        Row::ClientDay { client, .. } => (3, *client),
    }
}

/// Rows in pieces of [`PIECE`] or a little more or less, so that those of one key are in one.
fn pieces<T, K: Ord>(mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    rows.sort_by_key(&key);
    let mut pieces: Vec<Vec<T>> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let of = key(&first);
        let mut group = vec![first];
        while let Some(row) = rows.next_if(|row| key(row) == of) {
            group.push(row);
        }
        match pieces.last_mut() {
            Some(piece) if piece.len() + group.len() <= PIECE => piece.append(&mut group),
            _ => pieces.push(group),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_is_in_one_piece() {
        let hour = |hour, value: i64| Row::Hour {
            dimension: "agent".into(),
            value: value.to_string(),
            hour,
        };
        let day = |value: i64| Row::Day {
            dimension: "agent".into(),
            value: value.to_string(),
        };
        // Three hours of 200, 200 and 700 rows, mixed; a day of 10.
        let mut rows = Vec::new();
        for n in 0..700 {
            rows.push(hour(10, n));
            if n < 200 {
                rows.extend([hour(8, n), hour(9, n)]);
            }
            if n < 10 {
                rows.push(day(n));
            }
        }
        let pieces = pieces(rows, at_once);
        let sizes: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert_eq!(sizes, [400, 700, 10]);
        for (n, piece) in pieces.iter().enumerate() {
            for other in pieces.iter().skip(n + 1) {
                let shared = piece
                    .iter()
                    .any(|a| other.iter().any(|b| at_once(a) == at_once(b)));
                assert!(!shared);
            }
        }
    }
}
