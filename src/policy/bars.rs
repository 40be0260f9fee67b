//! What bars a call altogether: do-not-call, complaint hold, a death, suspected fraud.
//!
//! A bar is a row that somebody entered and may lift; `store` hands over those in force that cover the call, by
//! number, person, case, client or for everything. No agreement and no rule set opens what is barred.

use serde::{Deserialize, Serialize};

use super::Reason;
use super::facts::words;
use crate::ids::BarId;

words! {
    /// Why a call is barred.
    BarKind {
        /// Somebody with the right to asked that no call be made (禁呼).
        DoNotCall = "do_not_call",
        /// A complaint is being looked into (投诉).
        Complaint = "complaint",
        /// The debtor has died.
        Deceased = "deceased",
        /// The debt may be somebody else's fraud.
        SuspectedFraud = "suspected_fraud",
    }
}

words! {
    /// What a bar covers.
    BarScope {
        /// One number, whoever is reached there.
        Number = "number",
        /// One person: every case of theirs, and their own numbers.
        Person = "person",
        /// One case.
        Case = "case",
        /// Every case of one client.
        Client = "client",
        /// Every call.
        Everything = "everything",
    }
}

/// A bar in force that covers the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarFacts {
    /// The row.
    pub id: BarId,
    /// Why.
    pub kind: BarKind,
    /// What it covers.
    pub scope: BarScope,
    /// Since when, milliseconds UTC.
    pub since_ms: i64,
}

impl BarFacts {
    /// The refusal it means. A bar that is handed over refuses, whatever the clock says.
    pub(super) fn refusal(&self) -> Reason {
        let Self {
            id: bar,
            kind,
            scope,
            since_ms,
        } = *self;
        match kind {
            BarKind::DoNotCall => Reason::DoNotCall {
                bar,
                scope,
                since_ms,
            },
            BarKind::Complaint => Reason::ComplaintHold {
                bar,
                scope,
                since_ms,
            },
            BarKind::Deceased => Reason::Deceased {
                bar,
                scope,
                since_ms,
            },
            BarKind::SuspectedFraud => Reason::SuspectedFraud {
                bar,
                scope,
                since_ms,
            },
        }
    }
}
