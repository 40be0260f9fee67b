//! What all parts of an endpoint share: randomness, transports, transactions, timers and the queues of its outputs.
//!
//! The parts (legs, accounts …) hold their own state and are handed a `&mut Core` to act.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::ChaCha20Rng;
use rand::{Rng, RngExt, SeedableRng};

use crate::command::CommandError;
use crate::config::Config;
use crate::event::{Event, LegHandle};
use crate::framing;
use crate::headers::{MAGIC_COOKIE, NameAddr, Via, name};
use crate::message::{Request, Response};
use crate::method::{Method, StatusCode};
use crate::schedule::{Due, Schedule};
use crate::session::bounds::Bounds;
use crate::transaction::client::Client;
use crate::transaction::client_invite::ClientInvite;
use crate::transaction::table::{
    ClientEntry, ClientMachine, ClientOwner, Clients, ServerEntry, ServerMachine, ServerOwner,
    Servers,
};
use crate::transport::{Connect, Flow, Peer, Transmit, TransportId, TransportKind};
use crate::uri::{SipUri, Uri};

/// The methods we understand, for Allow.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, REFER, NOTIFY";

/// One stream connection.
pub(crate) struct Stream {
    pub(crate) kind: TransportKind,
    pub(crate) remote: SocketAddr,
    pub(crate) framing: framing::Stream,
}

pub(crate) struct Core {
    pub(crate) config: Config,
    rng: ChaCha20Rng,
    next_id: u64,
    pub(crate) datagrams: Vec<(TransportId, SocketAddr)>,
    pub(crate) streams: HashMap<TransportId, Stream>,
    /// The address by which peers see us, if it is to be learnt (RFC 3581).
    pub(crate) learnt: Option<SocketAddr>,
    pub(crate) clients: Clients,
    pub(crate) servers: Servers,
    pub(crate) schedule: Schedule,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) connects: VecDeque<Connect>,
    pub(crate) events: VecDeque<Event>,
    /// Transactions that ended or began, by leg, so that a leg can be forgotten with its last one.
    pub(crate) leg_transactions: HashMap<LegHandle, usize>,
    /// Legs whose last transaction has just ended.
    pub(crate) idle_legs: Vec<LegHandle>,
}

