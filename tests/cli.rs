//! The command line: the demo does what it says at any hour and admits what is broken, its printed line dials, `check`
//! tells good from bad, and every error is one message for people.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::daemon::{Api, BINARY, Setup};
use support::eventually;
use support::net::Net;
use support::registrar::Registrar;

const SOON: Duration = Duration::from_secs(30);

/// One unattended run of the demo at an instant of UTC.
fn once(setup: &Setup, data: Option<&Path>) -> Output {
    let mut arguments = vec!["demo", "--once"];
    let data = data.map(|dir| dir.to_string_lossy().into_owned());
    if let Some(data) = &data {
        arguments.extend(["--data", data]);
    }
    setup.cli(&arguments)
}

fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn anywhere() -> (Net, Setup) {
    let net = Net::claim();
    let setup = Setup::new(&net, SocketAddr::new(net.pbx(), 5060));
    (net, setup)
}

#[test]
fn the_demo_shows_a_whole_call_in_the_middle_of_the_night() {
    let (_net, setup) = anywhere();
    // Three in the morning in Shanghai.
    let setup = setup.at("2026-03-09 19:00:00");
    let output = once(&setup, None);
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    for word in [
        "ok    decision",
        "agent_ringing",
        "customer_ringing",
        "talking",
        "ended",
        "ok    length",
        "ok    coverage",
        "ok    agent",
        "ok    customer",
        "connect rate 100 %",
        "everything is as it should be",
    ] {
        assert!(text.contains(word), "no '{word}':\n{text}");
    }
    assert!(!text.contains("WRONG"), "{text}");
}

#[test]
fn the_demo_fails_when_the_agent_cannot_be_heard() {
    let (_net, setup) = anywhere();
    let setup = setup.preload(mute_phone());
    let output = once(&setup, None);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("WRONG agent") && text.contains("ok    customer"),
        "{text}"
    );
    assert!(
        text.contains("not as they should be") && !text.contains("panicked"),
        "{text}"
    );
}

#[test]
fn the_demo_fails_when_the_gate_refuses_and_serve_leaves_its_directory_alone() {
    let (_net, setup) = anywhere();
    let data = setup.path("practice");
    let output = once(&setup, Some(&data));
    assert!(output.status.success(), "{}", printed(&output));
    // Its directory is its own...
    let serve = setup
        .set(
            "store.url",
            format!("sqlite:{}", data.join("ringfence.db").display()),
        )
        .set(
            "vault.dir",
            data.join("vault").to_string_lossy().into_owned(),
        );
    let config = serve.config_path();
    let refused = serve.cli(&["serve", "--config", &config.to_string_lossy()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        printed(&refused).contains("belongs to `ringfence demo`"),
        "{}",
        printed(&refused)
    );
    // ...and what is settled there is not called.
    let database = rusty(&data);
    database("UPDATE cases SET state = 'settled'");
    let output = once(&serve, Some(&data));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("WRONG decision") && text.contains("case_not_open"),
        "{text}"
    );
}

#[test]
fn the_demo_never_touches_a_real_floor() {
    let (_net, setup) = anywhere();
    setup.with_config(&["cases", "list"]);
    let dir = setup.path("");
    let output = once(&setup, Some(&dir));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains("is not a practice floor"),
        "{}",
        printed(&output)
    );
    assert!(!setup.path("PRACTICE").exists());
}

