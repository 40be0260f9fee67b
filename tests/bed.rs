//! Tests of the test bed itself: the peers start, and the ear can tell one tone from another.
//!
//! When something else fails, look here first: if these fail too, it is the machine and not the daemon.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::asterisk::{Asterisk, PHONE_PASSWORD};
use support::net::Net;
use support::phone::{Line, Phone};
use support::sipp::{Calls, Manner, Sipp};
use support::tone::{fraction_heard, heard, read_wav, share, wav_file};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn two_claims_are_two_networks() {
    let (one, other) = (Net::claim(), Net::claim());
    assert_ne!(one.pbx(), other.pbx());
    assert_ne!(one.port(), one.port());
}

#[test]
fn a_tone_is_found_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (rate, channels) = read_wav(&wav_file(dir.path(), 440, 2));
    let samples = &channels[0];
    assert_eq!((rate, channels.len(), samples.len()), (8000, 1, 16000));
    assert!(share(samples, rate, 440.0) > 0.99);
    assert!(share(samples, rate, 500.0) < 0.01);
    assert!(heard(samples, rate, 440.0, 1.0));
    assert!(!heard(samples, rate, 490.0, 0.1));
}

#[test]
fn silence_and_noise_hold_no_tone() {
    assert!(share(&[0; 8000], 8000, 440.0) < f64::EPSILON);
    // a small linear congruential generator: noise that is the same on every run
    let mut state = 1_u32;
    let noise: Vec<i16> = (0..8000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        })
        .collect();
    assert!(fraction_heard(&noise, 8000, 440.0) < f64::EPSILON);
}

#[test]
fn a_call_goes_through_the_pbx_with_audio() {
    let pbx = Asterisk::start();
    let from = SocketAddr::new(pbx.net().callers(), 5080);
    let call = |number: &str| Calls {
        number: number.to_owned(),
        count: 1,
        rate: 1,
        tone_hz: 600,
        talk: Duration::from_secs(2),
    };

    // a customer played by Asterisk hears the caller's tone, and nothing of its own
    let caller = Sipp::call(from, pbx.address(), &call("+8613800131440"));
    pbx.wait_for_channels(1, SOON);
    assert!(
        pbx.cli("core show channels").contains("callers"),
        "the channel is named after the endpoint"
    );
    caller.finish(SOON);
    pbx.wait_for_channels(0, SOON);
    let files = pbx.heard("+8613800131440");
    assert_eq!(
        files.len(),
        1,
        "one call, one file: {files:?}\n{}",
        pbx.log()
    );
    let (rate, channels) = read_wav(&files[0]);
    assert!(
        heard(&channels[0], rate, 600.0, 0.8),
        "the customer did not hear the caller"
    );
    assert!(
        !heard(&channels[0], rate, 440.0, 0.05),
        "the customer heard itself"
    );

    // an agent's phone played by SIPp, at its fixed address: two channels, bridged
    let phone = Sipp::listen(pbx.phone_address(1101), &Manner::answer(800));
    let caller = Sipp::call(from, pbx.address(), &call("1101"));
    pbx.wait_for_channels(2, SOON);
    caller.finish(SOON);
    pbx.wait_for_channels(0, SOON);
    assert!(
        phone.messages().contains("BYE sip:"),
        "the phone was not told of the end:\n{}",
        phone.messages()
    );
}

#[test]
fn a_phone_registers_is_called_and_keeps_what_it_heard() {
    let pbx = Asterisk::start();
    let mut phone = Phone::start(&Line {
        ip: pbx.net().phones(),
        port: 5210,
        pbx: pbx.address(),
        user: "1001".to_owned(),
        password: PHONE_PASSWORD.to_owned(),
        answers: true,
        registers: true,
        tone_hz: 700,
    });
    phone.wait_until_registered(SOON);
    assert!(pbx.registered("1001"));
    let calls = Calls {
        number: "1001".to_owned(),
        count: 1,
        rate: 1,
        tone_hz: 600,
        talk: Duration::from_secs(3),
    };
    let caller = Sipp::call(
        SocketAddr::new(pbx.net().callers(), 5080),
        pbx.address(),
        &calls,
    );
    phone.wait_for("CALL_ESTABLISHED", SOON);
    phone.wait_for("CALL_CLOSED", SOON);
    caller.finish(SOON);
    let (rate, channels) = read_wav(&phone.heard()[0]);
    assert!(
        heard(&channels[0], rate, 600.0, 0.7),
        "the phone did not hear the caller: {}",
        phone.log()
    );
}

