//! What a row changes, given what is known: pure, so that a preview and the import itself cannot differ.

use std::collections::{BTreeMap, HashMap};

use crate::{
    cases::{
        bind::Fault,
        bucket::Bucket,
        entry::{CaseEntry, Entry, PaymentEntry, Person, What, silenced},
        identity::masked,
        money::{Currency, Money},
        sheet::letters,
        template::{Amount, Kind, Place, Rule, Template, To},
    },
    ids::CaseId,
    policy::CaseState,
    store::{
        case_bulk::{KnownCase, KnownDebtor, KnownPerson, NewCase, NewPerson},
        case_changes::{Change, NOTHING_OWED},
        repayments,
    },
};

/// What is known of everything that a piece names.
#[derive(Default)]
pub(super) struct Table {
    pub cases: HashMap<String, KnownCase>,
    pub debtors: HashMap<String, KnownDebtor>,
    pub payments: HashMap<String, repayments::Known>,
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
    /// Nothing new.
    Same,
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
    identities: &mut BTreeMap<String, String>,
) -> Vec<Plan> {
    let Some(first) = entries.first() else {
        return Vec::new();
    };
    let known = table.cases.get(&first.case);
    if template.kind == Kind::Repayments {
        return entries
            .iter()
            .map(|entry| payment(template, entry, known, table))
            .collect();
    }
    match known {
        None => new_case(template, table, entries, identities),
        Some(known) => {
            let mut known = known.clone();
            let mut plan = |entry: &&Entry| known_case(template, entry, &mut known, import);
            entries.iter().map(&mut plan).collect()
        }
    }
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
    identities: &mut BTreeMap<String, String>,
) -> Vec<Plan> {
    let mut plans = Vec::with_capacity(entries.len());
    let mut people: Vec<NewPerson> = Vec::new();
    let mut head: Option<(&Entry, &CaseEntry)> = None;
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
        if head.is_none() {
            let key = debtor_key(&entry.case, said);
            if let Some(contradiction) = another_person(&key, said, table, identities) {
                plans.push(faulty(template, &To::Identity, entry, contradiction));
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

fn known_case(
    template: &Template,
    entry: &Entry,
    known: &mut KnownCase,
    import: Option<i64>,
) -> Plan {
    let What::Case(said) = &entry.what else {
        return Plan::Same;
    };
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
    let people = unknown_people(said, known);
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
    // What the first row of the case said, the others may only repeat.
    if entry.first {
        scalars(template, said, known, &mut change);
    }
    if change.after.is_empty() {
        return Plan::Same;
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

/// The new value, if the rule lets it replace the known one.
fn ruled<T: PartialEq>(rule: Rule, known: Option<T>, said: Option<T>) -> Option<T> {
    let said = said?;
    let replaces = match rule {
        Rule::Overwrite => known.as_ref() != Some(&said),
        Rule::Keep => false,
        Rule::OnlyIfEmpty | Rule::Add => known.is_none(),
    };
    replaces.then_some(said)
}

fn full(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn scalars(template: &Template, said: &CaseEntry, known: &KnownCase, change: &mut Change) {
    let rule = |to: &To| {
        let column = template.columns.iter().find(|(other, _)| other == to);
        column.map_or(Rule::Keep, |(_, column)| column.rule)
    };
    let currency = Currency::parse(&known.currency).unwrap_or(Currency::CNY);
    let money = |e4| serde_json::json!(Money { e4, currency }.to_string());
    for (index, amount) in Amount::ALL.into_iter().enumerate() {
        let was = known.amounts.get(index).copied().unwrap_or(0);
        let new = said.amounts.get(index).copied().flatten();
        // Nothing and not known are not told apart; an amount that overwrites nothing with nothing changes nothing, unless
        // it is the balance: of a case whose balance nobody told it is news that nothing is owed.
        let new = match rule(&To::Amount(amount)) {
            Rule::Overwrite => new,
            rule => ruled(rule, Some(was).filter(|was| *was != 0), new),
        };
        let silences = amount == Amount::Balance && silenced(known.state, new) != known.state;
        let new = new.filter(|new| *new != was || silences);
        if let (Some(new), Some(slot)) = (new, change.amounts.get_mut(index)) {
            *slot = Some(new);
            change.before.insert(amount.as_str().into(), money(was));
            change.after.insert(amount.as_str().into(), money(new));
        }
    }
    let days = ruled(
        rule(&To::OverdueDays),
        known.overdue_days,
        said.overdue_days,
    );
    if let Some(days) = days {
        change.overdue_days = Some(days);
        change.bucket = Some(Bucket::of(Some(days)).as_str().to_owned());
        change
            .before
            .insert("overdue_days".into(), serde_json::json!(known.overdue_days));
        change
            .after
            .insert("overdue_days".into(), serde_json::json!(days));
    }
    if let Some(region) = ruled(rule(&To::Region), full(&known.region), said.region.clone()) {
        change
            .before
            .insert("region".into(), serde_json::json!(known.region));
        change
            .after
            .insert("region".into(), serde_json::json!(region));
        change.region = Some(region);
    }
    if let Some(name) = ruled(rule(&To::Name), full(&known.debtor.name), said.name.clone()) {
        change
            .after
            .insert("name".into(), serde_json::json!("changed"));
        change.debtor = Some(known.debtor.id.get());
        change.name = Some(name);
    }
    if let (Some(sealed), None) = (&said.identity, &known.debtor.identity_hash) {
        change
            .after
            .insert("identity".into(), serde_json::json!("learned"));
        change.debtor = Some(known.debtor.id.get());
        change.identity = Some((sealed.hash.clone(), sealed.boxed.clone()));
    }
    let card = said.card.as_ref().map(|card| card.sealed.hash.clone());
    if ruled(rule(&To::Card), known.card_hash.clone(), card).is_some() {
        change.card = card_of(said);
        let last4 = said.card.as_ref().map(|card| masked(&card.last4));
        change.after.insert("card".into(), serde_json::json!(last4));
    }
    fields(template, said, known, change);
}

fn fields(template: &Template, said: &CaseEntry, known: &KnownCase, change: &mut Change) {
    let mut all: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&known.fields).unwrap_or_default();
    let mut changed = Vec::new();
    for (to, column) in &template.columns {
        let To::Field(name, _) = to else { continue };
        let Some(value) = said.fields.get(name) else {
            continue;
        };
        let was = all.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let new = match (column.rule, &was) {
            // Line by line, each once.
            (Rule::Add, Some(was)) => {
                let there = was.lines().any(|line| line == value);
                (!there).then(|| format!("{was}\n{value}"))
            }
            (rule, _) => ruled(rule, was, Some(value.clone())),
        };
        if let Some(new) = new {
            all.insert(name.clone(), new.into());
            changed.push(name.as_str());
        }
    }
    if !changed.is_empty() {
        change
            .after
            .insert("fields".into(), serde_json::json!(changed));
        change.fields = Some(serde_json::json!(all).to_string());
    }
}

fn payment(template: &Template, entry: &Entry, known: Option<&KnownCase>, table: &Table) -> Plan {
    let What::Payment(said) = &entry.what else {
        return Plan::Same;
    };
    let Some(known) = known.filter(|known| known.hidden_by.is_none()) else {
        return faulty(
            template,
            &To::Case,
            entry,
            "the client has no such case: correct its number",
        );
    };
    let PaymentEntry {
        reference,
        e4,
        currency,
        paid_on,
        settles,
    } = said;
    if let Some(before) = table.payments.get(reference) {
        let same = before.case == known.id
            && before.amount_e4 == *e4
            && before.currency == currency.as_str()
            && before.paid_on == *paid_on;
        return match same {
            true => Plan::Same,
            false => faulty(
                template,
                &To::Payment,
                entry,
                "a payment of this number is on file with another case, amount, currency or day: give it a number of its own",
            ),
        };
    }
    if currency.as_str() != known.currency {
        return faulty(
            template,
            &To::Currency,
            entry,
            format!(
                "the case is kept in {}: a payment in another currency cannot be taken off",
                known.currency
            ),
        );
    }
    if !entry.first {
        return Plan::Same;
    }
    let change = Change {
        case: known.id.get(),
        payment: Some(repayments::NewRepayment {
            reference: reference.clone(),
            amount_e4: *e4,
            currency: currency.to_string(),
            paid_on: paid_on.clone(),
            settles: *settles,
        }),
        ..Change::default()
    };
    Plan::Change {
        line: entry.line,
        change: Box::new(change),
        adds: true,
    }
}

/// A row as a preview shows it: enough to see that the columns are right, not enough to know anybody.
pub(super) fn shown(entry: &Entry) -> String {
    let mut text = format!("line {}: case {}", entry.line, entry.case);
    match &entry.what {
        What::Payment(payment) => {
            let money = Money {
                e4: payment.e4,
                currency: payment.currency,
            };
            text.push_str(&format!(
                ", {money} {} on {}",
                payment.currency, payment.paid_on
            ));
            if payment.settles {
                text.push_str(", settled with it");
            }
        }
        What::Case(case) => {
            if let Some(name) = &case.name {
                text.push_str(&format!(", {}", first_letter(name)));
            }
            if case.identity.is_some() {
                text.push_str(", identity number");
            }
            if let Some(card) = &case.card {
                text.push_str(&format!(", card {}", masked(&card.last4)));
            }
            let currency = case.currency.unwrap_or(Currency::CNY);
            for (amount, e4) in Amount::ALL.into_iter().zip(case.amounts) {
                if let Some(e4) = e4 {
                    let money = Money { e4, currency };
                    text.push_str(&format!(", {} {money} {currency}", amount.as_str()));
                }
            }
            if let Some(days) = case.overdue_days {
                text.push_str(&format!(", {days} days overdue"));
            }
            for name in case.fields.keys() {
                text.push_str(&format!(", {name}"));
            }
            for person in &case.people {
                text.push_str(&format!(
                    "; {} {}",
                    person.relation.as_str(),
                    first_letter(&person.name)
                ));
                for number in &person.numbers {
                    text.push_str(&format!(" {number}"));
                }
                if !person.addresses.is_empty() {
                    text.push_str(&format!(" {} addresses", person.addresses.len()));
                }
            }
        }
    }
    text
}

fn first_letter(name: &str) -> String {
    name.chars()
        .next()
        .map(|c| format!("{c}*"))
        .unwrap_or_default()
}
