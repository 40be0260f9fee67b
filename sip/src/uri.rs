//! URIs: `sip:`, `sips:`, `tel:` and whatever else a peer writes.
//!
//! `rsip` refuses IPv6 hosts, `tel:` and `?headers`, so these are ours. A URI often is a telephone number: it has no
//! `Display`, its `Debug` hides the user part, and only [`Uri::to_wire`] gives the text.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::headers::Params;
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

    fn same_as(&self, other: &Self) -> bool {
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

/// Any URI that can stand in a message.
#[derive(Clone, PartialEq, Eq)]
pub enum Uri {
    /// `sip:` and `sips:`
    Sip(SipUri),
    /// `tel:`
    Tel(TelUri),
    /// Another scheme; a request to one is answered 416.
    Other(OtherUri),
}

/// A `sip:` or `sips:` URI (RFC 3261 19.1). User, password, parameters and headers keep their escapes.
#[derive(Clone, PartialEq, Eq)]
pub struct SipUri {
    /// `sips:`
    pub secure: bool,
    user: Option<String>,
    password: Option<String>,
    /// Where it points.
    pub host: Host,
    /// The port, if one is written.
    pub port: Option<u16>,
    params: Params,
    headers: Vec<(String, String)>,
}

/// A `tel:` URI (RFC 3966).
#[derive(Clone, PartialEq, Eq)]
pub struct TelUri {
    number: String,
    params: Params,
}

/// A URI of a scheme this crate does not know.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherUri {
    scheme: String,
    rest: String,
}

impl Uri {
    /// Reads a URI, the whole text being one.
    ///
    /// # Errors
    /// The text is no URI, or its part after the scheme breaks the grammar of `sip:`, `sips:` or `tel:`.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let forbidden = |char: char| {
            char.is_ascii_control()
                || matches!(char, ' ' | '<' | '>' | '"' | char::REPLACEMENT_CHARACTER)
        };
        if text.contains(forbidden) {
            return Err(Malformed("a URI holds a character that must be escaped"));
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or(Malformed("a URI has no scheme"))?;
        let is_scheme_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return Err(Malformed("the scheme of a URI is none"));
        }
        if rest.is_empty() {
            return Err(Malformed("a URI ends after its scheme"));
        }
        if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
            return SipUri::parse_rest(scheme.len() == 4, rest).map(Self::Sip);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            return TelUri::parse_rest(rest).map(Self::Tel);
        }
        Ok(Self::Other(OtherUri {
            scheme: scheme.to_ascii_lowercase(),
            rest: rest.to_owned(),
        }))
    }

    /// The text as it goes on the wire, with everything in it: never log it.
    pub fn to_wire(&self) -> String {
        let mut out = String::with_capacity(48);
        self.write(&mut out);
        out
    }

    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Sip(uri) => uri.write(out),
            Self::Tel(uri) => {
                out.push_str("tel:");
                out.push_str(&uri.number);
                uri.params.write(out);
            }
            Self::Other(uri) => {
                out.push_str(&uri.scheme);
                out.push(':');
                out.push_str(&uri.rest);
            }
        }
    }

    /// The `sip:` or `sips:` URI, if it is one.
    pub const fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Self::Sip(uri) => Some(uri),
            _ => None,
        }
    }

    /// The user part of a SIP URI or the number of a `tel:` URI, escapes undone.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Sip(uri) => uri.user(),
            Self::Tel(uri) => Some(Cow::Borrowed(&uri.number)),
            Self::Other(_) => None,
        }
    }

    /// The scheme in lower case.
    pub fn scheme(&self) -> &str {
        match self {
            Self::Sip(uri) if uri.secure => "sips",
            Self::Sip(_) => "sip",
            Self::Tel(_) => "tel",
            Self::Other(uri) => &uri.scheme,
        }
    }

    /// Whether both name the same resource (RFC 3261 19.1.4; RFC 3966 4 for `tel:`). Not transitive, as the RFC says;
    /// `==` compares as written.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sip(a), Self::Sip(b)) => a.is_equivalent(b),
            (Self::Tel(a), Self::Tel(b)) => a.is_equivalent(b),
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => false,
        }
    }

    /// What may stand in a request line (RFC 3261 19.1.1): without headers and without `method`.
    #[must_use]
    pub fn for_request_line(&self) -> Self {
        let mut uri = self.clone();
        if let Self::Sip(sip) = &mut uri {
            sip.headers.clear();
            sip.params.remove("method");
        }
        uri
    }
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
    }
}

