//! Each report of the catalogue as people get it, over its usual 30 days: read, named, divided, with its query.

use std::time::Instant;

use jiff::{civil::Date, tz::TimeZone};
use ringfence::{
    stats::reports::{self, Asked, Frame, Name},
    store::{Db, users::Scope},
};

use super::{
    fill::{Shape, date},
    percentiles,
};

/// Windows of 30 days that each report is asked for.
const WINDOWS: i64 = 50;

pub async fn measure(db: &Db, shape: Shape) {
    println!(
        "{:24} {:>6} {:>9} {:>9}",
        "report over 30 days", "lines", "p50", "p99"
    );
    for name in Name::ALL {
        let mut times = Vec::new();
        let mut lines = 0;
        for n in 0..WINDOWS {
            let first = n * 397 % (shape.days - 30);
            let day = |n: i64| date(n).parse::<Date>().unwrap();
            let (from, to) = (day(first), day(first + 29));
            let asked = Asked::new(*name, Some(from), Some(to), to);
            let frame = Frame {
                zone: &TimeZone::UTC,
                today: day(shape.days),
                scope: &Scope::All,
            };
            let began = Instant::now();
            let mut tx = db.read().await.unwrap();
            let report = reports::read(&mut tx, &asked, frame).await.unwrap();
            times.push(began.elapsed());
            lines = report.rows.len();
        }
        let (p50, p99) = percentiles(times);
        println!(
            "{:24} {lines:>6} {:>6.1} ms {:>6.1} ms",
            name.as_str(),
            p50.as_secs_f64() * 1_000.0,
            p99.as_secs_f64() * 1_000.0
        );
    }
}
