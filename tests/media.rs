//! What both sides hear and what the recording holds of it, through a real PBX: on its own channel, nothing of the
//! other's, and exactly as long as the answered time, also over a bad network and through hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use ringfence_media::tone::steadiness;
use rustix::process::Signal;
use support::asterisk::{Asterisk, PHONE_PASSWORD};
use support::eventually;
use support::house::{House, SOON, excess_ms, figure};
use support::phone::{Line, Phone};
use support::tone::{fraction_heard, heard, read_wav, share, sounding};

/// A recording is as long as the answered time, but for one packet each at the bridge and the hang-up.
const EXACT_MS: i64 = 40;
const RATE: u32 = 8000;

fn assert_exact(samples: &[i16], end: &support::house::End) {
    let excess = excess_ms(samples, end);
    assert!(
        excess.abs() <= EXACT_MS,
        "the recording is {excess} ms longer than the answered time; {end:?}"
    );
}

/// Asserts that what sounds in `samples` is a tone of `hz`, and that it sounds most of the time; `ledger` says what became of
/// the packets. A peer that is not run for a while leaves silence, which [`assert_untouched`] accounts for.
fn assert_heard(samples: &[i16], hz: f64, fraction: f64, ledger: &str) {
    let window = RATE as usize / 10;
    let sounding: Vec<i16> = samples
        .chunks_exact(window)
        .filter(|part| {
            part.chunks(80)
                .all(|part| part.iter().any(|sample| sample.unsigned_abs() >= 16))
        })
        .flatten()
        .copied()
        .collect();
    let sounds = sounding.len() as f64 / samples.len() as f64;
    let found = fraction_heard(&sounding, RATE, hz);
    assert!(
        found >= fraction && sounds >= fraction - 0.2,
        "{hz} Hz in {found} of the {sounds} that sound:\n{ledger}"
    );
}

/// Asserts that both sides of a recording are as they were sent: not one sample is missing or there twice while a tone
/// sounds, no line was moved and no clock followed, and what came too late for its place was counted.
fn assert_untouched(house: &House, call: &str, sides: [(&[i16], f64); 2]) {
    for ((samples, hz), repairs) in sides.into_iter().zip(house.repairs(call)) {
        let ear = steadiness(samples, hz);
        assert_eq!(ear.broken, Vec::<usize>::new(), "{hz} Hz; {repairs}");
        for name in ["lost", "reanchored", "repeated", "dropped", "crowded"] {
            assert_eq!(figure(&repairs, name), 0, "{name}; {repairs}");
        }
        // A telephone that was not run for a while leaves a pause; what is missing of the line is counted.
        let missing = samples.len() - ear.sounding;
        let silence = usize::try_from(figure(&repairs, "silence_filled")).unwrap();
        assert!(
            missing <= silence + 160 * (2 + silence / 160),
            "{missing} samples are missing at {hz} Hz; {repairs}"
        );
    }
}

/// The customer's WAV as the PBX heard it: our bridge's output.
fn customer_heard(house: &House, debtor: usize) -> Vec<i16> {
    let files = house.pbx.heard(&house.floor.numbers[debtor]);
    assert_eq!(files.len(), 1, "{files:?}");
    read_wav(&files[0]).1.remove(0)
}

