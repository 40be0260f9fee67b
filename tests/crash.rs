//! The daemon dies at any moment and is started again, against a real Asterisk: what was said is recovered, every
//! attempt is closed once, and nothing is left ringing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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

/// Runs one whole call on a daemon that dies before its `act`-th durable act; false if the call outlived that.
fn dies_in_a_call(scene: &Scene, disk: &Disk, contact_point: usize, act: u32) -> bool {
    let mut daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    disk.die_at(act);
    let clicked = agent.post_if_alive("/api/v1/calls", &json!({"contact_point_id": contact_point}));
    let mut store = Store::open(&scene.setup);
    let sealed = "SELECT count(*) FROM attempts a JOIN recordings r ON r.call_id = a.id
        WHERE a.ended_at_ms IS NOT NULL AND a.settled = 0 AND r.state = 'sealed'
        AND NOT EXISTS (SELECT 1 FROM dialogs d WHERE d.call_id = a.id)";
    let before = store.number(sealed);
    let died = eventually("the end of a call or of the daemon", SOON, || {
        match (daemon.exited(), store.number(sealed) > before) {
            (Some(_), _) => Some(true),
            (None, true) => Some(false),
            (None, false) => None,
        }
    });
    disk.live();
    assert!(died || clicked.is_some_and(|(status, _)| status == 202));
    died
}

/// After each death the next daemon dies too, at one of its own first acts, and only the third is let live.
#[test]
fn whatever_the_daemon_was_writing_when_it_died_nothing_is_stuck() {
    let numbers = people("2101", 120);
    let pbx = Asterisk::start();
    let (setup, disk) = Disk::under(Scene::house(&pbx));
    let scene = Scene::new(pbx, setup, &["1440"], &numbers);
    let mut points = 1..;
    let mut act = 1;
    while dies_in_a_call(&scene, &disk, points.next().unwrap(), act) {
        disk.die_at(1 + act % 7);
        let mut second = Daemon::start_refused(&scene.setup);
        eventually(
            "the end of the second daemon, or its readiness",
            SOON,
            || {
                (second.exited().is_some() || second.http_status("/readyz") == Some(200))
                    .then_some(())
            },
        );
        second.kill();
        disk.live();
        let third = Daemon::start(&scene.setup);
        scene.settled_but_for_the_journal();
        let mut store = Store::open(&scene.setup);
        let unrecorded = "SELECT count(*) FROM attempts a JOIN recordings r ON r.call_id = a.id
            WHERE (a.answered_at_ms IS NOT NULL) <> (r.state IN ('sealed', 'recovered'))";
        assert_eq!(
            store.number(unrecorded),
            0,
            "after dying at act {act}, what was said and what is kept differ"
        );
        third.kill();
        act += 1;
    }
    assert!(act > 10, "the disk was asked only {act} times");
    let mut daemon = Daemon::start(&scene.setup);
    scene.settled();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(SOON).success());
}

#[test]
fn a_slow_disk_disturbs_nobody_and_loses_nothing() {
    let pbx = Asterisk::start();
    let (setup, disk) = Disk::under(Scene::house(&pbx));
    let scene = Scene::new(pbx, setup, &["1440"], &people("1700", 1));
    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let (call, _) = talk(&agent, 1);
    disk.slow_down(1_500);
    let live = files(&scene.setup.path("vault/live"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "live"))
        .unwrap();
    eventually("seconds of talk on a slow disk", SOON, || {
        (fs::metadata(&live).unwrap().len() > 50 * 4_096).then_some(())
    });
    agent.delete(&format!("/api/v1/calls/{call}"));
    let ended = reach(&agent, &call, "ended");
    disk.slow_down(0);
    let recording = recording_of(&daemon.api(&scene.floor.compliance), &call);
    assert_eq!(recording["state"], "sealed");
    assert_eq!(recording["coverage"], 1.0, "{recording}");
    let apart = ended["talk_ms"].as_i64().unwrap() - recording["duration_ms"].as_i64().unwrap();
    assert!(apart.abs() <= 40, "{ended} {recording}");
    scene.settled();
    let wav = scene.setup.path("slow.wav");
    let id = recording["recording"].as_str().unwrap();
    scene.setup.with_config(&[
        "recordings",
        "export",
        id,
        "--output",
        &wav.to_string_lossy(),
    ]);
    let (rate, sides) = read_wav(&wav);
    assert!(from_its_beginning(&sides[0], rate, 440.0) > 0.8);
    assert!(from_its_beginning(&sides[1], rate, 700.0) > 0.8);
    // What the two heard of each other meanwhile.
    for (dialled, hz) in [("1440", 700.0), (&scene.floor.numbers[0], 440.0)] {
        let heard = scene.pbx.heard(dialled);
        let (rate, sides) = read_wav(&heard[0]);
        let talk = &sides[0][sides[0].len().saturating_sub(4 * rate as usize)..];
        let share = fraction_heard(talk, rate, hz);
        assert!(share > 0.9, "{dialled} heard {hz} Hz in {share} of the end");
    }
    daemon.stop(SOON, &scene.floor.secrets());
}

