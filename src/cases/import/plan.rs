//! What a row changes, given what is known: pure, so that a preview and the import itself cannot differ.
//!
//! Read on in `changes` (values of a known case), `payments`, `shown` (what a preview shows).

mod changes;
mod payments;
mod shown;

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;

pub(super) use self::shown::shown;
use self::{changes::scalars, payments::payment};

use crate::{
    cases::{
        bind::Fault,
        bucket::Bucket,
        entry::{CaseEntry, Entry, Person, What, silenced},
        sheet::letters,
        template::{Amount, Kind, Place, Template, To},
    },
    ids::CaseId,
    policy::CaseState,
    store::{
        case_bulk::{KnownCase, KnownDebtor, KnownPerson, NewCase, NewPerson},
        case_changes::{Change, NOTHING_OWED},
        repayments,
    },
};

const TO_COME: &str = "a day that is yet to come";

/// What is known of everything that a piece names.
#[derive(Default)]
pub(super) struct Table {
    pub cases: HashMap<String, KnownCase>,
    pub debtors: HashMap<String, KnownDebtor>,
    pub payments: HashMap<String, repayments::Known>,
}

/// The days of balances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days {
    /// Of all balances of the file, where a row does not say.
    pub told: Option<Date>,
    /// On which the cases were placed; their amounts are of that day.
    pub placed: Date,
    /// Today, where operators are.
    pub today: Date,
}

impl Days {
    /// The day for which a row tells the balance of a case that is known.
    fn of_balance(&self, said: &CaseEntry) -> String {
        let day = || self.told.unwrap_or(self.today).to_string();
        said.balance_on.clone().unwrap_or_else(day)
    }

    /// And of a case that is new.
    fn of_new_balance(&self, said: &CaseEntry) -> String {
        let day = || self.told.unwrap_or(self.placed).to_string();
        said.balance_on.clone().unwrap_or_else(day)
    }

    /// Whether anybody said it.
    fn is_told(&self, said: &CaseEntry) -> bool {
        said.balance_on.is_some() || self.told.is_some()
    }

    /// Whether a row tells a balance of a day that is yet to come, where it is that day first.
    fn is_to_come(&self, said: &CaseEntry) -> bool {
        said.balance_on.as_ref().is_some_and(|on| self.comes(on))
    }

    /// Whether a day, `YYYY-MM-DD`, is yet to come, where it is that day first.
    fn comes(&self, day: &str) -> bool {
        day.parse()
            .is_ok_and(|day| super::is_to_come(day, self.today))
    }
}

/// What becomes of a row.
pub(super) enum Plan {
    /// A case that is new, with what it tells about a debtor who is known.
    New {
        case: Box<NewCase>,
        learned: Vec<(u64, Change)>,
    },
    /// Another row of a case that is new in the same piece.
    Joined,
    /// Another row of a case that this import has entered.
    More {
        case: CaseId,
        people: Vec<NewPerson>,
    },
    /// Something new about a case that is known.
    Change {
        line: u64,
        change: Box<Change>,
        /// It enters something rather than changing it: a number, a payment.
        adds: bool,
    },
    /// Nothing new, except that what is owed is owed on a later day too.
    Confirmed { line: u64, change: Box<Change> },
    /// Nothing new.
    Same,
    /// Nothing but a balance of an earlier day than the one on file.
    Older,
    /// It contradicts what is known.
    Faulty(Vec<Fault>),
}

/// The key of a debtor for whom the client gives none: who he is, or else the case, of which he is then the only debtor.
pub(super) fn debtor_key(reference: &str, entry: &CaseEntry) -> String {
    match (&entry.debtor, &entry.identity) {
        (Some(debtor), _) => debtor.clone(),
        (None, Some(sealed)) => {
            format!("identity:{}", sealed.hash.get(..32).unwrap_or(&sealed.hash))
        }
        (None, None) => format!("case:{reference}"),
    }
}

