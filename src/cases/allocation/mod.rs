//! Who gets which case (案件分配), as pure planning: cases and receivers in, one receiver for each case out.
//!
//! All cases of one person (a household, 户) go to one receiver, whatever the method, so that nobody is called by two
//! agents about two debts. The same input gives the same plan, in whatever order it comes. Reads and writes are
//! `store::allocations`; `super::allocate` binds the two.

mod planners;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use planners::plan;

use crate::ids::{AgentId, CaseId, TeamId};

/// How cases are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// To whoever had the person before; then by region; what is left as [`Method::EvenBoth`] (自动匹配).
    Match,
    /// The same number of households to each, one more at most (户数均分).
    EvenCount,
    /// About the same amount to each: the difference is at most the largest household (金额均分).
    EvenAmount,
    /// The same number of households to each, one more at most, and the difference in amount is at most the largest
    /// household too (综合均分).
    EvenBoth,
    /// Even in what each holds afterwards, counting what they hold already (累计均分).
    Cumulative,
    /// All to one receiver (手动).
    Manual,
}

impl Method {
    /// Every method.
    pub const ALL: &'static [Self] = &[
        Self::Match,
        Self::EvenCount,
        Self::EvenAmount,
        Self::EvenBoth,
        Self::Cumulative,
        Self::Manual,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::EvenCount => "even_count",
            Self::EvenAmount => "even_amount",
            Self::EvenBoth => "even_both",
            Self::Cumulative => "cumulative",
            Self::Manual => "manual",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    /// The message lists the words that are allowed.
    fn from_str(word: &str) -> Result<Self, String> {
        let word = word.replace('-', "_");
        let found = Self::ALL.iter().copied().find(|m| m.as_str() == word);
        found.ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|m| m.as_str()).collect();
            format!("must be one of: {}", words.join(", "))
        })
    }
}

/// Who may get cases: an agent with the team, or a team as a whole.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Owner {
    /// The team.
    pub team: Option<TeamId>,
    /// The agent; `None`: the team as a whole.
    pub agent: Option<AgentId>,
}

/// One who gets cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Who.
    pub owner: Owner,
    /// Households held already, of those still worked.
    pub holds_households: i64,
    /// Amount held already, ten-thousandths.
    pub holds_e4: i64,
}

/// One case to be dealt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The case.
    pub case: CaseId,
    /// Whose debt: cases with the same one stay together.
    pub person: i64,
    /// What is owed, ten-thousandths; one below zero counts as nothing.
    pub amount_e4: i64,
    /// Where the debtor lives, as the client calls it.
    pub region: String,
    /// Who has it now.
    pub now: Owner,
    /// Who last had a case of this person.
    pub previous: Option<AgentId>,
}

/// What to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// How.
    pub method: Method,
    /// The cases.
    pub items: Vec<Item>,
    /// Among whom.
    pub receivers: Vec<Receiver>,
    /// For [`Method::Match`]: the agents of a region.
    pub regions: BTreeMap<String, Vec<AgentId>>,
}

/// One case with who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// The case.
    pub case: CaseId,
    /// Who had it.
    pub from: Owner,
    /// Who gets it.
    pub to: Owner,
}

/// What one receiver gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub owner: Owner,
    /// Cases.
    pub cases: i64,
    /// Persons.
    pub households: i64,
    /// Amount, ten-thousandths.
    pub amount_e4: i64,
}

/// Who gets what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Each case once, by its id.
    pub given: Vec<Given>,
    /// Each receiver once, in their own order, also those who get nothing.
    pub shares: Vec<Share>,
}

/// Why nothing can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody.
    #[error("nobody is there to get the cases; name agents, or teams with active agents")]
    Nobody,
    /// A receiver twice.
    #[error("the same agent or team is named twice")]
    Twice,
    /// More than one for all.
    #[error("the method manual gives all cases to one agent or team; name exactly one")]
    NotOne,
}
