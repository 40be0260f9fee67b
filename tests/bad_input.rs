//! Bad input, one by one: configuration, keys, databases, ports, a PBX that answers nonsense, requests that are none. Each
//! is refused before any harm with one message that names the cause and the remedy, and nothing is lost by it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::daemon::{Daemon, Setup};
use support::eventually;
use support::floor::{Floor, Store};
use support::net::Net;
use support::registrar::{Registrar, header, response, usual};

const SOON: Duration = Duration::from_secs(20);
const MORNING: &str = "2026-03-10 02:00:00";
const NUMBER: &str = "+8613800131440";

/// A setup on addresses of its own, with a PBX that is well.
fn house() -> (Net, Registrar, Setup) {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    (net, pbx, setup)
}

/// Runs a command that must fail, with status 1 and one readable message, which it gives.
fn fails(setup: &Setup, arguments: &[&str]) -> String {
    let config = setup.config_path();
    let mut all = arguments.to_vec();
    let config = config.to_string_lossy();
    all.extend(["--config", &config]);
    let inner = setup.command(&all);
    // A daemon that starts although it should not would run for ever.
    let output = Command::new("timeout")
        .args(["--signal=KILL", "20"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {printed}{text}"
    );
    readable(&text);
    format!("{printed}{text}")
}

/// One message for people: no panic, no backtrace, no structure of ours.
fn readable(text: &str) {
    let last = text.lines().rfind(|line| line.starts_with("ringfence: "));
    assert!(last.is_some(), "no message: {text}");
    for word in [
        "panicked",
        "backtrace",
        "Os {",
        "kind:",
        "Error {",
        "Err(",
        "Some(",
        "unwrap",
    ] {
        assert!(!text.contains(word), "'{word}' in: {text}");
    }
}

/// Both `serve` and `check` say what is wrong: every one of `words`.
fn refused(setup: &Setup, words: &[&str]) {
    for command in ["check", "serve"] {
        let text = fails(setup, &[command]);
        for word in words {
            assert!(
                text.contains(word),
                "{command} does not say '{word}':\n{text}"
            );
        }
    }
}

#[test]
fn a_configuration_that_is_none_is_refused_with_its_place_and_what_is_right() {
    let (_net, pbx, setup) = house();
    let good = fs::read_to_string(setup.config_path()).unwrap();
    let at = |text: &str| fs::write(setup.config_path(), text).unwrap();
    for (text, words) in [
        (
            format!("{good}\n[valut]\ndir = '/x'\n"),
            vec!["valut", "line"],
        ),
        (
            good.replace("reserve_mib", "reserve_mb"),
            vec!["reserve_mb", "line"],
        ),
        (
            good.replace("[server]", "[server"),
            vec!["unclosed table", "line"],
        ),
        (
            good.replace("keys_dir", "retention_years = 1\nkeys_dir"),
            vec!["vault.retention_years", "2 calendar years", "raise it"],
        ),
        (
            good.replace("trust = \"host\"", "source = \"practice\""),
            vec!["clock.source", "practice", "real trunk"],
        ),
        (
            good.replace("trust = \"host\"", "trust = \"me\""),
            vec!["line", "kernel", "host"],
        ),
        (
            good.replace(&pbx.address().to_string(), "practice"),
            vec!["trunk.server", "ringfence demo"],
        ),
        (
            good.replace(&pbx.address().to_string(), "no.such.host.invalid:5060"),
            vec!["trunk.server", "no.such.host.invalid"],
        ),
        (
            good.replace(&pbx.address().to_string(), ""),
            vec!["trunk.server", "not set"],
        ),
        (
            format!("{good}\n[media]\nports = '99999-3'\n"),
            vec!["port range"],
        ),
    ] {
        assert_ne!(text, good);
        at(&text);
        refused(&setup, &words);
    }
    // A log level concerns only the daemon.
    at(&good.replace("level = \"info\"", "level = \"no,such=level\""));
    assert!(fails(&setup, &["serve"]).contains("log.level"));
    fs::remove_file(setup.config_path()).unwrap();
    refused(&setup, &["ringfence.toml", "cannot read"]);
    assert!(pbx.requests("REGISTER").is_empty(), "the PBX was bothered");
    // Rules that do not exist: `check` goes on to say what else is wrong, the daemon does not start.
    for (rules, word) in [
        ("preset = 'none'", "cn-plan"),
        ("region = 'Atlantis'", "policy.region"),
    ] {
        at(&format!("{good}\n[policy]\n{rules}\n"));
        refused(&setup, &["policy.", word]);
    }
}

#[test]
fn a_variable_that_is_no_text_is_named_if_it_is_ours_and_ignored_if_not() {
    let (_net, _pbx, setup) = house();
    let config = setup.config_path();
    let run = |name: &str| {
        let odd = std::ffi::OsStr::from_bytes(b"\xff/tmp");
        setup
            .command(&["users", "list", "--config", &config.to_string_lossy()])
            .env(name, odd)
            .output()
            .unwrap()
    };
    assert!(run("ANOTHER_PROGRAMS").status.success());
    let ours = run("RINGFENCE__log__level");
    let text = String::from_utf8_lossy(&ours.stderr).into_owned();
    assert_eq!(ours.status.code(), Some(1), "{text}");
    readable(&text);
    assert!(
        text.contains("RINGFENCE__log__level: the variable's value is not UTF-8"),
        "{text}"
    );
}

#[test]
fn a_root_key_that_is_wrong_in_any_way_is_refused_and_the_right_one_still_opens() {
    let (_net, _pbx, setup) = house();
    let daemon = Daemon::start(&setup);
    daemon.stop(SOON, &[]);
    let key = setup.path("root-key");
    let good = fs::read(&key).unwrap();
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();

    mode(0o644);
    refused(&setup, &["mode 0644", "chmod 600"]);
    mode(0o600);
    for bad in ["", "not a key\n", "ringfence-root-key-v1 AAAA\n"] {
        setup.secret("root-key", bad);
        refused(
            &setup,
            &["root-key", "is no root key", "restore it from its backup"],
        );
    }
    fs::remove_file(&key).unwrap();
    refused(&setup, &["no root key", "ringfence keys create", "backup"]);
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    refused(&setup, &["root-key"]);
    fs::remove_dir(&key).unwrap();
    setup.with_config(&["keys", "create", &key.to_string_lossy()]);
    refused(
        &setup,
        &[
            "wrong root key",
            "Point the configuration",
            "nothing is damaged",
        ],
    );
    // Making a key never takes one away.
    assert!(fails(&setup, &["keys", "create", &key.to_string_lossy()]).contains("not overwritten"));

    fs::write(&key, &good).unwrap();
    Daemon::start(&setup).stop(SOON, &[]);
}

#[test]
fn a_password_file_that_cannot_be_read_is_named_and_not_its_content() {
    let (_net, _pbx, setup) = house();
    fs::remove_file(setup.path("trunk-password")).unwrap();
    refused(&setup, &["trunk.password", "trunk-password", "readable"]);
    setup.secret("trunk-password", "");
    for (bytes, word) in [(&[0xff, 0xfe, 0x00][..], "UTF-8"), (b"\n", "empty")] {
        fs::write(setup.path("trunk-password"), bytes).unwrap();
        refused(&setup, &["trunk.password", "trunk-password", word]);
    }
    // What everybody may read is no secret, however well it reads.
    setup.secret("trunk-password", "well-known");
    let everybody = fs::Permissions::from_mode(0o644);
    fs::set_permissions(setup.path("trunk-password"), everybody).unwrap();
    refused(&setup, &["trunk.password", "mode is 0644", "chmod 600"]);
    assert!(!fails(&setup, &["serve"]).contains("well-known"));
}

#[test]
fn a_database_that_is_none_or_from_tomorrow_is_left_as_it_is() {
    let (_net, _pbx, setup) = house();
    let file = setup.path("ringfence.db");
    let noise: Vec<u8> = (0..8192_u32).map(|i| (i * 31 % 251) as u8).collect();
    fs::write(&file, &noise).unwrap();
    refused(
        &setup,
        &["ringfence.db", "not a ringfence database", "restore"],
    );
    assert_eq!(fs::read(&file).unwrap(), noise, "it was written to");
    fs::remove_file(&file).unwrap();

    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    let mut store = Store::open(&setup);
    store.run(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'tomorrow', 1, x'00', 1)",
    );
    refused(
        &setup,
        &["newer ringfence", "schema 99", "start the newer version"],
    );
    store.run("DELETE FROM _sqlx_migrations WHERE version = 99");
    assert_eq!(store.number("SELECT COUNT(*) FROM cases"), 1);
    store.close();
    let daemon = Daemon::start(&setup);
    assert_eq!(floor.agent(&daemon).get("/api/v1/calls/x").0, 404);
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn directories_that_are_missing_or_cannot_be_written_are_named() {
    let (_net, _pbx, setup) = house();
    let url = |path: &str| format!("sqlite:{path}");
    // Nobody, not even root, makes a file in /proc.
    for (option, value, words) in [
        (
            "store.url",
            url("/proc/ringfence/x.db"),
            ["/proc/ringfence/x.db", "directory"],
        ),
        (
            "store.url",
            url(&setup.path("no/such/x.db").to_string_lossy()),
            ["no/such/x.db", "make its directory"],
        ),
        (
            "store.url",
            url("/proc"),
            ["/proc is a directory", "name a file"],
        ),
        (
            "vault.dir",
            "/proc/ringfence".to_owned(),
            ["/proc/ringfence", "cannot"],
        ),
        (
            "vault.keys_dir",
            "/proc/ringfence".to_owned(),
            ["/proc/ringfence", "cannot"],
        ),
    ] {
        let (_net, _pbx, setup) = house();
        let setup = setup.set(option, value);
        refused(&setup, &words);
    }
    drop(setup);
}

#[test]
fn a_vault_without_room_refuses_the_call_and_says_so() {
    let (_net, pbx, setup) = house();
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    // More than any disk has.
    let setup = setup.set("vault.reserve_mib", 1_i64 << 30);
    let text = fails(&setup, &["check"]);
    assert!(
        text.contains("FAILED  vault") && text.contains("Free space"),
        "{text}"
    );
    let daemon = Daemon::start_unready(&setup);
    let (status, body) = floor
        .agent(&daemon)
        .post("/api/v1/calls", &json!({"contact_point_id": 1}));
    assert_eq!(status, 503, "{body}");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("no recording, no call"),
        "{body}"
    );
    daemon.stop(SOON, &floor.secrets());
    assert!(pbx.requests("INVITE").is_empty());
}

