//! What figures cost on ten million attempts of 24 months, on SQLite and on PostgreSQL: each report over 30 days beside
//! the GROUP BY that it replaces, any two dimensions, the rebuild of everything, and how many attempts a second can be
//! ended, beside a bare insert of the same rows.
//!
//! `make bench`, or `cargo bench --bench figures -- --attempts 1000000 --only sqlite`. `--dir DIR` keeps SQLite's file, so that
//! a second run need not fill it again, and so does `--postgres postgres://…`, an empty database of a server of one's own.
//! Fewer attempts make fewer days, each as full. The attempts are made in the database by arithmetic, the same in every run.
//!
//! Times are wall clock; where others use the machine, compare ratios of one run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod catalogue;
mod closings;
mod fill;
#[allow(dead_code)]
#[path = "../../src/store/tests/postgres.rs"]
mod postgres;
mod raw;
mod reports;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use fill::Shape;
use raw::Raw;
use ringfence::{
    clock::{Clock, TrustMode},
    stats::rebuild,
    store::{Db, Location, Options},
};

/// What the command line asks for.
struct Wanted {
    attempts: i64,
    only: Option<String>,
    dir: Option<PathBuf>,
    postgres: Option<String>,
    part: Option<String>,
}

fn main() {
    let wanted = arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let on = |name: &str| wanted.only.as_deref().is_none_or(|only| only == name);
    if on("sqlite") {
        let temporary = tempfile::tempdir().unwrap();
        let dir = wanted
            .dir
            .clone()
            .unwrap_or_else(|| temporary.path().into());
        std::fs::create_dir_all(&dir).unwrap();
        let location = Location::Sqlite(dir.join("figures.db"));
        println!("\nSQLite, synchronous=FULL");
        runtime.block_on(measure(location, &wanted));
    }
    if on("postgres") {
        let (address, server) = match &wanted.postgres {
            Some(address) => (address.clone(), None),
            None => {
                let server = postgres::Server::start(&[
                    "shared_buffers=1GB",
                    "max_wal_size=4GB",
                    "maintenance_work_mem=512MB",
                    "checkpoint_timeout=15min",
                ]);
                (runtime.block_on(server.create_database()), Some(server))
            }
        };
        println!("\nPostgreSQL, fsync and synchronous_commit on");
        runtime.block_on(measure(Location::Postgres(address.into()), &wanted));
        drop(server);
    }
}

async fn measure(location: Location, wanted: &Wanted) {
    let options = Options {
        connections: 8,
        ..Options::new(location.clone())
    };
    // Makes the schema; filling wants the file for itself.
    Db::open(&options).await.unwrap().close().await;
    let mut raw = Raw::open(&location).await;
    let shape = Shape::of(wanted.attempts);
    let filled = fill::fill(&mut raw, shape).await;
    let db = Db::open(&options).await.unwrap();
    if filled {
        let clock = Clock::system(TrustMode::Host);
        let began = Instant::now();
        let done = rebuild::rebuild(&db, "0000-00-00", "9999-99-99", "bench", &clock, |_, _| ())
            .await
            .unwrap();
        println!(
            "rebuild: {} days, {} rows of roll-ups in {:.0} s, longest transaction {} ms",
            done.days,
            done.rows,
            began.elapsed().as_secs_f64(),
            done.longest.as_millis()
        );
        raw.settle().await;
    }
    let part = |name: &str| wanted.part.as_deref().is_none_or(|part| part == name);
    if part("reports") {
        reports::measure(&db, &mut raw, shape).await;
    }
    if part("catalogue") {
        catalogue::measure(&db, shape).await;
    }
    if part("closings") {
        closings::measure(&db, &mut raw, shape).await;
    }
    db.close().await;
}

/// Median and 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn arguments() -> Wanted {
    let mut wanted = Wanted {
        attempts: 10_000_000,
        only: None,
        dir: None,
        postgres: None,
        part: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--attempts" => wanted.attempts = value().parse().expect("--attempts N"),
            "--only" => wanted.only = Some(value()),
            "--part" => wanted.part = Some(value()),
            "--dir" => wanted.dir = Some(value().into()),
            "--postgres" => wanted.postgres = Some(value()),
            // Cargo's own.
            "--bench" => {}
            other => panic!(
                "{other} is not known; --attempts N --only sqlite|postgres --dir DIR --postgres ADDRESS --part reports|catalogue|closings"
            ),
        }
    }
    wanted
}
