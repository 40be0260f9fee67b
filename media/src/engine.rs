//! The engine: starts the audio threads, opens legs on them, joins legs into bridges.
//!
//! It opens sockets on the caller's thread and hands them over; afterwards only the owning thread touches them. No
//! method waits for a thread, except when two legs that live on different threads are bridged (a few milliseconds; open
//! the second leg of a call with [`Engine::open_leg_beside`] and it never happens).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::command::{Command, MAILBOX, Mailbox};
use crate::leg::{Leg, LegId, MediaEvent};
use crate::ports::{PortError, PortPool};
use crate::stats::{LegCounters, PortUse};
use crate::tap::Tap;
use crate::wire::{PortLease, Wire};
use crate::worker::{LegState, Worker};

/// Niceness that the audio threads ask for.
const NICENESS: i32 = -10;
/// How long a leg's move to another thread may take before it counts as failed.
const MOVE_LIMIT: Duration = Duration::from_secs(1);

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Audio threads. One carries some hundreds of calls; at least 1.
    pub threads: usize,
    /// Address the RTP sockets bind to; it is also what [`Leg::local`] names, so give the address peers reach.
    pub bind: IpAddr,
    /// UDP ports to use, in pairs: even for RTP, the next for RTCP.
    pub ports: RangeInclusive<u16>,
    /// How long a closed pair rests.
    pub quarantine: Duration,
    /// Silence of a peer that should send is reported after this time.
    pub silence_after: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: 20_000..=29_999,
            quarantine: Duration::from_secs(10),
            silence_after: Duration::from_secs(5),
        }
    }
}

/// Why an act of the media plane failed.
#[derive(Debug, Error)]
pub enum MediaError {
    /// The configuration names no thread.
    #[error("media.threads must be at least 1")]
    NoThreads,
    /// No port pair can be had.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// A socket could not be made or bound.
    #[error("cannot open an RTP socket on {address}")]
    Open {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a thread, an epoll or an eventfd.
    #[error("cannot start an audio thread: {act}")]
    Start {
        /// What failed.
        act: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread has too many commands waiting. Try again; if it lasts, the machine is overloaded.
    #[error("the audio thread has too many commands waiting")]
    Overloaded,
    /// The engine was shut down.
    #[error("the media engine has stopped")]
    Stopped,
}

/// The audio threads and the port pool.
#[derive(Debug)]
pub struct Engine {
    threads: Vec<Thread>,
    ports: Arc<Mutex<PortPool>>,
    config: EngineConfig,
    next_leg: AtomicU64,
}

#[derive(Debug)]
struct Thread {
    mailbox: Mailbox,
    /// Legs handed to it and not yet closed.
    load: Arc<AtomicU64>,
    join: Option<JoinHandle<()>>,
}

/// Puts the calling thread before the other threads of the process and the machine when there is a queue for the
/// processor. It needs a limit of niceness that allows it (`LimitNICE=` in the unit); without, audio goes on and is late on
/// a machine that is too busy.
fn come_first() {
    // Linux counts niceness by thread.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the audio thread has no priority over others");
    }
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`MediaError::NoThreads`], [`MediaError::Ports`] for an empty range, [`MediaError::Start`].
    pub fn start(config: EngineConfig) -> Result<Self, MediaError> {
        if config.threads == 0 {
            return Err(MediaError::NoThreads);
        }
        let ports = Arc::new(Mutex::new(PortPool::new(
            config.ports.clone(),
            config.quarantine,
        )?));
        let mut threads = Vec::with_capacity(config.threads);
        for index in 0..config.threads {
            let (sender, commands) = sync_channel(MAILBOX);
            let load = Arc::new(AtomicU64::new(0));
            let (worker, wake) = Worker::new(commands, Arc::clone(&load))?;
            let join = std::thread::Builder::new()
                .name(format!("audio-{index}"))
                .spawn(move || {
                    come_first();
                    worker.run();
                })
                .map_err(|source| MediaError::Start {
                    act: "spawn",
                    source,
                })?;
            threads.push(Thread {
                mailbox: Mailbox {
                    thread: index,
                    sender,
                    wake,
                },
                load,
                join: Some(join),
            });
        }
        Ok(Self {
            threads,
            ports,
            config,
            next_leg: AtomicU64::new(1),
        })
    }

