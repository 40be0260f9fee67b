//! Digest authentication (RFC 7616 as SIP uses it, RFC 8760; RFC 2069 peers without `qop` too).
//!
//! [`Client`] answers challenges, [`Server`] makes and checks them. Hashes come from RustCrypto; `rsip`'s digest counts
//! `nc` in decimal up to 255 and writes `SHA256` for `SHA-256`, so it is not used. Randomness is an argument.

mod client;
mod server;

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

pub use client::{Client, DigestError, Login};
pub use server::{Server, Verdict};

use crate::text::{find_top, is_quoted, is_token, quote_into, unquote};

/// The hash of a challenge, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, also meant when none is named.
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess)
    }

    fn hex(self, text: &str) -> String {
        match self {
            Self::Md5 | Self::Md5Sess => to_hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 | Self::Sha256Sess => to_hex(&Sha256::digest(text.as_bytes())),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// A digest challenge that can be answered. Texts are what stood between the quotes, escapes kept, to be echoed.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: String,
    /// To be hashed in.
    pub nonce: String,
    /// To be sent back as it is.
    pub opaque: Option<String>,
    /// The last answer was right but its nonce too old.
    pub stale: bool,
    /// The hash.
    pub algorithm: Algorithm,
    /// Whether `qop=auth` is offered; without any `qop` the old form of RFC 2069 is meant.
    pub qop_auth: bool,
}

/// The answer to a challenge.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// Realm of the challenge.
    pub realm: String,
    /// Nonce of the challenge.
    pub nonce: String,
    /// The Request-URI as it was hashed.
    pub uri: String,
    /// The hash, hexadecimal.
    pub response: String,
    /// The hash's algorithm.
    pub algorithm: Algorithm,
    /// As in the challenge.
    pub opaque: Option<String>,
    /// `cnonce` and `nc` if `qop=auth`; `None` for the form of RFC 2069.
    pub qop_auth: Option<(String, u32)>,
}

/// One `Scheme name=value, name=value` of a header; values with the quotes removed and escapes kept.
struct AuthValue<'a> {
    scheme: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> AuthValue<'a> {
    /// Splits a header value, in which several challenges may stand (seen, though RFC 3261 7.3.1 wants lines of their
    /// own). Pieces that make no sense are passed over.
    fn parse_all(text: &'a str) -> Vec<Self> {
        let mut values: Vec<Self> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = find_top(rest, false, |byte| byte == b',').unwrap_or(rest.len());
            let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            rest = after.strip_prefix(',').unwrap_or(after);
            let mut piece = piece.trim();
            let equals = piece.find('=').unwrap_or(piece.len());
            let before = piece.get(..equals).unwrap_or(piece).trim_end();
            if let Some((scheme, name)) = before.split_once([' ', '\t'])
                && is_token(scheme)
            {
                values.push(Self {
                    scheme,
                    params: Vec::new(),
                });
                let skip = piece.len() - piece.get(scheme.len()..).unwrap_or("").trim_start().len();
                piece = piece.get(skip..).unwrap_or("");
                if name.is_empty() {
                    continue;
                }
            } else if !piece.contains('=') && is_token(piece) {
                values.push(Self {
                    scheme: piece,
                    params: Vec::new(),
                });
                continue;
            }
            if let (Some(value), Some((name, text))) = (values.last_mut(), piece.split_once('=')) {
                let text = text.trim();
                let inner = match is_quoted(text) {
                    true => text.get(1..text.len().saturating_sub(1)).unwrap_or(""),
                    false => text,
                };
                value.params.push((name.trim(), inner));
            }
        }
        values
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.params
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }
}

impl Challenge {
    /// All digest challenges of a header value that we can answer: those of another scheme, another algorithm, or with
    /// `qop=auth-int` alone are left out.
    pub fn parse_all(text: &str) -> Vec<Self> {
        AuthValue::parse_all(text)
            .iter()
            .filter(|value| value.is_digest())
            .filter_map(Self::from_value)
            .collect()
    }

    fn from_value(value: &AuthValue<'_>) -> Option<Self> {
        let qops = value.get("qop").unwrap_or("");
        let mut offered = qops
            .split(',')
            .map(str::trim)
            .filter(|qop| !qop.is_empty())
            .peekable();
        let has_qop = offered.peek().is_some();
        let qop_auth = offered.any(|qop| qop.eq_ignore_ascii_case("auth"));
        if has_qop && !qop_auth {
            return None;
        }
        Some(Self {
            realm: value.get("realm")?.to_owned(),
            nonce: value.get("nonce")?.to_owned(),
            opaque: value.get("opaque").map(str::to_owned),
            stale: value
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            algorithm: Algorithm::parse(value.get("algorithm").unwrap_or("MD5"))?,
            qop_auth,
        })
    }

