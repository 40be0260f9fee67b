//! Every report of the catalogue on both databases: its own query gives its rows, and what it shows was worked out by hand.

use super::super::{
    batches,
    figures::{Axis, Over},
    repayments,
    sql::Sql,
    users::Scope,
};
use super::{
    DATE, NOW_MS, Test, on_both,
    report_house::{House, house},
};
use crate::{
    clock::{Clock, TestClock, TrustMode},
    export::Cell,
    ids::ClientId,
    stats::{
        caller_id_watch::Watch,
        rebuild,
        report::wilson,
        reports::{self, Asked, COMPUTED, Frame, Name, Report, ReportError},
    },
    store::{Dialect, Tx},
};

/// Everything from the first day on, seen on the tenth of December.
fn asked(name: Name) -> Asked {
    Asked {
        from: match name {
            Name::Recovery => "2026-08-01",
            _ => DATE,
        }
        .parse()
        .unwrap(),
        to: "2026-12-27".parse().unwrap(),
        ..Asked::new(name, None, None, "2026-12-27".parse().unwrap())
    }
}

async fn read(
    tx: &mut Tx,
    house: &House,
    asked: &Asked,
    scope: &Scope,
) -> Result<Report, ReportError> {
    let frame = Frame {
        zone: &house.zone,
        today: "2026-12-10".parse().unwrap(),
        scope,
    };
    reports::read(tx, asked, frame).await
}

/// Runs the report's own queries and compares.
async fn reproduces(tx: &mut Tx, report: &Report) {
    gives(tx, report, &report.sql, &report.rows).await;
    assert_eq!(report.total.is_some(), report.sql_of_total.is_some());
    if let (Some(total), Some(sql)) = (&report.total, &report.sql_of_total) {
        gives(tx, report, sql, std::slice::from_ref(total)).await;
    }
    intervals(report);
}

async fn gives(tx: &mut Tx, report: &Report, query: &str, lines: &[Vec<Cell>]) {
    let what = format!("{:?} {:?}\n{query}", report.name, report.heads);
    // A command line takes what begins with a dash for an option.
    assert!(!query.trim_start().starts_with('-'), "{what}");
    let wanted: Vec<usize> = (0..report.heads.len())
        .filter(|n| !COMPUTED.contains(&report.heads[*n].as_str()))
        .collect();
    let columns: Vec<String> = wanted
        .iter()
        .map(|n| {
            let head = report.heads[*n].replace('"', "\"\"");
            format!("CAST(q.\"{head}\" AS TEXT) AS c{n}")
        })
        .collect();
    let text = format!("SELECT {} FROM (\n{query}\n) AS q", columns.join(", "));
    let sql = Sql {
        act: "run a report's own query",
        text: Box::leak(text.into_boxed_str()),
    };
    let rows = tx
        .fetch_all(&sql, vec![])
        .await
        .unwrap_or_else(|e| panic!("{e}\n{what}"));
    assert_eq!(rows.len(), lines.len(), "{what}");
    for (row, line) in rows.iter().zip(lines) {
        assert_eq!(line.len(), report.heads.len(), "{what}");
        for n in &wanted {
            let name: &'static str = Box::leak(format!("c{n}").into_boxed_str());
            let found: Option<String> = row.get(name).unwrap();
            let cell = &line[*n];
            let number = |text: &Option<String>| text.as_ref().map(|t| t.parse::<f64>().unwrap());
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                (a, b) => a == b,
            };
            let same = match cell {
                Cell::Text(text) => found.as_deref() == Some(text),
                Cell::Int(v) => found.as_deref() == Some(v.to_string().as_str()),
                Cell::Money(e4) => close(number(&found), Some(*e4 as f64 / 10_000.0)),
                Cell::Rate(rate) => close(number(&found), *rate),
                Cell::Empty => found.is_none(),
            };
            assert!(
                same,
                "{}: {cell:?} and {found:?} in {line:?}\n{what}",
                report.heads[*n]
            );
        }
    }
}

