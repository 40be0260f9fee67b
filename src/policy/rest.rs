//! Time that must lie between calls: a pause of days after a conversation, a gap of minutes between two tries.
//!
//! Both ask when the last one was over, and both refuse while an attempt is under way that may become one. Times are
//! judged as early as the clock may be wrong, so an uncertain clock waits longer.

use serde::{Deserialize, Serialize};

use super::facts::words;
use super::{Reason, Relation, Scope};
use crate::ids::PersonId;

words! {
    /// After what time must pass.
    After {
        /// An attempt whose INVITE left, answered or not.
        Attempt = "attempt",
        /// An attempt that was answered.
        Conversation = "conversation",
    }
}

/// No call for so many days after a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// A conversation with whom, and whom not to call after it.
    pub scope: Scope,
    /// So many times 24 hours from its end, 1 to 366.
    pub days: u16,
    /// Where this comes from.
    pub clause: String,
}

/// No call for so many minutes after the last try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// A try to reach whom, and whom not to try after it.
    pub scope: Scope,
    /// So many minutes from its end, 1 to 10080 (seven days).
    pub minutes: u32,
    /// Where this comes from.
    pub clause: String,
}

/// The end of the last call of a kind, which the rules ask for; [`super::RuleSet::lasts_needed`] lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastNeeded {
    /// Of what kind.
    pub after: After,
    /// With whom.
    pub scope: Scope,
}

/// When the last call of a kind was over, as `store` read it inside the deciding transaction. With scope `debtor` there
/// may be one for each person the number counts for; all of them are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// Of what kind.
    pub after: After,
    /// With whom.
    pub scope: Scope,
    /// Which person, where the scope is a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// When the last closed one ended, milliseconds UTC; none: there never was one.
    pub ended_ms: Option<i64>,
    /// The latest instant at which another agency's last one may have ended, milliseconds UTC, as far as told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_ms: Option<i64>,
    /// Attempts of the same scope still under way: each may yet become either.
    pub under_way: u32,
}

impl Last {
    fn latest_ms(&self) -> Option<i64> {
        self.ended_ms.max(self.outside_ms)
    }
}

/// What was seen where a rest was asked for.
pub(super) enum Rested {
    /// The scope is third parties, and none is to be called.
    NotAsked,
    /// Nobody read when the last one was.
    Missing,
    /// Long enough ago, or never.
    Passed { latest_ms: Option<i64> },
    /// Too recent, or under way.
    TooSoon {
        latest_ms: Option<i64>,
        under_way: u32,
        until_ms: Option<i64>,
    },
}

fn rested(
    after: After,
    scope: Scope,
    rest_ms: i64,
    earliest_ms: i64,
    relation: Relation,
    lasts: &[Last],
) -> Rested {
    if !scope.applies_to(relation) {
        return Rested::NotAsked;
    }
    let mut seen = false;
    let mut latest_ms = None;
    let mut under_way = 0u32;
    for last in lasts
        .iter()
        .filter(|l| l.after == after && l.scope == scope)
    {
        seen = true;
        latest_ms = latest_ms.max(last.latest_ms());
        under_way = under_way.max(last.under_way);
    }
    if !seen {
        return Rested::Missing;
    }
    let until_ms = latest_ms.map(|ms| ms.saturating_add(rest_ms));
    if under_way == 0 && until_ms.is_none_or(|until_ms| until_ms <= earliest_ms) {
        return Rested::Passed { latest_ms };
    }
    Rested::TooSoon {
        latest_ms,
        under_way,
        until_ms,
    }
}

impl Pause {
    pub(super) fn look(&self, earliest_ms: i64, relation: Relation, lasts: &[Last]) -> Rested {
        let rest_ms = i64::from(self.days) * 86_400_000;
        rested(
            After::Conversation,
            self.scope,
            rest_ms,
            earliest_ms,
            relation,
            lasts,
        )
    }

    pub(super) fn refusal(
        &self,
        earliest_ms: i64,
        relation: Relation,
        lasts: &[Last],
    ) -> Option<Reason> {
        match self.look(earliest_ms, relation, lasts) {
            Rested::NotAsked | Rested::Passed { .. } => None,
            Rested::Missing => Some(Reason::LastMissing {
                after: After::Conversation,
                scope: self.scope,
            }),
            Rested::TooSoon {
                latest_ms,
                under_way,
                until_ms,
            } => Some(Reason::PauseAfterConversation {
                scope: self.scope,
                days: self.days,
                last_ms: latest_ms,
                under_way,
                until_ms,
            }),
        }
    }

    pub(super) fn merge_strictest(mine: &[Self], others: &[Self]) -> Vec<Self> {
        let mut merged = mine.to_vec();
        for other in others {
            match merged.iter_mut().find(|pause| pause.scope == other.scope) {
                Some(pause) if other.days > pause.days => *pause = other.clone(),
                Some(_) => {}
                None => merged.push(other.clone()),
            }
        }
        merged
    }
}

impl Gap {
    pub(super) fn look(&self, earliest_ms: i64, relation: Relation, lasts: &[Last]) -> Rested {
        let rest_ms = i64::from(self.minutes) * 60_000;
        rested(
            After::Attempt,
            self.scope,
            rest_ms,
            earliest_ms,
            relation,
            lasts,
        )
    }

    pub(super) fn refusal(
        &self,
        earliest_ms: i64,
        relation: Relation,
        lasts: &[Last],
    ) -> Option<Reason> {
        match self.look(earliest_ms, relation, lasts) {
            Rested::NotAsked | Rested::Passed { .. } => None,
            Rested::Missing => Some(Reason::LastMissing {
                after: After::Attempt,
                scope: self.scope,
            }),
            Rested::TooSoon {
                latest_ms,
                under_way,
                until_ms,
            } => Some(Reason::TooSoon {
                scope: self.scope,
                minutes: self.minutes,
                last_ms: latest_ms,
                under_way,
                until_ms,
            }),
        }
    }

    pub(super) fn merge_strictest(mine: &[Self], others: &[Self]) -> Vec<Self> {
        let mut merged = mine.to_vec();
        for other in others {
            match merged.iter_mut().find(|gap| gap.scope == other.scope) {
                Some(gap) if other.minutes > gap.minutes => *gap = other.clone(),
                Some(_) => {}
                None => merged.push(other.clone()),
            }
        }
        merged
    }
}