/// Plans the rows of one case or of its payments. `identities` holds whom the debtors of this piece turned out to be.
pub(super) fn case(
    template: &Template,
    table: &Table,
    entries: &[&Entry],
    import: Option<i64>,
    days: &Days,
    identities: &mut BTreeMap<String, String>,
) -> Vec<Plan> {
    let Some(first) = entries.first() else {
        return Vec::new();
    };
    let known = table.cases.get(&first.case);
    if template.kind == Kind::Repayments {
        return entries
            .iter()
            .map(|entry| payment(template, entry, known, table, days))
            .collect();
    }
    let first = first_of(entries);
    match known {
        None => new_case(template, table, entries, first.as_ref(), days, identities),
        Some(known) => {
            let mut known = known.clone();
            let mut plan = |entry: &&Entry| {
                let first = first.as_ref().filter(|_| entry.first);
                known_case(template, entry, first, &mut known, import, days)
            };
            entries.iter().map(&mut plan).collect()
        }
    }
}

/// The first row of a case in its file, with what the rows right behind it say where it is silent.
fn first_of(entries: &[&Entry]) -> Option<CaseEntry> {
    let mut said = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Case(said) => Some((entry.first, said)),
            What::Payment(_) => None,
        })
        .peekable();
    let (true, first) = said.peek()? else {
        return None;
    };
    let mut whole = CaseEntry::clone(first);
    for (_, other) in said.skip(1) {
        whole.fill(other);
    }
    Some(whole)
}

/// A row that contradicts what is known in what goes to `to`.
fn faulty(template: &Template, to: &To, entry: &Entry, problem: impl Into<String>) -> Plan {
    let column = template.columns.iter().find(|(other, _)| other == to);
    let column = column.and_then(|(_, column)| match &column.place {
        Place::Heads(heads) => heads.first().cloned(),
        Place::Letter(at) => Some(letters(*at)),
    });
    Plan::Faulty(vec![Fault {
        line: entry.line,
        column,
        problem: problem.into(),
    }])
}

fn new_case(
    template: &Template,
    table: &Table,
    entries: &[&Entry],
    whole: Option<&CaseEntry>,
    days: &Days,
    identities: &mut BTreeMap<String, String>,
) -> Vec<Plan> {
    let mut plans = Vec::with_capacity(entries.len());
    let mut people: Vec<NewPerson> = Vec::new();
    let mut head: Option<(&Entry, &CaseEntry)> = None;
    let mut contradicted = None;
    for &entry in entries {
        let What::Case(said) = &entry.what else {
            plans.push(Plan::Same);
            continue;
        };
        if template.kind == Kind::Updates {
            plans.push(faulty(
                template,
                &To::Case,
                entry,
                "the client has no such case: import it first, or correct its number",
            ));
            continue;
        }
        if let Some(line) = contradicted {
            let problem = format!(
                "line {line} of the same case is faulty: all rows of the case wait until that one is corrected"
            );
            plans.push(faulty(template, &To::Case, entry, problem));
            continue;
        }
        if head.is_none() {
            let said = whole.unwrap_or(said);
            let key = debtor_key(&entry.case, said);
            let fault = if days.is_to_come(said) {
                Some((To::BalanceOn, TO_COME))
            } else {
                another_person(&key, said, table, identities).map(|said| (To::Identity, said))
            };
            if let Some((to, problem)) = fault {
                contradicted = Some(entry.line);
                plans.push(faulty(template, &to, entry, problem));
                continue;
            }
            head = Some((entry, said));
        }
        said.people
            .iter()
            .for_each(|person| join(&mut people, person));
        plans.push(Plan::Joined);
    }
    let Some((entry, said)) = head else {
        return plans;
    };
    let key = debtor_key(&entry.case, said);
    let mut learned = Vec::new();
    if let (Some(debtor), Some(sealed)) = (table.debtors.get(&key), &said.identity)
        && debtor.identity_hash.is_none()
    {
        let change = Change {
            debtor: Some(debtor.id.get()),
            identity: Some((sealed.hash.clone(), sealed.boxed.clone())),
            ..Change::default()
        };
        learned.push((entry.line, change));
    }
    let amount = |amount: Amount| said.amounts.get(amount as usize).copied().flatten();
    let placed = amount(Amount::Placed)
        .or(amount(Amount::Balance))
        .unwrap_or(0);
    let owed = amount(Amount::Balance).or(amount(Amount::Placed));
    let told = said.state.unwrap_or(CaseState::Open);
    let state = silenced(told, owed);
    let case = NewCase {
        state,
        reason: match state {
            CaseState::Open => None,
            state if state != told => Some(NOTHING_OWED),
            _ => Some("the client entered it so"),
        },
        reference: entry.case.clone(),
        debtor: key,
        name: said.name.clone().unwrap_or_default(),
        identity: said
            .identity
            .as_ref()
            .map(|s| (s.hash.clone(), s.boxed.clone())),
        card: card_of(said),
        currency: said.currency.unwrap_or(template.currency).to_string(),
        amounts: [
            placed,
            // Until the client says otherwise, what was placed is owed.
            amount(Amount::Balance).unwrap_or(placed),
            amount(Amount::Principal).unwrap_or(0),
            amount(Amount::Interest).unwrap_or(0),
            amount(Amount::Fees).unwrap_or(0),
        ],
        balance_on: owed.map(|_| days.of_new_balance(said)),
        overdue_days: said.overdue_days,
        bucket: Bucket::of(said.overdue_days).as_str(),
        region: said.region.clone().unwrap_or_default(),
        fields: serde_json::json!(said.fields).to_string(),
        people,
    };
    if let Some(place) = plans.iter_mut().find(|plan| matches!(plan, Plan::Joined)) {
        *place = Plan::New {
            case: Box::new(case),
            learned,
        };
    }
    plans
}

