//! Figures are sums of facts: after any history the roll-ups are what a recount gives.

use proptest::prelude::*;

use super::super::{attempts, attempts::Closing, rollups, sql::Sql};
use super::{DATE, Floor, NODE, NOW_MS, Test, attempt, call_id, floor, on_both};
use crate::{
    call::{Cause, Party},
    stats::{check, report, report::By, rollup::Sums},
};

/// One random end: any cause, any combination of times, also ones out of order.
fn closing() -> impl Strategy<Value = Closing> {
    let time = || proptest::option::of(-1_000_i64..200_000);
    (
        proptest::sample::select(Cause::ALL),
        time(),
        time(),
        time(),
        -1_000_i64..200_000,
    )
        .prop_map(|(cause, seized, rang, answered, ended)| Closing {
            cause,
            ended_by: Party::System,
            sip_status: Some(486),
            q850: Some(17),
            seized_at_ms: seized.map(|t| NOW_MS + t),
            rang_at_ms: rang.map(|t| NOW_MS + t),
            answered_at_ms: answered.map(|t| NOW_MS + t),
            ended_at_ms: NOW_MS + ended,
            overrun_ms: 0,
        })
}

/// What happens to one attempt.
#[derive(Debug, Clone)]
struct History {
    case: usize,
    day: u8,
    hour: u8,
    /// `None`: stays under way.
    end: Option<Closing>,
    /// A later correction.
    correction: Option<Closing>,
    /// Its place in the order of closing.
    turn: u32,
    /// The closing transaction is dropped first, as in a crash, then done again.
    dropped: bool,
}

fn history() -> impl Strategy<Value = Vec<History>> {
    let one = (
        0_usize..3,
        1_u8..4,
        0_u8..24,
        proptest::option::weighted(0.9, closing()),
        proptest::option::weighted(0.2, closing()),
        any::<u32>(),
        proptest::bool::weighted(0.2),
    );
    proptest::collection::vec(one, 1..25).prop_map(|all| {
        let new = |(case, day, hour, end, correction, turn, dropped)| History {
            case,
            day,
            hour,
            end,
            correction,
            turn,
            dropped,
        };
        all.into_iter().map(new).collect()
    })
}

/// Lives a history and checks the figures after it. Numbers of calls go on from `first`.
async fn live(test: &Test, floor: &Floor, first: u32, history: &[History]) {
    let mut tx = test.db.begin().await.unwrap();
    for (n, h) in (first..).zip(history) {
        let date = format!("2026-11-{:02}", h.day);
        attempt(
            &mut tx,
            call_id(n),
            &floor.targets[h.case],
            floor.agent,
            &date,
            h.hour,
            NOW_MS,
            NODE,
        )
        .await;
    }
    tx.commit().await.unwrap();
    let mut order: Vec<(u32, &History)> = (first..).zip(history).collect();
    order.sort_by_key(|(_, h)| h.turn);
    for (n, h) in order {
        let Some(end) = &h.end else { continue };
        if h.dropped {
            let mut tx = test.db.begin().await.unwrap();
            attempts::close(&mut tx, call_id(n), end).await.unwrap();
            drop(tx);
        }
        let mut tx = test.db.begin().await.unwrap();
        assert!(attempts::close(&mut tx, call_id(n), end).await.unwrap());
        if let Some(correction) = &h.correction {
            attempts::correct(&mut tx, call_id(n), correction)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }
    let found = check::recount(&test.db).await.unwrap();
    assert_eq!(found.differences, []);
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest::test_runner::TestRunner::new(config)
}

async fn random_histories(test: Test, cases: u32) {
    let floor = floor(&test.db, 3).await;
    // The histories add up in one database, which makes the later ones richer.
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let first = std::cell::Cell::new(0);
        let ran = runner(cases).run(&history(), |history| {
            let numbers = first.replace(first.get() + history.len() as u32);
            handle.block_on(live(&test, &floor, numbers, &history));
            Ok(())
        });
        ran.unwrap();
        assert!(first.get() > cases * 5);
    });
    let mut tx = test.db.read().await.unwrap();
    let all = rollups::by_day(&mut tx, "2026-11-01", "2026-11-30")
        .await
        .unwrap();
    let connected: i64 = all.iter().map(|(_, sums)| sums.connected).sum();
    assert!(connected > 0, "the histories hold answered calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_adds_up_on_sqlite() {
    random_histories(Test::sqlite().await, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_adds_up_on_postgres() {
    random_histories(Test::postgres().await, 15).await;
}

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
        let by_hour = report::connect_rate(&mut tx, By::Hour, day, day).await.unwrap();
        let total = Sums {
            attempts: 10,
            lost_ours: 1,
            seizures: 8,
            connected: 3,
            effective: 6,
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
        for by in By::ALL {
            let report = report::connect_rate(&mut tx, *by, day, day).await.unwrap();
            assert_eq!(report.total, total, "{by}");
            let tomorrow = day.tomorrow().unwrap();
            assert_eq!(report::connect_rate(&mut tx, *by, tomorrow, tomorrow).await.unwrap().lines, [], "{by}");
        }
        let by_agent = report::connect_rate(&mut tx, By::Agent, day, day).await.unwrap();
        assert_eq!(by_agent.lines[0].label, "A1");
        let by_client = report::connect_rate(&mut tx, By::Client, day, day).await.unwrap();
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
                 talk_ms, rung, pdd_ms, ring_ms FROM rollup_days WHERE dimension = 'all'",
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
}
