//! What the rules can say, how they are read, and which of two is stricter.
//!
//! A rule set is data: a preset shipped in `config/policy/`, or a client's own stricter version in the same
//! form ([`RuleSet::stricter`]). [`RuleSet::merge_strictest`] combines them; nothing can be loosened by merging. The canonical text
//! (and with it the hash in every receipt) is the compact JSON of this structure, fields in this order.

use serde::{Deserialize, Serialize};

use super::{
    After, AgreementRules, Cap, CountNeeded, Gap, LastNeeded, Measure, Pause, RetentionRules,
    RuleFaults, ThirdPartyRules, WindowRules, Zones,
};

/// A preset that is shipped with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// The service plan's own rules for mainland China; the default.
    CnPlan,
    /// The national standard GB/T 45251-2025 for online consumer loans, with the plan's narrower window.
    CnGbt,
    /// As `cn-plan`, kept for as long as consumer finance companies must.
    CnConsumerFinance,
    /// The United States: Regulation F, 12 CFR 1006.
    UsRegf,
}

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] = &[
        Self::CnPlan,
        Self::CnGbt,
        Self::CnConsumerFinance,
        Self::UsRegf,
    ];

    /// The name used in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CnPlan => "cn-plan",
            Self::CnGbt => "cn-gbt",
            Self::CnConsumerFinance => "cn-consumer-finance",
            Self::UsRegf => "us-regf",
        }
    }

    /// The preset of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|preset| preset.name() == name)
    }

    /// The commented TOML that is shipped.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::CnPlan => include_str!("../../config/policy/cn-plan.toml"),
            Self::CnGbt => include_str!("../../config/policy/cn-gbt.toml"),
            Self::CnConsumerFinance => {
                include_str!("../../config/policy/cn-consumer-finance.toml")
            }
            Self::UsRegf => include_str!("../../config/policy/us-regf.toml"),
        }
    }

    /// The rules themselves.
    #[must_use]
    pub fn rules(self) -> RuleSet {
        #[expect(
            clippy::expect_used,
            reason = "the text is part of the program; a test parses every preset"
        )]
        RuleSet::parse(self.text()).expect("a shipped preset parses")
    }
}

/// Why a rule text is not a rule set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not TOML of this form; the message names line and column.
    #[error("the calling rules cannot be read: {0}")]
    Form(String),
    /// Readable, but it says something that cannot be meant.
    #[error("the calling rules make no sense: {key}: {what}")]
    Sense {
        /// The key that says it.
        key: &'static str,
        /// What would make sense.
        what: &'static str,
    },
}

/// How long may be rung, and how close to the end of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingRules {
    /// Where this comes from.
    pub clause: String,
    /// The longest ringing, milliseconds.
    pub longest_ms: i64,
    /// Less ringing than this before the guard is not worth a call and is refused, milliseconds.
    pub shortest_ms: i64,
    /// Nothing rings in the last so many milliseconds of the window.
    pub guard_ms: i64,
    /// A permission is good for so many milliseconds, until the customer INVITE has to be out.
    pub permit_ms: i64,
}

impl RingRules {
    fn merge_strictest(&self, other: &Self) -> Self {
        Self {
            clause: joined(&self.clause, &other.clause),
            longest_ms: self.longest_ms.min(other.longest_ms),
            shortest_ms: self.shortest_ms.max(other.shortest_ms),
            guard_ms: self.guard_ms.max(other.guard_ms),
            permit_ms: self.permit_ms.min(other.permit_ms),
        }
    }
}

const fn sense(key: &'static str, what: &'static str) -> RuleError {
    RuleError::Sense { key, what }
}

/// Two clauses as one.
pub(super) fn joined(a: &str, b: &str) -> String {
    if a == b {
        a.to_owned()
    } else {
        format!("{a}; {b}")
    }
}

/// Calendar years that recordings and what belongs to them are kept at least, whatever a rule set says (T4).
const SHORTEST_RETENTION_YEARS: u16 = 2;

