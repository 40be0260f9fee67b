//! Identity numbers and card numbers: normalised, so that one person is found under however his number was written, and
//! redacted by themselves.
//!
//! They are kept encrypted (`fields`); only [`Identity::expose`] and [`Card::expose`] show them whole.

use std::fmt;

/// Why a text is not an identity number. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Characters or a length that no document has.
    #[error(
        "not an identity number: 18 digits (the last may be X), 15 digits, or letters and digits of another document"
    )]
    Malformed,
    /// The last character of an 18-digit number does not follow from the others.
    #[error("its check digit does not fit: a digit is wrong or two are exchanged")]
    CheckDigit,
    /// The digits where the birthday stands are none.
    #[error("no such birthday in it")]
    Birthday,
    /// A card or account number of an impossible form.
    #[error("not a card or account number: 5 to 34 letters and digits")]
    Card,
}

/// An identity number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity(Box<str>);

impl Identity {
    /// Reads an identity number: a Chinese one of 18 digits (GB 11643, checked) or of 15 (rewritten as 18), or another
    /// document's letters and digits.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn parse(text: &str) -> Result<Identity, IdentityError> {
        let plain = plain(text).ok_or(IdentityError::Malformed)?;
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let chinese = plain.len() == 18 && plain.get(..17).is_some_and(digits);
        if chinese {
            return Self::chinese(&plain);
        }
        if plain.len() == 15 && digits(&plain) {
            let long = format!(
                "{}19{}",
                plain.get(..6).unwrap_or_default(),
                plain.get(6..).unwrap_or_default()
            );
            return Self::chinese(&format!("{long}{}", check_digit(&long)));
        }
        let other = (5..=20).contains(&plain.len()) && !digits(&plain);
        other
            .then(|| Identity(plain.into()))
            .ok_or(IdentityError::Malformed)
    }

    fn chinese(text: &str) -> Result<Identity, IdentityError> {
        let number = |from, to| text.get(from..to).and_then(|t| t.parse::<i16>().ok());
        let day = number(6, 10).zip(number(10, 12)).zip(number(12, 14));
        let exists = day.is_some_and(|((year, month), day)| {
            let (month, day) = (i8::try_from(month), i8::try_from(day));
            year >= 1800
                && month
                    .is_ok_and(|m| day.is_ok_and(|d| jiff::civil::Date::new(year, m, d).is_ok()))
        });
        let body = text.get(..17).unwrap_or_default();
        if !text.ends_with(check_digit(body)) {
            return Err(IdentityError::CheckDigit);
        }
        exists
            .then(|| Identity(text.into()))
            .ok_or(IdentityError::Birthday)
    }

    /// The whole number.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The check digit of 17 digits (ISO 7064, MOD 11-2).
fn check_digit(body: &str) -> char {
    let sum = body.bytes().fold(0u32, |sum, b| {
        (sum + u32::from(b.wrapping_sub(b'0'))) * 2 % 11
    });
    match (12 - sum) % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap_or('X'),
    }
}

/// Letters and digits in capitals, without the blanks and hyphens that people put between them.
fn plain(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '\u{3000}'))
        .collect();
    let fits = plain.len() <= 40 && plain.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| plain.to_ascii_uppercase())
}

/// A card or account number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Card(Box<str>);

impl Card {
    /// Reads a card or account number.
    ///
    /// # Errors
    /// [`IdentityError::Card`].
    pub fn parse(text: &str) -> Result<Card, IdentityError> {
        plain(text)
            .filter(|plain| (5..=34).contains(&plain.len()))
            .map(|plain| Card(plain.into()))
            .ok_or(IdentityError::Card)
    }

    /// Whether its check digit fits, if it looks like a bank card: some clients' account numbers have none, so that is a
    /// warning and no fault.
    #[must_use]
    pub fn luhn_fits(&self) -> bool {
        let digits = self.0.bytes().all(|b| b.is_ascii_digit());
        if !digits || !(13..=19).contains(&self.0.len()) {
            return true;
        }
        let sum: u32 = self
            .0
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, b)| match (place % 2, u32::from(b - b'0')) {
                (0, digit) => digit,
                (_, digit) => digit * 2 - if digit > 4 { 9 } else { 0 },
            })
            .sum();
        sum.is_multiple_of(10)
    }

    /// Its last four characters.
    #[must_use]
    pub fn last4(&self) -> &str {
        last4(&self.0)
    }

    /// The whole number.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The last four characters of ASCII text.
#[must_use]
pub fn last4(text: &str) -> &str {
    text.get(text.len().saturating_sub(4)..).unwrap_or_default()
}

/// What a role that may not see the whole number is shown.
#[must_use]
pub fn masked(text: &str) -> String {
    format!("****{}", last4(text))
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
redacted!(Identity, Card);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn identity(text: &str) -> Result<String, IdentityError> {
        Identity::parse(text).map(|identity| identity.expose().to_owned())
    }

    #[test]
    fn one_number_written_in_many_ways_is_one_person() {
        for text in [
            "11010519491231002X",
            "11010519491231002x",
            " 110105 19491231 002x",
            "110105-19491231-002X",
            "110105491231002",
        ] {
            assert_eq!(identity(text).unwrap(), "11010519491231002X", "{text}");
        }
        assert_eq!(identity("e12345678").unwrap(), "E12345678");
    }

    #[test]
    fn a_wrong_number_is_named_by_what_is_wrong_with_it() {
        for (text, error) in [
            ("110105194912310021", IdentityError::CheckDigit),
            ("110105491331002", IdentityError::Birthday),
            ("1234", IdentityError::Malformed),
            ("12345678", IdentityError::Malformed),
            ("", IdentityError::Malformed),
            ("身份证", IdentityError::Malformed),
        ] {
            assert_eq!(identity(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_card_is_checked_but_an_account_number_passes() {
        assert!(Card::parse("4111 1111 1111 1111").unwrap().luhn_fits());
        assert!(!Card::parse("4111 1111 1111 1112").unwrap().luhn_fits());
        assert!(Card::parse("ACC-0001").unwrap().luhn_fits());
        assert_eq!(Card::parse("4111 1111 1111 1111").unwrap().last4(), "1111");
        assert_eq!(Card::parse("12"), Err(IdentityError::Card));
    }

    #[test]
    fn nothing_printed_shows_them() {
        let shown = format!(
            "{:?} {:?}",
            identity_of(),
            Card::parse("4111111111111111").unwrap()
        );
        assert_eq!(shown, "Identity(..) Card(..)");
        assert_eq!(masked("11010519491231002X"), "****002X");
    }

    fn identity_of() -> Identity {
        Identity::parse("11010519491231002X").unwrap()
    }

    proptest! {
        #[test]
        fn a_changed_digit_is_found(at in 0usize..17, by in 1u8..10) {
            let mut bytes = b"11010519491231002X".to_vec();
            bytes[at] = b'0' + (bytes[at] - b'0' + by) % 10;
            prop_assert!(identity(std::str::from_utf8(&bytes).unwrap()).is_err());
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = (Identity::parse(&text), Card::parse(&text));
        }
    }
}
