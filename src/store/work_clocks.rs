//! What is overdue by the work clocks, and what came in (C18). Reading only.

use super::{Result, Tx, db::Row, users::User};
use crate::ids::{CallId, CaseId, ClientId, NoteId};

/// A case that waits too long for work or for its first call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateCase {
    /// The case.
    pub case: CaseId,
    /// Code of the client.
    pub client: String,
    /// Code of the batch.
    pub batch: String,
    /// The client's case number.
    pub reference: String,
    /// Employee number of who has it.
    pub agent: Option<String>,
    /// Since when it is there to be worked.
    pub since_ms: i64,
}

/// A conversation whose note was not written on its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateNote {
    /// The note.
    pub note: NoteId,
    /// The call.
    pub call: Option<CallId>,
    /// Code of the client.
    pub client: String,
    /// The client's case number.
    pub reference: String,
    /// Employee number.
    pub agent: Option<String>,
    /// Day of the call.
    pub local_date: String,
    /// When the call began.
    pub since_ms: i64,
}

/// What came in: one line per batch, currency and overdue bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// Whose.
    pub client_id: ClientId,
    /// Code of the client.
    pub client: String,
    /// Code of the batch.
    pub batch: String,
    /// Day on which the client placed it, or the day of its import.
    pub placed_on: Option<String>,
    /// When its first case was imported.
    pub created_at_ms: i64,
    /// Overdue bucket.
    pub bucket: String,
    /// Currency.
    pub currency: String,
    /// Cases.
    pub cases: i64,
    /// Persons.
    pub households: i64,
    /// Amount notified at placement, ten-thousandths.
    pub placed_e4: i64,
    /// Least days overdue at placement, of those where they are known.
    pub least_days: Option<i64>,
    /// Most days overdue.
    pub most_days: Option<i64>,
    /// Days overdue summed over the cases where they are known.
    pub days: i64,
    /// The number of those.
    pub days_of: i64,
}

/// `$1` whose, `$2` code of a client, `$3` code of an agent.
macro_rules! seen {
    ($client:literal) => {
        concat!(
            "(CAST($1 AS BIGINT) = 0 OR ",
            $client,
            " IN (SELECT client_id FROM user_clients WHERE user_id = $1))
             AND ($2 = '' OR k.code = $2) AND ($3 = '' OR a.code = $3)"
        )
    };
}

macro_rules! cases {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, k.code AS client, b.code AS batch, c.reference, a.code AS agent, c.revealed_at_ms AS since_ms
             FROM cases c JOIN clients k ON k.id = c.client_id JOIN batches b ON b.id = c.batch_id
                  LEFT JOIN agents a ON a.id = c.agent_id
             WHERE ", seen!("c.client_id"), " AND c.state = 'open' AND c.revealed_at_ms <= $4 AND b.revealed_at_ms IS NOT NULL AND ", $rest,
            " ORDER BY c.revealed_at_ms, c.id LIMIT $5"
        )
    };
}

