//! The identities of the system as types, so that a case can never be passed for a contact point.
//!
//! Rows that people name (clients, cases, agents) carry a number given by the database. What happens
//! (a call, a receipt, a recording) carries a UUIDv7 made here from the time and the random bits that
//! the caller hands in: this file reads neither clock nor randomness.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}")]
pub struct IdError {
    what: &'static str,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Wraps the number the database gave.
            #[must_use]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The number as the database knows it.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError { what: $what })
            }
        }
    };
}

macro_rules! dated {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a UUIDv7 (RFC 9562, 5.7) from the wall clock in milliseconds UTC and 80 random bits.
            /// A time before 1970 counts as 1970.
            #[must_use]
            pub fn from_parts(wall_ms: i64, random: [u8; 10]) -> Self {
                let ms = u64::try_from(wall_ms).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
            }

            /// Wraps a UUID that was read back from where it was stored.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError { what: $what })
            }
        }
    };
}

numbered!(
    /// The bank that placed cases with us.
    ClientId,
    "client number"
);
numbered!(
    /// The lot a case came in.
    BatchId,
    "batch number"
);
numbered!(
    /// One debt placed with us.
    CaseId,
    "case number"
);
numbered!(
    /// The person who owes.
    DebtorId,
    "debtor number"
);
numbered!(
    /// A natural person, however many debtors of however many clients that is.
    PersonId,
    "person number"
);
numbered!(
    /// What a customer or third party agreed to about the hours.
    AgreementId,
    "agreement number"
);
numbered!(
    /// What bars calls: a do-not-call, a complaint, a death, suspected fraud.
    BarId,
    "bar number"
);
numbered!(
    /// One number of one person tied to a case.
    ContactPointId,
    "contact point number"
);
numbered!(
    /// The human who calls; never a SIP user agent.
    AgentId,
    "agent number"
);
numbered!(
    /// An account that may sign in or hold a token.
    UserId,
    "user number"
);
numbered!(
    /// People who work together under a lead.
    TeamId,
    "team number"
);
numbered!(
    /// One call note.
    NoteId,
    "note number"
);
numbered!(
    /// One call promised for later.
    CallbackId,
    "callback number"
);
numbered!(
    /// One allocation of many cases.
    AllocationId,
    "allocation number"
);
dated!(
    /// One call, which is also one attempt.
    CallId,
    "call id"
);
dated!(
    /// The stored proof of one policy decision.
    ReceiptId,
    "receipt id"
);
dated!(
    /// One recording in the vault.
    RecordingId,
    "recording id"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn call_ids_sort_by_time_and_survive_their_text() {
        let early = CallId::from_parts(1_790_000_000_000, [0xff; 10]);
        let late = CallId::from_parts(1_790_000_000_001, [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.uuid().get_version_num(), 7);
        assert_eq!(early.to_string().parse::<CallId>().unwrap(), early);
    }

    #[test]
    fn a_text_that_is_no_id_says_what_was_expected() {
        assert_eq!(
            "x".parse::<ReceiptId>().unwrap_err().to_string(),
            "not a receipt id"
        );
        assert_eq!(
            "7x".parse::<CaseId>().unwrap_err().to_string(),
            "not a case number"
        );
        assert_eq!("7".parse::<CaseId>().unwrap(), CaseId::new(7));
    }
}
