//! The hardened unit: what it forbids must not be what the daemon needs. The score is checked by `scripts/unit-score`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use ringfence::clock::KernelState;
use support::unit::{allowed_calls, confine};

/// Set for the copy of this test binary that runs under the filter.
const CHILD: &str = "RINGFENCE_TEST_UNDER_FILTER";

/// Runs the test below in a process of its own that may make only `calls`.
fn read_the_clock_with(calls: &BTreeSet<String>) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("refused");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "the_kernel_says_whether_the_clock_is_right",
            "--nocapture",
        ])
        .env(CHILD, "1");
    let output = confine(&command, calls, &report)
        .output()
        .expect("cannot run strace; scripts/peers installs it");
    (output, std::fs::read_to_string(report).unwrap_or_default())
}

/// Alone it asks the kernel directly; the tests below run it under filters.
#[test]
fn the_kernel_says_whether_the_clock_is_right() {
    let state = KernelState::read();
    if std::env::var_os(CHILD).is_some() {
        println!("kernel state: {state:?}");
    } else {
        assert!(
            matches!(
                state,
                KernelState::Synchronised { .. } | KernelState::Unsynchronised
            ),
            "the kernel does not answer on this machine: {state:?}"
        );
    }
}

#[test]
fn the_units_filter_lets_the_clock_be_read() {
    let (output, refused) = read_the_clock_with(&allowed_calls());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("kernel state: Synchronised")
            || text.contains("kernel state: Unsynchronised"),
        "under the unit the clock cannot be read: {text}\nrefused: {refused}"
    );
}

/// What `ProtectClock=` would do, so that the test above is known to be able to fail.
#[test]
fn without_adjtimex_reading_the_clock_is_denied() {
    let mut calls = allowed_calls();
    calls.remove("adjtimex");
    calls.remove("clock_adjtime");
    let (output, refused) = read_the_clock_with(&calls);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("kernel state: Denied"), "{text}");
    assert!(
        refused.contains("adjtime"),
        "the filter refused something else: {refused}"
    );
}

#[test]
fn the_unit_cannot_set_the_clock() {
    let calls = allowed_calls();
    for call in [
        "clock_settime",
        "settimeofday",
        "ptrace",
        "mount",
        "bpf",
        "init_module",
        "reboot",
    ] {
        assert!(!calls.contains(call), "{call} is allowed");
    }
    for call in [
        "adjtimex",
        "recvfrom",
        "sendto",
        "epoll_wait",
        "fdatasync",
        "syncfs",
        "fallocate",
        "renameat2",
    ] {
        assert!(calls.contains(call), "{call} is not allowed");
    }
}
