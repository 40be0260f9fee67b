//! Who may do what: every route of the API's own document, asked by every role; and every object of one client, asked for
//! by those who work for another. A route that this file does not know fails it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{Daemon, Database, Setup};
use support::floor::{CLIENT, Floor, add_user, other_client};
use support::net::Net;
use support::registrar::Registrar;
use support::web::{Answer, Web, bearer};

on_each_database!(
    every_route_of_the_document_answers_each_role_as_the_table_says,
    what_belongs_to_one_client_does_not_exist_for_those_of_another
);

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
const NUMBER: &str = "+8613800131440";

/// A letter for each role, as in the table below.
const ROLES: [(char, &str); 7] = [
    ('A', "agent"),
    ('L', "lead"),
    ('Q', "qa"),
    ('O', "operations"),
    ('C', "compliance"),
    ('U', "auditor"),
    ('D', "admin"),
];
const EVERYBODY: &str = "ALQOCUD";

/// The roles that may, and a request that is well formed and touches nothing that is there.
fn table() -> BTreeMap<&'static str, (&'static str, Value)> {
    let reason = || json!({"reason": "a test"});
    let no_case = 999_999;
    BTreeMap::from([
        // An agent's own desk: for a token that belongs to an agent.
        ("POST /api/v1/agent/session", ("A", json!({"sdp": "v=0"}))),
        (
            "POST /api/v1/agent/session/stats",
            (
                "A",
                json!({"connection": "connected", "received": {"packets": 1, "lost": 0}}),
            ),
        ),
        ("DELETE /api/v1/agent/session/{session}", ("A", Value::Null)),
        ("GET /api/v1/agent/state", ("A", Value::Null)),
        ("PUT /api/v1/agent/state", ("A", json!({"state": "ready"}))),
        ("GET /api/v1/agents", ("LOD", Value::Null)),
        // Calls.
        (
            "POST /api/v1/calls",
            ("ALOD", json!({"contact_point_id": no_case, "agent_id": 1})),
        ),
        ("GET /api/v1/calls", (EVERYBODY, Value::Null)),
        ("GET /api/v1/calls/{call}", (EVERYBODY, Value::Null)),
        ("DELETE /api/v1/calls/{call}", (EVERYBODY, Value::Null)),
        ("GET /api/v1/callbacks", ("ALOD", Value::Null)),
        (
            "POST /api/v1/callbacks",
            (
                "ALOD",
                json!({"contact_point_id": no_case, "due_at_ms": 1_773_100_000_000_i64, "agent_id": 1}),
            ),
        ),
        ("GET /api/v1/callbacks/{callback}", (EVERYBODY, Value::Null)),
        (
            "DELETE /api/v1/callbacks/{callback}",
            (EVERYBODY, Value::Null),
        ),
        (
            "POST /api/v1/callbacks/{callback}/dial",
            (EVERYBODY, Value::Null),
        ),
        ("GET /api/v1/events", (EVERYBODY, Value::Null)),
        // Recordings.
        ("GET /api/v1/recordings", ("LQCU", Value::Null)),
        ("GET /api/v1/recordings/{recording}", ("LQCU", Value::Null)),
        (
            "GET /api/v1/recordings/{recording}/audio",
            ("LQCU", Value::Null),
        ),
        (
            "GET /api/v1/recordings/{recording}/export",
            ("LQCU", Value::Null),
        ),
        // Rules.
        ("GET /api/v1/policy", ("LCU", Value::Null)),
        ("GET /api/v1/policy/history", ("LCU", Value::Null)),
        ("GET /api/v1/policy/explain", ("LCU", Value::Null)),
        ("POST /api/v1/policy/reload", ("CD", Value::Null)),
        ("GET /api/v1/receipts", ("CU", Value::Null)),
        ("GET /api/v1/receipts/{receipt}", ("CU", Value::Null)),
        ("GET /api/v1/bars", ("LCU", Value::Null)),
        (
            "POST /api/v1/bars",
            (
                "LC",
                json!({"scope": "case", "case_id": no_case, "kind": "complaint", "reason": "a test"}),
            ),
        ),
        ("POST /api/v1/bars/{bar}/lift", ("C", reason())),
        ("GET /api/v1/agreements", ("ALCU", Value::Null)),
        (
            "POST /api/v1/agreements",
            (
                "ALC",
                json!({"case_id": no_case, "numbers": [NUMBER], "until_ms": 1_873_100_000_000_i64, "hours": week(),
                       "letter": {"name": "letter.pdf", "base64": "JVBERi0xLjQK"}}),
            ),
        ),
        ("GET /api/v1/agreements/{agreement}", ("ALCU", Value::Null)),
        (
            "GET /api/v1/agreements/{agreement}/letter",
            ("LCU", Value::Null),
        ),
        (
            "POST /api/v1/agreements/{agreement}/approve",
            ("LC", Value::Null),
        ),
        (
            "POST /api/v1/agreements/{agreement}/refuse",
            ("LC", reason()),
        ),
        (
            "POST /api/v1/agreements/{agreement}/revoke",
            ("LC", reason()),
        ),
        // Cases.
        ("GET /api/v1/cases", ("ALOD", Value::Null)),
        (
            "POST /api/v1/cases",
            (
                "OD",
                json!({"client": "nobody", "batch": "1", "reference": "R", "contacts": []}),
            ),
        ),
        (
            "POST /api/v1/cases/bulk",
            (
                "LO",
                json!({"action": "pause", "reason": "a test", "client": CLIENT, "references": ["nothing"]}),
            ),
        ),
        (
            "POST /api/v1/cases/search",
            ("ALOD", json!({"number": "+8613800139999"})),
        ),
        ("GET /api/v1/cases/{case}", ("ALOD", Value::Null)),
        (
            "PUT /api/v1/contact-points/{contact_point}/zone",
            ("LC", json!({"zone": "Europe/London", "reason": "a test"})),
        ),
        ("GET /api/v1/cases/{case}/detail", ("ALOD", Value::Null)),
        (
            "PUT /api/v1/cases/{case}/mark",
            ("ALOD", json!({"mark": "red"})),
        ),
        ("GET /api/v1/cases/{case}/repayments", ("ALOD", Value::Null)),
        (
            "GET /api/v1/cases/{case}/number-faults",
            ("ALQOCU", Value::Null),
        ),
        (
            "POST /api/v1/contact-points/{contact_point}/good-again",
            ("LC", reason()),
        ),
        ("POST /api/v1/cases/{case}/reveal", ("LC", reason())),
        (
            "PUT /api/v1/cases/{case}/state",
            ("LOD", json!({"state": "paused", "reason": "a test"})),
        ),
        (
            "POST /api/v1/allocations",
            (
                "LO",
                json!({"method": "even_count", "cases": {"batch": "nothing"}, "agents": ["A1"]}),
            ),
        ),
        ("GET /api/v1/allocations/{allocation}", ("LO", Value::Null)),
        (
            "POST /api/v1/allocations/{allocation}/apply",
            ("LO", Value::Null),
        ),
        (
            "POST /api/v1/allocations/{allocation}/undo",
            ("LO", Value::Null),
        ),
        ("GET /api/v1/overdue", ("ALQOCU", Value::Null)),
        ("GET /api/v1/major-matters", ("LOCU", Value::Null)),
        (
            "POST /api/v1/major-matters",
            (
                "ALOC",
                json!({"client": "nobody", "kind": "complaint", "text": "a test"}),
            ),
        ),
        (
            "POST /api/v1/major-matters/{matter}/report",
            ("LOC", json!({"told": "the bank", "grade": "light"})),
        ),
        // Notes.
        ("GET /api/v1/dispositions", (EVERYBODY, Value::Null)),
        ("GET /api/v1/notes", ("ALQOCU", Value::Null)),
        (
            "POST /api/v1/notes",
            (
                "ALOD",
                json!({"case_id": no_case, "said": {"disposition": "negotiating", "text": "a test"}}),
            ),
        ),
        ("GET /api/v1/notes/export", ("LQOCU", Value::Null)),
        ("GET /api/v1/notes/{note}", (EVERYBODY, Value::Null)),
        (
            "PUT /api/v1/notes/{note}",
            (
                EVERYBODY,
                json!({"disposition": "negotiating", "text": "a test"}),
            ),
        ),
        // Figures.
        ("GET /api/v1/stats/connect-rate", ("LQOCUD", Value::Null)),
        ("GET /api/v1/stats/intake", ("LQOCUD", Value::Null)),
        ("GET /api/v1/reports", ("LQOCUD", Value::Null)),
        ("GET /api/v1/reports/{report}", ("LQOCUD", Value::Null)),
    ])
}

