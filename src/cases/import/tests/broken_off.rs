//! Imports that break off: nothing half done is seen, and nothing decided is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use super::*;
use crate::{
    ids::CaseId,
    store::{cases, recovery, tests::on_both},
};

on_both! {
    async fn what_broke_off_is_swept_and_what_was_decided_is_carried_out(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        let before = dump(&test).await;
        for (decided, batch) in [(false, "B2"), (false, "B1"), (true, "B3"), (true, "B1")] {
            let text = format!("case,debtor,name,relation,number,state\nS{batch},S1,N,debtor,13811138111,closed\nC1,D1,王小明,debtor,1391111{},\n",
                if batch == "B1" { "1111" } else { "2222" });
            let seen = async |test: &Test| {
                let mut tx = test.db.read().await.unwrap();
                let listed = cases::list(&mut tx, CaseId::new(0), 99).await.unwrap().len();
                let sql = Sql { act: "look", text: "SELECT COUNT(*) AS n FROM v_case" };
                let viewed: i64 = tx.fetch_one(&sql, vec![]).await.unwrap().get("n").unwrap();
                assert_eq!(viewed, listed as i64, "v_case shows what nobody sees");
                let days = recovery::Placements {
                    from: "2026-01-01".into(), to: "2027-01-01".into(), today: "2027-01-01".into(), client: None,
                };
                let placed = recovery::placed(&mut tx, &days).await.unwrap();
                assert_eq!(placed.iter().map(|placed| placed.cases).sum::<i64>(), viewed);
                listed
            };
            let count = seen(&test).await;
            let job = job(client(&test, "bank").await, WITH_STATE, rows_of(WITH_STATE, text.as_bytes()));
            let clock = clock();
            let mut import = Import::new(&test.db, &clock, &job);
            let id = import.begin(Some(batch), None, "f", "0").await.unwrap();
            import.read(reading::start(job.rows, None, job.template, job.reading.into()), &mut |_| {}).await.unwrap();
            assert_eq!(seen(&test).await, count, "an import that is not decided is seen");
            if decided {
                let mut tx = test.db.begin().await.unwrap();
                imports::decide(&mut tx, id, &import.report.counts, NOW_MS).await.unwrap();
                tx.commit().await.unwrap();
            }
            // Here the process dies; the next one starts.
            assert_eq!(recover(&test.db, &clock).await.unwrap(), 1);
            assert_eq!(recover(&test.db, &clock).await.unwrap(), 0);
            let (state, _) = states(&test).await.pop().unwrap();
            if decided {
                assert_eq!((state, seen(&test).await), (State::Done, count + 1));
                let lines = dump(&test).await;
                assert!(lines.iter().any(|line| line.starts_with(&format!("point S{batch} "))));
                assert!(lines.iter().any(|line| line.starts_with("point C1 王小明 debtor +861391111")));
                assert!(!lines.iter().any(|line| line.starts_with("left over")));
            } else {
                assert_eq!(state, State::BrokenOff);
                assert_eq!(dump(&test).await, before);
            }
        }
    }

    async fn two_imports_at_once_take_turns(test: Test) {
        let keys = keys();
        let lock = test.db.import_lock().await.unwrap().unwrap();
        assert!(test.db.import_lock().await.unwrap().is_none());
        let busy = bring(&test, keys.path(), file("simple", SIMPLE)).await.unwrap_err();
        assert!(matches!(busy, ImportError::Busy), "{busy}");
        assert_eq!(recover(&test.db, &clock()).await.unwrap(), 0);
        // A preview disturbs nobody.
        bring(&test, keys.path(), File { preview: true, ..file("simple", SIMPLE) }).await.unwrap();
        lock.release().await;
        bring(&test, keys.path(), file("simple", SIMPLE)).await.unwrap();
    }

    async fn an_import_that_was_swept_by_another_stops(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS).await.unwrap();
        let new = imports::NewImport {
            client: client.id, template: None, kind: "cases", batch: None, file_name: "f", file_sha256: "0", actor: "t", now_ms: 0,
        };
        let id = imports::begin(&mut tx, &new).await.unwrap();
        imports::fence(&mut tx, id, 1).await.unwrap();
        imports::end(&mut tx, id, State::BrokenOff, 1).await.unwrap();
        assert!(imports::fence(&mut tx, id, 2).await.unwrap_err().is_unavailable());
        assert!(imports::decide(&mut tx, id, &Counts::default(), 2).await.unwrap_err().is_unavailable());
    }

    async fn a_file_that_breaks_in_the_middle_imports_nothing_even_of_its_good_rows(test: Test) {
        let keys = keys();
        let empty = dump(&test).await;
        let mut text = "case,debtor,name,relation,number\n".to_owned();
        for n in 0..300 {
            text.push_str(&format!("N{n},N{n},N,debtor,138{:08}\n", n + 20_000_000));
        }
        text.push_str(&format!("N,N,\"{}", "x,".repeat(700_000)));
        let broken = File { mode: Mode::GoodRows, ..file("simple", &text) };
        let found = faults(bring(&test, keys.path(), broken).await.unwrap_err());
        assert_eq!(found[0].0, 302, "{found:?}");
        assert_eq!(dump(&test).await, empty);
    }
}

