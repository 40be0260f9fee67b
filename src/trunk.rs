//! The agency's PBX as one task: registration, reachability, and the legs that go through it.
//!
//! Owns the SIP sockets and drives `ringfence-sip`. A leg is prepared (its snapshot can be made durable), sent, and
//! then tells what happens to it over a bounded channel of its own. Knows nothing of calls, audio or rules, except
//! that an INVITE can only be built from a [`Destination`], which a permit alone makes. Read [`Trunk`] first, then `Driver`.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use ringfence_sip::{
    Account, AccountHandle, DialogSnapshot, EndedBy, Endpoint, Event, Hangup, Invite,
    LeftoverHandle, LegHandle, Peer, QueryHandle, SessionTimer, TransportKind, cause::Release,
    digest::Login, headers::NameAddr, method::StatusCode, sdp, uri::Uri,
};
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    call::LegFailure, clock::Clock, config::Transport, policy::Destination, sip_socket::SipSocket,
};

/// Commands that may wait for the driver; a sender then waits too.
const COMMANDS: usize = 1024;
/// Events that may wait for one call; a call that does not read them loses its leg, it never stops the trunk.
const LEG_EVENTS: usize = 64;
/// Unanswered OPTIONS after which the PBX counts as unreachable.
const MISSED_QUERIES: u32 = 3;

/// What the trunk must know of the PBX. Names are resolved, secrets read.
#[derive(Debug, Clone)]
pub struct TrunkSettings {
    /// Name in figures and messages.
    pub name: String,
    /// Address of the PBX.
    pub server: SocketAddr,
    /// Transport of SIP.
    pub transport: Transport,
    /// Local address of the SIP socket.
    pub bind: SocketAddr,
    /// Address told to the PBX, where it differs.
    pub advertise: Option<SocketAddr>,
    /// Host part of From and To.
    pub domain: String,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// How long a registration is asked to last.
    pub register_expires: Duration,
    /// Time between OPTIONS.
    pub qualify: Duration,
    /// Session timer of each leg.
    pub session_expires: Duration,
    /// How a number is written to the PBX, with `{e164}` or `{digits}`.
    pub dial: String,
    /// Number shown to customers; the account's user if `None`.
    pub caller_id: Option<String>,
}

/// How the PBX is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrunkState {
    /// The registrar accepted us and the registration has not run out.
    pub registered: bool,
    /// It answers.
    pub reachable: bool,
    /// What went wrong last, for operators; empty while all is well.
    pub problem: String,
}

impl TrunkState {
    /// Whether an INVITE has a chance.
    pub fn is_up(&self) -> bool {
        self.registered && self.reachable
    }
}

/// What happens to a leg.
#[derive(Debug)]
pub enum LegEvent {
    /// The dialog can only be released after a crash with this newer snapshot.
    Snapshot(String),
    /// A provisional answer: 180 rings, 183 has early media.
    Progress {
        /// The SIP status.
        status: u16,
        /// Session of the early media.
        answer: Option<Box<sdp::Session>>,
    },
    /// 200 OK, with the answer to our offer.
    Answered(Box<sdp::Session>),
    /// The peer wants another session; reply with [`TrunkLeg::reanswer`].
    Reoffer(Option<Box<sdp::Session>>),
    /// The leg was never answered.
    Failed(LegFailure),
    /// An answered leg is over.
    Ended {
        /// Who ended it.
        by: EndedBy,
        /// Q.850 cause of its Reason header.
        q850: Option<u8>,
    },
}

/// A handle on the PBX; clones share one driver.
#[derive(Clone)]
pub struct Trunk {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<TrunkState>,
    name: String,
    local: SocketAddr,
}

/// One leg through the PBX.
pub struct TrunkLeg {
    handle: LegHandle,
    commands: mpsc::Sender<Command>,
    /// What must be durable before [`TrunkLeg::send`]. Holds a phone number: store it, never log it.
    pub snapshot: String,
    /// What happens to it.
    pub events: mpsc::Receiver<LegEvent>,
}

enum Command {
    Prepare(Box<Prepare>),
    Send(LegHandle),
    Cut(LegHandle, Hangup),
    Reanswer(LegHandle, Option<Box<sdp::Session>>),
    ReleaseLeftover(Box<DialogSnapshot>, oneshot::Sender<bool>),
    Stop(oneshot::Sender<()>),
}

