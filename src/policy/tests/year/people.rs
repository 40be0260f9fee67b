//! Who is called in the year of dials: persons, cases, numbers, agreements, holidays.

use std::collections::{BinaryHeap, HashMap};

use jiff::tz::TimeZoneDatabase;

use super::super::super::receipt::Inputs;
use super::super::checker::{self, Agreed, Book, Demands, Special};
use super::super::dice::Dice;
use super::*;

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
    pub(super) fn new(persons: usize, seed: u64, flaw: Flaw) -> Self {
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
            by_debtor: vec![Vec::new(); persons],
            refused: Vec::new(),
            faults: HashMap::new(),
            own: vec![Vec::new(); persons],
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
            // Of some a lead has found out that no number is theirs any more.
            if self.dice.percent(10) {
                for number in &own {
                    self.fault(*number, Some(person), (START, START), None, true);
                }
            }
            self.own[person].clone_from(&own);
            for _ in 0..1 + self.dice.index(2) {
                let client = if american {
                    3
                } else {
                    self.dice.pick(&[0, 1, 2, 4])
                };
                let case = self.cases.len();
                self.cases.push(CaseRow {
                    rules: rules[client].clone(),
                    client,
                    person,
                    settled: false,
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
                        debtor: person,
                        zones: Vec::new(),
                        region: self.places[place].region,
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
}
