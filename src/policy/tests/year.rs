//! A year of dials: nodes with clocks of their own that drift and jump, agents who click at all hours, persons who share
//! numbers, bars and settlements that arrive while phones ring, other agencies, agreements, holidays, clocks that change.
//!
//! The store here is memory; what it answers is what the gate would read from a database. Two nodes may decide about one
//! debtor at once: who finds that a guard was taken since the counters were read must read them again. Afterwards
//! `checker.rs`, which shares no code with the gate, goes through the log of what really happened. It must find nothing;
//! and it must find something in every world with a planted flaw, or it would prove nothing.
//!
//! `cargo test` runs 10^6 clicks; with `RINGFENCE_DIALS=10000000` and `--release` it is the 10^7 of `make bench`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use jiff::tz::TimeZoneDatabase;

use super::super::decide::evaluate;
use super::super::receipt::Inputs;
use super::checker::{self, violations};
use super::checker::{Agreed, Barred, Book, Broken, Demands, Dial, Outside, Special, Subject};
use super::dice::Dice;
use super::*;

const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60_000;
/// 2026-03-01T00:00 in Shanghai; a year holds every change of clocks there is.
const START: i64 = 1_772_294_400_000;
/// Clocks that are trusted are right to within this.
const ERROR_MS: i64 = 2_000;

/// What is wrong with a world, to see that the checker finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Counters that were read before somebody else decided are good enough.
    NoGuards,
    /// Bars and settlements are looked at when the agent clicks, not again before the INVITE leaves.
    NoSecondLook,
    /// A clock that jumped is trusted.
    TrustedJumps,
    /// The window is an hour too long.
    Window,
    /// Rings until the last second.
    Guard,
    /// One more of everything that is capped.
    Caps,
    /// A debt may be tried as often as one likes.
    Seven,
    /// Six days instead of seven.
    Pause,
    /// Half the gap.
    Gap,
    /// No third-party lock.
    Lock,
    /// Agreements never run out.
    Uses,
    /// Nobody imported the holidays.
    Holidays,
    /// Bars are not read.
    Bars,
    /// A shared number counts for the one it is called for only.
    Shared,
    /// Other agencies' calls are not read.
    OthersCalls,
}

const BANK: &str = r#"
base = "cn-plan"
name = "bank"
revision = "1"
[window]
clause = "contract 1"
[window.week]
sat = []
sun = []
[[caps]]
clause = "contract 2"
measure = "connected"
scope = "third_parties_of_case"
period = "7d"
limit = 2
[[gaps]]
clause = "contract 3"
scope = "contact_point"
minutes = 30
[[gaps]]
clause = "contract 3"
scope = "debtor"
minutes = 10
"#;

fn rules_of(demands: Demands, flaw: Flaw) -> Arc<RuleSet> {
    let mut rules = match demands {
        Demands::CnPlan => Preset::CnPlan.rules(),
        Demands::CnGbt => Preset::CnGbt.rules(),
        Demands::CnConsumerFinance => Preset::CnConsumerFinance.rules(),
        Demands::UsRegf => Preset::UsRegf.rules(),
        Demands::Bank => RuleSet::stricter(BANK).unwrap(),
    };
    match flaw {
        Flaw::Window => {
            for day in [&mut rules.window.week.tue, &mut rules.window.week.sat] {
                if !day.is_empty() {
                    *day = vec!["08:00-22:00".parse().unwrap()];
                }
            }
        }
        Flaw::Guard => (rules.ring.guard_ms, rules.ring.shortest_ms) = (-30_000, 1),
        Flaw::Caps => rules.caps.iter_mut().for_each(|cap| cap.limit += 1),
        Flaw::Seven => {
            rules.caps.retain(|cap| cap.measure != Measure::Seized);
            rules.pauses.clear();
        }
        Flaw::Pause => rules.pauses.iter_mut().for_each(|pause| pause.days = 6),
        Flaw::Gap => rules.gaps.iter_mut().for_each(|gap| gap.minutes /= 2),
        Flaw::Lock => rules.third_party.lock = false,
        _ => {}
    }
    Arc::new(rules)
}

/// Numbers that ring in the same zones.
struct Place {
    zones: Zones,
    region: &'static str,
    number: PhoneNumber,
    /// What the clocks there do, read again now and then.
    inputs: Inputs,
    read_at_ms: i64,
}

struct CaseRow {
    rules: Arc<RuleSet>,
    client: usize,
    person: usize,
    settled: bool,
    total: u32,
    invalid: u32,
}

struct PointRow {
    case: usize,
    number: usize,
    place: usize,
    relation: Relation,
}

