//! Caps, pauses, gaps and bars, each alone.

use super::*;

const DAY: i64 = 24 * HOUR;

/// Ten in the morning, by these rules, with something changed.
fn by_rules(text: &str, change: impl FnOnce(&mut Facts, &mut Now)) -> Decision {
    let rules = Arc::new(RuleSet::stricter(text).unwrap_or_else(|e| panic!("{e}")));
    decide_with(|facts, now| {
        facts.counts = uncalled(&rules, &facts.zones, now.wall_ms);
        facts.lasts = never(&rules);
        facts.rules = rules;
        change(facts, now);
    })
}

fn file(more: &str) -> String {
    format!("base = \"cn-plan\"\nname = \"bank\"\nrevision = \"1\"\n{more}")
}

fn preset(name: &str) -> String {
    format!("base = \"{name}\"\nname = \"bank\"\nrevision = \"1\"\n")
}

fn counted(facts: &mut Facts, measure: Measure, scope: Scope) -> &mut Count {
    let same = |count: &&mut Count| (count.measure, count.scope) == (measure, scope);
    facts.counts.iter_mut().find(same).unwrap()
}

#[test]
fn seven_calls_about_one_debt_in_seven_days_and_no_eighth() {
    let with = |settled, under_way| {
        by_rules(&preset("us-regf"), |facts, now| {
            let count = counted(facts, Measure::Seized, Scope::Case);
            assert_eq!(count.since_ms, now.wall_ms - 7 * DAY);
            (count.settled, count.under_way) = (settled, under_way);
        })
    };
    assert!(with(6, 0).is_allowed());
    assert_eq!(codes(&with(7, 0)), ["cap_reached"]);
    assert_eq!(codes(&with(6, 1)), ["cap_reached"]);
}

#[test]
fn three_effective_calls_a_day_and_an_answer_is_effective_however_short() {
    let with = |settled| {
        by_rules(&preset("cn-gbt"), |facts, _| {
            let count = counted(facts, Measure::Effective, Scope::Debtor);
            assert_eq!(count.at_least_ms, 0);
            count.settled = settled;
        })
    };
    assert!(with(2).is_allowed());
    assert_eq!(codes(&with(3)), ["cap_reached"]);
    // A counter of longer calls is another counter.
    let other = by_rules(&preset("cn-gbt"), |facts, _| {
        counted(facts, Measure::Effective, Scope::Debtor).at_least_ms = 1;
    });
    assert_eq!(codes(&other), ["counter_missing"]);
}

#[test]
fn calls_of_other_agencies_count_beside_ours_and_are_told_apart() {
    let decision = decide_with(|facts, _| {
        let count = counted(facts, Measure::Connected, Scope::Debtor);
        (count.settled, count.under_way, count.outside) = (1, 1, 1);
    });
    let Reason::CapReached {
        settled,
        under_way,
        outside,
        ..
    } = decision.reasons()[0].reason
    else {
        panic!("{:?}", decision.verdict);
    };
    assert_eq!((settled, under_way, outside), (1, 1, 1));
    assert!(
        decision.reasons()[0]
            .reason
            .english()
            .contains("1 by other agencies")
    );
    let fewer = decide_with(|facts, _| {
        counted(facts, Measure::Connected, Scope::Debtor).outside = 2;
    });
    assert!(fewer.is_allowed());
}

#[test]
fn a_shared_number_is_refused_when_anybody_it_counts_for_has_had_enough() {
    let with = |first: u32, second: u32| {
        decide_with(|facts, _| {
            let count = counted(facts, Measure::Connected, Scope::Debtor);
            (count.person, count.settled) = (Some(PersonId::new(80)), first);
            let other = Count {
                person: Some(PersonId::new(81)),
                settled: second,
                ..*count
            };
            facts.counts.push(other);
        })
    };
    assert!(with(2, 2).is_allowed(), "two of each are not four of one");
    assert_eq!(codes(&with(3, 0)), ["cap_reached"]);
    assert_eq!(codes(&with(0, 3)), ["cap_reached"]);
    // One of them counted, but not far enough back.
    let late = decide_with(|facts, _| {
        let count = counted(facts, Measure::Connected, Scope::Debtor);
        count.person = Some(PersonId::new(80));
        let other = Count {
            person: Some(PersonId::new(81)),
            since_ms: count.since_ms + 1,
            ..*count
        };
        facts.counts.push(other);
    });
    assert_eq!(codes(&late), ["counter_missing"]);
}

const THIRD: &str = r#"
[[caps]]
clause = "contract 6"
measure = "connected"
scope = "third_parties_of_case"
period = "7d"
limit = 2
[[gaps]]
clause = "contract 7"
scope = "third_party"
minutes = 600
"#;

#[test]
fn third_parties_have_a_cap_of_their_own_which_the_debtor_is_not_asked_for() {
    let with = |relation, settled| {
        by_rules(&file(THIRD), |facts, _| {
            facts.contact_point.relation = relation;
            facts.own_numbers.invalid = 1;
            counted(facts, Measure::Connected, Scope::ThirdPartiesOfCase).settled = settled;
        })
    };
    assert!(with(Relation::Relative, 1).is_allowed());
    assert_eq!(codes(&with(Relation::Relative, 2)), ["cap_reached"]);
    for own in [Relation::Debtor, Relation::JointDebtor, Relation::Guarantor] {
        assert!(with(own, 9).is_allowed());
    }
    // Whoever did not read the counters may still call the debtor, not the relative.
    let unread = |relation| {
        by_rules(&file(THIRD), |facts, _| {
            facts.contact_point.relation = relation;
            facts.own_numbers.invalid = 1;
            facts.counts.retain(|c| !c.scope.is_of_third_parties());
            facts.lasts.clear();
        })
    };
    assert!(unread(Relation::Debtor).is_allowed());
    assert_eq!(
        codes(&unread(Relation::Friend)),
        ["counter_missing", "last_missing"]
    );
}

