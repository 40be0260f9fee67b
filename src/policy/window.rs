//! The calling window: at which local times of which days a call may be started.
//!
//! Purely arithmetic over [`ZoneTimes`]. A window that is left and entered again because clocks are changed
//! counts as left: [`Calendar::closes_at`] gives the first instant at which the local time is outside.

use std::fmt;

use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};

use super::holiday::Calendar;
use super::rules::joined;
use super::{SpecialDate, ZoneTimes};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// Hours of one day, `08:00-21:00`: from the first minute on, up to but excluding the last; `24:00` is the day's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First minute of the day at which a call may start.
    from: u16,
    /// First minute at which none may.
    to: u16,
}

impl Span {
    /// A span from minute to minute of the day; `None` unless `from < to <= 1440`.
    #[must_use]
    pub const fn new(from: u16, to: u16) -> Option<Self> {
        if from < to && to <= 1440 {
            Some(Self { from, to })
        } else {
            None
        }
    }

    fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to))
    }

    /// Whether every minute of it lies in one of these.
    pub(super) fn is_within(self, spans: &[Self]) -> bool {
        let mut minute = self.from;
        while minute < self.to {
            let covering = spans.iter().find(|s| s.from <= minute && minute < s.to);
            let Some(covering) = covering else {
                return false;
            };
            minute = covering.to;
        }
        true
    }
}

/// What two lists of spans have in common, in order.
pub(super) fn intersect(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut common: Vec<Span> = a
        .iter()
        .flat_map(|x| b.iter().filter_map(|y| x.intersect(*y)))
        .collect();
    common.sort_unstable();
    common.dedup();
    common
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", a / 60, a % 60, b / 60, b % 60)
    }
}

impl std::str::FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minute = |text: &str| -> Option<u16> {
            let (h, m) = text.split_once(':')?;
            if h.len() != 2
                || m.len() != 2
                || !text.bytes().all(|b| b.is_ascii_digit() || b == b':')
            {
                return None;
            }
            let (h, m): (u16, u16) = (h.parse().ok()?, m.parse().ok()?);
            (h <= 24 && m <= 59).then_some(h * 60 + m)
        };
        text.split_once('-')
            .and_then(|(from, to)| Self::new(minute(from)?, minute(to)?))
            .ok_or("hours are written like `08:00-21:00`, the later one up to `24:00`")
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The hours of each weekday.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Week {
    /// Monday.
    pub mon: Vec<Span>,
    /// Tuesday.
    pub tue: Vec<Span>,
    /// Wednesday.
    pub wed: Vec<Span>,
    /// Thursday.
    pub thu: Vec<Span>,
    /// Friday.
    pub fri: Vec<Span>,
    /// Saturday.
    pub sat: Vec<Span>,
    /// Sunday.
    pub sun: Vec<Span>,
}

impl Week {
    pub(super) fn on(&self, day: Weekday) -> &[Span] {
        match day {
            Weekday::Monday => &self.mon,
            Weekday::Tuesday => &self.tue,
            Weekday::Wednesday => &self.wed,
            Weekday::Thursday => &self.thu,
            Weekday::Friday => &self.fri,
            Weekday::Saturday => &self.sat,
            Weekday::Sunday => &self.sun,
        }
    }

    fn intersect(&self, other: &Self) -> Self {
        Self {
            mon: intersect(&self.mon, &other.mon),
            tue: intersect(&self.tue, &other.tue),
            wed: intersect(&self.wed, &other.wed),
            thu: intersect(&self.thu, &other.thu),
            fri: intersect(&self.fri, &other.fri),
            sat: intersect(&self.sat, &other.sat),
            sun: intersect(&self.sun, &other.sun),
        }
    }
}

/// When calls may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRules {
    /// Where this comes from.
    pub clause: String,
    /// The hours of each weekday, local to the person called.
    pub week: Week,
    /// Dates with hours of their own.
    #[serde(default)]
    pub dates: Vec<SpecialDate>,
}

