//! Reports and their schedules on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::Parser;

use super::{Context, StatsCommand};
use crate::{
    clock::{Clock, TestClock, TrustMode},
    store::{
        access::{self, Verdict},
        tests::{DATE, NOW_MS, Test, dial_busy, floor, on_both},
    },
};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: StatsCommand,
}

/// Runs a command line two days after the floor of the tests began, at 10:00; `_` stands for a space within a word.
async fn typed(test: &Test, dir: &std::path::Path, line: &str) -> Result<String, String> {
    let words = line.split(' ').map(|word| match word.contains("_*") {
        true => word.replace('_', " "),
        false => word.to_owned(),
    });
    let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
    let context = Context {
        db: &test.db,
        clock: &Clock::test(
            TestClock::standing(NOW_MS + 2 * 86_400_000),
            TrustMode::Host,
        ),
        zone: &jiff::tz::TimeZone::get("Asia/Shanghai").unwrap(),
        reports_dir: &dir.join("reports"),
    };
    let mut out = Vec::new();
    let args = super::StatsArgs {
        command: cli.command,
    };
    let done = super::run(args, &context, &mut out).await;
    let printed = String::from_utf8(out).unwrap();
    done.map(|()| printed.clone())
        .map_err(|e| format!("{printed}{e:#}"))
}