#[test]
fn a_port_in_use_is_named_before_anything_is_touched() {
    let (net, _pbx, setup) = house();
    let held = TcpListener::bind(setup.http()).unwrap();
    refused(
        &setup,
        &["server.listen", &setup.http().to_string(), "choose another"],
    );
    assert!(!setup.path("log").exists());
    drop(held);

    let sip = UdpSocket::bind(SocketAddr::new(net.daemon(), 5070)).unwrap();
    refused(&setup, &["trunk.bind", ":5070", "choose another port"]);
    drop(sip);

    let setup = setup.set("media.ports", "21000-21007");
    let audio: Vec<UdpSocket> = (21_000..=21_007)
        .map(|port| UdpSocket::bind(SocketAddr::new(net.daemon(), port)).unwrap())
        .collect();
    refused(
        &setup,
        &["media.ports", "21000-21007", "choose another range"],
    );
    drop(audio);
    let elsewhere = setup.set("media.bind", "192.0.2.7");
    refused(&elsewhere, &["media.ports", "192.0.2.7", "media.bind"]);
}

#[test]
fn two_daemons_never_share_a_vault() {
    let (net, _pbx, setup) = house();
    let daemon = Daemon::start(&setup);
    let vault = setup.path("vault").to_string_lossy().into_owned();
    let keys = setup.path("keys").to_string_lossy().into_owned();
    let key = setup.path("root-key").to_string_lossy().into_owned();
    let second = Setup::new(&net, SocketAddr::new(net.pbx(), 5060))
        .at(MORNING)
        .set(
            "trunk.bind",
            SocketAddr::new(net.daemon(), 5090).to_string(),
        )
        .set("vault.dir", vault)
        .set("vault.keys_dir", keys)
        .set("vault.root_key", key);
    let text = fails(&second, &["serve"]);
    assert!(
        text.contains("another process holds the vault") && text.contains("directory of its own"),
        "{text}"
    );
    // The first one has noticed nothing, and `check` knows that it is there.
    assert_eq!(daemon.http_status("/readyz"), Some(200));
    let checked = setup.with_config(&["check"]);
    assert_eq!(
        checked.matches("in use by a running daemon").count(),
        2,
        "{checked}"
    );
    daemon.stop(SOON, &[]);
}

