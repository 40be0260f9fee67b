//! Templates: how a client's file is read, as data (TOML), never as code.
//!
//! A template names for each thing we keep the heads of the column it stands in, its type, what an empty cell means, and
//! what becomes of a value that is known already. The words are explained to users in `docs/cases.md`. Bound to the
//! heads of one file it becomes a [`Bound`](super::bind::Bound), which reads rows. How it is written is read by `document`.

mod document;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    money::Currency,
    sheet::{self, Encoding},
};
use crate::{phone::Region, policy::Relation};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Cases, new ones and ones known already.
    Cases,
    /// News of cases that are known.
    Updates,
    /// Money that came in.
    Repayments,
}

impl Kind {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cases => "cases",
            Self::Updates => "updates",
            Self::Repayments => "repayments",
        }
    }
}

/// What a column is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The client's case number: every row is about the case it names.
    Case,
    /// The client's own key of the person who owes.
    Debtor,
    /// Name of the person who owes.
    Name,
    /// Identity number of the person who owes.
    Identity,
    /// Card or account number.
    Card,
    /// Currency of the amounts of the row.
    Currency,
    /// One of the amounts of a case.
    Amount(Amount),
    /// The day for which the balance is told.
    BalanceOn,
    /// Days overdue at placement.
    OverdueDays,
    /// Where the debtor lives.
    Region,
    /// The state in which a case enters that is new.
    State,
    /// A field of the client's own.
    Field(String, CellType),
    /// The client's number of a payment.
    Payment,
    /// Amount of a payment.
    Paid,
    /// Day of a payment.
    PaidOn,
    /// Whether the case is settled with this payment.
    Settled,
}

/// The amounts of a case, in the order in which they are kept everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Notified at placement.
    Placed,
    /// Owed now.
    Balance,
    /// Of it: principal.
    Principal,
    /// Of it: interest.
    Interest,
    /// Of it: fees.
    Fees,
}

impl Amount {
    /// All of them.
    pub const ALL: [Amount; 5] = [
        Self::Placed,
        Self::Balance,
        Self::Principal,
        Self::Interest,
        Self::Fees,
    ];

    /// The word in templates and histories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Balance => "balance",
            Self::Principal => "principal",
            Self::Interest => "interest",
            Self::Fees => "fees",
        }
    }
}

/// What the cells of a client's own field hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellType {
    /// Text.
    #[default]
    Text,
    /// An amount of money.
    Money,
    /// A day.
    Date,
    /// A whole number.
    Integer,
}

/// What becomes of a value that is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The file's value replaces it, unless the cell is empty.
    Overwrite,
    /// It stays.
    Keep,
    /// The file's value enters only where nothing is known.
    OnlyIfEmpty,
    /// The file's value stands beside it: numbers, addresses, lines of text.
    Add,
}

/// Where a column is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By any of these heads.
    Heads(Vec<String>),
    /// By its letter.
    Letter(usize),
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Where it is.
    pub place: Place,
    /// Whether the file must have it and every row must fill it.
    pub required: bool,
    /// What an empty cell means.
    pub default: Option<String>,
    /// What becomes of a known value.
    pub rule: Rule,
    /// How days are written, besides the forms that begin with the year.
    pub formats: Vec<String>,
    /// Words of the file and what they mean.
    pub words: BTreeMap<String, String>,
}

/// The columns about one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonColumns {
    /// What that person is to the debt, where it is the same for all rows.
    pub relation: Option<Relation>,
    /// The column that says it otherwise.
    pub relation_column: Option<Column>,
    /// Name; the debtor's own if there is none.
    pub name: Option<Column>,
    /// Identity number.
    pub identity: Option<Column>,
    /// Time zone of where the numbers ring, put on record for those that are new.
    pub zone: Option<Column>,
    /// Telephone numbers.
    pub numbers: Vec<Column>,
    /// Addresses with their kind.
    pub addresses: Vec<(String, Column)>,
}

/// A template that was read and is consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What the file holds.
    pub kind: Kind,
    /// Name within client and kind.
    pub name: String,
    /// Kind of the debts, stored with the batch.
    pub case_type: String,
    /// Currency of amounts without one.
    pub currency: Currency,
    /// Numbering plan of numbers without `+`, if not the daemon's.
    pub region: Option<Region>,
    /// Line of the heads.
    pub header_row: u64,
    /// Sheet of a workbook.
    pub sheet: Option<String>,
    /// Encoding of CSV.
    pub encoding: Encoding,
    /// Delimiter of CSV.
    pub delimiter: Option<char>,
    /// Whether columns that the template does not name are a fault.
    pub strict: bool,
    /// The columns of the case or the payment.
    pub columns: Vec<(To, Column)>,
    /// The columns of persons.
    pub people: Vec<PersonColumns>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template cannot be used: {0}")]
