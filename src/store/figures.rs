//! What reports read: the roll-ups, and for two dimensions at once the facts themselves.
//!
//! One dimension over any time comes from the roll-ups, by day also that of one client; a pair is summed up from the index
//! `attempts_figures`, which holds all that figures need in the order of days: a roll-up for every pair would cost more
//! than it saves. Nothing here divides or names: that is `stats/reports`, which also chooses between the two.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use super::{Dialect, Result, Tx, db::Row, rollups::sums, sql::Sql};
use crate::{
    ids::ClientId,
    stats::rollup::{Dimension, Sums},
};

/// The sums of a group of roll-up rows.
macro_rules! summed {
    () => {
        "CAST(SUM(attempts) AS BIGINT) AS attempts, CAST(SUM(lost_ours) AS BIGINT) AS lost_ours,
         CAST(SUM(seizures) AS BIGINT) AS seizures, CAST(SUM(connected) AS BIGINT) AS connected,
         CAST(SUM(effective) AS BIGINT) AS effective, CAST(SUM(right_party) AS BIGINT) AS right_party,
         CAST(SUM(talk_ms) AS BIGINT) AS talk_ms, CAST(SUM(rung) AS BIGINT) AS rung, CAST(SUM(pdd_ms) AS BIGINT) AS pdd_ms,
         CAST(SUM(ring_ms) AS BIGINT) AS ring_ms"
    };
}

