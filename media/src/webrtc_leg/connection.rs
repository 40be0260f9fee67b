//! Sets up the `webrtc` crate for one agent and takes it through offer and answer.
//!
//! Every path after `build()` ends in `close()`: the crate's driver keeps its sockets when it is merely dropped.
//! The handler's callbacks run on that driver, so they only hand over. Next: `relay.rs`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ring::rand::SecureRandom;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription,
    Registry, SettingEngineBuilder, configure_rtcp_reports,
};

use super::offer::{self, Formats, Offer};
use super::{BrowserAnswer, BrowserConfig, BrowserError};

/// ICE: silent this long is disconnected, this much longer is failed, and a check is sent this often. A browser's
/// DTLS close is not reported by the crate, so these are what notices a closed lid.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Checks every 50 ms instead of 200; the raised count keeps their total time above the browser's slowest start.
const CHECK_EVERY: Duration = Duration::from_millis(50);
const CHECKS: u16 = 200;
/// Gathering only lists our own sockets.
const GATHER_LIMIT: Duration = Duration::from_secs(5);
/// Longest text taken over from the crate's errors, in characters.
const DETAIL_LIMIT: usize = 160;

/// Where in the range the next search for a port starts, so that a port just closed is not taken again at once.
static NEXT_PORT: AtomicU32 = AtomicU32::new(0);

/// A negotiated connection with its one track each way.
pub(super) struct Connection {
    peer: Arc<dyn PeerConnection>,
    pub local: Arc<TrackLocalStaticRTP>,
    pub ssrc: u32,
    pub formats: Formats,
    /// State changes; only the newest one is kept.
    pub states: watch::Receiver<RTCPeerConnectionState>,
    /// The browser's track, once, when its first packet arrives.
    pub tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
}

impl Connection {
    /// Ends the connection and frees its sockets.
    pub async fn close(&self) {
        if let Err(error) = self.peer.close().await {
            tracing::warn!(error = %shortened(&error), "a browser connection did not close cleanly");
        }
    }
}

/// Opens a connection for `offer`; the answer holds every candidate.
///
/// # Errors
/// [`BrowserError`]; whatever had been opened is closed again.
pub(super) async fn open(
    offer: Offer,
    config: &BrowserConfig,
) -> Result<(Connection, BrowserAnswer), BrowserError> {
    let formats = offer.formats;
    let (state, states) = watch::channel(RTCPeerConnectionState::New);
    let (gathering, mut gathered) = watch::channel(false);
    let (track, tracks) = mpsc::channel(1);
    let ssrc = random_u32()?;
    let local = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "ringfence".to_owned(),
        "call".to_owned(),
        "call".to_owned(),
        RtpCodecKind::Audio,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec: codec(offer::encoding(formats.codec)),
            ..Default::default()
        }],
    )));
    let peer = build(
        formats,
        config,
        Arc::new(Handler {
            state,
            gathering,
            track,
        }),
    )
    .await?;
    let connection = Connection {
        peer,
        local,
        ssrc,
        formats,
        states,
        tracks,
    };
    match negotiate(&connection, offer, &mut gathered).await {
        Ok(sdp) => {
            let sdp = config
                .advertise
                .map(|ip| offer::with_advertised(&sdp, ip))
                .unwrap_or(sdp);
            let Formats {
                codec,
                payload_type,
                telephone_event,
            } = formats;
            Ok((
                connection,
                BrowserAnswer {
                    sdp,
                    codec,
                    payload_type,
                    telephone_event,
                },
            ))
        }
        Err(error) => {
            connection.close().await;
            Err(error)
        }
    }
}

/// Offer in, answer out.
async fn negotiate(
    connection: &Connection,
    offer: Offer,
    gathered: &mut watch::Receiver<bool>,
) -> Result<String, BrowserError> {
    let Connection { peer, local, .. } = connection;
    let track: Arc<dyn TrackLocal> = Arc::clone(local) as Arc<dyn TrackLocal>;
    peer.add_track(track)
        .await
        .map_err(setup("add our track"))?;
    let remote = RTCSessionDescription::offer(offer.sdp).map_err(setup("read the offer"))?;
    peer.set_remote_description(remote)
        .await
        .map_err(setup("take the offer"))?;
    let answer = peer
        .create_answer(None)
        .await
        .map_err(setup("write the answer"))?;
    peer.set_local_description(answer)
        .await
        .map_err(setup("take our answer"))?;
    let complete = tokio::time::timeout(GATHER_LIMIT, gathered.wait_for(|done| *done))
        .await
        .is_ok_and(|done| done.is_ok());
    if !complete {
        return Err(BrowserError::Answer(
            "its candidates were not gathered in time",
        ));
    }
    let answer = peer
        .local_description()
        .await
        .ok_or(BrowserError::Answer("there is none"))?
        .sdp;
    offer::check_answer(&answer, offer.formats)?;
    Ok(answer)
}

