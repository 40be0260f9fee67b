//! Hundreds of calls, in good and bad weather: both ends agree, and nothing is left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Net, Weather, description};
use crate::method::StatusCode;
use crate::{Config, Event, LegHandle, Load};

#[derive(Debug, Default)]
struct End {
    answered: bool,
    released: u32,
}

/// One call: who acts when is drawn from the seed. Returns what both ends saw.
fn one_call(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let weather = Weather {
        loss_percent: rng.random_range(0..30),
        double_percent: rng.random_range(0..30),
        longest_ms: rng.random_range(5..900),
    };
    let mut net = Net::new(seed, weather, vec![Config::default(), Config::default()]);
    let caller = net.call(0, 1);
    let at =
        |rng: &mut ChaCha8Rng, longest: u64| Duration::from_millis(rng.random_range(0..longest));
    let (answers, rejects) = (rng.random_bool(0.7), rng.random_bool(0.5));
    let answer_at = at(&mut rng, 8_000);
    let hang_up = [at(&mut rng, 60_000), at(&mut rng, 60_000)];
    let reoffer = [at(&mut rng, 20_000), at(&mut rng, 20_000)];
    let begun = net.now;
    let mut legs: [Option<LegHandle>; 2] = [Some(caller), None];
    let mut ends = [End::default(), End::default()];
    let mut acted: HashMap<&str, bool> = HashMap::new();
    let mut cancelled = false;
    for tick in 0..8_000_u64 {
        let until = begun + Duration::from_millis(tick * 50);
        net.run(until.saturating_duration_since(net.now));
        for (node, end) in ends.iter_mut().enumerate() {
            while let Some(event) = net.event(node) {
                assert_eq!(end.released, 0, "seed {seed}: {event:?} after the end");
                match event {
                    Event::Incoming(incoming) => {
                        assert!(legs[1].is_none(), "seed {seed}: one INVITE, one leg");
                        legs[1] = Some(incoming.leg);
                        net.with(1, |endpoint, now| {
                            endpoint.ring(now, incoming.leg, StatusCode::RINGING, None)
                        })
                        .unwrap();
                    }
                    Event::Answered { .. } | Event::Acknowledged { .. } => end.answered = true,
                    Event::Reoffer { leg, .. } => {
                        let answer = description(node, 50);
                        net.with(node, |endpoint, now| {
                            endpoint.answer_reoffer(now, leg, &answer)
                        })
                        .unwrap();
                    }
                    Event::Released { .. } => end.released += 1,
                    _ => {}
                }
            }
        }
        let gone = net.now - begun;
        let mut once =
            |what: &'static str, due: Duration| gone >= due && acted.insert(what, true).is_none();
        if let Some(callee) = legs[1] {
            if once("answer", answer_at) {
                let _ = net.with(1, |endpoint, now| match (answers, rejects) {
                    (true, _) => endpoint.answer(now, callee, &description(1, 1)),
                    (false, true) => endpoint.reject(now, callee, StatusCode::BUSY_HERE, None),
                    (false, false) => Ok(()),
                });
            }
            if once("change 1", reoffer[1]) {
                let _ = net.with(1, |endpoint, now| {
                    endpoint.reoffer(now, callee, &description(1, 8))
                });
            }
            if once("end 1", hang_up[1]) {
                net.hang_up(1, callee);
            }
        }
        if once("change 0", reoffer[0]) {
            let _ = net.with(0, |endpoint, now| {
                endpoint.reoffer(now, caller, &description(0, 8))
            });
        }
        if once("end 0", hang_up[0]) {
            cancelled = !ends[0].answered;
            net.hang_up(0, caller);
        }
        if net.next().is_none() && acted.contains_key("end 0") {
            break;
        }
    }
    assert!(
        net.settle(Duration::from_secs(300)),
        "seed {seed}: something never ends"
    );
    for (node, end) in ends.iter().enumerate() {
        let wanted = u32::from(legs[node].is_some());
        assert_eq!(end.released, wanted, "seed {seed}, node {node}: {ends:?}");
        assert_eq!(net.load(node), Load::default(), "seed {seed}, node {node}");
    }
    // What the callee knows to be answered, the caller knows too, unless it had hung up before it heard.
    assert!(
        !ends[1].answered || ends[0].answered || cancelled,
        "seed {seed}: {ends:?}"
    );
    assert!(
        answers || !ends[0].answered && !ends[1].answered,
        "seed {seed}: nobody answered"
    );
}

