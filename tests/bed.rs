//! Tests of the test bed itself: the peers start, and the ear can tell one tone from another.
//!
//! When something else fails, look here first: if these fail too, it is the machine and not the daemon.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::asterisk::Asterisk;
use support::net::Net;
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
