//! A checker that shares no code with the gate: the demands of the service plan's table of presets, and of one stricter
//! bank, over a log of what really happened, by true time.
//!
//! It asks the time-zone database for the local time of single instants, counts calls by walking the log, and knows of
//! the rules only the constants in this file. The gate's view of time and counters is not its business.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Whose demands a case is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demands {
    /// 6 unanswered attempts per contact point and day, 3 connected calls per debtor and day.
    CnPlan,
    /// 3 effective calls per debtor and day.
    CnGbt,
    /// As the plan.
    CnConsumerFinance,
    /// 7 attempts per debt in 7 days, 7 days' pause after a conversation.
    UsRegf,
    /// As the plan, and: weekends shut, 30 minutes between two tries of a number and 10 of a debtor, 2 connected calls to
    /// third parties of a case in 7 days.
    Bank,
}

/// What the checker knows of a contact point.
#[derive(Debug, Clone)]
pub struct Point {
    pub demands: Demands,
    pub number: usize,
    pub case: usize,
    pub client: usize,
    /// Everybody for whom a call to the number counts.
    pub persons: Vec<usize>,
    pub third_party: bool,
    /// Who owes the case.
    pub debtor: usize,
    /// Every zone the person may be in.
    pub zones: Vec<TimeZone>,
    /// Where special days are those of.
    pub region: &'static str,
}

/// One allowed dial, as it really happened. Milliseconds UTC.
#[derive(Debug, Clone, Copy)]
pub struct Dial {
    pub point: usize,
    pub started: i64,
    /// When the customer INVITE left, if it did.
    pub seized: Option<i64>,
    /// When the ringing was over, if it rang.
    pub rang_until: i64,
    pub answered: bool,
    /// If it was not answered, that was the doing of the person called or their number; not of the agent, a trunk or us.
    pub by_callee: bool,
    pub ended: i64,
}

/// A third party who said, as it really happened, that nobody shall call this number again for this debtor.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    pub number: usize,
    pub debtor: usize,
    pub from: i64,
}

/// What was found wrong with a number, as it really happened, on a call or by somebody who may judge it.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub number: usize,
    /// Whose number it is not; `None`: nobody's, for it is dead.
    pub debtor: Option<usize>,
    pub from: i64,
    /// When somebody said that it is good again.
    pub until: i64,
}

/// What a bar or a closed case covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Number(usize),
    Person(usize),
    Case(usize),
    Client(usize),
    Everything,
}

/// A stretch of time in which something must not be called.
#[derive(Debug, Clone, Copy)]
pub struct Barred {
    pub subject: Subject,
    pub from: i64,
    pub until: i64,
}

/// Hours of every weekday that somebody agreed to.
#[derive(Debug, Clone, Copy)]
pub struct Agreed {
    pub point: usize,
    pub from_hour: i64,
    pub to_hour: i64,
    pub from: i64,
    pub until: i64,
    pub uses: usize,
}

/// A day with hours of its own.
#[derive(Debug, Clone, Copy)]
pub struct Special {
    pub region: &'static str,
    pub date: Date,
    pub from_hour: i64,
    pub to_hour: i64,
}

/// Connected calls and tries that another agency made on a day.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    pub person: usize,
    pub from: i64,
    pub until: i64,
    pub connected: usize,
}

/// Everything besides the dials.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub points: Vec<Point>,
    pub barred: Vec<Barred>,
    pub agreed: Vec<Agreed>,
    pub special: Vec<Special>,
    pub outside: Vec<Outside>,
    pub refused: Vec<Refused>,
    pub faults: Vec<Fault>,
}

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// Started, or left the house, outside the hours.
    Hours,
    /// Rang outside the hours.
    Ringing,
    /// An agreement used more often than agreed.
    AgreementUses,
    /// The seventh unanswered attempt of a number and day.
    Unanswered,
    /// The fourth connected call of a debtor and day.
    Connected,
    /// The eighth attempt on a debt in 7 days.
    SevenInSeven,
    /// A call within 7 days after a conversation.
    Pause,
    /// Too soon after the last try.
    Gap,
    /// A third party before loss of contact.
    ThirdParty,
    /// Too many calls to third parties.
    ThirdPartyCap,
    /// A third party who had refused.
    Refused,
    /// Something barred or closed.
    Barred,
}

