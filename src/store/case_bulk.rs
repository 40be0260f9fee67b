//! Cases in bulk: what is known of many at once, and entering many at once. What an import is made of.
//!
//! New cases are entered hidden, by their batch or by themselves; `imports` reveals them. What is known is read in `known`.

mod known;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Error, Result, Tx, bulk::Among, case_changes, db::Row, many::Many, sql::Value};
use crate::{
    ids::{BatchId, CaseId, ClientId, PersonId},
    policy::CaseState,
};

pub use self::known::{KnownCase, KnownDebtor, KnownPerson, debtors, known};

static PERSONS: Among = Among::new(
    "look up persons",
    "SELECT id, identity_hash FROM persons WHERE identity_hash IN",
    0,
    "",
);
static NUMBERS: Among = Among::new(
    "look up numbers",
    "SELECT id, digits FROM numbers WHERE digits IN",
    0,
    "",
);
static CONTACTS: Among = Among::new(
    "look up contacts",
    "SELECT id, case_id, name, relation FROM contacts WHERE case_id IN",
    0,
    "",
);
static NEW_PERSONS: Many = Many::new(
    "enter persons",
    "INSERT INTO persons (created_at_ms) VALUES ",
    &[""; 1],
    " RETURNING id",
);
static NAMED_PERSONS: Many = Many::new(
    "enter persons",
    "INSERT INTO persons (identity_hash, identity_box, created_at_ms) VALUES ",
    &[""; 3],
    " ON CONFLICT (identity_hash) DO UPDATE SET identity_box = COALESCE(persons.identity_box, excluded.identity_box)",
);
/// A contact's number has no box: it is searched for, never shown.
static HASHED_PERSONS: Many = Many::new(
    "enter persons",
    "INSERT INTO persons (identity_hash, created_at_ms) VALUES ",
    &[""; 2],
    " ON CONFLICT (identity_hash) DO NOTHING",
);
static NEW_DEBTORS: Many = Many::new(
    "enter debtors",
    "INSERT INTO debtors (client_id, reference, person_id, name, created_at_ms) VALUES ",
    &[""; 5],
    " RETURNING id, reference",
);
static NEW_NUMBERS: Many = Many::new(
    "enter numbers",
    "INSERT INTO numbers (digits, region, created_at_ms, changed_at_ms) VALUES ",
    &[""; 4],
    " ON CONFLICT (digits) DO NOTHING",
);
static NEW_CASES: Many = Many::new(
    "enter cases",
    "INSERT INTO cases (client_id, batch_id, debtor_id, reference, created_at_ms, changed_at_ms, import_id,
                        revealed_at_ms, currency, placed_e4, balance_e4, principal_e4, interest_e4, fees_e4, balance_on,
                        overdue_days, bucket, region, card_hash, card_box, card_last4, fields, state, reason) VALUES ",
    &[""; 24],
    " RETURNING id, reference",
);
static NEW_CONTACTS: Many = Many::new(
    "enter contacts",
    "INSERT INTO contacts (case_id, name, relation, identity_hash, created_at_ms) VALUES ",
    &[""; 5],
    " ON CONFLICT (case_id, name, relation) DO NOTHING",
);
static NEW_POINTS: Many = Many::new(
    "enter contact points",
    "INSERT INTO contact_points (case_id, contact_id, number_id, created_at_ms, zone) VALUES ",
    &[""; 5],
    " ON CONFLICT (contact_id, number_id) DO NOTHING RETURNING id",
);
static NEW_ADDRESSES: Many = Many::new(
    "enter addresses",
    "INSERT INTO addresses (contact_id, kind, text, created_at_ms) VALUES ",
    &[""; 4],
    " ON CONFLICT (contact_id, kind, text) DO NOTHING",
);

/// Every statement of this file, for the test that prepares them on both databases.
#[cfg(test)]
pub(crate) fn texts() -> Vec<super::sql::Sql> {
    let mut texts = super::bulk::texts_of(&[], &known::texts());
    texts.extend(super::bulk::texts_of(
        &[
            &NEW_PERSONS,
            &NAMED_PERSONS,
            &HASHED_PERSONS,
            &NEW_DEBTORS,
            &NEW_NUMBERS,
            &NEW_CASES,
            &NEW_CONTACTS,
            &NEW_POINTS,
            &NEW_ADDRESSES,
        ],
        &[&PERSONS, &NUMBERS, &CONTACTS],
    ));
    texts
}

fn keys<T>(values: impl IntoIterator<Item = T>) -> Vec<Value>
where
    Value: From<T>,
{
    values.into_iter().map(Value::from).collect()
}

/// A person to be entered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewPerson {
    /// What he is to the debt, as its word.
    pub relation: String,
    /// His name.
    pub name: String,
    /// Hash of his identity number.
    pub identity_hash: Option<String>,
    /// Digits and region of his numbers.
    pub numbers: Vec<(String, Option<String>)>,
    /// His addresses with their kinds.
    pub addresses: Vec<(String, String)>,
    /// By digits, the time zones of where his numbers ring, put on record for those that are new.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, String>,
}

