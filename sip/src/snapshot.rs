//! What must survive a crash so that no peer is left ringing or talking to nobody.
//!
//! The caller makes the text of a [`DialogSnapshot`] durable before the INVITE leaves and replaces it whenever
//! [`Event::Snapshot`](crate::Event::Snapshot) brings a newer one. After a crash
//! [`Endpoint::release_leftover`](crate::Endpoint::release_leftover) sends the CANCEL or BYE that is due.
//!
//! The text has one `key=value` a line under a line that names format and version. It holds phone numbers, no secrets.
//! It is never a way to continue a call.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::transport::{Peer, TransportKind};

/// First line of the text form.
const HEADING: &str = "ringfence-dialog 1";
/// Longest value accepted, in bytes.
const VALUE_LIMIT: usize = 4096;
/// Longest text accepted, in bytes.
const TEXT_LIMIT: usize = 64 * 1024;
/// Most Route entries accepted.
const ROUTE_LIMIT: usize = 32;

/// How far the dialog was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The INVITE is about to leave, or left and got no answer with a tag.
    Calling,
    /// The peer rings; its tag is known.
    Early,
    /// Answered: only a BYE ends it.
    Confirmed,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Calling => "calling",
            Self::Early => "early",
            Self::Confirmed => "confirmed",
        }
    }
}

/// Everything needed to end a dialog from outside the process that began it.
#[derive(Clone, PartialEq, Eq)]
pub struct DialogSnapshot {
    /// How far it was.
    pub phase: Phase,
    /// Whether we sent the INVITE.
    pub outgoing: bool,
    /// Call-ID.
    pub call_id: String,
    /// Our side's From or To as printed, without the tag.
    pub local: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's From or To as printed, without the tag.
    pub remote: String,
    /// The peer's tag, once known.
    pub remote_tag: Option<String>,
    /// CSeq number of the INVITE.
    pub invite_cseq: u32,
    /// The highest CSeq number we used.
    pub local_cseq: u32,
    /// The branch of the INVITE's Via (outgoing only; a CANCEL must repeat it).
    pub branch: String,
    /// The sent-by of the INVITE's Via (a CANCEL must repeat it).
    pub sent_by: String,
    /// The request URI of the INVITE.
    pub request_uri: String,
    /// Our Contact.
    pub contact: String,
    /// Where requests of the dialog go; the request URI until the peer names another.
    pub remote_target: String,
    /// The Route set of the INVITE as sent (a CANCEL must repeat it).
    pub invite_route: Vec<String>,
    /// The route set of the dialog.
    pub route: Vec<String>,
    /// The address the INVITE went to or came from.
    pub peer: Peer,
}

impl fmt::Debug for DialogSnapshot {
    /// Without numbers and names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialogSnapshot")
            .field("phase", &self.phase)
            .field("outgoing", &self.outgoing)
            .field("call_id", &self.call_id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for DialogSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADING}")?;
        writeln!(f, "phase={}", self.phase.name())?;
        writeln!(f, "side={}", if self.outgoing { "out" } else { "in" })?;
        writeln!(f, "peer={} {}", self.peer.kind, self.peer.address)?;
        writeln!(f, "call-id={}", self.call_id)?;
        writeln!(f, "local={}", self.local)?;
        writeln!(f, "local-tag={}", self.local_tag)?;
        writeln!(f, "remote={}", self.remote)?;
        if let Some(tag) = &self.remote_tag {
            writeln!(f, "remote-tag={tag}")?;
        }
        writeln!(f, "invite-cseq={}", self.invite_cseq)?;
        writeln!(f, "local-cseq={}", self.local_cseq)?;
        writeln!(f, "branch={}", self.branch)?;
        writeln!(f, "sent-by={}", self.sent_by)?;
        writeln!(f, "request-uri={}", self.request_uri)?;
        writeln!(f, "contact={}", self.contact)?;
        writeln!(f, "remote-target={}", self.remote_target)?;
        for route in &self.invite_route {
            writeln!(f, "invite-route={route}")?;
        }
        for route in &self.route {
            writeln!(f, "route={route}")?;
        }
        writeln!(f, "end")
    }
}

