//! The engine over real sockets on loopback: two telephones of the test's own, and what each of them hears.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use ringfence_media::dtmf::Event;
use ringfence_media::rtp::{self, Header};
use ringfence_media::tone::goertzel;
use ringfence_media::{
    Address, Codec, Direction, Engine, EngineConfig, Leg, LegStats, MediaError, MediaEvent, Remote,
    Rtcp, Tap, Tone,
};
use tokio::sync::mpsc;

/// Nothing here takes longer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine on its own part of the port range.
fn engine(test: u16, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let first = 18_000 + test * 40; // below the ephemeral ports
    let mut config = EngineConfig {
        ports: first..=first + 39,
        ..EngineConfig::default()
    };
    change(&mut config);
    Engine::start(config).unwrap()
}

fn channel() -> (mpsc::Sender<MediaEvent>, mpsc::Receiver<MediaEvent>) {
    mpsc::channel(16)
}

/// A telephone: one socket and the numbers of the stream it sends.
struct Phone {
    socket: UdpSocket,
    leg: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// What a telephone heard.
#[derive(Debug)]
struct Heard {
    header: Header,
    payload: Vec<u8>,
}

impl Phone {
    fn new(leg: &Leg) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let ssrc = u32::from(socket.local_addr().unwrap().port());
        Self {
            socket,
            leg: leg.local().unwrap(),
            ssrc,
            sequence: 0,
            timestamp: 0,
        }
    }

    fn remote(&self, codec: Codec) -> Remote {
        Remote::udp(self.socket.local_addr().unwrap(), codec)
    }

    fn say(&mut self, payload_type: u8, payload: &[u8]) {
        let head = rtp::header(
            false,
            payload_type,
            self.sequence,
            self.timestamp,
            self.ssrc,
        );
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        let packet = [&head[..], payload].concat();
        match self.socket.send_to(&packet, self.leg) {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => panic!("{error}"),
            _ => {}
        }
    }

    fn hear(&self) -> Option<Heard> {
        let mut buffer = [0; 2_048];
        let len = self.socket.recv(&mut buffer).ok()?;
        let header = rtp::parse(&buffer[..len]).unwrap();
        let payload = buffer[header.payload_start..header.payload_end].to_vec();
        Some(Heard { header, payload })
    }
}

/// Says `code` until the other end hears it: commands reach the audio thread in their own time.
fn until_heard(from: &mut Phone, to: &Phone, payload_type: u8, code: u8, expected: u8) -> Heard {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        from.say(payload_type, &[code; 160]);
        while let Some(heard) = to.hear() {
            if heard.payload == [expected; 160] {
                return heard;
            }
        }
    }
    panic!("never heard");
}

/// Waits for a state that the audio thread reaches by itself.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

fn next_event(events: &mut mpsc::Receiver<MediaEvent>) -> MediaEvent {
    let mut found = None;
    until("an event", || {
        found = events.try_recv().ok();
        found.is_some()
    });
    found.unwrap()
}

struct Call {
    agent: Leg,
    customer: Leg,
    agent_phone: Phone,
    customer_phone: Phone,
    events: mpsc::Receiver<MediaEvent>,
}

/// Two legs with phones, A-law and mu-law, bridged.
fn call(engine: &Engine, tap: Option<Tap>) -> Call {
    let (sender, events) = channel();
    let agent = engine.open_leg(sender.clone()).unwrap();
    let customer = engine.open_leg_beside(&agent, sender).unwrap();
    let (agent_phone, customer_phone) = (Phone::new(&agent), Phone::new(&customer));
    agent.set_remote(agent_phone.remote(Codec::Pcma)).unwrap();
    customer
        .set_remote(customer_phone.remote(Codec::Pcmu))
        .unwrap();
    engine
        .bridge(&agent, &customer, tap, Instant::now())
        .unwrap();
    Call {
        agent,
        customer,
        agent_phone,
        customer_phone,
        events,
    }
}

const A: u8 = 0x2a;

fn mu() -> u8 {
    Codec::Pcmu.encode(Codec::Pcma.decode(A))
}

#[test]
fn both_hear_each_other_each_in_its_own_law() {
    let engine = engine(0, |_| {});
    let mut call = call(&engine, None);
    let first = until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    assert_eq!(first.header.payload_type, 0);
    let back = until_heard(&mut call.customer_phone, &call.agent_phone, 0, mu(), A);
    assert_eq!(back.header.payload_type, 8);
    assert_ne!(
        first.header.ssrc, call.agent_phone.ssrc,
        "we are the source on our own legs"
    );
    let second = until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    assert_eq!(second.header.ssrc, first.header.ssrc);
    assert_eq!(
        second.header.sequence,
        first.header.sequence.wrapping_add(1)
    );
    assert_eq!(
        second.header.timestamp,
        first.header.timestamp.wrapping_add(160)
    );
    let LegStats {
        received,
        received_octets,
        lost,
        malformed,
        ..
    } = call.agent.stats();
    assert_eq!((received_octets, lost, malformed), (received * 160, 0, 0));
}

