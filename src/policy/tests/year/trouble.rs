//! What else happens in the year of dials: bars, settlements, other agencies' calls, and what is said at the end of a talk
//! or without one.

use super::super::checker::{Fault, Refused};
use super::*;

impl World {
    /// Bars, settlements and other agencies, as they come.
    pub(super) fn trouble(&mut self, at: i64, clicks: u64) {
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
            self.words(at);
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

    /// Notes something wrong with a number: what counts is in the checker's book too.
    pub(super) fn fault(
        &mut self,
        number: usize,
        person: Option<usize>,
        (at, at_ms): (i64, i64),
        attempt: Option<usize>,
        counts: bool,
    ) {
        let book = counts.then_some(self.book.faults.len());
        if counts {
            self.book.faults.push(Fault {
                number,
                debtor: person,
                from: at,
                until: i64::MAX,
            });
        }
        self.faults.entry(number).or_default().push(FaultRow {
            person,
            at_ms,
            counts,
            attempt,
            lifted: false,
            book,
        });
    }

    /// Agents write of numbers without a call, and leads say that one is good again.
    fn words(&mut self, at: i64) {
        let point = self.dice.index(self.points.len());
        let (number, relation) = (self.points[point].number, self.points[point].relation);
        if relation.is_third_party() {
            return;
        }
        let person = self.cases[self.points[point].case].person;
        if self.dice.percent(50) {
            let whose = self.dice.percent(50).then_some(person);
            return self.fault(number, whose, (at, at), None, false);
        }
        let faults = self.faults.entry(number).or_default().iter_mut();
        for fault in faults.filter(|f| !f.lifted && f.person.is_none_or(|p| p == person)) {
            fault.lifted = true;
            if let Some(book) = fault.book {
                self.book.faults[book].until = at;
            }
        }
    }

    pub(super) fn end(&mut self, index: usize, at: i64) {
        self.attempts[index].closed = true;
        let attempt = &self.attempts[index];
        // Now and then a third party says at the end of the talk: never again.
        if attempt.third_party && attempt.dial.answered && self.dice.percent(4) {
            let point = &self.points[attempt.dial.point];
            let debtor = self.cases[point.case].person;
            self.refused.push((point.number, debtor, point.case));
            self.book.refused.push(Refused {
                number: point.number,
                debtor,
                from: at + 1,
            });
        }
        // Who answers at an own number may be a stranger, and a number that does not answer may be dead.
        let attempt = &self.attempts[index];
        let (dial, point) = (attempt.dial, &self.points[attempt.dial.point]);
        let (number, found) = (point.number, (at, attempt.stored_end_ms));
        let person = self.cases[point.case].person;
        if attempt.third_party || dial.seized.is_none() {
            return;
        }
        if dial.answered && self.dice.percent(10) {
            self.fault(number, Some(person), found, Some(index), true);
        } else if !dial.answered && dial.by_callee && self.dice.percent(3) {
            self.fault(number, None, found, Some(index), true);
        }
    }
}
