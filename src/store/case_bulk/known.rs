//! What is on file of many cases at once, as far as a file can say something about it.

use std::collections::{BTreeSet, HashMap};

use super::keys;
use crate::{
    ids::{CaseId, ClientId, DebtorId},
    policy::{CaseState, Relation},
    store::{Result, Tx, bulk::Among},
};

/// A person of a case that is on file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPerson {
    /// What he is to the debt.
    pub relation: Relation,
    /// His name.
    pub name: String,
    /// Digits of his numbers.
    pub numbers: BTreeSet<String>,
    /// His addresses with their kinds.
    pub addresses: BTreeSet<(String, String)>,
}

/// A case that is on file, as far as a file can say something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCase {
    /// Our id.
    pub id: CaseId,
    /// Its debtor.
    pub debtor: KnownDebtor,
    /// What may be done with it.
    pub state: CaseState,
    /// The import that entered it, as long as nobody sees it.
    pub hidden_by: Option<i64>,
    /// Currency of its amounts.
    pub currency: String,
    /// Placed, balance, principal, interest, fees.
    pub amounts: [i64; 5],
    /// The day for which the balance was told, if that is known.
    pub balance_on: Option<String>,
    /// What was paid since that day, and is taken off.
    pub repaid_since_e4: i64,
    /// Days overdue at placement.
    pub overdue_days: Option<i64>,
    /// Where the debtor lives.
    pub region: String,
    /// JSON of the client's own fields.
    pub fields: String,
    /// Hash of its card number.
    pub card_hash: Option<String>,
    /// Who belongs to it.
    pub people: Vec<KnownPerson>,
}

/// A debtor that is on file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDebtor {
    /// Our id.
    pub id: DebtorId,
    /// The client's own key.
    pub reference: String,
    /// Name.
    pub name: String,
    /// Hash of the identity number of his person, if it is known.
    pub identity_hash: Option<String>,
}

static KNOWN: Among = Among::new(
    "look up the cases of a file",
    "SELECT c.id, c.reference, c.state, c.currency, c.placed_e4, c.balance_e4, c.principal_e4, c.interest_e4, c.fees_e4,
            c.overdue_days, c.region, c.fields, c.card_hash, c.import_id, c.revealed_at_ms,
            b.revealed_at_ms AS batch_revealed_at_ms, c.balance_on,
            (SELECT CAST(COALESCE(SUM(r.amount_e4), 0) AS BIGINT) FROM repayments r
             WHERE r.case_id = c.id AND r.paid_on > c.balance_on) AS repaid_since_e4,
            d.id AS debtor_id, d.reference AS debtor, d.name AS debtor_name, p.identity_hash
     FROM cases c JOIN batches b ON b.id = c.batch_id JOIN debtors d ON d.id = c.debtor_id
          JOIN persons p ON p.id = d.person_id
     WHERE c.client_id = $1 AND c.reference IN",
    1,
    "",
);
static PEOPLE: Among = Among::new(
    "look up the people of cases",
    "SELECT t.id, t.case_id, t.name, t.relation FROM contacts t WHERE t.case_id IN",
    0,
    "",
);
static NUMBERS_OF: Among = Among::new(
    "look up the numbers of cases",
    "SELECT p.contact_id, n.digits FROM contact_points p JOIN numbers n ON n.id = p.number_id WHERE p.case_id IN",
    0,
    "",
);
static ADDRESSES_OF: Among = Among::new(
    "look up the addresses of cases",
    "SELECT a.contact_id, a.kind, a.text FROM addresses a JOIN contacts t ON t.id = a.contact_id WHERE t.case_id IN",
    0,
    "",
);
static DEBTORS: Among = Among::new(
    "look up debtors",
    "SELECT d.id, d.reference, d.name, p.identity_hash FROM debtors d JOIN persons p ON p.id = d.person_id
     WHERE d.client_id = $1 AND d.reference IN",
    1,
    "",
);
/// The statements of this file, for the test that prepares them on both databases.
#[cfg(test)]
pub(super) fn texts() -> [&'static Among; 5] {
    [&KNOWN, &PEOPLE, &NUMBERS_OF, &ADDRESSES_OF, &DEBTORS]
}

