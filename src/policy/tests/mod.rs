//! What the gate allows and refuses, by name. Beside this: `clocks.rs` for caps, pauses, gaps and bars, `hours.rs` for
//! agreements and special days, `stricter.rs` for clients' files, `proof.rs` for receipts and permits, `merge.rs` for
//! rules merged, `random.rs` for what holds for any rules and facts, `sweep.rs` for all zones and times, `year.rs` for
//! a year of dials judged by a checker of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod checker;
mod clocks;
pub(crate) mod dice;
mod hours;
mod merge;
mod proof;
mod random;
mod stricter;
mod sweep;
mod year;

use std::sync::Arc;

use super::*;
use crate::clock::{ClockOrigin, ClockTrust, Distrust};
use crate::ids::{AgreementId, BarId, CaseId, ClientId, ContactPointId, DebtorId, PersonId};
use crate::phone::{PhoneNumber, Region, ShortCodes};

const HOUR: i64 = 3_600_000;

/// Milliseconds UTC of a wall-clock time in Shanghai on a Monday in November 2026.
fn shanghai(hour: i64, minute: i64, second: i64, ms: i64) -> i64 {
    let midnight = 1_795_363_200_000; // 2026-11-23T00:00:00+08:00
    midnight + hour * HOUR + minute * 60_000 + second * 1_000 + ms
}

fn number(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text, Region::CN, &ShortCodes::default()).unwrap()
}

fn now(wall_ms: i64) -> Now {
    Now {
        wall_ms,
        trust: ClockTrust::Trusted { error_ms: 0 },
        origin: ClockOrigin::Test,
    }
}

/// An own number of the debtor of an open case that was never called.
fn facts_at(wall_ms: i64) -> Facts {
    let number = number("+8613800138012");
    let zones = Zones::of(&number);
    let rules = Arc::new(Preset::CnPlan.rules());
    Facts {
        case: CaseFacts {
            id: CaseId::new(7),
            debtor: DebtorId::new(8),
            person: Some(PersonId::new(80)),
            client: ClientId::new(9),
            state: CaseState::Open,
            hidden: false,
        },
        contact_point: ContactPointFacts {
            id: ContactPointId::new(70),
            case: CaseId::new(7),
            relation: Relation::Debtor,
            state: NumberState::Usable,
            refused: false,
        },
        counts: uncalled(&rules, &zones, wall_ms),
        lasts: never(&rules),
        own_numbers: OwnNumbers {
            total: 1,
            invalid: 0,
            failures_in_a_row: 0,
        },
        bars: Vec::new(),
        agreements: Vec::new(),
        special_days: Vec::new(),
        number,
        zones,
        rules,
    }
}

fn uncalled(rules: &RuleSet, zones: &Zones, wall_ms: i64) -> Vec<Count> {
    let needed = rules.counts_needed(wall_ms, zones);
    needed.into_iter().map(Count::none).collect()
}

fn never(rules: &RuleSet) -> Vec<Last> {
    let never = |need: LastNeeded| Last {
        after: need.after,
        scope: need.scope,
        person: None,
        ended_ms: None,
        outside_ms: None,
        under_way: 0,
    };
    rules.lasts_needed().into_iter().map(never).collect()
}

fn codes(decision: &Decision) -> Vec<&'static str> {
    decision
        .reasons()
        .iter()
        .map(|refusal| refusal.reason.code())
        .collect()
}

fn decide_at(wall_ms: i64) -> Decision {
    decide(&facts_at(wall_ms), &now(wall_ms))
}

/// Decides, with something changed, at ten in the morning in Shanghai.
fn decide_with(change: impl FnOnce(&mut Facts, &mut Now)) -> Decision {
    let wall_ms = shanghai(10, 0, 0, 0);
    let (mut facts, mut now) = (facts_at(wall_ms), now(wall_ms));
    change(&mut facts, &mut now);
    decide(&facts, &now)
}

#[test]
fn every_shipped_preset_parses_under_its_own_name() {
    for preset in Preset::ALL {
        assert_eq!(RuleSet::parse(preset.text()).unwrap().name, preset.name());
        assert_eq!(Preset::parse(preset.name()), Some(*preset));
    }
}

