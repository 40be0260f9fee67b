//! When an INVITE that begins a call may leave: not once its time is over, not once nobody wants the call, and with an
//! Expires that never reaches beyond the end of the ringing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::{Net, Weather, description};
use crate::digest::Login;
use crate::method::StatusCode;
use crate::{CommandError, Config, EndedBy, Event, LegHandle, Load};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(200);
const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";

fn net(seed: u64) -> Net {
    let config = || Config {
        session_timer: None,
        ..Config::default()
    };
    let mut net = Net::new(seed, Weather::FAIR, vec![config(), config()]);
    net.keep = true;
    net
}

/// A call from 0 to 1 with credentials, ringing for `ring` at most, in these bounds.
fn call(
    net: &mut Net,
    ring: Duration,
    ring_until: Option<Instant>,
    not_after: Option<Instant>,
) -> LegHandle {
    let mut invite = net.invite(0, 1);
    invite.credentials = Some(Login::new("node0", SecretString::from("secret")));
    invite.expires = Some(ring);
    invite.ring_until = ring_until;
    invite.not_after = not_after;
    net.with(0, |endpoint, now| {
        let (leg, _) = endpoint.prepare_invite(now, invite).unwrap();
        endpoint.send_invite(now, leg).unwrap();
        leg
    })
}

/// What the INVITEs of node 0 said in Expires, in the order they were sent.
fn expires(net: &Net) -> Vec<u64> {
    let sent = net.invites.iter().filter(|sent| sent.node == 0);
    sent.map(|sent| sent.expires.unwrap()).collect()
}

/// Lets node 0 hear a final response of node 1 to its last INVITE.
fn reply(net: &mut Net, status: &str, more: &str) {
    let (_, invite) = net
        .wire
        .iter()
        .rfind(|(node, text)| *node == 0 && text.starts_with("INVITE "))
        .unwrap();
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in invite.lines().take_while(|line| !line.is_empty()) {
        match line.split(':').next().unwrap() {
            "Via" | "From" | "Call-ID" | "CSeq" => text.push_str(&format!("{line}\r\n")),
            "To" => text.push_str(&format!("{line};tag=b\r\n")),
            _ => {}
        }
    }
    text.push_str(&format!("{more}Content-Length: 0\r\n\r\n"));
    let from = net.address(1);
    net.inject(0, from, text.as_bytes());
}

fn released(event: &Event) -> Option<(EndedBy, Option<u16>)> {
    match event {
        Event::Released { by, release, .. } => Some((*by, release.status)),
        _ => None,
    }
}

fn methods(net: &Net) -> Vec<&str> {
    let lines = net.log.iter().filter(|(node, _)| *node == 0);
    lines
        .map(|(_, line)| line.split(' ').next().unwrap())
        .collect()
}

fn all_gone(net: &mut Net) {
    assert!(net.settle(LONG), "something never ends");
    assert_eq!(net.load(0), Load::default());
}

#[test]
fn an_invite_that_nobody_answers_is_not_sent_again_once_its_time_is_over() {
    let mut net = net(1);
    net.cut(1, true);
    let end = net.now + SECOND * 4;
    call(&mut net, SECOND * 60, None, Some(end));
    assert_eq!(
        net.wait(0, LONG, released),
        Some((EndedBy::Fault, Some(408))),
        "an answer is waited for all the same"
    );
    assert_eq!(expires(&net), [60; 4], "at 0, 0.5, 1.5 and 3.5 s");
    all_gone(&mut net);
}

#[test]
fn no_invite_lets_it_ring_beyond_the_end_of_the_ringing() {
    let mut net = net(2);
    net.cut(1, true);
    let end = net.now + Duration::from_millis(10_200);
    call(&mut net, SECOND * 8, Some(end), None);
    net.run(LONG);
    // At 0, 0.5, 1.5, 3.5 and 7.5 s; the one at 15.5 s would be late.
    assert_eq!(expires(&net), [8, 8, 8, 6, 2]);
    all_gone(&mut net);
}

