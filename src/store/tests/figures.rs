//! Figures of days that were worked out by hand: their roll-ups, recount, seal, rebuild, and what the views say. What any
//! history adds up to is in `histories`.

use std::time::Duration;

use super::super::{
    Dialect, Error, Location, agent_days, attempts, attempts::Closing, claims, corrections, events,
    figures, receipts, sealed_days, sql::Sql,
};
use super::{DATE, Floor, NODE, NOW_MS, Test, attempt, call_id, floor, histories::clock, on_both};
use crate::{
    call::{Cause, Party},
    clock::{Clock, TestClock, TrustMode},
    stats::{
        check, keeper, rebuild, report,
        rollup::{Dimension, Sums},
        seal::{self, Sealing},
    },
};

fn end(cause: Cause, seized: i64, rang: Option<i64>, answered: Option<i64>, ended: i64) -> Closing {
    Closing {
        cause,
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: Some(NOW_MS + seized),
        rang_at_ms: rang.map(|t| NOW_MS + t),
        answered_at_ms: answered.map(|t| NOW_MS + t),
        ended_at_ms: NOW_MS + ended,
        overrun_ms: 0,
    }
}

/// Ten attempts whose figures were worked out by hand.
async fn a_morning(test: &Test) -> Floor {
    let floor = floor(&test.db, 2).await;
    let ends = [
        end(Cause::Answered, 1_000, Some(3_000), Some(10_000), 70_000),
        end(Cause::Answered, 1_000, Some(2_000), Some(6_000), 16_000),
        end(Cause::Answered, 1_000, None, Some(5_000), 25_000),
        end(Cause::NoAnswer, 1_000, Some(4_000), None, 34_000),
        end(Cause::Busy, 1_000, None, None, 2_000),
        end(Cause::Rejected, 1_000, Some(2_000), None, 5_000),
        end(Cause::UnknownNumber, 1_000, None, None, 2_000),
        end(Cause::TrunkDown, 1_000, None, None, 9_000),
        Closing {
            seized_at_ms: None,
            ..end(Cause::AgentNoAnswer, 0, None, None, 30_000)
        },
        Closing {
            seized_at_ms: None,
            ..end(Cause::RecordingUnavailable, 0, None, None, 4_000)
        },
    ];
    let mut tx = test.db.begin().await.unwrap();
    for (n, end) in (0..).zip(&ends) {
        let hour = if n < 5 { 9 } else { 10 };
        let target = &floor.targets[(n % 2) as usize];
        attempt(
            &mut tx,
            call_id(n),
            target,
            floor.agent,
            DATE,
            hour,
            NOW_MS,
            NODE,
        )
        .await;
        attempts::close(&mut tx, call_id(n), end).await.unwrap();
    }
    tx.commit().await.unwrap();
    floor
}

