//! Bad input, one by one: configuration, keys, databases, ports, a PBX that answers nonsense, requests that are none. Each
//! is refused before any harm with one message that names the cause and the remedy, and nothing is lost by it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod pbx;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use support::daemon::{Daemon, Setup};
use support::floor::{Floor, Store};
use support::net::Net;
use support::registrar::Registrar;

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