const DAY: i64 = 86_400_000;
/// Two clocks, each right to within two seconds, may disagree by four: so inexact is a stretch of days between instants
/// that two of them noted, and so is a midnight, to which a call may belong that was made where it is noon.
const CLOCKS_DISAGREE: i64 = 4_000;

struct Checker<'a> {
    book: &'a Book,
    dials: &'a [Dial],
    by_number: Vec<Vec<usize>>,
    by_person: Vec<Vec<usize>>,
    by_case: Vec<Vec<usize>>,
    own_of_debtor: Vec<Vec<usize>>,
    /// The own numbers of each debtor, in whatever case.
    numbers_of: Vec<Vec<usize>>,
    faults: std::collections::HashMap<usize, Vec<Fault>>,
    refused: std::collections::HashMap<(usize, usize), i64>,
    bars: std::collections::HashMap<Subject, Vec<Barred>>,
    outside: std::collections::HashMap<usize, Vec<Outside>>,
    agreed: Vec<Option<(Agreed, usize)>>,
    found: Vec<(Broken, usize)>,
}

/// Every demand that a dial broke. The dials are in the order of their starts.
pub fn violations(book: &Book, dials: &[Dial]) -> Vec<(Broken, usize)> {
    let most = |of: &dyn Fn(&Point) -> usize| book.points.iter().map(of).max().unwrap_or(0) + 1;
    let mut checker = Checker {
        book,
        dials,
        by_number: vec![Vec::new(); most(&|point| point.number)],
        by_person: vec![Vec::new(); most(&|point| *point.persons.iter().max().unwrap())],
        by_case: vec![Vec::new(); most(&|point| point.case)],
        own_of_debtor: vec![Vec::new(); most(&|point| point.debtor)],
        numbers_of: vec![Vec::new(); most(&|point| point.debtor)],
        faults: std::collections::HashMap::new(),
        refused: std::collections::HashMap::new(),
        bars: std::collections::HashMap::new(),
        outside: std::collections::HashMap::new(),
        agreed: vec![None; book.points.len()],
        found: Vec::new(),
    };
    for barred in &book.barred {
        checker
            .bars
            .entry(barred.subject)
            .or_default()
            .push(*barred);
    }
    for outside in &book.outside {
        checker
            .outside
            .entry(outside.person)
            .or_default()
            .push(*outside);
    }
    for point in book.points.iter().filter(|point| !point.third_party) {
        let numbers = &mut checker.numbers_of[point.debtor];
        if !numbers.contains(&point.number) {
            numbers.push(point.number);
        }
    }
    for fault in &book.faults {
        checker.faults.entry(fault.number).or_default().push(*fault);
    }
    for refused in &book.refused {
        let from = checker
            .refused
            .entry((refused.number, refused.debtor))
            .or_insert(refused.from);
        *from = refused.from.min(*from);
    }
    for agreed in &book.agreed {
        checker.agreed[agreed.point] = Some((*agreed, 0));
    }
    assert!(dials.is_sorted_by_key(|dial| dial.started));
    for (index, dial) in dials.iter().enumerate() {
        checker.check(index, *dial);
    }
    checker.found
}

