//! What is printed is read back the same, for values that are made, not damaged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use proptest::prelude::*;
use ringfence_sip::framing::{Limits, Received, datagram};
use ringfence_sip::headers::{CSeq, NameAddr, Params, Via, name};
use ringfence_sip::message::{Message, Request, Response};
use ringfence_sip::method::{Method, StatusCode};
use ringfence_sip::sdp::{Codec, Direction, Local, Session, accept, answer, offer};
use ringfence_sip::uri::{Host, SipUri, Uri};

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Host::Ip(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Host::Ip(octets.into())),
        "[a-zA-Z][a-zA-Z0-9-]{0,10}(\\.[a-z]{2,5}){0,3}"
            .prop_map(|name| Host::parse(&name).unwrap()),
    ]
}

prop_compose! {
    fn sip_uri()(
        host in host(),
        port in any::<Option<u16>>(),
        user in "\\PC{0,12}",
        params in prop::collection::vec(("[a-z]{1,6}", prop::option::of("\\PC{1,6}")), 0..3),
        headers in prop::collection::vec(("[A-Za-z-]{1,8}", "\\PC{0,8}"), 0..3),
    ) -> SipUri {
        let mut uri = SipUri::new(host, port).with_user(&user);
        for (name, value) in &params {
            uri = uri.with_param(name, value.as_deref());
        }
        for (name, value) in &headers {
            uri = uri.with_header(name, value);
        }
        uri
    }
}

fn uri() -> impl Strategy<Value = Uri> {
    prop_oneof![
        4 => sip_uri().prop_map(Uri::Sip),
        1 => "tel:\\+?[0-9.()-]{0,8}[0-9](;[a-z]{1,5}=[0-9+]{1,4}){0,2}".prop_map(|text| Uri::parse(&text).unwrap()),
        1 => "(urn|im|http):[a-z0-9:/.?=]{1,20}".prop_map(|text| Uri::parse(&text).unwrap()),
    ]
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

prop_compose! {
    fn name_addr()(
        display in "[^\\r\\n\\x00]{0,16}",
        uri in uri(),
        tag in prop::option::of(token()),
        extra in prop::option::of(("[a-z]{3,6}x", "\\PC{0,8}")),
    ) -> NameAddr {
        let mut address = NameAddr::new(uri).with_display(&display);
        if let Some(tag) = tag {
            address = address.with_tag(&tag);
        }
        if let Some((name, value)) = extra {
            address.params.set(&name, Some(&value));
        }
        address
    }
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        prop::sample::select(rsip::Method::all()).prop_map(Method::Known),
        token().prop_filter_map("a version is no method", |text| {
            (!text.starts_with("SIP/")).then(|| Method::parse(&text).unwrap())
        }),
    ]
}

prop_compose! {
    fn request()(
        method in method(),
        uri in uri(),
        from in name_addr(),
        to in name_addr(),
        number in any::<u32>(),
        call_id in "[!-~]{1,24}",
        sent_by in (any::<[u8; 16]>(), any::<u16>()),
        others in prop::collection::vec((token(), prop::collection::vec(any::<u8>(), 0..24)), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) -> Request {
        let via = Via::new(rsip::Transport::Udp, (IpAddr::from(sent_by.0), sent_by.1).into(), "z9hG4bKx");
        let mut request = Request::new(method.clone(), uri.for_request_line())
            .header(name::VIA, via.to_wire())
            .header(name::FROM, from.to_wire())
            .header(name::TO, to.to_wire())
            .header(name::CALL_ID, call_id)
            .header(name::CSEQ, CSeq::new(number, method).to_string());
        const TAKEN: [&str; 7] =
            [name::VIA, name::FROM, name::TO, name::CALL_ID, name::CSEQ, name::CONTENT_LENGTH, name::MAX_FORWARDS];
        for (name, value) in others {
            // One letter may be the compact form of a header that is there already.
            if name.len() > 1 && !TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(&name)) {
                request = request.header(&name, value);
            }
        }
        request.body = body;
        request
    }
}

fn local() -> impl Strategy<Value = Local> {
    let direction = prop::sample::select(vec![
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ]);
    let codecs = prop::sample::select(vec![
        vec![Codec::Pcma],
        vec![Codec::Pcmu],
        vec![Codec::Pcma, Codec::Pcmu],
        vec![Codec::Pcmu, Codec::Pcma],
    ]);
    (
        any::<u64>(),
        1..65_534_u16,
        codecs,
        any::<(bool, bool)>(),
        direction,
        1..6_u16,
    )
        .prop_map(
            |(session_id, port, codecs, (telephone_event, rtcp_mux), direction, packets)| Local {
                codecs,
                telephone_event,
                rtcp_mux,
                direction,
                ptime_ms: packets * 10,
                ..Local::new(session_id, [192, 0, 2, 1].into(), port)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_uri(uri in uri()) {
        let again = Uri::parse(&uri.to_wire());
        prop_assert_eq!(again.as_ref(), Ok(&uri));
        prop_assert!(uri.is_equivalent(&again.unwrap()));
    }

    #[test]
    fn a_user_part_of_any_characters(user in "[^\\x00]{1,20}") {
        let uri = Uri::from(SipUri::new(Host::parse("a.example").unwrap(), None).with_user(&user));
        let again = Uri::parse(&uri.to_wire()).unwrap();
        prop_assert_eq!(again.user().unwrap(), user);
    }

    #[test]
    fn an_address(address in name_addr()) {
        prop_assert_eq!(NameAddr::parse(&address.to_wire()), Ok(address));
    }

    #[test]
    fn a_quoted_parameter(value in "[^\\r\\n\\x00]{0,20}") {
        let mut params = Params::new();
        params.set("text", Some(&value));
        prop_assert_eq!(params.text("text").unwrap(), value);
    }

    #[test]
    fn a_request_and_the_answer_to_it(request in request(), code in 100..700_u16) {
        let limits = Limits::default();
        let read = datagram(&request.to_bytes(), &limits);
        prop_assert_eq!(read, Received::Message(Message::Request(request.clone())));
        let response = Response::to_request(&request, StatusCode::new(code).unwrap(), Some("mine"));
        let read = datagram(&response.to_bytes(), &limits);
        prop_assert_eq!(read, Received::Message(Message::Response(response.clone())));
        let to = request.headers.to().unwrap();
        let expected = to.tag().or((code != 100).then_some("mine")).map(str::to_owned);
        prop_assert_eq!(response.headers.to().unwrap().tag().map(str::to_owned), expected);
    }

    #[test]
    fn an_offer_and_its_answer(near in local(), far in local()) {
        let ours = offer(&near, None);
        prop_assert_eq!(Session::parse(ours.to_wire().as_bytes()), Ok(ours.clone()));
        let common = near.codecs.iter().any(|codec| far.codecs.contains(codec));
        match answer(&ours, &far, None) {
            Err(_) => prop_assert!(!common),
            Ok((theirs, there)) => {
                let here = accept(&ours, &theirs, &near).unwrap();
                prop_assert_eq!(here.codec, there.codec);
                prop_assert_eq!(here.payload_type, there.receive_payload_type);
                prop_assert_eq!(here.telephone_event, there.receive_telephone_event);
                prop_assert_eq!(here.direction, there.direction.reversed());
                prop_assert_eq!(here.rtcp_mux, there.rtcp_mux);
                prop_assert_eq!((here.rtp.port(), there.rtp.port()), (far.rtp_port, near.rtp_port));
            }
        }
    }
}
