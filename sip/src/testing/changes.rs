//! Changing and keeping a session: re-INVITE, glare, session timers, transfers, digits, OPTIONS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::{Net, Weather, description, name_addr};
use crate::headers::NameAddr;
use crate::method::StatusCode;
use crate::uri::SipUri;
use crate::{CommandError, Config, EndedBy, Event, LegHandle, Load, Peer, SessionTimer};

const SOON: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

fn timer(interval: u64, min: u64) -> Option<SessionTimer> {
    Some(SessionTimer {
        interval: SECOND * u32::try_from(interval).unwrap(),
        min: SECOND * u32::try_from(min).unwrap(),
    })
}

fn net(seed: u64, caller: Option<SessionTimer>, callee: Option<SessionTimer>) -> Net {
    let config = |session_timer| Config {
        session_timer,
        ..Config::default()
    };
    let mut net = Net::new(seed, Weather::FAIR, vec![config(caller), config(callee)]);
    net.keep = true;
    net
}

fn established(net: &mut Net) -> (LegHandle, LegHandle) {
    let caller = net.call(0, 1);
    let callee = net
        .wait(1, SOON, |event| match event {
            Event::Incoming(incoming) => Some(incoming.leg),
            _ => None,
        })
        .unwrap();
    net.with(1, |endpoint, now| {
        endpoint.answer(now, callee, &description(1, 1)).unwrap()
    });
    net.wait(0, SOON, |event| {
        matches!(event, Event::Answered { .. }).then_some(())
    })
    .unwrap();
    net.wait(1, SOON, |event| {
        matches!(event, Event::Acknowledged { .. }).then_some(())
    })
    .unwrap();
    (caller, callee)
}

fn reoffer(event: &Event) -> Option<()> {
    matches!(event, Event::Reoffer { .. }).then_some(())
}

fn reanswered(event: &Event) -> Option<()> {
    matches!(event, Event::Reanswered { .. }).then_some(())
}

fn released(event: &Event) -> Option<(EndedBy, Option<u16>)> {
    match event {
        Event::Released { by, release, .. } => Some((*by, release.status)),
        _ => None,
    }
}

fn count(net: &Net, node: usize, start: &str) -> usize {
    net.log
        .iter()
        .filter(|(from, line)| *from == node && line.starts_with(start))
        .count()
}

#[test]
fn a_session_is_changed_by_either_side() {
    for (one, other) in [(0, 1), (1, 0)] {
        let mut net = net(1, None, None);
        let legs = established(&mut net);
        let legs = [legs.0, legs.1];
        net.with(one, |endpoint, now| {
            endpoint
                .reoffer(now, legs[one], &description(one, 2))
                .unwrap()
        });
        net.wait(other, SOON, reoffer).unwrap();
        net.with(other, |endpoint, now| {
            endpoint
                .answer_reoffer(now, legs[other], &description(other, 2))
                .unwrap()
        });
        net.wait(one, SOON, reanswered).unwrap();
        net.run(SOON);
        net.hang_up(one, legs[one]);
        assert!(net.settle(SECOND * 100));
        assert_eq!(
            (net.load(0), net.load(1)),
            (Load::default(), Load::default())
        );
    }
}

#[test]
fn a_refused_change_leaves_the_call_up() {
    let mut net = net(2, None, None);
    let (caller, callee) = established(&mut net);
    net.with(0, |endpoint, now| {
        endpoint.reoffer(now, caller, &description(0, 2)).unwrap()
    });
    assert_eq!(
        net.with(0, |endpoint, now| endpoint.reoffer(
            now,
            caller,
            &description(0, 3)
        )),
        Err(CommandError::Pending)
    );
    net.wait(1, SOON, reoffer).unwrap();
    net.with(1, |endpoint, now| {
        endpoint
            .refuse_reoffer(now, callee, StatusCode::NOT_ACCEPTABLE_HERE)
            .unwrap()
    });
    let status = net.wait(0, SOON, |event| match event {
        Event::ReofferFailed { release, .. } => Some(release.status),
        _ => None,
    });
    assert_eq!(status, Some(Some(488)));
    net.hang_up(0, caller);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, None)));
}

#[test]
fn a_change_nobody_answers_gets_500_and_the_call_stays_up() {
    let mut net = net(3, None, None);
    let (caller, _) = established(&mut net);
    net.with(0, |endpoint, now| {
        endpoint.reoffer(now, caller, &description(0, 2)).unwrap()
    });
    let failed = |event: &Event| matches!(event, Event::ReofferFailed { .. }).then_some(());
    net.wait(0, SECOND * 400, failed).unwrap();
    net.hang_up(0, caller);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, None)));
}