#[test]
fn the_practice_floors_directory_is_not_for_serve() {
    let (_net, _pbx, setup) = house();
    fs::write(setup.path("PRACTICE"), "").unwrap();
    refused(
        &setup,
        &["belongs to `ringfence demo`", "choose another directory"],
    );
    assert!(!setup.path("vault").exists());
}

#[test]
fn a_pbx_that_answers_nonsense_brings_nothing_down_and_is_told() {
    let net = Net::claim();
    let sane = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = sane.clone();
    let mut turn = 0_usize;
    let pbx = Registrar::answering(&net, move |request| {
        if told.load(std::sync::atomic::Ordering::Relaxed) {
            return vec![usual(request)];
        }
        turn += 1;
        nonsense(request, turn)
    });
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    let text = fails(&setup, &["check"]);
    assert!(
        text.contains("FAILED  PBX") && text.contains(&pbx.address().to_string()),
        "{text}"
    );

    let daemon = Daemon::start_unready(&setup);
    assert_eq!(daemon.http_status("/readyz"), Some(503));
    let api = floor.agent(&daemon);
    let (status, body) = api.post("/api/v1/calls", &json!({"contact_point_id": 1}));
    assert_eq!(status, 202, "{body}");
    let call = format!("/api/v1/calls/{}", body["call"].as_str().unwrap());
    let row = api.wait_for(&call, SOON, |call| call["state"] == "ended");
    assert_eq!(row["class"], "trunk", "{row}");
    // It comes to its senses, and so does everything.
    sane.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("readiness", Duration::from_secs(60), || {
        (daemon.http_status("/readyz") == Some(200)).then_some(())
    });
    daemon.stop(SOON, &floor.secrets());
}

