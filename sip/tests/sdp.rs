//! Offer and answer with descriptions as PBXes, phones and browsers write them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use ringfence_sip::sdp::{
    Codec, Direction, Local, Negotiated, SdpError, Session, accept, answer, offer,
};

fn session(text: &str) -> Session {
    Session::parse(
        text.trim_start_matches('\n')
            .replace('\n', "\r\n")
            .as_bytes(),
    )
    .unwrap()
}

fn local() -> Local {
    Local::new(4711, IpAddr::from([192, 0, 2, 1]), 30_000)
}

/// A description of the peer with these lines after the session part.
fn peer(media: &str) -> Session {
    session(&format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n{media}"
    ))
}

fn answered(media: &str) -> (Session, Negotiated) {
    answer(&peer(media), &local(), None).unwrap()
}

fn refused(media: &str) -> SdpError {
    answer(&peer(media), &local(), None).unwrap_err()
}

#[test]
fn our_offer_reads_as_everybody_expects_it() {
    let expected = "v=0\r\no=- 4711 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(offer(&local(), None).to_wire(), expected);
}

#[test]
fn an_answer_of_asterisk_is_understood() {
    let ours = offer(&local(), None);
    let theirs = session(
        "
v=0
o=- 4711 3 IN IP4 198.51.100.5
s=Asterisk
c=IN IP4 198.51.100.5
t=0 0
m=audio 17000 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:140
a=sendrecv
",
    );
    let expected = Negotiated {
        rtp: "198.51.100.5:17000".parse().unwrap(),
        rtcp: "198.51.100.5:17001".parse().unwrap(),
        rtcp_mux: false,
        codec: Codec::Pcma,
        payload_type: 8,
        receive_payload_type: 8,
        telephone_event: Some(101),
        receive_telephone_event: Some(101),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    };
    assert_eq!(accept(&ours, &theirs, &local()), Ok(expected));
}

#[test]
fn two_of_us_agree() {
    let remote = Local {
        rtcp_mux: true,
        ..Local::new(9, "192.0.2.2".parse().unwrap(), 40_000)
    };
    let near = Local {
        rtcp_mux: true,
        codecs: vec![Codec::Pcmu],
        rtcp_port: Some(30_007),
        ..local()
    };
    let ours = offer(&near, None);
    let (theirs, seen_there) = answer(
        &Session::parse(ours.to_wire().as_bytes()).unwrap(),
        &remote,
        None,
    )
    .unwrap();
    let seen_here = accept(
        &ours,
        &Session::parse(theirs.to_wire().as_bytes()).unwrap(),
        &near,
    )
    .unwrap();
    assert_eq!(seen_there.rtp, "192.0.2.1:30000".parse().unwrap());
    assert_eq!(seen_there.rtcp, seen_there.rtp, "rtcp-mux wins over a=rtcp");
    assert_eq!(seen_here.rtp, "192.0.2.2:40000".parse().unwrap());
    assert_eq!(
        (seen_here.codec, seen_there.codec),
        (Codec::Pcmu, Codec::Pcmu)
    );
    assert!(seen_here.rtcp_mux && seen_there.rtcp_mux);
    let unmuxed = Local {
        rtcp_mux: false,
        ..remote
    };
    let (theirs, seen_there) = answer(&ours, &unmuxed, None).unwrap();
    assert_eq!(seen_there.rtcp, "192.0.2.1:30007".parse().unwrap());
    assert!(!accept(&ours, &theirs, &near).unwrap().rtcp_mux);
}

#[test]
fn the_preference_of_the_offer_decides_and_dynamic_types_are_echoed() {
    let (ours, seen) = answered(
        "m=audio 5000 RTP/AVP 9 97 8 96 102\na=rtpmap:97 pcmu/8000/1\na=rtpmap:102 telephone-event/48000\na=rtpmap:96 Telephone-Event/8000\n",
    );
    assert_eq!(
        (seen.codec, seen.payload_type, seen.telephone_event),
        (Codec::Pcmu, 97, Some(96))
    );
    assert_eq!(ours.media[0].formats, ["97", "96"]);
}

