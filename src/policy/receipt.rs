//! The stored proof of one decision: rules, clock, zones, counters and verdict, enough to decide again.
//!
//! A receipt is one line of JSON. It carries the text of the rules, not only their hash; the offsets of every
//! zone, not only its name; and the version of the code that judged. The telephone number appears as country
//! code and last two digits; the attempt's row names the contact point. What another rule set would have said of
//! the same facts: `against.rs`; the same in words, rule by rule: `explain.rs`.

use serde::{Deserialize, Serialize};

use super::decide::{Decision, Verdict, evaluate};
use super::{
    AgreementFacts, BarFacts, CaseFacts, ContactPointFacts, Count, Facts, Last, Now, NumberFacts,
    OwnNumbers, RuleSet, SpecialDay, ZoneSource, ZoneTimes, dates_around,
};
use crate::clock::ClockTrust;
use crate::ids::{CaseId, ClientId, ContactPointId};

/// Raised whenever the same inputs could be judged differently than before, or more is looked at.
///
/// 1: window, guard, third-party lock, caps. 2: bars, agreements, special days, pauses, gaps, persons, other agencies'
/// calls. What 1 looked at 2 judges alike, so receipts of 1 are decided again by the same code: what they do not hold
/// is empty. (Only where rules did not lock third parties, 1 let pass one who had refused; it had no such rules.)
pub const EVALUATOR_VERSION: u32 = 2;

/// The form of the receipt itself; each evaluator so far has its own.
const RECEIPT_VERSION: u32 = 2;

/// The text of a receipt with the facts that are stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    text: String,
    rules_hash: String,
    subject: Subject,
}

/// What a receipt is about: the proof of one decision is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The instant decided for, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Whose debt it is.
    pub client: ClientId,
    /// The case.
    pub case: CaseId,
    /// The number that was to be called.
    pub contact_point: ContactPointId,
}

impl Receipt {
    /// The whole receipt, one line of JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the rules it was decided by, lower-case hexadecimal.
    #[must_use]
    pub fn rules_hash(&self) -> &str {
        &self.rules_hash
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.subject
    }
}

/// Everything [`evaluate`] looks at besides the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inputs {
    pub now: Now,
    pub case: CaseFacts,
    pub contact_point: ContactPointFacts,
    pub number: NumberFacts,
    pub zone_source: ZoneSource,
    pub zone_times: Vec<ZoneTimes>,
    pub zone_invalid: Option<String>,
    pub counts: Vec<Count>,
    pub own_numbers: OwnNumbers,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lasts: Vec<Last>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<BarFacts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreements: Vec<AgreementFacts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special_days: Vec<SpecialDay>,
}

impl Inputs {
    pub fn of(facts: &Facts, now: Now) -> Self {
        let (zone_times, zone_invalid) = match facts.zones.times(now.wall_ms) {
            Ok(times) => (times, None),
            Err(name) => (Vec::new(), Some(name)),
        };
        Self {
            now,
            case: facts.case.clone(),
            contact_point: facts.contact_point.clone(),
            number: NumberFacts::of(&facts.number),
            zone_source: facts.zones.source,
            zone_times,
            zone_invalid,
            counts: facts.counts.clone(),
            own_numbers: facts.own_numbers,
            lasts: facts.lasts.clone(),
            bars: facts.bars.clone(),
            agreements: facts.agreements.clone(),
            special_days: {
                let (first, last) = dates_around(now.wall_ms);
                let near = |day: &&SpecialDay| (first..=last).contains(&day.date);
                facts.special_days.iter().filter(near).cloned().collect()
            },
        }
    }

    /// How early it may really be.
    pub fn earliest_ms(&self) -> i64 {
        match self.now.trust {
            ClockTrust::Trusted { error_ms } => self.now.wall_ms.saturating_sub(error_ms.max(0)),
            ClockTrust::Untrusted { .. } => self.now.wall_ms,
        }
    }
}

