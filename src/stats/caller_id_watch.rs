//! The watch over our own numbers: once a day it judges each caller ID as the report `caller-ids` does, over the usual days up
//! to yesterday, so that somebody hears of a burnt number who did not ask.
//!
//! It never says which number it is: whoever is told reads the report. Each node looks by itself and remembers in memory
//! what it said; after a restart it says it once more.

use std::collections::BTreeSet;

use jiff::{civil::Date, tz::TimeZone};

use super::reports::caller_ids;
use crate::store::{Db, Result};

/// What was said so far.
#[derive(Debug, Default)]
pub struct Watch {
    judged: Option<Date>,
    falling: BTreeSet<String>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Numbers of ours that fall.
    pub falling: usize,
    /// Of these, those that did not when it was looked before.
    pub new: usize,
    /// The last day judged.
    pub until: Date,
}

impl Watch {
    /// Judges the days up to yesterday; `None` if they were judged already.
    ///
    /// # Errors
    /// The database; then the next look judges them.
    pub async fn look(&mut self, db: &Db, today: Date, zone: &TimeZone) -> Result<Option<Found>> {
        let until = today.yesterday().unwrap_or(today);
        if self.judged == Some(until) {
            return Ok(None);
        }
        let mut tx = db.read().await?;
        let falling = caller_ids::falling(&mut tx, until, zone).await?;
        tx.rollback().await?;
        let found = Found {
            falling: falling.len(),
            new: falling.difference(&self.falling).count(),
            until,
        };
        (self.judged, self.falling) = (Some(until), falling);
        Ok(Some(found))
    }
}
