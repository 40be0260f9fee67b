//! Each report of the catalogue as people get it, over 30 days, of all clients and of one: read, named, divided, with its
//! query.

use std::time::Instant;

use jiff::{civil::Date, tz::TimeZone};
use ringfence::{
    stats::reports::{self, Asked, Frame, Name},
    store::{Db, figures::Axis, users::Scope},
};

use super::{
    fill::{Shape, date},
    percentiles,
};

/// Windows of 30 days that each report is asked for.
const WINDOWS: i64 = 200;

pub async fn measure(db: &Db, shape: Shape) {
    println!(
        "{:36} {:>6} {:>9} {:>9}",
        "report over 30 days", "lines", "p50", "p99"
    );
    for name in Name::ALL {
        report(db, shape, name.as_str(), |asked| asked, *name).await;
        if name.by_client() {
            let what = format!("{name} of one client");
            report(db, shape, &what, of_client, *name).await;
        }
    }
    // What an account of one client may ask for beside these.
    for by in Axis::ALL {
        let asked = |asked| Asked {
            by: Some(*by),
            ..of_client(asked)
        };
        let what = format!("connect-rate by {by} of one client");
        report(db, shape, &what, asked, Name::ConnectRate).await;
    }
}

/// Limited to one of the twelve.
fn of_client(asked: Asked) -> Asked {
    Asked {
        client: Some("bank7".into()),
        ..asked
    }
}

async fn report(db: &Db, shape: Shape, what: &str, which: impl Fn(Asked) -> Asked, name: Name) {
    let mut times = Vec::new();
    let mut lines = 0;
    for n in 0..WINDOWS {
        let first = n * 397 % (shape.days - 30);
        let day = |n: i64| date(n).parse::<Date>().unwrap();
        let (from, to) = (day(first), day(first + 29));
        let asked = which(Asked::new(name, Some(from), Some(to), to));
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
        "{what:36} {lines:>6} {:>6.1} ms {:>6.1} ms",
        p50.as_secs_f64() * 1_000.0,
        p99.as_secs_f64() * 1_000.0
    );
}
