//! Why a call was refused: a stable code for programs, a sentence for people, the clause for the auditor.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{After, BarScope, CaseState, Measure, Period, RuleSet, Scope, Span};
use crate::clock::Distrust;
use crate::ids::BarId;

/// One reason, with what it was judged by. The codes never change their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The wall clock cannot be trusted, so nobody knows whether the window is open.
    ClockUntrusted {
        /// What is wrong with it.
        why: Distrust,
    },
    /// The clock is trusted only to within an error that reaches beyond the window.
    ClockUncertain {
        /// The error, milliseconds either way.
        error_ms: i64,
        /// The zone whose window is that close.
        zone: String,
    },
    /// The case is not being worked.
    CaseNotOpen {
        /// Where it stands.
        state: CaseState,
    },
    /// The case is still being imported; nobody sees it yet.
    CaseHidden,
    /// The contact point belongs to another case.
    NotOfThisCase,
    /// The number must never be called. Evaluator 1 only; now it is `do_not_call`.
    NumberBarred,
    /// Somebody with the right to asked that no call be made.
    DoNotCall {
        /// The bar.
        bar: BarId,
        /// What it covers.
        scope: BarScope,
        /// Since when, milliseconds UTC.
        since_ms: i64,
    },
    /// A complaint is being looked into.
    ComplaintHold {
        /// The bar.
        bar: BarId,
        /// What it covers.
        scope: BarScope,
        /// Since when, milliseconds UTC.
        since_ms: i64,
    },
    /// The debtor has died.
    Deceased {
        /// The bar.
        bar: BarId,
        /// What it covers.
        scope: BarScope,
        /// Since when, milliseconds UTC.
        since_ms: i64,
    },
    /// The debt may be somebody else's fraud.
    SuspectedFraud {
        /// The bar.
        bar: BarId,
        /// What it covers.
        scope: BarScope,
        /// Since when, milliseconds UTC.
        since_ms: i64,
    },
    /// A third party, and the debtor is not out of contact.
    ThirdPartyLocked {
        /// How many numbers of their own the debtor has.
        own_numbers: u32,
        /// How many of them are invalid.
        invalid: u32,
        /// Failures in a row on them.
        failures_in_a_row: u32,
        /// How many failures are needed.
        failures_needed: u32,
    },
    /// A third party who asked not to be called again.
    ThirdPartyRefused,
    /// Nothing says in which zone the number rings.
    ZoneUnknown,
    /// A zone on record does not exist.
    ZoneInvalid {
        /// What was on record.
        zone: String,
    },
    /// It is not calling time where the person called may be.
    OutsideWindow {
        /// The zone.
        zone: String,
        /// Local time there.
        local: String,
        /// The hours of that day there, empty for a day without calls.
        hours: Vec<Span>,
        /// The name of the day, if it has hours of its own.
        day: Option<String>,
    },
    /// It is still calling time, but too little of it is left to ring.
    WindowClosing {
        /// The zone whose window closes first.
        zone: String,
        /// How long it could ring, milliseconds.
        left_ms: i64,
        /// How long it must be able to, milliseconds.
        needed_ms: i64,
    },
    /// A cap on how often is reached.
    CapReached {
        /// What is counted.
        measure: Measure,
        /// Over whom.
        scope: Scope,
        /// Over which stretch of time.
        period: Period,
        /// So many are allowed.
        limit: u32,
        /// So many have been.
        settled: u32,
        /// So many are under way and may become one.
        under_way: u32,
        /// So many were made by the client's other agencies.
        #[serde(default, skip_serializing_if = "none_outside")]
        outside: u32,
    },
    /// A counter that a cap needs was not read, or not far enough back.
    CounterMissing {
        /// What should have been counted.
        measure: Measure,
        /// Over whom.
        scope: Scope,
        /// Over which stretch of time.
        period: Period,
    },
    /// Too few days have passed since a conversation.
    PauseAfterConversation {
        /// With whom.
        scope: Scope,
        /// So many days must pass.
        days: u16,
        /// When the last conversation was over, milliseconds UTC, if there was one.
        last_ms: Option<i64>,
        /// So many attempts are under way and may become one.
        under_way: u32,
        /// When the pause is over, milliseconds UTC, as far as known.
        until_ms: Option<i64>,
    },
    /// Too few minutes have passed since the last try.
    TooSoon {
        /// Of whom.
        scope: Scope,
        /// So many minutes must pass.
        minutes: u32,
        /// When the last try was over, milliseconds UTC, if there was one.
        last_ms: Option<i64>,
        /// So many attempts are under way.
        under_way: u32,
        /// When the gap is over, milliseconds UTC, as far as known.
        until_ms: Option<i64>,
    },
    /// When the last call was, which a pause or a gap needs, was not read.
    LastMissing {
        /// The last what.
        after: After,
        /// With whom.
        scope: Scope,
    },
}

