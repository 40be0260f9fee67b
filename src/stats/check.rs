//! The recount: every roll-up row against the attempts themselves, day by day, every difference listed.
//!
//! The recount is SQL over the attempts, written apart from the code that fills the roll-ups, so that one mistake
//! does not hide itself.

use std::collections::BTreeMap;

use super::rollup::Sums;
use crate::store::{Db, Result, rollups};

/// Where the roll-up and the attempts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Local day.
    pub date: String,
    /// Local hour; `None` for the roll-up of the whole day.
    pub hour: Option<i64>,
    /// The dimension.
    pub dimension: String,
    /// Its value.
    pub value: String,
    /// What the roll-up says.
    pub stored: Sums,
    /// What the attempts add up to.
    pub recounted: Sums,
}

/// What a recount found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recount {
    /// Days looked at.
    pub days: usize,
    /// Ended attempts counted.
    pub attempts: i64,
    /// Rows of the roll-ups compared.
    pub rows: usize,
    /// Every difference, in the order of day and row.
    pub differences: Vec<Difference>,
}

/// Recounts every day. Each day is one consistent moment; calls that end meanwhile do not show as differences.
pub async fn recount(db: &Db) -> Result<Recount> {
    let mut found = Recount::default();
    let mut tx = db.read().await?;
    let dates = rollups::dates(&mut tx).await?;
    tx.rollback().await?;
    for date in dates {
        let mut tx = db.read().await?;
        // (dimension, value, hour or -1) -> (stored, recounted)
        let mut rows: BTreeMap<(String, String, i64), (Sums, Sums)> = BTreeMap::new();
        for line in rollups::stored(&mut tx, &date).await? {
            rows.entry((line.dimension, line.value, line.hour))
                .or_default()
                .0 += line.sums;
        }
        for line in rollups::recounted(&mut tx, &date).await? {
            rows.entry((line.dimension.clone(), line.value.clone(), -1))
                .or_default()
                .1 += line.sums;
            rows.entry((line.dimension, line.value, line.hour))
                .or_default()
                .1 += line.sums;
        }
        tx.rollback().await?;
        found.days += 1;
        found.rows += rows.len();
        found.attempts += rows
            .get(&("all".into(), String::new(), -1))
            .map_or(0, |(_, recounted)| recounted.attempts);
        for ((dimension, value, hour), (stored, recounted)) in rows {
            if stored != recounted {
                let hour = (hour >= 0).then_some(hour);
                found.differences.push(Difference {
                    date: date.clone(),
                    hour,
                    dimension,
                    value,
                    stored,
                    recounted,
                });
            }
        }
    }
    Ok(found)
}
