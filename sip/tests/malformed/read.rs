//! Unusual but right: read as it is meant.

use super::*;

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
