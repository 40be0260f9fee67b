//! Whether a disposition has what it asks for, and nothing else. Pure: the note as it is, what the agent says, and now.

use jiff::civil::Date;

use super::{Finish, NoteError, field};
use crate::{
    agent::{Disposition, Effect},
    policy::Week,
    store::notes::Note,
};

/// Characters of the longest text.
const LONGEST_TEXT: usize = 4_000;
/// Fields of one note, and characters of the longest.
const MOST_FIELDS: usize = 40;
const LONGEST_FIELD: usize = 500;
/// A promise, a callback or an agreement further away than this is a slip of the pen.
const FURTHEST_DAYS: i64 = 366;
const DAY_MS: i64 = 86_400_000;

/// Whether the disposition has what it asks for, and nothing else.
pub(super) fn check(
    said: &Finish,
    disposition: &Disposition,
    note: &Note,
    now_ms: i64,
) -> Result<(), NoteError> {
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if said.text.chars().count() > LONGEST_TEXT || said.text.contains(strange) {
        return Err(field(
            "text",
            format!("write at most {LONGEST_TEXT} characters, without control characters"),
        ));
    }
    let fits = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => {
            text.chars().count() <= LONGEST_FIELD && !text.contains(strange)
        }
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => true,
        _ => false,
    };
    let named = |name: &String| (1..=64).contains(&name.chars().count()) && !name.contains(strange);
    if said.fields.len() > MOST_FIELDS || !said.fields.iter().all(|(k, v)| named(k) && fits(v)) {
        return Err(field(
            "fields",
            format!(
                "at most {MOST_FIELDS}, each a text of at most {LONGEST_FIELD} characters, a number, true or false"
            ),
        ));
    }
    let code = &disposition.code;
    let asked = |name, given: bool, effect| match (given, disposition.does(effect)) {
        (true, false) => Err(field(name, format!("the disposition {code} takes none"))),
        (false, true) => Err(field(name, format!("the disposition {code} needs one"))),
        _ => Ok(()),
    };
    asked("promise", said.promise.is_some(), Effect::Promise)?;
    // What was queued or proposed by this very disposition before is not asked for again.
    let again = note.disposition.as_deref() == Some(code.as_str());
    if !again || said.callback_at_ms.is_some() {
        asked(
            "callback_at_ms",
            said.callback_at_ms.is_some(),
            Effect::Callback,
        )?;
    }
    if !again || said.agreement.is_some() {
        asked("agreement", said.agreement.is_some(), Effect::Agreement)?;
    }
    if note.contact_point.is_none() && disposition.effects.iter().any(|e| e.needs_number()) {
        return Err(field(
            "disposition",
            format!(
                "{code} is about a number; write the note of that number's call, or name the contact point"
            ),
        ));
    }
    if disposition.does(Effect::RefuseContact) && !note.relation.is_third_party() {
        return Err(field(
            "disposition",
            format!(
                "{code} locks third parties, and this is a {}, who owes; take one that bars the number (do_not_call) or the \
                 case (complaint), or one that only says what was said (refuses_to_pay)",
                note.relation.as_str().replace('_', " ")
            ),
        ));
    }
    if let Some(promise) = &said.promise {
        let day: Option<Date> = note.local_date.parse().ok();
        let last = day.and_then(|day| day.checked_add(jiff::Span::new().days(FURTHEST_DAYS)).ok());
        if promise.amount_e4 <= 0 {
            return Err(field("promise", "an amount above zero is promised"));
        }
        if day.is_some_and(|day| promise.on < day) || last.is_some_and(|last| promise.on > last) {
            return Err(field(
                "promise",
                "the day lies before the note's or more than a year behind it",
            ));
        }
    }
    let ahead =
        |at_ms: i64| (now_ms..now_ms.saturating_add(FURTHEST_DAYS * DAY_MS)).contains(&at_ms);
    if said.callback_at_ms.is_some_and(|at_ms| !ahead(at_ms)) {
        return Err(field(
            "callback_at_ms",
            "choose an instant from now on, at most a year ahead",
        ));
    }
    if let Some(asked) = &said.agreement {
        if !ahead(asked.until_ms) {
            return Err(field("agreement", "it ends after now and within a year"));
        }
        if asked.hours == Week::default() {
            return Err(field("agreement", "name the hours of at least one weekday"));
        }
        if asked.offset_ms < 0 {
            return Err(field(
                "agreement",
                "offset_ms counts from the recording's beginning",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Promise;
    use super::*;
    use crate::{
        ids::{AgentId, CaseId, ClientId, ContactPointId, NoteId},
        policy::Relation,
        store::notes::NoteState,
    };

    const NOW_MS: i64 = 1_795_399_200_000;

    fn note() -> Note {
        Note {
            id: NoteId::new(1),
            case: CaseId::new(1),
            client: ClientId::new(1),
            call: None,
            contact_point: Some(ContactPointId::new(1)),
            relation: Relation::Debtor,
            agent: Some(AgentId::new(1)),
            state: NoteState::Draft,
            disposition: None,
            text: String::new(),
            promise_e4: None,
            promise_on: None,
            fields: "{}".into(),
            local_date: "2026-11-23".into(),
            started_at_ms: NOW_MS,
            answered_at_ms: None,
            ended_at_ms: None,
            cause: None,
            finished_at_ms: None,
        }
    }

    fn doing(effects: &[Effect]) -> Disposition {
        Disposition {
            code: "x".into(),
            name_en: "X".into(),
            name_zh: "某".into(),
            right_party: true,
            effects: effects.to_vec(),
        }
    }

    fn promise(amount_e4: i64, on: &str) -> Finish {
        Finish {
            promise: Some(Promise {
                amount_e4,
                on: on.parse().unwrap(),
            }),
            ..Finish::default()
        }
    }

    #[test]
    fn a_disposition_gets_what_it_asks_for_and_nothing_else() {
        let plain = Finish::default();
        let promised = promise(1_000_000, "2026-11-30");
        let later = Finish {
            callback_at_ms: Some(NOW_MS + 1),
            ..Finish::default()
        };
        for (said, effects, wrong) in [
            (&plain, &[][..], None),
            (&promised, &[Effect::Promise], None),
            (&plain, &[Effect::Promise], Some("promise")),
            (&promised, &[], Some("promise")),
            (&later, &[Effect::Callback], None),
            (&later, &[], Some("callback_at_ms")),
            (&plain, &[Effect::Callback], Some("callback_at_ms")),
            (&plain, &[Effect::Agreement], Some("agreement")),
        ] {
            let found = check(said, &doing(effects), &note(), NOW_MS).err();
            let found = found.map(|e| e.to_string());
            match (found, wrong) {
                (None, None) => {}
                (Some(error), Some(field)) => assert!(error.starts_with(field), "{error}"),
                (found, _) => panic!("{effects:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_lies_out_of_bounds_is_refused_by_field() {
        let effects = [Effect::Promise];
        for said in [
            promise(0, "2026-11-30"),
            promise(1, "2026-11-22"),
            promise(1, "2028-11-30"),
        ] {
            assert!(
                check(&said, &doing(&effects), &note(), NOW_MS).is_err(),
                "{said:?}"
            );
        }
        let mut said = Finish {
            text: "好".repeat(LONGEST_TEXT + 1),
            ..Finish::default()
        };
        assert!(check(&said, &doing(&[]), &note(), NOW_MS).is_err());
        said.text = "a\u{7}".into();
        assert!(check(&said, &doing(&[]), &note(), NOW_MS).is_err());
        said.text = "a\nb".into();
        assert!(check(&said, &doing(&[]), &note(), NOW_MS).is_ok());
        said.fields.insert("k".into(), serde_json::json!([1]));
        assert!(check(&said, &doing(&[]), &note(), NOW_MS).is_err());
        let mut without = note();
        without.contact_point = None;
        let said = Finish::default();
        assert!(check(&said, &doing(&[Effect::InvalidNumber]), &without, NOW_MS).is_err());
    }

    #[test]
    fn a_refusal_of_contact_is_for_third_parties_alone() {
        let refuses = doing(&[Effect::RefuseContact]);
        let said = Finish::default();
        for &relation in Relation::ALL {
            let note = Note { relation, ..note() };
            let found = check(&said, &refuses, &note, NOW_MS);
            assert_eq!(found.is_ok(), relation.is_third_party(), "{relation:?}");
            if let Err(error) = found {
                assert!(error.to_string().contains("do_not_call"), "{error}");
            }
        }
    }
}
