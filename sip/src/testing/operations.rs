//! Random operation lists against a reference model: what the bytes say is done to two endpoints over a bad network.
//!
//! The model knows, for each leg, whether it exists, was answered and has ended. After each step: no event for an ended
//! leg, each leg released once, nothing answered twice; and of the INVITEs that begin a call none that left after its time
//! was over or after its leg was hung up, and none that lets it ring beyond the end of the ringing. At the end everything is hung up; then every leg has ended, and
//! the tables of both ends are empty.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Net, SentInvite, Weather, description};
use crate::command::Hangup;
use crate::method::StatusCode;
use crate::{Config, Event, LegHandle, Load, SessionTimer};

/// Longest list that is run.
const MOST_OPERATIONS: usize = 400;
/// Most calls begun by one list.
const MOST_CALLS: usize = 40;

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    outgoing: bool,
    answered: bool,
    released: bool,
}

/// What is known of a call that a node makes.
#[derive(Debug)]
struct Made {
    ring_until: Instant,
    not_after: Instant,
    hung_up: bool,
}

struct Model {
    legs: [HashMap<LegHandle, Seen>; 2],
    /// By node and leg: the Call-ID of what it calls, by which its INVITEs are known.
    call_ids: HashMap<(usize, LegHandle), String>,
    made: HashMap<String, Made>,
    /// In the order of their beginning, for picking.
    order: [Vec<LegHandle>; 2],
}

impl Model {
    fn add(&mut self, node: usize, leg: LegHandle, outgoing: bool) {
        let before = self.legs[node].insert(
            leg,
            Seen {
                outgoing,
                ..Seen::default()
            },
        );
        assert!(before.is_none(), "leg {leg} of node {node} begins twice");
        self.order[node].push(leg);
    }

    /// Checks an INVITE that begins a call against what is known.
    fn check(&self, sent: &SentInvite) {
        #[expect(
            clippy::expect_used,
            reason = "an INVITE of a call that nobody began is what this looks for"
        )]
        let made = self.made.get(&sent.call_id).expect("an INVITE of no call");
        assert!(!made.hung_up, "{sent:?} after it was hung up");
        assert!(sent.at < made.not_after, "{sent:?} is late: {made:?}");
        let rings = sent.expires.map(Duration::from_secs);
        assert!(
            rings.is_some_and(|rings| sent.at + rings <= made.ring_until),
            "{sent:?} rings too long: {made:?}"
        );
    }

    fn hung_up(&mut self, node: usize, leg: LegHandle) {
        let call_id = self.call_ids.get(&(node, leg));
        if let Some(made) = call_id.and_then(|call_id| self.made.get_mut(call_id)) {
            made.hung_up = true;
        }
    }

    /// Checks an event against what is known.
    fn note(&mut self, node: usize, event: &Event) {
        if let Event::Incoming(incoming) = event {
            return self.add(node, incoming.leg, false);
        }
        let Some(leg) = leg_of(event) else { return };
        #[expect(
            clippy::expect_used,
            reason = "a leg that nobody began is what this looks for"
        )]
        let seen = self.legs[node]
            .get_mut(&leg)
            .expect("an event for a leg that never began");
        assert!(!seen.released, "node {node}: {event:?} after its end");
        match event {
            Event::Released { .. } => seen.released = true,
            Event::Answered { .. } => {
                assert!(seen.outgoing && !seen.answered, "node {node}: {event:?}");
                seen.answered = true;
            }
            Event::Acknowledged { .. } => {
                assert!(!seen.outgoing && !seen.answered, "node {node}: {event:?}");
                seen.answered = true;
            }
            Event::Trying { .. } | Event::Progress { .. } => {
                assert!(seen.outgoing && !seen.answered, "node {node}: {event:?}")
            }
            _ => {}
        }
    }
}

fn leg_of(event: &Event) -> Option<LegHandle> {
    match event {
        Event::Snapshot { leg, .. }
        | Event::Trying { leg }
        | Event::Progress { leg, .. }
        | Event::Answered { leg, .. }
        | Event::Acknowledged { leg, .. }
        | Event::Reoffer { leg, .. }
        | Event::Reanswered { leg, .. }
        | Event::ReofferFailed { leg, .. }
        | Event::Digit { leg, .. }
        | Event::Refer { leg, .. }
        | Event::ReferProgress { leg, .. }
        | Event::Released { leg, .. } => Some(*leg),
        _ => None,
    }
}

