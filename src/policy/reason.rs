//! Why a call was refused: a stable code for programs, a sentence for people, the clause for the auditor.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CaseState, Measure, Period, RuleSet, Scope, Span};
use crate::clock::Distrust;

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
    /// The contact point belongs to another case.
    NotOfThisCase,
    /// The number must never be called.
    NumberBarred,
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
            Reason::CaseNotOpen { .. } => {
                "C14: only an open case is worked (结案、停催案件不得致电)".into()
            }
            Reason::NotOfThisCase => {
                "T1: a call is for a number of its own case (只能拨打本案号码)".into()
            }
            Reason::NumberBarred => {
                "T11: a number that must not be called is not called (禁拨号码)".into()
            }
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

fn hours(spans: &[Span], none: &str) -> String {
    if spans.is_empty() {
        return none.to_owned();
    }
    let texts: Vec<String> = spans.iter().map(Span::to_string).collect();
    texts.join(", ")
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ClockUntrusted { .. } => "clock_untrusted",
            Self::ClockUncertain { .. } => "clock_uncertain",
            Self::CaseNotOpen { .. } => "case_not_open",
            Self::NotOfThisCase => "not_of_this_case",
            Self::NumberBarred => "number_barred",
            Self::ThirdPartyLocked { .. } => "third_party_locked",
            Self::ThirdPartyRefused => "third_party_refused",
            Self::ZoneUnknown => "zone_unknown",
            Self::ZoneInvalid { .. } => "zone_invalid",
            Self::OutsideWindow { .. } => "outside_window",
            Self::WindowClosing { .. } => "window_closing",
            Self::CapReached { .. } => "cap_reached",
            Self::CounterMissing { .. } => "counter_missing",
        }
    }

    /// A sentence in English.
    #[must_use]
    pub fn english(&self) -> String {
        match self {
            Self::ClockUntrusted { why } => {
                format!("The clock of this machine cannot be trusted: {why}.")
            }
            Self::ClockUncertain { error_ms, zone } => {
                format!(
                    "The clock may be off by {error_ms} ms, and in {zone} the window is closer than that."
                )
            }
            Self::CaseNotOpen { state } => format!("The case is not open ({}).", state.as_str()),
            Self::NotOfThisCase => "This contact point belongs to another case.".into(),
            Self::NumberBarred => "This number must not be called.".into(),
            Self::ThirdPartyLocked {
                own_numbers,
                invalid,
                failures_in_a_row,
                failures_needed,
            } => format!(
                "Third parties are locked until the debtor is out of contact: {invalid} of {own_numbers} own \
                 numbers are invalid, {failures_in_a_row} of {failures_needed} attempts in a row failed."
            ),
            Self::ThirdPartyRefused => "This person asked not to be called again.".into(),
            Self::ZoneUnknown => "Nothing says in which time zone this number rings.".into(),
            Self::ZoneInvalid { zone } => format!("{zone:?} is not a time zone."),
            Self::OutsideWindow {
                zone,
                local,
                hours: spans,
                day,
            } => format!(
                "In {zone} it is {local}; {}calls may start {}.",
                day.as_ref()
                    .map(|day| format!("on {day} "))
                    .unwrap_or_default(),
                hours(spans, "at no time")
            ),
            Self::WindowClosing {
                zone,
                left_ms,
                needed_ms,
            } => format!(
                "The window in {zone} is closing: {left_ms} ms are left to ring, {needed_ms} ms are needed."
            ),
            Self::CapReached {
                measure,
                scope,
                period,
                limit,
                settled,
                under_way,
            } => format!(
                "{} of {limit} {} calls to this {} in the period {period}, and {under_way} under way.",
                settled,
                measure.as_str(),
                scope.as_str().replace('_', " ")
            ),
            Self::CounterMissing {
                measure,
                scope,
                period,
            } => format!(
                "The {} calls to this {} in the period {period} could not be counted.",
                measure.as_str(),
                scope.as_str().replace('_', " ")
            ),
        }
    }

    /// A sentence in Chinese.
    #[must_use]
    pub fn chinese(&self) -> String {
        let period = |period: &Period| match period {
            Period::Day => "当日".to_owned(),
            Period::Days(days) => format!("{days}日内"),
        };
        let measure = |measure: &Measure| match measure {
            Measure::Unanswered => "未接通",
            Measure::Connected => "接通",
            Measure::Seized => "拨打",
        };
        let scope = |scope: &Scope| match scope {
            Scope::ContactPoint => "该号码",
            Scope::Debtor => "该欠款人",
            Scope::Case => "该案件",
        };
        match self {
            Self::ClockUntrusted { why } => format!("本机时钟不可信：{}。", why.chinese()),
            Self::ClockUncertain { error_ms, zone } => {
                format!("本机时钟误差可达{error_ms}毫秒，{zone}距可拨打时段边界不足此误差。")
            }
            Self::CaseNotOpen { state } => {
                let state = match state {
                    CaseState::Open => "在催",
                    CaseState::Paused => "停催",
                    CaseState::Settled => "已结清",
                    CaseState::Returned => "已退案",
                    CaseState::Closed => "已结案",
                };
                format!("案件不在催收状态（{state}）。")
            }
            Self::NotOfThisCase => "该号码不属于本案件。".into(),
            Self::NumberBarred => "该号码禁止拨打。".into(),
            Self::ThirdPartyLocked {
                own_numbers,
                invalid,
                failures_in_a_row,
                failures_needed,
            } => format!(
                "债务人未失联，不得联系第三人：本人号码{own_numbers}个，其中无效{invalid}个，\
                 连续未接通{failures_in_a_row}次（须{failures_needed}次）。"
            ),
            Self::ThirdPartyRefused => "该联系人已明确拒绝，不得再次拨打。".into(),
            Self::ZoneUnknown => "无法确定该号码所在时区。".into(),
            Self::ZoneInvalid { zone } => format!("时区{zone:?}不存在。"),
            Self::OutsideWindow {
                zone,
                local,
                hours: spans,
                day,
            } => format!(
                "被叫所在地{zone}当地时间{local}{}，可拨打时段：{}。",
                day.as_ref()
                    .map(|day| format!("（{day}）"))
                    .unwrap_or_default(),
                hours(spans, "无")
            ),
            Self::WindowClosing {
                zone,
                left_ms,
                needed_ms,
            } => {
                format!(
                    "{zone}可拨打时段即将结束：剩余振铃时间{left_ms}毫秒，至少须{needed_ms}毫秒。"
                )
            }
            Self::CapReached {
                measure: m,
                scope: s,
                period: p,
                limit,
                settled,
                under_way,
            } => format!(
                "{}{}{}已达{settled}次（上限{limit}次），另有进行中{under_way}次。",
                scope(s),
                period(p),
                measure(m)
            ),
            Self::CounterMissing {
                measure: m,
                scope: s,
                period: p,
            } => {
                format!("{}{}{}次数无法统计。", scope(s), period(p), measure(m))
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.english())
    }
}
