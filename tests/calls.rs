//! A click-to-dial through a real PBX, and every way in which it can end: one row each with the right cause, an agent
//! who can dial again, and nothing left anywhere. What is heard and recorded is in `media.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::asterisk::Asterisk;
use support::daemon::{Daemon, Setup};
use support::floor::Store;
use support::house::{House, MORNING, SOON};
use support::net::Net;
use support::registrar::{Answers, Registrar, response, usual};
use support::sipp::{Manner, Sipp};

#[test]
fn every_customer_who_is_not_reached_leaves_one_row_with_its_cause() {
    // what the customer does, and what the row says
    let table = [
        ("5000", "busy/callee/customer"),
        ("5002", "busy/callee/customer"),
        ("3021", "rejected/callee/customer"),
        ("3001", "unknown_number/callee/customer"),
        ("0123", "unknown_number/callee/customer"),
        ("7003", "unknown_number/callee/customer"),
        ("3020", "unreachable/callee/customer"),
        ("3018", "no_answer/callee/customer"),
        ("5001", "congestion/trunk/customer"),
        ("3034", "congestion/trunk/customer"),
        ("3127", "trunk_fault/trunk/customer"),
        // ring limit
        ("4000", "no_answer/callee/system"),
        ("5003", "no_answer/callee/system"),
    ];
    // agents whose phones Asterisk plays, one for each, and one number more that is answered
    let phones: Vec<String> = (0..table.len()).map(|n| (1310 + n).to_string()).collect();
    let phones: Vec<&str> = phones.iter().map(String::as_str).collect();
    let mut behaviours: Vec<&str> = table.iter().map(|(digits, _)| *digits).collect();
    behaviours.extend(table.iter().map(|_| "2000"));
    let house = House::open_with(Asterisk::start(), &phones, &behaviours, |setup| {
        setup.set("calls.customer_ring_s", 15)
    });

    let calls: Vec<String> = (0..table.len()).map(|n| house.dial(n, n)).collect();
    let ends: Vec<String> = calls
        .iter()
        .map(|call| house.end_of(call).words())
        .collect();
    let seen: Vec<(&str, &str)> = table
        .iter()
        .zip(&ends)
        .map(|((digits, _), words)| (*digits, words.as_str()))
        .collect();
    assert_eq!(seen, table);
    house.assert_quiet();

    // each agent is free, and reaches somebody; the figures count both rounds
    let again: Vec<String> = (0..table.len())
        .map(|n| house.dial(n, n + table.len()))
        .collect();
    for call in &again {
        assert_eq!(house.end_of(call).words(), "answered/callee/customer");
    }
    house.assert_quiet();
    let attempts = 2 * table.len();
    for by in ["hour", "agent", "client"] {
        let text =
            house
                .setup
                .with_config(&["stats", "connect-rate", "--by", by, "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let total = &report["total"];
        assert_eq!(
            (&total["attempts"], &total["seizures"], &total["connected"]),
            (&attempts.into(), &attempts.into(), &table.len().into()),
            "{by}: {total}"
        );
        let sum: i64 = report["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["attempts"].as_i64().unwrap())
            .sum();
        assert_eq!(sum, i64::try_from(attempts).unwrap(), "{by}");
    }
    let checked = house.setup.with_config(&["stats", "check"]);
    assert!(checked.contains("all agree"), "{checked}");
    let rows = Store::open(&house.setup).number("SELECT count(*) FROM attempts");
    assert_eq!(rows, i64::try_from(attempts).unwrap());
    house.close();
}

#[test]
fn whoever_hangs_up_ends_the_call_for_everybody() {
    let house = House::open(&["1101", "1500"], &["1440", "2002", "1440"]);
    let phone = Sipp::listen(
        house.pbx.phone_address(1101),
        &Manner::answer_for(800, Duration::from_secs(2)),
    );

    let by_phone = house.dial(0, 0);
    let by_customer = house.dial(1, 1);
    assert_eq!(house.end_of(&by_phone).words(), "answered/callee/agent");
    assert_eq!(
        house.end_of(&by_customer).words(),
        "answered/callee/customer"
    );

    let by_api = house.dial(1, 2);
    house.wait_for_state(&by_api, "talking");
    assert_eq!(house.pbx.channels(), 2, "the phone and the customer");
    house.hang_up(1, &by_api);
    assert_eq!(house.end_of(&by_api).words(), "answered/callee/agent");
    // twice does no harm
    house.hang_up(1, &by_api);
    house.assert_quiet();
    drop(phone);
    house.close();
}

#[test]
fn a_call_is_cancelled_in_every_state_before_the_answer() {
    let phones = ["1101", "1500", "1600", "1102", "1700"];
    let house = House::open(&phones, &["1440", "4000", "6030", "4000", "5003"]);
    let ringing = Sipp::listen(house.pbx.phone_address(1101), &Manner::RingForEver);
    let impatient = Sipp::listen(
        house.pbx.phone_address(1102),
        &Manner::answer_for(800, Duration::from_secs(2)),
    );

    let calls: Vec<String> = (0..phones.len()).map(|n| house.dial(n, n)).collect();
    // the agent's phone rings; the customer's phone rings; early media; nothing heard of the customer yet
    house.wait_for_state(&calls[0], "agent_ringing");
    house.hang_up(0, &calls[0]);
    ringing.wait_for_message("CANCEL sip:", SOON);
    for n in [1, 2] {
        house.wait_for_state(&calls[n], "customer_ringing");
        house.hang_up(n, &calls[n]);
    }
    house.wait_for_state(&calls[4], "customer_dialling");
    house.hang_up(4, &calls[4]);
    // 3: the agent puts the handset down while it rings at the customer
    for call in &calls {
        assert_eq!(house.end_of(call).words(), "cancelled/caller/agent");
    }
    house.assert_quiet();

    // cancelled in the instant of the click, before anything may have left
    for _ in 0..5 {
        let call = house.dial(1, 1);
        house.hang_up(1, &call);
        assert_eq!(house.end_of(&call).cause, "cancelled");
    }
    house.assert_quiet();
    drop((ringing, impatient));
    house.close();
}

#[test]
fn an_agents_phone_that_does_not_answer_is_the_callers_doing_and_nobody_is_called() {
    let table = [
        ("1101", "agent_busy/caller/agent"),
        ("1102", "agent_rejected/caller/agent"),
        // rings on
        ("1103", "agent_no_answer/caller/system"),
        // is not registered
        ("1001", "agent_unreachable/caller/agent"),
        // is switched off: its fixed address does not answer
        ("1104", "agent_no_answer/caller/system"),
        // does not exist
        ("1222", "agent_unreachable/caller/agent"),
    ];
    let phones = table.map(|(phone, _)| phone);
    let house = House::open_with(Asterisk::start(), &phones, &["1440"; 6], |setup| {
        setup.set("calls.agent_ring_s", 4)
    });
    let at = |extension| house.pbx.phone_address(extension);
    let peers = [
        Sipp::listen(at(1101), &Manner::busy()),
        Sipp::listen(at(1102), &Manner::reject(Duration::from_millis(300))),
        Sipp::listen(at(1103), &Manner::RingForEver),
    ];
    for _round in 0..2 {
        let calls: Vec<String> = (0..table.len()).map(|n| house.dial(n, n)).collect();
        let ends: Vec<String> = calls
            .iter()
            .map(|call| house.end_of(call).words())
            .collect();
        assert_eq!(ends, table.map(|(_, words)| words));
    }
    house.assert_quiet();
    let mut store = Store::open(&house.setup);
    assert_eq!(
        store.number("SELECT count(*) FROM attempts WHERE seized_at_ms IS NOT NULL"),
        0,
        "nobody is called before the agent is there"
    );
    drop(peers);
    house.close();
}

#[test]
fn without_the_pbx_a_click_is_an_attempt_that_the_trunk_failed() {
    let net = Net::claim();
    let pbx = std::net::SocketAddr::new(net.pbx(), 5060);
    let setup = Setup::new(&net, pbx).at(MORNING).set("trunk.qualify_s", 2);
    let floor = support::floor::Floor::prepare_for(&setup, &["1500"], &["2000", "2000"]);
    let daemon = Daemon::start_unready(&setup);
    assert_eq!(daemon.http_status("/readyz"), Some(503));
    let api = floor.agent(&daemon);
    for _ in 0..2 {
        let (status, answer) = api.post(
            "/api/v1/calls",
            &serde_json::json!({ "contact_point_id": 1 }),
        );
        assert_eq!(status, 202, "{answer}");
        let path = format!("/api/v1/calls/{}", answer["call"].as_str().unwrap());
        let body = api.wait_for(&path, SOON, |body| body["state"] == "ended");
        assert_eq!(
            (&body["cause"], &body["class"]),
            (&"trunk_down".into(), &"trunk".into())
        );
    }

    // it comes up: no restart, no waiting for the agent
    let house = House {
        pbx: Asterisk::start_on(net),
        daemon,
        setup,
        floor,
    };
    support::eventually("readiness", SOON, || {
        (house.daemon.http_status("/readyz") == Some(200)).then_some(())
    });
    let call = house.dial(0, 1);
    assert_eq!(house.end_of(&call).words(), "answered/callee/customer");
    house.assert_quiet();
    house.close();
}

#[test]
fn a_pbx_that_answers_nonsense_costs_the_attempt_and_nothing_else() {
    // what it says to INVITE
    let nonsense: [fn(&str) -> Answers; 5] = [
        |_| vec![b"what?".to_vec(), vec![0xff; 300]],
        |_| Vec::new(),
        |request| vec![response(request, "999 Whatever", "")],
        |request| vec![response(request, "200 OK", "Content-Type: text/html\r\n")],
        |request| {
            vec![
                b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
                response(request, "500 \u{0} \u{fffd}", ""),
            ]
        },
    ];
    for (index, answers) in nonsense.into_iter().enumerate() {
        let net = Net::claim();
        let pbx = Registrar::answering(&net, move |request| match request.split(' ').next() {
            Some("INVITE") => answers(request),
            _ => vec![usual(request)],
        });
        let setup = Setup::new(&net, pbx.address())
            .at(MORNING)
            .set("calls.agent_ring_s", 3);
        let floor = support::floor::Floor::prepare_for(&setup, &["1500"], &["2000"]);
        let daemon = Daemon::start(&setup);
        let api = floor.agent(&daemon);
        for _ in 0..2 {
            let (status, answer) = api.post(
                "/api/v1/calls",
                &serde_json::json!({ "contact_point_id": 1 }),
            );
            assert_eq!(status, 202, "{answer}");
            let path = format!("/api/v1/calls/{}", answer["call"].as_str().unwrap());
            let body = api.wait_for(&path, SOON, |body| body["state"] == "ended");
            assert_eq!(body["class"], "trunk", "{index}: {body}");
        }
        assert!(!pbx.requests("INVITE").is_empty());
        daemon.stop(SOON, &floor.secrets());
    }
}

#[test]
fn a_pbx_killed_in_the_middle_of_a_talk_ends_the_call_as_dropped() {
    let mut house = House::open_with(Asterisk::start(), &["1500"], &["1440", "2000"], |setup| {
        setup
            .set("trunk.qualify_s", 2)
            .set("calls.silence_alarm_s", 1)
            .set("calls.silence_limit_s", 3)
    });
    let call = house.dial(0, 0);
    house.wait_for_state(&call, "talking");
    house.pbx.kill();
    assert_eq!(house.end_of(&call).words(), "dropped/trunk/system");

    // while it is gone the agent is free, but gets nobody
    let lost = house.dial(0, 1);
    let end = house.end_of(&lost);
    assert_eq!(
        (end.cause.as_str(), end.class.as_str()),
        ("trunk_down", "trunk")
    );

    house.pbx.restart();
    support::eventually("readiness", SOON, || {
        (house.daemon.http_status("/readyz") == Some(200)).then_some(())
    });
    house.pbx.wait_for_registration("ringfence", SOON);
    let call = house.dial(0, 1);
    assert_eq!(house.end_of(&call).words(), "answered/callee/customer");
    house.assert_quiet();
    house.close();
}

#[test]
fn over_tcp_a_call_is_the_same() {
    let house = House::open_with(Asterisk::start(), &["1500"], &["2002", "5000"], |setup| {
        setup.set("trunk.transport", "tcp")
    });
    for (debtor, words) in [(0, "answered/callee/customer"), (1, "busy/callee/customer")] {
        let call = house.dial(0, debtor);
        assert_eq!(house.end_of(&call).words(), words);
    }
    let contact = house.pbx.cli("pjsip show aor ringfence");
    let own = format!("@{}", house.pbx.net().daemon());
    assert!(
        contact.contains("TCP") && contact.contains(&own),
        "{contact}"
    );
    house.assert_quiet();
    house.close();
}