impl From<SipUri> for Uri {
    fn from(uri: SipUri) -> Self {
        Self::Sip(uri)
    }
}

impl SipUri {
    /// `sip:host[:port]`
    pub fn new(host: impl Into<Host>, port: Option<u16>) -> Self {
        Self {
            secure: false,
            user: None,
            password: None,
            host: host.into(),
            port,
            params: Params::new(),
            headers: Vec::new(),
        }
    }

    /// Sets the user part; what may not stand there is escaped.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = (!user.is_empty()).then(|| escape(user, is_user_byte));
        self
    }

    /// Sets a URI parameter; what may not stand there is escaped.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set_raw(
            &escape(name, is_param_byte),
            value.map(|value| escape(value, is_param_byte)),
        );
        self
    }

    /// Adds a `?header`; what may not stand there is escaped (RFC 3891 3: `?Replaces=` in a Refer-To).
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((escape(name, is_header_byte), escape(value, is_header_byte)));
        self
    }

    /// The user part, escapes undone.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.user.as_deref().map(unescape)
    }

    /// A URI parameter, escapes undone: `Some("")` for one without a value.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(unescape)
    }

    /// A `?header`, escapes undone.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers
            .iter()
            .find(|(have, _)| unescape(have).eq_ignore_ascii_case(name))
            .map(|(_, value)| unescape(value))
    }

    /// Whether `;lr` marks a loose router (RFC 3261 16.12).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// The `transport` parameter as written, e.g. `tcp`.
    pub fn transport(&self) -> Option<&str> {
        self.params.get("transport")
    }

    fn parse_rest(secure: bool, rest: &str) -> Result<Self, Malformed> {
        let (userinfo, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, "")))
        {
            Some(("", _)) => return Err(Malformed("the user of a URI is empty")),
            Some((user, password)) => (
                Some(user),
                userinfo
                    .is_some_and(|info| info.contains(':'))
                    .then_some(password),
            ),
            None => (None, None),
        };
        for part in [user, password].into_iter().flatten() {
            check_escapes(part)?;
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (hostport, params) = match rest.find(';') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let (host, port) = Host::parse_with_port(hostport)?;
        Ok(Self {
            secure,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            host,
            port,
            params: parse_uri_params(params)?,
            headers: parse_uri_headers(headers)?,
        })
    }

    fn write(&self, out: &mut String) {
        out.push_str(if self.secure { "sips:" } else { "sip:" });
        if let Some(user) = &self.user {
            out.push_str(user);
            if let Some(password) = &self.password {
                out.push(':');
                out.push_str(password);
            }
            out.push('@');
        }
        out.push_str(&self.host.to_string());
        if let Some(port) = self.port {
            out.push(':');
            out.push_str(&port.to_string());
        }
        self.params.write(out);
        for (at, (name, value)) in self.headers.iter().enumerate() {
            out.push(if at == 0 { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }

    fn is_equivalent(&self, other: &Self) -> bool {
        /// A parameter of these in one URI only makes the two different (19.1.4, with `transport` from its examples).
        const SIGNIFICANT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        let plain = |text: &Option<String>| text.as_deref().map(|text| unescape(text).into_owned());
        let params_agree = |a: &Self, b: &Self| {
            a.params
                .iter()
                .all(|(name, value)| match b.params.get(name) {
                    Some(other) => {
                        unescape(value.unwrap_or("")).eq_ignore_ascii_case(&unescape(other))
                    }
                    None => !SIGNIFICANT
                        .iter()
                        .any(|significant| significant.eq_ignore_ascii_case(name)),
                })
        };
        let headers = |uri: &Self| {
            let mut list: Vec<(String, String)> = uri
                .headers
                .iter()
                .map(|(name, value)| {
                    (
                        unescape(name).to_ascii_lowercase(),
                        unescape(value).into_owned(),
                    )
                })
                .collect();
            list.sort();
            list
        };
        self.secure == other.secure
            && plain(&self.user) == plain(&other.user)
            && plain(&self.password) == plain(&other.password)
            && self.host.same_as(&other.host)
            && self.port == other.port
            && params_agree(self, other)
            && params_agree(other, self)
            && headers(self) == headers(other)
    }
}

impl TelUri {
    /// The number as written, visual separators included.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// A parameter, e.g. `phone-context` (RFC 3966 5.1.5).
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(unescape)
    }

    fn parse_rest(rest: &str) -> Result<Self, Malformed> {
        let (number, params) = match rest.find(';') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let digits = number.strip_prefix('+').unwrap_or(number);
        let allowed = |byte: u8| {
            byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#' | b'-' | b'.' | b'(' | b')')
        };
        if !digits.bytes().all(allowed)
            || !digits
                .bytes()
                .any(|byte| byte.is_ascii_hexdigit() || byte == b'*' || byte == b'#')
        {
            return Err(Malformed("a tel: URI holds no number"));
        }
        Ok(Self {
            number: number.to_owned(),
            params: parse_uri_params(params)?,
        })
    }

    fn is_equivalent(&self, other: &Self) -> bool {
        let digits = |uri: &Self| -> String {
            uri.number
                .chars()
                .filter(|char| !matches!(char, '-' | '.' | '(' | ')'))
                .map(|char| char.to_ascii_lowercase())
                .collect()
        };
        let params = |uri: &Self| {
            let mut list: Vec<(String, String)> = uri
                .params
                .iter()
                .map(|(name, value)| {
                    (
                        name.to_ascii_lowercase(),
                        value.unwrap_or("").to_ascii_lowercase(),
                    )
                })
                .collect();
            list.sort();
            list
        };
        digits(self) == digits(other) && params(self) == params(other)
    }
}

/// `;name[=value]` of a URI: no quotes, no blanks, escapes checked.
fn parse_uri_params(text: &str) -> Result<Params, Malformed> {
    let mut params = Params::new();
    for piece in text.split(';').filter(|piece| !piece.is_empty()) {
        let (name, value) = match piece.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (piece, None),
        };
        if name.is_empty() {
            return Err(Malformed("a URI parameter has no name"));
        }
        check_escapes(name)?;
        check_escapes(value.unwrap_or(""))?;
        params.push_raw(name.to_owned(), value.map(str::to_owned));
    }
    Ok(params)
}

