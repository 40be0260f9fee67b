//! Rules that change while the daemon works, from their source to the next click, through the API and against a real PBX:
//! a bank's own file, an agreement proven by a letter, and what a customer said at the end of a call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use ringfence::policy;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::asterisk::Asterisk;
use support::daemon::{Daemon, Database, Setup};
use support::eventually;
use support::floor::{CLIENT, Floor, add_user, other_client};
use support::web::{Web, dial, send, until, whole_call};

on_each_database!(
    a_banks_own_file_counts_from_the_next_click_and_a_bad_one_changes_nothing,
    a_letter_opens_the_hours_it_names_once_a_second_person_approved_it,
    what_a_customer_asks_at_the_end_of_a_call_is_obeyed_at_the_next_click
);

/// 10:00 and 21:30 in China, on a Tuesday.
const MORNING: &str = "2026-03-10 02:00:00";
const EVENING: &str = "2026-03-10 13:30:00";
/// Answers at once, speaks 400 Hz, hangs up after two seconds.
const SHORT: &str = "+8613800132102";
/// Answers at once, speaks 440 Hz, stays.
const STAYS: &str = "+8613800131440";
const SOON: Duration = Duration::from_secs(20);

/// Clicks and gives the codes of the reasons why not, each proven by its receipt alone.
fn refused(web: &Web, floor: &Floor, point: i64) -> Vec<String> {
    let answer = dial(web, &floor.agents[0], &json!({ "contact_point_id": point }));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let receipt = answer.json()["receipt"].as_str().unwrap().to_owned();
    let stored = web
        .get(&format!("/api/v1/receipts/{receipt}"), &floor.compliance)
        .json();
    let again = policy::replay(&stored["decision"].to_string()).unwrap();
    again
        .reasons()
        .iter()
        .map(|refusal| refusal.reason.code().to_owned())
        .collect()
}

fn rules_of(web: &Web, floor: &Floor) -> Value {
    let path = format!("/api/v1/policy?client={CLIENT}");
    web.get(&path, &floor.compliance).json()
}

