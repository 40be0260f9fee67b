//! The agency's PBX as one task: registration, reachability, and the legs that go through it.
//!
//! Owns the SIP sockets and drives `ringfence-sip`. A leg is prepared (its snapshot can be made durable), sent, and
//! then tells what happens to it over a bounded channel of its own. Knows nothing of calls, audio or rules, except
//! that an INVITE can only be built from a [`Destination`], which a permit alone makes. Read [`Trunk`] first, then `Driver`.

mod driver;

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use self::driver::Driver;
use ringfence_sip::{
    Account, DialogSnapshot, EndedBy, Endpoint, Hangup, LegHandle, Peer, SessionTimer,
    TransportKind, digest::Login, headers::NameAddr, sdp, uri::Uri,
};
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    call::LegFailure, clock::Clock, config::Transport, policy::Destination, sip_socket::SipSocket,
};

/// Commands that may wait for the driver; a sender then waits too.
const COMMANDS: usize = 1024;

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
    /// The dialog can only be released after a crash with this newer snapshot. An answer is acknowledged to the PBX
    /// once it is durable ([`Acknowledge`]), or the PBX would forget what the next process must learn from it.
    Snapshot(String, Option<Acknowledge>),
    /// The PBX has the INVITE.
    Trying,
    /// A provisional answer: 180 rings, 183 has early media.
    Progress {
        /// The SIP status.
        status: u16,
        /// Session of the early media.
        answer: Option<Box<sdp::Session>>,
    },
    /// 200 OK.
    Answered {
        /// When it was read from the socket.
        received: Instant,
        /// The answer to our offer.
        answer: Box<sdp::Session>,
    },
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

/// Tells the PBX that its answer has arrived and is durable. Telling it late makes the PBX repeat its answer, and never
/// telling it ends the call after half a minute.
#[derive(Debug)]
pub struct Acknowledge {
    handle: LegHandle,
    commands: mpsc::WeakSender<Command>,
}

impl Acknowledge {
    /// Sends it.
    pub async fn send(&self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Acknowledge(self.handle)).await;
        }
    }
}

enum Command {
    Acknowledge(LegHandle),
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
            hold_ack: true,
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
        let commands_of_legs = commands.downgrade();
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
            asked: None,
            missed: 0,
            stopping: None,
            own_commands: commands_of_legs,
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
