//! When a scheduled report is due and which days it is about. Pure: instants come in, instants go out.
//!
//! Times are written in five fields, as for cron, and mean the clock on the wall in the zone shown to operators. An hour
//! that a change of daylight saving leaves out is made up for after it; one that comes twice counts once.

use std::{cmp::Ordering, str::FromStr};

use croner::{
    CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution, Weekday,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use serde::{Deserialize, Serialize};

use super::reports::{Asked, Name};
use crate::store::figures::{Axis, Over};

/// A time that comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable(Cron);

impl FromStr for Timetable {
    type Err = String;

    /// What is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        parser.parse(text).map(Self).map_err(|e| {
            format!(
                "{e}; write minute, hour, day of the month, month and day of the week, such as \"30 7 * * 1-5\""
            )
        })
    }
}

impl Timetable {
    /// The first time after an instant, in milliseconds UTC; `None` if it never comes again.
    #[must_use]
    pub fn next_ms(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        let next = self.0.find_next_occurrence(&local(after_ms, zone)?, false);
        Some(next.ok()?.at.as_millisecond())
    }

    /// The last time at or before an instant.
    #[must_use]
    pub fn last_ms(&self, until_ms: i64, zone: &TimeZone) -> Option<i64> {
        let last = self
            .0
            .find_previous_occurrence(&local(until_ms, zone)?, true);
        Some(last.ok()?.at.as_millisecond())
    }
}

fn local(at_ms: i64, zone: &TimeZone) -> Option<Local> {
    // To the second, as the fields are.
    let at = Timestamp::from_second(at_ms.div_euclid(1_000)).ok()?;
    Some(Local {
        at,
        zone: zone.clone(),
    })
}

/// An instant in a zone, as croner wants to see it (its own adapter is for an older jiff).
#[derive(Debug, Clone)]
struct Local {
    at: Timestamp,
    zone: TimeZone,
}

impl Local {
    fn with(&self, at: Timestamp) -> Self {
        Self {
            at,
            zone: self.zone.clone(),
        }
    }
}

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.zone.to_datetime(self.at);
        CivilDateTime::new(
            // Parts of a date and time that exist.
            CivilDate::from_parts_unchecked(
                at.year().into(),
                at.month().unsigned_abs().into(),
                at.day().unsigned_abs().into(),
            ),
            CivilTime::from_parts_unchecked(
                at.hour().unsigned_abs().into(),
                at.minute().unsigned_abs().into(),
                at.second().unsigned_abs().into(),
            ),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        let day = self.zone.to_datetime(self.at).date();
        let days = day.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(days.unsigned_abs().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |v: u32| i8::try_from(v).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let at = DateTime::new(
            year,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        )
        .map_err(|_| CronError::InvalidDate)?;
        let found = self.zone.to_ambiguous_timestamp(at);
        let wrong = |_| CronError::InvalidTime;
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(self.with(found.unambiguous().map_err(wrong)?))
            }
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(
                self.with(found.earlier().map_err(wrong)?),
                self.with(found.later().map_err(wrong)?),
            ),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let later = self.at.checked_add(SignedDuration::from_secs(seconds));
        later.ok().map(|at| self.with(at))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

/// Which days a scheduled report is about, told by the day on which it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Period {
    /// So many whole days before that day.
    Days(u16),
    /// The week before the one of that day, Monday to Sunday.
    LastWeek,
    /// The calendar month before the one of that day.
    LastMonth,
}

/// Days of the longest period.
const MOST_DAYS: u16 = 366;

