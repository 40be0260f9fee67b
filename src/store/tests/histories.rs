//! Figures are sums of facts: after any history the roll-ups are what a recount gives.

use proptest::prelude::*;

use super::super::{attempts, attempts::Closing, corrections, figures, sql::Sql};
use super::{Floor, NODE, NOW_MS, Test, attempt, call_id, floor};
use crate::{
    call::{Cause, Party},
    clock::{Clock, TestClock, TrustMode},
    stats::{
        check, rebuild,
        rollup::{Dimension, Sums},
        seal::{self, Sealing},
    },
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
    /// What the agent says of it: before the end (under way) or after it, and whether the day is sealed in between.
    said: Option<(u8, bool, When)>,
}

#[derive(Debug, Clone, Copy)]
enum When {
    UnderWay,
    Afterwards,
    AfterTheSeal,
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
        proptest::option::weighted(
            0.6,
            (
                0_u8..3,
                any::<bool>(),
                proptest::sample::select(vec![
                    When::UnderWay,
                    When::Afterwards,
                    When::AfterTheSeal,
                ]),
            ),
        ),
    );
    proptest::collection::vec(one, 1..25).prop_map(|all| {
        let new = |(case, day, hour, end, correction, turn, dropped, said)| History {
            case,
            day,
            hour,
            end,
            correction,
            turn,
            dropped,
            said,
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
    let say = async |n: u32, (code, right_party, _): (u8, bool, When)| {
        let mut tx = test.db.begin().await.unwrap();
        let code = ["promise_to_pay", "deceased", "wrong_number"][usize::from(code)];
        attempts::set_disposition(&mut tx, call_id(n), code, right_party, "A1", NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    for (n, h) in &order {
        if let Some(said) = h.said.filter(|(.., when)| matches!(when, When::UnderWay)) {
            say(*n, said).await;
        }
    }
    // Half of them in groups, as the daemon does it, half one by one.
    let (grouped, single) = order.split_at(order.len() / 2);
    let ends: Vec<_> = grouped
        .iter()
        .filter_map(|(n, h)| Some((call_id(*n), h.end.clone()?)))
        .collect();
    let mut tx = test.db.begin().await.unwrap();
    let closed = attempts::close_many(&mut tx, &ends).await.unwrap();
    assert!(closed.iter().all(|c| *c == attempts::Closed::Now));
    tx.commit().await.unwrap();
    for (n, h) in single {
        let Some(end) = &h.end else { continue };
        if h.dropped {
            let mut tx = test.db.begin().await.unwrap();
            attempts::close(&mut tx, call_id(*n), end).await.unwrap();
            drop(tx);
        }
        let mut tx = test.db.begin().await.unwrap();
        assert!(attempts::close(&mut tx, call_id(*n), end).await.unwrap());
        tx.commit().await.unwrap();
    }
    for (n, h) in &order {
        if let Some(said) = h.said.filter(|(.., when)| matches!(when, When::Afterwards)) {
            say(*n, said).await;
        }
    }
    agrees(test).await;
    // From the second history on every day is sealed already, and all of it above was corrections.
    for day in 1..4 {
        let sealed = seal::seal(&test.db, &format!("2026-11-{day:02}"), NOW_MS)
            .await
            .unwrap();
        assert!(
            matches!(sealed, Sealing::Sealed(_) | Sealing::Before),
            "{sealed:?}"
        );
    }
    for (n, h) in &order {
        if let (Some(correction), Some(_)) = (&h.correction, &h.end) {
            let mut tx = test.db.begin().await.unwrap();
            attempts::correct(&mut tx, call_id(*n), correction)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        if let Some(said) = h
            .said
            .filter(|(.., when)| matches!(when, When::AfterTheSeal))
        {
            say(*n, said).await;
        }
    }
    agrees(test).await;
    // What is lost is made anew, and the seals still hold.
    if history.len().is_multiple_of(3) {
        let mut tx = test.db.begin().await.unwrap();
        for text in [
            "DELETE FROM rollup_hours WHERE local_date = '2026-11-01'",
            "DELETE FROM rollup_days",
            "DELETE FROM rollup_client_days WHERE dimension <> 'team'",
            "UPDATE rollup_first_calls SET attempts = attempts + 7",
        ] {
            let sql = Sql {
                act: "lose figures",
                text,
            };
            tx.execute(&sql, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let done = rebuild::rebuild(
            &test.db,
            "2026-11-01",
            "2026-11-30",
            "test",
            &clock(),
            |_, _| (),
        )
        .await
        .unwrap();
        assert!(done.days <= 3 && done.changed_days <= done.days);
        agrees(test).await;
    }
}

pub(super) fn clock() -> Clock {
    Clock::test(TestClock::standing(NOW_MS), TrustMode::Host)
}

/// The roll-ups are what the attempts add up to, the facts add up to the same by pairs, and every seal holds.
async fn agrees(test: &Test) {
    let found = check::recount(&test.db).await.unwrap();
    assert_eq!(found.differences, []);
    assert_eq!(found.broken_seals, Vec::<String>::new());
    let (from, to) = ("2026-11-01", "2026-11-30");
    let mut tx = test.db.read().await.unwrap();
    let axes = [figures::Axis::Disposition, figures::Axis::Day];
    let pairs = figures::counted(&mut tx, &axes, from, to, figures::Only::default())
        .await
        .unwrap();
    let mut by_pair = std::collections::BTreeMap::<String, Sums>::new();
    for (mut values, sums) in pairs {
        *by_pair.entry(values.swap_remove(0)).or_default() += sums;
    }
    let by_rollup: std::collections::BTreeMap<String, Sums> =
        figures::totals(&mut tx, Dimension::Disposition, from, to)
            .await
            .unwrap()
            .into_iter()
            .filter(|(_, sums)| !sums.is_zero())
            .collect();
    assert_eq!(by_pair, by_rollup);
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
    let all = figures::totals(&mut tx, Dimension::All, "2026-11-01", "2026-11-30")
        .await
        .unwrap();
    let right_party: i64 = all.iter().map(|(_, sums)| sums.right_party).sum();
    assert!(right_party > 0, "the histories hold answered calls");
    let corrected = corrections::list(&mut tx, "2026-11-01", "2026-11-30")
        .await
        .unwrap();
    assert!(corrected.len() > 20 && corrected.iter().any(|c| c.before.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_adds_up_on_sqlite() {
    random_histories(Test::sqlite().await, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_adds_up_on_postgres() {
    random_histories(Test::postgres().await, 15).await;
}
