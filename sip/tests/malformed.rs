//! Messages as the network really delivers them: unusual but right, wrong but answerable, hopeless. Each with the
//! reading or the answer that RFC 3261 wants. The texts are our own; what to look for was learned from RFC 4475.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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

#[test]
fn folded_compact_and_oddly_spaced_headers_are_read() {
    let request = request(&wire(
        "
INVITE sip:desk;door=2@pbx.example;transport=tcp SIP/2.0
TO :
 sip:desk@pbx.example ;   tag    = t1
f: \"A \\\\ \\\"quoted\\\" name, with <sip:x@y>;\"
\t<sip:li@pbx.example>
  ; tag = f9
mAx-FoRwArDs: 007
i: folded.1
cseq: 0009
  INVITE
v: SIP  / 2.0  / UDP
 192.0.2.2;branch=z9hG4bKa , SIP/2.0/TCP  [2001:db8::9]:5070 ;branch=z9hG4bKb;received=192.0.2.255
Via: SIP/2.0/TLS far.example;branch=z9hG4bKc
s:
NewFangled: newfangled value
 continued
k: timer , 100rel
m: <sip:li@192.0.2.2>, \"x, y\" <sip:li@192.0.2.3> ;q=0.1
l: 0

",
    ));
    assert_eq!(request.method, Method::INVITE);
    assert_eq!(request.uri.user().unwrap(), "desk;door=2");
    assert_eq!(request.uri.as_sip().unwrap().transport(), Some("tcp"));
    let headers = &request.headers;
    assert_eq!(headers.to().unwrap().tag(), Some("t1"));
    let from = headers.from().unwrap();
    assert_eq!(
        from.display.as_deref(),
        Some("A \\ \"quoted\" name, with <sip:x@y>;")
    );
    assert_eq!(from.tag(), Some("f9"));
    assert_eq!(headers.max_forwards().unwrap(), Some(7));
    assert_eq!(headers.call_id().unwrap(), "folded.1");
    assert_eq!(headers.cseq().unwrap().number, 9);
    let vias = headers.vias().unwrap();
    let branches: Vec<_> = vias.iter().map(|via| via.branch().unwrap()).collect();
    assert_eq!(branches, ["z9hG4bKa", "z9hG4bKb", "z9hG4bKc"]);
    assert_eq!(vias[1].host.to_string(), "[2001:db8::9]");
    assert_eq!(vias[1].received().unwrap().to_string(), "192.0.2.255");
    assert_eq!(
        headers.text("NewFangled").unwrap(),
        "newfangled value continued"
    );
    assert_eq!(headers.text("Subject").unwrap(), "");
    assert_eq!(headers.supported().unwrap(), ["timer", "100rel"]);
    let Some(Contacts::List(contacts)) = headers.contacts().unwrap() else {
        panic!("no list")
    };
    assert_eq!(contacts.len(), 2);
    assert_eq!(contacts[1].params.get("q"), Some("0.1"));
}

#[test]
fn a_method_nobody_knows_is_read_and_left_to_the_user_agent() {
    let bytes = wire(&GOOD.replace("OPTIONS", "!Odd-Method.1*~'`_+%"));
    let request = request(&bytes);
    assert_eq!(request.method.as_str(), "!Odd-Method.1*~'`_+%");
    assert_eq!(request.headers.cseq().unwrap().method, request.method);
}

