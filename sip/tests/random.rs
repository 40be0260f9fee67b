//! Random bytes, random cuts, random values: the bounded run of what `fuzz/` does without end. Seeds are fixed; a
//! failing one is in the assertion's message.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;

use checks::Random;

const INVITE: &str = "INVITE sip:13800138000@pbx.example;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bK1, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK0;received=192.0.2.8\r\n\
    Max-Forwards: 70\r\nFrom: \"Li, \\\"Wei\\\"\" <sip:li@pbx.example>;tag=f1\r\nTo: <sip:13800138000@pbx.example>\r\n\
    Call-ID: a@192.0.2.7\r\nCSeq: 1 INVITE\r\nContact: <sip:li@192.0.2.7>;expires=60, <sip:li@192.0.2.9>;q=0.5\r\n\
    Record-Route: <sip:p1.example;lr>,<sip:p2.example;lr>\r\nSupported: timer, 100rel\r\nk: replaces\r\n\
    Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nReason: Q.850;cause=16;text=\"x\"\r\n\
    Authorization: Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:a@b\", response=\"00\", qop=auth, cnonce=\"c\", nc=00000001\r\n\
    Refer-To: <sip:b@c?Replaces=1%40x%3Bto-tag%3Da>\r\nReplaces: 1@x;to-tag=a;from-tag=b;early-only\r\n\
    Content-Type: application/sdp\r\nl: 4\r\n\r\nv=0\n";
const BUSY: &str = "SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\n\
    t: sip:c@d;tag=2\r\ni: x\r\nCSeq: 7\r\n INVITE\r\nReason: SIP;cause=486, Q.850;cause=17\r\nRetry-After: 18 (in a meeting);duration=60\r\n\
    WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=TRUE, Basic realm=\"b\"\r\n\
    RSeq: 1\r\nRAck: 1 2 INVITE\r\nContent-Length: 0\r\n\r\n";
const SDP: &str = "v=0\r\no=- 4711 3 IN IP4 198.51.100.5\r\ns=-\r\nc=IN IP4 198.51.100.5\r\nt=0 0\r\na=sendonly\r\n\
    m=audio 17000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000/1\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:140\r\na=rtcp:17009 IN IP4 198.51.100.6\r\na=rtcp-mux\r\na=sendrecv\r\n\
    m=video 0 RTP/AVP 96\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:96 H264/90000\r\na=x:y\r\n";

/// Pieces that parsers stumble over.
const PIECES: [&str; 28] = [
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "\r\n ",
    "\0",
    "\"",
    "\\",
    "<",
    ">",
    ",",
    ";",
    ";;",
    "=",
    ":",
    "@",
    "%",
    "%00",
    "[",
    "[::1]",
    "SIP/2.0",
    "Content-Length: 1\r\n",
    "Via: x\r\n",
    "-1",
    "4294967296",
    "99999999999999999999",
    "é",
    "a=rtpmap:8 PCMA/8000\r\n",
];

fn mutated(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..until)),
            3 => {
                let copy = bytes[at..until].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            4 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
        }
    }
    bytes
}

#[test]
fn damaged_messages_never_panic_and_read_the_same_however_they_are_cut() {
    let two = [INVITE, BUSY].concat();
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let original = [INVITE, BUSY, &two][random.below(3)];
        let bytes = mutated(original.as_bytes(), &mut random);
        let outcome =
            std::panic::catch_unwind(move || checks::message(&bytes, &mut Random::new(seed)));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn damaged_descriptions_never_panic_and_keep_their_streams() {
    for seed in 0..4_000 {
        let bytes = mutated(SDP.as_bytes(), &mut Random::new(seed));
        let outcome = std::panic::catch_unwind(move || checks::sdp(&bytes));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_undamaged_originals_are_read() {
    use ringfence_sip::framing::{Limits, Received, datagram};
    for original in [INVITE, BUSY] {
        assert!(matches!(
            datagram(original.as_bytes(), &Limits::default()),
            Received::Message(_)
        ));
        checks::message(original.as_bytes(), &mut Random::new(1));
    }
    assert!(ringfence_sip::sdp::Session::parse(SDP.as_bytes()).is_ok());
    checks::sdp(SDP.as_bytes());
}

#[test]
fn noise_never_panics() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(600))
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        checks::message(&bytes, &mut random);
        checks::sdp(&bytes);
    }
}

#[test]
fn the_time_to_read_grows_with_the_bytes_only() {
    use ringfence_sip::framing::{Limits, Stream};
    // Many small messages in one piece: were each piece copied or searched again for each message, this would be
    // hundreds of megabytes of work.
    let many = BUSY.repeat(20_000);
    let mut stream = Stream::new(Limits::default());
    let mut input = many.as_bytes();
    let mut count = 0;
    let mut left = input.len();
    while stream.next(&mut input).is_some() {
        count += 1;
        assert_eq!(
            left - input.len(),
            BUSY.len(),
            "each message takes its own bytes and no more"
        );
        left = input.len();
    }
    assert_eq!(count, 20_000);
}
