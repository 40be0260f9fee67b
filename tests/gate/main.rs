//! The gate before the telephone network: what the rules refuse, what cannot be decided, and what is barred at the last
//! moment never becomes an INVITE. Each refusal says why, in two languages and with its clause, and leaves a receipt
//! that proves itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod invite;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence::policy;
use serde_json::{Value, json};

use support::asterisk::{Asterisk, PHONE_PASSWORD};
use support::daemon::{Api, Daemon, Database, Setup};
use support::eventually;
use support::floor::{Floor, Store};
use support::net::Net;
use support::phone::{Line, Phone};
use support::registrar::{Registrar, header, picked_up, response, usual};

const SOON: Duration = Duration::from_secs(20);
const SHANGHAI: &str = "+8613800131440";
const NEW_YORK: &str = "+12125552368";
const LONDON: &str = "+442079460018";

/// A daemon whose PBX is one socket, with a case for each number.
struct House {
    _net: Net,
    pbx: Registrar,
    setup: Setup,
    floor: Floor,
}

impl House {
    /// At an instant of UTC.
    fn at(wall: &str, numbers: &[&str]) -> House {
        House::with(numbers, |setup| setup.at(wall))
    }

    fn with(numbers: &[&str], change: impl FnOnce(Setup) -> Setup) -> House {
        House::with_pbx(numbers, Registrar::start, change)
    }

    fn with_pbx(
        numbers: &[&str],
        pbx: impl FnOnce(&Net) -> Registrar,
        change: impl FnOnce(Setup) -> Setup,
    ) -> House {
        let net = Net::claim();
        let pbx = pbx(&net);
        let setup = change(Setup::new(&net, pbx.address()));
        let floor = Floor::prepare(&setup, &["1001", "1002"], numbers);
        House {
            _net: net,
            pbx,
            setup,
            floor,
        }
    }

    fn start(&self) -> Daemon {
        Daemon::start(&self.setup)
    }

    /// Ends the daemon, after which nothing can leave it any more, and checks that no INVITE ever did.
    fn end_without_invite(&self, daemon: Daemon) {
        daemon.stop(SOON, &self.floor.secrets());
        let invites = self.pbx.requests("INVITE");
        assert!(invites.is_empty(), "an INVITE left: {invites:?}");
    }
}

fn click(point: usize) -> Value {
    json!({ "contact_point_id": point })
}

/// Checks a refusal from its body to its receipt, which is decided again from itself; gives the reasons' codes.
fn refused(daemon: &Daemon, floor: &Floor, answer: &(u16, Value)) -> Vec<String> {
    let (status, body) = answer;
    assert_eq!(*status, 422, "{body}");
    assert_eq!(body["type"], "urn:ringfence:problem:refused", "{body}");
    let reasons = body["reasons"].as_array().expect("reasons");
    assert!(!reasons.is_empty());
    for reason in reasons {
        let text = |key: &str| reason[key].as_str().unwrap_or_default();
        assert!(
            text("text").is_ascii() && text("text").ends_with('.'),
            "{reason}"
        );
        assert!(!text("text_zh").is_ascii(), "{reason}");
        assert!(text("clause").contains(':'), "{reason}");
    }
    let id = body["receipt"].as_str().expect("a receipt");
    let path = format!("/api/v1/receipts/{id}");
    let (status, receipt) = daemon.api(&floor.compliance).get(&path);
    assert_eq!(
        (status, &receipt["allowed"]),
        (200, &json!(false)),
        "{receipt}"
    );
    let again =
        policy::replay(&receipt["decision"].to_string()).expect("the receipt proves itself");
    let codes: Vec<String> = again
        .reasons()
        .iter()
        .map(|refusal| refusal.reason.code().to_owned())
        .collect();
    let said: Vec<&str> = reasons.iter().filter_map(|r| r["code"].as_str()).collect();
    assert_eq!(codes, said);
    // Who may only dial does not read them.
    assert_eq!(floor.agent(daemon).get(&path).0, 403);
    codes
}

/// Waits until the agent's call is over and gives its row.
fn ended(api: &Api, answer: &(u16, Value)) -> Value {
    assert_eq!(answer.0, 202, "{}", answer.1);
    let call = answer.1["call"].as_str().expect("a call");
    api.wait_for(&format!("/api/v1/calls/{call}"), SOON, |call| {
        call["state"] == "ended"
    })
}

