//! One side of the call, from the preparation of its leg to its release.
//!
//! The INVITE leaves from the call's task and only if somebody still wants it. A side that goes away with a leg, whatever
//! ended the call's task, hands the leg to the journal, which ends it and follows it.

use std::time::Duration;

use ringfence_media::{LegId, MediaEvent};

use super::{
    CLEARING, CallTask,
    journal::Journal,
    leg::{self, Audio, SipLeg},
    work::{Done, Unprepared},
};
use crate::{
    call::{
        LegFailure,
        machine::{Input, Leg, Release},
    },
    policy::Permit,
    trunk::LegEvent,
};

/// Q.850 cause said to the PBX: incompatible destination.
const INCOMPATIBLE: u8 = 88;

/// One side of the call.
pub(super) struct Side {
    leg: Leg,
    journal: Journal,
    pub audio: Option<Audio>,
    pub sip: Option<SipLeg>,
    /// Being offered; its result comes back through `work`.
    pub preparing: bool,
    /// Its INVITE was handed to the trunk.
    pub invited: bool,
    /// The machine has released it.
    released: bool,
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Some(sip) = self.sip.take() {
            self.journal.follow(self.leg, sip.dialog);
        }
    }
}

impl Side {
    pub fn new(leg: Leg, journal: Journal) -> Self {
        Self {
            leg,
            journal,
            audio: None,
            sip: None,
            preparing: false,
            invited: false,
            released: false,
        }
    }

    /// What happens to its leg next; never, as long as there is none.
    pub async fn event(&mut self) -> Option<LegEvent> {
        match &mut self.sip {
            Some(sip) => sip.dialog.events.recv().await,
            None => std::future::pending().await,
        }
    }
}

impl CallTask {
    /// Makes a leg ready: audio, INVITE, durable snapshot. [`Self::send_or_drop`] lets the first byte leave.
    pub(super) fn prepare(&mut self, leg: Leg, permit: Option<Permit>, ring: Option<Duration>) {
        self.side(leg).preparing = true;
        let floor = self.floor.clone();
        let other = match (leg, &self.agent.audio) {
            (Leg::Customer, Some(audio)) => Some(audio),
            _ => None,
        };
        let session_id = self.call.uuid().as_u64_pair().1 >> 1;
        let opened = leg::open(
            &floor.engine,
            other.map(std::ops::Deref::deref),
            self.audio_events.0.clone(),
            floor.media_address,
            session_id,
        );
        let (dialogs, bounds) = (self.dialogs.clone(), self.bounds);
        self.work.spawn(async move {
            let local = |error: &dyn std::fmt::Display| {
                tracing::error!(leg = leg.as_str(), %error, "a leg cannot be set up");
                Unprepared::Failed(LegFailure::Local)
            };
            let prepared = async {
                let (audio, local_session, offer) = opened.map_err(|e| local(&e))?;
                let permit = permit.ok_or(Unprepared::Failed(LegFailure::Local))?;
                let destination = permit
                    .redeem(floor.clock.wall_ms(), floor.clock.monotonic())
                    .map_err(Unprepared::Expired)?
                    .within(bounds);
                let prepared = floor.trunk.prepare(destination, offer.clone(), ring).await;
                let mut dialog = prepared.map_err(Unprepared::Failed)?;
                let snapshot = std::mem::take(&mut dialog.snapshot);
                if let Err(error) = dialogs.put(leg, snapshot).await {
                    dialog.cut(None).await;
                    return Err(local(&error));
                }
                Ok(Box::new((
                    Audio::Own(audio),
                    SipLeg::new(dialog, local_session, offer),
                )))
            };
            Done::Prepared(leg, prepared.await)
        });
    }

    /// The leg is ready and its snapshot durable, which may have taken a while: the INVITE leaves only if somebody
    /// still wants the call and, for a customer, the permission still stands.
    pub(super) async fn send_or_drop(&mut self, leg: Leg, (audio, sip): (Audio, SipLeg)) {
        let (now, wall_ms) = (self.now(), self.floor.clock.wall_ms());
        let over = wall_ms >= self.invite_until_ms || now >= self.bounds.invite_until;
        let late = leg == Leg::Customer && over;
        let side = self.side(leg);
        side.preparing = false;
        if side.released || late {
            leg::close(audio, now);
            // Nothing was sent, so nothing goes out; the trunk forgets it.
            sip.dialog.cut(Some(CLEARING)).await;
            self.journal.remove(leg);
            if late {
                self.ready.push_back(Input::PermitExpired);
            }
            return;
        }
        sip.dialog.send().await;
        let side = self.side(leg);
        side.invited = true;
        side.audio = Some(audio);
        side.sip = Some(sip);
    }