on_both! {
    async fn reports_are_printed_in_every_form_with_the_query_that_reproduces_them(test: Test) {
        let dir = tempfile::tempdir().unwrap();
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        dial_busy(&mut tx, 1, &floor.targets[0], floor.agent).await;
        tx.commit().await.unwrap();
        let does = async |line: &str| typed(&test, dir.path(), line).await.unwrap();
        let fails = async |line: &str| typed(&test, dir.path(), line).await.unwrap_err();
        let listed = does("stats reports").await;
        assert!(
            listed.contains("recovery") && listed.contains("caller-ids"),
            "{listed}"
        );
        let days = format!("--from {DATE} --to {DATE}");
        let line = format!("stats report connect-rate {days} --by client --and hour");
        let table = does(&line).await;
        for part in [
            "bank",
            "total",
            "拨打",
            "FROM attempts a",
            "connect_rate = ",
        ] {
            assert!(table.contains(part), "{part} not in {table}");
        }
        let json = does(&format!("{line} --format json")).await;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["rows"][0].as_array().unwrap()[..3],
            [serde_json::json!("bank"), 10.into(), 1.into()]
        );
        assert!(json["sql"].as_str().unwrap().contains("GROUP BY"));
        let total = json["sql_of_total"].as_str().unwrap();
        assert!(
            total.starts_with("SELECT 'total' AS \"client\", NULL AS \"hour\""),
            "{total}"
        );
        let weekly = does(&format!(
            "stats report connect-rate {days} --by agent --over week --format csv"
        ))
        .await;
        assert!(
            weekly.contains("agent,week,") && weekly.contains(&format!("A1,{DATE},1,")),
            "{weekly}"
        );
        // The short form: all days there are, the same lines with their queries, and a workbook too.
        let short = does("stats connect-rate --by month").await;
        for part in [
            "2026-11",
            "total",
            "FROM attempts a",
            "AS \"month\"",
            "connect_rate = ",
        ] {
            assert!(short.contains(part), "{part} not in {short}");
        }
        let short = does("stats connect-rate --by client --format json").await;
        let short: serde_json::Value = serde_json::from_str(&short).unwrap();
        assert_eq!(short["lines"][0]["client"], "bank");
        assert!(short["sql"].as_str().unwrap().starts_with("SELECT"));
        let book = tempfile::tempdir().unwrap();
        let book = book.path().join("short.xlsx");
        let written = does(&format!(
            "stats connect-rate --format xlsx --out {}",
            book.display()
        ))
        .await;
        assert!(written.starts_with("1 lines in "), "{written}");
        let csv = does(&format!("stats report caller-ids --to {DATE} --format csv")).await;
        assert!(
            csv.starts_with("\u{feff}caller_id,") && csv.contains("\r\n'+861088880000,0,0,0,,,,1,"),
            "{csv}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("teams.xlsx");
        let line = format!(
            "stats report teams {days} --format xlsx --out {}",
            file.display()
        );
        assert!(does(&line).await.starts_with("1 lines in "));
        assert!(fails(&line).await.contains("does not exist"));
        use calamine::Reader as _;
        let mut book: calamine::Xlsx<_> = calamine::open_workbook(&file).unwrap();
        assert_eq!(book.sheet_names(), ["teams", "explained"]);
        let explained = book.worksheet_range("explained").unwrap();
        let lines: Vec<String> = explained.rows().map(|row| row[0].to_string()).collect();
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("-- ringfence report teams"))
        );
        for (line, said) in [
            ("stats report teams --format xlsx", "--out"),
            ("stats connect-rate --format xlsx", "--out"),
            (
                "stats report connect-rate --over year",
                "one of: day, week, month",
            ),
            (
                "stats report connect-rate --by week --over week",
                "the same",
            ),
            ("stats report moon", "one of: connect-rate"),
            ("stats report teams --client bank", "belongs to none"),
            (
                "stats report causes --client nobody",
                "no client of this code",
            ),
            (
                "stats report causes --from 2026-12-01 --to 2026-11-01",
                "is before",
            ),
        ] {
            let error = fails(line).await;
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    async fn sealing_some_days_says_nothing_of_the_others(test: Test) {
        let dir = tempfile::tempdir().unwrap();
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        dial_busy(&mut tx, 1, &floor.targets[0], floor.agent).await;
        tx.commit().await.unwrap();
        let other = typed(&test, dir.path(), "stats seal --from 2026-01-01 --to 2026-01-31")
            .await
            .unwrap();
        assert_eq!(
            other,
            "of the days asked for every one that is over everywhere is sealed\n"
        );
        let all = typed(&test, dir.path(), "stats seal").await.unwrap();
        assert!(
            all.contains(": sealed, 1 attempts")
                && all.ends_with("every day that is over everywhere is sealed\n"),
            "{all}"
        );
    }

    async fn a_schedule_is_added_listed_run_and_removed(test: Test) {
        let dir = tempfile::tempdir().unwrap();
        floor(&test.db, 1).await;
        let does = async |line: &str| typed(&test, dir.path(), line).await.unwrap();
        let fails = async |line: &str| typed(&test, dir.path(), line).await.unwrap_err();
        let add = "stats schedule add daily --report promises --grace 2 --period 7d --cron 30_7_*_*_* --dir bank";
        assert!(does(add).await.contains("next at 2026-11-26 07:30:00"));
        assert!(fails(add).await.contains("already"));
        let listed = does("stats schedule list").await;
        assert!(
            listed.contains("daily") && listed.contains("grace_days"),
            "{listed}"
        );
        let ran = does("stats schedule run daily").await;
        let file = ran.trim().strip_prefix("written: ").unwrap();
        assert!(
            file.ends_with("reports/bank/daily_2026-11-25_1000.csv"),
            "{file}"
        );
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.starts_with("\u{feff}client,agent,currency"), "{text}");
        for (line, said) in [
            ("stats schedule run nightly", "no schedule nightly"),
            ("stats schedule remove nightly", "no schedule nightly"),
            (
                "stats schedule add a/b --report teams --cron 30_7_*_*_*",
                "letters",
            ),
            (
                "stats schedule add x --report teams --cron never",
                "30 7 * * 1-5",
            ),
            (
                "stats schedule add x --report teams --cron 30_7_*_*_* --dir ../etc",
                "reports.dir",
            ),
            (
                "stats schedule add x --report teams --cron 30_7_*_*_* --period 0d",
                "last-week",
            ),
            (
                "stats schedule add x --report teams --cron 30_7_*_*_* --client bank",
                "belongs to none",
            ),
            (
                "stats schedule add x --report caller-ids --cron 30_7_*_*_*",
                "more than 7",
            ),
        ] {
            let error = fails(line).await;
            assert!(error.contains(said), "{line}: {error}");
        }
        does("stats schedule remove daily").await;
        assert!(!does("stats schedule list").await.contains("daily"));
        let mut tx = test.db.read().await.unwrap();
        assert!(matches!(
            access::verify(&mut tx).await.unwrap(),
            Verdict::Intact { rows: 2, .. }
        ));
    }
}
