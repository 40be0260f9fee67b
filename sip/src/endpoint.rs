//! The user agent: everything goes in and out through [`Endpoint`].
//!
//! One input (`handle_*` or a command), then drain the outputs: events first, then transmits and connects, then ask for
//! the next timeout. An [`Event::Snapshot`] polled before the transmits can be made durable before the bytes leave.
//!
//! Here are the tables and the inputs; [`dispatch`] finds out whom a message concerns. What a leg does is in `session`,
//! what an account does in `registration`, what becomes of a crash's leftovers in `leftover`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

mod dispatch;
mod tables;
mod timers;

use crate::command::{Account, CommandError, Hangup, Invite};
use crate::config::Config;
use crate::core::Core;
use crate::digest::Login;
use crate::event::{AccountHandle, Event, LeftoverHandle, LegHandle, QueryHandle, RequestHandle};
use crate::framing;
use crate::headers::{NameAddr, name};
use crate::leftover::Leftover;
use crate::method::{Method, StatusCode};
use crate::registration::Registration;
use crate::schedule::Due;
use crate::sdp;
use crate::session::Leg;
use crate::snapshot::DialogSnapshot;
use crate::transaction::table::ClientOwner;
use crate::transport::{Connect, Flow, Peer, Transmit, TransportId, TransportKind};
use crate::uri::Uri;

type Done = Result<(), CommandError>;