fn a_banks_own_file_counts_from_the_next_click_and_a_bad_one_changes_nothing(database: Database) {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).keeping_in(database).at(MORNING);
    let dir = setup.path("rules");
    std::fs::create_dir(&dir).unwrap();
    let setup = setup.set("policy.dir", dir.to_string_lossy().into_owned());
    let floor = Floor::prepare(&setup, &["1620"], &[STAYS, SHORT]);
    let mut daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let reload = |token: &str| send(&web, "POST", "/api/v1/policy/reload", token, &json!({}));
    let before = rules_of(&web, &floor);
    assert_eq!(before["rules"]["name"], "cn-plan", "{before}");

    // A call is up while the bank's file arrives: it goes on, the next click is decided by the file.
    let up = dial(&web, &floor.agents[0], &json!({"contact_point_id": 1}));
    assert_eq!(up.status, 202, "{}", up.text());
    let up = format!("/api/v1/calls/{}", up.json()["call"].as_str().unwrap());
    until(&web, &up, &floor.lead, |call| call["state"] == "talking");
    let file = dir.join(format!("{CLIENT}.toml"));
    let stricter = "base = \"cn-plan\"\nname = \"bank\"\nrevision = \"1\"\n\n[window]\nclause = \
                    \"contract 7, 3.2\"\n[window.week]\ntue = []\n";
    std::fs::write(&file, stricter).unwrap();
    daemon.signal(Signal::HUP);
    let in_force = eventually("the bank's rules", SOON, || {
        let now = rules_of(&web, &floor);
        (now["sha256"] != before["sha256"]).then_some(now)
    });
    let source = in_force["source"].as_str().unwrap();
    assert!(source.contains("bank.toml"), "{in_force}");
    assert_eq!(web.get(&up, &floor.lead).json()["state"], "talking");
    assert_eq!(
        send(&web, "DELETE", &up, &floor.agents[0], &json!({})).status,
        202
    );
    until(&web, &up, &floor.lead, |call| call["state"] == "ended");
    assert_eq!(refused(&web, &floor, 2), ["outside_window"]);

    // A looser file is refused with the line that loosens; the rules stay.
    let looser = format!("{stricter}\n[ring]\nclause = \"x\"\nguard_ms = 1000\n");
    std::fs::write(&file, &looser).unwrap();
    let line = 1 + looser
        .lines()
        .position(|line| line.starts_with("guard_ms"))
        .unwrap();
    let answer = reload(&floor.compliance);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for part in [
        "the rules stay as they were",
        &format!("line {line}"),
        "ring.guard_ms: looser than the base",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let kept = rules_of(&web, &floor);
    assert_eq!(kept["sha256"], in_force["sha256"]);
    assert!(
        kept["fault"].as_str().unwrap().contains("ring.guard_ms"),
        "{kept}"
    );
    assert_eq!(refused(&web, &floor, 2), ["outside_window"]);
    assert_eq!(reload(&floor.lead).status, 403);

    // Without the file the preset counts again, and every version is kept.
    std::fs::remove_file(&file).unwrap();
    let answer = reload(&floor.compliance);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(rules_of(&web, &floor)["sha256"], before["sha256"]);
    whole_call(&web, &floor, 2);
    let path = format!("/api/v1/policy/history?client={CLIENT}");
    let history = web.get(&path, &floor.compliance).json();
    let said = history.to_string();
    assert!(
        said.contains(in_force["sha256"].as_str().unwrap()) && said.contains("compliance"),
        "{said}"
    );

    // What refused is found by what it refused, and by which rules stands under their hash.
    let found = web
        .get(
            "/api/v1/receipts?case_id=2&allowed=false&reason=outside_window",
            &floor.compliance,
        )
        .json();
    let receipt = &found[found.as_array().unwrap().len() - 1];
    assert_eq!(receipt["rules_sha256"], in_force["sha256"], "{found}");
    let path = format!(
        "/api/v1/policy?sha256={}",
        in_force["sha256"].as_str().unwrap()
    );
    let kept = web.get(&path, &floor.compliance).json();
    assert_eq!(kept["rules"], in_force["rules"], "{kept}");
    let path = format!("/api/v1/receipts/{}", receipt["receipt"].as_str().unwrap());
    let shown = web.get(&path, &floor.compliance).json();
    let window = shown["explained"].as_array().unwrap().iter();
    let window = window
        .clone()
        .find(|line| line["rule"] == "window")
        .unwrap();
    assert_eq!(window["outcome"], "refused", "{shown}");

    // Where somebody lives decides whose hour counts.
    let explain = || {
        let path = format!("/api/v1/policy/explain?case_id=2&number={SHORT}");
        web.get(&path.replace('+', "%2B"), &floor.compliance).json()[0].clone()
    };
    assert_eq!(explain()["allowed"], true);
    let record = |zone: Value| {
        let path = "/api/v1/contact-points/2/zone";
        send(
            &web,
            "PUT",
            path,
            &floor.compliance,
            &json!({"zone": zone, "reason": "said so"}),
        )
    };
    for (zone, status) in [
        (json!("Mars/Olympus"), 400),
        (json!("Asia/Urumqi"), 400),
        (json!("Europe/London"), 204),
    ] {
        assert_eq!(record(zone.clone()).status, status, "{zone}");
    }
    let there = explain();
    assert_eq!(there["reasons"][0]["code"], "outside_window", "{there}");
    assert_eq!(record(Value::Null).status, 204);
    assert_eq!(explain()["allowed"], true);
    daemon.stop(SOON, &floor.secrets());
}

