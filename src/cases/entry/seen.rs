//! Rows of one file that contradict each other: what each case and payment said first, as a few bytes.

use std::{
    collections::{HashMap, hash_map::Entry as MapEntry},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{CaseEntry, Entry, What};
use crate::cases::{
    bind::{Bound, Fault},
    template::To,
};

/// So many rows of one case, one behind another, are put together; rows behind these may add people, and nothing else.
pub const TOGETHER: usize = 64;

/// Finds rows of one file that contradict each other.
#[derive(Debug, Default)]
pub struct Seen {
    rows: HashMap<u64, (u64, Box<[u32]>)>,
    /// The case of the row before, if that one or those before it were its first; and how many there were.
    run: Option<(u64, usize)>,
}

impl Seen {
    /// Compares a row with the first one of its case (or with the first of its payment), and notes it if it is the first.
    ///
    /// # Errors
    /// What the row says otherwise, and what it says too late: rows of a case are put together as long as they stand one
    /// behind another.
    pub fn check(&mut self, entry: &mut Entry, bound: &Bound) -> Result<(), Vec<Fault>> {
        let (key, said) = match &entry.what {
            What::Case(case) => (key(&entry.case), case_said(case, bound)),
            What::Payment(payment) => (
                hash(&("payment", &payment.reference)),
                vec![
                    (To::Case, mark(&entry.case)),
                    (To::Paid, mark(&payment.e4)),
                    (To::Currency, mark(&payment.currency)),
                    (To::PaidOn, mark(&payment.paid_on)),
                    (To::Settled, mark(&payment.settles)),
                ],
            ),
        };
        let run = self.run.take();
        let marks = said.iter().map(|(_, mark)| *mark);
        match self.rows.entry(key) {
            MapEntry::Vacant(place) => {
                place.insert((entry.line, marks.collect()));
                self.run = Some((key, 1));
                Ok(())
            }
            MapEntry::Occupied(mut place) => {
                entry.first = false;
                let together = run.filter(|(case, rows)| *case == key && *rows < TOGETHER);
                self.run = together.map(|(case, rows)| (case, rows + 1));
                let (first, before) = place.get_mut();
                let mut faults = Vec::new();
                for ((to, now), before) in said.iter().zip(before.iter()) {
                    // Silence contradicts nothing.
                    let problem = match (*before, *now) {
                        (_, 0) => continue,
                        (before, now) if before == now => continue,
                        (0, _) if together.is_some() => continue,
                        (0, _) => format!(
                            "line {first} of the same case is silent about this: say it there, or put the rows of the case one behind another"
                        ),
                        _ => format!(
                            "says something else than line {first}, or the rows right behind it, about the same case or payment"
                        ),
                    };
                    faults.push(Fault {
                        line: entry.line,
                        column: bound.column(to).map(|(at, _)| bound.label(at)),
                        problem,
                    });
                }
                if !faults.is_empty() {
                    return Err(faults);
                }
                for (before, now) in before.iter_mut().zip(marks) {
                    if *before == 0 {
                        *before = now;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Seen {
    /// Passes a row over that is faulty by itself, of this case if it names one.
    pub fn pass(&mut self, case: Option<u64>) {
        self.run = match (self.run, case) {
            (Some((of, rows)), Some(case)) if of == case => Some((of, rows + 1)),
            _ => None,
        };
    }
}

/// A case as a few bytes.
#[must_use]
pub fn key(reference: &str) -> u64 {
    hash(&reference)
}

/// 0 for what was not said.
fn case_said(case: &CaseEntry, bound: &Bound) -> Vec<(To, u32)> {
    let said = |value: Option<u32>| value.unwrap_or(0);
    bound
        .template
        .columns
        .iter()
        .map(|(to, _)| {
            let value = match to {
                To::Debtor => case.debtor.as_ref().map(mark),
                To::Name => case.name.as_ref().map(mark),
                To::Identity => case.identity.as_ref().map(|sealed| mark(&sealed.hash)),
                To::Card => case.card.as_ref().map(|card| mark(&card.sealed.hash)),
                To::Currency => case.currency.as_ref().map(mark),
                To::Amount(amount) => case
                    .amounts
                    .get(*amount as usize)
                    .copied()
                    .flatten()
                    .as_ref()
                    .map(mark),
                To::BalanceOn => case.balance_on.as_ref().map(mark),
                To::OverdueDays => case.overdue_days.as_ref().map(mark),
                To::Region => case.region.as_ref().map(mark),
                To::State => case.state.map(|state| mark(&state.as_str())),
                To::Field(name, _) => case.fields.get(name).map(mark),
                _ => None,
            };
            (to.clone(), said(value))
        })
        .collect()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A mark of a value that is never 0.
fn mark(value: &impl Hash) -> u32 {
    (hash(value) >> 32) as u32 | 1
}
