//! Where a message begins and ends: datagrams and streams (RFC 3261 18.3), with limits.
//!
//! [`datagram`] reads one UDP payload, [`Stream`] reads TCP or TLS. Both yield [`Received`]: a message whose start line,
//! Via, From, To, Call-ID and CSeq are readable, a keep-alive, or something [`Broken`], which knows what the RFC wants
//! answered. Lines end with CRLF only: a bare CR or LF is an error and never a second opinion about where a line ends.

mod head;
mod stream;

use std::fmt;

pub use stream::Stream;

use crate::headers::{HeaderError, Headers};
use crate::message::{Message, Response};
use crate::method::{Method, StatusCode};
use crate::text::Malformed;

/// How large things may be. What is larger is answered 414, 513 or 413 and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the start line.
    pub start_line: usize,
    /// Bytes of start line and headers together.
    pub head: usize,
    /// Header lines, folded ones counted once.
    pub headers: usize,
    /// Bytes of the body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start_line: 2_048,
            head: 32_768,
            headers: 128,
            body: 65_536,
        }
    }
}

/// What came out of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(Message),
    /// CRLF CRLF between messages: the peer asks whether we live; answer CRLF (RFC 5626 4.4.1).
    Ping,
    /// A CRLF between messages: the answer to our ping. The first half of a [`Ping`](Self::Ping) is reported as this
    /// too, so that a report never depends on how the bytes were cut; it does no harm.
    Pong,
    /// Something that is no message.
    Broken(Broken),
}

/// Bytes that could not be read as a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken {
    /// What is wrong.
    pub why: Defect,
    /// The method, if it is a request of which that much could be read.
    pub method: Option<Method>,
    /// The headers that could be read.
    pub headers: Headers,
    /// The stream cannot be followed any further: send the answer, then close the connection.
    pub fatal: bool,
    answerable: bool,
}

/// What is wrong with a message. Holds nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The first line is neither request line nor status line.
    #[error("start line: {0}")]
    StartLine(Malformed),
    /// A request of another version than SIP/2.0.
    #[error("the version is not SIP/2.0")]
    Version,
    /// The Request-URI cannot be read.
    #[error("Request-URI: {0}")]
    RequestUri(Malformed),
    /// The start line is longer than the limit.
    #[error("the start line is longer than {0} bytes")]
    LongStartLine(usize),
    /// The headers are longer or more than the limit.
    #[error("the headers are more than the limit")]
    LongHead,
    /// The body is longer than the limit.
    #[error("the body is longer than {0} bytes")]
    LongBody(usize),
    /// A header line that is none.
    #[error("header line: {0}")]
    HeaderLine(Malformed),
    /// A header that every message must have is missing, repeated or unreadable.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// Content-Length is no number, or two differ.
    #[error("Content-Length: {0}")]
    ContentLength(Malformed),
    /// The datagram ends before its body does.
    #[error("the body is shorter than Content-Length")]
    ShortBody,
    /// A message on a stream must say its length.
    #[error("Content-Length is missing on a stream")]
    NoContentLength,
    /// The headers do not end within the datagram.
    #[error("the headers do not end")]
    Unfinished,
}

impl Defect {
    /// What the RFC wants answered: 400, or 414, 413, 513, 505 where one of them says it better.
    pub fn status(&self) -> StatusCode {
        let code = match self {
            Self::LongStartLine(_) => 414,
            Self::LongBody(_) => 413,
            Self::LongHead => 513,
            Self::Version => 505,
            _ => 400,
        };
        StatusCode::new(code).unwrap_or(StatusCode::BAD_REQUEST)
    }
}

impl Broken {
    /// The answer, to be sent to where the bytes came from: what could be read of Via, From, To, Call-ID and CSeq goes
    /// back as it was. `None` for responses, for ACK (17.1.1.3: never answered), and if not even the topmost Via could
    /// be read (8.2.6.2: nobody would know whose answer it is).
    pub fn response(&self, to_tag: &str) -> Option<Response> {
        self.answerable
            .then(|| Response::to_headers(&self.headers, self.why.status(), Some(to_tag)))
            .map(|response| response.with_reason(&self.why.to_string()))
    }

    fn new(why: Defect, method: Option<Method>, headers: Headers, fatal: bool) -> Self {
        let answerable = method.as_ref().is_some_and(|method| *method != Method::ACK)
            && headers.top_via().is_ok();
        Self {
            why,
            method,
            headers,
            fatal,
            answerable,
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Broken({}, {:?}, {:?}, fatal={})",
            self.why, self.method, self.headers, self.fatal
        )
    }
}

/// Reads one datagram. Bytes after Content-Length are dropped; without Content-Length the body goes to the end; a body
/// that is too short makes the message broken (RFC 3261 18.3).
pub fn datagram(bytes: &[u8], limits: &Limits) -> Received {
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(bytes.len());
    let rest = bytes.get(start..).unwrap_or(&[]);
    if rest.is_empty() {
        return if bytes.len() >= 4 {
            Received::Ping
        } else {
            Received::Pong
        };
    }
    let end = rest
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4);
    let (head, body) = rest
        .split_at_checked(end.unwrap_or(rest.len()))
        .unwrap_or((rest, &[]));
    let parsed = head::parse(head, limits);
    if end.is_none() && parsed.defect.is_none() {
        return parsed.broken(Defect::Unfinished, false);
    }
    let length = match parsed.length {
        Some(length) if length > body.len() && parsed.defect.is_none() => {
            return parsed.broken(Defect::ShortBody, false);
        }
        Some(length) => length.min(body.len()),
        None => body.len(),
    };
    if length > limits.body && parsed.defect.is_none() {
        return parsed.broken(Defect::LongBody(limits.body), false);
    }
    parsed.finish(body.get(..length).unwrap_or(&[]).to_vec(), false)
}
