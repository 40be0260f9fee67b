//! How long a recording is kept at least: two calendar years from the end of the call, computed in UTC.

use jiff::{Timestamp, ToSpan, tz::Offset};

use crate::error::{Result, VaultError};

/// The least retention, in calendar years from the call's end.
pub const RETENTION_FLOOR_YEARS: u16 = 2;
/// The longest retention that can be configured, in calendar years.
pub const RETENTION_MAX_YEARS: u16 = 100;

/// A retention that has been checked against the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention(u16);

impl Default for Retention {
    fn default() -> Self {
        Self(RETENTION_FLOOR_YEARS)
    }
}

impl Retention {
    /// A retention of that many calendar years.
    ///
    /// # Errors
    /// [`VaultError::RetentionBelowFloor`] below two years, [`VaultError::BadField`] above a hundred.
    pub fn years(years: u16) -> Result<Self> {
        if years < RETENTION_FLOOR_YEARS {
            return Err(VaultError::RetentionBelowFloor {
                configured: years,
                floor: RETENTION_FLOOR_YEARS,
            });
        }
        if years > RETENTION_MAX_YEARS {
            return Err(VaultError::BadField {
                field: "retention",
                detail: "at most 100 years can be configured",
            });
        }
        Ok(Self(years))
    }

    /// The calendar years.
    pub fn get(self) -> u16 {
        self.0
    }

    /// The first instant at which a recording of a call that ended at `ended_ms` may be deleted, both in milliseconds
    /// UTC since 1970.
    ///
    /// The calendar date is moved by whole years and the time of day kept; where that date does not exist (29 February)
    /// the later one counts, 1 March.
    ///
    /// # Errors
    /// [`VaultError::BadField`] if the instant lies outside of the years that can be computed.
    pub fn until_ms(self, ended_ms: i64) -> Result<i64> {
        let bad = || VaultError::BadField {
            field: "end of the call",
            detail: "it lies outside of the calendar",
        };
        let ended =
            Offset::UTC.to_datetime(Timestamp::from_millisecond(ended_ms).map_err(|_| bad())?);
        let mut until = ended
            .checked_add(i64::from(self.0).years())
            .map_err(|_| bad())?;
        if until.day() != ended.day() {
            until = until.checked_add(1.day()).map_err(|_| bad())?;
        }
        Offset::UTC
            .to_timestamp(until)
            .map(Timestamp::as_millisecond)
            .map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn until(years: u16, ended: &str) -> String {
        let ended: Timestamp = ended.parse().unwrap();
        let ms = Retention::years(years)
            .unwrap()
            .until_ms(ended.as_millisecond())
            .unwrap();
        Timestamp::from_millisecond(ms).unwrap().to_string()
    }

    #[test]
    fn two_calendar_years_are_kept_to_the_millisecond() {
        assert_eq!(
            until(2, "2026-11-23T22:22:01.250Z"),
            "2028-11-23T22:22:01.25Z"
        );
        assert_eq!(
            until(2, "2027-02-28T23:59:59.999Z"),
            "2029-02-28T23:59:59.999Z"
        );
    }

    #[test]
    fn a_call_on_a_leap_day_is_kept_until_the_first_of_march() {
        assert_eq!(until(2, "2028-02-29T12:00:00Z"), "2030-03-01T12:00:00Z");
        assert_eq!(until(4, "2028-02-29T12:00:00Z"), "2032-02-29T12:00:00Z");
    }

    #[test]
    fn a_retention_below_the_floor_is_refused_with_the_floor_named() {
        for years in 0..RETENTION_FLOOR_YEARS {
            let text = Retention::years(years).unwrap_err().to_string();
            assert!(text.contains("floor of 2"), "{text}");
        }
        assert!(Retention::years(101).is_err());
    }

    #[test]
    fn an_impossible_end_of_call_is_an_error_and_no_panic() {
        assert!(Retention::default().until_ms(i64::MAX).is_err());
        assert!(Retention::default().until_ms(i64::MIN).is_err());
        assert!(
            Retention::default()
                .until_ms(253_402_207_200_000 - 1)
                .is_err()
        );
    }
}