fn week() -> Value {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let hours = days
        .iter()
        .map(|day| ((*day).to_owned(), json!(["21:00-22:00"])));
    Value::Object(hours.collect())
}

/// Without a token these answer too.
const OPEN: [&str; 3] = ["GET /healthz", "GET /metrics", "GET /readyz"];

fn send(web: &Web, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let mut headers = Vec::new();
    if let Some(token) = token {
        headers.push(("authorization", bearer(token)));
    }
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        headers.push(("content-type", "application/json".to_owned()));
        body.to_string().into_bytes()
    };
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    web.ask(method, path, &headers, &bytes)
}

/// The path with ids of nothing, and the query that the operation cannot do without.
fn filled(path: &str, operation: &Value) -> String {
    let mut filled = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let whole = parameter["schema"]["type"] == "integer";
        match parameter["in"].as_str() {
            Some("path") => {
                let id = if whole {
                    "999999"
                } else {
                    "019cd578-f91c-790d-8844-8ea49e6fda49"
                };
                filled = filled.replace(&format!("{{{name}}}"), id);
            }
            Some("query") if parameter["required"] == true => {
                let value = match name {
                    "by" => "hour",
                    "number" => "%2B8613800131440",
                    "case_id" => "999999",
                    _ => "nobody",
                };
                query.push(format!("{name}={value}"));
            }
            _ => {}
        }
    }
    if !query.is_empty() {
        filled = format!("{filled}?{}", query.join("&"));
    }
    filled
}