/// A case to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    /// The client's case number.
    pub reference: String,
    /// The state in which it enters.
    pub state: CaseState,
    /// Why, unless it is open.
    pub reason: Option<&'static str>,
    /// The client's own key of the debtor.
    pub debtor: String,
    /// Name of the debtor.
    pub name: String,
    /// Hash and box of the debtor's identity number.
    pub identity: Option<(String, String)>,
    /// Hash, box and last four characters of the card number.
    pub card: Option<(String, String, String)>,
    /// Currency.
    pub currency: String,
    /// Placed, balance, principal, interest, fees.
    pub amounts: [i64; 5],
    /// Days overdue at placement.
    pub overdue_days: Option<i64>,
    /// The day of the balance, if anybody told one.
    pub balance_on: Option<String>,
    /// Word of the overdue bucket.
    pub bucket: &'static str,
    /// Where the debtor lives.
    pub region: String,
    /// JSON of the client's own fields.
    pub fields: String,
    /// Whom to reach.
    pub people: Vec<NewPerson>,
}

/// Where new cases belong.
#[derive(Debug, Clone, Copy)]
pub struct Belongs<'a> {
    /// The client.
    pub client: ClientId,
    /// The batch.
    pub batch: BatchId,
    /// The import.
    pub import: i64,
    /// When they are seen, as far as it is theirs to say; `None`: when `imports` reveals them.
    pub revealed_at_ms: Option<i64>,
    /// Who enters them.
    pub actor: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// Enters cases with their debtors, persons, contacts, numbers and addresses; says how many contact points are new.
///
/// # Errors
/// [`Error::Constraint`] (exists) if one of them was entered by somebody else meanwhile: look again.
pub async fn enter(tx: &mut Tx, belongs: Belongs<'_>, new: &[NewCase]) -> Result<usize> {
    if new.is_empty() {
        return Ok(0);
    }
    let debtors = enter_debtors(tx, belongs, new).await?;
    let now_ms = belongs.now_ms;
    let mut rows = Vec::with_capacity(new.len());
    for case in new {
        let debtor = debtors.get(case.debtor.as_str()).copied();
        let debtor = debtor.ok_or_else(|| lost("enter cases"))?;
        let [placed, balance, principal, interest, fees] = case.amounts;
        let (hash, boxed, last4) = match &case.card {
            Some((hash, boxed, last4)) => (
                Some(hash.as_str()),
                Some(boxed.as_str()),
                Some(last4.as_str()),
            ),
            None => (None, None, None),
        };
        rows.push(args![
            belongs.client,
            belongs.batch,
            debtor,
            &case.reference,
            now_ms,
            now_ms,
            belongs.import,
            belongs.revealed_at_ms,
            &case.currency,
            placed,
            balance,
            principal,
            interest,
            fees,
            case.balance_on.clone(),
            case.overdue_days,
            case.bucket,
            &case.region,
            hash,
            boxed,
            last4,
            &case.fields,
            case.state,
            case.reason
        ]);
    }
    let ids = by_word(&NEW_CASES.run(tx, rows).await?, "reference")?;
    let (mut people, mut not_open) = (Vec::new(), Vec::new());
    for case in new {
        let id = ids.get(&case.reference).copied();
        let id = CaseId::new(id.ok_or_else(|| lost("enter cases"))?);
        if case.state != CaseState::Open {
            not_open.push((id, case.state, case.reason.unwrap_or_default()));
        }
        people.extend(case.people.iter().map(|person| (id, person)));
    }
    case_changes::note_entries(tx, &not_open, belongs.actor, now_ms).await?;
    enter_people(tx, &people, now_ms).await
}

