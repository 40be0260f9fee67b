//! The daemon dies at any moment and is started again, against a real Asterisk: what was said is recovered, every
//! attempt is closed once, and nothing is left ringing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disk;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use support::asterisk::{Asterisk, PHONE_PASSWORD};
use support::daemon::{Daemon, Setup};
use support::disk::Disk;
use support::eventually;
use support::floor::Store;
use support::net::Net;
use support::phone::{Line, Phone};
use support::scene::{SOON, Scene, dial, files, people, reach, recording_of, talk};
use support::tone::{fraction_heard, read_wav, share};

/// Reorder window of the tap, plus one segment of the vault.
const LOST_AT_MOST: Duration = Duration::from_millis(400);

fn scene(numbers: &[String]) -> Scene {
    let pbx = Asterisk::start();
    let setup = Scene::house(&pbx);
    Scene::new(pbx, setup, &["1440", "1001"], numbers)
}

/// A-law of one sample (G.711), written without ours.
fn alaw(sample: i16) -> u8 {
    let (sign, magnitude) = match sample {
        0.. => (0x80, i32::from(sample) >> 3),
        _ => (0x00, (-1 - i32::from(sample)) >> 3),
    };
    let exponent = (magnitude >> 5).checked_ilog2().map_or(0, |bit| bit + 1);
    let mantissa = match exponent {
        0 | 1 => (magnitude >> 1) & 0x0f,
        _ => (magnitude >> exponent) & 0x0f,
    };
    let bits = u8::try_from(exponent.min(7) << 4).unwrap() | u8::try_from(mantissa).unwrap();
    (sign | bits) ^ 0x55
}

/// Share of a side in which a tone is heard, from where it begins: on a busy machine Asterisk answers some time before
/// it plays; there it also stutters now and then.
fn from_its_beginning(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let mut windows = samples.chunks_exact(rate as usize / 10);
    let begins = windows.position(|window| share(window, rate, hz) > 0.8);
    let begins = begins.unwrap_or_else(|| panic!("{hz} Hz is not heard at all"));
    assert!(
        begins < 20,
        "{hz} Hz is heard only after {begins} tenths of a second"
    );
    fraction_heard(&samples[begins * rate as usize / 10..], rate, hz)
}

/// Bytes that lie on a disk only if this audio lies there in the clear: WAV headers, and pieces of it as stereo, as
/// either side alone, and as A-law.
fn plaintexts(wav: &Path) -> Vec<Vec<u8>> {
    let (_, sides) = read_wav(wav);
    let mut all = vec![b"RIFF".to_vec(), b"WAVEfmt ".to_vec()];
    let length = sides[0].len().min(sides[1].len());
    for at in (400..length - 100).step_by(length / 12) {
        let piece = |side: usize| &sides[side][at..at + 24];
        let bytes = |samples: &[i16]| samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        // Silence is no evidence.
        let loud = |side| {
            piece(side)
                .iter()
                .filter(|s: &&i16| s.unsigned_abs() > 1_000)
                .count()
                > 12
        };
        if loud(0) && loud(1) {
            let pairs = piece(0).iter().zip(piece(1));
            let stereo: Vec<i16> = pairs.flat_map(|(l, r)| [*l, *r]).collect();
            all.push(bytes(&stereo));
        }
        for side in (0..2).filter(|side| loud(*side)) {
            all.push(bytes(piece(side)));
            all.push(piece(side).iter().map(|s| alaw(*s)).collect());
        }
    }
    all
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    // By the first byte, or megabytes take their time in an unoptimised test.
    let starts = haystack
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == needle[0]);
    starts
        .into_iter()
        .any(|(at, _)| haystack[at..].starts_with(needle))
}

/// Everything below the house but what the test itself put there.
fn data(setup: &Setup) -> Vec<(String, Vec<u8>)> {
    files(&setup.path(""))
        .into_iter()
        .filter(|path| path.extension().is_none_or(|kind| kind != "wav"))
        .filter_map(|path| Some((path.display().to_string(), fs::read(&path).ok()?)))
        .collect()
}

