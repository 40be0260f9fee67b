//! What holds for any rules and any facts: nothing that is added opens what was shut, receipts decide again, other rules
//! are judged as if they had been asked, and explanations say what was decided.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::*;

const ZONES: &[&str] = &[
    "Asia/Shanghai",
    "America/New_York",
    "Pacific/Honolulu",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
];

fn spans(dice: &mut Dice) -> Vec<Span> {
    let span = |dice: &mut Dice| {
        let from = dice.small(1_440);
        let to = from + 1 + dice.small(1_440 - from);
        Span::new(u16::try_from(from).unwrap(), u16::try_from(to).unwrap()).unwrap()
    };
    match dice.below(10) {
        0 => Vec::new(),
        1..=5 => vec!["08:00-21:00".parse().unwrap()],
        6..=7 => vec![span(dice)],
        _ => vec![span(dice), span(dice)],
    }
}

fn week(dice: &mut Dice) -> Week {
    Week {
        mon: spans(dice),
        tue: spans(dice),
        wed: spans(dice),
        thu: spans(dice),
        fri: spans(dice),
        sat: spans(dice),
        sun: spans(dice),
    }
}

/// A date of the week around [`instant`].
fn date(dice: &mut Dice) -> jiff::civil::Date {
    jiff::civil::date(2026, 11, 20).saturating_add(jiff::Span::new().days(dice.below(9)))
}

/// An instant of six days in November, often within seconds of a quarter of an hour.
fn instant(dice: &mut Dice) -> i64 {
    let quarter = shanghai(0, 0, 0, 0) - 24 * HOUR + dice.below(6 * 96) * 15 * 60_000;
    match dice.below(3) {
        0 => quarter + dice.below(15 * 60_000),
        1 => quarter - 25_000 + dice.below(50_000),
        _ => quarter + dice.pick(&[-1, 0, 1]),
    }
}

fn clause(dice: &mut Dice) -> String {
    format!("clause {}", dice.below(100))
}

fn cap(dice: &mut Dice) -> Cap {
    let measure = dice.pick(Measure::ALL);
    Cap {
        measure,
        scope: dice.pick(Scope::ALL),
        period: dice.pick(&[Period::Day, Period::Days(1), Period::Days(7)]),
        limit: 1 + dice.small(6),
        at_least_ms: match measure {
            Measure::Effective => dice.pick(&[0, 30_000]),
            _ => 0,
        },
        clause: clause(dice),
    }
}

fn pause(dice: &mut Dice) -> Pause {
    Pause {
        scope: dice.pick(Scope::ALL),
        days: dice.pick(&[1, 3, 7]),
        clause: clause(dice),
    }
}

fn gap(dice: &mut Dice) -> Gap {
    Gap {
        scope: dice.pick(Scope::ALL),
        minutes: dice.pick(&[1, 30, 600]),
        clause: clause(dice),
    }
}

pub(super) fn rules(dice: &mut Dice, name: &str) -> RuleSet {
    let mut rules = Preset::CnPlan.rules();
    rules.name = name.into();
    rules.caps.clear();
    if dice.percent(70) {
        rules.window.week = week(dice);
    }
    let mut dates = BTreeSet::new();
    for _ in 0..dice.below(3) {
        dates.insert(date(dice));
    }
    rules.window.dates = dates
        .into_iter()
        .map(|date| SpecialDate {
            date,
            name: "special".into(),
            hours: spans(dice),
        })
        .collect();
    rules.ring.longest_ms = 30_000 + dice.below(60_000);
    rules.ring.shortest_ms = 1_000 + dice.below(20_000);
    rules.ring.guard_ms = dice.below(20_000);
    rules.ring.permit_ms = dice.below(200_000);
    rules.third_party.lock = dice.percent(70);
    rules.third_party.failures_in_a_row = 1 + dice.small(5);
    for _ in 0..dice.below(4) {
        let cap = cap(dice);
        if !rules.caps.iter().any(|known| known.same_subject(&cap)) {
            rules.caps.push(cap);
        }
    }
    for _ in 0..dice.below(2) {
        rules.pauses.push(pause(dice));
    }
    for _ in 0..dice.below(2) {
        rules.gaps.push(gap(dice));
    }
    rules.agreements = dice.percent(80).then(|| AgreementRules {
        clause: clause(dice),
        accepted: dice.percent(80),
        two_persons: dice.percent(30),
    });
    rules.retention = dice.percent(50).then(|| RetentionRules {
        clause: clause(dice),
        years: 2 + u16::try_from(dice.below(5)).unwrap(),
    });
    rules.check().unwrap();
    rules
}

