//! Agreements, which widen the hours, and special days, which narrow them.

use super::*;

fn week(hours: &str) -> Week {
    let spans: Vec<Span> = hours.split(' ').map(|span| span.parse().unwrap()).collect();
    Week {
        mon: spans.clone(),
        tue: spans.clone(),
        wed: spans.clone(),
        thu: spans.clone(),
        fri: spans.clone(),
        sat: spans.clone(),
        sun: spans,
    }
}

/// Somebody agreed to be called until half past ten in the evening this week.
fn evening() -> AgreementFacts {
    AgreementFacts {
        id: AgreementId::new(3),
        hours: week("20:30-22:30"),
        from_ms: shanghai(0, 0, 0, 0),
        until_ms: shanghai(5 * 24, 0, 0, 0),
        uses_left: None,
        approved: true,
    }
}

fn agreed_at(wall_ms: i64, change: impl FnOnce(&mut Facts)) -> Decision {
    let mut facts = facts_at(wall_ms);
    facts.agreements = vec![evening()];
    change(&mut facts);
    decide(&facts, &now(wall_ms))
}

#[test]
fn an_agreement_opens_its_hours_and_is_named_only_where_it_was_needed() {
    let late = agreed_at(shanghai(21, 30, 0, 0), |_| {});
    assert_eq!(late.agreement(), Some(AgreementId::new(3)));
    assert!(late.is_allowed());
    let usual = agreed_at(shanghai(20, 45, 0, 0), |_| {});
    assert!(usual.is_allowed());
    assert_eq!(usual.agreement(), None, "it was calling time anyway");
    // Where the usual hours are closing, the agreed ones go on.
    let closing = agreed_at(shanghai(20, 59, 50, 0), |_| {});
    let Verdict::Allow {
        ring_ms,
        closes_at_ms,
        agreement,
        ..
    } = closing.verdict
    else {
        panic!("{:?}", closing.verdict);
    };
    assert_eq!(agreement, Some(AgreementId::new(3)));
    assert_eq!((ring_ms, closes_at_ms), (60_000, shanghai(22, 30, 0, 0)));
    // Before and after them it is a refusal that names no agreement.
    for wall_ms in [shanghai(7, 0, 0, 0), shanghai(22, 30, 0, 0)] {
        let outside = agreed_at(wall_ms, |_| {});
        assert_eq!(codes(&outside), ["outside_window"]);
        assert_eq!(outside.agreement(), None);
    }
}

#[test]
fn the_guard_at_the_end_holds_for_agreed_hours_too() {
    let at = |second| agreed_at(shanghai(22, 29, second, 0), |_| {});
    let Verdict::Allow {
        ring_ms,
        ring_until_ms,
        ..
    } = at(40).verdict
    else {
        panic!("15 s are left");
    };
    assert_eq!((ring_ms, ring_until_ms), (15_000, shanghai(22, 29, 55, 0)));
    // What refuses is what the usual hours said.
    assert_eq!(codes(&at(41)), ["outside_window"]);
    // And so does the end of the agreement itself.
    let ends = |second| {
        agreed_at(shanghai(21, 29, second, 0), |facts| {
            facts.agreements[0].until_ms = shanghai(21, 30, 0, 0);
        })
    };
    assert!(ends(40).is_allowed());
    assert_eq!(codes(&ends(41)), ["outside_window"]);
}

#[test]
fn an_agreement_opens_nothing_but_hours() {
    let late = shanghai(21, 30, 0, 0);
    let refused = |change: fn(&mut Facts)| codes(&agreed_at(late, change));
    assert_eq!(
        refused(|facts| facts.bars.push(BarFacts {
            id: BarId::new(1),
            kind: BarKind::DoNotCall,
            scope: BarScope::Number,
            since_ms: 0,
        })),
        ["do_not_call"]
    );
    assert_eq!(
        refused(|facts| facts.bars.push(BarFacts {
            id: BarId::new(1),
            kind: BarKind::Deceased,
            scope: BarScope::Person,
            since_ms: 0,
        })),
        ["deceased"]
    );
    assert_eq!(
        refused(|facts| facts.case.state = CaseState::Settled),
        ["case_not_open"]
    );
    assert_eq!(
        refused(|facts| facts.counts.iter_mut().for_each(|count| count.settled = 9)),
        ["cap_reached", "cap_reached"]
    );
    assert_eq!(
        refused(|facts| facts.contact_point.relation = Relation::Friend),
        ["third_party_locked"]
    );
    let unknown = refused(|facts| {
        facts.zones = Zones {
            names: Vec::new(),
            source: ZoneSource::Nowhere,
        };
    });
    assert_eq!(unknown[0], "zone_unknown");
    let mut facts = facts_at(late);
    facts.agreements = vec![evening()];
    let untrusted = Now {
        trust: ClockTrust::Untrusted {
            why: Distrust::Unsynchronised,
        },
        ..now(late)
    };
    assert_eq!(codes(&decide(&facts, &untrusted)), ["clock_untrusted"]);
}