#[test]
fn the_line_that_the_demo_prints_dials() {
    let (net, setup) = anywhere();
    let listen = SocketAddr::new(net.daemon(), net.port());
    let data = setup.path("practice");
    let mut demo = setup
        .command(&[
            "demo",
            "--listen",
            &listen.to_string(),
            "--data",
            &data.to_string_lossy(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .collect();
    let text = said.join("\n");
    for word in [
        format!("http://{listen}"),
        "PRACTICE CLOCK: it is".into(),
        "Logins".into(),
        "auditor".into(),
        "busy".into(),
    ] {
        assert!(text.contains(&word), "no '{word}':\n{text}");
    }
    let curl = said
        .iter()
        .map(|line| line.trim())
        .find(|line| line.starts_with("curl") && line.contains("--json"))
        .unwrap_or_else(|| panic!("no line that dials:\n{text}"));
    let output = Command::new("bash").args(["-c", curl]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{curl}: {}", printed(&output)));
    let call = answer["call"]
        .as_str()
        .unwrap_or_else(|| panic!("{curl}: {answer}"));
    let token = curl
        .split("Bearer ")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let api = Api::new(listen, token);
    let path = format!("/api/v1/calls/{call}");
    api.wait_for(&path, SOON, |call| call["state"] == "talking");
    let row = api.wait_for(&path, SOON, |call| call["state"] == "ended");
    assert_eq!(row["cause"], "answered", "{row}");
    // The other commands work on the practice floor, beside the running demo, by the lines it printed.
    for (line, word) in [
        ("Count: ", "connected 1 / (attempts 1"),
        ("Verify: ", "1 recordings are whole, 0 are not"),
    ] {
        let command = said.iter().find_map(|said| said.strip_prefix(line));
        let command = command.unwrap_or_else(|| panic!("no '{line}':\n{text}"));
        let told = eventually(command, SOON, || {
            let output = Command::new("bash").args(["-c", command]).output().unwrap();
            let told = printed(&output);
            (output.status.success() && told.contains(word)).then_some(told)
        });
        assert!(told.contains(word), "{told}");
    }
    let pid = rustix::process::Pid::from_child(&demo);
    // One more call, which reaches nobody.
    let busy = text
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_suffix("— busy")?
                .strip_prefix("contact point ")
        })
        .and_then(|line| line.split(':').next()?.parse::<i64>().ok())
        .unwrap_or_else(|| panic!("nobody is busy:\n{text}"));
    let (status, answer) = api.post(
        "/api/v1/calls",
        &serde_json::json!({ "contact_point_id": busy }),
    );
    assert_eq!(status, 202, "{answer}");
    let path = format!("/api/v1/calls/{}", answer["call"].as_str().unwrap());
    let row = api.wait_for(&path, SOON, |call| call["state"] == "ended");
    assert_eq!(row["cause"], "busy", "{row}");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(demo.wait().unwrap().success());
    // What was called before is no fault of the call that `--once` judges.
    let output = once(&setup, Some(&data));
    let text = printed(&output);
    assert!(
        output.status.success() && text.contains("3 attempts, 2 connected"),
        "{text}"
    );
}

#[test]
fn check_is_content_with_what_is_well_and_says_each_failure() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address());
    let text = setup.with_config(&["check"]);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("ok ")).count(),
        8,
        "{text}"
    );
    drop(pbx);
    // Several things at once: each is said, none hides another.
    setup.secret("root-key", "x");
    let setup = setup
        .set("media.ports", "20000-23999")
        .set("media.bind", "192.0.2.7");
    let config = setup.config_path();
    let output = setup.cli(&["check", "--config", &config.to_string_lossy()]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1));
    for failed in [
        "FAILED  vault",
        "FAILED  audio",
        "FAILED  PBX",
        "3 of 8 checks failed",
    ] {
        assert!(text.contains(failed), "no '{failed}':\n{text}");
    }
    assert!(text.contains("did not answer within 8 s"), "{text}");
}