/// Why a text is no snapshot. Holds none of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The first line is not that of a version we know.
    #[error("not a dialog snapshot of version 1")]
    Heading,
    /// The text stops before its last line.
    #[error("the dialog snapshot is cut off")]
    Truncated,
    /// A line that this version does not have, or has only once.
    #[error("line {0} of the dialog snapshot is unknown or stands there twice")]
    Line(usize),
    /// A value that cannot be.
    #[error("the dialog snapshot has no valid {0}")]
    Value(&'static str),
    /// Larger than any dialog.
    #[error("the dialog snapshot is too large")]
    TooLarge,
}

impl FromStr for DialogSnapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        if text.len() > TEXT_LIMIT {
            return Err(SnapshotError::TooLarge);
        }
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(HEADING) {
            return Err(SnapshotError::Heading);
        }
        let mut once: Vec<(&str, &str)> = Vec::with_capacity(16);
        let mut invite_route = Vec::new();
        let mut route = Vec::new();
        let mut ended = false;
        for (at, line) in lines {
            let line_error = SnapshotError::Line(at + 1);
            if ended {
                return Err(line_error);
            }
            if line == "end" {
                ended = true;
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(line_error)?;
            if value.len() > VALUE_LIMIT || value.chars().any(char::is_control) {
                return Err(line_error);
            }
            match key {
                "invite-route" if invite_route.len() < ROUTE_LIMIT => {
                    invite_route.push(value.to_owned())
                }
                "route" if route.len() < ROUTE_LIMIT => route.push(value.to_owned()),
                "phase" | "side" | "peer" | "call-id" | "local" | "local-tag" | "remote"
                | "remote-tag" | "invite-cseq" | "local-cseq" | "branch" | "sent-by"
                | "request-uri" | "contact" | "remote-target"
                    if once.iter().all(|(seen, _)| *seen != key) =>
                {
                    once.push((key, value));
                }
                _ => return Err(line_error),
            }
        }
        if !ended {
            return Err(SnapshotError::Truncated);
        }
        let find = |key: &str| {
            once.iter()
                .find(|(seen, _)| *seen == key)
                .map(|(_, value)| *value)
        };
        let text = |key: &'static str| {
            find(key)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or(SnapshotError::Value(key))
        };
        let number = |key: &'static str| {
            find(key)
                .and_then(|value| value.parse::<u32>().ok())
                .filter(|number| *number < 1 << 31)
                .ok_or(SnapshotError::Value(key))
        };
        let phase = find("phase")
            .and_then(|name| {
                [Phase::Calling, Phase::Early, Phase::Confirmed]
                    .into_iter()
                    .find(|p| p.name() == name)
            })
            .ok_or(SnapshotError::Value("phase"))?;
        let outgoing = match find("side") {
            Some("out") => true,
            Some("in") => false,
            _ => return Err(SnapshotError::Value("side")),
        };
        let peer = find("peer")
            .and_then(|value| value.split_once(' '))
            .and_then(|(kind, address)| {
                Some(Peer {
                    kind: TransportKind::parse(kind)?,
                    address: address.parse::<SocketAddr>().ok()?,
                })
            })
            .ok_or(SnapshotError::Value("peer"))?;
        let remote_tag = find("remote-tag").map(str::to_owned);
        if phase != Phase::Calling && remote_tag.is_none() {
            return Err(SnapshotError::Value("remote-tag"));
        }
        Ok(Self {
            phase,
            outgoing,
            call_id: text("call-id")?,
            local: text("local")?,
            local_tag: text("local-tag")?,
            remote: text("remote")?,
            remote_tag,
            invite_cseq: number("invite-cseq")?,
            local_cseq: number("local-cseq")?,
            branch: text("branch")?,
            sent_by: text("sent-by")?,
            request_uri: text("request-uri")?,
            contact: text("contact")?,
            remote_target: text("remote-target")?,
            invite_route,
            route,
            peer,
        })
    }
}
