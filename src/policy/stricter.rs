//! A client's own rules: a file that names a preset as its `base` and holds what is stricter.
//!
//! What the file does not name stays as the base has it. What it names must be at least as strict, key by key; a key
//! that is looser, or that nobody knows, is refused with its line and column, and all of them at once. Read next:
//! `rules.rs` for what the keys mean.

use std::fmt;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::{
    AgreementRules, Cap, Gap, Pause, Preset, RetentionRules, RuleError, RuleSet, Span, SpecialDate,
};

/// One thing wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, `ring.guard_ms` or `caps[2].limit`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong with it.
    pub what: FaultKind,
}

/// What is wrong with a key of a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// It is no TOML, of the wrong kind, or missing.
    Form(String),
    /// Nobody knows it.
    Unknown {
        /// What could stand there.
        known: &'static [&'static str],
    },
    /// It cannot be meant.
    Sense(&'static str),
    /// It loosens the base.
    Looser {
        /// What the base says.
        base: String,
        /// What the file says.
        file: String,
    },
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.what {
            FaultKind::Form(what) => f.write_str(what.trim_end()),
            FaultKind::Unknown { known } => {
                write!(f, "no such key; known here: {}", known.join(", "))
            }
            FaultKind::Sense(what) => f.write_str(what),
            FaultKind::Looser { base, file } => write!(
                f,
                "looser than the base: the base says {base}, this file says {file}"
            ),
        }
    }
}

/// Everything wrong with a rule file, in the order of its lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFaults(pub Vec<RuleFault>);

impl std::error::Error for RuleFaults {}

impl fmt::Display for RuleFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the calling rules are refused")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

/// Every table a file may have and the keys known in it. `[]` stands for each entry of a list.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "base",
            "name",
            "revision",
            "window",
            "ring",
            "third_party",
            "caps",
            "pauses",
            "gaps",
            "agreements",
            "retention",
        ],
    ),
    ("window", &["clause", "week", "dates"]),
    (
        "window.week",
        &["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    ),
    ("window.dates[]", &["date", "name", "hours"]),
    (
        "ring",
        &[
            "clause",
            "longest_ms",
            "shortest_ms",
            "guard_ms",
            "permit_ms",
        ],
    ),
    ("third_party", &["clause", "lock", "failures_in_a_row"]),
    (
        "caps[]",
        &[
            "clause",
            "measure",
            "scope",
            "period",
            "limit",
            "at_least_ms",
        ],
    ),
    ("pauses[]", &["clause", "scope", "days"]),
    ("gaps[]", &["clause", "scope", "minutes"]),
    ("agreements", &["clause", "accepted", "two_persons"]),
    ("retention", &["clause", "years"]),
];

#[derive(Deserialize)]
struct File {
    base: Base,
    name: String,
    revision: String,
    window: Option<WindowPart>,
    ring: Option<RingPart>,
    third_party: Option<ThirdPartyPart>,
    #[serde(default)]
    caps: Vec<Cap>,
    #[serde(default)]
    pauses: Vec<Pause>,
    #[serde(default)]
    gaps: Vec<Gap>,
    agreements: Option<AgreementsPart>,
    retention: Option<RetentionRules>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "the name of a preset, or a list of names: `base = \"cn-plan\"`"
)]
enum Base {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct WindowPart {
    clause: String,
    #[serde(default)]
    week: WeekPart,
    #[serde(default)]
    dates: Vec<SpecialDate>,
}

#[derive(Deserialize, Default)]
struct WeekPart {
    mon: Option<Vec<Span>>,
    tue: Option<Vec<Span>>,
    wed: Option<Vec<Span>>,
    thu: Option<Vec<Span>>,
    fri: Option<Vec<Span>>,
    sat: Option<Vec<Span>>,
    sun: Option<Vec<Span>>,
}

#[derive(Deserialize)]
struct RingPart {
    clause: String,
    longest_ms: Option<i64>,
    shortest_ms: Option<i64>,
    guard_ms: Option<i64>,
    permit_ms: Option<i64>,
}

#[derive(Deserialize)]
struct ThirdPartyPart {
    clause: String,
    lock: Option<bool>,
    failures_in_a_row: Option<u32>,
}

#[derive(Deserialize)]
struct AgreementsPart {
    clause: String,
    accepted: Option<bool>,
    two_persons: Option<bool>,
}

/// Reads a client's file and merges it with its base.
pub(super) fn read(text: &str) -> Result<RuleSet, RuleFaults> {
    let tree = DeTable::parse(text).map_err(|e| form(text, &e))?;
    let tree = tree.get_ref();
    let mut faults = Faults {
        text,
        tree,
        found: Vec::new(),
    };
    faults.unknown_keys(tree, "", "");
    faults.none_yet()?;
    let file: File = toml::from_str(text).map_err(|e| form(text, &e))?;
    let base = faults.base(&file.base)?;
    let own = faults.own(&base, file);
    faults.none_yet()?;
    faults.sense(&own);
    faults.none_yet()?;
    Ok(base.merge_strictest(&own))
}

fn form(text: &str, error: &toml::de::Error) -> RuleFaults {
    let at = error.span().map_or(0, |span| span.start);
    let (line, column) = place(text, at);
    RuleFaults(vec![RuleFault {
        line,
        column,
        key: String::new(),
        what: FaultKind::Form(error.message().to_owned()),
    }])
}

/// Line and column of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let begins = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(begins..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

struct Faults<'a> {
    text: &'a str,
    tree: &'a DeTable<'a>,
    found: Vec<RuleFault>,
}