/// Why an instant is outside the window in one zone.
pub(super) struct Outside {
    /// Local time of the person called.
    pub local: String,
    /// The hours of that day, empty for none.
    pub hours: Vec<Span>,
    /// The name of the special date, if it is one.
    pub date_name: Option<String>,
}

impl WindowRules {
    pub(super) fn special(&self, date: Date) -> Option<&SpecialDate> {
        self.dates.iter().find(|special| special.date == date)
    }

    /// The hours of a date, local to the person called.
    #[must_use]
    pub fn hours_on(&self, date: Date) -> &[Span] {
        match self.special(date) {
            Some(special) => &special.hours,
            None => self.week.on(date.weekday()),
        }
    }

    pub(super) fn merge_strictest(&self, other: &Self) -> Self {
        let mut dates: Vec<SpecialDate> = self
            .dates
            .iter()
            .chain(&other.dates)
            .map(|special| SpecialDate {
                date: special.date,
                name: special.name.clone(),
                hours: intersect(self.hours_on(special.date), other.hours_on(special.date)),
            })
            .collect();
        dates.sort_by_key(|special| special.date);
        dates.dedup_by_key(|special| special.date);
        Self {
            clause: joined(&self.clause, &other.clause),
            week: self.week.intersect(&other.week),
            dates,
        }
    }
}

impl Calendar<'_> {
    /// The first instant after `at_ms` at which the local time is outside the window, if `at_ms` is inside;
    /// never later than the stretch of time that `zone` covers.
    pub(super) fn closes_at(&self, zone: &ZoneTimes, at_ms: i64) -> Result<i64, Outside> {
        let first = zone.local(at_ms);
        let mut at_ms = at_ms;
        let mut inside = false;
        loop {
            let local = zone.local(at_ms);
            let minute_ms = local.of_day_ms;
            let span = self.hours_on(local.date).iter().copied().find(|span| {
                i64::from(span.from) * MINUTE_MS <= minute_ms
                    && minute_ms < i64::from(span.to) * MINUTE_MS
            });
            let Some(span) = span else {
                if inside {
                    return Ok(at_ms);
                }
                return Err(Outside {
                    local: first.text(),
                    hours: self.hours_on(first.date).to_vec(),
                    date_name: self.name_of(first.date),
                });
            };
            inside = true;
            // Both are later than at_ms, so this ends.
            let span_ends = at_ms + (i64::from(span.to) * MINUTE_MS - minute_ms);
            at_ms = span_ends.min(local.offset_ends_ms);
            if at_ms >= zone.until_ms {
                return Ok(zone.until_ms);
            }
        }
    }
}

/// A local time of day, split for comparison.
pub(super) struct Local {
    pub date: Date,
    /// Milliseconds since local midnight by the offset in force.
    pub of_day_ms: i64,
    /// The offset in force, seconds east of UTC.
    pub offset_s: i32,
    /// When another offset comes into force, milliseconds UTC.
    pub offset_ends_ms: i64,
}

impl Local {
    /// Splits a UTC instant by an offset.
    pub fn new(at_ms: i64, offset_s: i32, offset_ends_ms: i64) -> Self {
        let local_ms = at_ms.saturating_add(i64::from(offset_s) * 1000);
        Self {
            date: date_of(local_ms.div_euclid(DAY_MS)),
            of_day_ms: local_ms.rem_euclid(DAY_MS),
            offset_s,
            offset_ends_ms,
        }
    }

    /// `2026-11-23T08:00:00.000+08:00`.
    pub fn text(&self) -> String {
        let s = self.of_day_ms / 1000;
        let sign = if self.offset_s < 0 { '-' } else { '+' };
        let offset = self.offset_s.unsigned_abs();
        format!(
            "{}T{:02}:{:02}:{:02}.{:03}{sign}{:02}:{:02}",
            self.date,
            s / 3600,
            s / 60 % 60,
            s % 60,
            self.of_day_ms % 1000,
            offset / 3600,
            offset / 60 % 60,
        )
    }
}

/// The date so many days after 1970-01-01, clamped to what a date can be.
pub(super) fn date_of(days: i64) -> Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX });
    epoch.saturating_add(jiff::Span::new().days(days.clamp(-700_000, 2_900_000)))
}
