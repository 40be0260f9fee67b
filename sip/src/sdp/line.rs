//! Printing a description, line by line.

use std::fmt;
use std::net::IpAddr;

use super::{Media, Session};
use crate::uri::Host;

/// `IN IP4 address`: SDP writes IPv6 without brackets.
struct Network<'a>(&'a Host);

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Ip(IpAddr::V6(address)) => write!(f, "IN IP6 {address}"),
            Host::Ip(IpAddr::V4(address)) => write!(f, "IN IP4 {address}"),
            Host::Name(name) => write!(f, "IN IP4 {name}"),
        }
    }
}

impl Session {
    /// The body of a message, lines ending with CRLF. Addresses and names are in it: never log it.
    pub fn to_wire(&self) -> String {
        Lines(self).to_string()
    }
}

struct Lines<'a>(&'a Session);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(session) = self;
        let origin = &session.origin;
        let network = Network(&origin.address);
        write!(
            f,
            "v=0\r\no={} {} {} {network}\r\n",
            origin.username, origin.session_id, origin.version
        )?;
        write!(f, "s={}\r\n", session.name)?;
        if let Some(connection) = &session.connection {
            write!(f, "c={}\r\n", Network(connection))?;
        }
        f.write_str("t=0 0\r\n")?;
        if let Some(direction) = session.direction {
            write!(f, "a={}\r\n", direction.as_str())?;
        }
        for attribute in &session.attributes {
            write!(f, "a={attribute}\r\n")?;
        }
        session
            .media
            .iter()
            .try_for_each(|media| media.fmt_lines(f))
    }
}

impl Media {
    fn fmt_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", self.kind, self.port, self.protocol)?;
        for format in &self.formats {
            write!(f, " {format}")?;
        }
        f.write_str("\r\n")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={}\r\n", Network(connection))?;
        }
        for map in &self.rtpmaps {
            write!(
                f,
                "a=rtpmap:{} {}/{}",
                map.payload_type, map.encoding, map.clock_hz
            )?;
            match &map.parameters {
                Some(parameters) => write!(f, "/{parameters}\r\n")?,
                None => f.write_str("\r\n")?,
            }
        }
        for (format, parameters) in &self.fmtps {
            write!(f, "a=fmtp:{format} {parameters}\r\n")?;
        }
        if let Some(ptime) = self.ptime_ms {
            write!(f, "a=ptime:{ptime}\r\n")?;
        }
        if let Some(maxptime) = self.maxptime_ms {
            write!(f, "a=maxptime:{maxptime}\r\n")?;
        }
        match &self.rtcp {
            Some((port, Some(address))) => write!(f, "a=rtcp:{port} {}\r\n", Network(address))?,
            Some((port, None)) => write!(f, "a=rtcp:{port}\r\n")?,
            None => {}
        }
        if self.rtcp_mux {
            f.write_str("a=rtcp-mux\r\n")?;
        }
        if let Some(direction) = self.direction {
            write!(f, "a={}\r\n", direction.as_str())?;
        }
        for attribute in &self.attributes {
            write!(f, "a={attribute}\r\n")?;
        }
        Ok(())
    }
}
