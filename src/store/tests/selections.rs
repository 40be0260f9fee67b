//! Which cases: by what they are and by lists, for allocation and for bulk work, and how what was ended by mistake is open again.

use super::super::{
    case_states::Act,
    cases, clients,
    selection::{self, CaseFilter},
    sql::Sql,
    teams, templates, users,
};
use super::{NOW_MS, Test, floor, on_both};
use crate::{
    cases::{
        allocate::{self, AllocateError, Planned, Request},
        allocation::Method,
        bulk,
    },
    clock::{Clock, TestClock, TrustMode},
    ids::CaseId,
    policy::CaseState,
};

fn clock() -> Clock {
    Clock::test(TestClock::standing(NOW_MS), TrustMode::Host)
}

async fn prepare(test: &Test, text: &'static str) {
    let mut tx = test.db.begin().await.unwrap();
    let sql = Sql {
        act: "prepare a test",
        text,
    };
    tx.execute(&sql, vec![]).await.unwrap();
    tx.commit().await.unwrap();
}

fn list(references: &[&str]) -> Request {
    Request {
        method: Method::EvenCount,
        cases: CaseFilter::default(),
        client: "bank".into(),
        references: references.iter().map(ToString::to_string).collect(),
        agents: vec!["A1".into()],
        teams: Vec::new(),
        to_teams: false,
        regions: std::collections::BTreeMap::new(),
    }
}