/// Whether the debtor of this key is known as, or was said to be, somebody else.
fn another_person(
    key: &str,
    said: &CaseEntry,
    table: &Table,
    identities: &mut BTreeMap<String, String>,
) -> Option<&'static str> {
    let hash = &said.identity.as_ref()?.hash;
    let on_file = table
        .debtors
        .get(key)
        .and_then(|d| d.identity_hash.as_ref());
    if on_file.is_some_and(|known| known != hash) {
        return Some("the debtor is on file with another identity number");
    }
    match identities.get(key) {
        Some(known) if known != hash => {
            Some("another row gives the same debtor another identity number")
        }
        Some(_) => None,
        None => {
            identities.insert(key.to_owned(), hash.clone());
            None
        }
    }
}

fn card_of(said: &CaseEntry) -> Option<(String, String, String)> {
    said.card.as_ref().map(|card| {
        (
            card.sealed.hash.clone(),
            card.sealed.boxed.clone(),
            card.last4.clone(),
        )
    })
}

fn new_person(person: &Person) -> NewPerson {
    NewPerson {
        relation: person.relation.as_str().to_owned(),
        name: person.name.clone(),
        identity_hash: person.identity_hash.clone(),
        numbers: person
            .numbers
            .iter()
            .map(|n| (n.dial_string().to_owned(), n.region().map(str::to_owned)))
            .collect(),
        addresses: person.addresses.clone(),
        zones: person
            .zone
            .iter()
            .flat_map(|zone| {
                let numbers = person.numbers.iter();
                numbers.map(|n| (n.dial_string().to_owned(), zone.clone()))
            })
            .collect(),
    }
}

/// Adds what a row says of a person to what the rows before it said of him.
fn join(people: &mut Vec<NewPerson>, person: &Person) {
    let new = new_person(person);
    let same = people
        .iter_mut()
        .find(|known| known.name == new.name && known.relation == new.relation);
    match same {
        None => people.push(new),
        Some(known) => {
            known.identity_hash = known.identity_hash.take().or(new.identity_hash);
            for number in new.numbers {
                if !known.numbers.contains(&number) {
                    known.numbers.push(number);
                }
            }
            for (digits, zone) in new.zones {
                known.zones.entry(digits).or_insert(zone);
            }
            for address in new.addresses {
                if !known.addresses.contains(&address) {
                    known.addresses.push(address);
                }
            }
        }
    }
}

