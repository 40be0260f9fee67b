//! What refusals say to people, in English and in Chinese, and the words they share with [`super::explain`].
//!
//! Instants are written in UTC; local times of the person called come with their offset.

use super::{After, BarScope, CaseState, Measure, Period, Reason, Scope, Span};

/// Hours as text, or what to say for a day without any.
pub(super) fn hours(spans: &[Span], none: &str) -> String {
    if spans.is_empty() {
        return none.to_owned();
    }
    let texts: Vec<String> = spans.iter().map(Span::to_string).collect();
    texts.join(", ")
}

/// An instant, `2026-11-23T02:00:00Z`.
pub(super) fn utc(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |at| at.to_string())
}

/// English words.
pub(super) mod english {
    use super::{BarScope, Scope};

    pub fn scope(scope: Scope) -> &'static str {
        match scope {
            Scope::ContactPoint => "this number",
            Scope::Debtor => "this debtor",
            Scope::Case => "this case",
            Scope::ThirdParty => "this third party",
            Scope::ThirdPartiesOfCase => "the third parties of this case",
            Scope::ThirdPartiesOfDebtor => "the third parties of this debtor",
        }
    }

    pub fn bar_scope(scope: BarScope) -> &'static str {
        match scope {
            BarScope::Number => "this number",
            BarScope::Person => "this person",
            BarScope::Case => "this case",
            BarScope::Client => "every case of this client",
            BarScope::Everything => "everything",
        }
    }
}

/// Chinese words.
pub(super) mod chinese {
    use super::{After, BarScope, CaseState, Measure, Period, Scope};

    pub fn scope(scope: Scope) -> &'static str {
        match scope {
            Scope::ContactPoint => "该号码",
            Scope::Debtor => "该欠款人",
            Scope::Case => "该案件",
            Scope::ThirdParty => "该第三人",
            Scope::ThirdPartiesOfCase => "该案件各第三人",
            Scope::ThirdPartiesOfDebtor => "该欠款人各第三人",
        }
    }

    pub fn bar_scope(scope: BarScope) -> &'static str {
        match scope {
            BarScope::Number => "该号码",
            BarScope::Person => "该人",
            BarScope::Case => "该案件",
            BarScope::Client => "该委托方全部案件",
            BarScope::Everything => "全部号码",
        }
    }

    pub fn period(period: Period) -> String {
        match period {
            Period::Day => "当日".to_owned(),
            Period::Days(days) => format!("{days}日内"),
        }
    }

    pub fn measure(measure: Measure) -> &'static str {
        match measure {
            Measure::Unanswered => "未接通",
            Measure::Connected => "接通",
            Measure::Seized => "拨打",
            Measure::Effective => "有效通话",
        }
    }

    pub fn after(after: After) -> &'static str {
        match after {
            After::Attempt => "拨打",
            After::Conversation => "通话",
        }
    }

    pub fn case_state(state: CaseState) -> &'static str {
        match state {
            CaseState::Open => "在催",
            CaseState::Paused => "停催",
            CaseState::Settled => "已结清",
            CaseState::Returned => "已退案",
            CaseState::Closed => "已结案",
        }
    }
}

