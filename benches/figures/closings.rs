//! Attempts ended a second: each with its row, 33 and more rows of roll-ups and its event, durable when it is told; and a
//! bare insert of the same attempts and events, in groups of the same size and as durable.

use std::time::Instant;

use ringfence::{
    call::{Cause, Party},
    ids::CallId,
    store::{Db, attempts::Closing},
};

use super::{
    fill::{FIRST_MS, Shape, under_way},
    raw::Raw,
};

/// Attempts ended in one run.
const ENDED: i64 = 20_000;
/// Calls that end at once.
const AT_ONCE: usize = 256;
/// As many as the group-commit writer takes.
const GROUP: usize = 64;

pub async fn measure(db: &Db, raw: &mut Raw, shape: Shape) {
    let last = raw
        .number("SELECT CAST(SUBSTR(MAX(id), 25) AS BIGINT) - 100000000000 FROM attempts")
        .await;
    let first = last + 1;
    let ids = under_way(raw, first, first + ENDED - 1, shape).await;
    let (began, cpu) = (Instant::now(), cpu());
    let queue = std::sync::Arc::new(std::sync::Mutex::new(ids.clone()));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..AT_ONCE {
        let (db, queue) = (db.clone(), queue.clone());
        calls.spawn(async move {
            loop {
                let Some(id) = queue.lock().unwrap().pop() else {
                    break;
                };
                let id: CallId = id.parse().unwrap();
                assert!(db.close_attempt(id, &closing(n, shape)).await.unwrap());
            }
        });
    }
    calls.join_all().await;
    let ours = ENDED as f64 / began.elapsed().as_secs_f64();
    let cpu = (self::cpu() - cpu) / ENDED as f64;
    let bare = bare(raw, &ids).await;
    println!(
        "ending attempts: {ours:.0} a second with roll-ups and event, {AT_ONCE} at once, {:.0} us of CPU each{}; bare insert of \
         the same rows: {bare:.0} a second ({:.1} times as many)",
        cpu * 1e6,
        if raw.is_sqlite() {
            ""
        } else {
            " beside the server's"
        },
        bare / ours
    );
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // utime and stime, in hundredths of a second (proc(5)).
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn closing(n: usize, shape: Shape) -> Closing {
    let at = FIRST_MS + (shape.days - 1) * 86_400_000 + 13 * 3_600_000;
    let answered = n.is_multiple_of(4);
    let causes = [
        Cause::NoAnswer,
        Cause::Busy,
        Cause::Rejected,
        Cause::Unreachable,
    ];
    Closing {
        cause: if answered {
            Cause::Answered
        } else {
            causes[n % 4]
        },
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: Some(at + 1_500),
        rang_at_ms: Some(at + 3_000),
        answered_at_ms: answered.then_some(at + 12_000),
        ended_at_ms: at + 30_000,
        overrun_ms: 0,
    }
}

/// Rows a second that the database takes in when nothing is added up: the attempt as it is at the end, and its event.
async fn bare(raw: &mut Raw, ids: &[String]) -> f64 {
    raw.run("CREATE TABLE bare_attempts AS SELECT * FROM attempts WHERE 1 = 0; CREATE UNIQUE INDEX bare_id ON bare_attempts (id); \
             CREATE TABLE bare_events AS SELECT * FROM events WHERE 1 = 0")
        .await;
    let (begin, sync) = if raw.is_sqlite() {
        ("BEGIN IMMEDIATE", "PRAGMA synchronous = FULL")
    } else {
        ("BEGIN", "SET synchronous_commit = on")
    };
    raw.run(sync).await;
    let began = Instant::now();
    for group in ids.chunks(GROUP) {
        raw.run(begin).await;
        for id in group {
            raw.insert(
                "INSERT INTO bare_attempts SELECT * FROM attempts WHERE id = $1",
                id,
            )
            .await;
            raw.insert(
                "INSERT INTO bare_events (at_ms, kind, client_id, subject, body) VALUES (0, 'call.ended', 1, $1, $1 || $1 || $1)",
                id,
            )
            .await;
        }
        raw.run("COMMIT").await;
    }
    let rate = ids.len() as f64 / began.elapsed().as_secs_f64();
    raw.run("DROP TABLE bare_attempts; DROP TABLE bare_events")
        .await;
    rate
}