/// Enters people of cases that are on file; says how many contact points are new.
pub async fn enter_people(
    tx: &mut Tx,
    people: &[(CaseId, &NewPerson)],
    now_ms: i64,
) -> Result<usize> {
    if people.is_empty() {
        return Ok(0);
    }
    // In the order of the digits, so that no two transactions wait for each other.
    let numbers: BTreeMap<&str, Option<&str>> = people
        .iter()
        .flat_map(|(_, person)| &person.numbers)
        .map(|(digits, region)| (digits.as_str(), region.as_deref()))
        .collect();
    let rows = numbers
        .iter()
        .map(|(digits, region)| args![*digits, *region, now_ms, now_ms])
        .collect();
    NEW_NUMBERS.run(tx, rows).await?;
    let rows = NUMBERS
        .fetch(tx, &[], &keys(numbers.keys().copied()))
        .await?;
    let numbers = by_word(&rows, "digits")?;

    // Who is known by an identity number is one person, whatever he is to however many debts.
    let hashes: BTreeSet<&str> = people
        .iter()
        .filter_map(|(_, person)| person.identity_hash.as_deref())
        .collect();
    let rows = hashes.iter().map(|hash| args![*hash, now_ms]).collect();
    HASHED_PERSONS.run(tx, rows).await?;

    // Contacts, numbers and addresses stay in the order of the file, in which they are shown.
    let mut named = BTreeSet::new();
    let rows = people
        .iter()
        .filter(|(case, person)| named.insert((case.get(), &person.name, &person.relation)))
        .map(|(case, person)| {
            args![
                *case,
                &person.name,
                &person.relation,
                person.identity_hash.clone(),
                now_ms
            ]
        })
        .collect();
    NEW_CONTACTS.run(tx, rows).await?;
    let cases: BTreeSet<i64> = people.iter().map(|(case, _)| case.get()).collect();
    let mut ids: HashMap<(i64, String, String), i64> = HashMap::new();
    for row in CONTACTS.fetch(tx, &[], &keys(cases)).await? {
        let key = (row.get("case_id")?, row.get("name")?, row.get("relation")?);
        ids.insert(key, row.get("id")?);
    }

    let (mut points, mut addresses) = (Vec::new(), Vec::new());
    let (mut seen_points, mut seen_addresses) = (BTreeSet::new(), BTreeSet::new());
    for (case, person) in people {
        let key = (case.get(), person.name.clone(), person.relation.clone());
        let contact = *ids.get(&key).ok_or_else(|| lost("enter contacts"))?;
        for (digits, _) in &person.numbers {
            let number = *numbers.get(digits).ok_or_else(|| lost("enter numbers"))?;
            if seen_points.insert((contact, number)) {
                let zone = person.zones.get(digits).cloned();
                points.push(args![*case, contact, number, now_ms, zone]);
            }
        }
        for (kind, text) in &person.addresses {
            if seen_addresses.insert((contact, kind, text)) {
                addresses.push(args![contact, kind, text, now_ms]);
            }
        }
    }
    let new = NEW_POINTS.run(tx, points).await?.len();
    NEW_ADDRESSES.run(tx, addresses).await?;
    Ok(new)
}

/// Hash and box of a number.
type Secret = (String, String);

/// The debtors of new cases, entered as far as they are not there, each with a person.
async fn enter_debtors<'n>(
    tx: &mut Tx,
    belongs: Belongs<'_>,
    new: &'n [NewCase],
) -> Result<HashMap<&'n str, i64>> {
    let mut wanted: BTreeMap<&str, (&str, Option<&Secret>)> = BTreeMap::new();
    for case in new {
        let entry = wanted.entry(&case.debtor).or_insert((&case.name, None));
        entry.1 = entry.1.or(case.identity.as_ref());
    }
    let references: Vec<&str> = wanted.keys().copied().collect();
    let known = debtors(tx, belongs.client, &references).await?;
    let mut ids: HashMap<&str, i64> = HashMap::new();
    for reference in wanted.keys() {
        if let Some(debtor) = known.get(*reference) {
            ids.insert(reference, debtor.id.get());
        }
    }
    let missing: Vec<(&str, &str, Option<&Secret>)> = wanted
        .into_iter()
        .filter(|(reference, _)| !known.contains_key(*reference))
        .map(|(reference, (name, identity))| (reference, name, identity))
        .collect();
    let identities: BTreeMap<&str, &str> = missing
        .iter()
        .filter_map(|(_, _, identity)| *identity)
        .map(|(hash, boxed)| (hash.as_str(), boxed.as_str()))
        .collect();
    let rows = identities
        .iter()
        .map(|(hash, boxed)| args![*hash, *boxed, belongs.now_ms])
        .collect();
    NAMED_PERSONS.run(tx, rows).await?;
    let rows = PERSONS
        .fetch(tx, &[], &keys(identities.keys().copied()))
        .await?;
    let named = by_word(&rows, "identity_hash")?;
    let unnamed = missing
        .iter()
        .filter(|(_, _, identity)| identity.is_none())
        .count();
    let rows = (0..unnamed).map(|_| args![belongs.now_ms]).collect();
    let mut fresh = NEW_PERSONS.run(tx, rows).await?.into_iter();
    let mut rows = Vec::with_capacity(missing.len());
    for (reference, name, identity) in &missing {
        let person = match identity {
            Some((hash, _)) => named.get(hash).copied(),
            None => fresh.next().map(|row| row.get("id")).transpose()?,
        };
        let person = PersonId::new(person.ok_or_else(|| lost("enter persons"))?);
        rows.push(args![
            belongs.client,
            *reference,
            person,
            *name,
            belongs.now_ms
        ]);
    }
    let entered = by_word(&NEW_DEBTORS.run(tx, rows).await?, "reference")?;
    for (reference, _, _) in missing {
        let id = entered.get(reference).copied();
        ids.insert(reference, id.ok_or_else(|| lost("enter debtors"))?);
    }
    Ok(ids)
}

fn by_word(rows: &[Row], word: &'static str) -> Result<HashMap<String, i64>> {
    rows.iter()
        .map(|row| Ok((row.get(word)?, row.get("id")?)))
        .collect()
}

/// A row that was just written was not found.
fn lost(act: &'static str) -> Error {
    Error::Mistake {
        act,
        cause: "a row that was just written is not there".to_owned(),
    }
}
