//! When two URIs are the same one (RFC 3261 19.1.4), with the examples of that section.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ringfence_sip::uri::Uri;

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
    assert_eq!(a.is_equivalent(&b), b.is_equivalent(&a), "symmetric");
    a.is_equivalent(&b)
}

#[test]
fn the_equal_examples_of_the_rfc_are_equal() {
    for (a, b) in [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:carol@chicago.com;newparam=5",
            "sip:carol@chicago.com;security=on",
        ),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"),
        ("tel:+1-201-555-0123", "TEL:+12015550123"),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
}

#[test]
fn the_unequal_examples_of_the_rfc_are_unequal() {
    for (a, b) in [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:a@b", "sips:a@b"),
        ("sip:a@b", "sip:b"),
        ("sip:a:x@b", "sip:a@b"),
        ("sip:+12015550123@b", "tel:+12015550123"),
        ("tel:0123;phone-context=+86", "tel:0123"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}

#[test]
fn a_number_does_not_show_in_debug() {
    for uri in [
        "sip:13800138000@pbx.example;phone-context=13800138000",
        "tel:+8613800138000",
        "urn:13800138000",
    ] {
        assert!(
            !format!("{:?}", Uri::parse(uri).unwrap()).contains("1380013"),
            "{uri}"
        );
    }
}

#[test]
fn more_parameters_than_anybody_needs_are_refused() {
    assert!(Uri::parse(&format!("sip:a@b{}", ";x=1".repeat(64))).is_ok());
    assert!(Uri::parse(&format!("sip:a@b{}", ";x=1".repeat(65))).is_err());
}
