//! A year of dials through the gate on real databases: two nodes with clocks of their own that drift and jump, clicks
//! at the same instant, persons with two banks who share numbers, bars and settlements that arrive while phones ring,
//! other agencies, agreements, holidays. Judged by `policy/tests/checker.rs`, which shares no code with the gate.
//!
//! `cargo test` runs 2,000 clicks on each database; `RINGFENCE_DB_DIALS=100000` with `--release` is what `make bench` runs.

mod people;
mod trouble;

use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;
use crate::{
    call::{Cause, Class},
    clock::{ClockTrust, KernelState},
    ids::{BarId, CaseId},
    policy::{
        BarKind, CaseState,
        tests::{
            checker::{self, Book, Demands, Dial, Fault, Refused, Subject, violations},
            dice::Dice,
        },
    },
    store::{
        attempts::Seizure,
        bars::{self, NewBar, Subject as Barred},
        cases, contact_points,
        number_faults::{self, FaultKind, Lifting, NewFault},
    },
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-03-01T00:00 in Shanghai; a year holds every change of clocks there is.
const START: i64 = 1_772_294_400_000;
/// Clocks that are trusted are right to within this.
const ERROR_MS: i64 = 2_000;
/// Clicks at one instant.
const AT_ONCE: usize = 6;

const BANKS: [(&str, Demands, &str); 5] = [
    ("plan", Demands::CnPlan, ""),
    (
        "gbt",
        Demands::CnGbt,
        "base = 'cn-gbt'\nname = 'gbt'\nrevision = '1'\n",
    ),
    (
        "consumer",
        Demands::CnConsumerFinance,
        "base = 'cn-consumer-finance'\nname = 'consumer'\nrevision = '1'\n",
    ),
    (
        "regf",
        Demands::UsRegf,
        "base = 'us-regf'\nname = 'regf'\nrevision = '1'\n",
    ),
    (
        "bank",
        Demands::Bank,
        "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[window]\nclause = '1'\n[window.week]\nsat = []\nsun = []\n\
         [[caps]]\nclause = '2'\nmeasure = 'connected'\nscope = 'third_parties_of_case'\nperiod = '7d'\nlimit = 2\n\
         [[gaps]]\nclause = '3'\nscope = 'contact_point'\nminutes = 30\n\
         [[gaps]]\nclause = '3'\nscope = 'debtor'\nminutes = 10\n",
    ),
];

/// What becomes of a call that nobody answers: mostly the doing of who is called, but of the agent and the trunk too.
const UNANSWERED: [Cause; 6] = [
    Cause::NoAnswer,
    Cause::NoAnswer,
    Cause::Busy,
    Cause::Cancelled,
    Cause::Congestion,
    Cause::TrunkDown,
];

/// What happens later, by true time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    Seize(usize),
    End(usize),
    Lift(BarId, usize),
    Reopen(CaseId, usize),
}

/// An attempt that was allowed.
struct Made {
    dial: Dial,
    call: CallId,
    node: usize,
    ring_until_ms: i64,
    answers: bool,
    by_agreement: bool,
}

struct Node {
    gate: Arc<Gate>,
    clock: TestClock,
    wrong_by_ms: i64,
}

struct World {
    db: Db,
    dice: Dice,
    nodes: Vec<Node>,
    /// Node and contact points as the database has them, beside what the checker knows of them.
    points: Vec<(ContactPointId, CaseId, i64)>,
    book: Book,
    made: Vec<Made>,
    later: BinaryHeap<Reverse<(i64, Later)>>,
    now_ms: i64,
    agent: AgentId,
    stopped: u64,
    refused: u64,
}

impl World {
    /// Persons with a case at each of two banks, an own number each, one number that every pair of them shares, and a
    /// friend whom only loss of contact opens, and whom the second bank knows under another name. Of some pairs no number
    /// works any more.
    async fn new(test: &Test, persons: u32, seed: u64, dir: &std::path::Path) -> Self {
        for (code, _, text) in BANKS.iter().filter(|(_, _, text)| !text.is_empty()) {
            std::fs::write(dir.join(format!("{code}.toml")), text).unwrap();
        }
        let rules = Rulebook::open(Preset::CnPlan, Some(dir.into()), "main").unwrap();
        let mut nodes = Vec::new();
        for name in ["a", "b"] {
            let clock = TestClock::standing(START);
            clock.set_kernel(KernelState::Synchronised {
                max_error_us: ERROR_MS * 1_000,
            });
            let db = Db::open(&test.options).await.unwrap();
            let gate = node(
                name,
                db,
                Clock::test(clock.clone(), TrustMode::Kernel),
                rules.clone(),
            );
            nodes.push(Node {
                gate,
                clock,
                wrong_by_ms: 0,
            });
        }
        let floor = floor(&test.db, 0).await;
        let mut world = Self {
            db: test.db.clone(),
            dice: Dice::new(seed),
            nodes,
            points: Vec::new(),
            book: Book::default(),
            made: Vec::new(),
            later: BinaryHeap::new(),
            now_ms: START,
            agent: floor.agent,
            stopped: 0,
            refused: 0,
        };
        world.people(persons).await;
        world.agreements().await;
        world.holidays_and_other_agencies().await;
        rules.note(&test.db, "system", START).await.unwrap();
        world
    }

