//! The command line as it is typed, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod notes;

use clap::{Parser, Subcommand};

use crate::{
    cases::fields,
    clock::{Clock, TestClock, TrustMode},
    phone::{Region, ShortCodes},
    store::{
        access::{self, Verdict},
        attempts::{self, Closing},
        sql::Sql,
        tests::{DATE, NOW_MS, Test, call_id, dial, dial_busy, floor, on_both},
        users::{self, Token},
    },
};

#[test]
fn a_cause_that_was_said_is_not_said_again() {
    let said = anyhow::anyhow!("no such file").context("cannot read x: no such file; make it");
    assert_eq!(super::whole(&said), "cannot read x: no such file; make it");
    let unsaid = anyhow::anyhow!("no such file").context("cannot read x");
    assert_eq!(super::whole(&unsaid), "cannot read x: no such file");
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Stats(super::stats::StatsArgs),
    Users(super::users::UsersArgs),
    Cases(super::cases::CasesArgs),
    Notes(super::notes::NotesArgs),
    Agents(super::agents::AgentsArgs),
}

/// Two days after the floor of the tests began, when its day is over everywhere.
fn clock() -> Clock {
    let clock = TestClock::standing(NOW_MS + 2 * 86_400_000);
    Clock::test(clock, TrustMode::Host)
}

/// Runs a command line; gives what it printed or its whole error.
async fn typed(test: &Test, line: &str, random: u8) -> Result<String, String> {
    let cli = Cli::try_parse_from(std::iter::once("ringfence").chain(line.split(' ')))
        .map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let done = match cli.command {
        Command::Stats(args) => {
            let context = super::stats::Context {
                db: &test.db,
                clock: &clock(),
                zone: &zone,
                reports_dir: std::path::Path::new("/nowhere"),
            };
            super::stats::run(args, &context, &mut out).await
        }
        Command::Users(args) => {
            super::users::run(args, &test.db, NOW_MS, [random; 32], &mut out).await
        }
        Command::Cases(args) => {
            let keys = tempfile::tempdir().unwrap();
            let context = super::cases::Context {
                db: &test.db,
                clock: Clock::test(TestClock::running(NOW_MS), TrustMode::Host),
                short: ShortCodes::default(),
                region: Region::CN,
                key: &|_| Ok(fields::tests::key(keys.path())),
                zone: zone.clone(),
                limits: crate::config::Floor::default(),
            };
            Box::pin(super::cases::run(args, &context, &mut out)).await
        }
        Command::Notes(args) => super::notes::run(args, &test.db, NOW_MS, &zone, &mut out).await,
        Command::Agents(args) => super::agents::run(args, &test.db, NOW_MS, &zone, &mut out).await,
    };
    let printed = String::from_utf8(out).unwrap();
    done.map(|()| printed.clone())
        .map_err(|e| format!("{printed}{e:#}"))
}