#[test]
fn a_changed_preset_must_raise_its_revision() {
    for (preset, known) in Preset::ALL.iter().zip(REVISIONS) {
        let rules = preset.rules();
        let text = (preset.name(), rules.revision.as_str(), &rules.hash()[..16]);
        assert_eq!(
            text, *known,
            "raise `revision` in the preset and put both here"
        );
    }
}

#[test]
fn the_presets_ask_for_what_the_service_plan_demands() {
    let caps = |preset: Preset| {
        let caps = preset.rules().caps;
        let text = |cap: &Cap| {
            let (measure, scope) = (cap.measure.as_str(), cap.scope.as_str());
            format!("{} {measure} {scope} {}", cap.limit, cap.period)
        };
        caps.iter().map(text).collect::<Vec<_>>()
    };
    let plan = ["6 unanswered contact_point day", "3 connected debtor day"];
    assert_eq!(caps(Preset::CnPlan), plan);
    assert_eq!(caps(Preset::CnConsumerFinance), plan);
    assert_eq!(caps(Preset::CnGbt), ["3 effective debtor day"]);
    assert_eq!(caps(Preset::UsRegf)[0], "7 seized case 7d");
    let pause = &Preset::UsRegf.rules().pauses[0];
    assert_eq!((pause.scope, pause.days), (Scope::Case, 7));
    let years = Preset::ALL
        .iter()
        .map(|preset| preset.rules().retention_years());
    assert_eq!(years.collect::<Vec<_>>(), [2, 2, 5, 3]);
    for preset in Preset::ALL {
        let rules = preset.rules();
        for day in 23..30 {
            let hours = rules.window.hours_on(jiff::civil::date(2026, 11, day));
            assert_eq!(hours, ["08:00-21:00".parse().unwrap()], "{}", rules.name);
        }
        assert!(rules.third_party.lock && rules.third_party.failures_in_a_row == 3);
        assert_eq!(
            RuleSet::from_canonical(&rules.canonical_text()).unwrap(),
            rules
        );
    }
}
const REVISIONS: &[(&str, &str, &str)] = &[
    ("cn-plan", "2", "0c544dded57fe181"),
    ("cn-gbt", "1", "1158149bce8638a5"),
    ("cn-consumer-finance", "1", "5b853fcf278b10f7"),
    ("us-regf", "1", "ae99ea69d6351976"),
];

#[test]
fn unknown_keys_and_contradictions_are_refused_with_their_place() {
    let text = Preset::CnPlan.text();
    let unknown = RuleSet::parse(&text.replace("guard_ms", "gaurd_ms")).unwrap_err();
    assert!(
        unknown.to_string().contains("gaurd_ms") && unknown.to_string().contains("line"),
        "{unknown}"
    );
    let zero = text.replace("shortest_ms = 15000", "shortest_ms = 0");
    assert!(matches!(
        RuleSet::parse(&zero),
        Err(RuleError::Sense { key: "ring", .. })
    ));
    let hours = RuleSet::parse(&text.replacen("08:00-21:00", "21:00-08:00", 2)).unwrap_err();
    assert!(matches!(hours, RuleError::Form(_)), "{hours}");
    let twice = format!(
        "{text}\n[[caps]]\nclause=\"x\"\nmeasure=\"connected\"\nscope=\"debtor\"\nperiod=\"day\"\nlimit=1\n"
    );
    assert!(matches!(
        RuleSet::parse(&twice),
        Err(RuleError::Sense { key: "caps", .. })
    ));
}

#[test]
fn the_window_opens_at_eight_and_closes_at_nine_in_the_evening_to_the_millisecond() {
    assert_eq!(
        codes(&decide_at(shanghai(7, 59, 59, 999))),
        ["outside_window"]
    );
    assert!(decide_at(shanghai(8, 0, 0, 0)).is_allowed());
    assert_eq!(codes(&decide_at(shanghai(21, 0, 0, 0))), ["outside_window"]);
    assert_eq!(
        codes(&decide_at(shanghai(20, 59, 59, 999))),
        ["window_closing"]
    );
    assert_eq!(codes(&decide_at(shanghai(0, 0, 0, 0))), ["outside_window"]);
}

