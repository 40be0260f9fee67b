//! What must hold for any bytes at all. The random tests and the fuzz targets both call these.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each caller uses some of them"
)]

use ringfence_sip::cause::Release;
use ringfence_sip::framing::{Limits, Received, Stream, datagram};
use ringfence_sip::message::{Message, Response};
use ringfence_sip::method::StatusCode;
use ringfence_sip::sdp::{Local, Session, accept, answer, offer};

const LIMITS: Limits = Limits {
    start_line: 512,
    head: 4_096,
    headers: 40,
    body: 2_048,
};
/// For reading again what was printed: compact names have become long.
const WIDE: Limits = Limits {
    start_line: 1 << 20,
    head: 1 << 20,
    headers: 1 << 20,
    body: 1 << 20,
};

/// A small generator of pseudo-random numbers (xorshift64*), so that a failing seed can be run again.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % bound.max(1)
    }
}

/// Reading, printing and answering: no panic, nothing lost, the same however a stream is cut.
pub fn message(bytes: &[u8], random: &mut Random) {
    received(&datagram(bytes, &LIMITS));
    let whole = stream(bytes, |rest| rest);
    whole.iter().for_each(received);
    let cut = stream(bytes, |_| 1 + random.below(7));
    assert_eq!(whole, cut, "a stream reads the same however it is cut");
    let bytewise = stream(bytes, |_| 1);
    assert_eq!(whole, bytewise);
}

fn stream(bytes: &[u8], mut size: impl FnMut(usize) -> usize) -> Vec<Received> {
    let mut stream = Stream::new(LIMITS);
    let mut all = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(size(rest.len()).min(rest.len()));
        rest = after;
        while let Some(received) = stream.next(&mut piece) {
            all.push(received);
        }
        assert!(
            piece.is_empty(),
            "a stream takes everything or reports something"
        );
    }
    assert!(all.len() <= bytes.len());
    all
}

fn received(received: &Received) {
    match received {
        Received::Message(message) => {
            let printed = message.to_bytes();
            assert_eq!(
                datagram(&printed, &WIDE),
                Received::Message(message.clone()),
                "printed and read again"
            );
            readings(message);
        }
        Received::Broken(broken) => {
            if let Some(response) = broken.response("fuzz") {
                let _ = datagram(&response.to_bytes(), &WIDE);
            }
        }
        Received::Ping | Received::Pong => {}
    }
    let _ = format!("{received:?}");
}

/// Every typed reading is taken once; those that every message has are there.
fn readings(message: &Message) {
    let headers = message.headers();
    let cseq = headers.cseq().unwrap();
    let _ = (
        headers.vias(),
        headers.contacts(),
        headers.record_routes(),
        headers.routes(),
        headers.max_forwards(),
    );
    let _ = (
        headers.expires(),
        headers.min_expires(),
        headers.session_expires(),
        headers.min_se(),
        headers.rseq(),
    );
    let _ = (
        headers.rack(),
        headers.require(),
        headers.supported(),
        headers.allow(),
        headers.reasons(),
    );
    let _ = (
        headers.www_authenticate(),
        headers.proxy_authenticate(),
        headers.authorization(),
    );
    let _ = (
        headers.retry_after(),
        headers.refer_to(),
        headers.referred_by(),
        headers.replaces(),
    );
    let _ = (
        headers.content_type(),
        headers.supports("timer"),
        Release::from_headers(headers),
    );
    match message {
        Message::Request(request) => {
            let response = Response::to_request(request, StatusCode::RINGING, Some("fuzz"));
            let Received::Message(Message::Response(read)) = datagram(&response.to_bytes(), &WIDE)
            else {
                panic!("an answer to a good request is good");
            };
            assert_eq!(read, response);
            assert_eq!(read.headers.cseq().unwrap(), cseq);
            let tag = headers.to().unwrap().tag().unwrap_or("fuzz").to_owned();
            assert_eq!(read.headers.to().unwrap().tag(), Some(tag.as_str()));
            assert!(request.uri.is_equivalent(&request.uri));
        }
        Message::Response(response) => {
            let _ = Release::from_response(response);
        }
    }
}

/// Reading, printing and answering a description: no panic, nothing lost, streams keep their places.
pub fn sdp(bytes: &[u8]) {
    let Ok(theirs) = Session::parse(bytes) else {
        return;
    };
    let printed = theirs.to_wire();
    assert_eq!(
        Session::parse(printed.as_bytes()).as_ref(),
        Ok(&theirs),
        "printed and read again"
    );
    let _ = format!("{theirs:?}");
    let local = Local {
        rtcp_mux: true,
        ..Local::new(1, [192, 0, 2, 1].into(), 30_000)
    };
    let ours = offer(&local, None);
    let _ = accept(&ours, &theirs, &local);
    let again = offer(&local, Some(&theirs));
    assert!(again.media.len() >= theirs.media.len());
    if let Ok((written, seen)) = answer(&theirs, &local, Some(&ours)) {
        assert_eq!(written.media.len(), theirs.media.len());
        assert_eq!(
            written.media.iter().filter(|media| media.port != 0).count(),
            1
        );
        let heard = accept(
            &theirs,
            &written,
            &Local::new(2, [192, 0, 2, 2].into(), 40_000),
        );
        if let Ok(heard) = heard {
            assert_eq!(heard.codec, seen.codec);
            assert_eq!(heard.rtcp_mux, seen.rtcp_mux);
        }
        assert_eq!(Session::parse(written.to_wire().as_bytes()), Ok(written));
    }
}
