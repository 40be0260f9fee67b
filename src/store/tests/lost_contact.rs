//! Loss of contact by numbers that are wrong or dead: whose they are, what is evidence, and that it ends.

use super::super::{
    Tx, attempts, callbacks, cases, contact_points,
    contact_points::Target,
    facts, notes,
    number_faults::{self, FaultKind},
    sql::Sql,
};
use super::{
    Floor, NODE, NOW_MS, Test, attempt, call_id, case, floor,
    notes::{LI, closing, said, talked},
    number, on_both, same_person,
};
use crate::{
    agent::{Disposition, Effect},
    cases::{
        notes::{Author, Begin, NoteError, finish, write},
        numbers::{NumberError, good_again},
    },
    ids::PersonId,
    policy::{CaseState, NumberState, OwnNumbers, Relation},
    store::dispositions,
};

const DATE: &str = super::DATE;
const MINUTE: i64 = 60_000;
/// A lead: says of numbers what counts.
const LIN: Author<'static> = Author {
    name: "lin",
    vouches: true,
};

async fn own(tx: &mut Tx, person: PersonId) -> (u32, u32) {
    let own = facts::own_numbers(tx, person).await.unwrap();
    (own.invalid, own.total)
}

/// A call to a target, so many minutes later; gives its note.
async fn called(
    tx: &mut Tx,
    floor: &Floor,
    n: u32,
    target: &Target,
    answered: bool,
) -> notes::Note {
    let later = i64::from(n) * 10 * MINUTE;
    let id = call_id(n);
    attempt(tx, id, target, floor.agent, DATE, 10, NOW_MS + later, NODE).await;
    let mut end = closing(true, answered);
    for at in [&mut end.seized_at_ms, &mut end.answered_at_ms] {
        *at = at.map(|ms| ms + later);
    }
    end.ended_at_ms += later;
    attempts::close(tx, id, &end).await.unwrap();
    notes::of_call(tx, id).await.unwrap().unwrap()
}

/// What the note of a call says as soon as the call is over.
async fn says(tx: &mut Tx, note: &notes::Note, word: &str) -> Option<bool> {
    let now_ms = note.ended_at_ms.unwrap() + 1_000;
    let followed = finish(tx, note.id, &said(word), LI, now_ms).await.unwrap();
    followed.counts
}

/// Two debtors of two banks with one number that both gave, and one of the second's own.
async fn two_with_one_number(test: &Test) -> (Floor, Target, Target) {
    let floor = floor(&test.db, 1).await;
    let zhang = floor.targets[0].clone();
    let mut tx = test.db.begin().await.unwrap();
    let wang = case(&mut tx, "bank2", "D-wang", "C-wang", &number(0)).await;
    assert_eq!(zhang.number_id, wang.number_id);
    tx.commit().await.unwrap();
    (floor, zhang, wang)
}

