//! A real Chromium takes an agent's leg: the page in `web/`, a headless browser with a microphone that plays a known
//! tone, and a [`BrowserLeg`] answering. Audio, digits, muting, a second call, the page's own requests and the end.
//!
//! Needs Chromium and Node (Debian: `scripts/peers` installs both) and fetches `playwright-core` from the npm
//! registry once; whatever is missing fails the test with its remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod chromium;
mod engine;
mod floor;

use std::time::{Duration, Instant};

use serde_json::json;

use chromium::Chromium;
use engine::Tone;
use floor::Floor;
use ringfence_media::webrtc_leg::BrowserEvent;
use ringfence_media::{Codec, EngineConfig, Remote};

/// Frequencies that are no multiples of each other, so that distortion of one is not taken for the other.
const MICROPHONE_HZ: f64 = 620.0;
const ENGINE_HZ: f64 = 1_000.0;
const SECOND_CALL_HZ: f64 = 1_430.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chromium_and_the_engine_hear_each_other() {
    let mut floor = Floor::start().await;
    let mut page = Chromium::start(&floor.url(), MICROPHONE_HZ).await;

    page.ask(json!({"do": "open"})).await;
    let looks = page.ask(json!({"do": "looks"})).await;
    assert_eq!(looks["narrow"], true, "the page is wider than a phone");
    assert_eq!(
        looks["nameless"], 0,
        "a control has no name for a screen reader"
    );
    assert_eq!(
        (looks["chinese"].as_str(), looks["lang"].as_str()),
        (Some("坐席电话"), Some("zh-CN"))
    );

    let refused = page.ask(json!({"do": "refused", "token": "wrong"})).await;
    assert!(
        refused["problem"].as_str().unwrap().contains("refused"),
        "{refused}"
    );

    page.ask(json!({"do": "connect", "token": floor::TOKEN}))
        .await;
    let mut engine = floor.engine().await;
    assert_eq!(floor.event().await, BrowserEvent::Connected);

    // Browser to engine: the microphone's tone and nothing of ours.
    let voice = engine.listen(Duration::from_secs(1)).await;
    assert!(
        voice.power_at(MICROPHONE_HZ) > 0.8,
        "the microphone's tone is missing: {voice:?}"
    );
    assert!(
        voice.power_at(ENGINE_HZ) < 0.01,
        "our own tone comes back: {voice:?}"
    );
    assert_eq!(voice.sources(), 1);

    // Engine to browser.
    engine.play(Tone::new(ENGINE_HZ, 0xaaaa_0001, 31_000)).await;
    let heard = page.ask(json!({"do": "heard"})).await;
    assert!(
        (heard["hz"].as_f64().unwrap() - ENGINE_HZ).abs() < 12.0,
        "{heard}"
    );

    // Another call begins on the same connection, with numbers of its own.
    engine.play(Tone::new(SECOND_CALL_HZ, 0xbbbb_0002, 7)).await;
    let heard = page.ask(json!({"do": "heard"})).await;
    assert!(
        (heard["hz"].as_f64().unwrap() - SECOND_CALL_HZ).abs() < 12.0,
        "{heard}"
    );

    // A digit lasts what the page asked for: 160 ms are 1280 units at 8000 Hz.
    page.ask(json!({"do": "digit", "digit": "5"})).await;
    let digit = engine.digit().await;
    assert_eq!(digit.event, 5);
    assert!(
        (1_120..=1_440).contains(&digit.duration),
        "a 160 ms digit lasts {} units",
        digit.duration
    );

    // Muted, the browser sends silence.
    page.ask(json!({"do": "mute"})).await;
    engine.silence().await;
    page.ask(json!({"do": "mute"})).await;

    // The current call comes from the event stream, the page's figures and its hang-up reach the floor.
    floor.tell_call("0199-call", "talking");
    page.ask(json!({"do": "call", "text": "Talking"})).await;
    page.ask(json!({"do": "hang_up"})).await;
    assert_eq!(floor.hung_up().await, "0199-call");
    floor.tell_call("0199-call", "ended");
    page.ask(json!({"do": "call", "text": "Ended"})).await;
    let figures = floor.figures().await;
    assert!(
        figures["received"]["packets"].as_u64().unwrap() > 50,
        "{figures}"
    );
    assert_eq!(
        figures["received"]["lost"], 0,
        "the second call broke the stream: {figures}"
    );
    assert_eq!(
        figures["sent"]["lost_at_daemon"], 0,
        "our receiver reports are wrong: {figures}"
    );

    // A connection that dies is taken up again by the page alone.
    floor.drop_leg().await;
    page.ask(json!({"do": "state", "wanted": "waiting"})).await;
    page.ask(json!({"do": "state", "wanted": "connected"}))
        .await;
    let mut engine = floor.engine().await;
    let voice = engine.listen(Duration::from_secs(1)).await;
    assert!(
        voice.power_at(MICROPHONE_HZ) > 0.8,
        "after reconnecting: {voice:?}"
    );

    // An engine that closes its end has ended the leg; told so, the page does not wait for the silence.
    assert_eq!(floor.event().await, BrowserEvent::Connected);
    engine.vanish().await;
    assert_eq!(floor.event().await, BrowserEvent::Failed);
    floor.tell_session("closed").await;
    page.ask(json!({"do": "state", "wanted": "waiting"})).await;
    page.ask(json!({"do": "state", "wanted": "connected"}))
        .await;
    assert_eq!(floor.event().await, BrowserEvent::Connected);
    let _held = floor.line().await;

    page.ask(json!({"do": "leave"})).await;
    floor.left().await;

    // With the real engine in between: a customer on a telephone leg and the browser hear each other.
    page.ask(json!({"do": "connect", "token": floor::TOKEN}))
        .await;
    assert_eq!(floor.event().await, BrowserEvent::Connected);
    let (_bridge, mut customer) = bridged(floor.line().await).await;
    customer
        .play(Tone::new(ENGINE_HZ, 0xcccc_0003, 65_500))
        .await;
    let heard = page.ask(json!({"do": "heard"})).await;
    assert!(
        (heard["hz"].as_f64().unwrap() - ENGINE_HZ).abs() < 12.0,
        "{heard}"
    );
    let voice = customer.listen(Duration::from_secs(1)).await;
    assert!(
        voice.power_at(MICROPHONE_HZ) > 0.8,
        "at the customer: {voice:?}"
    );
    assert!(
        voice.power_at(ENGINE_HZ) < 0.01,
        "the customer hears himself: {voice:?}"
    );
    page.ask(json!({"do": "digit", "digit": "7"})).await;
    assert_eq!(customer.digit().await.event, 7);

    // A page whose line another page has taken does not fight for it.
    floor.tell_session("replaced").await;
    page.ask(json!({"do": "state", "wanted": "failed"})).await;

    let complaints = page.ask(json!({"do": "complaints"})).await;
    // The refused token is a failed request, which Chromium prints by itself; a broken script would print more.
    let complaints: Vec<&str> = complaints["complaints"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c.as_str())
        .collect();
    assert!(
        complaints.iter().all(|c| c.contains("401")),
        "{complaints:?}"
    );
    page.quit().await;

    // It went without a word, as a closed lid does: ICE notices after 5 s and gives up after 15 more.
    assert_eq!(floor.event().await, BrowserEvent::Disconnected);
    assert_eq!(floor.event().await, BrowserEvent::Failed);
}

