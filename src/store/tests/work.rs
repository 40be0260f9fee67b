//! The day's work: who gets which case, bulk states, callbacks, what agents did, what is overdue and what came in.

use super::super::{
    Dialect, agent_days, agent_states, agent_states::Change, agent_states::Doing, agents,
    allocations, allocations::AllocationState, allocations::Decision, attempts, attempts::Closing,
    callbacks, callbacks::CallbackState, callbacks::Move, callbacks::NewCallback, cases, selection,
    selection::CaseFilter, sql::Sql, teams, work_clocks,
};
use super::{DATE, Floor, NOW_MS, Test, attempt, call_id, case, dial, floor, number, on_both};
use crate::{
    call::{Cause, Party},
    cases::{
        allocate::{self, AllocateError, Planned, Request},
        allocation::Method,
        bulk,
        matters::{self, MatterError, NewMatter},
        overdue::{self, Asked, Clock as WorkClock},
    },
    clock::{Clock, TestClock, TrustMode},
    ids::{AgentId, CallbackId, CaseId},
    policy::CaseState,
    stats::{day_sheets, keeper, rebuild},
    store::{
        Tx,
        case_states::Act,
        major_matters::{Grade, MatterKind},
    },
};

const HOUR_MS: i64 = 3_600_000;

fn clock(at_ms: i64) -> Clock {
    Clock::test(TestClock::standing(at_ms), TrustMode::Host)
}

async fn prepare(tx: &mut Tx, text: &'static str) {
    tx.execute(
        &Sql {
            act: "prepare a test",
            text,
        },
        vec![],
    )
    .await
    .unwrap();
}

async fn count(tx: &mut Tx, text: &'static str) -> i64 {
    tx.fetch_one(&Sql { act: "look", text }, vec![])
        .await
        .unwrap()
        .get("n")
        .unwrap()
}

/// Agents A1 to A3 in team T1, and cases that owe 100, 200, 300, …
async fn house(test: &Test, n: u32) -> Floor {
    let floor = floor(&test.db, n).await;
    let mut tx = test.db.begin().await.unwrap();
    let team = teams::ensure(&mut tx, "T1", "Team One", NOW_MS)
        .await
        .unwrap();
    for code in ["A1", "A2", "A3"] {
        let extension = format!("80{code}").replace('A', "0");
        let agent = match agents::by_code(&mut tx, code).await.unwrap() {
            Some(agent) => agent,
            None => agents::ensure(&mut tx, code, code, &extension, NOW_MS)
                .await
                .unwrap(),
        };
        teams::join(&mut tx, agent.id, Some(team.id)).await.unwrap();
    }
    prepare(
        &mut tx,
        "UPDATE cases SET balance_e4 = id * 1000000, placed_e4 = id * 1000000",
    )
    .await;
    tx.commit().await.unwrap();
    floor
}

/// Has the database refuse a statement about the 200th case, as if it went away; gives what takes that back.
async fn breaks(test: &Test, table: &str, verb: &str) -> Vec<String> {
    let (case, begin) = match table {
        "cases" => ("id", "NEW.agent_id IS DISTINCT FROM OLD.agent_id AND"),
        _ => ("case_id", ""),
    };
    let mut tx = test.db.begin().await.unwrap();
    let (make, undo) = match tx.dialect() {
        Dialect::Sqlite => (
            vec![format!(
                "CREATE TRIGGER breaks BEFORE {verb} ON {table} WHEN {begin} NEW.{case} = 200
                 BEGIN SELECT RAISE(ABORT, 'away'); END"
            )],
            vec!["DROP TRIGGER breaks".to_owned()],
        ),
        Dialect::Postgres => (
            vec![
                "CREATE FUNCTION away() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''away''; END' LANGUAGE plpgsql".to_owned(),
                format!(
                    "CREATE TRIGGER breaks BEFORE {verb} ON {table} FOR EACH ROW WHEN ({begin} NEW.{case} = 200)
                     EXECUTE FUNCTION away()"
                ),
            ],
            vec![
                format!("DROP TRIGGER breaks ON {table}"),
                "DROP FUNCTION away()".to_owned(),
            ],
        ),
    };
    for text in make {
        prepare(&mut tx, text.leak()).await;
    }
    tx.commit().await.unwrap();
    undo
}

async fn mend(test: &Test, undo: &[String]) {
    let mut tx = test.db.begin().await.unwrap();
    for text in undo {
        prepare(&mut tx, text.clone().leak()).await;
    }
    tx.commit().await.unwrap();
}

fn request(method: Method) -> Request {
    Request {
        method,
        cases: CaseFilter::default(),
        client: String::new(),
        references: Vec::new(),
        agents: Vec::new(),
        teams: vec!["T1".into()],
        to_teams: false,
        regions: std::collections::BTreeMap::new(),
    }
}

