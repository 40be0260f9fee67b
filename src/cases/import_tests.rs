//! Files brought in, on both databases: what they leave behind, and what they do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;
use crate::{
    cases::{
        entry::Reading,
        fields,
        sheet::{self, Source},
        template,
    },
    clock::{TestClock, TrustMode},
    ids::CaseId,
    phone::{Region, ShortCodes},
    policy::CaseState,
    store::{
        cases, clients, contact_points, recovery,
        sql::Sql,
        tests::{NOW_MS, Test, on_both},
    },
};

/// What a test says about a file; the rest is usual.
struct File<'a> {
    template: &'a str,
    bytes: &'a [u8],
    batch: &'a str,
    client: &'a str,
    mode: Mode,
    preview: bool,
    rejects: Option<&'a Path>,
}

const SIMPLE: &str = "\u{feff}case,debtor,name,relation,number\n\
    C1,D1,王小明,debtor,138 0013 8000\n\
    C1,D1,\"李, 红\",relative,+8613900139000\n\
    C2,D2,张伟,debtor,010 8888 8888\n";

const WITH_STATE: &str = r#"
kind = "cases"
name = "with-state"
[[column]]
to = "case"
heads = ["case"]
[[column]]
to = "debtor"
heads = ["debtor"]
[[column]]
to = "name"
heads = ["name"]
[[column]]
to = "balance"
heads = ["balance"]
[[column]]
to = "state"
heads = ["state"]
[[contact]]
name = { heads = ["name"] }
relation_column = { heads = ["relation"] }
numbers = [{ heads = ["number"] }]
"#;

fn file<'a>(template: &'a str, text: &'a str) -> File<'a> {
    File {
        template,
        bytes: text.as_bytes(),
        batch: "B1",
        client: "bank",
        mode: Mode::AllOrNothing,
        preview: false,
        rejects: None,
    }
}

fn clock() -> Clock {
    Clock::test(TestClock::running(NOW_MS), TrustMode::Host)
}

fn placed() -> Placed {
    Placed::told_or_today(None, NOW_MS, &TimeZone::UTC)
}

async fn bring(test: &Test, keys: &Path, file: File<'_>) -> Result<Report, ImportError> {
    let mut tx = test.db.begin().await.unwrap();
    let client = clients::ensure(&mut tx, file.client, "Bank", NOW_MS)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let template =
        Template::parse(template::shipped(file.template).unwrap_or(file.template)).unwrap();
    let rows = sheet::open(&Source::Bytes(file.bytes.into()), &template.options()).unwrap();
    let job = Job {
        reading: Reading {
            client: client.id,
            region: Region::CN,
            short: ShortCodes::default(),
            key: Some(fields::tests::key(keys).into()),
        },
        batch: (template.kind == Kind::Cases).then(|| file.batch.to_owned()),
        placed: placed(),
        client,
        template,
        template_id: None,
        rows: Box::new(rows),
        file_name: "file.csv".into(),
        file_sha256: "0".into(),
        mode: file.mode,
        preview: file.preview,
        rejects: file.rejects.map(Path::to_owned),
        actor: "tester".into(),
    };
    run(&test.db, &clock(), job, &mut |_| {}).await
}

