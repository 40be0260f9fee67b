//! What the daemon writes down about whole calls, at its most talkative: never a phone number, a name, a token or a
//! password, whatever goes wrong and whatever is sent to it. Nor does any error it answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};

use support::asterisk::{Asterisk, PASSWORD};
use support::daemon::{Api, Daemon, Setup};
use support::floor::Floor;

const SOON: Duration = Duration::from_secs(20);
/// Answers, busy, does not exist, rings for ever, not yet eight o'clock there.
const NUMBERS: [&str; 5] = [
    "+8613800131520",
    "+8613800135000",
    "+8613800130520",
    "+8613800134000",
    "+12125552368",
];
const STRANGER: &str = "+8613900139999";

/// Everything that may happen to a call, and everything that may be asked wrongly.
fn live_through(format: &str) -> (Setup, Vec<String>, String) {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx)
        .at("2026-01-15 02:30:00")
        .set("log.level", "trace")
        .set("log.format", format);
    let floor = Floor::prepare(&setup, &["1440"], &NUMBERS);
    let daemon = Daemon::start(&setup);
    let api = floor.agent(&daemon);
    let dial =
        |api: &Api, point: usize| api.post("/api/v1/calls", &json!({"contact_point_id": point}));
    let path = |answer: &Value| format!("/api/v1/calls/{}", answer["call"].as_str().unwrap());

    let (status, answer) = dial(&api, 1);
    assert_eq!(status, 202, "{answer}");
    api.wait_for(&path(&answer), SOON, |call| call["state"] == "talking");
    assert_eq!(dial(&api, 2).0, 409, "the agent is busy");
    assert_eq!(api.delete(&path(&answer)).0, 202);
    let ended = |call: &Value| call["state"] == "ended" && !call["recording"].is_null();
    let call = api.wait_for(&path(&answer), SOON, ended);
    let recording = call["recording"].as_str().unwrap().to_owned();
    for point in [2, 3] {
        let (status, answer) = dial(&api, point);
        assert_eq!(status, 202, "{answer}");
        api.wait_for(&path(&answer), SOON, |call| call["state"] == "ended");
    }
    assert_eq!(dial(&api, 5).0, 422);

    let lead = daemon.api(&floor.lead);
    let export = format!("/api/v1/recordings/{recording}/export");
    let wav = support::eventually("the sealed recording", SOON, || {
        let (status, bytes) = lead.bytes(&export, None);
        (status == 200).then_some(bytes)
    });
    assert!(wav.len() > 44);

    // Numbers and tokens where they do not belong.
    let mut answers = Vec::new();
    let mut wrong = |answer: (u16, Value)| {
        assert!((400..500).contains(&answer.0), "{answer:?}");
        answers.push(answer.1.to_string());
    };
    wrong(api.post("/api/v1/calls", &json!({"case_id": 1, "number": STRANGER})));
    wrong(api.post(
        "/api/v1/calls",
        &json!({"case_id": 1, "number": format!("{STRANGER}99999999")}),
    ));
    wrong(api.post("/api/v1/calls", &json!({"contact_point_id": STRANGER})));
    wrong(api.post("/api/v1/calls", &json!({STRANGER: floor.lead})));
    wrong(api.post("/api/v1/calls", &json!([STRANGER])));
    wrong(api.post_once(
        "/api/v1/calls",
        STRANGER,
        &json!({"contact_point_id": STRANGER}),
    ));
    wrong(api.get(&format!("/api/v1/calls/{STRANGER}")));
    wrong(api.get(&format!("/api/v1/receipts/{STRANGER}?token={}", floor.lead)));
    wrong(lead.get(&format!("/api/v1/recordings?limit={STRANGER}")));
    wrong(lead.get(&format!("/{STRANGER}/{}", floor.lead)));
    let stranger = format!("{}x", floor.lead);
    wrong(daemon.api(&stranger).get("/api/v1/recordings"));

    // A crash while a debtor's phone rings; the next start reads what was left, and ends it.
    let (status, answer) = dial(&api, 4);
    assert_eq!(status, 202, "{answer}");
    api.wait_for(&path(&answer), SOON, |call| {
        call["state"] == "customer_ringing"
    });
    daemon.kill();
    let daemon = Daemon::start(&setup);
    pbx.wait_for_channels(0, SOON);
    let call = floor.agent(&daemon).get(&path(&answer)).1;
    assert_eq!(call["cause"], "crashed", "{call}");
    // The PBX goes away in the middle of a call.
    let mut pbx = pbx;
    let api = floor.agent(&daemon);
    let (status, answer) = dial(&api, 4);
    assert_eq!(status, 202, "{answer}");
    api.wait_for(&path(&answer), SOON, |call| {
        call["state"] == "customer_ringing"
    });
    pbx.kill();
    assert_eq!(api.delete(&path(&answer)).0, 202);
    api.wait_for(&path(&answer), SOON, |call| call["state"] == "ended");
    let log = daemon.log();
    daemon.kill();

    let mut secrets: Vec<String> = floor.secrets().into_iter().map(str::to_owned).collect();
    secrets.extend([STRANGER.to_owned(), stranger, PASSWORD.to_owned()]);
    let key = std::fs::read_to_string(setup.path("root-key")).unwrap();
    secrets.extend(
        key.split_whitespace()
            .filter(|word| word.len() > 30)
            .map(str::to_owned),
    );
    for answer in &answers {
        keeps_quiet(answer, &secrets);
    }
    (setup, secrets, log)
}

/// Fails if a text holds one of these; numbers are looked for by their last eight digits, in any notation.
fn keeps_quiet(line: &str, secrets: &[String]) {
    for secret in secrets {
        let number = secret.starts_with('+').then(|| &secret[secret.len() - 8..]);
        let needle = number.unwrap_or(secret);
        assert!(!line.contains(needle), "'{secret}' is told: {line}");
    }
}

#[test]
fn a_line_of_text_never_tells_a_number_a_name_or_a_secret() {
    let (_setup, secrets, log) = live_through("text");
    assert!(
        log.lines()
            .filter(|line| line.contains("TRACE ringfence"))
            .count()
            > 20,
        "it was not talkative:\n{log}"
    );
    assert!(log.contains("a call ended"));
    assert!(!log.contains('\u{1b}'), "colours in a file");
    for line in log.lines() {
        keeps_quiet(line, &secrets);
        assert!(!line.contains("panicked"), "{line}");
    }
}

#[test]
fn a_line_of_json_is_json_and_keeps_quiet_too() {
    let (_setup, secrets, log) = live_through("json");
    let mut traced = 0;
    for line in log.lines() {
        let parsed: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "target", "message"] {
            assert!(parsed[key].is_string(), "{key}: {line}");
        }
        traced += usize::from(parsed["level"] == "TRACE");
        keeps_quiet(line, &secrets);
    }
    assert!(traced > 20, "it was not talkative:\n{log}");
}
