//! What a peer may do: send from elsewhere, too early, rubbish or nothing, hold, close, not be there yet.

use super::*;

#[test]
fn a_stranger_is_refused_and_counted() {
    let engine = engine(2, |_| {});
    let mut call = call(&engine, None);
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let before = call.agent.stats();
    let mut stranger = Phone::new(&call.agent);
    for _ in 0..5 {
        stranger.say(8, &[0x11; 160]);
    }
    until("five refusals", || {
        call.agent.stats().refused == before.refused + 5
    });
    // RTCP of a stranger is refused too, even a BYE.
    let rtcp = SocketAddr::new(
        call.agent.local().unwrap().ip(),
        call.agent.local().unwrap().port() + 1,
    );
    stranger
        .socket
        .send_to(&[0x81, 203, 0, 1, 0, 0, 0, 9], rtcp)
        .unwrap();
    until("six refusals", || {
        call.agent.stats().refused == before.refused + 6
    });
    let heard = until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    assert_ne!(
        heard.payload[0],
        Codec::Pcmu.encode(Codec::Pcma.decode(0x11))
    );
    assert_eq!(
        call.agent.stats().restarts,
        0,
        "the stranger's SSRC was never looked at"
    );
    assert!(call.events.try_recv().is_err());
}

#[test]
fn packets_before_the_answer_are_refused() {
    let engine = engine(3, |_| {});
    let (sender, _events) = channel();
    let leg = engine.open_leg(sender).unwrap();
    let mut phone = Phone::new(&leg);
    for _ in 0..3 {
        phone.say(8, &[A; 160]);
    }
    until("three refusals", || leg.stats().refused == 3);
    assert_eq!(leg.stats().received, 0);
}

#[test]
fn broken_packets_are_counted_and_harm_nothing() {
    let engine = engine(4, |_| {});
    let mut call = call(&engine, None);
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let leg = call.agent_phone.leg;
    for junk in [&b""[..], b"x", &[0xff; 12], &[0x8f; 30], &[0xa0; 12]] {
        call.agent_phone.socket.send_to(junk, leg).unwrap();
    }
    call.agent_phone.say(33, &[0; 160]);
    until("the counts", || {
        call.agent.stats().malformed == 5 && call.agent.stats().unknown_payload == 1
    });
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
}

#[test]
fn hold_stops_the_audio_and_a_new_address_continues_the_stream() {
    let engine = engine(5, |_| {});
    let mut call = call(&engine, None);
    let before = until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let held = Remote {
        direction: Direction::Inactive,
        ..call.customer_phone.remote(Codec::Pcmu)
    };
    call.customer.set_remote(held).unwrap();
    until("hold", || {
        call.customer_phone.say(0, &[mu(); 160]);
        call.customer.stats().on_hold > 0
    });
    // From here on nothing is sent to the customer, while the agent talks on.
    let sent = call.customer.stats().sent;
    let received = call.agent.stats().received;
    until("the agent's voice", || {
        call.agent_phone.say(8, &[A; 160]);
        call.agent.stats().received > received + 10
    });
    assert_eq!(call.customer.stats().sent, sent);
    while call.customer_phone.hear().is_some() {}
    // The re-INVITE names another port.
    let mut moved = Phone::new(&call.customer);
    call.customer.set_remote(moved.remote(Codec::Pcmu)).unwrap();
    let after = until_heard(&mut call.agent_phone, &moved, 8, A, mu());
    assert_eq!(after.header.ssrc, before.header.ssrc);
    assert!(after.header.sequence.wrapping_sub(before.header.sequence) < 1_000);
    assert!(after.header.timestamp.wrapping_sub(before.header.timestamp) < 0x8000_0000);
    until_heard(&mut moved, &call.agent_phone, 0, mu(), A);
    let refused = call.customer.stats().refused;
    call.customer_phone.say(0, &[mu(); 160]);
    until("the old address refused", || {
        call.customer.stats().refused > refused
    });
}

#[test]
fn an_address_of_zeros_is_hold_and_not_this_machine() {
    let engine = engine(17, |_| {});
    let mut call = call(&engine, None);
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let port = call.customer_phone.socket.local_addr().unwrap().port();
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    call.customer
        .set_remote(Remote::udp(nowhere, Codec::Pcmu))
        .unwrap();
    until("hold", || {
        call.agent_phone.say(8, &[A; 160]);
        call.customer.stats().send_failed > 0
    });
    while call.customer_phone.hear().is_some() {}
    let failed = call.customer.stats().send_failed;
    until("more of it", || {
        call.agent_phone.say(8, &[A; 160]);
        call.customer.stats().send_failed > failed + 5
    });
    assert!(call.customer_phone.hear().is_none());
    call.customer
        .set_remote(call.customer_phone.remote(Codec::Pcmu))
        .unwrap();
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    until_heard(&mut call.customer_phone, &call.agent_phone, 0, mu(), A);
}

