//! Caller-ID health: the connect rate of each number of ours in the recent days against the days before. A number that
//! many take for unwanted is answered less; the alarm says so before people do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::Date, tz::TimeZone};

use super::{Asked, Body, Name, ReportError, Within, calls, heads, with_interval};
use crate::{
    export::Cell,
    stats::rollup::Sums,
    store::{self, Tx, figures::Axis, sql::literal},
};

/// The last days of the period, which are judged.
const RECENT_DAYS: i32 = 7;
/// Attempts (less those lost by our own fault) that either part needs before anything is said.
const ENOUGH: i64 = 100;

/// What is said of a caller ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Falling,
    Rising,
    Steady,
    TooFew,
}

impl Health {
    /// Judges two parts: intervals that do not overlap differ by more than chance.
    fn of(before: &Sums, recent: &Sums) -> Health {
        let enough = |s: &Sums| s.attempts - s.lost_ours >= ENOUGH;
        match (before.connect_rate(), recent.connect_rate()) {
            (Some(before_rate), Some(recent_rate)) if enough(before) && enough(recent) => {
                if recent_rate.high < before_rate.low {
                    Health::Falling
                } else if recent_rate.low > before_rate.high {
                    Health::Rising
                } else {
                    Health::Steady
                }
            }
            _ => Health::TooFew,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Health::Falling => "falling",
            Health::Rising => "rising",
            Health::Steady => "steady",
            Health::TooFew => "too few",
        }
    }
}

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body, ReportError> {
    let earlier = jiff::Span::new().days(RECENT_DAYS - 1);
    let recent = within.to.checked_sub(earlier).unwrap_or(within.from);
    if recent <= within.from {
        return Err(ReportError::Unfit(format!(
            "caller-ids compares the last {RECENT_DAYS} days with those before: ask for more than {RECENT_DAYS}"
        )));
    }
    let recent = recent.to_string();
    let numbers = parts(tx, &recent, within).await?;
    let mut falling = 0;
    let mut rows = Vec::with_capacity(numbers.len());
    for (number, [before, recent]) in numbers {
        let health = Health::of(&before, &recent);
        falling += usize::from(health == Health::Falling);
        let mut row = vec![Cell::Text(number)];
        for part in [before, recent] {
            row.extend([
                Cell::Int(part.attempts),
                Cell::Int(part.lost_ours),
                Cell::Int(part.connected),
            ]);
            row.extend(with_interval(part.connect_rate()));
        }
        row.push(Cell::Text(health.as_str().into()));
        rows.push(row);
    }
    Ok(Body {
        heads: heads(&[
            "caller_id",
            "before_attempts",
            "before_lost_ours",
            "before_connected",
            "before_rate",
            "before_low",
            "before_high",
            "recent_attempts",
            "recent_lost_ours",
            "recent_connected",
            "recent_rate",
            "recent_low",
            "recent_high",
            "health",
        ]),
        rows,
        total: None,
        meanings: vec![
            "attempts",
            "connected",
            "lost_ours",
            "connect_rate",
            "caller_id_health",
        ],
        notes: vec![
            format!("{falling} caller IDs are falling"),
            format!(
                "recent: from {recent} on; before: {} and on until then; too few: less than {ENOUGH} attempts in either part, \
                 those lost by our own fault left out",
                within.from_text
            ),
        ],
        sealed: true,
        sql_of_total: None,
        sql: sql(&recent, within),
    })
}

/// The sums of each number before and since `recent`.
async fn parts(
    tx: &mut Tx,
    recent: &str,
    within: &Within<'_>,
) -> Result<BTreeMap<String, [Sums; 2]>, store::Error> {
    let mut numbers = BTreeMap::<String, [Sums; 2]>::new();
    for (mut values, sums) in calls::sums(tx, &[Axis::CallerId, Axis::Day], within).await? {
        let day = values.pop().unwrap_or_default();
        let number = values.pop().unwrap_or_default();
        numbers.entry(number).or_default()[usize::from(day.as_str() >= recent)] += sums;
    }
    Ok(numbers)
}

