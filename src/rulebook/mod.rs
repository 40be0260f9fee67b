//! What people do to the rules and with them: load them, bar, agree, tell of calls made elsewhere, ask why.
//!
//! The command line and the API are two doors to the same acts, so each act stands here once: it parses what came from
//! outside into types, changes the store in one transaction and writes the access log at the end of it. What never
//! happens here: a decision (that is `policy`), or a call (that is `switchboard`). Read next: `files.rs`, `in_force.rs`.

pub mod agreements;
pub mod bars;
pub mod elsewhere;
pub mod explain;
pub mod files;
pub mod find;
pub mod in_force;
pub mod lists;
pub mod outside;
pub mod receipts;
pub mod replay;
pub mod special_days;
pub mod stored;
pub mod table;
pub mod zones;

use crate::store;

/// Why an act did not happen. The text says what to do; it repeats no number and no name.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something named does not exist, or not for who asks.
    #[error("{0}")]
    Unknown(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts how things stand.
    #[error("{0}")]
    Conflict(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Whose act it is, as the books will say.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Login name, or `command line`.
    pub actor: &'a str,
    /// Now, milliseconds UTC.
    pub now_ms: i64,
}

/// An instant: RFC 3339 with its offset, or a local time of the zone that operators are shown.
///
/// # Errors
/// [`Refused::Invalid`] with both forms.
pub fn instant(text: &str, zone: &jiff::tz::TimeZone) -> Result<i64, Refused> {
    let stamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        zone.to_timestamp(local).ok()
    });
    stamp.map(jiff::Timestamp::as_millisecond).ok_or_else(|| {
        Refused::Invalid(format!(
            "{text:?} is no instant; write 2026-11-23T20:59:40+08:00, or 2026-11-23T20:59:40 for the operators' zone"
        ))
    })
}

/// A reason in words: not empty, one line, not endless.
fn reason(text: &str) -> Result<&str, Refused> {
    let text = text.trim();
    let fits = (1..=500).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then_some(text).ok_or_else(|| {
        Refused::Invalid(
            "the reason is one line of 1 to 500 characters, without numbers and names".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_instant_has_its_offset_or_is_of_the_operators_zone() {
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let at = 1_795_438_780_000;
        assert_eq!(instant("2026-11-23T20:59:40+08:00", &zone).unwrap(), at);
        assert_eq!(instant("2026-11-23T12:59:40Z", &zone).unwrap(), at);
        assert_eq!(instant("2026-11-23T20:59:40", &zone).unwrap(), at);
        assert_eq!(instant("2026-11-23 20:59:40", &zone).unwrap(), at);
        let wrong = instant("tonight", &zone).unwrap_err().to_string();
        assert!(wrong.contains("2026-11-23T20:59:40+08:00"), "{wrong}");
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("  asked us to stop ").unwrap(), "asked us to stop");
        for bad in ["", "  ", "a\nb", &"x".repeat(501)] {
            assert!(reason(bad).is_err());
        }
    }
}
