//! What the year's gate reads from its store before it decides, as the queries of a database would answer.

use super::super::super::decide::evaluate;
use super::super::checker::Subject;
use super::*;

impl World {
    pub(super) fn is_barred(&self, point: usize) -> bool {
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

    /// Whether the third party at this point refused, in any case of the debtor.
    pub(super) fn has_refused(&self, point: usize) -> bool {
        let row = &self.points[point];
        let debtor = self.cases[row.case].person;
        self.refused.iter().any(|(number, of, case)| {
            let same_case = self.flaw != Flaw::RefusalByCase || *case == row.case;
            (*number, *of) == (row.number, debtor) && same_case
        })
    }

    /// Closed attempts at the debtor's own numbers that the debtor's side failed since the last that was answered, by
    /// their starts.
    fn failures(&self, case: usize) -> u32 {
        let mut failures = 0;
        let list = match self.flaw {
            Flaw::LockByCase => &self.by_case[case],
            _ => &self.by_debtor[self.cases[case].person],
        };
        for index in list.iter().rev() {
            let attempt = &self.attempts[*index];
            if attempt.third_party || attempt.dial.seized.is_none() {
                continue;
            }
            if attempt.dial.answered || failures > 5 {
                break;
            }
            let told = attempt.dial.by_callee || self.flaw == Flaw::HangUps;
            failures += u32::from(attempt.closed && told);
        }
        failures
    }

    /// How many of a person's own numbers do not reach that person: dead, or found not to be theirs, and nobody answered
    /// there since.
    fn invalid(&self, person: usize) -> u32 {
        let own = self.own[person].iter();
        u32::try_from(own.filter(|number| self.gone(**number, person)).count()).unwrap()
    }

    fn gone(&self, number: usize, person: usize) -> bool {
        let mut faults = self.faults.get(&number).into_iter().flatten();
        faults.any(|fault| {
            let whose = fault.person.is_none_or(|of| of == person);
            let concerns = whose || self.flaw == Flaw::AnybodysFaults;
            let counts = fault.counts || self.flaw == Flaw::BareWord;
            if fault.lifted || !concerns || !counts {
                return false;
            }
            if self.flaw == Flaw::FaultsForGood {
                return true;
            }
            let calls = self.by_number[number].iter().rev();
            // Nodes' clocks differ by seconds, and nobody talks for a day.
            let near =
                calls.take_while(|index| self.attempts[**index].stored_ms >= fault.at_ms - DAY);
            let answered = |index: &&usize| {
                let attempt = &self.attempts[**index];
                let of = self.cases[self.points[attempt.dial.point].case].person;
                let own = !attempt.third_party && of == person;
                attempt.closed
                    && attempt.dial.answered
                    && attempt.stored_end_ms + 5_000 > fault.at_ms
                    && fault.attempt != Some(**index)
                    && (own || fault.person.is_none())
            };
            !near.into_iter().any(|index| answered(&index))
        })
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
    pub(super) fn verdict(&mut self, at: i64, node: usize, point: usize) -> Verdict {
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
        let refused = self.has_refused(point);
        let row = &self.points[point];
        let failures = self.failures(row.case);
        let case = &self.cases[row.case];
        // Nothing else looks at it.
        let invalid = match row.relation.is_third_party() {
            true => self.invalid(case.person),
            false => 0,
        };
        let total = u32::try_from(self.own[case.person].len()).unwrap();
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
        filled.contact_point.refused = refused;
        filled.own_numbers = OwnNumbers {
            total,
            invalid,
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