struct House {
    _net: Net,
    _pbx: Registrar,
    setup: Setup,
    floor: Floor,
}

fn house(database: Database) -> House {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address())
        .keeping_in(database)
        .at(MORNING);
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    House {
        _net: net,
        _pbx: pbx,
        setup,
        floor,
    }
}

fn every_route_of_the_document_answers_each_role_as_the_table_says(database: Database) {
    let house = house(database);
    let mut people = BTreeMap::from([('A', house.floor.agents[0].clone())]);
    for (letter, role) in ROLES.into_iter().skip(1) {
        people.insert(
            letter,
            add_user(
                &house.setup,
                &format!("one-{role}"),
                role,
                &["--all-clients"],
            ),
        );
    }
    let daemon = Daemon::start(&house.setup);
    let web = Web::new(house.setup.http());
    let document = web.get("/api/v1/openapi.json", &house.floor.lead).json();
    let mut table = table();
    let mut wrong = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let (method, filled) = (method.to_uppercase(), filled(path, operation));
            if OPEN.contains(&&*name) {
                continue;
            }
            let (may, body) = table
                .remove(&*name)
                .unwrap_or_else(|| panic!("{name}: say in this file who may"));
            if name == "GET /api/v1/events" {
                // A stream that never ends; the events of others are the business of tests/api.rs.
                continue;
            }
            let nobody = send(&web, &method, &filled, None, &body);
            assert_eq!(nobody.status, 401, "{name} without a token");
            let found: String = ROLES
                .iter()
                .filter(|(letter, role)| {
                    let answer = send(&web, &method, &filled, Some(&people[letter]), &body);
                    assert!(
                        answer.status < 500 && ![401, 405].contains(&answer.status),
                        "{name} by {role}: {}",
                        answer.text()
                    );
                    // Malformed is told before who may; nothing here is.
                    assert!(
                        answer.status != 400 || may.contains(*letter),
                        "{name} by {role}: {}",
                        answer.text()
                    );
                    answer.status != 403
                })
                .map(|(letter, _)| *letter)
                .collect();
            if found != may {
                wrong.push(format!("{name}: {found}, and not {may}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unknown: Vec<&str> = table.into_keys().collect();
    assert!(
        unknown.is_empty(),
        "the document has none of these: {unknown:?}"
    );
    daemon.stop(Duration::from_secs(20), &house.floor.secrets());
}

fn what_belongs_to_one_client_does_not_exist_for_those_of_another(database: Database) {
    let house = house(database);
    other_client(&house.setup, "+8613900131441");
    let strangers: BTreeMap<char, String> = ROLES
        .into_iter()
        .map(|(letter, role)| {
            let mut scope = vec!["--client", "other"];
            if letter == 'A' {
                scope.extend(["--agent", "A9", "--extension", "1009"]);
            }
            (
                letter,
                add_user(&house.setup, &format!("other-{role}"), role, &scope),
            )
        })
        .collect();
    let daemon = Daemon::start(&house.setup);
    let web = Web::new(house.setup.http());
    let (agent, lead, compliance) = (
        &house.floor.agents[0],
        &house.floor.lead,
        &house.floor.compliance,
    );
    let make = |path: &str, token: &str, body: Value| -> Value {
        let answer = send(&web, "POST", path, Some(token), &body);
        assert!(
            [200, 201].contains(&answer.status),
            "{path}: {}",
            answer.text()
        );
        answer.json()
    };
    let agreement = make(
        "/api/v1/agreements",
        lead,
        json!({"case_id": 1, "numbers": [NUMBER], "until_ms": 1_873_100_000_000_i64, "hours": week(),
               "letter": {"name": "letter.pdf", "base64": "JVBERi0xLjQK"}}),
    );
    let bar = make(
        "/api/v1/bars",
        compliance,
        json!({"scope": "case", "case_id": 1, "kind": "complaint", "reason": "a test"}),
    );
    let allocation = make(
        "/api/v1/allocations",
        lead,
        json!({"method": "even_count", "cases": {"client": CLIENT}, "agents": ["A1"]}),
    );
    let callback = make(
        "/api/v1/callbacks",
        agent,
        json!({"contact_point_id": 1, "due_at_ms": 1_773_200_000_000_i64}),
    );
    let note = make(
        "/api/v1/notes",
        agent,
        json!({"case_id": 1, "said": {"disposition": "negotiating", "text": "a test"}}),
    );
    let matter = make(
        "/api/v1/major-matters",
        lead,
        json!({"client": CLIENT, "case_id": 1, "kind": "complaint", "text": "a test"}),
    );
    let id = |value: &Value, names: &[&str]| -> String {
        names
            .iter()
            .find_map(|name| value[*name].as_i64())
            .unwrap_or_else(|| panic!("no id in {value}"))
            .to_string()
    };
    let objects = BTreeMap::from([
        ("{agreement}", id(&agreement, &["agreement_id"])),
        ("{bar}", id(&bar, &["bar_id"])),
        ("{allocation}", id(&allocation, &["allocation_id"])),
        ("{callback}", id(&callback, &["callback", "callback_id"])),
        ("{note}", id(&note, &["note", "note_id"])),
        ("{matter}", id(&matter, &["major_matter"])),
        ("{case}", "1".to_owned()),
        ("{contact_point}", "1".to_owned()),
    ]);
    let mut asked = 0;
    for (name, (may, body)) in table() {
        let (method, path) = name.split_once(' ').unwrap();
        let Some((place, id)) = objects.iter().find(|(place, _)| path.contains(**place)) else {
            continue;
        };
        let path = path.replace(place, id);
        for letter in may.chars() {
            let answer = send(&web, method, &path, Some(&strangers[&letter]), &body);
            assert_eq!(
                answer.status,
                404,
                "{method} {path} by {letter}: {}",
                answer.text()
            );
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked} questions only");
    // Nor are his cases called through an agent who works for the other client only.
    let agents = web.get("/api/v1/agents", lead).json();
    let stranger = agents
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["code"] == "A9");
    let stranger = &stranger.unwrap_or_else(|| panic!("no A9 in {agents}"))["agent_id"];
    for (path, more) in [
        ("/api/v1/calls", json!({})),
        (
            "/api/v1/callbacks",
            json!({"due_at_ms": 1_773_200_000_000_i64}),
        ),
    ] {
        let mut body = json!({"contact_point_id": 1, "agent_id": stranger});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let answer = send(&web, "POST", path, Some(lead), &body);
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(answer.text().contains("agent_id"), "{}", answer.text());
    }
    for list in [
        "agreements",
        "bars",
        "callbacks",
        "notes",
        "major-matters",
        "overdue",
        "calls",
        "recordings",
        "receipts",
    ] {
        let path = format!("/api/v1/{list}");
        for (letter, token) in &strangers {
            let answer = send(&web, "GET", &path, Some(token), &Value::Null);
            if answer.status == 403 {
                continue;
            }
            assert_eq!(answer.status, 200, "{path} by {letter}: {}", answer.text());
            let body = answer.text();
            assert!(
                !body.contains(NUMBER)
                    && !body.contains(&format!("\"{CLIENT}\""))
                    && !body.contains("a test"),
                "{path} by {letter}: {body}"
            );
        }
    }
    daemon.stop(Duration::from_secs(20), &house.floor.secrets());
}