    /// True time goes on; every clock with it, each with an error of its own.
    fn advance(&mut self, to_ms: i64) {
        let by = to_ms - self.now_ms;
        self.now_ms = to_ms;
        for node in &mut self.nodes {
            node.clock.advance(Duration::from_millis(by.unsigned_abs()));
            match self.dice.below(400) {
                // A jump: by minutes or hours, in either direction; later somebody mends it.
                0 if node.wrong_by_ms.abs() <= ERROR_MS => {
                    let jump = (self.dice.below(12 * 60) - 6 * 60) * MINUTE;
                    node.clock.jump(jump);
                    node.wrong_by_ms += jump;
                    // The kernel knows that nothing keeps it right any more.
                    if node.wrong_by_ms.abs() > ERROR_MS {
                        node.clock.set_kernel(KernelState::Unsynchronised);
                    }
                }
                1..=100 if node.wrong_by_ms.abs() > ERROR_MS => {
                    node.clock.jump(-node.wrong_by_ms);
                    node.wrong_by_ms = 0;
                    node.clock.set_kernel(KernelState::Synchronised {
                        max_error_us: ERROR_MS * 1_000,
                    });
                }
                // Or it drifts within its bound.
                2..=20 if node.wrong_by_ms.abs() <= ERROR_MS => {
                    let to = self.dice.below(2 * ERROR_MS) - ERROR_MS;
                    let by = (to - node.wrong_by_ms).clamp(-900, 900);
                    node.clock.jump(by);
                    node.wrong_by_ms += by;
                }
                _ => {}
            }
        }
    }

    async fn run(&mut self, clicks: usize) {
        let rounds = clicks / AT_ONCE;
        let step = 365 * DAY / rounds as i64;
        let mut next = 0u32;
        let mut at = START;
        for _ in 0..rounds {
            // Bursts: most clicks come soon after each other, and some rounds pass a long time.
            at += match self.dice.below(4) {
                0 => self.dice.below(8 * step),
                _ => self.dice.below(20 * MINUTE).min(step),
            };
            while let Some(Reverse((due, what))) = self.later.peek().copied() {
                if due > at {
                    break;
                }
                self.later.pop();
                self.advance(due.max(self.now_ms));
                self.happen(what).await;
            }
            self.advance(at.max(self.now_ms));
            if self.dice.below(60) == 0 {
                self.bar_or_settle().await;
            }
            let hot = self.dice.index(self.points.len());
            let mut asked = tokio::task::JoinSet::new();
            for n in 0..AT_ONCE {
                // Clicks at once are about persons near each other.
                let near = (hot + self.dice.index(6)) % self.points.len();
                let gate = self.nodes[n % 2].gate.clone();
                let request = click(self.points[near].0, self.agent);
                let (call, receipt) = ids(next);
                next += 1;
                asked.spawn(async move {
                    (
                        near,
                        n % 2,
                        call,
                        decided(&gate, &request, call, receipt).await,
                    )
                });
            }
            let mut answers = asked.join_all().await;
            answers.sort_by_key(|(_, _, call, _)| *call);
            for (point, node, call, gated) in answers {
                match gated {
                    Gated::Allowed(granted) => self.allowed(point, node, call, &granted).await,
                    _ => self.refused += 1,
                }
            }
        }
        while let Some(Reverse((due, what))) = self.later.pop() {
            self.advance(due.max(self.now_ms));
            self.happen(what).await;
        }
    }

    async fn allowed(&mut self, point: usize, node: usize, call: CallId, granted: &Granted) {
        let at = self.made.len();
        let mut tx = self.db.read().await.unwrap();
        let uses = Sql {
            act: "count",
            text: "SELECT COUNT(*) AS n FROM agreement_uses u JOIN attempts a ON a.receipt_id = u.receipt_id WHERE a.id = $1",
        };
        let used: i64 = tx
            .fetch_one(&uses, vec![call.into()])
            .await
            .unwrap()
            .get("n")
            .unwrap();
        self.made.push(Made {
            dial: Dial {
                point,
                started: self.now_ms,
                seized: None,
                rang_until: self.now_ms,
                answered: false,
                by_callee: false,
                ended: i64::MAX,
            },
            call,
            node,
            ring_until_ms: granted.ring_until_ms,
            answers: self.dice.below(3) == 0,
            by_agreement: used > 0,
        });
        let wait = self.dice.below(150_000);
        let later = if self.dice.below(8) == 0 {
            Later::End(at)
        } else {
            Later::Seize(at)
        };
        self.later.push(Reverse((self.now_ms + wait, later)));
    }

