//! Receipts that decide again, and permits that come from an Allow alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::merge::{BANK, stricter};
use super::*;

#[test]
fn a_receipt_decides_again_to_the_same_byte() {
    let decisions = [
        decide_with(|_, _| {}),
        decide_with(|f, _| f.case.state = CaseState::Closed),
        decide_with(|f, _| f.zones = Zones::recorded("Asia/Nowhere")),
        decide_with(|_, n| {
            n.trust = ClockTrust::Untrusted {
                why: Distrust::Denied,
            }
        }),
        decide_with(|_, n| n.trust = ClockTrust::Trusted { error_ms: 1_234 }),
        decide_with(|f, _| f.rules = Arc::new(f.rules.merge_strictest(&stricter(BANK)))),
        decide_with(|f, n| {
            f.zones = Zones::of(&number("+12125552368"));
            n.wall_ms = i64::MAX;
        }),
    ];
    for decision in decisions {
        let mut again = replay(decision.receipt.text()).unwrap();
        assert_eq!(again, decision);
        assert_eq!(again.receipt.text(), decision.receipt.text());
        assert!(
            again.take_permit().is_none(),
            "a replay must not open the gate"
        );
        assert!(
            !decision.receipt.text().contains("13800138012"),
            "the number stands in the receipt"
        );
    }
}

#[test]
fn a_receipt_that_was_altered_is_found_out() {
    let decision = decide_with(|_, _| {});
    let text = decision.receipt.text();
    for (from, to) in [
        ("\"limit\":6", "\"limit\":7"),
        ("\"verdict\":\"allow\"", "\"verdict\":\"deny\""),
        ("\"ring_ms\":60000", "\"ring_ms\":60001"),
        ("\"settled\":0", "\"settled\":9"),
        ("\"state\":\"open\"", "\"state\":\"closed\""),
        ("28800", "32400"),
        ("\"evaluator_version\":2", "\"evaluator_version\":1"),
        ("\"evaluator_version\":2", "\"evaluator_version\":3"),
        ("\"receipt_version\":2", "\"receipt_version\":1"),
        ("\"receipt_version\":2", "\"receipt_version\":3"),
        ("\"years\":2", "\"years\":1"),
        ("{\"receipt_version\"", "{\"more\":1,\"receipt_version\""),
    ] {
        let altered = text.replace(from, to);
        assert_ne!(altered, text, "{from} is not in the receipt");
        assert!(replay(&altered).is_err(), "{from} -> {to} went unnoticed");
    }
    for text in ["", "{}", "null", "[1]"] {
        assert!(matches!(replay(text), Err(ReplayError::Form(_))));
    }
}

#[test]
fn a_receipt_with_mad_offsets_is_refused_without_a_panic() {
    let decision = decide_with(|_, _| {});
    let text = decision.receipt.text();
    let at = text.find("\"offsets\":").unwrap();
    let end = at + text[at..].find("]]").unwrap() + 2;
    for offsets in [
        "[]",
        "[[9223372036854775807,1]]",
        "[[1,2147483647]]",
        "[[5,0],[5,0]]",
        "[[-9223372036854775808,0]]",
    ] {
        let altered = format!("{}\"offsets\":{offsets}{}", &text[..at], &text[end..]);
        assert!(replay(&altered).is_err(), "{offsets}");
    }
    for wall in ["9223372036854775807", "-9223372036854775808", "0"] {
        let altered = text.replace(&shanghai(10, 0, 0, 0).to_string(), wall);
        assert!(replay(&altered).is_err(), "{wall}");
    }
}

/// Written by evaluator 1, when the rules had window, ring, third parties and caps only.
const OF_EVALUATOR_1: [(&str, &[&str]); 5] = [
    (include_str!("receipts/v1-allowed.json"), &[]),
    (
        include_str!("receipts/v1-refused.json"),
        &[
            "window_closing",
            "case_not_open",
            "not_of_this_case",
            "number_barred",
            "third_party_locked",
            "cap_reached",
            "counter_missing",
        ],
    ),
    (
        include_str!("receipts/v1-zones.json"),
        &["outside_window", "outside_window"],
    ),
    (
        include_str!("receipts/v1-merged.json"),
        &["counter_missing"],
    ),
    (include_str!("receipts/v1-clock.json"), &["clock_untrusted"]),
];

/// A receipt of evaluator 2: its text, what it must hold, what was decided, and an alteration that would decide otherwise.
type OfEvaluator2 = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    (&'static str, &'static str),
);

/// Written by evaluator 2 under a bank's rules with dates, caps on third parties, pauses, gaps and two persons' agreements.
const OF_EVALUATOR_2: [OfEvaluator2; 5] = [
    (
        include_str!("receipts/v2-agreed.json"),
        &["\"agreement\":3", "\"special_days\":[{", "\"lasts\":[{"],
        &[],
        ("\"approved\":true", "\"approved\":false"),
    ),
    (
        include_str!("receipts/v2-barred.json"),
        &["\"bars\":[{", "\"refused\":true", "\"hidden\":true"],
        &[
            "case_hidden",
            "do_not_call",
            "complaint_hold",
            "deceased",
            "suspected_fraud",
            "third_party_refused",
        ],
        ("\"refused\":true", "\"refused\":false"),
    ),
    (
        include_str!("receipts/v2-holiday.json"),
        &["\"agreements\":[{", "\"special_days\":[{"],
        &["outside_window"],
        ("\"name\":\"holiday\"", "\"name\":\"no holiday\""),
    ),
    (
        include_str!("receipts/v2-waiting.json"),
        &["\"approved\":false", "\"two_persons\":true"],
        &["outside_window"],
        ("\"approved\":false", "\"approved\":true"),
    ),
    (
        include_str!("receipts/v2-often.json"),
        &["\"outside\":", "\"outside_ms\":", "\"person\":80"],
        &[
            "cap_reached",
            "counter_missing",
            "pause_after_conversation",
            "too_soon",
        ],
        ("\"minutes\":30", "\"minutes\":10"),
    ),
];

