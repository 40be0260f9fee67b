//! The gate against every time zone there is, judged by a checker that shares no code with it.
//!
//! The checker asks the time-zone database itself for the local time of single instants; the gate does
//! arithmetic on offsets it read once. They must agree in both directions: no call is allowed that the
//! checker finds outside the window, and none is refused that could ring in it for 15 s and the guard.
//!
//! Swept are all zones of the bundled database and all their transitions from 1970 to 2037, eight instants
//! around each (aliases of another zone: every 16th transition), then a million random instants. Receipts are
//! left out here, they cost ten times the decision; every 4096th instant goes through `decide` whole.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::super::decide::evaluate;
use super::super::receipt::Inputs;
use super::*;

const Y1970: i64 = 0;
const Y2038: i64 = 2_145_916_800_000;

fn stamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// Is it between 08:00 and 21:00 there? By the database alone.
fn is_calling_time(tz: &TimeZone, ms: i64) -> bool {
    (8..21).contains(&tz.to_datetime(stamp(ms)).hour())
}

/// Is it calling time at every instant from `from` until before `to`, less than 13 hours later?
fn stays_calling_time(tz: &TimeZone, from: i64, to: i64) -> bool {
    let last = to - 1;
    let changes = tz
        .following(stamp(from))
        .map(|t| t.timestamp().as_millisecond())
        .take_while(|t| *t <= last);
    // Between two changes the clock runs evenly, and it cannot pass the night in less than 11 hours.
    let mut ends = vec![from, last];
    changes.for_each(|t| ends.extend([t - 1, t]));
    ends.iter().all(|t| is_calling_time(tz, *t))
}

struct Sweep {
    inputs: Inputs,
    facts: Facts,
    asked: u64,
    allowed: u64,
}

impl Sweep {
    fn new() -> Self {
        let facts = facts_at(0);
        Self {
            inputs: Inputs::of(&facts, now(0)),
            facts,
            asked: 0,
            allowed: 0,
        }
    }

    fn ask(&mut self, name: &str, tz: &TimeZone, times: &ZoneTimes, ms: i64) {
        self.asked += 1;
        self.inputs.now.wall_ms = ms;
        if self.inputs.zone_times != std::slice::from_ref(times) {
            self.inputs.zone_times = vec![times.clone()];
        }
        let since_ms = times.day_began_ms(ms);
        self.inputs
            .counts
            .iter_mut()
            .for_each(|count| count.since_ms = since_ms);
        let verdict = evaluate(&self.inputs, &self.facts.rules);
        match &verdict {
            Verdict::Allow {
                valid_until_ms,
                ring_ms,
                ring_until_ms,
                closes_at_ms,
                agreement: None,
            } => {
                self.allowed += 1;
                assert!(
                    ms <= *valid_until_ms && valid_until_ms + 15_000 <= *ring_until_ms,
                    "{name} {ms}"
                );
                assert!(
                    *ring_ms >= 15_000 && ms + ring_ms <= *ring_until_ms,
                    "{name} {ms}"
                );
                assert!(ring_until_ms + 5_000 <= *closes_at_ms, "{name} {ms}");
                // From now until after the last ring and its guard.
                assert!(
                    stays_calling_time(tz, ms, *closes_at_ms),
                    "{name}: allowed at {ms}, {verdict:?}"
                );
            }
            Verdict::Allow { .. } => panic!("{name} {ms}: there is no agreement"),
            Verdict::Deny { reasons } => {
                let window = reasons
                    .iter()
                    .all(|r| ["outside_window", "window_closing"].contains(&r.reason.code()));
                assert!(window && reasons.len() == 1, "{name} {ms}: {reasons:?}");
                assert!(
                    !stays_calling_time(tz, ms, ms + 20_000),
                    "{name}: refused at {ms}"
                );
            }
        }
        if self.asked.is_multiple_of(4096) {
            let mut facts = self.facts.clone();
            facts.zones = Zones::recorded(name);
            facts.counts = uncalled(&facts.rules, &facts.zones, ms);
            let decision = decide(&facts, &now(ms));
            let whole = matches!(decision.verdict, Verdict::Allow { .. });
            assert_eq!(
                whole,
                matches!(verdict, Verdict::Allow { .. }),
                "{name} {ms}"
            );
            assert_eq!(replay(decision.receipt.text()).unwrap(), decision);
        }
    }
}

/// Runs work on zones on as many threads as the machine has, since all zones are many.
fn on_all_zones(work: impl Fn(&mut Sweep, usize, &str, &TimeZone) + Sync) -> (u64, u64) {
    let database = TimeZoneDatabase::bundled();
    let zones: Vec<(String, TimeZone)> = database
        .available()
        .map(|name| {
            (
                name.as_str().to_owned(),
                database.get(name.as_str()).unwrap(),
            )
        })
        .collect();
    assert!(zones.len() > 500, "only {} zones", zones.len());
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    let (zones, work) = (Arc::new(zones), &work);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..threads)
            .map(|hand| {
                let zones = zones.clone();
                scope.spawn(move || {
                    let mut sweep = Sweep::new();
                    for (index, (name, tz)) in zones.iter().enumerate().skip(hand).step_by(threads)
                    {
                        work(&mut sweep, index, name, tz);
                    }
                    (sweep.asked, sweep.allowed)
                })
            })
            .collect();
        hands
            .into_iter()
            .map(|hand| hand.join().unwrap())
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    })
}

#[test]
fn around_every_change_of_every_zones_clocks_no_call_leaves_the_window() {
    let (asked, allowed) = on_all_zones(|sweep, _, name, tz| {
        let step = if tz.is_primary() { 1 } else { 16 };
        let changes = tz
            .following(stamp(Y1970))
            .map(|change| change.timestamp().as_millisecond())
            .take_while(|ms| *ms < Y2038);
        for change in changes.step_by(step) {
            let times = ZoneTimes::around(name, change).unwrap();
            // The change itself, and the opening and closing of that day by the clocks before and after it.
            let mut instants = vec![change - 1, change];
            for side in [change - 1, change] {
                let local = tz.to_datetime(stamp(side));
                let midnight = side
                    - (i64::from(local.hour()) * 60 + i64::from(local.minute())) * 60_000
                    - i64::from(local.second()) * 1_000;
                instants.extend([
                    midnight + 8 * HOUR,
                    midnight + 21 * HOUR - 20_000,
                    midnight + 21 * HOUR - 1,
                ]);
            }
            for ms in instants {
                sweep.ask(name, tz, &times, ms);
            }
        }
    });
    assert!(
        asked > 100_000 && allowed > asked / 10 && allowed < asked,
        "{allowed} of {asked}"
    );
}

#[test]
fn at_a_million_random_instants_no_call_leaves_the_window() {
    let (asked, allowed) = on_all_zones(|sweep, index, name, tz| {
        let mut seed = u64::try_from(index).unwrap() ^ 0x52f1_9c0d;
        let mut roll = |n: i64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(seed >> 17).unwrap() % n
        };
        // 170 weeks a zone, ten instants of three hours each: about 600 zones make a million.
        for _ in 0..170 {
            let centre = Y1970 + roll(Y2038 - Y1970);
            let times = ZoneTimes::around(name, centre).unwrap();
            for _ in 0..10 {
                sweep.ask(name, tz, &times, centre + roll(3 * HOUR));
            }
        }
    });
    assert!(asked >= 1_000_000, "only {asked}");
    assert!(
        allowed > asked / 3 && allowed < asked * 2 / 3,
        "{allowed} of {asked}"
    );
}
