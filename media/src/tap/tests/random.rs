//! Whatever a network does to packets: what came in time is in its place, and the length is always right.

use proptest::prelude::*;

use super::*;

/// What the network does to one packet.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    twice: bool,
    delay: u64,
}

fn fate() -> impl Strategy<Value = Fate> {
    let delay = prop_oneof![8 => 0_u64..16, 2 => 16_u64..2_800];
    (prop::bool::weighted(0.1), prop::bool::weighted(0.05), delay)
        .prop_map(|(lost, twice, delay)| Fate { lost, twice, delay })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against the reference: a sample is in the recording if and only if its packet came within 200 ms of it.
    #[test]
    fn every_sample_that_came_in_time_is_in_its_place(
        agent in proptest::collection::vec(fate(), 40..150),
        customer in proptest::collection::vec(fate(), 40..150),
        len in prop_oneof![Just(80_u64), Just(160), Just(240), Just(480)],
        tail in 0_u64..4_000,
        read_every in 1_usize..30,
    ) {
        let mut arrivals = Vec::new();
        for (side, fates) in [(Side::Agent, &agent), (Side::Customer, &customer)] {
            for (number, fate) in fates.iter().enumerate() {
                let spoken = (number as u64 + 1) * len;
                // The first sets the line, so it comes in time.
                let fate = if number == 0 { Fate { lost: false, twice: false, delay: 0 } } else { *fate };
                if !fate.lost {
                    arrivals.push((spoken + fate.delay, side, number as u64));
                    if fate.twice {
                        arrivals.push((spoken + fate.delay + 400, side, number as u64));
                    }
                }
            }
        }
        arrivals.sort_by_key(|&(at, side, number)| (at, side == Side::Customer, number));
        let longest = agent.len().max(customer.len()) as u64 * len;
        let end = longest + 3_300 + tail;
        let mut expected = [vec![0_i16; end as usize], vec![0_i16; end as usize]];
        let mut bench = Bench::new(10_000);
        for (turn, &(at, side, number)) in arrivals.iter().enumerate() {
            bench.feed(side, &Packet::of_talker(number, len), at);
            if turn % read_every == 0 {
                bench.read();
            }
            let channel = &mut expected[usize::from(side == Side::Customer)];
            for n in number * len..(number + 1) * len {
                if n + 1_600 >= at {
                    channel[n as usize] = sample(n);
                }
            }
        }
        let report = bench.stop(end);
        prop_assert_eq!(report.overflow_samples, 0);
        prop_assert_eq!(report.agent.reanchored + slipped(&report.agent), 0);
        prop_assert!(bench.left == expected[0]);
        prop_assert!(bench.right == expected[1]);
    }

    /// Whatever comes, the recording is exactly as long as the call, and the reader sees every sample once.
    #[test]
    fn chaos_never_changes_the_length(
        packets in proptest::collection::vec(
            (any::<bool>(), 0_u64..6_000, any::<u16>(), any::<u32>(), 0_u32..3, 0_usize..700, any::<bool>()), 0..120),
        tail in 0_u64..20_000,
        capacity in 0_u32..1_500,
        steady in any::<bool>(),
    ) {
        let mut bench = Bench::new(capacity);
        let mut now = 0;
        for (number, (agent, gap, sequence, timestamp, ssrc, len, marker)) in packets.into_iter().enumerate() {
            now += gap;
            let packet = Packet {
                ssrc,
                sequence: if steady { number as u16 } else { sequence },
                timestamp,
                marker,
                payload: vec![0x2a; len],
            };
            let side = if agent { Side::Agent } else { Side::Customer };
            if sequence % 11 == 0 {
                bench.feed_content(side, &packet, TapContent::Digit(timestamp % 9_000), now);
            } else {
                bench.feed(side, &packet, now);
            }
            if sequence % 3 == 0 {
                bench.read();
            }
        }
        bench.stop(now + tail);
    }
}
