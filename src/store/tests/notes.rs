//! Notes: begun as the call ends, finished with everything that follows, found and written out.

use super::super::{
    attempts, attempts::Closing, bars, callbacks, callbacks::CallbackState, contact_points,
    dispositions, major_matters, notes, notes::Filter, notes::NoteState, recordings, sql::Sql,
};
use super::{DATE, Floor, NOW_MS, Test, attempt, call_id, dial, floor, on_both};
use crate::{
    agent::{Disposition, Effect},
    call::{Cause, Party},
    cases::notes::{Author, Begin, Finish, Hours, NoteError, Promise, finish, write},
    ids::{CallId, NoteId, RecordingId},
    policy::{BarKind, Relation},
    store::Tx,
};

/// An agent: judges no numbers.
pub(super) const LI: Author<'static> = Author {
    name: "li",
    vouches: false,
};

pub(super) fn closing(seized: bool, answered: bool) -> Closing {
    Closing {
        cause: if answered {
            Cause::Answered
        } else {
            Cause::NoAnswer
        },
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: seized.then_some(NOW_MS + 1_000),
        rang_at_ms: None,
        answered_at_ms: answered.then_some(NOW_MS + 5_000),
        ended_at_ms: NOW_MS + 65_000,
        overrun_ms: 0,
    }
}

/// Dials the n-th case, talks a minute, and gives the note.
pub(super) async fn talked(tx: &mut Tx, floor: &Floor, n: u32) -> notes::Note {
    let id = dial(tx, n, &floor.targets[n as usize], floor.agent).await;
    attempts::close(tx, id, &closing(true, true)).await.unwrap();
    notes::of_call(tx, id).await.unwrap().unwrap()
}

pub(super) fn said(disposition: &str) -> Finish {
    Finish {
        disposition: disposition.into(),
        text: "说好了".into(),
        ..Finish::default()
    }
}

async fn number(tx: &mut Tx, text: &'static str) -> i64 {
    let sql = Sql { act: "look", text };
    tx.fetch_one(&sql, vec![]).await.unwrap().get("n").unwrap()
}

async fn record(tx: &mut Tx, floor: &Floor, call: CallId) {
    let new = recordings::NewRecording {
        id: RecordingId::from_uuid(call.uuid()),
        call,
        segment: 1,
        client: floor.targets[0].client,
        created_at_ms: NOW_MS,
        sample_rate: 8_000,
        channels: 2,
    };
    recordings::insert(tx, &new).await.unwrap();
}