async fn owner(test: &Test, case: CaseId) -> Option<AgentId> {
    let mut tx = test.db.read().await.unwrap();
    let all = selection::select(&mut tx, None, &CaseFilter::default())
        .await
        .unwrap();
    all.into_iter().find(|one| one.case == case).unwrap().agent
}

on_both! {
    async fn a_plan_changes_nothing_and_is_carried_out_and_undone_as_a_whole(test: Test) {
        house(&test, 200).await;
        let clock = clock(NOW_MS);
        let Planned { id, totals, .. } = allocate::plan(&test.db, &clock, &request(Method::EvenBoth), None, "lead").await.unwrap();
        assert_eq!(totals.iter().map(|t| t.households).collect::<Vec<_>>(), [67, 67, 66]);
        let sum: i64 = totals.iter().map(|t| t.amount_e4).sum();
        assert_eq!(sum, (1..=200).sum::<i64>() * 1_000_000);
        let amounts: Vec<i64> = totals.iter().map(|t| t.amount_e4).collect();
        assert!(amounts.iter().max().unwrap() - amounts.iter().min().unwrap() <= 200_000_000);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE agent_id IS NOT NULL").await, 0);
        tx.rollback().await.unwrap();
        let done = allocate::apply(&test.db, &clock, id, "lead").await.unwrap();
        assert_eq!((done.changed, done.left), (200, 0));
        assert!(matches!(allocate::apply(&test.db, &clock, id, "lead").await, Err(AllocateError::State(AllocationState::Done))));
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE agent_id IS NOT NULL AND team_id IS NOT NULL AND allocated_at_ms IS NOT NULL").await, 200);
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM case_changes WHERE kind = 'allocation' AND actor = 'lead'").await, 200);
        tx.rollback().await.unwrap();
        let undone = allocate::undo(&test.db, &clock, id, "lead").await.unwrap();
        assert_eq!((undone.changed, undone.left), (200, 0));
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE agent_id IS NOT NULL OR team_id IS NOT NULL").await, 0);
        assert_eq!(allocations::by_id(&mut tx, id).await.unwrap().unwrap().state, AllocationState::Undone);
        tx.rollback().await.unwrap();
        assert!(allocate::undo(&test.db, &clock, id, "lead").await.is_err());
    }

    async fn what_changed_since_is_left_and_named(test: Test) {
        let floor = house(&test, 5).await;
        let clock = clock(NOW_MS);
        let Planned { id: first, .. } = allocate::plan(&test.db, &clock, &request(Method::EvenCount), None, "lead").await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        cases::set_state(&mut tx, floor.targets[0].case, CaseState::Settled, NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        let done = allocate::apply(&test.db, &clock, first, "lead").await.unwrap();
        assert_eq!((done.changed, done.left, done.left_cases), (4, 1, vec![("bank".into(), "C0".into())]));
        // One case is dealt again, by hand.
        let mut by_hand = request(Method::Manual);
        by_hand.teams.clear();
        by_hand.agents = vec!["A3".into()];
        by_hand.cases.from_e4 = Some(5_000_000);
        let Planned { id: second, totals, .. } = allocate::plan(&test.db, &clock, &by_hand, None, "lead").await.unwrap();
        assert_eq!((totals.len(), totals[0].cases), (1, 1));
        allocate::apply(&test.db, &clock, second, "lead").await.unwrap();
        let undone = allocate::undo(&test.db, &clock, first, "lead").await.unwrap();
        assert_eq!((undone.changed, undone.left, undone.left_cases), (3, 1, vec![("bank".into(), "C4".into())]));
        let mut tx = test.db.read().await.unwrap();
        let a3 = agents::by_code(&mut tx, "A3").await.unwrap().unwrap().id;
        tx.rollback().await.unwrap();
        assert_eq!(owner(&test, floor.targets[4].case).await, Some(a3));
        assert_eq!(owner(&test, floor.targets[1].case).await, None);
    }

    async fn an_allocation_that_broke_off_goes_on_where_it_was(test: Test) {
        house(&test, 100).await;
        let clock = clock(NOW_MS);
        let Planned { id, .. } = allocate::plan(&test.db, &clock, &request(Method::EvenAmount), None, "lead").await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        assert!(allocations::decide(&mut tx, id, Decision::Apply, "lead", NOW_MS).await.unwrap());
        let last = allocations::piece(&mut tx, id, CaseId::new(0), 30).await.unwrap().unwrap();
        let piece = allocations::Piece { id, after: CaseId::new(0), last, actor: "lead", now_ms: NOW_MS };
        assert_eq!(allocations::apply(&mut tx, &piece).await.unwrap(), 30);
        tx.commit().await.unwrap();
        let done = allocate::apply(&test.db, &clock, id, "lead").await.unwrap();
        assert_eq!((done.changed, done.left), (70, 0));
    }

    async fn what_is_decided_of_an_allocation_is_done_to_its_end_by_whoever_comes_next(test: Test) {
        house(&test, 300).await;
        let clock = clock(NOW_MS);
        let dealt = async || {
            let mut tx = test.db.read().await.unwrap();
            count(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE agent_id IS NOT NULL").await
        };
        let state = async |id| {
            let mut tx = test.db.read().await.unwrap();
            allocations::by_id(&mut tx, id).await.unwrap().map(|found| found.state)
        };
        let request = request(Method::EvenCount);
        // The database goes away in the middle of the writing: nothing of the plan is there.
        let break_at = breaks(&test, "allocation_items", "INSERT").await;
        let broken = allocate::plan(&test.db, &clock, &request, None, "lead").await;
        assert!(matches!(broken, Err(AllocateError::Store(_))), "{broken:?}");
        mend(&test, &break_at).await;
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(count(&mut tx, "SELECT (SELECT COUNT(*) FROM allocations) + (SELECT COUNT(*) FROM allocation_items) AS n").await, 0);
        tx.rollback().await.unwrap();
        // The process dies there: nobody sees what it wrote, and the next start sweeps.
        let mut tx = test.db.begin().await.unwrap();
        let half = allocations::insert(&mut tx, "even_count", "{}", "lead", NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(state(half).await, None);
        assert!(matches!(allocate::apply(&test.db, &clock, half, "lead").await, Err(AllocateError::NotFound)));
        assert_eq!(allocate::recover(&test.db, &clock).await.unwrap(), 1);
        // In the middle of the carrying out: the next start does the rest, in the name of who decided.
        let Planned { id, .. } = allocate::plan(&test.db, &clock, &request, None, "lead").await.unwrap();
        let break_at = breaks(&test, "cases", "UPDATE").await;
        let broken = allocate::apply(&test.db, &clock, id, "boss").await;
        assert!(matches!(broken, Err(AllocateError::Pending(_))), "{broken:?}");
        let half = dealt().await;
        assert!(half > 0 && half < 300, "{half}");
        assert_eq!(state(id).await, Some(AllocationState::Running));
        assert!(matches!(allocate::undo(&test.db, &clock, id, "lead").await, Err(AllocateError::Store(_))));
        mend(&test, &break_at).await;
        assert_eq!(allocate::recover(&test.db, &clock).await.unwrap(), 1);
        assert_eq!((dealt().await, state(id).await), (300, Some(AllocationState::Done)));
        // In the middle of the undoing: the next allocation does the rest before its own.
        let break_at = breaks(&test, "cases", "UPDATE").await;
        assert!(matches!(allocate::undo(&test.db, &clock, id, "boss").await, Err(AllocateError::Pending(_))));
        assert_eq!(state(id).await, Some(AllocationState::Undoing));
        mend(&test, &break_at).await;
        let Planned { id: next, .. } = allocate::plan(&test.db, &clock, &request, None, "lead").await.unwrap();
        assert_eq!((dealt().await, state(id).await), (0, Some(AllocationState::Undone)));
        assert_eq!(state(next).await, Some(AllocationState::Planned));
        let mut tx = test.db.read().await.unwrap();
        let once = "SELECT COUNT(*) AS n FROM (SELECT case_id FROM case_changes WHERE kind = 'allocation' AND actor = 'boss'
                    GROUP BY case_id, reason HAVING COUNT(*) = 1) AS once";
        assert_eq!(count(&mut tx, once).await, 600);
        tx.rollback().await.unwrap();
        assert_eq!(allocate::recover(&test.db, &clock).await.unwrap(), 0);
    }

    async fn who_allocates_meanwhile_is_not_taken_for_dead(test: Test) {
        house(&test, 3).await;
        let clock = clock(NOW_MS);
        let Planned { id, .. } = allocate::plan(&test.db, &clock, &request(Method::EvenCount), None, "lead").await.unwrap();
        let lock = test.db.allocation_lock().await.unwrap().unwrap();
        let mut tx = test.db.begin().await.unwrap();
        assert!(allocations::decide(&mut tx, id, Decision::Apply, "lead", NOW_MS).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(allocate::recover(&test.db, &clock).await.unwrap(), 0);
        lock.release().await;
        assert_eq!(allocate::apply(&test.db, &clock, id, "lead").await.unwrap().changed, 3);
        // Who lost the lock and comes back finds that another has done it.
        let mut tx = test.db.begin().await.unwrap();
        let late = allocations::fence(&mut tx, id, Some(Decision::Apply), NOW_MS).await;
        assert!(late.unwrap_err().is_unavailable());
    }

    async fn a_person_stays_with_whoever_has_it_and_held_cases_count(test: Test) {
        let floor = house(&test, 4).await;
        let clock = clock(NOW_MS);
        let mut tx = test.db.begin().await.unwrap();
        let a2 = agents::by_code(&mut tx, "A2").await.unwrap().unwrap().id;
        let sibling = case(&mut tx, "bank", "D0", "C-sibling", &number(90)).await;
        tx.execute(&Sql { act: "give", text: "UPDATE cases SET agent_id = $1, allocated_at_ms = 1 WHERE id = $2" },
                   args![a2, floor.targets[0].case]).await.unwrap();
        tx.commit().await.unwrap();
        let mut again = request(Method::Match);
        again.cases.unallocated = true;
        let Planned { id, .. } = allocate::plan(&test.db, &clock, &again, None, "lead").await.unwrap();
        allocate::apply(&test.db, &clock, id, "lead").await.unwrap();
        assert_eq!(owner(&test, sibling.case).await, Some(a2));
        allocate::undo(&test.db, &clock, id, "lead").await.unwrap();
        // A2 holds one household already, so of the four that are open the others get more.
        let mut even = request(Method::Cumulative);
        even.cases.unallocated = true;
        let Planned { id: _, totals, .. } = allocate::plan(&test.db, &clock, &even, None, "lead").await.unwrap();
        let of = |code: &str| totals.iter().find(|t| t.agent.as_deref() == Some(code)).map_or(0, |t| t.households);
        assert_eq!(of("A1") + of("A2") + of("A3"), 4);
        assert!(of("A2") <= 1, "{totals:?}");
    }

    async fn teams_get_cases_as_a_whole_and_bad_requests_are_named(test: Test) {
        house(&test, 2).await;
        let clock = clock(NOW_MS);
        let mut whole = request(Method::EvenCount);
        whole.to_teams = true;
        let Planned { id, totals, .. } = allocate::plan(&test.db, &clock, &whole, None, "lead").await.unwrap();
        assert_eq!((totals.len(), totals[0].agent.as_deref(), totals[0].team.as_deref()), (1, None, Some("T1")));
        allocate::apply(&test.db, &clock, id, "lead").await.unwrap();
        let mut nobody = request(Method::EvenCount);
        nobody.teams = vec!["T9".into()];
        assert!(matches!(allocate::plan(&test.db, &clock, &nobody, None, "lead").await, Err(AllocateError::Unknown { what: "team", .. })));
        let mut elsewhere = request(Method::Match);
        elsewhere.teams = Vec::new();
        elsewhere.agents = vec!["A2".into()];
        elsewhere.regions.insert("north".into(), vec!["A1".into()]);
        let refused = allocate::plan(&test.db, &clock, &elsewhere, None, "lead").await;
        assert!(matches!(refused, Err(AllocateError::Region(code)) if code == "A1"));
        let mut none = request(Method::EvenCount);
        none.cases.client = "other".into();
        assert!(matches!(allocate::plan(&test.db, &clock, &none, None, "lead").await, Err(AllocateError::NoCases)));
        let mut tx = test.db.begin().await.unwrap();
        prepare(&mut tx, "UPDATE cases SET currency = 'USD' WHERE reference = 'C1'").await;
        tx.commit().await.unwrap();
        let mixed = allocate::plan(&test.db, &clock, &request(Method::EvenCount), None, "lead").await;
        assert!(matches!(mixed, Err(AllocateError::Currencies(_))));
    }

    async fn a_hidden_case_is_never_selected(test: Test) {
        house(&test, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        prepare(&mut tx, "UPDATE cases SET revealed_at_ms = NULL WHERE reference = 'C1'").await;
        let seen = selection::select(&mut tx, None, &CaseFilter::default()).await.unwrap();
        assert_eq!(seen.len(), 2);
        let client = seen[0].client;
        let names = ["C0".to_owned(), "C1".to_owned(), "C9".to_owned()];
        let (found, missing) = selection::by_references(&mut tx, client, &names).await.unwrap();
        assert_eq!((found.len(), missing), (1, vec!["C1".to_owned(), "C9".to_owned()]));
    }

    async fn states_change_in_bulk_with_reason_history_and_callbacks_and_settled_stays_settled(test: Test) {
        let floor = house(&test, 100).await;
        let clock = clock(NOW_MS);
        let all: Vec<CaseId> = floor.targets.iter().map(|t| t.case).collect();
        let mut tx = test.db.begin().await.unwrap();
        cases::set_state(&mut tx, all[0], CaseState::Settled, NOW_MS).await.unwrap();
        let promised = NewCallback {
            case: all[1], contact_point: floor.targets[1].contact_point, agent: floor.agent, due_at_ms: NOW_MS, actor: "li",
        };
        let callback = callbacks::queue(&mut tx, &promised, NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        let by = ("lead", "the client asked");
        let pause = Act::Pause { until_ms: Some(NOW_MS + HOUR_MS) };
        let done = bulk::act(&test.db, &clock, &all, pause, None, by).await.unwrap();
        assert_eq!((done.asked, done.changed), (100, 99));
        assert_eq!(bulk::end_pauses(&test.db, NOW_MS + HOUR_MS - 1).await.unwrap(), 0);
        assert_eq!(bulk::act(&test.db, &clock, &all[..50], Act::Resume, None, by).await.unwrap().changed, 49);
        assert_eq!(bulk::end_pauses(&test.db, NOW_MS + HOUR_MS).await.unwrap(), 50);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE state = 'open' AND paused_until_ms IS NULL").await, 99);
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM case_changes WHERE kind = 'state' AND actor = 'system' AND after = '{\"state\":\"open\"}'").await, 50);
        assert_eq!(callbacks::by_id(&mut tx, callback).await.unwrap().unwrap().state, CallbackState::Queued);
        tx.rollback().await.unwrap();
        assert_eq!(bulk::act(&test.db, &clock, &all, Act::Mark("red"), None, by).await.unwrap().changed, 100);
        assert_eq!(bulk::act(&test.db, &clock, &all, Act::Mark("red"), None, by).await.unwrap().changed, 0);
        assert_eq!(bulk::act(&test.db, &clock, &all, Act::Return, None, by).await.unwrap().changed, 99);
        assert_eq!(bulk::act(&test.db, &clock, &all, Act::Close, None, by).await.unwrap().changed, 0);
        let mut tx = test.db.read().await.unwrap();
        let cancelled = callbacks::by_id(&mut tx, callback).await.unwrap().unwrap();
        assert_eq!((cancelled.state, cancelled.reason.as_deref()), (CallbackState::Cancelled, Some("the case was returned")));
        assert_eq!(cases::by_id(&mut tx, all[0]).await.unwrap().unwrap().state, CaseState::Settled);
        assert_eq!(count(&mut tx, "SELECT COUNT(*) AS n FROM case_changes WHERE reason = 'the client asked'").await, 99 + 49 + 100 + 99);
        tx.rollback().await.unwrap();
        for (act, reason) in [(Act::Close, " "), (Act::Mark("weird"), "x"), (Act::Pause { until_ms: Some(NOW_MS) }, "x")] {
            assert!(bulk::act(&test.db, &clock, &all, act, None, ("lead", reason)).await.is_err(), "{act:?}");
        }
    }

    async fn a_callback_moves_only_from_where_it_is(test: Test) {
        let floor = house(&test, 2).await;
        let mut tx = test.db.begin().await.unwrap();
        let new = NewCallback {
            case: floor.targets[0].case, contact_point: floor.targets[0].contact_point, agent: floor.agent,
            due_at_ms: NOW_MS + HOUR_MS, actor: "li",
        };
        let id = callbacks::queue(&mut tx, &new, NOW_MS).await.unwrap();
        let elsewhere = NewCallback { case: floor.targets[1].case, ..new };
        assert!(callbacks::queue(&mut tx, &elsewhere, NOW_MS).await.is_err());
        for state in [CaseState::Settled, CaseState::Returned, CaseState::Closed] {
            cases::set_state(&mut tx, elsewhere.case, state, NOW_MS).await.unwrap();
            let over = NewCallback { contact_point: floor.targets[1].contact_point, ..elsewhere };
            let refused = callbacks::queue(&mut tx, &over, NOW_MS).await.unwrap_err();
            assert!(refused.to_string().contains(state.as_str()) && refused.to_string().contains("open or paused"), "{refused}");
        }
        cases::set_state(&mut tx, elsewhere.case, CaseState::Paused, NOW_MS).await.unwrap();
        let paused = NewCallback { contact_point: floor.targets[1].contact_point, due_at_ms: NOW_MS + 9 * HOUR_MS, ..elsewhere };
        callbacks::queue(&mut tx, &paused, NOW_MS).await.unwrap();
        assert_eq!(callbacks::due(&mut tx, NOW_MS, 10).await.unwrap(), []);
        assert_eq!(callbacks::due(&mut tx, NOW_MS + HOUR_MS, 10).await.unwrap().len(), 1);
        let offer = Move { from: CallbackState::Queued, to: CallbackState::Offered, reason: None, call: None };
        assert!(callbacks::advance(&mut tx, id, &offer, NOW_MS).await.unwrap());
        assert!(!callbacks::advance(&mut tx, id, &offer, NOW_MS).await.unwrap());
        let listed = callbacks::list(&mut tx, None, Some(floor.agent), Some(CallbackState::Offered), CallbackId::new(0), 10).await.unwrap();
        assert_eq!((listed.len(), listed[0].client), (1, floor.targets[0].client));
        tx.commit().await.unwrap();
        assert_eq!(crate::callbacks::miss_late(&test.db, NOW_MS + HOUR_MS - 1, NOW_MS).await.unwrap(), 0);
        assert_eq!(crate::callbacks::miss_late(&test.db, NOW_MS + HOUR_MS, NOW_MS).await.unwrap(), 1);
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(callbacks::by_id(&mut tx, id).await.unwrap().unwrap().state, CallbackState::Missed);
    }

    async fn what_an_agent_did_follows_without_a_gap_and_a_crash_ends_it_at_the_last_sign_of_life(test: Test) {
        let floor = house(&test, 1).await;
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let mut tx = test.db.begin().await.unwrap();
        let change = |doing, reason: &str, at| Change { agent: floor.agent, doing, reason: reason.into(), at_ms: NOW_MS + at };
        for (change, node) in [
            (change(Some(Doing::Ready), "", 0), "n1"),
            (change(Some(Doing::Break), "lunch", 1_000), "n1"),
            (change(Some(Doing::Ready), "", 5_000), "n1"),
            (change(Some(Doing::Ready), "", 7_000), "n2"),
        ] {
            agent_states::change(&mut tx, node, &[change], &zone).await.unwrap();
        }
        let did = agent_states::between(&mut tx, Some(floor.agent), NOW_MS, NOW_MS + 100_000).await.unwrap();
        let words: Vec<_> = did.iter().map(|i| (i.doing, i.from_ms - NOW_MS, i.until_ms.map(|at| at - NOW_MS))).collect();
        assert_eq!(words, [(Doing::Ready, 0, Some(1_000)), (Doing::Break, 1_000, Some(5_000)), (Doing::Ready, 5_000, None), (Doing::Ready, 7_000, None)]);
        assert_eq!(did[1].reason, "lunch");
        assert_eq!(agent_states::between(&mut tx, None, NOW_MS + 1_500, NOW_MS + 2_000).await.unwrap().len(), 1);
        // A call of n1 began a minute later; the daemon died after it and starts an hour later.
        let id = call_id(1);
        attempt(&mut tx, id, &floor.targets[0], floor.agent, DATE, 10, NOW_MS + 60_000, "n1").await;
        assert_eq!(agent_states::close_leftovers(&mut tx, "n1", NOW_MS + HOUR_MS, &zone).await.unwrap(), 1);
        let did = agent_states::between(&mut tx, None, NOW_MS, NOW_MS + HOUR_MS).await.unwrap();
        assert_eq!((did[2].until_ms, did[3].until_ms), (Some(NOW_MS + 60_000), None));
        agent_states::change(&mut tx, "n2", &[change(None, "", 9_000)], &zone).await.unwrap();
        let did = agent_states::between(&mut tx, None, NOW_MS, NOW_MS + HOUR_MS).await.unwrap();
        assert_eq!(did[3].until_ms, Some(NOW_MS + 9_000));
        // Every end, also that of the crash, stands in the agent's day.
        let day = agent_days::read(&mut tx, DATE, DATE, Some(floor.agent)).await.unwrap();
        let day: Vec<_> = day.iter().map(|s| (s.state.as_str(), s.reason.as_str(), s.spans, s.ms)).collect();
        assert_eq!(day, [("break", "lunch", 1, 4_000), ("ready", "", 3, 1_000 + 55_000 + 2_000)]);
    }

    async fn agents_days_that_do_not_add_up_are_listed_and_made_anew(test: Test) {
        let floor = house(&test, 1).await;
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let clock = Clock::test(TestClock::standing(NOW_MS), TrustMode::Host);
        let mut tx = test.db.begin().await.unwrap();
        let change = |doing, at| Change { agent: floor.agent, doing, reason: String::new(), at_ms: NOW_MS + at };
        // From ten in the morning over two midnights, then a call, then a stretch that lasts.
        let changes = [
            change(Some(Doing::Ready), 0),
            change(Some(Doing::Talk), 40 * HOUR_MS),
            change(Some(Doing::Ready), 40 * HOUR_MS + 60_000),
        ];
        agent_states::change(&mut tx, "n1", &changes, &zone).await.unwrap();
        tx.commit().await.unwrap();
        let all = ("0000-00-00", "9999-99-99");
        let clean = day_sheets::recount(&test.db, &zone, all.0, all.1).await.unwrap();
        assert_eq!((clean.days, clean.rows, clean.differences), (3, 4, vec![]));
        for text in [
            "UPDATE rollup_agent_days SET ms = ms + 1 WHERE on_date = '2026-11-24'",
            "DELETE FROM rollup_agent_days WHERE state = 'talk'",
            "INSERT INTO rollup_agent_days SELECT agent_id, '2026-11-27', state, 'ghost', spans, ms, came_ms, went_ms
             FROM rollup_agent_days WHERE on_date = '2026-11-23'",
            // As it was before there were these columns, and two that are too wide.
            "UPDATE rollup_agent_days SET came_ms = NULL, went_ms = NULL WHERE on_date = '2026-11-23'",
            "UPDATE rollup_agent_days SET came_ms = came_ms - 1, went_ms = went_ms + 1
             WHERE on_date = '2026-11-25' AND state = 'ready'",
        ] {
            let mut tx = test.db.begin().await.unwrap();
            assert_eq!(tx.execute(&Sql { act: "plant a fault", text }, vec![]).await.unwrap(), 1, "{text}");
            tx.commit().await.unwrap();
        }
        let found = day_sheets::recount(&test.db, &zone, all.0, all.1).await.unwrap();
        let found: Vec<_> = found.differences.iter().map(|d| (d.stored.date.as_str(), d.lacking().spans, d.lacking().ms)).collect();
        let faults = [("2026-11-23", 0, 0), ("2026-11-24", 0, -1), ("2026-11-25", 0, 0), ("2026-11-25", 1, 60_000), ("2026-11-27", 0, -14 * HOUR_MS)];
        assert_eq!(found, faults);
        let part = day_sheets::recount(&test.db, &zone, "2026-11-25", "2026-11-25").await.unwrap();
        assert_eq!((part.days, part.differences.len()), (1, 2));
        // What was never counted is not counted from its middle on.
        let mut tx = test.db.begin().await.unwrap();
        let since = change(Some(Doing::Break), 40 * HOUR_MS + 120_000);
        agent_states::change(&mut tx, "n1", &[since], &zone).await.unwrap();
        let from_ms = NOW_MS + HOUR_MS;
        let span = agent_days::Span { agent: floor.agent, state: "ready".into(), reason: String::new(), from_ms, until_ms: from_ms + 1 };
        agent_days::add(&mut tx, &[span], &zone).await.unwrap();
        assert_eq!(agent_days::unknown(&mut tx).await.unwrap(), Some((DATE.to_owned(), DATE.to_owned())));
        tx.commit().await.unwrap();
        let mut told = Vec::new();
        let done = rebuild::rebuild_agents_days(&test.db, all, &zone, "test", &clock, |day, rows| told.push((day.to_owned(), rows)))
            .await
            .unwrap();
        assert_eq!((done.days, done.changed_days, done.rows, told.len()), (5, 4, 5, 5));
        let agree = day_sheets::recount(&test.db, &zone, all.0, all.1).await.unwrap();
        assert_eq!(agree.differences, []);
        // The daemon counts by itself what an update of the schema left open.
        let mut tx = test.db.begin().await.unwrap();
        prepare(&mut tx, "UPDATE rollup_agent_days SET came_ms = NULL, went_ms = NULL").await;
        tx.commit().await.unwrap();
        keeper::count_presence(&test.db, &clock, "n1", &zone).await.unwrap();
        let agree = day_sheets::recount(&test.db, &zone, all.0, all.1).await.unwrap();
        assert_eq!(agree.differences, []);
        // Where it does not agree, the sums stay and the sheet leaves it open.
        let mut tx = test.db.begin().await.unwrap();
        prepare(&mut tx, "UPDATE rollup_agent_days SET came_ms = NULL, went_ms = NULL, ms = ms + 1 WHERE state = 'talk'").await;
        tx.commit().await.unwrap();
        keeper::count_presence(&test.db, &clock, "n1", &zone).await.unwrap();
        let mut tx = test.db.read().await.unwrap();
        assert_eq!(agent_days::unknown(&mut tx).await.unwrap(), Some(("2026-11-25".to_owned(), "2026-11-25".to_owned())));
        let sheets = agent_days::sheets(&mut tx, all.0, all.1).await.unwrap();
        let sheets: Vec<_> = sheets.iter().map(|s| (s.date.as_str(), s.worked.talk_ms, s.present.is_some())).collect();
        assert_eq!(sheets, [(DATE, 0, true), ("2026-11-24", 0, true), ("2026-11-25", 60_001, false)]);
        tx.rollback().await.unwrap();
        // In another zone the days are others.
        let elsewhere = jiff::tz::TimeZone::get("America/New_York").unwrap();
        assert!(!day_sheets::recount(&test.db, &elsewhere, all.0, all.1).await.unwrap().differences.is_empty());
    }

    async fn what_passed_its_clock_is_listed_and_nothing_else(test: Test) {
        let floor = house(&test, 3).await;
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let limits = crate::config::Floor::default();
        let mut tx = test.db.begin().await.unwrap();
        let late = async |tx: &mut Tx, clock: WorkClock, after_ms: i64, agent: &str| {
            let asked = Asked {
                viewer: None, client: "bank", agent, now_ms: NOW_MS + after_ms, zone: &zone, limits: &limits, limit: 100,
            };
            overdue::list(tx, &[clock], &asked).await.unwrap()
        };
        assert_eq!(late(&mut tx, WorkClock::NewCase, 2 * HOUR_MS - 1, "").await, []);
        let unworked = late(&mut tx, WorkClock::NewCase, 2 * HOUR_MS, "").await;
        assert_eq!((unworked.len(), unworked[0].due_ms), (3, NOW_MS + 2 * HOUR_MS));
        prepare(&mut tx, "UPDATE cases SET worked_at_ms = 1 WHERE reference = 'C0'").await;
        assert_eq!(late(&mut tx, WorkClock::NewCase, 2 * HOUR_MS, "").await.len(), 2);
        assert_eq!(late(&mut tx, WorkClock::FirstCall, 48 * HOUR_MS - 1, "").await, []);
        prepare(&mut tx, "UPDATE cases SET state = 'paused' WHERE reference = 'C2'").await;
        assert_eq!(late(&mut tx, WorkClock::FirstCall, 48 * HOUR_MS, "").await.len(), 2);
        // A conversation of today is due at midnight; an unanswered call needs no words.
        for (n, answered) in [(0, Some(NOW_MS + 2_000)), (1, None)] {
            let id = dial(&mut tx, n, &floor.targets[n as usize], floor.agent).await;
            let closing = Closing {
                cause: if answered.is_some() { Cause::Answered } else { Cause::NoAnswer },
                ended_by: Party::Customer, sip_status: None, q850: None, seized_at_ms: Some(NOW_MS + 1_000), rang_at_ms: None,
                answered_at_ms: answered, ended_at_ms: NOW_MS + 9_000, overrun_ms: 0,
            };
            attempts::close(&mut tx, id, &closing).await.unwrap();
        }
        assert_eq!(late(&mut tx, WorkClock::Note, HOUR_MS, "").await, []);
        let unwritten = late(&mut tx, WorkClock::Note, 14 * HOUR_MS, "").await;
        assert_eq!((unwritten.len(), unwritten[0].due_ms), (1, NOW_MS + 14 * HOUR_MS));
        assert_eq!(late(&mut tx, WorkClock::Note, 14 * HOUR_MS, "A2").await, []);
        let matter = |client| NewMatter {
            client, case: None, kind: MatterKind::Police, grade: Grade::Serious, text: "asked for papers", occurred_at_ms: NOW_MS,
        };
        let entered = matters::enter(&mut tx, &matter("bank"), None, "lead", NOW_MS).await.unwrap();
        assert!(matches!(matters::enter(&mut tx, &matter("none"), None, "lead", NOW_MS).await, Err(MatterError::Client)));
        assert!(matches!(matters::enter(&mut tx, &matter("bank"), None, "lead", NOW_MS - 1).await, Err(MatterError::Time)));
        assert_eq!(late(&mut tx, WorkClock::MajorMatter, HOUR_MS / 2 - 1, "").await, []);
        assert_eq!(late(&mut tx, WorkClock::MajorMatter, HOUR_MS / 2, "").await.len(), 1);
        let reported = matters::report(&mut tx, entered.id, "Ms Wang, by phone", Some(Grade::Light), (None, "lead"), NOW_MS + 1).await.unwrap();
        assert_eq!((reported.grade, reported.reported_at_ms), (Grade::Light, Some(NOW_MS + 1)));
        assert!(matches!(matters::report(&mut tx, entered.id, "again", None, (None, "lead"), NOW_MS + 2).await, Err(MatterError::Reported)));
        assert_eq!(late(&mut tx, WorkClock::MajorMatter, HOUR_MS, "").await, []);
    }

    async fn what_came_in_is_added_up_by_batch_bucket_and_currency(test: Test) {
        house(&test, 4).await;
        let mut tx = test.db.begin().await.unwrap();
        case(&mut tx, "bank", "D0", "C-sibling", &number(90)).await;
        prepare(&mut tx, "UPDATE cases SET bucket = 'to_90', overdue_days = 30 + id WHERE reference IN ('C0', 'C-sibling')").await;
        prepare(&mut tx, "UPDATE cases SET bucket = 'above_360', overdue_days = 400 WHERE reference = 'C1'").await;
        let lines = work_clocks::intake(&mut tx, None, "bank", 0, i64::MAX).await.unwrap();
        let shown: Vec<_> = lines.iter().map(|l| (l.bucket.as_str(), l.cases, l.households, l.least_days, l.most_days)).collect();
        assert_eq!(shown, [("to_90", 2, 1, Some(31), Some(35)), ("above_360", 1, 1, Some(400), Some(400)), ("", 2, 2, None, None)]);
        assert_eq!(lines.iter().map(|l| l.placed_e4).sum::<i64>(), 10_000_000);
        assert_eq!(work_clocks::intake(&mut tx, None, "bank", NOW_MS + 1, i64::MAX).await.unwrap(), []);
        assert_eq!(work_clocks::intake(&mut tx, None, "other", 0, i64::MAX).await.unwrap(), []);
    }
}
