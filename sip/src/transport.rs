//! What the endpoint knows of transports: a number, a kind, and what to print into Via and Contact.
//!
//! Sockets, DNS and TLS belong to the driver. The endpoint allocates every [`TransportId`]: the driver announces a
//! bound UDP socket ([`Endpoint::bind_datagram`](crate::Endpoint::bind_datagram)) or an accepted connection
//! ([`Endpoint::accept_stream`](crate::Endpoint::accept_stream)) and opens a connection when
//! [`Endpoint::poll_connect`](crate::Endpoint::poll_connect) asks for one. Bytes for a connection that is not open yet
//! are polled like all others; the driver keeps them until the connection stands or reports it closed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// Names one UDP socket or one stream connection. Never reused by one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId(pub(crate) u64);

impl TransportId {
    /// The number, for logs.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The transport protocols of RFC 3261 18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportKind {
    /// Datagrams; the transactions retransmit.
    Udp,
    /// A stream; framed by Content-Length.
    Tcp,
    /// A stream under TLS; the endpoint sees plaintext.
    Tls,
}

impl TransportKind {
    /// Whether the transport delivers by itself, so that nothing is retransmitted over it (RFC 3261 17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The name in a Via header.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The value of a `transport` parameter in a URI.
    pub const fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Reads a `transport` parameter or the transport of a Via, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|kind| kind.param().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.param())
    }
}

/// Where a request goes first: the PBX, or the outbound proxy. DNS and SRV are resolved by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Over which protocol.
    pub kind: TransportKind,
    /// To which address.
    pub address: SocketAddr,
}

impl Peer {
    /// A peer reached by UDP.
    pub const fn udp(address: SocketAddr) -> Self {
        Self {
            kind: TransportKind::Udp,
            address,
        }
    }

    /// A peer reached by TCP.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self {
            kind: TransportKind::Tcp,
            address,
        }
    }
}

/// Bytes to be sent now.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Through which socket or connection.
    pub transport: TransportId,
    /// To which address; for a stream the address it is connected to.
    pub destination: SocketAddr,
    /// One whole SIP message, or the line ends of a keepalive.
    pub bytes: Vec<u8>,
    /// Where it waits this long, it must not be sent any more ([`Invite::not_after`](crate::Invite::not_after)).
    pub not_after: Option<Instant>,
}

impl fmt::Debug for Transmit {
    /// Length and direction only: a message holds phone numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Transmit({} bytes to {} over {})",
            self.bytes.len(),
            self.destination,
            self.transport.0
        )
    }
}

/// A connection the endpoint needs. The driver opens it, or calls
/// [`Endpoint::handle_stream_closed`](crate::Endpoint::handle_stream_closed) when it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// The name under which bytes will be sent and are to be handed in.
    pub transport: TransportId,
    /// TCP or TLS.
    pub kind: TransportKind,
    /// Whom to connect to.
    pub destination: SocketAddr,
}

/// A way to send: one socket or connection and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) transport: TransportId,
    pub(crate) kind: TransportKind,
    pub(crate) address: SocketAddr,
}

impl Flow {
    pub(crate) const fn peer(&self) -> Peer {
        Peer {
            kind: self.kind,
            address: self.address,
        }
    }
}
