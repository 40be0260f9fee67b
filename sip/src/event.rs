//! What the endpoint tells its owner, and the handles by which both name things.
//!
//! Every leg ends with exactly one [`Event::Released`]; every leftover with exactly one
//! [`Event::LeftoverReleased`] or [`Event::LeftoverGone`]; every OPTIONS sent with one [`Event::OptionsAnswered`].

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cause::Release;
use crate::headers::NameAddr;
use crate::message::{Request, Response};
use crate::sdp;
use crate::snapshot::DialogSnapshot;
use crate::transport::{Peer, TransportId};
use crate::uri::Uri;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u64);

        impl $name {
            /// The number, for logs. Never reused by one endpoint.
            pub const fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

handle! {
    /// Names one leg: our side of one INVITE session, outgoing or incoming.
    LegHandle
}
handle! {
    /// Names one registration account.
    AccountHandle
}
handle! {
    /// Names a request outside any dialog that waits for the application's answer.
    RequestHandle
}
handle! {
    /// Names an OPTIONS we sent.
    QueryHandle
}
handle! {
    /// Names a dialog left over from a crash that is being released.
    LeftoverHandle
}

/// Who ended a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The application, by `hang_up`, `reject` or `redirect`.
    Us,
    /// The peer, by BYE, CANCEL or a final response that refuses.
    Peer,
    /// Nobody said so: a timer ran out, the transport broke, or the peer sent what cannot be used.
    Fault,
    /// The peer asked for the INVITE with something more (401, 407, 422) when it was too late to send it
    /// ([`Invite::not_after`](crate::Invite::not_after)).
    Late,
}

/// What an incoming INVITE says.
#[derive(Clone)]
pub struct Incoming {
    /// The leg, to be answered.
    pub leg: LegHandle,
    /// From, with tag.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Whom the request line names.
    pub request_uri: Uri,
    /// Where it came from.
    pub source: SocketAddr,
    /// The offer; `None` asks us to offer in the answer.
    pub offer: Option<sdp::Session>,
    /// The whole request, for headers of the application's own.
    pub request: Request,
}

/// A REGISTER for the application's registrar. Answer it with `challenge`, `accept_register` or `refuse`.
#[derive(Clone)]
pub struct RegisterRequest {
    /// To be answered.
    pub request: RequestHandle,
    /// The address of record (To).
    pub aor: NameAddr,
    /// The Contacts with their wanted lifetimes; empty for a query.
    pub contacts: Vec<NameAddr>,
    /// `Contact: *`: remove all.
    pub remove_all: bool,
    /// The Expires header in seconds, for Contacts that name none of their own.
    pub expires: Option<u32>,
    /// The user name of the digest credentials it carries, if any. Verify before use.
    pub user: Option<String>,
    /// Where it came from, so that INVITEs can be sent there.
    pub source: Peer,
    /// The transport it came by.
    pub transport: TransportId,
    /// The whole request.
    pub message: Request,
}

/// What an endpoint has to tell. Drain with [`Endpoint::poll_event`](crate::Endpoint::poll_event) after every input.
#[derive(Clone)]
pub enum Event {
    // -- registration
    /// The registrar accepted us, first or again.
    Registered {
        /// Which account.
        account: AccountHandle,
        /// For how long; a refresh follows before.
        expires: Duration,
    },
    /// We are not registered any more because `unregister` was called.
    Unregistered {
        /// Which account.
        account: AccountHandle,
    },
    /// A registration or refresh failed.
    RegistrationFailed {
        /// Which account.
        account: AccountHandle,
        /// Why.
        release: Release,
        /// When it is tried again by itself; `None` after a refusal that will not change (403, wrong password …).
        retry_in: Option<Duration>,
    },

    // -- a leg we began
    /// The dialog learnt something that must be durable to release it after a crash.
    Snapshot {
        /// Which leg.
        leg: LegHandle,
        /// Replaces the one before.
        snapshot: Box<DialogSnapshot>,
    },
    /// The INVITE has arrived: 100 Trying. May come again, and not at all where another response is faster.
    Trying {
        /// Which leg.
        leg: LegHandle,
    },
    /// A provisional response above 100.
    Progress {
        /// Which leg.
        leg: LegHandle,
        /// 180 rings, 183 early media …
        status: u16,
        /// The session description of the early media, if it has one.
        answer: Option<Box<sdp::Session>>,
    },
    /// The peer answered (2xx), the ACK is on its way.
    Answered {
        /// Which leg.
        leg: LegHandle,
        /// When the 2xx was handed to the endpoint.
        received: Instant,
        /// The answer to our offer.
        answer: Box<sdp::Session>,
    },

    // -- a leg the peer began
    /// A new call. 100 has been sent; `ring`, `answer`, `reject`, `redirect` or `challenge_invite` follow.
    Incoming(Box<Incoming>),
    /// The ACK to our 2xx came; the dialog stands. With the answer if the INVITE had no offer.
    Acknowledged {
        /// Which leg.
        leg: LegHandle,
        /// The answer to the offer in our 2xx.
        answer: Option<Box<sdp::Session>>,
    },