/// Does what `bytes` say: two bytes an operation (which, on whom). Panics if an invariant breaks.
pub fn fuzz_operations(bytes: &[u8]) {
    let seed = bytes.iter().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let weather = match bytes.first().copied().unwrap_or(0) % 3 {
        0 => Weather::FAIR,
        1 => Weather {
            loss_percent: 15,
            double_percent: 15,
            longest_ms: 300,
        },
        _ => Weather {
            loss_percent: 35,
            double_percent: 30,
            longest_ms: 1_500,
        },
    };
    // What node 0 asks for is too little for node 1: each of its calls is begun anew (422).
    let config = |seconds, min| Config {
        session_timer: Some(SessionTimer {
            interval: Duration::from_secs(seconds),
            min: Duration::from_secs(min),
        }),
        answer_within: Duration::from_secs(60),
        ..Config::default()
    };
    let mut net = Net::new(seed, weather, vec![config(90, 20), config(120, 100)]);
    let mut model = Model {
        legs: [HashMap::new(), HashMap::new()],
        call_ids: HashMap::new(),
        made: HashMap::new(),
        order: [Vec::new(), Vec::new()],
    };
    let mut version = 10_u16;
    for pair in bytes.chunks_exact(2).take(MOST_OPERATIONS) {
        let &[operation, choice] = pair else { break };
        operate(
            &mut net,
            &mut model,
            operation,
            usize::from(choice),
            &mut version,
        );
        collect(&mut net, &mut model);
    }
    net.weather = Weather::FAIR;
    for node in 0..2 {
        net.cut(node, false);
        for leg in model.order[node].clone() {
            net.hang_up(node, leg);
            collect(&mut net, &mut model);
            model.hung_up(node, leg);
        }
    }
    let quiet = net.settle(Duration::from_secs(600));
    collect(&mut net, &mut model);
    assert!(quiet, "something never ends");
    for node in 0..2 {
        for (leg, seen) in &model.legs[node] {
            assert!(
                seen.released,
                "leg {leg} of node {node} never ended: {seen:?}"
            );
        }
        assert_eq!(net.load(node), Load::default(), "tables of node {node}");
    }
}

fn collect(net: &mut Net, model: &mut Model) {
    for sent in net.invites.drain(..) {
        model.check(&sent);
    }
    for node in 0..2 {
        while let Some(event) = net.event(node) {
            model.note(node, &event);
        }
    }
}

fn operate(net: &mut Net, model: &mut Model, operation: u8, choice: usize, version: &mut u16) {
    let node = choice % 2;
    let picked = choice / 2;
    let leg = {
        let order = &model.order[node];
        order.get(picked % order.len().max(1)).copied()
    };
    match (operation % 18, leg) {
        (0 | 1, _) if model.order[0].len() + model.order[1].len() < MOST_CALLS => {
            let mut invite = net.invite(node, 1 - node);
            let made = Made {
                ring_until: net.now + Duration::from_millis(1_500 * choice as u64),
                not_after: net.now + Duration::from_millis(700 * (choice as u64 % 64)),
                hung_up: false,
            };
            invite.expires = Some(Duration::from_secs(60));
            invite.ring_until = Some(made.ring_until);
            invite.not_after = Some(made.not_after);
            if let Ok((leg, snapshot)) =
                net.with(node, |endpoint, now| endpoint.prepare_invite(now, invite))
            {
                model.add(node, leg, true);
                model.call_ids.insert((node, leg), snapshot.call_id.clone());
                model.made.insert(snapshot.call_id, made);
                if operation < 250 {
                    let _ = net.with(node, |endpoint, now| endpoint.send_invite(now, leg));
                }
            }
        }
        (2, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.ring(now, leg, StatusCode::RINGING, None)
            });
        }
        (3 | 4, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.answer(now, leg, &description(node, 1))
            });
        }
        (5, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.reject(now, leg, StatusCode::BUSY_HERE, Some(17))
            });
        }
        (6, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.hang_up(now, leg, Hangup::normal())
            });
            collect(net, model);
            model.hung_up(node, leg);
        }
        (7, Some(leg)) => {
            *version = version.wrapping_add(1).max(10) % 20_000;
            let offer = description(node, *version);
            let _ = net.with(node, |endpoint, now| endpoint.reoffer(now, leg, &offer));
        }
        (8 | 9, Some(leg)) => {
            *version = version.wrapping_add(1).max(10) % 20_000;
            let answer = description(node, *version);
            let _ = net.with(node, |endpoint, now| {
                endpoint.answer_reoffer(now, leg, &answer)
            });
        }
        (10, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.refuse_reoffer(now, leg, StatusCode::NOT_ACCEPTABLE_HERE)
            });
        }
        (11, Some(leg)) => {
            let target = super::name_addr(node);
            let _ = net.with(node, |endpoint, now| endpoint.refer(now, leg, &target));
        }
        (12, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                let _ = endpoint.accept_refer(now, leg);
                endpoint.notify_refer(now, leg, StatusCode::OK)
            });
        }
        (13, Some(leg)) => {
            let _ = net.with(node, |endpoint, now| {
                endpoint.info(now, leg, "application/dtmf", b"5")
            });
        }
        (14, _) => net.cut(node, picked.is_multiple_of(4)),
        (15, _) => net.run(Duration::from_secs(20)),
        (16, _) => net.run(Duration::from_millis(700)),
        _ => net.run(Duration::from_millis(30)),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{Rng, RngExt, SeedableRng};

    #[test]
    fn random_operations_end_every_leg_once_and_empty_every_table() {
        for seed in 0..300_u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut bytes = vec![0; rng.random_range(2..400)];
            rng.fill_bytes(&mut bytes);
            let outcome = std::panic::catch_unwind(|| super::fuzz_operations(&bytes));
            assert!(outcome.is_ok(), "seed {seed} fails: {bytes:?}");
        }
    }
}
