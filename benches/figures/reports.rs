//! Each report over 30 days, beside the GROUP BY over the attempts that it replaces.
//!
//! The naive query has all indexes of the product at its disposal, also the one that answers any two dimensions; without
//! that one it would have to read ten million rows.

use std::time::{Duration, Instant};

use ringfence::{
    stats::rollup::Dimension,
    store::{
        Db, agent_days,
        figures::{self, Axis, Only},
    },
};

use super::{
    fill::{FIRST_MS, Shape, date},
    percentiles,
    raw::Raw,
};

/// Windows of 30 days that each report is asked for.
const WINDOWS: i64 = 100;
const WITHIN: &str = "FROM attempts WHERE purpose = 'case' AND ended_at_ms IS NOT NULL AND local_date BETWEEN '{from}' AND '{to}'";
const SUMS: &str = "COUNT(*), COUNT(seized_at_ms), COUNT(answered_at_ms), \
    COUNT(CASE WHEN class = 'ours' AND answered_at_ms IS NULL THEN 1 END), SUM(right_party), SUM(ended_at_ms - answered_at_ms)";

/// A 30-day window: first and last day, and its beginning and end in time.
struct Window {
    from: String,
    to: String,
    from_ms: i64,
    to_ms: i64,
}

fn window(n: i64, shape: Shape) -> Window {
    // Over all 24 months, in no order.
    let first = n * 397 % (shape.days - 30);
    Window {
        from: date(first),
        to: date(first + 29),
        from_ms: FIRST_MS + first * 86_400_000,
        to_ms: FIRST_MS + (first + 30) * 86_400_000,
    }
}

macro_rules! report {
    ($db:ident, $raw:ident, $shape:ident, $what:literal, $naive:expr, |$tx:ident, $w:ident| $ask:expr) => {{
        let mut times = Vec::new();
        let mut lines = 0;
        for n in 0..WINDOWS {
            let $w = window(n, $shape);
            let began = Instant::now();
            let mut tx = $db.read().await.unwrap();
            let $tx = &mut tx;
            lines = $ask.await.unwrap().len();
            times.push(began.elapsed());
        }
        let naive = naive($raw, $naive, $shape).await;
        shown($what, lines, times, naive);
    }};
}

pub async fn measure(db: &Db, raw: &mut Raw, shape: Shape) {
    println!(
        "{:44} {:>6} {:>9} {:>9} {:>10} {:>7}",
        "over 30 days", "lines", "p50", "p99", "naive", "ratio"
    );
    report!(
        db,
        raw,
        shape,
        "connect rate by day",
        Some("local_date"),
        |tx, w| { figures::by_day(tx, Dimension::All, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "connect rate by hour",
        Some("local_hour"),
        |tx, w| { figures::by_hour(tx, Dimension::All, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "client summary",
        Some("client_id"),
        |tx, w| { figures::totals(tx, Dimension::Client, &w.from, &w.to) }
    );
    report!(db, raw, shape, "team summary", Some("team_id"), |tx, w| {
        figures::totals(tx, Dimension::Team, &w.from, &w.to)
    });
    report!(
        db,
        raw,
        shape,
        "connected volume by batch and day",
        Some("batch_id, local_date"),
        |tx, w| { figures::by_day(tx, Dimension::Batch, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "connect rate by agent and day",
        Some("agent_id, local_date"),
        |tx, w| { figures::by_day(tx, Dimension::Agent, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "connect rate by agent and hour",
        Some("agent_id, local_hour"),
        |tx, w| { figures::by_hour(tx, Dimension::Agent, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "heat map: hour by weekday",
        Some("local_date, local_hour"),
        |tx, w| { figures::heat_map(tx, Dimension::All, "", &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "heat map of one agent",
        Some("local_date, local_hour, agent_id"),
        |tx, w| { figures::heat_map(tx, Dimension::Agent, "17", &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "cause breakdown by day",
        Some("cause, local_date"),
        |tx, w| { figures::by_day(tx, Dimension::Cause, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "caller-ID health by day",
        Some("caller_id, local_date"),
        |tx, w| { figures::by_day(tx, Dimension::CallerId, None, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "first calls per batch",
        Some("batch_id, disposition, first_call"),
        |tx, w| { figures::first_calls(tx, &w.from, &w.to) }
    );
    report!(
        db,
        raw,
        shape,
        "agents' days, a line for each state",
        None,
        |tx, w| { agent_days::read(tx, &w.from, &w.to, None) }
    );
    report!(
        db,
        raw,
        shape,
        "refusals by client and reason",
        None,
        |tx, w| { figures::refusals(tx, w.from_ms, w.to_ms) }
    );
    pairs(db, shape).await;
}

/// Any two dimensions: each pair once over a window of its own, and the worst of them over more.
async fn pairs(db: &Db, shape: Shape) {
    let mut worst = (Duration::ZERO, Axis::Day, Axis::Hour);
    let mut times = Vec::new();
    let mut n = 0;
    for a in Axis::ALL {
        for b in Axis::ALL {
            if a.as_str() >= b.as_str() {
                continue;
            }
            n += 1;
            let took = pair(db, *a, *b, n, shape).await;
            times.push(took);
            if took > worst.0 {
                worst = (took, *a, *b);
            }
        }
    }
    let (p50, p99) = percentiles(times);
    println!(
        "any two of {} dimensions, {n} pairs: p50 {:.0} ms, p99 {:.0} ms",
        Axis::ALL.len(),
        ms(p50),
        ms(p99)
    );
    let mut times = Vec::new();
    for n in 0..30 {
        times.push(pair(db, worst.1, worst.2, n, shape).await);
    }
    let (p50, p99) = percentiles(times);
    println!(
        "the worst pair, {} and {}: p50 {:.0} ms, p99 {:.0} ms",
        worst.1,
        worst.2,
        ms(p50),
        ms(p99)
    );
}

async fn pair(db: &Db, a: Axis, b: Axis, n: i64, shape: Shape) -> Duration {
    let w = window(n, shape);
    let began = Instant::now();
    let mut tx = db.read().await.unwrap();
    figures::counted(&mut tx, &[a, b], &w.from, &w.to, Only::default())
        .await
        .unwrap();
    began.elapsed()
}

/// Median of the GROUP BY over three windows.
async fn naive(raw: &mut Raw, by: Option<&str>, shape: Shape) -> Option<Duration> {
    let by = by?;
    let mut times = Vec::new();
    for n in 0..3 {
        let w = window(n * 7 + 3, shape);
        let within = WITHIN.replace("{from}", &w.from).replace("{to}", &w.to);
        let began = Instant::now();
        raw.rows(&format!("SELECT {by}, {SUMS} {within} GROUP BY {by}"))
            .await;
        times.push(began.elapsed());
    }
    Some(percentiles(times).0)
}

fn shown(what: &str, lines: usize, times: Vec<Duration>, naive: Option<Duration>) {
    let (p50, p99) = percentiles(times);
    let naive = naive.map_or((String::new(), String::new()), |naive| {
        (
            format!("{:.0} ms", ms(naive)),
            format!("{:.0}x", naive.as_secs_f64() / p50.as_secs_f64()),
        )
    });
    println!(
        "{what:44} {lines:>6} {:>6.1} ms {:>6.1} ms {:>10} {:>7}",
        ms(p50),
        ms(p99),
        naive.0,
        naive.1
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