on_both! {
    async fn a_wrong_number_is_so_for_the_person_alone_and_a_dead_one_for_everybody(test: Test) {
        let (floor, zhang, wang) = two_with_one_number(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = called(&mut tx, &floor, 1, &zhang, true).await;
        assert_eq!(says(&mut tx, &note, "wrong_number").await, Some(true));
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1));
        assert_eq!(own(&mut tx, wang.person).await, (0, 1), "a note about another bank's debtor opened this one's lock");
        let state = async |tx: &mut Tx, at: &Target| contact_points::target(tx, at.contact_point).await.unwrap().unwrap().number_state;
        assert_eq!((state(&mut tx, &zhang).await, state(&mut tx, &wang).await), (NumberState::Invalid, NumberState::Usable));
        let note = called(&mut tx, &floor, 2, &zhang, false).await;
        assert_eq!(says(&mut tx, &note, "number_dead").await, Some(true));
        assert_eq!(own(&mut tx, wang.person).await, (1, 1));
        assert_eq!(state(&mut tx, &wang).await, NumberState::Invalid);
    }

    async fn what_is_on_record_of_a_person_counts_in_every_case_of_that_person(test: Test) {
        let (floor, zhang, second) = two_with_one_number(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = called(&mut tx, &floor, 1, &zhang, true).await;
        says(&mut tx, &note, "wrong_number").await;
        assert_eq!(own(&mut tx, second.person).await, (0, 1));
        same_person(&mut tx, &zhang, &second).await;
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1), "the two became one");
        // A friend's number is no own number, whatever is wrong with it.
        let (friend, _) = contact_points::ensure(&mut tx, zhang.case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        let friend = contact_points::target(&mut tx, friend).await.unwrap().unwrap();
        let note = called(&mut tx, &floor, 2, &friend, true).await;
        says(&mut tx, &note, "wrong_number").await;
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1));
    }

    async fn who_answers_there_again_is_in_contact_again(test: Test) {
        let (floor, zhang, wang) = two_with_one_number(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = called(&mut tx, &floor, 1, &zhang, true).await;
        says(&mut tx, &note, "wrong_number").await;
        // Somebody else's talk at that number says nothing of this person.
        called(&mut tx, &floor, 2, &wang, true).await;
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1));
        // Nor does a try that nobody answers.
        called(&mut tx, &floor, 3, &zhang, false).await;
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1));
        called(&mut tx, &floor, 4, &zhang, true).await;
        assert_eq!(own(&mut tx, zhang.person).await, (0, 1), "a talk there did not close the lock again");
        // A note that is written late tells of its own call, not of those after it.
        let early = called(&mut tx, &floor, 5, &zhang, true).await;
        let late = called(&mut tx, &floor, 6, &zhang, true).await;
        finish(&mut tx, early.id, &said("wrong_number"), LI, NOW_MS + 200 * MINUTE).await.unwrap();
        assert_eq!(own(&mut tx, zhang.person).await, (0, 1));
        says(&mut tx, &late, "wrong_number").await;
        assert_eq!(own(&mut tx, zhang.person).await, (1, 1));
        // A dead number is alive for everybody once anybody answers.
        let dead = called(&mut tx, &floor, 7, &wang, false).await;
        says(&mut tx, &dead, "number_dead").await;
        assert_eq!(own(&mut tx, wang.person).await, (1, 1));
        called(&mut tx, &floor, 8, &zhang, true).await;
        assert_eq!((own(&mut tx, wang.person).await, own(&mut tx, zhang.person).await), ((0, 1), (0, 1)));
    }

    async fn an_agent_alone_makes_no_evidence(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = floor.targets[0].clone();
        let mut tx = test.db.begin().await.unwrap();
        let begin = Begin { case: target.case, contact_point: Some(target.contact_point), agent: Some(floor.agent), today: DATE };
        for word in ["wrong_number", "number_dead"] {
            let (_, followed) = write(&mut tx, &begin, &said(word), LI, NOW_MS).await.unwrap();
            assert_eq!(followed.counts, Some(false), "{word}");
        }
        assert_eq!(own(&mut tx, target.person).await, (0, 1), "a note without any call opened the lock");
        let shown = contact_points::target(&mut tx, target.contact_point).await.unwrap().unwrap();
        assert_eq!(shown.number_state, NumberState::Invalid, "it is kept and shown");
        // Whose number it is nobody hears who is not answered; that it is dead one does.
        let unanswered = called(&mut tx, &floor, 1, &target, false).await;
        assert_eq!(says(&mut tx, &unanswered, "wrong_number").await, Some(false));
        assert_eq!(own(&mut tx, target.person).await, (0, 1));
        // A talk with the right person is not turned into evidence afterwards by the agent alone.
        let right = called(&mut tx, &floor, 2, &target, true).await;
        says(&mut tx, &right, "negotiating").await;
        says(&mut tx, &right, "machine").await;
        assert_eq!(says(&mut tx, &right, "wrong_number").await, Some(false));
        assert_eq!(own(&mut tx, target.person).await, (0, 1));
        // A second pair of eyes makes it count: of the note that says so already, or in a note of its own.
        assert_eq!(finish(&mut tx, right.id, &said("wrong_number"), LI, NOW_MS + 40 * MINUTE).await.unwrap().counts, None);
        assert_eq!(own(&mut tx, target.person).await, (0, 1));
        assert_eq!(finish(&mut tx, right.id, &said("wrong_number"), LIN, NOW_MS + 41 * MINUTE).await.unwrap().counts, Some(true));
        assert_eq!(own(&mut tx, target.person).await, (1, 1));
        called(&mut tx, &floor, 5, &target, true).await;
        assert_eq!(own(&mut tx, target.person).await, (0, 1));
        let (_, followed) = write(&mut tx, &begin, &said("wrong_number"), LIN, NOW_MS + 60 * MINUTE).await.unwrap();
        assert_eq!(followed.counts, Some(true));
        assert_eq!(own(&mut tx, target.person).await, (1, 1));
    }

    async fn the_right_person_on_the_line_takes_back_what_was_found_before(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = floor.targets[0].clone();
        let mut tx = test.db.begin().await.unwrap();
        let wrong = called(&mut tx, &floor, 1, &target, true).await;
        says(&mut tx, &wrong, "wrong_number").await;
        let right = called(&mut tx, &floor, 2, &target, true).await;
        let followed = finish(&mut tx, right.id, &said("negotiating"), LI, NOW_MS + 30 * MINUTE).await.unwrap();
        assert_eq!(followed.taken_back, 1);
        let faults = number_faults::of_case(&mut tx, target.case).await.unwrap();
        let lifted: Vec<_> = faults.iter().map(|f| (f.kind, f.counts, f.lifted_by.as_deref())).collect();
        assert_eq!(lifted, [(FaultKind::WrongNumber, true, Some("li"))]);
        // A right person of before does not take back what was found since.
        let early = called(&mut tx, &floor, 4, &target, true).await;
        let late = called(&mut tx, &floor, 5, &target, false).await;
        says(&mut tx, &late, "number_dead").await;
        let followed = finish(&mut tx, early.id, &said("negotiating"), LI, NOW_MS + 70 * MINUTE).await.unwrap();
        assert_eq!((followed.taken_back, own(&mut tx, target.person).await), (0, (1, 1)));
    }

    async fn a_note_that_is_corrected_takes_its_fault_back_and_says_what_stands(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = floor.targets[0].clone();
        let mut tx = test.db.begin().await.unwrap();
        let both = Disposition {
            code: "wrong_and_barred".into(),
            name_en: "Wrong, and not to be called".into(),
            name_zh: "非本人且禁呼".into(),
            right_party: false,
            effects: vec![Effect::BarNumber, Effect::InvalidNumber],
        };
        dispositions::set(&mut tx, None, &both, true).await.unwrap();
        let note = talked(&mut tx, &floor, 0).await;
        says(&mut tx, &note, "wrong_and_barred").await;
        assert_eq!(own(&mut tx, target.person).await, (1, 1));
        let followed = finish(&mut tx, note.id, &said("machine"), LI, NOW_MS + 80_000).await.unwrap();
        assert_eq!((followed.taken_back, followed.stands), (1, vec![Effect::BarNumber]));
        assert_eq!(own(&mut tx, target.person).await, (0, 1));
    }

    async fn a_number_is_good_again_by_the_word_of_whoever_may_judge_it(test: Test) {
        let (floor, zhang, wang) = two_with_one_number(&test).await;
        let mut tx = test.db.begin().await.unwrap();
        let second = case(&mut tx, "bank3", "D-zhang", "C-zhang", &number(0)).await;
        same_person(&mut tx, &zhang, &second).await;
        for (n, target) in [(1, &zhang), (2, &wang)] {
            let note = called(&mut tx, &floor, n, target, true).await;
            says(&mut tx, &note, "wrong_number").await;
        }
        let good = async |tx: &mut Tx, at: &Target, why| good_again(tx, at.contact_point, None, why, "lin", NOW_MS).await;
        assert!(matches!(good(&mut tx, &second, " ").await, Err(NumberError::Reason)));
        // Said at one of the person's cases, it holds in all of them, and for nobody else.
        assert_eq!(good(&mut tx, &second, "called back himself").await.unwrap(), 1);
        assert_eq!((own(&mut tx, zhang.person).await, own(&mut tx, wang.person).await), ((0, 1), (1, 1)));
        assert!(matches!(good(&mut tx, &second, "again").await, Err(NumberError::Nothing)));
        let count = Sql { act: "count", text: "SELECT COUNT(*) AS n FROM access_log WHERE action = 'number.good' AND actor = 'lin'" };
        assert_eq!(tx.fetch_one(&count, vec![]).await.unwrap().get::<i64>("n").unwrap(), 1);
        let dead = called(&mut tx, &floor, 3, &wang, false).await;
        says(&mut tx, &dead, "number_dead").await;
        assert_eq!(good(&mut tx, &zhang, "rang and was answered").await.unwrap(), 1);
        let facts = facts::own_numbers(&mut tx, zhang.person).await.unwrap();
        assert_eq!(facts, OwnNumbers { total: 1, invalid: 0, failures_in_a_row: 0 });
    }

    async fn a_callback_needs_somebody_who_calls_and_a_case_that_lives(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = floor.targets[0].clone();
        let mut tx = test.db.begin().await.unwrap();
        let begin = Begin { case: target.case, contact_point: Some(target.contact_point), agent: None, today: DATE };
        let mut later = said("callback");
        later.callback_at_ms = Some(NOW_MS + 60 * MINUTE);
        let refused = write(&mut tx, &begin, &later, LI, NOW_MS).await.unwrap_err();
        assert!(matches!(&refused, NoteError::Field { field: "callback_at_ms", .. }), "{refused}");
        let give = Sql { act: "allocate", text: "UPDATE cases SET agent_id = $1" };
        tx.execute(&give, args![floor.agent]).await.unwrap();
        let (_, followed) = write(&mut tx, &begin, &later, LI, NOW_MS).await.unwrap();
        let queued = callbacks::due(&mut tx, NOW_MS + 60 * MINUTE, 9).await.unwrap();
        assert_eq!((queued.len(), queued[0].agent, Some(queued[0].id.get())), (1, floor.agent, followed.callback));
        cases::set_state(&mut tx, target.case, CaseState::Settled, NOW_MS).await.unwrap();
        let refused = write(&mut tx, &begin, &later, LI, NOW_MS).await.unwrap_err();
        assert!(refused.to_string().contains("settled"), "{refused}");
    }

    async fn what_notes_had_found_is_taken_over_from_the_schema_before(test: Test) {
        let floor = floor(&test.db, 5).await;
        let mut tx = test.db.begin().await.unwrap();
        for (n, answered) in [(0, true), (1, false), (2, false), (3, true)] {
            called(&mut tx, &floor, n, &floor.targets[n as usize], answered).await;
        }
        let begin = Begin { case: floor.targets[4].case, contact_point: Some(floor.targets[4].contact_point), agent: None, today: DATE };
        write(&mut tx, &begin, &said("wrong_number"), LI, NOW_MS).await.unwrap();
        for text in [
            "DROP TABLE number_faults",
            "ALTER TABLE numbers ADD COLUMN state TEXT NOT NULL DEFAULT 'usable'",
            "ALTER TABLE numbers ADD COLUMN reason TEXT",
            "UPDATE dispositions SET effects = '[\"invalid_number\"]' WHERE code = 'number_dead'",
            "UPDATE numbers SET state = 'invalid'",
            "UPDATE notes SET state = 'final', disposition = CASE WHEN answered_at_ms IS NULL AND call_id IS NOT NULL THEN 'number_dead' ELSE 'wrong_number' END",
            "UPDATE notes SET disposition = 'wrong_number' WHERE id = 3",
            "UPDATE numbers SET state = 'usable' WHERE id = 4",
            "UPDATE cases SET mark = CASE id WHEN 1 THEN 'deceased' WHEN 2 THEN 'suspected_fraud' ELSE 'blue' END",
            "INSERT INTO case_changes (case_id, at_ms, actor, kind, before, after)
             VALUES (1, 1, 'li', 'mark', '{\"mark\":\"red\"}', '{\"mark\":\"deceased\"}'),
                    (2, 1, 'li', 'mark', '{\"mark\":\"green\"}', '{\"mark\":\"deceased\"}'),
                    (2, 2, 'li', 'mark', '{\"mark\":\"deceased\"}', '{\"mark\":\"suspected_fraud\"}')",
        ] {
            tx.execute(&Sql { act: "go back", text }, vec![]).await.unwrap();
        }
        let step = match test.db.one_writer() {
            true => include_str!("../../../migrations/sqlite/0007_number_faults.sql"),
            false => include_str!("../../../migrations/postgres/0007_number_faults.sql"),
        };
        for text in step.split(";\n").filter(|text| !text.trim().is_empty()) {
            tx.execute(&Sql { act: "migrate", text }, vec![]).await.unwrap();
        }
        let find = Sql { act: "look", text: "SELECT contact_point_id, kind, counts FROM number_faults ORDER BY contact_point_id" };
        let rows = tx.fetch_all(&find, vec![]).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| {
            let get = |column| row.get::<i64>(column).unwrap();
            (get("contact_point_id"), row.get::<String>("kind").unwrap(), get("counts"))
        }).collect();
        let (wrong, dead) = ("wrong_number".to_owned(), "number_dead".to_owned());
        assert_eq!(found, [(1, wrong.clone(), 1), (2, dead, 1), (3, wrong.clone(), 0), (5, wrong, 0)]);
        let dead = dispositions::known(&mut tx, floor.targets[0].client, "number_dead").await.unwrap().unwrap();
        assert_eq!(dead.effects, [Effect::DeadNumber]);
        let marks = Sql { act: "look", text: "SELECT mark FROM cases ORDER BY id" };
        let marks = tx.fetch_all(&marks, vec![]).await.unwrap();
        let marks: Vec<_> = marks.iter().map(|row| row.get::<String>("mark").unwrap()).collect();
        assert_eq!(marks, ["red", "green", "blue", "blue", "blue"]);
    }
}
