//! What a new process does for the calls of one that died.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::{Net, Weather, description};
use crate::method::StatusCode;
use crate::{Config, DialogSnapshot, EndedBy, Event, LegHandle, Load};

const SOON: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(200);

fn config() -> Config {
    Config {
        session_timer: None,
        ..Config::default()
    }
}

fn net(seed: u64) -> Net {
    let mut net = Net::new(seed, Weather::FAIR, vec![config(), config()]);
    net.keep = true;
    net
}

/// A call from 0 that rings at 1; what node 0 has made durable before the INVITE left; the callee's leg.
fn ringing(net: &mut Net) -> (DialogSnapshot, LegHandle) {
    let invite = net.invite(0, 1);
    let (leg, snapshot) = net.with(0, |endpoint, now| {
        endpoint.prepare_invite(now, invite).unwrap()
    });
    net.with(0, |endpoint, now| endpoint.send_invite(now, leg).unwrap());
    let callee = net.wait(1, SOON, |event| match event {
        Event::Incoming(incoming) => Some(incoming.leg),
        _ => None,
    });
    (snapshot, callee.unwrap())
}

fn crash_and_release(net: &mut Net, snapshot: &DialogSnapshot) {
    net.crash(0, config(), 99);
    let read: DialogSnapshot = snapshot.to_string().parse().unwrap();
    net.with(0, |endpoint, now| {
        endpoint.release_leftover(now, &read, None).unwrap()
    });
}

/// Whether the leftover was released, or is gone (and whether the peer spoke).
fn outcome(event: &Event) -> Option<(bool, bool)> {
    match event {
        Event::LeftoverReleased { .. } => Some((true, true)),
        Event::LeftoverGone { peer_answered, .. } => Some((false, *peer_answered)),
        _ => None,
    }
}

fn released(event: &Event) -> Option<EndedBy> {
    match event {
        Event::Released { by, .. } => Some(*by),
        _ => None,
    }
}

fn latest(net: &mut Net) -> Option<DialogSnapshot> {
    let mut latest = None;
    while let Some(event) = net.event(0) {
        if let Event::Snapshot { snapshot, .. } = event {
            latest = Some(*snapshot);
        }
    }
    latest
}

fn all_gone(net: &mut Net) {
    assert!(net.settle(LONG));
    assert_eq!(
        (net.load(0), net.load(1)),
        (Load::default(), Load::default())
    );
}

#[test]
fn a_call_that_still_rings_is_cancelled() {
    let mut net = net(1);
    let (snapshot, callee) = ringing(&mut net);
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap()
    });
    net.run(SOON);
    crash_and_release(&mut net, &snapshot);
    assert_eq!(net.wait(1, SOON, released), Some(EndedBy::Peer));
    assert_eq!(net.wait(0, LONG, outcome), Some((true, true)));
    all_gone(&mut net);
    let acks = net
        .log
        .iter()
        .filter(|(node, line)| *node == 0 && line.starts_with("ACK"))
        .count();
    assert!(acks >= 1, "the 487 is acknowledged");
}

#[test]
fn an_answered_call_is_hung_up() {
    let mut net = net(2);
    let (_, callee) = ringing(&mut net);
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.run(SOON);
    let snapshot = latest(&mut net).unwrap();
    crash_and_release(&mut net, &snapshot);
    assert_eq!(net.wait(1, SOON, released), Some(EndedBy::Peer));
    assert_eq!(net.wait(0, LONG, outcome), Some((true, true)));
    all_gone(&mut net);
}

#[test]
fn an_answer_that_nobody_heard_gets_ack_and_bye() {
    let mut net = net(3);
    let (snapshot, callee) = ringing(&mut net);
    net.cut(0, true);
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.run(SOON);
    crash_and_release(&mut net, &snapshot);
    assert_eq!(
        net.wait(1, Duration::from_secs(10), released),
        Some(EndedBy::Peer),
        "within the 2xx repetitions"
    );
    assert_eq!(net.wait(0, LONG, outcome), Some((true, true)));
    all_gone(&mut net);
}

#[test]
fn an_early_dialog_that_was_answered_meanwhile_is_hung_up() {
    let mut net = net(4);
    let (_, callee) = ringing(&mut net);
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap()
    });
    net.run(SOON);
    let early = latest(&mut net).unwrap();
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.run(SOON);
    crash_and_release(&mut net, &early);
    assert_eq!(net.wait(1, LONG, released), Some(EndedBy::Peer));
    assert!(net.wait(0, LONG, outcome).is_some());
    all_gone(&mut net);
}

#[test]
fn a_call_that_never_left_or_is_long_over_is_gone() {
    let mut net = net(5);
    let invite = net.invite(0, 1);
    let (_, snapshot) = net.with(0, |endpoint, now| {
        endpoint.prepare_invite(now, invite).unwrap()
    });
    crash_and_release(&mut net, &snapshot);
    assert_eq!(net.wait(0, LONG, outcome), Some((false, true)));
    net.cut(1, true);
    crash_and_release(&mut net, &snapshot);
    assert_eq!(net.wait(0, LONG, outcome), Some((false, false)));
}

#[test]
fn a_call_we_took_is_hung_up() {
    let mut net = net(6);
    let caller = net.call(1, 0);
    let callee = net.wait(0, SOON, |event| match event {
        Event::Incoming(incoming) => Some(incoming.leg),
        _ => None,
    });
    net.with(0, |endpoint, now| {
        endpoint
            .answer(now, callee.unwrap(), &description(0, 1))
            .unwrap()
    });
    net.run(SOON);
    let snapshot = latest(&mut net).unwrap();
    assert!(!snapshot.outgoing);
    crash_and_release(&mut net, &snapshot);
    let by = net.wait(1, SOON, |event| match event {
        Event::Released { leg, by, .. } if *leg == caller => Some(*by),
        _ => None,
    });
    assert_eq!(by, Some(EndedBy::Peer));
    assert_eq!(net.wait(0, LONG, outcome), Some((true, true)));
}

#[test]
fn damaged_snapshots_are_errors_and_never_panics() {
    let mut net = net(7);
    let (snapshot, _) = ringing(&mut net);
    let text = snapshot.to_string();
    for end in 0..text.len() - 4 {
        if let Some(part) = text.get(..end) {
            assert!(part.parse::<DialogSnapshot>().is_err(), "cut at {end}");
        }
    }
    for (from, to) in [
        ("dialog 1", "dialog 2"),
        ("phase=calling", "phase=early"),
        ("side=out", "side=up"),
        ("invite-cseq=1", "invite-cseq=-1"),
        ("peer=udp 10.0.0.2:5060", "peer=udp nowhere"),
        ("\nend", "\nbranch=x\nend"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(
            text.replace(from, to).parse::<DialogSnapshot>().is_err(),
            "{to}"
        );
    }
}