on_both! {
    async fn the_figures_of_a_morning_are_those_worked_out_by_hand(test: Test) {
        a_morning(&test).await;
        let day = DATE.parse().unwrap();
        let mut tx = test.db.read().await.unwrap();
        let by_hour = report::connect_rate(&mut tx, figures::Axis::Hour, day, day).await.unwrap();
        let total = Sums {
            attempts: 10,
            lost_ours: 1,
            seizures: 8,
            connected: 3,
            effective: 6,
            right_party: 0,
            talk_ms: 60_000 + 10_000 + 20_000,
            rung: 4,
            pdd_ms: 2_000 + 1_000 + 3_000 + 1_000,
            ring_ms: 7_000 + 4_000 + 30_000 + 3_000,
        };
        assert_eq!(by_hour.total, total);
        assert_eq!(by_hour.lines.iter().map(|l| (l.label.as_str(), l.sums.attempts)).collect::<Vec<_>>(), [("9", 5), ("10", 5)]);
        assert_eq!(total.connect_rate().unwrap().rate, 3.0 / 9.0);
        assert_eq!(total.raw_rate().unwrap().rate, 0.3);
        assert_eq!(total.asr().unwrap().rate, 3.0 / 8.0);
        assert_eq!(total.ner().unwrap().rate, 6.0 / 8.0);
        for by in figures::Axis::ALL {
            let report = report::connect_rate(&mut tx, *by, day, day).await.unwrap();
            assert_eq!(report.total, total, "{by}");
            let tomorrow = day.tomorrow().unwrap();
            assert_eq!(report::connect_rate(&mut tx, *by, tomorrow, tomorrow).await.unwrap().lines, [], "{by}");
        }
        let by_agent = report::connect_rate(&mut tx, figures::Axis::Agent, day, day).await.unwrap();
        assert_eq!(by_agent.lines[0].label, "A1");
        let by_client = report::connect_rate(&mut tx, figures::Axis::Client, day, day).await.unwrap();
        assert_eq!(by_client.lines[0].label, "bank");
    }

    async fn the_recount_lists_every_planted_difference(test: Test) {
        a_morning(&test).await;
        let clean = check::recount(&test.db).await.unwrap();
        assert_eq!((clean.days, clean.attempts, clean.differences.len()), (1, 10, 0));
        assert!(clean.rows > 20);
        let planted = [
            "UPDATE rollup_days SET connected = connected + 1 WHERE dimension = 'all'",
            "UPDATE rollup_hours SET talk_ms = talk_ms - 1 WHERE dimension = 'agent' AND local_hour = 9",
            "DELETE FROM rollup_hours WHERE dimension = 'cause' AND value = 'busy'",
            "INSERT INTO rollup_days SELECT 'trunk', 'ghost', local_date, attempts, lost_ours, seizures, connected, effective,
                 right_party, talk_ms, rung, pdd_ms, ring_ms FROM rollup_days WHERE dimension = 'all'",
            "UPDATE rollup_client_days SET ring_ms = ring_ms + 1 WHERE dimension = 'cause' AND value = 'busy'",
            "UPDATE attempts SET ended_at_ms = ended_at_ms + 1 WHERE id = (SELECT MIN(id) FROM attempts)",
        ];
        let mut before = 0;
        for text in planted {
            let mut tx = test.db.begin().await.unwrap();
            assert_eq!(tx.execute(&Sql { act: "plant a fault", text }, vec![]).await.unwrap(), 1, "{text}");
            tx.commit().await.unwrap();
            let found = check::recount(&test.db).await.unwrap().differences.len();
            assert!(found > before, "{text}");
            before = found;
        }
    }

    async fn an_upgrade_adds_up_each_clients_days_from_the_attempts_there_are(test: Test) {
        a_morning(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let migration = match tx.dialect() {
            Dialect::Sqlite => include_str!("../../../migrations/sqlite/0010_figures_of_clients.sql"),
            Dialect::Postgres => include_str!("../../../migrations/postgres/0010_figures_of_clients.sql"),
        };
        let (_, filling) = migration.split_once("CREATE INDEX rollup_client_days_day").unwrap();
        let filling: Vec<_> = filling.split_inclusive(';').filter(|part| part.contains("calls_of_clients")).collect();
        let sums = filling.iter().filter(|part| part.contains("INSERT INTO"));
        assert_eq!(sums.count(), 9, "a statement for each dimension");
        let empty = Sql { act: "as before the upgrade", text: "DELETE FROM rollup_client_days" };
        assert!(tx.execute(&empty, vec![]).await.unwrap() > 9);
        for text in filling {
            tx.execute(&Sql { act: "upgrade", text }, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(check::recount(&test.db).await.unwrap().differences, []);
    }

    async fn tests_of_the_installation_are_in_no_figure(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        attempt(&mut tx, call_id(1), &floor.targets[0], floor.agent, DATE, 9, NOW_MS, NODE).await;
        let test_call = Sql { act: "make it a test call", text: "UPDATE attempts SET purpose = 'test'" };
        tx.execute(&test_call, vec![]).await.unwrap();
        attempts::close(&mut tx, call_id(1), &end(Cause::Answered, 1, None, Some(2), 9)).await.unwrap();
        tx.commit().await.unwrap();
        let found = check::recount(&test.db).await.unwrap();
        assert_eq!((found.attempts, found.rows, found.differences.len()), (0, 0, 0));
    }

    async fn a_day_is_sealed_once_and_what_is_said_afterwards_is_a_dated_correction(test: Test) {
        a_morning(&test).await;
        let due = |now_ms| seal::due(&test.db, now_ms, Duration::from_secs(12 * 3600));
        let over = seal::over_ms(DATE.parse().unwrap()).unwrap();
        assert_eq!(due(over + 12 * 3_600_000 - 1).await.unwrap(), Vec::<String>::new());
        assert_eq!(due(over + 12 * 3_600_000).await.unwrap(), [DATE]);
        let Sealing::Sealed(day) = seal::seal(&test.db, DATE, over).await.unwrap() else { panic!("not sealed") };
        assert_eq!((day.attempts, day.sha256.len()), (10, 64));
        assert_eq!(seal::seal(&test.db, DATE, over + 1).await.unwrap(), Sealing::Before);
        assert_eq!(due(i64::MAX).await.unwrap(), Vec::<String>::new());

        let before = sealed_days::list(&mut test.db.read().await.unwrap(), DATE, DATE).await.unwrap();
        let say = async |code: &str, right_party| {
            let mut tx = test.db.begin().await.unwrap();
            attempts::set_disposition(&mut tx, call_id(0), code, right_party, "lead", over + 5).await.unwrap();
            tx.commit().await.unwrap();
        };
        say("promise_to_pay", true).await;
        say("promise_to_pay", true).await;
        let mut tx = test.db.read().await.unwrap();
        let made = corrections::list(&mut tx, DATE, DATE).await.unwrap();
        assert_eq!(made.len(), 1, "the same said again corrects nothing");
        assert_eq!((made[0].actor.as_str(), made[0].made_at_ms), ("lead", over + 5));
        assert_eq!(made[0].before.as_ref().unwrap().disposition, "");
        assert_eq!(made[0].after.as_ref().unwrap().disposition, "promise_to_pay");
        let report = report::connect_rate(&mut tx, figures::Axis::Disposition, DATE.parse().unwrap(), DATE.parse().unwrap()).await.unwrap();
        assert_eq!((report.corrections, report.total.right_party), (1, 1));
        assert_eq!(report.lines[1].label, "promise_to_pay");
        assert_eq!(sealed_days::list(&mut tx, DATE, DATE).await.unwrap(), before, "a seal never changes");
        tx.rollback().await.unwrap();
        let found = check::recount(&test.db).await.unwrap();
        assert_eq!((found.sealed, found.corrections, found.broken_seals.len(), found.differences.len()), (1, 1, 0, 0));

        // Past ringfence, and made to agree: the seal tells.
        let mut tx = test.db.begin().await.unwrap();
        let forge = Sql { act: "forge", text: "UPDATE attempts SET answered_at_ms = answered_at_ms - 1 WHERE cause = 'answered'" };
        tx.execute(&forge, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        rebuild::rebuild(&test.db, DATE, DATE, "forger", &clock(), |_, _| ()).await.unwrap();
        let found = check::recount(&test.db).await.unwrap();
        assert_eq!((found.differences.len(), found.broken_seals), (0, vec![DATE.to_owned()]));
    }

    async fn what_is_said_while_a_day_is_being_sealed_is_under_the_seal_or_a_correction(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        for n in 0..40 {
            attempt(&mut tx, call_id(n), &floor.targets[0], floor.agent, DATE, 9, NOW_MS, NODE).await;
            attempts::close(&mut tx, call_id(n), &end(Cause::Answered, 1, None, Some(2), 9)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut said = tokio::task::JoinSet::new();
        for n in 0..40 {
            let db = test.db.clone();
            said.spawn(async move {
                let mut tx = db.begin().await.unwrap();
                // Half of them change no count of the day, only where one stands.
                let code = ["promise_to_pay", "deceased"][n as usize % 2];
                attempts::set_disposition(&mut tx, call_id(n), code, n % 2 == 0, "A1", NOW_MS).await.unwrap();
                tx.commit().await.unwrap();
            });
        }
        let sealing = async {
            loop {
                match seal::seal(&test.db, DATE, NOW_MS).await.unwrap() {
                    Sealing::Busy => continue,
                    other => return other,
                }
            }
        };
        let (sealed, _) = tokio::join!(sealing, said.join_all());
        assert!(matches!(sealed, Sealing::Sealed(_)), "{sealed:?}");
        let found = check::recount(&test.db).await.unwrap();
        assert_eq!((found.differences.len(), found.broken_seals.len(), found.sealed), (0, 0, 1));
    }

    async fn figures_that_do_not_agree_are_not_sealed_and_only_one_node_seals(test: Test) {
        a_morning(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let damage = Sql { act: "damage", text: "UPDATE rollup_days SET connected = 0 WHERE dimension = 'all'" };
        tx.execute(&damage, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        let late = NOW_MS + 3 * 86_400_000;
        let clock = Clock::test(TestClock::standing(late), TrustMode::Host);
        assert_eq!(seal::seal(&test.db, DATE, late).await.unwrap(), Sealing::Differs(1));
        assert_eq!(keeper::seal_due(&test.db, &clock, "node-a", Duration::ZERO).await.unwrap(), 0);
        rebuild::rebuild(&test.db, DATE, DATE, "test", &clock, |_, _| ()).await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        assert!(claims::take(&mut tx, "seal", "node-b", late + 1_000, late).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(keeper::seal_due(&test.db, &clock, "node-a", Duration::ZERO).await.unwrap(), 0, "node-b is at it");
        let later = Clock::test(TestClock::standing(late + 1_000), TrustMode::Host);
        assert_eq!(keeper::seal_due(&test.db, &later, "node-a", Duration::ZERO).await.unwrap(), 1, "node-b died over it");
        assert_eq!(keeper::seal_due(&test.db, &later, "node-b", Duration::ZERO).await.unwrap(), 0);
    }

    async fn two_rebuilds_never_add_the_same_twice(test: Test) {
        a_morning(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        assert!(claims::take(&mut tx, "rebuild", "other", NOW_MS + 1, NOW_MS).await.unwrap());
        tx.commit().await.unwrap();
        let error = rebuild::rebuild(&test.db, DATE, DATE, "me", &clock(), |_, _| ()).await.unwrap_err();
        assert!(error.to_string().contains("another rebuild"), "{error}");
        let later = Clock::test(TestClock::standing(NOW_MS + 1), TrustMode::Host);
        let done = rebuild::rebuild(&test.db, DATE, DATE, "me", &later, |_, _| ()).await.unwrap();
        assert_eq!((done.days, done.changed_days, done.rows), (1, 0, 0));
    }

    async fn a_group_of_closings_tells_each_its_own_and_a_bad_one_fails_nobody_else(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        for n in 0..100 {
            attempt(&mut tx, call_id(n), &floor.targets[0], floor.agent, DATE, 9, NOW_MS, NODE).await;
        }
        tx.commit().await.unwrap();
        // The database refuses one end, and with it the whole group it is in.
        let trap = match test.options.location {
            Location::Sqlite(_) => {
                "CREATE TRIGGER trap BEFORE UPDATE ON attempts WHEN NEW.overrun_ms = 77
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            }
            Location::Postgres(_) => "ALTER TABLE attempts ADD CONSTRAINT trap CHECK (overrun_ms <> 77)",
        };
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(&Sql { act: "set a trap", text: trap }, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        let mut closings = tokio::task::JoinSet::new();
        for n in 0..102 {
            let db = test.db.clone();
            let mut closing = end(Cause::Answered, 1_000, None, Some(2_000), 3_000);
            closing.overrun_ms = if n == 7 { 77 } else { 0 };
            // Number 100 does not exist, and number 101 is number 0 again.
            let call = call_id(if n == 101 { 0 } else { n });
            closings.spawn(async move { (n, db.close_attempt(call, &closing).await) });
        }
        let mut answers = closings.join_all().await;
        answers.sort_by_key(|(n, _)| *n);
        for (n, answer) in &answers {
            match n {
                7 => assert!(answer.as_ref().is_err_and(|e| !e.is_unavailable()), "{answer:?}"),
                100 => assert!(matches!(answer, Err(Error::NotFound { .. })), "{answer:?}"),
                0 | 101 => assert!(answer.is_ok(), "{answer:?}"),
                _ => assert_eq!(answer, &Ok(true), "{n}"),
            }
        }
        let twice = [0, 101].map(|n: usize| answers[n].1.clone().unwrap());
        assert!(twice[0] != twice[1], "exactly one of the two ended it");
        let found = check::recount(&test.db).await.unwrap();
        assert_eq!((found.attempts, found.differences.len()), (99, 0));
        let mut tx = test.db.read().await.unwrap();
        let events = events::after(&mut tx, 0, 1_000).await.unwrap();
        assert_eq!(events.len(), 99, "one event an end");
    }

    async fn the_first_attempt_at_a_case_is_its_first_call(test: Test) {
        let floor = floor(&test.db, 2).await;
        let mut tx = test.db.begin().await.unwrap();
        for (n, target) in [(0, 0), (1, 0), (2, 1)] {
            attempt(&mut tx, call_id(n), &floor.targets[target], floor.agent, DATE, 9, NOW_MS, NODE).await;
            attempts::set_disposition(&mut tx, call_id(n), ["deceased", "promise_to_pay", ""][n as usize], false, "A1", NOW_MS)
                .await
                .unwrap();
            attempts::close(&mut tx, call_id(n), &end(Cause::Answered, 1, None, Some(2), 9)).await.unwrap();
        }
        let first = figures::first_calls(&mut tx, DATE, DATE).await.unwrap();
        let batch = floor.targets[0].batch.get();
        let shown: Vec<_> = first.iter().map(|(b, d, s)| (*b, d.as_str(), s.attempts, s.connected)).collect();
        assert_eq!(shown, [(batch, "", 1, 1), (batch, "deceased", 1, 1)]);
    }

    async fn an_attempt_takes_team_bucket_and_type_of_number_from_the_moment_it_is_dialled(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        for text in [
            "INSERT INTO teams (id, code, name, created_at_ms) VALUES (5, 'north', 'North', 0)",
            "UPDATE agents SET team_id = 5",
            "UPDATE cases SET bucket = 'to_90'",
        ] {
            tx.execute(&Sql { act: "set up", text }, vec![]).await.unwrap();
        }
        attempt(&mut tx, call_id(0), &floor.targets[0], floor.agent, DATE, 9, NOW_MS, NODE).await;
        tx.execute(&Sql { act: "move on", text: "UPDATE agents SET team_id = NULL" }, vec![]).await.unwrap();
        tx.execute(&Sql { act: "move on", text: "UPDATE cases SET bucket = 'to_180'" }, vec![]).await.unwrap();
        attempts::close(&mut tx, call_id(0), &end(Cause::Busy, 1, None, None, 9)).await.unwrap();
        tx.commit().await.unwrap();
        let day = DATE.parse().unwrap();
        let mut tx = test.db.read().await.unwrap();
        for (by, label) in [(figures::Axis::Team, "north"), (figures::Axis::Bucket, "to_90"), (figures::Axis::NumberKind, "mobile")] {
            let report = report::connect_rate(&mut tx, by, day, day).await.unwrap();
            assert_eq!(report.lines.iter().map(|l| l.label.as_str()).collect::<Vec<_>>(), [label]);
        }
        let only = figures::Only { team: Some(6), ..figures::Only::default() };
        let axes = [figures::Axis::Team, figures::Axis::Hour];
        let pair = figures::counted(&mut tx, &axes, DATE, DATE, figures::Only::default()).await.unwrap();
        assert_eq!((pair[0].0.as_slice(), pair.len()), (["5".to_owned(), "9".to_owned()].as_slice(), 1));
        assert_eq!(figures::counted(&mut tx, &axes, DATE, DATE, only).await.unwrap(), []);
        let heat = figures::heat_map(&mut tx, Dimension::All, "", DATE, DATE).await.unwrap();
        assert_eq!(heat.iter().map(|(weekday, hour, s)| (*weekday, *hour, s.attempts)).collect::<Vec<_>>(), [(1, 9, 1)]);
    }

    async fn the_views_say_the_same_as_the_report(test: Test) {
        a_morning(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(&Sql { act: "reveal", text: "UPDATE cases SET revealed_at_ms = 0" }, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let row = tx.fetch_one(&Sql { act: "ask a view", text:
            "SELECT CAST(connect_rate * 1000000 AS BIGINT) AS millionths, label FROM v_connect_rate_daily WHERE dimension = 'agent'" }, vec![])
            .await.unwrap();
        assert!((row.get::<i64>("millionths").unwrap() - 333_333).abs() <= 1);
        assert_eq!(row.get::<String>("label").unwrap(), "A1");
        // The query that the manual prints, as it stands there.
        let manual = include_str!("../../../docs/figures.md");
        let text = manual.split("```sql").nth(1).unwrap().split("```").next().unwrap().trim().trim_end_matches(';');
        let row = tx.fetch_one(&Sql { act: "ask as the manual does", text }, vec![]).await.unwrap();
        assert_eq!((row.get::<i64>("attempts").unwrap(), row.get::<i64>("connected").unwrap()), (10, 3));
        let row = tx.fetch_one(&Sql { act: "ask a view", text:
            "SELECT COUNT(*) AS n, COUNT(CASE WHEN answered_at IS NOT NULL THEN 1 END) AS connected, MAX(client) AS client,
                    CAST(MIN(started_at) AS TEXT) AS began FROM v_attempt" }, vec![]).await.unwrap();
        assert_eq!((row.get::<i64>("n").unwrap(), row.get::<i64>("connected").unwrap()), (10, 3));
        assert_eq!(row.get::<String>("client").unwrap(), "bank");
        assert!(row.get::<String>("began").unwrap().starts_with("2026-11-23"));
        for (text, n) in [
            ("SELECT COUNT(*) AS n FROM v_connect_rate_hourly WHERE dimension = 'all'", 2),
            ("SELECT COUNT(*) AS n FROM v_case", 2),
            ("SELECT COUNT(*) AS n FROM v_refusal", 0),
        ] {
            let found: i64 = tx.fetch_one(&Sql { act: "ask a view", text }, vec![]).await.unwrap().get("n").unwrap();
            assert_eq!(found, n, "{text}");
        }
    }

    async fn agents_days_add_up_to_what_their_states_say(test: Test) {
        let floor = floor(&test.db, 1).await;
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let mut tx = test.db.begin().await.unwrap();
        // Ten minutes each from 23:00 on, over midnight.
        let from = NOW_MS + 13 * 3_600_000;
        for n in 0..12 {
            let span = agent_days::Span {
                agent: floor.agent,
                state: ["ready", "talk", "wrap_up"][n % 3].into(),
                reason: String::new(),
                from_ms: from + 600_000 * n as i64,
                until_ms: from + 600_000 * (n as i64 + 1),
            };
            let insert = Sql { act: "store a state", text:
                "INSERT INTO agent_states (agent_id, node, state, from_ms, until_ms) VALUES ($1, 'a', $2, $3, $4)" };
            tx.execute(&insert, args![floor.agent, &span.state, span.from_ms, span.until_ms]).await.unwrap();
            agent_days::add(&mut tx, &[span], &zone).await.unwrap();
        }
        for (date, ready) in [(DATE, 1_200_000), ("2026-11-24", 1_200_000)] {
            let stored = agent_days::read(&mut tx, date, date, Some(floor.agent)).await.unwrap();
            assert_eq!(stored, agent_days::recount(&mut tx, date, &zone, 600_000).await.unwrap());
            assert_eq!((stored[0].state.as_str(), stored[0].ms, stored[0].spans), ("ready", ready, 2));
        }
    }

    async fn refusals_are_counted_by_each_of_their_reasons(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        for n in 0..3_u32 {
            let id = crate::ids::ReceiptId::from_uuid(call_id(n).uuid());
            let receipt = receipts::NewReceipt {
                id,
                at_ms: NOW_MS + i64::from(n),
                allowed: n == 2,
                target: &floor.targets[0],
                agent: None,
                user: None,
                rules_sha256: "0",
                reasons: ["[\"window\",\"cap\"]", "[\"window\"]", "[]"][n as usize],
                body: "{}",
            };
            receipts::insert(&mut tx, &receipt).await.unwrap();
        }
        let client = floor.targets[0].client.get();
        assert_eq!(
            figures::refusals(&mut tx, NOW_MS, NOW_MS + 10).await.unwrap(),
            [(client, "cap".to_owned(), 1), (client, "window".to_owned(), 2)]
        );
        assert_eq!(figures::refusals(&mut tx, NOW_MS + 1, NOW_MS + 2).await.unwrap().len(), 1);
        let found = check::recount(&test.db).await;
        drop(tx);
        assert_eq!(found.unwrap().attempts, 0, "a refusal is no attempt");
    }
}
