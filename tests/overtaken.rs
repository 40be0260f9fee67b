//! Calls through a real PBX over a network in which packets of SIP and of audio come late, overtake each other, and come
//! twice: each click is still one call with one outcome, and its recording is as if the network had been good.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use ringfence_media::tone::steadiness;
use support::asterisk::Asterisk;
use support::between::Between;
use support::eventually;
use support::floor::Store;
use support::house::{House, SOON, excess_ms, figure};
use support::tone::{heard, sounding};

const RATE: u32 = 8_000;

/// What to try, and what must come of it.
struct Case {
    /// The agent's phone: its last three digits are its tone.
    phone: &'static str,
    debtor: &'static str,
    /// The debtor's tone, if they talk.
    customer_hz: Option<f64>,
    /// The agent hangs up in this state.
    hangs_up_in: Option<&'static str>,
    end: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        phone: "1700",
        debtor: "2308",
        customer_hz: Some(500.0),
        hangs_up_in: None,
        end: "answered/callee/customer",
    },
    Case {
        phone: "1800",
        debtor: "2410",
        customer_hz: Some(550.0),
        hangs_up_in: None,
        end: "answered/callee/customer",
    },
    Case {
        phone: "1900",
        debtor: "1400",
        customer_hz: Some(400.0),
        hangs_up_in: Some("talking"),
        end: "answered/callee/agent",
    },
    Case {
        phone: "1600",
        debtor: "5002",
        customer_hz: None,
        hangs_up_in: None,
        end: "busy/callee/customer",
    },
    Case {
        phone: "1650",
        debtor: "4000",
        customer_hz: None,
        hangs_up_in: Some("customer_ringing"),
        end: "cancelled/caller/agent",
    },
];

#[test]
fn packets_that_come_late_out_of_order_and_twice_change_nothing() {
    let pbx = Asterisk::start();
    let between = Between::start(pbx.net(), 20_260_310);
    let phones = CASES.map(|case| case.phone);
    let debtors = CASES.map(|case| case.debtor);
    let house = House::open_with(pbx, &phones, &debtors, |setup| between.lead(setup));
    let calls: Vec<String> = (0..CASES.len()).map(|n| house.dial(n, n)).collect();
    for (n, case) in CASES.iter().enumerate() {
        if let Some(state) = case.hangs_up_in {
            house.wait_for_state(&calls[n], state);
            if case.customer_hz.is_some() {
                eventually("some talk", SOON, || {
                    let files = house.pbx.heard(&house.floor.numbers[n]);
                    (files.first()?.metadata().ok()?.len() > 48_000).then_some(())
                });
            }
            house.hang_up(n, &calls[n]);
        }
    }
    for (n, case) in CASES.iter().enumerate() {
        let end = house.end_of(&calls[n]);
        assert_eq!(end.words(), case.end, "{}", case.debtor);
        let at_the_phone = house.pbx.heard(case.phone).len();
        assert_eq!(at_the_phone, 1, "the phone {} was rung once", case.phone);
        let Some(customer_hz) = case.customer_hz else {
            continue;
        };
        let at_the_customer = house.pbx.heard(&house.floor.numbers[n]).len();
        assert_eq!(
            at_the_customer, 1,
            "the customer {} was rung once",
            case.debtor
        );
        let (agent, customer) = house.export(&calls[n]);
        let excess = excess_ms(&agent, &end);
        assert!(excess.abs() <= 40, "{excess} ms too long; {end:?}");
        let agent_hz: f64 = case.phone[1..].parse().unwrap();
        let sides = [
            (&agent, agent_hz, customer_hz),
            (&customer, customer_hz, agent_hz),
        ];
        for ((side, own, other), repairs) in sides.into_iter().zip(house.repairs(&calls[n])) {
            assert!(
                heard(sounding(side), RATE, own, 0.95),
                "{own} Hz is not there; {repairs}"
            );
            assert!(
                !heard(side, RATE, other, 0.02),
                "{other} Hz on the wrong side"
            );
            let ear = steadiness(side, own);
            assert_eq!(ear.broken, Vec::<usize>::new(), "{own} Hz; {repairs}");
            for name in ["late", "reanchored", "repeated", "dropped", "crowded"] {
                assert_eq!(figure(&repairs, name), 0, "{name}; {repairs}");
            }
            // What was still on its way at the hang-up.
            assert!(figure(&repairs, "lost") <= 4, "{repairs}");
        }
    }
    house.assert_quiet();
    let mut store = Store::open(&house.setup);
    let attempts = store.number("SELECT count(*) FROM attempts");
    assert_eq!(attempts, CASES.len() as i64, "one attempt for each click");
    store.close();
    house.setup.with_config(&["stats", "check"]);
    for done in [between.sip(), between.audio()] {
        assert!(
            done.passed > 50 && done.overtaken > 5 && done.twice > 5,
            "the network was too good to prove anything: {done:?}"
        );
    }
    house.close();
}
