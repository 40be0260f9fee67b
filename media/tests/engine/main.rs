//! The engine over real sockets on loopback: two telephones of the test's own, and what each of them hears.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod peers;

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
