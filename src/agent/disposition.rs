//! What the agent says came of a call, and what saying so does (催收结果).
//!
//! The list is data: [`shipped`] reads the one we bring (`config/dispositions.toml`), which `store::dispositions` enters
//! where it is missing; a client's own row replaces the general one code by code. What the [`Effect`]s do is in
//! `crate::cases::notes`, which carries them out in the transaction that finishes the note.

use serde::{Deserialize, Serialize};

/// Characters of the longest code and the longest name.
const LONGEST: usize = 64;

/// What finishing a note with a disposition does. The stored words never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Asks for the promised amount and day.
    Promise,
    /// Asks for an instant and queues a call.
    Callback,
    /// Asks for hours and an end, and proposes an agreement with the recording as its proof.
    Agreement,
    /// The person called, being a third party, is not called again.
    RefuseContact,
    /// The number is not called again, for anybody.
    BarNumber,
    /// The number is not that of the person called.
    InvalidNumber,
    /// The number is out of service, whoever is called there.
    DeadNumber,
    /// The debtor is said to have died: no call in any of that person's cases.
    Deceased,
    /// The debt is said to be a fraud: no call in this case.
    SuspectedFraud,
    /// A complaint: no call in this case until the hold is lifted, and a major matter to be reported.
    Complaint,
}

impl Effect {
    /// Every effect.
    pub const ALL: &'static [Self] = &[
        Self::Promise,
        Self::Callback,
        Self::Agreement,
        Self::RefuseContact,
        Self::BarNumber,
        Self::InvalidNumber,
        Self::DeadNumber,
        Self::Deceased,
        Self::SuspectedFraud,
        Self::Complaint,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promise => "promise",
            Self::Callback => "callback",
            Self::Agreement => "agreement",
            Self::RefuseContact => "refuse_contact",
            Self::BarNumber => "bar_number",
            Self::InvalidNumber => "invalid_number",
            Self::DeadNumber => "dead_number",
            Self::Deceased => "deceased",
            Self::SuspectedFraud => "suspected_fraud",
            Self::Complaint => "complaint",
        }
    }

    /// Whether it concerns the number that was called, and so needs one.
    #[must_use]
    pub const fn needs_number(self) -> bool {
        matches!(
            self,
            Self::Callback
                | Self::Agreement
                | Self::RefuseContact
                | Self::BarNumber
                | Self::InvalidNumber
                | Self::DeadNumber
        )
    }
}

/// One thing that may come of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disposition {
    /// The stable word: small letters, digits and `_`.
    pub code: String,
    /// Shown, in English.
    pub name_en: String,
    /// Shown, in Chinese.
    pub name_zh: String,
    /// Whether the right person was spoken to.
    pub right_party: bool,
    /// What it does.
    #[serde(default)]
    pub effects: Vec<Effect>,
}

/// Why a disposition is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispositionError {
    /// The list cannot be read.
    #[error("the list of dispositions cannot be read: {0}")]
    List(String),
    /// The code is not one.
    #[error("{0:?} is no code; write 1 to 64 small letters, digits and _")]
    Code(String),
    /// A name is missing or too long.
    #[error("{0}: write a name of 1 to 64 characters in English and in Chinese")]
    Name(String),
    /// A code twice in one list.
    #[error("{0}: the code stands twice in the list")]
    Twice(String),
}

impl Disposition {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// What is wrong with code or names.
    pub fn checked(mut self) -> Result<Self, DispositionError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=LONGEST).contains(&self.code.len()) || !self.code.chars().all(fits) {
            return Err(DispositionError::Code(self.code));
        }
        for name in [&mut self.name_en, &mut self.name_zh] {
            *name = name.trim().to_owned();
            if !(1..=LONGEST).contains(&name.chars().count()) {
                return Err(DispositionError::Name(self.code));
            }
        }
        self.effects.sort_unstable();
        self.effects.dedup();
        Ok(self)
    }

    /// Whether it does this.
    #[must_use]
    pub fn does(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    disposition: Vec<Disposition>,
}

/// Reads a list in the form of `config/dispositions.toml`.
///
/// # Errors
/// The place and the fault.
pub fn parse(text: &str) -> Result<Vec<Disposition>, DispositionError> {
    let list: List =
        toml::from_str(text).map_err(|e| DispositionError::List(e.to_string().trim().into()))?;
    let mut seen = std::collections::HashSet::new();
    list.disposition
        .into_iter()
        .map(|one| {
            let one = one.checked()?;
            if seen.insert(one.code.clone()) {
                Ok(one)
            } else {
                Err(DispositionError::Twice(one.code))
            }
        })
        .collect()
}

/// The list that we bring.
///
/// # Errors
/// None, as a test proves of the file that is compiled in.
pub fn shipped() -> Result<Vec<Disposition>, DispositionError> {
    parse(include_str!("../../config/dispositions.toml"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_list_is_whole_and_uses_every_effect() {
        let list = shipped().unwrap();
        for effect in Effect::ALL {
            assert!(list.iter().any(|d| d.does(*effect)), "{effect:?}");
        }
        for code in [
            "promised",
            "deceased",
            "suspected_fraud",
            "wrong_number",
            "refuses_contact",
            "asks_hours",
            "callback",
            "complaint",
            "no_contact",
        ] {
            assert!(list.iter().any(|d| d.code == code), "{code}");
        }
        assert!(list.iter().all(|d| d.name_zh.chars().any(|c| c > '\u{7f}')));
    }

    #[test]
    fn the_stored_word_of_an_effect_is_the_serialised_word() {
        for effect in Effect::ALL {
            let json = serde_json::to_string(effect).unwrap();
            assert_eq!(json, format!("\"{}\"", effect.as_str()));
        }
    }

    #[test]
    fn a_list_with_a_fault_is_refused_by_name() {
        let one = |code: &str, rest: &str| {
            format!(
                "[[disposition]]\ncode = {code:?}\nname_en = \"E\"\nname_zh = \"中\"\nright_party = false\n{rest}\n"
            )
        };
        for (text, said) in [
            (one("Bad", ""), "no code"),
            (one("a", "") + &one("a", ""), "twice"),
            (one("a", "effects = [\"explode\"]"), "explode"),
            (one("a", "colour = 1"), "colour"),
            (one("a", "").replace('E', " "), "English"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
