//! What the agent says came of a call.

use serde::{Deserialize, Serialize};

/// What the agent says came of a call. The stored words never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The right party promised to pay.
    Promised,
    /// The right party, without a promise.
    RightParty,
    /// Somebody else, who knows the debtor.
    ThirdParty,
    /// Somebody who does not know the debtor.
    WrongPerson,
    /// Somebody who asked not to be called again.
    Refused,
    /// The debtor is said to have died.
    Deceased,
    /// The debt is said to be a fraud.
    SuspectedFraud,
    /// A machine answered.
    Machine,
    /// Nobody was reached.
    NoContact,
}

impl Disposition {
    /// Every disposition.
    pub const ALL: &'static [Self] = &[
        Self::Promised,
        Self::RightParty,
        Self::ThirdParty,
        Self::WrongPerson,
        Self::Refused,
        Self::Deceased,
        Self::SuspectedFraud,
        Self::Machine,
        Self::NoContact,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promised => "promised",
            Self::RightParty => "right_party",
            Self::ThirdParty => "third_party",
            Self::WrongPerson => "wrong_person",
            Self::Refused => "refused",
            Self::Deceased => "deceased",
            Self::SuspectedFraud => "suspected_fraud",
            Self::Machine => "machine",
            Self::NoContact => "no_contact",
        }
    }

    /// The disposition of a stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|d| d.as_str() == word)
    }

    /// Whether the person who owes was spoken to (for the right-party-contact rate).
    #[must_use]
    pub const fn is_right_party(self) -> bool {
        matches!(self, Self::Promised | Self::RightParty)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_stored_word_is_the_serialised_word_and_comes_back() {
        for disposition in Disposition::ALL {
            let json = serde_json::to_string(disposition).unwrap();
            assert_eq!(json, format!("\"{}\"", disposition.as_str()));
            assert_eq!(Disposition::parse(disposition.as_str()), Some(*disposition));
        }
        assert_eq!(Disposition::parse("nonsense"), None);
    }
}
