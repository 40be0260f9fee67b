//! Dates that have hours of their own: public holidays, and weekends that are worked instead.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Span;

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
