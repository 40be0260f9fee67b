//! How long what a call leaves behind must be kept. The vault reads it; nothing here deletes.

use serde::{Deserialize, Serialize};

use super::rules::joined;

/// How long what a call leaves behind is kept: recordings, receipts, attempts, agreements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRules {
    /// Where this comes from.
    pub clause: String,
    /// So many calendar years from the call's end, 2 to 100.
    pub years: u16,
}

impl RetentionRules {
    /// The longer of both: what must be kept longer is kept longer.
    pub(super) fn merge_strictest(&self, other: &Self) -> Self {
        if self.years == other.years {
            return Self {
                clause: joined(&self.clause, &other.clause),
                years: self.years,
            };
        }
        if self.years > other.years {
            self.clone()
        } else {
            other.clone()
        }
    }
}
