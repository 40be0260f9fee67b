//! Cases that are kept elsewhere: pulled from views on the same PostgreSQL, beside our tables or in a schema of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::tz::TimeZone;

use super::*;
use crate::{
    cases::fields,
    clock::{TestClock, TrustMode},
    ids::CaseId,
    phone::{Region, ShortCodes},
    store::{
        case_changes, clients, contact_points,
        sql::Sql,
        tests::{NOW_MS, Test, dial},
    },
};

const VIEWS: [&str; 4] = [
    "CREATE TABLE theirs (client TEXT, batch TEXT, case_reference TEXT, state TEXT, debtor TEXT, name TEXT, identity TEXT,
         card TEXT, currency TEXT, placed NUMERIC(14, 2), balance NUMERIC(14, 2), principal NUMERIC, interest NUMERIC,
         fees NUMERIC, overdue_days INTEGER, region TEXT)",
    "CREATE VIEW foreign_cases AS SELECT * FROM theirs",
    "CREATE TABLE their_numbers (client TEXT, case_reference TEXT, contact_name TEXT, relation TEXT, number TEXT)",
    "CREATE VIEW foreign_contact_points AS SELECT * FROM their_numbers",
];

/// Our side, and theirs on the same database.
struct Beside {
    test: Test,
    keys: tempfile::TempDir,
}