#[test]
fn every_command_that_fails_says_so_in_one_message() {
    let (_net, setup) = anywhere();
    let config = setup.config_path().to_string_lossy().into_owned();
    let id = "01890000-0000-7000-8000-000000000000";
    let out = setup.path("out.wav").to_string_lossy().into_owned();
    let _ = setup.with_config(&["cases", "list"]);
    for (arguments, code, words) in [
        (
            vec!["recordings", "export", id, "-o", &out],
            1,
            vec!["ringfence: "],
        ),
        (
            vec!["recordings", "export", "not-an-id"],
            2,
            vec!["not-an-id"],
        ),
        (vec!["recordings", "verify", id], 1, vec!["ringfence: "]),
        (
            vec!["stats", "connect-rate", "--by", "moon"],
            2,
            vec!["moon", "hour"],
        ),
        (vec!["users", "add", "x", "--role", "king"], 2, vec!["king"]),
        (
            vec!["users", "add", "x", "--role", "qa", "--client", "nobody"],
            1,
            vec!["nobody"],
        ),
        (
            vec!["users", "revoke", "nobody"],
            1,
            vec!["nobody", "there is no"],
        ),
        (
            vec!["users", "token", "nobody"],
            1,
            vec!["nobody", "there is no"],
        ),
        (
            vec![
                "users",
                "add",
                "x",
                "--role",
                "agent",
                "--all-clients",
                "--agent",
                "A1",
                "--extension",
                "13800138000",
            ],
            1,
            vec!["number"],
        ),
        (
            vec!["keys", "create", "/proc/ringfence/key"],
            1,
            vec!["cannot make directory /proc/ringfence"],
        ),
        (vec!["keys", "create", &config], 1, vec!["not overwritten"]),
        (
            vec!["demo", "--once", "--data", "/proc/ringfence"],
            1,
            vec!["/proc/ringfence"],
        ),
        (vec!["dance"], 2, vec!["dance"]),
    ] {
        let mut command = setup.command(&arguments);
        let output = command.env("RINGFENCE_CONFIG", &config).output().unwrap();
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: no '{word}' in {text}");
        }
        for word in ["panicked", "backtrace", "Os {", "Error {", "Err(", "Some("] {
            assert!(!text.contains(word), "{arguments:?}: '{word}' in {text}");
        }
    }
    assert!(!setup.path("out.wav").exists());
}

#[test]
fn a_port_that_is_taken_ends_the_demo_with_a_remedy() {
    let (net, setup) = anywhere();
    let listen = SocketAddr::new(net.daemon(), net.port());
    let _held = std::net::TcpListener::bind(listen).unwrap();
    let data = setup.path("practice");
    let output = setup.cli(&[
        "demo",
        "--listen",
        &listen.to_string(),
        "--data",
        &data.to_string_lossy(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains("choose another"),
        "{}",
        printed(&output)
    );
}

#[test]
fn the_version_of_a_template_is_not_the_one_of_the_program() {
    for line in [
        "cases templates show x --version 2 --help",
        "cases templates withdraw x --version 2 --help",
        "notes templates show x --version 2 --help",
        "notes templates withdraw x --version 2 --help",
    ] {
        let output = Command::new(BINARY).args(line.split(' ')).output().unwrap();
        let text = printed(&output);
        assert!(
            output.status.success() && text.contains("--version <N>"),
            "{line}\n{text}"
        );
    }
}

#[test]
fn the_openapi_document_is_printed_without_any_configuration() {
    let output = Command::new(BINARY).arg("openapi").output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/api/v1/calls"]["post"].is_object());
}

/// Statements on the practice floor's database, as another program would run them.
fn rusty(data: &Path) -> impl Fn(&'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let file = data.join("ringfence.db");
    move |sql| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }
}

/// A library under which the first practice phone that speaks is not heard: its audio packets are swallowed. The
/// daemon's own audio threads do not go through it.
fn mute_phone() -> PathBuf {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
static int muted = -1;
static int swallow(int fd, size_t length) {
  if (length != 172) return 0;
  if (muted < 0) muted = fd;
  return fd == muted;
}
ssize_t sendto(int fd, const void *b, size_t n, int f, const struct sockaddr *to, socklen_t l) {
  static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendto");
  return swallow(fd, n) ? (ssize_t)n : real(fd, b, n, f, to, l);
}
ssize_t send(int fd, const void *b, size_t n, int f) {
  static ssize_t (*real)(int, const void *, size_t, int);
  if (!real) real = dlsym(RTLD_NEXT, "send");
  return swallow(fd, n) ? (ssize_t)n : real(fd, b, n, f);
}
"#;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (dir.join("mute_phone.c"), dir.join("mute_phone.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success(), "cc");
    library
}
