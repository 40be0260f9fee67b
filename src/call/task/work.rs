//! Work beside the call and what comes back from it. Work that panics fails its step instead of leaving the call waiting.

use super::{
    CallTask,
    leg::{Audio, SipLeg},
    recording::Tape,
};
use crate::{
    call::{
        LegFailure,
        machine::{Input, Leg},
    },
    policy::PermitExpired,
    recorder::Opened,
};

/// What came back.
pub(super) enum Done {
    Prepared(Leg, Result<Box<(Audio, SipLeg)>, Unprepared>),
    Opened(Option<Box<Opened>>),
    Seizure(Input),
    Nothing,
    /// It panicked; which work it was is seen from what is still awaited.
    Panicked,
}

/// Why a leg is not ready.
pub(super) enum Unprepared {
    Failed(LegFailure),
    Expired(PermitExpired),
}

impl CallTask {
    pub(super) async fn on_done(&mut self, done: Done) {
        match done {
            Done::Prepared(leg, Ok(prepared)) => self.send_or_drop(leg, *prepared).await,
            Done::Prepared(leg, Err(unprepared)) => {
                self.side(leg).preparing = false;
                self.ready.push_back(match unprepared {
                    Unprepared::Failed(failure) => Input::LegFailed(leg, failure),
                    Unprepared::Expired(late) => {
                        tracing::info!(call = %self.call, late_ms = late.late_ms, "the permission ran out");
                        Input::PermitExpired
                    }
                });
            }
            Done::Opened(opened) => self.on_opened(opened),
            Done::Seizure(input) => self.ready.push_back(input),
            Done::Nothing => {}
            Done::Panicked => self.work_panicked(),
        }
    }

    /// A fault of ours in the work beside the call: what waits for it hears that it failed.
    fn work_panicked(&mut self) {
        tracing::error!(call = %self.call, "work for a call broke off; the call ends");
        for leg in [Leg::Agent, Leg::Customer] {
            if std::mem::take(&mut self.side(leg).preparing) {
                self.ready
                    .push_back(Input::LegFailed(leg, LegFailure::Local));
            }
        }
        if matches!(self.tape, Tape::Opening) {
            self.on_opened(None);
        }
        // Ignored unless that is what the machine waits for.
        self.ready.push_back(Input::SeizureFailed);
    }
}
