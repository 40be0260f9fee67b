//! Reports through a running daemon: over the API as each account may have them, and as files that it writes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{Daemon, Setup};
use support::floor::{CLIENT, Floor, add_user, other_client};
use support::net::Net;
use support::registrar::Registrar;
use support::web::{Web, bearer};

/// 09:59:50 in China: ten seconds before the report below is due.
const BEFORE_TEN: &str = "2026-03-10 01:59:50";
const SOON: Duration = Duration::from_secs(60);

fn post(web: &Web, path: &str, token: &str, body: &Value) -> u16 {
    let headers = [
        ("authorization", &*bearer(token)),
        ("content-type", "application/json"),
    ];
    let bytes = body.to_string().into_bytes();
    web.ask("POST", path, &headers, &bytes).status
}

#[test]
fn reports_are_served_within_an_accounts_clients_and_written_when_they_are_due() {
    let net = Net::claim();
    let pbx = Registrar::start(&net);
    let setup = Setup::new(&net, pbx.address()).at(BEFORE_TEN);
    let folder = setup.path("reports");
    let setup = setup.set("reports.dir", folder.to_string_lossy().into_owned());
    let floor = Floor::prepare(&setup, &["1001"], &["+8613800131440"]);
    other_client(&setup, "+8613900131440");
    let both = add_user(
        &setup,
        "both",
        "lead",
        &["--client", CLIENT, "--client", "other"],
    );
    let other = add_user(&setup, "other", "lead", &["--client", "other"]);
    let mut schedule: Vec<&str> =
        "stats schedule add ten --report refusals --period 1d --format xlsx --dir a/b --cron"
            .split(' ')
            .collect();
    schedule.push("0 10 * * *");
    let added = setup.with_config(&schedule);
    assert!(added.contains("next at 2026-03-10 10:00:00"), "{added}");

    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    // One call of each client that the rules do not allow.
    for case in [1, 2] {
        let bar =
            json!({"scope": "case", "case_id": case, "kind": "complaint", "reason": "a test"});
        assert_eq!(post(&web, "/api/v1/bars", &floor.compliance, &bar), 201);
        let click = json!({"contact_point_id": case, "agent_id": 1});
        assert_eq!(post(&web, "/api/v1/calls", &floor.lead, &click), 422);
    }
    let listed = web.get("/api/v1/reports", &other).json();
    assert_eq!(listed.as_array().unwrap().len(), 11, "{listed}");
    let clients = |path: &str, token: &str| -> Vec<String> {
        let answer = web.get(path, token);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let body = answer.json();
        assert!(
            body["sql"].as_str().unwrap().contains("json_each"),
            "{body}"
        );
        assert_eq!(body["heads"], json!(["client", "reason", "refusals"]));
        assert_eq!(body["definitions"][0]["name"], "refusals");
        let rows = body["rows"].as_array().unwrap().iter();
        rows.map(|row| row[0].as_str().unwrap().to_owned())
            .collect()
    };
    let refusals = "/api/v1/reports/refusals";
    assert_eq!(clients(refusals, &floor.lead), [CLIENT, "other"]);
    assert_eq!(clients(refusals, &other), ["other"]);
    assert_eq!(
        clients(&format!("{refusals}?client={CLIENT}"), &both),
        [CLIENT]
    );
    // For whoever is limited there is no report over all, none about agents' time, and no client of others.
    for (path, token, status) in [
        (refusals.to_owned(), &both, 403),
        ("/api/v1/reports/day-sheet".to_owned(), &other, 403),
        ("/api/v1/reports/teams?client=other".to_owned(), &other, 403),
        (format!("{refusals}?client={CLIENT}"), &other, 400),
        (format!("{refusals}?client=nobody"), &other, 400),
        ("/api/v1/reports".to_owned(), &floor.agents[0], 403),
        (refusals.to_owned(), &floor.agents[0], 403),
    ] {
        let answer = web.get(&path, token);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
    }
    let csv = web.get(&format!("{refusals}?format=csv"), &other);
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert!(
        csv.header("content-disposition")
            .contains("refusals_2026-03-10_2026-03-10.csv")
    );
    // What CSV cannot hold, definitions and query, is one link away.
    let link = csv.header("link").to_owned();
    let (described, rest) = link
        .strip_prefix('<')
        .and_then(|l| l.split_once('>'))
        .unwrap();
    assert_eq!(rest, "; rel=\"describedby\"; type=\"application/json\"");
    assert_eq!(clients(described, &other), ["other"]);
    assert!(
        csv.text()
            .starts_with("\u{feff}client,reason,refusals\r\nother,"),
        "{}",
        csv.text()
    );
    let book = web.get("/api/v1/reports/teams?format=xlsx", &floor.lead);
    assert!(book.body.starts_with(b"PK"));

    let written = folder.join("a/b/ten_2026-03-10_1000.xlsx");
    support::eventually("the scheduled report", SOON, || {
        written.exists().then_some(())
    });
    let left: Vec<_> = std::fs::read_dir(folder.join("a/b")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the report: {left:?}");
    assert!(std::fs::read(&written).unwrap().starts_with(b"PK"));
    let (_, metrics) = daemon.api(&floor.lead).bytes("/metrics", None);
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(
        metrics.contains("ringfence_reports_written_total 1"),
        "{metrics}"
    );
    // Nobody asked whether our numbers are still answered; it was looked all the same.
    assert!(
        metrics.contains("ringfence_caller_ids_falling 0"),
        "{metrics}"
    );
    let listed = setup.with_config(&["stats", "schedule", "list"]);
    assert!(listed.contains("2026-03-11 10:00:00"), "{listed}");
    daemon.stop(SOON, &floor.secrets());
}
