//! Persons behind debtors, and cases that nobody sees yet.

use super::super::{
    Tx, attempts,
    attempts::{Closing, Seizure},
    bars::{self, NewBar, Subject},
    batches, case_bulk, cases, clients,
    contact_points::{self, Target},
    facts,
    outside_counts::{self, OutsideCount},
    persons,
    sql::Sql,
    tallies,
};
use super::{DATE, NODE, NOW_MS, Test, attempt, call_id, case, dial, floor, number, on_both};
use crate::{
    call::{Cause, Party},
    ids::{CaseId, PersonId},
    policy::{BarKind, CountNeeded, Measure, OwnNumbers, Relation, Scope},
};

/// Enters a contact of a case with an identity number, as an import does.
async fn contact(tx: &mut Tx, case: &Target, relation: Relation, hash: &str, n: u32) -> Target {
    let number = number(n);
    let digits = number.dial_string().to_owned();
    let new = case_bulk::NewPerson {
        relation: relation.as_str().to_owned(),
        name: "Zhang".to_owned(),
        identity_hash: Some(hash.to_owned()),
        numbers: vec![(digits.clone(), Some("CN".to_owned()))],
        addresses: Vec::new(),
        zones: std::collections::BTreeMap::new(),
    };
    case_bulk::enter_people(tx, &[(case.case, &new)], NOW_MS)
        .await
        .unwrap();
    let points = contact_points::of_case(tx, case.case).await.unwrap();
    let point = points.into_iter().find(|point| point.number == number);
    point.unwrap()
}

/// Calls to a person that were answered, as the caps count them, by person.
async fn answered(tx: &mut Tx, target: &Target) -> Vec<(PersonId, u32)> {
    let persons = facts::persons(tx, target).await.unwrap();
    let need = CountNeeded {
        measure: Measure::Connected,
        scope: Scope::Debtor,
        since_ms: 0,
        at_least_ms: 0,
    };
    let counts = tallies::counts(tx, target, &persons, &[need])
        .await
        .unwrap();
    let total = |count: &crate::policy::Count| (count.person.unwrap(), count.total());
    counts.iter().map(total).collect()
}

fn talked(at_ms: i64) -> Closing {
    Closing {
        cause: Cause::Answered,
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: Some(at_ms),
        rang_at_ms: None,
        answered_at_ms: Some(at_ms),
        ended_at_ms: at_ms + 1,
        overrun_ms: 0,
    }
}

