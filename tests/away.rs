//! The database goes away in the middle: no new call is allowed, calls that are up go on, and what became of them arrives
//! when it is back, once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::asterisk::Asterisk;
use support::daemon::{Daemon, Setup};
use support::eventually;
use support::floor::{Floor, Store};
use support::postgres::Server;
use support::web::{Web, dial, until, whole_call};

/// 10:00 in China.
const MORNING: &str = "2026-03-10 02:00:00";
/// Answers at once, speaks 500 Hz, hangs up after 15 seconds.
const LATER: &str = "+8613800132315";
/// Answers at once, speaks 400 Hz, hangs up after two seconds.
const SHORT: &str = "+8613800132102";
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_server_that_dies_in_the_middle_of_a_call_costs_no_fact() {
    let pbx = Asterisk::start();
    let server = Arc::new(Server::start(&[]));
    let setup = Setup::for_pbx(&pbx)
        .keeping_at(Arc::clone(&server))
        .at(MORNING);
    let floor = Floor::prepare(&setup, &["1620", "1630"], &[LATER, SHORT]);
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let agent = &floor.agents[0];
    let click = |token: &str, point: i64| dial(&web, token, &json!({ "contact_point_id": point }));

    let up = click(agent, 1);
    assert_eq!(up.status, 202, "{}", up.text());
    let up = format!("/api/v1/calls/{}", up.json()["call"].as_str().unwrap());
    until(&web, &up, &floor.lead, |call| call["state"] == "talking");
    server.go_away();

    // Nobody knows who clicks, and no call is allowed; the one that is up goes on.
    let refused = click(&floor.agents[1], 2);
    assert_eq!(refused.status, 503, "{}", refused.text());
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("database"), "{detail}");
    assert_eq!(daemon.http_status("/readyz"), Some(503));
    let heard = || {
        let files = pbx.heard(&floor.numbers[0]);
        files
            .first()
            .and_then(|file| Some(file.metadata().ok()?.len()))
    };
    let before = heard().unwrap_or_default();
    eventually("more talk", SOON, || {
        (heard()? > before + 16_000).then_some(())
    });
    // The customer hangs up while the database cannot be told.
    eventually("the end of the call in the journal", SOON, || {
        let files = std::fs::read_dir(setup.path("journal")).ok()?;
        let mut files = files.filter_map(|file| Some(file.ok()?.path()));
        files.find(|path| path.extension().is_some_and(|kind| kind == "fact"))
    });

    server.come_back();
    let call = until(&web, &up, &floor.lead, |call| call["state"] == "ended");
    assert_eq!(
        (&call["cause"], &call["class"]),
        (&json!("answered"), &json!("callee")),
        "{call}"
    );
    let recording = format!("/api/v1/recordings/{}", call["recording"].as_str().unwrap());
    let sealed = until(&web, &recording, &floor.lead, |body| {
        body["state"] == "sealed"
    });
    assert_eq!(sealed["coverage"], 1.0, "{sealed}");
    eventually("an empty journal", SOON, || {
        let mut files = std::fs::read_dir(setup.path("journal")).ok()?;
        files
            .all(|file| {
                file.is_ok_and(|file| file.path().extension().is_none_or(|kind| kind != "fact"))
            })
            .then_some(())
    });
    assert_eq!(daemon.http_status("/readyz"), Some(200));
    // And the floor works as before, its figures agree.
    whole_call(&web, &floor, 2);
    setup.with_config(&["stats", "check"]);
    let mut store = Store::open(&setup);
    assert_eq!(
        store.texts("SELECT ended_by || ' ' || settled FROM attempts ORDER BY started_at_ms"),
        ["customer 0", "customer 0"],
        "told, not guessed"
    );
    assert_eq!(
        store.number(
            "SELECT CAST(SUM(attempts) AS BIGINT) FROM rollup_days WHERE dimension = 'all'"
        ),
        2
    );
    store.close();
    let log = daemon.log();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ERROR "))
        .collect();
    assert!(
        errors.len() == 1 && errors[0].contains("cannot be closed yet"),
        "{errors:?}"
    );
    let secrets = floor.secrets();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
    daemon.kill();
}
