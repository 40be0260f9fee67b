//! Which notes are meant, as API and command line ask: checked once, into what the store selects by.

use jiff::civil::Date;

use crate::store::notes::{Filter, NoteState};

/// Which notes, as people say it. Empty texts and `None` ask for all.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Code of the client.
    pub client: String,
    /// Employee number of the agent.
    pub agent: String,
    /// First local day.
    pub from: Option<Date>,
    /// Last local day.
    pub to: Option<Date>,
    /// Code of the disposition.
    pub disposition: String,
    /// The client's case number.
    pub case: String,
    /// Words in the text.
    pub text: String,
    /// How far it is.
    pub state: Option<NoteState>,
}

/// Why nothing can be selected so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The days are in the wrong order.
    #[error("from: {from} is after {to}; write the first day and the last")]
    Days {
        /// The first.
        from: Date,
        /// The last.
        to: Date,
    },
    /// A text that nothing can hold.
    #[error("{0}: it has no control characters")]
    Control(&'static str),
}

impl Asked {
    /// What the store selects by.
    ///
    /// # Errors
    /// [`FilterError`]: days in the wrong order, or a text with control characters.
    pub fn filter(self) -> Result<Filter, FilterError> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(FilterError::Days { from, to });
        }
        for (name, text) in [
            ("client", &self.client),
            ("agent", &self.agent),
            ("disposition", &self.disposition),
            ("case", &self.case),
            ("text", &self.text),
        ] {
            if text.contains(char::is_control) {
                return Err(FilterError::Control(name));
            }
        }
        let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        Ok(Filter {
            from: day(self.from),
            to: day(self.to),
            client: self.client,
            agent: self.agent,
            disposition: self.disposition,
            reference: self.case,
            text: self.text,
            state: self.state,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_in_the_wrong_order_and_control_characters_are_refused_by_name() {
        let day = |text: &str| Some(text.parse().unwrap());
        let asked = |from, to| Asked {
            from: day(from),
            to: day(to),
            ..Asked::default()
        };
        let error = asked("2026-11-30", "2026-11-01").filter().unwrap_err();
        assert!(error.to_string().contains("2026-11-30 is after 2026-11-01"));
        let filter = asked("2026-11-01", "2026-11-01").filter().unwrap();
        assert_eq!(
            (filter.from.as_str(), filter.to.as_str()),
            ("2026-11-01", "2026-11-01")
        );
        let strange = Asked {
            case: "a\u{7}".into(),
            ..Asked::default()
        };
        assert_eq!(strange.filter().unwrap_err(), FilterError::Control("case"));
    }
}