#[derive(Clone, Copy)]
struct Attempt {
    dial: Dial,
    /// As the deciding node's clock had it.
    stored_ms: i64,
    stored_end_ms: i64,
    third_party: bool,
    closed: bool,
    answers: bool,
}

/// What happens later, by true time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    Seize(usize),
    End(usize),
    Again(usize),
    Bar(usize),
    Lift(usize),
    Reopen(usize, i64),
}

struct Node {
    offset_ms: i64,
    /// Until when, by true time, its clock says that it jumped.
    jumped_until_ms: i64,
    mended_at_ms: i64,
    next_jump_ms: i64,
}

struct World {
    flaw: Flaw,
    dice: Dice,
    book: Book,
    places: Vec<Place>,
    cases: Vec<CaseRow>,
    points: Vec<PointRow>,
    points_of_person: Vec<Vec<usize>>,
    nodes: Vec<Node>,
    attempts: Vec<Attempt>,
    by_number: Vec<Vec<usize>>,
    by_person: Vec<Vec<usize>>,
    by_case: Vec<Vec<usize>>,
    turns_of_person: Vec<u64>,
    turns_of_number: Vec<u64>,
    bars: HashMap<Subject, Vec<usize>>,
    agreements: HashMap<usize, (AgreementFacts, u32)>,
    special_days: HashMap<&'static str, Vec<SpecialDay>>,
    outside: HashMap<usize, Vec<Outside>>,
    later: BinaryHeap<Reverse<(i64, Later)>>,
    clicks: u64,
    left: u64,
    codes: HashMap<&'static str, u64>,
    by_agreement: u64,
    waited: u64,
    stopped: u64,
}

fn place(zones: Zones, region: &'static str, text: &str) -> Place {
    let number = number(text);
    let mut facts = facts_at(START);
    facts.number = number.clone();
    facts.zones = zones.clone();
    let inputs = Inputs::of(&facts, now(START));
    Place {
        zones,
        region,
        number,
        inputs,
        read_at_ms: START,
    }
}

fn places() -> Vec<Place> {
    let recorded = |zone| place(Zones::recorded(zone), "", "+8613800138012");
    let (cn, us) = ("+8613800138012", "+12125552368");
    let mut places = vec![
        place(Zones::of(&number(cn)), "CN", cn),
        place(Zones::of(&number(us)), "US", us),
    ];
    places.extend(
        [
            "America/New_York",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "America/Santiago",
            "Africa/Casablanca",
            "Pacific/Chatham",
            "America/Havana",
        ]
        .map(recorded),
    );
    places
}

impl World {
    fn new(persons: usize, seed: u64, flaw: Flaw) -> Self {
        let mut world = Self {
            flaw,
            dice: Dice::new(seed),
            book: Book::default(),
            places: places(),
            cases: Vec::new(),
            points: Vec::new(),
            points_of_person: vec![Vec::new(); persons],
            nodes: Vec::new(),
            attempts: Vec::new(),
            by_number: Vec::new(),
            by_person: vec![Vec::new(); persons],
            by_case: Vec::new(),
            turns_of_person: vec![0; persons],
            turns_of_number: Vec::new(),
            bars: HashMap::new(),
            agreements: HashMap::new(),
            special_days: HashMap::new(),
            outside: HashMap::new(),
            later: BinaryHeap::new(),
            clicks: 0,
            left: 0,
            codes: HashMap::new(),
            by_agreement: 0,
            waited: 0,
            stopped: 0,
        };
        for _ in 0..3 {
            world.nodes.push(Node {
                offset_ms: 0,
                jumped_until_ms: 0,
                mended_at_ms: START,
                next_jump_ms: START + world.dice.below(DAY),
            });
        }
        world.people(persons);
        world.holidays();
        world
    }