#[test]
fn nothing_rings_in_the_last_five_seconds_and_less_than_fifteen_are_refused() {
    let Verdict::Allow {
        valid_until_ms,
        ring_ms,
        ring_until_ms,
        closes_at_ms,
        agreement: None,
    } = decide_at(shanghai(20, 59, 40, 0)).verdict
    else {
        panic!("15 s are left");
    };
    assert_eq!(closes_at_ms, shanghai(21, 0, 0, 0));
    assert_eq!(ring_until_ms, shanghai(20, 59, 55, 0));
    assert_eq!((ring_ms, valid_until_ms), (15_000, shanghai(20, 59, 40, 0)));
    assert_eq!(
        codes(&decide_at(shanghai(20, 59, 40, 1))),
        ["window_closing"]
    );
    let Verdict::Allow {
        valid_until_ms,
        ring_ms,
        ..
    } = decide_at(shanghai(10, 0, 0, 0)).verdict
    else {
        panic!("ten in the morning");
    };
    assert_eq!((ring_ms, valid_until_ms), (60_000, shanghai(10, 2, 0, 0)));
}

#[test]
fn a_clock_that_cannot_be_trusted_refuses_whatever_the_hour() {
    for why in [
        Distrust::Unsynchronised,
        Distrust::Denied,
        Distrust::Failed { errno: 38 },
        Distrust::Jumped { by_ms: -7_200_000 },
    ] {
        let decision = decide_with(|_, now| now.trust = ClockTrust::Untrusted { why });
        assert_eq!(codes(&decision), ["clock_untrusted"]);
        assert!(!decision.reasons()[0].reason.chinese().is_empty());
    }
}

#[test]
fn an_uncertain_clock_narrows_the_window_at_both_ends() {
    let at = |wall_ms: i64, error_ms: i64| {
        let now = Now {
            trust: ClockTrust::Trusted { error_ms },
            ..now(wall_ms)
        };
        decide(&facts_at(wall_ms), &now)
    };
    assert_eq!(
        codes(&at(shanghai(8, 0, 1, 999), 2_000)),
        ["clock_uncertain"]
    );
    assert!(at(shanghai(8, 0, 2, 0), 2_000).is_allowed());
    assert!(at(shanghai(20, 59, 38, 0), 2_000).is_allowed());
    assert_eq!(
        codes(&at(shanghai(20, 59, 38, 1), 2_000)),
        ["window_closing"]
    );
    assert_eq!(
        codes(&at(shanghai(20, 59, 59, 0), 2_000)),
        ["clock_uncertain"]
    );
    // An error of seven hours leaves nothing of thirteen hours of window.
    assert_eq!(
        codes(&at(shanghai(14, 30, 0, 0), 7 * HOUR)),
        ["clock_uncertain"]
    );
    assert_eq!(
        codes(&at(shanghai(14, 30, 0, 0), i64::MAX)),
        ["clock_uncertain"]
    );
}

#[test]
fn only_an_open_case_and_only_its_own_numbers_are_called() {
    for state in CaseState::ALL.iter().filter(|s| **s != CaseState::Open) {
        assert_eq!(
            codes(&decide_with(|f, _| f.case.state = *state)),
            ["case_not_open"]
        );
    }
    assert_eq!(
        codes(&decide_with(|f, _| f.case.hidden = true)),
        ["case_hidden"]
    );
    assert_eq!(
        codes(&decide_with(|f, _| f.contact_point.case = CaseId::new(6))),
        ["not_of_this_case"]
    );
    assert_eq!(
        codes(&decide_with(
            |f, _| f.contact_point.state = NumberState::Barred
        )),
        ["number_barred"]
    );
    assert!(decide_with(|f, _| f.contact_point.state = NumberState::Invalid).is_allowed());
}

fn with_count(measure: Measure, settled: u32, under_way: u32) -> Decision {
    decide_with(|facts, _| {
        for count in facts.counts.iter_mut().filter(|c| c.measure == measure) {
            (count.settled, count.under_way) = (settled, under_way);
        }
    })
}

#[test]
fn the_seventh_unanswered_and_the_fourth_connected_call_of_a_day_are_refused() {
    assert!(with_count(Measure::Unanswered, 5, 0).is_allowed());
    assert_eq!(
        codes(&with_count(Measure::Unanswered, 6, 0)),
        ["cap_reached"]
    );
    assert!(with_count(Measure::Connected, 2, 0).is_allowed());
    assert_eq!(
        codes(&with_count(Measure::Connected, 3, 0)),
        ["cap_reached"]
    );
}

