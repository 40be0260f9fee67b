//! What agents' days were made of: stretches of time by state, added up by day.
//!
//! Whoever ends a row of `agent_states` calls [`add`] in the same transaction (`store/agent_states.rs` does). The day is one of the zone shown to
//! operators, for a day's work is paid where the agent sits; a stretch over midnight is cut there.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::{Error, Result, Tx, db::Row, many::Many, sql::Sql};
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
    /// Between which instants of the day; `None` where it was never counted.
    pub present: Option<Present>,
}

/// From when until when somebody did something on a day: the ends of the first and the last stretch, or of the day where
/// they reach over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// When he came, in milliseconds UTC.
    pub came_ms: i64,
    /// When he went.
    pub went_ms: i64,
}

impl Present {
    /// From when the earlier of both came until the later one went.
    #[must_use]
    pub fn and(self, other: Present) -> Present {
        Present {
            came_ms: self.came_ms.min(other.came_ms),
            went_ms: self.went_ms.max(other.went_ms),
        }
    }
}

/// What was never counted stays so.
pub(crate) static ADD: Many = Many::new(
    "add to an agent's day",
    "INSERT INTO rollup_agent_days AS d (agent_id, on_date, state, reason, spans, ms, came_ms, went_ms) VALUES ",
    &["", "", "", "", "", "", "BIGINT", "BIGINT"],
    " ON CONFLICT (on_date, agent_id, state, reason) DO UPDATE SET
        spans = d.spans + excluded.spans, ms = d.ms + excluded.ms,
        came_ms = CASE WHEN d.came_ms IS NULL AND d.ms <> 0 OR d.came_ms <= excluded.came_ms THEN d.came_ms
                       ELSE COALESCE(excluded.came_ms, d.came_ms) END,
        went_ms = CASE WHEN d.went_ms IS NULL AND d.ms <> 0 OR d.went_ms >= excluded.went_ms THEN d.went_ms
                       ELSE COALESCE(excluded.went_ms, d.went_ms) END",
);

/// The columns of [`Worked`].
macro_rules! worked {
    () => {
        "CAST(SUM(CASE WHEN state = 'ready' THEN ms ELSE 0 END) AS BIGINT) AS ready_ms,
                CAST(SUM(CASE WHEN state = 'reserved' THEN ms ELSE 0 END) AS BIGINT) AS reserved_ms,
                CAST(SUM(CASE WHEN state = 'talk' THEN ms ELSE 0 END) AS BIGINT) AS talk_ms,
                CAST(SUM(CASE WHEN state = 'wrap_up' THEN ms ELSE 0 END) AS BIGINT) AS wrap_up_ms,
                CAST(SUM(CASE WHEN state = 'break' THEN ms ELSE 0 END) AS BIGINT) AS break_ms,
                CAST(SUM(CASE WHEN state = 'talk' THEN spans ELSE 0 END) AS BIGINT) AS talks"
    };
}

