//! One row of a file as what it says: every cell parsed into its type, every fault named with its column.
//!
//! Pure: no database, no clock. What the row changes is decided by `import::plan`.

mod seen;
mod words;

use std::{collections::BTreeMap, sync::Arc};

pub use self::seen::{Seen, TOGETHER, key};
use self::words::{date, relation, settled};

use super::{
    bind::{Bound, Fault, PersonAt},
    fields::{FieldKey, Sealed},
    identity::{Card, Identity},
    money::{Currency, Money},
    sheet::SheetRow,
    template::{Amount, CellType, Column, Kind, PersonColumns, To},
};
use crate::{
    ids::ClientId,
    phone::{PhoneNumber, Region, ShortCodes},
    policy::{CaseState, Relation, Zones},
};

/// What reading a row needs to know beside the template.
#[derive(Debug)]
pub struct Reading {
    /// The client whose file it is.
    pub client: ClientId,
    /// Numbering plan of numbers without `+`.
    pub region: Region,
    /// Short codes that may be dialled.
    pub short: ShortCodes,
    /// Key of identity and card numbers; must be there if the template reads any.
    pub key: Option<Arc<FieldKey>>,
}

/// A person of a case as a row names him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What he is to the debt.
    pub relation: Relation,
    /// His name.
    pub name: String,
    /// Keyed hash of his identity number.
    pub identity_hash: Option<String>,
    /// Time zone of where they ring, to be put on record.
    pub zone: Option<String>,
    /// His numbers.
    pub numbers: Vec<PhoneNumber>,
    /// His addresses with their kinds.
    pub addresses: Vec<(String, String)>,
}

/// A card number as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCard {
    /// Hash and box.
    pub sealed: Sealed,
    /// Last four characters.
    pub last4: String,
}

/// What a row says of a case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaseEntry {
    /// The client's own key of the debtor.
    pub debtor: Option<String>,
    /// Name of the debtor.
    pub name: Option<String>,
    /// Identity number of the debtor.
    pub identity: Option<Sealed>,
    /// Card or account number.
    pub card: Option<SealedCard>,
    /// Currency of the amounts.
    pub currency: Option<Currency>,
    /// The amounts in the order of [`Amount::ALL`].
    pub amounts: [Option<i64>; 5],
    /// The day for which the balance is told, `YYYY-MM-DD`.
    pub balance_on: Option<String>,
    /// Days overdue at placement.
    pub overdue_days: Option<i64>,
    /// Where the debtor lives.
    pub region: Option<String>,
    /// The state in which it enters if it is new.
    pub state: Option<CaseState>,
    /// The client's own fields.
    pub fields: BTreeMap<String, String>,
    /// Whom to reach.
    pub people: Vec<Person>,
}

impl CaseEntry {
    /// Takes over what another row of the same case says of it where this one is silent; people are left to their rows.
    pub(super) fn fill(&mut self, other: &CaseEntry) {
        fn fill<T: Clone>(to: &mut Option<T>, from: &Option<T>) {
            if to.is_none() {
                to.clone_from(from);
            }
        }
        fill(&mut self.debtor, &other.debtor);
        fill(&mut self.name, &other.name);
        fill(&mut self.identity, &other.identity);
        fill(&mut self.card, &other.card);
        fill(&mut self.currency, &other.currency);
        for (to, from) in self.amounts.iter_mut().zip(&other.amounts) {
            fill(to, from);
        }
        fill(&mut self.balance_on, &other.balance_on);
        fill(&mut self.overdue_days, &other.overdue_days);
        fill(&mut self.region, &other.region);
        fill(&mut self.state, &other.state);
        for (name, value) in &other.fields {
            let known = self.fields.entry(name.clone());
            known.or_insert_with(|| value.clone());
        }
    }
}

/// The state of a case that is given one and of which so much is owed, as far as it is told: where nothing is owed there
/// is nobody to call.
#[must_use]
pub fn silenced(state: CaseState, owed_e4: Option<i64>) -> CaseState {
    match state {
        CaseState::Open | CaseState::Paused if owed_e4.is_some_and(|owed| owed <= 0) => {
            CaseState::Settled
        }
        other => other,
    }
}

/// What a row says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEntry {
    /// The client's number of it.
    pub reference: String,
    /// How much.
    pub e4: i64,
    /// In which currency.
    pub currency: Currency,
    /// On which day, `YYYY-MM-DD`.
    pub paid_on: String,
    /// Whether the client calls the case settled with it.
    pub settles: bool,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A case.
    Case(Box<CaseEntry>),
    /// A payment.
    Payment(PaymentEntry),
}

