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

/// Finds rows of one file that contradict each other.
#[derive(Debug, Default)]
pub struct Seen {
    rows: HashMap<u64, (u64, Box<[u32]>)>,
}

impl Seen {
    /// Compares a row with the first one of its case (or with the first of its payment), and notes it if it is the first.
    ///
    /// # Errors
    /// What the row says otherwise.
    pub fn check(&mut self, entry: &mut Entry, bound: &Bound) -> Result<(), Vec<Fault>> {
        let (key, said) = match &entry.what {
            What::Case(case) => (hash(&entry.case), case_said(case, bound)),
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
        let marks: Vec<u32> = said.iter().map(|(_, mark)| *mark).collect();
        match self.rows.entry(key) {
            MapEntry::Vacant(place) => {
                place.insert((entry.line, marks.into()));
                Ok(())
            }
            MapEntry::Occupied(place) => {
                entry.first = false;
                let (first, before) = place.get();
                let others: Vec<Fault> = said
                    .iter()
                    .zip(before.iter())
                    // Silence contradicts nothing.
                    .filter(|((_, now), before)| *now != 0 && now != *before)
                    .map(|((to, _), _)| Fault {
                        line: entry.line,
                        column: bound.column(to).map(|(at, _)| bound.label(at)),
                        problem: format!(
                            "says something else than line {first} about the same case or payment"
                        ),
                    })
                    .collect();
                if others.is_empty() {
                    Ok(())
                } else {
                    Err(others)
                }
            }
        }
    }
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