#[test]
fn each_side_is_recorded_on_its_own_channel_and_heard_by_the_other() {
    let house = House::open(&["1001"], &["2304", "2504"]);
    let mut phone = registered_phone(&house, true);
    // 500 Hz, then 600 Hz; each hangs up after 4 s
    for (debtor, hz) in [(0, 500.0), (1, 600.0)] {
        let call = house.dial(0, debtor);
        phone.wait_for("CALL_ESTABLISHED", SOON);
        let end = house.end_of(&call);
        assert_eq!(end.words(), "answered/callee/customer");
        phone.wait_for("CALL_CLOSED", SOON);
        let (agent, customer) = house.export(&call);
        assert_exact(&agent, &end);
        assert_heard(&agent, 700.0, 0.95, &house.ledger());
        assert_heard(&customer, hz, 0.9, &house.ledger());
        assert_untouched(&house, &call, [(&agent, 700.0), (&customer, hz)]);
        assert!(
            !heard(&agent, RATE, hz, 0.02),
            "the customer is on the left"
        );
        assert!(
            !heard(&customer, RATE, 700.0, 0.02),
            "the agent is on the right"
        );

        house.pbx.wait_for_channels(0, SOON);
        let ear = customer_heard(&house, debtor);
        assert_heard(&ear, 700.0, 0.85, "at the customer");
        assert!(!heard(&ear, RATE, hz, 0.02), "the customer heard an echo");
        let (rate, channels) = read_wav(phone.heard().last().unwrap());
        let seconds =
            fraction_heard(&channels[0], rate, hz) * channels[0].len() as f64 / f64::from(rate);
        assert!(
            seconds > 3.0,
            "the agent heard the customer for {seconds} s"
        );
    }
    house.assert_quiet();
    assert!(
        house
            .setup
            .with_config(&["recordings", "verify"])
            .contains("2 recordings are whole, 0 are not")
    );
    house.close();
}

#[test]
fn the_agent_hears_ringing_and_early_media_and_neither_is_recorded() {
    // rings 3 s, then 500 Hz; early media of 450 Hz for 3 s, then 600 Hz
    let house = House::open(&["1001"], &["4303", "6503"]);
    let mut phone = registered_phone(&house, true);
    for (debtor, before, after) in [(0, 450.0, 500.0), (1, 450.0, 600.0)] {
        let call = house.dial(0, debtor);
        house.wait_for_state(&call, "talking");
        eventually("two seconds of talk", SOON, || {
            let files = house.pbx.heard(&house.floor.numbers[debtor]);
            (files.first()?.metadata().ok()?.len() > 32_000).then_some(())
        });
        house.hang_up(0, &call);
        let end = house.end_of(&call);
        phone.wait_for("CALL_CLOSED", SOON);
        let (rate, channels) = read_wav(phone.heard().last().unwrap());
        let seconds = |hz: f64| {
            fraction_heard(&channels[0], rate, hz) * channels[0].len() as f64 / f64::from(rate)
        };
        assert!(
            seconds(before) > 0.7,
            "{debtor}: {} s of ringing heard",
            seconds(before)
        );
        assert!(
            seconds(after) > 1.5,
            "{debtor}: {} s of the customer heard",
            seconds(after)
        );
        let (agent, customer) = house.export(&call);
        assert_exact(&customer, &end);
        assert_heard(&customer, after, 0.85, &house.ledger());
        assert!(
            !heard(&customer, RATE, before, 0.02),
            "{debtor}: what came before the answer is recorded"
        );
        assert_heard(&agent, 700.0, 0.9, &house.ledger());
    }
    house.assert_quiet();
    house.close();
}

#[test]
fn a_hold_of_the_agents_phone_leaves_the_time_line_as_it_is() {
    let house = House::open(&["1001"], &["2310"]);
    let mut phone = registered_phone(&house, true);
    let call = house.dial(0, 0);
    phone.wait_for("CALL_ESTABLISHED", SOON);
    house.wait_for_state(&call, "talking");
    let customer_has_heard = |seconds: u64| {
        eventually("audio at the customer", SOON, || {
            let files = house.pbx.heard(&house.floor.numbers[0]);
            (files.first()?.metadata().ok()?.len() > seconds * 16_000).then_some(())
        });
    };
    customer_has_heard(2);
    phone.hold();
    customer_has_heard(5);
    phone.resume();
    let end = house.end_of(&call);
    assert_eq!(end.words(), "answered/callee/customer");
    let (agent, customer) = house.export(&call);
    assert_exact(&agent, &end);
    assert_heard(&customer, 500.0, 0.95, &house.ledger());
    // 10 s, of which about 3 were on hold
    let hummed = fraction_heard(&agent, RATE, 700.0);
    assert!(
        (0.4..0.9).contains(&hummed),
        "the agent hummed for {hummed} of the call"
    );
    let (first, last) = (&agent[..8_000], &agent[agent.len() - 8_000..]);
    assert_heard(first, 700.0, 0.7, "before the hold");
    assert_heard(last, 700.0, 0.9, "after the hold");
    house.assert_quiet();
    house.close();
}

