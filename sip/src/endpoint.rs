//! The user agent: everything goes in and out through [`Endpoint`].
//!
//! One input (`handle_*` or a command), then drain the outputs: events first, then transmits and connects, then ask for
//! the next timeout. An [`Event::Snapshot`] polled before the transmits can be made durable before the bytes leave.
//!
//! The bodies are being built; until then every command is refused.

use std::net::SocketAddr;
use std::time::Instant;

use crate::command::{Account, CommandError, Hangup, Invite};
use crate::config::Config;
use crate::digest::Login;
use crate::event::{AccountHandle, Event, LeftoverHandle, LegHandle, QueryHandle, RequestHandle};
use crate::headers::NameAddr;
use crate::method::StatusCode;
use crate::sdp;
use crate::snapshot::DialogSnapshot;
use crate::transport::{Connect, Peer, Transmit, TransportId, TransportKind};
use crate::uri::Uri;

type Done = Result<(), CommandError>;
const NOT_YET: CommandError = CommandError::State("not built yet");

/// One SIP user agent: UAC and UAS, registrations, the server side of a registrar. Pure: the same inputs and the same
/// seed give the same outputs.
pub struct Endpoint {
    _config: Config,
}

/// How full the tables are. All zero once everything has ended and its transactions have run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Client and server transactions.
    pub transactions: usize,
    /// Legs, with those that ended but still answer repetitions.
    pub legs: usize,
    /// Accounts, registered or trying.
    pub accounts: usize,
    /// Requests outside dialogs that wait for the application, and OPTIONS under way.
    pub pending: usize,
    /// Leftovers being released.
    pub leftovers: usize,
    /// Stream connections.
    pub streams: usize,
    /// Timers set.
    pub timers: usize,
}

