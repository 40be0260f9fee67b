//! Templates: how a client's file is read, as data (TOML), never as code.
//!
//! A template names for each thing we keep the heads of the column it stands in, its type, what an empty cell means, and
//! what becomes of a value that is known already. The words are explained to users in `docs/cases.md`. Bound to the
//! heads of one file it becomes a [`Bound`](super::bind::Bound), which reads rows.

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Doc {
    kind: Kind,
    name: String,
    #[serde(default)]
    case_type: String,
    currency: Option<String>,
    region: Option<String>,
    #[serde(default)]
    file: FileDoc,
    #[serde(default)]
    column: Vec<ColumnDoc>,
    #[serde(default)]
    contact: Vec<ContactDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct FileDoc {
    header_row: Option<u64>,
    sheet: Option<String>,
    encoding: Encoding,
    delimiter: Option<char>,
    other_columns: Option<OtherColumns>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum OtherColumns {
    Ignore,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnDoc {
    to: Option<String>,
    kind: Option<String>,
    heads: Option<Vec<String>>,
    letter: Option<String>,
    #[serde(rename = "type")]
    cell: Option<CellType>,
    #[serde(default)]
    required: bool,
    default: Option<String>,
    update: Option<Rule>,
    #[serde(default)]
    formats: Vec<String>,
    #[serde(default)]
    words: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactDoc {
    relation: Option<String>,
    relation_column: Option<ColumnDoc>,
    name: Option<ColumnDoc>,
    identity: Option<ColumnDoc>,
    #[serde(default)]
    numbers: Vec<ColumnDoc>,
    #[serde(default)]
    addresses: Vec<ColumnDoc>,
}

/// Kinds of addresses.
pub const ADDRESS_KINDS: [&str; 5] = ["home", "work", "registered", "mail", "other"];
/// The most columns of a template, and the most contacts of a row.
const MOST: usize = 300;
/// The most bytes of a template.
pub const MOST_BYTES: usize = 64 * 1024;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] with the line of a TOML fault, or what contradicts itself.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if text.len() > MOST_BYTES {
            return Err(TemplateError(format!(
                "it has more than {} KiB",
                MOST_BYTES >> 10
            )));
        }
        let doc: Doc = toml::from_str(text).map_err(|e| TemplateError(e.to_string()))?;
        let wrong = |what: String| Err(TemplateError(what));
        if doc.name.is_empty() || doc.name.len() > 64 || doc.name.chars().any(char::is_control) {
            return wrong("name must have 1 to 64 bytes".into());
        }
        if doc.column.len() > MOST || doc.contact.len() > MOST {
            return wrong(format!("it has more than {MOST} columns or contacts"));
        }
        let currency = match &doc.currency {
            None => Currency::CNY,
            Some(text) => {
                Currency::parse(text).map_err(|e| TemplateError(format!("currency: {e}")))?
            }
        };
        let region = match &doc.region {
            None => None,
            Some(text) => {
                Some(Region::parse(text).map_err(|e| TemplateError(format!("region: {e}")))?)
            }
        };
        let mut columns = Vec::new();
        for column in doc.column {
            let Some(name) = column.to.clone() else {
                return wrong("a [[column]] has no `to`".into());
            };
            let to = to(&name, column.cell, doc.kind)?;
            if columns.iter().any(|(other, _)| same(other, &to)) {
                return wrong(format!("two columns go to {name}"));
            }
            let rule = default_rule(doc.kind, &to);
            let mut column = read_column(column, &name, rule)?;
            // Without these no row means anything.
            column.required |= matches!(to, To::Case | To::Payment | To::Paid | To::PaidOn);
            let money = matches!(to, To::Amount(_) | To::OverdueDays);
            if column.rule == Rule::Add && (money || !matches!(to, To::Field(_, CellType::Text))) {
                return wrong(format!(
                    "{name}: update = \"add\" is for numbers, addresses and fields of text; a file imported twice would \
                     count twice"
                ));
            }
            columns.push((to, column));
        }
        let mut people = Vec::new();
        for contact in doc.contact {
            people.push(read_contact(contact)?);
        }
        let template = Template {
            kind: doc.kind,
            name: doc.name,
            case_type: doc.case_type,
            currency,
            region,
            header_row: doc.file.header_row.unwrap_or(1),
            sheet: doc.file.sheet,
            encoding: doc.file.encoding,
            delimiter: doc.file.delimiter,
            strict: doc.file.other_columns == Some(OtherColumns::Refuse),
            columns,
            people,
        };
        template.check()?;
        Ok(template)
    }

    fn check(&self) -> Result<(), TemplateError> {
        let needs = |to: To, name: &str| {
            if self.columns.iter().any(|(other, _)| *other == to) {
                Ok(())
            } else {
                Err(TemplateError(format!("no column goes to {name}")))
            }
        };
        needs(To::Case, "case")?;
        if self.header_row == 0 || self.header_row > 100 {
            return Err(TemplateError("file.header_row must be 1 to 100".to_owned()));
        }
        if self.kind == Kind::Repayments {
            needs(To::Payment, "payment")?;
            needs(To::Paid, "amount")?;
            needs(To::PaidOn, "paid_on")?;
            if !self.people.is_empty() {
                return Err(TemplateError(
                    "a template of repayments has no contacts".to_owned(),
                ));
            }
        }
        Ok(())
    }

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

fn same(one: &To, other: &To) -> bool {
    match (one, other) {
        (To::Field(one, _), To::Field(other, _)) => one == other,
        _ => one == other,
    }
}

fn to(name: &str, cell: Option<CellType>, kind: Kind) -> Result<To, TemplateError> {
    let wrong = |what: String| Err(TemplateError(what));
    let repayments = kind == Kind::Repayments;
    let found = match name {
        "case" => To::Case,
        "currency" => To::Currency,
        "payment" if repayments => To::Payment,
        "amount" if repayments => To::Paid,
        "paid_on" if repayments => To::PaidOn,
        "settled" if repayments => To::Settled,
        _ if repayments => {
            return wrong(format!(
                "to = {name:?} is none of case, payment, amount, paid_on, settled, currency"
            ));
        }
        "debtor" => To::Debtor,
        "name" => To::Name,
        "identity" => To::Identity,
        "card" => To::Card,
        "overdue_days" => To::OverdueDays,
        "region" => To::Region,
        "state" if kind == Kind::Cases => To::State,
        other => match Amount::ALL.into_iter().find(|a| a.as_str() == other) {
            Some(amount) => To::Amount(amount),
            None => match other.strip_prefix("fields.") {
                Some(field) if !field.is_empty() && field.len() <= 64 => {
                    return Ok(To::Field(field.to_owned(), cell.unwrap_or_default()));
                }
                _ => {
                    return wrong(format!(
                        "to = {other:?} is none of case, debtor, name, identity, card, currency, placed, balance, principal, \
                         interest, fees, overdue_days, region, state (of new cases), fields.NAME"
                    ));
                }
            },
        },
    };
    match cell {
        Some(_) => wrong(format!(
            "{name}: its type is fixed; `type` is for fields of your own (fields.NAME)"
        )),
        None => Ok(found),
    }
}

/// What a file of this kind may change if the template does not say: nothing that a repayment may have changed since.
fn default_rule(kind: Kind, to: &To) -> Rule {
    match (kind, to) {
        (Kind::Updates, _) => Rule::Overwrite,
        (_, To::Amount(_)) => Rule::Keep,
        _ => Rule::OnlyIfEmpty,
    }
}

fn read_column(doc: ColumnDoc, name: &str, rule: Rule) -> Result<Column, TemplateError> {
    let wrong = |what: String| Err(TemplateError(format!("{name}: {what}")));
    let place = match (doc.heads, doc.letter) {
        (Some(heads), None) if !heads.is_empty() => {
            Place::Heads(heads.iter().map(|h| head(h)).collect())
        }
        (None, Some(letter)) => match sheet::column(&letter) {
            Some(column) => Place::Letter(column),
            None => return wrong(format!("letter = {letter:?} is no column: write A to ZZZ")),
        },
        _ => return wrong("say where it is: either heads = [\"…\"] or letter = \"A\"".into()),
    };
    for format in &doc.formats {
        if !format.contains('%') {
            return wrong(format!(
                "formats: {format:?} must be written with %Y, %m and %d"
            ));
        }
    }
    Ok(Column {
        place,
        required: doc.required,
        default: doc.default.filter(|d| !d.is_empty()),
        rule: doc.update.unwrap_or(rule),
        formats: doc.formats,
        words: doc.words,
    })
}

fn read_contact(doc: ContactDoc) -> Result<PersonColumns, TemplateError> {
    let wrong = |what: &str| Err(TemplateError(format!("a [[contact]]: {what}")));
    let relation = match &doc.relation {
        None => None,
        Some(word) => match Relation::parse(word) {
            Some(relation) => Some(relation),
            None => {
                return wrong(
                    "its relation is none of debtor, joint_debtor, guarantor, relative, colleague, friend, other",
                );
            }
        },
    };
    if relation.is_some() == doc.relation_column.is_some() {
        return wrong("say either relation = \"…\" or relation_column = { heads = […] }");
    }
    if doc.numbers.is_empty() && doc.addresses.is_empty() {
        return wrong("it has neither numbers nor addresses");
    }
    if doc.name.is_none() && relation != Some(Relation::Debtor) {
        return wrong("it has no name; only the debtor's is known otherwise");
    }
    let read = |doc: ColumnDoc, what: &str| read_column(doc, what, Rule::Add);
    let relation_column = doc
        .relation_column
        .map(|c| read(c, "relation_column"))
        .transpose()?;
    for word in relation_column.iter().flat_map(|c| c.words.values()) {
        if Relation::parse(word).is_none() {
            return Err(TemplateError(format!(
                "relation_column: words: {word:?} is no relation"
            )));
        }
    }
    let mut addresses = Vec::new();
    for column in doc.addresses {
        let kind = column.kind.clone().unwrap_or_else(|| "home".to_owned());
        if !ADDRESS_KINDS.contains(&kind.as_str()) {
            return Err(TemplateError(format!(
                "addresses: kind = {kind:?} is none of {}",
                ADDRESS_KINDS.join(", ")
            )));
        }
        addresses.push((kind, read(column, "addresses")?));
    }
    Ok(PersonColumns {
        relation,
        relation_column,
        name: doc.name.map(|c| read(c, "name")).transpose()?,
        identity: doc.identity.map(|c| read(c, "identity")).transpose()?,
        numbers: doc
            .numbers
            .into_iter()
            .map(|c| read(c, "numbers"))
            .collect::<Result<_, _>>()?,
        addresses,
    })
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