#[test]
fn a_third_party_who_refused_is_locked_whatever_the_rules_lock() {
    let mut rules = Preset::CnPlan.rules();
    rules.third_party.lock = false;
    let rules = Arc::new(rules);
    let with = |refused| {
        decide_with(|facts, _| {
            facts.rules = rules.clone();
            facts.contact_point.relation = Relation::Colleague;
            facts.contact_point.refused = refused;
        })
    };
    assert!(with(false).is_allowed());
    assert_eq!(codes(&with(true)), ["third_party_refused"]);
}

fn after_conversation(ended_ago_ms: i64, change: impl FnOnce(&mut Facts, &mut Now)) -> Decision {
    by_rules(&preset("us-regf"), |facts, now| {
        facts.lasts[0].ended_ms = Some(now.wall_ms - ended_ago_ms);
        change(facts, now);
    })
}

#[test]
fn for_seven_days_after_a_conversation_ended_no_call_is_made() {
    let decision = after_conversation(7 * DAY - 1, |_, _| {});
    let Reason::PauseAfterConversation { until_ms, days, .. } = decision.reasons()[0].reason else {
        panic!("{:?}", decision.verdict);
    };
    assert_eq!((days, until_ms), (7, Some(shanghai(10, 0, 0, 1))));
    assert!(decision.reasons()[0].clause.contains("1006.14"));
    assert!(after_conversation(7 * DAY, |_, _| {}).is_allowed());
    // A clock that may be a second fast waits a second more.
    let uncertain = |ago_ms| {
        after_conversation(ago_ms, |_, now| {
            now.trust = ClockTrust::Trusted { error_ms: 1_000 };
        })
    };
    assert_eq!(
        codes(&uncertain(7 * DAY + 999)),
        ["pause_after_conversation"]
    );
    assert!(uncertain(7 * DAY + 1_000).is_allowed());
    // So does a conversation with another agency, and one that may be about to begin.
    let outside = after_conversation(30 * DAY, |facts, now| {
        facts.lasts[0].outside_ms = Some(now.wall_ms - DAY);
    });
    assert_eq!(codes(&outside), ["pause_after_conversation"]);
    let under_way = after_conversation(30 * DAY, |facts, _| facts.lasts[0].under_way = 1);
    assert_eq!(codes(&under_way), ["pause_after_conversation"]);
    // A conversation in the future: somebody's clock was wrong; wait.
    assert!(!after_conversation(-DAY, |_, _| {}).is_allowed());
    // Nobody looked.
    let missing = after_conversation(30 * DAY, |facts, _| facts.lasts.clear());
    assert_eq!(codes(&missing), ["last_missing"]);
}

#[test]
fn between_two_tries_lies_a_gap_at_the_number_and_at_the_debtor() {
    let text = file(
        "[[gaps]]\nclause = \"a\"\nscope = \"contact_point\"\nminutes = 30\n\
         [[gaps]]\nclause = \"b\"\nscope = \"debtor\"\nminutes = 10\n",
    );
    let ago = |number_min: i64, debtor_min: i64| {
        by_rules(&text, |facts, now| {
            for last in &mut facts.lasts {
                let minutes = match last.scope {
                    Scope::ContactPoint => number_min,
                    _ => debtor_min,
                };
                last.ended_ms = Some(now.wall_ms - minutes * 60_000);
            }
        })
    };
    assert!(ago(30, 10).is_allowed());
    let decision = ago(29, 10);
    assert_eq!(codes(&decision), ["too_soon"]);
    assert_eq!(decision.reasons()[0].clause, "a");
    let decision = ago(30, 9);
    assert_eq!(decision.reasons()[0].clause, "b");
    assert_eq!(codes(&ago(0, 0)), ["too_soon", "too_soon"]);
    // Of two persons who share the number, the later counts.
    let shared = by_rules(&text, |facts, now| {
        let debtor = facts.lasts.iter().find(|l| l.scope == Scope::Debtor);
        let mut other = *debtor.unwrap();
        other.person = Some(PersonId::new(81));
        other.ended_ms = Some(now.wall_ms - 60_000);
        facts.lasts.push(other);
    });
    assert_eq!(codes(&shared), ["too_soon"]);
}

#[test]
fn every_kind_of_bar_in_every_scope_refuses_by_its_own_code() {
    for (kind, code) in BarKind::ALL.iter().zip([
        "do_not_call",
        "complaint_hold",
        "deceased",
        "suspected_fraud",
    ]) {
        for scope in BarScope::ALL {
            let decision = decide_with(|facts, _| {
                facts.bars.push(BarFacts {
                    id: BarId::new(5),
                    kind: *kind,
                    scope: *scope,
                    // Even one that the clock says is still to come.
                    since_ms: shanghai(11, 0, 0, 0),
                });
            });
            assert_eq!(codes(&decision), [code]);
            let refusal = &decision.reasons()[0];
            assert!(!refusal.clause.is_empty());
            assert!(refusal.reason.english().ends_with('.'));
            assert!(refusal.reason.chinese().ends_with('。'));
        }
    }
}

#[test]
fn several_bars_are_all_named() {
    let decision = decide_with(|facts, _| {
        for (id, kind) in (1..).zip(BarKind::ALL) {
            facts.bars.push(BarFacts {
                id: BarId::new(id),
                kind: *kind,
                scope: BarScope::Person,
                since_ms: 0,
            });
        }
    });
    assert_eq!(
        codes(&decision),
        [
            "do_not_call",
            "complaint_hold",
            "deceased",
            "suspected_fraud"
        ]
    );
}
