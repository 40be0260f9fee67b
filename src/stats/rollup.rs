//! From one fact to its sums: f(fact), pure. The roll-ups hold sum of f(fact), one dimension at a time.
//!
//! [`Changes`] gathers what many facts change, so that a group of closings writes each row of a roll-up once.

use std::collections::BTreeMap;

use crate::{
    call::{Cause, Class},
    ids::{AgentId, BatchId, ClientId},
    policy::Relation,
    store::sql::words,
};

words! {
    /// What attempts are added up by, in the order of the words.
    pub enum Dimension {
        /// Who called.
        Agent = "agent",
        /// Everything in one row.
        All = "all",
        /// The lot of the case.
        Batch = "batch",
        /// How long the debt was overdue at placement.
        Bucket = "bucket",
        /// The number of ours that was shown.
        CallerId = "caller_id",
        /// Why it ended.
        Cause = "cause",
        /// The bank.
        Client = "client",
        /// What the agent said came of it.
        Disposition = "disposition",
        /// Mobile, fixed line, …
        NumberKind = "number_kind",
        /// Relation of the person called to the debtor.
        Relation = "relation",
        /// The team of the agent at dial time.
        Team = "team",
        /// The trunk.
        Trunk = "trunk",
    }
}

impl Dimension {
    /// Those by which one client's calls are added up by day. A batch has one client, so that its own row says the same.
    pub const OF_CLIENT: [Dimension; 9] = [
        Dimension::Agent,
        Dimension::Bucket,
        Dimension::CallerId,
        Dimension::Cause,
        Dimension::Disposition,
        Dimension::NumberKind,
        Dimension::Relation,
        Dimension::Team,
        Dimension::Trunk,
    ];
}

/// An ended attempt of a case, with its dimensions as they were at dial time. The times follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The bank.
    pub client: ClientId,
    /// The lot.
    pub batch: BatchId,
    /// The agent's team, if there was one.
    pub team: Option<i64>,
    /// Who called.
    pub agent: AgentId,
    /// Overdue bucket of the case.
    pub bucket: String,
    /// Relation of the person called to the debtor.
    pub relation: Relation,
    /// Type of the number.
    pub number_kind: String,
    /// The trunk.
    pub trunk: String,
    /// The number of ours that was shown.
    pub caller_id: String,
    /// Why it ended.
    pub cause: Cause,
    /// What the agent said came of it; empty until noted.
    pub disposition: String,
    /// By the disposition, the right person was spoken to.
    pub right_party: bool,
    /// The first attempt at its case.
    pub first_call: bool,
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

impl Fact {
    /// The value of a dimension, as the roll-ups hold it.
    fn value(&self, dimension: Dimension) -> String {
        match dimension {
            Dimension::Agent => self.agent.to_string(),
            Dimension::All => String::new(),
            Dimension::Batch => self.batch.to_string(),
            Dimension::Bucket => self.bucket.clone(),
            Dimension::CallerId => self.caller_id.clone(),
            Dimension::Cause => self.cause.as_str().to_owned(),
            Dimension::Client => self.client.to_string(),
            Dimension::Disposition => self.disposition.clone(),
            Dimension::NumberKind => self.number_kind.clone(),
            Dimension::Relation => self.relation.as_str().to_owned(),
            Dimension::Team => self.team.map(|team| team.to_string()).unwrap_or_default(),
            Dimension::Trunk => self.trunk.clone(),
        }
    }
}

/// Declares the sums once: the fields are the columns of the roll-ups.
macro_rules! sums {
    ($($field:ident),*) => {
        /// What is added up. The fields are the columns of the roll-ups, where each is explained.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[expect(
            missing_docs,
            reason = "named and explained in migrations/sqlite/0004_figures.sql, table rollup_hours"
        )]
        pub struct Sums { $(pub $field: i64),* }

        impl Sums {
            /// The columns of the roll-ups, in the order of [`Sums::values`].
            pub const COLUMNS: [&str; 10] = [$(stringify!($field)),*];

            /// The sums in the order of the columns.
            pub fn values(&self) -> [i64; 10] {
                [$(self.$field),*]
            }

            /// The sums from values in the order of the columns.
            pub fn from_values([$($field),*]: [i64; 10]) -> Sums {
                Sums { $($field),* }
            }
        }

        impl std::ops::AddAssign for Sums {
            fn add_assign(&mut self, other: Sums) {
                $(self.$field += other.$field;)*
            }
        }

        impl std::ops::Neg for Sums {
            type Output = Sums;

            fn neg(self) -> Sums {
                Sums { $($field: -self.$field),* }
            }
        }
    };
}
sums!(
    attempts,
    lost_ours,
    seizures,
    connected,
    effective,
    right_party,
    talk_ms,
    rung,
    pdd_ms,
    ring_ms
);

