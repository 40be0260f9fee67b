//! The manner of the HTTP API: refusals, headers, readiness, metrics, and the document as strangers read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::asterisk::Asterisk;
use support::daemon::{Daemon, Setup};
use support::floor::Floor;
use support::net::Net;
use support::registrar::Registrar;
use support::web::{Answer, Web, bearer, dial, whole_call};

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
const SOON: Duration = Duration::from_secs(20);
/// Answers at once, speaks 400 Hz, hangs up after two seconds.
const SHORT: &str = "+8613800132102";
/// Answers at once, speaks 880 Hz, stays.
const PATIENT: &str = "+8613800131880";

#[test]
fn every_refusal_names_its_remedy_and_every_answer_carries_the_safe_headers() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    // 22:00 in China: the gate refuses.
    let setup = Setup::new(&net, pbx.address()).at("2026-03-10 14:00:00");
    let floor = Floor::prepare(&setup, &["1001"], &[PATIENT]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let agent = bearer(&floor.agents[0]);
    let kind = |answer: &Answer| answer.json()["type"].as_str().unwrap().to_owned();
    let post = |path: &str, content: &str, body: &[u8]| {
        web.ask(
            "POST",
            path,
            &[("authorization", &agent), ("content-type", content)],
            body,
        )
    };

    let absent = web.get("/api/v1/nothing", &floor.agents[0]);
    assert_eq!(
        (absent.status, kind(&absent).as_str()),
        (404, "urn:ringfence:problem:not-found")
    );
    let method = web.ask("PUT", "/api/v1/calls", &[("authorization", &agent)], &[]);
    assert_eq!(
        (method.status, kind(&method).as_str()),
        (405, "urn:ringfence:problem:method-not-allowed")
    );
    assert!(
        method.header("allow").contains("POST"),
        "{:?}",
        method.headers
    );
    for path in [
        "/api/v1/calls",
        "/api/v1/agent/session",
        "/api/v1/agent/session/stats",
    ] {
        assert_eq!(post(path, "text/plain", b"{}").status, 415, "{path}");
        assert_eq!(
            post(path, "application/x-www-form-urlencoded", b"a=b").status,
            415,
            "{path}"
        );
        assert_eq!(post(path, "application/json", b"{").status, 400, "{path}");
        assert_eq!(
            post(path, "application/json", b"[1, 2]").status,
            400,
            "{path}"
        );
        assert_eq!(
            post(path, "application/json", b"\"\xff\"").status,
            400,
            "{path}"
        );
        assert_eq!(
            post(path, "application/json; charset=utf-8", &[b' '; 70_000]).status,
            413,
            "{path}"
        );
    }
    for body in [
        json!({}),
        json!({"contact_point_id": 1, "case_id": 1, "number": PATIENT}),
        json!({"contact_point_id": "1"}),
        json!({"contact_point_id": 1, "colour": "red"}),
        json!({"case_id": 1, "number": "not a number"}),
    ] {
        assert_eq!(dial(&web, &floor.agents[0], &body).status, 400, "{body}");
    }
    for path in [
        "/api/v1/recordings?limit=many",
        "/api/v1/recordings?colour=red",
        "/api/v1/recordings?before=x",
        "/api/v1/calls?limit=-1",
        "/api/v1/calls?before=x",
        "/api/v1/stats/connect-rate",
        "/api/v1/stats/connect-rate?by=moon",
        "/api/v1/stats/connect-rate?by=hour&from=yesterday",
        "/api/v1/stats/connect-rate?by=hour&from=2026-03-10&to=2026-03-09",
        "/api/v1/reports/connect-rate?by=moon",
        "/api/v1/reports/connect-rate?by=day&and=day",
        "/api/v1/reports/causes?by=day",
        "/api/v1/reports/causes?from=yesterday",
        "/api/v1/reports/causes?from=2026-03-10&to=2026-03-09",
        "/api/v1/reports/causes?from=2016-03-10",
        "/api/v1/reports/causes?format=pdf",
        "/api/v1/reports/causes?colour=red",
        "/api/v1/reports/causes?client=nobody",
        "/api/v1/reports/promises?grace_days=91",
        "/api/v1/reports/promises?grace_days=-1",
    ] {
        assert_eq!(web.get(path, &floor.lead).status, 400, "{path}");
    }
    for path in [
        "/api/v1/calls/x",
        "/api/v1/calls/%ff",
        "/api/v1/reports/moon",
        "/api/v1/calls/0198c0de-0000-7000-8000-000000000000",
    ] {
        assert_eq!(web.get(path, &floor.lead).status, 404, "{path}");
    }
    for path in [
        "/api/v1/receipts/x",
        "/api/v1/recordings/x",
        "/api/v1/recordings/x/audio",
    ] {
        assert_eq!(web.get(path, &floor.compliance).status, 404, "{path}");
    }
    let sdp = json!({"sdp": "v=0\r\n"}).to_string();
    assert_eq!(
        post("/api/v1/agent/session", "application/json", sdp.as_bytes()).status,
        422
    );

    // The gate says why, in both languages, and proves it.
    let refused = dial(&web, &floor.agents[0], &json!({"contact_point_id": 1}));
    assert_eq!(
        (refused.status, kind(&refused).as_str()),
        (422, "urn:ringfence:problem:refused")
    );
    let body = refused.json();
    let reason = &body["reasons"][0];
    assert_eq!(reason["code"], "outside_window", "{body}");
    for member in ["text", "text_zh", "clause"] {
        assert!(!reason[member].as_str().unwrap().is_empty(), "{body}");
    }
    let receipt = format!("/api/v1/receipts/{}", body["receipt"].as_str().unwrap());
    let receipt = web.get(&receipt, &floor.compliance).json();
    assert_eq!(
        (&receipt["allowed"], &receipt["case_id"]),
        (&json!(false), &json!(1))
    );
    assert!(receipt["decision"].is_object(), "{receipt}");
    assert_eq!(pbx.requests("INVITE"), Vec::<String>::new());

    for path in [
        "/agent",
        "/agent.js",
        "/agent.css",
        "/api/v1/openapi.json",
        "/healthz",
        "/metrics",
        "/nothing",
    ] {
        let answer = web.ask("GET", path, &[], &[]);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        if path.starts_with("/agent") {
            let policy = answer.header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        }
    }
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn readiness_names_what_stands_in_the_way() {
    let net = Net::claim();
    // Nobody is at the PBX's address.
    let setup = Setup::new(&net, std::net::SocketAddr::new(net.pbx(), 5060)).at(MORNING);
    let daemon = Daemon::start_unready(&setup);
    let web = Web::new(setup.http());
    let answer = web.ask("GET", "/readyz", &[], &[]);
    let body = answer.json();
    assert_eq!(answer.status, 503, "{body}");
    assert_eq!(body["ready"], false);
    assert!(!body["trunk"].as_str().unwrap().is_empty(), "{body}");
    for well in ["database", "vault", "clock"] {
        assert_eq!(body[well], "", "{body}");
    }
    let pbx = Registrar::start(&net);
    support::eventually("readiness once the PBX is there", SOON, || {
        (web.ask("GET", "/readyz", &[], &[]).status == 200).then_some(())
    });
    assert!(!pbx.requests("REGISTER").is_empty());
    let body = web.ask("GET", "/readyz", &[], &[]).json();
    assert_eq!((&body["ready"], &body["trunk"]), (&json!(true), &json!("")));
    // A vault that is gone.
    std::fs::rename(setup.path("vault"), setup.path("vault-away")).unwrap();
    let body = web.ask("GET", "/readyz", &[], &[]).json();
    assert_eq!(body["ready"], false, "{body}");
    assert!(!body["vault"].as_str().unwrap().is_empty(), "{body}");
    std::fs::rename(setup.path("vault-away"), setup.path("vault")).unwrap();
    assert_eq!(web.ask("GET", "/readyz", &[], &[]).status, 200);
    drop(daemon);
}

#[test]
fn metrics_are_prometheus_text_without_a_label_by_case_or_number() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    let floor = Floor::prepare(&setup, &["1620"], &[SHORT]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let call = whole_call(&web, &floor, 1);
    let text = web.ask("GET", "/metrics", &[], &[]).text();
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            assert!(
                comment.starts_with("HELP ") || comment.starts_with("TYPE "),
                "{line}"
            );
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        assert!(name.starts_with("ringfence_"), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').expect(line);
            assert!(
                [
                    "answer", "cause", "class", "state", "kind", "trunk", "le", "quantile", "table"
                ]
                .contains(&key),
                "a label of its own for each {key}: {line}"
            );
            let value = value.trim_matches('"');
            assert!(value.len() <= 24, "{line}");
            assert!(
                key == "le" || key == "quantile" || !value.contains(|c: char| c.is_ascii_digit()),
                "{line}"
            );
        }
        values.insert(series.to_owned(), value);
    }
    for (series, wanted) in [
        ("ringfence_dials_total{answer=\"accepted\"}", 1.0),
        ("ringfence_trunk_up{trunk=\"pbx\"}", 1.0),
        ("ringfence_recordings_sealed_total{state=\"sealed\"}", 1.0),
        ("ringfence_bridge_seconds_count", 1.0),
    ] {
        assert_eq!(values.get(series), Some(&wanted), "{series} in\n{text}");
    }
    let ended: f64 = values
        .iter()
        .filter(|(series, _)| series.starts_with("ringfence_calls_ended_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(ended, 1.0, "{text}");
    for secret in [call["call"].as_str().unwrap(), SHORT, "bank"] {
        assert!(!text.contains(secret), "the metrics tell {secret}");
    }
    daemon.stop(SOON, &floor.secrets());
}

/// A Python with `packages` of PyPI at these versions, made once and kept in the cache.
fn python(name: &str, packages: &[&str]) -> PathBuf {
    let cache = std::env::var_os("RINGFENCE_CACHE").map_or_else(
        || match std::env::var_os("XDG_CACHE_HOME") {
            Some(cache) => PathBuf::from(cache).join("ringfence"),
            None => PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/ringfence"),
        },
        PathBuf::from,
    );
    let venv = cache.join(name);
    let mark = venv.join("complete");
    if mark.exists() {
        return venv.join("bin/python");
    }
    std::fs::create_dir_all(&cache).unwrap();
    // Two runs at once: the second waits and finds the work done.
    let lock = std::fs::File::create(cache.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !mark.exists() {
        let run = |command: &mut Command, remedy: &str| {
            let output = command
                .output()
                .unwrap_or_else(|error| panic!("{command:?}: {error}; {remedy}"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{command:?}: {said}\nremedy: {remedy}"
            );
        };
        run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&venv),
            "install Python 3 with venv (Debian: apt-get install python3-venv)",
        );
        run(
            Command::new(venv.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet"])
                .args(packages),
            "let pip reach its index, or fill the cache directory (RINGFENCE_CACHE) on a machine that can",
        );
        std::fs::write(mark, "").unwrap();
    }
    venv.join("bin/python")
}

#[test]
fn strangers_find_the_openapi_document_valid_and_the_api_true_to_it() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    let floor = Floor::prepare(&setup, &["1001"], &[PATIENT]);
    let mut daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let python = python(
        "venv-openapi-2",
        &["openapi-spec-validator==0.7.2", "schemathesis==4.32.5"],
    );
    let document = web.ask("GET", "/api/v1/openapi.json", &[], &[]);
    let file = setup.path("openapi.json");
    std::fs::write(&file, &document.body).unwrap();
    let output = Command::new(&python)
        .args(["-m", "openapi_spec_validator"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // Every path asks for a token, except what supervisors read.
    let document = document.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
            let secured = operation["security"].to_string().contains("token");
            assert_ne!(open, secured, "{method} {path}");
            if !open {
                assert!(
                    operation["responses"].get("401").is_some(),
                    "{method} {path}"
                );
            }
        }
    }

    // Generated requests, the same ones in every run; the stream of events never ends and is left out.
    for token in [&floor.agents[0], &floor.compliance] {
        let output = Command::new(&python)
            .args(["-m", "schemathesis.cli", "run"])
            .arg(&file)
            .args(["--url", &format!("http://{}", setup.http())])
            .args(["--header", &format!("Authorization: {}", bearer(token))])
            .args(["--seed", "1", "--max-examples", "12", "--generation-deterministic"])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args([
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            ])
            .args(["--exclude-path", "/api/v1/events", "--request-timeout", "20"])
            .current_dir(setup.path(""))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(daemon.http_status("/healthz"), Some(200));
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(Duration::from_secs(90));
}
