//! Rebuild: the roll-ups made anew from the attempts, on demand, while calls go on.
//!
//! A day is recounted beside everything else, and what the roll-ups lack is added in one short transaction. Sums
//! commute, so calls that end in between are neither lost nor counted twice; an empty roll-up and a damaged one are
//! the same case. A claim keeps two rebuilds from adding the same twice.

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::{
    check::Day,
    day_sheets,
    rollup::{Changes, Row, Sums},
};
use crate::{
    clock::Clock,
    store::{Db, Error, Result, Tx, agent_days, agent_days::Spent, claims, rollups},
};

/// Rows that one transaction writes at most, far below the 50 ms that dialling may wait for the writer (measured in
/// docs/figures.md). A day of 14,000 attempts has some 3,500.
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
    let mut done = Rebuilt::default();
    claim(db, holder, clock).await?;
    let mut tx = db.read().await?;
    let dates = rollups::dates(&mut tx, from, to).await?;
    tx.rollback().await?;
    for date in dates {
        claim(db, holder, clock).await?;
        let mut tx = db.read().await?;
        let lacking = Day::read(&mut tx, &date).await?.lacking();
        tx.rollback().await?;
        let rows: Vec<(&Row, &str, &Sums)> = lacking.iter().collect();
        for piece in rows.chunks(PIECE) {
            let mut changes = Changes::default();
            for (row, date, sums) in piece {
                changes.add((*row).clone(), date, **sums);
            }
            let (mut tx, began) = begin(db, holder, clock).await?;
            rollups::add(&mut tx, &changes).await?;
            tx.commit().await?;
            done.longest = done.longest.max(clock.monotonic() - began);
        }
        done.days += 1;
        done.changed_days += usize::from(!rows.is_empty());
        done.rows += rows.len();
        told(&date, rows.len());
    }
    free(db, holder).await?;
    Ok(done)
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
    mut told: impl FnMut(&str, usize),
) -> Result<Rebuilt> {
    let mut done = Rebuilt::default();
    claim(db, holder, clock).await?;
    let mut tx = db.read().await?;
    let (days, longest_ms) = day_sheets::days(&mut tx, zone, from, to).await?;
    tx.rollback().await?;
    for date in days {
        claim(db, holder, clock).await?;
        let mut tx = db.read().await?;
        let (_, differences) = day_sheets::compare(&mut tx, &date, zone, longest_ms).await?;
        tx.rollback().await?;
        let lacking: Vec<Spent> = differences.into_iter().map(|d| d.lacking).collect();
        for piece in lacking.chunks(PIECE) {
            let (mut tx, began) = begin(db, holder, clock).await?;
            agent_days::add_days(&mut tx, piece).await?;
            tx.commit().await?;
            done.longest = done.longest.max(clock.monotonic() - began);
        }
        done.days += 1;
        done.changed_days += usize::from(!lacking.is_empty());
        done.rows += lacking.len();
        told(&date, lacking.len());
    }
    free(db, holder).await?;
    Ok(done)
}

/// A transaction that writes, with the claim renewed in it, and when it began.
async fn begin(db: &Db, holder: &str, clock: &Clock) -> Result<(Tx, Instant)> {
    let mut tx = db.begin().await?;
    let (began, now_ms) = (clock.monotonic(), clock.wall_ms());
    if claims::take(&mut tx, CLAIM, holder, now_ms + CLAIM_MS, now_ms).await? {
        Ok((tx, began))
    } else {
        Err(taken())
    }
}

async fn free(db: &Db, holder: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    claims::free(&mut tx, CLAIM, holder).await?;
    tx.commit().await
}

async fn claim(db: &Db, holder: &str, clock: &Clock) -> Result<()> {
    let now_ms = clock.wall_ms();
    let mut tx = db.begin().await?;
    let ours = claims::take(&mut tx, CLAIM, holder, now_ms + CLAIM_MS, now_ms).await?;
    tx.commit().await?;
    if ours { Ok(()) } else { Err(taken()) }
}

fn taken() -> Error {
    Error::Unavailable {
        act: "rebuild the figures",
        cause: "another rebuild is at work".into(),
        remedy: "wait until it is done, at most two minutes after it died".into(),
    }
}
