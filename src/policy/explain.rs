//! A decision in words, rule by rule: what each rule saw, whether it passed or refused, and its clause.
//!
//! It reads a receipt and nothing else, so that what it explains is what is proven. The sentences of refusals are those
//! of [`super::Reason`]; this file adds those of rules that passed.

use super::agreement::Unusable;
use super::caps::Counted;
use super::decide::{Verdict, agreed, ringing};
use super::holiday::Calendar;
use super::receipt::{Inputs, proven};
use super::rest::Rested;
use super::wording::{chinese, english, hours, utc};
use super::{
    AgreementFacts, Cap, CaseState, NumberState, Reason, Refusal, ReplayError, RuleSet, Scope,
};
use crate::clock::ClockTrust;
use crate::ids::AgreementId;

/// How a rule ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It allows the call.
    Passed,
    /// It refuses the call.
    Refused,
    /// It would refuse, and an agreement stands against it.
    Lifted,
    /// It has nothing to say about this call.
    NotAsked,
}

impl Outcome {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Lifted => "lifted",
            Self::NotAsked => "not_asked",
        }
    }
}

/// One rule that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainLine {
    /// The rule: `clock`, `zone`, `window`, `ring`, `agreement`, `case`, `number`, `bars`, `third_party`, `cap`,
    /// `pause`, `gap`.
    pub rule: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What it saw, in English.
    pub english: String,
    /// The same in Chinese.
    pub chinese: String,
    /// Where the rule comes from; empty where the facts alone speak.
    pub clause: String,
}

/// Explains the decision of a receipt: every rule in the order in which it was asked.
///
/// # Errors
/// [`ReplayError`] if the receipt does not prove what it says.
pub fn explain(receipt: &str) -> Result<Vec<ExplainLine>, ReplayError> {
    let recorded = proven(receipt)?;
    let (inputs, rules) = (&recorded.inputs, &recorded.rules);
    let usual = ringing(inputs, rules, None);
    let used = match usual {
        Ok(_) => None,
        Err(_) => agreed(inputs, rules),
    };
    let asked = Asked {
        inputs,
        rules,
        usual,
        used: match used {
            Some(Verdict::Allow { agreement, .. }) => agreement,
            _ => None,
        },
    };
    let mut lines = Vec::new();
    asked.clock_and_hours(&mut lines);
    asked.agreements(&mut lines);
    asked.case_and_number(&mut lines);
    asked.bars(&mut lines);
    asked.third_party(&mut lines);
    let caps = recorded.rules.caps.iter();
    lines.extend(caps.map(|cap| asked.cap(cap)));
    asked.rests(&mut lines);
    Ok(lines)
}

struct Asked<'a> {
    inputs: &'a Inputs,
    rules: &'a RuleSet,
    /// What the usual hours say.
    usual: Result<Verdict, Vec<Reason>>,
    /// The agreement that opens the hour where they do not.
    used: Option<AgreementId>,
}

fn line(
    rule: &'static str,
    outcome: Outcome,
    english: String,
    chinese: String,
    clause: &str,
) -> ExplainLine {
    ExplainLine {
        rule,
        outcome,
        english,
        chinese,
        clause: clause.to_owned(),
    }
}