/// Everything that cases are made of, in words that do not depend on ids.
async fn dump(test: &Test) -> Vec<String> {
    let sql = [
        "SELECT 'batch ' || code AS line FROM batches",
        "SELECT 'case ' || c.reference || ' ' || d.reference || ' ' || b.code || ' ' || c.state || ' ' || c.placed_e4 || ' ' ||
                c.balance_e4 || ' ' || c.interest_e4 || ' ' || c.repaid_e4 || ' ' || c.region || ' ' || c.fields || ' ' ||
                COALESCE(c.card_last4, '-') || ' ' || d.name || ' ' || c.bucket AS line
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN batches b ON b.id = c.batch_id",
        "SELECT 'point ' || c.reference || ' ' || t.name || ' ' || t.relation || ' ' || n.digits AS line
         FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN numbers n ON n.id = p.number_id
              JOIN cases c ON c.id = p.case_id",
        "SELECT 'address ' || t.name || ' ' || a.kind || ' ' || a.text AS line FROM addresses a JOIN contacts t ON t.id = a.contact_id",
        "SELECT 'contact ' || t.name || ' ' || t.relation AS line FROM contacts t",
        "SELECT 'payment ' || reference || ' ' || amount_e4 || ' ' || settles AS line FROM repayments",
        "SELECT 'person ' || COALESCE(p.identity_hash, '-') || ' ' || (SELECT COUNT(*) FROM debtors d WHERE d.person_id = p.id) AS line
         FROM persons p",
        "SELECT 'change ' || kind || ' ' || before || ' ' || after AS line FROM case_changes",
        "SELECT 'left over ' || import_id AS line FROM import_rows",
    ];
    let mut tx = test.db.read().await.unwrap();
    let mut lines = Vec::new();
    for text in sql {
        let rows = tx
            .fetch_all(&Sql { act: "dump", text }, vec![])
            .await
            .unwrap();
        lines.extend(rows.iter().map(|row| row.get::<String>("line").unwrap()));
    }
    lines.sort();
    lines
}

async fn states(test: &Test) -> Vec<(State, Counts)> {
    let mut tx = test.db.read().await.unwrap();
    let lines = imports::list(&mut tx, 50).await.unwrap();
    lines
        .into_iter()
        .rev()
        .map(|line| (line.state, line.counts))
        .collect()
}