#[test]
fn glare_is_refused_with_491_and_both_changes_happen_one_after_the_other() {
    for seed in 0..40 {
        let mut net = net(seed, None, None);
        let (caller, callee) = established(&mut net);
        net.with(0, |endpoint, now| {
            endpoint.reoffer(now, caller, &description(0, 2)).unwrap()
        });
        net.with(1, |endpoint, now| {
            endpoint.reoffer(now, callee, &description(1, 2)).unwrap()
        });
        let until = net.now + SECOND * 30;
        let (mut done, mut version) = ([false; 2], [2_u16; 2]);
        while done != [true; 2] && net.step(until) {
            for (node, leg) in [(0, caller), (1, callee)] {
                while let Some(event) = net.event(node) {
                    match event {
                        Event::Reoffer { .. } => {
                            version[node] += 1;
                            let answer = description(node, version[node]);
                            net.with(node, |endpoint, now| {
                                endpoint.answer_reoffer(now, leg, &answer).unwrap()
                            });
                        }
                        Event::Reanswered { .. } => done[node] = true,
                        Event::Snapshot { .. } => {}
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
            }
        }
        assert_eq!(done, [true; 2], "seed {seed}");
        assert!(
            count(&net, 0, "SIP/2.0 491") + count(&net, 1, "SIP/2.0 491") >= 1,
            "seed {seed}"
        );
    }
}

#[test]
fn the_session_timer_is_refreshed_by_update_and_keeps_the_call_up() {
    let mut net = net(5, timer(100, 90), None);
    let (caller, _) = established(&mut net);
    net.run(SECOND * 1000);
    assert!(
        count(&net, 0, "UPDATE") >= 15,
        "{}",
        count(&net, 0, "UPDATE")
    );
    net.hang_up(0, caller);
    assert_eq!(net.wait(0, SOON, released), Some((EndedBy::Us, None)));
    assert_eq!(net.wait(1, SOON, released), Some((EndedBy::Peer, None)));
}

#[test]
fn a_peer_that_vanishes_is_noticed_by_the_session_timer_on_both_sides() {
    let mut net = net(6, timer(100, 90), None);
    established(&mut net);
    net.cut(0, true);
    let begun = net.now;
    assert_eq!(
        net.wait(1, SECOND * 300, released),
        Some((EndedBy::Fault, Some(408)))
    );
    assert!(net.now - begun < SECOND * 140);
    assert_eq!(
        net.wait(0, SECOND * 300, released),
        Some((EndedBy::Fault, Some(408)))
    );
}

#[test]
fn a_session_interval_that_is_too_small_is_raised() {
    let mut net = net(7, timer(60, 30), timer(600, 300));
    let (caller, _) = established(&mut net);
    assert_eq!(count(&net, 1, "SIP/2.0 422"), 1);
    let (_, second) = net
        .wire
        .iter()
        .rfind(|(node, text)| *node == 0 && text.starts_with("INVITE"))
        .unwrap();
    assert!(
        second.contains("Session-Expires: 300")
            && second.contains("Min-SE: 300")
            && second.contains("CSeq: 2 ")
    );
    net.hang_up(0, caller);
}

#[test]
fn a_transfer_is_asked_for_accepted_and_told() {
    let mut net = net(8, None, None);
    let (caller, callee) = established(&mut net);
    let target = SipUri::new(net.address(0).ip(), None)
        .with_user("7")
        .with_header("Replaces", "x@y;to-tag=1;from-tag=2");
    net.with(0, |endpoint, now| {
        endpoint
            .refer(now, caller, &NameAddr::new(target.into()))
            .unwrap()
    });
    let replaces = net.wait(1, SOON, |event| match event {
        Event::Refer { replaces, .. } => Some(replaces.clone()),
        _ => None,
    });
    assert_eq!(replaces, Some(Some("x@y;to-tag=1;from-tag=2".into())));
    net.with(1, |endpoint, now| {
        endpoint.accept_refer(now, callee).unwrap()
    });
    net.run(SECOND);
    net.with(1, |endpoint, now| {
        endpoint.notify_refer(now, callee, StatusCode::OK).unwrap()
    });
    let progress = |event: &Event| match event {
        Event::ReferProgress { status, ended, .. } => Some((*status, *ended)),
        _ => None,
    };
    assert_eq!(net.wait(0, SOON, progress), Some((100, false)));
    assert_eq!(net.wait(0, SOON, progress), Some((200, true)));
}

#[test]
fn digits_by_info_are_told() {
    let mut net = net(9, None, None);
    let (caller, _) = established(&mut net);
    net.with(0, |endpoint, now| {
        endpoint
            .info(
                now,
                caller,
                "application/dtmf-relay",
                b"Signal=#\r\nDuration=160\r\n",
            )
            .unwrap();
    });
    let digit = net.wait(1, SOON, |event| match event {
        Event::Digit {
            digit, duration, ..
        } => Some((*digit, *duration)),
        _ => None,
    });
    assert_eq!(digit, Some(('#', Some(Duration::from_millis(160)))));
}

#[test]
fn options_are_answered_and_their_absence_is_told() {
    let mut net = net(10, None, None);
    let target = SipUri::new(net.address(1).ip(), None).into();
    let peer = Peer::udp(net.address(1));
    let answered = |event: &Event| match event {
        Event::OptionsAnswered { status, .. } => Some(*status),
        _ => None,
    };
    net.with(0, |endpoint, now| {
        endpoint.options(now, &target, &name_addr(0), peer).unwrap()
    });
    assert_eq!(net.wait(0, SOON, answered), Some(200));
    net.cut(1, true);
    net.with(0, |endpoint, now| {
        endpoint.options(now, &target, &name_addr(0), peer).unwrap()
    });
    assert_eq!(net.wait(0, SECOND * 40, answered), Some(408));
    net.cut(1, false);
    assert!(net.settle(SECOND * 100));
    assert_eq!(
        (net.load(0), net.load(1)),
        (Load::default(), Load::default())
    );
}
