//! A client's own rules: stricter is taken, looser is refused with the line that loosens.

use super::dice::Dice;
use super::*;

const HEAD: &str = "base = \"cn-plan\"\nname = \"bank\"\nrevision = \"7\"\n";

fn faults(text: &str) -> Vec<RuleFault> {
    RuleSet::stricter(text).unwrap_err().0
}

/// Line, column and key of every fault.
fn places(text: &str) -> Vec<(usize, usize, String)> {
    let faults = faults(text);
    let place = |fault: RuleFault| (fault.line, fault.column, fault.key);
    faults.into_iter().map(place).collect()
}

#[test]
fn what_a_file_names_replaces_the_base_and_what_it_does_not_name_stays() {
    let text = format!(
        r#"{HEAD}
[window]
clause = "contract 3"
[window.week]
sat = ["10:00-12:00", "14:00-16:00"]
sun = []
[[window.dates]]
date = 2026-10-01
name = "国庆"
hours = []
[ring]
clause = "contract 4"
guard_ms = 60000
[[caps]]
clause = "contract 5"
measure = "connected"
scope = "debtor"
period = "day"
limit = 1
[[pauses]]
clause = "contract 6"
scope = "debtor"
days = 2
[[gaps]]
clause = "contract 7"
scope = "contact_point"
minutes = 30
[agreements]
clause = "contract 8"
two_persons = true
[retention]
clause = "contract 9"
years = 6
"#
    )
    .replace("date = 2026-10-01", "date = \"2026-10-01\"");
    let rules = RuleSet::stricter(&text).unwrap_or_else(|e| panic!("{e}"));
    let base = Preset::CnPlan.rules();
    assert_eq!(
        (rules.name.as_str(), rules.revision.as_str()),
        ("cn-plan+bank", "2+7")
    );
    assert_eq!(rules.window.week.mon, base.window.week.mon);
    assert_eq!(rules.window.week.sat.len(), 2);
    assert!(rules.window.week.sun.is_empty());
    assert!(
        rules
            .window
            .hours_on(jiff::civil::date(2026, 10, 1))
            .is_empty()
    );
    assert_eq!(
        (rules.ring.guard_ms, rules.ring.longest_ms),
        (60_000, 60_000)
    );
    assert_eq!(rules.third_party, base.third_party);
    let limits: Vec<u32> = rules.caps.iter().map(|cap| cap.limit).collect();
    assert_eq!(limits, [6, 1]);
    assert_eq!(rules.caps[1].clause, "contract 5");
    assert_eq!((rules.pauses[0].days, rules.gaps[0].minutes), (2, 30));
    let agreements = rules.agreements.as_ref().unwrap();
    assert!(agreements.accepted && agreements.two_persons);
    assert_eq!(rules.retention_years(), 6);
    assert_eq!(
        RuleSet::from_canonical(&rules.canonical_text()).unwrap(),
        rules
    );
}

#[test]
fn a_file_may_stand_on_several_presets_at_once() {
    let text = "base = [\"cn-consumer-finance\", \"cn-gbt\"]\nname = \"bank\"\nrevision = \"1\"\n";
    let rules = RuleSet::stricter(text).unwrap();
    assert_eq!(rules.name, "cn-consumer-finance+cn-gbt+bank");
    assert_eq!((rules.caps.len(), rules.retention_years()), (3, 5));
    assert!(RuleSet::stricter("base = []\nname = \"x\"\nrevision = \"1\"\n").is_err());
}