/// A row that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line.
    pub line: u64,
    /// The client's case number.
    pub case: String,
    /// What it says.
    pub what: What,
    /// Whether it is the file's first row of this case.
    pub first: bool,
    /// Card numbers whose check digit does not fit.
    pub warnings: u32,
}

/// The most characters of a short text, an address, and a field.
const MOST_TEXT: usize = 200;
const MOST_LONG: usize = 1_000;

/// The case that a row is about, if it says so; also of a row that is faulty otherwise.
#[must_use]
pub fn case_of(bound: &Bound, row: &SheetRow) -> Option<String> {
    RowReader::new(bound, row).text(&To::Case, MOST_TEXT)
}

struct RowReader<'a> {
    bound: &'a Bound,
    row: &'a SheetRow,
    faults: Vec<Fault>,
    warnings: u32,
}

/// Reads a row.
///
/// # Errors
/// Every fault of the row.
pub fn read(bound: &Bound, row: &SheetRow, reading: &Reading) -> Result<Entry, Vec<Fault>> {
    let mut reader = RowReader::new(bound, row);
    for (at, problem) in &row.faults {
        if bound.reads(*at) {
            reader.fault(*at, *problem);
        }
    }
    for (at, problem) in row.misfits(bound.last_head(), |at| bound.reads(at)) {
        reader.fault(at, problem);
    }
    let case = reader.text(&To::Case, MOST_TEXT);
    if case.is_none() && reader.faults.is_empty() {
        reader.missing(&To::Case);
    }
    let what = match bound.template.kind {
        Kind::Repayments => reader.payment().map(What::Payment),
        Kind::Cases | Kind::Updates => Some(What::Case(Box::new(
            reader.case(case.as_deref().unwrap_or_default(), reading),
        ))),
    };
    match (case, what) {
        (Some(case), Some(what)) if reader.faults.is_empty() => Ok(Entry {
            line: row.line,
            case,
            what,
            first: true,
            warnings: reader.warnings,
        }),
        _ => Err(reader.faults),
    }
}

impl<'a> RowReader<'a> {
    fn new(bound: &'a Bound, row: &'a SheetRow) -> Self {
        Self {
            bound,
            row,
            faults: Vec::new(),
            warnings: 0,
        }
    }

    fn fault(&mut self, at: usize, problem: impl Into<String>) {
        let fault = Fault {
            line: self.row.line,
            column: Some(self.bound.label(at)),
            problem: problem.into(),
        };
        // Three numbers of one cell that are none are one fault of the cell.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn missing(&mut self, to: &To) {
        match self.bound.column(to) {
            Some((at, _)) => self.fault(at, "is empty"),
            None => self.faults.push(Fault {
                line: self.row.line,
                column: None,
                problem: "the row has no case number".to_owned(),
            }),
        }
    }

    /// The cell of a column, or its default; `None` if it is empty, which is a fault where it must not be.
    fn cell(&mut self, at: usize, column: &Column) -> Option<String> {
        let raw = self.row.cells.get(at).map_or("", |cell| cell.trim());
        // What a spreadsheet would take for a formula bears an apostrophe in the files that we write.
        let text = match raw.strip_prefix('\'') {
            Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
            _ => raw,
        };
        if text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        {
            self.fault(at, "has control characters");
            return None;
        }
        if !text.is_empty() {
            return Some(text.to_owned());
        }
        match &column.default {
            Some(default) => Some(default.clone()),
            None => {
                let told = self.row.faults.iter().any(|(place, _)| *place == at);
                if column.required && !told {
                    self.fault(at, "is empty");
                }
                None
            }
        }
    }

