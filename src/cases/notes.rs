//! Finishing a call note: what the agent says came of the call, and everything that follows from it, in one transaction.
//!
//! The disposition decides what has to be said besides (a promise's amount and day, an instant to call back, agreed hours;
//! `check.rs`) and what is done (`effects.rs`). Changing a finished note changes what it says; its effects are carried out
//! again only if the disposition is another one. Of what the earlier one did the faults of a number are taken back with it;
//! the rest is undone by nobody but whoever may lift it, and the answer says what stands.
//! Notes themselves are `store::notes`, the lists of dispositions `store::dispositions`.

mod check;
mod effects;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use self::{check::check, effects::Doing};
use crate::{
    agent::Effect,
    ids::{AgentId, CaseId, ContactPointId, NoteId},
    policy::{Relation, Week},
    store::{
        self, Tx,
        access::{self, Access},
        notes::{NewNote, Said},
    },
};

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

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author<'a> {
    /// Login name, or `system`.
    pub name: &'a str,
    /// Whether what is said about a number counts without a call that shows it: the author's role may judge numbers.
    pub vouches: bool,
}

/// What followed from a finished note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// What was carried out.
    pub effects: Vec<Effect>,
    /// Of a number that is wrong or dead: whether that is evidence of loss of contact. It is if a call of ours shows it
    /// (that it is another person's only one that was answered) and the note said so from the first, or if somebody says so
    /// who may judge numbers, also of a note that says it already.
    pub counts: Option<bool>,
    /// Faults of the number that were taken back, because the right person was spoken to or the note says something else now.
    pub taken_back: u64,
    /// What the note's earlier disposition did and what stands until somebody lifts it.
    pub stands: Vec<Effect>,
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
    author: Author<'_>,
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
    let mut followed = Followed::default();
    if note.disposition.as_deref() != Some(disposition.code.as_str()) {
        let earlier = match &note.disposition {
            Some(code) => store::dispositions::known(tx, note.client, code).await?,
            None => None,
        };
        let doing = Doing {
            note: &note,
            said,
            disposition: &disposition,
            earlier: earlier.as_ref(),
            author,
            now_ms,
        };
        doing.carry_out_all(tx, &mut followed).await?;
    } else if author.vouches && store::number_faults::confirm(tx, note.id).await? > 0 {
        followed.counts = Some(true);
    }
    let access = Access {
        at_ms: now_ms,
        actor: author.name,
        action: "note.finish",
        object: &id.to_string(),
        client_id: Some(note.client),
        detail: serde_json::json!({
            "case": note.case,
            "before": note.disposition,
            "disposition": disposition.code,
            "effects": followed.effects,
            "counts": followed.counts,
            "taken_back": followed.taken_back,
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
    author: Author<'_>,
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
    Ok((id, finish(tx, id, said, author, now_ms).await?))
}
