//! Caps on how often: so many attempts of one kind, to one party, in one period.
//!
//! A cap is data. Calls that a client's other agencies made count beside ours, as they were told (`outside`).
//! An attempt under way counts against every cap, as unanswered and as connected, because it may become
//! either; the transaction that closes it releases what did not happen.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::words;
use super::{Count, Reason, Relation, ZoneTimes};
use crate::ids::PersonId;

words! {
    /// What a cap counts.
    Measure {
        /// Attempts whose INVITE left and that nobody answered.
        Unanswered = "unanswered",
        /// Attempts that were answered.
        Connected = "connected",
        /// All attempts whose INVITE left.
        Seized = "seized",
        /// Attempts that were answered and lasted as long as the cap says, from answer to hang-up.
        Effective = "effective",
    }
}

words! {
    /// Over whom a cap counts.
    Scope {
        /// One number of one person of the case.
        ContactPoint = "contact_point",
        /// The debtor as a person: all contact points of all their cases, and their own numbers wherever else they stand.
        Debtor = "debtor",
        /// The case: all its contact points.
        Case = "case",
        /// One number, as far as a third party was called there; asked only before calling a third party.
        ThirdParty = "third_party",
        /// All third parties of the case; asked only before calling a third party.
        ThirdPartiesOfCase = "third_parties_of_case",
        /// All third parties of all the debtor's cases; asked only before calling a third party.
        ThirdPartiesOfDebtor = "third_parties_of_debtor",
    }
}

impl Scope {
    /// Whether only calls to third parties are counted, and only they are limited.
    #[must_use]
    pub const fn is_of_third_parties(self) -> bool {
        matches!(
            self,
            Self::ThirdParty | Self::ThirdPartiesOfCase | Self::ThirdPartiesOfDebtor
        )
    }

    /// Whether a call to such a person is limited by what is counted over this scope.
    #[must_use]
    pub const fn applies_to(self, relation: Relation) -> bool {
        !self.is_of_third_parties() || relation.is_third_party()
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
    /// With `effective`: shorter calls do not count, milliseconds from answer to hang-up; 0: every answered call counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_least_ms: i64,
    /// Where this comes from.
    pub clause: String,
}

fn is_zero(ms: &i64) -> bool {
    *ms == 0
}

/// What was seen where a cap was asked for.
pub(super) enum Counted {
    /// The scope is third parties, and none is to be called.
    NotAsked,
    /// Nobody counted, or not far enough back.
    Missing,
    /// Below the limit; the fullest of the counters that were read.
    Below(Count),
    /// At the limit or above. `exact`: the counter goes back just as far as the cap asks, not further.
    Reached { count: Count, exact: bool },
}

impl Cap {
    /// Whether two caps limit the same thing, so that the lower limit is the stricter.
    #[must_use]
    pub fn same_subject(&self, other: &Self) -> bool {
        (self.measure, self.scope, self.period, self.at_least_ms)
            == (other.measure, other.scope, other.period, other.at_least_ms)
    }

    /// From when this cap counts, milliseconds UTC; `None` where no zone is known to say when the day began.
    pub(super) fn since_ms(&self, now_ms: i64, zones: &[ZoneTimes]) -> Option<i64> {
        match self.period {
            Period::Day => zones.iter().map(|zone| zone.day_began_ms(now_ms)).min(),
            Period::Days(days) => Some(now_ms.saturating_sub(i64::from(days) * 86_400_000)),
        }
    }

    /// Looks the counter up. Of several persons whom the number counts for, the one with the fullest counter is judged;
    /// of several counters of one person, the one that goes back least beyond what is asked.
    pub(super) fn look(
        &self,
        now_ms: i64,
        zones: &[ZoneTimes],
        relation: Relation,
        counts: &[Count],
    ) -> Counted {
        if !self.scope.applies_to(relation) {
            return Counted::NotAsked;
        }
        let Some(since_ms) = self.since_ms(now_ms, zones) else {
            return Counted::Missing;
        };
        let asked = |count: &&Count| {
            (count.measure, count.scope, count.at_least_ms)
                == (self.measure, self.scope, self.at_least_ms)
        };
        let best_of = |person: Option<PersonId>| {
            counts
                .iter()
                .filter(asked)
                .filter(|count| count.person == person && count.since_ms <= since_ms)
                .max_by_key(|count| count.since_ms)
        };
        let mut fullest: Option<&Count> = None;
        for count in counts.iter().filter(asked) {
            // Whoever is counted at all must be counted far enough back.
            let Some(best) = best_of(count.person) else {
                return Counted::Missing;
            };
            if fullest.is_none_or(|known| best.total() > known.total()) {
                fullest = Some(best);
            }
        }
        match fullest {
            None => Counted::Missing,
            Some(count) if count.total() < self.limit => Counted::Below(*count),
            Some(count) => Counted::Reached {
                count: *count,
                exact: count.since_ms == since_ms,
            },
        }
    }

    /// Refuses when the cap is reached, and when nobody counted far enough back.
    pub(super) fn refusal(
        &self,
        now_ms: i64,
        zones: &[ZoneTimes],
        relation: Relation,
        counts: &[Count],
    ) -> Option<Reason> {
        match self.look(now_ms, zones, relation, counts) {
            Counted::NotAsked | Counted::Below(_) => None,
            Counted::Missing => Some(Reason::CounterMissing {
                measure: self.measure,
                scope: self.scope,
                period: self.period,
            }),
            Counted::Reached { count, .. } => Some(Reason::CapReached {
                measure: self.measure,
                scope: self.scope,
                period: self.period,
                limit: self.limit,
                settled: count.settled,
                under_way: count.under_way,
                outside: count.outside,
            }),
        }
    }
}
