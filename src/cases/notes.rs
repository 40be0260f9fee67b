//! Finishing a call note: what the agent says came of the call, and everything that follows from it, in one transaction.
//!
//! The disposition decides what has to be said besides (a promise's amount and day, an instant to call back, agreed hours)
//! and what is done ([`Effect`]). Changing a finished note changes what it says; its effects are carried out again only if
//! the disposition is another one, and what an earlier one did is undone by nobody but whoever may lift it.
//! Notes themselves are `store::notes`, the lists of dispositions `store::dispositions`.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Disposition, Effect},
    ids::{AgentId, CaseId, ContactPointId, NoteId, PersonId, RecordingId},
    policy::{BarKind, NumberState, Relation, Week},
    store::{
        self, Tx,
        access::{self, Access},
        agreements::{self, NewAgreement, Proof},
        bars::{self, NewBar, Subject},
        callbacks::NewCallback,
        case_states::{self, Act, Why},
        contact_points::Target,
        major_matters::{Grade, MatterKind, NewMatter},
        notes::{NewNote, Note, Said},
        recordings::RecordingState,
    },
};

/// Characters of the longest text.
const LONGEST_TEXT: usize = 4_000;
/// Fields of one note, and characters of the longest.
const MOST_FIELDS: usize = 40;
const LONGEST_FIELD: usize = 500;
/// A promise, a callback or an agreement further away than this is a slip of the pen.
const FURTHEST_DAYS: i64 = 366;
const DAY_MS: i64 = 86_400_000;

/// What was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Ten-thousandths of the case's currency.
    pub amount_e4: i64,
    /// The day.
    pub on: Date,
}

/// Hours that the person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The hours of each weekday, local to the person.
    pub hours: Week,
    /// It ends then.
    pub until_ms: i64,
    /// Where in the recording it was said, milliseconds from its beginning.
    pub offset_ms: i64,
}

/// What the agent says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// Code of what came of it.
    pub disposition: String,
    /// Free words.
    pub text: String,
    /// For a disposition with [`Effect::Promise`].
    pub promise: Option<Promise>,
    /// For one with [`Effect::Callback`]: not before.
    pub callback_at_ms: Option<i64>,
    /// For one with [`Effect::Agreement`].
    pub agreement: Option<Hours>,
    /// The client's own fields: texts, numbers, yes or no.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// What followed from a finished note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// What was carried out.
    pub effects: Vec<Effect>,
    /// The callback that was queued.
    pub callback: Option<i64>,
    /// The agreement that waits for a second person.
    pub agreement: Option<i64>,
    /// The major matter that has to be reported.
    pub major_matter: Option<i64>,
}