fn a_letter_opens_the_hours_it_names_once_a_second_person_approved_it(database: Database) {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).keeping_in(database).at(EVENING);
    let dir = setup.path("rules");
    std::fs::create_dir(&dir).unwrap();
    let rules = "base = \"cn-plan\"\nname = \"bank\"\nrevision = \"1\"\n\n[agreements]\nclause = \"contract 7, \
                 3.6\"\ntwo_persons = true\n";
    std::fs::write(dir.join(format!("{CLIENT}.toml")), rules).unwrap();
    let setup = setup.set("policy.dir", dir.to_string_lossy().into_owned());
    let floor = Floor::prepare(&setup, &["1620"], &[SHORT, STAYS]);
    other_client(&setup, "+8613900131440");
    let stranger = add_user(&setup, "stranger", "compliance", &["--client", "other"]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    assert_eq!(refused(&web, &floor, 1), ["outside_window"]);

    let letter = b"%PDF-1.4\n% I may be called until ten in the evening.\n%%EOF\n";
    let every_day = |hours: &str| -> Value {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        days.iter()
            .map(|day| ((*day).to_owned(), json!([hours])))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let proposal = |bytes: &[u8]| {
        json!({
            "case_id": 1, "numbers": [SHORT], "hours": every_day("21:00-22:00"), "uses_most": 1,
            "until_ms": 1_773_187_200_000_i64 + 30 * 86_400_000,
            "letter": {"name": "letter.pdf", "base64": base64::engine::general_purpose::STANDARD.encode(bytes)},
        })
    };
    // What is no letter, or proves nothing, is told so.
    let wrong = send(
        &web,
        "POST",
        "/api/v1/agreements",
        &floor.lead,
        &proposal(b"MZ no letter"),
    );
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let mut nothing = proposal(letter);
    nothing.as_object_mut().unwrap().remove("letter");
    assert_eq!(
        send(&web, "POST", "/api/v1/agreements", &floor.lead, &nothing).status,
        400
    );
    let unseen = send(
        &web,
        "POST",
        "/api/v1/agreements",
        &stranger,
        &proposal(letter),
    );
    assert_eq!(unseen.status, 404, "{}", unseen.text());

    let entered = send(
        &web,
        "POST",
        "/api/v1/agreements",
        &floor.lead,
        &proposal(letter),
    );
    assert_eq!(entered.status, 201, "{}", entered.text());
    let path = entered.header("location").to_owned();
    assert_eq!(entered.json()["state"], "waiting");
    assert_eq!(refused(&web, &floor, 1), ["outside_window"]);
    let approve = format!("{path}/approve");
    let by = |token: &str| send(&web, "POST", &approve, token, &json!({})).status;
    assert_eq!(
        [by(&floor.agents[0]), by(&floor.lead), by(&stranger)],
        [403, 409, 404],
        "agents approve nothing, nobody their own, and other clients' do not exist"
    );
    assert_eq!(by(&floor.compliance), 200);

    // It allows one call at that number, and no other number; then it is used up and stays readable.
    assert_eq!(refused(&web, &floor, 2), ["outside_window"]);
    let call = whole_call(&web, &floor, 1);
    let used = web.get(&path, &floor.compliance).json();
    assert_eq!(
        (&used["uses"], &used["state"]),
        (&json!(1), &json!("used_up"))
    );
    assert_eq!(used["receipts"], json!([call["receipt"]]), "{call}");
    assert_eq!(refused(&web, &floor, 1), ["outside_window"]);

    // The letter itself: as it was, for those who may, and nowhere in clear.
    let read = web.get(&format!("{path}/letter"), &floor.compliance);
    assert_eq!((read.status, read.text().as_bytes()), (200, &letter[..]));
    assert_eq!(web.get(&format!("{path}/letter"), &stranger).status, 404);
    assert_eq!(
        web.get(&format!("{path}/letter"), &floor.agents[0]).status,
        403
    );
    daemon.stop(SOON, &floor.secrets());
    for file in ["ringfence.db", "ringfence.db-wal"] {
        let bytes = std::fs::read(setup.path(file)).unwrap_or_default();
        let clear = bytes.windows(20).any(|part| part == &letter[11..31]);
        assert!(!clear, "the letter stands in {file} in clear");
    }
}

fn what_a_customer_asks_at_the_end_of_a_call_is_obeyed_at_the_next_click(database: Database) {
    let pbx = Asterisk::start();
    let setup = Setup::for_pbx(&pbx).keeping_in(database).at(MORNING);
    // The same number stands in two cases.
    let floor = Floor::prepare(&setup, &["1620"], &[SHORT, SHORT, STAYS]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let agent = &floor.agents[0];
    whole_call(&web, &floor, 1);
    let notes = web.get("/api/v1/notes", agent).json();
    let note = format!("/api/v1/notes/{}", notes[0]["note"]);
    let said = json!({"disposition": "do_not_call", "text": "不要再打"});
    let finished = send(&web, "PUT", &note, agent, &said);
    assert_eq!(finished.status, 200, "{}", finished.text());
    for point in [1, 2] {
        assert_eq!(refused(&web, &floor, point), ["do_not_call"]);
    }
    // It is on the list, who may lifts it with a reason, and what was barred stays readable.
    let bars = web.get("/api/v1/bars", &floor.compliance).json();
    let bar = &bars[0];
    assert_eq!(
        (&bar["kind"], &bar["scope"]),
        (&json!("do_not_call"), &json!("number")),
        "{bars}"
    );
    let lift = format!("/api/v1/bars/{}/lift", bar["bar_id"]);
    let reason = json!({"reason": "asked in writing to be called again"});
    for (token, status) in [(agent, 403), (&floor.lead, 403), (&floor.compliance, 200)] {
        let answer = send(&web, "POST", &lift, token, &reason);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    whole_call(&web, &floor, 2);
    let all = web.get("/api/v1/bars?all=true", &floor.compliance).json();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    daemon.stop(SOON, &floor.secrets());
}