#[test]
fn an_agreement_counts_only_while_it_holds_and_as_the_rules_want_it() {
    let late = shanghai(21, 30, 0, 0);
    let allowed = |change: fn(&mut Facts)| agreed_at(late, change).is_allowed();
    assert!(allowed(|facts| facts.agreements[0].uses_left = Some(1)));
    assert!(!allowed(|facts| facts.agreements[0].uses_left = Some(0)));
    assert!(!allowed(
        |facts| facts.agreements[0].from_ms = shanghai(21, 30, 0, 1)
    ));
    assert!(!allowed(
        |facts| facts.agreements[0].until_ms = shanghai(21, 30, 0, 0)
    ));
    assert!(allowed(|facts| facts.agreements[0].approved = false));
    let two = |facts: &mut Facts| {
        let mut rules = Preset::CnPlan.rules();
        rules.agreements.as_mut().unwrap().two_persons = true;
        facts.rules = Arc::new(rules);
    };
    assert!(agreed_at(late, two).is_allowed());
    assert!(
        !agreed_at(late, |facts| {
            two(facts);
            facts.agreements[0].approved = false;
        })
        .is_allowed()
    );
    let none = |change: fn(&mut RuleSet)| {
        agreed_at(late, |facts| {
            let mut rules = Preset::CnPlan.rules();
            change(&mut rules);
            facts.rules = Arc::new(rules);
        })
        .is_allowed()
    };
    assert!(!none(
        |rules| rules.agreements.as_mut().unwrap().accepted = false
    ));
    assert!(!none(|rules| rules.agreements = None));
    // Of several, the first that opens the hour.
    let second = agreed_at(late, |facts| {
        facts.agreements[0].uses_left = Some(0);
        facts.agreements.push(AgreementFacts {
            id: AgreementId::new(4),
            ..evening()
        });
    });
    assert_eq!(second.agreement(), Some(AgreementId::new(4)));
}

fn special(region: &str, day: i8, hours: &[&str]) -> SpecialDay {
    SpecialDay {
        region: region.into(),
        date: jiff::civil::date(2026, 11, day),
        name: format!("day of {region}"),
        hours: hours.iter().map(|span| span.parse().unwrap()).collect(),
    }
}

#[test]
fn a_special_day_narrows_the_hours_and_of_several_the_common_hours_hold() {
    let at = |hour, days: &[SpecialDay]| {
        let wall_ms = shanghai(hour, 30, 0, 0);
        let mut facts = facts_at(wall_ms);
        facts.special_days = days.to_vec();
        decide(&facts, &now(wall_ms))
    };
    let short = special("CN", 23, &["06:00-12:00", "14:00-23:00"]);
    let local = special("CN-31", 23, &["10:00-16:00"]);
    assert!(at(8, std::slice::from_ref(&short)).is_allowed());
    assert!(
        !at(6, std::slice::from_ref(&short)).is_allowed(),
        "the rules' own hours hold too"
    );
    assert!(!at(22, std::slice::from_ref(&short)).is_allowed());
    let both = [short, local];
    for (hour, allowed) in [(8, false), (10, true), (12, false), (14, true), (16, false)] {
        let decision = at(hour, &both);
        assert_eq!(decision.is_allowed(), allowed, "{hour}");
        if let Some(refusal) = decision.reasons().first() {
            let Reason::OutsideWindow { day, .. } = &refusal.reason else {
                panic!("{refusal:?}");
            };
            assert_eq!(day.as_deref(), Some("day of CN, day of CN-31"));
        }
    }
    let shut = special("CN", 23, &[]);
    assert!(!at(12, std::slice::from_ref(&shut)).is_allowed());
    assert!(
        at(24 + 12, &[shut]).is_allowed(),
        "the next day is ordinary"
    );
}

#[test]
fn hours_agreed_for_the_week_do_not_open_a_special_day() {
    let decision = agreed_at(shanghai(21, 30, 0, 0), |facts| {
        facts.special_days = vec![special("CN", 23, &["08:00-21:00"])];
    });
    assert_eq!(codes(&decision), ["outside_window"]);
}

#[test]
fn special_days_that_mattered_stand_in_the_receipt_and_no_others() {
    let decision = decide_with(|facts, _| {
        facts.special_days = vec![special("CN", 23, &["08:00-21:00"]), special("CN", 30, &[])];
    });
    assert!(decision.receipt.text().contains("2026-11-23"));
    assert!(!decision.receipt.text().contains("2026-11-30"));
    assert_eq!(replay(decision.receipt.text()).unwrap(), decision);
}

#[test]
fn the_special_days_of_every_region_a_number_may_ring_in_matter() {
    assert_eq!(regions_of(&number("+8613800138012")), ["CN"]);
    assert_eq!(regions_of(&number("+12125552368")), ["US"]);
    let (first, last) = dates_around(shanghai(10, 0, 0, 0));
    assert_eq!(first, jiff::civil::date(2026, 11, 21));
    assert_eq!(last, jiff::civil::date(2026, 11, 25));
}

#[test]
fn a_number_of_north_america_is_placed_by_its_region_and_one_of_no_region_by_its_calling_code() {
    let zones = Zones::of(&number("+14165550123"));
    assert!(
        zones.names.iter().any(|zone| zone == "America/Toronto"),
        "{zones:?}"
    );
    assert!(!zones.names.iter().any(|zone| zone == "Pacific/Honolulu"));
    // A free-phone number of the whole plan belongs to no region: every zone of every region that shares the code.
    let free = number("+18002345678");
    let zones = Zones::of(&free);
    assert!(
        zones.names.iter().any(|zone| zone == "Pacific/Honolulu"),
        "{zones:?}"
    );
    // An international free-phone number rings nowhere in particular, and is not taken for a number at all.
    let nowhere = PhoneNumber::parse("+80012345678", Region::CN, &ShortCodes::default());
    assert!(nowhere.is_err());
}
