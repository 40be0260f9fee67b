//! Sealed days: recounted, closed, and from then on changed by dated corrections only (see [`super::corrections`]).
//!
//! Who seals, and when, is in `stats/seal.rs`.

use super::{Result, Tx, db::Row};

/// A day that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDay {
    /// The day, `YYYY-MM-DD`.
    pub date: String,
    /// Ended attempts counted.
    pub attempts: i64,
    /// Rows of figures compared.
    pub rows: i64,
    /// SHA-256 in hexadecimal of the day's figures in canonical form.
    pub sha256: String,
    /// Which rows that is over: 1 without those of clients' days, 2 with them.
    pub form: i64,
    /// When.
    pub sealed_at_ms: i64,
}

statements! {
    INSERT("seal a day") =
        "INSERT INTO sealed_days (local_date, attempts, rows, sha256, form, sealed_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (local_date) DO NOTHING";
    AT("look up whether a day is sealed") = "SELECT sealed_at_ms FROM sealed_days WHERE local_date = $1";
    OPEN("list the days that are not sealed") =
        "SELECT local_date FROM rollup_days
         WHERE dimension = 'all' AND NOT EXISTS (SELECT 1 FROM sealed_days WHERE sealed_days.local_date = rollup_days.local_date)
         ORDER BY local_date";
    LIST("list the sealed days") =
        "SELECT local_date, attempts, rows, sha256, form, sealed_at_ms FROM sealed_days
         WHERE local_date BETWEEN $1 AND $2 ORDER BY local_date";
}

/// Seals a day; returns false if it was sealed before, which stays as it was.
pub(crate) async fn insert(tx: &mut Tx, day: &SealedDay) -> Result<bool> {
    let args = args![
        &day.date,
        day.attempts,
        day.rows,
        &day.sha256,
        day.form,
        day.sealed_at_ms
    ];
    Ok(tx.execute(&INSERT, args).await? > 0)
}

/// When a day was sealed; `None` if it is open.
pub async fn sealed_at(tx: &mut Tx, date: &str) -> Result<Option<i64>> {
    tx.fetch_optional(&AT, args![date])
        .await?
        .map(|row| row.get("sealed_at_ms"))
        .transpose()
}

/// The days that have figures and are not sealed, oldest first.
pub(crate) async fn open(tx: &mut Tx) -> Result<Vec<String>> {
    tx.fetch_all(&OPEN, args![])
        .await?
        .iter()
        .map(|row| row.get("local_date"))
        .collect()
}

/// The sealed days from `from` to `to`, both included.
pub async fn list(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<SealedDay>> {
    tx.fetch_all(&LIST, args![from, to])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<SealedDay> {
    Ok(SealedDay {
        date: row.get("local_date")?,
        attempts: row.get("attempts")?,
        rows: row.get("rows")?,
        sha256: row.get("sha256")?,
        form: row.get("form")?,
        sealed_at_ms: row.get("sealed_at_ms")?,
    })
}
