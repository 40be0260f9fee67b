//! What another rule set would have decided from the same facts: what a change of the rules would have changed.
//!
//! A receipt holds only the counters its own rules asked for. Where the other rules ask for one it does not hold, the
//! answer is unknown and says what is missing, unless something else would have refused the call anyway.

use super::caps::Counted;
use super::decide::{Verdict, evaluate};
use super::receipt::{Inputs, proven};
use super::{Reason, Refusal, ReplayError, RuleSet};

/// What other rules would have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// This.
    Decided(Verdict),
    /// The receipt does not hold what these rules look at.
    Unknown {
        /// What it does not hold: reasons with the codes `counter_missing` and `last_missing`.
        missing: Vec<Refusal>,
    },
}

/// A receipt judged by other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What was decided then.
    pub then: Verdict,
    /// What the other rules would have decided.
    pub with: Against,
}

impl Comparison {
    /// Whether allowed became refused or the other way round; `None` where that is unknown.
    #[must_use]
    pub fn is_changed(&self) -> Option<bool> {
        match &self.with {
            Against::Decided(verdict) => Some(
                matches!(verdict, Verdict::Allow { .. })
                    != matches!(self.then, Verdict::Allow { .. }),
            ),
            Against::Unknown { .. } => None,
        }
    }

    /// Whether a call that was allowed then would be allowed by the other rules too, and within no narrower bounds: as
    /// long to place it, as long to ring, and by the same agreement or none.
    #[must_use]
    pub fn still_holds(&self) -> bool {
        let (
            Verdict::Allow {
                valid_until_ms,
                ring_ms,
                ring_until_ms,
                closes_at_ms,
                agreement,
            },
            Against::Decided(Verdict::Allow {
                valid_until_ms: valid,
                ring_ms: ring,
                ring_until_ms: ring_until,
                closes_at_ms: closes,
                agreement: by,
            }),
        ) = (&self.then, &self.with)
        else {
            return false;
        };
        valid >= valid_until_ms
            && ring >= ring_ms
            && ring_until >= ring_until_ms
            && closes >= closes_at_ms
            && by == agreement
    }
}

/// Judges the facts of a receipt by other rules.
///
/// # Errors
/// [`ReplayError`] if the receipt does not prove what it says.
pub fn replay_against(text: &str, rules: &RuleSet) -> Result<Comparison, ReplayError> {
    let recorded = proven(text)?;
    let with = judge(&recorded.inputs, rules);
    Ok(Comparison {
        then: recorded.verdict,
        with,
    })
}

fn judge(inputs: &Inputs, rules: &RuleSet) -> Against {
    let verdict = evaluate(inputs, rules);
    let Verdict::Deny { reasons } = &verdict else {
        return Against::Decided(verdict);
    };
    let unsure = |refusal: &&Refusal| is_unsure(&refusal.reason, inputs, rules);
    let missing: Vec<Refusal> = reasons.iter().filter(unsure).cloned().collect();
    if missing.len() < reasons.len() {
        return Against::Decided(verdict);
    }
    Against::Unknown {
        missing: missing
            .into_iter()
            .map(|refusal| as_missing(refusal, rules))
            .collect(),
    }
}

/// Whether a refusal says no more than that something was not read, or was counted from too early on.
fn is_unsure(reason: &Reason, inputs: &Inputs, rules: &RuleSet) -> bool {
    match reason {
        Reason::CounterMissing { .. } | Reason::LastMissing { .. } => true,
        Reason::CapReached {
            measure,
            scope,
            period,
            limit,
            ..
        } => {
            let caps = rules.caps.iter().filter(|cap| {
                (cap.measure, cap.scope, cap.period, cap.limit)
                    == (*measure, *scope, *period, *limit)
            });
            caps.into_iter().all(|cap| {
                let looked = cap.look(
                    inputs.now.wall_ms,
                    &inputs.zone_times,
                    inputs.contact_point.relation,
                    &inputs.counts,
                );
                matches!(looked, Counted::Reached { exact: false, .. })
            })
        }
        _ => false,
    }
}

fn as_missing(refusal: Refusal, rules: &RuleSet) -> Refusal {
    match refusal.reason {
        Reason::CapReached {
            measure,
            scope,
            period,
            ..
        } => Refusal::new(
            Reason::CounterMissing {
                measure,
                scope,
                period,
            },
            rules,
        ),
        _ => refusal,
    }
}
