//! Attempts: caps under many clicks, seizure, closing, settling, and what is beside them.

use std::sync::Arc;

use super::super::{
    Error, attempts,
    attempts::{Closing, Seizure},
    bars, cases, contact_points, dialogs, events, facts, guards, idempotency, tallies,
};
use super::{
    DATE, NODE, NOW_MS, Target, Test, Tx, attempt, call_id, case, dial, floor, number, on_both,
    same_person,
};
use crate::{
    call::{Cause, Party},
    policy::{BarKind, CaseState, Count, CountNeeded, Measure, OwnNumbers, Relation, Scope},
};

fn needed(measure: Measure, scope: Scope) -> CountNeeded {
    CountNeeded {
        measure,
        scope,
        since_ms: NOW_MS,
        at_least_ms: 0,
    }
}

async fn read_counts(
    tx: &mut Tx,
    target: &Target,
    asked: &[CountNeeded],
) -> crate::store::Result<Vec<Count>> {
    let persons = facts::persons(tx, target).await?;
    tallies::counts(tx, target, &persons, asked).await
}

/// An end at so many seconds: INVITE, ringing, answer, end.
fn end(cause: Cause, seized: Option<i64>, answered: Option<i64>, ended: i64) -> Closing {
    Closing {
        cause,
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: seized.map(|s| NOW_MS + s * 1_000),
        rang_at_ms: seized.map(|s| NOW_MS + s * 1_000 + 500),
        answered_at_ms: answered.map(|s| NOW_MS + s * 1_000),
        ended_at_ms: NOW_MS + ended * 1_000,
        overrun_ms: 0,
    }
}