#[test]
fn both_ends_of_a_call_agree_in_any_weather() {
    for seed in 0..400 {
        one_call(seed);
    }
}

#[test]
fn hundreds_of_calls_at_once_leave_all_tables_empty() {
    let weather = Weather {
        loss_percent: 5,
        double_percent: 5,
        longest_ms: 100,
    };
    let mut net = Net::new(77, weather, vec![Config::default(), Config::default()]);
    let callers: Vec<_> = (0..500).map(|_| net.call(0, 1)).collect();
    let mut callees = Vec::new();
    net.run(Duration::from_secs(10));
    while let Some(event) = net.event(1) {
        if let Event::Incoming(incoming) = event {
            callees.push(incoming.leg);
        }
    }
    assert_eq!(callees.len(), 500);
    for (index, callee) in callees.iter().enumerate() {
        match index % 3 {
            0 => drop(net.with(1, |endpoint, now| {
                endpoint.answer(now, *callee, &description(1, 1))
            })),
            1 => drop(net.with(1, |endpoint, now| {
                endpoint.reject(now, *callee, StatusCode::BUSY_HERE, None)
            })),
            _ => {}
        }
    }
    net.run(Duration::from_secs(20));
    for caller in callers {
        net.hang_up(0, caller);
    }
    assert!(net.settle(Duration::from_secs(300)));
    let mut released = [0, 0];
    for (node, count) in released.iter_mut().enumerate() {
        while let Some(event) = net.event(node) {
            *count += usize::from(matches!(event, Event::Released { .. }));
        }
        assert_eq!(net.load(node), Load::default());
    }
    assert_eq!(released, [500, 500]);
}

#[test]
fn above_the_limits_calls_are_refused_and_the_rest_goes_on() {
    let limits = crate::Limits {
        legs: 10,
        ..crate::Limits::default()
    };
    let mut net = Net::new(
        78,
        Weather::FAIR,
        vec![
            Config::default(),
            Config {
                limits,
                ..Config::default()
            },
        ],
    );
    let callers: Vec<_> = (0..30).map(|_| net.call(0, 1)).collect();
    net.run(Duration::from_secs(2));
    let mut refused = 0;
    while let Some(event) = net.event(0) {
        if let Event::Released { release, .. } = event {
            assert_eq!(release.status, Some(503));
            refused += 1;
        }
    }
    assert_eq!(refused, 20);
    for caller in callers {
        net.hang_up(0, caller);
    }
    assert!(net.settle(Duration::from_secs(300)));
    assert_eq!(
        (net.load(0), net.load(1)),
        (Load::default(), Load::default())
    );
}

#[test]
fn damaged_messages_never_panic_and_leave_nothing_behind() {
    let mut sample = Net::new(5, Weather::FAIR, vec![Config::default(), Config::default()]);
    sample.keep = true;
    let caller = sample.call(0, 1);
    sample.run(Duration::from_secs(1));
    while let Some(event) = sample.event(1) {
        if let Event::Incoming(incoming) = event {
            let _ = sample.with(1, |endpoint, now| {
                endpoint.answer(now, incoming.leg, &description(1, 1))
            });
        }
    }
    sample.run(Duration::from_secs(1));
    let _ = sample.with(0, |endpoint, now| {
        endpoint.reoffer(now, caller, &description(0, 2))
    });
    sample.hang_up(0, caller);
    sample.run(Duration::from_secs(1));
    let messages: Vec<(usize, Vec<u8>)> = sample
        .wire
        .iter()
        .map(|(node, text)| (*node, text.clone().into_bytes()))
        .collect();
    assert!(messages.len() >= 8);

    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..40 {
        // The same seed again, so that branches and tags fit until the damage begins.
        let mut net = Net::new(5, Weather::FAIR, vec![Config::default(), Config::default()]);
        let caller = net.call(0, 1);
        for _ in 0..60 {
            let (from, mut bytes) = messages[rng.random_range(0..messages.len())].clone();
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let source = net.address(from);
            net.inject(1 - from, source, &bytes);
            net.run(Duration::from_millis(rng.random_range(0..200)));
        }
        net.hang_up(0, caller);
        while let Some(event) = net.event(1) {
            if let Event::Incoming(incoming) = event {
                net.hang_up(1, incoming.leg);
            }
        }
        assert!(net.settle(Duration::from_secs(2_000)), "round {round}");
        assert_eq!(
            (net.load(0), net.load(1)),
            (Load::default(), Load::default()),
            "round {round}"
        );
    }
}