/// The configuration we recommend: the daemon reaches the carrier, a collector's phone does not.
#[test]
fn with_the_sample_configuration_only_the_daemon_reaches_the_trunk() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/asterisk");
    let pbx = Asterisk::start_with(Net::claim(), &directory, |net, _, text| {
        // the phone that stands in for the daemon here knows MD5 only
        text.replace("SHA-256,MD5", "MD5")
            .replace("0.0.0.0:5060", &format!("{}:5060", net.pbx()))
            .replace("192.0.2.1", &net.load().to_string())
    });
    assert!(
        !pbx.log().contains("ERROR"),
        "the sample does not load cleanly:\n{}",
        pbx.log()
    );
    let carrier = Sipp::listen(
        SocketAddr::new(pbx.net().load(), 5060),
        &Manner::answer(440),
    );
    let line = |user: &str, password: &str, port| Line {
        ip: pbx.net().phones(),
        port,
        pbx: pbx.address(),
        user: user.to_owned(),
        password: password.to_owned(),
        answers: true,
        registers: true,
        tone_hz: 600,
    };
    let outside = format!("sip:+8613800138000@{}", pbx.address());

    let mut desk = Phone::start(&line("1001", "CHANGE-phone-1001", 5210));
    desk.wait_until_registered(SOON);
    desk.dial(&outside);
    let refused = desk.wait_for("CALL_CLOSED", SOON);
    assert!(
        refused["param"].as_str().unwrap_or("").contains("404"),
        "a phone must not find the outside: {refused}"
    );
    assert_eq!(
        carrier.messages().matches("INVITE sip:").count(),
        0,
        "a phone reached the carrier"
    );

    let mut daemon = Phone::start(&line("ringfence", "CHANGE-ringfence-password", 5220));
    daemon.wait_until_registered(SOON);
    daemon.dial(&outside);
    daemon.wait_for("CALL_ESTABLISHED", SOON);
    assert!(
        carrier.messages().contains("INVITE sip:8613800138000@"),
        "the carrier saw no call"
    );
    daemon.hang_up();
    daemon.wait_for("CALL_CLOSED", SOON);

    // the daemon rings a collector
    daemon.dial(&format!("sip:1001@{}", pbx.address()));
    desk.wait_for("CALL_ESTABLISHED", SOON);
    daemon.hang_up();
    desk.wait_for("CALL_CLOSED", SOON);
    pbx.wait_for_channels(0, SOON);
}

#[test]
fn customers_do_what_the_end_of_their_number_says() {
    let pbx = Asterisk::start();
    let mut caller = Phone::start(&Line {
        ip: pbx.net().callers(),
        port: 5220,
        pbx: pbx.address(),
        user: "caller".to_owned(),
        password: String::new(),
        answers: false,
        registers: false,
        tone_hz: 600,
    });
    for (digits, status) in [
        ("9000", "404"),
        ("5000", "486"),
        ("5001", "503"),
        ("5002", "486"),
        ("3001", "404"),
        ("3017", "486"),
        ("3021", "403"),
        ("3034", "503"),
        ("7003", "404"),
    ] {
        caller.dial(&format!("sip:+861380013{digits}@{}", pbx.address()));
        let closed = caller.wait_for("CALL_CLOSED", SOON);
        assert!(
            closed["param"].as_str().unwrap_or("").starts_with(status),
            "{digits} should answer {status}: {closed}"
        );
    }
    // rings for ever: until the caller gives up
    caller.dial(&format!("sip:+8613800134000@{}", pbx.address()));
    caller.wait_for("CALL_RINGING", SOON);
    caller.hang_up();
    caller.wait_for("CALL_CLOSED", SOON);
    // hangs up by itself after a second
    caller.dial(&format!("sip:+8613800132101@{}", pbx.address()));
    caller.wait_for("CALL_ESTABLISHED", SOON);
    caller.wait_for("CALL_CLOSED", SOON);
    // early media, then an answer
    caller.dial(&format!("sip:+8613800136101@{}", pbx.address()));
    caller.wait_for("CALL_PROGRESS", SOON);
    caller.wait_for("CALL_ESTABLISHED", SOON);
    caller.hang_up();
    caller.wait_for("CALL_CLOSED", SOON);
    pbx.wait_for_channels(0, SOON);
}

#[test]
fn a_pbx_that_restarts_or_freezes_comes_back_on_its_address() {
    let mut pbx = Asterisk::start();
    let address = pbx.address();
    pbx.freeze();
    pbx.thaw();
    assert_eq!(pbx.channels(), 0);
    pbx.kill();
    pbx.restart();
    assert_eq!((pbx.channels(), pbx.address()), (0, address));
}

#[test]
fn phones_do_what_their_manner_says() {
    let pbx = Asterisk::start();
    let mut caller = Phone::start(&Line {
        ip: pbx.net().callers(),
        port: 5220,
        pbx: pbx.address(),
        user: "caller".to_owned(),
        password: String::new(),
        answers: false,
        registers: false,
        tone_hz: 600,
    });
    let second = Duration::from_secs(1);
    let uri = |extension: u16| format!("sip:{extension}@{}", pbx.address());

    let _busy = Sipp::listen(pbx.phone_address(1101), &Manner::busy());
    caller.dial(&uri(1101));
    let closed = caller.wait_for("CALL_CLOSED", SOON);
    assert!(
        closed["param"].as_str().unwrap_or("").starts_with("486"),
        "{closed}"
    );

    let rejecting = Sipp::listen(pbx.phone_address(1102), &Manner::reject(second));
    caller.dial(&uri(1102));
    caller.wait_for("CALL_RINGING", SOON);
    caller.wait_for("CALL_CLOSED", SOON);
    assert!(rejecting.messages().contains("SIP/2.0 603 Decline"));

    let ringing = Sipp::listen(pbx.phone_address(1103), &Manner::RingForEver);
    caller.dial(&uri(1103));
    caller.wait_for("CALL_RINGING", SOON);
    caller.hang_up();
    caller.wait_for("CALL_CLOSED", SOON);
    ringing.wait_for_message("SIP/2.0 487 Request Terminated", SOON);
    ringing.wait_for_message("ACK sip:", SOON);

    let brief = Sipp::listen(pbx.phone_address(1104), &Manner::answer_for(700, second));
    caller.dial(&uri(1104));
    caller.wait_for("CALL_ESTABLISHED", SOON);
    caller.wait_for("CALL_CLOSED", SOON);
    assert!(
        brief.messages().contains("UDP message sent") && brief.messages().contains("\nBYE sip:")
    );
    pbx.wait_for_channels(0, SOON);
    assert_eq!(
        ringing.errors().matches("Aborting").count(),
        0,
        "{}",
        ringing.errors()
    );
}
