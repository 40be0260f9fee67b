//! Hosts: addresses and names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::text::{Malformed, strict_number};

/// A host as it stands in URIs, Via and SDP.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; IPv6 in brackets on the wire.
    Ip(IpAddr),
    /// A host name, in the case it was written.
    Name(Box<str>),
}

impl Host {
    /// Reads a host without port.
    ///
    /// # Errors
    /// No address and no host name (letters, digits, `-`, `.`, and `_` because it is seen in the field).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner
                .strip_suffix(']')
                .ok_or(Malformed("an IPv6 reference is not closed"))?;
            return match inner.parse::<Ipv6Addr>() {
                Ok(address) => Ok(Self::Ip(address.into())),
                Err(_) => Err(Malformed("an IPv6 reference holds no IPv6 address")),
            };
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let is_name_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if text.is_empty() || text.len() > 255 || !text.bytes().all(is_name_byte) {
            return Err(Malformed("a host is neither address nor name"));
        }
        Ok(Self::Name(text.into()))
    }

    /// Reads `host` or `host:port`.
    pub(crate) fn parse_with_port(text: &str) -> Result<(Self, Option<u16>), Malformed> {
        let after_bracket = match text.starts_with('[') {
            true => text
                .find(']')
                .ok_or(Malformed("an IPv6 reference is not closed"))?,
            false => 0,
        };
        let colon = text
            .get(after_bracket..)
            .and_then(|rest| rest.find(':'))
            .map(|at| at + after_bracket);
        let (host, port) = match colon {
            Some(at) => (text.get(..at).unwrap_or(""), text.get(at + 1..)),
            None => (text, None),
        };
        let port = match port {
            Some(digits) => match strict_number::<u16>(digits.trim()) {
                Some(port) => Some(port),
                None => return Err(Malformed("a port is no number up to 65535")),
            },
            None => None,
        };
        Ok((Self::parse(host.trim())?, port))
    }

    /// The address, if it is one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// Whether both are the same host; the case of a name does not count.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