    /// Opens a leg on the least loaded thread. Its events go to `events`.
    ///
    /// # Errors
    /// [`MediaError::Ports`] if no pair is free, [`MediaError::Open`], [`MediaError::Overloaded`].
    pub fn open_leg(&self, events: mpsc::Sender<MediaEvent>) -> Result<Leg, MediaError> {
        let (wire, local) = self.bind()?;
        self.adopt(self.least_loaded(), wire, Some(local), events)
    }

    /// Whether a leg could be opened: binds a pair of ports of the range and lets go of it, outside the pool.
    ///
    /// # Errors
    /// [`MediaError::Open`] with what the last port said.
    pub fn probe(&self) -> Result<SocketAddr, MediaError> {
        let mut last = MediaError::Stopped;
        for port in self.config.ports.clone() {
            let Some(next) = port
                .checked_add(1)
                .filter(|next| port % 2 == 0 && self.config.ports.contains(next))
            else {
                continue;
            };
            let address = SocketAddr::new(self.config.bind, port);
            let pair = UdpSocket::bind(address)
                .and_then(|_rtp| UdpSocket::bind(SocketAddr::new(self.config.bind, next)));
            match pair {
                Ok(_rtcp) => return Ok(address),
                Err(source) => {
                    let busy = source.kind() == io::ErrorKind::AddrInUse;
                    last = MediaError::Open { address, source };
                    if !busy {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// Opens a leg on the thread of `other`: for the second leg of a call.
    ///
    /// # Errors
    /// As [`Engine::open_leg`].
    pub fn open_leg_beside(
        &self,
        other: &Leg,
        events: mpsc::Sender<MediaEvent>,
    ) -> Result<Leg, MediaError> {
        let (wire, local) = self.bind()?;
        self.adopt(other.mailbox().thread, wire, Some(local), events)
    }

    /// Opens a leg on one end of a datagram pair: each datagram one RTP packet, no RTCP. The other end belongs to whoever
    /// speaks to the peer (the browser leg). When the other end is closed the leg falls silent; it does not end.
    ///
    /// # Errors
    /// As [`Engine::open_leg`].
    pub fn open_pair_leg(
        &self,
        socket: UnixDatagram,
        beside: Option<&Leg>,
        events: mpsc::Sender<MediaEvent>,
    ) -> Result<Leg, MediaError> {
        socket
            .set_nonblocking(true)
            .map_err(|source| MediaError::Start {
                act: "set a socket non-blocking",
                source,
            })?;
        let thread = beside.map_or_else(|| self.least_loaded(), |leg| leg.mailbox().thread);
        self.adopt(thread, Wire::pair(socket), None, events)
    }

    /// Joins two legs: what one hears the other says. Position 0 of `tap` is `at`. Legs already in a bridge leave it
    /// (a tap there is stopped at `at`); their outgoing streams go on unbroken. Tones being played end when the other
    /// side's first packet comes. What is returned tells when the audio thread had joined them; never, if one was closed
    /// before.
    ///
    /// # Errors
    /// [`MediaError::Overloaded`], [`MediaError::Stopped`].
    pub fn bridge(
        &self,
        agent: &Leg,
        customer: &Leg,
        tap: Option<Tap>,
        at: Instant,
    ) -> Result<oneshot::Receiver<Instant>, MediaError> {
        let home = agent.mailbox();
        if customer.mailbox().thread != home.thread {
            self.move_leg(customer, &home)?;
        }
        let (joined, told) = oneshot::channel();
        home.send(Command::Bridge {
            agent: agent.id,
            customer: customer.id,
            tap: tap.map(Box::new),
            at,
            joined,
        })?;
        Ok(told)
    }

    /// Takes `leg` and its partner apart; a tap is stopped at `at` and has then exactly the length from start to `at`.
    ///
    /// # Errors
    /// As [`Engine::bridge`].
    pub fn unbridge(&self, leg: &Leg, at: Instant) -> Result<(), MediaError> {
        leg.send(Command::Unbridge { leg: leg.id, at })
    }

    /// Keeps both voices out of the recording from `at` on (card numbers); silence keeps the time line.
    ///
    /// # Errors
    /// As [`Engine::bridge`].
    pub fn pause_recording(&self, leg: &Leg, at: Instant) -> Result<(), MediaError> {
        leg.send(Command::PauseTap { leg: leg.id, at })
    }

    /// Ends [`Engine::pause_recording`].
    ///
    /// # Errors
    /// As [`Engine::bridge`].
    pub fn resume_recording(&self, leg: &Leg, at: Instant) -> Result<(), MediaError> {
        leg.send(Command::ResumeTap { leg: leg.id, at })
    }

    /// How full the port pool is.
    pub fn ports(&self) -> PortUse {
        lock(&self.ports).usage(Instant::now())
    }

    fn bind(&self) -> Result<(Wire, SocketAddr), MediaError> {
        let total = self.ports().total;
        let mut last = None;
        // A port of the range may belong to another program: pass over it, it rests meanwhile.
        for _ in 0..total {
            let port = match (lock(&self.ports).take(Instant::now()), last) {
                (Ok(port), _) => port,
                (Err(_), Some(error)) => return Err(error),
                (Err(exhausted), None) => return Err(exhausted.into()),
            };
            let lease = PortLease::new(port, Arc::clone(&self.ports));
            let address = SocketAddr::new(self.config.bind, port);
            match Wire::bind(address, lease) {
                Ok(wire) => return Ok((wire, address)),
                Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                    last = Some(MediaError::Open { address, source });
                }
                Err(source) => return Err(MediaError::Open { address, source }),
            }
        }
        Err(last.unwrap_or(MediaError::Stopped))
    }

    fn adopt(
        &self,
        thread: usize,
        wire: Wire,
        local: Option<SocketAddr>,
        events: mpsc::Sender<MediaEvent>,
    ) -> Result<Leg, MediaError> {
        let thread = self.threads.get(thread).ok_or(MediaError::Stopped)?;
        let id = LegId(self.next_leg.fetch_add(1, Ordering::Relaxed));
        let counters = Arc::new(LegCounters::default());
        let state = LegState::new(
            id,
            wire,
            events,
            Arc::clone(&counters),
            self.config.silence_after,
        );
        thread.mailbox.send(Command::Adopt(Box::new(state)))?;
        thread.load.fetch_add(1, Ordering::Relaxed);
        Ok(Leg {
            id,
            local,
            counters,
            mailbox: Mutex::new(thread.mailbox.clone()),
        })
    }

    fn least_loaded(&self) -> usize {
        let by_load = self
            .threads
            .iter()
            .enumerate()
            .min_by_key(|(_, thread)| thread.load.load(Ordering::Relaxed));
        by_load.map_or(0, |(index, _)| index)
    }

    fn move_leg(&self, leg: &Leg, home: &Mailbox) -> Result<(), MediaError> {
        let (reply, answer) = sync_channel(1);
        leg.send(Command::Surrender { leg: leg.id, reply })?;
        let state = answer
            .recv_timeout(MOVE_LIMIT)
            .map_err(|_| MediaError::Stopped)?;
        home.send(Command::Adopt(state))?;
        if let Some(thread) = self.threads.get(home.thread) {
            thread.load.fetch_add(1, Ordering::Relaxed);
        }
        match leg.mailbox.lock() {
            Ok(mut held) => *held = home.clone(),
            Err(poisoned) => *poisoned.into_inner() = home.clone(),
        }
        Ok(())
    }
}

impl Drop for Engine {
    /// Stops the threads: every leg is closed, every tap stopped.
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.mailbox.stop();
        }
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take() {
                let _ = join.join();
            }
        }
    }
}

/// The pool's lock; a panic while it was held cannot leave it half changed in a way that matters.
pub(crate) fn lock(pool: &Mutex<PortPool>) -> std::sync::MutexGuard<'_, PortPool> {
    pool.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