    /// Persons with one or two cases each, own numbers, relatives, and numbers that two persons share.
    fn people(&mut self, persons: usize) {
        const CLIENTS: [Demands; 5] = [
            Demands::CnPlan,
            Demands::CnGbt,
            Demands::CnConsumerFinance,
            Demands::UsRegf,
            Demands::Bank,
        ];
        let rules = CLIENTS.map(|demands| rules_of(demands, self.flaw));
        let mut own_of: Vec<Vec<usize>> = Vec::new();
        let mut place_of: Vec<usize> = Vec::new();
        for person in 0..persons {
            let american = self.dice.percent(35);
            let mut own = Vec::new();
            for _ in 0..1 + self.dice.index(2) {
                // Now and then the number of the person before.
                if person > 0 && self.dice.percent(35) {
                    let shared = self.dice.pick(&self.points_of_person[person - 1]);
                    own.push(self.points[shared].number);
                    continue;
                }
                let elsewhere = 2 + self.dice.index(self.places.len() - 2);
                let usual = usize::from(american);
                place_of.push(if self.dice.percent(30) {
                    elsewhere
                } else {
                    usual
                });
                own_of.push(Vec::new());
                own.push(own_of.len() - 1);
            }
            own.dedup();
            for number in &own {
                if !own_of[*number].contains(&person) {
                    own_of[*number].push(person);
                }
            }
            let relative = own_of.len();
            own_of.push(Vec::new());
            place_of.push(usize::from(american));
            for _ in 0..1 + self.dice.index(2) {
                let client = if american {
                    3
                } else {
                    self.dice.pick(&[0, 1, 2, 4])
                };
                let case = self.cases.len();
                let all_invalid = self.dice.percent(10);
                let total = u32::try_from(own.len()).unwrap();
                self.cases.push(CaseRow {
                    rules: rules[client].clone(),
                    client,
                    person,
                    settled: false,
                    total,
                    invalid: if all_invalid { total } else { 0 },
                });
                let numbers = own.iter().map(|number| (*number, Relation::Debtor));
                for (number, relation) in numbers.chain([(relative, Relation::Relative)]) {
                    let place = place_of[number];
                    self.points_of_person[person].push(self.points.len());
                    self.points.push(PointRow {
                        case,
                        number,
                        place,
                        relation,
                    });
                    self.book.points.push(checker::Point {
                        demands: CLIENTS[client],
                        number,
                        case,
                        client,
                        persons: vec![person],
                        third_party: relation.is_third_party(),
                        zones: Vec::new(),
                        region: self.places[place].region,
                        all_invalid,
                    });
                    if self.dice.percent(20) {
                        self.agreement(self.points.len() - 1);
                    }
                }
            }
        }
        let database = TimeZoneDatabase::bundled();
        for (point, row) in self.book.points.iter_mut().zip(&self.points) {
            for person in &own_of[point.number] {
                if !point.persons.contains(person) {
                    point.persons.push(*person);
                }
            }
            let names = &self.places[row.place].zones.names;
            point.zones = names
                .iter()
                .map(|name| database.get(name).unwrap())
                .collect();
        }
        self.by_number = vec![Vec::new(); own_of.len()];
        self.turns_of_number = vec![0; own_of.len()];
        self.by_case = vec![Vec::new(); self.cases.len()];
    }

    fn agreement(&mut self, point: usize) {
        let from = START + self.dice.below(300 * DAY);
        let agreed = Agreed {
            point,
            from_hour: 6 + self.dice.below(3),
            to_hour: 22 + self.dice.below(2),
            from,
            until: from + self.dice.below(60 * DAY),
            uses: self.dice.index(5),
        };
        let span = format!("{:02}:00-{:02}:00", agreed.from_hour, agreed.to_hour);
        let hours = vec![span.parse().unwrap()];
        let week = Week {
            mon: hours.clone(),
            tue: hours.clone(),
            wed: hours.clone(),
            thu: hours.clone(),
            fri: hours.clone(),
            sat: hours.clone(),
            sun: hours,
        };
        let facts = AgreementFacts {
            id: AgreementId::new(i64::try_from(point).unwrap()),
            hours: week,
            from_ms: agreed.from,
            until_ms: agreed.until,
            uses_left: None,
            approved: true,
        };
        let uses = u32::try_from(agreed.uses).unwrap();
        self.agreements.insert(point, (facts, uses));
        self.book.agreed.push(agreed);
    }

    fn holidays(&mut self) {
        for (region, month, day, from_hour, to_hour) in [
            ("CN", 4, 5, 0, 0),
            ("CN", 6, 19, 10, 18),
            ("CN", 10, 1, 0, 0),
            ("CN", 10, 2, 0, 0),
            ("CN", 10, 3, 0, 24),
            ("US", 7, 4, 0, 0),
            ("US", 11, 26, 9, 12),
            ("US", 12, 25, 0, 0),
        ] {
            let date = jiff::civil::date(2026, month, day);
            self.book.special.push(Special {
                region,
                date,
                from_hour,
                to_hour,
            });
            let span = format!("{from_hour:02}:00-{to_hour:02}:00").parse();
            let day = SpecialDay {
                region: region.into(),
                date,
                name: "holiday".into(),
                hours: span.into_iter().collect(),
            };
            if self.flaw != Flaw::Holidays {
                self.special_days.entry(region).or_default().push(day);
            }
        }
    }

