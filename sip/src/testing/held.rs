//! The ACK of an answer that waits until the answered dialog is durable (`Config::hold_ack`): node 0 holds, node 1 or a
//! peer that is only text has answered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use super::{Net, Weather, description, name_addr};
use crate::command::Invite;
use crate::method::StatusCode;
use crate::uri::SipUri;
use crate::{Config, EndedBy, Event, LegHandle, Load, Peer, Phase};

const SOON: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(200);
/// After a 2xx its sender waits so long for the ACK: 64 * T1.
const GIVES_UP: Duration = Duration::from_secs(32);

fn config(hold_ack: bool) -> Config {
    Config {
        session_timer: None,
        hold_ack,
        ..Config::default()
    }
}

fn net(seed: u64) -> Net {
    let mut net = Net::new(seed, Weather::FAIR, vec![config(true), config(false)]);
    net.keep = true;
    net
}

/// A call from 0 to 1 that rings.
fn ringing(net: &mut Net) -> (LegHandle, LegHandle) {
    let caller = net.call(0, 1);
    let callee = net.wait(1, SOON, |event| match event {
        Event::Incoming(incoming) => Some(incoming.leg),
        _ => None,
    });
    let callee = callee.unwrap();
    net.with(1, |endpoint, now| {
        endpoint
            .ring(now, callee, StatusCode::RINGING, None)
            .unwrap()
    });
    net.wait(0, SOON, |event| {
        matches!(event, Event::Progress { .. }).then_some(())
    })
    .unwrap();
    (caller, callee)
}

fn answer(net: &mut Net, callee: LegHandle) {
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
}

/// A call from 0 that 1 has answered, and that 0 has heard of.
fn answered(net: &mut Net) -> (LegHandle, LegHandle) {
    let (caller, callee) = ringing(net);
    answer(net, callee);
    net.wait(0, SOON, |event| {
        matches!(event, Event::Answered { .. }).then_some(())
    })
    .unwrap();
    (caller, callee)
}

fn release_ack(net: &mut Net, leg: LegHandle) {
    net.with(0, |endpoint, now| endpoint.acknowledge(now, leg).unwrap());
}

/// How many messages a node has sent that begin so.
fn sent(net: &Net, node: usize, start: &str) -> usize {
    net.log
        .iter()
        .filter(|(from, line)| *from == node && line.starts_with(start))
        .count()
}

/// The methods and statuses that node 0 sent since its INVITE, in order.
fn said(net: &Net) -> Vec<&str> {
    let own = net.log.iter().filter(|(from, _)| *from == 0);
    own.map(|(_, line)| match line.strip_prefix("SIP/2.0 ") {
        Some(status) => status,
        None => line.split(' ').next().unwrap(),
    })
    .skip(1)
    .collect()
}

fn acknowledged(event: &Event) -> Option<()> {
    matches!(event, Event::Acknowledged { .. }).then_some(())
}

fn released(event: &Event) -> Option<(EndedBy, Option<u16>)> {
    match event {
        Event::Released { by, release, .. } => Some((*by, release.status)),
        _ => None,
    }
}

fn all_gone(net: &mut Net) {
    assert!(net.settle(LONG), "something never ends");
    assert_eq!(
        (net.load(0), net.load(1)),
        (Load::default(), Load::default())
    );
}

#[test]
fn what_must_be_durable_is_told_before_the_answer() {
    let mut net = net(1);
    let (_, callee) = ringing(&mut net);
    answer(&mut net, callee);
    let first = net.wait(0, SOON, |event| match event {
        Event::Snapshot { snapshot, .. } => Some(snapshot.phase == Phase::Confirmed),
        Event::Answered { .. } => Some(false),
        _ => None,
    });
    assert_eq!(first, Some(true));
}

#[test]
fn a_repeated_answer_gets_no_ack_and_is_told_once_while_the_first_is_held() {
    let mut net = net(2);
    let (_, _callee) = answered(&mut net);
    net.run(Duration::from_secs(10));
    assert_eq!(
        sent(&net, 1, "SIP/2.0 200"),
        5,
        "at 0, 0.5, 1.5, 3.5, 7.5 s"
    );
    assert_eq!(said(&net), [""; 0]);
    assert_eq!(
        net.find(0, |event| matches!(event, Event::Answered { .. })
            .then_some(())),
        None
    );
}

#[test]
fn its_release_sends_the_ack_once_and_ends_the_repetitions() {
    let mut net = net(3);
    let (caller, _) = answered(&mut net);
    net.run(Duration::from_secs(1));
    release_ack(&mut net, caller);
    assert_eq!(said(&net), ["ACK"]);
    net.wait(1, SOON, acknowledged).unwrap();
    let answers = sent(&net, 1, "SIP/2.0 200");
    release_ack(&mut net, caller);
    net.run(Duration::from_secs(20));
    assert_eq!(
        (sent(&net, 0, "ACK"), sent(&net, 1, "SIP/2.0 200")),
        (1, answers)
    );
    net.hang_up(0, caller);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, None)));
    all_gone(&mut net);
}

#[test]
fn after_its_release_a_repeated_answer_is_acknowledged_at_once() {
    let mut net = net(4);
    let (caller, _) = answered(&mut net);
    // The peer hears nothing of the ACK and goes on repeating its answer.
    net.cut(1, true);
    release_ack(&mut net, caller);
    net.run(Duration::from_millis(20));
    net.cut(1, false);
    assert_eq!(sent(&net, 0, "ACK"), 1);
    net.wait(1, SOON, acknowledged).unwrap();
    assert_eq!((sent(&net, 0, "ACK"), sent(&net, 1, "SIP/2.0 200")), (2, 2));
    let acks: Vec<_> = net
        .wire
        .iter()
        .filter(|(_, text)| text.starts_with("ACK"))
        .collect();
    assert_eq!(acks[0], acks[1], "byte for byte");
}

