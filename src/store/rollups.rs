//! Roll-ups: sums of facts by hour and by day, one dimension at a time, written in the transaction of the fact.
//!
//! One statement writes all dimensions of a table, in the order of the dimensions' words, so that two nodes never wait
//! for each other in a circle.

use super::{Db, Result, Tx, db::Row, sql::Value};
use crate::stats::{
    definitions::DEFINITIONS,
    rollup::{Dimension, Fact, Sums},
};

/// The rows of one fact: the same sums under each of its dimensions.
macro_rules! dimensions {
    () => {
        "(SELECT 'agent' AS dimension, CAST($12 AS TEXT) AS value UNION ALL SELECT 'all', ''
          UNION ALL SELECT 'batch', CAST($13 AS TEXT) UNION ALL SELECT 'caller_id', CAST($14 AS TEXT)
          UNION ALL SELECT 'cause', CAST($15 AS TEXT) UNION ALL SELECT 'client', CAST($16 AS TEXT)
          UNION ALL SELECT 'relation', CAST($17 AS TEXT) UNION ALL SELECT 'trunk', CAST($18 AS TEXT)) AS d"
    };
}
macro_rules! add {
    ($table:literal, $hour_column:literal, $hour_value:literal, $key:literal) => {
        concat!(
            "INSERT INTO ", $table, " (dimension, value, local_date", $hour_column, ", attempts, lost_ours, seizures,
                connected, effective, talk_ms, rung, pdd_ms, ring_ms)
             SELECT d.dimension, d.value, CAST($1 AS TEXT)", $hour_value, ", CAST($3 AS BIGINT), CAST($4 AS BIGINT),
                CAST($5 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT), CAST($9 AS BIGINT),
                CAST($10 AS BIGINT), CAST($11 AS BIGINT)
             FROM ", dimensions!(), " WHERE CAST($2 AS BIGINT) IS NOT NULL
             ON CONFLICT (", $key, ") DO UPDATE SET
                attempts = ", $table, ".attempts + excluded.attempts,
                lost_ours = ", $table, ".lost_ours + excluded.lost_ours,
                seizures = ", $table, ".seizures + excluded.seizures,
                connected = ", $table, ".connected + excluded.connected,
                effective = ", $table, ".effective + excluded.effective,
                talk_ms = ", $table, ".talk_ms + excluded.talk_ms,
                rung = ", $table, ".rung + excluded.rung,
                pdd_ms = ", $table, ".pdd_ms + excluded.pdd_ms,
                ring_ms = ", $table, ".ring_ms + excluded.ring_ms"
        )
    };
}
/// The sums of a group of roll-up rows.
macro_rules! summed {
    () => {
        "CAST(SUM(attempts) AS BIGINT) AS attempts, CAST(SUM(lost_ours) AS BIGINT) AS lost_ours,
         CAST(SUM(seizures) AS BIGINT) AS seizures, CAST(SUM(connected) AS BIGINT) AS connected,
         CAST(SUM(effective) AS BIGINT) AS effective, CAST(SUM(talk_ms) AS BIGINT) AS talk_ms,
         CAST(SUM(rung) AS BIGINT) AS rung, CAST(SUM(pdd_ms) AS BIGINT) AS pdd_ms,
         CAST(SUM(ring_ms) AS BIGINT) AS ring_ms"
    };
}
/// The recount of one dimension from the attempts themselves, written apart from [`Sums::of`].
macro_rules! recount {
    ($dimension:literal, $value:literal) => {
        concat!(
            "SELECT '", $dimension, "' AS dimension, ", $value, " AS value, local_hour, COUNT(*) AS attempts,
                COUNT(CASE WHEN class = 'ours' AND answered_at_ms IS NULL THEN 1 END) AS lost_ours,
                COUNT(seized_at_ms) AS seizures, COUNT(answered_at_ms) AS connected,
                COUNT(CASE WHEN seized_at_ms IS NOT NULL AND (answered_at_ms IS NOT NULL
                    OR cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END) AS effective,
                CAST(COALESCE(SUM(ended_at_ms - answered_at_ms), 0) AS BIGINT) AS talk_ms,
                COUNT(rang_at_ms - seized_at_ms) AS rung,
                CAST(COALESCE(SUM(rang_at_ms - seized_at_ms), 0) AS BIGINT) AS pdd_ms,
                CAST(COALESCE(SUM(CASE WHEN seized_at_ms IS NOT NULL THEN COALESCE(answered_at_ms, ended_at_ms) - rang_at_ms
                    END), 0) AS BIGINT) AS ring_ms
             FROM attempts WHERE local_date = $1 AND purpose = 'case' AND ended_at_ms IS NOT NULL
             GROUP BY ", $value, ", local_hour"
        )
    };
}

statements! {
    ADD_HOUR("add to the hourly roll-up") =
        add!("rollup_hours", ", local_hour", ", CAST($2 AS BIGINT)", "dimension, value, local_date, local_hour");
    ADD_DAY("add to the daily roll-up") = add!("rollup_days", "", "", "dimension, value, local_date");
    BY_HOUR("read the figures by hour") = concat!(
        "SELECT CAST(local_hour AS TEXT) AS value, ", summed!(), " FROM rollup_hours
         WHERE dimension = 'all' AND local_date BETWEEN $1 AND $2 GROUP BY local_hour ORDER BY local_hour");
    BY_DAY("read the figures by day") = concat!(
        "SELECT local_date AS value, ", summed!(), " FROM rollup_days
         WHERE dimension = 'all' AND local_date BETWEEN $1 AND $2 GROUP BY local_date ORDER BY local_date");
    BY_DIMENSION("read the figures by dimension") = concat!(
        "SELECT value, ", summed!(), " FROM rollup_days
         WHERE dimension = $3 AND local_date BETWEEN $1 AND $2 GROUP BY value ORDER BY value");
    DATES("list the days that have figures") =
        "SELECT DISTINCT local_date FROM attempts
         UNION SELECT DISTINCT local_date FROM rollup_days UNION SELECT DISTINCT local_date FROM rollup_hours
         ORDER BY local_date";
    STORED_HOURS("read an hourly roll-up") =
        "SELECT dimension, value, local_hour, attempts, lost_ours, seizures, connected, effective, talk_ms, rung, pdd_ms,
                ring_ms
         FROM rollup_hours WHERE local_date = $1";
    STORED_DAYS("read a daily roll-up") =
        "SELECT dimension, value, CAST(-1 AS BIGINT) AS local_hour, attempts, lost_ours, seizures, connected, effective,
                talk_ms, rung, pdd_ms, ring_ms
         FROM rollup_days WHERE local_date = $1";
    COUNT_AGENT("recount by agent") = recount!("agent", "CAST(agent_id AS TEXT)");
    COUNT_ALL("recount") = recount!("all", "CAST('' AS TEXT)");
    COUNT_BATCH("recount by batch") = recount!("batch", "CAST(batch_id AS TEXT)");
    COUNT_CALLER_ID("recount by caller id") = recount!("caller_id", "caller_id");
    COUNT_CAUSE("recount by cause") = recount!("cause", "cause");
    COUNT_CLIENT("recount by client") = recount!("client", "CAST(client_id AS TEXT)");
    COUNT_RELATION("recount by relation") = recount!("relation", "relation");
    COUNT_TRUNK("recount by trunk") = recount!("trunk", "trunk");
    DEFINE("store the definitions of the figures") =
        "INSERT INTO definitions (name, version, unit, formula, text_en, text_zh) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name, version) DO NOTHING";
    DEFINED("count the definitions of the figures") = "SELECT COUNT(*) AS n FROM definitions WHERE name = $1 AND version = $2";
}

/// Writes the difference that a change of a fact makes: f(new) - f(old). No old fact when it is new.
pub(crate) async fn change(tx: &mut Tx, old: Option<&Fact>, new: Option<&Fact>) -> Result<()> {
    if old == new {
        return Ok(());
    }
    if let Some(fact) = old {
        add(tx, fact, -Sums::of(fact)).await?;
    }
    if let Some(fact) = new {
        add(tx, fact, Sums::of(fact)).await?;
    }
    Ok(())
}

async fn add(tx: &mut Tx, fact: &Fact, sums: Sums) -> Result<()> {
    let mut args: Vec<Value> = args![&fact.local_date, fact.local_hour];
    args.extend(sums.values().map(Value::from));
    args.extend(args![
        fact.agent.to_string(),
        fact.batch.to_string(),
        &fact.caller_id,
        fact.cause.as_str(),
        fact.client.to_string(),
        fact.relation,
        &fact.trunk
    ]);
    tx.execute(&ADD_HOUR, args.clone()).await?;
    tx.execute(&ADD_DAY, args).await?;
    Ok(())
}

/// Sums of the days from `from` to `to` (both included, `YYYY-MM-DD`), by hour of the person called.
pub async fn by_hour(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<(String, Sums)>> {
    tx.fetch_all(&BY_HOUR, args![from, to])
        .await?
        .iter()
        .map(line)
        .collect()
}

/// Sums by day.
pub async fn by_day(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<(String, Sums)>> {
    tx.fetch_all(&BY_DAY, args![from, to])
        .await?
        .iter()
        .map(line)
        .collect()
}

/// Sums by the values of a dimension, over all days from `from` to `to`.
pub async fn by_dimension(
    tx: &mut Tx,
    dimension: Dimension,
    from: &str,
    to: &str,
) -> Result<Vec<(String, Sums)>> {
    tx.fetch_all(&BY_DIMENSION, args![from, to, dimension])
        .await?
        .iter()
        .map(line)
        .collect()
}

fn line(row: &Row) -> Result<(String, Sums)> {
    Ok((row.get("value")?, sums(row)?))
}

fn sums(row: &Row) -> Result<Sums> {
    let mut values = [0; 9];
    for (value, column) in values.iter_mut().zip(Sums::COLUMNS) {
        *value = row.get(column)?;
    }
    Ok(Sums::from_values(values))
}

/// One row of a roll-up of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) dimension: String,
    pub(crate) value: String,
    /// -1 for the whole day.
    pub(crate) hour: i64,
    pub(crate) sums: Sums,
}

fn day_line(row: &Row) -> Result<Line> {
    Ok(Line {
        dimension: row.get("dimension")?,
        value: row.get("value")?,
        hour: row.get("local_hour")?,
        sums: sums(row)?,
    })
}

/// The days that have attempts or figures.
pub(crate) async fn dates(tx: &mut Tx) -> Result<Vec<String>> {
    tx.fetch_all(&DATES, args![])
        .await?
        .iter()
        .map(|row| row.get("local_date"))
        .collect()
}

/// What is stored for a day, by hour and for the whole day.
pub(crate) async fn stored(tx: &mut Tx, date: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for sql in [&STORED_HOURS, &STORED_DAYS] {
        for row in tx.fetch_all(sql, args![date]).await? {
            lines.push(day_line(&row)?);
        }
    }
    Ok(lines)
}

/// What a recount of the attempts of a day gives, by hour.
pub(crate) async fn recounted(tx: &mut Tx, date: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for dimension in Dimension::ALL {
        let sql = match dimension {
            Dimension::Agent => &COUNT_AGENT,
            Dimension::All => &COUNT_ALL,
            Dimension::Batch => &COUNT_BATCH,
            Dimension::CallerId => &COUNT_CALLER_ID,
            Dimension::Cause => &COUNT_CAUSE,
            Dimension::Client => &COUNT_CLIENT,
            Dimension::Relation => &COUNT_RELATION,
            Dimension::Trunk => &COUNT_TRUNK,
        };
        for row in tx.fetch_all(sql, args![date]).await? {
            lines.push(day_line(&row)?);
        }
    }
    Ok(lines)
}

/// Stores the definitions beside the figures, as far as they are not there.
pub(crate) async fn store_definitions(db: &Db) -> Result<()> {
    let mut tx = db.read().await?;
    let mut missing = false;
    for d in DEFINITIONS {
        missing |= tx
            .fetch_one(&DEFINED, args![d.name, d.version])
            .await?
            .get::<i64>("n")?
            == 0;
    }
    tx.rollback().await?;
    if missing {
        let mut tx = db.begin().await?;
        for d in DEFINITIONS {
            tx.execute(
                &DEFINE,
                args![d.name, d.version, d.unit, d.formula, d.en, d.zh],
            )
            .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
