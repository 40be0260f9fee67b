//! The agent in a browser, through the whole daemon: its own page, a real Chromium, a customer at a real Asterisk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::asterisk::Asterisk;
use support::chromium::Chromium;
use support::daemon::{Api, Daemon, Setup};
use support::floor::Floor;
use support::net::Net;
use support::registrar::Registrar;
use support::{eventually, tone};

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
const SOON: Duration = Duration::from_secs(20);
/// The agent's voice.
const AGENT_HZ: u32 = 620;
/// The customer's voice, by the end of the number.
const CUSTOMER_HZ: u32 = 880;
const CUSTOMER: &str = "+8613800131880";

#[test]
fn an_agent_in_a_browser_talks_and_hangs_up_on_the_page() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    // 1009 has no phone registered: if anything rang there, the call would fail.
    let floor = Floor::prepare(&setup, &["1009"], &[CUSTOMER]);
    let daemon = Daemon::start(&setup);
    let (agent, lead) = (floor.agent(&daemon), daemon.api(&floor.lead));
    let mut page = Chromium::start(&format!("http://{}/agent", setup.http()), AGENT_HZ);

    page.ask(json!({"do": "open"}));
    let refused = page.ask(json!({"do": "refused", "token": "wrong"}));
    assert!(
        refused["problem"].as_str().unwrap().contains("refused"),
        "{refused}"
    );
    page.ask(json!({"do": "connect", "token": floor.agents[0]}));

    // Two calls on one connection.
    for nth in 1..=2 {
        let call = click(&agent);
        page.ask(json!({"do": "call", "text": "Talking"}));
        let heard = page.ask(json!({"do": "heard"}));
        assert!(
            (heard["hz"].as_f64().unwrap() - f64::from(CUSTOMER_HZ)).abs() < 12.0,
            "call {nth}: the browser does not hear the customer: {heard}"
        );
        page.ask(json!({"do": "hang_up"}));
        page.ask(json!({"do": "call", "text": "Ended"}));
        check_recording(&lead, &call, nth);
        pbx.wait_for_channels(0, SOON);
    }
    // What the customers heard.
    for file in pbx.heard(CUSTOMER) {
        let (rate, channels) = tone::read_wav(&file);
        let windows: Vec<bool> = channels[0]
            .chunks_exact(rate as usize / 10)
            .map(|window| tone::share(window, rate, f64::from(AGENT_HZ)) > 0.8)
            .collect();
        let map: String = windows
            .iter()
            .map(|&heard| if heard { '#' } else { '.' })
            .collect();
        assert!(
            map.trim_matches('.').len() >= 5 && !map.trim_matches('.').contains(".."),
            "{map}"
        );
    }
    assert_eq!(pbx.heard(CUSTOMER).len(), 2);

    page.ask(json!({"do": "leave"}));
    let complaints = page.ask(json!({"do": "complaints"}));
    // Chromium prints the refused token by itself; a broken page would print more.
    assert!(
        complaints["complaints"]
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line.as_str().unwrap().contains("401")),
        "{complaints}"
    );
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn a_page_that_comes_late_shows_the_call_that_is_up_and_ends_it() {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).at(MORNING);
    // The agent is at a desk phone, and looks at the page only in the middle of the call.
    let floor = Floor::prepare(&setup, &["1620"], &[CUSTOMER]);
    let daemon = Daemon::start(&setup);
    let agent = floor.agent(&daemon);
    let call = click(&agent);
    agent.wait_for(&format!("/api/v1/calls/{call}"), SOON, |body| {
        body["state"] == "talking"
    });

    let mut page = Chromium::start(&format!("http://{}/agent", setup.http()), AGENT_HZ);
    page.ask(json!({"do": "open"}));
    page.ask(json!({"do": "connect", "token": floor.agents[0]}));
    page.ask(json!({"do": "call", "text": "Talking"}));
    page.ask(json!({"do": "hang_up"}));
    page.ask(json!({"do": "call", "text": "Ended"}));
    let ended = agent.wait_for(&format!("/api/v1/calls/{call}"), SOON, |body| {
        body["state"] == "ended"
    });
    assert!(ended["talk_ms"].as_i64().unwrap() > 0, "{ended}");
    daemon.stop(SOON, &floor.secrets());
}

#[test]
fn a_click_before_the_browsers_handshake_is_refused_and_rings_nobody() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address()).at(MORNING);
    let floor = Floor::prepare(&setup, &["1001"], &[CUSTOMER]);
    let daemon = Daemon::start(&setup);
    let agent = floor.agent(&daemon);

    // An offer of a real Chromium behind which nobody is.
    let offer = include_str!("../media/tests/data/chromium-offer.sdp").replace('\n', "\r\n");
    let offer = offer.replace("\r\r\n", "\r\n");
    let (status, answer) = agent.post("/api/v1/agent/session", &json!({"sdp": offer}));
    assert_eq!(status, 201, "{answer}");

    let (status, refused) = agent.post("/api/v1/calls", &json!({"contact_point_id": 1}));
    assert_eq!(status, 409, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("browser"),
        "{refused}"
    );
    assert_eq!(pbx.requests("INVITE"), Vec::<String>::new());
    let (_, calls) = agent.get("/api/v1/calls");
    assert_eq!(calls, json!([]), "a refused click left a call behind");

    // Gone again, the desk phone is rung.
    let session = answer["session"].as_str().unwrap();
    assert_eq!(
        agent.delete(&format!("/api/v1/agent/session/{session}")).0,
        204
    );
    click(&agent);
    eventually("INVITE of the desk phone", SOON, || {
        let invites = pbx.requests("INVITE");
        invites
            .iter()
            .any(|invite| invite.starts_with("INVITE sip:1001@"))
            .then_some(())
    });
}

/// Clicks on the first contact point; returns the call.
fn click(agent: &Api) -> String {
    let (status, body) = agent.post("/api/v1/calls", &json!({"contact_point_id": 1}));
    assert_eq!(status, 202, "{body}");
    body["call"].as_str().unwrap().to_owned()
}

/// The recording of a call that is over: the agent left, the customer right.
fn check_recording(lead: &Api, call: &str, nth: u32) {
    let ended = lead.wait_for(&format!("/api/v1/calls/{call}"), SOON, |body| {
        body["state"] == "ended" && body["recording"].is_string()
    });
    let recording = ended["recording"].as_str().unwrap();
    let path = format!("/api/v1/recordings/{recording}");
    let sealed: Value = lead.wait_for(&path, SOON, |body| body["state"] == "sealed");
    assert!(
        sealed["coverage"].as_f64().unwrap() > 0.98,
        "call {nth}: {sealed}"
    );
    let (status, wav) = lead.bytes(&format!("{path}/audio"), None);
    assert_eq!(status, 200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("call.wav");
    std::fs::write(&file, wav).unwrap();
    let (rate, channels) = tone::read_wav(&file);
    for (channel, hz) in [(0, AGENT_HZ), (1, CUSTOMER_HZ)] {
        let share = tone::fraction_heard(&channels[channel], rate, f64::from(hz));
        assert!(
            share > 0.85,
            "call {nth}: {hz} Hz is in {share} of channel {channel}"
        );
    }
}
