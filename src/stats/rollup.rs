//! From one fact to its sums: f(fact), pure. The roll-ups hold sum of f(fact), one dimension at a time.

use crate::{
    call::{Cause, Class},
    ids::{AgentId, BatchId, ClientId},
    policy::Relation,
    store::sql::words,
};

words! {
    /// What attempts are added up by. The order is that of the words, in which rows are written, so that two
    /// transactions never wait for each other.
    pub enum Dimension {
        /// Who called.
        Agent = "agent",
        /// Everything in one row.
        All = "all",
        /// The lot of the case.
        Batch = "batch",
        /// The number of ours that was shown.
        CallerId = "caller_id",
        /// Why it ended.
        Cause = "cause",
        /// The bank.
        Client = "client",
        /// Relation of the person called to the debtor.
        Relation = "relation",
        /// The trunk.
        Trunk = "trunk",
    }
}

/// An ended attempt of a case, with its dimensions as they were at dial time. The times follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The bank.
    pub client: ClientId,
    /// The lot.
    pub batch: BatchId,
    /// Who called.
    pub agent: AgentId,
    /// Relation of the person called to the debtor.
    pub relation: Relation,
    /// The trunk.
    pub trunk: String,
    /// The number of ours that was shown.
    pub caller_id: String,
    /// Why it ended.
    pub cause: Cause,
    /// Local day of the person called.
    pub local_date: String,
    /// Local hour of the person called.
    pub local_hour: u8,
    /// When the customer INVITE left.
    pub seized_at_ms: Option<i64>,
    /// When the customer's phone first rang.
    pub rang_at_ms: Option<i64>,
    /// When the customer answered.
    pub answered_at_ms: Option<i64>,
    /// When it was over.
    pub ended_at_ms: i64,
}

/// What is added up. The fields are the columns of the roll-ups, where each is explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "named and explained in migrations/sqlite/0001_floor.sql, table rollup_hours"
)]
pub struct Sums {
    pub attempts: i64,
    pub lost_ours: i64,
    pub seizures: i64,
    pub connected: i64,
    pub effective: i64,
    pub talk_ms: i64,
    pub rung: i64,
    pub pdd_ms: i64,
    pub ring_ms: i64,
}

impl Sums {
    /// The columns of the roll-ups, in the order of [`Sums::values`].
    pub const COLUMNS: [&str; 9] = [
        "attempts",
        "lost_ours",
        "seizures",
        "connected",
        "effective",
        "talk_ms",
        "rung",
        "pdd_ms",
        "ring_ms",
    ];

    /// f(fact).
    pub fn of(fact: &Fact) -> Sums {
        let (seized, connected) = (fact.seized_at_ms.is_some(), fact.answered_at_ms.is_some());
        let ringing = fact.seized_at_ms.zip(fact.rang_at_ms);
        Sums {
            attempts: 1,
            lost_ours: i64::from(fact.cause.class() == Class::Ours && !connected),
            seizures: i64::from(seized),
            connected: i64::from(connected),
            effective: i64::from(seized && (connected || fact.cause.counts_for_ner())),
            talk_ms: fact
                .answered_at_ms
                .map_or(0, |answered| fact.ended_at_ms - answered),
            rung: i64::from(ringing.is_some()),
            pdd_ms: ringing.map_or(0, |(seized, rang)| rang - seized),
            ring_ms: ringing.map_or(0, |(_, rang)| {
                fact.answered_at_ms.unwrap_or(fact.ended_at_ms) - rang
            }),
        }
    }

    /// The sums in the order of the columns.
    pub fn values(&self) -> [i64; 9] {
        [
            self.attempts,
            self.lost_ours,
            self.seizures,
            self.connected,
            self.effective,
            self.talk_ms,
            self.rung,
            self.pdd_ms,
            self.ring_ms,
        ]
    }

    /// The sums from values in the order of the columns.
    pub fn from_values(v: [i64; 9]) -> Sums {
        let [
            attempts,
            lost_ours,
            seizures,
            connected,
            effective,
            talk_ms,
            rung,
            pdd_ms,
            ring_ms,
        ] = v;
        Sums {
            attempts,
            lost_ours,
            seizures,
            connected,
            effective,
            talk_ms,
            rung,
            pdd_ms,
            ring_ms,
        }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        let mut values = self.values();
        for (value, more) in values.iter_mut().zip(other.values()) {
            *value += more;
        }
        *self = Sums::from_values(values);
    }
}

impl std::ops::Neg for Sums {
    type Output = Sums;

    fn neg(self) -> Sums {
        Sums::from_values(self.values().map(|v| -v))
    }
}