/// What is on file of a client's cases, by their numbers, hidden ones too.
pub async fn known(
    tx: &mut Tx,
    client: ClientId,
    references: &[&str],
) -> Result<HashMap<String, KnownCase>> {
    let mut by_id: HashMap<i64, (String, KnownCase)> = HashMap::new();
    let wanted = keys(references.iter().copied());
    for row in KNOWN.fetch(tx, &[client.into()], &wanted).await? {
        let id: i64 = row.get("id")?;
        let seen = row.get::<Option<i64>>("revealed_at_ms")?.is_some()
            && row.get::<Option<i64>>("batch_revealed_at_ms")?.is_some();
        let import: Option<i64> = row.get("import_id")?;
        let case = KnownCase {
            id: CaseId::new(id),
            debtor: KnownDebtor {
                id: DebtorId::new(row.get("debtor_id")?),
                reference: row.get("debtor")?,
                name: row.get("debtor_name")?,
                identity_hash: row.get("identity_hash")?,
            },
            state: row.word("state", CaseState::parse)?,
            hidden_by: if seen {
                None
            } else {
                Some(import.unwrap_or(0))
            },
            currency: row.get("currency")?,
            amounts: [
                row.get("placed_e4")?,
                row.get("balance_e4")?,
                row.get("principal_e4")?,
                row.get("interest_e4")?,
                row.get("fees_e4")?,
            ],
            balance_on: row.get("balance_on")?,
            repaid_since_e4: row.get("repaid_since_e4")?,
            overdue_days: row.get("overdue_days")?,
            region: row.get("region")?,
            fields: row.get("fields")?,
            card_hash: row.get("card_hash")?,
            people: Vec::new(),
        };
        by_id.insert(id, (row.get("reference")?, case));
    }
    let ids = keys(by_id.keys().copied());
    let mut people: HashMap<i64, (i64, KnownPerson)> = HashMap::new();
    for row in PEOPLE.fetch(tx, &[], &ids).await? {
        let person = KnownPerson {
            relation: row.word("relation", Relation::parse)?,
            name: row.get("name")?,
            numbers: BTreeSet::new(),
            addresses: BTreeSet::new(),
        };
        people.insert(row.get("id")?, (row.get("case_id")?, person));
    }
    for row in NUMBERS_OF.fetch(tx, &[], &ids).await? {
        if let Some((_, person)) = people.get_mut(&row.get::<i64>("contact_id")?) {
            person.numbers.insert(row.get("digits")?);
        }
    }
    for row in ADDRESSES_OF.fetch(tx, &[], &ids).await? {
        if let Some((_, person)) = people.get_mut(&row.get::<i64>("contact_id")?) {
            person
                .addresses
                .insert((row.get("kind")?, row.get("text")?));
        }
    }
    for (case, person) in people.into_values() {
        if let Some((_, case)) = by_id.get_mut(&case) {
            case.people.push(person);
        }
    }
    Ok(by_id.into_values().collect())
}

/// The client's debtors on file, by their keys.
pub async fn debtors(
    tx: &mut Tx,
    client: ClientId,
    references: &[&str],
) -> Result<HashMap<String, KnownDebtor>> {
    let wanted = keys(references.iter().copied());
    let mut found = HashMap::new();
    for row in DEBTORS.fetch(tx, &[client.into()], &wanted).await? {
        let debtor = KnownDebtor {
            id: DebtorId::new(row.get("id")?),
            reference: row.get("reference")?,
            name: row.get("name")?,
            identity_hash: row.get("identity_hash")?,
        };
        found.insert(debtor.reference.clone(), debtor);
    }
    Ok(found)
}
