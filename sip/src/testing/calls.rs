//! Calls between two endpoints, one behaviour a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::{Net, Weather, description};
use crate::command::Hangup;
use crate::method::StatusCode;
use crate::{Config, EndedBy, Event, Incoming, LegHandle, Phase};

const SOON: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(200);

fn net(seed: u64) -> Net {
    let config = || Config {
        session_timer: None,
        ..Config::default()
    };
    let mut net = Net::new(seed, Weather::FAIR, vec![config(), config(), config()]);
    net.keep = true;
    net
}

fn incoming(event: &Event) -> Option<Incoming> {
    match event {
        Event::Incoming(incoming) => Some((**incoming).clone()),
        _ => None,
    }
}

fn released(event: &Event) -> Option<(EndedBy, Option<u16>, Option<u8>)> {
    match event {
        Event::Released { by, release, .. } => Some((*by, release.status, release.q850)),
        _ => None,
    }
}

fn answered(event: &Event) -> Option<()> {
    matches!(event, Event::Answered { .. }).then_some(())
}

fn acknowledged(event: &Event) -> Option<()> {
    matches!(event, Event::Acknowledged { .. }).then_some(())
}

/// A call from 0 to 1, answered.
fn established(net: &mut Net) -> (LegHandle, LegHandle) {
    let caller = net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap();
        endpoint.answer(now, callee, &description(1, 1)).unwrap();
    });
    net.wait(0, SOON, answered).unwrap();
    net.wait(1, SOON, acknowledged).unwrap();
    (caller, callee)
}

fn all_gone(net: &mut Net) {
    assert!(net.settle(LONG), "something never ends");
    for node in 0..2 {
        assert_eq!(
            net.load(node),
            crate::Load::default(),
            "tables of node {node}"
        );
    }
}

/// The start lines that one node sent, without repetitions.
fn sent(net: &Net, node: usize) -> Vec<String> {
    let lines = net
        .log
        .iter()
        .filter(|(from, _)| *from == node)
        .map(|(_, line)| line.clone());
    lines
        .map(|line| line.split(" sip:").next().unwrap().replace("SIP/2.0 ", ""))
        .collect()
}

#[test]
fn a_call_is_answered_and_hung_up_by_the_caller() {
    let mut net = net(1);
    let (caller, _) = established(&mut net);
    net.hang_up(0, caller);
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Us, None, Some(16)))
    );
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Peer, None, Some(16)))
    );
    all_gone(&mut net);
    assert_eq!(sent(&net, 0), ["INVITE", "ACK", "BYE"]);
    assert_eq!(
        sent(&net, 1),
        ["100 Trying", "180 Ringing", "200 OK", "200 OK"]
    );
}

#[test]
fn a_call_is_hung_up_by_the_callee() {
    let mut net = net(2);
    let (_, callee) = established(&mut net);
    net.hang_up(1, callee);
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Us, None, Some(16)))
    );
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Peer, None, Some(16)))
    );
    all_gone(&mut net);
}

#[test]
fn a_ringing_call_is_cancelled_with_the_branch_and_cseq_of_its_invite() {
    let mut net = net(3);
    let caller = net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap()
    });
    net.wait(0, SOON, |event| {
        matches!(event, Event::Progress { status: 180, .. }).then_some(())
    })
    .unwrap();
    net.hang_up(0, caller);
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Peer, Some(487), Some(16)))
    );
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Us, Some(487), None))
    );
    let header = |line: &str, name: &str| {
        let (_, message) = net
            .wire
            .iter()
            .find(|(node, text)| *node == 0 && text.starts_with(line))
            .unwrap();
        message
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned))
            .unwrap()
    };
    assert_eq!(header("INVITE ", "Via: "), header("CANCEL ", "Via: "));
    assert_eq!(header("INVITE ", "Via: "), header("ACK ", "Via: "));
    assert_eq!(header("INVITE ", "To: "), header("CANCEL ", "To: "));
    assert_eq!(header("CANCEL ", "CSeq: "), "1 CANCEL");
    all_gone(&mut net);
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut net = net(4);
    let caller = net.call(0, 1);
    // Hung up while the INVITE is on its way.
    net.hang_up(0, caller);
    assert_eq!(sent(&net, 0), ["INVITE"]);
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Us, Some(487), None))
    );
    assert_eq!(sent(&net, 0), ["INVITE", "CANCEL", "ACK"]);
    all_gone(&mut net);
}