#[test]
fn every_character_that_may_stand_somewhere_is_read_there() {
    let uri = "sip:1_odd.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let mut bytes = with(
        "To",
        Some(&format!(
            "To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <{uri}>"
        )),
    );
    let weird = "token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{442}\u{435}\";tag=_token~1'+`*%!-.";
    bytes = String::from_utf8(bytes)
        .unwrap()
        .replace("\"Li Wei\" <sip:li@pbx.example>;tag=f1", weird)
        .into_bytes();
    bytes = String::from_utf8(bytes)
        .unwrap()
        .replace("good@192.0.2.7", "word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        .into_bytes();
    let request = request(&bytes);
    let to = request.headers.to().unwrap();
    assert_eq!(to.display.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(to.uri.to_wire(), uri);
    let from = request.headers.from().unwrap();
    assert_eq!(
        (from.display.as_deref(), from.tag()),
        (
            Some("token1~` token2'+_ token3*%!.-"),
            Some("_token~1'+`*%!-.")
        )
    );
    assert_eq!(
        request.headers.call_id().unwrap(),
        "word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    );
    let printed = request.to_bytes();
    assert_eq!(
        datagram(&printed, &Limits::default()),
        Received::Message(request.into())
    );
}

#[test]
fn the_case_of_a_method_counts() {
    let request = request(&wire(&GOOD.replace("OPTIONS", "options")));
    assert_ne!(request.method, Method::OPTIONS);
}

#[test]
fn escapes_stay_as_they_are_and_are_undone_for_the_reader() {
    let uri =
        "sip:sips%3Auser%40example.com@example.net;na%6De=v%61l?Repl%61ces=a%40b%3Bto-tag%3D1";
    let request = request(&with("OPTIONS", Some(&format!("OPTIONS {uri} SIP/2.0"))));
    assert_eq!(request.uri.to_wire(), uri);
    let sip = request.uri.as_sip().unwrap();
    assert_eq!(sip.user().unwrap(), "sips:user@example.com");
    assert_eq!(sip.header("replaces").unwrap(), "a@b;to-tag=1");
    assert_eq!(
        request.uri.for_request_line().to_wire(),
        "sip:sips%3Auser%40example.com@example.net;na%6De=v%61l"
    );
}

#[test]
fn addresses_of_ipv6_are_read_everywhere() {
    let bytes = wire(
        "
REGISTER sip:[2001:db8::10] SIP/2.0
Via: SIP/2.0/UDP [2001:db8::9:1];rport;branch=z9hG4bKas3-111
From: <sip:user@[2001:db8::9:1]:5060;transport=udp>;tag=81x2
To: sip:user@[2001:db8::10]
Call-ID: v6@[2001:db8::9:1]
Contact: <sip:user@[2001:db8::9:1]:5070>;expires=600
CSeq: 98176 REGISTER

",
    );
    let request = request(&bytes);
    assert_eq!(request.uri.to_wire(), "sip:[2001:db8::10]");
    let mut via = request.headers.top_via().unwrap();
    assert_eq!(via.rport(), Some(None));
    via.note_source("[2001:db8::aa]:6000".parse().unwrap());
    assert_eq!(via.rport(), Some(Some(6000)));
    assert_eq!(via.received().unwrap().to_string(), "2001:db8::aa");
    let contact = request.headers.contact().unwrap().unwrap();
    assert_eq!(
        (contact.expires(), contact.uri.as_sip().unwrap().port),
        (Some(600), Some(5070))
    );
}

#[test]
fn a_telephone_number_is_an_address() {
    let bytes = with(
        "OPTIONS",
        Some("OPTIONS tel:+86-10-5555;phone-context=+86 SIP/2.0"),
    );
    let request = request(&bytes);
    assert!(matches!(&request.uri, Uri::Tel(tel) if tel.number() == "+86-10-5555"));
    assert!(
        request
            .uri
            .is_equivalent(&Uri::parse("TEL:+86105555;Phone-Context=+86").unwrap())
    );
    assert!(!format!("{request:?}").contains("5555"));
}

#[test]
fn a_scheme_nobody_knows_is_read_and_left_to_the_user_agent() {
    let request = request(&with(
        "OPTIONS",
        Some("OPTIONS nobodyKnowsThis:totallyopaquecontent SIP/2.0"),
    ));
    assert_eq!(request.uri.scheme(), "nobodyknowsthis");
}

#[test]
fn bytes_that_are_no_utf_8_cost_nothing_but_themselves() {
    let mut bytes = with(
        "From:",
        Some("From: \"J?rgen\" <sip:li@pbx.example>;tag=f1"),
    );
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xfc;
    let request = request(&bytes);
    assert_eq!(request.headers.from().unwrap().tag(), Some("f1"));
    let answer = Response::to_request(&request, StatusCode::OK, Some("mine")).to_bytes();
    let sent: &[u8] = b"From: \"J\xfcrgen\" <sip:li@pbx.example>;tag=f1\r\n";
    assert!(
        answer.windows(sent.len()).any(|window| window == sent),
        "the answer gives back what came"
    );
}

#[test]
fn a_response_without_reason_phrase_and_one_in_utf_8_are_read() {
    for (line, reason) in [
        ("SIP/2.0 200 ", ""),
        ("SIP/2.0 200", ""),
        ("SIP/2.0 200 = 2**3 * 5**2 но", "= 2**3 * 5**2 но"),
    ] {
        let response = response(&with("OPTIONS", Some(line)));
        assert_eq!(
            (response.status, response.reason.as_str()),
            (StatusCode::OK, reason)
        );
    }
}

#[test]
fn a_response_is_not_lost_for_a_header_that_only_requests_need() {
    let bytes = String::from_utf8(with("OPTIONS", Some("SIP/2.0 180 Ringing"))).unwrap();
    assert_eq!(
        response(
            bytes
                .replace("Max-Forwards: 70", "Max-Forwards: x")
                .as_bytes()
        )
        .status,
        StatusCode::RINGING
    );
}

#[test]
fn a_datagram_without_content_length_has_all_the_rest_as_body() {
    let mut bytes = with("Content-Length", None);
    bytes.extend_from_slice(b"v=0\r\n\xff\0binary");
    assert_eq!(request(&bytes).body, b"v=0\r\n\xff\0binary");
}

#[test]
fn bytes_after_the_body_of_a_datagram_are_dropped() {
    let mut bytes = with("Content-Length", Some("Content-Length:   4"));
    bytes.extend_from_slice(b"bodyINVITE sip:second@pbx.example SIP/2.0\r\n\r\n");
    assert_eq!(request(&bytes).body, b"body");
}

#[test]
fn empty_lines_before_a_datagram_are_passed_over_and_alone_are_a_keep_alive() {
    assert_eq!(
        request(&[b"\r\n\r\n".as_slice(), &wire(GOOD)].concat()).method,
        Method::OPTIONS
    );
    assert_eq!(datagram(b"\r\n\r\n", &Limits::default()), Received::Ping);
    assert_eq!(datagram(b"\r\n", &Limits::default()), Received::Pong);
}

#[test]
fn a_transfer_target_is_read_with_and_without_brackets() {
    let line = "Refer-To: sip:bob@pbx.example?Replaces=1%40x%3Bto-tag%3Da%3Bfrom-tag%3Db";
    for line in [
        line.to_owned(),
        line.replace(": ", ": <") + ">;method=INVITE",
    ] {
        let request = request(&with("Max-Forwards", Some(&line)));
        let target = request.headers.refer_to().unwrap().unwrap();
        assert_eq!(
            target.uri.as_sip().unwrap().header("Replaces").unwrap(),
            "1@x;to-tag=a;from-tag=b"
        );
    }
}

#[test]
fn a_header_that_is_broken_spoils_only_itself() {
    let request = request(&with(
        "Max-Forwards",
        Some("Contact: \"Joe <sip:joe@example.org>\nExpires: soon\nRequire: a b"),
    ));
    assert!(matches!(
        request.headers.contacts(),
        Err(HeaderError::Malformed {
            name: name::CONTACT,
            ..
        })
    ));
    assert!(request.headers.expires().is_err());
    assert!(request.headers.require().is_err());
    assert_eq!(request.headers.cseq().unwrap().number, 1);
}

#[test]
fn durations_too_large_for_32_bits_are_cut() {
    let request = request(&with(
        "Max-Forwards",
        Some("Expires: 10000000000000000000000\nContact: <sip:a@b>;expires=280297596632815"),
    ));
    assert_eq!(request.headers.expires().unwrap(), Some(u32::MAX));
    assert_eq!(
        request.headers.contact().unwrap().unwrap().expires(),
        Some(u32::MAX)
    );
}

#[test]
fn a_star_stands_alone() {
    let contacts = |line| {
        request(&with("Max-Forwards", Some(line)))
            .headers
            .contacts()
    };
    assert_eq!(contacts("Contact: *"), Ok(Some(Contacts::Star)));
    assert!(contacts("Contact: *, <sip:a@b>").is_err());
    assert!(contacts("Contact: *\nContact: <sip:a@b>").is_err());
    assert_eq!(contacts("Expires: 1"), Ok(None));
}

// ---- wrong but answerable

#[test]
fn an_answer_to_broken_bytes_gives_back_what_was_understood() {
    let answer = broken(&with("CSeq", Some("CSeq: 36893488147419103232 OPTIONS")))
        .response("mytag")
        .unwrap();
    let text = String::from_utf8(answer.to_bytes()).unwrap();
    let expected = wire(
        "
SIP/2.0 400 CSeq: the number is none of 32 bits
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKgood
From: \"Li Wei\" <sip:li@pbx.example>;tag=f1
To: <sip:desk@pbx.example>;tag=mytag
Call-ID: good@192.0.2.7
CSeq: 36893488147419103232 OPTIONS
Content-Length: 0

",
    );
    assert_eq!(text.as_bytes(), expected);
}

#[test]
fn a_message_that_lacks_a_header_everybody_needs_is_a_bad_request() {
    for line in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(status(&with(line, None)), Some(400), "{line}");
    }
}

#[test]
fn a_header_that_may_be_there_once_is_there_once() {
    for line in [
        "From: <sip:other@pbx.example>;tag=2",
        "To: <sip:o@pbx.example>",
        "Call-ID: 2",
        "CSeq: 2 OPTIONS",
        "Max-Forwards: 5",
    ] {
        let twice = GOOD.replace("Content-Length", &format!("{line}\nContent-Length"));
        assert_eq!(status(&wire(&twice)), Some(400), "{line}");
    }
}

#[test]
fn headers_everybody_needs_must_be_readable() {
    for (line, bad) in [
        ("CSeq", "CSeq: 1 INVITE"),
        ("CSeq", "CSeq: -1 OPTIONS"),
        ("CSeq", "CSeq: 1OPTIONS"),
        ("CSeq", "CSeq: OPTIONS"),
        ("CSeq", "CSeq: 4294967296 OPTIONS"),
        ("Max-Forwards", "Max-Forwards: 256"),
        ("Max-Forwards", "Max-Forwards: -1"),
        ("Max-Forwards", "Max-Forwards: a lot"),
        ("Call-ID", "Call-ID:"),
        ("Call-ID", "Call-ID: two words"),
        ("From", "From: \"unclosed <sip:li@pbx.example>;tag=1"),
        ("From", "From: <sip:li@pbx.example;tag=1"),
        ("From", "From: Bell, Alexander <sip:a@example.com>;tag=43"),
        ("From", "From: <sip:>;tag=1"),
        ("From", "From: <li>;tag=1"),
        ("To", "To: sip:t.watson@exam ple.org"),
        ("To", "To: <sip:a@b> trailing"),
        ("To", "To: \"A\"B\" <sip:a@b>"),
        ("To", "To: <sip:a@b:70000>"),
        ("To", "To: <sip:a@[::1>"),
        ("To", "To: <sip:a@[192.0.2.1]>"),
        ("To", "To: <sip:a%4@b>"),
        ("To", "To: <sip:a@b>;tag=\"open"),
    ] {
        assert_eq!(status(&with(line, Some(bad))), Some(400), "{bad}");
    }
}

#[test]
fn a_content_length_that_cannot_be_relied_on_is_a_bad_request() {
    for bad in [
        "-999",
        "+1",
        "1.0",
        "0x1",
        "",
        "99999999999999999999999",
        "1",
        "0\nContent-Length: 1",
        "0\nl: 2",
    ] {
        assert_eq!(
            status(&with(
                "Content-Length",
                Some(&format!("Content-Length: {bad}"))
            )),
            Some(400),
            "{bad:?}"
        );
    }
}

#[test]
fn another_version_is_answered_505() {
    for version in ["SIP/7.0", "sip/1.0", "SIP/2.01", "SIP/"] {
        assert_eq!(
            status(&with(
                "OPTIONS",
                Some(&format!("OPTIONS sip:a@b {version}"))
            )),
            Some(505),
            "{version}"
        );
    }
}

#[test]
fn a_request_line_that_cannot_be_read_is_a_bad_request() {
    for line in [
        "OPTIONS <sip:user@example.com> SIP/2.0",
        "OPTIONS sip:user@example.com; lr SIP/2.0",
        "OPTIONS sip:user@example.com?Route=%3Csip:example.com%3 SIP/2.0",
        "OPTIONS  sip:user@example.com  SIP/2.0",
        "OPTIONS sip:user@example.com",
        "OPTIONS sip:user@example.com HTTP/1.1",
        "OPTIONS SIP/2.0",
        "OPTIONS user SIP/2.0",
        "OPTIONS sip:user@exa\u{fffd}mple SIP/2.0",
        "OPTIONS sip:a@b@c SIP/2.0",
        "OPTIONS tel:nobody SIP/2.0",
    ] {
        assert_eq!(status(&with("OPTIONS", Some(line))), Some(400), "{line}");
    }
}

#[test]
fn what_is_too_long_is_answered_by_what_is_too_long() {
    let long = "a".repeat(3_000);
    assert_eq!(
        status(&with(
            "OPTIONS",
            Some(&format!("OPTIONS sip:{long}@b SIP/2.0"))
        )),
        Some(414)
    );
    let many = "X: y\n".repeat(200) + "Max-Forwards: 1";
    assert_eq!(status(&with("Max-Forwards", Some(&many))), Some(513));
    let wide = with(
        "Content-Length",
        Some(&format!("X: {}", "y".repeat(40_000))),
    );
    assert_eq!(status(&wide), Some(513));
    let body = [with("Content-Length", None), vec![b'x'; 70_000]].concat();
    assert_eq!(status(&body), Some(413));
}

#[test]
fn header_lines_that_are_none_are_a_bad_request() {
    for bad in [
        "no colon here",
        ": no name",
        "two words: x",
        "X\u{e9}: y",
        "X: a\rb",
    ] {
        assert_eq!(
            status(&with("Max-Forwards", Some(bad))),
            Some(400),
            "{bad:?}"
        );
    }
    let lf = wire(&GOOD.replace("Max-Forwards: 70\n", "Max-Forwards: 70(lf)X: a\n"));
    let lf = String::from_utf8(lf).unwrap().replace("(lf)", "\n");
    assert_eq!(status(lf.as_bytes()), Some(400), "a bare LF ends no line");
}

#[test]
fn headers_that_do_not_end_are_a_bad_request() {
    let bytes = wire(GOOD);
    assert_eq!(status(&bytes[..bytes.len() - 2]), Some(400));
    assert_eq!(status(&bytes[..bytes.len() - 20]), Some(400));
}

// ---- hopeless: dropped without an answer

#[test]
fn what_cannot_be_answered_is_not_answered() {
    for bytes in [
        with("Via", None),
        with("Via", Some("Via: SIP/2.0/UDP")),
        with("Via", Some("Via: SIP/9.0/UDP 192.0.2.1;branch=z9hG4bK1")),
        with("Via", Some("Via: SIP/2.0/U DP 192.0.2.1;branch=z9hG4bK1")),
        with(
            "Via",
            Some("Via: SIP/2.0/UDP 192.0.2.1:port;branch=z9hG4bK1"),
        ),
        with("OPTIONS", Some("SIP/2.0 99 Below")),
        with("OPTIONS", Some("SIP/2.0 700 Above")),
        with("OPTIONS", Some("SIP/2.0 4294967301 Far above")),
        with("OPTIONS", Some("SIP/3.0 200 OK")),
        with("OPTIONS", Some("OPTIONS")),
        with("OPTIONS", Some("OPT@ONS sip:a@b SIP/2.0")),
        b"\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 2_000],
    ] {
        assert_eq!(
            broken(&bytes).response("t"),
            None,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn responses_and_ack_are_never_answered() {
    let bad = |first: &str| {
        GOOD.replace("OPTIONS sip:desk@pbx.example SIP/2.0", first)
            .replace("CSeq: 1", "CSeq: -1")
    };
    assert_eq!(status(&wire(&bad("SIP/2.0 200 OK"))), None);
    assert_eq!(
        status(&wire(&bad("ACK sip:desk@pbx.example SIP/2.0"))),
        None
    );
}

// ---- streams

fn read_all(limits: Limits, bytes: &[u8]) -> (Vec<Received>, Stream) {
    let mut stream = Stream::new(limits);
    let mut input = bytes;
    let mut all = Vec::new();
    while let Some(received) = stream.next(&mut input) {
        all.push(received);
    }
    assert!(input.is_empty());
    (all, stream)
}

#[test]
fn a_stream_yields_one_message_after_the_other() {
    let second = with("Content-Length", Some("l: 5"));
    let bytes = [
        b"\r\n\r\n".as_slice(),
        &wire(GOOD),
        b"\r\n",
        &second,
        b"a\r\n\r\n",
        &wire(GOOD),
    ]
    .concat();
    let (all, stream) = read_all(Limits::default(), &bytes);
    let bodies: Vec<_> = all
        .iter()
        .filter_map(|received| match received {
            Received::Message(message) => Some(message.body()),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [b"".as_slice(), b"a\r\n\r\n", b""]);
    assert_eq!(all[..2], [Received::Pong, Received::Ping]);
    assert!(!stream.is_lost());
}

#[test]
fn a_broken_message_of_known_length_does_not_end_the_stream() {
    let bad = with("CSeq", Some("CSeq: x"));
    let (all, stream) = read_all(Limits::default(), &[bad, wire(GOOD)].concat());
    assert!(
        matches!(&all[0], Received::Broken(broken) if !broken.fatal && broken.response("t").is_some())
    );
    assert!(matches!(&all[1], Received::Message(_)));
    assert!(!stream.is_lost());
}

#[test]
fn a_stream_whose_length_is_unknown_is_answered_and_given_up() {
    let small = Limits {
        head: 600,
        body: 100,
        ..Limits::default()
    };
    for (bytes, code) in [
        (with("Content-Length", None), 400),
        (with("Content-Length", Some("Content-Length: -1")), 400),
        (
            with(
                "Content-Length",
                Some("Content-Length: 0\nContent-Length: 3"),
            ),
            400,
        ),
        (with("Content-Length", Some("Content-Length: 101")), 413),
        (
            with("Content-Length", Some(&format!("X: {}", "y".repeat(600)))),
            513,
        ),
    ] {
        let (all, mut stream) = read_all(small, &[bytes, wire(GOOD)].concat());
        let [Received::Broken(broken)] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(
            (broken.fatal, broken.response("t").unwrap().status.code()),
            (true, code)
        );
        assert!(stream.is_lost());
        assert_eq!(stream.next(&mut wire(GOOD).as_slice()), None);
    }
}

#[test]
fn a_stream_does_not_collect_beyond_its_limits() {
    let limits = Limits::default();
    let mut stream = Stream::new(limits);
    let mut fed = 0;
    let report = loop {
        fed += 1_000;
        if let Some(received) = stream.next(&mut [b'a'; 1_000].as_slice()) {
            break received;
        }
        assert!(
            fed <= limits.head + 1_000,
            "a head that never ends must be given up at the limit"
        );
    };
    assert!(matches!(report, Received::Broken(broken) if broken.fatal));
}