on_both! {
    async fn cases_are_imported_and_listed_and_a_bad_file_is_named_with_its_row(test: Test) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cases.csv");
        let line = format!(
            "cases import {} --client bank --batch 2026-11",
            file.display()
        );
        let missing = typed(&test, &line, 0).await.unwrap_err();
        assert!(
            missing.contains("cannot open") && missing.contains("cases.csv"),
            "{missing}"
        );
        std::fs::write(
            &file,
            "case,debtor,name,relation,number\nC1,D1,王小明,debtor,13800138000\n",
        )
        .unwrap();
        let unknown = typed(&test, &line, 0).await.unwrap_err();
        assert!(unknown.contains("--new-client"), "{unknown}");
        let line = format!("{line} --new-client Bank");
        assert!(
            typed(&test, &line, 0)
                .await
                .unwrap()
                .starts_with("1 rows: 1 new cases, 1 new numbers")
        );
        assert!(
            typed(&test, &line, 0)
                .await
                .unwrap()
                .starts_with("1 rows: 0 new cases, 0 new numbers")
        );
        std::fs::write(
            &file,
            "case,debtor,name,relation,number\nC2,D1,王小明,debtor,1\n",
        )
        .unwrap();
        let bad = typed(&test, &line, 0).await.unwrap_err();
        assert!(
            bad.contains("cases.csv") && bad.contains("line 2, column number"),
            "{bad}"
        );
        let listed = typed(&test, "cases list", 0).await.unwrap();
        assert!(
            listed.contains("C1") && !listed.contains("C2") && !listed.contains("王小明"),
            "{listed}"
        );
    }

    async fn a_token_is_printed_once_and_works_until_revoked(test: Test) {
        floor(&test.db, 1).await;
        let line = "users add lin --role agent --client bank --agent A7 --extension 8007";
        let token = typed(&test, line, 1).await.unwrap();
        let taken = typed(&test, line, 2).await.unwrap_err();
        assert!(
            taken.contains("account lin") && taken.contains("exists already"),
            "{taken}"
        );
        let mut tx = test.db.read().await.unwrap();
        let user = users::by_token(&mut tx, &Token::presented(token.trim()))
            .await
            .unwrap()
            .unwrap();
        assert!(user.agent_id.is_some());
        tx.rollback().await.unwrap();
        let listed = typed(&test, "users list", 0).await.unwrap();
        assert!(
            listed.contains("lin") && listed.contains("A7") && !listed.contains(token.trim()),
            "{listed}"
        );
        let second = typed(&test, "users token lin", 3).await.unwrap();
        assert_ne!(second, token);
        typed(&test, "users revoke lin", 0).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        for text in [&token, &second] {
            assert!(
                users::by_token(&mut tx, &Token::presented(text.trim()))
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert!(matches!(
            access::verify(&mut tx).await.unwrap(),
            Verdict::Intact { rows: 3, .. }
        ));
        tx.rollback().await.unwrap();
        for (line, remedy) in [
            ("users revoke nobody", "no valid account"),
            (
                "users add x --role king --all-clients",
                "one of: agent, lead",
            ),
            ("users add x --role qa", "--all-clients"),
            ("users add x --role qa --client no", "no client no"),
            ("users add x --role agent --all-clients", "--agent"),
            (
                "users add x --role agent --all-clients --agent A9",
                "--extension",
            ),
            (
                "users add x --role agent --all-clients --agent A9 --extension 8007",
                "another agent",
            ),
        ] {
            let error = typed(&test, line, 9).await.unwrap_err();
            assert!(error.contains(remedy), "{line}: {error}");
        }
    }

    async fn the_connect_rate_is_printed_in_every_form_and_the_check_fails_on_a_difference(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let attempt = attempts::by_id(&mut tx, call_id(1)).await.unwrap().unwrap();
        let talked = Some((NOW_MS + 5_000, NOW_MS + 65_000));
        let closing = Closing::after_crash(&attempt, crate::call::Cause::Crashed, NOW_MS, talked);
        attempts::close(&mut tx, call_id(1), &closing)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let line = |rest: &str| format!("stats connect-rate --from {DATE} --to {DATE} {rest}");
        let table = typed(&test, &line("--by agent"), 0).await.unwrap();
        assert!(
            table.contains("A1") && table.contains("connect_rate") && table.contains("Wilson"),
            "{table}"
        );
        let json = typed(&test, &line("--by client --format json"), 0)
            .await
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["lines"][0]["client"], "bank");
        assert_eq!(json["lines"][0]["connect_rate"]["rate"], 1.0);
        assert_eq!(json["total"]["talk_ms"], 60_000);
        assert!(
            json["definitions"][0]["zh"]
                .as_str()
                .unwrap()
                .contains("拨打")
        );
        let csv = typed(&test, &line("--by caller-id --format csv"), 0)
            .await
            .unwrap();
        assert!(
            csv.starts_with("\u{feff}caller-id,attempts,")
                && csv.contains("\n'+861088880000,1,1,1,"),
            "{csv}"
        );
        let by_hour = typed(&test, "stats connect-rate --by hour --format csv", 0)
            .await
            .unwrap();
        assert!(by_hour.contains("\n10,1,1,1,"), "{by_hour}");
        let backwards = typed(
            &test,
            "stats connect-rate --from 2026-12-01 --to 2026-11-01",
            0,
        )
        .await
        .unwrap_err();
        assert!(backwards.contains("is after"), "{backwards}");
        assert!(
            typed(&test, "stats connect-rate --by moon", 0)
                .await
                .unwrap_err()
                .contains("one of: day, hour, week")
        );
        assert!(
            typed(&test, "stats check", 0)
                .await
                .unwrap()
                .contains("1 attempts of 1 days")
        );
        let mut tx = test.db.begin().await.unwrap();
        let text = "UPDATE rollup_days SET connected = 7 WHERE dimension = 'agent'";
        tx.execute(
            &Sql {
                act: "plant a fault",
                text,
            },
            vec![],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let differs = typed(&test, "stats check", 0).await.unwrap_err();
        assert!(
            differs.contains("agent") && differs.contains("1 do not agree"),
            "{differs}"
        );
    }

    async fn days_are_sealed_once_and_figures_made_anew_from_the_command_line(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        dial_busy(&mut tx, 1, &floor.targets[0], floor.agent).await;
        tx.commit().await.unwrap();
        let sealed = typed(&test, "stats seal", 0).await.unwrap();
        assert!(
            sealed.starts_with(&format!("{DATE}: sealed, 1 attempts")),
            "{sealed}"
        );
        assert!(
            !typed(&test, "stats seal", 0)
                .await
                .unwrap()
                .contains("attempts")
        );
        let mut tx = test.db.begin().await.unwrap();
        for text in [
            "DELETE FROM rollup_days",
            "UPDATE cases SET repaid_e4 = 120000, cycle_repaid_e4 = 110000",
        ] {
            let act = "lose figures";
            tx.execute(&Sql { act, text }, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let lost = typed(&test, "stats check", 0).await.unwrap_err();
        assert!(
            lost.contains("the seal is broken") && lost.contains("stats rebuild"),
            "{lost}"
        );
        assert!(
            lost.contains("stored 12.00 repaid, 11.00 of it within the cycle; recounted 0.00, 0.00"),
            "{lost}"
        );
        let made = typed(&test, "stats rebuild", 0).await.unwrap();
        assert!(
            made.contains("1 days looked at, 1 changed, 12 rows") && made.contains(": 1 cases changed"),
            "{made}"
        );
        let agree = typed(&test, &format!("stats check --from {DATE}"), 0)
            .await
            .unwrap();
        assert!(
            agree.contains("0 corrections, 0 rows of agents' days, what was repaid on 1 cases: all agree"),
            "{agree}"
        );
        let turned = typed(&test, "stats seal --from 2026-11-02 --to 2026-11-01", 0).await;
        assert!(turned.unwrap_err().contains("is after"));
    }

    async fn a_day_of_work_is_done_on_the_command_line(test: Test) {
        floor(&test.db, 3).await;
        let dir = tempfile::tempdir().unwrap();
        let does = async |line: &str| typed(&test, line, 0).await.unwrap();
        let fails = async |line: &str| typed(&test, line, 0).await.unwrap_err();
        does("agents team T1 --name One").await;
        assert!(does("agents join A1 T1").await.contains("in T1"));
        assert!(does("agents list").await.contains("T1"));
        assert!(fails("agents join A1 T9").await.contains("no team T9"));

        let plan = does("cases allocate plan --method even-both --client bank --to-team T1").await;
        assert!(
            plan.contains("allocation 1 is planned") && plan.contains("A1"),
            "{plan}"
        );
        assert!(
            does("cases allocate apply 1")
                .await
                .starts_with("3 cases changed hands; 0 are left")
        );
        assert!(does("cases allocate show").await.contains("done"));
        assert!(
            does("cases allocate show 1")
                .await
                .contains("even_both, done")
        );
        assert!(
            does("cases allocate undo 1")
                .await
                .starts_with("3 cases went back")
        );
        assert!(
            fails("cases allocate apply 9")
                .await
                .contains("no such allocation")
        );
        assert!(
            fails("cases allocate plan --method moon --client bank")
                .await
                .contains("even_count")
        );

        let file = dir.path().join("list.csv");
        std::fs::write(&file, "case,why\nC0,asked\nC8,asked\n").unwrap();
        let line = format!(
            "cases pause --client bank --file {} --reason asked",
            file.display()
        );
        let paused = does(&line).await;
        assert!(
            paused.starts_with("1 of 1 cases changed") && paused.contains("unknown: C8"),
            "{paused}"
        );
        assert!(
            does("cases resume --state paused --reason back")
                .await
                .starts_with("1 of 1")
        );
        assert!(
            fails("cases close --reason x")
                .await
                .contains("at least one filter")
        );
        assert!(
            does("cases mark-many --client bank --as red --reason x")
                .await
                .starts_with("3 of 3")
        );
        assert!(does("cases overdue").await.contains("0 overdue"));
        assert!(does("cases intake").await.contains("2026-11"));
        let line = "cases matters enter --client bank --case 1 --kind police came";
        assert!(
            does(line)
                .await
                .contains("report it by 2026-11-23 10:30:00")
        );
        assert!(
            does("cases matters report 1 --told Wang")
                .await
                .contains("is reported")
        );
        assert!(
            fails("cases matters report 1 --told Wang")
                .await
                .contains("reported before")
        );
        let list = does("cases matters list").await;
        assert!(list.contains("Wang") && list.contains("C0"), "{list}");

        let line =
            "agents callbacks queue --contact-point 1 --agent A1 --at 2026-11-24T10:00:00+08:00";
        assert!(does(line).await.contains("callback 1 is queued"));
        assert!(
            does("agents callbacks list --state queued")
                .await
                .contains("2026-11-24 10:00:00")
        );
        does("agents callbacks cancel 1 --reason paid").await;
        assert!(
            fails("agents callbacks cancel 1 --reason paid")
                .await
                .contains("cancelled")
        );
    }
}