#[test]
fn a_digit_is_relayed_under_the_other_payload_type_and_told_once() {
    let engine = engine(1, |_| {});
    let mut call = call(&engine, None);
    let remote = Remote {
        telephone_event: Some(96),
        ..call.customer_phone.remote(Codec::Pcmu)
    };
    call.customer.set_remote(remote).unwrap();
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    let timestamp = call.agent_phone.timestamp;
    for step in 0..3_u16 {
        let event = Event {
            code: 7,
            end: step == 2,
            volume: 10,
            duration: 160 * (step + 1),
        };
        call.agent_phone.say(101, &event.to_bytes());
        call.agent_phone.timestamp = timestamp;
    }
    let mut heard = Vec::new();
    until("three event packets", || {
        heard.extend(
            call.customer_phone
                .hear()
                .filter(|heard| heard.payload.len() == 4),
        );
        heard.len() == 3
    });
    assert!(heard.iter().all(|packet| packet.header.payload_type == 96));
    assert!(
        heard
            .windows(2)
            .all(|two| two[0].header.timestamp == two[1].header.timestamp)
    );
    assert_eq!(
        heard[2].payload,
        Event {
            code: 7,
            end: true,
            volume: 10,
            duration: 480
        }
        .to_bytes()
    );
    let MediaEvent::Digit { leg, digit } = next_event(&mut call.events) else {
        panic!("no digit")
    };
    assert_eq!((leg, digit.as_char()), (call.agent.id(), '7'));
    assert!(call.events.try_recv().is_err());
    assert_eq!(call.agent.stats().digits, 1);

    // A peer that takes no digits gets none, and it is counted.
    let remote = Remote {
        telephone_event: None,
        ..call.customer_phone.remote(Codec::Pcmu)
    };
    call.customer.set_remote(remote).unwrap();
    until_heard(&mut call.agent_phone, &call.customer_phone, 8, A, mu());
    call.agent_phone.say(
        101,
        &Event {
            code: 1,
            end: false,
            volume: 10,
            duration: 160,
        }
        .to_bytes(),
    );
    until("the count", || {
        call.customer.stats().digits_undeliverable == 1
    });
}

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
fn the_agent_hears_ringback_until_the_customer_speaks() {
    let engine = engine(6, |_| {});
    let mut call = call(&engine, None);
    call.agent.play(Tone::RINGBACK).unwrap();
    let mut samples: Vec<i16> = Vec::new();
    let mut headers: Vec<Header> = Vec::new();
    until("400 ms of tone", || {
        if let Some(heard) = call.agent_phone.hear() {
            samples.extend(heard.payload.iter().map(|&code| Codec::Pcma.decode(code)));
            headers.push(heard.header);
        }
        samples.len() >= 3_200
    });
    assert!(goertzel(&samples, 450.0) > 0.95);
    assert!(headers[0].marker && headers[1..].iter().all(|header| !header.marker));
    let voice = until_heard(&mut call.customer_phone, &call.agent_phone, 0, mu(), A);
    assert_eq!(
        voice.header.ssrc, headers[0].ssrc,
        "tone and voice are one stream"
    );
    let ahead = voice
        .header
        .sequence
        .wrapping_sub(headers.last().unwrap().sequence);
    assert!((1..1_000).contains(&ahead));
    // The tone is over: all that comes is what the customer says.
    let next = until_heard(&mut call.customer_phone, &call.agent_phone, 0, mu(), A);
    assert_eq!(next.header.sequence, voice.header.sequence.wrapping_add(1));
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

#[test]
fn a_datagram_pair_is_a_leg_like_any_other() {
    let engine = engine(12, |_| {});
    let (sender, _events) = channel();
    let customer = engine.open_leg(sender.clone()).unwrap();
    let (ours, browser) = UnixDatagram::pair().unwrap();
    let agent = engine.open_pair_leg(ours, Some(&customer), sender).unwrap();
    let mut phone = Phone::new(&customer);
    agent
        .set_remote(Remote::pair(Codec::Pcmu, 0, Some(110)))
        .unwrap();
    customer.set_remote(phone.remote(Codec::Pcma)).unwrap();
    engine
        .bridge(&agent, &customer, None, Instant::now())
        .unwrap();
    browser
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut buffer = [0; 2_048];
    until("the customer's voice", || {
        phone.say(8, &[A; 160]);
        matches!(browser.recv(&mut buffer), Ok(172))
    });
    let header = rtp::parse(&buffer[..172]).unwrap();
    assert_eq!((header.payload_type, buffer[12]), (0, mu()));
    let mut sequence = 0;
    until("the agent's voice", || {
        sequence += 1;
        let head = rtp::header(false, 0, sequence, u32::from(sequence) * 160, 5);
        browser.send(&[&head[..], &[mu(); 160]].concat()).unwrap();
        phone.hear().is_some_and(|heard| heard.payload == [A; 160])
    });
    // The browser goes away: the leg stays, the customer is still heard, nothing fails.
    drop(browser);
    let received = customer.stats().received;
    until("packets after that", || {
        phone.say(8, &[A; 160]);
        customer.stats().received > received + 5 && agent.stats().send_failed > 0
    });
}

#[test]
fn legs_of_different_threads_can_be_bridged() {
    let engine = engine(13, |config| config.threads = 2);
    let (sender, _events) = channel();
    let agent = engine.open_leg(sender.clone()).unwrap();
    let customer = engine.open_leg(sender).unwrap();
    let (mut agent_phone, mut customer_phone) = (Phone::new(&agent), Phone::new(&customer));
    agent.set_remote(agent_phone.remote(Codec::Pcma)).unwrap();
    customer
        .set_remote(customer_phone.remote(Codec::Pcmu))
        .unwrap();
    engine
        .bridge(&agent, &customer, None, Instant::now())
        .unwrap();
    until_heard(&mut agent_phone, &customer_phone, 8, A, mu());
    until_heard(&mut customer_phone, &agent_phone, 0, mu(), A);
    customer
        .set_remote(customer_phone.remote(Codec::Pcma))
        .unwrap();
    until_heard(&mut agent_phone, &customer_phone, 8, A, A);
}

#[test]
fn a_transfer_keeps_the_agents_stream_and_stops_the_recording() {
    let engine = engine(14, |_| {});
    let (tap, mut reader) = Tap::new(2_000);
    let mut call = call(&engine, Some(tap));
    let before = until_heard(&mut call.customer_phone, &call.agent_phone, 0, mu(), A);
    let (sender, _events) = channel();
    let third = engine.open_leg_beside(&call.agent, sender).unwrap();
    let mut third_phone = Phone::new(&third);
    third.set_remote(third_phone.remote(Codec::Pcma)).unwrap();
    engine
        .bridge(&call.agent, &third, None, Instant::now())
        .unwrap();
    let after = until_heard(&mut third_phone, &call.agent_phone, 8, A, A);
    assert_eq!(after.header.ssrc, before.header.ssrc);
    assert!(after.header.sequence.wrapping_sub(before.header.sequence) < 1_000);
    let mut samples = [0; 1_024];
    until("the end of the recording", || {
        while reader.read(&mut samples) > 0 {}
        reader.ended()
    });
    // The former customer is connected with nobody.
    let received = call.customer.stats().received;
    until("the customer alone", || {
        call.customer_phone.say(0, &[0x11; 160]);
        call.customer.stats().received > received + 5
    });
    let strange = Codec::Pcma.encode(Codec::Pcmu.decode(0x11));
    while let Some(heard) = call.agent_phone.hear() {
        assert_ne!(heard.payload[0], strange);
    }
}

#[test]
fn the_recording_has_each_voice_on_its_channel_and_the_exact_length() {
    let engine = engine(15, |_| {});
    let (sender, _events) = channel();
    let agent = engine.open_leg(sender.clone()).unwrap();
    let customer = engine.open_leg_beside(&agent, sender).unwrap();
    let (mut agent_phone, mut customer_phone) = (Phone::new(&agent), Phone::new(&customer));
    agent.set_remote(agent_phone.remote(Codec::Pcma)).unwrap();
    customer
        .set_remote(customer_phone.remote(Codec::Pcma))
        .unwrap();
    let (tap, mut reader) = Tap::new(10_000);
    let start = Instant::now();
    let joined = engine.bridge(&agent, &customer, Some(tap), start).unwrap();
    assert!(joined.blocking_recv().unwrap() >= start);
    // A second of talk in real time: the recording's line is the clock's.
    let mut number = 0_u32;
    while number < 50 {
        if start.elapsed() >= Duration::from_millis(20) * (number + 1) {
            number += 1;
            agent_phone.say(8, &[A; 160]);
            customer_phone.say(8, &[0xaa; 160]);
        } else {
            let _ = agent_phone.hear(); // waits at most 20 ms
        }
    }
    until("all packets", || {
        agent.stats().received == 50 && customer.stats().received == 50
    });
    let end = start + Duration::from_millis(1_500);
    engine.unbridge(&agent, end).unwrap();
    let mut samples = vec![0; 40_000];
    let mut len = 0;
    until("the end", || {
        len += reader.read(&mut samples[len..]);
        reader.ended()
    });
    assert_eq!(len, 2 * 12_000, "1.5 s of stereo");
    assert_eq!(reader.report().length, Some(12_000));
    let (left, right) = (Codec::Pcma.decode(A), Codec::Pcma.decode(0xaa));
    let count = |side: usize, value| {
        samples[..len]
            .iter()
            .skip(side)
            .step_by(2)
            .filter(|&&s| s == value)
            .count()
    };
    // On a busy machine some packets may come too late for their place; none may ever be on the wrong channel.
    assert!(count(0, left) > 4_000 && count(1, right) > 4_000);
    assert_eq!((count(0, right), count(1, left)), (0, 0));
}

#[test]
fn an_engine_that_ends_closes_everything() {
    let engine = engine(16, |_| {});
    let (tap, mut reader) = Tap::new(1_000);
    let call = call(&engine, Some(tap));
    drop(engine);
    let mut samples = [0; 1_024];
    while reader.read(&mut samples) > 0 {}
    assert!(reader.ended());
    let refused = call.agent.play(Tone::BUSY).unwrap_err();
    assert!(matches!(refused, MediaError::Stopped));
}
