//! One party's side of the audio, as the rest of the daemon sees it: a handle whose commands go to the thread that
//! owns the sockets. Dropping the handle closes the leg; its ports go into quarantine.
//!
//! It holds no socket and never waits for the audio thread. Next: [`crate::engine`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::{Command, Mailbox};
use crate::engine::MediaError;
use crate::g711::Codec;
use crate::stats::{LegCounters, LegStats};
use crate::tone::Tone;

/// Names a leg within its engine; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(crate) u64);

impl std::fmt::Display for LegId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "leg-{}", self.0)
    }
}

/// Who may send, seen from this side (RFC 4566 section 6, turned round: our own direction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Audio both ways.
    #[default]
    SendRecv,
    /// We send; what arrives is counted and dropped.
    SendOnly,
    /// We listen; nothing is sent but RTCP.
    RecvOnly,
    /// Hold both ways.
    Inactive,
}

impl Direction {
    /// True if we may send audio to the peer.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// True if audio from the peer is wanted.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// Where the peer's RTCP lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rtcp {
    /// On the RTP port (RFC 5761), for peers that agreed to `a=rtcp-mux`.
    Mux,
    /// At this address: `a=rtcp` (RFC 3605), or the RTP port plus one.
    At(SocketAddr),
}

/// Where the peer receives, and the only place packets are accepted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// A UDP peer from SDP. Packets from any other source are refused and counted.
    Udp {
        /// Address of the peer's RTP.
        rtp: SocketAddr,
        /// Address of the peer's RTCP.
        rtcp: Rtcp,
    },
    /// The other end of the datagram pair the leg was opened with ([`crate::Engine::open_pair_leg`]).
    Pair,
}

/// What an offer and answer settled about the peer. Given again after each re-INVITE; the streams go on unbroken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Where the peer is.
    pub address: Address,
    /// The law the peer wants to hear. Either law is understood from it, by the static payload types.
    pub codec: Codec,
    /// Payload type the peer wants for `codec` (static: 8 for A-law, 0 for mu-law).
    pub payload_type: u8,
    /// Payload type the peer wants for digits (RFC 4733); `None`: it takes none, digits towards it are dropped and counted.
    pub telephone_event: Option<u8>,
    /// Payload type we asked for in our own SDP for digits, if it differs from the peer's. Both are understood.
    pub telephone_event_in: Option<u8>,
    /// Packet time the peer asked for. Relayed packets keep their size; generated tones use it. 10 to 60 ms.
    pub ptime: Duration,
    /// Who may send.
    pub direction: Direction,
}

impl Remote {
    /// A plain UDP peer: RTCP on the next port, 20 ms packets, both ways, digits on 101.
    pub fn udp(rtp: SocketAddr, codec: Codec) -> Self {
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
        Self {
            address: Address::Udp {
                rtp,
                rtcp: Rtcp::At(rtcp),
            },
            codec,
            payload_type: codec.payload_type(),
            telephone_event: Some(101),
            telephone_event_in: None,
            ptime: Duration::from_millis(20),
            direction: Direction::SendRecv,
        }
    }

    /// The peer at the other end of a datagram pair, with the payload types it negotiated.
    pub fn pair(codec: Codec, payload_type: u8, telephone_event: Option<u8>) -> Self {
        Self {
            address: Address::Pair,
            codec,
            payload_type,
            telephone_event,
            telephone_event_in: None,
            ptime: Duration::from_millis(20),
            direction: Direction::SendRecv,
        }
    }
}

/// What an audio thread has to tell. Sent into the channel given when the leg was opened; if that is full the event is
/// dropped and counted in [`LegStats::events_dropped`]: the audio never waits for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// Nothing arrived from the peer for this long although it should send.
    Silent {
        /// The leg.
        leg: LegId,
        /// Time since the last packet, or since packets were due.
        since: Duration,
    },
    /// Packets arrive again after `Silent`.
    Resumed {
        /// The leg.
        leg: LegId,
        /// How long nothing had arrived.
        after: Duration,
    },
    /// The peer pressed a key (RFC 4733); told once a key, at its first packet.
    Digit {
        /// The leg.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`. Never log it: it may be part of a card number.
        digit: crate::dtmf::Digit,
    },
    /// The peer said BYE in RTCP. Signalling decides; this is a hint.
    Bye {
        /// The leg.
        leg: LegId,
    },
}

/// A leg. Its commands are sent to the owning thread and return at once.
#[derive(Debug)]
pub struct Leg {
    pub(crate) id: LegId,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) counters: Arc<LegCounters>,
    pub(crate) mailbox: std::sync::Mutex<Mailbox>,
}

impl Leg {
    /// The leg's name in events.
    pub fn id(&self) -> LegId {
        self.id
    }

    /// Address of our RTP port; RTCP is on the next. `None` for a datagram-pair leg.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Sets or changes the peer, after each offer and answer.
    ///
    /// # Errors
    /// [`MediaError::Overloaded`] if the thread's command queue is full, [`MediaError::Stopped`] if the engine ended.
    pub fn set_remote(&self, remote: Remote) -> Result<(), MediaError> {
        self.send(Command::SetRemote {
            leg: self.id,
            remote: Box::new(remote),
        })
    }

    /// Plays a tone towards the peer until [`Leg::stop_tone`] or a bridge with this leg has packets for it.
    ///
    /// # Errors
    /// As [`Leg::set_remote`].
    pub fn play(&self, tone: Tone) -> Result<(), MediaError> {
        self.send(Command::Play { leg: self.id, tone })
    }

    /// Ends what [`Leg::play`] began.
    ///
    /// # Errors
    /// As [`Leg::set_remote`].
    pub fn stop_tone(&self) -> Result<(), MediaError> {
        self.send(Command::StopTone { leg: self.id })
    }

    /// The leg's counters as of now.
    pub fn stats(&self) -> LegStats {
        self.counters.snapshot()
    }

    /// Closes the leg: RTCP BYE, sockets closed, ports into quarantine, its bridge ended and its recording stopped at
    /// `at`. Dropping the leg does the same with the instant the thread notices.
    pub fn close(self, at: Instant) {
        let _ = self.send(Command::Close {
            leg: self.id,
            at: Some(at),
        }); // if this fails, Drop leaves the mark
    }

    pub(crate) fn mailbox(&self) -> Mailbox {
        match self.mailbox.lock() {
            Ok(held) => held.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), MediaError> {
        self.mailbox().send(command)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        // The mark alone is enough (the thread sweeps for it); the command only makes it prompt.
        self.counters.abandon();
        let _ = self.send(Command::Close {
            leg: self.id,
            at: None,
        });
    }
}
