//! Contact points: one number of one person of one case, which is what a click dials.
//!
//! The number itself is a row of its own, shared by everybody who can be reached under it: what bars a number bars it
//! for every case, and what is counted per number is counted across cases. What is wrong with it is [`super::number_faults`].

use super::{Error, Result, Tx, db::Row, number_faults::faulty};
use crate::{
    ids::{BatchId, CaseId, ClientId, ContactPointId, DebtorId, PersonId},
    phone::{PhoneNumber, Region, ShortCodes},
    policy::{CaseState, NumberState, Relation},
};

/// Everything a call to a contact point starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The contact point.
    pub contact_point: ContactPointId,
    /// Its case.
    pub case: CaseId,
    /// What may be done with the case.
    pub case_state: CaseState,
    /// Who placed the case.
    pub client: ClientId,
    /// Code of the client, which names its keys in the vault.
    pub client_code: String,
    /// The lot it came in.
    pub batch: BatchId,
    /// Who owes.
    pub debtor: DebtorId,
    /// Which person that is, across clients.
    pub person: PersonId,
    /// Id of the contact: the person called.
    pub contact: i64,
    /// The zone that was put on record for the person called.
    pub zone: Option<String>,
    /// What the person called is to the debt.
    pub relation: Relation,
    /// The person called, or somebody at this number in any case of the same debtor, being a third party, asked not to be
    /// called again.
    pub refused: bool,
    /// Id of the number.
    pub number_id: i64,
    /// The number.
    pub number: PhoneNumber,
    /// What is on record about the number here: invalid if it is dead or not the number of the person called, and nobody
    /// has answered since.
    pub number_state: NumberState,
}

/// Whether somebody at the number of contact point `p`, under whatever name in whatever case of the person who owes (of
/// debtor `d`), asked not to be called again. The latest is asked for, not whether there is one: that PostgreSQL would now and
/// then answer from all refusals there are.
macro_rules! refused {
    () => {
        "COALESCE(t.refused_at_ms, (
             SELECT MAX(r.refused_at_ms)
             FROM contact_points q JOIN contacts r ON r.id = q.contact_id JOIN cases k ON k.id = q.case_id
                  JOIN debtors e ON e.id = k.debtor_id
             WHERE q.number_id = p.number_id AND e.person_id = d.person_id)) IS NOT NULL"
    };
}
pub(super) use refused;