/// Why a note cannot be finished so.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// No such note, case or contact point.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The client has no such disposition.
    #[error("disposition: {code:?} is not offered for this client; one of: {offered}")]
    Disposition {
        /// What was said.
        code: String,
        /// What may be said.
        offered: String,
    },
    /// Something is missing, too much or out of bounds.
    #[error("{field}: {problem}")]
    Field {
        /// Which part of the request.
        field: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn field(field: &'static str, problem: impl Into<String>) -> NoteError {
    NoteError::Field {
        field,
        problem: problem.into(),
    }
}

/// Finishes a note; gives what followed. Commit afterwards.
///
/// # Errors
/// [`NoteError`]: nothing of it stands then, once the transaction is dropped.
pub async fn finish(
    tx: &mut Tx,
    id: NoteId,
    said: &Finish,
    actor: &str,
    now_ms: i64,
) -> Result<Followed, NoteError> {
    let note = store::notes::lock(tx, id)
        .await?
        .ok_or(NoteError::NotFound("note"))?;
    let Some(disposition) = store::dispositions::find(tx, note.client, &said.disposition).await?
    else {
        let offered = store::dispositions::list(tx, Some(note.client)).await?;
        let offered: Vec<_> = offered
            .into_iter()
            .filter(|one| one.active)
            .map(|one| one.disposition.code)
            .collect();
        return Err(NoteError::Disposition {
            code: said.disposition.chars().take(64).collect(),
            offered: offered.join(", "),
        });
    };
    check(said, &disposition, &note, now_ms)?;
    let fields = serde_json::Value::Object(said.fields.clone()).to_string();
    let promise_on = said.promise.as_ref().map(|p| p.on.to_string());
    let row = Said {
        disposition: &disposition.code,
        text: said.text.trim(),
        promise_e4: said.promise.as_ref().map(|p| p.amount_e4),
        promise_on: promise_on.as_deref(),
        fields: &fields,
    };
    store::notes::finish(tx, &note, &row, now_ms).await?;
    let fresh = note.disposition.as_deref() != Some(disposition.code.as_str());
    let mut followed = Followed::default();
    if fresh {
        if let Some(call) = note.call {
            store::attempts::set_disposition(
                tx,
                call,
                &disposition.code,
                disposition.right_party,
                actor,
                now_ms,
            )
            .await?;
        }
        let doing = Doing {
            note: &note,
            said,
            disposition: &disposition,
            actor,
            now_ms,
        };
        for &effect in &disposition.effects {
            doing.carry_out(tx, effect, &mut followed).await?;
            followed.effects.push(effect);
        }
    }
    let access = Access {
        at_ms: now_ms,
        actor,
        action: "note.finish",
        object: &id.to_string(),
        client_id: Some(note.client),
        detail: serde_json::json!({
            "case": note.case,
            "before": note.disposition,
            "disposition": disposition.code,
            "effects": followed.effects,
        }),
    };
    access::log(tx, &access).await?;
    Ok(followed)
}

/// A note that no call began.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// The case.
    pub case: CaseId,
    /// About whom, if about one number of the case.
    pub contact_point: Option<ContactPointId>,
    /// Who writes it.
    pub agent: Option<AgentId>,
    /// The day it is of, `YYYY-MM-DD`.
    pub today: &'a str,
}

/// Writes a finished note without a call.
///
/// # Errors
/// As [`finish`]; also if there is no such case, or the number is not one of it.
pub async fn write(
    tx: &mut Tx,
    begin: &Begin<'_>,
    said: &Finish,
    actor: &str,
    now_ms: i64,
) -> Result<(NoteId, Followed), NoteError> {
    let case = store::cases::by_id(tx, begin.case)
        .await?
        .ok_or(NoteError::NotFound("case"))?;
    let relation = match begin.contact_point {
        None => Relation::Debtor,
        Some(point) => {
            let target = store::contact_points::target(tx, point).await?;
            target
                .filter(|target| target.case == begin.case)
                .ok_or(NoteError::NotFound("contact point in that case"))?
                .relation
        }
    };
    let new = NewNote {
        case: case.id,
        client: case.client_id,
        contact_point: begin.contact_point,
        relation,
        agent: begin.agent,
        local_date: begin.today,
    };
    let id = store::notes::write(tx, &new, now_ms).await?;
    Ok((id, finish(tx, id, said, actor, now_ms).await?))
}

/// Whether the disposition has what it asks for, and nothing else.
fn check(
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

struct Doing<'a> {
    note: &'a Note,
    said: &'a Finish,
    disposition: &'a Disposition,
    actor: &'a str,
    now_ms: i64,
}

