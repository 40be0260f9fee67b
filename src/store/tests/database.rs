//! Opening, the statements, and what a database does when it is not well.

use std::time::Duration;

use super::super::{
    ConstraintKind, Db, Dialect, Error, Location, Options, attempts, clients, contact_points,
    sql::Sql,
};
use super::{DATE, Test, call_id, dial, floor, number, on_both};

/// Every statement of the store, as the database at hand gets it.
fn statements(dialect: Dialect) -> Vec<Sql> {
    use super::super::*;
    let many = [
        &rollups::ADD_HOURS,
        &rollups::ADD_DAYS,
        &rollups::ADD_FIRST_CALLS,
        &rollups::ADD_CLIENT_DAYS,
        &events::INSERT,
        &notes::DRAFTS,
        &agent_days::ADD,
        &allocations::ITEMS,
        attempts::MANY[0],
        attempts::MANY[1],
    ];
    let many = many.into_iter().flat_map(|many| many.texts());
    let axes = figures::Axis::ALL;
    let pairs = axes.iter().flat_map(|a| {
        let sql = move |b: &figures::Axis| figures::counted_sql(&[*a, *b], dialect);
        axes.iter().map(sql)
    });
    let over = figures::Over::ALL.iter().map(|over| {
        let axes = [figures::Axis::Agent, figures::Axis::Batch, (*over).into()];
        figures::counted_sql(&axes, dialect)
    });
    [
        access::STATEMENTS,
        agent_days::STATEMENTS,
        agent_states::STATEMENTS,
        agents::STATEMENTS,
        agreements::STATEMENTS,
        allocations::STATEMENTS,
        attempts::STATEMENTS,
        attempts::END_STATEMENTS,
        bars::STATEMENTS,
        batches::STATEMENTS,
        &case_bulk::texts(),
        case_changes::STATEMENTS,
        &case_changes::texts(),
        callbacks::STATEMENTS,
        case_states::STATEMENTS,
        cases::STATEMENTS,
        claims::STATEMENTS,
        clients::STATEMENTS,
        contact_points::STATEMENTS,
        contracts::STATEMENTS,
        corrections::STATEMENTS,
        db::STATEMENTS,
        dialogs::STATEMENTS,
        dispositions::STATEMENTS,
        events::STATEMENTS,
        facts::STATEMENTS,
        figures::STATEMENTS,
        guards::STATEMENTS,
        idempotency::STATEMENTS,
        imports::STATEMENTS,
        &imports::texts(),
        rule_lists::STATEMENTS,
        &rule_lists::texts(),
        outside_counts::STATEMENTS,
        persons::STATEMENTS,
        &[*promises::statement(dialect)],
        major_matters::STATEMENTS,
        notes::STATEMENTS,
        number_faults::STATEMENTS,
        receipts::STATEMENTS,
        recordings::STATEMENTS,
        recovery::STATEMENTS,
        &[*recovery::recount(dialect)],
        &[*repayments::insert(dialect)],
        repayments::STATEMENTS,
        &repayments::texts(),
        report_schedules::STATEMENTS,
        rollups::STATEMENTS,
        sealed_days::STATEMENTS,
        templates::STATEMENTS,
        rules::STATEMENTS,
        special_days::STATEMENTS,
        tallies::STATEMENTS,
        selection::STATEMENTS,
        teams::STATEMENTS,
        users::STATEMENTS,
        work_clocks::STATEMENTS,
    ]
    .concat()
    .into_iter()
    .chain(many.copied())
    .chain(pairs)
    .chain(over)
    .collect()
}