/// A leg with its snapshot and what will happen to it.
type Offered = (LegHandle, String, mpsc::Receiver<LegEvent>);

struct Prepare {
    destination: Destination,
    offer: sdp::Session,
    ring: Option<Duration>,
    reply: oneshot::Sender<Result<Offered, LegFailure>>,
}

/// Why the trunk cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    /// The SIP socket.
    #[error(
        "trunk.bind: cannot listen at {address}: {source}; end the other program or choose another port"
    )]
    Bind {
        /// The wanted address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// No address the PBX could reach us at.
    #[error(
        "trunk.advertise: no route to {server}: {source}; check the network or set trunk.advertise"
    )]
    NoRoute {
        /// The PBX.
        server: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// An account that cannot be written as a SIP address.
    #[error(
        "trunk.{key}: cannot be written as a SIP address; use letters, digits, dots and dashes"
    )]
    Account {
        /// The option.
        key: &'static str,
    },
}

impl Trunk {
    /// Opens the sockets and begins to register. `seed` is fresh randomness.
    pub async fn start(
        settings: TrunkSettings,
        clock: Clock,
        seed: [u8; 32],
    ) -> Result<Self, TrunkError> {
        let kind = match settings.transport {
            Transport::Udp => TransportKind::Udp,
            Transport::Tcp => TransportKind::Tcp,
        };
        let peer = Peer {
            kind,
            address: settings.server,
        };
        let uri = |key, user: Option<&str>| {
            let text = match user {
                Some(user) => format!("sip:{user}@{}", settings.domain),
                None => format!("sip:{}", settings.domain),
            };
            Uri::parse(&text).map_err(|_| TrunkError::Account { key })
        };
        let registrar = uri("domain", None)?;
        let own = uri("user", Some(&settings.user))?;

        let bind_error = |source| TrunkError::Bind {
            address: settings.bind,
            source,
        };
        let mut advertised = settings.advertise;
        if advertised.is_none() && settings.bind.ip().is_unspecified() {
            let route = route_to(settings.server).await;
            let route = route.map_err(|source| TrunkError::NoRoute {
                server: settings.server,
                source,
            })?;
            advertised = Some(SocketAddr::new(route, settings.bind.port()));
        }
        let config = ringfence_sip::Config {
            stream_contact: advertised.or(Some(settings.bind)),
            session_timer: Some(SessionTimer {
                interval: settings.session_expires,
                ..SessionTimer::default()
            }),
            ..ringfence_sip::Config::default()
        };
        let mut socket = SipSocket::new(Endpoint::new(config, seed), clock.clone());
        let bound = socket
            .bind_udp(settings.bind, advertised)
            .await
            .map_err(bind_error)?;
        if settings.transport == Transport::Tcp {
            socket.listen_tcp(bound).await.map_err(bind_error)?;
        }
        let local = advertised.map_or(bound, |a| SocketAddr::new(a.ip(), bound.port()));

        let credentials = Login::new(&settings.user, settings.password.clone());
        let own = NameAddr::new(own);
        let mut account = Account::new(registrar, own.clone(), peer, Some(credentials.clone()));
        account.expires = settings.register_expires;

        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (state_sender, state) = watch::channel(TrunkState::default());
        let trunk = Self {
            commands,
            state,
            name: settings.name.clone(),
            local,
        };
        let driver = Driver {
            socket,
            clock,
            peer,
            own,
            credentials,
            settings,
            state: state_sender,
            account: None,
            legs: HashMap::new(),
            leftovers: HashMap::new(),
            query: None,
            missed: 0,
            stopping: None,
        };
        tokio::spawn(driver.run(account, inbox));
        Ok(trunk)
    }

    /// The trunk's name in figures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Our SIP address as the PBX sees it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// How the PBX is now.
    pub fn state(&self) -> TrunkState {
        self.state.borrow().clone()
    }

    /// Follows the state of the PBX.
    pub fn watch(&self) -> watch::Receiver<TrunkState> {
        self.state.clone()
    }

    /// Builds an INVITE without sending it, so that its snapshot can be made durable first. `ring` is how long the call
    /// will let it ring; what the permit allows may be less.
    pub async fn prepare(
        &self,
        destination: Destination,
        offer: sdp::Session,
        ring: Option<Duration>,
    ) -> Result<TrunkLeg, LegFailure> {
        let (reply, answer) = oneshot::channel();
        let prepare = Prepare {
            destination,
            offer,
            ring,
            reply,
        };
        self.commands
            .send(Command::Prepare(Box::new(prepare)))
            .await
            .map_err(|_| LegFailure::Local)?;
        let (handle, snapshot, events) = answer.await.map_err(|_| LegFailure::Local)??;
        Ok(TrunkLeg {
            handle,
            commands: self.commands.clone(),
            snapshot,
            events,
        })
    }