/// What must live as long as a bridge.
struct Bridge {
    _engine: ringfence_media::Engine,
    _agent: ringfence_media::Leg,
    _customer: ringfence_media::Leg,
}

/// Bridges the browser's `line` with a telephone leg in the engine; the test is the telephone.
async fn bridged(line: engine::Line) -> (Bridge, engine::Engine) {
    let engine = ringfence_media::Engine::start(EngineConfig {
        ports: 23_400..=23_419,
        ..EngineConfig::default()
    })
    .unwrap();
    let (events, _) = tokio::sync::mpsc::channel(16);
    let engine::Socket::Pair(socket) = line.socket else {
        panic!("a browser's line is a pair")
    };
    let agent = engine.open_pair_leg(socket, None, events.clone()).unwrap();
    agent
        .set_remote(Remote::pair(
            Codec::Pcma,
            line.payload_type,
            Some(line.telephone_event),
        ))
        .unwrap();
    let customer = engine.open_leg_beside(&agent, events).unwrap();
    let telephone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    telephone.connect(customer.local().unwrap()).unwrap();
    customer
        .set_remote(Remote::udp(telephone.local_addr().unwrap(), Codec::Pcma))
        .unwrap();
    engine
        .bridge(&agent, &customer, None, Instant::now())
        .unwrap();
    let line = engine::Line {
        socket: engine::Socket::Udp(telephone),
        payload_type: 8,
        telephone_event: 101,
    };
    (
        Bridge {
            _engine: engine,
            _agent: agent,
            _customer: customer,
        },
        line.engine(),
    )
}