fn none_outside(calls: &u32) -> bool {
    *calls == 0
}

/// One reason together with the clause it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// The clause of the rules.
    pub clause: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, rules: &RuleSet) -> Self {
        let clause = match &reason {
            Reason::ClockUntrusted { .. }
            | Reason::ClockUncertain { .. }
            | Reason::ZoneUnknown
            | Reason::ZoneInvalid { .. }
            | Reason::OutsideWindow { .. } => rules.window.clause.clone(),
            Reason::WindowClosing { .. } => rules.ring.clause.clone(),
            Reason::CaseNotOpen { .. } | Reason::CaseHidden => {
                "C14: only an open case is worked (结案、停催案件不得致电)".into()
            }
            Reason::NotOfThisCase => {
                "T1: a call is for a number of its own case (只能拨打本案号码)".into()
            }
            Reason::NumberBarred => {
                "T11: a number that must not be called is not called (禁拨号码)".into()
            }
            Reason::DoNotCall { .. } => {
                "T11: who must not be called is not called (禁呼名单)".into()
            }
            Reason::ComplaintHold { .. } => {
                "C19: no call while a complaint is looked into (投诉处理期间停催)".into()
            }
            Reason::Deceased { .. } => {
                "C16: deceased cases are not worked (债务人身故，停止催收)".into()
            }
            Reason::SuspectedFraud { .. } => {
                "C20: suspected fraud is not worked (疑似欺诈，停止催收)".into()
            }
            Reason::PauseAfterConversation { scope, .. } => pause_clause(rules, *scope),
            Reason::TooSoon { scope, .. } => gap_clause(rules, *scope),
            Reason::LastMissing { after, scope } => match after {
                After::Conversation => pause_clause(rules, *scope),
                After::Attempt => gap_clause(rules, *scope),
            },
            Reason::ThirdPartyLocked { .. } | Reason::ThirdPartyRefused => {
                rules.third_party.clause.clone()
            }
            Reason::CapReached {
                measure,
                scope,
                period,
                ..
            }
            | Reason::CounterMissing {
                measure,
                scope,
                period,
            } => rules
                .caps
                .iter()
                .find(|cap| (cap.measure, cap.scope, cap.period) == (*measure, *scope, *period))
                .map(|cap| cap.clause.clone())
                .unwrap_or_default(),
        };
        Self { reason, clause }
    }
}

fn pause_clause(rules: &RuleSet, scope: Scope) -> String {
    let pause = rules.pauses.iter().find(|pause| pause.scope == scope);
    pause.map(|pause| pause.clause.clone()).unwrap_or_default()
}

fn gap_clause(rules: &RuleSet, scope: Scope) -> String {
    let gap = rules.gaps.iter().find(|gap| gap.scope == scope);
    gap.map(|gap| gap.clause.clone()).unwrap_or_default()
}

/// The stable code of each reason.
macro_rules! codes {
    ($($reason:pat => $code:literal,)*) => {
        impl Reason {
            /// Every code.
            pub const CODES: &[&'static str] = &[$($code),*];

            /// The stable code.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $($reason => $code),* }
            }
        }
    };
}
codes! {
    Self::ClockUntrusted { .. } => "clock_untrusted",
    Self::ClockUncertain { .. } => "clock_uncertain",
    Self::CaseNotOpen { .. } => "case_not_open",
    Self::CaseHidden => "case_hidden",
    Self::NotOfThisCase => "not_of_this_case",
    Self::NumberBarred => "number_barred",
    Self::DoNotCall { .. } => "do_not_call",
    Self::ComplaintHold { .. } => "complaint_hold",
    Self::Deceased { .. } => "deceased",
    Self::SuspectedFraud { .. } => "suspected_fraud",
    Self::ThirdPartyLocked { .. } => "third_party_locked",
    Self::ThirdPartyRefused => "third_party_refused",
    Self::ZoneUnknown => "zone_unknown",
    Self::ZoneInvalid { .. } => "zone_invalid",
    Self::OutsideWindow { .. } => "outside_window",
    Self::WindowClosing { .. } => "window_closing",
    Self::CapReached { .. } => "cap_reached",
    Self::CounterMissing { .. } => "counter_missing",
    Self::PauseAfterConversation { .. } => "pause_after_conversation",
    Self::TooSoon { .. } => "too_soon",
    Self::LastMissing { .. } => "last_missing",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.english())
    }
}