    fn run(&mut self, clicks: u64) {
        // Every other click is somebody trying again.
        let step = 2 * 365 * DAY / i64::try_from(clicks).unwrap();
        self.left = clicks;
        let mut at = START;
        while self.left > 0 {
            // Near full hours, where windows open and close, time goes slowly.
            let minute = at.rem_euclid(HOUR) / MINUTE;
            let slow = if minute == 0 || minute == 59 { 4 } else { 1 };
            at += 1 + self.dice.below((2 * step / slow).max(2));
            self.happen(at);
            self.trouble(at, clicks);
            let persons = self.points_of_person.len();
            // Half of all clicks go to a few persons who are called all day.
            let person = match self.dice.percent(50) {
                true => self.dice.index(persons.div_ceil(10)),
                false => self.dice.index(persons),
            };
            self.click(at, person);
        }
        self.happen(i64::MAX);
    }

    /// Carries out what is due.
    fn happen(&mut self, until: i64) {
        while let Some(Reverse((at, what))) = self.later.peek().copied() {
            if at > until {
                return;
            }
            self.later.pop();
            match what {
                Later::Seize(index) => self.seize(index, at),
                Later::End(index) => self.end(index),
                Later::Again(person) => self.click(at, person),
                Later::Bar(index) => {
                    let subject = self.book.barred[index].subject;
                    self.bars.entry(subject).or_default().push(index);
                }
                Later::Lift(index) => {
                    let subject = self.book.barred[index].subject;
                    let bars = self.bars.entry(subject).or_default();
                    bars.retain(|bar| *bar != index);
                }
                Later::Reopen(case, from) => {
                    self.cases[case].settled = false;
                    let subject = Subject::Case(case);
                    self.book.barred.push(Barred {
                        subject,
                        from,
                        until: at,
                    });
                }
            }
        }
    }

    /// Bars, settlements and other agencies, as they come.
    fn trouble(&mut self, at: i64, clicks: u64) {
        let often = i64::try_from(clicks / 3_000).unwrap().max(20);
        if self.dice.below(often) == 0 {
            let point = self.dice.index(self.points.len());
            let row = &self.points[point];
            let (number, case) = (row.number, row.case);
            let subject = match self.dice.below(40) {
                0 => Subject::Everything,
                1 => Subject::Client(self.cases[case].client),
                2..=15 => Subject::Number(number),
                16..=28 => Subject::Person(self.cases[case].person),
                _ => Subject::Case(case),
            };
            let until = at
                + 1
                + self.dice.below(match subject {
                    Subject::Everything | Subject::Client(_) => HOUR,
                    _ => 20 * DAY,
                });
            self.bars
                .entry(subject)
                .or_default()
                .push(self.book.barred.len());
            self.later
                .push(Reverse((until, Later::Lift(self.book.barred.len()))));
            let from = at + 1;
            self.book.barred.push(Barred {
                subject,
                from,
                until,
            });
        }
        if self.dice.below(often) == 0 {
            let case = self.dice.index(self.cases.len());
            if !self.cases[case].settled {
                self.cases[case].settled = true;
                let until = at + self.dice.below(10 * DAY);
                self.later
                    .push(Reverse((until, Later::Reopen(case, at + 1))));
            }
        }
        if self.dice.below(often) == 0 {
            let outside = Outside {
                person: self.dice.index(self.by_person.len()),
                from: at,
                until: at + 4 * HOUR,
                connected: self.dice.index(4),
            };
            self.book.outside.push(outside);
            self.outside
                .entry(outside.person)
                .or_default()
                .push(outside);
        }
    }

    /// Clocks drift, jump and are mended.
    fn clocks(&mut self, at: i64) {
        for node in &mut self.nodes {
            if at >= node.mended_at_ms {
                node.offset_ms = self.dice.below(2 * ERROR_MS + 1) - ERROR_MS;
                node.mended_at_ms = at + DAY;
            }
            if at >= node.next_jump_ms {
                // It jumps, somebody mends it, which is a jump as well, and a minute later it is trusted again.
                node.offset_ms += self.dice.below(24 * HOUR) - 12 * HOUR;
                node.mended_at_ms = at + 2 * MINUTE + self.dice.below(20 * MINUTE);
                node.jumped_until_ms = node.mended_at_ms + MINUTE;
                node.next_jump_ms = at + DAY + self.dice.below(2 * DAY);
            }
        }
    }

    fn click(&mut self, at: i64, person: usize) {
        if self.left == 0 {
            return;
        }
        self.clocks(at);
        if self.dice.percent(50) {
            let again = at + 1 + self.dice.below(2 * HOUR);
            self.later.push(Reverse((again, Later::Again(person))));
        }
        let point = self.dice.pick(&self.points_of_person[person]);
        let node = self.dice.index(self.nodes.len());
        let meanwhile = self.dice.percent(10).then(|| {
            let other = self.dice.pick(&self.points_of_person[person]);
            ((node + 1) % self.nodes.len(), other)
        });
        self.decide(at, node, point, meanwhile);
    }