/// Local time in one zone, for people who read the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalTime {
    zone: String,
    time: String,
    offset_s: i32,
}

/// The receipt as it is written. Field order is part of the form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    receipt_version: u32,
    evaluator_version: u32,
    rules_sha256: String,
    pub verdict: Verdict,
    local: Vec<LocalTime>,
    pub inputs: Inputs,
    pub rules: RuleSet,
}

impl Document {
    pub fn new(version: u32, rules: &RuleSet, inputs: Inputs, verdict: Verdict) -> Self {
        let now_ms = inputs.now.wall_ms;
        let local = inputs
            .zone_times
            .iter()
            .map(|zone| {
                let local = zone.local(now_ms);
                LocalTime {
                    zone: zone.zone.clone(),
                    time: local.text(),
                    offset_s: local.offset_s,
                }
            })
            .collect();
        Self {
            receipt_version: version,
            evaluator_version: version,
            rules_sha256: rules.hash(),
            verdict,
            local,
            inputs,
            rules: rules.clone(),
        }
    }

    pub fn receipt(&self) -> Receipt {
        #[expect(
            clippy::expect_used,
            reason = "structs of strings, numbers and lists always serialise"
        )]
        let text = serde_json::to_string(self).expect("a receipt serialises");
        let inputs = &self.inputs;
        Receipt {
            text,
            rules_hash: self.rules_sha256.clone(),
            subject: Subject {
                at_ms: inputs.now.wall_ms,
                client: inputs.case.client,
                case: inputs.case.id,
                contact_point: inputs.contact_point.id,
            },
        }
    }
}

/// Why a receipt does not prove what it says.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Not a receipt, or one of a later form.
    #[error("this is no receipt of form {RECEIPT_VERSION}: {0}")]
    Form(String),
    /// It was decided by an evaluator this program does not contain.
    #[error("this receipt was decided by evaluator {0}, this program has {EVALUATOR_VERSION}")]
    Evaluator(u32),
    /// The rules in it are not the ones its hash names.
    #[error("the rules in this receipt do not have the hash it names")]
    Rules,
    /// Deciding again comes to something else than what is written.
    #[error("deciding again gives another result than this receipt says")]
    Verdict,
}

/// Decides again from a receipt alone: no database, no time-zone files, no clock.
///
/// # Errors
/// See [`ReplayError`]: the receipt was altered, or is not of this program's form.
pub fn replay(text: &str) -> Result<Decision, ReplayError> {
    let proven = proven(text)?;
    Ok(Decision::replayed(proven.verdict.clone(), proven.receipt()))
}

/// Reads a receipt, decides again, and returns what it says if both agree.
pub(super) fn proven(text: &str) -> Result<Document, ReplayError> {
    let recorded: Document =
        serde_json::from_str(text).map_err(|e| ReplayError::Form(e.to_string()))?;
    if !(1..=RECEIPT_VERSION).contains(&recorded.receipt_version) {
        return Err(ReplayError::Form(format!(
            "it has form {}",
            recorded.receipt_version
        )));
    }
    if recorded.evaluator_version != recorded.receipt_version {
        return Err(ReplayError::Evaluator(recorded.evaluator_version));
    }
    if recorded.rules.hash() != recorded.rules_sha256 {
        return Err(ReplayError::Rules);
    }
    if !recorded.inputs.zone_times.iter().all(ZoneTimes::is_sound) {
        return Err(ReplayError::Form(
            "its zone offsets are out of order".into(),
        ));
    }
    recorded
        .rules
        .check()
        .map_err(|e| ReplayError::Form(e.to_string()))?;
    let verdict = evaluate(&recorded.inputs, &recorded.rules);
    let again = Document::new(
        recorded.evaluator_version,
        &recorded.rules,
        recorded.inputs.clone(),
        verdict,
    );
    if again != recorded {
        return Err(ReplayError::Verdict);
    }
    Ok(again)
}