#[test]
fn an_answer_that_is_faster_than_the_cancel_gets_ack_and_bye() {
    let mut net = net(5);
    let caller = net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.run(Duration::from_millis(20));
    // Both act before either hears of the other.
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.hang_up(0, caller);
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Us, Some(487), None))
    );
    assert_eq!(
        net.wait(1, SOON, released).map(|(by, ..)| by),
        Some(EndedBy::Peer)
    );
    let lines = sent(&net, 0);
    assert_eq!(lines[..2], ["INVITE", "CANCEL"]);
    assert!(
        lines.contains(&"ACK".to_owned()) && lines.contains(&"BYE".to_owned()),
        "{lines:?}"
    );
    all_gone(&mut net);
}

#[test]
fn a_call_to_nobody_ends_with_408_and_empty_tables() {
    let mut net = net(6);
    net.cut(1, true);
    net.call(0, 1);
    assert_eq!(
        net.wait(0, LONG, released),
        Some((EndedBy::Fault, Some(408), None))
    );
    assert_eq!(sent(&net, 0).len(), 7);
    all_gone(&mut net);
}

#[test]
fn a_refusal_tells_status_and_cause() {
    let mut net = net(7);
    net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.with(1, |endpoint, now| {
        endpoint
            .reject(now, callee, StatusCode::BUSY_HERE, Some(17))
            .unwrap()
    });
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Peer, Some(486), Some(17)))
    );
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Us, Some(486), Some(17)))
    );
    all_gone(&mut net);
}

#[test]
fn an_answer_without_ack_is_repeated_and_then_hung_up() {
    let mut net = net(8);
    net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.cut(0, true);
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    assert_eq!(
        net.wait(1, LONG, released),
        Some((EndedBy::Fault, Some(408), None))
    );
    let lines = sent(&net, 1);
    assert_eq!(
        lines.iter().filter(|line| *line == "200 OK").count(),
        11,
        "T1 doubling to T2 within 64 T1"
    );
    assert!(lines.contains(&"BYE".to_owned()));
}

#[test]
fn a_callee_that_hangs_up_before_the_ack_sends_bye_after_it() {
    let mut net = net(9);
    net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.with(1, |endpoint, now| {
        endpoint.hang_up(now, callee, Hangup::normal()).unwrap()
    });
    assert!(!sent(&net, 1).contains(&"BYE".to_owned()));
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Us, None, Some(16)))
    );
    assert_eq!(
        net.wait(0, SOON, released),
        Some((EndedBy::Peer, None, Some(16)))
    );
    all_gone(&mut net);
}

#[test]
fn both_hanging_up_at_once_end_cleanly() {
    let mut net = net(10);
    let (caller, callee) = established(&mut net);
    net.hang_up(0, caller);
    net.hang_up(1, callee);
    assert_eq!(
        net.wait(0, SOON, released).map(|(by, ..)| by),
        Some(EndedBy::Us)
    );
    assert_eq!(
        net.wait(1, SOON, released).map(|(by, ..)| by),
        Some(EndedBy::Us)
    );
    assert!(
        !sent(&net, 0)
            .iter()
            .chain(&sent(&net, 1))
            .any(|line| line.starts_with("481"))
    );
    all_gone(&mut net);
}

#[test]
fn a_prepared_call_sends_nothing_until_told_and_its_snapshot_reads_back() {
    let mut net = net(11);
    let invite = net.invite(0, 1);
    let (leg, snapshot) = net.with(0, |endpoint, now| {
        endpoint.prepare_invite(now, invite).unwrap()
    });
    net.run(SOON);
    assert!(net.log.is_empty());
    assert_eq!(
        snapshot
            .to_string()
            .parse::<crate::DialogSnapshot>()
            .unwrap(),
        snapshot
    );
    net.hang_up(0, leg);
    assert_eq!(
        net.wait(0, SOON, released).map(|(by, ..)| by),
        Some(EndedBy::Us)
    );
    assert!(net.log.is_empty());
    all_gone(&mut net);
}

#[test]
fn snapshots_follow_the_dialog() {
    let mut net = net(12);
    net.call(0, 1);
    let callee = net.wait(1, SOON, incoming).unwrap().leg;
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap()
    });
    let snapshot = |event: &Event| match event {
        Event::Snapshot { snapshot, .. } => Some((**snapshot).clone()),
        _ => None,
    };
    let early = net.wait(0, SOON, snapshot).unwrap();
    assert_eq!(early.phase, Phase::Early);
    assert!(early.remote_tag.is_some() && early.remote_target.contains("10.0.0.2:5060"));
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    let confirmed = net.wait(0, SOON, snapshot).unwrap();
    assert_eq!(
        (confirmed.phase, &confirmed.remote_tag),
        (Phase::Confirmed, &early.remote_tag)
    );
    assert_eq!(
        net.find(1, snapshot).unwrap().phase,
        Phase::Confirmed,
        "the callee's side too"
    );
}
