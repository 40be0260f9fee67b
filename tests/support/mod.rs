//! What the integration tests stand on: real peers, started for one test and gone after it.
//!
//! Start with [`asterisk::Asterisk`] (a real PBX), [`sipp::Sipp`] (phones that behave as a scenario says),
//! [`phone::Phone`] (a desk phone that registers and keeps what it heard), [`between::Between`] (a bad network), [`daemon::Setup`] and [`daemon::Daemon`] (the
//! program under test), [`floor::Floor`] (the people and cases in it), [`registrar::Registrar`] (a PBX of one socket).
//! [`net::Net`] gives each test addresses of its own, so that tests of several processes run side
//! by side. [`tone`] listens.
//!
//! Everything here blocks its thread and needs no async runtime. What is started is ended when its value is dropped, and,
//! if the test process itself dies, by [`process`]. Nothing is skipped: a peer that cannot be started fails the test
//! with what `make test` would have to install.
#![allow(dead_code, reason = "each test binary uses its part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "this is test code: a peer that does not do its part fails the test here and now"
)]

pub mod asterisk;
pub mod between;
pub mod chromium;
pub mod daemon;
pub mod disk;
pub mod floor;
pub mod house;
pub mod net;
pub mod phone;
#[path = "../../src/store/tests/postgres.rs"]
pub mod postgres;
pub mod process;
pub mod registrar;
pub mod scene;
pub mod sipp;
pub mod tone;
pub mod unit;
pub mod web;

use std::time::{Duration, Instant};

/// Waits until `probe` yields a value, and returns it. For events of foreign programs that can only be looked at.
///
/// # Panics
/// After `limit`, naming `what`.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: did not happen within {limit:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last `count` lines of `text`.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut end = lines[lines.len().saturating_sub(count)..].join("\n");
    end.push('\n');
    end
}
