//! `ringfence receipts`: what the gate decided is decided again from the stored receipt, and whoever altered or moved one
//! is found out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::json;

use support::daemon::{Daemon, Setup};
use support::floor::{Floor, NAME, Store};
use support::net::Net;
use support::registrar::Registrar;

const SOON: Duration = Duration::from_secs(20);
const SHANGHAI: &str = "+8613800131440";
const ANOTHER: &str = "+8613800131441";
const LONDON: &str = "+442079460018";

/// A floor on which two cases were allowed and one was refused, and their receipts in this order.
struct Decided {
    _net: Net,
    setup: Setup,
    receipts: Vec<String>,
}

impl Decided {
    fn new() -> Decided {
        let net = Net::claim();
        let pbx = Registrar::start(&net);
        // 10:00 in Shanghai, 02:00 in London.
        let setup = Setup::new(&net, pbx.address()).at("2026-03-10 02:00:00");
        let floor = Floor::prepare(&setup, &["1001"], &[SHANGHAI, ANOTHER, LONDON]);
        let daemon = Daemon::start(&setup);
        let api = floor.agent(&daemon);
        for (point, wanted) in [(1, 202), (2, 202), (3, 422)] {
            let (status, body) = api.post("/api/v1/calls", &json!({"contact_point_id": point}));
            assert_eq!(status, wanted, "{body}");
            if let Some(call) = body["call"].as_str() {
                let path = format!("/api/v1/calls/{call}");
                api.wait_for(&path, SOON, |call| call["state"] == "ended");
            }
        }
        daemon.stop(SOON, &floor.secrets());
        let mut store = Store::open(&setup);
        let receipts = store.texts("SELECT id FROM receipts ORDER BY contact_point_id");
        store.close();
        assert_eq!(receipts.len(), 3);
        Decided {
            _net: net,
            setup,
            receipts,
        }
    }

    /// Exit status and everything that replaying this id printed.
    fn replay(&self, id: &str) -> (Option<i32>, String) {
        let config = self.setup.config_path();
        let arguments = [
            "receipts",
            "replay",
            id,
            "--config",
            &config.to_string_lossy(),
        ];
        let output = self.setup.cli(&arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        for secret in [NAME, "13800131440", "13800131441", "2079460018"] {
            assert!(!text.contains(secret), "'{secret}' is told: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
        (output.status.code(), text)
    }

    /// Changes rows behind the daemon's back; replaying the `n`-th receipt must then fail and say `word`.
    fn found_out(&self, n: usize, sql: &'static str, word: &str) {
        let mut store = Store::open(&self.setup);
        let before = store.texts(ROWS);
        store.run(sql);
        assert_ne!(store.texts(ROWS), before, "{sql} changed nothing");
        store.close();
        let id = &self.receipts[n];
        let (status, text) = self.replay(id);
        assert_eq!(status, Some(1), "{sql}: {text}");
        assert!(text.contains(id.as_str()), "{sql}: {text}");
        assert!(text.contains(word), "{sql}: no '{word}' in {text}");
        assert!(!text.contains("as stored"), "{sql}: {text}");
    }

    /// Puts everything back.
    fn heal(&self) {
        let mut store = Store::open(&self.setup);
        // Attempts refer to their receipts: for this moment they refer to nothing.
        store.run("PRAGMA foreign_keys = OFF; DELETE FROM receipts; INSERT INTO receipts SELECT * FROM kept");
        store.close();
    }
}

const ROWS: &str = "SELECT json_array(id, at_ms, allowed, client_id, case_id, contact_point_id, rules_sha256, reasons, body)
                    FROM receipts ORDER BY id";

#[test]
fn a_receipt_is_decided_again_by_its_id_and_comes_to_the_same() {
    let floor = Decided::new();
    for id in &floor.receipts[..2] {
        let (status, text) = floor.replay(id);
        assert_eq!(status, Some(0), "{text}");
        assert!(text.starts_with("allowed, as stored; rules "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let (status, text) = floor.replay(&floor.receipts[2]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with("refused, as stored; rules "), "{text}");
    for word in ["outside_window", "Europe/London", "T5"] {
        assert!(text.contains(word), "no '{word}' in {text}");
    }
    // It needs nothing that could have changed since: neither the case nor the hour.
    let mut store = Store::open(&floor.setup);
    store.run("UPDATE cases SET state = 'settled'");
    store.close();
    assert_eq!(floor.replay(&floor.receipts[0]).0, Some(0));
}

#[test]
fn a_receipt_that_was_altered_or_moved_fails_and_says_so() {
    let floor = Decided::new();
    let mut store = Store::open(&floor.setup);
    store.run("CREATE TABLE kept AS SELECT * FROM receipts");
    store.close();
    for (n, sql, word) in [
        (
            0,
            "UPDATE receipts SET body = replace(body, '\"state\":\"open\"', '\"state\":\"closed\"')",
            "another result",
        ),
        (
            0,
            "UPDATE receipts SET body = replace(body, '\"limit\":6', '\"limit\":7')",
            "do not have the hash",
        ),
        (
            2,
            "UPDATE receipts SET body = replace(body, '\"verdict\":\"deny\"', '\"verdict\":\"allow\"')",
            "no receipt of form",
        ),
        (0, "UPDATE receipts SET body = '{}'", "no receipt of form"),
        (
            0,
            "UPDATE receipts SET body = substr(body, 1, 200)",
            "no receipt of form",
        ),
        (2, "UPDATE receipts SET allowed = 1 - allowed", "verdict"),
        (
            0,
            "UPDATE receipts SET rules_sha256 = 'ab'",
            "hash of the rules",
        ),
        (2, "UPDATE receipts SET reasons = '[]'", "list of reasons"),
        (0, "UPDATE receipts SET at_ms = at_ms - 1", "instant"),
        // A true receipt under the name of another decision.
        (
            0,
            "UPDATE receipts SET body = (SELECT body FROM kept WHERE contact_point_id = 2) WHERE contact_point_id = 1",
            "instant",
        ),
        (
            0,
            "UPDATE receipts SET case_id = 2, contact_point_id = 2 WHERE contact_point_id = 1",
            "case",
        ),
        (
            0,
            "UPDATE receipts SET contact_point_id = 2 WHERE contact_point_id = 1",
            "contact point",
        ),
    ] {
        floor.found_out(n, sql, word);
        floor.heal();
        let (status, text) = floor.replay(&floor.receipts[n]);
        assert_eq!(status, Some(0), "after {sql} was put back: {text}");
    }
}

#[test]
fn a_receipt_that_nobody_stored_is_said_to_be_missing() {
    let floor = Decided::new();
    let (status, text) = floor.replay("01890000-0000-7000-8000-000000000000");
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("there is no receipt 01890000-0000-7000-8000-000000000000"),
        "{text}"
    );
    let (status, text) = floor.replay("not-an-id");
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("not-an-id"), "{text}");
}