on_both! {
    async fn every_debtor_has_a_person_of_his_own_and_entering_him_twice_makes_no_second(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let bank = clients::ensure(&mut tx, "bank", "Bank", NOW_MS).await.unwrap().id;
        let other = clients::ensure(&mut tx, "other", "Other", NOW_MS).await.unwrap().id;
        let first = cases::ensure_debtor(&mut tx, bank, "D1", NOW_MS).await.unwrap();
        assert_eq!(cases::ensure_debtor(&mut tx, bank, "D1", NOW_MS).await.unwrap(), first);
        cases::ensure_debtor(&mut tx, other, "D1", NOW_MS).await.unwrap();
        let count = Sql {
            act: "count",
            text: "SELECT COUNT(DISTINCT d.person_id) AS persons, COUNT(*) AS debtors, (SELECT COUNT(*) FROM persons) AS entered
                   FROM debtors d",
        };
        let row = tx.fetch_one(&count, vec![]).await.unwrap();
        let counted = ["persons", "debtors", "entered"].map(|column| row.get::<i64>(column).unwrap());
        assert_eq!(counted, [2, 2, 2]);
    }

    async fn a_contact_with_the_identity_number_of_a_debtor_is_that_person_to_bars_and_caps(test: Test) {
        let floor = floor(&test.db, 2).await;
        let (zhang, case_of_li) = (&floor.targets[0], &floor.targets[1]);
        let mut tx = test.db.begin().await.unwrap();
        persons::learn(&mut tx, zhang.debtor, "hash-of-zhang", "box").await.unwrap();
        let guarantor = contact(&mut tx, case_of_li, Relation::Guarantor, "hash-of-zhang", 70).await;
        assert_eq!(facts::persons(&mut tx, &guarantor).await.unwrap(), [zhang.person, case_of_li.person]);
        let own = facts::own_numbers(&mut tx, zhang.person).await.unwrap();
        assert_eq!(own, OwnNumbers { total: 2, invalid: 0, failures_in_a_row: 0 });

        // A talk with the guarantor counts for Zhang, whichever of his numbers is asked about.
        attempt(&mut tx, call_id(1), &guarantor, floor.agent, DATE, 10, NOW_MS, NODE).await;
        attempts::close(&mut tx, call_id(1), &talked(NOW_MS)).await.unwrap();
        assert_eq!(answered(&mut tx, zhang).await, [(zhang.person, 1)]);
        let told = OutsideCount {
            client: guarantor.client,
            case: guarantor.case,
            number: Some(guarantor.number_id),
            date: DATE.into(),
            day_began_ms: NOW_MS,
            day_ended_ms: NOW_MS + 1,
            attempts: 2,
            connected: 2,
            source: "agency B".into(),
        };
        outside_counts::put(&mut tx, &told, None).await.unwrap();
        assert_eq!(answered(&mut tx, zhang).await, [(zhang.person, 3)]);
        assert_eq!(answered(&mut tx, &guarantor).await, [(zhang.person, 3), (case_of_li.person, 3)]);

        // Who must not be called is not called as guarantor either, also if that is said while the agent's phone rings.
        dial(&mut tx, 2, &guarantor, floor.agent).await;
        let bar = NewBar {
            subject: Subject::Person(zhang.person),
            client: None,
            kind: BarKind::Complaint,
            reason: "complained",
            from_ms: NOW_MS,
            until_ms: None,
            actor: "lin",
        };
        assert_eq!(bars::active_for(&mut tx, &guarantor, NOW_MS).await.unwrap(), []);
        bars::bar(&mut tx, &bar).await.unwrap();
        assert_eq!(bars::active_for(&mut tx, &guarantor, NOW_MS).await.unwrap().len(), 1);
        assert_eq!(bars::active_for(&mut tx, case_of_li, NOW_MS).await.unwrap(), [], "his own number is another's");
        let marked = attempts::mark_seizure(&mut tx, call_id(2), NOW_MS + 1).await.unwrap();
        assert_eq!(marked, Seizure::Barred(BarKind::Complaint));
    }

    async fn a_contact_in_two_cases_is_one_person_though_nobodys_debtor_and_stays_it_when_he_becomes_one(test: Test) {
        let floor = floor(&test.db, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        let first = contact(&mut tx, &floor.targets[0], Relation::JointDebtor, "hash", 70).await;
        let second = contact(&mut tx, &floor.targets[1], Relation::Guarantor, "hash", 71).await;
        let of_both = async |tx: &mut Tx| {
            let (one, other) = (facts::persons(tx, &first).await.unwrap(), facts::persons(tx, &second).await.unwrap());
            one.into_iter().filter(|person| other.contains(person)).collect::<Vec<_>>()
        };
        let [person] = of_both(&mut tx).await[..] else { panic!("not one person") };
        attempt(&mut tx, call_id(1), &first, floor.agent, DATE, 10, NOW_MS, NODE).await;
        attempts::close(&mut tx, call_id(1), &talked(NOW_MS)).await.unwrap();
        assert!(answered(&mut tx, &second).await.contains(&(person, 1)));
        let debtor = floor.targets[2].debtor;
        persons::learn(&mut tx, debtor, "hash", "box").await.unwrap();
        assert_eq!(persons::of_debtor(&mut tx, debtor).await.unwrap(), Some(person));
        assert_eq!(of_both(&mut tx).await, [person]);
        let boxed = Sql { act: "read", text: "SELECT identity_box FROM persons WHERE id = $1" };
        let row = tx.fetch_one(&boxed, vec![person.into()]).await.unwrap();
        assert_eq!(row.get::<Option<String>>("identity_box").unwrap().as_deref(), Some("box"));
    }

    async fn a_case_that_is_not_revealed_exists_for_nobody(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let seen = case(&mut tx, "bank", "D1", "C1", &number(1)).await;
        for (hide, show) in [
            ("UPDATE cases SET revealed_at_ms = NULL", "UPDATE cases SET revealed_at_ms = 1"),
            ("UPDATE batches SET revealed_at_ms = NULL", "UPDATE batches SET revealed_at_ms = 1"),
        ] {
            tx.execute(&Sql { act: "hide", text: hide }, vec![]).await.unwrap();
            assert_eq!(contact_points::target(&mut tx, seen.contact_point).await.unwrap(), None);
            assert_eq!(contact_points::of_case(&mut tx, seen.case).await.unwrap(), []);
            assert_eq!(cases::by_id(&mut tx, seen.case).await.unwrap(), None);
            assert_eq!(cases::by_reference(&mut tx, seen.client, "C1").await.unwrap(), None);
            assert_eq!(cases::list(&mut tx, CaseId::new(0), 9).await.unwrap(), []);
            tx.execute(&Sql { act: "show", text: show }, vec![]).await.unwrap();
            assert_eq!(cases::list(&mut tx, CaseId::new(0), 9).await.unwrap().len(), 1);
            assert_eq!(contact_points::target(&mut tx, seen.contact_point).await.unwrap().unwrap(), seen);
        }
        let batch = batches::ensure(&mut tx, seen.client, "2027-01", NOW_MS).await.unwrap();
        let second = cases::insert(&mut tx, seen.client, batch, seen.debtor, "C2", NOW_MS).await.unwrap();
        let number = number(1);
        let person = contact_points::ensure(&mut tx, second.id, "Person", Relation::Debtor, &number, NOW_MS);
        let (point, _) = person.await.unwrap();
        assert!(contact_points::target(&mut tx, point).await.unwrap().is_some(), "what is entered singly is seen at once");
    }
}