/// Answers of a PBX that has lost its mind, a different one each time.
fn nonsense(request: &str, turn: usize) -> Vec<Vec<u8>> {
    let noise = |length: usize| {
        (0..length)
            .map(|i| ((i * 7919 + turn * 31) % 256) as u8)
            .collect()
    };
    let right = String::from_utf8(usual(request)).unwrap();
    let call_id = header(request, "Call-ID").unwrap_or("x");
    match turn % 8 {
        0 => vec![noise(700)],
        1 => vec![right.replace(call_id, "another@call").into_bytes()],
        2 => vec![
            b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
            Vec::new(),
            b"\r\n\r\n".to_vec(),
        ],
        3 => {
            let padding = format!("X-Padding: {}\r\nContent-Length", "a".repeat(60_000));
            vec![right.replacen("Content-Length", &padding, 1).into_bytes()]
        }
        4 => vec![
            right
                .replace("SIP/2.0 200 OK", "SIP/2.0 999999 WHAT")
                .into_bytes(),
        ],
        5 => vec![right.replace("CSeq: ", "CSeq: 9999999999999").into_bytes()],
        6 => vec![
            right
                .replace("Content-Length: 0", "Content-Length: -5")
                .into_bytes(),
        ],
        _ => vec![noise(60_000), response(request, "500 Out of my mind", "")],
    }
}

#[test]
fn a_pbx_that_answers_a_call_with_nonsense_ends_one_attempt_and_frees_the_agent() {
    let net = Net::claim();
    let mut turn = 0_usize;
    let pbx = Registrar::answering(&net, move |request| {
        if !request.starts_with("INVITE") {
            return vec![usual(request)];
        }
        turn += 1;
        let sdp = |body: &str| {
            let empty = String::from_utf8(response(
                request,
                "200 OK",
                "Contact: <sip:pbx@127.0.0.1:9>\r\nContent-Type: application/sdp\r\n",
            ))
            .unwrap();
            let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
            vec![
                empty
                    .replace("Content-Length: 0\r\n\r\n", &length)
                    .into_bytes(),
            ]
        };
        match turn % 4 {
            0 => sdp("v=0\r\no=- 1 1 IN IP4 1\r\nthis is no session\r\n"),
            1 => sdp(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 99\r\n",
            ),
            2 => sdp(&"a=x\r\n".repeat(5_000)),
            _ => vec![response(request, "699 Nobody knows", "")],
        }
    });
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    let daemon = Daemon::start(&setup);
    let api = floor.agent(&daemon);
    for _ in 0..4 {
        let (status, body) = api.post("/api/v1/calls", &json!({"contact_point_id": 1}));
        assert_eq!(status, 202, "the agent is not free: {body}");
        let call = format!("/api/v1/calls/{}", body["call"].as_str().unwrap());
        let row = api.wait_for(&call, Duration::from_secs(40), |call| {
            call["state"] == "ended"
        });
        assert_ne!(row["class"], "callee", "nobody was called: {row}");
    }
    let mut store = Store::open(&setup);
    assert_eq!(
        store.number(
            "SELECT COUNT(*) FROM attempts WHERE cause IS NOT NULL AND seized_at_ms IS NULL"
        ),
        4
    );
    daemon.stop(SOON, &floor.secrets());
}