#[test]
fn a_recording_is_ciphertext_from_its_first_second_and_a_kill_costs_its_last_tenths_only() {
    let scene = scene(&people("1700", 3));
    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let (call, [not_before, not_after]) = talk(&agent, 1);

    // The first page and one segment more: the first tenths of a second are on the disk.
    let live = eventually("audio in the vault", SOON, || {
        files(&scene.setup.path("vault/live"))
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|file| file.len() > 3 * 4_096))
    });
    assert_eq!(live.extension().unwrap(), "live");
    let during = data(&scene.setup);
    eventually("some seconds of talk", SOON, || {
        (fs::metadata(&live).unwrap().len() > 25 * 4_096).then_some(())
    });
    let killing = Instant::now();
    daemon.kill();
    let killed = Instant::now();

    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let lead = daemon.api(&scene.floor.compliance);
    let ended = reach(&agent, &call, "ended");
    assert_eq!(ended["cause"], "answered", "{ended}");
    assert_eq!(ended["class"], "callee", "{ended}");
    let recording = recording_of(&lead, &call);
    assert_eq!(recording["state"], "recovered", "{recording}");
    assert_eq!(recording["coverage"], 1.0, "{recording}");
    let length = Duration::from_millis(recording["duration_ms"].as_u64().unwrap());
    let at_least = (killing - not_after).saturating_sub(LOST_AT_MOST);
    let at_most = killed - not_before;
    assert!(
        (at_least..=at_most).contains(&length),
        "{length:?} were recovered; they talked for at least {:?} and at most {at_most:?}",
        killing - not_after
    );
    assert_eq!(
        ended["talk_ms"].as_u64().unwrap(),
        recording["duration_ms"].as_u64().unwrap()
    );
    scene.settled();

    let id = recording["recording"].as_str().unwrap();
    let wav = scene.setup.path("recovered.wav");
    scene.setup.with_config(&[
        "recordings",
        "export",
        id,
        "--output",
        &wav.to_string_lossy(),
    ]);
    let (rate, sides) = read_wav(&wav);
    for (side, own, other) in [(0, 440.0, 700.0), (1, 700.0, 440.0)] {
        let heard = from_its_beginning(&sides[side], rate, own);
        assert!(heard > 0.8, "{own} Hz is heard in {heard} of its side");
        assert_eq!(fraction_heard(&sides[side], rate, other), 0.0);
    }

    // The auditor knows the file again, and one changed sample of it not.
    let told = scene
        .setup
        .with_config(&["recordings", "identify", &wav.to_string_lossy()]);
    assert!(told.contains(id) && told.contains("unchanged"), "{told}");
    let exported = fs::read(&wav).unwrap();
    let mut altered = exported.clone();
    altered[1_044] ^= 1;
    let other = scene.setup.path("altered.wav");
    fs::write(&other, altered).unwrap();
    let config = scene.setup.config_path();
    let output = scene.setup.cli(&[
        "recordings",
        "identify",
        &other.to_string_lossy(),
        "--config",
        &config.to_string_lossy(),
    ]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("altered.wav") && text.contains("SHA-256"),
        "{text}"
    );

    let needles = plaintexts(&wav);
    assert!(needles.len() > 30, "too little to look for");
    // Stereo, and both headers: the search finds what is there.
    assert!(holds(&exported, &needles[0]));
    assert!(needles[2..].iter().any(|needle| holds(&exported, needle)));
    for (name, content) in during.into_iter().chain(data(&scene.setup)) {
        for needle in &needles {
            assert!(
                !holds(&content, needle),
                "{name} holds audio in the clear: {needle:02x?}"
            );
        }
    }

    // The agent dials again.
    let (again, _) = talk(&agent, 2);
    agent.delete(&format!("/api/v1/calls/{again}"));
    assert_eq!(reach(&agent, &again, "ended")["cause"], "answered");
    assert_eq!(recording_of(&lead, &again)["state"], "sealed");
    scene.settled();
    daemon.stop(SOON, &scene.floor.secrets());
}

#[test]
fn a_kill_while_it_rings_at_the_customer_leaves_nothing_ringing() {
    let scene = scene(&people("4000", 2));
    let daemon = Daemon::start(&scene.setup);
    let call = dial(&scene.floor.agent(&daemon), 1);
    reach(&scene.floor.agent(&daemon), &call, "customer_ringing");
    scene.pbx.wait_for_channels(2, SOON);
    daemon.kill();
    assert_eq!(scene.pbx.channels(), 2, "the PBX knew before it was told");

    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    scene.settled();
    let ended = reach(&agent, &call, "ended");
    assert_eq!(
        (&ended["cause"], &ended["class"]),
        (&json!("crashed"), &json!("ours")),
        "{ended}"
    );
    assert_eq!(ended["talk_ms"], 0);
    let lead = daemon.api(&scene.floor.compliance);
    assert_eq!(recording_of(&lead, &call)["state"], "abandoned");
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.number("SELECT count(*) FROM attempts WHERE seized_at_ms IS NOT NULL"),
        1
    );

    // The agent dials again.
    let again = dial(&agent, 2);
    reach(&agent, &again, "customer_ringing");
    agent.delete(&format!("/api/v1/calls/{again}"));
    reach(&agent, &again, "ended");
    scene.settled();
    daemon.stop(SOON, &scene.floor.secrets());
}