fn parse_uri_headers(text: Option<&str>) -> Result<Vec<(String, String)>, Malformed> {
    let mut headers = Vec::new();
    for piece in text
        .unwrap_or("")
        .split('&')
        .filter(|piece| !piece.is_empty())
    {
        let (name, value) = piece
            .split_once('=')
            .ok_or(Malformed("a header of a URI has no value"))?;
        if name.is_empty() {
            return Err(Malformed("a header of a URI has no name"));
        }
        check_escapes(name)?;
        check_escapes(value)?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
        )
}

fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

fn is_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

fn is_header_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
}

fn check_escapes(text: &str) -> Result<(), Malformed> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                rest = rest.get(at + 3..).unwrap_or(&[])
            }
            _ => {
                return Err(Malformed(
                    "a % in a URI is not followed by two hexadecimal digits",
                ));
            }
        }
    }
    Ok(())
}

/// Undoes `%xx`; bytes that are no UTF-8 then become replacement characters.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (
            ahead.next().and_then(hex_digit),
            ahead.next().and_then(hex_digit),
        );
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn escape(text: &str, allowed: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if allowed(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => fmt::Debug::fmt(uri, f),
            Self::Tel(_) => f.write_str("tel:…"),
            Self::Other(uri) => write!(f, "{}:…", uri.scheme),
        }
    }
}

impl fmt::Debug for SipUri {
    /// Scheme, host and port; the user part, parameters and headers can hold numbers and names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if self.user.is_some() {
            f.write_str("…@")?;
        }
        write!(f, "{}", self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