    /// The header value.
    pub fn to_wire(&self) -> String {
        let mut out = format!("Digest realm=\"{}\", nonce=\"{}\"", self.realm, self.nonce);
        if let Some(opaque) = &self.opaque {
            out.push_str(&format!(", opaque=\"{opaque}\""));
        }
        if self.stale {
            out.push_str(", stale=true");
        }
        out.push_str(&format!(", algorithm={}", self.algorithm.as_str()));
        if self.qop_auth {
            out.push_str(", qop=\"auth\"");
        }
        out
    }

    /// Computes the answer. `uri` is the Request-URI as it will be sent; `cnonce` must be fresh random text; `nc`
    /// counts the uses of this nonce from 1.
    pub fn answer(
        &self,
        login: &Login,
        method: &str,
        uri: &str,
        cnonce: &str,
        nc: u32,
    ) -> Credentials {
        let needs_cnonce = self.qop_auth || self.algorithm.is_session();
        let mut credentials = Credentials {
            username: login.username.clone(),
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response: String::new(),
            algorithm: self.algorithm,
            opaque: self.opaque.clone(),
            qop_auth: needs_cnonce.then(|| (cnonce.to_owned(), nc)),
        };
        credentials.response = credentials.expected_response(method, login.secret());
        credentials
    }
}

impl Credentials {
    /// Reads digest credentials; `None` if the scheme is another or a part is missing or unreadable.
    pub fn parse(text: &str) -> Option<Self> {
        let values = AuthValue::parse_all(text);
        let value = values.iter().find(|value| value.is_digest())?;
        let qop_auth = match value.get("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = value.get("nc").filter(|nc| {
                    nc.len() <= 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit())
                })?;
                Some((
                    value.get("cnonce")?.to_owned(),
                    u32::from_str_radix(nc, 16).ok()?,
                ))
            }
            Some(_) => return None,
        };
        let algorithm = Algorithm::parse(value.get("algorithm").unwrap_or("MD5"))?;
        if algorithm.is_session() && qop_auth.is_none() {
            return None;
        }
        let username = format!("\"{}\"", value.get("username")?);
        Some(Self {
            username: unquote(&username).into_owned(),
            realm: value.get("realm")?.to_owned(),
            nonce: value.get("nonce")?.to_owned(),
            uri: value.get("uri")?.to_owned(),
            response: value.get("response")?.to_owned(),
            algorithm,
            opaque: value.get("opaque").map(str::to_owned),
            qop_auth,
        })
    }

    /// The header value.
    pub fn to_wire(&self) -> String {
        let mut out = String::from("Digest username=");
        quote_into(&mut out, &self.username);
        out.push_str(&format!(
            ", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\", algorithm={}",
            self.realm,
            self.nonce,
            self.uri,
            self.response,
            self.algorithm.as_str()
        ));
        if let Some(opaque) = &self.opaque {
            out.push_str(&format!(", opaque=\"{opaque}\""));
        }
        if let Some((cnonce, nc)) = &self.qop_auth {
            out.push_str(&format!(", qop=auth, cnonce=\"{cnonce}\", nc={nc:08x}"));
        }
        out
    }

    /// The response that the right password gives (RFC 7616 3.4.1 to 3.4.3).
    fn expected_response(&self, method: &str, password: &str) -> String {
        let algorithm = self.algorithm;
        let mut a1 = format!("{}:{}:{password}", self.username, self.realm);
        if let (true, Some((cnonce, _))) = (algorithm.is_session(), &self.qop_auth) {
            a1 = format!("{}:{}:{cnonce}", algorithm.hex(&a1), self.nonce);
        }
        let a2 = format!("{method}:{}", self.uri);
        let (a1, a2) = (algorithm.hex(&a1), algorithm.hex(&a2));
        match &self.qop_auth {
            Some((cnonce, nc)) => {
                algorithm.hex(&format!("{a1}:{}:{nc:08x}:{cnonce}:auth:{a2}", self.nonce))
            }
            None => algorithm.hex(&format!("{a1}:{}:{a2}", self.nonce)),
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Challenge({}, stale={}, auth={})",
            self.algorithm.as_str(),
            self.stale,
            self.qop_auth
        )
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.algorithm.as_str())
    }
}