    async fn happen(&mut self, what: Later) {
        match what {
            Later::Seize(at) => self.seize(at).await,
            Later::End(at) => self.end(at).await,
            Later::Lift(id, index) => {
                let mut tx = self.db.begin().await.unwrap();
                bars::lift(&mut tx, id, "lin", self.now_ms).await.unwrap();
                tx.commit().await.unwrap();
                self.book.barred[index].until = self.now_ms;
            }
            Later::Reopen(case, index) => {
                let mut tx = self.db.begin().await.unwrap();
                cases::set_state(&mut tx, case, CaseState::Open, self.now_ms)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                self.book.barred[index].until = self.now_ms;
            }
        }
    }

    /// As the call's task does it: the clock, the second transaction, and a ringing that ends in time.
    async fn seize(&mut self, at: usize) {
        let node = self.made[at].node;
        let gate = self.nodes[node].gate.clone();
        let node_ms = gate.clock.wall_ms();
        let mut seizure = Seizure::Expired;
        if matches!(gate.clock.trust(), ClockTrust::Trusted { .. }) {
            let mut tx = gate.db.begin().await.unwrap();
            seizure = attempts::mark_seizure(&mut tx, self.made[at].call, node_ms)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        let made = &mut self.made[at];
        if seizure == Seizure::Marked {
            let longest = (made.ring_until_ms - node_ms).clamp(0, 60_000);
            let rings = self.dice.below(longest + 1);
            made.dial.seized = Some(self.now_ms);
            made.dial.rang_until = self.now_ms + rings;
            made.dial.answered = made.answers;
            let talk = match made.answers {
                true => self.dice.below(20 * MINUTE),
                false => 0,
            };
            let end = self.now_ms + rings + talk;
            self.later.push(Reverse((end, Later::End(at))));
        } else {
            self.stopped += 1;
            self.end(at).await;
        }
    }

    async fn end(&mut self, at: usize) {
        let made = &mut self.made[at];
        let gate = &self.nodes[made.node].gate;
        // The task measures from its beginning on; a clock that jumped meanwhile does not move what it stores.
        let behind = gate.clock.wall_ms() - self.now_ms;
        let stored = |true_ms: i64| true_ms + behind.clamp(-ERROR_MS, ERROR_MS);
        made.dial.ended = self.now_ms;
        let cause = match (made.dial.seized, made.dial.answered) {
            (None, _) => Cause::AgentNoAnswer,
            (Some(_), true) => Cause::Answered,
            (Some(_), false) => self.dice.pick(&UNANSWERED),
        };
        made.dial.by_callee = cause.class() == Class::Callee;
        let point = made.dial.point;
        let closing = Closing {
            cause,
            seized_at_ms: made.dial.seized.map(stored),
            answered_at_ms: made.dial.seized.filter(|_| made.dial.answered).map(stored),
            ended_at_ms: stored(self.now_ms),
            ..answered()
        };
        let mut tx = gate.db.begin().await.unwrap();
        assert!(attempts::close(&mut tx, made.call, &closing).await.unwrap());
        // Some third parties say at the end of the talk that they want no more of it.
        let known = &self.book.points[point];
        if known.third_party && cause == Cause::Answered && self.dice.below(3) == 0 {
            let id = self.points[point].0;
            contact_points::note_refusal(&mut tx, id, self.now_ms)
                .await
                .unwrap();
            self.book.refused.push(Refused {
                number: known.number,
                debtor: known.debtor,
                from: self.now_ms,
            });
        }
        // Who answers at an own number may be a stranger, and a number that does not answer may be dead.
        let (kind, often) = match cause {
            Cause::Answered => (FaultKind::WrongNumber, 6),
            _ => (FaultKind::NumberDead, 12),
        };
        if !known.third_party && cause.class() == Class::Callee && self.dice.below(often) == 0 {
            let new = NewFault {
                contact_point: self.points[point].0,
                kind,
                counts: true,
                note: None,
                call: Some(made.call),
                at_ms: stored(self.now_ms),
                actor: "lin",
            };
            number_faults::enter(&mut tx, &new).await.unwrap();
            self.book.faults.push(Fault {
                number: known.number,
                debtor: (kind == FaultKind::WrongNumber).then_some(known.debtor),
                from: self.now_ms,
                until: i64::MAX,
            });
        }
        tx.commit().await.unwrap();
    }

    /// A violation for people.
    fn tell(&self, dials: &[Dial], (what, index): (checker::Broken, usize)) -> String {
        let dial = dials[index];
        let point = &self.book.points[dial.point];
        let local = |at: i64| {
            let at = jiff::Timestamp::from_millisecond(at).unwrap();
            point.zones[0].to_datetime(at).to_string()
        };
        let same =
            |made: &&Made| (made.dial.started, made.dial.point) == (dial.started, dial.point);
        let made = self.made.iter().find(same);
        format!(
            "{what:?} by dial {index} of point {} ({:?}, number {}, persons {:?}, third {}): started {}, seized {:?}, \
             rang {}, answered {}, ended {}, call {:?}",
            dial.point,
            point.demands,
            point.number,
            point.persons,
            point.third_party,
            local(dial.started),
            dial.seized.map(local),
            local(dial.rang_until),
            dial.answered,
            local(dial.ended),
            made.map(|made| (made.call, made.node, made.by_agreement)),
        )
    }

    /// What the checker is told: every dial whose INVITE left, and the others but those that gave their agreement back.
    fn dials(&self) -> Vec<Dial> {
        self.made
            .iter()
            .filter(|made| made.dial.seized.is_some() || !made.by_agreement)
            .map(|made| made.dial)
            .collect()
    }
}

async fn decided(gate: &Gate, request: &DialRequest, call: CallId, receipt: ReceiptId) -> Gated {
    for _ in 0..30 {
        match gate.decide(request, call, receipt).await {
            Ok(gated) => return gated,
            Err(DialError::Store(error)) if error.is_unavailable() => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the database never answered");
}

/// What the checker finds. Clicks at the very same instant took turns in an order that nobody wrote down: they are right
/// if there is one in which each of them is.
fn judged(book: &Book, dials: &mut [Dial]) -> Vec<(checker::Broken, usize)> {
    let mut tried = Vec::new();
    loop {
        let found = violations(book, dials);
        let instant = found
            .iter()
            .map(|(_, index)| dials[*index].started)
            .find(|started| !tried.contains(started));
        let Some(started) = instant else { return found };
        tried.push(started);
        let from = dials.partition_point(|dial| dial.started < started);
        let to = dials.partition_point(|dial| dial.started <= started);
        let stays = dials.to_vec();
        let good = orders(to - from).into_iter().find(|order| {
            for (place, other) in order.iter().enumerate() {
                dials[from + place] = stays[from + other];
            }
            let found = violations(book, dials);
            !found.iter().any(|(_, index)| (from..to).contains(index))
        });
        if good.is_none() {
            dials.copy_from_slice(&stays);
        }
    }
}

/// Every order of so many things.
fn orders(of: usize) -> Vec<Vec<usize>> {
    if of == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(of - 1) {
        for place in 0..of {
            let mut order = shorter.clone();
            order.insert(place, of - 1);
            all.push(order);
        }
    }
    all
}

async fn a_year(test: Test) {
    let clicks = std::env::var("RINGFENCE_DB_DIALS").ok();
    let clicks = clicks.map_or(2_000, |clicks| clicks.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let seed = 20_261_126;
    let mut world = World::new(&test, 24, seed, dir.path()).await;
    world.run(clicks).await;
    let mut dials = world.dials();
    let left = dials.iter().filter(|dial| dial.seized.is_some()).count();
    eprintln!(
        "{clicks} clicks: {} allowed, {left} INVITEs, {} stopped before theirs, {} refused",
        world.made.len(),
        world.stopped,
        world.refused
    );
    assert!(
        left > clicks / 50,
        "a world in which nobody is called proves nothing"
    );
    let found = judged(&world.book, &mut dials);
    let told: Vec<String> = found
        .iter()
        .take(12)
        .map(|at| world.tell(&dials, *at))
        .collect();
    assert!(
        found.is_empty(),
        "{} of seed {seed}:\n{}",
        found.len(),
        told.join("\n")
    );
    // Every decision of the year proves itself.
    let tally = crate::rulebook::replay::all(&test.db, Default::default(), None, |_| {})
        .await
        .unwrap();
    assert_eq!(tally.unproven, []);
    assert_eq!(tally.read as usize, clicks / AT_ONCE * AT_ONCE);
}

on_both! {
    async fn of_a_year_of_dials_no_rule_is_broken(test: Test) {
        a_year(test).await;
    }
}
