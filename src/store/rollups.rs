//! Roll-ups: sums of facts by hour and by day, one dimension at a time, written in the transaction of the fact.
//!
//! All rows of a change are written in one order, so that two nodes never wait for each other in a circle. What is
//! read of them for reports is in [`super::figures`]; the recount that judges them is here, in SQL written apart from
//! [`Sums::of`].

use super::{Db, Result, Tx, db::Row as Cells, many::Many, sql::Value};
use crate::stats::{
    definitions::DEFINITIONS,
    rollup::{Changes, Row, Sums},
};

/// Adds rows of sums: to those that are there, or as new ones.
macro_rules! add {
    ($table:literal, $key:literal, $conflict:literal, [$($kind:literal),*]) => {
        Many::new(
            concat!("add to ", $table),
            concat!("INSERT INTO ", $table, " (", $key, ", attempts, lost_ours, seizures, connected, effective, right_party,
                talk_ms, rung, pdd_ms, ring_ms) VALUES "),
            &[$($kind,)* "", "", "", "", "", "", "", "", "", ""],
            concat!(" ON CONFLICT (", $conflict, ") DO UPDATE SET
                attempts = ", $table, ".attempts + excluded.attempts,
                lost_ours = ", $table, ".lost_ours + excluded.lost_ours,
                seizures = ", $table, ".seizures + excluded.seizures,
                connected = ", $table, ".connected + excluded.connected,
                effective = ", $table, ".effective + excluded.effective,
                right_party = ", $table, ".right_party + excluded.right_party,
                talk_ms = ", $table, ".talk_ms + excluded.talk_ms,
                rung = ", $table, ".rung + excluded.rung,
                pdd_ms = ", $table, ".pdd_ms + excluded.pdd_ms,
                ring_ms = ", $table, ".ring_ms + excluded.ring_ms"),
        )
    };
}
pub(crate) static ADD_HOURS: Many = add!(
    "rollup_hours",
    "dimension, value, local_date, local_hour",
    "dimension, local_date, local_hour, value",
    ["", "", "", ""]
);
pub(crate) static ADD_DAYS: Many = add!(
    "rollup_days",
    "dimension, value, local_date",
    "dimension, local_date, value",
    ["", "", ""]
);
pub(crate) static ADD_FIRST_CALLS: Many = add!(
    "rollup_first_calls",
    "batch_id, disposition, local_date",
    "local_date, batch_id, disposition",
    ["", "", ""]
);

pub(crate) static ADD_CLIENT_DAYS: Many = add!(
    "rollup_client_days",
    "client_id, dimension, value, local_date",
    "client_id, dimension, local_date, value",
    ["", "", "", ""]
);

/// The recount of the attempts of one day, written apart from [`Sums::of`]; `attempts_figures` answers it alone.
macro_rules! recount {
    ($columns:expr, $also:literal, $group:expr) => {
        concat!(
            "SELECT ", $columns, ", COUNT(*) AS attempts,
                COUNT(CASE WHEN class = 'ours' AND answered_at_ms IS NULL THEN 1 END) AS lost_ours,
                COUNT(seized_at_ms) AS seizures, COUNT(answered_at_ms) AS connected,
                COUNT(CASE WHEN seized_at_ms IS NOT NULL AND (answered_at_ms IS NOT NULL
                    OR cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END) AS effective,
                COUNT(CASE WHEN right_party = 1 AND answered_at_ms IS NOT NULL THEN 1 END) AS right_party,
                CAST(COALESCE(SUM(ended_at_ms - answered_at_ms), 0) AS BIGINT) AS talk_ms,
                COUNT(rang_at_ms - seized_at_ms) AS rung,
                CAST(COALESCE(SUM(rang_at_ms - seized_at_ms), 0) AS BIGINT) AS pdd_ms,
                CAST(COALESCE(SUM(CASE WHEN seized_at_ms IS NOT NULL THEN COALESCE(answered_at_ms, ended_at_ms) - rang_at_ms
                    END), 0) AS BIGINT) AS ring_ms
             FROM attempts WHERE local_date = $1 AND purpose = 'case' AND ended_at_ms IS NOT NULL", $also, "
             GROUP BY ", $group
        )
    };
}
macro_rules! recount_by {
    ($dimension:literal, $value:literal) => {
        recount!(
            concat!(
                "'",
                $dimension,
                "' AS dimension, ",
                $value,
                " AS value, local_hour AS hour"
            ),
            "",
            concat!($value, ", local_hour")
        )
    };
}
macro_rules! recount_of_clients {
    ($dimension:literal, $value:literal) => {
        recount!(
            concat!(
                "client_id, '",
                $dimension,
                "' AS dimension, ",
                $value,
                " AS value"
            ),
            "",
            concat!("client_id, ", $value)
        )
    };
}

statements! {
    STORED_HOURS("read an hourly roll-up") =
        "SELECT dimension, value, local_hour AS hour, attempts, lost_ours, seizures, connected, effective, right_party,
                talk_ms, rung, pdd_ms, ring_ms
         FROM rollup_hours WHERE local_date = $1";
    STORED_DAYS("read a daily roll-up") =
        "SELECT dimension, value, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung, pdd_ms,
                ring_ms
         FROM rollup_days WHERE local_date = $1";
    STORED_FIRST_CALLS("read the roll-up of first calls") =
        "SELECT batch_id, disposition, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung,
                pdd_ms, ring_ms
         FROM rollup_first_calls WHERE local_date = $1";
    STORED_CLIENT_DAYS("read the roll-up of clients' days") =
        "SELECT client_id, dimension, value, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung,
                pdd_ms, ring_ms
         FROM rollup_client_days WHERE local_date = $1";
    HOLD("make others wait with the figures of a day") =
        "INSERT INTO rollup_days (dimension, value, local_date, attempts, lost_ours, seizures, connected, effective,
                right_party, talk_ms, rung, pdd_ms, ring_ms)
         VALUES ('all', '', $1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
         ON CONFLICT (dimension, local_date, value) DO UPDATE SET attempts = rollup_days.attempts";
    /// Jumps from day to day through the indexes: reading every attempt to learn the days would take seconds.
    DATES("list the days that have figures") =
        "WITH RECURSIVE facts(x) AS (
             SELECT MIN(local_date) FROM attempts WHERE purpose = 'case' AND ended_at_ms IS NOT NULL
             UNION ALL
             SELECT (SELECT MIN(local_date) FROM attempts
                     WHERE purpose = 'case' AND ended_at_ms IS NOT NULL AND local_date > facts.x)
             FROM facts WHERE facts.x IS NOT NULL)
         SELECT x AS local_date FROM facts WHERE x IS NOT NULL AND x BETWEEN $1 AND $2
         UNION SELECT local_date FROM rollup_days WHERE local_date BETWEEN $1 AND $2
         UNION SELECT local_date FROM rollup_hours WHERE local_date BETWEEN $1 AND $2
         UNION SELECT local_date FROM rollup_first_calls WHERE local_date BETWEEN $1 AND $2
         UNION SELECT local_date FROM rollup_client_days WHERE local_date BETWEEN $1 AND $2
         UNION SELECT local_date FROM sealed_days WHERE local_date BETWEEN $1 AND $2
         ORDER BY local_date";
    COUNT_AGENT("recount by agent") = recount_by!("agent", "CAST(agent_id AS TEXT)");
    COUNT_ALL("recount") = recount!("'all' AS dimension, CAST('' AS TEXT) AS value, local_hour AS hour", "", "local_hour");
    COUNT_BATCH("recount by batch") = recount_by!("batch", "CAST(batch_id AS TEXT)");
    COUNT_BUCKET("recount by overdue bucket") = recount_by!("bucket", "bucket");
    COUNT_CALLER_ID("recount by caller id") = recount_by!("caller_id", "caller_id");
    COUNT_CAUSE("recount by cause") = recount_by!("cause", "cause");
    COUNT_CLIENT("recount by client") = recount_by!("client", "CAST(client_id AS TEXT)");
    COUNT_DISPOSITION("recount by disposition") = recount_by!("disposition", "disposition");
    COUNT_KIND("recount by type of number") = recount_by!("number_kind", "number_kind");
    COUNT_RELATION("recount by relation") = recount_by!("relation", "relation");
    COUNT_TEAM("recount by team") = recount_by!("team", "COALESCE(CAST(team_id AS TEXT), '')");
    COUNT_TRUNK("recount by trunk") = recount_by!("trunk", "trunk");
    COUNT_FIRST_CALLS("recount the first calls") =
        recount!("batch_id, disposition", " AND first_call = 1", "batch_id, disposition");
    COUNT_CLIENT_AGENT("recount each client by agent") = recount_of_clients!("agent", "CAST(agent_id AS TEXT)");
    COUNT_CLIENT_BUCKET("recount each client by overdue bucket") = recount_of_clients!("bucket", "bucket");
    COUNT_CLIENT_CALLER_ID("recount each client by caller id") = recount_of_clients!("caller_id", "caller_id");
    COUNT_CLIENT_CAUSE("recount each client by cause") = recount_of_clients!("cause", "cause");
    COUNT_CLIENT_DISPOSITION("recount each client by disposition") = recount_of_clients!("disposition", "disposition");
    COUNT_CLIENT_KIND("recount each client by type of number") = recount_of_clients!("number_kind", "number_kind");
    COUNT_CLIENT_RELATION("recount each client by relation") = recount_of_clients!("relation", "relation");
    COUNT_CLIENT_TEAM("recount each client by team") = recount_of_clients!("team", "COALESCE(CAST(team_id AS TEXT), '')");
    COUNT_CLIENT_TRUNK("recount each client by trunk") = recount_of_clients!("trunk", "trunk");
    DEFINE("store the definitions of the figures") =
        "INSERT INTO definitions (name, version, unit, formula, text_en, text_zh) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name, version) DO NOTHING";
    DEFINED("count the definitions of the figures") = "SELECT COUNT(*) AS n FROM definitions WHERE name = $1 AND version = $2";
}

const COUNTS: [&super::sql::Sql; 12] = [
    &COUNT_AGENT,
    &COUNT_ALL,
    &COUNT_BATCH,
    &COUNT_BUCKET,
    &COUNT_CALLER_ID,
    &COUNT_CAUSE,
    &COUNT_CLIENT,
    &COUNT_DISPOSITION,
    &COUNT_KIND,
    &COUNT_RELATION,
    &COUNT_TEAM,
    &COUNT_TRUNK,
];

const COUNTS_OF_CLIENTS: [&super::sql::Sql; 9] = [
    &COUNT_CLIENT_AGENT,
    &COUNT_CLIENT_BUCKET,
    &COUNT_CLIENT_CALLER_ID,
    &COUNT_CLIENT_CAUSE,
    &COUNT_CLIENT_DISPOSITION,
    &COUNT_CLIENT_KIND,
    &COUNT_CLIENT_RELATION,
    &COUNT_CLIENT_TEAM,
    &COUNT_CLIENT_TRUNK,
];

/// Adds the changes to the roll-ups, each row once, in the order of the rows.
pub(crate) async fn add(tx: &mut Tx, changes: &Changes) -> Result<()> {
    let (mut hours, mut days) = (Vec::new(), Vec::new());
    let (mut first_calls, mut client_days) = (Vec::new(), Vec::new());
    for (row, date, sums) in changes.to_write() {
        let (list, mut args): (&mut Vec<Vec<Value>>, Vec<Value>) = match row {
            Row::Hour {
                dimension,
                value,
                hour,
            } => (&mut hours, args![dimension, value, date, *hour]),
            Row::Day { dimension, value } => (&mut days, args![dimension, value, date]),
            Row::FirstCall { batch, disposition } => {
                (&mut first_calls, args![*batch, disposition, date])
            }
            Row::ClientDay {
                client,
                dimension,
                value,
            } => (&mut client_days, args![*client, dimension, value, date]),
        };
        args.extend(sums.values().map(Value::from));
        list.push(args);
    }
    ADD_HOURS.run(tx, hours).await?;
    ADD_DAYS.run(tx, days).await?;
    ADD_FIRST_CALLS.run(tx, first_calls).await?;
    ADD_CLIENT_DAYS.run(tx, client_days).await?;
    Ok(())
}

/// Makes every other transaction that changes figures of the day wait until this one is over.
pub(crate) async fn hold(tx: &mut Tx, date: &str) -> Result<()> {
    tx.execute(&HOLD, args![date]).await.map(drop)
}

/// The sums of a row.
pub(super) fn sums(row: &Cells) -> Result<Sums> {
    let mut values = [0; 10];
    for (value, column) in values.iter_mut().zip(Sums::COLUMNS) {
        *value = row.get(column)?;
    }
    Ok(Sums::from_values(values))
}

/// The days from `from` to `to` that have attempts or figures.
pub(crate) async fn dates(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<String>> {
    tx.fetch_all(&DATES, args![from, to])
        .await?
        .iter()
        .map(|row| row.get("local_date"))
        .collect()
}

/// What is stored for a day.
pub(crate) async fn stored(tx: &mut Tx, date: &str) -> Result<Changes> {
    let mut stored = Changes::default();
    for row in tx.fetch_all(&STORED_HOURS, args![date]).await? {
        stored.add(hour(&row)?, date, sums(&row)?);
    }
    for row in tx.fetch_all(&STORED_DAYS, args![date]).await? {
        let key = Row::Day {
            dimension: row.get("dimension")?,
            value: row.get("value")?,
        };
        stored.add(key, date, sums(&row)?);
    }
    for row in tx.fetch_all(&STORED_FIRST_CALLS, args![date]).await? {
        stored.add(first_call(&row)?, date, sums(&row)?);
    }
    for row in tx.fetch_all(&STORED_CLIENT_DAYS, args![date]).await? {
        stored.add(client_day(&row)?, date, sums(&row)?);
    }
    Ok(stored)
}

/// What the attempts of a day add up to.
pub(crate) async fn recounted(tx: &mut Tx, date: &str) -> Result<Changes> {
    let mut counted = Changes::default();
    for sql in COUNTS {
        for row in tx.fetch_all(sql, args![date]).await? {
            let (key, sums) = (hour(&row)?, sums(&row)?);
            let day = Row::Day {
                dimension: row.get("dimension")?,
                value: row.get("value")?,
            };
            counted.add(key, date, sums);
            counted.add(day, date, sums);
        }
    }
    for row in tx.fetch_all(&COUNT_FIRST_CALLS, args![date]).await? {
        counted.add(first_call(&row)?, date, sums(&row)?);
    }
    for sql in COUNTS_OF_CLIENTS {
        for row in tx.fetch_all(sql, args![date]).await? {
            counted.add(client_day(&row)?, date, sums(&row)?);
        }
    }
    Ok(counted)
}

fn hour(row: &Cells) -> Result<Row> {
    Ok(Row::Hour {
        dimension: row.get("dimension")?,
        value: row.get("value")?,
        hour: row.get("hour")?,
    })
}

fn client_day(row: &Cells) -> Result<Row> {
    Ok(Row::ClientDay {
        client: row.get("client_id")?,
        dimension: row.get("dimension")?,
        value: row.get("value")?,
    })
}

fn first_call(row: &Cells) -> Result<Row> {
    Ok(Row::FirstCall {
        batch: row.get("batch_id")?,
        disposition: row.get("disposition")?,
    })
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
