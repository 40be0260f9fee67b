//! Reading a description, line by line.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Direction, Media, Origin, RtpMap, SdpError, Session};
use crate::text::{Malformed, strict_number};
use crate::uri::Host;

const LINE_LIMIT: usize = 1024;
const MEDIA_LIMIT: usize = 32;
/// RTP has 128 payload types.
const FORMAT_LIMIT: usize = 128;

pub(super) fn session(bytes: &[u8]) -> Result<Session, SdpError> {
    let text = String::from_utf8_lossy(bytes);
    let mut origin = None;
    let mut session = Builder::default();
    let mut number = 0;
    for line in text.split('\n') {
        number += 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let at = |why| SdpError::Malformed { line: number, why };
        if number > LINE_LIMIT {
            return Err(SdpError::TooLarge);
        }
        if line.is_empty() {
            continue; // after the last line; elsewhere seen and harmless
        }
        if line.contains(['\r', '\0']) {
            return Err(at(Malformed("a bare CR or a zero byte")));
        }
        let (kind, value) = match line.split_once('=') {
            Some((kind, value)) if kind.len() == 1 => (kind, value),
            _ => return Err(at(Malformed("not one letter and ="))),
        };
        if number == 1 && (kind, value.trim_end()) != ("v", "0") {
            return Err(at(Malformed("not v=0")));
        }
        match kind {
            "o" if origin.is_none() => origin = Some(parse_origin(value).map_err(at)?),
            "o" => return Err(at(Malformed("a second origin"))),
            "m" if session.media.len() >= MEDIA_LIMIT => return Err(SdpError::TooLarge),
            _ => session.line(kind, value).map_err(at)?,
        }
    }
    let origin = origin.ok_or(SdpError::Malformed {
        line: number,
        why: Malformed("there is no origin"),
    })?;
    let Builder {
        name,
        connection,
        direction,
        attributes,
        media,
    } = session;
    Ok(Session {
        origin,
        name,
        connection,
        direction,
        attributes,
        media,
    })
}

#[derive(Default)]
struct Builder {
    name: String,
    connection: Option<Host>,
    direction: Option<Direction>,
    attributes: Vec<String>,
    media: Vec<Media>,
}

