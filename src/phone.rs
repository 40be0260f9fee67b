//! A telephone number: parsed once at the edge, E.164 inside, and never printed whole by accident.
//!
//! `Debug` and `Display` show the country code and the last two digits only; [`PhoneNumber::dial_string`]
//! is the only way to all digits, so that a search for its name finds every place a number can leave by.
//! Short codes (10086, 95533) are no E.164 numbers; they pass only when [`ShortCodes`] lists them.
//! The zone a number is called in is `policy/zone.rs`.

use std::collections::BTreeSet;
use std::fmt;

use phonenumber::country;
use serde::{Deserialize, Serialize};

/// What the numbering plan says a number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberKind {
    /// A fixed line.
    Fixed,
    /// A mobile telephone.
    Mobile,
    /// Fixed or mobile: the plan does not tell them apart (North America).
    FixedOrMobile,
    /// Free to the caller.
    TollFree,
    /// Dearer than an ordinary call.
    Premium,
    /// Voice over IP, with no place of its own.
    Voip,
    /// A short code of the allow-list.
    Short,
    /// Any other kind the plan knows.
    Other,
}

impl NumberKind {
    /// The stored word, a dimension of the figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Mobile => "mobile",
            Self::FixedOrMobile => "fixed_or_mobile",
            Self::TollFree => "toll_free",
            Self::Premium => "premium",
            Self::Voip => "voip",
            Self::Short => "short",
            Self::Other => "other",
        }
    }
}

/// Why a text is not a number that may be dialled. None of these repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// The text is empty or has characters no number has.
    #[error(
        "not a telephone number: only digits, spaces, + ( ) - . are allowed, 32 characters at most"
    )]
    Malformed,
    /// The digits do not exist in the numbering plan of their country.
    #[error(
        "no such number in the numbering plan; write it as +COUNTRY NUMBER, or list a short code as such"
    )]
    Unassigned,
    /// An extension was given, which a trunk cannot dial.
    #[error("a number with an extension cannot be dialled in one go")]
    Extension,
    /// The region is not a two-letter ISO 3166 code the numbering plan knows.
    #[error("unknown region: use a two-letter ISO 3166 code such as CN")]
    UnknownRegion,
}

/// A two-letter ISO 3166 region whose numbering plan is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region(country::Id);

impl Region {
    /// Mainland China, the default of this product.
    pub const CN: Self = Self(country::Id::CN);

    /// Parses `CN`, `us`, ...
    ///
    /// # Errors
    /// [`PhoneError::UnknownRegion`] for anything else.
    pub fn parse(text: &str) -> Result<Self, PhoneError> {
        text.to_ascii_uppercase()
            .parse()
            .map(Self)
            .map_err(|_| PhoneError::UnknownRegion)
    }

    /// The two letters.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.as_ref()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.code())
    }
}

/// Short codes that may be dialled although no numbering plan lists them as subscribers.
///
/// Empty by default: emergency and service numbers are unreachable unless an operator names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShortCodes(BTreeSet<Box<str>>);

impl ShortCodes {
    /// Takes a list of short codes: 3 to 8 digits each, nothing else.
    ///
    /// # Errors
    /// [`PhoneError::Malformed`] when one of them is not 3 to 8 digits.
    pub fn new<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, PhoneError> {
        codes
            .into_iter()
            .map(|code| {
                let digits = code.bytes().all(|b| b.is_ascii_digit());
                (digits && (3..=8).contains(&code.len()))
                    .then(|| code.into())
                    .ok_or(PhoneError::Malformed)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether these digits are listed.
    #[must_use]
    pub fn contains(&self, digits: &str) -> bool {
        self.0.contains(digits)
    }
}

/// A number that can be dialled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber {
    /// `+` and 7 to 15 digits, or a listed short code without `+`.
    digits: Box<str>,
    /// Country calling code; 0 for a short code.
    country_code: u16,
    /// Two letters, where the plan knows them; a short code has the region it was parsed for.
    region: Option<[u8; 2]>,
    kind: NumberKind,
}

impl PhoneNumber {
    /// Parses what a person or a file wrote, in the numbering plan of `region` unless it begins with `+`.
    ///
    /// # Errors
    /// See [`PhoneError`]; none of them repeats the digits.
    pub fn parse(text: &str, region: Region, short: &ShortCodes) -> Result<Self, PhoneError> {
        let text = text.trim();
        let allowed = |c: char| c.is_ascii_digit() || " +()-.".contains(c);
        if text.is_empty() || text.len() > 32 || !text.chars().all(allowed) {
            return Err(PhoneError::Malformed);
        }
        if short.contains(text) {
            return Ok(Self {
                digits: text.into(),
                country_code: 0,
                region: two_letters(region.code()),
                kind: NumberKind::Short,
            });
        }
        let number =
            phonenumber::parse(Some(region.0), text).map_err(|_| PhoneError::Unassigned)?;
        if number.extension().is_some() {
            return Err(PhoneError::Extension);
        }
        if !number.is_valid() {
            return Err(PhoneError::Unassigned);
        }
        let digits = number.format().mode(phonenumber::Mode::E164).to_string();
        if !is_e164(&digits) {
            return Err(PhoneError::Unassigned);
        }
        Ok(Self {
            digits: digits.into(),
            country_code: number.country().code(),
            region: number
                .country()
                .id()
                .and_then(|id| two_letters(id.as_ref())),
            kind: kind(number.number_type(&phonenumber::metadata::DATABASE)),
        })
    }

    /// Every digit, `+` first (E.164), a short code without it. The only way to see them all:
    /// for the database, the INVITE and nothing that is logged.
    #[must_use]
    pub fn dial_string(&self) -> &str {
        &self.digits
    }

    /// The country calling code (86); 0 for a short code.
    #[must_use]
    pub fn country_code(&self) -> u16 {
        self.country_code
    }

    /// The region as two letters, where the numbering plan knows it (not for +800).
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region
            .as_ref()
            .and_then(|letters| std::str::from_utf8(letters).ok())
    }

    /// What the numbering plan says it is for.
    #[must_use]
    pub fn kind(&self) -> NumberKind {
        self.kind
    }
}

fn is_e164(digits: &str) -> bool {
    digits.strip_prefix('+').is_some_and(|rest| {
        (5..=15).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit())
    })
}

