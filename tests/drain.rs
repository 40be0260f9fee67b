//! How the daemon is told to stop, to read its configuration again, and how it tells its supervisor; that it does all of
//! it under its unit's filter, and keeps nothing of calls that are over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use support::asterisk::{Asterisk, USER};
use support::daemon::{Daemon, assert_clean};
use support::eventually;
use support::floor::Store;
use support::process::Process;
use support::scene::{SOON, Scene, dial, people, reach, talk};
use support::unit::{allowed_calls, confine};

fn scene(drain_s: i64, numbers: &[String]) -> Scene {
    let pbx = Asterisk::start();
    let setup = Scene::house(&pbx).set("calls.drain_s", drain_s);
    Scene::new(pbx, setup, &["1440", "1450"], numbers)
}

/// The daemon is gone: the PBX knows it no more, and everything is sealed.
fn all_is_in_order(scene: &Scene) {
    eventually("the end of the registration", SOON, || {
        (!scene.pbx.registered(USER)).then_some(())
    });
    scene.settled();
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.number("SELECT count(*) FROM attempts WHERE settled = 1"),
        0
    );
}

#[test]
fn a_draining_daemon_takes_no_call_and_waits_for_those_that_are_up() {
    let scene = scene(600, &people("1700", 2));
    let mut daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let (call, _) = talk(&agent, 1);
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("draining", SOON);
    eventually("the drain", SOON, || {
        (daemon.http_status("/readyz") == Some(503)).then_some(())
    });
    let (status, refused) = daemon
        .api(&scene.floor.agents[1])
        .post("/api/v1/calls", &json!({"contact_point_id": 2}));
    assert_eq!(status, 503, "{refused}");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("being stopped"),
        "{refused}"
    );
    let (_, body) = agent.get(&format!("/api/v1/calls/{call}"));
    assert_eq!(body["state"], "talking", "the drain disturbed a call");
    assert_eq!(scene.pbx.channels(), 2);

    // The agent hangs up, and that ends the drain.
    agent.delete(&format!("/api/v1/calls/{call}"));
    assert!(daemon.wait(SOON).success());
    assert_clean(&daemon.log(), &scene.floor.secrets());
    all_is_in_order(&scene);
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.texts("SELECT cause || ' ' || ended_by FROM attempts"),
        ["answered agent"]
    );
    assert_eq!(store.texts("SELECT state FROM recordings"), ["sealed"]);
}

#[test]
fn when_its_patience_is_over_the_drain_ends_what_is_up_sealed() {
    let mut numbers = people("1700", 1);
    numbers.extend(people("4000", 1));
    let scene = scene(2, &numbers);
    let mut daemon = Daemon::start(&scene.setup);
    talk(&scene.floor.agent(&daemon), 1);
    let other = daemon.api(&scene.floor.agents[1]);
    let rings = dial(&other, 2);
    reach(&other, &rings, "customer_ringing");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(SOON).success());
    assert_clean(&daemon.log(), &scene.floor.secrets());
    all_is_in_order(&scene);
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.texts("SELECT cause || ' ' || ended_by FROM attempts ORDER BY started_at_ms"),
        ["answered system", "drained system"]
    );
    assert_eq!(
        store.texts("SELECT state FROM recordings ORDER BY created_at_ms"),
        ["sealed", "abandoned"]
    );
}

#[test]
fn told_twice_it_ends_at_once_and_seals_all_the_same() {
    let scene = scene(600, &people("1700", 1));
    let mut daemon = Daemon::start(&scene.setup);
    talk(&scene.floor.agent(&daemon), 1);
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("draining", SOON);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(SOON).success());
    assert_clean(&daemon.log(), &scene.floor.secrets());
    all_is_in_order(&scene);
    let mut store = Store::open(&scene.setup);
    assert_eq!(
        store.texts("SELECT cause || ' ' || ended_by FROM attempts"),
        ["answered system"]
    );
    assert_eq!(store.texts("SELECT state FROM recordings"), ["sealed"]);
}

#[test]
fn a_changed_configuration_is_judged_when_it_is_told_and_never_ends_a_call() {
    let scene = scene(600, &people("1700", 2));
    let mut daemon = Daemon::start(&scene.setup);
    let agent = scene.floor.agent(&daemon);
    let (call, _) = talk(&agent, 1);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration is as it was", SOON);
    let good = fs::read_to_string(scene.setup.config_path()).unwrap();
    fs::write(
        scene.setup.config_path(),
        good.replace("drain_s = 600", "drain_s = 601"),
    )
    .unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("has changed; restart to use it", SOON);
    for (broken, remedy) in [
        (
            good.replace("drain_s = 600", "drain_seconds = 600"),
            "drain_seconds",
        ),
        ("[server\n".to_owned(), "going on with the old one"),
    ] {
        fs::write(scene.setup.config_path(), broken).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for_log(remedy, SOON);
    }
    fs::remove_file(scene.setup.config_path()).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("cannot", SOON);
    let (_, body) = agent.get(&format!("/api/v1/calls/{call}"));
    assert_eq!(body["state"], "talking", "a reload disturbed a call");
    fs::write(scene.setup.config_path(), good).unwrap();
    agent.delete(&format!("/api/v1/calls/{call}"));
    reach(&agent, &call, "ended");
    let (again, _) = talk(&agent, 2);
    agent.delete(&format!("/api/v1/calls/{again}"));
    reach(&agent, &again, "ended");
    scene.settled();
}