#[test]
fn a_peer_that_falls_silent_is_told_and_so_is_its_return() {
    let engine = engine(7, |config| {
        config.silence_after = Duration::from_millis(150)
    });
    let mut call = call(&engine, None);
    let mut silent =
        [next_event(&mut call.events), next_event(&mut call.events)].map(|event| match event {
            MediaEvent::Silent { leg, since } => {
                assert!(since >= Duration::from_millis(150));
                leg
            }
            other => panic!("{other:?}"),
        });
    silent.sort();
    assert_eq!(silent, [call.agent.id(), call.customer.id()]);
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let MediaEvent::Resumed { leg, .. } = next_event(&mut call.events) else {
        panic!("not resumed")
    };
    assert_eq!(leg, call.agent.id());
    assert!(call.agent.stats().silences >= 1);
}

#[test]
fn a_closed_leg_says_bye_and_its_ports_rest() {
    let engine = engine(8, |_| {});
    let total = engine.ports().total;
    let (sender, _events) = channel();
    let leg = engine.open_leg(sender.clone()).unwrap();
    let phone = Phone::new(&leg);
    let rtcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rtcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = Address::Udp {
        rtp: phone.socket.local_addr().unwrap(),
        rtcp: Rtcp::At(rtcp.local_addr().unwrap()),
    };
    leg.set_remote(Remote {
        address,
        ..phone.remote(Codec::Pcma)
    })
    .unwrap();
    assert_eq!(engine.ports().in_use, 1);
    leg.close(Instant::now());
    let mut buffer = [0; 512];
    let len = rtcp.recv(&mut buffer).unwrap();
    let mut bye = false;
    assert!(rtp::is_rtcp(&buffer[..len]));
    assert!(ringfence_media::rtcp::read(&buffer[..len], |said| bye |=
        said == ringfence_media::rtcp::Said::Bye));
    assert!(bye);
    until("quarantine", || engine.ports().quarantined == 1);
    // A dropped handle closes the leg as well, and every other pair is given before the resting one is missed.
    let legs: Vec<Leg> = (0..total - 1)
        .map(|_| engine.open_leg(sender.clone()).unwrap())
        .collect();
    let refused = engine.open_leg(sender.clone()).unwrap_err();
    assert!(
        refused.to_string().contains("no RTP port is free"),
        "{refused}"
    );
    drop(legs);
    until("all closed", || engine.ports().quarantined == total);
}

#[test]
fn a_port_of_another_program_is_passed_over() {
    let engine = engine(9, |_| {});
    let foreign = UdpSocket::bind((Ipv4Addr::LOCALHOST, 18_360)).unwrap();
    let foreign_rtcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 18_363)).unwrap();
    let (sender, _events) = channel();
    let leg = engine.open_leg(sender).unwrap();
    assert_eq!(leg.local().unwrap().port(), 18_364);
    drop((foreign, foreign_rtcp));
}

#[test]
fn rtcp_is_heard_on_its_own_port_and_on_the_shared_one() {
    let engine = engine(10, |_| {});
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 9];
    for mux in [false, true] {
        let mut call = call(&engine, None);
        let rtcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = if mux {
            Rtcp::Mux
        } else {
            Rtcp::At(rtcp.local_addr().unwrap())
        };
        let address = Address::Udp {
            rtp: call.agent_phone.socket.local_addr().unwrap(),
            rtcp: at,
        };
        call.agent
            .set_remote(Remote {
                address,
                ..call.agent_phone.remote(Codec::Pcma)
            })
            .unwrap();
        until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
        let local = call.agent.local().unwrap();
        if mux {
            call.agent_phone.socket.send_to(&bye, local).unwrap();
        } else {
            rtcp.send_to(&bye, SocketAddr::new(local.ip(), local.port() + 1))
                .unwrap();
        }
        assert_eq!(
            next_event(&mut call.events),
            MediaEvent::Bye {
                leg: call.agent.id()
            }
        );
        assert_eq!(call.agent.stats().rtcp_received, 1);
    }
}

#[test]
fn a_peer_that_is_not_there_yet_kills_nothing() {
    let engine = engine(11, |_| {});
    let mut call = call(&engine, None);
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let address = call.customer_phone.socket.local_addr().unwrap();
    let leg = call.customer_phone.leg;
    drop(call.customer_phone);
    let sent = call.customer.stats().sent;
    until("sending into the void", || {
        call.agent_phone.say(8, &[A; 160]);
        call.customer.stats().sent > sent + 20
    });
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut back = Phone {
        socket,
        leg,
        ssrc: 3,
        sequence: 0,
        timestamp: 0,
    };
    until_heard(&mut call.agent_phone, &back, 8, A, mu());
    until_heard(&mut back, &call.agent_phone, 0, mu(), A);
}