fn two_letters(code: &str) -> Option<[u8; 2]> {
    code.as_bytes().try_into().ok()
}

fn kind(kind: phonenumber::Type) -> NumberKind {
    use phonenumber::Type;
    match kind {
        Type::FixedLine => NumberKind::Fixed,
        Type::Mobile => NumberKind::Mobile,
        Type::FixedLineOrMobile => NumberKind::FixedOrMobile,
        Type::TollFree => NumberKind::TollFree,
        Type::PremiumRate => NumberKind::Premium,
        Type::Voip => NumberKind::Voip,
        Type::ShortCode => NumberKind::Short,
        _ => NumberKind::Other,
    }
}

impl fmt::Display for PhoneNumber {
    /// `+86…12`: enough to recognise a line in a log, not enough to ring somebody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.country_code == 0 {
            return f.write_str("short…");
        }
        let tail = self.digits.get(self.digits.len().saturating_sub(2)..);
        write!(f, "+{}…{}", self.country_code, tail.unwrap_or_default())
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<PhoneNumber, PhoneError> {
        PhoneNumber::parse(text, Region::CN, &ShortCodes::default())
    }

    #[test]
    fn the_same_number_written_in_many_ways_is_one_number() {
        let forms = [
            "+8613800138000",
            "138 0013 8000",
            "0086 138-0013-8000",
            "(138)0013.8000",
        ];
        for form in forms {
            let number = parse(form).unwrap();
            assert_eq!(number.dial_string(), "+8613800138000", "{form}");
            assert_eq!(number.kind(), NumberKind::Mobile);
            assert_eq!(number.country_code(), 86);
            assert_eq!(number.region(), Some("CN"));
        }
        assert_eq!(parse("010 8888 8888").unwrap().kind(), NumberKind::Fixed);
        assert_eq!(parse("+1 212 555 2368").unwrap().region(), Some("US"));
    }

    #[test]
    fn nothing_printed_holds_more_than_country_and_two_digits() {
        let number = parse("+8613800138012").unwrap();
        assert_eq!(format!("{number}"), "+86…12");
        assert_eq!(format!("{number:?}"), "PhoneNumber(+86…12)");
        let short = ShortCodes::new(["10086"]).unwrap();
        let code = PhoneNumber::parse("10086", Region::CN, &short).unwrap();
        assert_eq!(format!("{code} {code:?}"), "short… PhoneNumber(short…)");
    }

    #[test]
    fn what_is_no_number_is_refused_without_repeating_it() {
        for text in [
            "",
            "  ",
            "hello",
            "+",
            "+86",
            "1",
            "110",
            "120",
            "+999123456789",
            "1380013800",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                text.len() < 3 || !error.to_string().contains(text),
                "{text}"
            );
        }
        assert_eq!(parse("13800138000;ext=5"), Err(PhoneError::Malformed));
        assert_eq!(parse("13800138000 ext. 5"), Err(PhoneError::Malformed));
        assert_eq!(parse(&"1".repeat(33)), Err(PhoneError::Malformed));
        assert_eq!(parse("１３８００１３８０００"), Err(PhoneError::Malformed));
    }

    #[test]
    fn a_short_code_needs_the_list() {
        assert!(parse("10086").is_err());
        assert!(parse("95533").is_err());
        let short = ShortCodes::new(["10086", "95533"]).unwrap();
        for code in ["10086", "95533"] {
            let number = PhoneNumber::parse(code, Region::CN, &short).unwrap();
            assert_eq!(number.dial_string(), code);
            assert_eq!(number.kind(), NumberKind::Short);
            assert_eq!(number.region(), Some("CN"));
        }
        assert!(ShortCodes::new(["12"]).is_err());
        assert!(ShortCodes::new(["1008a"]).is_err());
    }

    #[test]
    fn an_unknown_region_is_named() {
        assert_eq!(Region::parse("cn"), Ok(Region::CN));
        assert_eq!(Region::parse("XX"), Err(PhoneError::UnknownRegion));
        assert_eq!(Region::parse("China"), Err(PhoneError::UnknownRegion));
    }
}
