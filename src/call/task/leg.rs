//! One leg with both its halves: the SIP dialog at the trunk and the audio at the engine. Turns session descriptions
//! into what the engine needs; decides nothing.

use std::{net::IpAddr, sync::Arc, time::Duration, time::Instant};

use ringfence_media::{
    Address, Codec, Direction, Engine, Leg, MediaError, MediaEvent, Remote, Rtcp,
};
use ringfence_sip::sdp::{self, Local, Negotiated, SdpError, Session};
use tokio::sync::mpsc;

use crate::trunk::TrunkLeg;

/// The audio half.
pub(super) enum Audio {
    /// Opened for this call, closed with it.
    Own(Leg),
    /// The agent's browser; it outlives the call.
    Browser(Lent),
}

/// A leg that the call does not own.
pub(super) struct Lent(Arc<Leg>);

impl Drop for Lent {
    /// What the call plays on it ends with the call, whatever ended that.
    fn drop(&mut self) {
        let _ = self.0.stop_tone();
    }
}

impl Audio {
    pub fn lent(leg: Arc<Leg>) -> Self {
        Self::Browser(Lent(leg))
    }
}

impl std::ops::Deref for Audio {
    type Target = Leg;

    fn deref(&self) -> &Leg {
        match self {
            Self::Own(leg) => leg,
            Self::Browser(lent) => &lent.0,
        }
    }
}

/// A leg through the PBX that has been offered.
pub(super) struct SipLeg {
    pub dialog: TrunkLeg,
    local: Local,
    /// The description we sent last.
    sent: Session,
}

/// Why an answer or re-offer could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionFault {
    #[error("the session cannot be used: {0}")]
    Session(#[from] SdpError),
    #[error("the audio leg: {0}")]
    Audio(#[from] MediaError),
}

/// Opens the audio of a leg beside `other`, and the offer that goes with it.
pub(super) fn open(
    engine: &Engine,
    other: Option<&Leg>,
    events: mpsc::Sender<MediaEvent>,
    advertised: IpAddr,
    session_id: u64,
) -> Result<(Leg, Local, Session), MediaError> {
    let leg = match other {
        Some(other) => engine.open_leg_beside(other, events)?,
        None => engine.open_leg(events)?,
    };
    let port = leg.local().map_or(0, |local| local.port());
    let local = Local {
        rtcp_mux: true,
        ..Local::new(session_id, advertised, port)
    };
    let offer = sdp::offer(&local, None);
    Ok((leg, local, offer))
}

impl SipLeg {
    pub fn new(dialog: TrunkLeg, local: Local, offer: Session) -> Self {
        Self {
            dialog,
            local,
            sent: offer,
        }
    }

    /// Takes the answer to our offer, early or final.
    pub fn take_answer(&self, audio: &Leg, answer: &Session) -> Result<(), SessionFault> {
        let negotiated = sdp::accept(&self.sent, answer, &self.local)?;
        Ok(audio.set_remote(remote(&negotiated))?)
    }

    /// Answers the peer's re-offer, or offers anew where it asks for that; 488 if it cannot be taken.
    pub async fn take_reoffer(&mut self, audio: &Leg, offer: Option<&Session>) {
        let session = match offer {
            None => Some(sdp::offer(&self.local, Some(&self.sent))),
            Some(offer) => match self.answer(audio, offer) {
                Ok(session) => Some(session),
                Err(error) => {
                    tracing::warn!(%error, "a re-offer was refused");
                    None
                }
            },
        };
        if let Some(session) = &session {
            self.sent = session.clone();
        }
        self.dialog.reanswer(session).await;
    }

    fn answer(&self, audio: &Leg, offer: &Session) -> Result<Session, SessionFault> {
        let (session, negotiated) = sdp::answer(offer, &self.local, Some(&self.sent))?;
        audio.set_remote(remote(&negotiated))?;
        Ok(session)
    }
}

/// Closes what belongs to the call alone.
pub(super) fn close(audio: Audio, at: Instant) {
    if let Audio::Own(leg) = audio {
        leg.close(at);
    }
}

fn remote(n: &Negotiated) -> Remote {
    Remote {
        address: Address::Udp {
            rtp: n.rtp,
            rtcp: if n.rtcp_mux {
                Rtcp::Mux
            } else {
                Rtcp::At(n.rtcp)
            },
        },
        codec: match n.codec {
            sdp::Codec::Pcma => Codec::Pcma,
            sdp::Codec::Pcmu => Codec::Pcmu,
        },
        payload_type: n.payload_type,
        telephone_event: n.telephone_event,
        telephone_event_in: n.receive_telephone_event,
        ptime: Duration::from_millis(u64::from(n.ptime_ms)),
        direction: match n.direction {
            sdp::Direction::SendRecv => Direction::SendRecv,
            sdp::Direction::SendOnly => Direction::SendOnly,
            sdp::Direction::RecvOnly => Direction::RecvOnly,
            sdp::Direction::Inactive => Direction::Inactive,
        },
    }
}