    fn limited(&mut self, at: usize, column: &Column, most: usize) -> Option<String> {
        let text = self.cell(at, column)?;
        if text.chars().count() > most {
            self.fault(at, format!("longer than {most} characters"));
            return None;
        }
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn text(&mut self, to: &To, most: usize) -> Option<String> {
        let bound = self.bound;
        let (at, column) = bound.column(to)?;
        self.limited(at, column, most)
    }

    /// A cell of another type than text.
    fn parsed<T>(
        &mut self,
        at: usize,
        column: &Column,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.cell(at, column)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.fault(at, problem);
                None
            }
        }
    }

    fn currency(&mut self) -> Option<Currency> {
        let bound = self.bound;
        let (at, column) = bound.column(&To::Currency)?;
        self.parsed(at, column, |text| {
            let word = column.words.get(text).map_or(text, String::as_str);
            match word {
                "人民币" | "RMB" => Ok(Currency::CNY),
                other => Currency::parse(other).map_err(|e| e.to_string()),
            }
        })
    }

    fn money(&mut self, to: &To, currency: Currency) -> Option<i64> {
        let bound = self.bound;
        let (at, column) = bound.column(to)?;
        self.parsed(at, column, |text| {
            Money::parse(text, currency)
                .map(|money| money.e4)
                .map_err(|e| e.to_string())
        })
    }

    fn case(&mut self, reference: &str, reading: &Reading) -> CaseEntry {
        let bound = self.bound;
        let told = self.currency();
        let currency = told.unwrap_or(bound.template.currency);
        let mut entry = CaseEntry {
            debtor: self.text(&To::Debtor, MOST_TEXT),
            name: self.text(&To::Name, MOST_TEXT),
            region: self.text(&To::Region, MOST_TEXT),
            ..CaseEntry::default()
        };
        for (slot, amount) in entry.amounts.iter_mut().zip(Amount::ALL) {
            *slot = self.money(&To::Amount(amount), currency);
        }
        if told.is_some() || entry.amounts.iter().any(Option::is_some) {
            entry.currency = Some(currency);
        }
        if let Some((at, column)) = bound.column(&To::BalanceOn) {
            entry.balance_on = self.parsed(at, column, |text| date(text, &column.formats));
        }
        if let Some((at, column)) = bound.column(&To::OverdueDays) {
            entry.overdue_days = self.parsed(at, column, |text| {
                text.parse::<i64>()
                    .ok()
                    .filter(|days| (-3_650..=36_500).contains(days))
                    .ok_or_else(|| "not a number of days".to_owned())
            });
        }
        if let (Some((at, column)), Some(key)) = (bound.column(&To::Identity), &reading.key) {
            entry.identity = self.parsed(at, column, |text| {
                let identity = Identity::parse(text).map_err(|e| e.to_string())?;
                key.seal_identity(&identity).map_err(|e| e.to_string())
            });
        }
        if let (Some((at, column)), Some(key)) = (bound.column(&To::Card), &reading.key) {
            let card = self.parsed(at, column, |text| {
                Card::parse(text).map_err(|e| e.to_string())
            });
            if let Some(card) = card {
                self.warnings += u32::from(!card.luhn_fits());
                match key.seal_card(reading.client, reference, &card) {
                    Ok(sealed) => {
                        entry.card = Some(SealedCard {
                            sealed,
                            last4: card.last4().to_owned(),
                        });
                    }
                    Err(error) => self.fault(at, error.to_string()),
                }
            }
        }
        if let Some((at, column)) = bound.column(&To::State) {
            entry.state = self.parsed(at, column, |text| {
                let word = column.words.get(text).map_or(text, String::as_str);
                CaseState::parse(word).ok_or_else(|| {
                    "must be one of open, paused, settled, returned, closed".to_owned()
                })
            });
        }
        self.fields(&mut entry, currency);
        let region = bound.template.region.unwrap_or(reading.region);
        for person in &bound.people {
            let Some(columns) = bound.template.people.get(person.of) else {
                continue;
            };
            if let Some(found) = self.person(person, columns, &entry, region, reading) {
                entry.people.push(found);
            }
        }
        entry
    }

    fn fields(&mut self, entry: &mut CaseEntry, currency: Currency) {
        let bound = self.bound;
        for ((to, column), at) in bound.template.columns.iter().zip(&bound.at) {
            let (To::Field(name, cell), Some(at)) = (to, *at) else {
                continue;
            };
            let value = match cell {
                CellType::Text => self.limited(at, column, MOST_LONG),
                CellType::Money => self.parsed(at, column, |text| {
                    Money::parse(text, currency)
                        .map(|money| money.to_string())
                        .map_err(|e| e.to_string())
                }),
                CellType::Date => self.parsed(at, column, |text| date(text, &column.formats)),
                CellType::Integer => self.parsed(at, column, |text| {
                    text.parse::<i64>()
                        .map(|number| number.to_string())
                        .map_err(|_| "not a whole number".to_owned())
                }),
            };
            if let Some(value) = value {
                entry.fields.insert(name.clone(), value);
            }
        }
    }

    fn person(
        &mut self,
        at: &PersonAt,
        columns: &PersonColumns,
        entry: &CaseEntry,
        region: Region,
        reading: &Reading,
    ) -> Option<Person> {
        let mut numbers: Vec<PhoneNumber> = Vec::new();
        let mut silent = true;
        for (place, column) in at.numbers.iter().zip(&columns.numbers) {
            let Some(place) = *place else { continue };
            let Some(text) = self.cell(place, column) else {
                continue;
            };
            silent = false;
            // Several numbers in one cell are common.
            let parts = text.split(['/', ';', '；', '、', ',', '，', '\n', '|']);
            for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
                match PhoneNumber::parse(part, region, &reading.short) {
                    Ok(number) if numbers.contains(&number) => {}
                    Ok(number) => numbers.push(number),
                    Err(error) => self.fault(place, error.to_string()),
                }
            }
        }
        let mut addresses = Vec::new();
        for (place, (kind, column)) in at.addresses.iter().zip(&columns.addresses) {
            let Some(place) = *place else { continue };
            if let Some(text) = self.limited(place, column, MOST_LONG) {
                silent = false;
                addresses.push((kind.clone(), text));
            }
        }
        let own = |reader: &mut Self, place: Option<usize>, column: &Option<Column>| {
            let (place, column) = (place?, column.as_ref()?);
            // A person of whom nothing else is said need not have a name.
            if silent && !column.required {
                return None;
            }
            let text = reader.limited(place, column, MOST_TEXT);
            if text.is_none() && !column.required && !silent && reader.faults.is_empty() {
                reader.fault(
                    place,
                    "is empty, but the row has a number or an address of this person",
                );
            }
            text.map(|text| (place, text))
        };
        let name = own(self, at.name, &columns.name).map(|(_, name)| name);
        let relation_word = own(self, at.relation, &columns.relation_column);
        if silent {
            return None;
        }
        let relation = match (columns.relation, relation_word, &columns.relation_column) {
            (Some(relation), _, _) => Some(relation),
            (None, Some((place, word)), Some(column)) => {
                let found = relation(&word, column);
                if found.is_none() {
                    let known: Vec<_> = Relation::ALL.iter().map(|r| r.as_str()).collect();
                    self.fault(
                        place,
                        format!(
                            "must be one of {} or a word that the template translates",
                            known.join(", ")
                        ),
                    );
                }
                found
            }
            // A column that the file does not have, with a default.
            (None, None, Some(column)) => column
                .default
                .as_deref()
                .and_then(|word| relation(word, column)),
            (None, None, None) | (None, Some(_), None) => None,
        };
        let name = match (&columns.name, name) {
            (_, Some(name)) => Some(name),
            (Some(column), None) => column.default.clone(),
            (None, None) => Some(entry.name.clone().unwrap_or_default()),
        };
        let mut identity_hash = None;
        if let (Some(place), Some(column), Some(key)) =
            (at.identity, &columns.identity, &reading.key)
        {
            identity_hash = self.parsed(place, column, |text| {
                Identity::parse(text)
                    .map(|identity| key.identity_hash(&identity))
                    .map_err(|e| e.to_string())
            });
        }
        let zone = match (at.zone, &columns.zone) {
            (Some(place), Some(column)) => self.parsed(place, column, |text| {
                let word = column.words.get(text).map_or(text, String::as_str);
                Zones::on_record(word)
            }),
            _ => None,
        };
        Some(Person {
            relation: relation?,
            name: name?,
            identity_hash,
            zone,
            numbers,
            addresses,
        })
    }

    fn payment(&mut self) -> Option<PaymentEntry> {
        let bound = self.bound;
        let currency = self.currency().unwrap_or(bound.template.currency);
        let reference = self.text(&To::Payment, MOST_TEXT);
        let e4 = self.money(&To::Paid, currency);
        if let (Some(0), Some((at, _))) = (e4, bound.column(&To::Paid)) {
            self.fault(at, "a payment of nothing");
        }
        let paid_on = match bound.column(&To::PaidOn) {
            Some((at, column)) => self.parsed(at, column, |text| date(text, &column.formats)),
            None => None,
        };
        let settles = match bound.column(&To::Settled) {
            Some((at, column)) => self
                .parsed(at, column, |text| settled(text, column))
                .unwrap_or(false),
            None => false,
        };
        Some(PaymentEntry {
            reference: reference?,
            e4: e4?,
            currency,
            paid_on: paid_on?,
            settles,
        })
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