#[test]
fn before_eight_and_from_nine_in_the_evening_nothing_rings() {
    // Shanghai is at +08:00: 07:30, 21:00:00, and the middle of the night.
    for wall in [
        "2026-03-09 23:30:00",
        "2026-03-10 13:00:00",
        "2026-03-10 18:00:00",
    ] {
        let house = House::at(wall, &[SHANGHAI]);
        let daemon = house.start();
        let answer = house.floor.agent(&daemon).post("/api/v1/calls", &click(1));
        assert_eq!(refused(&daemon, &house.floor, &answer), ["outside_window"]);
        let reason = &answer.1["reasons"][0];
        assert!(
            reason["text"].as_str().unwrap().contains("Asia/Shanghai")
                && reason["clause"].as_str().unwrap().starts_with("T5"),
            "{reason}"
        );
        house.end_without_invite(daemon);
    }
}

#[test]
fn from_eight_on_the_agents_phone_rings() {
    let house = House::at("2026-03-10 00:00:00", &[SHANGHAI]);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let call = ended(&api, &api.post("/api/v1/calls", &click(1)));
    assert_eq!(call["cause"], "agent_busy");
    assert_eq!(house.pbx.requests("INVITE").len(), 1);
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn the_hour_that_counts_is_the_one_where_the_number_rings() {
    let numbers = [SHANGHAI, NEW_YORK, LONDON];
    // In winter: 10:10 in Shanghai, 21:10 the day before in New York, 02:10 in London.
    let house = House::at("2026-01-15 02:10:00", &numbers);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    for (point, zone) in [(2, "America/New_York"), (3, "Europe/London")] {
        let answer = api.post("/api/v1/calls", &click(point));
        let codes = refused(&daemon, &house.floor, &answer);
        assert!(
            codes.iter().all(|code| code == "outside_window"),
            "{codes:?}"
        );
        assert!(
            answer.1["reasons"].to_string().contains(zone),
            "{}",
            answer.1
        );
    }
    ended(&api, &api.post("/api/v1/calls", &click(1)));
    daemon.stop(SOON, &house.floor.secrets());

    // In summer, 20:10 UTC: 21:10 in London because of its summer time, 16:10 in New York, and everywhere between
    // there and Hawaii it is later than eight; 04:10 in Shanghai.
    let house = House::at("2026-07-15 20:10:00", &numbers);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    for point in [1, 3] {
        let answer = api.post("/api/v1/calls", &click(point));
        assert_eq!(refused(&daemon, &house.floor, &answer), ["outside_window"]);
    }
    ended(&api, &api.post("/api/v1/calls", &click(2)));
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn a_number_that_may_ring_in_several_zones_needs_all_of_them_open() {
    // 12:10 in New York, 07:10 in Honolulu: a number of the United States may have moved with its owner.
    let house = House::at("2026-01-15 17:10:00", &[NEW_YORK]);
    let daemon = house.start();
    let answer = house.floor.agent(&daemon).post("/api/v1/calls", &click(1));
    refused(&daemon, &house.floor, &answer);
    let reasons = answer.1["reasons"].to_string();
    assert!(
        reasons.contains("Pacific/Honolulu") && !reasons.contains("America/New_York"),
        "{reasons}"
    );
    house.end_without_invite(daemon);
}

#[test]
fn too_little_time_to_ring_before_nine_is_refused() {
    // From 20:59:40 on less than 15 s are left before the guard's last five.
    let house = House::at("2026-03-10 12:59:40", &[SHANGHAI]);
    let daemon = house.start();
    let answer = house.floor.agent(&daemon).post("/api/v1/calls", &click(1));
    assert_eq!(refused(&daemon, &house.floor, &answer), ["window_closing"]);
    assert!(
        answer.1["reasons"][0]["text"]
            .as_str()
            .unwrap()
            .contains("ms are left to ring"),
        "{}",
        answer.1
    );
    house.end_without_invite(daemon);
}

#[test]
fn a_conversation_goes_on_past_nine_and_its_ringing_was_cut_to_end_before() {
    let pbx = Asterisk::start();
    pbx.trace_sip();
    let setup = Setup::for_pbx(&pbx);
    let floor = Floor::prepare(&setup, &["1440"], &["+8613800131520"]);
    let setup = setup.at("2026-03-10 12:59:20");
    let daemon = Daemon::start(&setup);
    let mut events = Events::follow(&daemon, &floor.lead);
    let api = floor.agent(&daemon);
    let (status, body) = api.post("/api/v1/calls", &click(1));
    assert_eq!(status, 202, "{body}");
    events.wait_for("talking");
    events.wait_for("window_closing");
    let log = eventually("the trace of the customer's INVITE", SOON, || {
        let log = pbx.log();
        log.contains("INVITE sip:+8613800131520@").then_some(log)
    });
    let at = log.rfind("INVITE sip:+8613800131520@").unwrap();
    let expires: u32 = header(&log[at..], "Expires").unwrap().parse().unwrap();
    assert!((15..=35).contains(&expires), "rings for {expires} s");

    events.wait_for("window_closed");
    let call = format!("/api/v1/calls/{}", body["call"].as_str().unwrap());
    assert_eq!(api.get(&call).1["state"], "talking", "nobody is cut off");
    assert_eq!(api.delete(&call).0, 202);
    let row = api.wait_for(&call, SOON, |call| call["state"] == "ended");
    assert_eq!(row["cause"], "answered");
    daemon.stop(SOON, &floor.secrets());
    let mut store = Store::open(&setup);
    assert_eq!(
        store.number("SELECT COUNT(*) FROM attempts WHERE overrun_ms > 0"),
        1
    );
}

#[test]
fn while_another_program_holds_the_database_nothing_rings_and_the_agent_stays_free() {
    let house = House::at("2026-03-10 02:00:00", &[SHANGHAI]);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let mut store = Store::open(&house.setup);
    store.run("BEGIN EXCLUSIVE");
    let (status, body) = api.post_once("/api/v1/calls", "k", &click(1));
    assert_eq!(
        (status, &body["type"]),
        (503, &json!("urn:ringfence:problem:unavailable")),
        "{body}"
    );
    assert!(
        body["detail"].as_str().unwrap().contains("database"),
        "{body}"
    );
    assert!(house.pbx.requests("INVITE").is_empty());
    store.run("ROLLBACK");
    // The key was not used up by what did not happen.
    let call = ended(&api, &api.post_once("/api/v1/calls", "k", &click(1)));
    assert_eq!(call["cause"], "agent_busy");
    assert_eq!(store.number("SELECT COUNT(*) FROM attempts"), 1);
}

#[test]
fn when_the_database_file_is_taken_away_or_cut_off_nothing_rings() {
    for damage in ["removed", "replaced", "cut off"] {
        let house = House::at("2026-03-10 02:00:00", &[SHANGHAI]);
        let daemon = house.start();
        let api = house.floor.agent(&daemon);
        let file = house.setup.path("ringfence.db");
        let kept = house.setup.path("kept.db");
        match damage {
            "removed" => std::fs::rename(&file, &kept).unwrap(),
            "replaced" => {
                std::fs::copy(&file, &kept).unwrap();
                std::fs::rename(&kept, &file).unwrap();
            }
            _ => std::fs::OpenOptions::new()
                .write(true)
                .open(&file)
                .unwrap()
                .set_len(0)
                .unwrap(),
        }
        let (status, body) = api.post("/api/v1/calls", &click(1));
        assert_eq!(status, 503, "{damage}: {body}");
        assert_eq!(daemon.http_status("/readyz"), Some(503), "{damage}");
        assert!(
            house.pbx.requests("INVITE").is_empty(),
            "{damage}: an INVITE left"
        );
        if damage == "removed" {
            // Put back, it is the same file, and the agent was never kept.
            std::fs::rename(&kept, &file).unwrap();
            ended(&api, &api.post("/api/v1/calls", &click(1)));
        }
    }
}

#[test]
fn the_fourth_conversation_of_a_day_is_refused() {
    let pbx = Asterisk::start();
    // Answers and hangs up at once.
    let setup = Setup::for_pbx(&pbx).at("2026-03-10 02:00:00");
    let floor = Floor::prepare(&setup, &["1440"], &["+8613800137004"]);
    let daemon = Daemon::start(&setup);
    let api = floor.agent(&daemon);
    for _ in 0..3 {
        let call = ended(&api, &api.post("/api/v1/calls", &click(1)));
        assert_eq!(call["cause"], "answered", "{call}");
    }
    let answer = api.post("/api/v1/calls", &click(1));
    assert_eq!(refused(&daemon, &floor, &answer), ["cap_reached"]);
    let reason = &answer.1["reasons"][0];
    assert!(
        reason["clause"]
            .as_str()
            .unwrap()
            .starts_with("T11: 3 connected")
            && reason["text"]
                .as_str()
                .unwrap()
                .starts_with("3 of 3 connected"),
        "{reason}"
    );
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn two_clicks_at_once_on_one_agent_are_one_call() {
    let house = House::at("2026-03-10 02:00:00", &[SHANGHAI, "+8613800131441"]);
    let daemon = house.start();
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let clicks: Vec<_> = (0..6)
            .map(|index| {
                let api = house.floor.agent(&daemon);
                scope.spawn(move || api.post("/api/v1/calls", &click(1 + index % 2)))
            })
            .collect();
        clicks
            .into_iter()
            .map(|click| click.join().unwrap())
            .collect()
    });
    let accepted = answers.iter().filter(|(status, _)| *status == 202).count();
    assert!(
        answers
            .iter()
            .all(|(status, _)| [202, 409].contains(status)),
        "{answers:?}"
    );
    let mut store = Store::open(&house.setup);
    // A click after the first call has ended may be a second one; at no time were there two.
    assert_eq!(
        usize::try_from(store.number("SELECT COUNT(*) FROM attempts")).unwrap(),
        accepted
    );
    assert!(accepted >= 1);
    let overlapping =
        "SELECT COUNT(*) FROM attempts a JOIN attempts b ON a.id < b.id AND a.agent_id = b.agent_id
                       WHERE b.started_at_ms < COALESCE(a.ended_at_ms, 9e15)";
    assert_eq!(store.number(overlapping), 0);
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn a_click_sent_twice_rings_once_and_its_key_serves_no_other_click() {
    let house = House::at("2026-03-10 02:00:00", &[SHANGHAI, "+8613800131441"]);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let first = api.post_once("/api/v1/calls", "click-1", &click(1));
    ended(&api, &first);
    assert_eq!(api.post_once("/api/v1/calls", "click-1", &click(1)), first);
    let (status, body) = api.post_once("/api/v1/calls", "click-1", &click(2));
    assert_eq!(status, 409, "{body}");
    assert!(
        body["detail"].as_str().unwrap().contains("Idempotency-Key"),
        "{body}"
    );
    assert_eq!(house.pbx.requests("INVITE").len(), 1);
    // Another user's key of the same name is another key.
    let other = daemon.api(&house.floor.agents[1]);
    let second = other.post_once("/api/v1/calls", "click-1", &click(2));
    assert_eq!(second.0, 202, "{}", second.1);
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn a_refusal_is_repeated_to_its_key_with_the_same_receipt() {
    let house = House::at("2026-03-10 14:00:00", &[SHANGHAI]);
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let first = api.post_once("/api/v1/calls", "night", &click(1));
    refused(&daemon, &house.floor, &first);
    assert_eq!(api.post_once("/api/v1/calls", "night", &click(1)), first);
    house.end_without_invite(daemon);
    assert_eq!(
        Store::open(&house.setup).number("SELECT COUNT(*) FROM receipts"),
        1
    );
}

on_each_database!(what_is_barred_while_the_agents_phone_rings_is_not_called);

fn what_is_barred_while_the_agents_phone_rings_is_not_called(database: Database) {
    let pbx = Asterisk::start();
    pbx.trace_sip();
    let mut phone = desk_phone(&pbx, "1001");
    let setup = Setup::for_pbx(&pbx)
        .keeping_in(database)
        .at("2026-03-10 02:00:00");
    let rules = setup.path("rules");
    std::fs::create_dir(&rules).unwrap();
    let setup = setup.set("policy.dir", rules.to_string_lossy().into_owned());
    let floor = Floor::prepare(
        &setup,
        &["1001"],
        &[
            "+8613800131520",
            "+8613800131521",
            "+8613800131522",
            "+8613800131523",
        ],
    );
    let daemon = Daemon::start(&setup);
    let api = floor.agent(&daemon);
    let mut store = Store::open(&setup);
    for (point, bar) in [
        (1, "UPDATE cases SET state = 'settled' WHERE id = 1"),
        (2, "UPDATE cases SET state = 'paused' WHERE id = 2"),
        (
            3,
            "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
             VALUES ('number', 3, 'do_not_call', 'asked', 0, 'lin')",
        ),
    ] {
        let answer = api.post("/api/v1/calls", &click(point));
        phone.wait_for("CALL_INCOMING", SOON);
        store.run(bar);
        phone.accept();
        let call = ended(&api, &answer);
        assert_eq!(
            (&call["cause"], &call["class"]),
            (&json!("barred"), &json!("ours")),
            "{bar}"
        );
        // And the next click is refused for it.
        let answer = api.post("/api/v1/calls", &click(point));
        let codes = refused(&daemon, &floor, &answer);
        assert!(
            codes == ["case_not_open"] || codes == ["do_not_call"],
            "{codes:?}"
        );
    }
    // Rules that would not allow it came into force.
    let answer = api.post("/api/v1/calls", &click(4));
    phone.wait_for("CALL_INCOMING", SOON);
    let no_tuesdays = "base = 'cn-plan'\nname = 'all'\nrevision = '1'\n[window]\nclause = 'x'\n[window.week]\ntue = []\n";
    std::fs::write(rules.join("all.toml"), no_tuesdays).unwrap();
    let compliance = daemon.api(&floor.compliance);
    let (status, body) = compliance.post("/api/v1/policy/reload", &json!({}));
    assert_eq!(status, 200, "{body}");
    phone.accept();
    let call = ended(&api, &answer);
    assert_eq!(call["cause"], json!("barred"), "by the rules of now");
    let answer = api.post("/api/v1/calls", &click(4));
    assert_eq!(refused(&daemon, &floor, &answer), ["outside_window"]);
    daemon.stop(SOON, &floor.secrets());
    pbx.wait_for_channels(0, SOON);
    assert!(
        !pbx.log().contains("INVITE sip:+86"),
        "a customer was called"
    );
    assert_eq!(
        store.number("SELECT COUNT(*) FROM attempts WHERE seized_at_ms IS NOT NULL"),
        0
    );
    assert_eq!(
        store.number("SELECT COUNT(*) FROM recordings WHERE state <> 'abandoned'"),
        0
    );
}

/// A phone that rings until the test picks it up.
fn desk_phone(pbx: &Asterisk, extension: &str) -> Phone {
    let phone = Phone::start(&Line {
        ip: pbx.net().phones(),
        port: 5060,
        pbx: pbx.address(),
        user: extension.to_owned(),
        password: PHONE_PASSWORD.to_owned(),
        answers: false,
        registers: true,
        tone_hz: 500,
    });
    phone.wait_until_registered(SOON);
    phone
}

/// Seconds from now until ten in the morning in Shanghai today (UTC's day).
fn until_ten_in_shanghai() -> i64 {
    let now = jiff::Timestamp::now().as_second();
    now.div_euclid(86_400) * 86_400 + 2 * 3600 - now
}

/// The stream of events, from before the call on.
struct Events {
    reader: BufReader<TcpStream>,
    seen: String,
}

impl Events {
    fn follow(daemon: &Daemon, token: &str) -> Events {
        let mut stream = TcpStream::connect(daemon.http()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET /api/v1/events HTTP/1.1\r\nHost: ringfence\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Events {
            reader,
            seen: String::new(),
        }
    }

    /// Reads until a call has reached this state, now or before.
    fn wait_for(&mut self, state: &str) {
        let wanted = format!("\"state\":\"{state}\"");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.seen.contains(&wanted) {
            let read = self.reader.read_line(&mut self.seen);
            assert!(
                read.is_ok_and(|read| read > 0) && Instant::now() < deadline,
                "no {state} came:\n{}",
                self.seen
            );
        }
    }
}