on_both! {
    async fn cases_are_selected_by_type_days_placement_follow_up_and_own_fields(test: Test) {
        floor(&test.db, 4).await;
        for text in [
            "UPDATE batches SET case_type = 'loan', placed_on = '2026-11-03'",
            "UPDATE cases SET overdue_days = 30, fields = '{\"product\":\"gold\"}' WHERE reference = 'C0'",
            "UPDATE cases SET overdue_days = 90, followed_at_ms = 1000, fields = '{\"product\":\"gold\",\"city\":\"X\"}' WHERE reference = 'C1'",
            "UPDATE cases SET overdue_days = 200, followed_at_ms = 5000 WHERE reference = 'C2'",
        ] {
            prepare(&test, text).await;
        }
        let found = async |change: &dyn Fn(&mut CaseFilter)| {
            let mut filter = CaseFilter::default();
            change(&mut filter);
            let mut tx = test.db.read().await.unwrap();
            let found = selection::select(&mut tx, None, &filter).await.unwrap();
            found.into_iter().map(|one| one.reference).collect::<Vec<_>>().join(" ")
        };
        let day = |text: &str| Some(text.parse().unwrap());
        assert_eq!(found(&|f| f.case_type = "loan".into()).await, "C0 C1 C2 C3");
        assert_eq!(found(&|f| f.case_type = "card".into()).await, "");
        assert_eq!(found(&|f| f.from_days = Some(90)).await, "C1 C2");
        assert_eq!(found(&|f| (f.from_days, f.to_days) = (Some(31), Some(90))).await, "C1");
        assert_eq!(found(&|f| f.placed_from = day("2026-11-03")).await, "C0 C1 C2 C3");
        assert_eq!(found(&|f| f.placed_from = day("2026-11-04")).await, "");
        assert_eq!(found(&|f| f.placed_to = day("2026-11-02")).await, "");
        assert_eq!(found(&|f| f.not_followed_since_ms = Some(5000)).await, "C0 C1 C3");
        assert_eq!(found(&|f| { f.fields.insert("product".into(), "gold".into()); }).await, "C0 C1");
        let both = |f: &mut CaseFilter| {
            f.fields.insert("product".into(), "gold".into());
            f.fields.insert("city".into(), "X".into());
        };
        assert_eq!(found(&both).await, "C1");
    }

    async fn a_list_of_case_numbers_is_dealt_and_what_is_not_in_it_is_named(test: Test) {
        floor(&test.db, 4).await;
        prepare(&test, "UPDATE cases SET state = 'closed' WHERE reference = 'C2'").await;
        let mut tx = test.db.begin().await.unwrap();
        teams::ensure(&mut tx, "T1", "One", NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        let plan = async |request: &Request| allocate::plan(&test.db, &clock(), request, None, "lead").await;
        let Planned { totals, left_out, .. } = plan(&list(&["C0", "C2", "C3", "C9"])).await.unwrap();
        assert_eq!((totals.len(), totals[0].cases), (1, 2));
        assert_eq!(left_out, ["C9", "C2"]);
        let mut closed = list(&["C0", "C2"]);
        closed.cases.state = Some(CaseState::Closed);
        assert_eq!(plan(&closed).await.unwrap().left_out, ["C0"]);
        let mut mixed = list(&["C0"]);
        mixed.cases.region = "X".into();
        assert!(matches!(plan(&mixed).await, Err(AllocateError::List)));
        let nameless = Request { client: String::new(), ..list(&["C0"]) };
        assert!(matches!(plan(&nameless).await, Err(AllocateError::List)));
        assert!(matches!(plan(&list(&["C9"])).await, Err(AllocateError::NoCases)));
        // Of a client that is not his a lead deals nothing.
        let mut tx = test.db.begin().await.unwrap();
        let other = clients::ensure(&mut tx, "other", "Other", NOW_MS).await.unwrap().id;
        let new = users::NewUser {
            name: "narrow", role: users::Role::Lead, agent_id: None, scope: users::Scope::Clients(vec![other]),
        };
        users::add(&mut tx, &new, &users::Token::from_random([1; 32]), NOW_MS).await.unwrap();
        let narrow = users::by_name(&mut tx, "narrow").await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let his = allocate::plan(&test.db, &clock(), &list(&["C0"]), Some(&narrow), "narrow").await;
        assert!(matches!(his, Err(AllocateError::NoClient)));
    }

    async fn what_was_ended_by_mistake_is_open_again_and_what_is_paid_only_if_that_is_said(test: Test) {
        let floor = floor(&test.db, 5).await;
        for text in [
            "UPDATE cases SET state = 'returned' WHERE reference = 'C0'",
            "UPDATE cases SET state = 'closed' WHERE reference = 'C1'",
            "UPDATE cases SET state = 'settled' WHERE reference = 'C2'",
            "UPDATE cases SET state = 'paused', paused_until_ms = 5 WHERE reference = 'C3'",
        ] {
            prepare(&test, text).await;
        }
        let all: Vec<CaseId> = floor.targets.iter().map(|target| target.case).collect();
        let by = ("lead", "returned by mistake");
        let reopen = async |settled| {
            let act = Act::Reopen { settled };
            bulk::act(&test.db, &clock(), &all, act, None, by).await.unwrap().changed
        };
        let states = async || {
            let mut tx = test.db.read().await.unwrap();
            let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
            lines.into_iter().map(|line| line.case.state).collect::<Vec<_>>()
        };
        use CaseState::{Open, Paused, Settled};
        assert_eq!(reopen(false).await, 2);
        assert_eq!(states().await, [Open, Open, Settled, Paused, Open]);
        assert_eq!(reopen(false).await, 0);
        assert_eq!(reopen(true).await, 1);
        assert_eq!(states().await, [Open, Open, Open, Paused, Open]);
        let mut tx = test.db.read().await.unwrap();
        let noted = Sql {
            act: "look",
            text: "SELECT COUNT(*) AS n FROM case_changes WHERE kind = 'state' AND reason = 'returned by mistake' AND actor = 'lead'
                   AND after = '{\"state\":\"open\"}'",
        };
        assert_eq!(tx.fetch_one(&noted, vec![]).await.unwrap().get::<i64>("n").unwrap(), 3);
    }

    async fn a_template_that_is_withdrawn_counts_no_more(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS).await.unwrap().id;
        let mut ids = Vec::new();
        for (whose, body) in [(None, "all"), (Some(client), "one"), (Some(client), "two")] {
            ids.push(templates::add(&mut tx, whose, "cases", "x", body, "t", NOW_MS).await.unwrap().0);
        }
        for wanted in ["two", "one", "all"] {
            assert_eq!(templates::newest(&mut tx, client, "cases", "x").await.unwrap().unwrap().body, wanted);
            let id = ids.pop().unwrap();
            assert!(templates::withdraw(&mut tx, id, NOW_MS).await.unwrap());
            assert!(!templates::withdraw(&mut tx, id, NOW_MS).await.unwrap());
        }
        assert!(templates::newest(&mut tx, client, "cases", "x").await.unwrap().is_none());
        let versions = templates::versions(&mut tx, Some(client), "x").await.unwrap();
        let shown: Vec<_> = versions.iter().map(|one| (one.version, one.withdrawn)).collect();
        assert_eq!(shown, [(2, true), (1, true)]);
        // The next one does not take the number of one that is withdrawn.
        assert_eq!(templates::add(&mut tx, Some(client), "cases", "x", "three", "t", NOW_MS).await.unwrap().1, 3);
    }
}