impl Doing<'_> {
    fn point(&self) -> Result<ContactPointId, NoteError> {
        self.note
            .contact_point
            .ok_or(NoteError::NotFound("contact point"))
    }

    async fn target(&self, tx: &mut Tx) -> Result<Target, NoteError> {
        let found = store::contact_points::target(tx, self.point()?).await?;
        found.ok_or(NoteError::NotFound("contact point"))
    }

    /// The person who owes the case, whoever was spoken to.
    async fn debtor(&self, tx: &mut Tx) -> Result<PersonId, NoteError> {
        let case = store::cases::by_id(tx, self.note.case).await?;
        let person = match case {
            Some(case) => store::persons::of_debtor(tx, case.debtor_id).await?,
            None => None,
        };
        person.ok_or(NoteError::NotFound("debtor"))
    }

    async fn carry_out(
        &self,
        tx: &mut Tx,
        effect: Effect,
        followed: &mut Followed,
    ) -> Result<(), NoteError> {
        let (note, now_ms) = (self.note, self.now_ms);
        let reason = format!("note {}: {}", note.id, self.disposition.code);
        let bar = |subject, kind| NewBar {
            subject,
            client: None,
            kind,
            reason: &reason,
            from_ms: now_ms,
            until_ms: None,
            actor: self.actor,
        };
        match effect {
            // It stands in the note itself.
            Effect::Promise => {}
            Effect::Callback => {
                if let (Some(due_at_ms), Some(agent)) = (self.said.callback_at_ms, note.agent) {
                    let new = NewCallback {
                        case: note.case,
                        contact_point: self.point()?,
                        agent,
                        due_at_ms,
                        actor: self.actor,
                    };
                    let id = store::callbacks::queue(tx, &new, now_ms).await?;
                    followed.callback = Some(id.get());
                }
            }
            Effect::Agreement => {
                if let Some(asked) = &self.said.agreement {
                    let proof = self.recording(tx).await?;
                    let at = self.target(tx).await?;
                    let new = NewAgreement {
                        client: note.client,
                        case: note.case,
                        contact: at.contact,
                        numbers: &[at.number_id],
                        hours: &asked.hours,
                        from_ms: now_ms,
                        until_ms: asked.until_ms,
                        uses_most: None,
                        proof: &Proof::Recording {
                            id: proof,
                            offset_ms: asked.offset_ms,
                        },
                        letter_box: None,
                        waits: true,
                        proposed_by: self.actor,
                        now_ms,
                    };
                    let id = agreements::propose(tx, &new).await?;
                    followed.agreement = Some(id.get());
                }
            }
            Effect::RefuseContact => {
                store::contact_points::note_refusal(tx, self.point()?, now_ms).await?;
            }
            Effect::BarNumber => {
                let number = Subject::Number(self.target(tx).await?.number_id);
                bars::bar(tx, &bar(number, BarKind::DoNotCall)).await?;
            }
            Effect::InvalidNumber => {
                let target = self.target(tx).await?;
                store::contact_points::set_number_state(
                    tx,
                    target.number_id,
                    NumberState::Invalid,
                    Some(&reason),
                    now_ms,
                )
                .await?;
            }
            Effect::Deceased => {
                let person = Subject::Person(self.debtor(tx).await?);
                bars::bar(tx, &bar(person, BarKind::Deceased)).await?;
                self.mark(tx, "deceased", &reason).await?;
            }
            Effect::SuspectedFraud => {
                let case = Subject::Case(note.case);
                bars::bar(tx, &bar(case, BarKind::SuspectedFraud)).await?;
                self.mark(tx, "suspected_fraud", &reason).await?;
            }
            Effect::Complaint => {
                let case = Subject::Case(note.case);
                bars::bar(tx, &bar(case, BarKind::Complaint)).await?;
                let matter = NewMatter {
                    client: note.client,
                    case: Some(note.case),
                    kind: MatterKind::Complaint,
                    grade: Grade::Ordinary,
                    text: self.said.text.trim(),
                    occurred_at_ms: note.ended_at_ms.unwrap_or(now_ms),
                    actor: self.actor,
                };
                let id = store::major_matters::enter(tx, &matter, now_ms).await?;
                followed.major_matter = Some(id);
            }
        }
        Ok(())
    }

    async fn mark(&self, tx: &mut Tx, mark: &str, reason: &str) -> Result<(), NoteError> {
        let why = Why {
            actor: self.actor,
            reason,
            now_ms: self.now_ms,
        };
        case_states::act(tx, &[self.note.case], Act::Mark(mark), &why).await?;
        Ok(())
    }

    /// The recording of the call, which proves what was agreed.
    async fn recording(&self, tx: &mut Tx) -> Result<RecordingId, NoteError> {
        let recordings = match self.note.call {
            Some(call) => store::recordings::of_call(tx, call).await?,
            None => Vec::new(),
        };
        recordings
            .into_iter()
            .find(|r| !matches!(r.state, RecordingState::Abandoned | RecordingState::Lost))
            .map(|r| r.id)
            .ok_or_else(|| {
                field(
                    "agreement",
                    "there is no recording that proves it; enter the agreement with a letter instead",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{ids::ClientId, store::notes::NoteState};

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
}
