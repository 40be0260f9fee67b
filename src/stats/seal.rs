//! Sealing: a day that is over everywhere is recounted, its figures are hashed, and it is closed.
//!
//! The recount runs beside everything else; only the seal itself holds the day's figures, and only if they are still
//! those that were recounted. What changes afterwards is a dated correction (see `store/corrections.rs`).

use std::time::Duration;

use jiff::{civil::Date, tz::TimeZone};

use super::check::{Day, FORM, hash};
use crate::store::{
    Db, Result, rollups,
    sealed_days::{self, SealedDay},
};

/// What came of sealing a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealing {
    /// It is sealed now.
    Sealed(SealedDay),
    /// It was sealed before.
    Before,
    /// It cannot be sealed: so many rows of its figures do not agree with its attempts.
    Differs(usize),
    /// Its figures kept changing meanwhile; the next round tries again.
    Busy,
}

/// How often a day whose figures change under the recount is recounted before it is left for the next round.
const TRIES: usize = 3;

/// Recounts a day and seals it. The caller knows that it is over ([`over_ms`]).
///
/// # Errors
/// The database.
pub async fn seal(db: &Db, date: &str, now_ms: i64) -> Result<Sealing> {
    for _ in 0..TRIES {
        let mut tx = db.read().await?;
        let sealed = sealed_days::sealed_at(&mut tx, date).await?.is_some();
        let day = if sealed {
            Day::default()
        } else {
            Day::read(&mut tx, date).await?
        };
        tx.rollback().await?;
        if sealed {
            return Ok(Sealing::Before);
        }
        let lacking = day.lacking().iter().count();
        if lacking > 0 {
            return Ok(Sealing::Differs(lacking));
        }
        let sha256 = hash(&day.stored);
        let mut tx = db.begin().await?;
        // Whoever ends or corrects a call of that day waits here, and finds the day sealed.
        rollups::hold(&mut tx, date).await?;
        if hash(&rollups::stored(&mut tx, date).await?) != sha256 {
            tx.rollback().await?;
            continue;
        }
        let seal = SealedDay {
            date: date.to_owned(),
            attempts: day.attempts(date),
            rows: i64::try_from(day.stored.iter().count()).unwrap_or(i64::MAX),
            sha256,
            form: FORM,
            sealed_at_ms: now_ms,
        };
        let new = sealed_days::insert(&mut tx, &seal).await?;
        tx.commit().await?;
        return Ok(if new {
            Sealing::Sealed(seal)
        } else {
            Sealing::Before
        });
    }
    Ok(Sealing::Busy)
}

/// The days with figures that have been over everywhere for `after` and are not sealed, oldest first.
///
/// # Errors
/// The database.
pub async fn due(db: &Db, now_ms: i64, after: Duration) -> Result<Vec<String>> {
    let mut tx = db.read().await?;
    let open = sealed_days::open(&mut tx).await?;
    tx.rollback().await?;
    let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let is_over = |date: &str| {
        let over = date.parse().ok().and_then(over_ms);
        over.is_some_and(|over| now_ms >= over.saturating_add(after_ms))
    };
    Ok(open.into_iter().filter(|date| is_over(date)).collect())
}

/// The instant from which on it is this day nowhere any more: its midnight in the last zone, twelve hours behind UTC.
#[must_use]
pub fn over_ms(date: Date) -> Option<i64> {
    let next = date.tomorrow().ok()?.at(0, 0, 0, 0);
    let next = TimeZone::UTC.to_timestamp(next).ok()?;
    Some(next.as_millisecond() + 12 * 3_600_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_is_over_when_it_is_over_in_the_last_zone() {
        let over = over_ms("2026-11-23".parse().unwrap()).unwrap();
        assert_eq!(
            jiff::Timestamp::from_millisecond(over).unwrap().to_string(),
            "2026-11-24T12:00:00Z"
        );
    }
}
