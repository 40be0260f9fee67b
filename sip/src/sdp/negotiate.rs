//! Offer and answer (RFC 3264) for one audio stream of G.711 with RFC 4733 digits.
//!
//! The first audio stream over RTP/AVP with a codec we have is taken; all others are refused with port 0 and stay in
//! their place for the life of the session (RFC 3264 8).

use std::net::{IpAddr, SocketAddr};

use super::{Direction, Media, Origin, RtpMap, SdpError, Session};
use crate::text::strict_number;
use crate::uri::Host;

const CLOCK_HZ: u32 = 8_000;
const TELEPHONE_EVENT: &str = "telephone-event";
/// Payload type of telephone-event in our own offers: what everybody uses.
const TELEPHONE_EVENT_TYPE: u8 = 101;
const DIGITS: &str = "0-15";
const DEFAULT_PTIME_MS: u16 = 20;

/// A G.711 law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// A-law, static payload type 8.
    Pcma,
    /// mu-law, static payload type 0.
    Pcmu,
}

impl Codec {
    /// The static payload type (RFC 3551 6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
        }
    }
}

/// What we bring to a negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// A number that tells this session from our others; random.
    pub session_id: u64,
    /// Where we receive.
    pub address: IpAddr,
    /// Port of RTP; RTCP is on the next one unless `rtcp_port` says otherwise.
    pub rtp_port: u16,
    /// Port of RTCP if it is not the next one (written as `a=rtcp`).
    pub rtcp_port: Option<u16>,
    /// The codecs we have, the preferred one first. An answer follows the preference of the offer.
    pub codecs: Vec<Codec>,
    /// Whether we take digits as RFC 4733 events.
    pub telephone_event: bool,
    /// Milliseconds of audio that we would like a packet to hold.
    pub ptime_ms: u16,
    /// Whether we can receive RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// What we want: `SendRecv`, or `SendOnly` or `Inactive` to hold the peer.
    pub direction: Direction,
}

impl Local {
    /// Both laws, A-law first, digits, 20 ms, no rtcp-mux, both ways.
    pub fn new(session_id: u64, address: IpAddr, rtp_port: u16) -> Self {
        Self {
            session_id,
            address,
            rtp_port,
            rtcp_port: None,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            telephone_event: true,
            ptime_ms: DEFAULT_PTIME_MS,
            rtcp_mux: false,
            direction: Direction::SendRecv,
        }
    }
}

/// What offer and answer agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP. The address is unspecified if the peer holds in the old way; then
    /// `direction.sends()` is false.
    pub rtp: SocketAddr,
    /// Where the peer wants RTCP; the same as `rtp` with rtcp-mux.
    pub rtcp: SocketAddr,
    /// RTP and RTCP share a port, in both directions.
    pub rtcp_mux: bool,
    /// The codec.
    pub codec: Codec,
    /// Its payload type in what we send.
    pub payload_type: u8,
    /// Its payload type in what we receive.
    pub receive_payload_type: u8,
    /// Payload type of digits in what we send, if both ends take them.
    pub telephone_event: Option<u8>,
    /// Payload type of digits in what we receive, if both ends take them.
    pub receive_telephone_event: Option<u8>,
    /// Milliseconds of audio a packet that the peer wants: a multiple of 10 from 10 to 60.
    pub ptime_ms: u16,
    /// Which way media flows, seen from us.
    pub direction: Direction,
}

/// What one end's audio stream says.
struct Stream {
    index: usize,
    codecs: Vec<(Codec, u8)>,
    telephone_event: Option<u8>,
}

/// Our offer. `previous` is the description we sent last in this dialog, if any: its streams keep their places and
/// payload types, its version counts on if anything has changed (RFC 3264 8).
pub fn offer(local: &Local, previous: Option<&Session>) -> Session {
    let old = previous.and_then(|session| first_audio(session, local).ok());
    let mut codecs: Vec<(Codec, u8)> = local
        .codecs
        .iter()
        .map(|codec| (*codec, codec.payload_type()))
        .collect();
    let mut telephone_event = local.telephone_event.then_some(TELEPHONE_EVENT_TYPE);
    if let Some(old) = &old {
        for (codec, payload_type) in &mut codecs {
            if let Some((_, used)) = old.codecs.iter().find(|(have, _)| have == codec) {
                *payload_type = *used;
            }
        }
        telephone_event = telephone_event.map(|default| old.telephone_event.unwrap_or(default));
        telephone_event =
            telephone_event.filter(|event| codecs.iter().all(|(_, used)| used != event));
    }
    let audio = audio_line(
        local,
        &codecs,
        telephone_event,
        local.direction,
        local.rtcp_mux,
    );
    let media = match (previous, old) {
        (Some(previous), Some(old)) => {
            let mut media: Vec<Media> = previous.media.iter().map(refused).collect();
            if let Some(slot) = media.get_mut(old.index) {
                *slot = audio;
            }
            media
        }
        (Some(previous), None) => previous.media.iter().map(refused).chain([audio]).collect(),
        (None, _) => vec![audio],
    };
    versioned(local, media, previous)
}