/// The rows of `text` for the simple template, with something that happens at some of them.
fn rows_with(
    text: &str,
    at: std::ops::Range<u64>,
    mut happens: impl FnMut() + Send + 'static,
) -> RowSource {
    let rows = rows_of("simple", text.as_bytes());
    Box::new(rows.inspect(move |row| {
        if row.as_ref().is_ok_and(|row| at.contains(&row.line)) {
            happens();
        }
    }))
}

fn many(rows: u32) -> String {
    let mut text = "case,debtor,name,relation,number\n".to_owned();
    for n in 0..rows {
        text.push_str(&format!("N{n},N{n},N,debtor,138{:08}\n", n + 20_000_000));
    }
    text
}

async fn bring_rows(test: &Test, rows: RowSource) -> Result<Report, ImportError> {
    let mut job = job(client(test, "bank").await, "simple", rows);
    job.batch = Some("B2".into());
    run(&test.db, &clock(), job, &mut |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_leaves_nothing_behind() {
    let (test, keys) = (Test::sqlite().await, keys());
    bring(&test, keys.path(), file("simple", SIMPLE))
        .await
        .unwrap();
    let before = dump(&test).await;
    let limit = async |text: &'static str| {
        let mut tx = test.db.begin().await.unwrap();
        let pages: i64 = tx
            .fetch_one(
                &Sql {
                    act: "x",
                    text: "SELECT page_count AS n FROM pragma_page_count",
                },
                vec![],
            )
            .await
            .unwrap()
            .get("n")
            .unwrap();
        let text = format!(
            "PRAGMA max_page_count = {}",
            if text == "full" {
                pages + 30
            } else {
                1_000_000
            }
        );
        tx.fetch_all(
            &Sql {
                act: "x",
                text: text.leak(),
            },
            vec![],
        )
        .await
        .unwrap();
    };
    limit("full").await;
    let text = many(2_000);
    let rows = rows_with(&text, 0..0, || {});
    let error = bring_rows(&test, rows).await.unwrap_err();
    assert!(
        matches!(&error, ImportError::Store(e) if e.is_unavailable()),
        "{error}"
    );
    limit("free").await;
    recover(&test.db, &clock()).await.unwrap();
    assert_eq!(dump(&test).await, before);
    let again = bring_rows(&test, rows_with(&text, 0..0, || {}))
        .await
        .unwrap();
    assert_eq!(again.new_cases, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let (test, keys) = (Test::postgres().await, keys());
    bring(&test, keys.path(), file("simple", SIMPLE))
        .await
        .unwrap();
    let before = dump(&test).await;
    let other = Db::open(&test.options).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    // Whoever holds it cuts, or has ended the cutting.
    let cutting = Arc::new(std::sync::Mutex::new(true));
    let may_cut = Arc::clone(&cutting);
    let cut = move || {
        let may_cut = may_cut.lock().unwrap();
        if !*may_cut {
            return;
        }
        let cut = async {
            let text = "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let mut tx = other.begin().await.unwrap();
            tx.fetch_all(
                &Sql {
                    act: "cut all connections",
                    text,
                },
                vec![],
            )
            .await
            .unwrap();
        };
        runtime.block_on(cut);
    };
    let text = many(3_000);
    // Once would be forgiven: a connection that was idle is made anew.
    let error = bring_rows(&test, rows_with(&text, 1_500..1_900, cut))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ImportError::Store(e) if e.is_unavailable()),
        "{error}"
    );
    *cutting.lock().unwrap() = false;
    recover(&test.db, &clock()).await.unwrap();
    assert_eq!(dump(&test).await, before);
    let again = bring_rows(&test, rows_with(&text, 0..0, || {}))
        .await
        .unwrap();
    assert_eq!(again.new_cases, 3_000);
}