statements! {
    UNWORKED("list the cases that nobody worked in time") = cases!("c.worked_at_ms IS NULL");
    UNCALLED("list the cases that nobody called in time") = cases!("c.called_at_ms IS NULL");
    UNWRITTEN("list the notes that were not written in time") = concat!(
        "SELECT n.id, n.call_id, k.code AS client, c.reference, a.code AS agent, n.local_date, n.started_at_ms AS since_ms
         FROM notes n JOIN cases c ON c.id = n.case_id JOIN clients k ON k.id = n.client_id
              LEFT JOIN agents a ON a.id = n.agent_id
         WHERE ", seen!("n.client_id"), " AND n.state = 'draft' AND n.answered_at_ms IS NOT NULL AND n.local_date < $4
         ORDER BY n.started_at_ms, n.id LIMIT $5");
    INTAKE("add up what came in") =
        "SELECT c.client_id, k.code AS client, b.code AS batch, b.placed_on, b.created_at_ms, c.bucket, c.currency,
                COUNT(*) AS cases, COUNT(DISTINCT d.person_id) AS households,
                CAST(SUM(c.placed_e4) AS BIGINT) AS placed_e4, MIN(c.overdue_days) AS least_days,
                MAX(c.overdue_days) AS most_days, CAST(COALESCE(SUM(c.overdue_days), 0) AS BIGINT) AS days,
                COUNT(c.overdue_days) AS days_of
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN clients k ON k.id = c.client_id
              JOIN batches b ON b.id = c.batch_id
         WHERE (CAST($1 AS BIGINT) = 0 OR c.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND ($2 = '' OR k.code = $2) AND c.revealed_at_ms >= $3 AND c.revealed_at_ms < $4 AND b.revealed_at_ms IS NOT NULL
         GROUP BY c.client_id, k.code, b.id, b.code, b.placed_on, b.created_at_ms, c.bucket, c.currency
         ORDER BY b.created_at_ms, b.id, c.currency,
                  CASE c.bucket WHEN 'to_90' THEN 1 WHEN 'to_180' THEN 2 WHEN 'to_360' THEN 3 WHEN 'above_360' THEN 4 ELSE 5 END";
}

/// Whose lists: what a user may see (`None`: the command line), of one client and one agent where these are not empty.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// Who asks.
    pub viewer: Option<&'a User>,
    /// Code of the client.
    pub client: &'a str,
    /// Employee number.
    pub agent: &'a str,
}

/// Open cases that are there since `before_ms` or longer and that nobody opened, dialled or noted; the oldest first.
pub async fn unworked(
    tx: &mut Tx,
    whose: &Whose<'_>,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<LateCase>> {
    late_cases(tx, &UNWORKED, whose, before_ms, limit).await
}

/// Open cases that are there since `before_ms` or longer and were never dialled; the oldest first.
pub async fn uncalled(
    tx: &mut Tx,
    whose: &Whose<'_>,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<LateCase>> {
    late_cases(tx, &UNCALLED, whose, before_ms, limit).await
}

async fn late_cases(
    tx: &mut Tx,
    sql: &super::sql::Sql,
    whose: &Whose<'_>,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<LateCase>> {
    let seen = whose.viewer.map_or(0, User::scope_parameter);
    let args = args![seen, whose.client, whose.agent, before_ms, limit];
    let rows = tx.fetch_all(sql, args).await?;
    rows.iter()
        .map(|row| {
            Ok(LateCase {
                case: CaseId::new(row.get("id")?),
                client: row.get("client")?,
                batch: row.get("batch")?,
                reference: row.get("reference")?,
                agent: row.get("agent")?,
                since_ms: row.get("since_ms")?,
            })
        })
        .collect()
}

/// Conversations of days before `today` whose note is still a draft; the oldest first.
pub async fn unwritten(
    tx: &mut Tx,
    whose: &Whose<'_>,
    today: &str,
    limit: u32,
) -> Result<Vec<LateNote>> {
    let seen = whose.viewer.map_or(0, User::scope_parameter);
    let args = args![seen, whose.client, whose.agent, today, limit];
    let rows = tx.fetch_all(&UNWRITTEN, args).await?;
    rows.iter()
        .map(|row| {
            Ok(LateNote {
                note: NoteId::new(row.get("id")?),
                call: match row.get::<Option<String>>("call_id")? {
                    Some(_) => Some(row.parse("call_id")?),
                    None => None,
                },
                client: row.get("client")?,
                reference: row.get("reference")?,
                agent: row.get("agent")?,
                local_date: row.get("local_date")?,
                since_ms: row.get("since_ms")?,
            })
        })
        .collect()
}

/// What came in between two instants, by batch, currency and overdue bucket.
pub async fn intake(
    tx: &mut Tx,
    viewer: Option<&User>,
    client: &str,
    from_ms: i64,
    until_ms: i64,
) -> Result<Vec<Intake>> {
    let seen = viewer.map_or(0, User::scope_parameter);
    tx.fetch_all(&INTAKE, args![seen, client, from_ms, until_ms])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Intake> {
    Ok(Intake {
        client_id: ClientId::new(row.get("client_id")?),
        client: row.get("client")?,
        batch: row.get("batch")?,
        placed_on: row.get("placed_on")?,
        created_at_ms: row.get("created_at_ms")?,
        bucket: row.get("bucket")?,
        currency: row.get("currency")?,
        cases: row.get("cases")?,
        households: row.get("households")?,
        placed_e4: row.get("placed_e4")?,
        least_days: row.get("least_days")?,
        most_days: row.get("most_days")?,
        days: row.get("days")?,
        days_of: row.get("days_of")?,
    })
}