on_both! {
    /// The deciding transaction as the switchboard does it, with a cap of three connected calls.
    async fn of_two_hundred_clicks_at_once_exactly_as_many_pass_as_the_cap_leaves(test: Test) {
        const LEFT: usize = 3;
        let floor = Arc::new(floor(&test.db, 1).await);
        // Two nodes, each with connections of its own.
        let nodes = [test.db.clone(), crate::store::Db::open(&test.options).await.unwrap()];
        let mut clicks = tokio::task::JoinSet::new();
        for (n, db) in (0..200).zip(nodes.into_iter().cycle()) {
            let floor = floor.clone();
            clicks.spawn(async move {
                // The queue may be longer than the patience; a click that the database refused is clicked again.
                let mut begun = db.begin().await;
                for _ in 0..20 {
                    if begun.is_err() {
                        begun = db.begin().await;
                    }
                }
                let mut tx = begun.unwrap();
                let target = &floor.targets[0];
                let guarded = facts::guards(&mut tx, target).await.unwrap();
                guards::touch(&mut tx, &guarded).await.unwrap();
                let asked = [needed(Measure::Connected, Scope::Debtor)];
                let count = read_counts(&mut tx, target, &asked).await.unwrap()[0];
                let passes = ((count.settled + count.under_way) as usize) < LEFT;
                if passes {
                    dial(&mut tx, n, target, floor.agent).await;
                }
                tx.commit().await.unwrap();
                passes
            });
        }
        let passed = clicks.join_all().await.into_iter().filter(|passed| *passed).count();
        assert_eq!(passed, LEFT);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(attempts::open_on(&mut tx, NODE).await.unwrap().len(), LEFT);
    }

    async fn the_gate_itself_lets_three_conversations_a_day_pass(test: Test) {
        let floor = floor(&test.db, 1).await;
        let rules = Arc::new(crate::policy::Preset::CnPlan.rules());
        let now = crate::policy::Now {
            wall_ms: NOW_MS,
            trust: crate::clock::ClockTrust::Trusted { error_ms: 0 },
            origin: crate::clock::ClockOrigin::System,
        };
        for n in 0..4 {
            let mut tx = test.db.begin().await.unwrap();
            let target = &floor.targets[0];
            let guarded = facts::guards(&mut tx, target).await.unwrap();
            guards::touch(&mut tx, &guarded).await.unwrap();
            let facts = facts::read(&mut tx, target, rules.clone(), NOW_MS).await.unwrap();
            let decision = crate::policy::decide(&facts, &now);
            assert_eq!(decision.is_allowed(), n < 3, "{n}: {:?}", decision.reasons());
            let moment = facts::LocalMoment::of(&facts.zones, NOW_MS).unwrap();
            assert_eq!((moment.zone.as_str(), moment.date.as_str(), moment.hour), ("Asia/Shanghai", DATE, 10));
            if decision.is_allowed() {
                let id = dial(&mut tx, n, target, floor.agent).await;
                attempts::close(&mut tx, id, &end(Cause::Answered, Some(1), Some(2), 3)).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    }

    async fn guards_taken_in_any_order_never_wait_in_a_circle(test: Test) {
        let floor = floor(&test.db, 2).await;
        let mut tx = test.db.begin().await.unwrap();
        let a = facts::guards(&mut tx, &floor.targets[0]).await.unwrap();
        let b = facts::guards(&mut tx, &floor.targets[1]).await.unwrap();
        tx.rollback().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let db = test.db.clone();
            let order = if n % 2 == 0 { [&a[..], &b[..]].concat() } else { [&b[..], &a[..]].concat().into_iter().rev().collect() };
            tasks.spawn(async move {
                let mut tx = db.begin().await.unwrap();
                guards::touch(&mut tx, &order).await.unwrap();
                tx.commit().await.unwrap();
            });
        }
        assert_eq!(tasks.join_all().await.len(), 100);
    }

    async fn an_attempt_under_way_counts_as_everything_and_closing_releases_what_did_not_happen(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let asked = [
            needed(Measure::Unanswered, Scope::ContactPoint),
            needed(Measure::Connected, Scope::Debtor),
            needed(Measure::Seized, Scope::Case),
        ];
        let ends = [
            (end(Cause::AgentNoAnswer, None, None, 9), [0, 0, 0]),
            (end(Cause::NoAnswer, Some(3), None, 30), [1, 0, 1]),
            (end(Cause::Answered, Some(3), Some(8), 30), [1, 1, 2]),
            (end(Cause::Cancelled, Some(3), None, 5), [2, 1, 3]),
        ];
        let mut before = [0; 3];
        for (n, (end, settled)) in ends.into_iter().enumerate() {
            let mut tx = test.db.begin().await.unwrap();
            let id = dial(&mut tx, n as u32, target, floor.agent).await;
            assert_eq!(attempts::mark_seizure(&mut tx, id, NOW_MS + 1).await.unwrap(), Seizure::Marked);
            let counts = read_counts(&mut tx, target, &asked).await.unwrap();
            assert_eq!(counts.iter().map(|c| (c.settled, c.under_way)).collect::<Vec<_>>(), before.map(|s| (s, 1)));
            assert!(attempts::close(&mut tx, id, &end).await.unwrap());
            let counts = read_counts(&mut tx, target, &asked).await.unwrap();
            assert_eq!(counts.iter().map(|c| (c.settled, c.under_way)).collect::<Vec<_>>(), settled.map(|s| (s, 0)));
            tx.commit().await.unwrap();
            before = settled;
        }
    }

    async fn counters_begin_when_asked_but_what_is_under_way_always_counts(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let id = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let later = [CountNeeded { measure: Measure::Seized, scope: Scope::Debtor, since_ms: NOW_MS + 1, at_least_ms: 0 }];
        let count = read_counts(&mut tx, &floor.targets[0], &later).await.unwrap()[0];
        assert_eq!((count.settled, count.under_way), (0, 1));
        attempts::close(&mut tx, id, &end(Cause::NoAnswer, Some(1), None, 2)).await.unwrap();
        let count = read_counts(&mut tx, &floor.targets[0], &later).await.unwrap()[0];
        assert_eq!((count.settled, count.under_way), (0, 0));
    }

    async fn a_shared_number_counts_for_each_case_and_a_debtor_across_cases(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let shared = case(&mut tx, "bank", "D-other", "C-shared", &number(0)).await;
        let sibling = case(&mut tx, "bank", "D0", "C-sibling", &number(9)).await;
        let stranger = case(&mut tx, "bank2", "D0", "C0", &number(8)).await;
        dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        for (target, by_number, by_debtor) in [(&shared, 1, 1), (&sibling, 0, 1), (&stranger, 0, 0)] {
            let asked = [needed(Measure::Seized, Scope::ContactPoint), needed(Measure::Seized, Scope::Debtor)];
            let counts = read_counts(&mut tx, target, &asked).await.unwrap();
            assert_eq!((counts[0].under_way, counts[1].under_way), (by_number, by_debtor));
        }
    }

    async fn a_seizure_is_refused_when_something_was_barred_while_the_agents_phone_rang(test: Test) {
        let floor = floor(&test.db, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        let ids = [0, 1, 2].map(call_id);
        for (n, target) in floor.targets.iter().enumerate() {
            dial(&mut tx, n as u32, target, floor.agent).await;
        }
        let (a, b) = (&floor.targets[0], &floor.targets[1]);
        cases::set_state(&mut tx, a.case, CaseState::Settled, NOW_MS).await.unwrap();
        let bar = bars::NewBar {
            subject: bars::Subject::Number(b.number_id),
            client: None,
            kind: BarKind::DoNotCall,
            reason: "asked",
            from_ms: NOW_MS,
            until_ms: None,
            actor: "lin",
        };
        bars::bar(&mut tx, &bar).await.unwrap();
        let mark = async |tx: &mut _, n: usize, after| attempts::mark_seizure(tx, ids[n], NOW_MS + after).await.unwrap();
        assert_eq!(mark(&mut tx, 0, 1).await, Seizure::CaseBarred(CaseState::Settled));
        assert_eq!(mark(&mut tx, 1, 1).await, Seizure::Barred(BarKind::DoNotCall));
        assert_eq!(mark(&mut tx, 2, 60_000).await, Seizure::Expired);
        assert_eq!(mark(&mut tx, 2, 59_999).await, Seizure::Marked);
        assert_eq!(mark(&mut tx, 2, 59_999).await, Seizure::Marked, "marking again");
        attempts::close(&mut tx, ids[2], &end(Cause::Busy, Some(1), None, 2)).await.unwrap();
        assert_eq!(mark(&mut tx, 2, 59_999).await, Seizure::Ended);
        let unknown = attempts::mark_seizure(&mut tx, call_id(99), NOW_MS).await.unwrap_err();
        assert!(matches!(unknown, Error::NotFound { .. }), "{unknown:?}");
        let a = attempts::by_id(&mut tx, ids[0]).await.unwrap().unwrap();
        assert_eq!(a.seized_at_ms, None);
    }

    async fn closing_twice_writes_one_event_and_one_set_of_figures(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let id = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        assert!(attempts::close(&mut tx, id, &end(Cause::Answered, Some(1), Some(2), 12)).await.unwrap());
        assert!(!attempts::close(&mut tx, id, &end(Cause::Busy, Some(1), None, 2)).await.unwrap());
        let stored = attempts::by_id(&mut tx, id).await.unwrap().unwrap();
        assert_eq!((stored.cause, stored.talk_ms()), (Some(Cause::Answered), Some(10_000)));
        let told = events::after(&mut tx, 0, 10).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].kind.as_str(), told[0].subject.as_str()), ("call.ended", id.to_string().as_str()));
        assert!(!told[0].body.contains("+86"), "{}", told[0].body);
        tx.commit().await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        let all = crate::store::figures::totals(&mut tx, crate::stats::rollup::Dimension::All, DATE, DATE).await.unwrap();
        assert_eq!((all[0].1.attempts, all[0].1.connected, all[0].1.talk_ms), (1, 1, 10_000));
    }

    async fn one_decision_allows_one_attempt(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let id = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let first = attempts::by_id(&mut tx, id).await.unwrap().unwrap();
        let again = attempts::NewAttempt {
            id: call_id(2),
            receipt: first.receipt,
            purpose: attempts::Purpose::Case,
            node: NODE,
            target: &floor.targets[0],
            agent: floor.agent,
            user: None,
            trunk: "pbx",
            caller_id: "x",
            zone: "Asia/Shanghai",
            local_date: DATE,
            local_hour: 10,
            started_at_ms: NOW_MS,
            valid_until_ms: NOW_MS,
        };
        assert!(attempts::insert(&mut tx, &again).await.unwrap_err().exists_already());
    }

    async fn what_a_crash_left_open_is_settled_once_and_only_on_its_node(test: Test) {
        let floor = floor(&test.db, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        let talking = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let ringing = dial(&mut tx, 2, &floor.targets[1], floor.agent).await;
        let elsewhere = call_id(3);
        attempt(&mut tx, elsewhere, &floor.targets[2], floor.agent, DATE, 10, NOW_MS, "node-b").await;
        attempts::mark_seizure(&mut tx, talking, NOW_MS + 5_000).await.unwrap();
        tx.commit().await.unwrap();
        let restart = NOW_MS + 100_000;
        let settle = |open: &attempts::Attempt| {
            let talked = (open.id == talking).then_some((NOW_MS + 9_000, NOW_MS + 39_000));
            Closing::after_crash(open, Cause::Crashed, restart, talked)
        };
        for expected in [2, 0] {
            let mut tx = test.db.begin().await.unwrap();
            assert_eq!(attempts::settle_leftovers(&mut tx, NODE, settle).await.unwrap().len(), expected);
            tx.commit().await.unwrap();
        }
        let mut tx = test.db.read().await.unwrap();
        let talked = attempts::by_id(&mut tx, talking).await.unwrap().unwrap();
        assert_eq!((talked.talk_ms(), talked.cause, talked.settled), (Some(30_000), Some(Cause::Answered), true));
        let rang = attempts::by_id(&mut tx, ringing).await.unwrap().unwrap();
        assert_eq!((rang.ended_at_ms, rang.cause, rang.seized_at_ms), (Some(restart), Some(Cause::Crashed), None));
        assert_eq!(attempts::by_id(&mut tx, elsewhere).await.unwrap().unwrap().ended_at_ms, None);
        drop(tx);
        assert_eq!(crate::stats::check::recount(&test.db).await.unwrap().differences, []);
    }

    async fn loss_of_contact_is_counted_from_the_last_conversation(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        contact_points::ensure(&mut tx, target.case, "Person", Relation::Debtor, &number(50), NOW_MS).await.unwrap();
        contact_points::ensure(&mut tx, target.case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        let causes = [
            (end(Cause::NoAnswer, Some(1), None, 2), 1),
            (end(Cause::Answered, Some(1), Some(2), 3), 0),
            (end(Cause::Busy, Some(1), None, 2), 1),
            (end(Cause::Internal, Some(1), None, 2), 1),
            (end(Cause::AgentBusy, None, None, 2), 1),
            (end(Cause::Cancelled, Some(1), None, 2), 1),
            (end(Cause::Congestion, Some(1), None, 2), 1),
            (end(Cause::TrunkDown, Some(1), None, 2), 1),
            (end(Cause::NoAnswer, Some(1), None, 2), 2),
        ];
        for (n, (end, failures)) in causes.into_iter().enumerate() {
            let id = call_id(n as u32);
            attempt(&mut tx, id, target, floor.agent, DATE, 10, NOW_MS + n as i64 * 60_000, NODE).await;
            attempts::close(&mut tx, id, &end).await.unwrap();
            let own = facts::own_numbers(&mut tx, target.person).await.unwrap();
            assert_eq!(own, OwnNumbers { total: 2, invalid: 0, failures_in_a_row: failures }, "{n}");
        }
    }

    async fn a_refusal_of_a_third_party_stays(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let case = floor.targets[0].case;
        let (friend, new) =
            contact_points::ensure(&mut tx, case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        assert!(new);
        contact_points::note_refusal(&mut tx, friend, NOW_MS).await.unwrap();
        let (again, new) =
            contact_points::ensure(&mut tx, case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        assert!(!new && again == friend);
        assert!(contact_points::target(&mut tx, friend).await.unwrap().unwrap().refused);
        assert!(!contact_points::target(&mut tx, floor.targets[0].contact_point).await.unwrap().unwrap().refused);
    }

    async fn loss_of_contact_is_judged_by_person_and_not_by_case(test: Test) {
        let floor = floor(&test.db, 1).await;
        let first = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let second = case(&mut tx, "bank2", "D-other", "C-other", &number(60)).await;
        same_person(&mut tx, first, &second).await;
        let own = async |tx: &mut crate::store::Tx| facts::own_numbers(tx, first.person).await.unwrap();
        assert_eq!(own(&mut tx).await, OwnNumbers { total: 2, invalid: 0, failures_in_a_row: 0 });
        let ends = [
            (first, end(Cause::NoAnswer, Some(1), None, 2), 1),
            (&second, end(Cause::Busy, Some(1), None, 2), 2),
            (&second, end(Cause::Answered, Some(1), Some(2), 3), 0),
            (first, end(Cause::Unreachable, Some(1), None, 2), 1),
        ];
        for (n, (target, end, failures)) in ends.into_iter().enumerate() {
            let id = call_id(n as u32);
            attempt(&mut tx, id, target, floor.agent, DATE, 10, NOW_MS + n as i64 * 60_000, NODE).await;
            attempts::close(&mut tx, id, &end).await.unwrap();
            assert_eq!(own(&mut tx).await.failures_in_a_row, failures, "{n}");
        }
    }

    async fn a_refusal_holds_for_the_number_in_every_case_of_the_debtor_under_whatever_name(test: Test) {
        let floor = floor(&test.db, 2).await;
        let (first, stranger) = (&floor.targets[0], &floor.targets[1]);
        let mut tx = test.db.begin().await.unwrap();
        let second = case(&mut tx, "bank2", "D-other", "C-other", &number(60)).await;
        same_person(&mut tx, first, &second).await;
        let enter = async |tx: &mut crate::store::Tx, case, name, relation, n| {
            contact_points::ensure(tx, case, name, relation, &number(n), NOW_MS).await.unwrap().0
        };
        let li = enter(&mut tx, first.case, "Li", Relation::Friend, 51).await;
        let other_number = enter(&mut tx, first.case, "Li", Relation::Friend, 52).await;
        let elsewhere = enter(&mut tx, second.case, "Li Si", Relation::Relative, 51).await;
        let of_a_stranger = enter(&mut tx, stranger.case, "Li", Relation::Friend, 51).await;
        let target = contact_points::target(&mut tx, elsewhere).await.unwrap().unwrap();
        assert!(!target.refused);
        dial(&mut tx, 1, &target, floor.agent).await;
        contact_points::note_refusal(&mut tx, li, NOW_MS).await.unwrap();
        let later = enter(&mut tx, first.case, "Li Si", Relation::Relative, 51).await;
        let another = enter(&mut tx, first.case, "Wang", Relation::Colleague, 53).await;
        let asked = [(li, true), (other_number, true), (elsewhere, true), (later, true), (another, false), (of_a_stranger, false)];
        for (point, refused) in asked {
            assert_eq!(contact_points::target(&mut tx, point).await.unwrap().unwrap().refused, refused, "{point}");
        }
        let listed = contact_points::of_case(&mut tx, second.case).await.unwrap();
        assert_eq!(listed.iter().map(|point| point.refused).collect::<Vec<_>>(), [false, true]);
        // And while the agent's phone rings, just before the INVITE.
        let marked = attempts::mark_seizure(&mut tx, call_id(1), NOW_MS + 1).await.unwrap();
        assert_eq!(marked, Seizure::PersonRefused);
    }

    async fn an_idempotency_key_is_answered_again_and_refused_for_another_request(test: Test) {
        use idempotency::{Answer, Known};
        let mut tx = test.db.begin().await.unwrap();
        let user = crate::store::tests::accounts::user(&mut tx, "u").await;
        let answer = Answer { status: 202, body: "{}".into() };
        assert_eq!(idempotency::find(&mut tx, user, "k", b"body").await.unwrap(), Known::New);
        idempotency::insert(&mut tx, user, "k", b"body", &answer, NOW_MS).await.unwrap();
        assert_eq!(idempotency::find(&mut tx, user, "k", b"body").await.unwrap(), Known::Same(answer.clone()));
        assert_eq!(idempotency::find(&mut tx, user, "k", b"other").await.unwrap(), Known::Other);
        let other = crate::store::tests::accounts::user(&mut tx, "v").await;
        assert_eq!(idempotency::find(&mut tx, other, "k", b"body").await.unwrap(), Known::New);
        assert_eq!(idempotency::forget(&mut tx, NOW_MS).await.unwrap(), 0);
        assert_eq!(idempotency::forget(&mut tx, NOW_MS + 1).await.unwrap(), 1);
        idempotency::insert(&mut tx, user, "k", b"body", &answer, NOW_MS).await.unwrap();
        assert!(idempotency::insert(&mut tx, user, "k", b"x", &answer, NOW_MS).await.unwrap_err().exists_already());
    }

    async fn the_journal_keeps_the_last_snapshot_of_each_leg_until_it_is_released(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let dialog = |leg: &str, snapshot: &str| dialogs::Dialog {
            call_id: call_id(1),
            leg: leg.into(),
            trunk: "pbx".into(),
            snapshot: snapshot.into(),
        };
        dialogs::put(&mut tx, NODE, &dialog("agent", "1"), NOW_MS).await.unwrap();
        dialogs::put(&mut tx, NODE, &dialog("customer", "1"), NOW_MS + 1).await.unwrap();
        dialogs::put(&mut tx, NODE, &dialog("customer", "2"), NOW_MS + 2).await.unwrap();
        let left = dialogs::leftovers(&mut tx, NODE).await.unwrap();
        assert_eq!(left, [dialog("agent", "1"), dialog("customer", "2")]);
        assert_eq!(dialogs::leftovers(&mut tx, "node-b").await.unwrap(), []);
        for _ in 0..2 {
            dialogs::remove(&mut tx, call_id(1), "agent").await.unwrap();
        }
        assert_eq!(dialogs::leftovers(&mut tx, NODE).await.unwrap(), [dialog("customer", "2")]);
    }
}
