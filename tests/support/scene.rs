//! A floor at work against a real PBX: Asterisk, a house whose clock says ten in the morning in China, agents and
//! debtors. What a test of whole calls begins with.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::asterisk::Asterisk;
use super::daemon::{Api, Setup};
use super::eventually;
use super::floor::{Floor, Store};

/// Longer than anything a test waits for takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Everything but the daemon.
pub struct Scene {
    pub setup: Setup,
    pub floor: Floor,
    pub pbx: Asterisk,
}

impl Scene {
    /// A house at this PBX whose clock shows ten in the morning in China and goes on from there, over restarts too.
    pub fn house(pbx: &Asterisk) -> Setup {
        const DAY_S: u64 = 86_400;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let since_two = (now.as_secs() + DAY_S - 2 * 3_600) % DAY_S;
        Setup::for_pbx(pbx).with_movable_wall(-i64::try_from(since_two).unwrap())
    }

    /// Agents at `extensions`, and a debtor for each of `numbers`.
    pub fn new(pbx: Asterisk, setup: Setup, extensions: &[&str], numbers: &[String]) -> Scene {
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let floor = Floor::prepare(&setup, extensions, &numbers);
        Scene { setup, floor, pbx }
    }

    /// Nothing of any call is left anywhere: every attempt closed, no recording live, no leg in the journal or at the
    /// PBX. Waits for it, because the last of it happens beside everything else.
    pub fn settled(&self) {
        self.settled_but_for_the_journal();
        let mut store = Store::open(&self.setup);
        // A leg whose INVITE may never have left is listened for as long as an answer could come: 32 s.
        eventually("an empty journal", 2 * SOON, || {
            (store.number("SELECT count(*) FROM dialogs") == 0).then_some(())
        });
        store.close();
    }

    /// The same, but for legs that the PBX is still being asked about.
    pub fn settled_but_for_the_journal(&self) {
        self.pbx.wait_for_channels(0, SOON);
        let mut store = Store::open(&self.setup);
        let mut none = |what: &str, sql: &'static str| {
            eventually(what, SOON, || (store.number(sql) == 0).then_some(()));
        };
        none(
            "the end of every attempt",
            "SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL",
        );
        none(
            "the end of every recording",
            "SELECT count(*) FROM recordings WHERE state = 'live'",
        );
        store.close();
        assert_eq!(
            files(&self.setup.path("vault/live"))
                .iter()
                .filter(|path| path.extension().is_some_and(|kind| kind == "live"))
                .count(),
            0,
            "the vault holds a live file that nobody writes"
        );
        self.setup.with_config(&["recordings", "verify"]);
        self.setup.with_config(&["stats", "check"]);
    }
}

/// `count` mobile numbers of different people whose last four digits are `behaviour`.
pub fn people(behaviour: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("+86138{n:04}{behaviour}"))
        .collect()
}

/// Clicks on a contact point, and returns the call's id.
///
/// # Panics
/// If the call is not allowed.
pub fn dial(api: &Api, contact_point: usize) -> String {
    let (status, body) = api.post("/api/v1/calls", &json!({"contact_point_id": contact_point}));
    assert_eq!(status, 202, "the call was not accepted: {body}");
    body["call"].as_str().unwrap().to_owned()
}

/// Waits until a call is in `state`, and returns it.
pub fn reach(api: &Api, call: &str, state: &str) -> Value {
    api.wait_for(&format!("/api/v1/calls/{call}"), SOON, |call| {
        call["state"] == state
    })
}

/// Clicks, and waits until both talk: the call's id, and two instants between which they were bridged.
pub fn talk(api: &Api, contact_point: usize) -> (String, [Instant; 2]) {
    let call = dial(api, contact_point);
    let path = format!("/api/v1/calls/{call}");
    let mut before = Instant::now();
    let limit = before + SOON;
    loop {
        let asked = Instant::now();
        let (_, body) = api.get(&path);
        if body["state"] == "talking" {
            return (call, [before, Instant::now()]);
        }
        assert!(
            body["state"] != "ended" && asked < limit,
            "they never talked: {body}"
        );
        before = asked;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a call's recording is sealed or recovered, and returns it.
pub fn recording_of(api: &Api, call: &str) -> Value {
    let path = format!("/api/v1/calls/{call}");
    let call = api.wait_for(&path, SOON, |call| call["recording"].is_string());
    let path = format!("/api/v1/recordings/{}", call["recording"].as_str().unwrap());
    api.wait_for(&path, SOON, |recording| recording["state"] != "live")
}

/// Every file below `dir`.
pub fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}