on_both! {
    async fn a_call_that_ends_has_a_note_half_filled_and_only_if_somebody_was_rung(test: Test) {
        let floor = floor(&test.db, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = talked(&mut tx, &floor, 0).await;
        assert_eq!(note.contact_point, Some(floor.targets[0].contact_point));
        assert_eq!((note.relation, note.agent), (Relation::Debtor, Some(floor.agent)));
        assert_eq!((note.started_at_ms, note.answered_at_ms, note.ended_at_ms),
                   (NOW_MS, Some(NOW_MS + 5_000), Some(NOW_MS + 65_000)));
        assert_eq!((note.cause.as_deref(), note.state, note.local_date.as_str()), (Some("answered"), NoteState::Draft, DATE));
        let unrung = dial(&mut tx, 1, &floor.targets[1], floor.agent).await;
        attempts::close(&mut tx, unrung, &closing(false, false)).await.unwrap();
        assert_eq!(notes::of_call(&mut tx, unrung).await.unwrap(), None);
        let rung = dial(&mut tx, 2, &floor.targets[2], floor.agent).await;
        attempts::close(&mut tx, rung, &closing(true, false)).await.unwrap();
        assert!(notes::of_call(&mut tx, rung).await.unwrap().is_some());
        // What a crash hid is corrected in the same note.
        attempts::correct(&mut tx, rung, &closing(true, true)).await.unwrap();
        let note = notes::of_call(&mut tx, rung).await.unwrap().unwrap();
        assert_eq!((note.answered_at_ms, note.cause.as_deref()), (Some(NOW_MS + 5_000), Some("answered")));
    }

    async fn a_promise_stands_in_the_note_and_the_disposition_in_the_attempt(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = talked(&mut tx, &floor, 0).await;
        let mut words = said("promised");
        words.promise = Some(Promise { amount_e4: 12_340_000, on: "2026-11-30".parse().unwrap() });
        words.fields.insert("支行".into(), "浦东".into());
        let followed = finish(&mut tx, note.id, &words, LI, NOW_MS + 70_000).await.unwrap();
        assert_eq!(followed.effects, [Effect::Promise]);
        let stored = notes::by_id(&mut tx, note.id).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.promise_e4, stored.promise_on.as_deref()),
                   (NoteState::Final, Some(12_340_000), Some("2026-11-30")));
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM attempts WHERE disposition = 'promised' AND right_party = 1").await, 1);
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE worked_at_ms IS NOT NULL AND followed_at_ms IS NOT NULL").await, 1);
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM access_log WHERE action = 'note.finish'").await, 1);
    }

    async fn each_effect_is_carried_out_with_the_note_and_nothing_of_it_without(test: Test) {
        let floor = floor(&test.db, 8).await;
        let later = NOW_MS + 3_600_000;
        {
            // Not committed: nothing stands.
            let mut tx = test.db.begin().await.unwrap();
            let note = talked(&mut tx, &floor, 0).await;
            finish(&mut tx, note.id, &said("deceased"), LI, later).await.unwrap();
        }
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM bars").await, 0);
        let mut callback = said("callback");
        callback.callback_at_ms = Some(later + 1_000);
        let mut hours = said("asks_hours");
        hours.agreement = Some(Hours {
            hours: serde_json::from_value(serde_json::json!({
                "mon": ["21:00-22:00"], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []
            })).unwrap(),
            until_ms: later + 86_400_000,
            offset_ms: 1_500,
        });
        let all = [said("deceased"), said("suspected_fraud"), said("complaint"), said("do_not_call"),
                   said("wrong_number"), said("refuses_contact"), callback, hours];
        let mut followed = Vec::new();
        for (n, words) in all.iter().enumerate() {
            let note = talked(&mut tx, &floor, n as u32).await;
            record(&mut tx, &floor, call_id(n as u32)).await;
            if n == 5 {
                let third = Sql { act: "make it a third party's", text: "UPDATE notes SET relation = 'friend' WHERE id = $1" };
                tx.execute(&third, args![note.id]).await.unwrap();
            }
            followed.push(finish(&mut tx, note.id, words, LI, later).await.unwrap());
        }
        for (scope, kind) in [("person", "deceased"), ("case", "suspected_fraud"), ("case", "complaint"), ("number", "do_not_call")] {
            let found = tx.fetch_one(
                &Sql { act: "look", text: "SELECT COUNT(*) AS n FROM bars WHERE scope = $1 AND kind = $2 AND actor = 'li'" },
                args![scope, kind],
            ).await.unwrap();
            assert_eq!(found.get::<i64>("n").unwrap(), 1, "{kind}");
        }
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM cases WHERE mark <> ''").await, 0, "a colour is people's own");
        let kinds = async |tx: &mut Tx, n: usize| bars::kinds_on(tx, floor.targets[n].case, later).await.unwrap();
        assert_eq!((kinds(&mut tx, 0).await, kinds(&mut tx, 1).await, kinds(&mut tx, 7).await),
                   (vec![BarKind::Deceased], vec![BarKind::SuspectedFraud], vec![]));
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM number_faults WHERE kind = 'wrong_number' AND counts = 1").await, 1);
        assert_eq!(followed[4].counts, Some(true));
        let refused = contact_points::target(&mut tx, floor.targets[5].contact_point).await.unwrap().unwrap();
        assert!(refused.refused);
        let queued = callbacks::due(&mut tx, later + 1_000, 10).await.unwrap();
        assert_eq!((queued.len(), queued[0].state, queued[0].agent), (1, CallbackState::Queued, floor.agent));
        assert_eq!(followed[6].callback, Some(queued[0].id.get()));
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM agreements WHERE state = 'waiting' AND proof = 'recording' AND offset_ms = 1500").await, 1);
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM agreement_numbers").await, 1);
        let matters = major_matters::list(&mut tx, None, true, i64::MAX, 10).await.unwrap();
        assert_eq!((matters.len(), Some(matters[0].id)), (1, followed[2].major_matter));
    }

    async fn a_finished_note_can_be_changed_and_its_effects_happen_once(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let note = talked(&mut tx, &floor, 0).await;
        let mut words = said("callback");
        words.callback_at_ms = Some(NOW_MS + 7_200_000);
        finish(&mut tx, note.id, &words, LI, NOW_MS + 70_000).await.unwrap();
        words.text = "更正".into();
        let again = finish(&mut tx, note.id, &words, LI, NOW_MS + 80_000).await.unwrap();
        assert_eq!(again.effects, []);
        assert_eq!(number(&mut tx, "SELECT COUNT(*) AS n FROM callbacks").await, 1);
        let other = finish(&mut tx, note.id, &said("wrong_number"), LI, NOW_MS + 90_000).await.unwrap();
        assert_eq!((other.effects, other.stands), (vec![Effect::InvalidNumber], vec![Effect::Callback]));
        let stored = notes::by_id(&mut tx, note.id).await.unwrap().unwrap();
        assert_eq!((stored.disposition.as_deref(), stored.finished_at_ms), (Some("wrong_number"), Some(NOW_MS + 70_000)));
    }

    async fn a_clients_own_list_replaces_the_general_one_code_by_code(test: Test) {
        let floor = floor(&test.db, 1).await;
        let client = floor.targets[0].client;
        let mut tx = test.db.begin().await.unwrap();
        let own = Disposition {
            code: "says_paid".into(),
            name_en: "Paid, they say".into(),
            name_zh: "自称已结清".into(),
            right_party: true,
            effects: vec![Effect::Callback],
        };
        dispositions::set(&mut tx, Some(client), &own, true).await.unwrap();
        let off = Disposition { code: "machine".into(), effects: vec![], ..own.clone() };
        dispositions::set(&mut tx, Some(client), &off, false).await.unwrap();
        let list = dispositions::list(&mut tx, Some(client)).await.unwrap();
        let general = dispositions::list(&mut tx, None).await.unwrap();
        assert_eq!(list.len(), general.len());
        assert_eq!(dispositions::find(&mut tx, client, "says_paid").await.unwrap(), Some(own));
        assert_eq!(dispositions::find(&mut tx, client, "machine").await.unwrap(), None);
        assert!(general.iter().any(|one| one.disposition.code == "machine" && one.active && !one.own));
        let note = talked(&mut tx, &floor, 0).await;
        let refused = finish(&mut tx, note.id, &said("machine"), LI, NOW_MS + 70_000).await.unwrap_err();
        assert!(matches!(&refused, NoteError::Disposition { offered, .. } if offered.contains("says_paid")), "{refused}");
    }

    async fn notes_are_found_by_every_filter_and_page_by_page(test: Test) {
        let floor = floor(&test.db, 3).await;
        let mut tx = test.db.begin().await.unwrap();
        for n in 0..3 {
            let note = talked(&mut tx, &floor, n).await;
            let mut words = said(if n == 0 { "says_paid" } else { "negotiating" });
            words.text = format!("第{n}次 100% Abc_x");
            finish(&mut tx, note.id, &words, LI, NOW_MS + 70_000).await.unwrap();
        }
        let begin = Begin { case: floor.targets[0].case, contact_point: None, agent: None, today: "2026-11-24" };
        let (without, _) = write(&mut tx, &begin, &said("negotiating"), LI, NOW_MS + 80_000).await.unwrap();
        let found = async |tx: &mut Tx, filter: Filter| {
            let lines = notes::newest(tx, None, &filter, None, None, 100).await.unwrap();
            lines.iter().map(|line| line.note.id.get()).collect::<Vec<_>>()
        };
        assert_eq!(found(&mut tx, Filter::default()).await.len(), 4);
        for (filter, count) in [
            (Filter { client: "bank".into(), ..Filter::default() }, 4),
            (Filter { client: "other".into(), ..Filter::default() }, 0),
            (Filter { agent: "A1".into(), ..Filter::default() }, 3),
            (Filter { from: DATE.into(), to: DATE.into(), ..Filter::default() }, 3),
            (Filter { from: "2026-11-24".into(), ..Filter::default() }, 1),
            (Filter { disposition: "says_paid".into(), ..Filter::default() }, 1),
            (Filter { reference: "C0".into(), ..Filter::default() }, 2),
            (Filter { text: "abc_X".into(), ..Filter::default() }, 3),
            (Filter { text: "100%".into(), ..Filter::default() }, 3),
            (Filter { text: "abcdx".into(), ..Filter::default() }, 0),
            (Filter { state: Some(NoteState::Draft), ..Filter::default() }, 0),
        ] {
            assert_eq!(found(&mut tx, filter.clone()).await.len(), count, "{filter:?}");
        }
        let first = notes::newest(&mut tx, None, &Filter::default(), None, None, 3).await.unwrap();
        assert_eq!(first[0].note.id, without);
        let rest = notes::newest(&mut tx, None, &Filter::default(), None, Some(first[2].note.id), 3).await.unwrap();
        assert_eq!((rest.len(), rest[0].number.as_str(), rest[0].disposition_names.1.as_str()),
                   (1, floor.targets[0].number.dial_string(), "称已还款"));
        let oldest = notes::after(&mut tx, None, &Filter::default(), NoteId::new(0), 2).await.unwrap();
        assert_eq!(oldest[0].note.id, rest[0].note.id);
    }

    async fn the_note_of_a_test_call_does_not_exist(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let id = call_id(1);
        attempt(&mut tx, id, &floor.targets[0], floor.agent, DATE, 10, NOW_MS, "n").await;
        tx.execute(&Sql { act: "make it a test", text: "UPDATE attempts SET purpose = 'test'" }, vec![]).await.unwrap();
        attempts::close(&mut tx, id, &closing(true, true)).await.unwrap();
        assert_eq!(notes::of_call(&mut tx, id).await.unwrap(), None);
    }
}
