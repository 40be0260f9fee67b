//! Start line and headers, from bytes. Goes on after a defect, so that as much as possible can be answered with.

use super::{Broken, Defect, Limits, Received};
use crate::headers::{Headers, long_form, name};
use crate::message::{Message, Request, Response};
use crate::method::{Method, StatusCode};
use crate::text::{Malformed, is_token, strict_number};
use crate::uri::Uri;

enum Start {
    Request(Method, Uri),
    Response(StatusCode, String),
}

/// What a head holds. If `defect` is there, the rest is as far as it could be understood.
pub(super) struct Head {
    start: Option<Start>,
    method: Option<Method>,
    headers: Headers,
    /// Content-Length, if it is there and readable.
    pub(super) length: Option<usize>,
    /// The first thing that was wrong.
    pub(super) defect: Option<Defect>,
    /// Whether Content-Length cannot be relied on, so that a stream cannot be followed.
    pub(super) length_is_broken: bool,
}

/// Reads start line and headers. `bytes` need not be complete: for a head that broke a limit it is what there is.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Head {
    let mut head = Head {
        start: None,
        method: None,
        headers: Headers::new(),
        length: None,
        defect: None,
        length_is_broken: false,
    };
    if bytes.len() > limits.head {
        head.note(Defect::LongHead);
    }
    let bytes = bytes.get(..limits.head).unwrap_or(bytes);
    let mut lines = Lines { rest: bytes };
    let first = lines.next().unwrap_or(&[]);
    if first.len() > limits.start_line {
        head.note(Defect::LongStartLine(limits.start_line));
    }
    head.start_line(first.get(..limits.start_line).unwrap_or(first));
    let mut count = 0;
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.headers {
            head.note(Defect::LongHead);
            break;
        }
        // Folding (RFC 3261 7.3.1): a line that begins with white space continues the one before it.
        let mut unfolded = None;
        while let Some(more) = lines.next_if(|next| {
            next.first()
                .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        }) {
            let value = unfolded.get_or_insert_with(|| line.trim_ascii_end().to_vec());
            value.push(b' ');
            value.extend_from_slice(more.trim_ascii());
        }
        head.header_line(unfolded.as_deref().unwrap_or(line));
    }
    head
}

/// Lines that end with CRLF; the last one may lack it.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.windows(2).position(|window| window == b"\r\n");
        let line = self.rest.get(..end.unwrap_or(self.rest.len()))?;
        self.rest = end.and_then(|end| self.rest.get(end + 2..)).unwrap_or(&[]);
        Some(line)
    }
}

impl Head {
    fn note(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }

    fn start_line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if line
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
        {
            match status_line(&text) {
                Ok((status, reason)) => self.start = Some(Start::Response(status, reason)),
                Err(why) => self.note(Defect::StartLine(why)),
            }
            return;
        }
        let malformed = |why| Defect::StartLine(Malformed(why));
        // By the letter there is one blank between the three parts; a method alone is enough to answer.
        let Some((method, rest)) = text.split_once(' ') else {
            return self.note(malformed("neither a request line nor a status line"));
        };
        match Method::parse(method) {
            Ok(method) => self.method = Some(method),
            Err(why) => return self.note(Defect::StartLine(why)),
        }
        let Some((uri, version)) = rest.rsplit_once(' ') else {
            return self.note(malformed("a request line without version"));
        };
        if !version.eq_ignore_ascii_case("SIP/2.0") {
            let is_version = version
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"));
            return self.note(if is_version {
                Defect::Version
            } else {
                malformed("a request line without version")
            });
        }
        match (Uri::parse(uri), &self.method) {
            (Ok(uri), Some(method)) => self.start = Some(Start::Request(method.clone(), uri)),
            (Err(why), _) => self.note(Defect::RequestUri(why)),
            (Ok(_), None) => {}
        }
    }

    fn header_line(&mut self, line: &[u8]) {
        let malformed = |why| Defect::HeaderLine(Malformed(why));
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return self.note(malformed("no colon"));
        };
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, b":"));
        let name = std::str::from_utf8(name).unwrap_or("").trim_ascii_end();
        if !is_token(name) {
            return self.note(malformed("the name is no token"));
        }
        let value = value.get(1..).unwrap_or(&[]).trim_ascii();
        // A zero byte may stand in a quoted string (RFC 3261 25.1, `quoted-pair`).
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return self.note(malformed("a bare CR or LF"));
        }
        let name = long_form(name);
        if name.eq_ignore_ascii_case(name::CONTENT_LENGTH) {
            return self.content_length(value);
        }
        self.headers.push(name, value);
    }

    fn content_length(&mut self, value: &[u8]) {
        let parsed = std::str::from_utf8(value)
            .ok()
            .and_then(strict_number::<usize>);
        let why = match (parsed, self.length) {
            (None, _) => Malformed("no number"),
            (Some(new), Some(old)) if new != old => Malformed("two that differ"),
            (Some(length), _) => {
                self.length = Some(length);
                return;
            }
        };
        self.length_is_broken = true;
        self.note(Defect::ContentLength(why));
    }

    /// Adds the body. A message that lacks what every message must have comes out broken.
    pub(super) fn finish(mut self, body: Vec<u8>, fatal: bool) -> Received {
        if let Some(defect) = self.defect.take() {
            return self.broken(defect, fatal);
        }
        let headers = std::mem::take(&mut self.headers);
        let message = match self.start.take() {
            Some(Start::Request(method, uri)) => Message::Request(Request {
                method,
                uri,
                headers,
                body,
            }),
            Some(Start::Response(status, reason)) => Message::Response(Response {
                status,
                reason,
                headers,
                body,
            }),
            None => return self.broken(Defect::StartLine(Malformed("there is none")), fatal),
        };
        match message.check() {
            Ok(()) => Received::Message(message),
            Err(error) => {
                self.headers = match message {
                    Message::Request(request) => request.headers,
                    Message::Response(response) => response.headers,
                };
                self.broken(error.into(), fatal)
            }
        }
    }

    /// The message is broken, for this reason.
    pub(super) fn broken(self, why: Defect, fatal: bool) -> Received {
        Received::Broken(Broken::new(why, self.method, self.headers, fatal))
    }
}

fn status_line(text: &str) -> Result<(StatusCode, String), Malformed> {
    let mut parts = text.splitn(3, ' ');
    let (version, code, reason) = (
        parts.next().unwrap_or(""),
        parts.next().unwrap_or(""),
        parts.next().unwrap_or(""),
    );
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(Malformed("a response of another version than SIP/2.0"));
    }
    let code = match code.len() {
        3 => strict_number(code).and_then(StatusCode::new),
        _ => None,
    };
    Ok((
        code.ok_or(Malformed("no status code from 100 to 699"))?,
        reason.chars().filter(|char| !char.is_control()).collect(),
    ))
}
