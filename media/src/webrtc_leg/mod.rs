//! The browser's side of a call: an offer goes in, an answer comes out, RTP goes in and out.
//!
//! A [`BrowserLeg`] is one long-lived WebRTC connection of one agent session. It outlives calls: the engine's
//! [`Leg`](crate::Leg) holds the other end of a Unix datagram pair and puts one RTP packet into each datagram, so
//! that the engine needs no tokio and this file needs no bridge. Towards the browser the leg has one SSRC, sequence
//! and time line however often the engine's source changes.
//!
//! The offer is cut down to one G.711 law and `telephone-event/8000`: nothing is ever transcoded from Opus here.
//! The `webrtc` crate shows nowhere outside this folder. The leg never logs a session description: it names hosts.
//!
//! Read next: `offer.rs` (what is kept of an offer), `connection.rs` (how the crate is set up), `relay.rs` (the
//! task that owns the connection and closes it on every path).

mod connection;
mod offer;
mod relay;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Codec;
pub use relay::{Traffic, TrafficSnapshot};

/// How long a browser may take from our answer to the end of the DTLS handshake.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Where browsers reach this machine, and what they are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserConfig {
    /// Local addresses, one candidate each. `0.0.0.0` and `::` stand for every interface except loopback.
    pub ips: Vec<IpAddr>,
    /// Address to tell the browser instead, when a one-to-one NAT stands in front of this machine.
    pub advertise: Option<IpAddr>,
    /// UDP ports to use, one per connection and address. `0..=0` lets the system choose.
    pub ports: RangeInclusive<u16>,
    /// The law to take when the browser offers both; the trunk's own law spares the conversion.
    pub prefer: Codec,
}

/// What became of the connection. After [`Failed`](Self::Failed) the leg has closed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserEvent {
    /// The handshake is done (again): audio flows.
    Connected,
    /// Nothing was heard from the browser for 5 s; it may come back.
    Disconnected,
    /// It did not connect in time, was silent for 15 s more, or the engine's end of the pair is gone.
    Failed,
}

/// The answer for the browser, and what the engine's leg must be told about it.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserAnswer {
    /// The session description for the browser, candidates included.
    pub sdp: String,
    /// The law agreed on.
    pub codec: Codec,
    /// Payload type of that law on this leg, in both directions and on the datagram pair too.
    pub payload_type: u8,
    /// Payload type of `telephone-event/8000` (RFC 4733), if the browser can send digits.
    pub telephone_event: Option<u8>,
}

impl std::fmt::Debug for BrowserAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrowserAnswer")
            .field("sdp", &format_args!("{} bytes", self.sdp.len()))
            .field("codec", &self.codec)
            .field("payload_type", &self.payload_type)
            .field("telephone_event", &self.telephone_event)
            .finish()
    }
}

/// Why there is no browser leg. No variant carries a session description.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BrowserError {
    /// The browser's offer cannot be served: the page's fault.
    #[error("cannot serve the browser's offer: {0}")]
    Offer(&'static str),
    /// The browser offers neither law of G.711: the page's fault.
    #[error(
        "the browser offers neither PCMA nor PCMU at 8000 Hz; the page must put them into its codec preferences"
    )]
    NoCodec,
    /// The crate's answer is not what was agreed: our fault.
    #[error("the answer for the browser is unusable: {0}")]
    Answer(&'static str),
    /// No address is configured, or every port of the range is taken: our fault.
    #[error("no free UDP port for a browser in {first}-{last}: {why}")]
    Ports {
        /// First port of the configured range.
        first: u16,
        /// Last port of the configured range.
        last: u16,
        /// What the last try met.
        why: String,
    },
    /// A step of setting up the connection failed: our fault, or an offer that only looked right.
    #[error("cannot {act}: {detail}")]
    Setup {
        /// The step.
        act: &'static str,
        /// The cause, cut to a length that cannot hold a session description.
        detail: String,
    },
}

/// One agent's browser. Dropping it closes the connection too; [`close`](Self::close) waits until that is done.
#[derive(Debug)]
pub struct BrowserLeg {
    /// Dropped to end the task.
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
    traffic: Arc<Traffic>,
}

impl BrowserLeg {
    /// Answers `offer_sdp` and starts the leg, inside a tokio runtime. The connection itself comes up after the
    /// answer has reached the browser and is told by [`BrowserEvent::Connected`].
    ///
    /// `rtp` carries one RTP packet per datagram. What arrives from it goes to the browser if it has one of the two
    /// agreed payload types; what the browser sends goes into it, without extensions or padding. A full socket
    /// drops the packet and counts it. `events` may be full: then the newest state waits for room, older ones are
    /// skipped.
    ///
    /// Dropping the returned future half way closes what it had opened.
    ///
    /// # Errors
    /// See [`BrowserError`]; nothing stays open after any of them.
    pub async fn answer(
        offer_sdp: &str,
        config: &BrowserConfig,
        rtp: UnixDatagram,
        events: mpsc::Sender<BrowserEvent>,
    ) -> Result<(Self, BrowserAnswer), BrowserError> {
        let offer = offer::Offer::read(offer_sdp, config.prefer)?;
        let rtp = relay::socket(rtp)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, answered) = oneshot::channel();
        let traffic = Arc::new(Traffic::default());
        let config = config.clone();
        let counters = Arc::clone(&traffic);
        // The task owns the connection from its first moment: a caller that goes away drops `stop` or `answered`,
        // and the task closes what it holds. The crate leaks its sockets when it is merely dropped.
        let task = tokio::spawn(async move {
            let (connection, answer) = match connection::open(offer, &config).await {
                Ok(opened) => opened,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            if ready.send(Ok(answer)).is_err() {
                return connection.close().await;
            }
            relay::run(connection, rtp, events, stopped, counters).await;
        });
        let leg = Self {
            stop: Some(stop),
            task: Some(task),
            traffic,
        };
        match answered.await {
            Ok(Ok(answer)) => Ok((leg, answer)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(BrowserError::Setup {
                act: "run the browser leg",
                detail: "its task ended".to_owned(),
            }),
        }
    }

    /// Packets moved and dropped so far.
    pub fn traffic(&self) -> TrafficSnapshot {
        self.traffic.snapshot()
    }

    /// Ends the connection and returns when its sockets are closed. The browser is not told by this: the page
    /// learns of it from its own signalling, or from ICE after some seconds.
    pub async fn close(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            // A panic in the task has been reported by the runtime already; there is nothing left to close.
            let _ = task.await;
        }
    }
}
