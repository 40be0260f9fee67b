//! A disk at which the daemon dies, that is slow, or that is full.

use super::*;

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
