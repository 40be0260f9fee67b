//! What agents' days were made of: stretches of time by state, added up by day.
//!
//! Whoever ends a row of `agent_states` calls [`add`] in the same transaction (`store/agent_states.rs` does). The day is one of the zone shown to
//! operators, for a day's work is paid where the agent sits; a stretch over midnight is cut there.

use jiff::{Timestamp, tz::TimeZone};

use super::{Error, Result, Tx, db::Row, many::Many};
use crate::ids::AgentId;

/// A stretch of time of one agent in one state, now over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Who.
    pub agent: AgentId,
    /// Word of `agent_states.state`.
    pub state: String,
    /// Of a break; empty otherwise.
    pub reason: String,
    /// Since.
    pub from_ms: i64,
    /// To.
    pub until_ms: i64,
}

/// The time of one agent in one state over some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Who.
    pub agent: AgentId,
    /// The day, `YYYY-MM-DD` in the zone shown to operators.
    pub date: String,
    /// Word of `agent_states.state`.
    pub state: String,
    /// Of a break; empty otherwise.
    pub reason: String,
    /// Stretches that ended on that day.
    pub spans: i64,
    /// Milliseconds.
    pub ms: i64,
}

pub(crate) static ADD: Many = Many::new(
    "add to an agent's day",
    "INSERT INTO rollup_agent_days (agent_id, on_date, state, reason, spans, ms) VALUES ",
    &["", "", "", "", "", ""],
    " ON CONFLICT (on_date, agent_id, state, reason) DO UPDATE SET
        spans = rollup_agent_days.spans + excluded.spans, ms = rollup_agent_days.ms + excluded.ms",
);

/// When an agent came on a day: what reaches over its beginning began it, else the first stretch that began on it. The
/// stretches of an agent follow each other, so that one look at each side of the midnight does.
macro_rules! came {
    ($agent:literal, $begin:literal, $end:literal) => {
        concat!(
            "CASE WHEN (SELECT s.until_ms FROM agent_states s WHERE s.agent_id = ",
            $agent,
            " AND s.from_ms < ",
            $begin,
            "
                    AND s.until_ms > s.from_ms ORDER BY s.from_ms DESC LIMIT 1) > ",
            $begin,
            " THEN ",
            $begin,
            "
            ELSE (SELECT s.from_ms FROM agent_states s WHERE s.agent_id = ",
            $agent,
            " AND s.from_ms >= ",
            $begin,
            "
                    AND s.from_ms < ",
            $end,
            " AND s.until_ms > s.from_ms ORDER BY s.from_ms LIMIT 1) END"
        )
    };
}

/// When an agent went: the end of the last stretch that began before the day was over, or that end.
macro_rules! went {
    ($agent:literal, $end:literal) => {
        concat!(
            "(SELECT CASE WHEN s.until_ms < ",
            $end,
            " THEN s.until_ms ELSE ",
            $end,
            " END FROM agent_states s
             WHERE s.agent_id = ",
            $agent,
            " AND s.from_ms < ",
            $end,
            " AND s.until_ms > s.from_ms
             ORDER BY s.from_ms DESC LIMIT 1)"
        )
    };
}

/// The same in a query about `w.agent_id` on the day `d`.
pub(crate) const CAME_AND_WENT: [&str; 2] = [
    came!("w.agent_id", "d.from_ms", "d.until_ms"),
    went!("w.agent_id", "d.until_ms"),
];