/// Our answer to an offer, and what it means. `previous` as in [`offer`].
///
/// # Errors
/// No stream of the offer can be taken; [`SdpError::status`] is what to answer.
pub fn answer(
    offer: &Session,
    local: &Local,
    previous: Option<&Session>,
) -> Result<(Session, Negotiated), SdpError> {
    let theirs = first_audio(offer, local)?;
    let media = offer.media.get(theirs.index).ok_or(SdpError::NoAudio)?;
    let codec = *theirs.codecs.first().ok_or(SdpError::NoCodec)?;
    let telephone_event = theirs.telephone_event.filter(|_| local.telephone_event);
    let direction = local.direction.and(offer.direction_of(media).reversed());
    let rtcp_mux = local.rtcp_mux && media.rtcp_mux;
    let negotiated = Negotiated {
        telephone_event,
        receive_telephone_event: telephone_event,
        ..agreed(offer, media, local, codec, codec.1, direction, rtcp_mux)?
    };
    let mut lines: Vec<Media> = offer.media.iter().map(refused).collect();
    if let Some(slot) = lines.get_mut(theirs.index) {
        *slot = audio_line(local, &[codec], telephone_event, direction, rtcp_mux);
    }
    Ok((versioned(local, lines, previous), negotiated))
}

/// What the peer's answer to our offer means.
///
/// # Errors
/// The answer has other streams than the offer, refuses the audio, or cannot be used.
pub fn accept(offer: &Session, answer: &Session, local: &Local) -> Result<Negotiated, SdpError> {
    if answer.media.len() != offer.media.len() {
        return Err(SdpError::Mismatch);
    }
    let ours = first_audio(offer, local)?;
    let media = answer.media.get(ours.index).ok_or(SdpError::Mismatch)?;
    let theirs = audio_stream(ours.index, media, local)?;
    let taken = |codec: &(Codec, u8)| {
        ours.codecs
            .iter()
            .find(|(have, _)| *have == codec.0)
            .map(|(_, ours)| (*codec, *ours))
    };
    let (codec, receive) = theirs
        .codecs
        .iter()
        .find_map(taken)
        .ok_or(SdpError::NoCodec)?;
    let our_media = offer.media.get(ours.index).ok_or(SdpError::Mismatch)?;
    let direction = offer
        .direction_of(our_media)
        .and(answer.direction_of(media).reversed());
    let rtcp_mux = our_media.rtcp_mux && media.rtcp_mux;
    let both = ours.telephone_event.zip(theirs.telephone_event);
    Ok(Negotiated {
        telephone_event: both.map(|(_, theirs)| theirs),
        receive_telephone_event: both.map(|(ours, _)| ours),
        ..agreed(answer, media, local, codec, receive, direction, rtcp_mux)?
    })
}

/// The parts of the result that depend on the peer's description alone.
fn agreed(
    session: &Session,
    media: &Media,
    local: &Local,
    (codec, payload_type): (Codec, u8),
    receive_payload_type: u8,
    direction: Direction,
    rtcp_mux: bool,
) -> Result<Negotiated, SdpError> {
    let address = session
        .connection_of(media)
        .and_then(Host::ip)
        .ok_or(SdpError::NoAddress)?;
    let held_in_the_old_way = address == IpAddr::from([0, 0, 0, 0]);
    if address.is_multicast() || address == IpAddr::from([255, 255, 255, 255]) {
        return Err(SdpError::NoAddress);
    }
    if address.is_ipv6() != local.address.is_ipv6() && !held_in_the_old_way {
        return Err(SdpError::AddressFamily);
    }
    // An unspecified IPv6 address is a hold too, though no RFC wrote it down.
    let direction = if address.is_unspecified() {
        direction.and(Direction::RecvOnly)
    } else {
        direction
    };
    let rtp = SocketAddr::new(address, media.port);
    let rtcp = match &media.rtcp {
        _ if rtcp_mux => rtp,
        Some((port, host)) => {
            SocketAddr::new(host.as_ref().and_then(Host::ip).unwrap_or(address), *port)
        }
        None => SocketAddr::new(
            address,
            media.port.checked_add(1).ok_or(SdpError::NoAddress)?,
        ),
    };
    Ok(Negotiated {
        rtp,
        rtcp,
        rtcp_mux,
        codec,
        payload_type,
        receive_payload_type,
        telephone_event: None,
        receive_telephone_event: None,
        ptime_ms: usable_ptime(media),
        direction,
    })
}

fn usable_ptime(media: &Media) -> u16 {
    let usable = |ptime: &u16| (10..=60).contains(ptime) && ptime.is_multiple_of(10);
    let wanted = media.ptime_ms.filter(usable).unwrap_or(DEFAULT_PTIME_MS);
    match media.maxptime_ms {
        Some(most) if most < wanted => (most / 10 * 10).max(10),
        _ => wanted,
    }
}

/// The first stream that can be taken; the error tells about the one that came closest.
fn first_audio(session: &Session, local: &Local) -> Result<Stream, SdpError> {
    let mut error = SdpError::NoAudio;
    for (index, media) in session.media.iter().enumerate() {
        match audio_stream(index, media, local) {
            Ok(stream) => return Ok(stream),
            Err(SdpError::NoAudio) => {}
            Err(closer) => error = closer,
        }
    }
    Err(error)
}

