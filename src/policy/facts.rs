//! Everything a decision looks at, as plain data that `store` reads inside the deciding transaction.
//!
//! Nothing here judges. The number itself stays out of what is serialised into the receipt
//! ([`NumberFacts`] takes its place); the attempt's row knows the contact point.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AgreementFacts, BarFacts, Last, Measure, RuleSet, Scope, SpecialDay, Zones};
use crate::clock::{ClockOrigin, ClockTrust};
use crate::ids::{CaseId, ClientId, ContactPointId, DebtorId, PersonId};
use crate::phone::{NumberKind, PhoneNumber};

/// The moment a decision is made in, as `Clock::now` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Wall clock, milliseconds since 1970 UTC.
    pub wall_ms: i64,
    /// Whether that clock can be trusted.
    pub trust: ClockTrust,
    /// Which clock it was. The configuration refuses a practice clock beside a real trunk.
    pub origin: ClockOrigin,
}

/// Declares an enum with one stable stored word a variant.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of a stored word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(super) use words;

words! {
    /// Where a case stands. Only an open one may be worked.
    CaseState {
        /// Being worked.
        Open = "open",
        /// Work is paused, by us or at the client's wish.
        Paused = "paused",
        /// Paid; closes by itself so that nobody who has paid is called.
        Settled = "settled",
        /// Given back to the client.
        Returned = "returned",
        /// Ended for any other reason.
        Closed = "closed",
    }
}

words! {
    /// What the person behind a number is to the debt.
    Relation {
        /// The debtor, on a number of their own.
        Debtor = "debtor",
        /// Somebody who owes the same debt.
        JointDebtor = "joint_debtor",
        /// Somebody who vouched for it.
        Guarantor = "guarantor",
        /// A relative.
        Relative = "relative",
        /// A colleague or employer.
        Colleague = "colleague",
        /// A friend.
        Friend = "friend",
        /// Anybody else, and whoever is not known.
        Other = "other",
    }
}

impl Relation {
    /// Whether the person owes nothing: such contacts stay locked until loss of contact is on record.
    #[must_use]
    pub const fn is_third_party(self) -> bool {
        !matches!(self, Self::Debtor | Self::JointDebtor | Self::Guarantor)
    }
}

words! {
    /// What is known about a number.
    NumberState {
        /// Nothing against it.
        Usable = "usable",
        /// It is dead or not the number of the person called; still dialable.
        Invalid = "invalid",
        /// Never to be called. Only receipts of evaluator 1 say so: since then what bars a call is a row of its own
        /// ([`super::BarFacts`]).
        Barred = "barred",
    }
}

/// The case the call is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFacts {
    /// The case.
    pub id: CaseId,
    /// Whose debt it is.
    pub debtor: DebtorId,
    /// Who that is, across clients and files; receipts of evaluator 1 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// Who placed it.
    pub client: ClientId,
    /// Where it stands.
    pub state: CaseState,
    /// Its import is still at work on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// The contact point to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPointFacts {
    /// The contact point.
    pub id: ContactPointId,
    /// The case it belongs to, as stored with it (not as the caller claims).
    pub case: CaseId,
    /// Who answers there.
    pub relation: Relation,
    /// What is on record about the number, for people who read the receipt; nothing is judged by it but `barred`.
    pub state: NumberState,
    /// The person, being a third party, asked not to be called again.
    pub refused: bool,
}

/// What a receipt says about the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberFacts {
    /// Country code and last two digits.
    pub shown: String,
    /// Country calling code; 0 for a short code.
    pub country_code: u16,
    /// Two letters, where known.
    pub region: Option<String>,
    /// What the numbering plan says it is for.
    pub kind: NumberKind,
}

impl NumberFacts {
    pub(super) fn of(number: &PhoneNumber) -> Self {
        Self {
            shown: number.to_string(),
            country_code: number.country_code(),
            region: number.region().map(str::to_owned),
            kind: number.kind(),
        }
    }
}

