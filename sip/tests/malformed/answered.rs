//! Wrong: answered if that can be done, and by what is wrong.

use super::*;

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