#[test]
fn a_call_that_ended_while_the_database_was_away_is_known_after_a_kill() {
    let scene = scene(&people("1700", 3));
    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let (call, _) = talk(&agent, 1);
    // Another program writes and does not come to an end.
    let mut other = Store::open(&scene.setup);
    other.run("BEGIN IMMEDIATE");
    agent.delete(&format!("/api/v1/calls/{call}"));
    let kept = eventually("the end of the call in the journal", SOON, || {
        files(&scene.setup.path("journal"))
            .into_iter()
            .find(|path| path.extension().is_some_and(|kind| kind == "fact"))
    });
    assert_eq!(kept.file_stem().unwrap().to_str(), Some(call.as_str()));
    eventually("the operator to be told", SOON, || {
        daemon.log().contains("cannot be closed yet").then_some(())
    });
    daemon.kill();
    other.run("ROLLBACK");

    let daemon = Daemon::start(&scene.setup);
    scene.settled();
    let ended = reach(&scene.floor.agent(&daemon), &call, "ended");
    assert_eq!(
        (&ended["cause"], &ended["class"]),
        (&json!("answered"), &json!("callee")),
        "{ended}"
    );
    assert_eq!(
        other.texts("SELECT ended_by || ' ' || settled FROM attempts"),
        ["agent 0"],
        "told, not guessed"
    );
    assert!(!kept.exists(), "what the database knows is forgotten");
    let recording = recording_of(&daemon.api(&scene.floor.compliance), &call);
    assert_eq!(recording["coverage"], 1.0, "{recording}");
    let log = daemon.log();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ERROR "))
        .collect();
    assert!(
        errors.len() == 1 && errors[0].contains("cannot be closed yet"),
        "{errors:?}"
    );
    daemon.kill();
}

#[test]
fn a_kill_while_it_rings_at_the_agent_leaves_nothing_ringing() {
    let scene = scene(&people("1700", 2));
    let mut desk = Phone::start(&Line {
        ip: scene.pbx.net().phones(),
        port: 5210,
        pbx: scene.pbx.address(),
        user: "1001".to_owned(),
        password: PHONE_PASSWORD.to_owned(),
        answers: false,
        registers: true,
        tone_hz: 440,
    });
    desk.wait_until_registered(SOON);
    let daemon = Daemon::start(&scene.setup);
    let call = dial(&daemon.api(&scene.floor.agents[1]), 1);
    desk.wait_for("CALL_INCOMING", SOON);
    daemon.kill();

    let daemon = Daemon::start(&scene.setup);
    desk.wait_for("CALL_CLOSED", SOON);
    scene.settled();
    let agent = daemon.api(&scene.floor.agents[1]);
    let ended = reach(&agent, &call, "ended");
    assert_eq!(
        (&ended["cause"], &ended["class"]),
        (&json!("crashed"), &json!("ours")),
        "{ended}"
    );
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.number("SELECT count(*) FROM attempts WHERE seized_at_ms IS NOT NULL"),
        0
    );
    assert_eq!(store.number("SELECT count(*) FROM recordings"), 0);

    dial(&agent, 2);
    desk.wait_for("CALL_INCOMING", SOON);
    desk.accept();
    scene.pbx.wait_for_channels(3, SOON);
    desk.hang_up();
    scene.settled();
    daemon.stop(SOON, &scene.floor.secrets());
}

#[test]
fn a_customer_who_answers_while_the_daemon_is_dead_is_hung_up_on() {
    let scene = scene(&people("4102", 1));
    let daemon = Daemon::start(&scene.setup);
    let call = dial(&scene.floor.agent(&daemon), 1);
    reach(&scene.floor.agent(&daemon), &call, "customer_ringing");
    daemon.kill();
    eventually("an answer to nobody", SOON, || {
        let channels = scene.pbx.cli("core show channels concise");
        let up = channels
            .lines()
            .filter(|line| line.contains("!Up!"))
            .count();
        (up == 2).then_some(())
    });
    scene.pbx.trace_sip();

    let daemon = Daemon::start(&scene.setup);
    scene.settled();
    let ended = reach(&scene.floor.agent(&daemon), &call, "ended");
    assert_eq!(ended["cause"], "crashed", "{ended}");
    let log = scene.pbx.log();
    let received = |method: &str| {
        log.lines()
            .filter(|line| line.starts_with(method) && line.ends_with("SIP/2.0"))
            .count()
    };
    assert_eq!(
        received("BYE "),
        2,
        "both legs are ended by us and not by a timer of the PBX:\n{log}"
    );
    assert!(
        received("ACK ") >= 1,
        "the late answer was not acknowledged:\n{log}"
    );
    daemon.stop(SOON, &scene.floor.secrets());
}

#[test]
fn leftovers_are_released_when_a_pbx_that_did_not_answer_is_back() {
    let mut scene = scene(&people("1700", 2));
    let daemon = Daemon::start(&scene.setup);
    let (call, _) = talk(&scene.floor.agent(&daemon), 1);
    scene.pbx.freeze();
    daemon.kill();
    let daemon = Daemon::start_unready(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    // Closed at once, whatever the PBX does.
    reach(&agent, &call, "ended");
    assert_eq!(daemon.http_status("/readyz"), Some(503));
    scene.pbx.thaw();
    scene.settled();

    // A PBX that was started anew has forgotten them: asking it is the end of it.
    let (_, _) = talk(&agent, 2);
    daemon.kill();
    scene.pbx.restart();
    let daemon = Daemon::start(&scene.setup);
    scene.settled();
    daemon.stop(SOON, &scene.floor.secrets());
}