/// `whole` is there for the first row of the case in its file.
fn known_case(
    template: &Template,
    entry: &Entry,
    whole: Option<&CaseEntry>,
    known: &mut KnownCase,
    import: Option<i64>,
    days: &Days,
) -> Plan {
    let What::Case(own_row) = &entry.what else {
        return Plan::Same;
    };
    let said = whole.unwrap_or(own_row);
    if days.is_to_come(said) {
        return faulty(template, &To::BalanceOn, entry, TO_COME);
    }
    let own = known.hidden_by.is_some() && known.hidden_by == import;
    if known.hidden_by.is_some() && !own {
        return faulty(
            template,
            &To::Case,
            entry,
            "the case is just being imported by somebody else; import the row again later",
        );
    }
    if let Some(debtor) = &said.debtor
        && *debtor != known.debtor.reference
    {
        return faulty(
            template,
            &To::Debtor,
            entry,
            "the case was imported before with another debtor",
        );
    }
    if let Some(sealed) = &said.identity
        && known
            .debtor
            .identity_hash
            .as_ref()
            .is_some_and(|hash| *hash != sealed.hash)
    {
        return faulty(
            template,
            &To::Identity,
            entry,
            "the debtor is on file with another identity number",
        );
    }
    if let Some(currency) = said.currency
        && currency.as_str() != known.currency
        && said.amounts.iter().any(Option::is_some)
    {
        return faulty(
            template,
            &To::Currency,
            entry,
            format!(
                "the case is kept in {}: amounts in another currency cannot be compared",
                known.currency
            ),
        );
    }
    let people = unknown_people(own_row, known);
    if own {
        return match people.is_empty() {
            true => Plan::Same,
            false => Plan::More {
                case: known.id,
                people,
            },
        };
    }
    let mut change = Change {
        case: known.id.get(),
        ..Change::default()
    };
    let adds = !people.is_empty();
    if adds {
        let count = |count: usize| serde_json::json!(count);
        let numbers = people.iter().map(|person| person.numbers.len()).sum();
        let addresses = people.iter().map(|person| person.addresses.len()).sum();
        change.after.insert("new_numbers".into(), count(numbers));
        change
            .after
            .insert("new_addresses".into(), count(addresses));
        change.people = people;
    }
    // What the first row of the case said, with those right behind it, the others may only repeat.
    if entry.first {
        scalars(template, said, known, days, &mut change);
    }
    if change.after.is_empty() {
        return match change.balance_on {
            Some(_) => Plan::Confirmed {
                line: entry.line,
                change: Box::new(change),
            },
            None if change.older_balance => Plan::Older,
            None => Plan::Same,
        };
    }
    Plan::Change {
        line: entry.line,
        change: Box::new(change),
        adds,
    }
}

/// What a row says of people that is not on file; notes it as known for the rows behind.
fn unknown_people(said: &CaseEntry, known: &mut KnownCase) -> Vec<NewPerson> {
    let mut unknown = Vec::new();
    for person in &said.people {
        let mut new = new_person(person);
        if person.name.is_empty() {
            // The debtor, whose name this file does not say.
            let named = known.people.iter().find(|p| p.relation == person.relation);
            new.name = named
                .map_or(&known.debtor.name, |known| &known.name)
                .clone();
        }
        let on_file = known
            .people
            .iter_mut()
            .find(|p| p.relation == person.relation && p.name == new.name);
        match on_file {
            Some(on_file) => {
                new.numbers
                    .retain(|(digits, _)| on_file.numbers.insert(digits.clone()));
                new.addresses
                    .retain(|address| on_file.addresses.insert(address.clone()));
                if !new.numbers.is_empty() || !new.addresses.is_empty() {
                    unknown.push(new);
                }
            }
            None => {
                known.people.push(KnownPerson {
                    relation: person.relation,
                    name: new.name.clone(),
                    numbers: new
                        .numbers
                        .iter()
                        .map(|(digits, _)| digits.clone())
                        .collect(),
                    addresses: new.addresses.iter().cloned().collect(),
                });
                unknown.push(new);
            }
        }
    }
    unknown
}
