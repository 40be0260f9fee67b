//! Persons behind debtors, and cases that nobody sees yet.

use super::super::{batches, cases, clients, contact_points, sql::Sql};
use super::{NOW_MS, Test, case, number, on_both};
use crate::{ids::CaseId, policy::Relation};

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
