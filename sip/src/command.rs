//! What the owner asks of an endpoint: the data of its commands and why one can be refused.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::SessionTimer;
use crate::digest::Login;
use crate::headers::NameAddr;
use crate::sdp;
use crate::transport::Peer;
use crate::uri::Uri;

/// A call to be made.
#[derive(Clone)]
pub struct Invite {
    /// Whom to call: the request URI.
    pub target: Uri,
    /// To; the target if `None`.
    pub to: Option<NameAddr>,
    /// From: the caller ID, without a tag.
    pub from: NameAddr,
    /// Where the INVITE goes first.
    pub peer: Peer,
    /// Route headers to begin with (outbound proxy), topmost first.
    pub route: Vec<Uri>,
    /// The user part of our Contact; that of `from` if `None`.
    pub contact_user: Option<String>,
    /// What to answer 401 and 407 with.
    pub credentials: Option<Login>,
    /// Our session description.
    pub offer: sdp::Session,
    /// The Expires header (RFC 3261 20.19), whole seconds: how long the peer may let it ring, from each INVITE on. The
    /// caller still has to `hang_up` when its time is over.
    pub expires: Option<Duration>,
    /// Expires never reaches beyond this instant, however late an INVITE is sent again or anew. With less than a
    /// second left none leaves.
    pub ring_until: Option<Instant>,
    /// No INVITE of this call leaves at or after this instant: not the first, no retransmission, and none that is sent
    /// anew because of 401, 407 or 422. What was sent before may still be answered.
    pub not_after: Option<Instant>,
    /// The session timer to ask for; [`Config::session_timer`](crate::Config::session_timer) if `None`.
    pub session_timer: Option<SessionTimer>,
    /// More headers (name, value), for example `P-Asserted-Identity` or `X-…`.
    pub headers: Vec<(String, String)>,
}

impl Invite {
    /// A call to `target` by `from` through `peer` with the session `offer`, everything else by default.
    pub const fn new(target: Uri, from: NameAddr, peer: Peer, offer: sdp::Session) -> Self {
        Self {
            target,
            to: None,
            from,
            peer,
            route: Vec::new(),
            contact_user: None,
            credentials: None,
            offer,
            expires: None,
            ring_until: None,
            not_after: None,
            session_timer: None,
            headers: Vec::new(),
        }
    }
}

impl fmt::Debug for Invite {
    /// Without numbers and names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite")
            .field("peer", &self.peer)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A registration to be kept up.
#[derive(Clone)]
pub struct Account {
    /// The registrar's URI, the request URI of REGISTER (domain only).
    pub registrar: Uri,
    /// The address of record (To and From), without a tag.
    pub aor: NameAddr,
    /// Where REGISTER goes.
    pub peer: Peer,
    /// The user part of the Contact; that of `aor` if `None`.
    pub contact_user: Option<String>,
    /// What to answer 401 and 407 with.
    pub credentials: Option<Login>,
    /// The lifetime to ask for, whole seconds.
    pub expires: Duration,
    /// The first pause after a failure; it doubles with each further one, with jitter.
    pub retry_min: Duration,
    /// The longest pause after failures.
    pub retry_max: Duration,
}

impl Account {
    /// An account at `registrar`, one hour at a time, retried after 1 s up to 60 s.
    pub const fn new(
        registrar: Uri,
        aor: NameAddr,
        peer: Peer,
        credentials: Option<Login>,
    ) -> Self {
        Self {
            registrar,
            aor,
            peer,
            contact_user: None,
            credentials,
            expires: Duration::from_secs(3600),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Account {
    /// Without numbers, names and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("peer", &self.peer)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why the owner hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hangup {
    /// The final status for an incoming call that was not answered yet; 480 if `None`.
    pub status: Option<u16>,
    /// The Q.850 cause to say in a Reason header (RFC 3326): 16 normal clearing, 102 timer expiry …
    pub q850: Option<u8>,
}

impl Hangup {
    /// Normal clearing, Q.850 cause 16.
    pub const fn normal() -> Self {
        Self {
            status: None,
            q850: Some(16),
        }
    }
}

/// Why a command was refused. The endpoint is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The handle names nothing that lives.
    #[error("there is no such leg, account or request any more")]
    Gone,
    /// Not possible in this state, for example `answer` on an outgoing leg.
    #[error("the command does not fit the state: {0}")]
    State(&'static str),
    /// One of our own requests that excludes this one is still unanswered.
    #[error("an earlier request on this leg is still unanswered")]
    Pending,
    /// A table has reached its limit.
    #[error("the endpoint is full: {0}")]
    Full(&'static str),
    /// No socket of that protocol and address family was announced.
    #[error("no transport reaches the peer")]
    NoTransport,
    /// [`Invite::not_after`] has come.
    #[error("it is too late for the INVITE")]
    Late,
    /// An argument cannot be put on the wire.
    #[error("the argument cannot be sent: {0}")]
    Invalid(&'static str),
}
