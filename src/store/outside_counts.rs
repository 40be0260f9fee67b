//! Outside counts: calls that a client's other agencies made, imported, and added to ours in every cap.
//!
//! What was not told is taken for the worst: a day's calls may have been made as late as the day's end (or as late as
//! they were told of), and calls at a number that was not named may have been at any number of the case.

use super::{Result, Tx};
use crate::ids::{CaseId, ClientId, PersonId};

/// Calls of one day that others made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OutsideCount {
    /// Who told us.
    pub client: ClientId,
    /// About which case.
    pub case: CaseId,
    /// At which number, if told.
    pub number: Option<i64>,
    /// Local day of the calls, `YYYY-MM-DD`.
    pub date: String,
    /// When that day began where the person called is.
    pub day_began_ms: i64,
    /// When it ended, or when we were told if that was before.
    pub day_ended_ms: i64,
    /// Calls made.
    pub attempts: u32,
    /// Of these, answered.
    pub connected: u32,
    /// Which agency, as the client calls it.
    pub source: String,
}

/// What entering a count changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not known.
    New,
    /// Another count was known.
    Changed,
    /// It was known.
    Same,
}

/// Over what is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A number, and what was not told of numbers of this case.
    Number(i64, CaseId),
    /// A case.
    Case(CaseId),
    /// All cases of a person, and the own numbers of the person in whatever case.
    Person(PersonId),
    /// The third parties of a case, and what was not told of its numbers.
    ThirdPartiesOfCase(CaseId),
    /// The third parties of all cases of a person, and what was not told of their numbers.
    ThirdPartiesOfPerson(PersonId),
}

/// Sums over outside counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Calls made.
    pub attempts: u32,
    /// Of these, answered.
    pub connected: u32,
    /// When the last may have been over; `None` if there is none.
    pub last_attempt_ms: Option<i64>,
    /// When the last that was answered may have been over.
    pub last_talk_ms: Option<i64>,
}

