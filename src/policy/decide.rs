//! The decision itself: every rule is asked, every refusal is kept.

use serde::{Deserialize, Serialize};

use super::holiday::Calendar;
use super::permit::{CustomerGrant, Permit};
use super::receipt::{Document, EVALUATOR_VERSION, Inputs};
use super::{
    AgreementFacts, CaseState, Facts, Now, NumberState, Reason, Receipt, Refusal, RuleSet,
};
use crate::clock::ClockTrust;
use crate::ids::AgreementId;

/// What came of asking. Instants are milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The contact point may be called.
    Allow {
        /// The customer INVITE leaves before this instant or not at all.
        valid_until_ms: i64,
        /// The longest ringing, milliseconds, if the INVITE left now.
        ring_ms: i64,
        /// All ringing is over by this instant, whenever it began.
        ring_until_ms: i64,
        /// The window closes: from here on a conversation overruns.
        closes_at_ms: i64,
        /// The agreement without which it would have been a refusal, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agreement: Option<AgreementId>,
    },
    /// It may not.
    Deny {
        /// Every reason, never empty.
        reasons: Vec<Refusal>,
    },
}

/// A verdict with its proof and, if it came from [`decide`], the permission itself.
#[derive(Debug)]
pub struct Decision {
    /// Allow or deny.
    pub verdict: Verdict,
    /// The proof, to be stored in the same transaction.
    pub receipt: Receipt,
    permit: Option<Permit>,
}

impl Decision {
    pub(super) fn replayed(verdict: Verdict, receipt: Receipt) -> Self {
        Self {
            verdict,
            receipt,
            permit: None,
        }
    }

    /// Whether the call is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allow { .. })
    }

    /// The reasons of a refusal; empty if allowed.
    #[must_use]
    pub fn reasons(&self) -> &[Refusal] {
        match &self.verdict {
            Verdict::Allow { .. } => &[],
            Verdict::Deny { reasons } => reasons,
        }
    }

    /// The agreement without which this would have been a refusal; it is used up by one call.
    #[must_use]
    pub fn agreement(&self) -> Option<AgreementId> {
        match self.verdict {
            Verdict::Allow { agreement, .. } => agreement,
            Verdict::Deny { .. } => None,
        }
    }

    /// The permission, once. A refused decision has none, nor has a replayed one.
    pub fn take_permit(&mut self) -> Option<Permit> {
        self.permit.take()
    }
}

impl PartialEq for Decision {
    /// Same verdict and same proof; whether the permission was taken out meanwhile does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.verdict == other.verdict && self.receipt == other.receipt
    }
}

/// May this contact point be called now? Pure: the same arguments give the same decision, byte for byte.
#[must_use]
pub fn decide(facts: &Facts, now: &Now) -> Decision {
    let inputs = Inputs::of(facts, *now);
    let verdict = evaluate(&inputs, &facts.rules);
    let permit = match &verdict {
        Verdict::Allow {
            valid_until_ms,
            ring_ms,
            ring_until_ms,
            closes_at_ms,
            agreement: _,
        } => Some(Permit::customer(CustomerGrant {
            number: facts.number.clone(),
            case: facts.case.id,
            contact_point: facts.contact_point.id,
            valid_until_ms: *valid_until_ms,
            ring_ms: *ring_ms,
            ring_until_ms: *ring_until_ms,
            closes_at_ms: *closes_at_ms,
        })),
        Verdict::Deny { .. } => None,
    };
    let receipt = Document::new(EVALUATOR_VERSION, &facts.rules, inputs, verdict.clone()).receipt();
    Decision {
        verdict,
        receipt,
        permit,
    }
}

/// Asks every rule. Reads nothing but its arguments.
pub(super) fn evaluate(inputs: &Inputs, rules: &RuleSet) -> Verdict {
    let mut reasons = others(inputs, rules);
    match opening(inputs, rules) {
        Ok(allow) if reasons.is_empty() => return allow,
        Ok(_) => {}
        // The clock and the window come first: they are what the agent can do least about.
        Err(window) => drop(reasons.splice(0..0, window)),
    }
    let reasons = reasons
        .into_iter()
        .map(|reason| Refusal::new(reason, rules))
        .collect();
    Verdict::Deny { reasons }
}

