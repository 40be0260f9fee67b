//! What updates, repayments and identity numbers change in what is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::{
    ids::CaseId,
    policy::CaseState,
    store::{cases, tests::on_both},
};

on_both! {
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

    async fn a_zone_in_a_file_is_put_on_record_for_new_numbers_and_must_be_one(test: Test) {
        let keys = keys();
        let template = "kind = 'cases'\nname = 'zones'\n[[column]]\nto = 'case'\nheads = ['case']\n[[contact]]\nrelation = 'debtor'\n\
                        numbers = [{ heads = ['number'] }]\nzone = { heads = ['zone'], words = { '纽约' = 'America/New_York' } }\n";
        let wrong = "case,number,zone\nC1,13800000001,Moon\nC2,13800000002,Asia/Urumqi\n";
        let told = faults(bring(&test, keys.path(), file(template, wrong)).await.unwrap_err());
        assert!(told[0].2.contains("IANA name") && told[1].2.contains("Asia/Shanghai"), "{told:?}");
        assert_eq!(told[0].1.as_deref(), Some("zone"));
        let text = "case,number,zone\nC1,13800000001/13800000002,纽约\nC2,13800000003,\n";
        bring(&test, keys.path(), file(template, text)).await.unwrap();
        let zones = async || {
            let mut tx = test.db.read().await.unwrap();
            let mut zones = Vec::new();
            for case in cases::list(&mut tx, CaseId::new(0), 9).await.unwrap() {
                let people = crate::store::contact_points::of_case(&mut tx, case.case.id).await.unwrap();
                zones.extend(people.into_iter().map(|target| target.zone.unwrap_or_default()));
            }
            zones
        };
        assert_eq!(zones().await, ["America/New_York", "America/New_York", ""]);
        // A file does not move the hours of a number that is on file.
        bring(&test, keys.path(), file(template, &text.replace("纽约", "Europe/London"))).await.unwrap();
        assert_eq!(zones().await, ["America/New_York", "America/New_York", ""]);
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
        let placed = Some("2026-11-01".parse().unwrap());
        bring(&test, keys.path(), File { placed, ..file("credit-card", CARD) }).await.unwrap();
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

    async fn money_that_is_told_as_a_balance_and_as_a_payment_counts_once_in_either_order(test: Test) {
        let keys = keys();
        let cases = "案件编号,客户号,姓名,委案金额\nC1,D1,N,1000\nC2,D2,M,1000\nC3,D3,K,1000\n";
        let placed = Some("2026-11-01".parse().unwrap());
        bring(&test, keys.path(), File { placed, ..file("credit-card", cases) }).await.unwrap();
        let paid = "案件编号,流水号,还款金额,还款日期\nC1,P1,500,2026-11-10\nC2,P2,500,2026-11-10\n";
        let told = "案件编号,最新欠款,欠款日期\nC1,500,2026-11-12\nC2,500,2026-11-12\n";
        let owed = async || {
            let mut tx = test.db.read().await.unwrap();
            let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
            let mut all = Vec::new();
            for line in lines {
                let detail = cases::detail(&mut tx, line.case.id).await.unwrap().unwrap();
                all.push((line.case.state == CaseState::Settled, detail.amounts[1] / 10_000, detail.repaid_e4 / 10_000));
            }
            all
        };
        let only = |text: &str, case: &str| -> String {
            let kept = text.lines().enumerate().filter(|(at, line)| *at == 0 || line.starts_with(case));
            kept.map(|(_, line)| format!("{line}\n")).collect()
        };
        // C1: the payment first. C2: the balance first.
        bring(&test, keys.path(), file("repayments", &only(paid, "C1"))).await.unwrap();
        assert_eq!(owed().await[0], (false, 500, 500));
        bring(&test, keys.path(), file("updates", told)).await.unwrap();
        let done = bring(&test, keys.path(), file("repayments", paid)).await.unwrap();
        assert_eq!((done.counts.new, done.counts.same, done.in_balance, done.settled), (1, 1, 1, 0));
        assert_eq!(owed().await, [(false, 500, 500), (false, 500, 500), (false, 1000, 0)]);
        // On the day of the balance: it holds the payment. A day later it does not.
        let rest = "案件编号,流水号,还款金额,还款日期\nC1,P3,500,2026-11-12\nC2,P4,500,2026-11-13\nC3,P5,1000,2026-10-30\n";
        let done = bring(&test, keys.path(), file("repayments", rest)).await.unwrap();
        assert_eq!((done.in_balance, done.settled), (2, 1));
        assert_eq!(owed().await, [(false, 500, 1000), (true, 0, 1000), (false, 1000, 1000)]);
        // A row that says so settles whatever the balance is.
        let told = "案件编号,流水号,还款金额,还款日期,是否结清\nC3,P6,1,2026-10-31,是\n";
        assert_eq!(bring(&test, keys.path(), file("repayments", told)).await.unwrap().settled, 1);
    }

    async fn rows_added_to_a_batch_owe_as_of_the_day_it_was_placed_and_no_day_is_yet_to_come(test: Test) {
        let keys = keys();
        let cases = |case: &str| format!("案件编号,客户号,姓名,委案金额\n{case},D{case},N,1000\n");
        let placed = Some("2026-11-10".parse().unwrap());
        bring(&test, keys.path(), File { placed, ..file("credit-card", &cases("C1")) }).await.unwrap();
        bring(&test, keys.path(), file("credit-card", &cases("C2"))).await.unwrap();
        let paid = "案件编号,流水号,还款金额,还款日期\nC1,P1,400,2026-11-20\nC2,P2,400,2026-11-20\n";
        assert_eq!(bring(&test, keys.path(), file("repayments", paid)).await.unwrap().in_balance, 0);
        // A day later it may be that day already, somewhere; two days later nowhere.
        let late = |day: &str| format!("案件编号,流水号,还款金额,还款日期\nC1,P{day},1,2026-11-{day}\n");
        bring(&test, keys.path(), file("repayments", &late("24"))).await.unwrap();
        let error = bring(&test, keys.path(), file("repayments", &late("25"))).await.unwrap_err();
        assert!(faults(error)[0].2.contains("yet to come"));
        let placed = Some("2026-11-25".parse().unwrap());
        let error = bring(&test, keys.path(), File { placed, batch: "B2", ..file("credit-card", &cases("C3")) }).await.unwrap_err();
        assert!(matches!(error, ImportError::PlacedToCome(_)), "{error}");
    }

    async fn a_balance_of_an_earlier_day_takes_nothing_back_that_was_paid_since(test: Test) {
        let keys = keys();
        let cases = "案件编号,客户号,姓名,委案金额\nC1,D1,N,1000\n";
        let placed = Some("2026-11-01".parse().unwrap());
        bring(&test, keys.path(), File { placed, ..file("credit-card", cases) }).await.unwrap();
        let paid = "案件编号,流水号,还款金额,还款日期\nC1,P1,300,2026-11-10\nC1,P2,200,2026-11-20\n";
        bring(&test, keys.path(), file("repayments", paid)).await.unwrap();
        let shown = async || {
            let mut tx = test.db.read().await.unwrap();
            let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
            let detail = cases::detail(&mut tx, lines[0].case.id).await.unwrap().unwrap();
            (detail.amounts[1] / 10_000, detail.balance_on.unwrap())
        };
        assert_eq!(shown().await, (500, "2026-11-01".to_owned()));
        // Told of the 15th, with interest: only the payment of the 20th is not in it.
        let day = |day: &str| Some(day.parse().unwrap());
        let told = "案件编号,最新欠款\nC1,710\n";
        let update = async |on: &str, text: &str| {
            let done = bring(&test, keys.path(), File { balance_on: day(on), ..file("updates", text) }).await.unwrap();
            assert_eq!(done.older_balances, usize::from(on == "2026-11-09"), "{on}");
            done.counts
        };
        assert_eq!(update("2026-11-15", told).await.changed, 1);
        assert_eq!(shown().await, (510, "2026-11-15".to_owned()));
        let before = dump(&test).await;
        assert_eq!(update("2026-11-15", told).await.same, 1);
        assert_eq!(update("2026-11-09", "案件编号,最新欠款\nC1,1000\n").await.same, 1);
        assert_eq!(dump(&test).await, before, "older news is none");
        // The same amount of a later day: nothing is noted, but a late payment of the days between is in it.
        assert_eq!(update("2026-11-21", "案件编号,最新欠款\nC1,510\n").await.changed, 1);
        assert_eq!(update("2026-11-22", "案件编号,最新欠款\nC1,510\n").await.same, 1);
        assert_eq!(shown().await, (510, "2026-11-22".to_owned()));
        let late = "案件编号,流水号,还款金额,还款日期\nC1,P3,510,2026-11-22\n";
        assert_eq!(bring(&test, keys.path(), file("repayments", late)).await.unwrap().settled, 0);
        let refused = "案件编号,最新欠款,欠款日期\nC1,0,2036-11-22\n";
        let refused = bring(&test, keys.path(), file("updates", refused)).await.unwrap_err();
        assert!(faults(refused)[0].2.contains("yet to come"));
    }
}
