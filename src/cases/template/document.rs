//! A template as its author wrote it: read from TOML, and refused where it contradicts itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    ADDRESS_KINDS, Amount, CellType, Column, Kind, MOST_BYTES, PersonColumns, Place, Rule,
    Template, TemplateError, To, head,
};
use crate::{
    cases::{
        money::Currency,
        sheet::{self, Encoding},
    },
    phone::Region,
    policy::Relation,
};

/// The most columns of a template, and the most contacts of a row.
const MOST: usize = 300;

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
    zone: Option<ColumnDoc>,
    #[serde(default)]
    numbers: Vec<ColumnDoc>,
    #[serde(default)]
    addresses: Vec<ColumnDoc>,
}

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
        let owed = [Amount::Balance, Amount::Placed].map(To::Amount);
        let has = |wanted: &To| self.columns.iter().any(|(to, _)| to == wanted);
        if has(&To::BalanceOn) && !owed.iter().any(has) {
            return Err(TemplateError(
                "balance_on is the day of a balance, but no column goes to balance".to_owned(),
            ));
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
        "balance_on" => To::BalanceOn,
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
                         interest, fees, balance_on, overdue_days, region, state (of new cases), fields.NAME"
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
        zone: doc.zone.map(|c| read(c, "zone")).transpose()?,
        numbers: doc
            .numbers
            .into_iter()
            .map(|c| read(c, "numbers"))
            .collect::<Result<_, _>>()?,
        addresses,
    })
}
