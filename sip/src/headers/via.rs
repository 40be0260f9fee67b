//! Via (RFC 3261 20.42, RFC 3581 for `rport`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::headers::Params;
use crate::text::{Malformed, is_token, strict_number};
use crate::uri::Host;

/// What every branch made by RFC 3261 begins with (8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// The transport named in a Via: one that `rsip` knows, or any other token.
#[derive(Clone, PartialEq, Eq)]
pub enum ViaTransport {
    /// UDP, TCP, TLS, WS …
    Known(rsip::Transport),
    /// Another token.
    Other(Box<str>),
}

/// One hop of a Via header.
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    /// The transport of the hop.
    pub transport: ViaTransport,
    /// `sent-by`: the host the sender calls itself.
    pub host: Host,
    /// `sent-by`: its port, if written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, `maddr` …
    pub params: Params,
}

impl Via {
    /// A Via of our own: `SIP/2.0/TRANSPORT host:port;rport;branch=…`.
    pub fn new(transport: rsip::Transport, sent_by: SocketAddr, branch: &str) -> Self {
        let mut params = Params::new();
        params.set("rport", None);
        params.set("branch", Some(branch));
        Self {
            transport: ViaTransport::Known(transport),
            host: sent_by.ip().into(),
            port: Some(sent_by.port()),
            params,
        }
    }

    /// Reads one hop.
    ///
    /// # Errors
    /// Protocol other than `SIP/2.0`, no transport, no host, or parameters that are none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (protocol, rest) = text
            .split_once('/')
            .ok_or(Malformed("a Via names no protocol"))?;
        let (version, rest) = rest
            .split_once('/')
            .ok_or(Malformed("a Via names no version"))?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return Err(Malformed("a Via is not of SIP/2.0"));
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest
            .split_once([' ', '\t'])
            .ok_or(Malformed("a Via names no host after the transport"))?;
        if !is_token(transport) {
            return Err(Malformed("the transport of a Via is no token"));
        }
        let end = rest.find(';').unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (host, port) = Host::parse_with_port(sent_by.trim())?;
        let transport = match transport.parse::<rsip::Transport>() {
            Ok(known) => ViaTransport::Known(known),
            Err(_) => ViaTransport::Other(transport.into()),
        };
        Ok(Self {
            transport,
            host,
            port,
            params: Params::parse(params)?,
        })
    }

    /// The header value as it goes on the wire.
    pub fn to_wire(&self) -> String {
        let mut out = format!("SIP/2.0/{} {}", self.transport, self.host);
        if let Some(port) = self.port {
            out.push(':');
            out.push_str(&port.to_string());
        }
        self.params.write(&mut out);
        out
    }

    /// The transaction's `branch`.
    pub fn branch(&self) -> Option<&str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is of RFC 3261 and so identifies the transaction by itself (17.2.3).
    pub fn has_magic_cookie(&self) -> bool {
        self.branch()
            .and_then(|branch| branch.get(..MAGIC_COOKIE.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// The address that the next hop really saw (18.2.1).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    }

    /// `None` without `rport`, `Some(None)` for the empty one of a request, `Some(Some(port))` once filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(strict_number)
    }

    /// What a server does to the topmost Via of a request (RFC 3261 18.2.1, RFC 3581 4): `received` if the source
    /// address differs from the host or `rport` is asked for, and `rport` filled in.
    pub fn note_source(&mut self, source: SocketAddr) {
        let asked = self.params.has("rport");
        if asked {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if asked || self.host.ip() != Some(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
        }
    }
}

impl fmt::Display for ViaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(transport) => write!(f, "{transport}"),
            Self::Other(token) => f.write_str(token),
        }
    }
}

impl fmt::Debug for ViaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_wire())
    }
}
