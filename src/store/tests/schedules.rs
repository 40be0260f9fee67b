//! Scheduled reports on both databases, by a clock that is driven: due once, on one node, whole or not at all.

use std::path::Path;

use super::super::{
    Error,
    report_schedules::{self, NewSchedule, Schedule},
};
use super::{NOW_MS, Test, dial_busy, floor, on_both};
use crate::{
    clock::{Clock, TestClock, TrustMode},
    stats::{scheduled::Writer, timetable::Timetable},
};

const DAY_MS: i64 = 86_400_000;
/// Every day at 12:00 in Shanghai, two hours after the tests' floor begins.
const NOON: &str = "0 12 * * *";
const FIRST_MS: i64 = NOW_MS + 2 * 3_600_000;

fn writer(test: &Test, root: &Path, node: &str, at_ms: i64) -> Writer {
    Writer {
        db: test.db.clone(),
        clock: Clock::test(TestClock::standing(at_ms), TrustMode::Host),
        zone: jiff::tz::TimeZone::get("Asia/Shanghai").unwrap(),
        root: root.to_owned(),
        node: node.to_owned(),
    }
}

async fn add(test: &Test, name: &str, report: &str, format: &str, dir: &str) {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let times: Timetable = NOON.parse().unwrap();
    let new = NewSchedule {
        name,
        report,
        format,
        cron: NOON,
        dir,
        next_at_ms: times.next_ms(NOW_MS, &zone).unwrap(),
        actor: "test",
    };
    let mut tx = test.db.begin().await.unwrap();
    report_schedules::insert(&mut tx, &new, NOW_MS)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn stored(test: &Test, name: &str) -> Schedule {
    let mut tx = test.db.read().await.unwrap();
    let found = report_schedules::by_name(&mut tx, name).await.unwrap();
    found.unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const DAILY: &str = r#"{"report":"connect-rate","period":"2d","by":"client"}"#;

on_both! {
    async fn a_report_is_written_once_each_time_it_is_due(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        dial_busy(&mut tx, 1, &floor.targets[0], floor.agent).await;
        tx.commit().await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("to/bank");
        add(&test, "daily", DAILY, "csv", "to/bank").await;
        assert_eq!(writer(&test, root.path(), "a", FIRST_MS - 1).once().await.unwrap(), 0);
        assert_eq!(files(&dir), Vec::<String>::new());
        assert_eq!(writer(&test, root.path(), "a", FIRST_MS).once().await.unwrap(), 1);
        assert_eq!(writer(&test, root.path(), "a", FIRST_MS + 1_000).once().await.unwrap(), 0);
        assert_eq!(files(&dir), ["daily_2026-11-23_1200.csv", "daily_2026-11-23_1200.csv.about.txt"]);
        // CSV holds the table alone; what it means, and the query, stand beside it.
        let about = std::fs::read_to_string(dir.join("daily_2026-11-23_1200.csv.about.txt")).unwrap();
        for part in ["2026-11-21 to 2026-11-22", "connect_rate = connected / (attempts - lost_ours)", "FROM attempts a"] {
            assert!(about.contains(part), "{part} not in {about}");
        }
        let one = stored(&test, "daily").await;
        assert_eq!((one.next_at_ms, one.last_at_ms, one.last_error), (FIRST_MS + DAY_MS, Some(FIRST_MS), None));
        // Three days without a node: caught up once, for the last time.
        let late = FIRST_MS + 3 * DAY_MS + 60_000;
        assert_eq!(writer(&test, root.path(), "b", late).once().await.unwrap(), 1);
        assert_eq!(writer(&test, root.path(), "b", late).once().await.unwrap(), 0);
        assert_eq!(files(&dir).len(), 4);
        assert!(files(&dir).contains(&"daily_2026-11-26_1200.csv".to_owned()));
        // The two days before: the first file is of days without calls, the second of days after them.
        assert_eq!(writer(&test, root.path(), "b", NOW_MS).once().await.unwrap(), 0);
        let (by_hand, daily) = (writer(&test, root.path(), "b", FIRST_MS), stored(&test, "daily").await);
        let path = by_hand.run(&daily, FIRST_MS + DAY_MS).await.unwrap().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("client,attempts") && text.contains("\r\nbank,1,"), "{text}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.join("daily_2026-11-24_1200.csv")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    async fn of_two_nodes_exactly_one_writes_it(test: Test) {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        add(&test, "daily", DAILY, "json", "").await;
        for day in 0..5 {
            let at_ms = FIRST_MS + day * DAY_MS;
            let (a, b) = (writer(&test, roots[0].path(), "a", at_ms), writer(&test, roots[1].path(), "b", at_ms));
            let (a, b) = tokio::join!(tokio::spawn(async move { a.once().await }), tokio::spawn(async move { b.once().await }));
            assert_eq!(a.unwrap().unwrap() + b.unwrap().unwrap(), 1, "day {day}");
        }
        assert_eq!(files(roots[0].path()).len() + files(roots[1].path()).len(), 5);
        // Whoever saw it due before it was taken gets nothing.
        let mut tx = test.db.begin().await.unwrap();
        let seen = report_schedules::by_name(&mut tx, "daily").await.unwrap().unwrap();
        assert!(report_schedules::take(&mut tx, &seen, seen.next_at_ms + 1, 0, "a").await.unwrap());
        assert!(!report_schedules::take(&mut tx, &seen, seen.next_at_ms + 1, 0, "b").await.unwrap());
        assert_eq!(report_schedules::by_name(&mut tx, "daily").await.unwrap().unwrap().last_error.as_deref(), Some("a"));
    }

    async fn what_goes_wrong_is_kept_with_the_schedule_and_leaves_no_file(test: Test) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("reports");
        std::fs::create_dir(&root).unwrap();
        let outside = place.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let of = |client: &str| format!(r#"{{"report":"causes","period":"1d","client":"{client}"}}"#);
        for (name, report, format, dir, wrong) in [
            ("climbs", DAILY, "csv", "../outside", "not below reports.dir"),
            ("linked", DAILY, "csv", "link", "a link leads out"),
            ("blocked", DAILY, "csv", "file/deep", "cannot write"),
            ("nobody", &of("nobody"), "xlsx", "", "no client of this code"),
            ("unknown", r#"{"report":"moon","period":"1d"}"#, "csv", "", "must be one of"),
            ("garbled", "{", "csv", "", "cannot be read"),
        ] {
            add(&test, name, report, format, dir).await;
            assert_eq!(writer(&test, &root, "a", FIRST_MS).once().await.unwrap(), 0, "{name}");
            let one = stored(&test, name).await;
            let error = one.last_error.unwrap();
            assert!(error.contains(wrong), "{name}: {error}");
            assert_eq!(one.next_at_ms, FIRST_MS + DAY_MS, "{name} is tried again next time, and not before");
        }
        assert_eq!(files(&root), ["file", "link"]);
        assert_eq!(files(&outside), Vec::<String>::new());
        let mut tx = test.db.begin().await.unwrap();
        report_schedules::remove(&mut tx, "climbs").await.unwrap();
        let again = report_schedules::remove(&mut tx, "climbs").await.unwrap_err();
        assert!(matches!(again, Error::NotFound { .. }));
        assert_eq!(report_schedules::list(&mut tx).await.unwrap().len(), 5);
    }
}