#[test]
fn a_hang_up_does_not_wait_for_it_and_sends_ack_then_bye() {
    let mut net = net(5);
    let (caller, _) = answered(&mut net);
    net.run(Duration::from_secs(1));
    net.hang_up(0, caller);
    assert_eq!(said(&net), ["ACK", "BYE"]);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, None)));
    assert_eq!(net.wait(1, SOON, released), Some((EndedBy::Peer, None)));
    // What was to become durable does so too late; nothing more is sent.
    let _ = net.with(0, |endpoint, now| endpoint.acknowledge(now, caller));
    all_gone(&mut net);
    assert_eq!(said(&net), ["ACK", "BYE"]);
}

#[test]
fn an_answer_that_crosses_our_cancel_is_not_held() {
    let mut net = net(6);
    let (caller, callee) = ringing(&mut net);
    answer(&mut net, callee);
    net.hang_up(0, caller);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, Some(487))));
    assert_eq!(said(&net), ["CANCEL", "ACK", "BYE"]);
    all_gone(&mut net);
}

#[test]
fn never_released_the_peer_gives_the_call_up_after_half_a_minute() {
    let mut net = net(7);
    answered(&mut net);
    let begun = net.now;
    assert_eq!(net.wait(0, LONG, released), Some((EndedBy::Peer, None)));
    let waited = net.now - begun;
    assert!((GIVES_UP..GIVES_UP + SOON).contains(&waited), "{waited:?}");
    assert_eq!(
        net.wait(1, SOON, released),
        Some((EndedBy::Fault, Some(408)))
    );
    assert_eq!(said(&net).first(), Some(&"200 OK"), "to the peer's BYE");
    all_gone(&mut net);
    assert_eq!((sent(&net, 0, "BYE"), sent(&net, 1, "BYE")), (0, 1));
}

/// One endpoint that holds, and somebody at 10.0.0.99 who sends what the test says.
struct Table {
    net: Net,
    leg: LegHandle,
    invite: String,
}

const PEER: &str = "10.0.0.99:5060";

impl Table {
    fn called() -> Self {
        let mut net = Net::new(8, Weather::FAIR, vec![config(true)]);
        net.keep = true;
        let peer: SocketAddr = PEER.parse().unwrap();
        let target = SipUri::new(peer.ip(), None).with_user("42");
        let offer = description(0, 1);
        let invite = Invite::new(target.into(), name_addr(0), Peer::udp(peer), offer);
        let leg = net.with(0, |endpoint, now| {
            let (leg, _) = endpoint.prepare_invite(now, invite).unwrap();
            endpoint.send_invite(now, leg).unwrap();
            leg
        });
        let invite = net.wire[0].1.clone();
        Self { net, leg, invite }
    }

    /// The headers that a message of the peer has in common with the INVITE.
    fn line(&self, name: &str) -> String {
        let mut lines = self.invite.lines();
        lines
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap()
            .to_owned()
    }

    fn hear(&mut self, text: &str) {
        let peer = PEER.parse().unwrap();
        self.net.inject(0, peer, text.as_bytes());
    }

    /// 200 OK of the fork with this tag.
    fn answer(&mut self, tag: &str, body: &str) {
        let [via, from, to, call, cseq] =
            ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| self.line(name));
        self.hear(&format!(
            "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to};tag={tag}\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:42@{PEER}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn bye(&mut self, tag: &str) {
        let [ours, theirs, call] = ["From", "To", "Call-ID"].map(|name| self.line(name));
        self.hear(&format!(
            "BYE sip:node0@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
             From: {theirs};tag={tag}\r\nTo: {ours}\r\nCall-ID: {call}\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n"
        ));
    }

    /// To whom the ACKs and BYEs went, by the tag of their To.
    fn sent(&self, method: &str) -> Vec<&str> {
        let all = self.net.wire.iter().map(|(_, text)| text.as_str());
        all.filter(|text| text.starts_with(method))
            .map(|text| {
                let to = text.lines().find(|line| line.starts_with("To: ")).unwrap();
                to.rsplit_once(";tag=").unwrap().1
            })
            .collect()
    }
}

fn session() -> String {
    description(9, 1).to_wire()
}

#[test]
fn a_peer_that_hangs_up_first_gets_its_ack_all_the_same() {
    let mut table = Table::called();
    table.answer("a", &session());
    table.bye("a");
    assert_eq!(said(&table.net), ["200 OK", "ACK"]);
    assert_eq!(table.net.find(0, released), Some((EndedBy::Peer, None)));
    // The peer repeats its answer until it has the ACK.
    table.answer("a", &session());
    assert_eq!(said(&table.net), ["200 OK", "ACK", "ACK"]);
}

#[test]
fn an_answer_that_cannot_be_used_is_not_held() {
    let mut table = Table::called();
    table.answer("a", "this is no session description");
    assert_eq!(said(&table.net), ["ACK", "BYE"]);
}

#[test]
fn a_second_fork_is_acknowledged_and_hung_up_while_the_first_is_held() {
    let mut table = Table::called();
    table.answer("a", &session());
    table.answer("b", &session());
    assert_eq!(
        (table.sent("ACK"), table.sent("BYE")),
        (vec!["b"], vec!["b"])
    );
    let leg = table.leg;
    release_ack(&mut table.net, leg);
    assert_eq!(
        (table.sent("ACK"), table.sent("BYE")),
        (vec!["b", "a"], vec!["b"])
    );
}