#[test]
fn receipts_of_evaluator_1_still_decide_again_to_the_same_byte() {
    for (text, codes_then) in OF_EVALUATOR_1 {
        let again = proven(text.trim_end());
        let codes = codes(&again);
        assert!(codes.starts_with(codes_then), "{codes:?}");
        assert_eq!(again.is_allowed(), codes_then.is_empty());
        let altered = text.replace("\"error_ms\":0", "\"error_ms\":99999999");
        assert!(altered == text || replay(&altered).is_err());
    }
}

#[test]
fn receipts_of_evaluator_2_still_decide_again_to_the_same_byte() {
    for (text, held, codes_then, (from, to)) in OF_EVALUATOR_2 {
        for part in held {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.contains("\"evaluator_version\":2"));
        let again = proven(text.trim_end());
        assert_eq!(codes(&again), codes_then);
        assert_eq!(again.is_allowed(), codes_then.is_empty());
        let altered = text.trim_end().replace(from, to);
        assert_ne!(altered, text.trim_end(), "{from}");
        assert!(replay(&altered).is_err(), "{from} -> {to} went unnoticed");
    }
}

/// Decides a receipt again: to the same byte, and it can be explained and judged by rules of today.
fn proven(text: &str) -> Decision {
    let again = replay(text).unwrap();
    assert_eq!(again.receipt.text(), text);
    let lines = explain(text).unwrap();
    assert_eq!(
        again.is_allowed(),
        !lines.iter().any(|l| l.outcome == Outcome::Refused)
    );
    replay_against(text, &Preset::CnPlan.rules()).unwrap();
    again
}

#[test]
fn a_permit_comes_from_an_allow_alone_and_once() {
    let mut decision = decide_with(|_, _| {});
    let permit = decision.take_permit().unwrap();
    assert!(decision.take_permit().is_none());
    assert_eq!(
        permit.granted_for(),
        Some((CaseId::new(7), ContactPointId::new(70)))
    );
    let at = Instant::now();
    let destination = permit.redeem(shanghai(10, 1, 0, 0), at).unwrap();
    assert_eq!(destination.dial_string(), "+8613800138012");
    assert_eq!(destination.ring_ms(), Some(60_000));
    assert!(!format!("{destination:?} {decision:?}").contains("138001380"));
}

#[test]
fn a_permit_that_ran_out_gives_no_destination() {
    let permit = || decide_with(|_, _| {}).take_permit().unwrap();
    let until = permit().valid_until_ms().unwrap();
    let at = Instant::now();
    assert!(permit().redeem(until - 1, at).is_ok());
    assert_eq!(
        permit().redeem(until, at).unwrap_err(),
        PermitExpired { late_ms: 0 }
    );
    assert!(permit().redeem(i64::MAX, at).is_err());
    // Near the end of the window what is left to ring is cut at the moment of use.
    let wall_ms = shanghai(20, 59, 0, 0);
    let permit = decide(&facts_at(wall_ms), &now(wall_ms))
        .take_permit()
        .unwrap();
    let destination = permit.redeem(shanghai(20, 59, 30, 0), at).unwrap();
    assert_eq!(destination.ring_ms(), Some(25_000));
    // And so is the time in which INVITEs may leave, which whoever holds it can only make shorter.
    let bounds = destination.bounds().unwrap();
    assert_eq!(bounds.invite_until, at + Duration::from_secs(10));
    assert_eq!(bounds.ring_until, at + Duration::from_secs(25));
    let known = Bounds {
        invite_until: at + Duration::from_secs(3),
        ring_until: at + Duration::from_secs(99),
    };
    let narrowed = destination.within(known).bounds().unwrap();
    assert_eq!(narrowed.invite_until, known.invite_until);
    assert_eq!(narrowed.ring_until, bounds.ring_until);
}

#[test]
fn inside_the_house_only_listed_extensions_ring_and_none_looks_like_a_number() {
    let extension = |text: &str| Extension::parse(text).unwrap();
    let short = ShortCodes::new(["95533"]).unwrap();
    let listed = Extensions::new([extension("1001"), extension("agent-7")], &short).unwrap();
    let permit = listed.permit(&extension("1001")).unwrap();
    assert!(!permit.is_customer());
    let destination = permit.redeem(0, Instant::now()).unwrap();
    assert_eq!(destination.dial_string(), "1001");
    assert_eq!(destination.bounds(), None);
    assert!(listed.permit(&extension("1002")).is_none());
    for text in [
        "13800138000",
        "1234567",
        "+861380",
        "",
        "a b",
        "x@y",
        "-1",
        "123-4567",
        "..",
        &"a".repeat(33),
    ] {
        assert!(Extension::parse(text).is_err(), "{text}");
    }
    let clash = Extensions::new([extension("95533")], &short);
    assert_eq!(clash.unwrap_err(), ExtensionError::IsShortCode);
}
