//! The gate itself on both databases: two nodes and one debtor, a database that goes away, rules that change.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use super::*;
use crate::{
    clock::{TestClock, TrustMode},
    ids::{AgentId, ContactPointId},
    policy::{BarKind, Preset, Relation},
    rulebook::in_force::Objection,
    store::{
        attempts::{self, Closing},
        bars, contact_points,
        sql::Sql,
        tests::{DATE, NOW_MS, Test, attempt, case, floor, number, on_both},
    },
};

mod speed;
mod year;

/// A node with a clock and connections of its own.
pub(super) fn node(name: &str, db: Db, clock: Clock, rules: Rulebook) -> Arc<Gate> {
    Arc::new(Gate {
        db,
        clock,
        rules,
        node: name.to_owned(),
        trunk: "pbx".to_owned(),
        caller_id: String::new(),
        purpose: Purpose::Case,
    })
}

pub(super) fn click(contact_point: ContactPointId, agent: AgentId) -> DialRequest {
    DialRequest {
        contact_point,
        agent,
        user: None,
        key: None,
    }
}

pub(super) fn ids(n: u32) -> (CallId, ReceiptId) {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    (
        CallId::from_parts(NOW_MS, random),
        ReceiptId::from_parts(NOW_MS, random),
    )
}

fn preset() -> Rulebook {
    Rulebook::open(Preset::CnPlan, None, "main").unwrap()
}

/// Ends an attempt at a phone that rang and was not answered.
async fn fail(tx: &mut store::Tx, id: CallId, began_ms: i64) {
    let attempt = attempts::by_id(tx, id).await.unwrap().unwrap();
    let closing = Closing {
        seized_at_ms: Some(began_ms),
        ..Closing::after_crash(&attempt, crate::call::Cause::NoAnswer, began_ms + 1, None)
    };
    attempts::close(tx, id, &closing).await.unwrap();
}

fn ten_in_the_morning() -> Clock {
    Clock::test(TestClock::standing(NOW_MS), TrustMode::Host)
}

fn answered() -> Closing {
    Closing {
        cause: crate::call::Cause::Answered,
        ended_by: crate::call::Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: Some(NOW_MS),
        rang_at_ms: None,
        answered_at_ms: Some(NOW_MS),
        ended_at_ms: NOW_MS,
        overrun_ms: 0,
    }
}

async fn count(db: &Db, text: &'static str) -> i64 {
    let mut tx = db.read().await.unwrap();
    let sql = Sql { act: "count", text };
    tx.fetch_one(&sql, vec![]).await.unwrap().get("n").unwrap()
}