    /// Ends a dialog that a crash left behind; true if the PBX confirmed it or does not know it any more.
    pub async fn release_leftover(&self, snapshot: DialogSnapshot) -> bool {
        let (reply, answer) = oneshot::channel();
        let command = Command::ReleaseLeftover(Box::new(snapshot), reply);
        self.commands.send(command).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Unregisters; returns when the PBX confirmed it or does not answer.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Stop(reply)).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), done).await;
        }
    }
}

impl Drop for TrunkLeg {
    /// A leg nobody holds any more is released, whatever ended its owner; one that is gone already stays gone.
    fn drop(&mut self) {
        let _ = self
            .commands
            .try_send(Command::Cut(self.handle, Hangup::normal()));
    }
}

impl TrunkLeg {
    /// Sends the INVITE.
    pub async fn send(&self) {
        let _ = self.commands.send(Command::Send(self.handle)).await;
    }

    /// CANCEL or BYE, whichever its state asks for. `q850` is said in a Reason header.
    pub async fn cut(&self, q850: Option<u8>) {
        let _ = self
            .commands
            .send(Command::Cut(
                self.handle,
                Hangup {
                    q850,
                    ..Hangup::normal()
                },
            ))
            .await;
    }

    /// Accepts a re-offer with `session`, or refuses it (488) with `None`.
    pub async fn reanswer(&self, session: Option<sdp::Session>) {
        let _ = self
            .commands
            .send(Command::Reanswer(self.handle, session.map(Box::new)))
            .await;
    }
}

/// The task that owns the sockets.
struct Driver {
    socket: SipSocket,
    clock: Clock,
    settings: TrunkSettings,
    peer: Peer,
    own: NameAddr,
    credentials: Login,
    state: watch::Sender<TrunkState>,
    account: Option<AccountHandle>,
    legs: HashMap<LegHandle, Leg>,
    leftovers: HashMap<LeftoverHandle, oneshot::Sender<bool>>,
    query: Option<QueryHandle>,
    missed: u32,
    stopping: Option<oneshot::Sender<()>>,
}

struct Leg {
    events: mpsc::Sender<LegEvent>,
    answered: bool,
}