fn int(report: &Report, line: &[Cell], head: &str) -> Option<i64> {
    let n = report.heads.iter().position(|h| h == head)?;
    match line[n] {
        Cell::Int(v) => Some(v),
        _ => None,
    }
}

/// The ends of each interval are Wilson's of the sums beside them.
fn intervals(report: &Report) {
    let connected = ["connected", "first_calls", "attempts"];
    let mut seen = 0;
    for (rate, over, of, less) in [
        ("connect_rate", connected[0], connected[1], "lost_ours"),
        ("connect_rate", connected[0], connected[2], "lost_ours"),
        ("raw_rate", "connected", "attempts", ""),
        ("asr", "connected", "seizures", ""),
        ("rpc_rate", "right_party", "connected", ""),
        ("kept_rate", "kept", "promises", ""),
        (
            "before_rate",
            "before_connected",
            "before_attempts",
            "before_lost_ours",
        ),
        (
            "recent_rate",
            "recent_connected",
            "recent_attempts",
            "recent_lost_ours",
        ),
    ] {
        let Some(n) = report.heads.iter().position(|head| head == rate) else {
            continue;
        };
        assert!(report.heads[n + 1].ends_with("low") && report.heads[n + 2].ends_with("high"));
        for line in &report.rows {
            let int = |head| int(report, line, head);
            let (Some(over), Some(of)) = (int(over), int(of)) else {
                continue;
            };
            let wanted = wilson(over, of - int(less).unwrap_or(0));
            let wanted = [
                wanted.map(|r| r.rate),
                wanted.map(|r| r.low),
                wanted.map(|r| r.high),
            ];
            assert_eq!(line[n..n + 3], wanted.map(Cell::Rate), "{rate} of {line:?}");
            seen += 1;
        }
    }
    let rates = ["connect_rate", "kept_rate", "before_rate"];
    let has = report
        .heads
        .iter()
        .any(|head| rates.contains(&head.as_str()));
    assert!(
        seen > 0 || !has || report.rows.is_empty(),
        "{:?}",
        report.heads
    );
}

fn texts(report: &Report, head: &str) -> Vec<String> {
    let n = report.heads.iter().position(|h| h == head).unwrap();
    report.rows.iter().map(|row| row[n].shown()).collect()
}

