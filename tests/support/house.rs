//! A whole house at work: Asterisk, a daemon registered at it, agents, debtors; and what is asked of it after a call.

use std::time::Duration;

use serde_json::{Value, json};

use super::asterisk::Asterisk;
use super::daemon::{Api, Daemon, Setup};
use super::floor::{Floor, Store};
use super::{eventually, tone};

/// 10:00 in Shanghai on a Tuesday: the gate is open.
pub const MORNING: &str = "2026-03-10 02:00:00";
/// Longer than anything takes that is waited for.
pub const SOON: Duration = Duration::from_secs(60);

/// Everything one test needs. Dropped from top to bottom.
pub struct House {
    /// The program under test.
    pub daemon: Daemon,
    /// The PBX.
    pub pbx: Asterisk,
    /// Directory and configuration.
    pub setup: Setup,
    /// People and cases.
    pub floor: Floor,
}

/// What the attempt's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub cause: String,
    pub class: String,
    pub ended_by: String,
    pub answered_at_ms: Option<i64>,
    pub ended_at_ms: i64,
}

impl End {
    /// `cause/class/who`, for tables.
    pub fn words(&self) -> String {
        format!("{}/{}/{}", self.cause, self.class, self.ended_by)
    }
}

/// A number in Shanghai's plan whose last four digits say what its owner does; `index` makes it unlike the others.
pub fn number(index: usize, behaviour: &str) -> String {
    format!("+86138{index:04}{behaviour}")
}

impl House {
    /// Starts it for these phones and debtors (see [`number`]); agent `n` has phone `n`, contact point `n + 1` is
    /// debtor `n`.
    pub fn open(phones: &[&str], behaviours: &[&str]) -> House {
        House::open_with(Asterisk::start(), phones, behaviours, |setup| setup)
    }

    /// The same, with another PBX or other options.
    pub fn open_with(
        pbx: Asterisk,
        phones: &[&str],
        behaviours: &[&str],
        configure: impl FnOnce(Setup) -> Setup,
    ) -> House {
        let setup = configure(Setup::for_pbx(&pbx).at(MORNING));
        let floor = Floor::prepare_for(&setup, phones, behaviours);
        let daemon = Daemon::start(&setup);
        House {
            daemon,
            pbx,
            setup,
            floor,
        }
    }

    /// The API as agent `n`.
    pub fn agent(&self, agent: usize) -> Api {
        self.daemon.api(&self.floor.agents[agent])
    }

    /// Agent `n` clicks debtor `n`; the call's id.
    pub fn dial(&self, agent: usize, debtor: usize) -> String {
        let (status, answer) = self
            .agent(agent)
            .post("/api/v1/calls", &json!({ "contact_point_id": debtor + 1 }));
        assert_eq!(status, 202, "agent {agent}, debtor {debtor}: {answer}");
        answer["call"].as_str().unwrap().to_owned()
    }

    /// Hangs up through the API.
    pub fn hang_up(&self, agent: usize, call: &str) {
        let (status, answer) = self.agent(agent).delete(&format!("/api/v1/calls/{call}"));
        assert_eq!(status, 202, "{answer}");
    }

    /// Waits until the call is in this state (`agent_ringing`, `customer_ringing`, `talking`, …).
    pub fn wait_for_state(&self, call: &str, state: &str) -> Value {
        let api = self.daemon.api(&self.floor.lead);
        api.wait_for(&format!("/api/v1/calls/{call}"), SOON, |body| {
            assert!(
                body["state"] != "ended" || state == "ended",
                "ended before {state}: {body}"
            );
            body["state"] == state
        })
    }

    /// Waits for the call's end and returns what its row says.
    pub fn end_of(&self, call: &str) -> End {
        let body = self.wait_for_state(call, "ended");
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let mut store = Store::open(&self.setup);
        let ended_by = store
            .texts("SELECT id || ' ' || COALESCE(ended_by, '') FROM attempts")
            .iter()
            .find_map(|row| row.strip_prefix(call).map(|who| who.trim().to_owned()))
            .expect("an attempt");
        store.close();
        End {
            cause: text("cause"),
            class: text("class"),
            ended_by,
            answered_at_ms: body["answered_at_ms"].as_i64(),
            ended_at_ms: body["ended_at_ms"].as_i64().unwrap(),
        }
    }