#[test]
fn an_attempt_under_way_counts_as_if_it_had_already_happened() {
    assert_eq!(
        codes(&with_count(Measure::Unanswered, 5, 1)),
        ["cap_reached"]
    );
    assert_eq!(
        codes(&with_count(Measure::Connected, 0, 3)),
        ["cap_reached"]
    );
    assert_eq!(
        codes(&with_count(Measure::Connected, u32::MAX, u32::MAX)),
        ["cap_reached"]
    );
}

#[test]
fn a_counter_that_was_not_read_or_not_far_enough_back_refuses() {
    assert_eq!(
        codes(&decide_with(|f, _| f.counts.clear())),
        ["counter_missing", "counter_missing"]
    );
    let late = |f: &mut Facts, _: &mut Now| f.counts.iter_mut().for_each(|c| c.since_ms += 1);
    assert_eq!(
        codes(&decide_with(late)),
        ["counter_missing", "counter_missing"]
    );
}

#[test]
fn the_day_of_a_cap_is_the_day_where_the_person_called_is() {
    let zones = Zones::of(&number("+8613800138012"));
    let needed = Preset::CnPlan
        .rules()
        .counts_needed(shanghai(10, 0, 0, 0), &zones);
    assert_eq!(needed.len(), 2);
    assert!(
        needed
            .iter()
            .all(|need| need.since_ms == shanghai(0, 0, 0, 0))
    );
    // With several zones, the day that began first: Honolulu is behind New York.
    let us = Zones::of(&number("+12125552368"));
    let at = 1_795_460_400_000; // 2026-11-23T19:00Z: 14:00 in New York, 09:00 in Honolulu
    let since = Preset::CnPlan.rules().counts_needed(at, &us)[0].since_ms;
    assert!(since <= at - 14 * HOUR, "{since}");
}

#[test]
fn days_that_clocks_change_begin_where_their_date_begins() {
    // Brazil began summer time at midnight: 2018-11-04 began at 01:00 local, which is 03:00Z.
    let zone = ZoneTimes::around("America/Sao_Paulo", 1_541_347_200_000).unwrap();
    assert_eq!(zone.day_began_ms(1_541_347_200_000), 1_541_300_400_000);
    // Samoa left out 2011-12-30 altogether.
    let zone = ZoneTimes::around("Pacific/Apia", 1_325_282_400_000).unwrap();
    assert_eq!(zone.day_began_ms(1_325_282_400_000), 1_325_239_200_000);
}

#[test]
fn third_parties_are_locked_until_the_debtor_is_out_of_contact() {
    let third = |relation, refused, own: (u32, u32, u32)| {
        decide_with(|facts, _| {
            facts.contact_point.relation = relation;
            facts.contact_point.refused = refused;
            facts.own_numbers = OwnNumbers {
                total: own.0,
                invalid: own.1,
                failures_in_a_row: own.2,
            };
        })
    };
    for relation in [
        Relation::Relative,
        Relation::Colleague,
        Relation::Friend,
        Relation::Other,
    ] {
        assert_eq!(
            codes(&third(relation, false, (2, 1, 2))),
            ["third_party_locked"]
        );
        assert!(third(relation, false, (2, 2, 0)).is_allowed());
        assert!(third(relation, false, (2, 0, 3)).is_allowed());
        assert_eq!(
            codes(&third(relation, true, (2, 2, 9))),
            ["third_party_refused"]
        );
        // No own number on record proves nothing.
        assert_eq!(
            codes(&third(relation, false, (0, 0, 0))),
            ["third_party_locked"]
        );
    }
    for relation in [Relation::Debtor, Relation::JointDebtor, Relation::Guarantor] {
        assert!(third(relation, true, (2, 0, 0)).is_allowed());
    }
}

#[test]
fn every_reason_is_given_not_only_the_first() {
    let decision = decide_with(|facts, now| {
        facts.case.state = CaseState::Settled;
        facts.contact_point.state = NumberState::Barred;
        now.wall_ms = shanghai(22, 0, 0, 0);
    });
    assert_eq!(
        codes(&decision),
        ["outside_window", "case_not_open", "number_barred"]
    );
}

