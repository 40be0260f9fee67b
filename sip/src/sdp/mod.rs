//! Session descriptions (RFC 8866) and what an audio call needs of them.
//!
//! [`Session::parse`] reads any description, [`offer`], [`answer`] and [`accept`] negotiate one audio stream of G.711
//! and RFC 4733 digits (RFC 3264). Attributes nobody here understands are kept and printed, lines nobody here needs
//! (`i=`, `b=`, `k=` …) are dropped.

mod line;
mod negotiate;
mod parse;

use std::fmt;
use std::net::IpAddr;

pub use negotiate::{Codec, Local, Negotiated, accept, answer, offer};

use crate::method::StatusCode;
use crate::text::Malformed;
use crate::uri::Host;

/// Why a description cannot be used. Holds nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// A line breaks the grammar.
    #[error("line {line} of the SDP: {why}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: Malformed,
    },
    /// More lines or streams than anybody needs.
    #[error("the SDP is too large")]
    TooLarge,
    /// No audio stream, or its port is 0.
    #[error("the SDP has no audio stream")]
    NoAudio,
    /// Audio only over SRTP or another profile than RTP/AVP.
    #[error("the SDP wants audio over another profile than RTP/AVP")]
    Profile,
    /// No G.711.
    #[error("the SDP offers no codec that we have")]
    NoCodec,
    /// No `c=` for the audio stream, or a host name or multicast address in it.
    #[error("the SDP gives no address that RTP can be sent to")]
    NoAddress,
    /// IPv6 where we have IPv4, or the other way round.
    #[error("the SDP is of another address family than ours")]
    AddressFamily,
    /// The answer has other streams than the offer.
    #[error("the SDP answer does not match the offer")]
    Mismatch,
}

impl SdpError {
    /// What a server answers to an offer with this fault: 400 if it cannot be read, else 488.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } | Self::TooLarge => StatusCode::BAD_REQUEST,
            _ => StatusCode::NOT_ACCEPTABLE_HERE,
        }
    }
}

/// Which way media flows, seen from whoever wrote the description (RFC 8866 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer sends only: the usual hold.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    const ALL: [Self; 4] = [
        Self::SendRecv,
        Self::SendOnly,
        Self::RecvOnly,
        Self::Inactive,
    ];

    const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen from the other end.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What flows if both ends must agree, both seen from the same end.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// `o=` (RFC 8866 5.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The user name, `-` for none.
    pub username: String,
    /// Digits that tell the session from others of this origin.
    pub session_id: String,
    /// Digits that count its versions. A description with the same origin and version is the same description.
    pub version: String,
    /// Where it was made.
    pub address: Host,
}

/// A whole description.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// `o=`
    pub origin: Origin,
    /// `s=`
    pub name: String,
    /// `c=` for streams without one of their own.
    pub connection: Option<Host>,
    /// The direction for streams without one of their own.
    pub direction: Option<Direction>,
    /// Other attributes of the session, without `a=`.
    pub attributes: Vec<String>,
    /// The streams, in the order that offer and answer share.
    pub media: Vec<Media>,
}

/// One stream: an `m=` line and what belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video` …
    pub kind: String,
    /// The RTP port; 0 refuses or removes the stream.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP` …
    pub protocol: String,
    /// Formats in order of preference; payload types for RTP.
    pub formats: Vec<String>,
    /// `c=` of this stream.
    pub connection: Option<Host>,
    /// `a=rtpmap`
    pub rtpmaps: Vec<RtpMap>,
    /// `a=fmtp`: format and its parameters.
    pub fmtps: Vec<(String, String)>,
    /// `a=ptime`: milliseconds of audio a packet.
    pub ptime_ms: Option<u16>,
    /// `a=maxptime`: the most milliseconds a packet.
    pub maxptime_ms: Option<u16>,
    /// `a=rtcp`: port and, if given, address of RTCP (RFC 3605).
    pub rtcp: Option<(u16, Option<Host>)>,
    /// `a=rtcp-mux` (RFC 5761)
    pub rtcp_mux: bool,
    /// The direction, if the stream has one of its own.
    pub direction: Option<Direction>,
    /// Other attributes, without `a=`.
    pub attributes: Vec<String>,
}

/// `a=rtpmap` (RFC 8866 6.6): what a payload type means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The codec's name as written; case does not count.
    pub encoding: String,
    /// Clock rate in hertz.
    pub clock_hz: u32,
    /// What follows the clock rate: channels, for audio.
    pub parameters: Option<String>,
}

impl Session {
    /// Reads a description. Lines may end with CRLF or LF alone (RFC 8866 5).
    ///
    /// # Errors
    /// [`SdpError::Malformed`] with the line, [`SdpError::TooLarge`] beyond 1,024 lines or 32 streams.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        parse::session(bytes)
    }

    /// The address that holds for a stream: its own or the session's.
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Host> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction that holds for a stream, as its writer sees it. `c=0.0.0.0`, the hold of RFC 2543, means that the
    /// writer does not receive (RFC 3264 8.4).
    pub fn direction_of(&self, media: &Media) -> Direction {
        let written = media.direction.or(self.direction).unwrap_or_default();
        match self.connection_of(media).and_then(Host::ip) {
            Some(IpAddr::V4(address)) if address.is_unspecified() => {
                written.and(Direction::SendOnly)
            }
            _ => written,
        }
    }
}

impl fmt::Debug for Session {
    /// Without the origin's user name and the session's name, which can be a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.origin.version)
            .field("connection", &self.connection)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {:?}",
            self.kind, self.port, self.protocol, self.formats
        )
    }
}
