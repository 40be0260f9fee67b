//! The case store over HTTP: exact search, masked secrets, marks, and cases that are pushed from elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    daemon::{Daemon, Database, Setup},
    floor::{Floor, Store},
    net::Net,
    registrar::Registrar,
    web::{Answer, Web, bearer},
};

on_each_database!(a_pushed_case_is_found_masked_revealed_with_a_reason_and_silenced);

const IDENTITY: &str = "11010519491231002X";
const CARD: &str = "4111111111111111";
const NUMBER: &str = "+8613800131880";

struct Desk {
    web: Web,
    token: String,
}

impl Desk {
    fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let token = bearer(&self.token);
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        self.web
            .ask(method, path, &headers, body.to_string().as_bytes())
    }
}

fn a_pushed_case_is_found_masked_revealed_with_a_reason_and_silenced(database: Database) {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address())
        .keeping_in(database)
        .at("2026-03-10 02:00:00");
    let floor = Floor::prepare(&setup, &["1001"], &[NUMBER]);
    let operations = setup.with_config(&[
        "users",
        "add",
        "ops",
        "--role",
        "operations",
        "--all-clients",
    ]);
    let daemon = Daemon::start(&setup);
    let desk = |token: &str| Desk {
        web: Web::new(setup.http()),
        token: token.trim().to_owned(),
    };
    let (agent, lead) = (desk(&floor.agents[0]), desk(&floor.lead));
    let operations = desk(&operations);

    let case = json!({
        "client": "bank", "batch": "2", "reference": "X-1", "debtor": "E-1", "name": "欧阳测试9", "identity": IDENTITY, "card": CARD,
        "placed": "1000.50", "overdue_days": 95,
        "contacts": [{"name": "欧阳测试9", "relation": "debtor", "number": "13800131881"},
                     {"name": "欧阳测试8", "relation": "friend", "number": "13800131882", "zone": "europe/london"}]
    });
    assert_eq!(agent.send("POST", "/api/v1/cases", &case).status, 403);
    let pushed = operations.send("POST", "/api/v1/cases", &case);
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    assert_eq!(
        (&pushed.json()["new"], &pushed.json()["rows"]["new"]),
        (&json!(true), &json!(2))
    );
    let again = operations.send("POST", "/api/v1/cases", &case).json();
    assert_eq!(
        (&again["new"], &again["rows"]["same"]),
        (&json!(false), &json!(2))
    );
    let id = pushed.json()["case_id"].as_i64().unwrap();
    // Where somebody lives is on record, and what is no zone is told.
    let zones = || {
        let case = agent
            .web
            .get(&format!("/api/v1/cases/{id}"), &agent.token)
            .json();
        let points = case["contact_points"].as_array().unwrap().iter();
        points
            .map(|point| point["zone"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(zones(), [Value::Null, json!("Europe/London")]);
    let mut moved = case.clone();
    moved["contacts"][1]["zone"] = json!("America/New_York");
    assert_eq!(operations.send("POST", "/api/v1/cases", &moved).status, 200);
    assert_eq!(zones(), [Value::Null, json!("America/New_York")]);
    moved["contacts"][1]["zone"] = json!("Asia/Urumqi");
    let refused = operations.send("POST", "/api/v1/cases", &moved);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(
        refused.text().contains("contact 2, zone"),
        "{}",
        refused.text()
    );

    let mut wrong = case.clone();
    wrong["identity"] = json!("110105194912310021");
    wrong["contacts"][1]["number"] = json!("12");
    let refused = operations.send("POST", "/api/v1/cases", &wrong);
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(refused.status, 422, "{said}");
    assert!(
        said.contains("identity: its check digit") && said.contains("contact 2, number"),
        "{said}"
    );
    assert!(!said.contains("1101051949"), "{said}");

    for search in [
        json!({"identity": "110105 19491231 002x"}),
        json!({"card": CARD}),
        json!({"number": "138 0013 1881"}),
    ] {
        let found = agent.send("POST", "/api/v1/cases/search", &search);
        assert_eq!(found.json()["cases"][0]["case_id"], json!(id), "{search}");
    }
    for search in [
        json!({}),
        json!({"card": CARD, "number": "1"}),
        json!({"identity": "x"}),
    ] {
        assert_eq!(
            agent.send("POST", "/api/v1/cases/search", &search).status,
            400,
            "{search}"
        );
    }
    let path = |rest: &str| format!("/api/v1/cases/{id}/{rest}");
    let detail = agent.web.get(&path("detail"), &agent.token).json();
    assert_eq!(
        (
            &detail["identity"],
            &detail["card"],
            &detail["placed"],
            &detail["bucket"]
        ),
        (
            &json!("****002X"),
            &json!("****1111"),
            &json!("1000.50"),
            &json!("to_180")
        )
    );
    let reason = json!({"reason": "the debtor asks which card it is"});
    assert_eq!(agent.send("POST", &path("reveal"), &reason).status, 403);
    assert_eq!(
        lead.send("POST", &path("reveal"), &json!({"reason": " "}))
            .status,
        400
    );
    let whole = lead.send("POST", &path("reveal"), &reason).json();
    assert_eq!(
        (&whole["identity"], &whole["card"]),
        (&json!(IDENTITY), &json!(CARD))
    );
    assert_eq!(
        agent
            .send("PUT", &path("mark"), &json!({"mark": "red"}))
            .status,
        204
    );
    assert_eq!(
        agent
            .send("PUT", &path("mark"), &json!({"mark": "pink"}))
            .status,
        400
    );
    assert_eq!(
        agent.web.get(&path("detail"), &agent.token).json()["mark"],
        "red"
    );

    // A case that enters in a state is never dialled, and a known one takes it over.
    let mut paused = case.clone();
    paused["reference"] = json!("C-2");
    paused["state"] = json!("paused");
    paused["placed_on"] = json!("2026-03-05");
    let pushed = operations.send("POST", "/api/v1/cases", &paused);
    assert_eq!(pushed.status, 422, "{}", pushed.text());
    paused["batch"] = json!("B-2");
    let pushed = operations.send("POST", "/api/v1/cases", &paused);
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    let state = || {
        let path = format!("/api/v1/cases/{}", pushed.json()["case_id"]);
        operations.web.get(&path, &operations.token).json()["state"].clone()
    };
    assert_eq!(state(), "paused");
    paused["state"] = json!("open");
    paused["balance"] = json!("0");
    assert_eq!(
        operations.send("POST", "/api/v1/cases", &paused).status,
        200
    );
    assert_eq!(state(), "settled");
    paused["state"] = json!("gone");
    assert_eq!(
        operations.send("POST", "/api/v1/cases", &paused).status,
        400
    );

    let settled = json!({"state": "settled", "reason": "paid at the branch"});
    assert_eq!(agent.send("PUT", &path("state"), &settled).status, 403);
    assert_eq!(
        operations
            .send(
                "PUT",
                &path("state"),
                &json!({"state": "gone", "reason": "x"})
            )
            .status,
        400
    );
    assert_eq!(operations.send("PUT", &path("state"), &settled).status, 204);
    let seen = agent
        .web
        .get(&format!("/api/v1/cases/{id}"), &agent.token)
        .json();
    assert_eq!(seen["state"], "settled");
    let point = seen["contact_points"][0]["contact_point_id"].clone();
    let dialled = agent.send("POST", "/api/v1/calls", &json!({"contact_point_id": point}));
    assert_eq!(dialled.status, 422, "{}", dialled.text());
    let paid = agent.web.get(&path("repayments"), &agent.token).json();
    assert_eq!(paid["repayments"], json!([]));
    for path in [
        "/api/v1/cases/9999/detail",
        "/api/v1/cases/x/detail",
        "/api/v1/cases/9999/repayments",
    ] {
        assert_eq!(agent.web.get(path, &agent.token).status, 404, "{path}");
    }

    let mut secrets = floor.secrets();
    secrets.extend([IDENTITY, CARD, "13800131881"]);
    daemon.stop(Duration::from_secs(20), &secrets);
    let mut store = Store::open(&setup);
    let logged = store.texts(
        "SELECT action || ' ' || actor FROM access_log WHERE action LIKE 'case.%' ORDER BY seq",
    );
    assert_eq!(
        logged,
        ["case.reveal lead", "case.state ops", "case.state ops"]
    );
    let boxes = store.texts("SELECT identity_box FROM persons WHERE identity_box IS NOT NULL");
    assert_eq!(boxes.len(), 1);
    store.close();
}
