//! What every plan holds, whatever the cases.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

fn owner(agent: i64) -> Owner {
    Owner {
        team: Some(TeamId::new(1)),
        agent: Some(AgentId::new(agent)),
    }
}

fn receiver(agent: i64, holds_households: i64, holds_e4: i64) -> Receiver {
    Receiver {
        owner: owner(agent),
        holds_households,
        holds_e4,
    }
}

fn item(case: i64, person: i64, amount_e4: i64) -> Item {
    Item {
        case: CaseId::new(case),
        person,
        amount_e4,
        region: String::new(),
        now: Owner::default(),
        previous: None,
    }
}

fn job(method: Method, items: Vec<Item>, receivers: Vec<Receiver>) -> Job {
    Job {
        method,
        items,
        receivers,
        regions: BTreeMap::new(),
    }
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let one = (
        0_i64..40,
        -10_000_i64..90_000_000,
        0_usize..3,
        proptest::option::of(1_i64..9),
    );
    proptest::collection::vec(one, 0..120).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (person, amount_e4, region, previous))| Item {
                region: ["", "north", "south"][region].to_owned(),
                previous: previous.map(AgentId::new),
                ..item(n as i64 + 1, person, amount_e4)
            })
            .collect()
    })
}

fn receivers() -> impl Strategy<Value = Vec<Receiver>> {
    proptest::collection::vec((0_i64..30, 0_i64..500_000_000), 1..8).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (households, e4))| receiver(n as i64 + 1, households, e4))
            .collect()
    })
}

fn spread(values: impl Iterator<Item = i64> + Clone) -> i64 {
    values.clone().max().unwrap_or(0) - values.min().unwrap_or(0)
}

fn largest(items: &[Item]) -> i64 {
    let mut sums: HashMap<i64, i64> = HashMap::new();
    for item in items {
        *sums.entry(item.person).or_default() += item.amount_e4.max(0);
    }
    sums.into_values().max().unwrap_or(0)
}

proptest! {
    #[test]
    fn every_case_goes_to_exactly_one_receiver_and_a_person_to_one(
        items in items(), receivers in receivers(), method in 0_usize..5,
    ) {
        let method = Method::ALL[method];
        let mut job = job(method, items, receivers);
        job.regions.insert("north".into(), vec![AgentId::new(1), AgentId::new(3)]);
        let plan = plan(&job).unwrap();
        let mut asked: Vec<_> = job.items.iter().map(|i| i.case).collect();
        asked.sort_unstable();
        prop_assert_eq!(plan.given.iter().map(|g| g.case).collect::<Vec<_>>(), asked);
        let person: HashMap<_, _> = job.items.iter().map(|i| (i.case, i.person)).collect();
        let mut has: HashMap<i64, Owner> = HashMap::new();
        for given in &plan.given {
            let first = *has.entry(person[&given.case]).or_insert(given.to);
            prop_assert_eq!(first, given.to);
        }
        // The totals are those of what is given.
        for share in &plan.shares {
            let mine: Vec<_> = plan.given.iter().filter(|g| g.to == share.owner).collect();
            let persons: BTreeSet<_> = mine.iter().map(|g| person[&g.case]).collect();
            prop_assert_eq!((share.cases, share.households), (mine.len() as i64, persons.len() as i64));
        }
        let amount: i64 = job.items.iter().map(|i| i.amount_e4.max(0)).sum();
        prop_assert_eq!(plan.shares.iter().map(|s| s.amount_e4).sum::<i64>(), amount);
    }

    #[test]
    fn the_order_of_the_input_changes_nothing(items in items(), receivers in receivers(), method in 0_usize..5) {
        let mut job = job(Method::ALL[method], items, receivers);
        let first = plan(&job).unwrap();
        job.items.reverse();
        job.receivers.reverse();
        prop_assert_eq!(plan(&job).unwrap(), first);
    }

    #[test]
    fn even_by_count_differs_by_one_household_at_most(items in items(), receivers in receivers()) {
        for method in [Method::EvenCount, Method::EvenBoth] {
            let plan = plan(&job(method, items.clone(), receivers.clone())).unwrap();
            prop_assert!(spread(plan.shares.iter().map(|s| s.households)) <= 1);
        }
    }

    #[test]
    fn even_by_amount_differs_by_the_largest_household_at_most(items in items(), receivers in receivers()) {
        for method in [Method::EvenAmount, Method::EvenBoth] {
            let plan = plan(&job(method, items.clone(), receivers.clone())).unwrap();
            prop_assert!(spread(plan.shares.iter().map(|s| s.amount_e4)) <= largest(&items));
        }
    }

    #[test]
    fn cumulative_makes_what_each_holds_even(items in items(), receivers in receivers()) {
        let plan = plan(&job(Method::Cumulative, items, receivers.clone())).unwrap();
        let after: Vec<i64> = plan.shares.iter().map(|share| {
            let held = receivers.iter().find(|r| r.owner == share.owner).unwrap();
            held.holds_households + share.households
        }).collect();
        // Whoever got something has at most one household more than anybody.
        let least = *after.iter().min().unwrap();
        for (share, holds) in plan.shares.iter().zip(&after) {
            prop_assert!(share.households == 0 || holds - least <= 1);
        }
    }
}

#[test]
fn match_gives_a_person_back_to_whoever_had_it_then_by_region_then_evenly() {
    let mut items: Vec<_> = (1..=8).map(|n| item(n, n, 1_000)).collect();
    items[0].previous = Some(AgentId::new(2));
    items[1].now = owner(3);
    items[1].previous = Some(AgentId::new(2));
    items[2].previous = Some(AgentId::new(99));
    items[3].region = "north".into();
    let mut job = job(
        Method::Match,
        items,
        (1..=3).map(|n| receiver(n, 0, 0)).collect(),
    );
    job.regions.insert("north".into(), vec![AgentId::new(1)]);
    let plan = plan(&job).unwrap();
    let to = |case: i64| {
        let found = plan.given.iter().find(|g| g.case == CaseId::new(case));
        found.unwrap().to.agent.unwrap().get()
    };
    assert_eq!((to(1), to(2), to(4)), (2, 3, 1));
    // Nobody of the floor had the third, so it is dealt with the rest.
    let rest: BTreeSet<_> = [3, 5, 6, 7, 8].map(to).into();
    assert_eq!(rest.len(), 3);
}

#[test]
fn nobody_twice_and_several_for_all_are_refused() {
    let one = vec![item(1, 1, 1)];
    for (receivers, method, error) in [
        (vec![], Method::EvenCount, PlanError::Nobody),
        (
            vec![receiver(1, 0, 0), receiver(1, 0, 0)],
            Method::EvenCount,
            PlanError::Twice,
        ),
        (
            vec![receiver(1, 0, 0), receiver(2, 0, 0)],
            Method::Manual,
            PlanError::NotOne,
        ),
    ] {
        assert_eq!(plan(&job(method, one.clone(), receivers)), Err(error));
    }
}