statements! {
    ENSURE_NUMBER("enter a number") =
        "INSERT INTO numbers (digits, region, created_at_ms, changed_at_ms) VALUES ($1, $2, $3, $3)
         ON CONFLICT (digits) DO NOTHING";
    NUMBER("look up a number") = "SELECT id FROM numbers WHERE digits = $1";
    ENSURE_CONTACT("enter a contact") =
        "INSERT INTO contacts (case_id, name, relation, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (case_id, name, relation) DO NOTHING";
    CONTACT("look up a contact") = "SELECT id FROM contacts WHERE case_id = $1 AND name = $2 AND relation = $3";
    ENSURE("enter a contact point") =
        "INSERT INTO contact_points (case_id, contact_id, number_id, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (contact_id, number_id) DO NOTHING";
    POINT("look up a contact point") = "SELECT id FROM contact_points WHERE contact_id = $1 AND number_id = $2";
    REFUSED("note a refusal") =
        "UPDATE contacts SET refused_at_ms = COALESCE(refused_at_ms, $2)
         WHERE id = (SELECT contact_id FROM contact_points WHERE id = $1)";
    SET_ZONE("put a time zone on record") = "UPDATE contact_points SET zone = $2 WHERE id = $1";
    TARGET("look up whom to call") = concat!(
        "SELECT p.id, p.case_id, c.state AS case_state, c.client_id, k.code AS client_code, c.batch_id, c.debtor_id,
                d.person_id, p.contact_id, p.zone, t.relation, p.number_id, n.digits, n.region,
                CAST(CASE WHEN ", faulty!(), " THEN 1 ELSE 0 END AS BIGINT) AS faulty,
                CAST(CASE WHEN ", refused!(), " THEN 1 ELSE 0 END AS BIGINT) AS refused
         FROM contact_points p JOIN cases c ON c.id = p.case_id JOIN clients k ON k.id = c.client_id
              JOIN debtors d ON d.id = c.debtor_id JOIN batches b ON b.id = c.batch_id
              JOIN contacts t ON t.id = p.contact_id JOIN numbers n ON n.id = p.number_id
         WHERE p.id = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL");
    OF_CASE("list the numbers of a case") = concat!(
        "SELECT t.name, p.id, p.case_id, c.state AS case_state, c.client_id, k.code AS client_code, c.batch_id, c.debtor_id,
                d.person_id, p.contact_id, p.zone, t.relation, p.number_id, n.digits, n.region,
                CAST(CASE WHEN ", faulty!(), " THEN 1 ELSE 0 END AS BIGINT) AS faulty,
                CAST(CASE WHEN ", refused!(), " THEN 1 ELSE 0 END AS BIGINT) AS refused
         FROM contact_points p JOIN cases c ON c.id = p.case_id JOIN clients k ON k.id = c.client_id
              JOIN debtors d ON d.id = c.debtor_id JOIN batches b ON b.id = c.batch_id
              JOIN contacts t ON t.id = p.contact_id JOIN numbers n ON n.id = p.number_id
         WHERE p.case_id = $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL
         ORDER BY p.id");
}

/// Enters a person and a number of a case, as far as they are not there; returns the contact point and whether it is new.
pub async fn ensure(
    tx: &mut Tx,
    case: CaseId,
    name: &str,
    relation: Relation,
    number: &PhoneNumber,
    now_ms: i64,
) -> Result<(ContactPointId, bool)> {
    let number_id = ensure_number(tx, number, now_ms).await?;
    tx.execute(&ENSURE_CONTACT, args![case, name, relation, now_ms])
        .await?;
    let contact_id: i64 = tx
        .fetch_one(&CONTACT, args![case, name, relation])
        .await?
        .get("id")?;
    let new = tx
        .execute(&ENSURE, args![case, contact_id, number_id, now_ms])
        .await?
        > 0;
    let id = tx
        .fetch_one(&POINT, args![contact_id, number_id])
        .await?
        .get("id")?;
    Ok((ContactPointId::new(id), new))
}

/// The id of a number, entered if it was never seen.
pub async fn ensure_number(tx: &mut Tx, number: &PhoneNumber, now_ms: i64) -> Result<i64> {
    let digits = number.dial_string();
    tx.execute(&ENSURE_NUMBER, args![digits, number.region(), now_ms])
        .await?;
    tx.fetch_one(&NUMBER, args![digits]).await?.get("id")
}

/// The id of a number, if it was ever seen.
pub async fn number_id(tx: &mut Tx, number: &PhoneNumber) -> Result<Option<i64>> {
    tx.fetch_optional(&NUMBER, args![number.dial_string()])
        .await?
        .map(|row| row.get("id"))
        .transpose()
}

/// Notes that a person, being a third party, asked not to be called again; it stays so, for every number of that contact,
/// and for whoever else is entered at one of them in any case of the same debtor.
pub async fn note_refusal(tx: &mut Tx, id: ContactPointId, now_ms: i64) -> Result<()> {
    match tx.execute(&REFUSED, args![id, now_ms]).await? {
        0 => Err(Error::NotFound {
            what: "such contact point",
        }),
        _ => Ok(()),
    }
}

/// Puts on record in which time zone the person called lives, or that nobody knows it but by the number.
pub async fn set_zone(tx: &mut Tx, id: ContactPointId, zone: Option<&str>) -> Result<()> {
    let zone = zone.map(str::to_owned);
    match tx.execute(&SET_ZONE, args![id, zone]).await? {
        0 => Err(Error::NotFound {
            what: "such contact point",
        }),
        _ => Ok(()),
    }
}

/// Everything a call to this contact point starts from; nothing as long as its case is hidden.
pub async fn target(tx: &mut Tx, id: ContactPointId) -> Result<Option<Target>> {
    tx.fetch_optional(&TARGET, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The contact points of a case in the order of entry.
pub async fn of_case(tx: &mut Tx, case: CaseId) -> Result<Vec<Target>> {
    tx.fetch_all(&OF_CASE, args![case])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The contact points of a case with the names of their persons, for the eyes of whoever may dial them.
pub async fn people_of_case(tx: &mut Tx, case: CaseId) -> Result<Vec<(Target, String)>> {
    tx.fetch_all(&OF_CASE, args![case])
        .await?
        .iter()
        .map(|row| Ok((read(row)?, row.get("name")?)))
        .collect()
}

fn read(row: &Row) -> Result<Target> {
    Ok(Target {
        contact_point: ContactPointId::new(row.get("id")?),
        case: CaseId::new(row.get("case_id")?),
        case_state: row.word("case_state", CaseState::parse)?,
        client: ClientId::new(row.get("client_id")?),
        client_code: row.get("client_code")?,
        batch: BatchId::new(row.get("batch_id")?),
        debtor: DebtorId::new(row.get("debtor_id")?),
        person: PersonId::new(row.get("person_id")?),
        contact: row.get("contact_id")?,
        zone: row.get("zone")?,
        relation: row.word("relation", Relation::parse)?,
        refused: row.flag("refused")?,
        number_id: row.get("number_id")?,
        number: stored_number(
            &row.get::<String>("digits")?,
            row.get::<Option<String>>("region")?.as_deref(),
        )?,
        number_state: if row.flag("faulty")? {
            NumberState::Invalid
        } else {
            NumberState::Usable
        },
    })
}

/// Reads back a number that was checked when it was stored. A stored short code is its own allow-list.
fn stored_number(digits: &str, region: Option<&str>) -> Result<PhoneNumber> {
    let short = if digits.starts_with('+') {
        Ok(ShortCodes::default())
    } else {
        ShortCodes::new([digits])
    };
    let region = region
        .and_then(|code| Region::parse(code).ok())
        .unwrap_or(Region::CN);
    short
        .and_then(|short| PhoneNumber::parse(digits, region, &short))
        .map_err(|_| Error::unknown("look up whom to call", "numbers.digits"))
}