/// What is on record about the debtor's own numbers, from which loss of contact follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnNumbers {
    /// Numbers of contact points with relation `debtor` on any case of the debtor's person, barred ones included.
    pub total: u32,
    /// Those of them that are dead, or not the person's as found at a contact point of that very person, each found on a
    /// call of ours or vouched for, and nobody answered there since. Receipts from before version 7 of the schema counted
    /// whatever number had been marked in anybody's case, and for good; they are judged as they are.
    pub invalid: u32,
    /// Closed attempts to them that the person called or their number failed, since the last one that was answered;
    /// attempts that the agent, a trunk or we ourselves lost and those whose INVITE never left do not count.
    pub failures_in_a_row: u32,
}

/// One counter the rules ask for; [`RuleSet::counts_needed`] lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountNeeded {
    /// What is counted.
    pub measure: Measure,
    /// Over whom.
    pub scope: Scope,
    /// From when, milliseconds UTC, inclusive, by the time the attempt was stored.
    pub since_ms: i64,
    /// With `effective`: only calls that lasted so long, milliseconds from answer to hang-up.
    pub at_least_ms: i64,
}

/// A counter as `store` read it inside the deciding transaction. With scope `debtor` there may be one for each person
/// whom a call to this number counts for; the fullest is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What was counted.
    pub measure: Measure,
    /// Over whom.
    pub scope: Scope,
    /// Which person, where the scope is a person and several are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// From when, milliseconds UTC, inclusive.
    pub since_ms: i64,
    /// With `effective`: only calls that lasted so long, milliseconds from answer to hang-up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_least_ms: i64,
    /// Closed attempts that match the measure.
    pub settled: u32,
    /// Attempts of the same scope still under way, whatever the measure: each may yet become either.
    pub under_way: u32,
    /// Calls of the same scope that the client's other agencies made, as told; where only their number is known, all of
    /// them.
    #[serde(default, skip_serializing_if = "none_outside")]
    pub outside: u32,
}

fn is_zero(ms: &i64) -> bool {
    *ms == 0
}

fn none_outside(calls: &u32) -> bool {
    *calls == 0
}

impl Count {
    /// A counter as it was asked for, with nothing counted yet.
    #[must_use]
    pub const fn none(needed: CountNeeded) -> Self {
        Self {
            measure: needed.measure,
            scope: needed.scope,
            person: None,
            since_ms: needed.since_ms,
            at_least_ms: needed.at_least_ms,
            settled: 0,
            under_way: 0,
            outside: 0,
        }
    }

    /// All of them: ours, ours that may yet become one, and others'.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.settled
            .saturating_add(self.under_way)
            .saturating_add(self.outside)
    }
}

/// Everything one decision looks at, apart from [`Now`].
#[derive(Debug, Clone)]
pub struct Facts {
    /// The case the call is for.
    pub case: CaseFacts,
    /// The contact point to be called.
    pub contact_point: ContactPointFacts,
    /// Its number.
    pub number: PhoneNumber,
    /// The zones the person called may be in ([`Zones::of`], or [`Zones::recorded`] where one is on record).
    pub zones: Zones,
    /// The counters that [`RuleSet::counts_needed`] asked for.
    pub counts: Vec<Count>,
    /// The last calls that [`RuleSet::lasts_needed`] asked for.
    pub lasts: Vec<Last>,
    /// Every bar in force that covers the call: by its number, by a person the number is an own number of or whose debt
    /// it is, by its case, its client, or everything.
    pub bars: Vec<BarFacts>,
    /// The agreements for this number that were neither refused nor revoked.
    pub agreements: Vec<AgreementFacts>,
    /// The special days of every region the number may ring in ([`super::regions_of`]), from and to
    /// [`super::dates_around`].
    pub special_days: Vec<SpecialDay>,
    /// What is on record about the debtor's own numbers.
    pub own_numbers: OwnNumbers,
    /// The rules of the client, strictest already merged.
    pub rules: Arc<RuleSet>,
}