#[test]
fn every_refusal_names_its_clause_and_speaks_both_languages() {
    let mut decision = decide_with(|facts, now| {
        facts.case.state = CaseState::Settled;
        facts.contact_point.state = NumberState::Barred;
        facts.contact_point.case = CaseId::new(1);
        facts.contact_point.relation = Relation::Friend;
        facts.counts[0].settled = 99;
        facts.counts.truncate(1);
        now.wall_ms = shanghai(6, 0, 0, 0);
    });
    assert_eq!(decision.reasons().len(), 7, "{:?}", codes(&decision));
    for refusal in decision.reasons() {
        assert!(!refusal.clause.is_empty(), "{refusal:?}");
        assert!(refusal.reason.english().ends_with('.'));
        assert!(refusal.reason.chinese().ends_with('。'));
        let json = serde_json::to_value(refusal).unwrap();
        assert_eq!(json["code"], refusal.reason.code());
    }
    assert!(decision.take_permit().is_none());
}

#[test]
fn a_number_of_several_zones_needs_the_window_open_in_all_of_them() {
    let at = |utc_hour: i64| {
        let wall_ms = 1_795_392_000_000 + utc_hour * HOUR; // 2026-11-23T00:00Z
        let mut facts = facts_at(wall_ms);
        facts.number = number("+12125552368");
        facts.zones = Zones::of(&facts.number);
        facts.counts = uncalled(&facts.rules, &facts.zones, wall_ms);
        decide(&facts, &now(wall_ms))
    };
    assert!(
        Zones::of(&number("+12125552368"))
            .names
            .contains(&"Pacific/Honolulu".to_owned())
    );
    assert_eq!(codes(&at(15))[0], "outside_window"); // 10:00 in New York, 05:00 in Honolulu
    assert!(at(20).is_allowed()); // 15:00 and 10:00
}

#[test]
fn where_nobody_knows_the_zone_nobody_is_called() {
    let decision = decide_with(|facts, _| {
        facts.zones = Zones {
            names: Vec::new(),
            source: ZoneSource::Nowhere,
        };
    });
    assert!(
        codes(&decision).contains(&"zone_unknown"),
        "{:?}",
        codes(&decision)
    );
    let decision = decide_with(|facts, _| facts.zones = Zones::recorded("Asia/Nowhere"));
    assert!(codes(&decision).contains(&"zone_invalid"));
}

#[test]
fn china_has_one_clock() {
    let zones = Zones::of(&number("+8613800138012"));
    assert_eq!(
        (zones.names.as_slice(), zones.source),
        (["Asia/Shanghai".to_owned()].as_slice(), ZoneSource::Statute)
    );
    let short = ShortCodes::new(["95533"]).unwrap();
    let bank = PhoneNumber::parse("95533", Region::CN, &short).unwrap();
    assert_eq!(Zones::of(&bank), zones);
    assert_eq!(Zones::of(&number("+85221234567")).names, ["Asia/Hong_Kong"]);
}

#[test]
fn a_special_date_replaces_its_weekday_and_is_named() {
    let mut rules = Preset::CnPlan.rules();
    rules.window.dates = vec![SpecialDate {
        date: jiff::civil::date(2026, 11, 23),
        name: "春节".into(),
        hours: vec!["10:00-12:00".parse().unwrap()],
    }];
    let rules = Arc::new(rules);
    let at = |hour| {
        let wall_ms = shanghai(hour, 30, 0, 0);
        let mut facts = facts_at(wall_ms);
        facts.rules = rules.clone();
        decide(&facts, &now(wall_ms))
    };
    assert!(at(10).is_allowed() && at(11).is_allowed());
    for hour in [9, 12, 15] {
        let decision = at(hour);
        let Reason::OutsideWindow { day, hours, .. } = &decision.reasons()[0].reason else {
            panic!("{:?}", decision.verdict);
        };
        assert_eq!((day.as_deref(), hours.len()), (Some("春节"), 1));
    }
    assert!(at(24 + 15).is_allowed(), "the next day is ordinary again");
}

#[test]
fn a_window_over_midnight_goes_on_into_the_next_day() {
    let mut rules = Preset::CnPlan.rules();
    rules.window.week.mon = vec!["20:00-24:00".parse().unwrap()];
    rules.window.week.tue = vec!["00:00-02:00".parse().unwrap()];
    let zone = ZoneTimes::around("Asia/Shanghai", shanghai(23, 0, 0, 0)).unwrap();
    let calendar = super::holiday::Calendar {
        rules: &rules.window,
        special_days: &[],
        agreed: None,
    };
    let closes = calendar.closes_at(&zone, shanghai(23, 0, 0, 0)).ok();
    assert_eq!(closes, Some(shanghai(26, 0, 0, 0)));
}
