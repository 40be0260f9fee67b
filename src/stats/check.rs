//! The recount: every roll-up row against the attempts themselves, day by day, every difference listed; and every
//! sealed day against its seal.
//!
//! The recount is SQL over the attempts, written apart from the code that fills the roll-ups, so that one mistake
//! does not hide itself.

use ring::digest::{SHA256, digest};

use super::rollup::{Changes, Row, Sums};
use crate::store::{Db, Result, Tx, corrections, rollups, sealed_days};

/// Where the roll-up and the attempts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Local day.
    pub date: String,
    /// Which row.
    pub row: Row,
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
    /// Sealed days looked at.
    pub sealed: usize,
    /// Corrections of sealed days.
    pub corrections: usize,
    /// Sealed days whose figures, less their corrections, are not what was sealed.
    pub broken_seals: Vec<String>,
}

/// One day, at one consistent moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Day {
    /// What the roll-ups say.
    pub stored: Changes,
    /// What the attempts add up to.
    pub recounted: Changes,
}

impl Day {
    /// Reads and recounts a day. Calls that end meanwhile do not show as differences.
    pub async fn read(tx: &mut Tx, date: &str) -> Result<Day> {
        Ok(Day {
            stored: rollups::stored(tx, date).await?,
            recounted: rollups::recounted(tx, date).await?,
        })
    }

    /// What the roll-ups lack: recounted - stored.
    pub fn lacking(&self) -> Changes {
        let mut lacking = self.recounted.clone();
        for (row, date, sums) in self.stored.iter() {
            lacking.add(row.clone(), date, -*sums);
        }
        lacking
    }

    /// Ended attempts of the day.
    pub fn attempts(&self, date: &str) -> i64 {
        let all = Row::Day {
            dimension: "all".into(),
            value: String::new(),
        };
        self.recounted.of(&all, date).attempts
    }

    fn differences(&self, date: &str) -> Vec<Difference> {
        let lacking = self.lacking();
        lacking
            .iter()
            .map(|(row, _, _)| Difference {
                date: date.to_owned(),
                row: row.clone(),
                stored: self.stored.of(row, date),
                recounted: self.recounted.of(row, date),
            })
            .collect()
    }
}

/// Which rows the hash of a day sealed now is over: [`sealed_days::SealedDay::form`].
pub(super) const FORM: i64 = 2;

/// The rows of a day that a seal of this form is over: those of clients' days came with the second.
fn of_form(mut figures: Changes, form: i64) -> Changes {
    if form < 2 {
        figures.retain(|row| !matches!(row, Row::ClientDay { .. }));
    }
    figures
}

/// SHA-256 in hexadecimal of a day's figures: one line a row in the order of the rows, fields between tabs, rows of
/// zeros left out. `docs/figures.md` describes it, so that anybody can compute it.
pub(super) fn hash(figures: &Changes) -> String {
    let mut text = String::new();
    for (row, date, sums) in figures.iter() {
        let key = match row {
            Row::Hour {
                dimension,
                value,
                hour,
            } => format!("hour\t{date}\t{dimension}\t{value}\t{hour}"),
            Row::Day { dimension, value } => format!("day\t{date}\t{dimension}\t{value}"),
            Row::FirstCall { batch, disposition } => {
                format!("first_call\t{date}\t{batch}\t{disposition}")
            }
            Row::ClientDay {
                client,
                dimension,
                value,
            } => format!("client_day\t{date}\t{client}\t{dimension}\t{value}"),
        };
        text.push_str(&key);
        for value in sums.values() {
            text.push('\t');
            text.push_str(&value.to_string());
        }
        text.push('\n');
    }
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The figures of a sealed day as they were sealed: what is stored less what was corrected since.
async fn as_sealed(tx: &mut Tx, stored: &Changes, date: &str) -> Result<Changes> {
    let mut sealed = stored.clone();
    for (row, date, sums) in corrections::changes(tx, date).await?.iter() {
        sealed.add(row.clone(), date, -*sums);
    }
    Ok(sealed)
}

/// Recounts every day.
///
/// # Errors
/// The database.
pub async fn recount(db: &Db) -> Result<Recount> {
    recount_days(db, "0000-00-00", "9999-99-99").await
}

/// Recounts the days from `from` to `to`, both included.
///
/// # Errors
/// The database.
pub async fn recount_days(db: &Db, from: &str, to: &str) -> Result<Recount> {
    let mut found = Recount::default();
    let mut tx = db.read().await?;
    let dates = rollups::dates(&mut tx, from, to).await?;
    tx.rollback().await?;
    for date in dates {
        let mut tx = db.read().await?;
        let day = Day::read(&mut tx, &date).await?;
        let seals = sealed_days::list(&mut tx, &date, &date).await?;
        for seal in seals {
            let sealed = as_sealed(&mut tx, &day.stored, &date).await?;
            found.sealed += 1;
            if hash(&of_form(sealed, seal.form)) != seal.sha256 {
                found.broken_seals.push(date.clone());
            }
        }
        found.corrections += corrections::list(&mut tx, &date, &date).await?.len();
        tx.rollback().await?;
        found.days += 1;
        found.rows += day.stored.iter().count().max(day.recounted.iter().count());
        found.attempts += day.attempts(&date);
        found.differences.extend(day.differences(&date));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_sealed_before_clients_had_days_keeps_its_hash() {
        let sums = |attempts| Sums {
            attempts,
            ..Sums::default()
        };
        let mut before = Changes::default();
        let all = Row::Day {
            dimension: "all".into(),
            value: String::new(),
        };
        before.add(all, "2026-11-23", sums(2));
        let mut now = before.clone();
        let of_client = Row::ClientDay {
            client: 7,
            dimension: "cause".into(),
            value: "busy".into(),
        };
        now.add(of_client, "2026-11-23", sums(2));
        // sha256sum of the line, with tabs and its line feed.
        let sealed = digest(
            &SHA256,
            b"day\t2026-11-23\tall\t\t2\t0\t0\t0\t0\t0\t0\t0\t0\t0\n",
        );
        let sealed: String = sealed.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash(&of_form(now.clone(), 1)), sealed);
        assert_ne!(hash(&of_form(now, FORM)), sealed);
    }
}