/// One raw request; status, content type and body of the answer.
fn raw(daemon: &Daemon, head: &str, token: &str, body: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(daemon.http()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let _ = write!(
        stream,
        "{head}\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A server that has seen enough may stop reading.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let kind = answer
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-type: ")
                .map(str::to_owned)
        })
        .unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .to_owned();
    (status, kind, body)
}

#[test]
fn requests_that_are_none_get_a_problem_that_says_what_is_wrong() {
    let (_net, pbx, setup) = house();
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    let daemon = Daemon::start(&setup);
    let (agent, lead) = (floor.agents[0].as_str(), floor.lead.as_str());
    let calls = "POST /api/v1/calls HTTP/1.1";
    let uuid = "01890000-0000-7000-8000-000000000000";
    let get = |path: &str| format!("GET {path} HTTP/1.1");
    let huge = vec![b'a'; 300_000];
    let deep = "[".repeat(60_000);
    let cases: Vec<(String, &str, &[u8], u16, &str)> = vec![
        (calls.into(), agent, b"{", 400, "body"),
        (calls.into(), agent, b"", 400, "body"),
        (calls.into(), agent, b"\xff\xfe", 400, "body"),
        (calls.into(), agent, b"[]", 400, "body"),
        (calls.into(), agent, deep.as_bytes(), 400, "body"),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":1,\"dial\":\"x\"}",
            400,
            "unknown field",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":\"1\"}",
            400,
            "body",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":99999999999999999999}",
            400,
            "body",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":1,\"case_id\":1}",
            400,
            "case_id",
        ),
        (
            calls.into(),
            agent,
            b"{\"case_id\":1,\"number\":\"hello\"}",
            400,
            "number",
        ),
        (
            calls.into(),
            agent,
            "{\"case_id\":1,\"number\":\"１３８\"}".as_bytes(),
            400,
            "number",
        ),
        (
            calls.into(),
            agent,
            b"{\"case_id\":1,\"number\":\"110\"}",
            400,
            "number",
        ),
        (
            calls.into(),
            agent,
            b"{\"case_id\":1,\"number\":\"+8613800139999\"}",
            404,
            "no such contact point",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":999}",
            404,
            "no such contact point",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":-1}",
            404,
            "no such contact point",
        ),
        (
            calls.into(),
            lead,
            b"{\"contact_point_id\":1,\"agent_id\":77}",
            404,
            "agent",
        ),
        (
            calls.into(),
            lead,
            b"{\"contact_point_id\":1}",
            400,
            "agent_id",
        ),
        (
            calls.into(),
            agent,
            b"{\"contact_point_id\":1,\"agent_id\":77}",
            403,
            "may not",
        ),
        (calls.into(), agent, &huge, 413, "bytes"),
        (
            format!("{calls}\r\nIdempotency-Key: {}", "k".repeat(200)),
            agent,
            b"{\"contact_point_id\":1}",
            400,
            "Idempotency-Key",
        ),
        (calls.into(), "nobody", b"{}", 401, "Bearer"),
        (
            get(&format!("/api/v1/calls/{uuid}")),
            agent,
            b"",
            404,
            "no such call",
        ),
        (
            get("/api/v1/calls/1%20OR%201=1"),
            agent,
            b"",
            404,
            "no such call",
        ),
        (get("/api/v1/calls/%ff%fe"), agent, b"", 404, "no text"),
        (
            get(&format!("/api/v1/recordings/{uuid}")),
            lead,
            b"",
            404,
            "recording",
        ),
        (
            get(&format!("/api/v1/recordings/{uuid}/export")),
            lead,
            b"",
            404,
            "recording",
        ),
        (
            get("/api/v1/recordings/..%2f..%2froot-key/export"),
            lead,
            b"",
            404,
            "recording",
        ),
        (
            get("/api/v1/recordings?limit=many"),
            lead,
            b"",
            400,
            "limit",
        ),
        (
            get(&format!("/api/v1/receipts/{uuid}")),
            &floor.compliance,
            b"",
            404,
            "receipt",
        ),
        (get("/../../../../etc/passwd"), agent, b"", 404, "openapi"),
        (
            get("/agent/..%2f..%2fetc%2fpasswd"),
            agent,
            b"",
            404,
            "openapi",
        ),
        (
            "PATCH /api/v1/calls HTTP/1.1".into(),
            agent,
            b"",
            405,
            "method",
        ),
        (
            get("/api/v1/stats/connect-rate?by=moon"),
            lead,
            b"",
            400,
            "by",
        ),
    ];
    for (head, token, body, wanted, word) in &cases {
        let what = format!(
            "{head} {}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
        let (status, kind, answer) = raw(&daemon, head, token, body);
        assert_eq!(status, *wanted, "{what}: {answer}");
        assert_eq!(kind, "application/problem+json", "{what}: {answer}");
        let problem: Value =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what}: {answer}"));
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(word) && !detail.is_empty(),
            "{what}: {answer}"
        );
        assert_eq!(problem["status"], *wanted);
        for secret in floor
            .secrets()
            .into_iter()
            .chain(["hello", "13800139999", "/etc"])
        {
            assert!(
                !answer.contains(secret),
                "{what} repeats '{secret}': {answer}"
            );
        }
    }
    // What is no HTTP at all.
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(daemon.http()).unwrap();
        // It may be told off before it has ended.
        let _ = stream.write_all(noise);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(daemon.http_status("/readyz"), Some(200));
    daemon.stop(SOON, &floor.secrets());
    assert!(pbx.requests("INVITE").is_empty());
    assert_eq!(
        Store::open(&setup).number("SELECT COUNT(*) FROM attempts"),
        0
    );
}

