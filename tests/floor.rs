//! A day on the floor through the API and the command line, against a real PBX: who is there, the note after a call and
//! what follows from it, callbacks through the gate, allocation, and what everybody may do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::asterisk::Asterisk;
use support::daemon::{Daemon, Database, Setup};
use support::floor::Floor;
use support::web::{Web, send, until, whole_call};

on_each_database!(a_day_on_the_floor);

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
/// Answers at once, speaks 400 Hz, hangs up after two seconds.
const SHORT: &str = "+8613800132102";
const ALSO_SHORT: &str = "+8613800232102";

fn own_state(web: &Web, token: &str) -> String {
    let state = web.get("/api/v1/agent/state", token).json();
    state["state"].as_str().unwrap().to_owned()
}

fn a_day_on_the_floor(database: Database) {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx)
        .keeping_in(database)
        .at(MORNING)
        .set("calls.wrap_up_s", 3_600);
    let floor = Floor::prepare(&setup, &["1620", "1630"], &[SHORT, ALSO_SHORT]);
    setup.with_config(&["agents", "team", "T1", "--name", "Team One"]);
    setup.with_config(&["agents", "join", "A1", "T1"]);
    let mut daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let (agent, colleague, lead) = (&floor.agents[0], &floor.agents[1], &floor.lead);
    let mut events = web.events(agent);

    // Who is there.
    assert_eq!(own_state(&web, agent), "offline");
    let lunch = json!({"state": "break", "reason": "lunch"});
    assert_eq!(
        send(&web, "PUT", "/api/v1/agent/state", agent, &lunch).status,
        200
    );
    let refused = send(
        &web,
        "POST",
        "/api/v1/calls",
        agent,
        &json!({"contact_point_id": 1}),
    );
    assert_eq!(refused.status, 409, "{}", refused.text());
    for wrong in [
        json!({"state": "break"}),
        json!({"state": "ready", "reason": "x"}),
        json!({"state": "moon"}),
    ] {
        assert_eq!(
            send(&web, "PUT", "/api/v1/agent/state", agent, &wrong).status,
            400
        );
    }
    assert_eq!(
        send(
            &web,
            "PUT",
            "/api/v1/agent/state",
            agent,
            &json!({"state": "ready"})
        )
        .status,
        200
    );
    let all = web.get("/api/v1/agents", lead).json();
    assert_eq!(
        (&all[0]["state"], &all[0]["team"], &all[1]["state"]),
        (&json!("ready"), &json!("T1"), &json!("offline"))
    );
    assert_eq!(web.get("/api/v1/agents", agent).status, 403);

    // The note after the call, half filled in; finishing it ends the wrap-up and queues the callback.
    let call = whole_call(&web, &floor, 1);
    assert_eq!(own_state(&web, agent), "wrap_up");
    let notes = web.get("/api/v1/notes", agent).json();
    let draft = &notes[0];
    assert_eq!(
        (
            &draft["call"],
            &draft["state"],
            &draft["number"],
            &draft["recording"]
        ),
        (
            &call["call"],
            &json!("draft"),
            &json!(SHORT),
            &call["recording"]
        )
    );
    let path = format!("/api/v1/notes/{}", draft["note"]);
    assert_eq!(web.get(&path, colleague).status, 404);
    let unknown = send(&web, "PUT", &path, agent, &json!({"disposition": "moon"}));
    assert_eq!(unknown.status, 422, "{}", unknown.text());
    let due = call["ended_at_ms"].as_i64().unwrap() + 5_000;
    let said = json!({"disposition": "callback", "text": "稍后再谈", "callback_at_ms": due});
    let finished = send(&web, "PUT", &path, agent, &said);
    assert_eq!(finished.status, 200, "{}", finished.text());
    let callback = finished.json()["callback"].as_i64().unwrap();
    assert_eq!(own_state(&web, agent), "ready");
    assert_eq!(web.get(&path, lead).json()["state"], "final");

    // It comes due, is offered, and is placed through the gate.
    let offered = loop {
        let (name, data) = events.next().unwrap();
        if name == "callback.due" {
            break data;
        }
    };
    assert_eq!(
        (&offered["callback_id"], &offered["contact_point_id"]),
        (&json!(callback), &json!(1))
    );
    let place = format!("/api/v1/callbacks/{callback}/dial");
    assert_eq!(
        send(&web, "POST", &place, colleague, &json!({})).status,
        404
    );
    let placed = send(&web, "POST", &place, agent, &json!({}));
    assert_eq!(placed.status, 202, "{}", placed.text());
    let state = web
        .get(&format!("/api/v1/callbacks/{callback}"), agent)
        .json();
    assert_eq!(
        (&state["state"], &state["call"]),
        (&json!("done"), &placed.json()["call"])
    );
    assert_eq!(send(&web, "POST", &place, agent, &json!({})).status, 409);
    let second = format!("/api/v1/calls/{}", placed.json()["call"].as_str().unwrap());
    until(&web, &second, lead, |call| call["state"] == "ended");

    // The second note says that the number must not be called again.
    let notes = web.get("/api/v1/notes?state=draft", agent).json();
    let path = format!("/api/v1/notes/{}", notes[0]["note"]);
    let stop = send(
        &web,
        "PUT",
        &path,
        agent,
        &json!({"disposition": "do_not_call"}),
    );
    assert_eq!(
        (stop.status, &stop.json()["effects"]),
        (200, &json!(["bar_number"]))
    );

    // Allocation: planned, carried out, undone; not by agents.
    let wanted =
        json!({"method": "even_count", "cases": {"client": "bank"}, "agents": ["A1", "A2"]});
    assert_eq!(
        send(&web, "POST", "/api/v1/allocations", agent, &wanted).status,
        403
    );
    let plan = send(&web, "POST", "/api/v1/allocations", lead, &wanted);
    assert_eq!(plan.status, 201, "{}", plan.text());
    assert_eq!(plan.json()["totals"][1]["cases"], 1);
    let allocation = format!("/api/v1/allocations/{}", plan.json()["allocation_id"]);
    let applied = send(
        &web,
        "POST",
        &format!("{allocation}/apply"),
        lead,
        &json!({}),
    );
    assert_eq!(
        (applied.status, &applied.json()["changed"]),
        (200, &json!(2))
    );
    let undone = send(
        &web,
        "POST",
        &format!("{allocation}/undo"),
        lead,
        &json!({}),
    );
    assert_eq!((undone.status, &undone.json()["changed"]), (200, &json!(2)));
    assert_eq!(web.get(&allocation, lead).json()["state"], "undone");

    // Major matters.
    let matter = json!({"client": "bank", "kind": "threat", "text": "threatened to come by"});
    let entered = send(&web, "POST", "/api/v1/major-matters", agent, &matter);
    assert_eq!(entered.status, 201, "{}", entered.text());
    let report = format!(
        "/api/v1/major-matters/{}/report",
        entered.json()["major_matter"]
    );
    let told = json!({"told": "Ms Wang, by phone"});
    assert_eq!(send(&web, "POST", &report, agent, &told).status, 403);
    assert_eq!(send(&web, "POST", &report, lead, &told).status, 200);
    assert_eq!(send(&web, "POST", &report, lead, &told).status, 409);
    let now_ms = entered.json()["occurred_at_ms"].as_i64().unwrap();

    // A list of case numbers is dealt too; what is not there is named.
    let listed = json!({"method": "even_count", "client": "bank", "references": ["C1", "C9"], "agents": ["A1"]});
    let plan = send(&web, "POST", "/api/v1/allocations", lead, &listed);
    assert_eq!(
        (plan.status, &plan.json()["left_out"]),
        (201, &json!(["C9"])),
        "{}",
        plan.text()
    );
    let unknown =
        json!({"method": "even_count", "client": "moon", "references": ["C1"], "agents": ["A1"]});
    assert_eq!(
        send(&web, "POST", "/api/v1/allocations", lead, &unknown).status,
        404
    );

    // What was closed by mistake is open again; of settled ones each is named.
    let bulk = |body: serde_json::Value| {
        let done = send(&web, "POST", "/api/v1/cases/bulk", lead, &body);
        (done.status, done.json()["changed"].clone())
    };
    let one = |action: &str| json!({"action": action, "reason": "a mistake", "client": "bank", "references": ["C1"]});
    assert_eq!(bulk(one("close")), (200, json!(1)));
    assert_eq!(bulk(one("reopen")), (200, json!(1)));
    let filtered =
        json!({"action": "reopen", "settled": true, "reason": "x", "cases": {"client": "bank"}});
    assert_eq!(bulk(filtered).0, 400);
    let strange = json!({"action": "close", "settled": true, "reason": "x", "client": "bank", "references": ["C1"]});
    assert_eq!(bulk(strange).0, 400);

    // A paused case is not called, not even by a callback: it ends with the receipt of the refusal.
    let pause = json!({"action": "pause", "reason": "the client asked", "client": "bank", "references": ["C2", "C9"]});
    assert_eq!(
        send(&web, "POST", "/api/v1/cases/bulk", agent, &pause).status,
        403
    );
    let paused = send(&web, "POST", "/api/v1/cases/bulk", lead, &pause);
    assert_eq!(
        (paused.status, paused.json()),
        (200, json!({"selected": 1, "changed": 1, "unknown": ["C9"]}))
    );
    let refused = send(
        &web,
        "POST",
        "/api/v1/calls",
        agent,
        &json!({"contact_point_id": 2}),
    );
    assert_eq!(
        (refused.status, &refused.json()["reasons"][0]["code"]),
        (422, &json!("case_not_open"))
    );

    let later = json!({"contact_point_id": 2, "due_at_ms": now_ms + 5_000});
    let queued = send(&web, "POST", "/api/v1/callbacks", agent, &later);
    assert_eq!(queued.status, 201, "{}", queued.text());
    while events.next().unwrap().0 != "callback.due" {}
    let callback = format!("/api/v1/callbacks/{}", queued.json()["callback_id"]);
    let refused = send(&web, "POST", &format!("{callback}/dial"), agent, &json!({}));
    assert_eq!(refused.status, 422, "{}", refused.text());
    let ended = web.get(&callback, lead).json();
    assert_eq!(
        (&ended["state"], &ended["reason"]),
        (&json!("refused"), &refused.json()["receipt"])
    );

    // What an agent says of a number without a call is kept and does not count; a lead says that it is good again.
    let case = web.get("/api/v1/cases?client=bank&reference=C2", lead);
    assert_eq!(case.status, 200, "{}", case.text());
    let (case, point) = (case.json()["case_id"].clone(), 2);
    let wrong = json!({"case_id": case, "contact_point_id": point, "said": {"disposition": "wrong_number"}});
    let written = send(&web, "POST", "/api/v1/notes", agent, &wrong);
    assert_eq!(written.status, 201, "{}", written.text());
    assert_eq!(written.json()["counts_towards_loss_of_contact"], false);
    let faults = format!("/api/v1/cases/{case}/number-faults");
    let listed = web.get(&faults, agent).json();
    assert_eq!(
        (
            &listed[0]["kind"],
            &listed[0]["counts_towards_loss_of_contact"]
        ),
        (&json!("wrong_number"), &json!(false))
    );
    let good = format!("/api/v1/contact-points/{point}/good-again");
    let why = json!({"reason": "he called back himself"});
    for (token, status) in [(agent, 403), (lead, 200), (lead, 409)] {
        let answer = send(&web, "POST", &good, token, &why);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert!(web.get(&faults, lead).json()[0]["lifted_at_ms"].is_i64());
    let days = "/api/v1/notes/export?from=2026-11-30&to=2026-11-01";
    assert_eq!(web.get(days, lead).status, 400);

    // Written out in the bank's own form, and logged before.
    let export = web.get("/api/v1/notes/export?client=bank", lead);
    assert_eq!(export.status, 200);
    assert!(
        export.header("content-disposition").contains("bank-notes"),
        "{}",
        export.header("content-disposition")
    );
    assert_eq!(web.get("/api/v1/notes/export", agent).status, 403);

    // What is overdue, and what came in.
    assert_eq!(web.get("/api/v1/overdue", lead).json(), json!([]));
    let intake = web.get("/api/v1/stats/intake?client=bank", lead).json();
    assert_eq!(intake[0]["cases"], 2, "{intake}");

    // What was done all day is written down, to the last minute.
    drop(events);
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait(Duration::from_secs(60)).success());
    let did = setup.with_config(&["agents", "states", "--agent", "A1"]);
    for word in ["ready", "break", "lunch", "reserved", "talk", "wrap_up"] {
        assert!(did.contains(word), "{word}: {did}");
    }
    support::daemon::assert_clean(&daemon.log(), &floor.secrets());
}