fn audio_stream(index: usize, media: &Media, local: &Local) -> Result<Stream, SdpError> {
    if media.kind != "audio" || media.port == 0 {
        return Err(SdpError::NoAudio);
    }
    if !media.protocol.eq_ignore_ascii_case("RTP/AVP") {
        return Err(SdpError::Profile);
    }
    let mut codecs = Vec::new();
    let mut telephone_event = None;
    for payload_type in media
        .formats
        .iter()
        .filter_map(|format| strict_number::<u8>(format))
    {
        match media.meaning_of(payload_type) {
            Some(Meaning::Codec(codec)) if local.codecs.contains(&codec) => {
                codecs.push((codec, payload_type))
            }
            Some(Meaning::TelephoneEvent) => {
                telephone_event = telephone_event.or(Some(payload_type))
            }
            _ => {}
        }
    }
    match codecs.is_empty() {
        true => Err(SdpError::NoCodec),
        false => Ok(Stream {
            index,
            codecs,
            telephone_event,
        }),
    }
}

enum Meaning {
    Codec(Codec),
    TelephoneEvent,
}

impl Media {
    /// What a payload type means: its rtpmap, or the static table (RFC 3551 6).
    fn meaning_of(&self, payload_type: u8) -> Option<Meaning> {
        let Some(map) = self
            .rtpmaps
            .iter()
            .find(|map| map.payload_type == payload_type)
        else {
            return match payload_type {
                0 => Some(Meaning::Codec(Codec::Pcmu)),
                8 => Some(Meaning::Codec(Codec::Pcma)),
                _ => None,
            };
        };
        let mono = map
            .parameters
            .as_deref()
            .is_none_or(|channels| channels == "1");
        if map.clock_hz != CLOCK_HZ || !mono {
            return None;
        }
        match map.encoding.as_str() {
            name if name.eq_ignore_ascii_case("PCMA") => Some(Meaning::Codec(Codec::Pcma)),
            name if name.eq_ignore_ascii_case("PCMU") => Some(Meaning::Codec(Codec::Pcmu)),
            name if name.eq_ignore_ascii_case(TELEPHONE_EVENT) => Some(Meaning::TelephoneEvent),
            _ => None,
        }
    }
}

fn audio_line(
    local: &Local,
    codecs: &[(Codec, u8)],
    telephone_event: Option<u8>,
    direction: Direction,
    rtcp_mux: bool,
) -> Media {
    let map = |payload_type, encoding: &str| RtpMap {
        payload_type,
        encoding: encoding.to_owned(),
        clock_hz: CLOCK_HZ,
        parameters: None,
    };
    let rtpmaps: Vec<RtpMap> = codecs
        .iter()
        .map(|(codec, payload_type)| map(*payload_type, codec.as_str()))
        .chain(telephone_event.map(|payload_type| map(payload_type, TELEPHONE_EVENT)))
        .collect();
    Media {
        kind: "audio".to_owned(),
        port: local.rtp_port,
        protocol: "RTP/AVP".to_owned(),
        formats: rtpmaps
            .iter()
            .map(|map| map.payload_type.to_string())
            .collect(),
        connection: None,
        rtpmaps,
        fmtps: telephone_event
            .map(|payload_type| (payload_type.to_string(), DIGITS.to_owned()))
            .into_iter()
            .collect(),
        ptime_ms: Some(local.ptime_ms),
        maxptime_ms: None,
        rtcp: local.rtcp_port.map(|port| (port, None)),
        rtcp_mux,
        direction: Some(direction),
        attributes: Vec::new(),
    }
}

/// The same stream, refused or removed (RFC 3264 6 and 8.2): port 0, formats as they were, no attributes.
fn refused(media: &Media) -> Media {
    Media {
        kind: media.kind.clone(),
        port: 0,
        protocol: media.protocol.clone(),
        formats: media.formats.clone(),
        connection: None,
        rtpmaps: Vec::new(),
        fmtps: Vec::new(),
        ptime_ms: None,
        maxptime_ms: None,
        rtcp: None,
        rtcp_mux: false,
        direction: None,
        attributes: Vec::new(),
    }
}

/// A description of ours; the version goes up by one if it differs from the one before.
fn versioned(local: &Local, media: Vec<Media>, previous: Option<&Session>) -> Session {
    let version = previous.and_then(|session| strict_number::<u64>(&session.origin.version));
    let mut session = Session {
        origin: Origin {
            username: "-".to_owned(),
            session_id: local.session_id.to_string(),
            version: version.unwrap_or(1).to_string(),
            address: local.address.into(),
        },
        name: "-".to_owned(),
        connection: Some(local.address.into()),
        direction: None,
        attributes: Vec::new(),
        media,
    };
    if let (Some(version), Some(previous)) = (version, previous)
        && session != *previous
    {
        session.origin.version = version.saturating_add(1).to_string();
    }
    session
}