/// Facts that hold everything that any of these rules may ask for.
fn facts(dice: &mut Dice, now: &Now, asked_by: &[&RuleSet]) -> Facts {
    let mut facts = facts_at(now.wall_ms);
    facts.case.state = match dice.below(20) {
        0 => dice.pick(CaseState::ALL),
        _ => CaseState::Open,
    };
    facts.case.hidden = dice.percent(3);
    facts.contact_point.case = CaseId::new(if dice.percent(3) { 6 } else { 7 });
    facts.contact_point.relation = dice.pick(Relation::ALL);
    facts.contact_point.refused = dice.percent(10);
    facts.own_numbers = OwnNumbers {
        total: dice.small(3),
        invalid: dice.small(3),
        failures_in_a_row: dice.small(6),
    };
    facts.zones = match dice.below(12) {
        0 => Zones {
            names: Vec::new(),
            source: ZoneSource::Nowhere,
        },
        1 => Zones::recorded("Nowhere/Town"),
        2..=4 => Zones {
            names: vec![dice.pick(ZONES).to_owned(), dice.pick(ZONES).to_owned()],
            source: ZoneSource::CallingCode,
        },
        _ => Zones::recorded(dice.pick(ZONES)),
    };
    let persons: &[Option<PersonId>] = match dice.below(4) {
        0 => &[Some(PersonId::new(80)), Some(PersonId::new(81))],
        _ => &[None],
    };
    let mut needed: Vec<CountNeeded> = asked_by
        .iter()
        .flat_map(|rules| rules.counts_needed(now.wall_ms, &facts.zones))
        .collect();
    needed.sort_by_key(|n| (n.measure, n.scope, n.since_ms, n.at_least_ms));
    needed.dedup();
    facts.counts.clear();
    // Calls of nine days by what is counted, so that a counter that goes back further never counts fewer.
    let mut calls: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    let mut under_way = BTreeMap::new();
    for need in needed {
        for person in persons {
            let key = (need.measure, need.scope, need.at_least_ms, *person);
            let calls = calls.entry(key).or_insert_with(|| {
                let reach = dice.pick(&[10, 24, 216]) * HOUR;
                (0..dice.below(6))
                    .map(|_| now.wall_ms - dice.below(reach))
                    .collect()
            });
            let open = under_way
                .entry((need.scope, *person))
                .or_insert_with(|| dice.small(2));
            let counted = calls.iter().filter(|at| **at >= need.since_ms).count();
            let counted = u32::try_from(counted).unwrap();
            facts.counts.push(Count {
                person: *person,
                settled: counted - counted / 3,
                outside: counted / 3,
                under_way: *open,
                ..Count::none(need)
            });
        }
    }
    let lasts: BTreeSet<LastNeeded> = asked_by.iter().flat_map(|r| r.lasts_needed()).collect();
    facts.lasts = lasts
        .into_iter()
        .map(|need| Last {
            after: need.after,
            scope: need.scope,
            person: None,
            ended_ms: dice
                .percent(50)
                .then(|| now.wall_ms - dice.below(10 * 24 * HOUR)),
            outside_ms: dice
                .percent(10)
                .then(|| now.wall_ms - dice.below(10 * 24 * HOUR)),
            under_way: u32::from(dice.percent(5)),
        })
        .collect();
    for id in 0..dice.below(4) {
        let agreement = agreement(dice, now, id);
        facts.agreements.push(agreement);
    }
    for _ in 0..dice.below(3) {
        let day = special_day(dice);
        facts.special_days.push(day);
    }
    if dice.percent(5) {
        let bar = bar(dice);
        facts.bars.push(bar);
    }
    facts
}

fn agreement(dice: &mut Dice, now: &Now, id: i64) -> AgreementFacts {
    AgreementFacts {
        id: AgreementId::new(id),
        hours: week(dice),
        from_ms: now.wall_ms - dice.pick(&[-1, 0, 1, 24 * HOUR]),
        until_ms: now.wall_ms + dice.pick(&[0, 1, 21_000, 24 * HOUR, 24 * HOUR]),
        uses_left: dice.pick(&[None, None, Some(0), Some(1)]),
        approved: dice.percent(60),
    }
}