impl Core {
    pub(crate) fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: ChaCha20Rng::from_seed(seed),
            next_id: 1,
            datagrams: Vec::new(),
            streams: HashMap::new(),
            learnt: None,
            clients: Clients::default(),
            servers: Servers::default(),
            schedule: Schedule::default(),
            transmits: VecDeque::new(),
            connects: VecDeque::new(),
            events: VecDeque::new(),
            leg_transactions: HashMap::new(),
            idle_legs: Vec::new(),
        }
    }

    // -- names

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Random text for tags, Call-IDs and cnonces: 96 bits.
    pub(crate) fn token(&mut self) -> String {
        let mut bytes = [0_u8; 12];
        self.rng.fill_bytes(&mut bytes);
        let mut text = String::with_capacity(24);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    pub(crate) fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", self.token())
    }

    /// A random whole number of `low..=high`.
    pub(crate) fn random(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high.max(low))
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    // -- transports

    /// The way to a peer: the UDP socket of its address family, the open connection, or a new one.
    pub(crate) fn flow_to(&mut self, peer: Peer) -> Result<Flow, CommandError> {
        let flow = |transport| Flow {
            transport,
            kind: peer.kind,
            address: peer.address,
        };
        if peer.kind == TransportKind::Udp {
            let socket = self
                .datagrams
                .iter()
                .find(|(_, local)| local.is_ipv4() == peer.address.is_ipv4());
            return socket
                .map(|(id, _)| flow(*id))
                .ok_or(CommandError::NoTransport);
        }
        let open = self
            .streams
            .iter()
            .find(|(_, stream)| stream.kind == peer.kind && stream.remote == peer.address);
        if let Some((id, _)) = open {
            return Ok(flow(*id));
        }
        if self.streams.len() >= self.config.limits.streams {
            return Err(CommandError::Full("streams"));
        }
        if self.local_address(peer.kind).is_none() {
            return Err(CommandError::NoTransport);
        }
        let id = self.open_stream(peer.kind, peer.address);
        self.connects.push_back(Connect {
            transport: id,
            kind: peer.kind,
            destination: peer.address,
        });
        Ok(flow(id))
    }

    pub(crate) fn open_stream(&mut self, kind: TransportKind, remote: SocketAddr) -> TransportId {
        let id = TransportId(self.id());
        let framing = framing::Stream::new(self.config.message_limits);
        self.streams.insert(
            id,
            Stream {
                kind,
                remote,
                framing,
            },
        );
        id
    }

    /// Whether a flow can still be used.
    pub(crate) fn is_open(&self, flow: &Flow) -> bool {
        flow.kind == TransportKind::Udp || self.streams.contains_key(&flow.transport)
    }

    /// What stands in Via and Contact.
    fn local_address(&self, kind: TransportKind) -> Option<SocketAddr> {
        let datagram = || self.datagrams.first().map(|(_, local)| *local);
        match kind {
            TransportKind::Udp => datagram(),
            _ => self.config.stream_contact.or_else(datagram),
        }
    }

    pub(crate) fn sent_by(&self, flow: &Flow) -> SocketAddr {
        let bound = self
            .datagrams
            .iter()
            .find(|(id, _)| *id == flow.transport)
            .map(|(_, local)| *local);
        bound
            .or_else(|| self.local_address(flow.kind))
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 5060)))
    }

    /// Our Contact for requests over this flow.
    pub(crate) fn contact(&self, flow: &Flow, user: &str) -> Uri {
        let local = match (self.learnt, flow.kind) {
            (Some(learnt), TransportKind::Udp) => learnt,
            _ => self.sent_by(flow),
        };
        let uri = SipUri::new(local.ip(), Some(local.port())).with_user(user);
        match flow.kind {
            TransportKind::Udp => uri.into(),
            kind => uri.with_param("transport", Some(kind.param())).into(),
        }
    }

    pub(crate) fn transmit(&mut self, now: Instant, flow: &Flow, bytes: Vec<u8>) {
        self.transmit_before(now, flow, bytes, None);
    }

    /// As [`transmit`](Self::transmit) for what must not leave any more when it waited until `not_after`.
    pub(crate) fn transmit_before(
        &mut self,
        now: Instant,
        flow: &Flow,
        bytes: Vec<u8>,
        not_after: Option<Instant>,
    ) {
        if !self.is_open(flow) {
            return;
        }
        if let (true, Some(pause)) = (flow.kind.is_reliable(), self.config.stream_keepalive) {
            self.schedule
                .set(Due::Keepalive(flow.transport), Some(now + pause));
        }
        self.transmits.push_back(Transmit {
            transport: flow.transport,
            destination: flow.address,
            bytes,
            not_after,
        });
    }

    // -- client transactions

    pub(crate) fn has_room(&self) -> bool {
        self.clients.len() + self.servers.len() < self.config.limits.transactions
    }

    fn via(&self, flow: &Flow, branch: &str) -> Via {
        let transport = match flow.kind {
            TransportKind::Udp => rsip::Transport::Udp,
            TransportKind::Tcp => rsip::Transport::Tcp,
            TransportKind::Tls => rsip::Transport::Tls,
        };
        Via::new(transport, self.sent_by(flow), branch)
    }

    /// Puts our Via on top and sends the request in a transaction of its own. `branch` is made up if not given.
    pub(crate) fn send_request(
        &mut self,
        now: Instant,
        request: Request,
        flow: Flow,
        owner: ClientOwner,
        branch: Option<String>,
    ) -> u64 {
        let branch = branch.unwrap_or_else(|| self.branch());
        self.send_bounded(now, request, flow, owner, branch, Bounds::default())
    }

    /// As [`send_request`](Self::send_request), and never again once the bounds are over.
    pub(crate) fn send_bounded(
        &mut self,
        now: Instant,
        mut request: Request,
        flow: Flow,
        owner: ClientOwner,
        branch: String,
        bounds: Bounds,
    ) -> u64 {
        request.headers.remove(name::VIA);
        request
            .headers
            .push_front(name::VIA, self.via(&flow, &branch).to_wire());
        self.begin_client(now, request, flow, owner, branch, bounds)
    }

    /// As [`send_request`](Self::send_request) for a request that already has its Via (a CANCEL repeats the INVITE's).
    pub(crate) fn send_with_via(
        &mut self,
        now: Instant,
        request: Request,
        flow: Flow,
        owner: ClientOwner,
        branch: String,
    ) -> u64 {
        self.begin_client(now, request, flow, owner, branch, Bounds::default())
    }

    fn begin_client(
        &mut self,
        now: Instant,
        request: Request,
        flow: Flow,
        owner: ClientOwner,
        branch: String,
        bounds: Bounds,
    ) -> u64 {
        let id = self.id();
        let (timers, reliable) = (self.config.timers, flow.kind.is_reliable());
        let machine = match request.method {
            Method::INVITE => ClientMachine::Invite(
                ClientInvite::new(now, timers, reliable).resent_before(bounds.not_after()),
            ),
            _ => ClientMachine::Other(Client::new(now, timers, reliable)),
        };
        let bytes = request.to_bytes();
        self.transmit_before(now, &flow, bytes.clone(), bounds.not_after());
        if let ClientOwner::Leg(leg, _) = owner {
            *self.leg_transactions.entry(leg).or_default() += 1;
        }
        self.schedule.set(Due::Client(id), machine.next_timeout());
        self.clients.insert(
            id,
            ClientEntry {
                machine,
                request,
                branch,
                bytes,
                flow,
                owner,
                acks: Vec::new(),
                bounds,
            },
        );
        id
    }

    /// Forgets a client transaction.
    pub(crate) fn drop_client(&mut self, id: u64) {
        self.schedule.set(Due::Client(id), None);
        if let Some(entry) = self.clients.remove(id)
            && let ClientOwner::Leg(leg, _) = entry.owner
        {
            self.leave_leg(leg);
        }
    }

    fn leave_leg(&mut self, leg: LegHandle) {
        if let Some(count) = self.leg_transactions.get_mut(&leg) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.leg_transactions.remove(&leg);
                self.idle_legs.push(leg);
            }
        }
    }

    /// Sends a request outside all transactions: an ACK. Returns the bytes for repetition.
    pub(crate) fn send_ack(&mut self, now: Instant, request: Request, flow: &Flow) -> Vec<u8> {
        let bytes = self.ack_bytes(request, flow);
        self.transmit(now, flow, bytes.clone());
        bytes
    }

    /// An ACK as it is to be sent over `flow`.
    pub(crate) fn ack_bytes(&mut self, mut request: Request, flow: &Flow) -> Vec<u8> {
        let branch = self.branch();
        request
            .headers
            .push_front(name::VIA, self.via(flow, &branch).to_wire());
        request.to_bytes()
    }

    /// The Via text that an INVITE with `branch` over `flow` carries.
    pub(crate) fn via_text(&self, flow: &Flow, branch: &str) -> String {
        self.via(flow, branch).to_wire()
    }

    // -- server transactions

    /// Sends a response in its transaction, which may have ended it already.
    pub(crate) fn respond(&mut self, now: Instant, transaction: u64, response: Response) {
        let server_name = self.config.user_agent.clone();
        let Some(entry) = self.servers.get_mut(transaction) else {
            return;
        };
        if !entry.machine.respond(now, response.status.code()) {
            return;
        }
        let bytes = response.header(name::SERVER, server_name).to_bytes();
        entry.response.clone_from(&bytes);
        let flow = entry.flow;
        let due = entry.next_timeout();
        self.schedule.set(Due::Server(transaction), due);
        self.transmit(now, &flow, bytes);
    }

    /// A response to the request of a transaction, with its To tag.
    pub(crate) fn response(&self, transaction: u64, status: StatusCode) -> Option<Response> {
        let entry = self.servers.get(transaction)?;
        Some(Response::to_request(
            &entry.request,
            status,
            Some(&entry.tag),
        ))
    }

    /// Answers with nothing but a status.
    pub(crate) fn respond_status(&mut self, now: Instant, transaction: u64, status: u16) {
        if let Some(status) = StatusCode::new(status)
            && let Some(response) = self.response(transaction, status)
        {
            self.respond(now, transaction, response);
        }
    }

    pub(crate) fn insert_server(&mut self, entry: ServerEntry) -> u64 {
        let id = self.id();
        if let ServerOwner::Leg(leg) = entry.owner {
            *self.leg_transactions.entry(leg).or_default() += 1;
        }
        self.schedule.set(Due::Server(id), entry.next_timeout());
        self.servers.insert(id, entry);
        id
    }

    /// Hands a transaction to a leg.
    pub(crate) fn own_server(&mut self, id: u64, leg: LegHandle) {
        if let Some(entry) = self.servers.get_mut(id)
            && entry.owner != ServerOwner::Leg(leg)
        {
            entry.owner = ServerOwner::Leg(leg);
            *self.leg_transactions.entry(leg).or_default() += 1;
        }
    }

    pub(crate) fn set_server_owner(&mut self, id: u64, owner: ServerOwner) {
        if let Some(entry) = self.servers.get_mut(id) {
            entry.owner = owner;
        }
    }

    pub(crate) fn drop_server(&mut self, id: u64) {
        self.schedule.set(Due::Server(id), None);
        if let Some(entry) = self.servers.remove(id)
            && let ServerOwner::Leg(leg) = entry.owner
        {
            self.leave_leg(leg);
        }
    }

    // -- requests

    /// The headers that every request of ours begins with, Via aside.
    pub(crate) fn request(
        &self,
        method: Method,
        uri: Uri,
        from: &NameAddr,
        to: &NameAddr,
        call_id: &str,
        cseq: u32,
    ) -> Request {
        let cseq = format!("{cseq} {method}");
        Request::new(method, uri)
            .header(name::MAX_FORWARDS, "70")
            .header(name::FROM, from.to_wire())
            .header(name::TO, to.to_wire())
            .header(name::CALL_ID, call_id)
            .header(name::CSEQ, cseq)
            .header(name::USER_AGENT, self.config.user_agent.as_str())
    }
}

/// The machine for a request that arrived.
pub(crate) fn server_machine(core: &Core, method: &Method, flow: &Flow) -> ServerMachine {
    use crate::transaction::{server::Server, server_invite::ServerInvite};
    let (timers, reliable) = (core.config.timers, flow.kind.is_reliable());
    match *method {
        Method::INVITE => ServerMachine::Invite(ServerInvite::new(timers, reliable)),
        _ => ServerMachine::Other(Server::new(timers, reliable)),
    }
}
