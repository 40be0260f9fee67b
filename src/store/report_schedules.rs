//! Reports written by themselves: which, when, and how the last time went. A run belongs to the node that moves its time on.

use super::{Error, Result, Tx, db::Row};

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Our id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// JSON: which report with which parameters.
    pub report: String,
    /// As what: a word of `export::Format`.
    pub format: String,
    /// When, five fields, in the zone shown to operators.
    pub cron: String,
    /// Into which folder below the one of the configuration.
    pub dir: String,
    /// Next time.
    pub next_at_ms: i64,
    /// Last time it was taken up.
    pub last_at_ms: Option<i64>,
    /// What went wrong then; also set while a node is at it.
    pub last_error: Option<String>,
    /// By whom it was entered.
    pub created_by: String,
}

/// A schedule to be entered.
#[derive(Debug, Clone)]
pub struct NewSchedule<'a> {
    /// Its name.
    pub name: &'a str,
    /// JSON: which report with which parameters.
    pub report: &'a str,
    /// As what.
    pub format: &'a str,
    /// When.
    pub cron: &'a str,
    /// Into which folder.
    pub dir: &'a str,
    /// First time.
    pub next_at_ms: i64,
    /// By whom.
    pub actor: &'a str,
}

macro_rules! columns {
    () => {
        "SELECT id, name, report, format, cron, dir, next_at_ms, last_at_ms, last_error, created_by FROM report_schedules "
    };
}

statements! {
    INSERT("enter a schedule") =
        "INSERT INTO report_schedules (name, report, format, cron, dir, next_at_ms, created_by, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST("list the schedules") = concat!(columns!(), "WHERE active = 1 ORDER BY name");
    BY_NAME("look up a schedule") = concat!(columns!(), "WHERE active = 1 AND name = $1");
    DUE("look for reports that are due") =
        concat!(columns!(), "WHERE active = 1 AND next_at_ms <= $1 ORDER BY next_at_ms, id");
    REMOVE("remove a schedule") = "DELETE FROM report_schedules WHERE name = $1";
    TAKE("take a report that is due") =
        "UPDATE report_schedules SET next_at_ms = $3, last_at_ms = $4, last_error = $5
         WHERE id = $1 AND next_at_ms = $2 AND active = 1";
    DONE("note how a report went") = "UPDATE report_schedules SET last_at_ms = $2, last_error = $3 WHERE id = $1";
}

/// Enters a schedule.
///
/// # Errors
/// [`Error::Constraint`] (exists) if there is one of this name.
pub async fn insert(tx: &mut Tx, new: &NewSchedule<'_>, now_ms: i64) -> Result<()> {
    let args = args![
        new.name,
        new.report,
        new.format,
        new.cron,
        new.dir,
        new.next_at_ms,
        new.actor,
        now_ms
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// All schedules by name.
pub async fn list(tx: &mut Tx) -> Result<Vec<Schedule>> {
    tx.fetch_all(&LIST, args![])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The schedule of this name.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<Schedule>> {
    let row = tx.fetch_optional(&BY_NAME, args![name]).await?;
    row.as_ref().map(read).transpose()
}

/// Those that are due, the longest first.
pub async fn due(tx: &mut Tx, now_ms: i64) -> Result<Vec<Schedule>> {
    tx.fetch_all(&DUE, args![now_ms])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Removes a schedule.
///
/// # Errors
/// [`Error::NotFound`] if there is none of this name.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<()> {
    match tx.execute(&REMOVE, args![name]).await? {
        0 => Err(Error::NotFound {
            what: "such schedule",
        }),
        _ => Ok(()),
    }
}

/// Takes a run that is due by moving its time on; false if another node was quicker, or it was removed. What stays in
/// `last_error` if the taker dies over it is `unfinished`.
pub async fn take(
    tx: &mut Tx,
    due: &Schedule,
    next_at_ms: i64,
    now_ms: i64,
    unfinished: &str,
) -> Result<bool> {
    let args = args![due.id, due.next_at_ms, next_at_ms, now_ms, unfinished];
    Ok(tx.execute(&TAKE, args).await? > 0)
}

/// Notes how a run went.
pub async fn done(tx: &mut Tx, id: i64, now_ms: i64, error: Option<&str>) -> Result<()> {
    let args = args![id, now_ms, error.map(str::to_owned)];
    tx.execute(&DONE, args).await.map(drop)
}

fn read(row: &Row) -> Result<Schedule> {
    Ok(Schedule {
        id: row.get("id")?,
        name: row.get("name")?,
        report: row.get("report")?,
        format: row.get("format")?,
        cron: row.get("cron")?,
        dir: row.get("dir")?,
        next_at_ms: row.get("next_at_ms")?,
        last_at_ms: row.get("last_at_ms")?,
        last_error: row.get("last_error")?,
        created_by: row.get("created_by")?,
    })
}