/// The numbers of ours that fall, by the report of the usual days up to `last`, over all clients.
///
/// # Errors
/// The database.
pub async fn falling(
    tx: &mut Tx,
    last: Date,
    zone: &TimeZone,
) -> Result<BTreeSet<String>, store::Error> {
    let asked = Asked::new(Name::CallerIds, None, Some(last), last);
    let (from_text, to_text) = (asked.from.to_string(), asked.to.to_string());
    let within = Within::days(
        (asked.from, asked.to),
        (&from_text, &to_text),
        zone,
        tx.dialect(),
    );
    let earlier = jiff::Span::new().days(RECENT_DAYS - 1);
    let recent = last.checked_sub(earlier).unwrap_or(last).to_string();
    let parts = parts(tx, &recent, &within).await?;
    let falls = parts
        .into_iter()
        .filter(|(_, [before, recent])| Health::of(before, recent) == Health::Falling);
    Ok(falls.map(|(number, _)| number).collect())
}

fn sql(recent: &str, within: &Within<'_>) -> String {
    let part = format!(
        "CASE WHEN a.local_date >= {} THEN 1 ELSE 0 END",
        literal(recent)
    );
    let columns: String = [(0, "before"), (1, "recent")]
        .into_iter()
        .flat_map(|(n, name)| {
            ["attempts", "lost_ours", "connected"].map(|column| {
                format!(
                    ",\n             CAST(SUM(CASE WHEN f.k2 = {n} THEN f.{column} ELSE 0 END) AS BIGINT) AS {name}_{column}"
                )
            })
        })
        .collect();
    format!(
        "SELECT rates.*, CASE WHEN before_attempts - before_lost_ours < {ENOUGH} OR recent_attempts - recent_lost_ours < {ENOUGH}
                      THEN '{too_few}'
                      WHEN recent_high < before_low THEN '{falling}' WHEN recent_low > before_high THEN '{rising}'
                      ELSE '{steady}' END AS health
FROM (SELECT caller_id, before_attempts, before_lost_ours, before_connected,
             {before},
             recent_attempts, recent_lost_ours, recent_connected,
             {recent}
      FROM (SELECT f.k1 AS caller_id{columns}
            FROM ({facts}) AS f
            GROUP BY f.k1) AS parts) AS rates
ORDER BY caller_id{collate}",
        too_few = Health::TooFew.as_str(),
        falling = Health::Falling.as_str(),
        rising = Health::Rising.as_str(),
        steady = Health::Steady.as_str(),
        before = calls::rate(
            "before_connected",
            "(before_attempts - before_lost_ours)",
            ["before_rate", "before_low", "before_high"]
        ),
        recent = calls::rate(
            "recent_connected",
            "(recent_attempts - recent_lost_ours)",
            ["recent_rate", "recent_low", "recent_high"]
        ),
        facts = calls::facts(&["a.caller_id", &part], within),
        collate = within.collate()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(attempts: i64, lost_ours: i64, connected: i64) -> Sums {
        Sums {
            attempts,
            lost_ours,
            connected,
            ..Sums::default()
        }
    }

    #[test]
    fn an_alarm_needs_intervals_apart_and_enough_attempts() {
        // 50 of 100: 0.4038 to 0.5962; 30 of 100: 0.2189 to 0.3959; 33 of 100: 0.2458 to 0.4269.
        for (before, recent, health) in [
            (sums(100, 0, 50), sums(100, 0, 30), Health::Falling),
            (sums(100, 0, 50), sums(100, 0, 33), Health::Steady),
            (sums(100, 0, 30), sums(100, 0, 50), Health::Rising),
            (sums(99, 0, 99), sums(100, 0, 1), Health::TooFew),
            (sums(150, 51, 99), sums(100, 0, 1), Health::TooFew),
            (sums(0, 0, 0), sums(1_000, 0, 1), Health::TooFew),
        ] {
            assert_eq!(
                Health::of(&before, &recent),
                health,
                "{before:?} {recent:?}"
            );
        }
    }
}