    pub(super) async fn on_leg(&mut self, leg: Leg, event: Option<LegEvent>) {
        let side = match leg {
            Leg::Agent => &mut self.agent,
            Leg::Customer => &mut self.customer,
        };
        let Some(event) = event else {
            // The trunk is gone, or gave the leg up because this task did not read. Its INVITE has left all the same.
            side.sip = None;
            self.ready
                .push_back(Input::LegFailed(leg, LegFailure::Unreached));
            return;
        };
        match event {
            LegEvent::Snapshot(snapshot, answer) => self.journal.put(leg, snapshot, answer),
            LegEvent::Trying => self.ready.push_back(Input::LegTrying(leg)),
            LegEvent::Progress {
                status: _,
                answer: None,
            } => self.ready.push_back(Input::LegRinging(leg)),
            LegEvent::Progress {
                answer: Some(answer),
                ..
            } => {
                let taken = match (&side.sip, &side.audio) {
                    (Some(sip), Some(audio)) => sip.take_answer(audio, &answer).is_ok(),
                    _ => false,
                };
                self.ready.push_back(if taken {
                    Input::EarlyMedia(leg)
                } else {
                    Input::LegRinging(leg)
                });
            }
            LegEvent::Answered { received, answer } => {
                if leg == Leg::Customer {
                    self.answered = Some((received, self.floor.clock.wall_ms()));
                }
                let taken = match (&side.sip, &side.audio) {
                    (Some(sip), Some(audio)) => sip.take_answer(audio, &answer).map_err(Some),
                    // Released already: `sip` has sent ACK and BYE.
                    _ => Err(None),
                };
                self.ready.push_back(Input::LegAnswered(leg));
                if let Err(error) = taken {
                    if let Some(error) = error {
                        tracing::warn!(call = %self.call, leg = leg.as_str(), %error, "an answer cannot be used");
                        // The far side is off the hook, and the machine takes a failed leg for gone.
                        if let Some(sip) = &side.sip {
                            sip.dialog.cut(Some(INCOMPATIBLE)).await;
                        }
                    }
                    let refused = LegFailure::Refused {
                        status: 488,
                        q850: None,
                    };
                    self.ready.push_back(Input::LegFailed(leg, refused));
                }
            }
            LegEvent::Reoffer(offer) => {
                if let (Some(sip), Some(audio)) = (&mut side.sip, &side.audio) {
                    sip.take_reoffer(audio, offer.as_deref()).await;
                }
            }
            LegEvent::Failed(failure) => {
                side.sip = None;
                self.journal.remove(leg);
                self.ready.push_back(Input::LegFailed(leg, failure));
            }
            LegEvent::Ended { .. } => {
                side.sip = None;
                self.journal.remove(leg);
                self.ready.push_back(Input::LegEnded(leg));
            }
        }
    }

    pub(super) fn on_audio(&mut self, event: MediaEvent) {
        let leg_of = |id: LegId| match &self.customer.audio {
            Some(audio) if audio.id() == id => Leg::Customer,
            _ => Leg::Agent,
        };
        match event {
            MediaEvent::Silent { leg, .. } => self.ready.push_back(Input::MediaSilent(leg_of(leg))),
            MediaEvent::Resumed { leg, .. } => {
                self.ready.push_back(Input::MediaResumed(leg_of(leg)))
            }
            // A BYE in RTCP is a hint; signalling decides. Digits may be a card number: nobody notes them.
            MediaEvent::Bye { .. } | MediaEvent::Digit { .. } => {}
        }
    }

    pub(super) async fn release(&mut self, leg: Leg, how: Release) {
        let now = self.now();
        let side = self.side(leg);
        side.released = true;
        if let Some(audio) = side.audio.take() {
            leg::close(audio, now);
        }
        if let (Some(sip), Release::HangUp) = (&side.sip, how) {
            sip.dialog.cut(Some(CLEARING)).await;
        }
    }
}
