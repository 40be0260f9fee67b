//! The third-party lock: who owes nothing is called only once the debtor is out of contact, and never again
//! after saying no.
//!
//! Loss of contact is on record when every own number of the debtor is invalid (and there is at least one:
//! a case without any own number proves nothing), or when so many attempts to them in a row failed. What makes a number
//! invalid for a debtor is said at [`OwnNumbers::invalid`].

use serde::{Deserialize, Serialize};

use super::{ContactPointFacts, OwnNumbers, Reason};

/// When a third party may be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThirdPartyRules {
    /// Third parties are locked until loss of contact is on record.
    pub lock: bool,
    /// So many failures in a row on the debtor's own numbers are loss of contact; at least 1.
    pub failures_in_a_row: u32,
    /// Where this comes from.
    pub clause: String,
}

impl ThirdPartyRules {
    /// Whether the debtor is out of contact.
    #[must_use]
    pub fn contact_is_lost(&self, own: &OwnNumbers) -> bool {
        let all_invalid = own.total > 0 && own.invalid >= own.total;
        all_invalid || own.failures_in_a_row >= self.failures_in_a_row.max(1)
    }

    /// Whether third parties are locked, as long as the debtor is in contact.
    #[must_use]
    pub fn locks(&self, own: &OwnNumbers) -> bool {
        self.lock && !self.contact_is_lost(own)
    }

    pub(super) fn refusal(&self, point: &ContactPointFacts, own: &OwnNumbers) -> Option<Reason> {
        if !point.relation.is_third_party() {
            return None;
        }
        // A refusal locks for good, whatever the rules lock otherwise.
        if point.refused {
            return Some(Reason::ThirdPartyRefused);
        }
        self.locks(own).then_some(Reason::ThirdPartyLocked {
            own_numbers: own.total,
            invalid: own.invalid,
            failures_in_a_row: own.failures_in_a_row,
            failures_needed: self.failures_in_a_row.max(1),
        })
    }

    pub(super) fn merge_strictest(&self, other: &Self) -> Self {
        // Both may lock with different evidence: then contact is lost only when both would say so.
        match (self.lock, other.lock) {
            (true, false) => self.clone(),
            (false, true) => other.clone(),
            _ if self.failures_in_a_row >= other.failures_in_a_row => self.clone(),
            _ => other.clone(),
        }
    }
}