impl Driver {
    async fn run(mut self, account: Account, mut inbox: mpsc::Receiver<Command>) {
        let now = self.clock.monotonic();
        match self.socket.endpoint().register(now, account) {
            Ok(handle) => self.account = Some(handle),
            Err(error) => tracing::error!(%error, "the trunk cannot register"),
        }
        let mut qualify = tokio::time::interval(self.settings.qualify);
        qualify.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.socket.next_event() => self.on_event(event),
                command = inbox.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                _ = qualify.tick() => self.ask(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = self.clock.monotonic();
        match command {
            Command::Prepare(prepare) => {
                let result = self.prepare(&prepare.destination, prepare.offer, prepare.ring);
                let handle = result.as_ref().ok().map(|(handle, ..)| *handle);
                if let (Err(_), Some(handle)) = (prepare.reply.send(result), handle) {
                    self.cut(handle, Hangup::normal());
                }
            }
            Command::Send(handle) => {
                if self.socket.endpoint().send_invite(now, handle).is_err() {
                    self.tell(handle, LegEvent::Failed(LegFailure::Local));
                    self.legs.remove(&handle);
                }
            }
            Command::Cut(handle, hangup) => self.cut(handle, hangup),
            Command::Reanswer(handle, session) => {
                let endpoint = self.socket.endpoint();
                let done = match session {
                    Some(session) => endpoint.answer_reoffer(now, handle, &session),
                    None => endpoint.refuse_reoffer(now, handle, StatusCode::NOT_ACCEPTABLE_HERE),
                };
                if let Err(error) = done {
                    tracing::debug!(%error, "a re-offer could not be answered any more");
                }
            }
            Command::ReleaseLeftover(snapshot, reply) => {
                match self.socket.endpoint().release_leftover(
                    now,
                    &snapshot,
                    Some(self.credentials.clone()),
                ) {
                    Ok(leftover) => {
                        self.leftovers.insert(leftover, reply);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a dialog left by a crash could not be released");
                        let _ = reply.send(false);
                    }
                }
            }
            Command::Stop(reply) => match self.account {
                Some(account) if self.socket.endpoint().unregister(now, account).is_ok() => {
                    self.stopping = Some(reply);
                }
                _ => {
                    let _ = reply.send(());
                }
            },
        }
    }

    fn prepare(
        &mut self,
        destination: &Destination,
        offer: sdp::Session,
        ring: Option<Duration>,
    ) -> Result<Offered, LegFailure> {
        if !self.state.borrow().is_up() {
            return Err(LegFailure::Unreached);
        }
        let (user, from) = if destination.is_customer() {
            let from = self
                .settings
                .caller_id
                .as_ref()
                .unwrap_or(&self.settings.user);
            (
                dial_string(&self.settings.dial, destination.dial_string()),
                from,
            )
        } else {
            (destination.dial_string().to_owned(), &self.settings.user)
        };
        let uri = |user: &str| {
            Uri::parse(&format!("sip:{user}@{}", self.settings.domain))
                .map_err(|_| LegFailure::Local)
        };
        let mut invite = Invite::new(uri(&user)?, NameAddr::new(uri(from)?), self.peer, offer);
        invite.contact_user = Some(self.settings.user.clone());
        invite.credentials = Some(self.credentials.clone());
        // Whichever is shorter, rounded down: the peer must not ring longer than the window allows.
        let permitted = destination
            .ring_ms()
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis);
        let shorter = [permitted, ring].into_iter().flatten().min();
        invite.expires = shorter.map(|ring| Duration::from_secs(ring.as_secs().max(1)));
        let now = self.clock.monotonic();
        let (handle, snapshot) =
            self.socket
                .endpoint()
                .prepare_invite(now, invite)
                .map_err(|error| {
                    tracing::error!(%error, "an INVITE could not be built");
                    LegFailure::Local
                })?;
        let (events, inbox) = mpsc::channel(LEG_EVENTS);
        self.legs.insert(
            handle,
            Leg {
                events,
                answered: false,
            },
        );
        Ok((handle, snapshot.to_string(), inbox))
    }

    fn cut(&mut self, handle: LegHandle, hangup: Hangup) {
        // Gone is fine: the peer was faster, and its end has been told.
        let _ = self
            .socket
            .endpoint()
            .hang_up(self.clock.monotonic(), handle, hangup);
    }

    fn tell(&mut self, handle: LegHandle, event: LegEvent) {
        let Some(leg) = self.legs.get(&handle) else {
            return;
        };
        if leg.events.try_send(event).is_err() {
            // Nobody reads it any more, or not fast enough to be trusted with a conversation.
            self.legs.remove(&handle);
            self.cut(handle, Hangup::normal());
        }
    }