impl Checker<'_> {
    fn check(&mut self, index: usize, dial: Dial) {
        let point = &self.book.points[dial.point];
        let mut broken = Vec::new();
        self.hours(&dial, point, &mut broken);
        self.counts(&dial, point, &mut broken);
        self.third_party(&dial, point, &mut broken);
        self.barred(&dial, point, &mut broken);
        self.found
            .extend(broken.into_iter().map(|what| (what, index)));
        // A dial whose INVITE never left is as if it had not been, but for its hours.
        if dial.seized.is_some() {
            self.by_number[point.number].push(index);
            self.by_case[point.case].push(index);
            if !point.third_party {
                self.own_of_debtor[point.debtor].push(index);
            }
            for person in &point.persons {
                self.by_person[*person].push(index);
            }
        }
    }

    fn usual_hours(&self, point: &Point, at: i64) -> bool {
        point.zones.iter().all(|tz| {
            let local = tz.to_datetime(Timestamp::from_millisecond(at).unwrap());
            let weekend = local.date().weekday().to_monday_zero_offset() >= 5;
            let hour = i64::from(local.hour());
            let special = |day: &&Special| day.region == point.region && day.date == local.date();
            let mut days = self.book.special.iter().filter(special);
            (8..21).contains(&hour)
                && !(point.demands == Demands::Bank && weekend)
                && days.all(|day| (day.from_hour..day.to_hour).contains(&hour))
        })
    }

    fn agreed_hours(&self, point: &Point, agreed: &Agreed, at: i64) -> bool {
        let holds = (agreed.from..agreed.until).contains(&at);
        holds
            && point.zones.iter().all(|tz| {
                let local = tz.to_datetime(Timestamp::from_millisecond(at).unwrap());
                let special =
                    |day: &Special| day.region == point.region && day.date == local.date();
                let hour = i64::from(local.hour());
                !self.book.special.iter().any(special)
                    && (agreed.from_hour..agreed.to_hour).contains(&hour)
            })
    }

    fn hours(&mut self, dial: &Dial, point: &Point, broken: &mut Vec<Broken>) {
        let instants = [
            (dial.started, Broken::Hours),
            (dial.seized.unwrap_or(dial.started), Broken::Hours),
            (dial.rang_until, Broken::Ringing),
        ];
        let outside: Vec<_> = instants
            .into_iter()
            .filter(|(at, _)| !self.usual_hours(point, *at))
            .collect();
        if outside.is_empty() {
            return;
        }
        let Some((agreed, used)) = self.agreed[dial.point] else {
            return broken.extend(outside.into_iter().map(|(_, what)| what));
        };
        let unagreed = |(at, _): &&(i64, Broken)| !self.agreed_hours(point, &agreed, *at);
        broken.extend(outside.iter().filter(unagreed).map(|(_, what)| *what));
        if used >= agreed.uses {
            broken.push(Broken::AgreementUses);
        }
        self.agreed[dial.point] = Some((agreed, used + 1));
    }

    /// The dials of a list from an instant on, latest first.
    fn since<'b>(&'b self, list: &'b [usize], from: i64) -> impl Iterator<Item = &'b Dial> {
        list.iter()
            .rev()
            .map(|index| &self.dials[*index])
            .take_while(move |dial| dial.started >= from)
    }

    fn counts(&self, dial: &Dial, point: &Point, broken: &mut Vec<Broken>) {
        let now = dial.started;
        let day = |tz: &TimeZone| {
            let local = tz.to_datetime(Timestamp::from_millisecond(now).unwrap());
            let midnight = local.date().at(0, 0, 0, 0);
            tz.to_timestamp(midnight).unwrap().as_millisecond() + CLOCKS_DISAGREE
        };
        let number = &self.by_number[point.number];
        let case = &self.by_case[point.case];
        match point.demands {
            Demands::UsRegf => {
                let from = now - 7 * DAY + CLOCKS_DISAGREE;
                if self.since(case, from).count() >= 7 {
                    broken.push(Broken::SevenInSeven);
                }
                let talked = |other: &&Dial| other.answered && other.ended > from;
                // A conversation that began a little earlier may have ended in these seven days.
                if self.since(case, from - DAY).any(|other| talked(&other)) {
                    broken.push(Broken::Pause);
                }
                return;
            }
            Demands::CnPlan | Demands::CnConsumerFinance | Demands::Bank => {
                let unanswered = |tz| self.since(number, day(tz)).filter(|d| !d.answered).count();
                if point.zones.iter().any(|tz| unanswered(tz) >= 6) {
                    broken.push(Broken::Unanswered);
                }
            }
            Demands::CnGbt => {}
        }
        for person in &point.persons {
            let ours = |tz| {
                let calls = self.since(&self.by_person[*person], day(tz));
                calls.filter(|d| d.answered).count()
            };
            let others = self.outside.get(person).into_iter().flatten();
            let theirs: usize = others
                .filter(|o| (o.from..o.until).contains(&now))
                .map(|o| o.connected)
                .sum();
            if point.zones.iter().any(|tz| ours(tz) + theirs >= 3) {
                broken.push(Broken::Connected);
            }
        }
        if point.demands == Demands::Bank {
            let too_soon = |list: &[usize], minutes: i64| {
                let since = now - minutes * 60_000 + CLOCKS_DISAGREE;
                let mut before = self.since(list, since - DAY);
                before.any(|other| other.ended > since)
            };
            let by_person = |person: &usize| too_soon(&self.by_person[*person], 10);
            if too_soon(number, 30) || point.persons.iter().any(by_person) {
                broken.push(Broken::Gap);
            }
            let third = |other: &&Dial| other.answered && self.book.points[other.point].third_party;
            let calls = self
                .since(case, now - 7 * DAY + CLOCKS_DISAGREE)
                .filter(third);
            if point.third_party && calls.count() >= 2 {
                broken.push(Broken::ThirdPartyCap);
            }
        }
    }

    fn third_party(&self, dial: &Dial, point: &Point, broken: &mut Vec<Broken>) {
        if !point.third_party {
            return;
        }
        let refused = self.refused.get(&(point.number, point.debtor));
        let rang = dial.seized.unwrap_or(dial.started);
        if refused.is_some_and(|from| *from <= rang) {
            broken.push(Broken::Refused);
        }
        let numbers = &self.numbers_of[point.debtor];
        if !numbers.is_empty()
            && numbers
                .iter()
                .all(|number| self.gone(*number, dial, point.debtor))
        {
            return;
        }
        // What was on record then of the debtor's own numbers, in whichever case: dials that were over before this one
        // began and say something of the debtor.
        let telling =
            |other: &&Dial| other.ended <= dial.started && (other.answered || other.by_callee);
        let last_three: Vec<bool> = self
            .since(&self.own_of_debtor[point.debtor], i64::MIN)
            .filter(telling)
            .take(3)
            .map(|other| other.answered)
            .collect();
        if last_three != [false, false, false] {
            broken.push(Broken::ThirdParty);
        }
    }

    /// Whether a number does not reach a debtor, by what was on record when a dial began: it is dead, or not the number of
    /// this very debtor, and nobody has answered there since; where it is not his, he himself.
    fn gone(&self, number: usize, dial: &Dial, debtor: usize) -> bool {
        let faults = self.faults.get(&number).into_iter().flatten();
        let mut standing = faults.filter(|fault| {
            (fault.from..fault.until).contains(&dial.started)
                && fault.debtor.is_none_or(|of| of == debtor)
        });
        standing.any(|fault| {
            let calls = self.since(&self.by_number[number], fault.from - DAY);
            let answered = |other: &Dial| {
                let point = &self.book.points[other.point];
                let own = !point.third_party && point.debtor == debtor;
                other.answered && other.ended > fault.from && (own || fault.debtor.is_none())
            };
            !calls
                .into_iter()
                .any(|other| other.ended <= dial.started && answered(other))
        })
    }

    fn barred(&self, dial: &Dial, point: &Point, broken: &mut Vec<Broken>) {
        let persons = point.persons.iter().map(|person| Subject::Person(*person));
        let mut subjects: Vec<Subject> = persons.collect();
        subjects.extend([
            Subject::Number(point.number),
            Subject::Case(point.case),
            Subject::Client(point.client),
            Subject::Everything,
        ]);
        let instants = [Some(dial.started), dial.seized];
        for at in instants.into_iter().flatten() {
            let barred = |subject| {
                let bars = self.bars.get(subject).into_iter().flatten();
                bars.into_iter()
                    .any(|bar| (bar.from..bar.until).contains(&at))
            };
            if subjects.iter().any(barred) {
                broken.push(Broken::Barred);
            }
        }
    }
}
