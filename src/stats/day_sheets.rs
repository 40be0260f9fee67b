//! Agents' days counted again from the stretches of `agent_states`, and what they lack added.
//!
//! They are days of the zone shown to operators: after a change of `policy.display_zone` the days of before differ until
//! they are made anew. Stretches that last are in no day yet. Read next: `store/agent_days.rs`.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::store::{
    Db, Result, Tx,
    agent_days::{self, Spent},
};

/// Where an agent's day and the stretches differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is stored; of no length where nothing is.
    pub stored: Spent,
    /// What it should be.
    pub recounted: Spent,
}

impl Difference {
    /// What should be added, and when the agent came and went.
    #[must_use]
    pub fn lacking(&self) -> Spent {
        Spent {
            spans: self.recounted.spans - self.stored.spans,
            ms: self.recounted.ms - self.stored.ms,
            ..self.recounted.clone()
        }
    }
}

/// What a recount of agents' days found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recount {
    /// Days looked at.
    pub days: usize,
    /// Rows compared.
    pub rows: usize,
    /// Every difference, by day and agent.
    pub differences: Vec<Difference>,
}

/// The days from `from` to `to` (both included) that have anything, and the longest stretch.
pub(super) async fn days(
    tx: &mut Tx,
    zone: &TimeZone,
    from: &str,
    to: &str,
) -> Result<(Vec<String>, i64)> {
    let reach = agent_days::reach(tx).await?;
    let day = |at_ms| {
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        Some(zone.to_datetime(at).date())
    };
    let ends = reach.map(|r| [day(r.first_ms), day(r.last_ms)]);
    let stored = agent_days::dates(tx).await?;
    let stored = stored.map(|(first, last)| [first.parse().ok(), last.parse().ok()]);
    let all: Vec<Date> = [ends, stored]
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .collect();
    let (Some(first), Some(last)) = (all.iter().min(), all.iter().max()) else {
        return Ok((Vec::new(), 0));
    };
    let days = first
        .series(jiff::Span::new().days(1))
        .take_while(|day| day <= last)
        .map(|day| day.to_string())
        .filter(|day| (from..=to).contains(&day.as_str()))
        .collect();
    Ok((days, reach.map_or(0, |r| r.longest_ms)))
}

/// One day, at one consistent moment: rows compared, and what differs.
pub(super) async fn compare(
    tx: &mut Tx,
    date: &str,
    zone: &TimeZone,
    longest_ms: i64,
) -> Result<(usize, Vec<Difference>)> {
    let mut rows: BTreeMap<_, [Option<Spent>; 2]> = BTreeMap::new();
    let stored = agent_days::read(tx, date, date, None).await?;
    let recounted = agent_days::recount(tx, date, zone, longest_ms).await?;
    for (n, days) in [stored, recounted].into_iter().enumerate() {
        for spent in days {
            let key = (spent.agent, spent.state.clone(), spent.reason.clone());
            rows.entry(key).or_default()[n] = Some(spent);
        }
    }
    let compared = rows.len();
    let differences = rows
        .into_values()
        .filter_map(|[stored, recounted]| {
            let (stored, recounted) = match (stored, recounted) {
                (Some(stored), Some(recounted)) => (stored, recounted),
                (Some(stored), None) => (stored.clone(), nothing(stored)),
                (None, Some(recounted)) => (nothing(recounted.clone()), recounted),
                (None, None) => return None,
            };
            (stored != recounted).then_some(Difference { stored, recounted })
        })
        .collect();
    Ok((compared, differences))
}

/// The same agent's day, state and reason, never there.
fn nothing(spent: Spent) -> Spent {
    Spent {
        spans: 0,
        ms: 0,
        present: None,
        ..spent
    }
}

/// Recounts agents' days from `from` to `to`, both included. Stretches that end meanwhile do not show as differences.
///
/// # Errors
/// The database.
pub async fn recount(db: &Db, zone: &TimeZone, from: &str, to: &str) -> Result<Recount> {
    let mut found = Recount::default();
    let mut tx = db.read().await?;
    let (days, longest_ms) = days(&mut tx, zone, from, to).await?;
    tx.rollback().await?;
    for date in days {
        // One moment a day: a reading transaction that lasts would keep SQLite's log from being folded back.
        let mut tx = db.read().await?;
        let (rows, differences) = compare(&mut tx, &date, zone, longest_ms).await?;
        tx.rollback().await?;
        found.days += 1;
        found.rows += rows;
        found.differences.extend(differences);
    }
    Ok(found)
}