#[test]
fn the_supervisor_is_told_of_readiness_of_life_and_of_the_end() {
    let pbx = Asterisk::start();
    let setup = Scene::house(&pbx).set("calls.drain_s", 600);
    let path = setup.path("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(SOON)).unwrap();
    let setup = setup
        .env("NOTIFY_SOCKET", &path.to_string_lossy())
        .env("WATCHDOG_USEC", "600000");
    let scene = Scene::new(pbx, setup, &["1440"], &people("1700", 1));
    let mut told = Vec::new();
    let mut hear = |wanted: &str| {
        let mut buffer = [0; 4_096];
        loop {
            let length = supervisor
                .recv(&mut buffer)
                .unwrap_or_else(|_| panic!("{wanted} was not told, but {told:?}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let found = text.lines().any(|line| line == wanted);
            told.push(text);
            if found {
                return told.clone();
            }
        }
    };
    let mut daemon = Daemon::start_unready(&scene.setup);
    let before = hear("READY=1");
    assert!(!before.join("\n").contains("WATCHDOG"), "{before:?}");
    assert!(scene.pbx.registered(USER), "ready before it is registered");
    hear("WATCHDOG=1");
    let (call, _) = talk(&scene.floor.agent(&daemon), 1);
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    // A drain that takes long is life too.
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    scene
        .floor
        .agent(&daemon)
        .delete(&format!("/api/v1/calls/{call}"));
    assert!(daemon.wait(SOON).success());

    // A daemon that does not live tells nothing: stopped, it is not patted on the back.
    let mut daemon = Daemon::start(&scene.setup);
    hear("READY=1");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(SOON).success());
}

/// The unit's filter must not be what stops a call: the whole product runs one under it, as a user without rights, as
/// the unit does.
#[test]
fn a_whole_call_needs_no_system_call_that_the_unit_forbids() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where the build lies, nobody else may look.
    let binary = dir.path().join("ringfence");
    fs::copy(support::daemon::BINARY, &binary).unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut demo = std::process::Command::new(binary);
    demo.args(["demo", "--once", "--verbose"]);
    let report = home.join("refused");
    let mut confined = confine(&demo, &allowed_calls(), &report);
    let log = fs::File::create(dir.path().join("log")).unwrap();
    confined
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir(&home)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .env("TMPDIR", &home);
    let mut process = Process::spawn("the demo under the unit's filter", &mut confined);
    let status = process.wait(Duration::from_secs(60));
    let said = fs::read_to_string(dir.path().join("log")).unwrap();
    let refused = fs::read_to_string(report).unwrap();
    assert!(
        !refused.contains("INJECTED"),
        "the filter refused: {refused}\n{status}\n{said}"
    );
    // How well a tone is kept on a machine that also traces is for other tests; that all of it works is for this one.
    for step in [
        "decision", "attempt", "length", "coverage", "export", "recount",
    ] {
        assert!(
            said.contains(&format!("ok    {step}")),
            "{step}: {status}\n{said}"
        );
    }
}

/// Open descriptors of a process by what they are, sockets and files.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn two_hundred_calls_leave_no_descriptor_no_port_and_no_leg() {
    let agents = [
        "1410", "1420", "1430", "1440", "1450", "1460", "1470", "1480",
    ];
    let mut numbers = people("7004", 140);
    numbers.extend(people("3017", 30));
    numbers.extend(people("4000", 30));
    numbers.extend(people("1700", 8));
    let pbx = Asterisk::start();
    // So few ports that the calls cannot do without those of earlier ones.
    let setup = Scene::house(&pbx)
        .set("media.ports", "20000-20511")
        .set("media.quarantine_s", 1)
        .set("calls.wrap_up_s", 1);
    let scene = Scene::new(pbx, setup, &agents, &numbers);
    let daemon = Daemon::start(&scene.setup);
    let run = |points: Vec<usize>| {
        std::thread::scope(|scope| {
            for (index, token) in scene.floor.agents.iter().enumerate() {
                let (points, daemon) = (&points, &daemon);
                scope.spawn(move || {
                    let api = daemon.api(token);
                    for point in points.iter().skip(index).step_by(agents.len()) {
                        let call = dial(&api, *point);
                        if numbers_ring_for_ever(*point) {
                            reach(&api, &call, "customer_ringing");
                            api.delete(&format!("/api/v1/calls/{call}"));
                        }
                        reach(&api, &call, "ended");
                    }
                });
            }
        });
        scene.settled();
    };
    // Threads and connections that come once and stay have come.
    run((1..=24).collect());
    let idle = (descriptors(daemon.pid()), threads(daemon.pid()));
    run((25..=200).collect());
    let pid = daemon.pid();
    eventually("the descriptors of the calls to be closed", SOON, || {
        (descriptors(pid) <= idle.0).then_some(())
    });
    assert!(
        threads(pid) <= idle.1 + 8,
        "threads are left: {} were {}",
        threads(pid),
        idle.1
    );
    let (_, metrics) = scene.floor.agent(&daemon).bytes("/metrics", None);
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(
        metrics.lines().any(|line| line == "ringfence_calls 0"),
        "{metrics}"
    );
    let mut store = Store::open(&scene.setup);
    assert_eq!(store.number("SELECT count(*) FROM attempts"), 200);
    let causes =
        store.texts("SELECT cause || ' ' || count(*) FROM attempts GROUP BY cause ORDER BY cause");
    assert_eq!(causes, ["answered 140", "busy 30", "cancelled 30"]);
    daemon.stop(SOON, &scene.floor.secrets());
}

fn numbers_ring_for_ever(point: usize) -> bool {
    (171..=200).contains(&point)
}
