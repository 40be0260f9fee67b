//! Agents' days: when each came and went, how long he was logged in, ready, talking, in wrap-up and on break, by reason of
//! the break.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{Body, ReportError, Within, heads, number, share};
use crate::{
    export::Cell,
    store::{
        Tx,
        agent_days::{self, Worked},
        agent_states::Doing,
        sql::literal,
        teams,
    },
};

/// Reasons of breaks that get a column; the rest is in the sum of breaks only.
const MOST_REASONS: usize = 16;

impl Worked {
    pub(super) fn logged_in_ms(&self) -> i64 {
        self.ready_ms + self.reserved_ms + self.talk_ms + self.wrap_up_ms + self.break_ms
    }

    /// (reserved + talk + wrap-up) / the time logged in without breaks.
    pub(super) fn occupancy(&self) -> Cell {
        let busy = self.reserved_ms + self.talk_ms + self.wrap_up_ms;
        share(busy, busy + self.ready_ms)
    }
}

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body, ReportError> {
    let members = teams::members(tx).await?;
    let codes: HashMap<_, _> = members.into_iter().map(|m| (m.agent, m.code)).collect();
    let mut sheets = agent_days::sheets(tx, within.from_text, within.to_text).await?;
    sheets.sort_by(|a, b| (&a.date, codes.get(&a.agent)).cmp(&(&b.date, codes.get(&b.agent))));
    let mut breaks = HashMap::<_, Vec<(String, i64)>>::new();
    let mut reasons = BTreeMap::<String, i64>::new();
    for (day, reason, ms) in agent_days::breaks(tx, within.from_text, within.to_text).await? {
        *reasons.entry(reason.clone()).or_default() += ms;
        breaks.entry(day).or_default().push((reason, ms));
    }
    let mut most: Vec<_> = reasons.into_iter().collect();
    most.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
    let left_out = most.len().saturating_sub(MOST_REASONS);
    most.truncate(MOST_REASONS);
    let mut reasons: Vec<String> = most.into_iter().map(|(reason, _)| reason).collect();
    reasons.sort();
    let rows = sheets.into_iter().map(|sheet| {
        let worked = sheet.worked;
        let came = sheet.present.map(|present| present.came_ms);
        let went = sheet.present.map(|present| present.went_ms);
        let day = sheet.date.parse().ok();
        let code = codes.get(&sheet.agent).cloned().unwrap_or_default();
        let mut row = vec![
            Cell::Text(sheet.date.clone()),
            Cell::Text(code),
            Cell::Text(clock(came, day, within.zone)),
            Cell::Text(clock(went, day, within.zone)),
            Cell::Int(worked.logged_in_ms()),
            Cell::Int(worked.ready_ms),
            Cell::Int(worked.reserved_ms),
            Cell::Int(worked.talk_ms),
            Cell::Int(worked.wrap_up_ms),
            Cell::Int(worked.break_ms),
            worked.occupancy(),
            Cell::Int(worked.talks),
            number(came),
            number(went),
        ];
        let breaks = breaks
            .remove(&(sheet.date, sheet.agent))
            .unwrap_or_default();
        row.extend(reasons.iter().map(|reason| {
            let spent = breaks.iter().find(|(of, _)| of == reason);
            Cell::Int(spent.map_or(0, |(_, ms)| *ms))
        }));
        row
    });
    let mut notes = vec![
        "came and went: the first log-in and the last log-out, or the midnight that what was done reaches over; what still \
         lasts is in no day yet; talks: conversations that ended on the day"
            .to_owned(),
    ];
    if left_out > 0 {
        notes.push(format!(
            "{left_out} more reasons of breaks have no column; break_ms holds them"
        ));
    }
    let mut names = heads(&[
        "date",
        "agent",
        "came",
        "went",
        "logged_in_ms",
        "ready_ms",
        "reserved_ms",
        "talk_ms",
        "wrap_up_ms",
        "break_ms",
        "occupancy",
        "talks",
        "came_ms",
        "went_ms",
    ]);
    names.extend(reasons.iter().map(|reason| column(reason)));
    Ok(Body {
        heads: names,
        rows: rows.collect(),
        total: None,
        meanings: vec!["logged_in_ms", "occupancy"],
        notes,
        sealed: false,
        sql_of_total: None,
        sql: sql(&reasons, within)?,
    })
}