on_both! {
    async fn each_report_is_reproduced_by_its_own_query(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        for name in Name::ALL {
            for client in [None, Some("o'bank"), Some("Zbank")] {
                if client.is_some() && !name.by_client() {
                    continue;
                }
                let asked = Asked { client: client.map(str::to_owned), ..asked(*name) };
                let report = read(&mut tx, &house, &asked, &Scope::All).await.unwrap();
                assert!(!report.rows.is_empty(), "{name} {client:?}");
                assert!(!report.definitions.is_empty() && report.sql.lines().last().unwrap().starts_with("-- ringfence report"));
                reproduces(&mut tx, &report).await;
                // A day without anything is a report without lines, and its query says the same.
                let empty = Asked { from: "2025-03-01".parse().unwrap(), to: "2025-03-10".parse().unwrap(), ..asked };
                let empty = read(&mut tx, &house, &empty, &Scope::All).await.unwrap();
                assert_eq!(empty.rows, Vec::<Vec<Cell>>::new(), "{name}");
                reproduces(&mut tx, &empty).await;
            }
        }
        let graced = Asked { grace_days: Some(3), ..asked(Name::Promises) };
        let graced = read(&mut tx, &house, &graced, &Scope::All).await.unwrap();
        reproduces(&mut tx, &graced).await;
    }

    async fn any_one_or_two_axes_make_a_report_that_adds_up(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let mut totals = std::collections::HashSet::new();
        for by in Axis::ALL {
            for and in std::iter::once(None).chain(Axis::ALL.iter().copied().map(Some)) {
                for client in [None, Some("Zbank".to_owned())] {
                    let asked = Asked { by: Some(*by), and, client, ..asked(Name::ConnectRate) };
                    if and == Some(*by) {
                        let refused = read(&mut tx, &house, &asked, &Scope::All).await.unwrap_err();
                        assert!(matches!(&refused, ReportError::Unfit(why) if why.contains("same")), "{refused}");
                        continue;
                    }
                    let report = read(&mut tx, &house, &asked, &Scope::All).await.unwrap();
                    let total = report.total.clone().unwrap();
                    totals.insert((asked.client.is_some(), int(&report, &total, "attempts"), int(&report, &total, "talk_ms")));
                    reproduces(&mut tx, &report).await;
                }
            }
        }
        assert_eq!(totals.len(), 2, "one total for all, one for the client: {totals:?}");
        assert!(totals.iter().any(|(client, attempts, _)| !client && *attempts == Some(1_400)));
    }

    async fn any_two_axes_are_shown_over_days_weeks_and_months(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let mut totals = std::collections::HashSet::new();
        let pairs = [
            (None, None),
            (Some(Axis::Hour), None),
            (Some(Axis::Agent), None),
            (Some(Axis::Batch), None),
            (Some(Axis::Client), Some(Axis::Cause)),
            (Some(Axis::Agent), Some(Axis::Batch)),
            (Some(Axis::CallerId), Some(Axis::Hour)),
            (Some(Axis::Month), Some(Axis::Bucket)),
        ];
        for over in Over::ALL {
            for (by, and) in pairs {
                for client in [None, Some("Zbank".to_owned())] {
                    let asked = Asked { by, and, over: Some(*over), client, ..asked(Name::ConnectRate) };
                    if *over == Over::Month && by == Some(Axis::Month) {
                        let refused = read(&mut tx, &house, &asked, &Scope::All).await.unwrap_err();
                        assert!(matches!(&refused, ReportError::Unfit(why) if why.contains("same")), "{refused}");
                        continue;
                    }
                    let report = read(&mut tx, &house, &asked, &Scope::All).await.unwrap();
                    let columns = usize::from(by.is_some()) + usize::from(and.is_some());
                    assert_eq!(report.heads[columns], over.as_str());
                    totals.insert((asked.client.is_some(), int(&report, report.total.as_ref().unwrap(), "attempts")));
                    reproduces(&mut tx, &report).await;
                }
            }
        }
        assert_eq!(totals.len(), 2, "one total for all, one for the client: {totals:?}");
        // Five whole weeks from Monday, 23 November on.
        let weeks = Asked { by: Some(Axis::Week), ..asked(Name::ConnectRate) };
        let weeks = read(&mut tx, &house, &weeks, &Scope::All).await.unwrap();
        assert_eq!(texts(&weeks, "week"), ["2026-11-23", "2026-11-30", "2026-12-07", "2026-12-14", "2026-12-21"]);
        assert_eq!(texts(&weeks, "attempts"), ["280"; 5]);
        let months = Asked { by: Some(Axis::Month), ..asked(Name::ConnectRate) };
        let months = read(&mut tx, &house, &months, &Scope::All).await.unwrap();
        assert_eq!((texts(&months, "month"), texts(&months, "attempts")), (vec!["2026-11".into(), "2026-12".into()], vec!["320".to_owned(), "1080".to_owned()]));
        let elsewhere = Asked { over: Some(Over::Week), ..asked(Name::Causes) };
        let refused = read(&mut tx, &house, &elsewhere, &Scope::All).await.unwrap_err();
        assert!(refused.to_string().contains("connect-rate"), "{refused}");
    }

    async fn what_is_limited_to_a_client_reads_its_roll_up_and_not_the_attempts(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        // Roll-ups ten times as large as the attempts: who adds up the attempts does not see it.
        for table in ["rollup_client_days", "rollup_days"] {
            let text = format!("UPDATE {table} SET attempts = attempts * 10");
            tx.execute(&Sql { act: "tell the roll-ups apart", text: Box::leak(text.into_boxed_str()) }, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let mut all = std::collections::HashSet::new();
        for axis in Axis::ALL {
            let report = Asked { by: Some(*axis), client: Some("Zbank".into()), ..asked(Name::ConnectRate) };
            let report = read(&mut tx, &house, &report, &Scope::All).await.unwrap();
            if *axis != Axis::Hour {
                all.insert(int(&report, report.total.as_ref().unwrap(), "attempts").unwrap());
            }
        }
        let sum = |report: &Report, heads: &[&str]| -> i64 {
            report.rows.iter().flat_map(|row| heads.iter().map(move |head| int(report, row, head).unwrap())).sum()
        };
        for (name, heads) in [(Name::Causes, ["attempts"].as_slice()), (Name::CallerIds, &["before_attempts", "recent_attempts"])] {
            let report = Asked { client: Some("Zbank".into()), ..asked(name) };
            let report = read(&mut tx, &house, &report, &Scope::All).await.unwrap();
            all.insert(sum(&report, heads));
        }
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all.iter().all(|attempts| attempts % 10 == 0 && *attempts > 4_000), "{all:?}");
    }

    async fn what_reports_show_is_what_was_worked_out_by_hand(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let mut report = async |name| read(&mut tx, &house, &asked(name), &Scope::All).await.unwrap();
        let causes = report(Name::Causes).await;
        let faults = texts(&causes, "fault_of");
        assert!(faults.is_sorted() && ["callee", "caller", "ours", "trunk"].iter().all(|f| faults.contains(&(*f).to_owned())));
        let ids = report(Name::CallerIds).await;
        assert_eq!(texts(&ids, "caller_id"), ["+8610111", "+8610222"]);
        assert_eq!(texts(&ids, "health"), ["steady", "falling"]);
        assert!(ids.notes[0].starts_with("1 caller IDs are falling"));
        let first = report(Name::FirstCalls).await;
        assert_eq!(texts(&first, "first_calls"), ["4", "4", "4"]);
        assert_eq!(texts(&first, "batch"), ["Zbank/2026-11", "abank/2026-11", "o'bank/2026-11"]);
        let sheet = report(Name::DaySheet).await;
        assert_eq!(sheet.heads[14..], ["break_without_reason", "break: it's \"lunch\"", "break: training"]);
        let (came, midnight) = (NOW_MS, NOW_MS + 14 * 3_600_000);
        // Agent b7: each step of the first day lasts 7,000 s; the ninth begins at 01:33:20 on the next day.
        let line = &sheet.rows[texts(&sheet, "agent").iter().position(|code| code == "b7").unwrap()];
        let shown: Vec<String> = line.iter().map(Cell::shown).collect();
        assert_eq!(shown, [
            DATE, "b7", "10:00:00", "24:00:00", "50400000", "14000000", "7000000", "8400000", "7000000", "14000000", "0.6154", "1",
            &came.to_string(), &midnight.to_string(), "7000000", "7000000", "0",
        ]);
        // What reaches over midnight ends on the next day, 63,000 s after it began.
        let line = &sheet.rows[texts(&sheet, "agent").iter().rposition(|code| code == "b7").unwrap()];
        let shown: Vec<String> = line.iter().map(Cell::shown).collect();
        assert_eq!(shown[..4], ["2026-11-24", "b7", "00:00:00", "03:30:00"]);
        let refusals = report(Name::Refusals).await;
        assert_eq!(texts(&refusals, "refusals").iter().map(|n| n.parse::<i64>().unwrap()).sum::<i64>(), 12);
        let heat = report(Name::HeatMap).await;
        assert_eq!((heat.rows.len(), texts(&heat, "weekday")[0].as_str(), texts(&heat, "hour")[4].as_str()), (35, "1", "20"));
        let teams = report(Name::Teams).await;
        assert_eq!(texts(&teams, "team"), ["", "north", "south"]);
        assert_eq!(texts(&teams, "agents"), ["1", "2", "1"]);
    }

    async fn the_watch_tells_of_a_falling_caller_id_once(test: Test) {
        let house = house(&test).await;
        // Of the second number fewer are answered in the last of the 35 days.
        let day = |n: i32| DATE.parse::<jiff::civil::Date>().unwrap().checked_add(jiff::Span::new().days(n)).unwrap();
        let mut watch = Watch::default();
        let mut look = async |n| {
            let found = watch.look(&test.db, day(n), &house.zone).await.unwrap();
            found.map(|found| (found.falling, found.new, found.until.to_string()))
        };
        assert_eq!(look(20).await, Some((0, 0, "2026-12-12".into())));
        assert_eq!(look(34).await, Some((1, 1, "2026-12-26".into())));
        assert_eq!(look(34).await, None, "it is judged once a day");
        assert_eq!(look(35).await, Some((1, 0, "2026-12-27".into())), "it was told already");
    }

    async fn promises_are_kept_within_their_days_and_days_of_grace(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let mut kept = async |grace_days, to: &str| {
            let asked = Asked { grace_days, to: to.parse().unwrap(), client: Some("Zbank".into()), ..asked(Name::Promises) };
            let report = read(&mut tx, &house, &asked, &Scope::All).await.unwrap();
            let sum = |head| texts(&report, head).iter().map(|n| n.parse::<i64>().unwrap()).sum::<i64>();
            (sum("promises"), sum("kept"))
        };
        // Zbank's cases are the second, fifth, eighth and eleventh. On 29 November the amounts 40,000, 250,000, 300,000 and
        // 610,000 ten-thousandths came in, against 600,000, 300,000, 600,000 and 300,000 promised: only the last was kept.
        let by_hand = kept(None, "2026-11-29").await;
        assert_eq!(by_hand.0, 4);
        // With three days of grace the thirtieth and the second of December count too.
        let graced = kept(Some(3), "2026-11-29").await;
        assert!(graced.0 == 4 && graced.1 > by_hand.1, "{by_hand:?} {graced:?}");
        // What is promised for a day that is not over is not judged, nor with grace what its grace still covers.
        assert_eq!(kept(None, "2026-12-27").await.0, 8);
        assert_eq!(kept(Some(8), "2026-12-27").await.0, 8);
        assert_eq!(kept(Some(9), "2026-12-27").await.0, 4);
    }

    async fn recovery_counts_what_came_back_within_the_cycle_and_leaves_deducted_cases_out(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let report = read(&mut tx, &house, &asked(Name::Recovery), &Scope::All).await.unwrap();
        let line = |report: &Report, client: &str, bucket: &str| {
            let n = report.rows.iter().position(|row| row[0] == Cell::Text(client.into()) && row[2] == Cell::Text(bucket.into()));
            report.rows[n.unwrap()][4..].iter().map(Cell::shown).collect::<Vec<_>>()
        };
        // The first client placed on 31 August: to 29 November counts, the thirtieth is the first day after the cycle.
        // Case 0 is deceased's: deducted, with what came back.
        assert_eq!(line(&report, "o'bank", "to_90"), ["1", "0", "100.00", "1", "100.00", "0.00", "", "0.8500", "0.6000", "", ""]);
        // Case 9: 100,001 and 250,000 of 1,090,000, 32.1 %: reduced, and the contract says no reduced fee.
        assert_eq!(line(&report, "o'bank", "to_180"), ["1", "0", "109.00", "0", "0.00", "35.0001", "0.3211", "0.6500", "0.3000", "reduced", ""]);
        // Case 6: its bar was lifted; 610,000 and 40,000 of 1,060,000, 61.3 %: the base rate of above_360 is reached.
        assert_eq!(line(&report, "o'bank", "above_360"), ["1", "0", "106.00", "0", "0.00", "65.00", "0.6132", "0.4000", "0.0500", "full", "18.525"]);
        // The second client's cycle still runs. Case 4: 610,000 and 40,000 of 1,040,000, 62.5 %: 13.33 % of that is the fee.
        assert_eq!(line(&report, "Zbank", "to_90"), ["1", "1", "104.00", "0", "0.00", "65.00", "0.6250", "0.8500", "0.6000", "reduced", "8.6645"]);
        // Case 1: dead for its own client; case 9 above is one of another client's.
        assert_eq!(line(&report, "Zbank", "to_180")[3..7], ["1", "101.00", "0.00", ""]);
        // The third has no contract.
        assert!(report.rows.iter().any(|row| row[0] == Cell::Text("abank".into()) && row[11] == Cell::Rate(None)));
        tx.rollback().await.unwrap();
        // The first client corrects the day: the cycle is another, and case 6 got 40,000, 300,000 and 100,001 in it.
        let mut tx = test.db.begin().await.unwrap();
        let lot = batches::of_client(&mut tx, house.targets[0].client).await.unwrap()[0];
        batches::place(&mut tx, lot, jiff::civil::date(2026, 9, 30)).await.unwrap();
        for (stored, recounted) in repayments::recounted(&mut tx, 0, 100).await.unwrap() {
            assert_eq!(stored, recounted);
        }
        let report = read(&mut tx, &house, &asked(Name::Recovery), &Scope::All).await.unwrap();
        let corrected = ["1", "1", "106.00", "0", "0.00", "44.0001", "0.4151", "0.4000", "0.0500", "full", "12.54"];
        assert_eq!(line(&report, "o'bank", "above_360"), corrected);
        tx.commit().await.unwrap();
        // A batch whose cycle an older daemon did not keep is found, and made anew with what came back.
        let mut tx = test.db.begin().await.unwrap();
        for text in ["UPDATE batches SET cycle_end_on = NULL WHERE placed_on = '2026-09-30'", "UPDATE cases SET cycle_repaid_e4 = 0"] {
            tx.execute(&Sql { act: "forget", text }, vec![]).await.unwrap();
        }
        let wrong = batches::wrong_cycles(&mut tx).await.unwrap();
        let wrong: Vec<_> = wrong.iter().map(|w| (w.id, w.stored.as_deref(), w.reckoned.as_str())).collect();
        assert_eq!(wrong, [(lot, None, "2026-12-30")]);
        tx.commit().await.unwrap();
        let clock = Clock::test(TestClock::standing(NOW_MS), TrustMode::Host);
        rebuild::rebuild_repaid(&test.db, "test", &clock).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let report = read(&mut tx, &house, &asked(Name::Recovery), &Scope::All).await.unwrap();
        assert_eq!(line(&report, "o'bank", "above_360"), corrected);
    }

    async fn an_update_of_the_schema_keeps_the_sums_that_were_not_kept_before(test: Test) {
        house(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let kept = async |tx: &mut Tx| {
            let mut kept = Vec::new();
            for text in [
                "SELECT COALESCE(cycle_end_on, '') AS kept FROM batches ORDER BY id",
                "SELECT CAST(cycle_repaid_e4 AS TEXT) AS kept FROM cases ORDER BY id",
                "SELECT COALESCE(promise_currency, '') AS kept FROM notes ORDER BY id",
            ] {
                let rows = tx.fetch_all(&Sql { act: "read what is kept", text }, vec![]).await.unwrap();
                kept.push(rows.iter().map(|row| row.get::<String>("kept").unwrap()).collect::<Vec<_>>());
            }
            kept
        };
        let before = kept(&mut tx).await;
        assert!(before[0].contains(&"2026-11-30".to_owned()) && before[0].contains(&"2027-02-28".to_owned()), "{before:?}");
        for text in [
            "UPDATE batches SET cycle_end_on = NULL",
            "UPDATE cases SET cycle_repaid_e4 = 0",
            "UPDATE notes SET promise_currency = NULL",
        ] {
            tx.execute(&Sql { act: "forget", text }, vec![]).await.unwrap();
        }
        assert_ne!(kept(&mut tx).await, before);
        let migration = match tx.dialect() {
            Dialect::Sqlite => include_str!("../../../migrations/sqlite/0011_kept_sums.sql"),
            Dialect::Postgres => include_str!("../../../migrations/postgres/0011_kept_sums.sql"),
        };
        let updates: Vec<&str> = migration.match_indices("\nUPDATE ").map(|(n, _)| migration[n..].split(';').next().unwrap()).collect();
        assert_eq!(updates.len(), 3);
        for text in updates {
            tx.execute(&Sql { act: "migrate", text }, vec![]).await.unwrap();
        }
        assert_eq!(kept(&mut tx).await, before);
    }

    async fn an_account_of_some_clients_gets_their_reports_and_no_others(test: Test) {
        let house = house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        let ids: Vec<ClientId> = house.targets.iter().take(2).map(|t| t.client).collect();
        let one = Scope::Clients(vec![ids[0]]);
        let report = read(&mut tx, &house, &Asked { by: Some(Axis::Client), ..asked(Name::ConnectRate) }, &one).await.unwrap();
        assert_eq!((texts(&report, "client"), report.client.as_deref()), (vec!["o'bank".to_owned()], Some("o'bank")));
        let two = Scope::Clients(ids);
        let unnamed = read(&mut tx, &house, &asked(Name::Causes), &two).await.unwrap_err();
        assert!(matches!(unnamed, ReportError::Forbidden(_)) && unnamed.to_string().contains("name one of yours"), "{unnamed}");
        let of = |client: &str| Asked { client: Some(client.into()), ..asked(Name::Causes) };
        assert!(read(&mut tx, &house, &of("Zbank"), &two).await.is_ok());
        for (asked, scope) in [(of("abank"), &two), (of("nobank"), &two), (of("nobank"), &Scope::All)] {
            let unknown = read(&mut tx, &house, &asked, scope).await.unwrap_err();
            assert!(matches!(unknown, ReportError::Unfit(_)) && unknown.to_string().contains("not for this account"), "{unknown}");
        }
        for name in [Name::DaySheet, Name::Teams] {
            let refused = read(&mut tx, &house, &asked(name), &one).await.unwrap_err();
            assert!(matches!(refused, ReportError::Forbidden(_)) && refused.to_string().contains("sees all clients"), "{refused}");
            let unfit = read(&mut tx, &house, &Asked { client: Some("Zbank".into()), ..asked(name) }, &Scope::All).await.unwrap_err();
            assert!(matches!(unfit, ReportError::Unfit(_)), "{unfit}");
        }
        for (asked, said) in [
            (Asked { to: "2026-11-01".parse().unwrap(), ..asked(Name::Causes) }, "is before"),
            (Asked { from: "2020-01-01".parse().unwrap(), ..asked(Name::Causes) }, "too long"),
            (Asked { by: Some(Axis::Day), ..asked(Name::Teams) }, "connect-rate"),
            (Asked { over: Some(Over::Day), ..asked(Name::HeatMap) }, "connect-rate"),
            (Asked { grace_days: Some(1), ..asked(Name::Teams) }, "for promises"),
            (Asked { grace_days: Some(91), ..asked(Name::Promises) }, "at most 90"),
            (Asked { from: "2026-12-21".parse().unwrap(), ..asked(Name::CallerIds) }, "more than 7"),
        ] {
            let unfit = read(&mut tx, &house, &asked, &Scope::All).await.unwrap_err();
            assert!(unfit.to_string().contains(said), "{unfit}");
        }
    }
}