#[test]
fn a_daemon_that_stood_still_for_a_while_has_lost_nothing() {
    let mut house = House::open(&["1700"], &["2308"]);
    let call = house.dial(0, 0);
    house.wait_for_state(&call, "talking");
    for stands_still_ms in [150, 400, 800] {
        let so_far = || {
            let files = house.pbx.heard(&house.floor.numbers[0]);
            Some(files.first()?.metadata().ok()?.len())
        };
        let before = so_far().unwrap_or_default();
        eventually("more talk", SOON, || {
            (so_far()? > before + 8_000).then_some(())
        });
        house.daemon.signal(Signal::STOP);
        // What is tried is this time itself, nothing is waited for.
        std::thread::sleep(Duration::from_millis(stands_still_ms));
        house.daemon.signal(Signal::CONT);
    }
    let end = house.end_of(&call);
    assert_eq!(end.words(), "answered/callee/customer");
    let (agent, customer) = house.export(&call);
    assert_exact(&agent, &end);
    assert_untouched(&house, &call, [(&agent, 700.0), (&customer, 500.0)]);
    for (side, hz) in [(&agent, 700.0), (&customer, 500.0)] {
        assert_heard(sounding(side), hz, 0.95, &house.ledger());
    }
    for repairs in house.repairs(&call) {
        assert_eq!(figure(&repairs, "late_samples"), 0, "{repairs}");
    }
    house.assert_quiet();
    house.close();
}

#[test]
fn a_recording_is_exact_when_one_packet_in_twenty_is_lost() {
    if !inside_lossy_network("a_recording_is_exact_when_one_packet_in_twenty_is_lost") {
        return;
    }
    let house = House::open(&["1700", "1800", "1900"], &["2310", "2410", "2510"]);
    let calls: Vec<String> = (0..3).map(|n| house.dial(n, n)).collect();
    for (n, call) in calls.iter().enumerate() {
        let end = house.end_of(call);
        assert_eq!(end.words(), "answered/callee/customer");
        let (agent, customer) = house.export(call);
        assert_exact(&agent, &end);
        let (left, right) = (700.0 + 100.0 * n as f64, 500.0 + 50.0 * n as f64);
        // A window of 40 ms holds its tone only if none of its two or three packets is gone.
        let there = [share_heard(&agent, left), share_heard(&customer, right)];
        assert!(
            there.iter().all(|share| *share > 0.6),
            "{n}: {there:?}\n{}",
            house.ledger()
        );
        // What was not lost is as it was sent, before a hole and behind it.
        for ((samples, hz), repairs) in [(&agent, left), (&customer, right)]
            .into_iter()
            .zip(house.repairs(call))
        {
            let ear = steadiness(samples, hz);
            assert_eq!(ear.broken, Vec::<usize>::new(), "{hz} Hz; {repairs}");
            assert!(figure(&repairs, "lost") > 0, "{repairs}");
            for name in ["reanchored", "repeated", "dropped", "crowded"] {
                assert_eq!(figure(&repairs, name), 0, "{name}; {repairs}");
            }
        }
        // What was lost is silence in its place and nothing else's audio.
        assert!(!heard(&agent, RATE, right, 0.02) && !heard(&customer, RATE, left, 0.02));
        for side in [&agent, &customer] {
            // Half a packet long, so that one lies within each hole wherever that begins, or two: one packet in twenty
            // gives 0.05 to 0.1, and a call of three seconds strays far from its mean.
            let lost = side
                .chunks_exact(80)
                .filter(|half| half.iter().all(|sample| sample.abs() < 16))
                .count();
            let share = lost as f64 / (side.len() / 160) as f64;
            assert!(
                (0.005..0.3).contains(&share),
                "{n}: {share} of the packets are missing"
            );
        }
    }
    house.assert_quiet();
    house.close();
}