impl Builder {
    fn line(&mut self, kind: &str, value: &str) -> Result<(), Malformed> {
        match kind {
            "m" => self.media.push(parse_media(value)?),
            "c" => {
                let connection = Some(parse_network(value)?);
                match self.media.last_mut() {
                    // Several c= of one stream are multicast layers; the first one counts.
                    Some(media) => media.connection = media.connection.take().or(connection),
                    None => self.connection = connection,
                }
            }
            "s" if self.media.is_empty() => value.clone_into(&mut self.name),
            "a" => {
                let direction = Direction::ALL
                    .into_iter()
                    .find(|direction| direction.as_str() == value.trim_end());
                match (self.media.last_mut(), direction) {
                    (Some(media), Some(direction)) => media.direction = Some(direction),
                    (None, Some(direction)) => self.direction = Some(direction),
                    (Some(media), None) if media.kind == "audio" => media.attribute(value)?,
                    // Nobody here looks into other streams: what cannot be read in them is only carried along.
                    (Some(media), None) => media
                        .attribute(value)
                        .unwrap_or_else(|_| media.attributes.push(value.to_owned())),
                    (None, None) => self.attributes.push(value.to_owned()),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Media {
    fn attribute(&mut self, text: &str) -> Result<(), Malformed> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.trim();
        match name.trim_end() {
            "rtpmap" => self.rtpmaps.push(parse_rtpmap(value)?),
            "fmtp" => {
                let (format, parameters) = value.split_once(' ').unwrap_or((value, ""));
                self.fmtps
                    .push((format.to_owned(), parameters.trim().to_owned()));
            }
            // `a=ptime:20.0` and the like are seen; what is no number is as good as not there.
            "ptime" => self.ptime_ms = strict_number(value).or(self.ptime_ms),
            "maxptime" => self.maxptime_ms = strict_number(value).or(self.maxptime_ms),
            "rtcp" => {
                let (port, address) = match value.split_once(' ') {
                    Some((port, address)) => (port, Some(parse_network(address)?)),
                    None => (value, None),
                };
                let port = strict_number(port).ok_or(Malformed("the port of a=rtcp is none"))?;
                self.rtcp = Some((port, address));
            }
            "rtcp-mux" => self.rtcp_mux = true,
            _ => self.attributes.push(text.to_owned()),
        }
        Ok(())
    }
}

fn parse_origin(value: &str) -> Result<Origin, Malformed> {
    let mut words = value.splitn(4, ' ');
    let (Some(username), Some(session_id), Some(version), Some(network)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed("an origin with too few parts"));
    };
    // By the letter both are digits; some peers write more, and both are only compared.
    if username.is_empty() || session_id.is_empty() || version.is_empty() {
        return Err(Malformed("an origin with an empty part"));
    }
    Ok(Origin {
        username: username.to_owned(),
        session_id: session_id.to_owned(),
        version: version.to_owned(),
        address: parse_network(network)?,
    })
}

/// `IN IP4 192.0.2.1[/ttl[/count]]`
fn parse_network(value: &str) -> Result<Host, Malformed> {
    let mut words = value.split_ascii_whitespace();
    let (Some(network), Some(family), Some(address), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed(
            "not a network type, an address type and an address",
        ));
    };
    if !network.eq_ignore_ascii_case("IN") {
        return Err(Malformed("a network other than IN"));
    }
    let address = address.split('/').next().unwrap_or("");
    let is_v6 = match family {
        _ if family.eq_ignore_ascii_case("IP4") => false,
        _ if family.eq_ignore_ascii_case("IP6") => true,
        _ => return Err(Malformed("an address type other than IP4 and IP6")),
    };
    let literal = match is_v6 {
        true => address
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| Host::Ip(address.into())),
        false => address
            .parse::<Ipv4Addr>()
            .ok()
            .map(|address| Host::Ip(address.into())),
    };
    match literal {
        Some(host) => Ok(host),
        None if address.starts_with('[') => Err(Malformed("an address in brackets")),
        None => match Host::parse(address)? {
            Host::Ip(_) => Err(Malformed("an address of the other type")),
            name => Ok(name),
        },
    }
}

fn parse_media(value: &str) -> Result<Media, Malformed> {
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
    else {
        return Err(Malformed("a stream with too few parts"));
    };
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    let formats: Vec<String> = words.map(str::to_owned).collect();
    if formats.is_empty() || formats.len() > FORMAT_LIMIT {
        return Err(Malformed("a stream without formats, or with too many"));
    }
    let is_rtp = protocol.len() >= 4
        && protocol
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("RTP/"));
    let is_payload_type =
        |format: &String| strict_number::<u8>(format).is_some_and(|number| number < 128);
    if is_rtp && !formats.iter().all(is_payload_type) {
        return Err(Malformed("a payload type that is none"));
    }
    Ok(Media {
        kind: kind.to_owned(),
        port: strict_number(port).ok_or(Malformed("the port of a stream is none"))?,
        protocol: protocol.to_owned(),
        formats,
        connection: None,
        rtpmaps: Vec::new(),
        fmtps: Vec::new(),
        ptime_ms: None,
        maxptime_ms: None,
        rtcp: None,
        rtcp_mux: false,
        direction: None,
        attributes: Vec::new(),
    })
}

fn parse_rtpmap(value: &str) -> Result<RtpMap, Malformed> {
    let (payload_type, encoding) = value
        .split_once(' ')
        .ok_or(Malformed("an rtpmap with too few parts"))?;
    let mut parts = encoding.trim().splitn(3, '/');
    let (name, clock) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if name.is_empty() {
        return Err(Malformed("an rtpmap without a codec"));
    }
    Ok(RtpMap {
        payload_type: strict_number::<u8>(payload_type)
            .filter(|number| *number < 128)
            .ok_or(Malformed("the payload type of an rtpmap is none"))?,
        encoding: name.to_owned(),
        clock_hz: strict_number(clock)
            .ok_or(Malformed("the clock rate of an rtpmap is no number"))?,
        parameters: parts.next().map(str::to_owned),
    })
}