    // -- within a dialog
    /// The peer wants another session (re-INVITE or UPDATE): hold, resume, new address. Reply with `answer_reoffer` or
    /// `refuse_reoffer`. A refresh that repeats the same session is answered without an event.
    Reoffer {
        /// Which leg.
        leg: LegHandle,
        /// What the peer wants; `None` asks for our offer (the reply then carries it).
        offer: Option<Box<sdp::Session>>,
    },
    /// Our re-offer was accepted, or the peer answered the offer that our reply carried.
    Reanswered {
        /// Which leg.
        leg: LegHandle,
        /// What the peer accepted.
        answer: Box<sdp::Session>,
    },
    /// Our re-offer was refused; the session is as before.
    ReofferFailed {
        /// Which leg.
        leg: LegHandle,
        /// Why.
        release: Release,
    },
    /// A digit by INFO (`application/dtmf-relay` or `application/dtmf`).
    Digit {
        /// Which leg.
        leg: LegHandle,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long, if said.
        duration: Option<Duration>,
    },
    /// The peer asks us to call somebody else (REFER). Reply with `accept_refer` or `refuse_refer`.
    Refer {
        /// Which leg.
        leg: LegHandle,
        /// Whom.
        refer_to: Box<NameAddr>,
        /// The Replaces header inside the Refer-To URI, unescaped, for attended transfers.
        replaces: Option<String>,
    },
    /// How a transfer that we asked for goes (NOTIFY with a sipfrag, or the refusal of the REFER).
    ReferProgress {
        /// Which leg.
        leg: LegHandle,
        /// Status of the transfer target, or of the REFER itself if it was refused.
        status: u16,
        /// Nothing more will be told.
        ended: bool,
    },
    /// The leg is over. Exactly once for each leg, and nothing for it afterwards.
    Released {
        /// Which leg.
        leg: LegHandle,
        /// Who ended it.
        by: EndedBy,
        /// How: the final status of the INVITE, with 408 for a timeout and 503 for a transport that failed (RFC 3261
        /// 8.1.3.1); no status for an answered call ended by BYE. The Q.850 cause is that of the peer's Reason.
        release: Release,
    },

    // -- outside dialogs
    /// The answer to an OPTIONS we sent.
    OptionsAnswered {
        /// Which.
        query: QueryHandle,
        /// The status; 408 for none, 503 for a transport that failed.
        status: u16,
        /// The response itself, if there was one.
        response: Option<Box<Response>>,
    },
    /// A REGISTER, if [`Config::registrar`](crate::Config::registrar) is set.
    RegisterRequest(Box<RegisterRequest>),

    // -- after a crash
    /// The peer confirmed that a leftover dialog or INVITE is ended.
    LeftoverReleased {
        /// Which.
        leftover: LeftoverHandle,
        /// Its Call-ID.
        call_id: String,
    },
    /// The peer does not know the leftover, or gave no answer in the time after which it must have forgotten it.
    LeftoverGone {
        /// Which.
        leftover: LeftoverHandle,
        /// Its Call-ID.
        call_id: String,
        /// Whether the peer answered at all.
        peer_answered: bool,
    },
}

impl fmt::Debug for Event {
    /// Name and handle; no numbers, no session descriptions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { account, expires } => {
                write!(f, "Registered({account}, {expires:?})")
            }
            Self::Unregistered { account } => write!(f, "Unregistered({account})"),
            Self::RegistrationFailed {
                account,
                release,
                retry_in,
            } => {
                write!(
                    f,
                    "RegistrationFailed({account}, {:?}, retry in {retry_in:?})",
                    release.status
                )
            }
            Self::Snapshot { leg, snapshot } => write!(f, "Snapshot({leg}, {:?})", snapshot.phase),
            Self::Trying { leg } => write!(f, "Trying({leg})"),
            Self::Progress {
                leg,
                status,
                answer,
            } => write!(f, "Progress({leg}, {status}, sdp {})", answer.is_some()),
            Self::Answered { leg, .. } => write!(f, "Answered({leg})"),
            Self::Incoming(incoming) => write!(f, "Incoming({})", incoming.leg),
            Self::Acknowledged { leg, answer } => {
                write!(f, "Acknowledged({leg}, sdp {})", answer.is_some())
            }
            Self::Reoffer { leg, offer } => write!(f, "Reoffer({leg}, sdp {})", offer.is_some()),
            Self::Reanswered { leg, .. } => write!(f, "Reanswered({leg})"),
            Self::ReofferFailed { leg, release } => {
                write!(f, "ReofferFailed({leg}, {:?})", release.status)
            }
            Self::Digit { leg, .. } => write!(f, "Digit({leg})"),
            Self::Refer { leg, replaces, .. } => {
                write!(f, "Refer({leg}, replaces {})", replaces.is_some())
            }
            Self::ReferProgress { leg, status, ended } => {
                write!(f, "ReferProgress({leg}, {status}, ended {ended})")
            }
            Self::Released { leg, by, release } => {
                write!(f, "Released({leg}, by {by:?}, {release:?})")
            }
            Self::OptionsAnswered { query, status, .. } => {
                write!(f, "OptionsAnswered({query}, {status})")
            }
            Self::RegisterRequest(register) => write!(f, "RegisterRequest({})", register.request),
            Self::LeftoverReleased { leftover, .. } => write!(f, "LeftoverReleased({leftover})"),
            Self::LeftoverGone {
                leftover,
                peer_answered,
                ..
            } => {
                write!(f, "LeftoverGone({leftover}, peer answered {peer_answered})")
            }
        }
    }
}