    fn on_event(&mut self, event: Event) {
        tracing::trace!(?event, "sip");
        match event {
            Event::Registered { .. } => {
                self.missed = 0;
                self.set_state(|s| {
                    *s = TrunkState {
                        registered: true,
                        reachable: true,
                        problem: String::new(),
                    }
                });
            }
            Event::RegistrationFailed {
                release, retry_in, ..
            } => {
                let problem = registration_problem(&release, retry_in);
                self.set_state(|s| {
                    s.registered = false;
                    s.problem = problem;
                });
            }
            Event::Unregistered { .. } => {
                self.set_state(|s| s.registered = false);
                if let Some(reply) = self.stopping.take() {
                    let _ = reply.send(());
                }
            }
            Event::Snapshot { leg, snapshot } => {
                self.tell(leg, LegEvent::Snapshot(snapshot.to_string()))
            }
            Event::Progress {
                leg,
                status,
                answer,
            } => self.tell(leg, LegEvent::Progress { status, answer }),
            Event::Answered { leg, answer } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.answered = true;
                }
                self.tell(leg, LegEvent::Answered(answer));
            }
            Event::Reoffer { leg, offer } => self.tell(leg, LegEvent::Reoffer(offer)),
            Event::Released { leg, by, release } => {
                let answered = self.legs.get(&leg).is_some_and(|leg| leg.answered);
                self.tell(leg, end_of(by, &release, answered));
                self.legs.remove(&leg);
            }
            Event::Incoming(incoming) => {
                // Inbound calls come with their own issue; until then the PBX hears that nobody takes them.
                let _ = self.socket.endpoint().reject(
                    self.clock.monotonic(),
                    incoming.leg,
                    StatusCode::TEMPORARILY_UNAVAILABLE,
                    None,
                );
            }
            Event::Refer { leg, .. } => {
                let _ = self.socket.endpoint().refuse_refer(
                    self.clock.monotonic(),
                    leg,
                    StatusCode::DECLINE,
                );
            }
            Event::OptionsAnswered { query, status, .. } if self.query == Some(query) => {
                self.query = None;
                self.queried(status);
            }
            Event::LeftoverReleased { leftover, .. } => self.released(leftover, true),
            Event::LeftoverGone {
                leftover,
                peer_answered,
                ..
            } => self.released(leftover, peer_answered),
            _ => {}
        }
    }

    fn released(&mut self, leftover: LeftoverHandle, confirmed: bool) {
        if let Some(reply) = self.leftovers.remove(&leftover) {
            let _ = reply.send(confirmed);
        }
    }

    /// One OPTIONS at a time.
    fn ask(&mut self) {
        if self.query.is_some() {
            return;
        }
        let target = Uri::parse(&format!("sip:{}", self.settings.domain));
        if let Ok(target) = target {
            let now = self.clock.monotonic();
            self.query = self
                .socket
                .endpoint()
                .options(now, &target, &self.own, self.peer)
                .ok();
        }
    }

    /// Any answer at all means that the PBX lives; 408 and 503 stand for none (RFC 3261 8.1.3.1).
    fn queried(&mut self, status: u16) {
        if status == 408 || status == 503 {
            self.missed += 1;
            if self.missed == MISSED_QUERIES {
                self.set_state(|s| {
                    s.reachable = false;
                    s.problem =
                        "the PBX does not answer OPTIONS; is it running, is the network up?".into();
                });
            }
            return;
        }
        self.missed = 0;
        if !self.state.borrow().reachable {
            self.set_state(|s| {
                s.reachable = true;
                s.problem.clear();
            });
            // It may have been restarted and forgotten us.
            if let Some(account) = self.account {
                let _ = self
                    .socket
                    .endpoint()
                    .register_now(self.clock.monotonic(), account);
            }
        }
    }

    fn set_state(&self, change: impl FnOnce(&mut TrunkState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            let changed = *state != before;
            metrics::gauge!("ringfence_trunk_up", "trunk" => self.settings.name.clone())
                .set(if state.is_up() { 1.0 } else { 0.0 });
            if changed && state.is_up() {
                tracing::info!(
                    trunk = self.settings.name,
                    "the PBX is up: registered and reachable"
                );
            } else if changed && !state.problem.is_empty() {
                tracing::warn!(
                    trunk = self.settings.name,
                    problem = state.problem,
                    "the PBX is down"
                );
            }
            changed
        });
    }
}

fn end_of(by: EndedBy, release: &Release, answered: bool) -> LegEvent {
    if answered {
        return LegEvent::Ended {
            by,
            q850: release.q850,
        };
    }
    LegEvent::Failed(match (by, release.status) {
        (EndedBy::Fault, _) | (_, None) => LegFailure::Unreached,
        (_, Some(status)) => LegFailure::Refused {
            status,
            q850: release.q850,
        },
    })
}

fn registration_problem(release: &Release, retry_in: Option<Duration>) -> String {
    match (release.status, retry_in) {
        (Some(401 | 403 | 407), _) => {
            "the PBX refused the registration; check trunk.user, trunk.password and trunk.domain"
                .into()
        }
        (Some(408 | 503), _) => {
            "the PBX does not answer REGISTER; check trunk.server, trunk.transport and the network"
                .into()
        }
        (Some(status), _) => format!("the PBX answered REGISTER with {status}"),
        (None, _) => "the registration failed".into(),
    }
}

fn dial_string(pattern: &str, number: &str) -> String {
    pattern
        .replace("{e164}", number)
        .replace("{digits}", number.trim_start_matches('+'))
}

/// Our own address on the way to `server`, as the kernel would choose it.
async fn route_to(server: SocketAddr) -> std::io::Result<std::net::IpAddr> {
    let any = SocketAddr::new(
        match server {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        },
        0,
    );
    let probe = tokio::net::UdpSocket::bind(any).await?;
    probe.connect(server).await?;
    Ok(probe.local_addr()?.ip())
}