impl Sums {
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
            right_party: i64::from(connected && fact.right_party),
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

    /// Whether nothing was added up.
    pub fn is_zero(&self) -> bool {
        *self == Sums::default()
    }
}

/// One row of a roll-up, whatever the day. The order is that in which transactions write, so that two of them never
/// wait for each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Of `rollup_hours`.
    Hour {
        /// Word of a [`Dimension`].
        dimension: String,
        /// Its value.
        value: String,
        /// Local hour.
        hour: i64,
    },
    /// Of `rollup_days`.
    Day {
        /// Word of a [`Dimension`].
        dimension: String,
        /// Its value.
        value: String,
    },
    /// Of `rollup_first_calls`.
    FirstCall {
        /// The lot.
        batch: i64,
        /// What came of the call.
        disposition: String,
    },
    /// Of `rollup_client_days`.
    ClientDay {
        /// The bank.
        client: i64,
        /// Word of one of [`Dimension::OF_CLIENT`].
        dimension: String,
        /// Its value.
        value: String,
    },
}

/// What changes in the roll-ups, by row and day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<(Row, String), Sums>);

impl Changes {
    /// Adds the difference that a change of a fact makes: f(new) - f(old). No old fact when it is new.
    pub fn change(&mut self, old: Option<&Fact>, new: Option<&Fact>) {
        if old == new {
            return;
        }
        if let Some(fact) = old {
            self.fact(fact, -Sums::of(fact));
        }
        if let Some(fact) = new {
            self.fact(fact, Sums::of(fact));
        }
    }

    fn fact(&mut self, fact: &Fact, sums: Sums) {
        for dimension in Dimension::ALL {
            let (dimension, value) = (dimension.as_str().to_owned(), fact.value(*dimension));
            let hour = Row::Hour {
                dimension: dimension.clone(),
                value: value.clone(),
                hour: fact.local_hour.into(),
            };
            self.add(hour, &fact.local_date, sums);
            self.add(Row::Day { dimension, value }, &fact.local_date, sums);
        }
        for dimension in Dimension::OF_CLIENT {
            let row = Row::ClientDay {
                client: fact.client.get(),
                dimension: dimension.as_str().to_owned(),
                value: fact.value(dimension),
            };
            self.add(row, &fact.local_date, sums);
        }
        if fact.first_call {
            let row = Row::FirstCall {
                batch: fact.batch.get(),
                disposition: fact.disposition.clone(),
            };
            self.add(row, &fact.local_date, sums);
        }
    }

    /// Adds sums to a row of a day.
    pub fn add(&mut self, row: Row, date: &str, sums: Sums) {
        *self.0.entry((row, date.to_owned())).or_default() += sums;
    }

    /// Rows, days and sums that are not zero, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&Row, &str, &Sums)> {
        self.0
            .iter()
            .filter(|(_, sums)| !sums.is_zero())
            .map(|((row, date), sums)| (row, date.as_str(), sums))
    }

    /// What is written: what [`Changes::iter`] gives, and of each day the row of all attempts even where it stays the
    /// same. Whoever changes anything of a day takes that row, and so takes turns with whoever seals the day.
    pub fn to_write(&self) -> impl Iterator<Item = (&Row, &str, &Sums)> {
        let is_all = |row: &Row| matches!(row, Row::Day { dimension, .. } if dimension == Dimension::All.as_str());
        self.0
            .iter()
            .filter(move |((row, _), sums)| !sums.is_zero() || is_all(row))
            .map(|((row, date), sums)| (row, date.as_str(), sums))
    }

    /// Without the rows that this does not hold for.
    pub fn retain(&mut self, holds: impl Fn(&Row) -> bool) {
        self.0.retain(|(row, _), _| holds(row));
    }

    /// The days that change.
    pub fn dates(&self) -> std::collections::BTreeSet<&str> {
        self.iter().map(|(_, date, _)| date).collect()
    }

    /// The sums of one row of one day.
    pub fn of(&self, row: &Row, date: &str) -> Sums {
        let key = (row.clone(), date.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }
}