async fn execute(test: &Test, text: &'static str) {
    let mut tx = test.db.begin().await.unwrap();
    tx.execute(
        &Sql {
            act: "prepare a test",
            text,
        },
        vec![],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

fn faults(error: ImportError) -> Vec<(u64, Option<String>, String)> {
    let ImportError::Faults(report) = error else {
        panic!("{error}")
    };
    report
        .faults
        .into_iter()
        .map(|f| (f.line, f.column, f.problem))
        .collect()
}

fn keys() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

const CARD: &str = "案件编号,客户号,姓名,身份证号,卡号,委案金额,利息,逾期天数,地区,产品,本人电话,家庭地址,联系人1,联系人1关系,联系人1电话\n\
    C1,D1,王小明,11010519491231002X,4111111111111111,1000.50,10,95,北京,金卡,13800138000,北京市1号,李红,配偶,13900139000\n\
    C2,D2,张伟,,,200,,10,上海,,13700137000,,,,\n";

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

    async fn updates_change_what_they_may_and_leave_a_history(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        let known = dump(&test).await;
        let text = "案件编号,最新欠款,利息,新电话,新地址,征信\nC1,1100.75,20,13811138111,天津市2号,M3\nC2,200,,,,\n";
        let done = bring(&test, keys.path(), file("updates", text)).await.unwrap();
        assert_eq!((done.counts.new, done.counts.changed, done.counts.same), (1, 0, 1));
        let after = dump(&test).await;
        let new: Vec<_> = after.iter().filter(|line| !known.contains(line)).cloned().collect();
        assert_eq!(new, [
            "address 王小明 home 天津市2号".to_owned(),
            "case C1 D1 B1 open 10005000 11007500 200000 0 北京 {\"credit\":\"M3\",\"product\":\"金卡\"} 1111 王小明 to_180".into(),
            "change update {\"balance\":\"1000.50\",\"interest\":\"10.00\"} {\"balance\":\"1100.75\",\"fields\":[\"credit\"],\"interest\":\"20.00\",\"new_addresses\":1,\"new_numbers\":1}".into(),
            "point C1 王小明 debtor +8613811138111".into(),
        ]);
        bring(&test, keys.path(), file("updates", text)).await.unwrap();
        assert_eq!(dump(&test).await, after);
        // The cases' own file again: it overwrites no amount that is known better by now.
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        assert_eq!(dump(&test).await, after);
        let unknown = bring(&test, keys.path(), file("updates", "案件编号,利息\nC9,1\n")).await.unwrap_err();
        assert!(faults(unknown)[0].2.contains("no such case"));
    }

    async fn two_debtors_with_one_identity_number_are_one_person_whenever_that_is_learned(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        let other = "案件编号,客户号,姓名,身份证号,委案金额\nX1,E1,王小明,,5\nX2,E2,N,,6\n";
        bring(&test, keys.path(), File { client: "other", ..file("credit-card", other) }).await.unwrap();
        let persons = |lines: Vec<String>| -> Vec<String> {
            let of = lines.into_iter().filter(|line| line.starts_with("person "));
            of.map(|line| line.chars().rev().take(1).collect()).collect()
        };
        assert_eq!(persons(dump(&test).await), ["1", "1", "1", "1"]);
        execute(&test, "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
            SELECT 'person', person_id, 'do_not_call', 'asked', 0, 't' FROM debtors WHERE reference = 'E1'").await;
        let known = "案件编号,客户号,姓名,身份证号,委案金额\nX1,E1,王小明,110105491231002,5\n";
        bring(&test, keys.path(), File { client: "other", ..file("credit-card", known) }).await.unwrap();
        let mut counts = persons(dump(&test).await);
        counts.sort();
        assert_eq!(counts, ["1", "1", "2"]);
        let mut tx = test.db.read().await.unwrap();
        let barred = Sql { act: "x", text: "SELECT COUNT(*) AS n FROM bars b JOIN debtors d ON d.person_id = b.subject_id" };
        assert_eq!(tx.fetch_one(&barred, vec![]).await.unwrap().get::<i64>("n").unwrap(), 2, "the bar went with him");
        tx.rollback().await.unwrap();
        // A new case of a debtor who is known, and whose number is told only now.
        let later = "案件编号,客户号,姓名,身份证号,委案金额\nX3,E2,N,11010519491231002X,6\n";
        bring(&test, keys.path(), File { client: "other", ..file("credit-card", later) }).await.unwrap();
        let mut counts = persons(dump(&test).await);
        counts.sort();
        assert_eq!(counts, ["1", "3"]);
        let wrong = "案件编号,客户号,姓名,身份证号,委案金额\nX4,E2,N,440524188001010014,6\n";
        let wrong = bring(&test, keys.path(), File { client: "other", ..file("credit-card", wrong) }).await;
        assert!(faults(wrong.unwrap_err())[0].2.contains("another identity number"));
    }

    async fn a_repayment_that_settles_ends_the_case_and_its_callbacks(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        execute(&test, "INSERT INTO agents (code, name, extension, created_at_ms) VALUES ('A1', 'A', '8001', 0)").await;
        execute(&test, "INSERT INTO callbacks (case_id, contact_point_id, agent_id, due_at_ms, state, created_at_ms, created_by, changed_at_ms)
            SELECT p.case_id, MIN(p.id), (SELECT id FROM agents), 5, 'queued', 0, 't', 0 FROM contact_points p GROUP BY p.case_id").await;
        let text = "案件编号,流水号,还款金额,还款日期,是否结清\n\
            C1,P1,1000,2026-11-20,\nC2,P2,50,2026-11-20,是\nC1,P1,1000,2026-11-20,\n";
        let done = bring(&test, keys.path(), file("repayments", text)).await.unwrap();
        assert_eq!((done.counts.new, done.counts.same, done.settled), (2, 1, 1));
        let queued = async |test: &Test| {
            let text = "SELECT c.reference || ' ' || b.state AS line FROM callbacks b JOIN cases c ON c.id = b.case_id ORDER BY 1";
            let mut tx = test.db.read().await.unwrap();
            let rows = tx.fetch_all(&Sql { act: "x", text }, vec![]).await.unwrap();
            rows.iter().map(|row| row.get::<String>("line").unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(queued(&test).await, ["C1 queued", "C2 cancelled"]);
        let rest = "案件编号,流水号,还款金额,还款日期\nC1,P3,0.20,2026-11-21\nC1,P4,0.30,2026-11-21\n";
        assert_eq!(bring(&test, keys.path(), file("repayments", rest)).await.unwrap().settled, 1);
        assert_eq!(queued(&test).await, ["C1 cancelled", "C2 cancelled"]);
        let after = dump(&test).await;
        assert!(after.contains(&"change state {\"state\":\"open\"} {\"state\":\"settled\"}".to_owned()));
        assert_eq!(bring(&test, keys.path(), file("repayments", rest)).await.unwrap().counts.same, 2);
        assert_eq!(dump(&test).await, after);
        let mut tx = test.db.read().await.unwrap();
        let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
        assert!(lines.iter().all(|line| line.case.state == CaseState::Settled));
        tx.rollback().await.unwrap();
        for (bad, said) in [
            ("C1,P3,9,2026-11-21", "on file with another"),
            ("C9,P9,9,2026-11-21", "no such case"),
        ] {
            let text = format!("案件编号,流水号,还款金额,还款日期\n{bad}\n");
            let error = bring(&test, keys.path(), file("repayments", &text)).await.unwrap_err();
            assert!(faults(error)[0].2.contains(said));
        }
    }

    async fn a_balance_of_nothing_settles_too(test: Test) {
        let keys = keys();
        bring(&test, keys.path(), file("credit-card", CARD)).await.unwrap();
        let done = bring(&test, keys.path(), file("updates", "案件编号,最新欠款\nC1,0\n")).await.unwrap();
        assert_eq!(done.settled, 1);
        assert!(dump(&test).await.iter().any(|line| line.starts_with("case C1 D1 B1 settled")));
    }

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
            let mut tx = test.db.begin().await.unwrap();
            let client = clients::by_code(&mut tx, "bank").await.unwrap().unwrap();
            tx.commit().await.unwrap();
            let clock = clock();
            let mut import = Import {
                db: &test.db,
                clock: &clock,
                client: client.clone(),
                placed: placed(),
                template: Template::parse(WITH_STATE).unwrap(),
                mode: Mode::AllOrNothing,
                actor: "tester".into(),
                written: None,
                report: Report::default(),
                rejects: Rejects::new(None, &Template::parse(template::shipped("simple").unwrap()).unwrap()),
                doomed: false,
                pace: Pace::new(false),
                table: Table::default(),
            };
            let id = import.begin(Some(batch), None, "f", "0").await.unwrap();
            let template = import.template.clone();
            let rows = sheet::open(&Source::Bytes(text.as_bytes().into()), &template.options()).unwrap();
            let reading = Reading { client: client.id, region: Region::CN, short: ShortCodes::default(), key: None };
            import.read(reading::start(Box::new(rows), template, reading.into()), &mut |_| {}).await.unwrap();
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

    async fn a_case_with_nothing_owed_enters_settled_and_is_settled_by_an_update_to_nothing_or_less(test: Test) {
        let keys = keys();
        let text = "case,debtor,name,relation,number,balance\n\
            C1,D1,N,debtor,13800138001,5\nC2,D2,N,debtor,13800138002,0\nC3,D3,N,debtor,13800138003,-1\n\
            C4,D4,N,debtor,13800138004,\nC5,D5,N,debtor,13800138005,7\n";
        let done = bring(&test, keys.path(), file(WITH_STATE, text)).await.unwrap();
        assert_eq!((done.new_cases, done.settled), (5, 2));
        let states = async || {
            let mut tx = test.db.read().await.unwrap();
            let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
            lines.into_iter().map(|line| line.case.state == CaseState::Settled).collect::<Vec<_>>()
        };
        assert_eq!(states().await, [false, true, true, false, false]);
        let entered = dump(&test).await.into_iter().filter(|line| line.starts_with("change state {} {\"state\":\"settled\"}"));
        assert_eq!(entered.count(), 2);
        // Of C4 nobody told a balance: that nothing is owed on it is news, once.
        let update = "案件编号,最新欠款\nC1,-0.01\nC3,-1\nC4,0\n";
        let done = bring(&test, keys.path(), file("updates", update)).await.unwrap();
        assert_eq!((done.counts.changed, done.settled), (2, 2));
        assert_eq!(states().await, [true, true, true, true, false]);
        let before = dump(&test).await;
        let done = bring(&test, keys.path(), file("updates", update)).await.unwrap();
        assert_eq!((done.counts.same, done.settled), (3, 0));
        assert_eq!(dump(&test).await, before);
    }

    async fn a_batch_bears_the_day_it_was_placed_on(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        let bring = async |batch: &str, placed| {
            let (db, clock) = (&test.db, clock());
            let template = Template::parse(WITH_STATE).unwrap();
            let mut import = Import {
                db, clock: &clock, client: client.clone(), placed, template: template.clone(), mode: Mode::AllOrNothing,
                actor: "tester".into(), written: None, report: Report::default(), rejects: Rejects::new(None, &template),
                doomed: false, pace: Pace::new(false), table: Table::default(),
            };
            import.begin(Some(batch), None, "f", "0").await.map(drop)
        };
        let day = |text: &str| text.parse::<Date>().unwrap();
        let on_file = async |batch: &str| {
            let mut tx = test.db.begin().await.unwrap();
            batches::ensure_hidden(&mut tx, client.id, batch, "", "1999-01-01", 0).await.unwrap().placed_on.unwrap()
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
    let (test, keys) = (Test::sqlite().await, keys());
    bring(&test, keys.path(), file("simple", SIMPLE))
        .await
        .unwrap();
    let mut tx = test.db.read().await.unwrap();
    let client = clients::by_code(&mut tx, "bank").await.unwrap().unwrap();
    tx.rollback().await.unwrap();
    for (batch, wanted) in [(Some("B".to_owned()), "no key"), (None, "in a batch")] {
        let template = Template::parse(
            template::shipped(if batch.is_some() {
                "credit-card"
            } else {
                "simple"
            })
            .unwrap(),
        )
        .unwrap();
        let rows =
            sheet::open(&Source::Bytes(CARD.as_bytes().into()), &template.options()).unwrap();
        let job = Job {
            client: client.clone(),
            batch,
            placed: placed(),
            template,
            template_id: None,
            rows: Box::new(rows),
            file_name: String::new(),
            file_sha256: String::new(),
            reading: Reading {
                client: client.id,
                region: Region::CN,
                short: ShortCodes::default(),
                key: None,
            },
            mode: Mode::AllOrNothing,
            preview: false,
            rejects: None,
            actor: String::new(),
        };
        let error = run(&test.db, &clock(), job, &mut |_| {})
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

/// The rows of `text` for the simple template, with something that happens at some of them.
fn rows_with(
    text: &str,
    at: std::ops::Range<u64>,
    mut happens: impl FnMut() + Send + 'static,
) -> RowSource {
    let template = Template::parse(template::shipped("simple").unwrap()).unwrap();
    let rows = sheet::open(&Source::Bytes(text.as_bytes().into()), &template.options()).unwrap();
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
    let mut tx = test.db.begin().await.unwrap();
    let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let job = Job {
        reading: Reading {
            client: client.id,
            region: Region::CN,
            short: ShortCodes::default(),
            key: None,
        },
        client,
        batch: Some("B2".into()),
        placed: placed(),
        template: Template::parse(template::shipped("simple").unwrap()).unwrap(),
        template_id: None,
        rows,
        file_name: "file.csv".into(),
        file_sha256: "0".into(),
        mode: Mode::AllOrNothing,
        preview: false,
        rejects: None,
        actor: "tester".into(),
    };
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