/// An instant as the clock of the day shows it; the midnight after it is 24:00:00.
fn clock(at_ms: Option<i64>, day: Option<Date>, zone: &TimeZone) -> String {
    let at = at_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let Some(at) = at.map(|at| zone.to_datetime(at)) else {
        return String::new();
    };
    if day.is_some_and(|day| at.date() > day) {
        return "24:00:00".to_owned();
    }
    at.strftime("%H:%M:%S").to_string()
}

/// Name of the column of a reason.
fn column(reason: &str) -> String {
    match reason {
        "" => "break_without_reason".to_owned(),
        _ => format!("break: {reason}"),
    }
}

fn sql(reasons: &[String], within: &Within<'_>) -> Result<String, ReportError> {
    let (mut shown, mut sums) = (String::new(), String::new());
    for (n, reason) in (1..).zip(reasons) {
        let name = column(reason).replace('"', "\"\"");
        shown.push_str(&format!(", w.b{n} AS \"{name}\""));
        sums.push_str(&format!(
            ",\n             {} AS b{n}",
            summed(&format!(
                "s.state = 'break' AND s.reason = {}",
                literal(reason)
            ))
        ));
    }
    Ok(format!(
        "{}SELECT w.on_date AS date, g.code AS agent, {}, w.talks, w.came_ms, w.went_ms{shown}
FROM (SELECT s.on_date, s.agent_id, MIN(s.from_ms) AS came_ms, MAX(s.until_ms) AS went_ms, {}{sums}
      FROM stretches s
      GROUP BY s.on_date, s.agent_id) AS w JOIN agents g ON g.id = w.agent_id
ORDER BY w.on_date{collate}, g.code{collate}",
        stretches(within)?,
        COLUMNS,
        sums_of_states(),
        collate = within.collate()
    ))
}

/// The columns of work in SQL, from sums as `w`.
pub(super) const COLUMNS: &str =
    "w.logged_in_ms, w.ready_ms, w.reserved_ms, w.talk_ms, w.wrap_up_ms, w.break_ms,
       (w.reserved_ms + w.talk_ms + w.wrap_up_ms) * 1.0
           / NULLIF(w.reserved_ms + w.talk_ms + w.wrap_up_ms + w.ready_ms, 0) AS occupancy";

fn summed(which: &str) -> String {
    format!("CAST(COALESCE(SUM(CASE WHEN {which} THEN s.ms END), 0) AS BIGINT)")
}

/// The sums of `stretches s` by state.
pub(super) fn sums_of_states() -> String {
    let states: String = Doing::ALL
        .iter()
        .map(|state| {
            format!(
                ",\n             {} AS {state}_ms",
                summed(&format!("s.state = '{state}'"))
            )
        })
        .collect();
    format!(
        "CAST(SUM(s.ms) AS BIGINT) AS logged_in_ms{states},
             CAST(SUM(CASE WHEN s.state = 'talk' THEN s.ended ELSE 0 END) AS BIGINT) AS talks"
    )
}

/// `WITH … stretches(on_date, agent_id, state, reason, from_ms, until_ms, ms, ended)`: what agents did, cut at the midnights
/// of the period. The midnights are written out, for SQLite knows no time zones.
pub(super) fn stretches(within: &Within<'_>) -> Result<String, ReportError> {
    let mut days = Vec::new();
    let beyond = || ReportError::Unfit("these days are beyond the calendar".into());
    let all = within.from.series(jiff::Span::new().days(1));
    for day in all.take_while(|day| *day <= within.to) {
        let begin = agent_days::midnight(day, within.zone).ok_or_else(beyond)?;
        let next = day.tomorrow().ok();
        let end = next.and_then(|next| agent_days::midnight(next, within.zone));
        days.push(format!("('{day}', {begin}, {})", end.ok_or_else(beyond)?));
    }
    Ok(format!(
        "WITH days(on_date, from_ms, until_ms) AS (VALUES {}),
     pieces AS (
        SELECT d.on_date, s.agent_id, s.state, s.reason,
               CASE WHEN s.from_ms > d.from_ms THEN s.from_ms ELSE d.from_ms END AS from_ms,
               CASE WHEN s.until_ms < d.until_ms THEN s.until_ms ELSE d.until_ms END AS until_ms,
               CASE WHEN s.until_ms <= d.until_ms THEN 1 ELSE 0 END AS ended
        FROM days d JOIN agent_states s ON s.until_ms > d.from_ms AND s.from_ms < d.until_ms AND s.until_ms > s.from_ms),
     stretches AS (SELECT p.*, p.until_ms - p.from_ms AS ms FROM pieces p)\n",
        days.join(",\n                                                   ")
    ))
}