#[test]
fn everything_that_loosens_is_reported_at_once_with_line_column_and_both_values() {
    let text = format!(
        r#"{HEAD}
[window]
clause = "x"
  [window.week]
  mon = ["08:00-22:00"]
  tue = ["09:00-21:00"]
[[window.dates]]
date = "2026-10-01"
name = "x"
hours = ["07:00-09:00"]
[ring]
clause = "x"
longest_ms = 90000
shortest_ms = 1000
guard_ms = 1000
permit_ms = 600000
[third_party]
clause = "x"
lock = false
failures_in_a_row = 1
[[caps]]
clause = "x"
measure = "connected"
scope = "case"
period = "day"
limit = 99
[[caps]]
clause = "x"
measure = "connected"
scope = "debtor"
period = "day"
limit = 4
"#
    );
    let expected = [
        (8, 3, "window.week.mon"),
        (13, 1, "window.dates[1].hours"),
        (16, 1, "ring.longest_ms"),
        (17, 1, "ring.shortest_ms"),
        (18, 1, "ring.guard_ms"),
        (19, 1, "ring.permit_ms"),
        (22, 1, "third_party.lock"),
        (23, 1, "third_party.failures_in_a_row"),
        (35, 1, "caps[2].limit"),
    ];
    let expected = expected.map(|(line, column, key)| (line, column, key.to_owned()));
    assert_eq!(places(&text), expected);
    let said = RuleSet::stricter(&text).unwrap_err().to_string();
    for part in [
        "line 18, column 1: ring.guard_ms: looser than the base: the base says 5000, this file says 1000",
        "the base says [\"08:00-21:00\"], this file says [\"08:00-22:00\"]",
        "line 35, column 1: caps[2].limit: looser than the base: the base says 3, this file says 4",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn what_the_other_presets_demand_cannot_be_loosened_either() {
    let regf = |more: &str| {
        let text = format!("base = \"us-regf\"\nname = \"x\"\nrevision = \"1\"\n{more}");
        places(&text)
            .into_iter()
            .map(|(line, _, key)| (line, key))
            .collect::<Vec<_>>()
    };
    let pause = regf("[[pauses]]\nclause = \"x\"\nscope = \"case\"\ndays = 6\n");
    assert_eq!(pause, [(7, "pauses[1].days".to_owned())]);
    let years = regf("[retention]\nclause = \"x\"\nyears = 2\n");
    assert_eq!(years, [(6, "retention.years".to_owned())]);
    let gbt = "base = \"cn-gbt\"\nname = \"x\"\nrevision = \"1\"\n[[caps]]\nclause = \"x\"\n\
               measure = \"effective\"\nscope = \"debtor\"\nperiod = \"day\"\nlimit = 3\nat_least_ms = 60000\n";
    assert_eq!(places(gbt), [(10, 1, "caps[1].at_least_ms".to_owned())]);
}

#[test]
fn unknown_keys_are_all_named_with_their_place_and_what_is_known_there() {
    let text = format!(
        "{HEAD}sorry = 1\n[ring]\nclause = \"x\"\n  gaurd_ms = 9000\n[[caps]]\nclause = \"x\"\nmeasure = \
         \"connected\"\nscope = \"debtor\"\nperiod = \"day\"\nlimit = 1\nmaximum = 1\n"
    );
    let expected = [
        (4, 1, "sorry".to_owned()),
        (7, 3, "ring.gaurd_ms".to_owned()),
        (14, 1, "caps[1].maximum".to_owned()),
    ];
    assert_eq!(places(&text), expected);
    let said = RuleSet::stricter(&text).unwrap_err().to_string();
    assert!(
        said.contains("known here: clause, longest_ms, shortest_ms, guard_ms, permit_ms"),
        "{said}"
    );
}

#[test]
fn broken_files_say_what_is_wrong_and_where() {
    for (text, line, part) in [
        ("base = \"cn-plan\"\nname = ", 2, "string"),
        ("name = \"x\"\nrevision = \"1\"\n", 1, "base"),
        (
            "base = \"cn-paln\"\nname = \"x\"\nrevision = \"1\"\n",
            1,
            "one of: cn-plan, cn-gbt",
        ),
        (
            "base = 7\nname = \"x\"\nrevision = \"1\"\n",
            1,
            "name of a preset",
        ),
        (&format!("{HEAD}[ring]\nguard_ms = 9000\n"), 4, "clause"),
        (
            &format!("{HEAD}[ring]\nclause = \"x\"\nguard_ms = \"9\"\n"),
            6,
            "expected",
        ),
        (
            &format!("{HEAD}[window]\nclause = \"x\"\n[window.week]\nmon = [\"9-12\"]\n"),
            7,
            "08:00-21:00",
        ),
        (
            &format!("{HEAD}[ring]\nclause = \"x\"\nshortest_ms = 61000\n"),
            4,
            "not be above longest_ms",
        ),
        (
            &format!("{HEAD}[[gaps]]\nclause = \"x\"\nscope = \"case\"\nminutes = 0\n"),
            4,
            "between 1 and 10080",
        ),
        (
            &format!("{HEAD}[retention]\nclause = \"x\"\nyears = 101\n"),
            6,
            "100",
        ),
        (
            &format!("{HEAD}[[caps]]\nclause = \"x\"\nmeasure = \"shouted\"\n"),
            6,
            "unknown variant",
        ),
    ] {
        let faults = RuleSet::stricter(text).unwrap_err();
        assert_eq!(faults.0[0].line, line, "{text}\n{faults}");
        assert!(faults.to_string().contains(part), "{part}\n{faults}");
    }
}

/// One key of a client's file, with a value that is as strict as the base or stricter, and one that is looser.
struct Key {
    table: &'static str,
    /// Further lines the table needs.
    with: &'static str,
    key: &'static str,
    stricter: fn(&mut Dice) -> String,
    looser: fn(&mut Dice) -> String,
}

fn hours(from: i64, to: i64) -> String {
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("[\"{}-{}\"]", clock(from), clock(to))
}

fn narrower(dice: &mut Dice) -> String {
    if dice.percent(10) {
        return "[]".into();
    }
    let from = 480 + dice.below(390);
    hours(from, from + 1 + dice.below(1260 - from))
}

fn wider(dice: &mut Dice) -> String {
    match dice.below(3) {
        0 => hours(dice.below(480), 481 + dice.below(700)),
        1 => hours(480 + dice.below(600), 1261 + dice.below(179)),
        _ => hours(dice.below(400), 401 + dice.below(70)),
    }
}

/// Every key that has a direction, beside `us-regf`, which has every kind of rule.
const KEYS: &[Key] = &[
    Key {
        table: "[window.week]",
        with: "",
        key: "mon",
        stricter: narrower,
        looser: wider,
    },
    Key {
        table: "[window.week]",
        with: "",
        key: "wed",
        stricter: narrower,
        looser: wider,
    },
    Key {
        table: "[window.week]",
        with: "",
        key: "sun",
        stricter: narrower,
        looser: wider,
    },
    Key {
        table: "[[window.dates]]",
        with: "date = \"2027-07-04\"\nname = \"x\"\n",
        key: "hours",
        stricter: narrower,
        looser: wider,
    },
    Key {
        table: "[ring]",
        with: "",
        key: "longest_ms",
        stricter: |dice| (40_000 + dice.below(20_001)).to_string(),
        looser: |dice| (60_001 + dice.below(100_000)).to_string(),
    },
    Key {
        table: "[ring]",
        with: "",
        key: "shortest_ms",
        stricter: |dice| (15_000 + dice.below(20_000)).to_string(),
        looser: |dice| (1 + dice.below(14_999)).to_string(),
    },
    Key {
        table: "[ring]",
        with: "",
        key: "guard_ms",
        stricter: |dice| (5_000 + dice.below(600_000)).to_string(),
        looser: |dice| dice.below(5_000).to_string(),
    },
    Key {
        table: "[ring]",
        with: "",
        key: "permit_ms",
        stricter: |dice| dice.below(120_001).to_string(),
        looser: |dice| (120_001 + dice.below(400_000)).to_string(),
    },
    Key {
        table: "[third_party]",
        with: "",
        key: "lock",
        stricter: |_| "true".into(),
        looser: |_| "false".into(),
    },
    Key {
        table: "[third_party]",
        with: "",
        key: "failures_in_a_row",
        stricter: |dice| (3 + dice.below(20)).to_string(),
        looser: |dice| dice.below(3).to_string(),
    },
    Key {
        table: "[[caps]]",
        with: "measure = \"seized\"\nscope = \"case\"\nperiod = \"7d\"\n",
        key: "limit",
        stricter: |dice| dice.below(8).to_string(),
        looser: |dice| (8 + dice.below(100)).to_string(),
    },
    Key {
        table: "[[pauses]]",
        with: "scope = \"case\"\n",
        key: "days",
        stricter: |dice| (7 + dice.below(300)).to_string(),
        looser: |dice| (1 + dice.below(6)).to_string(),
    },
    Key {
        table: "[agreements]",
        with: "",
        key: "accepted",
        stricter: |dice| dice.percent(50).to_string(),
        looser: |_| "true".into(),
    },
    Key {
        table: "[retention]",
        with: "",
        key: "years",
        stricter: |dice| (3 + dice.below(97)).to_string(),
        looser: |dice| dice.below(3).to_string(),
    },
];

/// Writes a file of some keys; returns it with the lines of the looser ones.
fn write(dice: &mut Dice, chosen: &[(usize, bool)]) -> (String, Vec<(usize, String)>) {
    let mut text = "base = \"us-regf\"\nname = \"bank\"\nrevision = \"1\"\n".to_owned();
    let mut looser = Vec::new();
    let window = chosen
        .iter()
        .any(|(index, _)| KEYS[*index].table.contains("window"));
    if window {
        text += "[window]\nclause = \"w\"\n";
    }
    let mut open = "";
    for (index, loose) in chosen {
        let key = &KEYS[*index];
        if key.table != open || key.table.starts_with("[[") {
            text += key.table;
            text += "\n";
            if !key.table.contains("window") {
                text += "clause = \"c\"\n";
            }
            open = key.table;
        }
        text += key.with;
        let value = if *loose {
            (key.looser)(dice)
        } else {
            (key.stricter)(dice)
        };
        if *loose {
            let line = text.matches('\n').count() + 1;
            let table = key.table.trim_matches(['[', ']']);
            let entry = if key.table.starts_with("[[") {
                "[1]"
            } else {
                ""
            };
            looser.push((line, format!("{table}{entry}.{}", key.key)));
        }
        text += &format!("{} = {value}\n", key.key);
    }
    (text, looser)
}

#[test]
fn a_stricter_file_is_never_refused_and_a_looser_one_always_with_every_line_that_loosens() {
    let mut dice = Dice::new(31);
    let base = Preset::UsRegf.rules();
    // In the base agreements are accepted, so nothing about them can be looser.
    let has_looser = |index: usize| KEYS[index].key != "accepted";
    let mut seen = [0; 2];
    for _ in 0..3_000 {
        let mut chosen = Vec::new();
        for index in 0..KEYS.len() {
            if dice.percent(40) {
                chosen.push((index, false));
            }
        }
        let (text, _) = write(&mut dice, &chosen);
        let rules = RuleSet::stricter(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(rules.merge_strictest(&base).caps, rules.caps);
        assert_eq!(base.merge_strictest(&rules).window.week, rules.window.week);
        seen[0] += 1;
        for entry in &mut chosen {
            entry.1 = has_looser(entry.0) && dice.percent(30);
        }
        let (text, expected) = write(&mut dice, &chosen);
        if expected.is_empty() {
            continue;
        }
        seen[1] += 1;
        let faults = faults(&text);
        let found: Vec<_> = faults.iter().map(|f| (f.line, f.key.clone())).collect();
        assert_eq!(found, expected, "{text}");
        let looser = |fault: &RuleFault| matches!(fault.what, FaultKind::Looser { .. });
        assert!(faults.iter().all(looser), "{text}");
    }
    assert!(seen[0] == 3_000 && seen[1] > 1_500, "{seen:?}");
}

#[test]
fn agreements_that_a_base_does_not_accept_stay_out() {
    // Merged with a set that says nothing of them, none is accepted; a file on such a base may not let them in.
    let mut silent = Preset::CnPlan.rules();
    silent.agreements = None;
    assert_eq!(
        Preset::CnPlan.rules().merge_strictest(&silent).agreements,
        None
    );
    let refusing = Preset::CnPlan.rules().agreements.map(|mut agreements| {
        agreements.accepted = false;
        agreements.two_persons = true;
        agreements
    });
    silent.agreements = refusing;
    let merged = silent
        .merge_strictest(&Preset::UsRegf.rules())
        .agreements
        .unwrap();
    assert!(!merged.accepted && merged.two_persons);
}
