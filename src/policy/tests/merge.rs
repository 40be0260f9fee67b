//! A client's own rules beside a preset: the stricter of both, in every respect.

use std::sync::Arc;

use super::*;

pub(super) fn stricter(text: &str) -> RuleSet {
    RuleSet::parse(text).unwrap()
}

/// A bank that is stricter in some things and laxer in others.
pub(super) const BANK: &str = r#"
name = "bank"
revision = "4"
[window]
clause = "contract 3.2"
dates = [{ date = "2026-11-24", name = "bank holiday", hours = [] }]
[window.week]
mon = ["09:00-12:00", "14:00-22:00"]
tue = ["08:00-21:00"]
wed = ["08:00-21:00"]
thu = ["08:00-21:00"]
fri = ["08:00-21:00"]
sat = []
sun = []
[ring]
clause = "contract 3.3"
longest_ms = 45000
shortest_ms = 10000
guard_ms = 30000
permit_ms = 300000
[third_party]
clause = "contract 4"
lock = true
failures_in_a_row = 5
[[caps]]
clause = "contract 5.1"
measure = "unanswered"
scope = "contact_point"
period = "day"
limit = 4
[[caps]]
clause = "contract 5.2"
measure = "connected"
scope = "case"
period = "7d"
limit = 1
[[caps]]
clause = "contract 5.3"
measure = "connected"
scope = "debtor"
period = "day"
limit = 9
"#;

#[test]
fn merging_takes_the_stricter_of_both_in_every_respect() {
    let merged = Preset::CnPlan.rules().merge_strictest(&stricter(BANK));
    merged.check().unwrap();
    assert_eq!(
        (merged.name.as_str(), merged.revision.as_str()),
        ("cn-plan+bank", "2+4")
    );
    let texts = |spans: &[Span]| spans.iter().map(Span::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(&merged.window.week.mon),
        ["09:00-12:00", "14:00-21:00"]
    );
    assert!(merged.window.week.sun.is_empty());
    assert!(
        merged
            .window
            .hours_on(jiff::civil::date(2026, 11, 24))
            .is_empty()
    );
    let ring = &merged.ring;
    assert_eq!(
        (
            ring.longest_ms,
            ring.shortest_ms,
            ring.guard_ms,
            ring.permit_ms
        ),
        (45_000, 15_000, 30_000, 120_000)
    );
    assert_eq!(merged.third_party.failures_in_a_row, 5);
    let limits: Vec<_> = merged
        .caps
        .iter()
        .map(|c| (c.limit, c.clause.as_str().starts_with("contract")))
        .collect();
    assert_eq!(limits, [(4, true), (3, false), (1, true)]);
    // Merging in the other direction is as strict.
    let other = stricter(BANK).merge_strictest(&Preset::CnPlan.rules());
    assert_eq!(other.window.week, merged.window.week);
    assert_eq!(other.third_party, merged.third_party);
    // And once more changes nothing.
    assert_eq!(merged.merge_strictest(&merged).caps, merged.caps);
    assert_eq!(
        merged.merge_strictest(&merged).window.week,
        merged.window.week
    );
}

#[test]
fn rules_that_want_longer_ringing_than_others_allow_merge_to_no_calls() {
    let ours = stricter(&BANK.replace("longest_ms = 45000", "longest_ms = 12000"));
    let merged = Arc::new(ours.merge_strictest(&Preset::CnPlan.rules()));
    let decision = decide_with(|facts, now| {
        facts.counts = uncalled(&merged, &facts.zones, now.wall_ms);
        facts.rules = merged.clone();
    });
    assert_eq!(codes(&decision), ["window_closing"]);
    assert_eq!(replay(decision.receipt.text()).unwrap(), decision);
}

#[test]
fn merged_rules_allow_only_what_both_allow_at_any_time_with_any_count() {
    let ours = Arc::new(Preset::CnPlan.rules());
    let bank = Arc::new(stricter(BANK));
    let merged = Arc::new(ours.merge_strictest(&bank));
    let mut seed = 1u64;
    let mut roll = |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut seen = [0; 2];
    for _ in 0..3_000 {
        let wall_ms = shanghai(0, 0, 0, 0) + i64::try_from(roll(3 * 86_400_000)).unwrap();
        let counted = [roll(8), roll(4), roll(2)].map(|n| u32::try_from(n).unwrap());
        let failures = u32::try_from(roll(7)).unwrap();
        let relation = Relation::ALL[usize::try_from(roll(7)).unwrap()];
        let ask = |rules: &Arc<RuleSet>| {
            let mut facts = facts_at(wall_ms);
            facts.counts = uncalled(rules, &facts.zones, wall_ms);
            for count in &mut facts.counts {
                count.settled = match (count.measure, count.scope) {
                    (Measure::Unanswered, _) => counted[0],
                    (_, Scope::Debtor) => counted[1],
                    _ => counted[2],
                };
            }
            facts.own_numbers.failures_in_a_row = failures;
            facts.contact_point.relation = relation;
            facts.rules = rules.clone();
            decide(&facts, &now(wall_ms)).is_allowed()
        };
        let (both, all) = (ask(&ours) && ask(&bank), ask(&merged));
        assert!(!all || both, "merging loosened something at {wall_ms}");
        seen[usize::from(all)] += 1;
    }
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}
