//! Caps on how often: so many attempts of one kind, to one party, in one period.
//!
//! A cap is data. A pause after a conversation is a cap too (fewer than one connected call in seven days).
//! An attempt under way counts against every cap, as unanswered and as connected, because it may become
//! either; the transaction that closes it releases what did not happen.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::words;
use super::{Count, Reason, ZoneTimes};

words! {
    /// What a cap counts.
    Measure {
        /// Attempts whose INVITE left and that nobody answered.
        Unanswered = "unanswered",
        /// Attempts that were answered.
        Connected = "connected",
        /// All attempts whose INVITE left.
        Seized = "seized",
    }
}

words! {
    /// Over whom a cap counts.
    Scope {
        /// One number of one person of the case.
        ContactPoint = "contact_point",
        /// The debtor: all contact points of all the debtor's cases.
        Debtor = "debtor",
        /// The case: all its contact points.
        Case = "case",
    }
}

/// The stretch of time a cap counts over: `day`, or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// The calendar day where the person called is; with several plausible zones the one that began first.
    Day,
    /// So many times 24 hours back from now, 1 to 366.
    Days(u16),
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Days(days) => write!(f, "{days}d"),
        }
    }
}

impl std::str::FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "day" {
            return Ok(Self::Day);
        }
        text.strip_suffix('d')
            .and_then(|days| days.parse().ok())
            .filter(|days| (1..=366).contains(days))
            .map(Self::Days)
            .ok_or("a period is `day` or so many days like `7d`, 366 at most")
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// At most `limit` of `measure` over `scope` in `period`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// What is counted.
    pub measure: Measure,
    /// Over whom.
    pub scope: Scope,
    /// Over which stretch of time.
    pub period: Period,
    /// So many are allowed; the next is refused.
    pub limit: u32,
    /// Where this comes from.
    pub clause: String,
}

impl Cap {
    /// Whether two caps limit the same thing, so that the lower limit is the stricter.
    #[must_use]
    pub fn same_subject(&self, other: &Self) -> bool {
        (self.measure, self.scope, self.period) == (other.measure, other.scope, other.period)
    }

    /// From when this cap counts, milliseconds UTC; `None` where no zone is known to say when the day began.
    pub(super) fn since_ms(&self, now_ms: i64, zones: &[ZoneTimes]) -> Option<i64> {
        match self.period {
            Period::Day => zones.iter().map(|zone| zone.day_began_ms(now_ms)).min(),
            Period::Days(days) => Some(now_ms.saturating_sub(i64::from(days) * 86_400_000)),
        }
    }

    /// Refuses when the cap is reached, and when nobody counted far enough back.
    pub(super) fn refusal(
        &self,
        now_ms: i64,
        zones: &[ZoneTimes],
        counts: &[Count],
    ) -> Option<Reason> {
        let since_ms = self.since_ms(now_ms, zones);
        let count = since_ms.and_then(|since_ms| {
            counts
                .iter()
                .filter(|c| c.measure == self.measure && c.scope == self.scope)
                .filter(|c| c.since_ms <= since_ms)
                .max_by_key(|c| c.since_ms)
        });
        let Some(count) = count else {
            return Some(Reason::CounterMissing {
                measure: self.measure,
                scope: self.scope,
                period: self.period,
            });
        };
        (count.settled.saturating_add(count.under_way) >= self.limit).then_some(
            Reason::CapReached {
                measure: self.measure,
                scope: self.scope,
                period: self.period,
                limit: self.limit,
                settled: count.settled,
                under_way: count.under_way,
            },
        )
    }
}