    fn guards(&self, point: usize) -> (u64, Vec<u64>) {
        let point = &self.book.points[point];
        let persons = point.persons.iter();
        (
            self.turns_of_number[point.number],
            persons
                .map(|person| self.turns_of_person[*person])
                .collect(),
        )
    }

    /// One click, and another node's about the same person between its reading and its writing.
    fn decide(&mut self, at: i64, node: usize, point: usize, meanwhile: Option<(usize, usize)>) {
        self.clicks += 1;
        self.left = self.left.saturating_sub(1);
        let seen = self.guards(point);
        let mut verdict = self.verdict(at, node, point);
        if let Some((other, point)) = meanwhile {
            self.decide(at, other, point, None);
        }
        if self.guards(point) != seen && self.flaw != Flaw::NoGuards {
            // Somebody took the guards meanwhile: what was read is stale.
            self.waited += 1;
            verdict = self.verdict(at, node, point);
        }
        let row = &self.book.points[point];
        self.turns_of_number[row.number] += 1;
        for person in &row.persons {
            self.turns_of_person[*person] += 1;
        }
        match verdict {
            Verdict::Deny { reasons } => {
                for refusal in &reasons {
                    *self.codes.entry(refusal.reason.code()).or_default() += 1;
                }
            }
            Verdict::Allow {
                valid_until_ms,
                ring_ms,
                ring_until_ms,
                agreement,
                ..
            } => {
                if agreement.is_some() {
                    self.by_agreement += 1;
                    let uses = &mut self.agreements.get_mut(&point).unwrap().1;
                    *uses = uses.saturating_sub(1);
                }
                let wall_ms = at + self.nodes[node].offset_ms;
                let permit_ms = valid_until_ms - wall_ms;
                let ring_left_ms = ring_until_ms - wall_ms;
                self.begin(at, wall_ms, point, permit_ms, ring_ms, ring_left_ms);
            }
        }
    }

    /// Stores an attempt and plans what will become of it.
    fn begin(
        &mut self,
        at: i64,
        wall_ms: i64,
        point: usize,
        permit_ms: i64,
        ring_ms: i64,
        ring_left_ms: i64,
    ) {
        let index = self.attempts.len();
        let agent_ms = self.dice.below(20_000);
        let rings_ms = if self.dice.percent(40) {
            i64::MAX
        } else {
            self.dice.below(40_000)
        };
        let rings_ms = rings_ms.min(ring_ms).min(ring_left_ms - agent_ms).max(0);
        let answers = self.dice.percent(40);
        let talks_ms = if answers {
            self.dice.below(10 * MINUTE)
        } else {
            0
        };
        let row = &self.points[point];
        let dial = Dial {
            point,
            started: at,
            seized: None,
            rang_until: at,
            answered: false,
            ended: i64::MAX,
        };
        self.attempts.push(Attempt {
            dial,
            stored_ms: wall_ms,
            stored_end_ms: wall_ms + agent_ms + rings_ms + talks_ms,
            third_party: row.relation.is_third_party(),
            closed: false,
            answers,
        });
        self.by_number[row.number].push(index);
        self.by_case[row.case].push(index);
        for person in &self.book.points[point].persons {
            self.by_person[*person].push(index);
        }
        // Our own faults, and a permit that ran out while the agent's phone rang: nothing leaves.
        let leaves = agent_ms < permit_ms && !self.dice.percent(2);
        let end = at + agent_ms + rings_ms + talks_ms;
        if leaves {
            self.attempts[index].dial.rang_until = at + agent_ms + rings_ms;
            self.later
                .push(Reverse((at + agent_ms, Later::Seize(index))));
        }
        self.later.push(Reverse((end, Later::End(index))));
        self.attempts[index].dial.ended = end;
        // Now and then somebody says stop while the agent's phone rings.
        if self.dice.percent(1) {
            let person = self.cases[self.points[point].case].person;
            let (number, case) = (self.points[point].number, self.points[point].case);
            let subject = self.dice.pick(&[
                Subject::Number(number),
                Subject::Person(person),
                Subject::Case(case),
            ]);
            let from = at + self.dice.below(20_000);
            let until = from + HOUR + self.dice.below(DAY);
            let bar = self.book.barred.len();
            self.later.push(Reverse((from, Later::Bar(bar))));
            self.later.push(Reverse((until, Later::Lift(bar))));
            let from = from + 1;
            self.book.barred.push(Barred {
                subject,
                from,
                until,
            });
        }
    }