on_both! {
    async fn every_statement_prepares(test: Test) {
        let dialect = test.db.read().await.unwrap().dialect();
        for sql in statements(dialect) {
            let mut tx = test.db.begin().await.unwrap();
            let parameters = tx.prepare(&sql).await.unwrap_or_else(|e| panic!("{e}\n{}", sql.text));
            assert_eq!(parameters, sql.parameters(), "{}", sql.text);
        }
    }

    async fn opening_again_changes_nothing(test: Test) {
        let again = Db::open(&test.options).await.unwrap();
        let mut tx = again.read().await.unwrap();
        let count = Sql { act: "count", text: "SELECT COUNT(*) AS n FROM definitions" };
        let stored: i64 = tx.fetch_one(&count, vec![]).await.unwrap().get("n").unwrap();
        assert_eq!(stored, crate::stats::definitions::DEFINITIONS.len() as i64);
    }

    async fn a_schema_of_a_newer_version_is_refused(test: Test) {
        let newer = Sql {
            act: "pretend",
            text: "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                   SELECT 99, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
        };
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(&newer, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        let error = Db::open(&test.options).await.unwrap_err();
        assert!(matches!(error, Error::Migration { .. }), "{error}");
        let text = error.to_string();
        let files = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
        let known = std::fs::read_dir(files)
            .unwrap()
            .filter_map(|file| file.unwrap().file_name().to_str()?.get(..4)?.parse::<u32>().ok())
            .max()
            .unwrap();
        let newer = format!("newer ringfence (schema 99; this one knows {known})");
        assert!(text.contains(&newer) && text.contains("backup"), "{text}");
    }

    async fn a_transaction_that_is_dropped_changes_nothing(test: Test) {
        let floor = floor(&test.db, 1).await;
        {
            let mut tx = test.db.begin().await.unwrap();
            dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        }
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(attempts::by_id(&mut tx, call_id(1)).await.unwrap(), None);
    }

    async fn errors_quote_no_rows(test: Test) {
        let insert = Sql {
            act: "enter a number twice",
            text: "INSERT INTO numbers (digits, created_at_ms, changed_at_ms) VALUES ($1, 0, 0)",
        };
        let digits = number(7).dial_string().to_owned();
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(&insert, args![&digits]).await.unwrap();
        let error = tx.execute(&insert, args![&digits]).await.unwrap_err();
        assert!(matches!(error, Error::Constraint { kind: ConstraintKind::Exists, .. }), "{error:?}");
        let shown = format!("{error} {error:?} {:?}", anyhow::Error::from(error.clone()));
        assert!(!shown.contains(&digits[1..]), "{shown}");
    }

    async fn a_reference_to_nothing_and_a_foreign_word_are_told_apart(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let orphan = Sql { act: "x", text: "INSERT INTO batches (client_id, code, created_at_ms) VALUES (77, 'b', 0)" };
        let error = tx.execute(&orphan, vec![]).await.unwrap_err();
        assert!(matches!(error, Error::Constraint { kind: ConstraintKind::Reference, .. }), "{error:?}");
        drop(tx);
        let mut tx = test.db.begin().await.unwrap();
        let word = Sql {
            act: "x",
            text: "INSERT INTO users (name, role, token_sha256, token_at_ms, created_at_ms) VALUES ('n', 'king', 't', 0, 0)",
        };
        let error = tx.execute(&word, vec![]).await.unwrap_err();
        assert!(matches!(error, Error::Constraint { kind: ConstraintKind::Value, .. }), "{error:?}");
    }

    async fn readers_do_not_wait_for_a_writer_and_see_one_moment(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut reader = test.db.read().await.unwrap();
        assert!(attempts::by_id(&mut reader, call_id(1)).await.unwrap().is_none());
        let mut writer = test.db.begin().await.unwrap();
        dial(&mut writer, 1, &floor.targets[0], floor.agent).await;
        assert!(attempts::by_id(&mut reader, call_id(1)).await.unwrap().is_none());
        writer.commit().await.unwrap();
        assert!(attempts::by_id(&mut reader, call_id(1)).await.unwrap().is_none(), "not one moment");
        drop(reader);
        let mut reader = test.db.read().await.unwrap();
        assert_eq!(attempts::by_id(&mut reader, call_id(1)).await.unwrap().unwrap().local_date, DATE);
    }

    async fn a_reader_cannot_write(test: Test) {
        let mut tx = test.db.read().await.unwrap();
        let error = clients::ensure(&mut tx, "x", "x", 0).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}

fn text(error: Result<Db, Error>) -> String {
    let error = error.unwrap_err();
    assert!(!matches!(error, Error::Mistake { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    let content = "not a database, ".repeat(400);
    std::fs::write(&path, &content).unwrap();
    let text = text(Db::open(&Options::new(Location::Sqlite(path.clone()))).await);
    assert!(
        text.contains("notes.txt") && text.contains("not a ringfence database"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

#[tokio::test]
async fn a_missing_directory_and_a_directory_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/floor.db");
    let text_ = text(Db::open(&Options::new(Location::Sqlite(missing))).await);
    assert!(
        text_.contains("no/such/floor.db") && text_.contains("make its directory"),
        "{text_}"
    );
    let text_ = text(Db::open(&Options::new(Location::Sqlite(dir.path().into()))).await);
    assert!(text_.contains("is a directory"), "{text_}");
    let looking = Options {
        create: false,
        ..Options::new(Location::Sqlite(dir.path().join("floor.db")))
    };
    let text_ = text(Db::open(&looking).await);
    assert!(text_.contains("does not exist"), "{text_}");
    assert!(!dir.path().join("floor.db").exists());
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let test = Test::sqlite().await;
    floor(&test.db, 1).await;
    let Location::Sqlite(path) = &test.options.location else {
        unreachable!()
    };
    let mut files = 0;
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            entry.path()
        );
        files += 1;
    }
    assert!(files >= 2, "the WAL lies beside the file");
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_unavailable_after_the_patience() {
    let test = Test::sqlite().await;
    let impatient = Options {
        patience: Duration::from_millis(50),
        ..test.options.clone()
    };
    let other = Db::open(&impatient).await.unwrap();
    let holder = test.db.begin().await.unwrap();
    let error = other.begin().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(
        error.to_string().contains("locked") && error.to_string().contains("floor.db"),
        "{error}"
    );
    holder.rollback().await.unwrap();
    other.begin().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_nothing_is_lost() {
    let test = Test::sqlite().await;
    let floor = floor(&test.db, 1).await;
    let mut tx = test.db.begin().await.unwrap();
    let full = Sql {
        act: "limit the file",
        text: "PRAGMA max_page_count = 1",
    };
    tx.fetch_all(&full, vec![]).await.unwrap();
    let fill = Sql {
        act: "fill the disk",
        text: "INSERT INTO events (at_ms, kind, subject, body) VALUES (0, 'x', 'x', CAST(zeroblob(1000000) AS TEXT))",
    };
    let error = tx.execute(&fill, vec![]).await.unwrap_err();
    assert!(
        error.is_unavailable() && error.to_string().contains("full"),
        "{error:?}"
    );
    drop(tx);
    let mut tx = test.db.read().await.unwrap();
    assert!(
        contact_points::target(&mut tx, floor.targets[0].contact_point)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_its_password_is_not_shown() {
    let address = "postgres://floor:geheim@127.0.0.1:1/floor";
    let options = Options {
        patience: Duration::from_millis(200),
        ..Options::new(Location::parse(address))
    };
    let error = Db::open(&options).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    let shown = format!("{error} {error:?} {options:?}");
    assert!(
        shown.contains("127.0.0.1:1/floor") && !shown.contains("geheim"),
        "{shown}"
    );
    assert!(
        shown.contains("refused") && !shown.contains("long transaction"),
        "{shown}"
    );
}

#[tokio::test]
async fn durability_and_foreign_keys_are_on() {
    let test = Test::sqlite().await;
    let mut tx = test.db.begin().await.unwrap();
    for (pragma, value) in [
        (
            Sql {
                act: "x",
                text: "SELECT synchronous AS v FROM pragma_synchronous",
            },
            2,
        ),
        (
            Sql {
                act: "x",
                text: "SELECT foreign_keys AS v FROM pragma_foreign_keys",
            },
            1,
        ),
        (
            Sql {
                act: "x",
                text: "SELECT CASE journal_mode WHEN 'wal' THEN 1 END AS v FROM pragma_journal_mode",
            },
            1,
        ),
    ] {
        assert_eq!(
            tx.fetch_one(&pragma, vec![])
                .await
                .unwrap()
                .get::<i64>("v")
                .unwrap(),
            value,
            "{}",
            pragma.text
        );
    }
}
