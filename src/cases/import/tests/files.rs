//! What a file leaves behind, whatever it holds and in whatever form it comes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;
use crate::{
    ids::CaseId,
    store::{batches, cases, contact_points, tests::on_both},
};

on_both! {
    async fn a_file_imported_twice_changes_nothing_and_new_numbers_are_added(test: Test) {
        let keys = keys();
        let first = bring(&test, keys.path(), file("simple", SIMPLE)).await.unwrap();
        assert_eq!((first.new_cases, first.new_contact_points), (2, 3));
        assert_eq!(first.counts, Counts { read: 3, new: 3, ..Counts::default() });
        let before = dump(&test).await;
        let again = File { batch: "B2", ..file("simple", SIMPLE) };
        let again = bring(&test, keys.path(), again).await.unwrap();
        assert_eq!((again.new_cases, again.new_contact_points, again.counts.same), (0, 0, 3));
        let after: Vec<_> = dump(&test).await.into_iter().filter(|line| line != "batch B2").collect();
        assert_eq!(after, before);
        let more = format!("{SIMPLE}C2,D2,张伟,debtor,13700137000\n");
        let more = bring(&test, keys.path(), file("simple", &more)).await.unwrap();
        assert_eq!((more.new_cases, more.new_contact_points), (0, 1));
        let mut tx = test.db.read().await.unwrap();
        let stored = cases::list(&mut tx, CaseId::new(0), 10).await.unwrap();
        let shown: Vec<_> =
            stored.iter().map(|c| (c.case.reference.as_str(), c.batch.as_str(), c.contact_points)).collect();
        assert_eq!(shown, [("C1", "B1", 2), ("C2", "B1", 2)]);
    }

    async fn a_case_is_kept_whole_with_its_secrets_encrypted(test: Test) {
        let keys = keys();
        let done = bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        assert_eq!((done.new_cases, done.new_contact_points, done.doubtful_cards), (2, 3, 0));
        let mut tx = test.db.read().await.unwrap();
        let key = fields::tests::key(keys.path());
        let identity = crate::cases::identity::Identity::parse("11010519491231002x").unwrap();
        let found = cases::find(&mut tx, cases::FindBy::Identity(&key.identity_hash(&identity))).await.unwrap();
        assert_eq!(found.len(), 1);
        let detail = cases::detail(&mut tx, found[0]).await.unwrap().unwrap();
        assert_eq!(detail.amounts, [10_005_000, 10_005_000, 0, 100_000, 0]);
        assert_eq!((detail.bucket.as_str(), detail.region.as_str()), ("to_180", "北京"));
        assert_eq!(detail.fields, r#"{"product":"金卡"}"#);
        let (hash, boxed) = detail.identity.unwrap();
        assert_eq!(key.open_identity(&hash, &boxed).unwrap(), "11010519491231002X");
        let case = cases::by_id(&mut tx, found[0]).await.unwrap().unwrap();
        let card = detail.card_box.unwrap();
        assert_eq!(key.open_card(case.client_id, "C1", &card).unwrap(), "4111111111111111");
        let card = crate::cases::identity::Card::parse("4111-1111-1111-1111").unwrap();
        assert_eq!(cases::find(&mut tx, cases::FindBy::Card(&key.card_hash(&card))).await.unwrap(), found);
        assert_eq!(cases::find(&mut tx, cases::FindBy::Number("+8613900139000")).await.unwrap(), found);
    }

    async fn faults_import_nothing_or_the_good_rows_and_the_corrected_rest_completes_it(test: Test) {
        let (keys, dir) = (keys(), tempfile::tempdir().unwrap());
        let rejects = dir.path().join("errors.csv");
        let text = "case,debtor,name,relation,number\n\
            C1,D1,王小明,debtor,13800138000\nC2,D2,=N,boss,13700137000\nC3,D3,N,debtor,12\n";
        let empty = dump(&test).await;
        let refused = bring(&test, keys.path(), File { rejects: Some(&rejects), ..file("simple", text) }).await;
        let places: Vec<_> = faults(refused.unwrap_err()).into_iter().map(|(l, c, _)| (l, c.unwrap())).collect();
        assert_eq!(places, [(3, "relation".to_owned()), (4, "number".to_owned())]);
        assert_eq!(dump(&test).await, empty, "something of a refused file is there");
        let good = File { mode: Mode::GoodRows, rejects: Some(&rejects), ..file("simple", text) };
        let good = bring(&test, keys.path(), good).await.unwrap();
        assert_eq!((good.new_cases, good.counts.faulty), (1, 2));
        let written = std::fs::read_to_string(&rejects).unwrap();
        assert!(written.starts_with("\u{feff}case,debtor,name,relation,number,ringfence_error\n"), "{written}");
        assert!(written.contains("C2,D2,'=N,boss,13700137000,\"relation: must be one of"), "{written}");
        let corrected = written.replace("boss", "friend").replace(",12,", ",13600136000,");
        let rest = bring(&test, keys.path(), file("simple", &corrected)).await.unwrap();
        assert_eq!((rest.new_cases, rest.counts.faulty), (2, 0));
        assert!(dump(&test).await.contains(&"point C2 =N friend +8613700137000".to_owned()));
        let states: Vec<_> = states(&test).await.into_iter().map(|(state, counts)| (state, counts.faulty)).collect();
        assert_eq!(states, [(State::Refused, 2), (State::Done, 2), (State::Done, 0)]);
    }

    async fn of_a_case_with_a_faulty_row_nothing_enters_until_it_is_corrected(test: Test) {
        let (keys, dir) = (keys(), tempfile::tempdir().unwrap());
        let rejects = dir.path().join("errors.csv");
        // M2 would enter with nothing owed, M3 open; the rows of M3 stand apart.
        let text = "case,debtor,name,balance,state,relation,number\n\
            M3,D3,K,,,debtor,13600136000\nM1,D1,N,7,,debtor,13800138000\nM2,D2,M,500,,debtor,xx\n\
            M2,D2,M,,,debtor,13500135000\nM3,D3,K,9,closed,debtor,yy\n";
        let good = File { mode: Mode::GoodRows, rejects: Some(&rejects), ..file(WITH_STATE, text) };
        let done = bring(&test, keys.path(), good).await.unwrap();
        assert_eq!((done.new_cases, done.counts.faulty, done.rejects_written), (1, 4, true));
        let problems: Vec<_> = done.faults.iter().map(ToString::to_string).collect();
        assert!(problems[0].contains("line 2: line 6 of the same case is faulty"), "{problems:?}");
        let cases = async || {
            let lines = dump(&test).await.into_iter().filter(|line| line.starts_with("case "));
            lines.map(|line| line.split(' ').skip(1).take(6).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(cases().await, ["M1 D1 B1 open 70000 70000"]);
        let corrected = std::fs::read_to_string(&rejects).unwrap().replace("xx", "13500135001").replace("yy", "13600136001");
        let refused = bring(&test, keys.path(), file(WITH_STATE, &corrected)).await.unwrap_err();
        assert!(faults(refused)[0].2.contains("silent about this"), "the rows of M3 still stand apart");
        let mut lines: Vec<_> = corrected.lines().collect();
        lines[1..].sort();
        let rest = bring(&test, keys.path(), file(WITH_STATE, &lines.join("\n"))).await.unwrap();
        assert_eq!((rest.new_cases, rest.new_contact_points), (2, 4));
        assert_eq!(cases().await, [
            "M1 D1 B1 open 70000 70000", "M2 D2 B1 open 5000000 5000000", "M3 D3 B1 closed 90000 90000",
        ]);
    }

    async fn rows_of_a_case_are_put_together_wherever_a_piece_ends(test: Test) {
        let keys = keys();
        let mut text = "case,debtor,name,balance,state,relation,number\n".to_owned();
        for case in 0..150 {
            for row in 0..3 {
                let balance = if row == 2 { "5" } else { "" };
                text.push_str(&format!("C{case:03},D{case},N,{balance},,debtor,138{:08}\n", 20_000_000 + case * 3 + row));
            }
        }
        let done = bring(&test, keys.path(), file(WITH_STATE, &text)).await.unwrap();
        assert_eq!((done.new_cases, done.counts.new, done.new_contact_points), (150, 450, 450));
        let told = dump(&test).await.into_iter().filter(|line| line.starts_with("case ") && line.contains(" 50000 50000 "));
        assert_eq!(told.count(), 150);
    }

    async fn a_contradiction_with_what_is_stored_imports_nothing(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("simple", SIMPLE)).await.unwrap();
        let before = dump(&test).await;
        // Enough rows that the pieces before the faulty one were written.
        let mut text = "case,debtor,name,relation,number\n".to_owned();
        for n in 0..200 {
            text.push_str(&format!("N{n},N{n},N,debtor,138{:08}\n", n + 20_000_000));
        }
        text.push_str("C2,D1,N,debtor,13500135000\n");
        let refused = bring(&test, keys.path(), File { batch: "B9", ..file("simple", &text) }).await;
        let faults = faults(refused.unwrap_err());
        assert_eq!((faults.len(), faults[0].0, faults[0].1.as_deref()), (1, 202, Some("debtor")));
        assert_eq!(dump(&test).await, before);
    }

    async fn a_preview_says_what_the_import_does_and_writes_nothing(test: Test) {
        let keys = keys();
        let empty = dump(&test).await;
        let preview = bring(&test, keys.path(), File { preview: true, ..file("credit-card", CARD) }).await.unwrap();
        assert_eq!(dump(&test).await, empty);
        assert!(states(&test).await.is_empty());
        assert_eq!((preview.new_cases, preview.new_contact_points, preview.counts.new), (2, 3, 2));
        let shown = preview.sample.join("\n");
        assert!(shown.contains("card ****1111") && shown.contains("placed 1000.50 CNY") && shown.contains("王*"), "{shown}");
        for secret in ["小明", "1101051949", "13800138", "4111111", "北京市1号"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        let faulty = "case,debtor,name,relation,number\nC1,D1,N,boss,1\nC2,D2,N,debtor,13800138000\n";
        let preview = bring(&test, keys.path(), File { preview: true, ..file("simple", faulty) }).await.unwrap();
        assert_eq!((preview.counts.faulty, preview.counts.new, preview.faults.len()), (1, 1, 2));
    }

    async fn a_batch_bears_the_day_it_was_placed_on(test: Test) {
        let client = client(&test, "bank").await;
        let bring = async |batch: &str, placed| {
            let job = Job { placed, ..job(client.clone(), WITH_STATE, rows_of(WITH_STATE, b"case\n")) };
            let clock = clock();
            let mut import = Import::new(&test.db, &clock, &job);
            import.begin(Some(batch), None, "f", "0").await.map(drop)
        };
        let day = |text: &str| text.parse::<Date>().unwrap();
        let on_file = async |batch: &str| {
            let mut tx = test.db.begin().await.unwrap();
            batches::ensure_hidden(&mut tx, client.id, batch, "", jiff::civil::date(1999, 1, 1), 0).await.unwrap().placed_on.unwrap()
        };
        bring("B1", Placed::Told(day("2026-08-31"))).await.unwrap();
        bring("B2", placed()).await.unwrap();
        assert_eq!((on_file("B1").await, on_file("B2").await), ("2026-08-31".to_owned(), "2026-11-23".to_owned()));
        // Rows added later change nothing, and a day that contradicts is refused.
        bring("B1", placed()).await.unwrap();
        bring("B1", Placed::Told(day("2026-08-31"))).await.unwrap();
        let other = bring("B1", Placed::Told(day("2026-09-01"))).await.unwrap_err();
        assert!(other.to_string().contains("as placed on 2026-08-31"), "{other}");
        assert_eq!(on_file("B1").await, "2026-08-31");
    }

    async fn gbk_and_workbooks_are_read_alike(test: Test) {
        let keys = keys();
        let (gbk, _, _) = encoding_rs::GBK.encode(CARD);
        bring(&test, keys.path(), File { bytes: &gbk, ..file("credit-card", "") }).await.unwrap();
        let before = dump(&test).await;
        let mut book = rust_xlsxwriter::Workbook::new();
        let sheet = book.add_worksheet();
        for (row, line) in CARD.lines().enumerate() {
            for (column, cell) in line.split(',').enumerate() {
                let (row, column) = (row as u32, column as u16);
                match cell.parse::<f64>() {
                    Ok(number) if number < 1e12 => sheet.write_number(row, column, number).unwrap(),
                    _ => sheet.write_string(row, column, cell).unwrap(),
                };
            }
        }
        let book = book.save_to_buffer().unwrap();
        let again = bring(&test, keys.path(), File { bytes: &book, ..file("credit-card", "") }).await.unwrap();
        assert_eq!(again.counts.same, 2);
        assert_eq!(dump(&test).await, before);
    }

    async fn random_tables_imported_twice_change_nothing_the_second_time(test: Test) {
        let keys = keys();
        let row = (0u8..6, 0u8..4, 0u8..3, prop_oneof![Just(""), Just("11010519491231002X")], 0u16..300, 0u8..4, "[ab]{0,2}");
        let mut runner = TestRunner::deterministic();
        for round in 0..6 {
            let rows = proptest::collection::vec(row.clone(), 1..25).new_tree(&mut runner).unwrap().current();
            let mut text = "案件编号,客户号,姓名,身份证号,委案金额,产品,本人电话,联系人1,联系人1关系,联系人1电话\n".to_owned();
            for (case, debtor, name, identity, amount, number, product) in rows {
                text.push_str(&format!(
                    "C{case},D{debtor},N{name},{identity},{amount},{product},1380013800{number},K{name},friend,1390013900{number}\n"
                ));
            }
            // Rows that contradict each other are refused; the rest is imported.
            let table = || File { mode: Mode::GoodRows, batch: "R", ..file("credit-card", &text) };
            let first = bring(&test, keys.path(), table()).await.unwrap();
            let before = dump(&test).await;
            let second = bring(&test, keys.path(), table()).await.unwrap();
            assert_eq!(dump(&test).await, before, "round {round}:\n{text}");
            assert_eq!(second.counts.new + second.counts.changed, 0, "round {round}:\n{text}");
            assert_eq!(second.counts.faulty, first.counts.faulty, "round {round}:\n{text}");
        }
    }

    async fn a_contact_point_of_an_import_can_be_dialled(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("simple", SIMPLE)).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let found = cases::find(&mut tx, cases::FindBy::Number("+8613800138000")).await.unwrap();
        let targets = contact_points::of_case(&mut tx, found[0]).await.unwrap();
        assert_eq!(targets.len(), 2);
        assert_eq!(targets[0].number.dial_string(), "+8613800138000");
    }
}

#[tokio::test]
async fn without_a_key_secrets_are_refused_and_without_a_batch_cases() {
    let test = Test::sqlite().await;
    let client = client(&test, "bank").await;
    for (batch, template, wanted) in [
        (Some("B".to_owned()), "credit-card", "no key"),
        (None, "simple", "in a batch"),
    ] {
        let mut job = job(client.clone(), template, rows_of(template, CARD.as_bytes()));
        job.batch = batch;
        let error = run(&test.db, &clock(), job, &mut |_| {})
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