statements! {
    COUNTED("set when an agent came and went") =
        "UPDATE rollup_agent_days SET came_ms = CASE WHEN spans = $5 AND ms = $6 THEN $7 ELSE came_ms END,
                went_ms = CASE WHEN spans = $5 AND ms = $6 THEN $8 ELSE went_ms END
         WHERE on_date = $1 AND agent_id = $2 AND state = $3 AND reason = $4";
    READ("read agents' days") =
        "SELECT agent_id, on_date, state, reason, spans, ms, came_ms, went_ms FROM rollup_agent_days
         WHERE on_date BETWEEN $1 AND $2 AND (CAST($3 AS BIGINT) = 0 OR agent_id = $3)
         ORDER BY on_date, agent_id, state, reason";
    SHEETS("read agents' day sheets") = concat!(
        "SELECT on_date, agent_id, CASE WHEN COUNT(came_ms) = COUNT(*) THEN MIN(came_ms) END AS came_ms,
                CASE WHEN COUNT(went_ms) = COUNT(*) THEN MAX(went_ms) END AS went_ms, ", worked!(), "
         FROM rollup_agent_days WHERE on_date BETWEEN $1 AND $2 AND (spans <> 0 OR ms <> 0)
         GROUP BY on_date, agent_id ORDER BY on_date, agent_id");
    BREAKS("read agents' breaks") =
        "SELECT on_date, agent_id, reason, ms FROM rollup_agent_days
         WHERE on_date BETWEEN $1 AND $2 AND state = 'break' AND (spans <> 0 OR ms <> 0)
         ORDER BY on_date, agent_id, reason";
    TOTALS("add up agents' days") = concat!(
        "SELECT agent_id, ", worked!(), "
         FROM rollup_agent_days WHERE on_date BETWEEN $1 AND $2 AND (spans <> 0 OR ms <> 0)
         GROUP BY agent_id ORDER BY agent_id");
    RECOUNT("recount agents' days") =
        "SELECT agent_id, state, reason, COUNT(CASE WHEN until_ms <= $2 THEN 1 END) AS spans,
                CAST(SUM(CASE WHEN until_ms < $2 THEN until_ms ELSE $2 END - CASE WHEN from_ms > $1 THEN from_ms ELSE $1 END)
                     AS BIGINT) AS ms,
                MIN(CASE WHEN from_ms > $1 THEN from_ms ELSE $1 END) AS came_ms,
                MAX(CASE WHEN until_ms < $2 THEN until_ms ELSE $2 END) AS went_ms
         FROM agent_states WHERE until_ms > $1 AND from_ms < $2 AND until_ms > from_ms AND from_ms >= $1 - CAST($3 AS BIGINT)
         GROUP BY agent_id, state, reason ORDER BY agent_id, state, reason";
    REACH("look how far what agents did reaches") =
        "SELECT MIN(from_ms) AS first_ms, MAX(until_ms) AS last_ms, MAX(until_ms - from_ms) AS longest_ms FROM agent_states
         WHERE until_ms > from_ms";
    DATES("look for the first and last of agents' days") =
        "SELECT MIN(on_date) AS first_on, MAX(on_date) AS last_on FROM rollup_agent_days WHERE spans <> 0 OR ms <> 0";
    UNKNOWN("look for days that do not say when agents came") =
        "SELECT MIN(on_date) AS first_on, MAX(on_date) AS last_on FROM rollup_agent_days
         WHERE came_ms IS NULL AND (spans <> 0 OR ms <> 0)";
}

/// Adds stretches of time that are over. One that ends before it begins adds nothing.
pub async fn add(tx: &mut Tx, spans: &[Span], zone: &TimeZone) -> Result<()> {
    let mut sums = BTreeMap::<_, Spent>::new();
    for span in spans {
        for piece in cut(span.from_ms, span.until_ms, zone)? {
            let key = (piece.date.clone(), span.agent, &span.state, &span.reason);
            let sum = sums.entry(key).or_insert_with(|| Spent {
                agent: span.agent,
                date: piece.date.clone(),
                state: span.state.clone(),
                reason: span.reason.clone(),
                spans: 0,
                ms: 0,
                present: None,
            });
            sum.spans += i64::from(piece.last);
            sum.ms += piece.present.went_ms - piece.present.came_ms;
            let before = sum.present.unwrap_or(piece.present);
            sum.present = Some(before.and(piece.present));
        }
    }
    add_days(tx, sums.values()).await
}

async fn add_days(tx: &mut Tx, days: impl Iterator<Item = &Spent>) -> Result<()> {
    let rows = days
        .map(|s| {
            let (came, went) = ends(s.present);
            args![
                s.agent, &s.date, &s.state, &s.reason, s.spans, s.ms, came, went
            ]
        })
        .collect();
    ADD.run(tx, rows).await.map(drop)
}

/// Adds what a rebuild found lacking to what was stored then, in the order of the list. When somebody came and went is set
/// unless more was added meanwhile: then a later rebuild sets it. The row is locked in any case, so that all rows are
/// locked in that order.
pub(crate) async fn mend(tx: &mut Tx, lacking: &[(Spent, Spent)]) -> Result<()> {
    for (s, lacking) in lacking {
        let (came, went) = ends(lacking.present);
        let args = args![
            &s.date, s.agent, &s.state, &s.reason, s.spans, s.ms, came, went
        ];
        tx.execute(&COUNTED, args).await?;
    }
    add_days(tx, lacking.iter().map(|(_, lacking)| lacking)).await
}

fn ends(present: Option<Present>) -> (Option<i64>, Option<i64>) {
    (
        present.map(|present| present.came_ms),
        present.map(|present| present.went_ms),
    )
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
    first_and_last(tx, &DATES).await
}

/// The first and the last day of which it is not known yet when agents came and went: those of before 0011.
pub async fn unknown(tx: &mut Tx) -> Result<Option<(String, String)>> {
    first_and_last(tx, &UNKNOWN).await
}

async fn first_and_last(tx: &mut Tx, which: &Sql) -> Result<Option<(String, String)>> {
    let row = tx.fetch_one(which, args![]).await?;
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

/// Time by state, of an agent's day or of a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Free to call, in milliseconds as all of these.
    pub ready_ms: i64,
    /// A call was being decided or the phone rang.
    pub reserved_ms: i64,
    /// On calls.
    pub talk_ms: i64,
    /// Writing notes.
    pub wrap_up_ms: i64,
    /// Away.
    pub break_ms: i64,
    /// Stretches of talk that ended.
    pub talks: i64,
}

impl Worked {
    fn read(row: &Row) -> Result<Worked> {
        Ok(Worked {
            ready_ms: row.get("ready_ms")?,
            reserved_ms: row.get("reserved_ms")?,
            talk_ms: row.get("talk_ms")?,
            wrap_up_ms: row.get("wrap_up_ms")?,
            break_ms: row.get("break_ms")?,
            talks: row.get("talks")?,
        })
    }
}

impl std::ops::AddAssign for Worked {
    fn add_assign(&mut self, other: Worked) {
        self.ready_ms += other.ready_ms;
        self.reserved_ms += other.reserved_ms;
        self.talk_ms += other.talk_ms;
        self.wrap_up_ms += other.wrap_up_ms;
        self.break_ms += other.break_ms;
        self.talks += other.talks;
    }
}

/// An agent's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The day, `YYYY-MM-DD` in the zone shown to operators.
    pub date: String,
    /// Who.
    pub agent: AgentId,
    /// What he did.
    pub worked: Worked,
    /// Between which instants; `None` where it was never counted.
    pub present: Option<Present>,
}

/// The days of all agents from `from` to `to`, both included, by day and agent.
pub async fn sheets(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<Sheet>> {
    tx.fetch_all(&SHEETS, args![from, to])
        .await?
        .iter()
        .map(|row| {
            Ok(Sheet {
                date: row.get("on_date")?,
                agent: AgentId::new(row.get("agent_id")?),
                worked: Worked::read(row)?,
                present: present(row)?,
            })
        })
        .collect()
}

/// Milliseconds of breaks by day, agent and reason, in this order.
pub async fn breaks(
    tx: &mut Tx,
    from: &str,
    to: &str,
) -> Result<Vec<((String, AgentId), String, i64)>> {
    tx.fetch_all(&BREAKS, args![from, to])
        .await?
        .iter()
        .map(|row| {
            let agent = AgentId::new(row.get("agent_id")?);
            Ok((
                (row.get("on_date")?, agent),
                row.get("reason")?,
                row.get("ms")?,
            ))
        })
        .collect()
}

/// The days from `from` to `to`, both included, added up by agent.
pub async fn totals(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<(AgentId, Worked)>> {
    tx.fetch_all(&TOTALS, args![from, to])
        .await?
        .iter()
        .map(|row| Ok((AgentId::new(row.get("agent_id")?), Worked::read(row)?)))
        .collect()
}

fn spent(row: &Row) -> Result<Spent> {
    of_day(row, row.get("on_date")?)
}

fn of_day(row: &Row, date: String) -> Result<Spent> {
    Ok(Spent {
        agent: AgentId::new(row.get("agent_id")?),
        date,
        state: row.get("state")?,
        reason: row.get("reason")?,
        spans: row.get("spans")?,
        ms: row.get("ms")?,
        present: present(row)?,
    })
}

fn present(row: &Row) -> Result<Option<Present>> {
    let came: Option<i64> = row.get("came_ms")?;
    let went: Option<i64> = row.get("went_ms")?;
    Ok(came
        .zip(went)
        .map(|(came_ms, went_ms)| Present { came_ms, went_ms }))
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
        .map(|row| of_day(row, date.to_owned()))
        .collect()
}

/// What lies in one day of a stretch.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    date: String,
    present: Present,
    /// Whether the stretch ended there.
    last: bool,
}

/// Cuts a stretch at each midnight.
fn cut(from_ms: i64, until_ms: i64, zone: &TimeZone) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut from = from_ms;
    while from < until_ms {
        let at = Timestamp::from_millisecond(from).map_err(|_| wrong("agent_states.from_ms"))?;
        let day = zone.to_datetime(at).date();
        let next = day.tomorrow().ok().and_then(|next| midnight(next, zone));
        let next = next.ok_or_else(|| wrong("agent_states.until_ms"))?;
        let until = next.min(until_ms);
        pieces.push(Piece {
            date: day.to_string(),
            present: Present {
                came_ms: from,
                went_ms: until,
            },
            last: until == until_ms,
        });
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
        let midnight = from + 60_000;
        let piece = |date: &str, came_ms, went_ms, last| Piece {
            date: date.to_owned(),
            present: Present { came_ms, went_ms },
            last,
        };
        assert_eq!(
            cut(from, from + 120_000, &zone).unwrap(),
            [
                piece("2026-11-23", from, midnight, false),
                piece("2026-11-24", midnight, midnight + 60_000, true)
            ]
        );
        let long = cut(from, from + 2 * day + 120_000, &zone).unwrap();
        assert_eq!(
            long.iter()
                .map(|piece| piece.present.went_ms - piece.present.came_ms)
                .sum::<i64>(),
            2 * day + 120_000
        );
        assert_eq!(long.len(), 4);
        assert_eq!(cut(from, from, &zone).unwrap(), []);
        assert_eq!(cut(from, from - 1, &zone).unwrap(), []);
    }
}