#[test]
fn an_invite_that_was_held_up_until_its_time_was_over_does_not_leave() {
    let mut net = net(3);
    let mut invite = net.invite(0, 1);
    invite.not_after = Some(net.now + SECOND);
    let (leg, _) = net.with(0, |endpoint, now| {
        endpoint.prepare_invite(now, invite).unwrap()
    });
    net.run(SECOND);
    let sent = net.with(0, |endpoint, now| endpoint.send_invite(now, leg));
    assert_eq!(sent, Err(CommandError::Late));
    net.hang_up(0, leg);
    assert!(net.log.is_empty());
    all_gone(&mut net);
}

#[test]
fn a_challenge_in_time_is_answered_with_what_is_left_to_ring() {
    let mut net = net(4);
    net.cut(1, true);
    let end = net.now + SECOND * 20;
    call(&mut net, SECOND * 60, Some(end), Some(end - SECOND * 15));
    net.run(Duration::from_millis(4_500));
    reply(&mut net, "401 Unauthorized", CHALLENGE);
    let (_, again) = net
        .wire
        .iter()
        .rfind(|(_, text)| text.starts_with("INVITE "))
        .unwrap();
    assert!(again.contains("Authorization: Digest") && again.contains("Expires: 15\r\n"));
    // Nor is the second one repeated: its first repetition would come at the very end.
    net.run(LONG);
    assert_eq!(expires(&net), [20, 19, 18, 16, 15]);
    all_gone(&mut net);
}

#[test]
fn what_asks_for_another_invite_too_late_ends_the_call_instead() {
    for (status, more) in [
        ("401 Unauthorized", CHALLENGE),
        (
            "407 Proxy Authentication Required",
            &CHALLENGE.replace("WWW-Authenticate", "Proxy-Authenticate"),
        ),
        ("422 Session Interval Too Small", "Min-SE: 3600\r\n"),
    ] {
        let mut net = net(5);
        net.cut(1, true);
        let end = net.now + SECOND * 2;
        call(&mut net, SECOND * 60, None, Some(end));
        net.run(SECOND * 2);
        reply(&mut net, status, more);
        let code = status.split(' ').next().unwrap().parse().ok();
        assert_eq!(
            net.wait(0, LONG, released),
            Some((EndedBy::Late, code)),
            "{status}"
        );
        assert_eq!(methods(&net), ["INVITE", "INVITE", "INVITE", "ACK"]);
        all_gone(&mut net);
    }
}

#[test]
fn a_call_that_is_not_wanted_any_more_is_not_announced_again() {
    let mut net = net(6);
    net.cut(1, true);
    let leg = call(&mut net, SECOND * 60, None, None);
    net.run(Duration::from_millis(200));
    net.hang_up(0, leg);
    net.cut(1, false);
    assert_eq!(
        net.wait(0, LONG, released),
        Some((EndedBy::Us, Some(408))),
        "an answer is waited for all the same"
    );
    assert_eq!(methods(&net), ["INVITE"]);
    assert!(net.event(1).is_none(), "the peer heard of it");
    all_gone(&mut net);
}

#[test]
fn a_late_sign_of_life_of_a_call_that_is_not_wanted_any_more_gets_its_end() {
    for answers in [false, true] {
        let mut net = net(7);
        let leg = call(&mut net, SECOND * 60, None, None);
        // The INVITE is on its way; what the peer says at first is lost.
        net.cut(0, true);
        let callee = net
            .wait(1, SECOND, |event| match event {
                Event::Incoming(incoming) => Some(incoming.leg),
                _ => None,
            })
            .unwrap();
        net.run(Duration::from_millis(100));
        net.hang_up(0, leg);
        net.cut(0, false);
        net.run(SECOND * 10);
        assert_eq!(methods(&net), ["INVITE"]);
        net.with(1, |endpoint, now| {
            if answers {
                endpoint.answer(now, callee, &description(1, 1)).unwrap();
            } else {
                endpoint
                    .ring(now, callee, StatusCode::RINGING, None)
                    .unwrap();
            }
        });
        assert_eq!(
            net.wait(0, LONG, released),
            Some((EndedBy::Us, Some(487))),
            "answered: {answers}"
        );
        let ends: &[&str] = if answers {
            &["INVITE", "ACK", "BYE"]
        } else {
            &["INVITE", "CANCEL", "ACK"]
        };
        assert_eq!(methods(&net), ends);
        all_gone(&mut net);
    }
}
