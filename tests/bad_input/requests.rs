//! Requests that are none: of HTTP, of JSON, of this API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::floor::{Floor, Store};
use crate::{NUMBER, SOON, house};

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
