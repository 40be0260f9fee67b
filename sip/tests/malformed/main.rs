//! Messages as the network really delivers them: unusual but right, wrong but answerable, hopeless. Each with the
//! reading or the answer that RFC 3261 wants. The texts are our own; what to look for was learned from RFC 4475.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answered;
mod read;
mod streams;

use ringfence_sip::framing::{Broken, Limits, Received, Stream, datagram};
use ringfence_sip::headers::{Contacts, HeaderError, name};
use ringfence_sip::message::{Message, Request, Response};
use ringfence_sip::method::{Method, StatusCode};
use ringfence_sip::uri::Uri;

/// Lines as they are read here, with CRLF as they are sent.
fn wire(text: &str) -> Vec<u8> {
    text.trim_start_matches('\n')
        .replace('\n', "\r\n")
        .into_bytes()
}

fn request(bytes: &[u8]) -> Request {
    match datagram(bytes, &Limits::default()) {
        Received::Message(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn response(bytes: &[u8]) -> Response {
    match datagram(bytes, &Limits::default()) {
        Received::Message(Message::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn broken(bytes: &[u8]) -> Broken {
    match datagram(bytes, &Limits::default()) {
        Received::Broken(broken) => broken,
        other => panic!("not broken: {other:?}"),
    }
}

/// Status of the answer to broken bytes.
fn status(bytes: &[u8]) -> Option<u16> {
    broken(bytes)
        .response("t")
        .map(|response| response.status.code())
}

const GOOD: &str = "
OPTIONS sip:desk@pbx.example SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKgood
Max-Forwards: 70
From: \"Li Wei\" <sip:li@pbx.example>;tag=f1
To: <sip:desk@pbx.example>
Call-ID: good@192.0.2.7
CSeq: 1 OPTIONS
Content-Length: 0

";

/// The good message with one line (found by its beginning) replaced; `None` removes it.
fn with(line: &str, replacement: Option<&str>) -> Vec<u8> {
    let mut replaced = 0;
    let text: String = GOOD
        .trim_start_matches('\n')
        .split_inclusive('\n')
        .filter_map(|have| match have.starts_with(line) {
            true => {
                replaced += 1;
                replacement.map(|new| format!("{new}\n"))
            }
            false => Some(have.to_owned()),
        })
        .collect();
    assert_eq!(replaced, 1, "{line} must be one line of the good message");
    wire(&text)
}

// ---- unusual but right