/// Builds the connection on a free port of the range.
async fn build(
    formats: Formats,
    config: &BrowserConfig,
    handler: Arc<Handler>,
) -> Result<Arc<dyn PeerConnection>, BrowserError> {
    let (first, last) = (*config.ports.start(), *config.ports.end());
    let mut why = "no address is configured".to_owned();
    let candidates = if config.ips.is_empty() {
        Vec::new()
    } else {
        ports(first, last)
    };
    for port in candidates {
        let addresses: Vec<SocketAddr> = config
            .ips
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect();
        if let Err(error) = addresses.iter().try_for_each(free) {
            why = error.to_string();
            continue;
        }
        let mut media = MediaEngine::default();
        let names = [
            (Some(formats.payload_type), offer::encoding(formats.codec)),
            (formats.telephone_event, "telephone-event"),
        ];
        for (payload_type, name) in names {
            let Some(payload_type) = payload_type else {
                continue;
            };
            let parameters = RTCRtpCodecParameters {
                rtp_codec: codec(name),
                payload_type,
            };
            media
                .register_codec(parameters, RtpCodecKind::Audio)
                .map_err(setup("register a codec"))?;
        }
        let settings = SettingEngineBuilder::new()
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_ice_timeouts(
                Some(DISCONNECTED_AFTER),
                Some(FAILED_AFTER),
                Some(KEEP_ALIVE),
            )
            .with_ice_connection_attempts(Some(CHECK_EVERY), Some(CHECKS))
            .build();
        let built = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::default().build())
            .with_media_engine(media)
            .with_setting_engine(settings)
            // Reports only: the crate's default set is for video (NACK, congestion control).
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
            .with_handler(Arc::clone(&handler) as Arc<dyn PeerConnectionEventHandler>)
            .with_udp_addrs(addresses)
            .build()
            .await;
        match built {
            Ok(peer) => return Ok(Arc::new(peer)),
            // Somebody took the port between our look and the crate's bind.
            Err(error) => why = shortened(&error),
        }
    }
    Err(BrowserError::Ports { first, last, why })
}

/// Ports of the range in the order to try them: from where the last search ended, once around, at most 64.
fn ports(first: u16, last: u16) -> Vec<u16> {
    let size = u32::from(last.saturating_sub(first)) + 1;
    let start = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % size;
    (0..size.min(64))
        .filter_map(|step| u16::try_from(u32::from(first) + (start + step) % size).ok())
        .collect()
}

/// Whether `address` can be bound now. The crate only logs a bind that fails and goes on without the address.
fn free(address: &SocketAddr) -> std::io::Result<()> {
    UdpSocket::bind(address).map(drop)
}

/// G.711 and its digits have one clock rate and one channel; no feedback is asked for.
fn codec(name: &str) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: format!("audio/{name}"),
        clock_rate: 8000,
        channels: 1,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    }
}

/// A random number for SSRC, sequence and time stamp (RFC 3550 section 5.1).
pub(super) fn random_u32() -> Result<u32, BrowserError> {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| BrowserError::Setup {
            act: "draw random numbers",
            detail: "the system gave none".to_owned(),
        })?;
    Ok(u32::from_ne_bytes(bytes))
}

/// The crate's error as ours; its text is cut because it may quote the session description.
fn setup<E: std::fmt::Display>(act: &'static str) -> impl FnOnce(E) -> BrowserError {
    move |error| BrowserError::Setup {
        act,
        detail: shortened(&error),
    }
}

/// The first line of `error`, at most [`DETAIL_LIMIT`] characters.
fn shortened(error: &impl std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(DETAIL_LIMIT)
        .collect()
}

/// Hands over what the crate's driver reports; it must never wait on the driver's own task.
struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    gathering: watch::Sender<bool>,
    track: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathering.send_replace(true);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // One audio section has one track; a second announcement of it finds the channel full or the first taken.
        let _ = self.track.try_send(track);
    }
}
