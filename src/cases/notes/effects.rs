//! What finishing a note does besides: each [`Effect`] of its disposition, in the note's own transaction.
//!
//! What is wrong with a number becomes evidence of loss of contact only where a call shows it or somebody vouches for it
//! who may judge numbers: an agent alone opens no third party's lock. The calls themselves are judged by the gate.

use super::{Author, Finish, Followed, NoteError, field};
use crate::{
    agent::{Disposition, Effect},
    ids::{AgentId, ContactPointId, PersonId, RecordingId},
    policy::BarKind,
    store::{
        self, Tx,
        agreements::{self, NewAgreement, Proof},
        bars::{self, NewBar, Subject},
        callbacks::{NewCallback, QueueError},
        contact_points::Target,
        major_matters::{Grade, MatterKind, NewMatter},
        notes::Note,
        number_faults::{self, FaultKind, Lifting, NewFault},
        recordings::RecordingState,
    },
};

pub(super) struct Doing<'a> {
    pub note: &'a Note,
    pub said: &'a Finish,
    pub disposition: &'a Disposition,
    /// What the note said before.
    pub earlier: Option<&'a Disposition>,
    pub author: Author<'a>,
    pub now_ms: i64,
}

impl Doing<'_> {
    /// Everything that follows from a note that says something else than before.
    pub(super) async fn carry_out_all(
        &self,
        tx: &mut Tx,
        followed: &mut Followed,
    ) -> Result<(), NoteError> {
        let disposition = self.disposition;
        if let Some(call) = self.note.call {
            let (code, right_party) = (&disposition.code, disposition.right_party);
            let actor = self.author.name;
            store::attempts::set_disposition(tx, call, code, right_party, actor, self.now_ms)
                .await?;
        }
        self.take_back(tx, followed).await?;
        for &effect in &disposition.effects {
            self.carry_out(tx, effect, followed).await?;
            followed.effects.push(effect);
        }
        Ok(())
    }

    /// Takes back the faults that this note found, and those that a talk with the right person disproves; says what else
    /// the earlier disposition did.
    async fn take_back(&self, tx: &mut Tx, followed: &mut Followed) -> Result<(), NoteError> {
        let (note, code) = (self.note, &self.disposition.code);
        if let Some(earlier) = self.earlier {
            let why = format!("note {} was corrected to {code}", note.id);
            followed.taken_back =
                number_faults::lift_of_note(tx, note.id, &self.lifting(&why)).await?;
            let stands = |effect: &&Effect| {
                !matches!(
                    effect,
                    Effect::Promise | Effect::InvalidNumber | Effect::DeadNumber
                )
            };
            followed.stands = earlier.effects.iter().filter(stands).copied().collect();
        }
        if let (true, Some(point)) = (self.disposition.right_party, note.contact_point) {
            let why = format!("note {}: {code}", note.id);
            followed.taken_back +=
                number_faults::lift(tx, point, self.found_at_ms(), &self.lifting(&why)).await?;
        }
        Ok(())
    }

    fn lifting<'b>(&'b self, why: &'b str) -> Lifting<'b> {
        Lifting {
            actor: self.author.name,
            why,
            now_ms: self.now_ms,
        }
    }

    /// When what the note says was found out: as the call ended, or now.
    fn found_at_ms(&self) -> i64 {
        match self.note.call {
            Some(_) => self.note.ended_at_ms.unwrap_or(self.note.started_at_ms),
            None => self.now_ms,
        }
    }

    async fn fault(
        &self,
        tx: &mut Tx,
        kind: FaultKind,
        followed: &mut Followed,
    ) -> Result<(), NoteError> {
        let note = self.note;
        // Whose number it is nobody hears who is not answered. And a note that said something else first is not turned into
        // evidence by an agent alone.
        let shown = note.call.is_some()
            && (kind == FaultKind::NumberDead || note.answered_at_ms.is_some())
            && note.disposition.is_none();
        let counts = self.author.vouches || shown;
        let new = NewFault {
            contact_point: self.point()?,
            kind,
            counts,
            note: Some(note.id),
            call: note.call,
            at_ms: self.found_at_ms(),
            actor: self.author.name,
        };
        number_faults::enter(tx, &new).await?;
        followed.counts = Some(counts);
        Ok(())
    }

    /// Who calls back: whose note it is, or whose case.
    async fn caller(&self, tx: &mut Tx) -> Result<AgentId, NoteError> {
        if let Some(agent) = self.note.agent {
            return Ok(agent);
        }
        let agent = store::cases::agent_of(tx, self.note.case).await?;
        agent.ok_or_else(|| {
            field(
                "callback_at_ms",
                "nobody would call: the note is no agent's and the case is allocated to none; allocate it first, or write \
                 the note for an agent",
            )
        })
    }

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
            actor: self.author.name,
        };
        match effect {
            // It stands in the note itself.
            Effect::Promise => {}
            Effect::Callback => {
                if let Some(due_at_ms) = self.said.callback_at_ms {
                    let new = NewCallback {
                        case: note.case,
                        contact_point: self.point()?,
                        agent: self.caller(tx).await?,
                        due_at_ms,
                        actor: self.author.name,
                    };
                    let queued = store::callbacks::queue(tx, &new, now_ms).await;
                    let id = queued.map_err(|error| match error {
                        QueueError::CaseOver(_) => field("callback_at_ms", error.to_string()),
                        QueueError::Store(error) => NoteError::Store(error),
                    })?;
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
                        proposed_by: self.author.name,
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
            Effect::InvalidNumber => self.fault(tx, FaultKind::WrongNumber, followed).await?,
            Effect::DeadNumber => self.fault(tx, FaultKind::NumberDead, followed).await?,
            Effect::Deceased => {
                let person = Subject::Person(self.debtor(tx).await?);
                bars::bar(tx, &bar(person, BarKind::Deceased)).await?;
            }
            Effect::SuspectedFraud => {
                let case = Subject::Case(note.case);
                bars::bar(tx, &bar(case, BarKind::SuspectedFraud)).await?;
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
                    actor: self.author.name,
                };
                let id = store::major_matters::enter(tx, &matter, now_ms).await?;
                followed.major_matter = Some(id);
            }
        }
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