/// Sums over the counts of a query.
macro_rules! sums {
    ($counts:literal) => {
        concat!(
            "SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT) AS attempts,
                    CAST(COALESCE(SUM(connected), 0) AS BIGINT) AS connected,
                    MAX(CASE WHEN attempts > 0 THEN day_ended_ms END) AS last_attempt_ms,
                    MAX(CASE WHEN connected > 0 THEN day_ended_ms END) AS last_talk_ms
             FROM (",
            $counts,
            ") AS x"
        )
    };
}

statements! {
    KNOWN("look up an outside count") =
        "SELECT id, attempts, connected FROM outside_counts
         WHERE case_id = $1 AND on_date = $2 AND source = $3 AND COALESCE(number_id, 0) = $4";
    INSERT("enter an outside count") =
        "INSERT INTO outside_counts (client_id, case_id, number_id, on_date, day_began_ms, day_ended_ms, attempts, connected,
                                     source, import_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    UPDATE("change an outside count") =
        "UPDATE outside_counts SET attempts = $2, connected = $3, day_ended_ms = $4, import_id = $5 WHERE id = $1";
    OF_NUMBER("add up the outside counts of a number") = sums!(
        "SELECT attempts, connected, day_ended_ms FROM outside_counts WHERE number_id = $1 AND day_ended_ms > $3
         UNION ALL
         SELECT attempts, connected, day_ended_ms FROM outside_counts
         WHERE case_id = $2 AND number_id IS NULL AND day_ended_ms > $3");
    OF_CASE("add up the outside counts of a case") =
        sums!("SELECT attempts, connected, day_ended_ms FROM outside_counts WHERE case_id = $1 AND day_ended_ms > $2");
    OF_PERSON("add up the outside counts of a person") = sums!(
        "SELECT o.id, o.attempts, o.connected, o.day_ended_ms
         FROM debtors d JOIN cases c ON c.debtor_id = d.id JOIN outside_counts o ON o.case_id = c.id
         WHERE d.person_id = $1 AND o.day_ended_ms > $2
         UNION
         SELECT o.id, o.attempts, o.connected, o.day_ended_ms
         FROM debtors d JOIN cases c ON c.debtor_id = d.id JOIN contacts t ON t.case_id = c.id
              JOIN contact_points p ON p.contact_id = t.id JOIN outside_counts o ON o.number_id = p.number_id
         WHERE d.person_id = $1 AND t.relation IN ('debtor', 'joint_debtor') AND o.day_ended_ms > $2
         UNION
         SELECT o.id, o.attempts, o.connected, o.day_ended_ms
         FROM persons h JOIN contacts t ON t.identity_hash = h.identity_hash
              JOIN contact_points p ON p.contact_id = t.id JOIN outside_counts o ON o.number_id = p.number_id
         WHERE h.id = $1 AND o.day_ended_ms > $2");
    OF_THIRD_CASE("add up the outside counts of a case's third parties") = sums!(
        "SELECT o.attempts, o.connected, o.day_ended_ms FROM outside_counts o
         WHERE o.case_id = $1 AND o.day_ended_ms > $2 AND (o.number_id IS NULL OR o.number_id IN (
             SELECT p.number_id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
             WHERE p.case_id = $1 AND t.relation NOT IN ('debtor', 'joint_debtor', 'guarantor')))");
    OF_THIRD_PERSON("add up the outside counts of a person's third parties") = sums!(
        "SELECT o.attempts, o.connected, o.day_ended_ms
         FROM debtors d JOIN cases c ON c.debtor_id = d.id JOIN outside_counts o ON o.case_id = c.id
         WHERE d.person_id = $1 AND o.day_ended_ms > $2 AND (o.number_id IS NULL OR (o.case_id, o.number_id) IN (
             SELECT p.case_id, p.number_id
             FROM debtors e JOIN cases k ON k.debtor_id = e.id JOIN contact_points p ON p.case_id = k.id
                  JOIN contacts t ON t.id = p.contact_id
             WHERE e.person_id = $1 AND t.relation NOT IN ('debtor', 'joint_debtor', 'guarantor')))");
    LIST("list the outside counts of a case") =
        "SELECT client_id, case_id, number_id, on_date, day_began_ms, day_ended_ms, attempts, connected, source
         FROM outside_counts WHERE case_id = $1 ORDER BY on_date DESC, source, number_id";
}

/// Enters a count. The same one again changes nothing; another one for the same day, source and number takes its place.
pub async fn put(tx: &mut Tx, count: &OutsideCount, import: Option<i64>) -> Result<Change> {
    let key = args![
        count.case,
        &count.date,
        &count.source,
        count.number.unwrap_or(0)
    ];
    let Some(known) = tx.fetch_optional(&KNOWN, key).await? else {
        let args = args![
            count.client,
            count.case,
            count.number,
            &count.date,
            count.day_began_ms,
            count.day_ended_ms,
            count.attempts,
            count.connected,
            &count.source,
            import
        ];
        tx.execute(&INSERT, args).await?;
        return Ok(Change::New);
    };
    let same = known.small::<u32>("attempts")? == count.attempts
        && known.small::<u32>("connected")? == count.connected;
    if same {
        return Ok(Change::Same);
    }
    let args = args![
        known.get::<i64>("id")?,
        count.attempts,
        count.connected,
        count.day_ended_ms,
        import
    ];
    tx.execute(&UPDATE, args).await?;
    Ok(Change::Changed)
}

/// What others may have called since an instant.
pub async fn sum(tx: &mut Tx, over: Over, since_ms: i64) -> Result<Sum> {
    let (sql, args) = match over {
        Over::Number(number, case) => (&OF_NUMBER, args![number, case, since_ms]),
        Over::Case(case) => (&OF_CASE, args![case, since_ms]),
        Over::Person(person) => (&OF_PERSON, args![person, since_ms]),
        Over::ThirdPartiesOfCase(case) => (&OF_THIRD_CASE, args![case, since_ms]),
        Over::ThirdPartiesOfPerson(person) => (&OF_THIRD_PERSON, args![person, since_ms]),
    };
    let row = tx.fetch_one(sql, args).await?;
    Ok(Sum {
        attempts: row.small("attempts")?,
        connected: row.small("connected")?,
        last_attempt_ms: row.get("last_attempt_ms")?,
        last_talk_ms: row.get("last_talk_ms")?,
    })
}

/// The counts of a case, newest day first.
pub async fn of_case_by_day(tx: &mut Tx, case: CaseId) -> Result<Vec<OutsideCount>> {
    tx.fetch_all(&LIST, args![case])
        .await?
        .iter()
        .map(|row| {
            Ok(OutsideCount {
                client: ClientId::new(row.get("client_id")?),
                case: CaseId::new(row.get("case_id")?),
                number: row.get("number_id")?,
                date: row.get("on_date")?,
                day_began_ms: row.get("day_began_ms")?,
                day_ended_ms: row.get("day_ended_ms")?,
                attempts: row.small("attempts")?,
                connected: row.small("connected")?,
                source: row.get("source")?,
            })
        })
        .collect()
}