    fn is_barred(&self, point: usize) -> bool {
        self.bars_of(point).next().is_some()
    }

    fn bars_of(&self, point: usize) -> impl Iterator<Item = (Subject, usize)> + '_ {
        let row = &self.book.points[point];
        let persons = row.persons.iter().map(|person| Subject::Person(*person));
        let others = [
            Subject::Number(row.number),
            Subject::Case(row.case),
            Subject::Client(row.client),
            Subject::Everything,
        ];
        persons.chain(others).flat_map(|subject| {
            let bars = self.bars.get(&subject).into_iter().flatten();
            bars.map(move |bar| (subject, *bar))
        })
    }

    /// The second short transaction, just before the INVITE leaves.
    fn seize(&mut self, index: usize, at: i64) {
        let point = self.attempts[index].dial.point;
        let shut = self.cases[self.points[point].case].settled || self.is_barred(point);
        if shut && self.flaw != Flaw::NoSecondLook {
            self.stopped += 1;
            self.attempts[index].dial.rang_until = self.attempts[index].dial.started;
            return;
        }
        let attempt = &mut self.attempts[index];
        attempt.dial.seized = Some(at);
        attempt.dial.answered = attempt.answers;
    }

    fn end(&mut self, index: usize) {
        self.attempts[index].closed = true;
    }

    /// Closed attempts at the debtor's own numbers since the last that was answered, by their starts.
    fn failures(&self, case: usize) -> u32 {
        let mut failures = 0;
        for index in self.by_case[case].iter().rev() {
            let attempt = &self.attempts[*index];
            if attempt.third_party || attempt.dial.seized.is_none() {
                continue;
            }
            if attempt.dial.answered || failures > 5 {
                break;
            }
            failures += u32::from(attempt.closed);
        }
        failures
    }

    fn count(&self, list: &[usize], need: CountNeeded, third: bool, count: &mut Count) {
        // Nodes' clocks differ by seconds, so the list is in order only nearly.
        for index in list.iter().rev() {
            let attempt = &self.attempts[*index];
            if attempt.stored_ms < need.since_ms - MINUTE {
                break;
            }
            if third && !attempt.third_party {
                continue;
            }
            if !attempt.closed {
                count.under_way += 1;
                continue;
            }
            let dial = &attempt.dial;
            let counts = match need.measure {
                Measure::Seized => dial.seized.is_some(),
                Measure::Connected | Measure::Effective => dial.answered,
                Measure::Unanswered => dial.seized.is_some() && !dial.answered,
            };
            if counts && attempt.stored_ms >= need.since_ms {
                count.settled += 1;
            }
        }
    }

    fn last(&self, list: &[usize], need: LastNeeded, third: bool, last: &mut Last) {
        for index in list.iter().rev() {
            let attempt = &self.attempts[*index];
            // The last one that matters is days ago at most.
            if last
                .ended_ms
                .is_some_and(|ended| attempt.stored_ms < ended - DAY)
            {
                break;
            }
            if third && !attempt.third_party {
                continue;
            }
            let dial = &attempt.dial;
            let counts = match need.after {
                After::Attempt => dial.seized.is_some(),
                After::Conversation => dial.answered,
            };
            if !attempt.closed {
                last.under_way += 1;
            } else if counts {
                last.ended_ms = last.ended_ms.max(Some(attempt.stored_end_ms));
            }
        }
    }

    /// Everything a count or a last call of a scope is over: a list of attempts and, for persons, whose.
    fn lists(&self, point: usize, scope: Scope) -> Vec<(Option<usize>, &[usize])> {
        let row = &self.book.points[point];
        let persons = match self.flaw {
            Flaw::Shared => &row.persons[..1],
            _ => &row.persons[..],
        };
        match scope {
            Scope::ContactPoint | Scope::ThirdParty => vec![(None, &self.by_number[row.number])],
            Scope::Case | Scope::ThirdPartiesOfCase => vec![(None, &self.by_case[row.case])],
            Scope::Debtor | Scope::ThirdPartiesOfDebtor => persons
                .iter()
                .map(|person| (Some(*person), self.by_person[*person].as_slice()))
                .collect(),
        }
    }

    fn counts(&self, at: i64, point: usize, need: CountNeeded, counts: &mut Vec<Count>) {
        for (person, list) in self.lists(point, need.scope) {
            let mut count = Count::none(need);
            count.person = person.map(|person| PersonId::new(i64::try_from(person).unwrap()));
            self.count(list, need, need.scope.is_of_third_parties(), &mut count);
            if let (Some(person), false) = (person, self.flaw == Flaw::OthersCalls) {
                let others = self.outside.get(&person).into_iter().flatten();
                let now = others.filter(|o| (o.from..o.until).contains(&at));
                count.outside = u32::try_from(now.map(|o| o.connected).sum::<usize>()).unwrap();
            }
            counts.push(count);
        }
    }

    fn lasts(&self, point: usize, need: LastNeeded, lasts: &mut Vec<Last>) {
        for (person, list) in self.lists(point, need.scope) {
            let mut last = Last {
                after: need.after,
                scope: need.scope,
                person: person.map(|person| PersonId::new(i64::try_from(person).unwrap())),
                ended_ms: None,
                outside_ms: None,
                under_way: 0,
            };
            self.last(list, need, need.scope.is_of_third_parties(), &mut last);
            lasts.push(last);
        }
    }

    /// Reads the facts and decides.
    fn verdict(&mut self, at: i64, node: usize, point: usize) -> Verdict {
        let node = &self.nodes[node];
        let wall_ms = at + node.offset_ms;
        let jumped = at < node.jumped_until_ms && self.flaw != Flaw::TrustedJumps;
        let trust = match jumped {
            true => ClockTrust::Untrusted {
                why: Distrust::Jumped { by_ms: 1 },
            },
            false => ClockTrust::Trusted { error_ms: ERROR_MS },
        };
        let row = &self.points[point];
        let case = &self.cases[row.case];
        let (rules, place_index) = (case.rules.clone(), row.place);
        let place = &mut self.places[place_index];
        // The offsets reach 30 hours either way: read them again before they run out.
        if (wall_ms - place.read_at_ms).abs() > HOUR {
            let times = place.zones.times(wall_ms);
            place.inputs.zone_times = times.unwrap();
            place.read_at_ms = wall_ms;
        }
        let times = std::mem::take(&mut place.inputs.zone_times);
        let mut counts = std::mem::take(&mut self.places[place_index].inputs.counts);
        counts.clear();
        for cap in &rules.caps {
            if !cap.scope.applies_to(self.points[point].relation) {
                continue;
            }
            let need = CountNeeded {
                measure: cap.measure,
                scope: cap.scope,
                since_ms: cap.since_ms(wall_ms, &times).unwrap(),
                at_least_ms: cap.at_least_ms,
            };
            self.counts(at, point, need, &mut counts);
        }
        let mut lasts = std::mem::take(&mut self.places[place_index].inputs.lasts);
        lasts.clear();
        if !rules.pauses.is_empty() || !rules.gaps.is_empty() {
            for need in rules.lasts_needed() {
                self.lasts(point, need, &mut lasts);
            }
        }
        let bars: Vec<BarFacts> = match self.flaw {
            Flaw::Bars => Vec::new(),
            _ => self.bars_of(point).map(|bar| self.bar(bar)).collect(),
        };
        let agreements = self.agreements.get(&point).map(|(facts, uses)| {
            let uses = if self.flaw == Flaw::Uses { 9 } else { *uses };
            let mut facts = facts.clone();
            facts.uses_left = Some(uses);
            facts
        });
        let row = &self.points[point];
        let failures = self.failures(row.case);
        let case = &self.cases[row.case];
        let place = &mut self.places[place_index];
        let filled = &mut place.inputs;
        filled.now = Now {
            wall_ms,
            trust,
            origin: ClockOrigin::Test,
        };
        filled.case.state = match case.settled {
            true => CaseState::Settled,
            false => CaseState::Open,
        };
        filled.contact_point.relation = row.relation;
        filled.own_numbers = OwnNumbers {
            total: case.total,
            invalid: case.invalid,
            failures_in_a_row: failures,
        };
        filled.zone_times = times;
        filled.counts = counts;
        filled.lasts = lasts;
        filled.bars = bars;
        filled.agreements = agreements.into_iter().collect();
        let days = self.special_days.get(place.region);
        filled.special_days.clear();
        filled
            .special_days
            .extend(days.into_iter().flatten().cloned());
        let verdict = evaluate(filled, &rules);
        if self.clicks.is_multiple_of(2_048) && self.flaw == Flaw::None {
            compare(place, rules, &verdict);
        }
        verdict
    }

    fn bar(&self, (subject, index): (Subject, usize)) -> BarFacts {
        BarFacts {
            id: BarId::new(i64::try_from(index).unwrap()),
            kind: BarKind::ALL[index % BarKind::ALL.len()],
            scope: match subject {
                Subject::Number(_) => BarScope::Number,
                Subject::Person(_) => BarScope::Person,
                Subject::Case(_) => BarScope::Case,
                Subject::Client(_) => BarScope::Client,
                Subject::Everything => BarScope::Everything,
            },
            since_ms: self.book.barred[index].from,
        }
    }
}

