//! The planners themselves. Each works on households sorted by a key that does not depend on the order of its input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Given, Item, Job, Method, Owner, Plan, PlanError, Receiver, Share};
use crate::ids::AgentId;

/// All cases of one person.
#[derive(Debug)]
struct Household<'a> {
    person: i64,
    items: Vec<&'a Item>,
    amount_e4: i64,
}

/// What a receiver has so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    households: i64,
    amount_e4: i64,
}

/// Plans a job.
///
/// # Errors
/// Nobody to give to, somebody named twice, or several for one who gets all.
pub fn plan(job: &Job) -> Result<Plan, PlanError> {
    let receivers = sorted(&job.receivers)?;
    if receivers.is_empty() {
        return Err(PlanError::Nobody);
    }
    let households = households(&job.items);
    let mut dealt = vec![None; households.len()];
    let none = vec![
        Load {
            households: 0,
            amount_e4: 0,
        };
        receivers.len()
    ];
    match job.method {
        Method::Manual if receivers.len() > 1 => return Err(PlanError::NotOne),
        Method::Manual => dealt.fill(Some(0)),
        Method::EvenCount => {
            for (index, to) in dealt.iter_mut().enumerate() {
                *to = Some(index % receivers.len());
            }
        }
        Method::EvenAmount => by_least(&households, &mut dealt, none, |load| {
            (load.amount_e4, load.households)
        }),
        Method::EvenBoth => in_rows(&households, &mut dealt, none),
        Method::Cumulative => {
            let held = receivers.iter().map(|r| Load {
                households: r.holds_households,
                amount_e4: r.holds_e4,
            });
            by_least(&households, &mut dealt, held.collect(), |load| {
                (load.households, load.amount_e4)
            });
        }
        Method::Match => {
            let loads = matched(job, &receivers, &households, &mut dealt, none);
            in_rows(&households, &mut dealt, loads);
        }
    }
    Ok(written(&receivers, &households, &dealt))
}

fn sorted(receivers: &[Receiver]) -> Result<Vec<Receiver>, PlanError> {
    let mut sorted = receivers.to_vec();
    sorted.sort_by_key(|r| r.owner);
    let twice = sorted.iter().zip(sorted.iter().skip(1)).any(|(a, b)| {
        a.owner == b.owner || (a.owner.agent.is_some() && a.owner.agent == b.owner.agent)
    });
    if twice {
        return Err(PlanError::Twice);
    }
    Ok(sorted)
}

/// By person, the largest amount first, then by person.
fn households(items: &[Item]) -> Vec<Household<'_>> {
    let mut by_person: BTreeMap<i64, Vec<&Item>> = BTreeMap::new();
    for item in items {
        by_person.entry(item.person).or_default().push(item);
    }
    let mut all: Vec<_> = by_person
        .into_iter()
        .map(|(person, mut items)| {
            items.sort_by_key(|item| item.case);
            items.dedup_by_key(|item| item.case);
            let amount_e4 = items
                .iter()
                .fold(0_i64, |sum, item| sum.saturating_add(item.amount_e4.max(0)));
            Household {
                person,
                items,
                amount_e4,
            }
        })
        .collect();
    all.sort_by_key(|h| (std::cmp::Reverse(h.amount_e4), h.person));
    all
}

fn add(load: &mut Load, household: &Household<'_>) {
    load.households += 1;
    load.amount_e4 = load.amount_e4.saturating_add(household.amount_e4);
}

/// The largest first, each to whoever has least by `measure`.
fn by_least<K: Ord>(
    households: &[Household<'_>],
    dealt: &mut [Option<usize>],
    mut loads: Vec<Load>,
    measure: impl Fn(&Load) -> K,
) {
    for (household, to) in households.iter().zip(dealt).filter(|(_, to)| to.is_none()) {
        let least = (0..loads.len()).min_by_key(|&n| (measure(&loads[n]), n));
        if let Some(least) = least {
            add(&mut loads[least], household);
            *to = Some(least);
        }
    }
}

/// In rows of one household for each receiver: the largest of a row goes to whoever has the smallest amount so far. After
/// each row the amounts differ by no more than before, or than the row itself does; the rows follow each other in size,
/// so the difference never passes the largest household.
fn in_rows(households: &[Household<'_>], dealt: &mut [Option<usize>], mut loads: Vec<Load>) {
    let open: Vec<usize> = (0..households.len())
        .filter(|&n| dealt[n].is_none())
        .collect();
    for row in open.chunks(loads.len().max(1)) {
        let mut order: Vec<usize> = (0..loads.len()).collect();
        order.sort_by_key(|&n| (loads[n].amount_e4, loads[n].households, n));
        for (&household, &to) in row.iter().zip(&order) {
            add(&mut loads[to], &households[household]);
            dealt[household] = Some(to);
        }
    }
}

/// What has an owner by its past or its region is dealt; returns what each has then.
fn matched(
    job: &Job,
    receivers: &[Receiver],
    households: &[Household<'_>],
    dealt: &mut [Option<usize>],
    mut loads: Vec<Load>,
) -> Vec<Load> {
    let place: HashMap<AgentId, usize> = receivers
        .iter()
        .enumerate()
        .filter_map(|(n, r)| Some((r.owner.agent?, n)))
        .collect();
    for (household, to) in households.iter().zip(dealt.iter_mut()) {
        // Who has one of the cases now, then who had the person before; the lowest case decides.
        let now = household.items.iter().filter_map(|item| item.now.agent);
        let before = household.items.iter().filter_map(|item| item.previous);
        *to = now
            .chain(before)
            .find_map(|agent| place.get(&agent).copied());
        if let Some(to) = *to {
            add(&mut loads[to], household);
        }
    }
    for (household, to) in households.iter().zip(dealt.iter_mut()) {
        if to.is_some() {
            continue;
        }
        let regional: BTreeSet<usize> = household
            .items
            .iter()
            .filter_map(|item| job.regions.get(&item.region))
            .flatten()
            .filter_map(|agent| place.get(agent).copied())
            .collect();
        let least = regional
            .into_iter()
            .min_by_key(|&n| (loads[n].households, loads[n].amount_e4, n));
        if let Some(least) = least {
            add(&mut loads[least], household);
            *to = Some(least);
        }
    }
    loads
}

fn written(receivers: &[Receiver], households: &[Household<'_>], dealt: &[Option<usize>]) -> Plan {
    let mut shares: Vec<Share> = receivers
        .iter()
        .map(|r| Share {
            owner: r.owner,
            cases: 0,
            households: 0,
            amount_e4: 0,
        })
        .collect();
    let mut given = Vec::new();
    for (household, to) in households.iter().zip(dealt) {
        // Every planner deals every household: there is at least one receiver.
        let Some(share) = to.and_then(|to| shares.get_mut(to)) else {
            continue;
        };
        share.households += 1;
        share.amount_e4 = share.amount_e4.saturating_add(household.amount_e4);
        for item in &household.items {
            share.cases += 1;
            given.push(Given {
                case: item.case,
                from: item.now,
                to: target(share.owner, item.now),
            });
        }
    }
    given.sort_by_key(|g| g.case);
    Plan { given, shares }
}

/// An agent without a team leaves the case with the team it has.
fn target(to: Owner, now: Owner) -> Owner {
    Owner {
        team: to.team.or(if to.agent.is_some() { now.team } else { None }),
        agent: to.agent,
    }
}