#[test]
fn a_digit_type_differs_by_direction_if_the_peer_says_so() {
    let ours = offer(&local(), None);
    let theirs = peer("m=audio 5000 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000\n");
    let seen = accept(&ours, &theirs, &local()).unwrap();
    assert_eq!(
        (seen.telephone_event, seen.receive_telephone_event),
        (Some(96), Some(101))
    );
    let deaf = Local {
        telephone_event: false,
        ..local()
    };
    let seen = accept(&offer(&deaf, None), &theirs, &deaf).unwrap();
    assert_eq!(
        (seen.telephone_event, seen.receive_telephone_event),
        (None, None)
    );
}

#[test]
fn a_static_type_means_what_its_rtpmap_says() {
    assert_eq!(
        refused("m=audio 5000 RTP/AVP 0\na=rtpmap:0 PCMU/16000\n"),
        SdpError::NoCodec
    );
    assert_eq!(
        refused("m=audio 5000 RTP/AVP 8\na=rtpmap:8 PCMA/8000/2\n"),
        SdpError::NoCodec
    );
    assert_eq!(answered("m=audio 5000 RTP/AVP 8\n").1.codec, Codec::Pcma);
}

#[test]
fn extra_streams_are_refused_in_their_place_and_stay_there() {
    let media = "m=video 4000 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 5000 RTP/SAVP 8\nm=audio 5002 RTP/AVP 8\nm=audio 5004 RTP/AVP 0\nm=image 5006 udptl t38\n";
    let (ours, seen) = answered(media);
    let lines: Vec<String> = ours
        .to_wire()
        .lines()
        .filter(|line| line.starts_with("m="))
        .map(str::to_owned)
        .collect();
    let expected = [
        "m=video 0 RTP/AVP 96",
        "m=audio 0 RTP/SAVP 8",
        "m=audio 30000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ];
    assert_eq!(lines, expected);
    assert_eq!(seen.rtp.port(), 5002);
    let again = offer(
        &Local {
            direction: Direction::Inactive,
            ..local()
        },
        Some(&ours),
    );
    let kinds: Vec<(&str, u16)> = again
        .media
        .iter()
        .map(|media| (media.kind.as_str(), media.port))
        .collect();
    assert_eq!(
        kinds,
        [
            ("video", 0),
            ("audio", 0),
            ("audio", 30_000),
            ("audio", 0),
            ("image", 0)
        ]
    );
    assert_eq!(again.origin.version, "2");
}

#[test]
fn the_version_counts_changes_only() {
    let first = offer(&local(), None);
    assert_eq!(offer(&local(), Some(&first)), first);
    let held = offer(
        &Local {
            direction: Direction::SendOnly,
            ..local()
        },
        Some(&first),
    );
    assert_eq!(
        (
            held.origin.version.as_str(),
            held.origin.session_id.as_str()
        ),
        ("2", "4711")
    );
    let resumed = offer(&local(), Some(&held));
    assert_eq!(resumed.origin.version, "3");
    assert_eq!(
        answer(
            &peer("m=audio 5000 RTP/AVP 8 0\n"),
            &local(),
            Some(&resumed)
        )
        .unwrap()
        .0
        .origin
        .version,
        "4"
    );
}

#[test]
fn a_payload_type_once_negotiated_keeps_its_meaning() {
    let (ours, _) = answered(
        "m=audio 5000 RTP/AVP 97 99\na=rtpmap:97 PCMA/8000\na=rtpmap:99 telephone-event/8000\n",
    );
    let again = offer(&local(), Some(&ours));
    assert_eq!(again.media[0].formats, ["97", "0", "99"]);
    let (ours, _) = answered("m=audio 5000 RTP/AVP 101\na=rtpmap:101 PCMA/8000\n");
    assert_eq!(
        offer(&local(), Some(&ours)).media[0].formats,
        ["101", "0"],
        "101 is taken, so there are no digits"
    );
}

#[test]
fn every_way_to_hold_is_understood() {
    let audio = "m=audio 5000 RTP/AVP 8\n";
    for (lines, ours) in [
        ("a=sendrecv\n", Direction::SendRecv),
        ("a=sendonly\n", Direction::RecvOnly),
        ("a=recvonly\n", Direction::SendOnly),
        ("a=inactive\n", Direction::Inactive),
        ("c=IN IP4 0.0.0.0\n", Direction::RecvOnly),
        ("c=IN IP4 0.0.0.0\na=inactive\n", Direction::Inactive),
        ("c=IN IP4 0.0.0.0\na=recvonly\n", Direction::Inactive),
    ] {
        let (written, seen) = answered(&format!("{audio}{lines}"));
        assert_eq!(seen.direction, ours, "{lines}");
        assert_eq!(written.media[0].direction, Some(ours), "{lines}");
    }
    let (_, seen) = answered(&format!("a=sendonly\n{audio}"));
    assert_eq!(seen.direction, Direction::RecvOnly, "of the session");
    let (_, seen) = answered(&format!("a=sendonly\n{audio}a=sendrecv\n"));
    assert_eq!(seen.direction, Direction::SendRecv, "the stream's own wins");
}

#[test]
fn our_hold_and_theirs_together_are_silence() {
    let holding = Local {
        direction: Direction::SendOnly,
        ..local()
    };
    let ours = offer(&holding, None);
    for (theirs, direction) in [
        ("a=recvonly\n", Direction::SendOnly),
        ("a=sendrecv\n", Direction::SendOnly),
        ("a=sendonly\n", Direction::Inactive),
        ("a=inactive\n", Direction::Inactive),
    ] {
        let theirs = peer(&format!("m=audio 5000 RTP/AVP 8\n{theirs}"));
        assert_eq!(
            accept(&ours, &theirs, &holding).unwrap().direction,
            direction
        );
    }
}

#[test]
fn addresses_of_the_stream_win_over_those_of_the_session() {
    let (_, seen) = answered(
        "m=audio 5000 RTP/AVP 8\nc=IN IP4 203.0.113.4/127\na=rtcp:6000 IN IP4 203.0.113.5\n",
    );
    assert_eq!(seen.rtp, "203.0.113.4:5000".parse().unwrap());
    assert_eq!(seen.rtcp, "203.0.113.5:6000".parse().unwrap());
}

#[test]
fn ipv6_speaks_with_ipv6_only() {
    let near = Local::new(1, "2001:db8::1".parse().unwrap(), 30_000);
    let theirs = session(
        "v=0\no=- 1 1 IN IP6 2001:db8::2\ns=-\nc=IN IP6 2001:db8::2\nt=0 0\nm=audio 5000 RTP/AVP 8\n",
    );
    let (ours, seen) = answer(&theirs, &near, None).unwrap();
    assert_eq!(seen.rtp, "[2001:db8::2]:5000".parse().unwrap());
    assert!(ours.to_wire().contains("c=IN IP6 2001:db8::1\r\n"));
    assert_eq!(
        answer(&theirs, &local(), None).unwrap_err(),
        SdpError::AddressFamily
    );
}

#[test]
fn what_cannot_be_taken_is_told_apart() {
    for (media, error, status) in [
        ("", SdpError::NoAudio, 488),
        ("m=video 5000 RTP/AVP 96\n", SdpError::NoAudio, 488),
        ("m=audio 0 RTP/AVP 8\n", SdpError::NoAudio, 488),
        ("m=audio 5000 RTP/SAVP 8\n", SdpError::Profile, 488),
        ("m=audio 5000 UDP/TLS/RTP/SAVPF 8\n", SdpError::Profile, 488),
        ("m=audio 5000 RTP/AVP 9 18\n", SdpError::NoCodec, 488),
        (
            "m=audio 5000 RTP/AVP 8\nc=IN IP4 media.example\n",
            SdpError::NoAddress,
            488,
        ),
        (
            "m=audio 5000 RTP/AVP 8\nc=IN IP4 224.2.1.1/127/3\n",
            SdpError::NoAddress,
            488,
        ),
        ("m=audio 65535 RTP/AVP 8\n", SdpError::NoAddress, 488),
    ] {
        let refused = refused(media);
        assert_eq!(
            (refused, refused.status().code()),
            (error, status),
            "{media}"
        );
    }
    let nowhere = session("v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nt=0 0\nm=audio 5000 RTP/AVP 8\n");
    assert_eq!(
        answer(&nowhere, &local(), None).unwrap_err(),
        SdpError::NoAddress
    );
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    let ours = offer(&local(), None);
    for (media, error) in [
        ("", SdpError::Mismatch),
        (
            "m=audio 5000 RTP/AVP 8\nm=audio 5002 RTP/AVP 8\n",
            SdpError::Mismatch,
        ),
        ("m=audio 0 RTP/AVP 8\n", SdpError::NoAudio),
        ("m=video 5000 RTP/AVP 8\n", SdpError::NoAudio),
        ("m=audio 5000 RTP/AVP 18\n", SdpError::NoCodec),
    ] {
        assert_eq!(accept(&ours, &peer(media), &local()), Err(error), "{media}");
    }
}

#[test]
fn a_packet_time_is_one_that_we_can_make() {
    for (lines, ptime_ms) in [
        ("", 20),
        ("a=ptime:30\n", 30),
        ("a=ptime:0\n", 20),
        ("a=ptime:25\n", 20),
        ("a=ptime:65535\n", 20),
        ("a=ptime:70000\n", 20),
        ("a=ptime:20.0\n", 20),
        ("a=ptime:60\na=maxptime:45\n", 40),
        ("a=maxptime:5\n", 10),
    ] {
        assert_eq!(
            answered(&format!("m=audio 5000 RTP/AVP 8\n{lines}"))
                .1
                .ptime_ms,
            ptime_ms,
            "{lines}"
        );
    }
}

#[test]
fn a_description_that_breaks_the_grammar_is_an_error_with_its_line() {
    let head = "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nt=0 0\n";
    for (text, line) in [
        ("", 1),
        ("v=1\n", 1),
        ("o=- 1 1 IN IP4 192.0.2.9\nv=0\n", 1),
        ("v=0\ns=-\n", 3),
        ("v=0\no=- 1 1 IN IP4\n", 2),
        ("v=0\no=- 1 1 IN IP4 2001:db8::1\n", 2),
        ("v=0\no=- 1 1 IN IP9 192.0.2.9\n", 2),
        ("v=0\no=- 1 1 ATM IP4 192.0.2.9\n", 2),
        (&format!("{head}o=- 1 1 IN IP4 192.0.2.9\n"), 5),
        (&format!("{head}nonsense\n"), 5),
        (&format!("{head}m=audio\n"), 5),
        (&format!("{head}m=audio 70000 RTP/AVP 8\n"), 5),
        (&format!("{head}m=audio -1 RTP/AVP 8\n"), 5),
        (&format!("{head}m=audio 5000 RTP/AVP\n"), 5),
        (&format!("{head}m=audio 5000 RTP/AVP 128\n"), 5),
        (&format!("{head}m=audio 5000 RTP/AVP PCMA\n"), 5),
        (&format!("{head}m=audio 5000 RTP/AVP 8\na=rtpmap:8\n"), 6),
        (
            &format!("{head}m=audio 5000 RTP/AVP 8\na=rtpmap:8 PCMA\n"),
            6,
        ),
        (&format!("{head}m=audio 5000 RTP/AVP 8\na=rtcp:x\n"), 6),
        (&format!("{head}c=IN IP4 192.0.2.300\r0\n"), 5),
    ] {
        let error = Session::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, SdpError::Malformed { line: at, .. } if at == line),
            "{text:?}: {error}"
        );
        assert_eq!(error.status().code(), 400);
    }
}

#[test]
fn a_description_without_end_is_too_large() {
    let lines = "v=0\no=- 1 1 IN IP4 192.0.2.9\n".to_owned() + &"a=x\n".repeat(2_000);
    assert_eq!(Session::parse(lines.as_bytes()), Err(SdpError::TooLarge));
    let streams = "v=0\no=- 1 1 IN IP4 192.0.2.9\n".to_owned() + &"m=audio 1 x y\n".repeat(33);
    assert_eq!(Session::parse(streams.as_bytes()), Err(SdpError::TooLarge));
}

#[test]
fn names_do_not_show_in_debug() {
    let theirs = session("v=0\no=13800138000 1 1 IN IP4 192.0.2.9\ns=Li Wei\nt=0 0\n");
    let shown = format!("{theirs:?}");
    assert!(!shown.contains("138001") && !shown.contains("Wei"));
}
