//! What `/api/v1/notes` takes and gives, to the field.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::problem::Problem;
use crate::{
    cases::{note_filter::Asked, notes::Followed},
    ids::{ContactPointId, NoteId},
    policy::Week,
    store::notes::{Filter, Line, NoteState},
};

/// A call note.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NoteBody {
    /// Number of the note.
    pub(super) note: i64,
    /// Case.
    pub(super) case_id: i64,
    /// Code of the client.
    pub(super) client: String,
    /// The client's case number.
    pub(super) reference: String,
    /// The call; absent for a note without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<String>,
    /// Contact point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_point_id: Option<i64>,
    /// The number reached.
    pub(super) number: String,
    /// Who answers there.
    pub(super) person: String,
    /// What that person is to the debt.
    pub(super) relation: String,
    /// Employee number of the agent.
    pub(super) agent: String,
    /// `draft`: what the daemon knows by itself; `final`: finished.
    pub(super) state: String,
    /// Code of what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disposition: Option<String>,
    /// Free words.
    pub(super) text: String,
    /// Promised amount, exact, in the currency of the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) promise: Option<String>,
    /// Promised day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) promise_on: Option<String>,
    /// Currency of the case.
    pub(super) currency: String,
    /// The client's own fields.
    pub(super) fields: serde_json::Value,
    /// Day of the call, local to the person called.
    pub(super) local_date: String,
    /// When the call began, or the note; milliseconds UTC.
    pub(super) started_at_ms: i64,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answered_at_ms: Option<i64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_at_ms: Option<i64>,
    /// What ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recording: Option<String>,
    /// When it was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_at_ms: Option<i64>,
}

impl NoteBody {
    pub(super) fn of(line: Line) -> Self {
        let note = line.note;
        Self {
            note: note.id.get(),
            case_id: note.case.get(),
            client: line.client,
            reference: line.reference,
            call: note.call.map(|call| call.to_string()),
            contact_point_id: note.contact_point.map(ContactPointId::get),
            number: line.number,
            person: line.person,
            relation: note.relation.as_str().to_owned(),
            agent: line.agent,
            state: note.state.to_string(),
            disposition: note.disposition,
            text: note.text,
            promise: note.promise_e4.map(crate::export::money),
            promise_on: note.promise_on,
            currency: line.currency,
            fields: serde_json::from_str(&note.fields).unwrap_or_default(),
            local_date: note.local_date,
            started_at_ms: note.started_at_ms,
            answered_at_ms: note.answered_at_ms,
            ended_at_ms: note.ended_at_ms,
            cause: note.cause,
            recording: line.recording.map(|id| id.to_string()),
            finished_at_ms: note.finished_at_ms,
        }
    }
}

/// What came of it, in words.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SaidBody {
    /// Code of the disposition; see `GET /api/v1/dispositions`.
    pub(super) disposition: String,
    /// Free words.
    #[serde(default)]
    pub(super) text: String,
    /// What was promised, for a disposition with the effect `promise`.
    pub(super) promise: Option<PromiseBody>,
    /// When to call back, milliseconds UTC, for one with `callback`.
    pub(super) callback_at_ms: Option<i64>,
    /// Hours that the person asks for, for one with `agreement`.
    pub(super) agreement: Option<HoursBody>,
    /// The client's own fields: texts, numbers, true or false.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) fields: serde_json::Map<String, serde_json::Value>,
}

/// A promise to pay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PromiseBody {
    /// Such as `1234.50`, in the currency of the case.
    pub(super) amount: String,
    /// Such as `2026-11-30`.
    #[schema(value_type = String)]
    pub(super) on: jiff::civil::Date,
}

/// Hours that were agreed in the call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoursBody {
    /// The hours of each weekday, local to the person: `{"mon": ["21:00-22:00"], "tue": [], …}`.
    #[schema(value_type = Object)]
    pub(super) hours: Week,
    /// Until when, milliseconds UTC.
    pub(super) until_ms: i64,
    /// Where in the recording it was said, milliseconds from its beginning.
    #[serde(default)]
    pub(super) offset_ms: i64,
}

/// A note without a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNoteBody {
    /// The case.
    pub(super) case_id: i64,
    /// The number it is about, if it is about one.
    pub(super) contact_point_id: Option<i64>,
    /// What it says.
    pub(super) said: SaidBody,
}

/// What followed from a finished note.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FollowedBody {
    /// Number of the note.
    pub(super) note: i64,
    /// What was carried out.
    pub(super) effects: Vec<&'static str>,
    /// Of a number that is wrong or dead: whether that is evidence of loss of contact. It is if a call of ours shows it (that
    /// it is another person's only one that was answered) and the note said so from the first, or if the caller may judge
    /// numbers; otherwise it is kept and shown, and counts once such a person finishes the note in the same words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts_towards_loss_of_contact: Option<bool>,
    /// Faults of the number that were taken back, because the right person was spoken to or the note says something else now.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) faults_taken_back: u64,
    /// What the note's earlier disposition did, and what stands until somebody lifts it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stands: Vec<&'static str>,
    /// The callback that was queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) callback: Option<i64>,
    /// The agreement that waits for a second person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agreement: Option<i64>,
    /// The major matter that has to be reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) major_matter: Option<i64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl FollowedBody {
    pub(super) fn of(note: NoteId, followed: Followed) -> Self {
        Self {
            note: note.get(),
            effects: followed.effects.iter().map(|e| e.as_str()).collect(),
            counts_towards_loss_of_contact: followed.counts,
            faults_taken_back: followed.taken_back,
            stands: followed.stands.iter().map(|e| e.as_str()).collect(),
            callback: followed.callback,
            agreement: followed.agreement,
            major_matter: followed.major_matter,
        }
    }
}

/// Which notes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Code of the client.
    pub(super) client: String,
    /// Employee number of the agent.
    pub(super) agent: String,
    /// First local day, `YYYY-MM-DD`.
    #[param(value_type = Option<String>)]
    pub(super) from: Option<jiff::civil::Date>,
    /// Last local day.
    #[param(value_type = Option<String>)]
    pub(super) to: Option<jiff::civil::Date>,
    /// Code of the disposition.
    pub(super) disposition: String,
    /// The client's case number.
    pub(super) case: String,
    /// Words in the text.
    pub(super) text: String,
    /// `draft` or `final`.
    pub(super) state: String,
    /// Only those older than this note: the last one of the page before.
    pub(super) before: Option<i64>,
    /// At most so many, 1 to 500; 100 if left out.
    pub(super) limit: Option<u32>,
    /// Of an export: name of the template, `default` if left out.
    pub(super) template: String,
}

impl Wanted {
    pub(super) fn filter(self) -> Result<Filter, Problem> {
        let state = match self.state.as_str() {
            "" => None,
            word => Some(
                word.parse::<NoteState>()
                    .map_err(|e| Problem::Invalid(format!("state: {e}")))?,
            ),
        };
        let asked = Asked {
            client: self.client,
            agent: self.agent,
            from: self.from,
            to: self.to,
            disposition: self.disposition,
            case: self.case,
            text: self.text,
            state,
        };
        Ok(asked.filter()?)
    }
}

/// Something that may be said to have come of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DispositionBody {
    /// The stable word.
    pub(super) code: String,
    /// In English.
    pub(super) name_en: String,
    /// 中文.
    pub(super) name_zh: String,
    /// The right person was spoken to.
    pub(super) right_party: bool,
    /// What it does, and so what it asks for.
    pub(super) effects: Vec<&'static str>,
}

/// Whose list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// Code of the client.
    pub(super) client: String,
}