impl Endpoint {
    /// A user agent with no transport yet. `seed` must be random and secret in production: tags, branches and Call-IDs
    /// follow from it.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let _ = seed;
        Self { _config: config }
    }

    // -- transports

    /// Announces a bound UDP socket. `advertised` stands in Via and Contact: an address the peer can reach.
    pub fn bind_datagram(&mut self, advertised: SocketAddr) -> TransportId {
        let _ = advertised;
        TransportId(0)
    }

    /// Announces a connection that a peer opened to us.
    ///
    /// # Errors
    /// [`CommandError::Full`]: close it.
    pub fn accept_stream(
        &mut self,
        now: Instant,
        kind: TransportKind,
        remote: SocketAddr,
    ) -> Result<TransportId, CommandError> {
        let _ = (now, kind, remote);
        Err(NOT_YET)
    }

    /// The next connection the endpoint wants opened.
    pub fn poll_connect(&mut self) -> Option<Connect> {
        None
    }

    // -- inputs

    /// A datagram arrived.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        transport: TransportId,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let _ = (now, transport, from, bytes);
    }

    /// Bytes arrived on a connection, cut anywhere.
    pub fn handle_stream(&mut self, now: Instant, transport: TransportId, bytes: &[u8]) {
        let _ = (now, transport, bytes);
    }

    /// A connection was closed, or one that was asked for cannot be opened.
    pub fn handle_stream_closed(&mut self, now: Instant, transport: TransportId) {
        let _ = (now, transport);
    }

    /// The instant of [`poll_timeout`](Self::poll_timeout) has come (calling early or late does no harm).
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    // -- outputs

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// How full the tables are.
    pub fn load(&self) -> Load {
        Load::default()
    }

    // -- registration

    /// Registers an account and keeps it registered: refresh before expiry, 423, new nonces, retries with backoff.
    /// [`Event::Registered`] and [`Event::RegistrationFailed`] tell how it goes.
    ///
    /// # Errors
    /// [`CommandError::Full`] or [`CommandError::NoTransport`].
    pub fn register(
        &mut self,
        now: Instant,
        account: Account,
    ) -> Result<AccountHandle, CommandError> {
        let _ = (now, account);
        Err(NOT_YET)
    }

    /// Registers again at once, for example because the PBX was restarted or answered 403/404 to an INVITE.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn register_now(&mut self, now: Instant, account: AccountHandle) -> Done {
        let _ = (now, account);
        Err(NOT_YET)
    }

    /// Removes our contact and ends the account with [`Event::Unregistered`], also if the registrar does not answer.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn unregister(&mut self, now: Instant, account: AccountHandle) -> Done {
        let _ = (now, account);
        Err(NOT_YET)
    }

    // -- outgoing calls

    /// Prepares a call without sending anything, so that the snapshot can be made durable first. A prepared call that
    /// is not to be sent is ended with [`hang_up`](Self::hang_up).
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::NoTransport`] or [`CommandError::Invalid`].
    pub fn prepare_invite(
        &mut self,
        now: Instant,
        invite: Invite,
    ) -> Result<(LegHandle, DialogSnapshot), CommandError> {
        let _ = (now, invite);
        Err(NOT_YET)
    }

    /// Sends the prepared INVITE.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`] if it was sent before.
    pub fn send_invite(&mut self, now: Instant, leg: LegHandle) -> Done {
        let _ = (now, leg);
        Err(NOT_YET)
    }

    /// Ends a leg in whatever state it is: CANCEL while it rings, BYE once answered, a final response to an incoming
    /// call, nothing at all if its INVITE was never sent. [`Event::Released`] follows when the peer has confirmed or
    /// its time is over. Calling it again does no harm.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn hang_up(&mut self, now: Instant, leg: LegHandle, hangup: Hangup) -> Done {
        let _ = (now, leg, hangup);
        Err(NOT_YET)
    }

    // -- incoming calls

    /// Sends a provisional response, 101 to 199, with early media if `answer` is given.
    ///
    /// # Errors
    /// [`CommandError::Gone`], or [`CommandError::State`] after the final response.
    pub fn ring(
        &mut self,
        now: Instant,
        leg: LegHandle,
        status: StatusCode,
        answer: Option<&sdp::Session>,
    ) -> Done {
        let _ = (now, leg, status, answer);
        Err(NOT_YET)
    }

    /// Answers with 200; `session` is the answer, or the offer if the INVITE had none.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn answer(&mut self, now: Instant, leg: LegHandle, session: &sdp::Session) -> Done {
        let _ = (now, leg, session);
        Err(NOT_YET)
    }

    /// Refuses with 400 to 699 and, if given, a Q.850 cause. Same as [`hang_up`](Self::hang_up) with a status.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegHandle,
        status: StatusCode,
        q850: Option<u8>,
    ) -> Done {
        let _ = (now, leg, status, q850);
        Err(NOT_YET)
    }

    /// Sends the caller elsewhere with 302.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn redirect(&mut self, now: Instant, leg: LegHandle, targets: &[Uri]) -> Done {
        let _ = (now, leg, targets);
        Err(NOT_YET)
    }

    /// Refuses an INVITE with 401 and these WWW-Authenticate values (from
    /// [`digest::Server::challenges`](crate::digest::Server::challenges)). The leg is released; the caller comes back
    /// with a new one.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn challenge_invite(
        &mut self,
        now: Instant,
        leg: LegHandle,
        challenges: &[String],
    ) -> Done {
        let _ = (now, leg, challenges);
        Err(NOT_YET)
    }

    // -- in a dialog

    /// Offers another session by re-INVITE: hold, resume, another address. [`Event::Reanswered`] or
    /// [`Event::ReofferFailed`] follows; a 491 is retried after the RFC's random wait (RFC 3261 14.1).
    ///
    /// # Errors
    /// [`CommandError::Gone`], [`CommandError::State`] before the leg is answered, [`CommandError::Pending`] while an
    /// offer of either side is unanswered.
    pub fn reoffer(&mut self, now: Instant, leg: LegHandle, offer: &sdp::Session) -> Done {
        let _ = (now, leg, offer);
        Err(NOT_YET)
    }

    /// Accepts the peer's re-offer; `session` is the answer, or our offer if the peer asked for one.
    ///
    /// # Errors
    /// [`CommandError::Gone`], or [`CommandError::State`] if there is none to answer.
    pub fn answer_reoffer(&mut self, now: Instant, leg: LegHandle, session: &sdp::Session) -> Done {
        let _ = (now, leg, session);
        Err(NOT_YET)
    }

    /// Refuses the peer's re-offer, usually with 488; the session stays as it was.
    ///
    /// # Errors
    /// [`CommandError::Gone`], or [`CommandError::State`] if there is none.
    pub fn refuse_reoffer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        let _ = (now, leg, status);
        Err(NOT_YET)
    }

    /// Sends INFO in the dialog. The response is not reported.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn info(&mut self, now: Instant, leg: LegHandle, content_type: &str, body: &[u8]) -> Done {
        let _ = (now, leg, content_type, body);
        Err(NOT_YET)
    }

    /// Asks the peer to call `target` instead of us (blind transfer; attended with a Replaces header in the URI).
    /// [`Event::ReferProgress`] tells how it goes.
    ///
    /// # Errors
    /// [`CommandError::Gone`], [`CommandError::State`] or [`CommandError::Pending`].
    pub fn refer(&mut self, now: Instant, leg: LegHandle, target: &NameAddr) -> Done {
        let _ = (now, leg, target);
        Err(NOT_YET)
    }

    /// Accepts a REFER with 202 and tells the peer `100 Trying`.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn accept_refer(&mut self, now: Instant, leg: LegHandle) -> Done {
        let _ = (now, leg);
        Err(NOT_YET)
    }

    /// Refuses a REFER, usually with 603.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn refuse_refer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        let _ = (now, leg, status);
        Err(NOT_YET)
    }

    /// Tells the peer by NOTIFY how the call it asked for goes; a final status ends the subscription.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn notify_refer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        let _ = (now, leg, status);
        Err(NOT_YET)
    }

    // -- outside dialogs

    /// Asks a peer for a sign of life. [`Event::OptionsAnswered`] follows.
    ///
    /// # Errors
    /// [`CommandError::Full`] or [`CommandError::NoTransport`].
    pub fn options(
        &mut self,
        now: Instant,
        target: &Uri,
        from: &NameAddr,
        peer: Peer,
    ) -> Result<QueryHandle, CommandError> {
        let _ = (now, target, from, peer);
        Err(NOT_YET)
    }

    /// Answers a REGISTER with 401 and these WWW-Authenticate values.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn challenge_register(
        &mut self,
        now: Instant,
        request: RequestHandle,
        challenges: &[String],
    ) -> Done {
        let _ = (now, request, challenges);
        Err(NOT_YET)
    }

    /// Answers a REGISTER with 200 and the bindings now in force (each with its `expires` parameter).
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn accept_register(
        &mut self,
        now: Instant,
        request: RequestHandle,
        bindings: &[NameAddr],
    ) -> Done {
        let _ = (now, request, bindings);
        Err(NOT_YET)
    }

    /// Refuses a REGISTER; more headers (for example `Min-Expires` with 423) may be added.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn refuse_register(
        &mut self,
        now: Instant,
        request: RequestHandle,
        status: StatusCode,
        headers: &[(&str, &str)],
    ) -> Done {
        let _ = (now, request, status, headers);
        Err(NOT_YET)
    }

    // -- after a crash

    /// Releases a dialog that an earlier process left behind: CANCEL for an INVITE that may still ring, BYE for an
    /// answered one, ACK and BYE for a 2xx that still arrives. Ends with [`Event::LeftoverReleased`] or
    /// [`Event::LeftoverGone`].
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::NoTransport`], or [`CommandError::Invalid`] if the snapshot's texts are
    /// no URIs.
    pub fn release_leftover(
        &mut self,
        now: Instant,
        snapshot: &DialogSnapshot,
        credentials: Option<Login>,
    ) -> Result<LeftoverHandle, CommandError> {
        let _ = (now, snapshot, credentials);
        Err(NOT_YET)
    }
}