#[test]
fn a_file_of_cases_with_faults_is_refused_whole_and_repeats_nobody() {
    let (_net, _pbx, setup) = house();
    let file = setup.path("bad.csv");
    let import = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        fails(
            &setup,
            &[
                "cases",
                "import",
                &file.to_string_lossy(),
                "--client",
                "b",
                "--batch",
                "1",
                "--new-client",
                "B",
            ],
        )
    };
    let head = "case,debtor,name,relation,number\n";
    for (rows, words) in [
        (
            format!("{head}C1,D1,欧阳,debtor,{NUMBER}\nC2,D2,欧阳,debtor,12345\n"),
            ["line 3", "column number"],
        ),
        (
            format!("{head}C1,D1,欧阳,debtor,call me\n"),
            ["line 2", "column number"],
        ),
        (
            format!("{head}C1,D1,欧阳,aunt of a friend,{NUMBER}\n"),
            ["line 2", "column relation"],
        ),
        (
            format!("{head}C1,D1,{NUMBER}\n"),
            ["line 2", "column number: is empty"],
        ),
        ("number\n".to_owned(), ["column case", "missing"]),
        (String::new(), ["bad.csv", "empty"]),
        ("\u{0}\u{1}\u{2}".to_owned(), ["line 1", "missing"]),
    ] {
        let text = import(rows.as_bytes());
        for word in words {
            assert!(text.contains(word), "{rows}: no '{word}' in {text}");
        }
        assert!(
            !text.contains("欧阳") && !text.contains("1380013") && !text.contains("12345"),
            "{text}"
        );
    }
    assert!(import(b"\xff\xfe\x00case").contains("bad.csv"));
    assert_eq!(Store::open(&setup).number("SELECT COUNT(*) FROM cases"), 0);
    let missing = fails(
        &setup,
        &[
            "cases",
            "import",
            "/no/such.csv",
            "--client",
            "b",
            "--batch",
            "1",
        ],
    );
    assert!(missing.contains("/no/such.csv"), "{missing}");
}

#[test]
fn a_wav_that_is_none_says_why() {
    let (_net, _pbx, setup) = house();
    Daemon::start(&setup).stop(SOON, &[]);
    let file = setup.path("call.wav");
    let shown = file.to_string_lossy().into_owned();
    for bytes in [&b""[..], b"RIFF\xff\xff\xff\xffWAVE", b"<html>", &[0; 44]] {
        fs::write(&file, bytes).unwrap();
        let text = fails(&setup, &["recordings", "identify", &shown]);
        assert!(
            text.contains("call.wav")
                && text.contains("no usable WAV")
                && text.contains("16-bit PCM"),
            "{text}"
        );
    }
    let text = fails(&setup, &["recordings", "identify", "/no/such.wav"]);
    assert!(text.contains("cannot read /no/such.wav"), "{text}");
}
