//! Dates that have hours of their own: public holidays, and weekends that are worked instead.
//!
//! There are two kinds. A date in a rule set ([`SpecialDate`]) replaces its weekday's hours. A special day of a region
//! ([`SpecialDay`], imported) only narrows: calls may start in the hours of the day and those of the rules, and where
//! several days of several regions meet, in the hours they have in common.

use std::borrow::Cow;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::window::intersect;
use super::{Span, Week, WindowRules};
use crate::phone::PhoneNumber;

/// One date with hours of its own, in place of its weekday's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialDate {
    /// The date where the person called is.
    pub date: Date,
    /// What it is called, for the refusal.
    pub name: String,
    /// When calls may start on it; empty for a day without calls.
    pub hours: Vec<Span>,
}

/// A special day of a region that the person called may live in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialDay {
    /// Two letters of the country, or country and subdivision as in ISO 3166-2.
    pub region: String,
    /// The date where the person called is.
    pub date: Date,
    /// What it is called, for the refusal.
    pub name: String,
    /// When calls may start on it; empty for a day without calls.
    pub hours: Vec<Span>,
}

/// The regions a number may ring in, two letters each: its own where the numbering plan knows it, else every region of
/// its calling code. The special days of all of them are facts of a decision, with those of a subdivision on record.
#[must_use]
pub fn regions_of(number: &PhoneNumber) -> Vec<String> {
    match number.region() {
        Some(region) => vec![region.to_owned()],
        None => phonenumber::metadata::DATABASE
            .region(&number.country_code())
            .unwrap_or_default()
            .into_iter()
            .filter(|region| region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase()))
            .map(str::to_owned)
            .collect(),
    }
}

/// The first and the last date that can matter to a decision at an instant, wherever the person called is.
#[must_use]
pub fn dates_around(now_ms: i64) -> (Date, Date) {
    let today = super::window::date_of(now_ms.div_euclid(86_400_000));
    let reach = jiff::Span::new().days(2);
    (today.saturating_sub(reach), today.saturating_add(reach))
}

/// The hours in force: those of the rules, narrowed by special days, widened by what was agreed.
#[derive(Clone, Copy)]
pub(super) struct Calendar<'a> {
    pub rules: &'a WindowRules,
    pub special_days: &'a [SpecialDay],
    pub agreed: Option<&'a Week>,
}

impl<'a> Calendar<'a> {
    /// When calls may start on a date, local to the person called.
    pub fn hours_on(&self, date: Date) -> Cow<'a, [Span]> {
        let mut hours = Cow::Borrowed(self.rules.hours_on(date));
        let mut special = self.rules.special(date).is_some();
        for day in self.special_days.iter().filter(|day| day.date == date) {
            hours = Cow::Owned(intersect(&hours, &day.hours));
            special = true;
        }
        // Who agreed to an hour of the week did not agree to New Year's Day.
        if let (false, Some(week)) = (special, self.agreed) {
            hours.to_mut().extend_from_slice(week.on(date.weekday()));
        }
        hours
    }

    /// The name of a date with hours of its own.
    pub fn name_of(&self, date: Date) -> Option<String> {
        let ours = self.rules.special(date).map(|special| &special.name);
        let theirs = self
            .special_days
            .iter()
            .filter(|day| day.date == date)
            .map(|day| &day.name);
        let mut names: Vec<&str> = ours.into_iter().chain(theirs).map(String::as_str).collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join(", "))
    }
}
