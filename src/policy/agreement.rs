//! Agreements (约定): hours that a person agreed to be called in, beside the usual ones.
//!
//! An agreement widens the hours of ordinary days and nothing else. It is looked at only when the usual hours refuse; it
//! opens no special day, no cap, no bar, no closed case and no unknown zone, and the guard at the end of the window
//! holds for its hours as well. Which agreements are for the number called is the reader's to say.

use serde::{Deserialize, Serialize};

use super::Week;
use super::rules::joined;
use crate::ids::AgreementId;

/// Whether agreements count, and what they need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementRules {
    /// Where this comes from.
    pub clause: String,
    /// Whether an agreement widens the hours at all.
    pub accepted: bool,
    /// An agreement counts only once a second person has approved it.
    pub two_persons: bool,
}

impl AgreementRules {
    pub(super) fn merge_strictest(&self, other: &Self) -> Self {
        Self {
            clause: joined(&self.clause, &other.clause),
            accepted: self.accepted && other.accepted,
            two_persons: self.two_persons || other.two_persons,
        }
    }
}

/// An agreement for the number called that is neither revoked nor refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementFacts {
    /// The row.
    pub id: AgreementId,
    /// The agreed hours of each weekday, local to the person.
    pub hours: Week,
    /// From when it holds, milliseconds UTC.
    pub from_ms: i64,
    /// Until when, milliseconds UTC, exclusive; no phone rings on after it.
    pub until_ms: i64,
    /// How many calls it still allows, those under way taken off; none: as many as the caps allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// A second person approved it.
    pub approved: bool,
}

/// Why an agreement does not count now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    NotAccepted,
    NotApproved,
    UsedUp,
    NotYet,
    Expired,
}

impl AgreementFacts {
    /// Whether it counts at an instant known to within `error_ms`.
    pub(super) fn usable(
        &self,
        rules: Option<&AgreementRules>,
        now_ms: i64,
        error_ms: i64,
    ) -> Result<(), Unusable> {
        let Some(rules) = rules.filter(|rules| rules.accepted) else {
            return Err(Unusable::NotAccepted);
        };
        if rules.two_persons && !self.approved {
            return Err(Unusable::NotApproved);
        }
        if self.uses_left == Some(0) {
            return Err(Unusable::UsedUp);
        }
        if now_ms.saturating_sub(error_ms) < self.from_ms {
            return Err(Unusable::NotYet);
        }
        if now_ms.saturating_add(error_ms) >= self.until_ms {
            return Err(Unusable::Expired);
        }
        Ok(())
    }
}