on_both! {
    /// Two nodes, two cases of two banks, one person: of all clicks at once only the one that is left passes.
    async fn of_two_hundred_clicks_of_two_nodes_on_a_debtor_with_one_call_left_exactly_one_passes(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let own = floor.targets[0].clone();
        let other = case(&mut tx, "bank2", "D-same", "C-same", &number(77)).await;
        let merge = Sql { act: "merge", text: "UPDATE debtors SET person_id = (SELECT MIN(person_id) FROM debtors)" };
        tx.execute(&merge, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        // Two of three conversations have been.
        let first = node("a", test.db.clone(), ten_in_the_morning(), preset());
        for n in 0..2 {
            let (call, receipt) = ids(n);
            let gated = first.decide(&click(own.contact_point, floor.agent), call, receipt).await.unwrap();
            assert!(matches!(gated, Gated::Allowed(_)), "{n}");
            let mut tx = test.db.begin().await.unwrap();
            attempts::close(&mut tx, call, &answered()).await.unwrap();
            tx.commit().await.unwrap();
        }
        let second = node("b", Db::open(&test.options).await.unwrap(), ten_in_the_morning(), preset());
        let mut clicks = tokio::task::JoinSet::new();
        for n in 2..202 {
            let gate = if n % 2 == 0 { first.clone() } else { second.clone() };
            let point = if n % 3 == 0 { own.contact_point } else { other.contact_point };
            let request = click(point, floor.agent);
            clicks.spawn(async move {
                let (call, receipt) = ids(n);
                // A queue may be longer than the patience of the database; then the agent clicks again.
                for _ in 0..30 {
                    match gate.decide(&request, call, receipt).await {
                        Ok(gated) => return matches!(gated, Gated::Allowed(_)),
                        Err(DialError::Store(error)) if error.is_unavailable() => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                panic!("the database never answered");
            });
        }
        let passed = clicks.join_all().await.into_iter().filter(|passed| *passed).count();
        assert_eq!(passed, 1);
        assert_eq!(count(&test.db, "SELECT COUNT(*) AS n FROM attempts WHERE ended_at_ms IS NULL").await, 1);
        assert_eq!(count(&test.db, "SELECT COUNT(*) AS n FROM receipts").await, 202);
    }

    async fn a_refusal_of_two_bars_names_its_reason_once_and_proves_itself_however_its_row_says_it(test: Test) {
        let floor = floor(&test.db, 1).await;
        let (target, gate) = (&floor.targets[0], node("a", test.db.clone(), ten_in_the_morning(), preset()));
        let mut tx = test.db.begin().await.unwrap();
        for subject in [bars::Subject::Number(target.number_id), bars::Subject::Case(target.case)] {
            let new = bars::NewBar {
                subject, client: None, kind: BarKind::DoNotCall, reason: "asked", from_ms: 0, until_ms: None, actor: "lin",
            };
            bars::bar(&mut tx, &new).await.unwrap();
        }
        tx.commit().await.unwrap();
        let (call, receipt) = ids(1);
        gate.decide(&click(target.contact_point, floor.agent), call, receipt).await.unwrap();
        let once = "SELECT COUNT(*) AS n FROM receipts WHERE reasons = '[\"do_not_call\"]'";
        assert_eq!(count(&test.db, once).await, 1);
        // As rows were written before.
        for each in [once, "UPDATE receipts SET reasons = '[\"do_not_call\",\"do_not_call\"]'"] {
            let mut tx = test.db.begin().await.unwrap();
            tx.execute(&Sql { act: "write as before", text: each }, vec![]).await.unwrap();
            tx.commit().await.unwrap();
            let tally = crate::rulebook::replay::all(&test.db, Default::default(), None, |_| {}).await.unwrap();
            assert_eq!((tally.read - tally.allowed, tally.unproven), (1, Vec::new()), "{each}");
        }
    }

    async fn the_first_call_of_a_case_stops_its_work_clocks(test: Test) {
        let floor = floor(&test.db, 1).await;
        let gate = node("a", test.db.clone(), ten_in_the_morning(), preset());
        let (call, receipt) = ids(1);
        gate.decide(&click(floor.targets[0].contact_point, floor.agent), call, receipt).await.unwrap();
        let stopped = "SELECT COUNT(*) AS n FROM cases WHERE called_at_ms IS NOT NULL AND worked_at_ms = called_at_ms
                       AND followed_at_ms = called_at_ms";
        assert_eq!(count(&test.db, stopped).await, 1);
    }

    async fn a_click_is_decided_by_the_rules_its_client_has_at_that_moment(test: Test) {
        let floor = floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        let rules = Rulebook::open(Preset::CnPlan, Some(dir.path().into()), "main").unwrap();
        let gate = node("a", test.db.clone(), ten_in_the_morning(), rules.clone());
        let request = click(floor.targets[0].contact_point, floor.agent);
        let (call, receipt) = ids(1);
        assert!(matches!(gate.decide(&request, call, receipt).await.unwrap(), Gated::Allowed(_)));
        let no_mondays = "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[window]\nclause = 'x'\n[window.week]\nmon = []\n";
        std::fs::write(dir.path().join("bank.toml"), no_mondays).unwrap();
        let done = rules.reload(&test.db, "lin", NOW_MS).await.unwrap();
        assert_eq!(done.changed, ["bank"], "what all are called by was noted with the first click");
        let (call, receipt) = ids(2);
        let Gated::Refused(DialAnswer::Refused { reasons, .. }) = gate.decide(&request, call, receipt).await.unwrap() else {
            panic!("it is Monday");
        };
        assert_eq!(reasons[0].code, "outside_window");
        let mut tx = test.db.read().await.unwrap();
        let stored = store::receipts::by_id(&mut tx, receipt).await.unwrap().unwrap();
        let text = store::rules::text(&mut tx, &stored.rules_sha256).await.unwrap();
        assert!(text.is_some_and(|text| text.contains("bank")), "the receipt names a set that is kept");
    }

    async fn rules_that_decide_for_a_client_entered_after_they_were_loaded_are_kept_and_in_the_history(test: Test) {
        floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        let longer = "base = 'cn-plan'\nname = 'bank3'\nrevision = '7'\n[ring]\nclause = 'x'\nguard_ms = 9000\n";
        std::fs::write(dir.path().join("bank3.toml"), longer).unwrap();
        let rules = Rulebook::open(Preset::CnPlan, Some(dir.path().into()), "main").unwrap();
        assert_eq!(rules.note(&test.db, "system", NOW_MS).await.unwrap().strangers, ["bank3"]);
        let mut tx = test.db.begin().await.unwrap();
        let late = case(&mut tx, "bank3", "D-late", "C-late", &number(78)).await;
        let agent = crate::store::agents::list(&mut tx).await.unwrap()[0].id;
        tx.commit().await.unwrap();
        let gate = node("main", test.db.clone(), ten_in_the_morning(), rules);
        for n in [1, 2] {
            let (call, receipt) = ids(n);
            gate.decide(&click(late.contact_point, agent), call, receipt).await.unwrap();
            let mut tx = test.db.read().await.unwrap();
            let stored = store::receipts::by_id(&mut tx, receipt).await.unwrap().unwrap();
            let history = store::rules::history(&mut tx, Some("bank3"), None, 9).await.unwrap();
            let own: Vec<_> = history.iter().filter(|row| row.client.is_some()).collect();
            assert_eq!(own.len(), 1, "noted once");
            assert_eq!((&own[0].sha256, own[0].source.as_str()), (&stored.rules_sha256, "bank3.toml"));
            assert!(store::rules::text(&mut tx, &stored.rules_sha256).await.unwrap().is_some());
        }
    }

    async fn a_call_that_waits_for_its_agent_goes_on_only_if_the_rules_of_now_allow_it_as_well(test: Test) {
        let floor = floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("bank.toml"), text).unwrap();
        let rules = Rulebook::open(Preset::CnPlan, Some(dir.path().into()), "main").unwrap();
        let gate = node("main", test.db.clone(), ten_in_the_morning(), rules.clone());
        let (call, receipt) = ids(1);
        let gated = gate.decide(&click(floor.targets[0].contact_point, floor.agent), call, receipt).await.unwrap();
        let Gated::Allowed(granted) = gated else { panic!("refused at ten in the morning") };
        let base = "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n";
        for (stricter, may_go_on) in [
            ("", true),
            ("[[gaps]]\nclause = 'x'\nscope = 'contact_point'\nminutes = 30\n", false),
            ("[ring]\nclause = 'x'\nlongest_ms = 20000\n", false),
            ("[window]\nclause = 'x'\n[window.week]\nmon = []\n", false),
            ("[agreements]\nclause = 'x'\ntwo_persons = true\n", true),
        ] {
            write(&format!("{base}{stricter}"));
            rules.reload(&test.db, "lin", NOW_MS).await.unwrap();
            let mut tx = test.db.read().await.unwrap();
            let objection = rules.objection(&mut tx, call, &floor.targets[0], &granted.rules_sha256).await.unwrap();
            assert_eq!(objection, (!may_go_on).then_some(Objection::OtherRules), "{stricter}");
        }
    }

    async fn a_third_party_is_not_called_if_the_debtor_is_reached_while_the_agents_phone_rings(test: Test) {
        let floor = floor(&test.db, 1).await;
        let debtor = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let (friend, _) = contact_points::ensure(&mut tx, debtor.case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        let friend = contact_points::target(&mut tx, friend).await.unwrap().unwrap();
        let dead = Sql {
            act: "find a number dead",
            text: "INSERT INTO number_faults (number_id, contact_point_id, kind, counts, at_ms, actor)
                   VALUES ($1, $2, 'number_dead', 1, $3, 'test')",
        };
        tx.execute(&dead, vec![debtor.number_id.into(), debtor.contact_point.into(), (NOW_MS - 1_000).into()]).await.unwrap();
        tx.commit().await.unwrap();
        let gate = node("main", test.db.clone(), ten_in_the_morning(), preset());
        let (call, receipt) = ids(1);
        let gated = gate.decide(&click(friend.contact_point, floor.agent), call, receipt).await.unwrap();
        let Gated::Allowed(granted) = gated else { panic!("the debtor is out of contact") };
        let objection = async || {
            let mut tx = test.db.read().await.unwrap();
            preset().objection(&mut tx, call, &friend, &granted.rules_sha256).await.unwrap()
        };
        assert_eq!(objection().await, None);
        let mut tx = test.db.begin().await.unwrap();
        let alive = Sql { act: "find it alive", text: "UPDATE number_faults SET lifted_at_ms = $1" };
        tx.execute(&alive, vec![NOW_MS.into()]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(objection().await, Some(Objection::DebtorInContact));
        // Three failures are loss of contact again, but not while a fourth try is under way.
        let mut tx = test.db.begin().await.unwrap();
        for n in [2, 3, 4, 5] {
            let (id, _) = ids(n);
            attempt(&mut tx, id, debtor, floor.agent, DATE, 10, NOW_MS + i64::from(n), "main").await;
            if n < 5 {
                fail(&mut tx, id, NOW_MS + i64::from(n)).await;
            }
        }
        tx.commit().await.unwrap();
        assert_eq!(objection().await, Some(Objection::DebtorInContact));
        let mut tx = test.db.begin().await.unwrap();
        fail(&mut tx, ids(5).0, NOW_MS + 5).await;
        tx.commit().await.unwrap();
        assert_eq!(objection().await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_in_the_middle_of_a_decision_allows_no_call() {
    let test = Test::postgres().await;
    let floor = floor(&test.db, 1).await;
    let gate = node(
        "a",
        Db::open(&test.options).await.unwrap(),
        ten_in_the_morning(),
        preset(),
    );
    // Somebody holds a guard, so that the decision stops in its middle.
    let target = &floor.targets[0];
    let mut holder = test.db.begin().await.unwrap();
    let guards = store::facts::guards(&mut holder, target).await.unwrap();
    store::guards::touch(&mut holder, &guards).await.unwrap();
    let request = click(target.contact_point, floor.agent);
    let deciding = tokio::spawn(async move {
        let (call, receipt) = ids(1);
        gate.decide(&request, call, receipt).await
    });
    let waiting = "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND datname = current_database()";
    while count(&test.db, waiting).await == 0 {
        tokio::task::yield_now().await;
    }
    let cut = "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
               WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert_eq!(count(&test.db, cut).await, 1);
    let Err(DialError::Store(error)) = deciding.await.unwrap() else {
        panic!("decided without a database");
    };
    assert!(error.is_unavailable(), "{error}");
    holder.rollback().await.unwrap();
    for nothing in [
        "SELECT COUNT(*) AS n FROM attempts",
        "SELECT COUNT(*) AS n FROM receipts",
    ] {
        assert_eq!(count(&test.db, nothing).await, 0, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_goes_away_in_the_middle_of_a_decision_allows_no_call() {
    let test = Test::sqlite().await;
    let floor = floor(&test.db, 1).await;
    let store::Location::Sqlite(path) = test.options.location.clone() else {
        panic!("a file");
    };
    let gate = node("a", test.db.clone(), ten_in_the_morning(), preset());
    let request = click(floor.targets[0].contact_point, floor.agent);
    // The one writer is at work; the decision waits for its turn, and the file is gone before that comes.
    let writer = test.db.begin().await.unwrap();
    let deciding = {
        let gate = gate.clone();
        let request = request.clone();
        tokio::spawn(async move {
            let (call, receipt) = ids(1);
            gate.decide(&request, call, receipt).await
        })
    };
    std::fs::remove_file(path).unwrap();
    drop(writer);
    // Whether it had begun when the file went or not: whatever it decided in the unlinked file, no later click is.
    let first = deciding.await.unwrap();
    let (call, receipt) = ids(2);
    let Err(DialError::Store(error)) = gate.decide(&request, call, receipt).await else {
        panic!("decided without a database");
    };
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("was taken away"), "{error}");
    assert!(
        !matches!(first, Ok(Gated::Allowed(_))),
        "allowed by a file that is gone"
    );
}