fn special_day(dice: &mut Dice) -> SpecialDay {
    SpecialDay {
        region: "CN".into(),
        date: date(dice),
        name: "holiday".into(),
        hours: spans(dice),
    }
}

fn bar(dice: &mut Dice) -> BarFacts {
    BarFacts {
        id: BarId::new(dice.below(9)),
        kind: dice.pick(BarKind::ALL),
        scope: dice.pick(BarScope::ALL),
        since_ms: dice.below(1_000),
    }
}

fn moment(dice: &mut Dice) -> Now {
    let trust = match dice.below(20) {
        0 => ClockTrust::Untrusted {
            why: Distrust::Unsynchronised,
        },
        1..=4 => ClockTrust::Trusted {
            error_ms: dice.below(20_000),
        },
        _ => ClockTrust::Trusted { error_ms: 0 },
    };
    Now {
        trust,
        ..now(instant(dice))
    }
}

fn allowed(facts: &Facts, rules: &RuleSet, now: &Now) -> bool {
    let inputs = super::super::receipt::Inputs::of(facts, *now);
    let verdict = super::super::decide::evaluate(&inputs, rules);
    matches!(verdict, Verdict::Allow { .. })
}

#[test]
fn adding_a_rule_set_never_turns_a_refusal_into_a_permission() {
    let mut dice = Dice::new(1);
    let mut seen = [0; 3];
    for round in 0..20_000 {
        let (ours, theirs) = (rules(&mut dice, "a"), rules(&mut dice, "b"));
        let merged = ours.merge_strictest(&theirs);
        merged.check().unwrap();
        let now = moment(&mut dice);
        let facts = facts(&mut dice, &now, &[&ours, &theirs, &merged]);
        let each = [&ours, &theirs].map(|rules| allowed(&facts, rules, &now));
        for merged in [&merged, &theirs.merge_strictest(&ours)] {
            let all = allowed(&facts, merged, &now);
            assert!(!all || each == [true, true], "round {round}: {each:?}");
            seen[usize::from(all)] += 1;
        }
        if each == [true, true] {
            seen[2] += 1;
        }
        assert!(merged.retention_years() >= ours.retention_years().max(theirs.retention_years()));
    }
    assert!(seen.iter().all(|n| *n > 300), "{seen:?}");
}

#[test]
fn adding_one_rule_or_one_fact_that_limits_never_turns_a_refusal_into_a_permission() {
    let mut dice = Dice::new(2);
    let mut changed = 0;
    for round in 0..20_000 {
        let before = rules(&mut dice, "a");
        let mut after = before.clone();
        let now = moment(&mut dice);
        let mut more = None;
        match dice.below(9) {
            0 => {
                let cap = cap(&mut dice);
                if !after.caps.iter().any(|known| known.same_subject(&cap)) {
                    after.caps.push(cap);
                }
            }
            1 => {
                let pause = pause(&mut dice);
                if !after.pauses.iter().any(|known| known.scope == pause.scope) {
                    after.pauses.push(pause);
                }
            }
            2 => {
                let gap = gap(&mut dice);
                if !after.gaps.iter().any(|known| known.scope == gap.scope) {
                    after.gaps.push(gap);
                }
            }
            3 => after.third_party.lock = true,
            4 => after.agreements = None,
            5 => after
                .agreements
                .iter_mut()
                .for_each(|a| a.two_persons = true),
            6 => {
                let date = date(&mut dice);
                let hours = vec![];
                after.window.dates.retain(|special| special.date != date);
                after.window.dates.push(SpecialDate {
                    date,
                    name: "shut".into(),
                    hours,
                });
            }
            what => more = Some(what),
        }
        let facts = facts(&mut dice, &now, &[&before, &after]);
        let mut narrowed = facts.clone();
        match more {
            Some(7) => narrowed.special_days.push(special_day(&mut dice)),
            Some(_) => narrowed.bars.push(bar(&mut dice)),
            None => {}
        }
        let was = allowed(&facts, &before, &now);
        let is = allowed(&narrowed, &after, &now);
        assert!(was || !is, "round {round}");
        changed += usize::from(was != is);
    }
    assert!(changed > 300, "{changed}");
}