impl Faults<'_> {
    fn none_yet(&mut self) -> Result<(), RuleFaults> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|fault| (fault.line, fault.column));
        Err(RuleFaults(std::mem::take(&mut self.found)))
    }

    fn add_at(&mut self, at: usize, key: String, what: FaultKind) {
        let (line, column) = place(self.text, at);
        self.found.push(RuleFault {
            line,
            column,
            key,
            what,
        });
    }

    /// Adds a fault at a key, `ring.guard_ms` or `caps[2].limit`; at the table it would stand in, if it is not there.
    fn add(&mut self, key: &str, what: FaultKind) {
        let at = find(self.tree, key);
        self.add_at(at, key.to_owned(), what);
    }

    fn looser(&mut self, key: &str, base: impl fmt::Display, file: impl fmt::Display) {
        let what = FaultKind::Looser {
            base: base.to_string(),
            file: file.to_string(),
        };
        self.add(key, what);
    }

    /// `kind` is the table's name in [`KNOWN`], `path` its name in this file.
    fn unknown_keys(&mut self, table: &DeTable<'_>, kind: &str, path: &str) {
        let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == kind) else {
            return;
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let join = |prefix: &str| match prefix {
                "" => name.to_owned(),
                _ => format!("{prefix}.{name}"),
            };
            let (kind, path) = (join(kind), join(path));
            if !known.contains(&name) {
                self.add_at(key.span().start, path, FaultKind::Unknown { known });
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) => self.unknown_keys(inner, &kind, &path),
                DeValue::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            let path = format!("{path}[{}]", index + 1);
                            self.unknown_keys(inner, &format!("{kind}[]"), &path);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn base(&mut self, base: &Base) -> Result<RuleSet, RuleFaults> {
        let names = match base {
            Base::One(name) => std::slice::from_ref(name),
            Base::Several(names) => names.as_slice(),
        };
        let mut merged: Option<RuleSet> = None;
        for name in names {
            let Some(preset) = Preset::parse(name) else {
                let known: Vec<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
                let what = format!("{name:?} is no preset; one of: {}", known.join(", "));
                self.add("base", FaultKind::Form(what));
                continue;
            };
            let rules = preset.rules();
            merged = Some(match merged {
                Some(merged) => merged.merge_strictest(&rules),
                None => rules,
            });
        }
        self.none_yet()?;
        merged.ok_or_else(|| {
            self.add("base", FaultKind::Sense("names no preset"));
            RuleFaults(std::mem::take(&mut self.found))
        })
    }

    /// The base with the file's own words in place of its own; every one of them that is looser is a fault.
    fn own(&mut self, base: &RuleSet, file: File) -> RuleSet {
        let mut own = base.clone();
        own.name = file.name;
        own.revision = file.revision;
        if let Some(part) = file.window {
            self.window(&mut own, base, part);
        }
        if let Some(part) = file.ring {
            self.ring(&mut own, base, part);
        }
        if let Some(part) = file.third_party {
            self.third_party(&mut own, base, part);
        }
        self.caps(&mut own, base, file.caps);
        self.rests(&mut own, base, file.pauses, file.gaps);
        if let Some(part) = file.agreements {
            self.agreements(&mut own, base, part);
        }
        if let Some(retention) = file.retention {
            if retention.years < base.retention_years() {
                self.looser("retention.years", base.retention_years(), retention.years);
            }
            own.retention = Some(retention);
        }
        own
    }

    fn window(&mut self, own: &mut RuleSet, base: &RuleSet, part: WindowPart) {
        own.window.clause = part.clause;
        let (week, theirs) = (&mut own.window.week, &base.window.week);
        let days = [
            ("mon", part.week.mon, &mut week.mon, &theirs.mon),
            ("tue", part.week.tue, &mut week.tue, &theirs.tue),
            ("wed", part.week.wed, &mut week.wed, &theirs.wed),
            ("thu", part.week.thu, &mut week.thu, &theirs.thu),
            ("fri", part.week.fri, &mut week.fri, &theirs.fri),
            ("sat", part.week.sat, &mut week.sat, &theirs.sat),
            ("sun", part.week.sun, &mut week.sun, &theirs.sun),
        ];
        for (day, file, own, base) in days {
            let Some(file) = file else { continue };
            if !file.iter().all(|span| span.is_within(base)) {
                let key = format!("window.week.{day}");
                self.looser(&key, list(base), list(&file));
            }
            *own = file;
        }
        for (index, special) in part.dates.iter().enumerate() {
            let hours = base.window.hours_on(special.date);
            if !special.hours.iter().all(|span| span.is_within(hours)) {
                let key = format!("window.dates[{}].hours", index + 1);
                self.looser(&key, list(hours), list(&special.hours));
            }
        }
        let mentioned =
            |date: &SpecialDate| part.dates.iter().any(|special| special.date == date.date);
        own.window.dates.retain(|date| !mentioned(date));
        own.window.dates.extend(part.dates);
    }

    fn ring(&mut self, own: &mut RuleSet, base: &RuleSet, part: RingPart) {
        let (ring, theirs) = (&mut own.ring, &base.ring);
        ring.clause = part.clause;
        for (key, file, own, base, more_is_looser) in [
            (
                "ring.longest_ms",
                part.longest_ms,
                &mut ring.longest_ms,
                theirs.longest_ms,
                true,
            ),
            (
                "ring.shortest_ms",
                part.shortest_ms,
                &mut ring.shortest_ms,
                theirs.shortest_ms,
                false,
            ),
            (
                "ring.guard_ms",
                part.guard_ms,
                &mut ring.guard_ms,
                theirs.guard_ms,
                false,
            ),
            (
                "ring.permit_ms",
                part.permit_ms,
                &mut ring.permit_ms,
                theirs.permit_ms,
                true,
            ),
        ] {
            let Some(file) = file else { continue };
            if (more_is_looser && file > base) || (!more_is_looser && file < base) {
                self.looser(key, base, file);
            }
            *own = file;
        }
    }

    fn third_party(&mut self, own: &mut RuleSet, base: &RuleSet, part: ThirdPartyPart) {
        let (rules, theirs) = (&mut own.third_party, &base.third_party);
        rules.clause = part.clause;
        if let Some(lock) = part.lock {
            if theirs.lock && !lock {
                self.looser("third_party.lock", theirs.lock, lock);
            }
            rules.lock = lock;
        }
        if let Some(failures) = part.failures_in_a_row {
            if theirs.lock && failures < theirs.failures_in_a_row {
                let key = "third_party.failures_in_a_row";
                self.looser(key, theirs.failures_in_a_row, failures);
            }
            rules.failures_in_a_row = failures;
        }
    }

    fn caps(&mut self, own: &mut RuleSet, base: &RuleSet, caps: Vec<Cap>) {
        let same =
            |a: &Cap, b: &Cap| (a.measure, a.scope, a.period) == (b.measure, b.scope, b.period);
        for (index, cap) in caps.iter().enumerate() {
            for theirs in base.caps.iter().filter(|theirs| same(theirs, cap)) {
                if cap.limit > theirs.limit {
                    let key = format!("caps[{}].limit", index + 1);
                    self.looser(&key, theirs.limit, cap.limit);
                }
                if cap.at_least_ms > theirs.at_least_ms {
                    let key = format!("caps[{}].at_least_ms", index + 1);
                    self.looser(&key, theirs.at_least_ms, cap.at_least_ms);
                }
            }
        }
        own.caps
            .retain(|theirs| !caps.iter().any(|cap| same(theirs, cap)));
        own.caps.extend(caps);
    }

    fn rests(&mut self, own: &mut RuleSet, base: &RuleSet, pauses: Vec<Pause>, gaps: Vec<Gap>) {
        for (index, pause) in pauses.iter().enumerate() {
            let theirs = base.pauses.iter().find(|p| p.scope == pause.scope);
            if let Some(theirs) = theirs.filter(|theirs| pause.days < theirs.days) {
                let key = format!("pauses[{}].days", index + 1);
                self.looser(&key, theirs.days, pause.days);
            }
        }
        for (index, gap) in gaps.iter().enumerate() {
            let theirs = base.gaps.iter().find(|g| g.scope == gap.scope);
            if let Some(theirs) = theirs.filter(|theirs| gap.minutes < theirs.minutes) {
                let key = format!("gaps[{}].minutes", index + 1);
                self.looser(&key, theirs.minutes, gap.minutes);
            }
        }
        own.pauses
            .retain(|theirs| !pauses.iter().any(|pause| pause.scope == theirs.scope));
        own.pauses.extend(pauses);
        own.gaps
            .retain(|theirs| !gaps.iter().any(|gap| gap.scope == theirs.scope));
        own.gaps.extend(gaps);
    }

    fn agreements(&mut self, own: &mut RuleSet, base: &RuleSet, part: AgreementsPart) {
        let theirs = base.agreements.as_ref();
        let accepted = theirs.is_some_and(|theirs| theirs.accepted);
        let two_persons = theirs.is_some_and(|theirs| theirs.two_persons);
        if part.accepted == Some(true) && !accepted {
            self.looser("agreements.accepted", accepted, true);
        }
        if part.two_persons == Some(false) && two_persons {
            self.looser("agreements.two_persons", two_persons, false);
        }
        own.agreements = Some(AgreementRules {
            clause: part.clause,
            accepted: part.accepted.unwrap_or(accepted),
            two_persons: part.two_persons.unwrap_or(two_persons),
        });
    }

    fn sense(&mut self, own: &RuleSet) {
        match own.check_written() {
            Ok(()) => {}
            Err(RuleError::Sense { key, what }) => self.add(key, FaultKind::Sense(what)),
            Err(RuleError::Form(what)) => self.add("", FaultKind::Form(what)),
        }
    }
}

/// Where a key stands, as a byte; where it is missing, the innermost table around it.
fn find(tree: &DeTable<'_>, key: &str) -> usize {
    let mut at = 0;
    let mut table = Some(tree);
    for step in key.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (step, None),
        };
        let Some((key, value)) = table.and_then(|table| table.get_key_value(name)) else {
            return at;
        };
        at = key.span().start;
        let value = match (index, value.get_ref()) {
            (Some(index), DeValue::Array(items)) => match items.get(index.saturating_sub(1)) {
                Some(item) => {
                    at = item.span().start;
                    item.get_ref()
                }
                None => return at,
            },
            (_, value) => value,
        };
        table = value.as_table();
    }
    at
}

fn list(spans: &[Span]) -> String {
    let spans: Vec<String> = spans
        .iter()
        .map(|span| format!("{:?}", span.to_string()))
        .collect();
    format!("[{}]", spans.join(", "))
}