/// Every refusal that the hours have nothing to do with.
fn others(inputs: &Inputs, rules: &RuleSet) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if inputs.case.state != CaseState::Open {
        reasons.push(Reason::CaseNotOpen {
            state: inputs.case.state,
        });
    }
    if inputs.case.hidden {
        reasons.push(Reason::CaseHidden);
    }
    if inputs.contact_point.case != inputs.case.id {
        reasons.push(Reason::NotOfThisCase);
    }
    if inputs.contact_point.state == NumberState::Barred {
        reasons.push(Reason::NumberBarred);
    }
    reasons.extend(inputs.bars.iter().map(super::BarFacts::refusal));
    reasons.extend(
        rules
            .third_party
            .refusal(&inputs.contact_point, &inputs.own_numbers),
    );
    let now_ms = inputs.now.wall_ms;
    let relation = inputs.contact_point.relation;
    for cap in &rules.caps {
        reasons.extend(cap.refusal(now_ms, &inputs.zone_times, relation, &inputs.counts));
    }
    let earliest_ms = inputs.earliest_ms();
    for pause in &rules.pauses {
        reasons.extend(pause.refusal(earliest_ms, relation, &inputs.lasts));
    }
    for gap in &rules.gaps {
        reasons.extend(gap.refusal(earliest_ms, relation, &inputs.lasts));
    }
    reasons
}

/// How long may be rung: by the usual hours, or else by the first agreement that opens them.
fn opening(inputs: &Inputs, rules: &RuleSet) -> Result<Verdict, Vec<Reason>> {
    let refused = match ringing(inputs, rules, None) {
        Ok(allow) => return Ok(allow),
        Err(refused) => refused,
    };
    agreed(inputs, rules).ok_or(refused)
}

/// What the first agreement that opens the hour allows.
pub(super) fn agreed(inputs: &Inputs, rules: &RuleSet) -> Option<Verdict> {
    inputs
        .agreements
        .iter()
        .find_map(|agreement| ringing(inputs, rules, Some(agreement)).ok())
}

/// How long may be rung from now, if clock and window say yes in every plausible zone.
pub(super) fn ringing(
    inputs: &Inputs,
    rules: &RuleSet,
    agreement: Option<&AgreementFacts>,
) -> Result<Verdict, Vec<Reason>> {
    let now_ms = inputs.now.wall_ms;
    let error_ms = match inputs.now.trust {
        ClockTrust::Trusted { error_ms } => error_ms.max(0),
        ClockTrust::Untrusted { why } => return Err(vec![Reason::ClockUntrusted { why }]),
    };
    let usable = |agreement: &&AgreementFacts| {
        let usable = agreement.usable(rules.agreements.as_ref(), now_ms, error_ms);
        usable.is_ok()
    };
    let agreement = agreement.filter(usable);
    let calendar = Calendar {
        rules: &rules.window,
        special_days: &inputs.special_days,
        agreed: agreement.map(|agreement| &agreement.hours),
    };
    if let Some(zone) = &inputs.zone_invalid {
        return Err(vec![Reason::ZoneInvalid { zone: zone.clone() }]);
    }
    if inputs.zone_times.is_empty() {
        return Err(vec![Reason::ZoneUnknown]);
    }
    // It may really be as early as this; the window must be open from here to the end of the ringing.
    let earliest_ms = now_ms.saturating_sub(error_ms);
    let mut reasons = Vec::new();
    let mut first_close: Option<(i64, &str)> = None;
    for zone in &inputs.zone_times {
        if !zone.covers(earliest_ms) || !zone.covers(now_ms) {
            reasons.push(Reason::ClockUncertain {
                error_ms,
                zone: zone.zone.clone(),
            });
            continue;
        }
        if let Err(outside) = calendar.closes_at(zone, now_ms) {
            reasons.push(Reason::OutsideWindow {
                zone: zone.zone.clone(),
                local: outside.local,
                hours: outside.hours,
                day: outside.date_name,
            });
            continue;
        }
        match calendar.closes_at(zone, earliest_ms) {
            Ok(closes_ms) if closes_ms.saturating_sub(error_ms) > now_ms => {
                if first_close.is_none_or(|(first_ms, _)| closes_ms < first_ms) {
                    first_close = Some((closes_ms, &zone.zone));
                }
            }
            _ => reasons.push(Reason::ClockUncertain {
                error_ms,
                zone: zone.zone.clone(),
            }),
        }
    }
    let Some((closes_ms, zone)) = first_close.filter(|_| reasons.is_empty()) else {
        return Err(reasons);
    };
    let closes_ms = agreement.map_or(closes_ms, |agreement| closes_ms.min(agreement.until_ms));
    let ring = &rules.ring;
    let ring_until_ms = closes_ms
        .saturating_sub(error_ms)
        .saturating_sub(ring.guard_ms);
    let left_ms = ring_until_ms.saturating_sub(now_ms).min(ring.longest_ms);
    if left_ms < ring.shortest_ms {
        return Err(vec![Reason::WindowClosing {
            zone: zone.to_owned(),
            left_ms: left_ms.max(0),
            needed_ms: ring.shortest_ms,
        }]);
    }
    Ok(Verdict::Allow {
        valid_until_ms: now_ms
            .saturating_add(ring.permit_ms)
            .min(ring_until_ms.saturating_sub(ring.shortest_ms)),
        ring_ms: left_ms,
        ring_until_ms,
        closes_at_ms: closes_ms,
        agreement: agreement.map(|agreement| agreement.id),
    })
}
