//! The HTTP API as its users meet it: who may see what, playing and exporting, events, clicks sent twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use support::asterisk::Asterisk;
use support::daemon::{Daemon, Setup};
use support::floor::{Floor, Store, add_user, other_client};
use support::net::Net;
use support::registrar::Registrar;
use support::web::{Web, bearer, dial, whole_call};

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
const SOON: Duration = Duration::from_secs(20);
/// Answers at once, speaks 400 Hz, hangs up after two seconds.
const SHORT: &str = "+8613800132102";
/// Rings a second, answers, speaks 400 Hz, stays.
const STAYS: &str = "+8613800134101";
/// Answers at once, speaks 880 Hz, stays.
const PATIENT: &str = "+8613800131880";

#[test]
fn everybody_sees_what_their_role_and_their_clients_allow_and_nothing_else() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    let floor = Floor::prepare(&setup, &["1620", "1630"], &[SHORT]);
    other_client(&setup, "+8613900131440");
    let mut people = BTreeMap::from([
        ("agent", floor.agents[0].clone()),
        ("colleague", floor.agents[1].clone()),
        ("lead", floor.lead.clone()),
        ("compliance", floor.compliance.clone()),
    ]);
    for role in ["qa", "operations", "auditor", "admin"] {
        people.insert(role, add_user(&setup, role, role, &["--all-clients"]));
    }
    for (name, role) in [("lead of others", "lead"), ("auditor of others", "auditor")] {
        let login = format!("{role}-other");
        people.insert(name, add_user(&setup, &login, role, &["--client", "other"]));
    }
    let stranger = ["--client", "other", "--agent", "A3", "--extension", "1640"];
    people.insert(
        "agent of others",
        add_user(&setup, "agent-other", "agent", &stranger),
    );
    people.insert("gone", add_user(&setup, "gone", "lead", &["--all-clients"]));
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    assert_eq!(web.get("/api/v1/calls", &people["gone"]).status, 200);
    setup.with_config(&["users", "revoke", "gone"]);

    let call = whole_call(&web, &floor, 1);
    let text = |member: &str| call[member].as_str().unwrap().to_owned();
    let recording = format!("/api/v1/recordings/{}", text("recording"));
    let everyone: Vec<&str> = people
        .keys()
        .copied()
        .filter(|name| *name != "gone")
        .collect();
    // Who is answered 200, and who 403; everybody else gets 404, as if it did not exist.
    let table: Vec<(String, Vec<&str>, Vec<&str>)> = vec![
        (
            format!("/api/v1/calls/{}", text("call")),
            vec![
                "agent",
                "lead",
                "compliance",
                "qa",
                "operations",
                "auditor",
                "admin",
            ],
            vec![],
        ),
        (
            recording.clone(),
            vec!["lead", "compliance", "qa", "auditor"],
            vec![
                "agent",
                "colleague",
                "agent of others",
                "operations",
                "admin",
            ],
        ),
        (
            format!("{recording}/audio"),
            vec!["lead", "compliance", "qa", "auditor"],
            vec![
                "agent",
                "colleague",
                "agent of others",
                "operations",
                "admin",
            ],
        ),
        (
            format!("{recording}/export"),
            vec!["lead", "compliance", "qa", "auditor"],
            vec![
                "agent",
                "colleague",
                "agent of others",
                "operations",
                "admin",
            ],
        ),
        (
            format!("/api/v1/receipts/{}", text("receipt")),
            vec!["compliance", "auditor"],
            vec![
                "agent",
                "colleague",
                "agent of others",
                "lead",
                "lead of others",
                "qa",
                "operations",
                "admin",
            ],
        ),
        (
            "/api/v1/cases/1".to_owned(),
            vec!["agent", "colleague", "lead", "operations", "admin"],
            vec!["compliance", "qa", "auditor", "auditor of others"],
        ),
        (
            "/api/v1/cases?client=bank&reference=C1".to_owned(),
            vec!["agent", "colleague", "lead", "operations", "admin"],
            vec!["compliance", "qa", "auditor", "auditor of others"],
        ),
        (
            "/api/v1/stats/connect-rate?by=hour".to_owned(),
            vec!["lead", "compliance", "qa", "operations", "auditor", "admin"],
            vec![
                "agent",
                "colleague",
                "agent of others",
                "lead of others",
                "auditor of others",
            ],
        ),
    ];
    for (path, may, may_not) in &table {
        for name in &everyone {
            let wanted = match name {
                name if may.contains(name) => 200,
                name if may_not.contains(name) => 403,
                _ => 404,
            };
            let status = web.get(path, &people[name]).status;
            assert_eq!(status, wanted, "GET {path} as {name}");
        }
        for headers in [
            vec![],
            vec![("authorization", bearer(&people["gone"]))],
            vec![("authorization", bearer("nonsense"))],
            vec![("authorization", format!("Basic {}", people["lead"]))],
            vec![("authorization", people["lead"].clone())],
        ] {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = web.ask("GET", path, &headers, &[]);
            assert_eq!(answer.status, 401, "GET {path} with {headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    // Lists hold what the single objects would show.
    for (path, sees) in [
        (
            "/api/v1/calls",
            vec![
                "agent",
                "lead",
                "compliance",
                "qa",
                "operations",
                "auditor",
                "admin",
            ],
        ),
        (
            "/api/v1/recordings",
            vec!["lead", "compliance", "qa", "auditor"],
        ),
    ] {
        for name in &everyone {
            let answer = web.get(path, &people[name]);
            if answer.status == 403 {
                assert!(table[1].2.contains(name), "GET {path} as {name}");
                continue;
            }
            let length = answer.json().as_array().unwrap().len();
            assert_eq!(
                length,
                usize::from(sees.contains(name)),
                "GET {path} as {name}"
            );
        }
    }
    let others_calls = format!("/api/v1/calls?agent_id={}", call["agent_id"]);
    assert_eq!(web.get(&others_calls, &people["colleague"]).status, 403);
    // A page of the list begins behind the last one.
    let behind = format!("/api/v1/calls?before={}", text("call"));
    assert_eq!(web.get(&behind, &people["lead"]).json(), json!([]));

    // A case shows what can be clicked.
    let case = web.get("/api/v1/cases/1", &people["agent"]).json();
    assert_eq!(case["reference"], "C1");
    let point = &case["contact_points"][0];
    assert_eq!(
        (
            &point["contact_point_id"],
            &point["number"],
            &point["relation"]
        ),
        (&json!(1), &json!(SHORT), &json!("debtor"))
    );

    // Who may dial, and hang up.
    let own = json!({"contact_point_id": 1});
    let as_first = json!({"contact_point_id": 1, "agent_id": call["agent_id"]});
    for (name, body, wanted) in [
        ("qa", &own, 403),
        ("compliance", &own, 403),
        ("auditor", &as_first, 403),
        ("colleague", &as_first, 403),
        ("lead", &own, 400),
        ("agent of others", &own, 404),
        ("lead of others", &as_first, 404),
        ("agent", &json!({"contact_point_id": 999}), 404),
        ("agent", &json!({"case_id": 1, "number": PATIENT}), 404),
        (
            "lead",
            &json!({"contact_point_id": 1, "agent_id": 999}),
            404,
        ),
    ] {
        let status = dial(&web, &people[name], body).status;
        assert_eq!(status, wanted, "{name} dials {body}");
    }
    for (name, wanted) in [
        ("colleague", 404),
        ("lead of others", 404),
        ("qa", 403),
        ("auditor", 403),
        ("agent", 202),
        ("lead", 202),
        ("operations", 202),
    ] {
        let path = format!("/api/v1/calls/{}", text("call"));
        let token = bearer(&people[name]);
        let status = web
            .ask("DELETE", &path, &[("authorization", &token)], &[])
            .status;
        assert_eq!(status, wanted, "{name} hangs up");
    }
    assert_eq!(
        web.get("/api/v1/calls", &people["lead"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn a_recording_is_heard_in_any_part_and_every_hearing_is_logged_before_its_first_byte() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    let floor = Floor::prepare(&setup, &["1620"], &[SHORT]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let call = whole_call(&web, &floor, 1);
    let recording = format!("/api/v1/recordings/{}", call["recording"].as_str().unwrap());
    let (audio, export) = (format!("{recording}/audio"), format!("{recording}/export"));
    let mut store = Store::open(&setup);
    let mut logged = |sql: &'static str| store.number(sql);
    let token = bearer(&floor.compliance);
    let ranged = |range: &str| {
        web.ask(
            "GET",
            &audio,
            &[("authorization", &token), ("range", range)],
            &[],
        )
    };

    // Looking at its length is no hearing.
    let head = web.ask("HEAD", &audio, &[("authorization", &token)], &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("accept-ranges"), "bytes");
    let length: usize = head.header("content-length").parse().unwrap();
    assert_eq!(
        logged("SELECT COUNT(*) FROM access_log WHERE action LIKE 'recording.%'"),
        0
    );

    let whole = web.get(&audio, &floor.compliance);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("content-type"), "audio/wav");
    assert_eq!(whole.header("cache-control"), "no-store");
    assert_eq!(whole.header("content-length"), length.to_string());
    assert_eq!(whole.body.len(), length);
    assert_eq!(&whole.body[..4], b"RIFF");
    let wav = hound::WavReader::new(&whole.body[..]).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
    let seconds = f64::from(wav.duration()) / 8_000.0;
    assert!(
        (1.5..3.0).contains(&seconds),
        "two seconds of call are {seconds} s"
    );

    for (range, first, last) in [
        ("bytes=0-43", 0, 43),
        ("bytes=100-100", 100, 100),
        ("bytes=5000-", 5_000, length - 1),
        ("bytes=-100", length - 100, length - 1),
        ("bytes=10-99999999", 10, length - 1),
        ("bytes=-99999999", 0, length - 1),
    ] {
        let part = ranged(range);
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/{length}")
        );
        assert!(
            part.body == whole.body[first..=last],
            "{range} is another part"
        );
    }
    for nonsense in ["bytes=5-2", "lines=1-2", "bytes=0-1,5-6"] {
        assert_eq!(ranged(nonsense).status, 200, "{nonsense}");
    }
    let heard = logged("SELECT COUNT(*) FROM access_log WHERE action = 'recording.play'");
    assert_eq!(heard, 10);
    // A part that does not exist is not heard.
    for beyond in [format!("bytes={length}-"), "bytes=-0".to_owned()] {
        let none = ranged(&beyond);
        assert_eq!(none.status, 416);
        assert_eq!(none.header("content-range"), format!("bytes */{length}"));
    }
    let file = web.ask(
        "GET",
        &export,
        &[("authorization", &token), ("range", "bytes=0-9")],
        &[],
    );
    assert_eq!(file.status, 200);
    assert!(file.body == whole.body, "the export is not what is played");
    assert_eq!(
        file.header("content-disposition"),
        format!(
            "attachment; filename=\"{}.wav\"",
            call["recording"].as_str().unwrap()
        )
    );
    let sql = "SELECT COUNT(*) FROM access_log WHERE action = 'recording.export' AND actor = 'compliance'";
    assert_eq!(logged(sql), 1);
    assert_eq!(
        logged("SELECT COUNT(*) FROM access_log WHERE action = 'recording.play'"),
        heard
    );
    let sql = "SELECT COUNT(*) FROM access_log WHERE action = 'recording.play' AND detail LIKE '%\"first\":100,%'
               AND detail LIKE '%\"last\":100%'";
    assert_eq!(logged(sql), 1, "the part that was heard is not in the log");

    // What cannot be logged is not played: the log comes first.
    store.run(
        "CREATE TRIGGER full BEFORE INSERT ON access_log WHEN NEW.action LIKE 'recording.%'
         BEGIN SELECT RAISE(ABORT, 'the log is full'); END",
    );
    for path in [&audio, &export] {
        let answer = web.get(path, &floor.compliance);
        assert!(
            answer.status >= 500,
            "{path} was played without a line in the log"
        );
    }
    store.run("DROP TRIGGER full");
    assert_eq!(ranged("bytes=0-3").body, b"RIFF");
    drop(daemon);
}

#[test]
fn the_events_of_a_call_arrive_in_order_and_a_barred_token_hears_no_more() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    let floor = Floor::prepare(&setup, &["1620", "1630"], &[STAYS, SHORT]);
    let other = add_user(&setup, "lead-bank", "lead", &["--client", "bank"]);
    other_client(&setup, "+8613900131440");
    let outside = add_user(&setup, "lead-other", "lead", &["--client", "other"]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let mut own = web.events(&floor.agents[0]);
    let mut colleague = web.events(&floor.agents[1]);
    let mut leads = web.events(&other);
    let mut outsiders = web.events(&outside);

    let accepted = dial(
        &web,
        &floor.agents[0],
        &json!({"case_id": 1, "number": STAYS}),
    );
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let call = accepted.json()["call"].clone();
    let mut states = Vec::new();
    let mut last_ms = 0;
    loop {
        let (name, event) = own.next().expect("the stream ended");
        assert_eq!(
            (name.as_str(), &event["call_id"]),
            ("call", &call),
            "{event}"
        );
        assert!(event["at_ms"].as_i64().unwrap() >= last_ms, "{event}");
        last_ms = event["at_ms"].as_i64().unwrap();
        let state = event["state"].as_str().unwrap().to_owned();
        if state == "talking" {
            let path = format!("/api/v1/calls/{}", call.as_str().unwrap());
            let now = web.get(&path, &floor.agents[0]).json();
            assert_eq!(now["state"], "talking", "{now}");
            let token = bearer(&floor.agents[0]);
            assert_eq!(
                web.ask("DELETE", &path, &[("authorization", &token)], &[])
                    .status,
                202
            );
        }
        states.push(state);
        if event["state"] == "ended" {
            assert_eq!(event["cause"], "answered", "{event}");
            break;
        }
    }
    // Asterisk picks up for the agent without ringing.
    states.retain(|state| state != "agent_ringing");
    assert_eq!(
        states,
        [
            "agent_answered",
            "customer_dialling",
            "customer_ringing",
            "customer_answered",
            "talking",
            "ended"
        ]
    );
    let (_, first) = leads.next().expect("the stream ended");
    assert_eq!(first["call_id"], call);

    // The colleague's first event is of the colleague's own call.
    let second = dial(&web, &floor.agents[1], &json!({"contact_point_id": 2}));
    assert_eq!(second.status, 202, "{}", second.text());
    let (_, event) = colleague.next().expect("the stream ended");
    assert_eq!(event["call_id"], second.json()["call"]);

    // Those of another client heard nothing up to the end of their token.
    setup.with_config(&["users", "token", "lead-other"]);
    assert_eq!(outsiders.next(), None, "another client's call was told");
    drop(daemon);
}

#[test]
fn a_click_sent_twice_rings_once() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    let floor = Floor::prepare(&setup, &["1001", "1002"], &[PATIENT]);
    let daemon = Daemon::start(&setup);
    let agent = floor.agent(&daemon);
    let body = json!({"contact_point_id": 1});
    let (status, first) = agent.post_once("/api/v1/calls", "click-1", &body);
    assert_eq!(status, 202, "{first}");
    let path = format!("/api/v1/calls/{}", first["call"].as_str().unwrap());
    // Also while the agent is busy with it, and after it.
    assert_eq!(
        agent.post_once("/api/v1/calls", "click-1", &body),
        (202, first.clone())
    );
    agent.wait_for(&path, SOON, |call| call["state"] == "ended");
    assert_eq!(
        agent.post_once("/api/v1/calls", "click-1", &body),
        (202, first)
    );
    // An INVITE may be sent again until it is answered; it is one call all the same.
    let call_ids: std::collections::BTreeSet<String> = pbx
        .requests("INVITE")
        .iter()
        .filter_map(|invite| invite.lines().find(|line| line.starts_with("Call-ID:")))
        .map(str::to_owned)
        .collect();
    assert_eq!(call_ids.len(), 1, "{call_ids:?}");

    let (status, reused) = agent.post_once(
        "/api/v1/calls",
        "click-1",
        &json!({"case_id": 1, "number": PATIENT}),
    );
    assert_eq!(status, 409, "{reused}");
    // Another's key of the same name is another key.
    let colleague = daemon.api(&floor.agents[1]);
    assert_eq!(
        colleague.post_once("/api/v1/calls", "click-1", &body).0,
        202
    );
    for key in ["", &"x".repeat(129)] {
        assert_eq!(
            agent.post_once("/api/v1/calls", key, &body).0,
            400,
            "key of {}",
            key.len()
        );
    }
    daemon.stop(SOON, &floor.secrets());
}