impl Reason {
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
            Self::CaseHidden => "The case is still being imported.".into(),
            Self::NotOfThisCase => "This contact point belongs to another case.".into(),
            Self::NumberBarred => "This number must not be called.".into(),
            Self::DoNotCall {
                scope, since_ms, ..
            } => format!(
                "Not to be called: {} has been barred since {}.",
                english::bar_scope(*scope),
                utc(*since_ms)
            ),
            Self::ComplaintHold {
                scope, since_ms, ..
            } => format!(
                "A complaint is being looked into: {} is on hold since {}.",
                english::bar_scope(*scope),
                utc(*since_ms)
            ),
            Self::Deceased { since_ms, .. } => {
                format!("The debtor has died, on record since {}.", utc(*since_ms))
            }
            Self::SuspectedFraud {
                scope, since_ms, ..
            } => format!(
                "Fraud is suspected: {} is on hold since {}.",
                english::bar_scope(*scope),
                utc(*since_ms)
            ),
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
                outside,
            } => format!(
                "{settled} of {limit} {} calls to {} in the period {period}, {under_way} under way, {outside} by other agencies.",
                measure.as_str(),
                english::scope(*scope)
            ),
            Self::CounterMissing {
                measure,
                scope,
                period,
            } => format!(
                "The {} calls to {} in the period {period} could not be counted.",
                measure.as_str(),
                english::scope(*scope)
            ),
            Self::PauseAfterConversation {
                scope,
                days,
                last_ms,
                under_way,
                until_ms,
            } => format!(
                "For {days} days after a conversation with {} no call is made: the last one ended {}, {under_way} calls \
                 are under way; the pause is over {}.",
                english::scope(*scope),
                last_ms.map_or_else(|| "never".to_owned(), utc),
                until_ms.map_or_else(|| "when they are".to_owned(), utc),
            ),
            Self::TooSoon {
                scope,
                minutes,
                last_ms,
                under_way,
                until_ms,
            } => format!(
                "Between two calls to {} lie at least {minutes} minutes: the last one ended {}, {under_way} calls are \
                 under way; the next may start {}.",
                english::scope(*scope),
                last_ms.map_or_else(|| "never".to_owned(), utc),
                until_ms.map_or_else(|| "after them".to_owned(), utc),
            ),
            Self::LastMissing { after, scope } => format!(
                "It could not be looked up when the last {} with {} was.",
                after.as_str(),
                english::scope(*scope)
            ),
        }
    }

    /// A sentence in Chinese.
    #[must_use]
    pub fn chinese(&self) -> String {
        match self {
            Self::ClockUntrusted { why } => format!("本机时钟不可信：{}。", why.chinese()),
            Self::ClockUncertain { error_ms, zone } => {
                format!("本机时钟误差可达{error_ms}毫秒，{zone}距可拨打时段边界不足此误差。")
            }
            Self::CaseNotOpen { state } => {
                format!("案件不在催收状态（{}）。", chinese::case_state(*state))
            }
            Self::CaseHidden => "案件尚在导入。".into(),
            Self::NotOfThisCase => "该号码不属于本案件。".into(),
            Self::NumberBarred => "该号码禁止拨打。".into(),
            Self::DoNotCall {
                scope, since_ms, ..
            } => format!(
                "{}自{}起列入禁呼名单。",
                chinese::bar_scope(*scope),
                utc(*since_ms)
            ),
            Self::ComplaintHold {
                scope, since_ms, ..
            } => format!(
                "{}自{}起因投诉停催。",
                chinese::bar_scope(*scope),
                utc(*since_ms)
            ),
            Self::Deceased { since_ms, .. } => {
                format!("债务人已身故（{}登记）。", utc(*since_ms))
            }
            Self::SuspectedFraud {
                scope, since_ms, ..
            } => format!(
                "{}自{}起因疑似欺诈停催。",
                chinese::bar_scope(*scope),
                utc(*since_ms)
            ),
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
                measure,
                scope,
                period,
                limit,
                settled,
                under_way,
                outside,
            } => format!(
                "{}{}{}已达{settled}次（上限{limit}次），另有进行中{under_way}次、其他机构{outside}次。",
                chinese::scope(*scope),
                chinese::period(*period),
                chinese::measure(*measure)
            ),
            Self::CounterMissing {
                measure,
                scope,
                period,
            } => format!(
                "{}{}{}次数无法统计。",
                chinese::scope(*scope),
                chinese::period(*period),
                chinese::measure(*measure)
            ),
            Self::PauseAfterConversation {
                scope,
                days,
                last_ms,
                under_way,
                until_ms,
            } => format!(
                "{}接通后{days}日内不得再次拨打：上次通话结束于{}，进行中{under_way}次，{}后可拨打。",
                chinese::scope(*scope),
                last_ms.map_or_else(|| "（无）".to_owned(), utc),
                until_ms.map_or_else(|| "其结束".to_owned(), utc),
            ),
            Self::TooSoon {
                scope,
                minutes,
                last_ms,
                under_way,
                until_ms,
            } => format!(
                "{}两次拨打之间至少间隔{minutes}分钟：上次拨打结束于{}，进行中{under_way}次，{}后可拨打。",
                chinese::scope(*scope),
                last_ms.map_or_else(|| "（无）".to_owned(), utc),
                until_ms.map_or_else(|| "其结束".to_owned(), utc),
            ),
            Self::LastMissing { after, scope } => format!(
                "{}上次{}时间无法查询。",
                chinese::scope(*scope),
                chinese::after(*after)
            ),
        }
    }
}