#[test]
fn a_call_lives_past_the_refreshes_of_its_session() {
    // The least that RFC 4028 allows is 90 s, so the refresh comes after 45 s; the customer hangs up after 55.
    let house = House::open_with(Asterisk::start(), &["1700"], &["2355"], |setup| {
        setup.set("trunk.session_expires_s", 90)
    });
    house.pbx.trace_sip();
    let call = house.dial(0, 0);
    let end = house.end_of(&call);
    assert_eq!(end.words(), "answered/callee/customer");
    let log = house.pbx.log();
    let refreshes = log
        .split("<--- ")
        .filter(|message| {
            (message.contains("\nUPDATE sip:") || message.contains("\nINVITE sip:"))
                && message.contains("Session-Expires: 90")
                && message
                    .lines()
                    .any(|line| line.starts_with("To:") && line.contains(";tag="))
        })
        .count();
    assert!(
        refreshes >= 2,
        "{refreshes} refreshes, one for each leg are due"
    );
    let (agent, customer) = house.export(&call);
    assert_exact(&agent, &end);
    assert_heard(&agent, 700.0, 0.98, &house.ledger());
    assert_heard(&customer, 500.0, 0.98, &house.ledger());
    // So long a call outlasts the watch on a sender's clock: a peer that was not run for a moment and stays behind is
    // followed, by single samples or by placing it anew. Nothing else breaks a tone; one place is named up to three times.
    for ((samples, hz), repairs) in [(&agent, 700.0), (&customer, 500.0)]
        .into_iter()
        .zip(house.repairs(&call))
    {
        let followed: u64 = ["repeated", "dropped", "reanchored"]
            .iter()
            .map(|name| figure(&repairs, name))
            .sum();
        let broken = steadiness(samples, hz).broken.len() as u64;
        assert!(
            broken <= 3 * followed,
            "{broken} places at {hz} Hz; {repairs}"
        );
        for name in ["lost", "crowded"] {
            assert_eq!(figure(&repairs, name), 0, "{name}; {repairs}");
        }
    }
    house.assert_quiet();
    house.close();
}

/// Share of 40 ms windows with a tone of `hz` in them, for a call so lossy that longer ones are seldom whole.
fn share_heard(samples: &[i16], hz: f64) -> f64 {
    let windows = samples.chunks_exact(RATE as usize / 25);
    let all = windows.len();
    let with_tone = windows
        .filter(|window| share(window, RATE, hz) > 0.75)
        .count();
    with_tone as f64 / all as f64
}

/// The desk phone of agent 1001, who hums 700 Hz.
fn registered_phone(house: &House, answers: bool) -> Phone {
    let phone = Phone::start(&Line {
        ip: house.pbx.net().phones(),
        port: 5210,
        pbx: house.pbx.address(),
        user: "1001".to_owned(),
        password: PHONE_PASSWORD.to_owned(),
        answers,
        registers: true,
        tone_hz: 700,
    });
    phone.wait_until_registered(SOON);
    phone
}

/// Runs the test named `test` once more, in a network of its own that loses one packet in twenty of the daemon's audio,
/// each way. True inside of it; outside, the test has been run when this returns.
fn inside_lossy_network(test: &str) -> bool {
    const MARK: &str = "RINGFENCE_TEST_LOSSY";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // The daemon's ports, media.ports.
    const SCRIPT: &str = r#"
        set -e
        PATH=$PATH:/usr/sbin:/sbin
        ip link set lo up
        nft add table inet loss
        nft 'add chain inet loss in { type filter hook input priority 0; }'
        nft 'add rule inet loss in udp dport 20000-23999 numgen random mod 100 < 5 counter drop'
        nft 'add rule inet loss in udp sport 20000-23999 numgen random mod 100 < 5 counter drop'
        exec "$0" "$@"
    "#;
    let output = Command::new("unshare")
        .args(["--net", "bash", "-c", SCRIPT])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("cannot start unshare");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "in the lossy network:\n{said}");
    assert!(said.contains("1 passed"), "nothing was tested:\n{said}");
    false
}
