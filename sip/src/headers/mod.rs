//! Headers of a message: an ordered list of names and bytes, and typed readings of it.
//!
//! Nothing is parsed before it is asked for, and a header that is broken spoils only itself. Values are bytes, so that
//! a display name in Latin-1 costs nobody a message. Of `rsip`'s typed headers none is used: its Via, From, To, Contact
//! and Route refuse IPv6 hosts and `?headers`, its digest headers print `SHA256` and count `nc` in decimal up to 255,
//! its CSeq refuses unknown methods. What it does right ([`rsip::Method`], [`rsip::Transport`]) is taken from it.

mod address;
mod params;
mod typed;
mod values;
mod via;

use std::borrow::Cow;
use std::fmt;

pub use address::{Contacts, NameAddr};
pub(crate) use params::PARAM_LIMIT;
pub use params::Params;
pub use values::{CSeq, ContentType, RAck, Refresher, Replaces, RetryAfter, SessionExpires};
pub use via::{MAGIC_COOKIE, Via, ViaTransport};

use crate::text::{Malformed, is_token_byte};

/// Header names in the case in which they are written.
pub mod name {
    #![allow(missing_docs, reason = "each is its own name")]
    pub const ALLOW: &str = "Allow";
    pub const ACCEPT: &str = "Accept";
    pub const AUTHORIZATION: &str = "Authorization";
    pub const CALL_ID: &str = "Call-ID";
    pub const CONTACT: &str = "Contact";
    pub const CONTENT_LENGTH: &str = "Content-Length";
    pub const CONTENT_TYPE: &str = "Content-Type";
    pub const CSEQ: &str = "CSeq";
    pub const EVENT: &str = "Event";
    pub const EXPIRES: &str = "Expires";
    pub const FROM: &str = "From";
    pub const MAX_FORWARDS: &str = "Max-Forwards";
    pub const MIN_EXPIRES: &str = "Min-Expires";
    pub const MIN_SE: &str = "Min-SE";
    pub const PROXY_AUTHENTICATE: &str = "Proxy-Authenticate";
    pub const PROXY_AUTHORIZATION: &str = "Proxy-Authorization";
    pub const RACK: &str = "RAck";
    pub const REASON: &str = "Reason";
    pub const RECORD_ROUTE: &str = "Record-Route";
    pub const REFER_TO: &str = "Refer-To";
    pub const REFERRED_BY: &str = "Referred-By";
    pub const REPLACES: &str = "Replaces";
    pub const REQUIRE: &str = "Require";
    pub const RETRY_AFTER: &str = "Retry-After";
    pub const ROUTE: &str = "Route";
    pub const RSEQ: &str = "RSeq";
    pub const SERVER: &str = "Server";
    pub const SESSION_EXPIRES: &str = "Session-Expires";
    pub const SUBSCRIPTION_STATE: &str = "Subscription-State";
    pub const SUPPORTED: &str = "Supported";
    pub const TIMESTAMP: &str = "Timestamp";
    pub const TO: &str = "To";
    pub const UNSUPPORTED: &str = "Unsupported";
    pub const USER_AGENT: &str = "User-Agent";
    pub const VIA: &str = "Via";
    pub const WARNING: &str = "Warning";
    pub const WWW_AUTHENTICATE: &str = "WWW-Authenticate";
}

/// What is wrong with a header. Holds nothing of the message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It must be there and is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It may be there once and is there more often.
    #[error("{0} is there more than once")]
    Repeated(&'static str),
    /// It cannot be read.
    #[error("{name}: {why}")]
    Malformed {
        /// The header.
        name: &'static str,
        /// What breaks the grammar.
        why: Malformed,
    },
}

/// The long form of a compact header name (RFC 3261 7.3.3 and later RFCs), or the name itself.
pub(crate) fn long_form(name: &str) -> &str {
    let &[letter] = name.as_bytes() else {
        return name;
    };
    match letter.to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => name::REFERRED_BY,
        b'c' => name::CONTENT_TYPE,
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => name::FROM,
        b'i' => name::CALL_ID,
        b'j' => "Reject-Contact",
        b'k' => name::SUPPORTED,
        b'l' => name::CONTENT_LENGTH,
        b'm' => name::CONTACT,
        b'n' => "Identity-Info",
        b'o' => name::EVENT,
        b'r' => name::REFER_TO,
        b's' => "Subject",
        b't' => name::TO,
        b'u' => "Allow-Events",
        b'v' => name::VIA,
        b'x' => name::SESSION_EXPIRES,
        b'y' => "Identity",
        _ => name,
    }
}

/// The headers of a message in their order. Content-Length is not among them: it belongs to the framing and is written
/// when the message is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Vec<u8>)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header at the end. A compact name becomes the long one. Line ends in the value become
    /// blanks, blanks around it go, and bytes that may not stand in a name are left out, so that no caller can smuggle
    /// a header line.
    pub fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push(Self::entry(name, value.into()));
    }

    /// Adds a header before all others: the Via of a hop, or a Route.
    pub fn push_front(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.insert(0, Self::entry(name, value.into()));
    }

    /// Removes every header of that name and adds this one at the place of the first (at the end if there was none).
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let entry = Self::entry(name, value.into());
        let at = self
            .0
            .iter()
            .position(|(have, _)| have.eq_ignore_ascii_case(&entry.0));
        self.remove(name);
        let at = at.unwrap_or(self.0.len()).min(self.0.len());
        self.0.insert(at, entry);
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        let name = long_form(name);
        self.0.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    }

    /// The value of the first header of that name, as bytes.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let name = long_form(name);
        self.iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the first header of that name; bytes that are no UTF-8 become replacement characters.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(String::from_utf8_lossy)
    }

    /// The values of all headers of that name, as bytes, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let name = long_form(name);
        self.0
            .iter()
            .filter(move |(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// Name and bytes of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_slice()))
    }

    /// How many header lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn entry(name: &str, mut value: Vec<u8>) -> (Box<str>, Vec<u8>) {
        for byte in &mut value {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        let value = value.trim_ascii().to_vec();
        let name = long_form(name);
        let name: Box<str> = match name.bytes().all(is_token_byte) {
            true => name.into(),
            false => name
                .chars()
                .filter(|char| u8::try_from(*char).is_ok_and(is_token_byte))
                .collect(),
        };
        (name, value)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            if name.is_empty() || name.eq_ignore_ascii_case(name::CONTENT_LENGTH) {
                continue;
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Debug for Headers {
    /// Names only: values hold numbers, names and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}