/// A file system of its own, small; gone on drop.
struct Small(std::path::PathBuf);

impl Small {
    fn at(dir: std::path::PathBuf, mib: u32) -> Small {
        fs::create_dir_all(&dir).unwrap();
        let size = format!("size={mib}m,mode=700");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(&dir)
            .status()
            .unwrap();
        assert!(mounted.success(), "a small disk needs root");
        Small(dir)
    }

    /// Leaves no byte free.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![0xff; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_full_disk_places_no_call_and_ends_none() {
    let pbx = Asterisk::start_on(Net::claim());
    let setup = Scene::house(&pbx);
    let disk = Small::at(setup.path("vault"), 44);
    let scene = Scene::new(pbx, setup, &["1440", "1450"], &people("1700", 4));
    let daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let lead = daemon.api(&scene.floor.compliance);
    let length = || -> u64 {
        let live = files(&scene.setup.path("vault/live"));
        live.iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|file| file.len())
            .sum()
    };

    let (call, _) = talk(&agent, 1);
    eventually("a second of talk", SOON, || {
        (length() > 12 * 4_096).then_some(())
    });
    disk.fill();
    eventually("the alarm", SOON, || {
        let (_, metrics) = agent.bytes("/metrics", None);
        String::from_utf8_lossy(&metrics)
            .contains("ringfence_recording_alarms_total{kind=\"not_written\"} 1")
            .then_some(())
    });
    let (status, refused) = daemon
        .api(&scene.floor.agents[1])
        .post("/api/v1/calls", &json!({"contact_point_id": 2}));
    assert_eq!(status, 503, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("vault"),
        "{refused}"
    );
    assert_eq!(
        scene.pbx.channels(),
        2,
        "the call that was up is up, and no other"
    );
    assert_eq!(daemon.http_status("/readyz"), Some(503));

    // There is room again, and the recording goes on.
    let full = length();
    disk.relieve();
    eventually("audio again", SOON, || {
        (length() > full + 12 * 4_096).then_some(())
    });
    agent.delete(&format!("/api/v1/calls/{call}"));
    let ended = reach(&agent, &call, "ended");
    let recording = recording_of(&lead, &call);
    let apart = ended["talk_ms"].as_i64().unwrap() - recording["duration_ms"].as_i64().unwrap();
    assert!(apart.abs() <= 40, "{ended} {recording}");
    let coverage = recording["coverage"].as_f64().unwrap();
    assert!(
        (0.1..1.0).contains(&coverage),
        "the gap is not counted: {recording}"
    );
    scene.settled();

    // Full until after the hang-up: sealed as soon as there is room, without a restart.
    let (call, _) = talk(&agent, 3);
    eventually("a second of talk", SOON, || {
        (length() > 12 * 4_096).then_some(())
    });
    disk.fill();
    agent.delete(&format!("/api/v1/calls/{call}"));
    reach(&agent, &call, "ended");
    eventually("the second alarm", SOON, || {
        let (_, metrics) = agent.bytes("/metrics", None);
        String::from_utf8_lossy(&metrics)
            .contains("ringfence_recording_alarms_total{kind=\"not_sealed\"} 1")
            .then_some(())
    });
    disk.relieve();
    assert_eq!(recording_of(&lead, &call)["state"], "sealed");
    scene.settled();

    // Full at the start after a crash: the recording waits, and the start after that has it.
    let (call, _) = talk(&agent, 4);
    eventually("a second of talk", SOON, || {
        (length() > 12 * 4_096).then_some(())
    });
    disk.fill();
    daemon.kill();
    let daemon = Daemon::start_unready(&scene.setup);
    let first = reach(&scene.floor.agent(&daemon), &call, "ended");
    assert_eq!(first["cause"], "crashed", "{first}");
    daemon.kill();
    disk.relieve();
    let daemon = Daemon::start(&scene.setup);
    scene.settled();
    let corrected = reach(&scene.floor.agent(&daemon), &call, "ended");
    assert_eq!(corrected["cause"], "answered", "{corrected}");
    let recording = recording_of(&daemon.api(&scene.floor.compliance), &call);
    assert_eq!(recording["state"], "recovered", "{recording}");
    drop(daemon);
}
