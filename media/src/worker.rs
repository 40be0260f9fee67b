//! An audio thread: owns the sockets of its legs and everything about them. One round is: wait for readiness, take one
//! packet from each ready socket, pass it on at once, obey commands, tend tones and timers.
//!
//! Level-triggered epoll and one receive a readiness: no receive ever comes back empty. When rounds follow each other
//! closely the thread rests until 3 ms after the last one began, so that a wake-up serves many sockets; the rest is the
//! whole delay added. Nothing here locks, allocates or waits for a packet's sake.
//!
//! A thread that was not run for a while finds many packets in each socket. It then takes them without rest, all sockets
//! abreast by the time at which the packets came, so that no side of a call gets ahead of the other.
//!
//! Here are the state and the loop; the verbs are in `worker/`: `packets` (the audio path), `obey` (commands), `tend`
//! (tones, reports, silence).

mod obey;
mod packets;
mod tend;

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::bridge::{OutStream, Source};
use crate::command::Command;
use crate::dtmf::{DigitWatch, Event};
use crate::engine::MediaError;
use crate::g711::Codec;
use crate::leg::{LegId, MediaEvent, Remote};
use crate::rtcp::{self, Said};
use crate::rtp::{self, HEADER_LEN, Header};
use crate::silence::{Change, SilenceWatch};
use crate::stamps::Stamps;
use crate::stats::LegCounters;
use crate::stream::{Arrival, InStream, Step};
use crate::tap::{Side, Tap, TapContent, TapPacket};
use crate::tone::ToneSource;
use crate::wire::{Notes, Socketry, Wire};

/// Rounds begin at least this far apart while there is much to do.
const PACE: Duration = Duration::from_millis(3);
/// After standing still: a round goes through so much of what came meanwhile, in every socket.
const STRIDE: Duration = Duration::from_millis(200);
/// Behind a packet that waited for longer there may be another one: the usual packet time.
const WAITED: Duration = Duration::from_millis(20);
/// Packets taken from one socket in a round, and in one that goes through a stride of 200 ms: a peer that sends more than
/// any telephone does must not keep the thread from the others.
const AT_ONCE: usize = 4;
const AT_ONCE_BEHIND: usize = 64;
/// Timers are looked at this often.
const SWEEP: Duration = Duration::from_millis(100);
/// Mean time between our RTCP reports (RFC 3550 section 6.2, the minimum interval).
const RTCP_EVERY: Duration = Duration::from_secs(5);
/// Longest datagram taken; RTP of a telephone is below 600 octets.
const DATAGRAM: usize = 2_048;
/// Readiness taken a round.
const EVENTS: usize = 1_024;
/// The eventfd's token; legs have slot * 4 + socket.
const WAKE: u64 = u64::MAX;
/// Longest packet time of a generated tone, in samples (60 ms).
const TONE_MAX: usize = 480;

/// Everything about one leg. It travels between threads whole.
#[derive(Debug)]
pub(crate) struct LegState {
    id: LegId,
    wire: Wire,
    remote: Option<Remote>,
    inbound: InStream,
    outbound: OutStream,
    digits: DigitWatch,
    silence: SilenceWatch,
    tone: Option<Playing>,
    /// Bridge slot and which side of it this leg is.
    bridge: Option<(usize, Side)>,
    next_report: Option<Instant>,
    /// The last round in which it gave a packet, and when that one came.
    round: u64,
    last_came: Option<Instant>,
    /// The peer's last sender report: middle of its NTP time, and when it came.
    peer_report: Option<(u32, Instant)>,
    events: mpsc::Sender<MediaEvent>,
    counters: Arc<LegCounters>,
}

#[derive(Debug)]
struct Playing {
    source: ToneSource,
    due: Instant,
    first: bool,
}

#[derive(Debug)]
struct Bridge {
    /// Leg slots: agent, customer.
    legs: [usize; 2],
    tap: Option<Box<Tap>>,
}

impl LegState {
    pub(crate) fn new(
        id: LegId,
        wire: Wire,
        events: mpsc::Sender<MediaEvent>,
        counters: Arc<LegCounters>,
        silence_after: Duration,
    ) -> Self {
        Self {
            id,
            wire,
            remote: None,
            inbound: InStream::default(),
            outbound: OutStream::new(random() as u32, random() as u16, random() as u32),
            digits: DigitWatch::default(),
            silence: SilenceWatch::new(silence_after),
            tone: None,
            bridge: None,
            next_report: None,
            round: 0,
            last_came: None,
            peer_report: None,
            events,
            counters,
        }
    }

    fn tell(&self, event: MediaEvent) {
        if self.events.try_send(event).is_err() {
            self.counters.events_dropped.bump();
        }
    }

    fn tell_change(&self, change: Change) {
        let leg = self.id;
        self.tell(match change {
            Change::Silent(since) => {
                self.counters.silences.bump();
                MediaEvent::Silent { leg, since }
            }
            Change::Resumed(after) => MediaEvent::Resumed { leg, after },
        });
    }

    /// Sends a packet whose header is written over the octets before `start`.
    #[inline]
    fn send(&mut self, packet: &[u8], payload: usize) {
        match self.wire.send_rtp(packet) {
            Ok(()) => {
                self.outbound.count(payload);
                self.counters.sent.bump();
                self.counters.sent_octets.add(payload as u64);
            }
            Err(_) => self.counters.send_failed.bump(),
        }
    }
}