pub struct TemplateError(pub String);

/// Kinds of addresses.
pub const ADDRESS_KINDS: [&str; 5] = ["home", "work", "registered", "mail", "other"];
/// The most bytes of a template.
pub const MOST_BYTES: usize = 64 * 1024;

impl Template {
    /// How the file is to be opened.
    #[must_use]
    pub fn options(&self) -> sheet::Options {
        sheet::Options {
            encoding: self.encoding,
            delimiter: self.delimiter,
            sheet: self.sheet.clone(),
            limits: sheet::Limits::default(),
        }
    }

    /// Whether it reads identity or card numbers, for which a key is needed.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.columns
            .iter()
            .any(|(to, _)| matches!(to, To::Identity | To::Card))
            || self.people.iter().any(|person| person.identity.is_some())
    }
}

/// A head as it is compared: without blanks and line breaks, in small letters, with ASCII brackets.
#[must_use]
pub fn head(text: &str) -> String {
    text.trim_start_matches('\u{feff}')
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '（' => '(',
            '）' => ')',
            '：' => ':',
            other => other,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The templates that come with the program, by name.
pub const SHIPPED: [(&str, &str); 4] = [
    ("simple", include_str!("../../config/templates/simple.toml")),
    (
        "credit-card",
        include_str!("../../config/templates/credit-card.toml"),
    ),
    (
        "updates",
        include_str!("../../config/templates/updates.toml"),
    ),
    (
        "repayments",
        include_str!("../../config/templates/repayments.toml"),
    ),
];

/// The template of cases that are kept elsewhere; it is not for files.
pub const FOREIGN: &str = include_str!("../../config/templates/foreign.toml");

/// A template that comes with the program.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(shipped, _)| *shipped == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(text: &str) -> String {
        Template::parse(text).unwrap_err().to_string()
    }

    const CASE: &str = "[[column]]\nto = \"case\"\nheads = [\"c\"]\n";

    #[test]
    fn the_shipped_templates_are_good_and_bear_their_names() {
        for (name, text) in SHIPPED {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.name, name);
        }
        assert!(shipped("none").is_none());
    }

    #[test]
    fn a_fault_is_named() {
        let doc = |rest: &str| format!("kind = \"cases\"\nname = \"x\"\n{rest}");
        for (text, said) in [
            ("kind = \"cases\"".to_owned(), "missing field `name`"),
            (doc("colour = 1"), "unknown field `colour`"),
            (doc(""), "no column goes to case"),
            (doc(&format!("{CASE}{CASE}")), "two columns go to case"),
            (doc("[[column]]\nto = \"case\""), "say where it is"),
            (
                doc("[[column]]\nto = \"case\"\nletter = \"1\""),
                "is no column",
            ),
            (
                doc("[[column]]\nto = \"moon\"\nheads = [\"c\"]"),
                "is none of case, debtor",
            ),
            (
                doc("[[column]]\nto = \"placed\"\nheads = [\"c\"]\nupdate = \"add\""),
                "count twice",
            ),
            (
                doc("[[column]]\nto = \"placed\"\nheads = [\"c\"]\ntype = \"text\""),
                "its type is fixed",
            ),
            (
                doc(&format!("{CASE}[[contact]]\nrelation = \"boss\"")),
                "relation is none of",
            ),
            (
                doc(&format!(
                    "{CASE}[[contact]]\nrelation = \"friend\"\nnumbers = [{{ heads = [\"n\"] }}]"
                )),
                "no name",
            ),
            (doc("currency = \"yuan\""), "currency: not a currency"),
            (
                "kind = \"repayments\"\nname = \"x\"\n[[column]]\nto = \"name\"\nheads = [\"n\"]"
                    .into(),
                "is none of case, payment",
            ),
            (
                format!("kind = \"repayments\"\nname = \"x\"\n{CASE}"),
                "no column goes to payment",
            ),
        ] {
            let error = error(&text);
            assert!(error.contains(said), "{text}\n{error}");
        }
    }

    #[test]
    fn heads_are_compared_without_blanks_and_brackets_of_two_widths() {
        assert_eq!(head(" 欠款金额 （元）\n"), head("欠款金额(元)"));
        assert_eq!(head("\u{feff}Case No"), head("CASE NO"));
    }
}
