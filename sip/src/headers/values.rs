//! The small typed headers: CSeq, RAck, Session-Expires, Replaces, Retry-After, Content-Type.

use std::fmt;

use crate::headers::Params;
use crate::method::Method;
use crate::text::{Malformed, clamped_u32, is_token, strict_number};

fn split_params(text: &str) -> (&str, &str) {
    let end = text.find(';').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// CSeq (RFC 3261 20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The number; ours stay below 2^31 (8.1.1.5), a peer's may use all 32 bits.
    pub number: u32,
    /// The method, that of the request.
    pub method: Method,
}

impl CSeq {
    /// `number method`
    pub const fn new(number: u32, method: Method) -> Self {
        Self { number, method }
    }

    /// Reads the header value.
    ///
    /// # Errors
    /// The number does not fit into 32 bits or the method is no token.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(number), Some(method), None) => Ok(Self {
                number: strict_number(number).ok_or(Malformed("the number is none of 32 bits"))?,
                method: Method::parse(method)?,
            }),
            _ => Err(Malformed("not a number and a method")),
        }
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// RAck (RFC 3262 7.2): which reliable provisional response a PRACK answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of that response.
    pub rseq: u32,
    /// Its CSeq.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads the header value.
    ///
    /// # Errors
    /// Not two 32-bit numbers and a method.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (rseq, cseq) = text
            .split_once([' ', '\t'])
            .ok_or(Malformed("not two numbers and a method"))?;
        Ok(Self {
            rseq: strict_number(rseq).ok_or(Malformed("the first number is none of 32 bits"))?,
            cseq: CSeq::parse(cseq)?,
        })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// Who refreshes a session (RFC 4028 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// The one who sent the request.
    Uac,
    /// The one who answered it.
    Uas,
}

/// Session-Expires (RFC 4028 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who refreshes, if it is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads the header value.
    ///
    /// # Errors
    /// The interval is no number, or `refresher` is neither `uac` nor `uas`.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (seconds, params) = split_params(text);
        let params = Params::parse(params)?;
        let refresher = match params.get("refresher") {
            None => None,
            Some(role) if role.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(role) if role.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return Err(Malformed("the refresher is neither uac nor uas")),
        };
        let seconds = clamped_u32(seconds.trim()).ok_or(Malformed("the interval is no number"))?;
        Ok(Self { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// Replaces (RFC 3891 6.1): the dialog that a new INVITE takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID of that dialog.
    pub call_id: String,
    /// Its tag at the receiver of this header.
    pub to_tag: String,
    /// Its tag at the other end.
    pub from_tag: String,
    /// Only if it is still early.
    pub early_only: bool,
}

impl Replaces {
    /// Reads the header value, escapes of a `?Replaces=` already undone.
    ///
    /// # Errors
    /// Call-ID, `to-tag` or `from-tag` missing.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (call_id, params) = split_params(text);
        let params = Params::parse(params)?;
        let tag = |name| {
            params
                .get(name)
                .filter(|tag| is_token(tag))
                .map(str::to_owned)
        };
        match (call_id.trim(), tag("to-tag"), tag("from-tag")) {
            ("", ..) => Err(Malformed("the Call-ID is missing")),
            (call_id, Some(to_tag), Some(from_tag)) => Ok(Self {
                call_id: call_id.to_owned(),
                to_tag,
                from_tag,
                early_only: params.has("early-only"),
            }),
            _ => Err(Malformed("to-tag or from-tag is missing")),
        }
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{};to-tag={};from-tag={}",
            self.call_id, self.to_tag, self.from_tag
        )?;
        f.write_str(if self.early_only { ";early-only" } else { "" })
    }
}

/// Retry-After (RFC 3261 20.33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds until a new attempt makes sense.
    pub seconds: u32,
    /// For how many seconds the callee will then be reachable.
    pub duration: Option<u32>,
}

impl RetryAfter {
    /// Reads the header value; a comment in parentheses is passed over.
    ///
    /// # Errors
    /// No number in front, or parameters that are none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at_checked(digits).unwrap_or((text, ""));
        let seconds = clamped_u32(number).ok_or(Malformed("no number of seconds"))?;
        let rest = match rest.trim_start() {
            commented if commented.starts_with('(') => {
                commented
                    .rsplit_once(')')
                    .ok_or(Malformed("a comment is not closed"))?
                    .1
            }
            rest => rest,
        };
        let params = Params::parse(rest)?;
        Ok(Self {
            seconds,
            duration: params.get("duration").and_then(clamped_u32),
        })
    }
}

/// Content-Type (RFC 3261 20.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// Type and subtype in lower case, e.g. `application` and `sdp`.
    pub media: (String, String),
    /// `charset`, `boundary` …
    pub params: Params,
}

impl ContentType {
    /// Reads the header value.
    ///
    /// # Errors
    /// Not `type/subtype`, or parameters that are none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (media, params) = split_params(text);
        let (kind, subtype) = media.split_once('/').ok_or(Malformed("not type/subtype"))?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        if !is_token(kind) || !is_token(subtype) {
            return Err(Malformed("type or subtype is no token"));
        }
        Ok(Self {
            media: (kind.to_ascii_lowercase(), subtype.to_ascii_lowercase()),
            params: Params::parse(params)?,
        })
    }

    /// Whether it is `type/subtype`, both given in lower case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.media.0 == kind && self.media.1 == subtype
    }

    /// `application/sdp`
    pub fn is_sdp(&self) -> bool {
        self.is("application", "sdp")
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut params = String::new();
        self.params.write(&mut params);
        write!(f, "{}/{}{params}", self.media.0, self.media.1)
    }
}
