//! The audio of a practice phone: speaks one steady tone in 20 ms packets of A-law and listens to nobody.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ringfence_media::{
    Codec, Tone,
    rtp::{self, HEADER_LEN},
    tone::ToneSource,
};
use ringfence_sip::sdp::{self, Local, Negotiated, Session};
use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// Samples of a 20 ms packet at 8 kHz.
const PACKET_SAMPLES: usize = 160;

/// A phone that is off the hook; dropping it hangs its audio up.
pub struct Voice {
    local: Local,
    session: Session,
    task: JoinHandle<()>,
}

/// Why a practice phone cannot speak.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// The caller offered nothing it can speak.
    #[error("the caller's session cannot be answered: {0}")]
    Session(#[from] sdp::SdpError),
    /// No socket.
    #[error("no socket for audio: {0}")]
    Socket(#[from] std::io::Error),
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Voice {
    /// Picks up: answers `offer` and starts to speak.
    pub async fn start(
        tone_hz: u32,
        offer: Option<&Session>,
    ) -> Result<(Self, Session), VoiceError> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let socket = UdpSocket::bind(SocketAddr::new(address, 0)).await?;
        let port = socket.local_addr()?.port();
        let local = Local {
            codecs: vec![sdp::Codec::Pcma],
            ..Local::new(u64::from(port), address, port)
        };
        let offer = offer.ok_or(sdp::SdpError::NoAudio)?;
        let (session, negotiated) = sdp::answer(offer, &local, None)?;
        let task = tokio::spawn(speak(socket, negotiated, tone_hz));
        Ok((
            Self {
                local,
                session: session.clone(),
                task,
            },
            session,
        ))
    }

    /// The answer to another offer; the phone goes on speaking to where it spoke.
    pub fn session(&self, offer: Option<&Session>) -> Option<Session> {
        match offer {
            Some(offer) => sdp::answer(offer, &self.local, Some(&self.session))
                .ok()
                .map(|(session, _)| session),
            None => Some(sdp::offer(&self.local, Some(&self.session))),
        }
    }
}

async fn speak(socket: UdpSocket, to: Negotiated, tone_hz: u32) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a tone of a few kilohertz is exact in an f32"
    )]
    let mut voice = ToneSource::new(Tone::sine(tone_hz as f32));
    let mut packet = [0; HEADER_LEN + PACKET_SAMPLES];
    let (mut sequence, mut timestamp) = (0_u16, 0_u32);
    let mut heard = [0; 2_048];
    let mut tick = interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let (header, payload) = packet.split_at_mut(HEADER_LEN);
                header.copy_from_slice(&rtp::header(sequence == 0, to.payload_type, sequence, timestamp, 0x5052_4143));
                voice.fill_g711(Codec::Pcma, payload);
                // An unreachable port is the caller's trouble; the next packet may arrive.
                let _ = socket.send_to(&packet, to.rtp).await;
                sequence = sequence.wrapping_add(1);
                timestamp = timestamp.wrapping_add(160);
            }
            _ = socket.recv_from(&mut heard) => {}
        }
    }
}
