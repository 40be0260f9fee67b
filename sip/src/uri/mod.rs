//! URIs: `sip:`, `sips:`, `tel:` and whatever else a peer writes.
//!
//! `rsip` refuses IPv6 hosts, `tel:` and `?headers`, so these are ours. A URI often is a telephone number: it has no
//! `Display`, its `Debug` hides the user part, and only [`Uri::to_wire`] gives the text.

mod escape;
mod host;
mod sip;
mod tel;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use host::Host;
pub use sip::SipUri;
pub use tel::TelUri;

use crate::text::Malformed;

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
            Self::Tel(uri) => uri.write(out),
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
            Self::Tel(uri) => Some(Cow::Borrowed(uri.number())),
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
            sip.strip_for_request_line();
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

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => fmt::Debug::fmt(uri, f),
            Self::Tel(_) => f.write_str("tel:…"),
            Self::Other(uri) => write!(f, "{}:…", uri.scheme),
        }
    }
}