    /// Nothing is left of any call: not a channel in the PBX, not a call or a dialog in the daemon, not an open row;
    /// recordings are sealed or given up.
    pub fn assert_quiet(&self) {
        self.pbx.wait_for_channels(0, SOON);
        eventually("an idle daemon", SOON, || {
            let (_, metrics) = self.daemon.api(&self.floor.lead).bytes("/metrics", None);
            String::from_utf8_lossy(&metrics)
                .contains("\nringfence_calls 0\n")
                .then_some(())
        });
        let mut store = Store::open(&self.setup);
        assert_eq!(
            store.number("SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL"),
            0
        );
        assert_eq!(
            store.number("SELECT count(*) FROM recordings WHERE state = 'live'"),
            0
        );
        // Legs that the PBX did not confirm the end of are asked about again.
        eventually("an empty journal of legs", SOON, || {
            (store.number("SELECT count(*) FROM dialogs") == 0).then_some(())
        });
        store.close();
    }

    /// What the vault says of each recording, for the message of a failed test.
    pub fn ledger(&self) -> String {
        let mut store = Store::open(&self.setup);
        let rows = store.texts("SELECT call_id || ' ' || samples || ' ' || analysis || ' ' || gaps FROM recordings WHERE samples > 0");
        store.close();
        rows.join("\n")
    }

    /// What the audio plane did to each side of a call's recording, as the log says: `packets=250 lost=0 …`.
    pub fn repairs(&self, call: &str) -> [String; 2] {
        let recording = self.recording(call);
        let line = eventually("the figures of a recording", SOON, || {
            let log = self.daemon.log();
            log.lines()
                .find(|line| line.contains(&recording) && line.contains(" customer=packets="))
                .map(str::to_owned)
        });
        let (agent, customer) = line.split_once(" customer=").unwrap();
        let agent = agent.split_once(" agent=").unwrap().1;
        [agent.to_owned(), customer.to_owned()]
    }

    /// The sealed recording of a call.
    fn recording(&self, call: &str) -> String {
        eventually("a sealed recording", SOON, || {
            let mut store = Store::open(&self.setup);
            let rows =
                store.texts("SELECT call_id || ' ' || id FROM recordings WHERE state = 'sealed'");
            store.close();
            rows.iter()
                .find_map(|row| row.strip_prefix(call).map(|id| id.trim().to_owned()))
        })
    }

    /// The sealed recording of a call as `ringfence recordings export` writes it: agent's samples, customer's samples.
    pub fn export(&self, call: &str) -> (Vec<i16>, Vec<i16>) {
        let recording = self.recording(call);
        let file = self.setup.path(&format!("{recording}.wav"));
        self.setup.with_config(&[
            "recordings",
            "export",
            &recording,
            "--output",
            &file.to_string_lossy(),
        ]);
        let (rate, mut channels) = tone::read_wav(&file);
        assert_eq!((rate, channels.len()), (8000, 2));
        let customer = channels.pop().unwrap();
        (channels.pop().unwrap(), customer)
    }

    /// Ends the daemon in an orderly way; its log must hold no error and no secret.
    pub fn close(self) {
        self.daemon.stop(SOON, &self.floor.secrets());
    }
}

/// One figure of [`House::repairs`].
pub fn figure(repairs: &str, name: &str) -> u64 {
    repairs
        .split(' ')
        .find_map(|figure| figure.strip_prefix(name)?.strip_prefix('='))
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {repairs}"))
}

/// Length of a recording beyond the answered time of its attempt's row, in milliseconds.
pub fn excess_ms(samples: &[i16], end: &End) -> i64 {
    let recorded = i64::try_from(samples.len()).unwrap() / 8;
    recorded - (end.ended_at_ms - end.answered_at_ms.expect("an answer"))
}
