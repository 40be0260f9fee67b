//! Major matters (重大事项): complaints, threats, deaths and the like, to be reported to the client within 30 minutes.

use super::{Error, Result, Tx, db::Row, users::User, work_clocks::Whose};
use crate::ids::{CaseId, ClientId};

words! {
    /// What happened.
    pub enum MatterKind {
        /// Somebody complained.
        Complaint = "complaint",
        /// Somebody threatened, or was threatened.
        Threat = "threat",
        /// Somebody died.
        Death = "death",
        /// The police asks, or was called.
        Police = "police",
        /// The press asks.
        Media = "media",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// How grave a complaint is; it decides on the consequence.
    pub enum Grade {
        /// 轻微.
        Light = "light",
        /// 一般.
        Ordinary = "ordinary",
        /// 严重.
        Serious = "serious",
    }
}

/// A matter about to be entered.
#[derive(Debug, Clone, Copy)]
pub struct NewMatter<'a> {
    /// The client it concerns.
    pub client: ClientId,
    /// The case, if it is about one.
    pub case: Option<CaseId>,
    /// What happened.
    pub kind: MatterKind,
    /// How grave.
    pub grade: Grade,
    /// In words.
    pub text: &'a str,
    /// When it became known.
    pub occurred_at_ms: i64,
    /// Who enters it.
    pub actor: &'a str,
}

/// A stored matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// Our id.
    pub id: i64,
    /// The client.
    pub client: ClientId,
    /// Its code.
    pub client_code: String,
    /// The case, if it is about one.
    pub case: Option<CaseId>,
    /// The client's number of it.
    pub case_reference: Option<String>,
    /// What happened.
    pub kind: MatterKind,
    /// How grave.
    pub grade: Grade,
    /// In words.
    pub text: String,
    /// When it became known.
    pub occurred_at_ms: i64,
    /// When the client was told.
    pub reported_at_ms: Option<i64>,
    /// Who was told.
    pub told: String,
    /// Who entered it.
    pub actor: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.client_id, k.code AS client, m.case_id, c.reference AS case_reference, m.kind, m.grade, m.text,
                    m.occurred_at_ms, m.reported_at_ms, m.told, m.actor
             FROM major_matters m JOIN clients k ON k.id = m.client_id LEFT JOIN cases c ON c.id = m.case_id ",
            $rest
        )
    };
}

statements! {
    INSERT("enter a major matter") =
        "INSERT INTO major_matters (client_id, case_id, kind, grade, text, occurred_at_ms, actor, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
    BY_ID("read a major matter") = select!("WHERE m.id = $1");
    GRADE("grade a major matter") = "UPDATE major_matters SET grade = $2 WHERE id = $1";
    REPORT("note that a major matter was reported") =
        "UPDATE major_matters SET reported_at_ms = $2, told = $3 WHERE id = $1 AND reported_at_ms IS NULL";
    WAITING("list the major matters that were not reported in time") = select!(
        "WHERE (CAST($1 AS BIGINT) = 0 OR m.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND ($2 = '' OR k.code = $2) AND m.reported_at_ms IS NULL AND m.occurred_at_ms <= $3
         ORDER BY m.occurred_at_ms, m.id LIMIT $4");
    LIST("list the major matters") = select!(
        "WHERE (CAST($1 AS BIGINT) = 0 OR m.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR m.reported_at_ms IS NULL) AND m.id < $3
         ORDER BY m.id DESC LIMIT $4");
}

/// Enters a matter.
///
/// # Errors
/// [`Error::Constraint`] if there is no such case.
pub async fn enter(tx: &mut Tx, new: &NewMatter<'_>, now_ms: i64) -> Result<i64> {
    let args = args![
        new.client,
        new.case,
        new.kind,
        new.grade,
        new.text,
        new.occurred_at_ms,
        new.actor,
        now_ms
    ];
    tx.fetch_one(&INSERT, args).await?.get("id")
}

/// The matter with this id.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Matter>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Grades a matter.
pub async fn grade(tx: &mut Tx, id: i64, grade: Grade) -> Result<()> {
    found(tx.execute(&GRADE, args![id, grade]).await?)
}

/// Notes when the client was told, and who was. The first report stands.
///
/// # Errors
/// [`Error::NotFound`] if there is no such matter, or it was reported before.
pub async fn report(tx: &mut Tx, id: i64, told: &str, at_ms: i64) -> Result<()> {
    found(tx.execute(&REPORT, args![id, at_ms, told]).await?)
}

fn found(rows: u64) -> Result<()> {
    match rows {
        0 => Err(Error::NotFound {
            what: "such major matter, or it was reported before",
        }),
        _ => Ok(()),
    }
}

/// Matters that a user may see (`None`: the command line, which sees all), newest first, before an id (`i64::MAX` for the newest), at most `limit`; with `waiting`,
/// only those that were not reported.
pub async fn list(
    tx: &mut Tx,
    viewer: Option<&User>,
    waiting: bool,
    before: i64,
    limit: u32,
) -> Result<Vec<Matter>> {
    let args = args![
        viewer.map_or(0, User::scope_parameter),
        waiting,
        before,
        limit
    ];
    tx.fetch_all(&LIST, args).await?.iter().map(read).collect()
}

/// Matters that became known before an instant and were not reported, the oldest first.
pub async fn waiting(
    tx: &mut Tx,
    whose: &Whose<'_>,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<Matter>> {
    let seen = whose.viewer.map_or(0, User::scope_parameter);
    let args = args![seen, whose.client, before_ms, limit];
    tx.fetch_all(&WAITING, args)
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Matter> {
    Ok(Matter {
        id: row.get("id")?,
        client: ClientId::new(row.get("client_id")?),
        client_code: row.get("client")?,
        case: row.get::<Option<i64>>("case_id")?.map(CaseId::new),
        case_reference: row.get("case_reference")?,
        kind: row.parse("kind")?,
        grade: row.parse("grade")?,
        text: row.get("text")?,
        occurred_at_ms: row.get("occurred_at_ms")?,
        reported_at_ms: row.get("reported_at_ms")?,
        told: row.get("told")?,
        actor: row.get("actor")?,
    })
}