/// What a payload type means on a leg.
#[derive(Debug, Clone, Copy)]
enum Content {
    Audio(Codec),
    Event(Event),
}

/// A packet that passed every check of its own leg.
struct Taken {
    header: Header,
    arrival: Arrival,
    came: Instant,
    content: Content,
    bridge: (usize, Side),
    source: Source,
}

/// The thread's whole state.
#[derive(Debug)]
pub(crate) struct Worker {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    load: Arc<AtomicU64>,
    legs: Vec<Option<Box<LegState>>>,
    /// Legs in `legs`.
    live: usize,
    bridges: Vec<Option<Bridge>>,
    /// Slots of legs with a tone.
    playing: Vec<usize>,
    /// Bridges that got a packet in this round.
    touched: Vec<usize>,
    round: u64,
    /// Packets that came before this are taken in this round; the present, but for a thread that stood still.
    horizon: Instant,
    stamps: Stamps,
    notes: Notes,
    started: Instant,
    next_sweep: Instant,
    stopping: bool,
}

impl Worker {
    pub(crate) fn new(
        commands: Receiver<Command>,
        load: Arc<AtomicU64>,
    ) -> Result<(Self, Arc<OwnedFd>), MediaError> {
        let failed = |act| {
            move |error: Errno| MediaError::Start {
                act,
                source: error.into(),
            }
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create"))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed("eventfd"))?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )
        .map_err(failed("epoll_ctl"))?;
        let wake = Arc::new(wake);
        let now = Instant::now();
        let worker = Self {
            epoll,
            wake: Arc::clone(&wake),
            commands,
            load,
            legs: Vec::new(),
            live: 0,
            bridges: Vec::new(),
            playing: Vec::new(),
            touched: Vec::with_capacity(EVENTS),
            round: 0,
            horizon: now,
            stamps: Stamps::new(now),
            notes: Notes::new(),
            started: now,
            next_sweep: now,
            stopping: false,
        };
        Ok((worker, wake))
    }

    /// Runs until the engine is dropped.
    pub(crate) fn run(mut self) {
        let mut ready = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        let mut buffer = [0; DATAGRAM];
        let mut last_round = self.started;
        while !self.stopping {
            let asleep = Instant::now();
            let timeout = self
                .next_timer()
                .map(|at| to_timespec(at.saturating_duration_since(asleep)));
            let events = match epoll::wait(&self.epoll, &mut ready, timeout.as_ref()) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "epoll failed, the audio thread ends");
                    break;
                }
            };
            let now = self.stamps.read();
            self.round += 1;
            // Without legs it slept for as long as it pleased.
            self.horizon = match timeout {
                Some(_) => now.min(self.horizon + STRIDE),
                None => now,
            };
            let mut woken = false;
            for event in events.iter() {
                let token = event.data.u64();
                if token == WAKE {
                    woken = true;
                    continue;
                }
                self.take(
                    (token / 4) as usize,
                    socketry(token),
                    event.flags,
                    &mut buffer,
                    now,
                );
            }
            if woken {
                let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8][..]);
                self.obey(&mut buffer, now);
            }
            // Sockets that gave nothing in this round held nothing that had come by then, unless there was no room to say
            // which are ready.
            let quiet_until = (events.len() < EVENTS).then_some(asleep.min(self.horizon));
            self.let_pass(quiet_until);
            self.tend(&mut buffer, quiet_until, now);
            let caught_up = self.horizon == now;
            if caught_up && now.saturating_duration_since(last_round) < 2 * PACE {
                let rest = (now + PACE).saturating_duration_since(Instant::now());
                if !rest.is_zero() {
                    std::thread::sleep(rest);
                }
            }
            last_round = now;
        }
        let now = Instant::now();
        for slot in 0..self.legs.len() {
            self.close(slot, &mut buffer, now);
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        if self.live == 0 {
            return None;
        }
        let tone = self
            .playing
            .iter()
            .filter_map(|&slot| self.leg(slot)?.tone.as_ref().map(|tone| tone.due))
            .min();
        Some(tone.map_or(self.next_sweep, |due| due.min(self.next_sweep)))
    }

    fn leg(&self, slot: usize) -> Option<&LegState> {
        self.legs.get(slot)?.as_deref()
    }

    fn leg_mut(&mut self, slot: usize) -> Option<&mut LegState> {
        self.legs.get_mut(slot)?.as_deref_mut()
    }
}

fn token(slot: usize, socket: Socketry) -> epoll::EventData {
    let low = match socket {
        Socketry::Rtp => 0,
        Socketry::Rtcp => 1,
        Socketry::Stray => 2,
    };
    epoll::EventData::new_u64(slot as u64 * 4 + low)
}

fn socketry(token: u64) -> Socketry {
    match token & 3 {
        0 => Socketry::Rtp,
        1 => Socketry::Rtcp,
        _ => Socketry::Stray,
    }
}

/// Rounded up to whole milliseconds: anything finer needs `epoll_pwait2`, which hardened units may bar.
fn to_timespec(time: Duration) -> rustix::event::Timespec {
    let ms = time.as_micros().div_ceil(1_000).min(i32::MAX as u128) as i64;
    rustix::event::Timespec {
        tv_sec: ms / 1_000,
        tv_nsec: ms % 1_000 * 1_000_000,
    }
}

/// Start values of a stream (RFC 3550 section 5.1): 64 bits keyed by the system's randomness through the standard
/// library's hasher. They guard against chance collisions, nothing secret hangs on them.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