/// Everything that limits calls for one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// `cn-plan`, or the names of what was merged joined by `+`.
    pub name: String,
    /// Raised whenever the text changes; the revisions of what was merged joined by `+`.
    pub revision: String,
    /// When calls may start.
    pub window: WindowRules,
    /// How long may be rung.
    pub ring: RingRules,
    /// Third parties.
    pub third_party: ThirdPartyRules,
    /// How often.
    #[serde(default)]
    pub caps: Vec<Cap>,
    /// How long nobody is called after a conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// How long nobody is tried again after a try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Whether agreements count. Without it none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreements: Option<AgreementRules>,
    /// How long everything is kept. Without it two calendar years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionRules>,
}

impl RuleSet {
    /// Reads and checks a rule set.
    ///
    /// # Errors
    /// [`RuleError::Form`] with line and column, [`RuleError::Sense`] for contradictions.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let rules: Self = toml::from_str(text).map_err(|e| RuleError::Form(e.to_string()))?;
        rules.check_written()?;
        Ok(rules)
    }

    /// Reads a client's own rules: a file that names a preset, or a list of them, as its `base` and holds what is
    /// stricter. The result is base and file merged.
    ///
    /// # Errors
    /// [`RuleFaults`]: every key that is looser than the base or unknown, with line and column.
    pub fn stricter(text: &str) -> Result<Self, RuleFaults> {
        super::stricter::read(text)
    }

    /// What is wrong with rules that somebody wrote. Of rules that were merged one may ask for longer ringing than another
    /// allows; by those nobody is called.
    pub(super) fn check_written(&self) -> Result<(), RuleError> {
        self.check()?;
        if self.ring.longest_ms < self.ring.shortest_ms {
            return Err(sense("ring", "shortest_ms must not be above longest_ms"));
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), RuleError> {
        let ring = &self.ring;
        let sane = |ms: i64, most_ms: i64| (0..=most_ms).contains(&ms);
        if !sane(ring.longest_ms, 300_000)
            || !sane(ring.shortest_ms, 300_000)
            || !sane(ring.guard_ms, 3_600_000)
            || !sane(ring.permit_ms, 600_000)
        {
            return Err(sense(
                "ring",
                "times lie between 0 and 300000 ms, the guard up to 3600000, the permission up to 600000",
            ));
        }
        if ring.shortest_ms == 0 {
            return Err(sense("ring", "shortest_ms must be above 0"));
        }
        let mut dates: Vec<_> = self
            .window
            .dates
            .iter()
            .map(|special| special.date)
            .collect();
        dates.sort_unstable();
        if dates.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(sense("window.dates", "one date stands there twice"));
        }
        if self.third_party.failures_in_a_row == 0 {
            return Err(sense("third_party.failures_in_a_row", "must be at least 1"));
        }
        let twice =
            |(at, cap): (usize, &Cap)| self.caps.iter().skip(at + 1).any(|c| c.same_subject(cap));
        if self.caps.iter().enumerate().any(twice) {
            return Err(sense("caps", "two of them limit the same thing"));
        }
        if self.caps.iter().any(|cap| {
            !sane(cap.at_least_ms, 3_600_000)
                || (cap.at_least_ms > 0 && cap.measure != Measure::Effective)
        }) {
            return Err(sense(
                "caps",
                "at_least_ms goes with the measure `effective` and lies between 0 and 3600000",
            ));
        }
        let again = |(at, pause): (usize, &Pause)| {
            let rest = self.pauses.iter().skip(at + 1);
            !(1..=366).contains(&pause.days) || rest.into_iter().any(|p| p.scope == pause.scope)
        };
        if self.pauses.iter().enumerate().any(again) {
            return Err(sense(
                "pauses",
                "days lie between 1 and 366, and each scope has one pause",
            ));
        }
        let again = |(at, gap): (usize, &Gap)| {
            let rest = self.gaps.iter().skip(at + 1);
            !(1..=10_080).contains(&gap.minutes) || rest.into_iter().any(|g| g.scope == gap.scope)
        };
        if self.gaps.iter().enumerate().any(again) {
            return Err(sense(
                "gaps",
                "minutes lie between 1 and 10080, and each scope has one gap",
            ));
        }
        let years = self.retention.as_ref().map(|retention| retention.years);
        if years.is_some_and(|years| !(SHORTEST_RETENTION_YEARS..=100).contains(&years)) {
            return Err(sense("retention.years", "lies between 2 (T4) and 100"));
        }
        Ok(())
    }

    /// The stricter of both in every respect: a call is allowed only if both would allow it.
    #[must_use]
    pub fn merge_strictest(&self, other: &Self) -> Self {
        let mut caps = self.caps.clone();
        for cap in &other.caps {
            match caps.iter_mut().find(|mine| mine.same_subject(cap)) {
                Some(mine) if cap.limit < mine.limit => *mine = cap.clone(),
                Some(_) => {}
                None => caps.push(cap.clone()),
            }
        }
        Self {
            name: format!("{}+{}", self.name, other.name),
            revision: format!("{}+{}", self.revision, other.revision),
            window: self.window.merge_strictest(&other.window),
            ring: self.ring.merge_strictest(&other.ring),
            third_party: self.third_party.merge_strictest(&other.third_party),
            caps,
            pauses: Pause::merge_strictest(&self.pauses, &other.pauses),
            gaps: Gap::merge_strictest(&self.gaps, &other.gaps),
            agreements: match (&self.agreements, &other.agreements) {
                (Some(mine), Some(theirs)) => Some(mine.merge_strictest(theirs)),
                _ => None,
            },
            retention: match (&self.retention, &other.retention) {
                (Some(mine), Some(theirs)) => Some(mine.merge_strictest(theirs)),
                (mine, theirs) => mine.clone().or_else(|| theirs.clone()),
            },
        }
    }

    /// Whether an agreement counts only once a second person approved it.
    #[must_use]
    pub fn two_persons(&self) -> bool {
        let rules = self.agreements.as_ref();
        rules.is_some_and(|rules| rules.two_persons)
    }

    /// Calendar years from a call's end that its recording, receipts and agreements are kept at least.
    #[must_use]
    pub fn retention_years(&self) -> u16 {
        self.retention
            .as_ref()
            .map_or(SHORTEST_RETENTION_YEARS, |retention| {
                retention.years.max(SHORTEST_RETENTION_YEARS)
            })
    }

    /// The counters `store` must read before [`super::decide`] can be asked, each once, at the given time.
    #[must_use]
    pub fn counts_needed(&self, now_ms: i64, zones: &Zones) -> Vec<CountNeeded> {
        let times = zones.times(now_ms).unwrap_or_default();
        let mut needed: Vec<CountNeeded> = self
            .caps
            .iter()
            .filter_map(|cap| {
                Some(CountNeeded {
                    measure: cap.measure,
                    scope: cap.scope,
                    since_ms: cap.since_ms(now_ms, &times)?,
                    at_least_ms: cap.at_least_ms,
                })
            })
            .collect();
        needed.sort_by_key(|need| (need.measure, need.scope, need.since_ms, need.at_least_ms));
        needed.dedup();
        needed
    }

    /// The last calls `store` must look up before [`super::decide`] can be asked, each once.
    #[must_use]
    pub fn lasts_needed(&self) -> Vec<LastNeeded> {
        let conversations = self.pauses.iter().map(|pause| LastNeeded {
            after: After::Conversation,
            scope: pause.scope,
        });
        let attempts = self.gaps.iter().map(|gap| LastNeeded {
            after: After::Attempt,
            scope: gap.scope,
        });
        let mut needed: Vec<LastNeeded> = conversations.chain(attempts).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Reads back what [`Self::canonical_text`] wrote: a stored rule set, or the one in a receipt.
    ///
    /// # Errors
    /// [`RuleError`] for anything that is no rule set.
    pub fn from_canonical(text: &str) -> Result<Self, RuleError> {
        let rules: Self = serde_json::from_str(text).map_err(|e| RuleError::Form(e.to_string()))?;
        rules.check()?;
        Ok(rules)
    }

    /// The text that is hashed and carried by receipts: compact JSON.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "structs of strings, numbers and lists always serialise"
        )]
        serde_json::to_string(self).expect("a rule set serialises")
    }

    /// SHA-256 of the canonical text, lower-case hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.canonical_text().as_bytes());
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
