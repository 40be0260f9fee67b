//! The outgoing stream on virtual time: whatever feeds it, the far end sees one stream.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::stats::LegCounters;
use crate::stream::InStream;

struct Bench {
    start: Instant,
    input: InStream,
    out: OutStream,
}

impl Bench {
    fn new() -> Self {
        // Just before both wraps.
        let out = OutStream::new(77, 65_530, u32::MAX - 500);
        Self {
            start: Instant::now(),
            input: InStream::default(),
            out,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn relay(
        &mut self,
        leg: u64,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        ms: u64,
    ) -> Option<Outgoing> {
        self.relay_event(leg, ssrc, sequence, timestamp, ms, Some(160))
    }

    fn relay_event(
        &mut self,
        leg: u64,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        ms: u64,
        samples: Option<u32>,
    ) -> Option<Outgoing> {
        let now = self.at(ms);
        let (payload_start, payload_end) = (12, 172);
        let header = Header {
            marker: false,
            payload_type: 8,
            sequence,
            timestamp,
            ssrc,
            payload_start,
            payload_end,
        };
        let arrival = self
            .input
            .judge(&header, samples, now, &LegCounters::default());
        self.out.relay(
            Source::Leg(leg),
            &header,
            arrival,
            samples.unwrap_or(0),
            now,
        )
    }
}

#[test]
fn a_steady_stream_keeps_its_steps_over_both_wraps() {
    let mut bench = Bench::new();
    for n in 0..100_u16 {
        let out = bench
            .relay(
                1,
                5,
                n.wrapping_sub(50),
                u32::from(n) * 160,
                u64::from(n) * 20,
            )
            .unwrap();
        assert_eq!(out.ssrc, 77);
        assert_eq!(out.sequence, 65_530_u16.wrapping_add(n));
        assert_eq!(
            out.timestamp,
            (u32::MAX - 500).wrapping_add(u32::from(n) * 160)
        );
        assert_eq!(out.marker, n == 0);
    }
}

#[test]
fn holes_and_reordering_pass_as_they_are_and_repeats_do_not() {
    let mut bench = Bench::new();
    let first = bench.relay(1, 5, 100, 0, 0).unwrap();
    let fourth = bench.relay(1, 5, 103, 480, 60).unwrap();
    let third = bench.relay(1, 5, 102, 320, 61).unwrap();
    assert_eq!(bench.relay(1, 5, 102, 320, 62), None);
    assert_eq!(fourth.sequence.wrapping_sub(first.sequence), 3);
    assert_eq!(third.sequence.wrapping_sub(first.sequence), 2);
    assert_eq!(third.timestamp.wrapping_sub(first.timestamp), 320);
    let fifth = bench.relay(1, 5, 104, 640, 80).unwrap();
    assert_eq!(
        fifth.sequence.wrapping_sub(first.sequence),
        4,
        "a late packet does not turn the line back"
    );
}

#[test]
fn a_new_source_goes_on_where_the_old_one_ended() {
    let mut bench = Bench::new();
    let before = bench.relay(1, 5, 100, 8_000, 0).unwrap();
    // Another SSRC after 500 ms of nothing, then another leg after a transfer, then a tone, then the leg again.
    let after = bench.relay(1, 6, 40_000, 0x9999_0000, 500).unwrap();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 4_000);
    assert!(after.marker);
    bench.input = InStream::default();
    let other = bench.relay(2, 6, 7, 0, 505).unwrap();
    assert_eq!(other.sequence, after.sequence.wrapping_add(1));
    assert_eq!(
        other.timestamp.wrapping_sub(after.timestamp),
        160,
        "never before the last packet's end"
    );
    let now = bench.at(1_000);
    let tone = bench.out.originate(160, true, now);
    let more = bench
        .out
        .originate(160, false, bench.start + Duration::from_millis(1_023));
    assert_eq!(
        (tone.sequence, more.sequence),
        (
            other.sequence.wrapping_add(1),
            other.sequence.wrapping_add(2)
        )
    );
    assert_eq!(
        more.timestamp.wrapping_sub(tone.timestamp),
        160,
        "a tone's samples are counted, not timed"
    );
    let back = bench.relay(2, 6, 8, 160, 2_000).unwrap();
    assert_eq!(back.sequence, more.sequence.wrapping_add(1));
    assert_eq!(
        back.timestamp.wrapping_sub(more.timestamp),
        (2_000 - 1_023) * 8
    );
    assert!(tone.marker && !more.marker && back.marker);
}

#[test]
fn a_late_packet_from_before_the_source_took_over_is_not_sent() {
    let mut bench = Bench::new();
    bench.relay(1, 5, 100, 0, 0).unwrap();
    bench.relay(1, 5, 102, 320, 40).unwrap();
    bench
        .out
        .originate(160, true, bench.start + Duration::from_millis(60));
    assert_eq!(bench.relay(1, 5, 101, 160, 61), None);
    bench.relay(1, 5, 103, 480, 62).unwrap();
}

#[test]
fn a_time_stamp_jump_is_smoothed_and_a_pause_is_not_invented() {
    let mut bench = Bench::new();
    let first = bench.relay(1, 5, 1, 0, 0).unwrap();
    let jumped = bench.relay(1, 5, 2, 0x7000_0000, 20).unwrap();
    assert_eq!(jumped.timestamp.wrapping_sub(first.timestamp), 160);
    assert_eq!(jumped.sequence.wrapping_sub(first.sequence), 1);
    // Silence suppression: the clock ran on with the time stamp.
    let later = bench.relay(1, 5, 3, 0x7000_0000 + 16_000, 2_020).unwrap();
    assert_eq!(later.timestamp.wrapping_sub(jumped.timestamp), 16_000);
    assert_eq!(later.sequence.wrapping_sub(jumped.sequence), 1);
}

#[test]
fn a_digit_stands_still_in_time_while_its_sequence_runs() {
    let mut bench = Bench::new();
    let audio = bench.relay(1, 5, 1, 0, 0).unwrap();
    let start = bench.relay_event(1, 5, 2, 160, 20, None).unwrap();
    let mut last = start;
    for n in 3..200 {
        last = bench
            .relay_event(1, 5, n, 160, u64::from(n) * 20 - 20, None)
            .unwrap();
        assert_eq!(last.timestamp, start.timestamp);
    }
    assert_eq!(start.timestamp.wrapping_sub(audio.timestamp), 160);
    let after = bench.relay(1, 5, 200, 199 * 160, 199 * 20).unwrap();
    assert_eq!(after.timestamp.wrapping_sub(audio.timestamp), 199 * 160);
    assert_eq!(after.sequence, last.sequence.wrapping_add(1));
}

proptest! {
    /// However sources restart, jump and alternate, no number is sent twice and the newest packet is always ahead.
    #[test]
    fn the_far_end_sees_one_stream(
        steps in proptest::collection::vec((0_u64..3, 0_u32..3, any::<bool>(), 0_u64..900, any::<u32>(), 0_u16..200), 1..150)
    ) {
        let mut bench = Bench::new();
        let mut seen = std::collections::HashSet::new();
        let (mut ms, mut sequence, mut timestamp) = (0, 0_u16, 0_u32);
        let mut newest: Option<Outgoing> = None;
        for (leg, ssrc, restart, gap, random, forward) in steps {
            ms += gap;
            if restart {
                (sequence, timestamp) = (random as u16, random);
            } else {
                sequence = sequence.wrapping_add(forward);
                timestamp = timestamp.wrapping_add(160);
            }
            let out = if leg == 2 {
                Some(bench.out.originate(160, false, bench.start + Duration::from_millis(ms)))
            } else {
                bench.relay(leg, ssrc, sequence, timestamp, ms)
            };
            let Some(out) = out else { continue };
            prop_assert!(seen.insert(out.sequence), "{} twice", out.sequence);
            if let Some(before) = newest
                && out.sequence.wrapping_sub(before.sequence) < 0x8000
            {
                let ahead = out.timestamp.wrapping_sub(before.timestamp) as i32;
                prop_assert!(ahead > 0, "time went back by {}", -ahead);
                newest = Some(out);
            } else if newest.is_none() {
                newest = Some(out);
            }
        }
    }
}