/// The same facts through the front door, with receipt and replay.
fn compare(place: &Place, rules: Arc<RuleSet>, verdict: &Verdict) {
    let inputs = &place.inputs;
    let facts = Facts {
        case: inputs.case.clone(),
        contact_point: inputs.contact_point.clone(),
        number: place.number.clone(),
        zones: place.zones.clone(),
        counts: inputs.counts.clone(),
        lasts: inputs.lasts.clone(),
        own_numbers: inputs.own_numbers,
        bars: inputs.bars.clone(),
        agreements: inputs.agreements.clone(),
        special_days: inputs.special_days.clone(),
        rules,
    };
    let decision = decide(&facts, &inputs.now);
    assert_eq!(decision.verdict, *verdict);
    assert_eq!(replay(decision.receipt.text()).unwrap(), decision);
}

/// What the checker finds in a world.
fn judged(clicks: u64, seed: u64, flaw: Flaw) -> (World, Vec<(Broken, usize)>, usize) {
    let persons = usize::try_from(clicks / 3_000).unwrap().max(60);
    let mut world = World::new(persons, seed, flaw);
    world.run(clicks);
    let dials: Vec<Dial> = world.attempts.iter().map(|attempt| attempt.dial).collect();
    let found = violations(&world.book, &dials);
    (world, found, dials.len())
}