#[test]
fn taking_agreements_away_never_opens_and_an_agreement_is_named_only_where_it_opens() {
    let mut dice = Dice::new(3);
    let mut named = 0;
    for _ in 0..20_000 {
        let rules = Arc::new(rules(&mut dice, "a"));
        let now = moment(&mut dice);
        let mut with = facts(&mut dice, &now, &[&rules]);
        with.rules = rules.clone();
        let agreement = decide(&with, &now).agreement();
        let open = allowed(&with, &rules, &now);
        let mut without = with.clone();
        without.agreements.clear();
        assert!(open || !allowed(&without, &rules, &now));
        assert_eq!(
            agreement.is_some(),
            open && !allowed(&without, &rules, &now)
        );
        named += u32::from(agreement.is_some());
    }
    assert!(named > 100, "{named}");
}

#[test]
fn any_receipt_decides_again_and_explains_what_was_decided() {
    let mut dice = Dice::new(4);
    let mut seen = [0; 2];
    for _ in 0..2_000 {
        let now = moment(&mut dice);
        let rules = Arc::new(rules(&mut dice, "a"));
        let mut facts = facts(&mut dice, &now, &[&rules]);
        facts.rules = rules;
        if dice.percent(10) {
            facts.counts.pop();
            facts.lasts.pop();
        }
        let decision = decide(&facts, &now);
        assert_eq!(replay(decision.receipt.text()).unwrap(), decision);
        seen[usize::from(decision.is_allowed())] += 1;
        let lines = explain(decision.receipt.text()).unwrap();
        let refused: BTreeSet<&str> = lines
            .iter()
            .filter(|line| line.outcome == Outcome::Refused)
            .map(|line| line.english.as_str())
            .collect();
        let reasons: Vec<String> = decision
            .reasons()
            .iter()
            .map(|r| r.reason.english())
            .collect();
        assert_eq!(
            refused,
            reasons.iter().map(String::as_str).collect(),
            "{lines:#?}"
        );
        let lifted = lines.iter().any(|line| line.outcome == Outcome::Lifted);
        assert!(lifted || decision.agreement().is_none(), "{lines:#?}");
        assert!(!lifted || decision.agreement().is_some() || !decision.is_allowed());
        for line in &lines {
            assert!(
                line.english.ends_with('.') && line.chinese.ends_with('。'),
                "{line:?}"
            );
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}

#[test]
fn other_rules_are_judged_as_if_they_had_been_asked_or_said_to_be_unknown() {
    let mut dice = Dice::new(5);
    let mut seen = [0; 3];
    for _ in 0..4_000 {
        let now = moment(&mut dice);
        let ours = Arc::new(rules(&mut dice, "a"));
        let mut theirs = if dice.percent(50) {
            rules(&mut dice, "b")
        } else {
            (*ours).clone()
        };
        if dice.percent(30) {
            theirs
                .caps
                .iter_mut()
                .for_each(|cap| cap.limit += dice.small(3));
        }
        let whole = facts(&mut dice, &now, &[&ours, &theirs]);
        let mut asked = whole.clone();
        // The receipt holds what our rules asked for, and no more.
        let needed = ours.counts_needed(now.wall_ms, &asked.zones);
        let for_us = |count: &Count| {
            let same = |need: &CountNeeded| {
                (need.measure, need.scope, need.since_ms, need.at_least_ms)
                    == (
                        count.measure,
                        count.scope,
                        count.since_ms,
                        count.at_least_ms,
                    )
            };
            needed.iter().any(same)
        };
        asked.counts.retain(for_us);
        let lasts = ours.lasts_needed();
        asked.lasts.retain(|last| {
            lasts.contains(&LastNeeded {
                after: last.after,
                scope: last.scope,
            })
        });
        asked.rules = ours.clone();
        let receipt = decide(&asked, &now).receipt;
        let comparison = replay_against(receipt.text(), &theirs).unwrap();
        let truth = allowed(&whole, &theirs, &now);
        match &comparison.with {
            Against::Decided(verdict) => {
                assert_eq!(matches!(verdict, Verdict::Allow { .. }), truth);
                let then = matches!(comparison.then, Verdict::Allow { .. });
                assert_eq!(comparison.is_changed(), Some(then != truth));
                seen[usize::from(truth)] += 1;
            }
            Against::Unknown { missing } => {
                assert!(missing.iter().all(|refusal| {
                    ["counter_missing", "last_missing"].contains(&refusal.reason.code())
                        && !refusal.clause.is_empty()
                }));
                assert_eq!(comparison.is_changed(), None);
                seen[2] += 1;
            }
        }
        // Against its own rules it says what it said.
        let same = replay_against(receipt.text(), &ours).unwrap();
        assert!(!same.is_changed().unwrap_or(false));
    }
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}