impl Asked<'_> {
    fn refused(&self, rule: &'static str, reason: Reason) -> ExplainLine {
        let refusal = Refusal::new(reason, self.rules);
        line(
            rule,
            Outcome::Refused,
            refusal.reason.english(),
            refusal.reason.chinese(),
            &refusal.clause,
        )
    }

    /// Clock, zone, window and ring, as far as each was reached.
    fn clock_and_hours(&self, lines: &mut Vec<ExplainLine>) {
        let inputs = self.inputs;
        let window = &self.rules.window.clause;
        let reasons = match &self.usual {
            Ok(_) => &[],
            Err(reasons) => reasons.as_slice(),
        };
        let error_ms = match inputs.now.trust {
            ClockTrust::Trusted { error_ms } => error_ms,
            ClockTrust::Untrusted { why } => {
                return lines.push(self.refused("clock", Reason::ClockUntrusted { why }));
            }
        };
        lines.push(line(
            "clock",
            Outcome::Passed,
            format!("The clock is right to within {error_ms} ms."),
            format!("本机时钟误差不超过{error_ms}毫秒。"),
            "",
        ));
        let unplaced =
            |reason: &&Reason| matches!(reason, Reason::ZoneUnknown | Reason::ZoneInvalid { .. });
        if let Some(reason) = reasons.iter().find(unplaced) {
            return lines.push(self.refused("zone", reason.clone()));
        }
        let zones: Vec<&str> = inputs.zone_times.iter().map(|z| z.zone.as_str()).collect();
        let (zones, source) = (zones.join(", "), inputs.zone_source.as_str());
        lines.push(line(
            "zone",
            Outcome::Passed,
            format!("The person called may be in {zones} (known by: {source})."),
            format!("被叫可能所在时区：{zones}（依据：{source}）。"),
            "",
        ));
        let lifted = self.used.is_some();
        let of_zone = |reason: &Reason, name: &str| match reason {
            Reason::OutsideWindow { zone, .. } | Reason::ClockUncertain { zone, .. } => {
                zone == name
            }
            _ => false,
        };
        let calendar = Calendar {
            rules: &self.rules.window,
            special_days: &inputs.special_days,
            agreed: None,
        };
        for zone in &inputs.zone_times {
            if let Some(reason) = reasons.iter().find(|reason| of_zone(reason, &zone.zone)) {
                let mut refused = self.refused("window", reason.clone());
                if lifted {
                    refused.outcome = Outcome::Lifted;
                }
                lines.push(refused);
                continue;
            }
            let local = zone.local(inputs.now.wall_ms);
            let spans = calendar.hours_on(local.date);
            let day = calendar.name_of(local.date);
            let (place, time) = (&zone.zone, local.text());
            let on = day
                .as_ref()
                .map(|day| format!("on {day} "))
                .unwrap_or_default();
            let called = day
                .as_ref()
                .map(|day| format!("（{day}）"))
                .unwrap_or_default();
            lines.push(line(
                "window",
                Outcome::Passed,
                format!(
                    "In {place} it is {time}; {on}calls may start {}.",
                    hours(&spans, "at no time")
                ),
                format!(
                    "被叫所在地{place}当地时间{time}{called}，可拨打时段：{}。",
                    hours(&spans, "无")
                ),
                window,
            ));
        }
        let closing = |reason: &&Reason| matches!(reason, Reason::WindowClosing { .. });
        if let Some(reason) = reasons.iter().find(closing) {
            let mut refused = self.refused("ring", reason.clone());
            if lifted {
                refused.outcome = Outcome::Lifted;
            }
            return lines.push(refused);
        }
        if let Ok(Verdict::Allow {
            ring_ms,
            ring_until_ms,
            ..
        }) = &self.usual
        {
            let least = self.rules.ring.shortest_ms;
            let until = utc(*ring_until_ms);
            lines.push(line(
                "ring",
                Outcome::Passed,
                format!(
                    "It may ring for {ring_ms} ms (at least {least}), and at no time after {until}."
                ),
                format!("可振铃{ring_ms}毫秒（至少须{least}毫秒），{until}之后不得振铃。"),
                &self.rules.ring.clause,
            ));
        }
    }

    fn agreements(&self, lines: &mut Vec<ExplainLine>) {
        let error_ms = match self.inputs.now.trust {
            ClockTrust::Trusted { error_ms } => error_ms.max(0),
            ClockTrust::Untrusted { .. } => 0,
        };
        let rules = self.rules.agreements.as_ref();
        let clause = rules.map(|rules| rules.clause.as_str()).unwrap_or_default();
        for agreement in &self.inputs.agreements {
            let id = agreement.id;
            let why = self.not_counting(agreement, error_ms);
            let (outcome, english, chinese) = match (self.used == Some(id), why) {
                (true, _) => (
                    Outcome::Passed,
                    format!("Agreement {id} opens this hour."),
                    format!("依据约定{id}可在此时段拨打。"),
                ),
                (false, Some((english, chinese))) => (
                    Outcome::NotAsked,
                    format!("Agreement {id} does not count: {english}."),
                    format!("约定{id}不适用：{chinese}。"),
                ),
                (false, None) => (
                    Outcome::NotAsked,
                    format!("Agreement {id} is not needed, or does not open this hour."),
                    format!("约定{id}无须适用，或不含此时段。"),
                ),
            };
            lines.push(line("agreement", outcome, english, chinese, clause));
        }
    }

    fn not_counting(
        &self,
        agreement: &AgreementFacts,
        error_ms: i64,
    ) -> Option<(&'static str, &'static str)> {
        let rules = self.rules.agreements.as_ref();
        let why = agreement
            .usable(rules, self.inputs.now.wall_ms, error_ms)
            .err()?;
        Some(match why {
            Unusable::NotAccepted => ("these rules accept none", "本规则不接受约定"),
            Unusable::NotApproved => ("a second person has to approve it", "尚未经第二人审批"),
            Unusable::UsedUp => ("it is used up", "次数已用完"),
            Unusable::NotYet => ("it has not begun", "尚未生效"),
            Unusable::Expired => ("it has expired", "已失效"),
        })
    }

    fn case_and_number(&self, lines: &mut Vec<ExplainLine>) {
        let (case, point) = (&self.inputs.case, &self.inputs.contact_point);
        if case.state != CaseState::Open {
            lines.push(self.refused("case", Reason::CaseNotOpen { state: case.state }));
        }
        if case.hidden {
            lines.push(self.refused("case", Reason::CaseHidden));
        }
        if case.state == CaseState::Open && !case.hidden {
            lines.push(line(
                "case",
                Outcome::Passed,
                "The case is open.".into(),
                "案件在催。".into(),
                &Refusal::new(Reason::CaseHidden, self.rules).clause,
            ));
        }
        if point.case != case.id {
            lines.push(self.refused("number", Reason::NotOfThisCase));
        } else {
            lines.push(line(
                "number",
                Outcome::Passed,
                "The number belongs to this case.".into(),
                "号码属于本案件。".into(),
                &Refusal::new(Reason::NotOfThisCase, self.rules).clause,
            ));
        }
    }

    fn bars(&self, lines: &mut Vec<ExplainLine>) {
        if self.inputs.contact_point.state == NumberState::Barred {
            lines.push(self.refused("bars", Reason::NumberBarred));
        } else if self.inputs.bars.is_empty() {
            lines.push(line(
                "bars",
                Outcome::Passed,
                "Nothing bars the call.".into(),
                "无禁呼、投诉、身故或疑似欺诈记录。".into(),
                "",
            ));
        }
        let bars = self.inputs.bars.iter();
        lines.extend(bars.map(|bar| self.refused("bars", bar.refusal())));
    }

    fn third_party(&self, lines: &mut Vec<ExplainLine>) {
        let (rules, point) = (&self.rules.third_party, &self.inputs.contact_point);
        let own = &self.inputs.own_numbers;
        if let Some(reason) = rules.refusal(point, own) {
            return lines.push(self.refused("third_party", reason));
        }
        let relation = point.relation.as_str();
        let (outcome, english, chinese) = if !point.relation.is_third_party() {
            (
                Outcome::NotAsked,
                format!("The person called is no third party ({relation})."),
                format!("被叫不是第三人（{relation}）。"),
            )
        } else {
            let (total, invalid, failed) = (own.total, own.invalid, own.failures_in_a_row);
            (
                Outcome::Passed,
                format!(
                    "A third party ({relation}) may be called: {invalid} of {total} own numbers are invalid, {failed} \
                     attempts in a row failed."
                ),
                format!(
                    "可联系第三人（{relation}）：本人号码{total}个，其中无效{invalid}个，连续未接通{failed}次。"
                ),
            )
        };
        lines.push(line(
            "third_party",
            outcome,
            english,
            chinese,
            &rules.clause,
        ));
    }

    fn cap(&self, cap: &Cap) -> ExplainLine {
        let inputs = self.inputs;
        let relation = inputs.contact_point.relation;
        let looked = cap.look(
            inputs.now.wall_ms,
            &inputs.zone_times,
            relation,
            &inputs.counts,
        );
        let count = match looked {
            Counted::NotAsked => return not_third("cap", cap.scope, &cap.clause),
            Counted::Below(count) => count,
            Counted::Missing | Counted::Reached { .. } => {
                let reason = cap.refusal(
                    inputs.now.wall_ms,
                    &inputs.zone_times,
                    relation,
                    &inputs.counts,
                );
                // Both refuse; without a reason there would be nothing to show.
                return match reason {
                    Some(reason) => {
                        let mut refused = self.refused("cap", reason);
                        refused.clause.clone_from(&cap.clause);
                        refused
                    }
                    None => not_third("cap", cap.scope, &cap.clause),
                };
            }
        };
        let (settled, under_way, outside, limit) =
            (count.settled, count.under_way, count.outside, cap.limit);
        line(
            "cap",
            Outcome::Passed,
            format!(
                "{settled} of {limit} {} calls to {} in the period {}, {under_way} under way, {outside} by other agencies.",
                cap.measure.as_str(),
                english::scope(cap.scope),
                cap.period
            ),
            format!(
                "{}{}{}{settled}次（上限{limit}次），进行中{under_way}次、其他机构{outside}次。",
                chinese::scope(cap.scope),
                chinese::period(cap.period),
                chinese::measure(cap.measure)
            ),
            &cap.clause,
        )
    }

    fn rests(&self, lines: &mut Vec<ExplainLine>) {
        let relation = self.inputs.contact_point.relation;
        let (earliest_ms, lasts) = (self.inputs.earliest_ms(), &self.inputs.lasts);
        for pause in &self.rules.pauses {
            let looked = pause.look(earliest_ms, relation, lasts);
            let refusal = pause.refusal(earliest_ms, relation, lasts);
            lines.push(match refusal {
                Some(reason) => self.refused("pause", reason),
                None => rested("pause", looked, pause.scope, &pause.clause),
            });
        }
        for gap in &self.rules.gaps {
            let looked = gap.look(earliest_ms, relation, lasts);
            let refusal = gap.refusal(earliest_ms, relation, lasts);
            lines.push(match refusal {
                Some(reason) => self.refused("gap", reason),
                None => rested("gap", looked, gap.scope, &gap.clause),
            });
        }
    }
}

fn not_third(rule: &'static str, scope: Scope, clause: &str) -> ExplainLine {
    line(
        rule,
        Outcome::NotAsked,
        format!("The person called is not one of {}.", english::scope(scope)),
        format!("被叫不属于{}。", chinese::scope(scope)),
        clause,
    )
}

fn rested(rule: &'static str, looked: Rested, scope: Scope, clause: &str) -> ExplainLine {
    let (whom, zh) = (english::scope(scope), chinese::scope(scope));
    match looked {
        Rested::Passed {
            latest_ms: Some(ms),
        } => line(
            rule,
            Outcome::Passed,
            format!(
                "The last such call to {whom} ended {}, long enough ago.",
                utc(ms)
            ),
            format!("{zh}上次结束于{}，间隔已足。", utc(ms)),
            clause,
        ),
        Rested::Passed { latest_ms: None } => line(
            rule,
            Outcome::Passed,
            format!("There was no such call to {whom} yet."),
            format!("{zh}此前无此类通话。"),
            clause,
        ),
        Rested::NotAsked | Rested::Missing | Rested::TooSoon { .. } => {
            not_third(rule, scope, clause)
        }
    }
}