#[test]
fn in_a_year_of_dials_the_checker_finds_no_broken_demand() {
    let dials = std::env::var("RINGFENCE_DIALS").ok();
    let clicks: u64 = dials.map_or(1_000_000, |dials| dials.parse().unwrap());
    // Worlds of their own beside each other, as many as the machine has hands.
    let hands = 2;
    let worlds: Vec<_> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..hands)
            .map(|hand| scope.spawn(move || judged(clicks / hands, 7 + hand, Flaw::None)))
            .collect();
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    });
    for (world, found, allowed) in worlds {
        let first = found.first().map(|(what, index)| {
            let dial = world.attempts[*index].dial;
            format!("{what:?}: {dial:?} of {:?}", world.book.points[dial.point])
        });
        assert!(found.is_empty(), "{} broken, first {first:?}", found.len());
        // The year was not idle: every rule refused, agreements were used, nodes met, phones were stopped.
        let clicks = world.clicks;
        println!(
            "{clicks} clicks, {allowed} allowed ({} by agreement), {} waited, {} stopped; refused: {:?}",
            world.by_agreement, world.waited, world.stopped, world.codes
        );
        for code in [
            "clock_untrusted",
            "outside_window",
            "window_closing",
            "case_not_open",
            "do_not_call",
            "complaint_hold",
            "deceased",
            "suspected_fraud",
            "third_party_locked",
            "cap_reached",
            "pause_after_conversation",
            "too_soon",
        ] {
            assert!(
                world.codes.contains_key(code),
                "nothing was refused by {code}"
            );
        }
        assert!(allowed as u64 > clicks / 50, "{allowed} of {clicks}");
        assert!(world.by_agreement > 10 && world.waited > 100 && world.stopped > 0);
    }
}

#[test]
fn the_checker_finds_every_planted_flaw() {
    let flaws: [(Flaw, &[Broken]); 15] = [
        (Flaw::NoGuards, &[Broken::Connected, Broken::Gap]),
        (Flaw::NoSecondLook, &[Broken::Barred]),
        (Flaw::TrustedJumps, &[Broken::Hours]),
        (Flaw::Window, &[Broken::Hours]),
        (Flaw::Guard, &[Broken::Ringing]),
        (Flaw::Caps, &[Broken::Unanswered, Broken::Connected]),
        (Flaw::Seven, &[Broken::SevenInSeven]),
        (Flaw::Pause, &[Broken::Pause]),
        (Flaw::Gap, &[Broken::Gap]),
        (Flaw::Lock, &[Broken::ThirdParty]),
        (Flaw::Uses, &[Broken::AgreementUses]),
        (Flaw::Holidays, &[Broken::Hours]),
        (Flaw::Bars, &[Broken::Barred]),
        (Flaw::Shared, &[Broken::Connected]),
        (Flaw::OthersCalls, &[Broken::Connected]),
    ];
    let mut unnoticed = Vec::new();
    for (flaw, expected) in flaws {
        let (_, found, _) = judged(40_000, 3, flaw);
        for what in expected {
            let hits = found.iter().filter(|(broken, _)| broken == what).count();
            println!("{flaw:?}: {} found, {hits} of them {what:?}", found.len());
            if hits == 0 {
                unnoticed.push((flaw, *what));
            }
        }
    }
    assert!(unnoticed.is_empty(), "unnoticed: {unnoticed:?}");
}