impl Beside {
    async fn new(test: Test) -> Beside {
        let keys = tempfile::tempdir().unwrap();
        let mut tx = test.db.begin().await.unwrap();
        clients::ensure(&mut tx, "bank", "Bank", NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Beside { test, keys }
    }

    async fn with_views() -> Beside {
        let beside = Beside::new(Test::postgres().await).await;
        for text in VIEWS {
            beside.execute(text).await;
        }
        beside
    }

    async fn execute(&self, text: &'static str) {
        let mut tx = self.test.db.begin().await.unwrap();
        let sql = Sql {
            act: "prepare a test",
            text,
        };
        tx.execute(&sql, vec![]).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn problems(&self) -> Vec<String> {
        let mut tx = self.test.db.read().await.unwrap();
        let (mut problems, _) = foreign::check_views(&mut tx).await.unwrap();
        if problems.is_empty() {
            problems = foreign::check_rows(&mut tx, "").await.unwrap();
        }
        problems
    }

    async fn pull(&self) -> Pulled {
        let mut tx = self.test.db.read().await.unwrap();
        let client = clients::by_code(&mut tx, "bank").await.unwrap().unwrap();
        tx.rollback().await.unwrap();
        let reading = || {
            Ok(Reading {
                client: client.id,
                region: Region::CN,
                short: ShortCodes::default(),
                key: Some(fields::tests::key(self.keys.path()).into()),
            })
        };
        let clock = Clock::test(TestClock::running(NOW_MS), TrustMode::Host);
        let days = (
            Placed::told_or_today(None, NOW_MS, &TimeZone::UTC),
            import::today(NOW_MS, &TimeZone::UTC),
        );
        let (template, db) = (template().unwrap(), &self.test.db);
        pull(db, &clock, &client, &template, days, "tester", reading)
            .await
            .unwrap()
    }

    /// References and states of the cases that are seen, in the order of entry.
    async fn seen(&self) -> Vec<(String, CaseState)> {
        let mut tx = self.test.db.read().await.unwrap();
        let lines = cases::list(&mut tx, CaseId::new(0), 99).await.unwrap();
        let state = |line: cases::CaseLine| (line.case.reference, line.case.state);
        lines.into_iter().map(state).collect()
    }

    /// What the states of a case were, with what was noted why.
    async fn history(&self, reference: &str) -> Vec<(String, String)> {
        let mut tx = self.test.db.read().await.unwrap();
        let client = clients::by_code(&mut tx, "bank").await.unwrap().unwrap();
        let case = cases::by_reference(&mut tx, client.id, reference)
            .await
            .unwrap()
            .unwrap();
        let noted = case_changes::of_case(&mut tx, case.id).await.unwrap();
        let states = noted.into_iter().filter(|noted| noted.kind == "state");
        states.map(|noted| (noted.before, noted.after)).collect()
    }
}

fn word(state: &str) -> String {
    format!("{{\"state\":\"{state}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_kept_elsewhere_are_pulled_and_follow_what_happens_there() {
    let beside = Beside::new(Test::postgres().await).await;
    assert_eq!(beside.problems().await.len(), 2);
    for text in VIEWS {
        beside.execute(text).await;
    }
    assert_eq!(beside.problems().await, Vec::<String>::new());
    beside.execute("INSERT INTO theirs VALUES
        ('bank', 'B1', 'C1', 'open', 'D1', 'N', '11010519491231002X', NULL, NULL, 100.5, 90, NULL, NULL, NULL, 95, 'X'),
        ('bank', 'B1', 'C2', 'open', 'D2', 'M', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)").await;
    beside
        .execute(
            "INSERT INTO their_numbers VALUES
        ('bank', 'C1', 'N', 'debtor', '13800138000'), ('bank', 'C1', 'K', 'friend', '13900139000')",
        )
        .await;
    let first = beside.pull().await;
    assert_eq!(
        (
            first.batches[0].1.new_cases,
            first.batches[0].1.new_contact_points,
            first.states
        ),
        (2, 2, 0)
    );
    let again = beside.pull().await;
    assert_eq!((again.batches[0].1.counts.same, again.states), (3, 0));
    beside
        .execute("UPDATE theirs SET balance = 70, state = 'settled' WHERE case_reference = 'C1'")
        .await;
    beside
        .execute("UPDATE theirs SET state = 'paused' WHERE case_reference = 'C2'")
        .await;
    let later = beside.pull().await;
    assert_eq!((later.batches[0].1.counts.changed, later.states), (1, 2));
    let states: Vec<_> = beside.seen().await.into_iter().map(|(_, s)| s).collect();
    assert_eq!(states, [CaseState::Settled, CaseState::Paused]);
    let mut tx = beside.test.db.read().await.unwrap();
    let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
    let detail = cases::detail(&mut tx, lines[0].case.id).await;
    assert_eq!(detail.unwrap().unwrap().amounts[1], 700_000);
    tx.rollback().await.unwrap();
    beside
        .execute(
            "INSERT INTO theirs (client, case_reference, state) VALUES ('bank', 'C1', 'dreaming')",
        )
        .await;
    beside
        .execute("INSERT INTO their_numbers VALUES ('bank', 'C9', 'N', 'debtor', '1')")
        .await;
    let found = beside.problems().await.join("\n");
    for said in [
        "more than once",
        "no client, batch",
        "a state that is none of",
        "belong to no case",
    ] {
        assert!(found.contains(said), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_case_enters_in_its_state_and_nothing_owed_is_settled() {
    let beside = Beside::with_views().await;
    beside
        .execute(
            "INSERT INTO theirs (client, batch, case_reference, state, placed, balance) VALUES
             ('bank', 'B1', 'C1', 'open', 100, 90), ('bank', 'B1', 'C2', 'paused', 100, 90),
             ('bank', 'B1', 'C3', 'closed', NULL, NULL), ('bank', 'B1', 'C4', 'open', 100, 0),
             ('bank', 'B1', 'C5', 'open', 100, -3), ('bank', 'B1', 'C6', 'open', NULL, NULL)",
        )
        .await;
    let wanted = [
        ("C1", CaseState::Open),
        ("C2", CaseState::Paused),
        ("C3", CaseState::Closed),
        ("C4", CaseState::Settled),
        ("C5", CaseState::Settled),
        ("C6", CaseState::Open),
    ]
    .map(|(reference, state)| (reference.to_owned(), state));
    let first = beside.pull().await;
    assert_eq!((first.batches[0].1.settled, first.states), (2, 0));
    assert_eq!(beside.seen().await, wanted);
    // It was never open: its history knows one state.
    for (reference, state) in [("C2", "paused"), ("C3", "closed"), ("C4", "settled")] {
        assert_eq!(
            beside.history(reference).await,
            [("{}".to_owned(), word(state))]
        );
    }
    // A view that goes on to call a paid case open opens nothing.
    let again = beside.pull().await;
    assert_eq!((again.batches[0].1.counts.same, again.states), (6, 0));
    assert_eq!(beside.seen().await, wanted);
    beside
        .execute("UPDATE theirs SET balance = 0 WHERE case_reference IN ('C1', 'C6')")
        .await;
    assert_eq!(beside.pull().await.states, 2);
    assert_eq!(
        beside.history("C6").await,
        [(word("open"), word("settled"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_silences_waits_for_no_import_and_for_no_other_batch() {
    let beside = Beside::with_views().await;
    beside
        .execute(
            "INSERT INTO theirs (client, batch, case_reference, state) VALUES
             ('bank', 'B1', 'C1', 'open'), ('bank', 'B2', 'C2', 'open')",
        )
        .await;
    beside.pull().await;
    beside.execute("UPDATE theirs SET state = 'settled'").await;
    let lock = beside.test.db.import_lock().await.unwrap().unwrap();
    let pulled = beside.pull().await;
    assert_eq!(pulled.states, 2);
    let failed: Vec<_> = pulled.failed.iter().map(|(b, e)| (b.as_str(), e)).collect();
    assert!(
        matches!(
            failed[..],
            [("B1", ImportError::Busy), ("B2", ImportError::Busy)]
        ),
        "{failed:?}"
    );
    let states: Vec<_> = beside.seen().await.into_iter().map(|(_, s)| s).collect();
    assert_eq!(states, [CaseState::Settled, CaseState::Settled]);
    lock.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_left_out_and_named_and_nobody_else_waits_for_them() {
    let beside = Beside::with_views().await;
    beside
        .execute(
            "INSERT INTO theirs (client, batch, case_reference, state, balance) VALUES
             ('bank', 'B1', 'C1', 'open', 5), ('bank', 'B1', 'C2', 'open', 5), ('bank', 'B1', 'C3', 'open', 5)",
        )
        .await;
    beside.pull().await;
    // C1 is paid. C2 stands there twice, and one of the two is closed. C4 has no state, C5 stands there twice and is new, C6
    // has a state that is none, and another client has a row of its own that is wrong.
    beside
        .execute("UPDATE theirs SET balance = 0 WHERE case_reference = 'C1'")
        .await;
    beside
        .execute(
            "INSERT INTO theirs (client, batch, case_reference, state, balance) VALUES
             ('bank', 'B2', 'C2', 'closed', 5), ('bank', 'B1', 'C4', NULL, 5), ('bank', 'B1', 'C5', 'open', 5),
             ('bank', 'B2', 'C5', 'closed', 5), ('bank', 'B1', 'C6', 'dreaming', 5), ('bank', 'B1', 'C7', 'open', 5),
             ('other', NULL, 'X1', 'open', 5)",
        )
        .await;
    let pulled = beside.pull().await;
    assert_eq!(pulled.states, 2);
    let said = pulled.problems.join("\n");
    for wanted in [
        "more than once for a client: C2, C5",
        "no client, batch, case_reference or state: C4",
        "a state that is none of open, paused, settled, returned, closed: C6",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(!said.contains("X1"), "{said}");
    let wanted = [
        ("C1", CaseState::Settled),
        ("C2", CaseState::Closed),
        ("C3", CaseState::Open),
        ("C7", CaseState::Open),
    ]
    .map(|(reference, state)| (reference.to_owned(), state));
    assert_eq!(beside.seen().await, wanted);
    // Nor is it opened by the one that calls it open.
    assert_eq!(beside.pull().await.states, 0);
    assert_eq!(beside.seen().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_cannot_be_read_are_told_with_what_is_to_be_done() {
    let beside = Beside::new(Test::postgres().await).await;
    for text in [
        "CREATE TABLE t (client TEXT, batch INTEGER, case_reference INTEGER, state TEXT, debtor TEXT, name TEXT, identity TEXT,
             card TEXT, currency TEXT, placed NUMERIC, balance NUMERIC, principal NUMERIC, interest NUMERIC, fees NUMERIC,
             overdue_days INTEGER, region TEXT)",
        "CREATE VIEW foreign_cases AS SELECT * FROM t",
        "CREATE SCHEMA apart",
        "CREATE VIEW apart.foreign_contact_points AS SELECT client, case_reference FROM t",
    ] {
        beside.execute(text).await;
    }
    let found = beside.problems().await;
    for (said, wanted) in found.iter().zip([
        "foreign_cases.batch is integer, but cases are looked up by text: write CAST(batch AS TEXT)",
        "foreign_cases.case_reference is integer",
        "foreign_contact_points stands in the schema apart, which the connection's search_path does not name",
    ]) {
        assert!(said.contains(wanted), "{found:?}");
    }
    assert_eq!(found.len(), 3);
    let mut tx = beside.test.db.begin().await.unwrap();
    for text in [
        "CREATE ROLE ringfence_test_reader",
        "SET LOCAL ROLE ringfence_test_reader",
    ] {
        let sql = Sql { act: "x", text };
        tx.execute(&sql, vec![]).await.unwrap();
    }
    let (found, _) = foreign::check_views(&mut tx).await.unwrap();
    assert!(
        found[0].contains("GRANT SELECT ON foreign_cases TO ringfence_test_reader")
            && found[1].contains("GRANT USAGE ON SCHEMA apart TO ringfence_test_reader"),
        "{found:?}"
    );
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_may_tell_the_day_of_its_balances() {
    let beside = Beside::new(Test::postgres().await).await;
    for text in VIEWS {
        let dated = "CREATE VIEW foreign_cases AS SELECT *, '2026-11-05' AS balance_on FROM theirs";
        let is_view = text.starts_with("CREATE VIEW foreign_cases");
        beside.execute(if is_view { dated } else { text }).await;
    }
    assert_eq!(beside.problems().await, Vec::<String>::new());
    beside
        .execute("INSERT INTO theirs (client, batch, case_reference, state, balance) VALUES ('bank', 'B1', 'C1', 'open', 5)")
        .await;
    beside.pull().await;
    let mut tx = beside.test.db.read().await.unwrap();
    let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
    let detail = cases::detail(&mut tx, lines[0].case.id).await;
    assert_eq!(detail.unwrap().unwrap().balance_on.unwrap(), "2026-11-05");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_tables_stand_in_a_schema_of_their_own_and_figures_join_by_case_key() {
    let test = Test::postgres_beside(
        "CREATE SCHEMA ringfence;
         CREATE SCHEMA agency;
         CREATE TABLE agency.cases (bank TEXT, no TEXT, state TEXT, owed NUMERIC(14, 2), desk TEXT);
         INSERT INTO agency.cases VALUES ('bank', 'C1', 'open', 100, 'north'), ('bank', 'C2', 'closed', 5, 'south');
         CREATE TABLE agency.numbers (no TEXT, number TEXT);
         INSERT INTO agency.numbers VALUES ('C1', '13800138000');
         CREATE VIEW agency.foreign_cases AS
             SELECT bank AS client, 'B1' AS batch, no AS case_reference, state, CAST(NULL AS TEXT) AS debtor, 'N' AS name,
                    CAST(NULL AS TEXT) AS identity, CAST(NULL AS TEXT) AS card, 'CNY' AS currency, owed AS placed,
                    owed AS balance, CAST(NULL AS NUMERIC) AS principal, CAST(NULL AS NUMERIC) AS interest,
                    CAST(NULL AS NUMERIC) AS fees, 30 AS overdue_days, CAST(NULL AS TEXT) AS region FROM agency.cases;
         CREATE VIEW agency.foreign_contact_points AS
             SELECT 'bank' AS client, no AS case_reference, 'N' AS contact_name, 'debtor' AS relation, number
             FROM agency.numbers;",
        "ringfence,agency",
    )
    .await;
    let beside = Beside::new(test).await;
    assert_eq!(beside.problems().await, Vec::<String>::new());
    assert_eq!(beside.pull().await.batches[0].1.new_cases, 2);
    let mut tx = beside.test.db.begin().await.unwrap();
    let look = async |tx: &mut crate::store::Tx, text: &'static str| {
        let rows = tx
            .fetch_all(&Sql { act: "look", text }, vec![])
            .await
            .unwrap();
        let line = |row: &crate::store::Row| row.get::<String>("line").unwrap();
        rows.iter().map(line).collect::<Vec<_>>()
    };
    // Theirs has the name of one of ours, and is as it was.
    assert_eq!(
        look(
            &mut tx,
            "SELECT CAST(table_schema AS TEXT) || '.' || CAST(table_name AS TEXT) AS line FROM information_schema.tables
             WHERE table_name IN ('cases', 'attempts', 'v_attempt', '_sqlx_migrations') ORDER BY 1"
        )
        .await,
        [
            "agency.cases",
            "ringfence._sqlx_migrations",
            "ringfence.attempts",
            "ringfence.cases",
            "ringfence.v_attempt"
        ]
    );
    let agent = crate::store::agents::ensure(&mut tx, "A1", "One", "8001", NOW_MS)
        .await
        .unwrap();
    let client = clients::by_code(&mut tx, "bank").await.unwrap().unwrap();
    let case = cases::by_reference(&mut tx, client.id, "C1").await;
    let points = contact_points::of_case(&mut tx, case.unwrap().unwrap().id)
        .await
        .unwrap();
    dial(&mut tx, 1, &points[0], agent.id).await;
    // Their own columns beside our figures.
    assert_eq!(
        look(
            &mut tx,
            "SELECT t.desk || ' ' || t.no || ' ' || CAST(COUNT(a.call_id) AS TEXT) || ' ' || MIN(v.state) AS line
             FROM agency.cases t JOIN v_case v ON v.client = t.bank AND v.reference = t.no
                  LEFT JOIN v_attempt a ON a.client = t.bank AND a.case_reference = t.no
             GROUP BY t.desk, t.no ORDER BY 1"
        )
        .await,
        ["north C1 1 open", "south C2 0 closed"]
    );
}

#[test]
fn the_template_of_foreign_cases_fits_its_heads() {
    let template = template().unwrap();
    let heads = rows(Vec::new()).next().unwrap().unwrap();
    assert!(crate::cases::bind::Bound::new(&template, &heads).is_ok());
}