statements! {
    PRESENCE("look when agents came and went") = concat!(
        "SELECT w.agent_id, ", came!("w.agent_id", "CAST($1 AS BIGINT)", "CAST($2 AS BIGINT)"), " AS came_ms,
                ", went!("w.agent_id", "CAST($2 AS BIGINT)"), " AS went_ms
         FROM (SELECT DISTINCT agent_id FROM rollup_agent_days WHERE on_date = $3) AS w ORDER BY w.agent_id");
    READ("read agents' days") =
        "SELECT agent_id, on_date, state, reason, spans, ms FROM rollup_agent_days
         WHERE on_date BETWEEN $1 AND $2 AND (CAST($3 AS BIGINT) = 0 OR agent_id = $3)
         ORDER BY on_date, agent_id, state, reason";
    TOTALS("add up agents' days") =
        "SELECT agent_id, '' AS on_date, state, '' AS reason, CAST(SUM(spans) AS BIGINT) AS spans, CAST(SUM(ms) AS BIGINT) AS ms
         FROM rollup_agent_days WHERE on_date BETWEEN $1 AND $2 GROUP BY agent_id, state ORDER BY agent_id, state";
    RECOUNT("recount agents' days") =
        "SELECT agent_id, state, reason, COUNT(CASE WHEN until_ms <= $2 THEN 1 END) AS spans,
                CAST(SUM(CASE WHEN until_ms < $2 THEN until_ms ELSE $2 END - CASE WHEN from_ms > $1 THEN from_ms ELSE $1 END)
                     AS BIGINT) AS ms
         FROM agent_states WHERE until_ms > $1 AND from_ms < $2 AND until_ms > from_ms AND from_ms >= $1 - CAST($3 AS BIGINT)
         GROUP BY agent_id, state, reason ORDER BY agent_id, state, reason";
    REACH("look how far what agents did reaches") =
        "SELECT MIN(from_ms) AS first_ms, MAX(until_ms) AS last_ms, MAX(until_ms - from_ms) AS longest_ms FROM agent_states
         WHERE until_ms > from_ms";
    DATES("look for the first and last of agents' days") =
        "SELECT MIN(on_date) AS first_on, MAX(on_date) AS last_on FROM rollup_agent_days WHERE spans <> 0 OR ms <> 0";
}

/// Adds stretches of time that are over. One that ends before it begins adds nothing.
pub async fn add(tx: &mut Tx, spans: &[Span], zone: &TimeZone) -> Result<()> {
    let mut sums = std::collections::BTreeMap::new();
    for span in spans {
        for (date, ms, last) in cut(span.from_ms, span.until_ms, zone)? {
            let key = (date, span.agent, &span.state, &span.reason);
            let sum: &mut (i64, i64) = sums.entry(key).or_default();
            sum.0 += i64::from(last);
            sum.1 += ms;
        }
    }
    let rows = sums
        .into_iter()
        .map(|((date, agent, state, reason), (spans, ms))| {
            args![agent, date, state, reason, spans, ms]
        })
        .collect();
    ADD.run(tx, rows).await.map(drop)
}

/// Adds to the days themselves, in the order of the list: what a rebuild found lacking.
pub(crate) async fn add_days(tx: &mut Tx, lacking: &[Spent]) -> Result<()> {
    let rows = lacking
        .iter()
        .map(|s| args![s.agent, &s.date, &s.state, &s.reason, s.spans, s.ms])
        .collect();
    ADD.run(tx, rows).await.map(drop)
}

/// How far the stretches that are over reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// When the first began.
    pub first_ms: i64,
    /// When the last ended.
    pub last_ms: i64,
    /// Length of the longest: none that touches a day began earlier before it.
    pub longest_ms: i64,
}

/// How far the stretches that are over reach; `None` if there is none.
pub async fn reach(tx: &mut Tx) -> Result<Option<Reach>> {
    let row = tx.fetch_one(&REACH, args![]).await?;
    let Some(first_ms) = row.get("first_ms")? else {
        return Ok(None);
    };
    Ok(Some(Reach {
        first_ms,
        last_ms: row.get("last_ms")?,
        longest_ms: row.get("longest_ms")?,
    }))
}

/// The first and the last day that has anything.
pub async fn dates(tx: &mut Tx) -> Result<Option<(String, String)>> {
    let row = tx.fetch_one(&DATES, args![]).await?;
    let first: Option<String> = row.get("first_on")?;
    first
        .map(|first| Ok((first, row.get("last_on")?)))
        .transpose()
}

/// The days of all agents, or of one, from `from` to `to`, both included.
pub async fn read(tx: &mut Tx, from: &str, to: &str, agent: Option<AgentId>) -> Result<Vec<Spent>> {
    let agent = agent.map_or(0, AgentId::get);
    let rows = tx.fetch_all(&READ, args![from, to, agent]).await?;
    rows.iter().map(spent).collect()
}

