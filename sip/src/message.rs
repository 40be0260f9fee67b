//! Requests and responses.
//!
//! A message is what [`framing`](crate::framing) has read or what the user agent has built: start line, headers as
//! bytes, body as bytes. It is printed with the right Content-Length. `Debug` shows neither numbers nor bodies.

use std::fmt;

use crate::headers::{HeaderError, Headers, NameAddr, name};
use crate::method::{Method, StatusCode};
use crate::text::Malformed;
use crate::uri::Uri;

/// A request (RFC 3261 7.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// Headers without Content-Length.
    pub headers: Headers,
    /// The body, empty for none.
    pub body: Vec<u8>,
}

/// A response (RFC 3261 7.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, for people only.
    pub reason: String,
    /// Headers without Content-Length.
    pub headers: Headers,
    /// The body, empty for none.
    pub body: Vec<u8>,
}

/// Either of the two.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Request {
    /// A request with no headers yet.
    pub const fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header (see [`Headers::push`]).
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets body and Content-Type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.set(name::CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// The bytes of the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.body.len());
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.uri.to_wire().as_bytes());
        out.extend_from_slice(b" SIP/2.0\r\n");
        finish(out, &self.headers, &self.body)
    }
}

impl Response {
    /// A response with no headers yet and the usual reason phrase.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: status.reason().to_owned(),
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// A response to `request` (RFC 3261 8.2.6): Via, From, To, Call-ID and CSeq are those of the request byte for byte,
    /// Timestamp too in a 100, Record-Route in what may make a dialog (12.1.1: 101 to 299 to INVITE, SUBSCRIBE, REFER).
    ///
    /// `to_tag` is added to a To that has none, except in a 100. It must be the same for all responses to one request.
    pub fn to_request(request: &Request, status: StatusCode, to_tag: Option<&str>) -> Self {
        let mut response = Self::to_headers(&request.headers, status, to_tag);
        let code = status.code();
        if code == 100
            && let Some(stamp) = request.headers.get(name::TIMESTAMP)
        {
            response.headers.push(name::TIMESTAMP, stamp);
        }
        let makes_dialog = matches!(
            request.method,
            Method::INVITE | Method::SUBSCRIBE | Method::REFER
        );
        if makes_dialog && (101..300).contains(&code) {
            for route in request.headers.all(name::RECORD_ROUTE) {
                response.headers.push(name::RECORD_ROUTE, route);
            }
        }
        response
    }

    /// As [`to_request`](Self::to_request), for headers of a request that could not be read as a whole.
    pub(crate) fn to_headers(request: &Headers, status: StatusCode, to_tag: Option<&str>) -> Self {
        let mut response = Self::new(status);
        for wanted in [name::VIA, name::FROM, name::TO, name::CALL_ID, name::CSEQ] {
            // Only Via may stand there more than once; of a repeated other the first goes back.
            let most = if wanted == name::VIA { usize::MAX } else { 1 };
            for value in request.all(wanted).take(most) {
                let mut value = value.to_vec();
                let adds_tag = wanted == name::TO && status.code() != 100;
                if let (true, Some(tag)) = (adds_tag, to_tag)
                    && NameAddr::parse(&String::from_utf8_lossy(&value))
                        .is_ok_and(|to| to.tag().is_none())
                {
                    value.extend_from_slice(b";tag=");
                    value.extend_from_slice(tag.as_bytes());
                }
                response.headers.push(wanted, value);
            }
        }
        response
    }

    /// Sets another reason phrase.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.reason);
        self
    }

    /// Adds a header (see [`Headers::push`]).
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets body and Content-Type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.set(name::CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// The bytes of the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.body.len());
        out.extend_from_slice(format!("SIP/2.0 {} ", self.status).as_bytes());
        out.extend(self.reason.bytes().map(|byte| {
            if matches!(byte, b'\r' | b'\n') {
                b' '
            } else {
                byte
            }
        }));
        out.extend_from_slice(b"\r\n");
        finish(out, &self.headers, &self.body)
    }
}

fn finish(mut out: Vec<u8>, headers: &Headers, body: &[u8]) -> Vec<u8> {
    headers.write(&mut out);
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out
}

impl Message {
    /// Headers without Content-Length.
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// Headers without Content-Length, to change.
    pub const fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Self::Request(request) => &mut request.headers,
            Self::Response(response) => &mut response.headers,
        }
    }

    /// The body, empty for none.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    /// The bytes of the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }

    /// Checks what RFC 3261 8.1.1 wants in every message and 8.2/18.1.2 would stumble over: Via, From, To, Call-ID and
    /// CSeq there once and readable; in a request a readable Max-Forwards and a CSeq that names its method.
    ///
    /// # Errors
    /// The first that is not.
    pub(crate) fn check(&self) -> Result<(), HeaderError> {
        let headers = self.headers();
        headers.top_via()?;
        headers.from()?;
        headers.to()?;
        headers.call_id()?;
        let cseq = headers.cseq()?;
        let Self::Request(request) = self else {
            return Ok(());
        };
        headers.max_forwards()?;
        if request.method != cseq.method {
            let why = Malformed("its method is not that of the request");
            return Err(HeaderError::Malformed {
                name: name::CSEQ,
                why,
            });
        }
        Ok(())
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} {:?} + {} bytes",
            self.method,
            self.uri,
            self.headers,
            self.body.len()
        )
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} + {} bytes",
            self.status,
            self.headers,
            self.body.len()
        )
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => fmt::Debug::fmt(request, f),
            Self::Response(response) => fmt::Debug::fmt(response, f),
        }
    }
}
