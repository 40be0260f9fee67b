//! Overdue buckets: how long a debt was overdue when it was placed. Contracts pay and figures count by them (C16).

/// The bucket of a case; `Unknown` if the client did not say how long the debt was overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Up to 90 days.
    To90,
    /// 91 to 180 days.
    To180,
    /// 181 to 360 days.
    To360,
    /// More than 360 days.
    Above360,
    /// Not known.
    Unknown,
}

impl Bucket {
    /// Those that a contract has terms for.
    pub const KNOWN: [Bucket; 4] = [Self::To90, Self::To180, Self::To360, Self::Above360];

    /// The bucket of a debt overdue for so many days at placement. Not yet due counts as the first.
    #[must_use]
    pub const fn of(overdue_days: Option<i64>) -> Bucket {
        match overdue_days {
            None => Self::Unknown,
            Some(..=90) => Self::To90,
            Some(91..=180) => Self::To180,
            Some(181..=360) => Self::To360,
            Some(361..) => Self::Above360,
        }
    }

    /// The word that is stored and shown; empty for `Unknown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::To90 => "to_90",
            Self::To180 => "to_180",
            Self::To360 => "to_360",
            Self::Above360 => "above_360",
            Self::Unknown => "",
        }
    }

    /// The bucket of a stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Bucket> {
        match word {
            "" => Some(Self::Unknown),
            _ => Self::KNOWN
                .into_iter()
                .find(|bucket| bucket.as_str() == word),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_day_of_a_bucket_belongs_to_it() {
        let words =
            [-3, 0, 90, 91, 180, 181, 360, 361, 9_999].map(|days| Bucket::of(Some(days)).as_str());
        assert_eq!(
            words,
            [
                "to_90",
                "to_90",
                "to_90",
                "to_180",
                "to_180",
                "to_360",
                "to_360",
                "above_360",
                "above_360"
            ]
        );
        assert_eq!(Bucket::of(None).as_str(), "");
    }

    #[test]
    fn a_stored_word_is_read_back() {
        for bucket in Bucket::KNOWN.into_iter().chain([Bucket::Unknown]) {
            assert_eq!(Bucket::parse(bucket.as_str()), Some(bucket));
        }
        assert_eq!(Bucket::parse("to_91"), None);
    }
}