statements! {
    TOTALS("read the figures by dimension") = concat!(
        "SELECT value, ", summed!(), " FROM rollup_days
         WHERE dimension = $1 AND local_date BETWEEN $2 AND $3 GROUP BY value ORDER BY value");
    BY_DAY("read the figures of a dimension by day") = concat!(
        "SELECT value, local_date, ", summed!(), " FROM rollup_days
         WHERE dimension = $1 AND local_date BETWEEN $2 AND $3 AND (CAST($4 AS TEXT) IS NULL OR value = $4)
         GROUP BY local_date, value ORDER BY local_date, value");
    BY_HOUR("read the figures of a dimension by hour") = concat!(
        "SELECT value, local_hour, ", summed!(), " FROM rollup_hours
         WHERE dimension = $1 AND local_date BETWEEN $2 AND $3 AND (CAST($4 AS TEXT) IS NULL OR value = $4)
         GROUP BY local_hour, value ORDER BY local_hour, value");
    BY_DAY_AND_HOUR("read the figures of a dimension by day and hour") = concat!(
        "SELECT value, local_date, local_hour, ", summed!(), " FROM rollup_hours
         WHERE dimension = $1 AND local_date BETWEEN $2 AND $3 AND (CAST($4 AS TEXT) IS NULL OR value = $4)
         GROUP BY local_date, local_hour, value ORDER BY local_date, local_hour, value");
    CLIENT_TOTALS("read a client's figures by dimension") = concat!(
        "SELECT value, ", summed!(), " FROM rollup_client_days
         WHERE client_id = $1 AND dimension = $2 AND local_date BETWEEN $3 AND $4 GROUP BY value ORDER BY value");
    CLIENT_BY_DAY("read a client's figures of a dimension by day") = concat!(
        "SELECT value, local_date, ", summed!(), " FROM rollup_client_days
         WHERE client_id = $1 AND dimension = $2 AND local_date BETWEEN $3 AND $4
         GROUP BY local_date, value ORDER BY local_date, value");
    SPAN("look up the first and the last day with figures") =
        "SELECT MIN(local_date) AS first, MAX(local_date) AS last FROM rollup_days WHERE dimension = 'all'";
    FIRST_CALLS("read the first calls of batches") = concat!(
        "SELECT batch_id, disposition, ", summed!(), " FROM rollup_first_calls
         WHERE local_date BETWEEN $1 AND $2 GROUP BY batch_id, disposition ORDER BY batch_id, disposition");
    REFUSALS("count refusals") =
        "SELECT client_id, reasons, COUNT(*) AS refusals FROM receipts
         WHERE allowed = 0 AND at_ms >= $1 AND at_ms < $2 GROUP BY client_id, reasons ORDER BY client_id, reasons";
    TEAMS("list the teams") = "SELECT id, code FROM teams ORDER BY id";
}

/// Sums by the values of a dimension, over all days from `from` to `to` (both included, `YYYY-MM-DD`).
pub async fn totals(
    tx: &mut Tx,
    dimension: Dimension,
    from: &str,
    to: &str,
) -> Result<Vec<(String, Sums)>> {
    tx.fetch_all(&TOTALS, args![dimension, from, to])
        .await?
        .iter()
        .map(|row| Ok((row.get("value")?, sums(row)?)))
        .collect()
}

/// The teams by their ids, as values of the dimension.
pub async fn team_codes(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    tx.fetch_all(&TEAMS, args![])
        .await?
        .iter()
        .map(|row| Ok((row.get::<i64>("id")?.to_string(), row.get("code")?)))
        .collect()
}

/// Sums by day and value of a dimension, or by day of one value.
pub async fn by_day(
    tx: &mut Tx,
    dimension: Dimension,
    value: Option<&str>,
    from: &str,
    to: &str,
) -> Result<Vec<(String, String, Sums)>> {
    tx.fetch_all(
        &BY_DAY,
        args![dimension, from, to, value.map(str::to_owned)],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("value")?, row.get("local_date")?, sums(row)?)))
    .collect()
}

/// Sums by hour of the day and value of a dimension, or by hour of one value.
pub async fn by_hour(
    tx: &mut Tx,
    dimension: Dimension,
    value: Option<&str>,
    from: &str,
    to: &str,
) -> Result<Vec<(String, i64, Sums)>> {
    tx.fetch_all(
        &BY_HOUR,
        args![dimension, from, to, value.map(str::to_owned)],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("value")?, row.get("local_hour")?, sums(row)?)))
    .collect()
}

/// Sums by day, hour of the day and value of a dimension, or of one value.
pub async fn by_day_and_hour(
    tx: &mut Tx,
    dimension: Dimension,
    value: Option<&str>,
    from: &str,
    to: &str,
) -> Result<Vec<(String, String, i64, Sums)>> {
    tx.fetch_all(
        &BY_DAY_AND_HOUR,
        args![dimension, from, to, value.map(str::to_owned)],
    )
    .await?
    .iter()
    .map(|row| {
        Ok((
            row.get("value")?,
            row.get("local_date")?,
            row.get("local_hour")?,
            sums(row)?,
        ))
    })
    .collect()
}

/// Sums of a client's calls by the values of a dimension; one of [`Dimension::OF_CLIENT`], of which alone there are some.
pub async fn client_totals(
    tx: &mut Tx,
    client: ClientId,
    dimension: Dimension,
    from: &str,
    to: &str,
) -> Result<Vec<(String, Sums)>> {
    tx.fetch_all(&CLIENT_TOTALS, args![client, dimension, from, to])
        .await?
        .iter()
        .map(|row| Ok((row.get("value")?, sums(row)?)))
        .collect()
}

/// The same by day.
pub async fn client_by_day(
    tx: &mut Tx,
    client: ClientId,
    dimension: Dimension,
    from: &str,
    to: &str,
) -> Result<Vec<(String, String, Sums)>> {
    tx.fetch_all(&CLIENT_BY_DAY, args![client, dimension, from, to])
        .await?
        .iter()
        .map(|row| Ok((row.get("value")?, row.get("local_date")?, sums(row)?)))
        .collect()
}

/// The first and the last day that have figures.
pub async fn span(tx: &mut Tx) -> Result<Option<(String, String)>> {
    let row = tx.fetch_one(&SPAN, args![]).await?;
    Ok(row
        .get::<Option<String>>("first")?
        .zip(row.get::<Option<String>>("last")?))
}

/// Sums of one value of a dimension by weekday (1 is Monday) and hour: the heat map.
pub async fn heat_map(
    tx: &mut Tx,
    dimension: Dimension,
    value: &str,
    from: &str,
    to: &str,
) -> Result<Vec<(i8, i64, Sums)>> {
    let mut cells = BTreeMap::<(i8, i64), Sums>::new();
    for (_, date, hour, sums) in by_day_and_hour(tx, dimension, Some(value), from, to).await? {
        let day: jiff::civil::Date = date
            .parse()
            .map_err(|_| super::Error::unknown("read the heat map", "rollup_hours.local_date"))?;
        let weekday = day.weekday().to_monday_one_offset();
        *cells.entry((weekday, hour)).or_default() += sums;
    }
    Ok(cells
        .into_iter()
        .map(|((weekday, hour), sums)| (weekday, hour, sums))
        .collect())
}

/// Sums of the first calls of each batch by what came of them: first calls made from `from` to `to`.
pub async fn first_calls(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<(i64, String, Sums)>> {
    tx.fetch_all(&FIRST_CALLS, args![from, to])
        .await?
        .iter()
        .map(first_call)
        .collect()
}

fn first_call(row: &Row) -> Result<(i64, String, Sums)> {
    Ok((row.get("batch_id")?, row.get("disposition")?, sums(row)?))
}

/// Refusals by client and reason, decided from `from_ms` on and before `to_ms`. A refusal with several reasons counts
/// once under each of them, also where its row names one twice, as rows of before do. They are in no other figure.
pub async fn refusals(tx: &mut Tx, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, String, i64)>> {
    let mut counts = BTreeMap::<(i64, String), i64>::new();
    for row in tx.fetch_all(&REFUSALS, args![from_ms, to_ms]).await? {
        let reasons: BTreeSet<String> = serde_json::from_str(&row.get::<String>("reasons")?)
            .map_err(|_| super::Error::unknown("count refusals", "receipts.reasons"))?;
        let (client, refusals): (i64, i64) = (row.get("client_id")?, row.get("refusals")?);
        for reason in reasons {
            *counts.entry((client, reason)).or_default() += refusals;
        }
    }
    Ok(counts
        .into_iter()
        .map(|((client, reason), refusals)| (client, reason, refusals))
        .collect())
}

words! {
    /// What figures are told apart by: any dimension, or the time of the call local to the person called.
    pub enum Axis {
        /// Day.
        Day = "day",
        /// Hour of the day.
        Hour = "hour",
        /// Week, which begins on Monday (ISO 8601) and is called by that day.
        Week = "week",
        /// Month, as `YYYY-MM`.
        Month = "month",
        /// Who called.
        Agent = "agent",
        /// The lot of the case.
        Batch = "batch",
        /// How long the debt was overdue at placement.
        Bucket = "bucket",
        /// The number of ours that was shown.
        CallerId = "caller-id",
        /// Why it ended.
        Cause = "cause",
        /// The bank.
        Client = "client",
        /// What the agent said came of it.
        Disposition = "disposition",
        /// Mobile, fixed line, …
        NumberKind = "number-kind",
        /// Relation of the person called to the debtor.
        Relation = "relation",
        /// The team of the agent at dial time.
        Team = "team",
        /// The trunk.
        Trunk = "trunk",
    }
}

words! {
    /// The time over which figures told apart by something else are shown.
    pub enum Over {
        /// Day by day.
        Day = "day",
        /// Week by week, each called by its Monday.
        Week = "week",
        /// Month by month.
        Month = "month",
    }
}

impl From<Over> for Axis {
    fn from(over: Over) -> Axis {
        match over {
            Over::Day => Axis::Day,
            Over::Week => Axis::Week,
            Over::Month => Axis::Month,
        }
    }
}

impl Axis {
    /// The column of `attempts` that it follows from.
    const fn column(self) -> &'static str {
        match self {
            Axis::Day | Axis::Week | Axis::Month => "local_date",
            Axis::Hour => "local_hour",
            Axis::Agent => "agent_id",
            Axis::Batch => "batch_id",
            Axis::Bucket => "bucket",
            Axis::CallerId => "caller_id",
            Axis::Cause => "cause",
            Axis::Client => "client_id",
            Axis::Disposition => "disposition",
            Axis::NumberKind => "number_kind",
            Axis::Relation => "relation",
            Axis::Team => "team_id",
            Axis::Trunk => "trunk",
        }
    }

    /// What has to be worked out of the column; anything else is the column.
    const fn is_worked_out(self) -> bool {
        matches!(self, Axis::Week | Axis::Month)
    }

    /// Its value in SQL, of `table`'s rows.
    pub(crate) fn expression(self, table: &str, dialect: Dialect) -> String {
        self.of(&format!("{table}.{}", self.column()), dialect)
    }

    /// Its value in SQL, of its column under another name.
    fn of(self, column: &str, dialect: Dialect) -> String {
        match (self, dialect) {
            (Axis::Week, Dialect::Sqlite) => format!("date({column}, '-6 days', 'weekday 1')"),
            (Axis::Week, Dialect::Postgres) => {
                format!("to_char(date_trunc('week', CAST({column} AS TIMESTAMP)), 'YYYY-MM-DD')")
            }
            (Axis::Month, _) => format!("substr({column}, 1, 7)"),
            _ => column.to_owned(),
        }
    }

    /// Its value for a day; `None` if it is no matter of days.
    #[must_use]
    pub fn of_day(self, day: &str) -> Option<String> {
        match self {
            Axis::Day => Some(day.to_owned()),
            Axis::Month => day.get(..7).map(str::to_owned),
            Axis::Week => {
                let day: jiff::civil::Date = day.parse().ok()?;
                let since = i64::from(day.weekday().to_monday_zero_offset());
                let monday = day.checked_sub(jiff::Span::new().days(since)).ok()?;
                Some(monday.to_string())
            }
            _ => None,
        }
    }
}

/// Which attempts are counted; all where nothing is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Only {
    /// Of this client.
    pub client: Option<i64>,
    /// Of this batch.
    pub batch: Option<i64>,
    /// Of agents who were in this team.
    pub team: Option<i64>,
    /// By this agent.
    pub agent: Option<i64>,
}

/// Most axes at once: two, and the time over which they are shown.
const MOST_AXES: usize = 3;

/// Sums by the values of up to three axes, from the facts. `''` stands for no team and no disposition.
pub async fn counted(
    tx: &mut Tx,
    axes: &[Axis],
    from: &str,
    to: &str,
    only: Only,
) -> Result<Vec<(Vec<String>, Sums)>> {
    let args = args![
        from,
        to,
        only.client.unwrap_or(0),
        only.batch.unwrap_or(0),
        only.team.unwrap_or(0),
        only.agent.unwrap_or(0)
    ];
    let names = ["v1", "v2", "v3"];
    let sql = counted_sql(axes, tx.dialect());
    tx.fetch_all(&sql, args)
        .await?
        .iter()
        .map(|row| {
            let values = axes.iter().zip(names).map(|(_, name)| row.get(name));
            Ok((values.collect::<Result<_>>()?, sums(row)?))
        })
        .collect()
}

/// The statement for some axes; each is put together once in the life of the process, and there are few thousand.
pub(crate) fn counted_sql(axes: &[Axis], dialect: Dialect) -> Sql {
    type Made = HashMap<(Vec<Axis>, Dialect), Sql>;
    static MADE: Mutex<Option<Made>> = Mutex::new(None);
    let axes = &axes[..axes.len().min(MOST_AXES)];
    // A statement is whole or not there, whatever happened to whoever made another one.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.get_or_insert_default();
    *made.entry((axes.to_vec(), dialect)).or_insert_with(|| Sql {
        act: "add up figures from the attempts",
        text: Box::leak(counted_text(axes, dialect).into_boxed_str()),
    })
}

/// The rows are grouped by the columns as they are stored; weeks, months and texts are made of the groups afterwards.
fn counted_text(axes: &[Axis], dialect: Dialect) -> String {
    let mut columns: Vec<&str> = axes.iter().map(|axis| axis.column()).collect();
    columns.sort_unstable();
    columns.dedup();
    let columns = columns.join(", ");
    let values: String = (1..)
        .zip(axes)
        .map(|(n, axis)| {
            let value = axis.of(axis.column(), dialect);
            format!("COALESCE(CAST({value} AS TEXT), '') AS v{n}, ")
        })
        .collect();
    let places: Vec<String> = (1..=axes.len()).map(|n| n.to_string()).collect();
    let places = places.join(", ");
    let (sums, group) = match axes.iter().any(|axis| axis.is_worked_out()) {
        true => (summed!(), format!("GROUP BY {places} ")),
        false => (
            "attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung, pdd_ms, ring_ms",
            String::new(),
        ),
    };
    format!(
        "SELECT {values}{sums}
         FROM (SELECT {columns}, COUNT(*) AS attempts,
                COUNT(CASE WHEN class = 'ours' AND answered_at_ms IS NULL THEN 1 END) AS lost_ours,
                COUNT(seized_at_ms) AS seizures, COUNT(answered_at_ms) AS connected,
                COUNT(CASE WHEN seized_at_ms IS NOT NULL AND (answered_at_ms IS NOT NULL
                    OR cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END) AS effective,
                COUNT(CASE WHEN right_party = 1 AND answered_at_ms IS NOT NULL THEN 1 END) AS right_party,
                CAST(COALESCE(SUM(ended_at_ms - answered_at_ms), 0) AS BIGINT) AS talk_ms,
                COUNT(rang_at_ms - seized_at_ms) AS rung,
                CAST(COALESCE(SUM(rang_at_ms - seized_at_ms), 0) AS BIGINT) AS pdd_ms,
                CAST(COALESCE(SUM(CASE WHEN seized_at_ms IS NOT NULL THEN COALESCE(answered_at_ms, ended_at_ms) - rang_at_ms
                    END), 0) AS BIGINT) AS ring_ms
         FROM attempts
         WHERE local_date BETWEEN $1 AND $2 AND purpose = 'case' AND ended_at_ms IS NOT NULL
               AND (CAST($3 AS BIGINT) = 0 OR client_id = $3) AND (CAST($4 AS BIGINT) = 0 OR batch_id = $4)
               AND (CAST($5 AS BIGINT) = 0 OR team_id = $5) AND (CAST($6 AS BIGINT) = 0 OR agent_id = $6)
         GROUP BY {columns}) AS facts
         {group}ORDER BY {places}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_called_by_its_monday() {
        for (day, week) in [
            ("2026-11-23", "2026-11-23"),
            ("2026-11-29", "2026-11-23"),
            ("2026-11-30", "2026-11-30"),
            // The last days of a year belong to the first week of the next one.
            ("2025-12-31", "2025-12-29"),
            ("2026-01-04", "2025-12-29"),
        ] {
            assert_eq!(Axis::Week.of_day(day).as_deref(), Some(week), "{day}");
            assert_eq!(Axis::Month.of_day(day).as_deref(), day.get(..7));
        }
        assert_eq!(Axis::Agent.of_day("2026-11-23"), None);
    }
}
