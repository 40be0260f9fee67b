//! What reports read: the roll-ups, and for two dimensions at once the facts themselves.
//!
//! One dimension over any time comes from the roll-ups; a pair is summed up from the index `attempts_figures`, which
//! holds all that figures need in the order of days: a roll-up for every pair would cost more than it saves. Nothing
//! here divides or names: that is `stats/report.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use super::{Result, Tx, db::Row, rollups::sums, sql::Sql};
use crate::stats::rollup::{Dimension, Sums};

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
    HEAT("read the figures by day and hour") = concat!(
        "SELECT local_date, local_hour, ", summed!(), " FROM rollup_hours
         WHERE dimension = $1 AND local_date BETWEEN $2 AND $3 AND value = $4
         GROUP BY local_date, local_hour ORDER BY local_date, local_hour");
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

/// Sums of one value of a dimension by weekday (1 is Monday) and hour: the heat map.
pub async fn heat_map(
    tx: &mut Tx,
    dimension: Dimension,
    value: &str,
    from: &str,
    to: &str,
) -> Result<Vec<(i8, i64, Sums)>> {
    let mut cells = BTreeMap::<(i8, i64), Sums>::new();
    for row in tx
        .fetch_all(&HEAT, args![dimension, from, to, value])
        .await?
    {
        let day: jiff::civil::Date = row.parse("local_date")?;
        let cell = (day.weekday().to_monday_one_offset(), row.get("local_hour")?);
        *cells.entry(cell).or_default() += sums(&row)?;
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
    /// What a pair is made of: any dimension, or the time of the call local to the person called.
    pub enum Axis {
        /// Day.
        Day = "day",
        /// Hour of the day.
        Hour = "hour",
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

impl Axis {
    /// The column of `attempts`.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Axis::Day => "local_date",
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
}

/// Which attempts a pair is made of; all where nothing is set.
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

/// Sums by the values of two axes, from the facts. `''` stands for no team and no disposition.
pub async fn pair(
    tx: &mut Tx,
    first: Axis,
    second: Axis,
    from: &str,
    to: &str,
    only: Only,
) -> Result<Vec<(String, String, Sums)>> {
    let args = args![
        from,
        to,
        only.client.unwrap_or(0),
        only.batch.unwrap_or(0),
        only.team.unwrap_or(0),
        only.agent.unwrap_or(0)
    ];
    tx.fetch_all(pair_sql(first, second), args)
        .await?
        .iter()
        .map(|row| Ok((row.get("first")?, row.get("second")?, sums(row)?)))
        .collect()
}

/// The statement of a pair, put together from the columns once.
pub(crate) fn pair_sql(first: Axis, second: Axis) -> &'static Sql {
    static MADE: OnceLock<HashMap<(Axis, Axis), Sql>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let mut made = HashMap::new();
        for a in Axis::ALL {
            for b in Axis::ALL {
                let sql = Sql {
                    act: "add up two dimensions",
                    text: Box::leak(pair_text(*a, *b).into_boxed_str()),
                };
                made.insert((*a, *b), sql);
            }
        }
        made
    });
    &made[&(first, second)]
}

/// The rows are grouped by the columns as they are stored, and made texts afterwards, group by group.
fn pair_text(first: Axis, second: Axis) -> String {
    let (a, b) = (first.column(), second.column());
    format!(
        "SELECT COALESCE(CAST(a AS TEXT), '') AS first, COALESCE(CAST(b AS TEXT), '') AS second, attempts, lost_ours,
                seizures, connected, effective, right_party, talk_ms, rung, pdd_ms, ring_ms
         FROM (SELECT {a} AS a, {b} AS b, COUNT(*) AS attempts,
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
         GROUP BY {a}, {b}) AS pairs
         ORDER BY 1, 2"
    )
}