/// When the agents of a day came and went, in milliseconds UTC within the day from `begin_ms` to before `end_ms`. What still
/// lasts is not in it.
pub async fn presence(
    tx: &mut Tx,
    date: &str,
    (begin_ms, end_ms): (i64, i64),
) -> Result<Vec<(AgentId, Option<i64>, Option<i64>)>> {
    let rows = tx
        .fetch_all(&PRESENCE, args![begin_ms, end_ms, date])
        .await?;
    rows.iter()
        .map(|row| {
            let agent = AgentId::new(row.get("agent_id")?);
            Ok((agent, row.get("came_ms")?, row.get("went_ms")?))
        })
        .collect()
}

/// The days from `from` to `to` added up by agent and state, without date and reason.
pub async fn totals(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<Spent>> {
    let rows = tx.fetch_all(&TOTALS, args![from, to]).await?;
    rows.iter().map(spent).collect()
}

fn spent(row: &Row) -> Result<Spent> {
    Ok(Spent {
        agent: AgentId::new(row.get("agent_id")?),
        date: row.get("on_date")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        spans: row.get("spans")?,
        ms: row.get("ms")?,
    })
}

/// One day counted again from the stretches themselves, in SQL written apart from [`add`]. No stretch is longer than
/// `longest_ms` ([`Reach`]).
pub async fn recount(
    tx: &mut Tx,
    date: &str,
    zone: &TimeZone,
    longest_ms: i64,
) -> Result<Vec<Spent>> {
    let day: jiff::civil::Date = date.parse().map_err(|_| wrong("on_date"))?;
    let start = |day: jiff::civil::Date| -> Result<i64> {
        midnight(day, zone).ok_or_else(|| wrong("on_date"))
    };
    let next = day.tomorrow().map_err(|_| wrong("on_date"))?;
    tx.fetch_all(&RECOUNT, args![start(day)?, start(next)?, longest_ms])
        .await?
        .iter()
        .map(|row| {
            Ok(Spent {
                agent: AgentId::new(row.get("agent_id")?),
                date: date.to_owned(),
                state: row.get("state")?,
                reason: row.get("reason")?,
                spans: row.get("spans")?,
                ms: row.get("ms")?,
            })
        })
        .collect()
}

/// Cuts a stretch at each midnight: day, length, and whether it ended there.
fn cut(from_ms: i64, until_ms: i64, zone: &TimeZone) -> Result<Vec<(String, i64, bool)>> {
    let mut pieces = Vec::new();
    let mut from = from_ms;
    while from < until_ms {
        let at = Timestamp::from_millisecond(from).map_err(|_| wrong("agent_states.from_ms"))?;
        let day = zone.to_datetime(at).date();
        let next = day.tomorrow().ok().and_then(|next| midnight(next, zone));
        let next = next.ok_or_else(|| wrong("agent_states.until_ms"))?;
        let until = next.min(until_ms);
        pieces.push((day.to_string(), until - from, until == until_ms));
        from = until;
    }
    Ok(pieces)
}

/// When a day begins, in milliseconds UTC.
#[must_use]
pub fn midnight(day: jiff::civil::Date, zone: &TimeZone) -> Option<i64> {
    let begin = zone.to_timestamp(day.at(0, 0, 0, 0)).ok()?;
    Some(begin.as_millisecond())
}

fn wrong(column: &str) -> Error {
    Error::unknown("place a stretch of time in a day", column)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stretch_over_midnight_is_cut_there_and_ends_once() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        // 2026-11-23 23:59:00 in Shanghai, for two minutes; and for two days and two minutes.
        let from = 1_795_399_200_000 + (13 * 3600 + 59 * 60) * 1_000;
        let day = 24 * 3600 * 1_000;
        let piece = |date: &str, ms, last| (date.to_owned(), ms, last);
        assert_eq!(
            cut(from, from + 120_000, &zone).unwrap(),
            [
                piece("2026-11-23", 60_000, false),
                piece("2026-11-24", 60_000, true)
            ]
        );
        let long = cut(from, from + 2 * day + 120_000, &zone).unwrap();
        assert_eq!(
            long.iter().map(|(_, ms, _)| ms).sum::<i64>(),
            2 * day + 120_000
        );
        assert_eq!(long.len(), 4);
        assert_eq!(cut(from, from, &zone).unwrap(), []);
        assert_eq!(cut(from, from - 1, &zone).unwrap(), []);
    }
}