/// One SIP user agent: UAC and UAS, registrations, the server side of a registrar. Pure: the same inputs and the same
/// seed give the same outputs.
pub struct Endpoint {
    core: Core,
    legs: HashMap<LegHandle, Leg>,
    /// Legs by Call-ID and our tag.
    dialogs: HashMap<(String, String), LegHandle>,
    accounts: HashMap<AccountHandle, Registration>,
    queries: HashSet<QueryHandle>,
    /// REGISTERs that wait for the application, by their transaction.
    requests: HashMap<RequestHandle, u64>,
    leftovers: HashMap<LeftoverHandle, Leftover>,
    /// Leftovers by Call-ID and our tag.
    leftover_dialogs: HashMap<(String, String), LeftoverHandle>,
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
        Self {
            core: Core::new(config, seed),
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            accounts: HashMap::new(),
            queries: HashSet::new(),
            requests: HashMap::new(),
            leftovers: HashMap::new(),
            leftover_dialogs: HashMap::new(),
        }
    }

    // -- transports

    /// Announces a bound UDP socket. `advertised` stands in Via and Contact: an address the peer can reach.
    pub fn bind_datagram(&mut self, advertised: SocketAddr) -> TransportId {
        let id = TransportId(self.core.id());
        self.core.datagrams.push((id, advertised));
        id
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
        if self.core.streams.len() >= self.core.config.limits.streams {
            return Err(CommandError::Full("streams"));
        }
        let id = self.core.open_stream(kind, remote);
        let keepalive = self.core.config.stream_keepalive;
        self.core
            .schedule
            .set(Due::Keepalive(id), keepalive.map(|pause| now + pause));
        Ok(id)
    }

    /// The next connection the endpoint wants opened.
    pub fn poll_connect(&mut self) -> Option<Connect> {
        self.core.connects.pop_front()
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
        let flow = Flow {
            transport,
            kind: TransportKind::Udp,
            address: from,
        };
        let received = framing::datagram(bytes, &self.core.config.message_limits);
        self.receive(now, received, flow);
        self.tidy();
    }

    /// Bytes arrived on a connection, cut anywhere.
    pub fn handle_stream(&mut self, now: Instant, transport: TransportId, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(stream) = self.core.streams.get_mut(&transport) {
            let flow = Flow {
                transport,
                kind: stream.kind,
                address: stream.remote,
            };
            let Some(received) = stream.framing.next(&mut rest) else {
                break;
            };
            self.receive(now, received, flow);
        }
        self.tidy();
    }

    /// A connection was closed, or one that was asked for cannot be opened.
    pub fn handle_stream_closed(&mut self, now: Instant, transport: TransportId) {
        let Some(stream) = self.core.streams.remove(&transport) else {
            return;
        };
        self.core.schedule.set(Due::Keepalive(transport), None);
        let lost: Vec<u64> = self
            .core
            .clients
            .iter()
            .filter(|(_, entry)| entry.flow.transport == transport && entry.machine.is_pending())
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.on_client_failure(now, id, 503);
        }
        for registration in self
            .accounts
            .values_mut()
            .filter(|account| account.goes_over(stream.remote))
        {
            registration.on_stream_lost(&mut self.core, now);
            self.core.schedule.set(
                Due::Account(registration.handle()),
                registration.next_timeout(),
            );
        }
        self.tidy();
    }

    /// The instant of [`poll_timeout`](Self::poll_timeout) has come (calling early or late does no harm).
    pub fn handle_timeout(&mut self, now: Instant) {
        // What is due may set timers that are due at once; each part moves its own on, so this ends.
        while let Some(due) = self.core.schedule.pop(now) {
            self.on_due(now, due);
        }
        self.tidy();
    }

    // -- outputs

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.schedule.next()
    }

    /// How full the tables are.
    pub fn load(&self) -> Load {
        Load {
            transactions: self.core.clients.len() + self.core.servers.len(),
            legs: self.legs.len(),
            accounts: self.accounts.len(),
            pending: self.requests.len() + self.queries.len(),
            leftovers: self.leftovers.len(),
            streams: self.core.streams.len(),
            timers: self.core.schedule.len(),
        }
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
        if self.accounts.len() >= self.core.config.limits.accounts {
            return Err(CommandError::Full("accounts"));
        }
        self.core.flow_to(account.peer)?;
        let mut registration = Registration::new(&mut self.core, account);
        registration.register_now(&mut self.core, now)?;
        let handle = registration.handle();
        self.core
            .schedule
            .set(Due::Account(handle), registration.next_timeout());
        self.accounts.insert(handle, registration);
        Ok(handle)
    }

    /// Registers again at once, for example because the PBX was restarted or answered 403/404 to an INVITE.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn register_now(&mut self, now: Instant, account: AccountHandle) -> Done {
        self.with_account(account, |account, core| account.register_now(core, now))
    }

    /// Removes our contact and ends the account with [`Event::Unregistered`], also if the registrar does not answer.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn unregister(&mut self, now: Instant, account: AccountHandle) -> Done {
        self.with_account(account, |account, core| {
            account.unregister(core, now);
            Ok(())
        })
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
        let _ = now;
        if self.legs.len() >= self.core.config.limits.legs {
            return Err(CommandError::Full("legs"));
        }
        let (leg, snapshot) = Leg::prepare(&mut self.core, invite)?;
        Ok((self.insert_leg(leg), snapshot))
    }

    /// Sends the prepared INVITE.
    ///
    /// # Errors
    /// [`CommandError::Gone`], [`CommandError::State`] if it was sent before, [`CommandError::Late`].
    pub fn send_invite(&mut self, now: Instant, leg: LegHandle) -> Done {
        if !self.core.has_room() {
            return Err(CommandError::Full("transactions"));
        }
        self.with_leg(leg, |leg, core| leg.send(core, now))
    }

    /// Ends a leg in whatever state it is: CANCEL while it rings, BYE once answered, a final response to an incoming
    /// call, nothing at all if its INVITE was never sent. [`Event::Released`] follows when the peer has confirmed or
    /// its time is over. Calling it again does no harm.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn hang_up(&mut self, now: Instant, leg: LegHandle, hangup: Hangup) -> Done {
        self.with_leg(leg, |leg, core| {
            leg.hang_up(core, now, hangup);
            Ok(())
        })
    }

    /// Sends the ACK of an answer that [`Config::hold_ack`] keeps back: what the answer told is durable. Calling it
    /// again, or when nothing is kept back, does no harm.
    ///
    /// # Errors
    /// [`CommandError::Gone`].
    pub fn acknowledge(&mut self, now: Instant, leg: LegHandle) -> Done {
        self.with_leg(leg, |leg, core| {
            leg.acknowledge(core, now);
            Ok(())
        })
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
        self.with_leg(leg, |leg, core| leg.ring(core, now, status, answer))
    }

    /// Answers with 200; `session` is the answer, or the offer if the INVITE had none.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn answer(&mut self, now: Instant, leg: LegHandle, session: &sdp::Session) -> Done {
        self.with_leg(leg, |leg, core| leg.answer(core, now, session))
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
        self.with_leg(leg, |leg, core| leg.refuse(core, now, status, q850, &[]))
    }

    /// Sends the caller elsewhere with 302.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn redirect(&mut self, now: Instant, leg: LegHandle, targets: &[Uri]) -> Done {
        self.with_leg(leg, |leg, core| leg.redirect(core, now, targets))
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
        let headers: Vec<_> = challenges
            .iter()
            .map(|value| (name::WWW_AUTHENTICATE, value.clone()))
            .collect();
        self.with_leg(leg, |leg, core| {
            leg.refuse(core, now, StatusCode::UNAUTHORIZED, None, &headers)
        })
    }

    // -- in a dialog

    /// Offers another session by re-INVITE: hold, resume, another address. [`Event::Reanswered`] or
    /// [`Event::ReofferFailed`] follows; a 491 is retried after the RFC's random wait (RFC 3261 14.1).
    ///
    /// # Errors
    /// [`CommandError::Gone`], [`CommandError::State`] before the leg is answered, [`CommandError::Pending`] while an
    /// offer of either side is unanswered.
    pub fn reoffer(&mut self, now: Instant, leg: LegHandle, offer: &sdp::Session) -> Done {
        self.with_leg(leg, |leg, core| leg.reoffer(core, now, offer))
    }

    /// Accepts the peer's re-offer; `session` is the answer, or our offer if the peer asked for one.
    ///
    /// # Errors
    /// [`CommandError::Gone`], or [`CommandError::State`] if there is none to answer.
    pub fn answer_reoffer(&mut self, now: Instant, leg: LegHandle, session: &sdp::Session) -> Done {
        self.with_leg(leg, |leg, core| leg.answer_reoffer(core, now, session))
    }

    /// Refuses the peer's re-offer, usually with 488; the session stays as it was.
    ///
    /// # Errors
    /// [`CommandError::Gone`], or [`CommandError::State`] if there is none.
    pub fn refuse_reoffer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        self.with_leg(leg, |leg, core| leg.refuse_reoffer(core, now, status))
    }

    /// Sends INFO in the dialog. The response is not reported.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn info(&mut self, now: Instant, leg: LegHandle, content_type: &str, body: &[u8]) -> Done {
        self.with_leg(leg, |leg, core| leg.info(core, now, content_type, body))
    }

    /// Asks the peer to call `target` instead of us (blind transfer; attended with a Replaces header in the URI).
    /// [`Event::ReferProgress`] tells how it goes.
    ///
    /// # Errors
    /// [`CommandError::Gone`], [`CommandError::State`] or [`CommandError::Pending`].
    pub fn refer(&mut self, now: Instant, leg: LegHandle, target: &NameAddr) -> Done {
        self.with_leg(leg, |leg, core| leg.refer(core, now, target))
    }

    /// Accepts a REFER with 202 and tells the peer `100 Trying`.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn accept_refer(&mut self, now: Instant, leg: LegHandle) -> Done {
        self.with_leg(leg, |leg, core| leg.accept_refer(core, now))
    }

    /// Refuses a REFER, usually with 603.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn refuse_refer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        self.with_leg(leg, |leg, core| leg.refuse_refer(core, now, status))
    }

    /// Tells the peer by NOTIFY how the call it asked for goes; a final status ends the subscription.
    ///
    /// # Errors
    /// [`CommandError::Gone`] or [`CommandError::State`].
    pub fn notify_refer(&mut self, now: Instant, leg: LegHandle, status: StatusCode) -> Done {
        self.with_leg(leg, |leg, core| leg.notify_refer(core, now, status))
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
        if self.queries.len() + self.requests.len() >= self.core.config.limits.pending
            || !self.core.has_room()
        {
            return Err(CommandError::Full("pending requests"));
        }
        let flow = self.core.flow_to(peer)?;
        let (tag, call_id) = (self.core.token(), self.core.token());
        let (from, to) = (from.clone().with_tag(&tag), NameAddr::new(target.clone()));
        let contact = NameAddr::new(
            self.core
                .contact(&flow, &from.uri.user().unwrap_or_default()),
        )
        .to_wire();
        let request = self
            .core
            .request(
                Method::OPTIONS,
                target.for_request_line(),
                &from,
                &to,
                &call_id,
                1,
            )
            .header(name::CONTACT, contact)
            .header(name::ACCEPT, "application/sdp");
        let query = QueryHandle(self.core.id());
        self.queries.insert(query);
        self.core
            .send_request(now, request, flow, ClientOwner::Query(query), None);
        Ok(query)
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
        let headers: Vec<_> = challenges
            .iter()
            .map(|value| (name::WWW_AUTHENTICATE, value.as_str()))
            .collect();
        self.answer_register(now, request, StatusCode::UNAUTHORIZED, &headers)
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
        let bindings: Vec<String> = bindings.iter().map(NameAddr::to_wire).collect();
        let headers: Vec<_> = bindings
            .iter()
            .map(|value| (name::CONTACT, value.as_str()))
            .collect();
        self.answer_register(now, request, StatusCode::OK, &headers)
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
        self.answer_register(now, request, status, headers)
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
        if self.leftovers.len() >= self.core.config.limits.leftovers || !self.core.has_room() {
            return Err(CommandError::Full("leftovers"));
        }
        let leftover = Leftover::begin(&mut self.core, now, snapshot, credentials)?;
        let handle = leftover.handle();
        self.leftover_dialogs.insert(
            (leftover.call_id.clone(), leftover.local_tag.clone()),
            handle,
        );
        self.core
            .schedule
            .set(Due::Leftover(handle), leftover.next_timeout());
        self.leftovers.insert(handle, leftover);
        self.tidy();
        Ok(handle)
    }
}
