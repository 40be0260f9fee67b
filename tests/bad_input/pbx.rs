//! A PBX that answers nonsense, to registrations and to calls.

use std::time::Duration;

use serde_json::json;

use crate::support::daemon::{Daemon, Setup};
use crate::support::eventually;
use crate::support::floor::{Floor, Store};
use crate::support::net::Net;
use crate::support::registrar::{Registrar, header, response, usual};
use crate::{MORNING, NUMBER, SOON, fails};

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