impl Period {
    /// First and last day.
    #[must_use]
    pub fn days(self, due: Date) -> Option<(Date, Date)> {
        let span = jiff::Span::new();
        match self {
            Self::Days(n) => Some((
                due.checked_sub(span.days(i64::from(n))).ok()?,
                due.yesterday().ok()?,
            )),
            Self::LastWeek => {
                let into = i64::from(due.weekday().to_monday_zero_offset());
                let monday = due.checked_sub(span.days(into + 7)).ok()?;
                Some((monday, monday.checked_add(span.days(6)).ok()?))
            }
            Self::LastMonth => {
                let last = due.first_of_month().yesterday().ok()?;
                Some((last.first_of_month(), last))
            }
        }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Days(n) => write!(f, "{n}d"),
            Self::LastWeek => f.write_str("last-week"),
            Self::LastMonth => f.write_str("last-month"),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last-week" => Ok(Self::LastWeek),
            "last-month" => Ok(Self::LastMonth),
            _ => text
                .strip_suffix('d')
                .and_then(|days| days.parse().ok())
                .filter(|days| (1..=MOST_DAYS).contains(days))
                .map(Self::Days)
                .ok_or_else(|| {
                    format!("must be 1d to {MOST_DAYS}d for so many days before, last-week or last-month")
                }),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

/// Which report a schedule writes, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its name.
    pub report: String,
    /// Which days.
    pub period: Period,
    /// First axis.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Second axis.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub and: Option<String>,
    /// The time over which they are shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<String>,
    /// Code of the client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<String>,
    /// Days of grace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grace_days: Option<u16>,
}

impl Planned {
    /// What is asked for when it is due.
    ///
    /// # Errors
    /// A stored word that this version does not know.
    pub fn asked(&self, due: Date) -> Result<Asked, String> {
        let name: Name = self.report.parse().map_err(|e| format!("report {e}"))?;
        let axis = |text: &Option<String>| text.as_ref().map(|t| t.parse::<Axis>()).transpose();
        let over = self.over.as_ref().map(|text| text.parse::<Over>());
        let (from, to) = self
            .period
            .days(due)
            .ok_or("the period is beyond the calendar")?;
        Ok(Asked {
            by: axis(&self.by)?,
            and: axis(&self.and)?,
            over: over.transpose()?,
            client: self.client.clone(),
            grace_days: self.grace_days,
            ..Asked::new(name, Some(from), Some(to), due)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn a_time_comes_by_the_clock_on_the_wall() {
        let daily: Timetable = "30 7 * * *".parse().unwrap();
        let shanghai = zone("Asia/Shanghai");
        let at = ms("2026-11-23T23:30:00Z");
        assert_eq!(daily.next_ms(at - 1, &shanghai), Some(at));
        assert_eq!(daily.next_ms(at, &shanghai), Some(at + 86_400_000));
        assert_eq!(daily.next_ms(at + 999, &shanghai), Some(at + 86_400_000));
        assert_eq!(daily.last_ms(at, &shanghai), Some(at));
        assert_eq!(daily.last_ms(at - 1, &shanghai), Some(at - 86_400_000));
        let workdays: Timetable = "0 8 * * 1-5".parse().unwrap();
        // From Friday to Monday.
        assert_eq!(
            workdays.next_ms(ms("2026-11-27T00:00:00Z"), &shanghai),
            Some(ms("2026-11-30T00:00:00Z"))
        );
    }

    #[test]
    fn an_hour_left_out_is_made_up_for_and_one_that_comes_twice_counts_once() {
        let berlin = zone("Europe/Berlin");
        let daily: Timetable = "30 2 * * *".parse().unwrap();
        let spring = daily.next_ms(ms("2026-03-28T12:00:00Z"), &berlin).unwrap();
        assert!((ms("2026-03-29T01:00:00Z")..=ms("2026-03-29T01:30:00Z")).contains(&spring));
        let first = daily.next_ms(ms("2026-10-24T12:00:00Z"), &berlin).unwrap();
        assert_eq!(first, ms("2026-10-25T00:30:00Z"));
        assert_eq!(
            daily.next_ms(first, &berlin),
            Some(ms("2026-10-26T01:30:00Z"))
        );
    }

    #[test]
    fn what_is_no_time_is_said_with_an_example() {
        for text in ["", "7", "61 7 * * *", "0 0 7 * * *", "x 7 * * *"] {
            let error = text.parse::<Timetable>().unwrap_err();
            assert!(error.contains("30 7 * * 1-5"), "{text}: {error}");
        }
        let never: Timetable = "0 0 30 2 *".parse().unwrap();
        assert_eq!(
            never.next_ms(ms("2026-11-23T00:00:00Z"), &TimeZone::UTC),
            None
        );
    }

    #[test]
    fn a_period_is_of_whole_days_before_the_one_it_is_due_on() {
        let days = |text: &str, due: &str| {
            let (from, to) = text
                .parse::<Period>()
                .unwrap()
                .days(due.parse().unwrap())
                .unwrap();
            format!("{from} {to}")
        };
        assert_eq!(days("1d", "2026-11-23"), "2026-11-22 2026-11-22");
        assert_eq!(days("30d", "2026-11-23"), "2026-10-24 2026-11-22");
        assert_eq!(days("last-week", "2026-11-23"), "2026-11-16 2026-11-22");
        assert_eq!(days("last-week", "2026-11-29"), "2026-11-16 2026-11-22");
        assert_eq!(days("last-month", "2026-03-31"), "2026-02-01 2026-02-28");
        for text in ["0d", "367d", "d", "week", "-1d"] {
            assert!(
                text.parse::<Period>().unwrap_err().contains("last-week"),
                "{text}"
            );
        }
    }
}
