//! The tap on virtual time: a talker whose every sample is known, a network that does what the test says, and the
//! recording compared sample by sample.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::rtp::Header;
use crate::stats::LegCounters;
use crate::stream::InStream;

/// Code word of a talker's sample `n`; never silence, and it repeats only after 251 samples of 8 values each.
fn code(n: u64) -> u8 {
    let word = (n % 251) as u8;
    if Codec::Pcma.decode(word).unsigned_abs() < 16 {
        0x2a
    } else {
        word
    }
}

fn sample(n: u64) -> i16 {
    Codec::Pcma.decode(code(n))
}

/// Streams that begin with a first packet of 20 ms at the start may still move until here.
const SETTLED: u64 = 160 + 1_120;

/// A tap with its reader and two receiving streams.
struct Bench {
    origin: Instant,
    tap: Option<Tap>,
    reader: TapReader,
    streams: [InStream; 2],
    /// Both sockets are looked at whenever a packet comes.
    prompt: bool,
    left: Vec<i16>,
    right: Vec<i16>,
}

/// One packet to feed.
#[derive(Debug, Clone)]
struct Packet {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Packet {
    /// Packet `number` of a talker that began with `timestamp` 5,000 below the wrap and sequence 3 below it.
    fn of_talker(number: u64, len: u64) -> Self {
        Self {
            ssrc: 1,
            sequence: (number as u16).wrapping_sub(3),
            timestamp: ((number * len) as u32).wrapping_sub(5_000),
            marker: false,
            payload: (number * len..(number + 1) * len).map(code).collect(),
        }
    }
}

impl Bench {
    fn new(capacity_ms: u32) -> Self {
        let (mut tap, reader) = Tap::new(capacity_ms);
        let origin = Instant::now();
        tap.start(origin);
        let streams = [InStream::default(), InStream::default()];
        Self {
            origin,
            tap: Some(tap),
            reader,
            streams,
            prompt: true,
            left: Vec::new(),
            right: Vec::new(),
        }
    }

    /// The instant of a position.
    fn at(&self, position: u64) -> Instant {
        self.origin + Duration::from_micros(position * 125)
    }

    fn feed(&mut self, side: Side, packet: &Packet, position: u64) {
        self.feed_content(
            side,
            packet,
            TapContent::Audio(Codec::Pcma, &packet.payload),
            position,
        );
    }

    fn feed_content(
        &mut self,
        side: Side,
        packet: &Packet,
        content: TapContent<'_>,
        position: u64,
    ) {
        let now = self.at(position);
        let header = Header {
            marker: packet.marker,
            payload_type: 8,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            payload_start: 12,
            payload_end: 12 + packet.payload.len(),
        };
        let samples = match content {
            TapContent::Audio(_, payload) => Some(payload.len() as u32),
            TapContent::Digit(_) => None,
        };
        let stream = match side {
            Side::Agent => &mut self.streams[0],
            Side::Customer => &mut self.streams[1],
        };
        let arrival = stream.judge(&header, samples, now, &LegCounters::default());
        let (marker, timestamp) = (packet.marker, packet.timestamp);
        let tap = self.tap.as_mut().unwrap();
        tap.push(
            side,
            &TapPacket {
                arrival,
                marker,
                timestamp,
                content,
            },
            now,
        );
        if self.prompt {
            tap.idle(side.other(), now);
        }
    }

    /// Lets the engine's sweeps pass, from one position to another.
    fn pass(&mut self, positions: std::ops::Range<u64>) {
        for position in positions.step_by(800) {
            let at = self.at(position);
            self.tap.as_mut().unwrap().advance(at);
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 1_024];
        loop {
            let got = self.reader.read(&mut buffer);
            if got == 0 {
                break;
            }
            for pair in buffer[..got].chunks_exact(2) {
                self.left.push(pair[0]);
                self.right.push(pair[1]);
            }
        }
    }

    fn stop(&mut self, position: u64) -> TapReport {
        let at = self.at(position);
        self.tap.as_mut().unwrap().stop(at);
        self.read();
        assert!(self.reader.ended());
        assert_eq!(
            self.left.len() as u64,
            position,
            "the recording has the exact length"
        );
        let report = self.reader.report();
        assert_eq!(report.length, Some(position));
        for channel in [report.agent, report.customer] {
            assert_nothing_is_lost_silently(&channel, position);
        }
        report
    }
}

/// What came in is what was recorded and what was counted.
fn assert_nothing_is_lost_silently(channel: &ChannelReport, length: u64) {
    let recorded = length - channel.silence_filled - channel.digit_samples;
    assert_eq!(
        channel.samples + channel.repeated - channel.dropped,
        recorded
            + channel.before_start
            + channel.late_samples
            + channel.crowded
            + channel.after_end,
        "{channel:?}"
    );
}

/// Both talk from the start, packet `n` arriving as its last sample is spoken.
fn talk(
    bench: &mut Bench,
    side: Side,
    packets: std::ops::Range<u64>,
    len: u64,
    keep: impl Fn(u64) -> bool,
) {
    for number in packets {
        if keep(number) {
            bench.feed(side, &Packet::of_talker(number, len), (number + 1) * len);
        }
        bench.read();
    }
}

fn slipped(channel: &ChannelReport) -> u64 {
    channel.repeated + channel.dropped
}

fn assert_is_talker(heard: &[i16], range: std::ops::Range<u64>) {
    for n in range {
        assert_eq!(heard[n as usize], sample(n), "sample {n}");
    }
}

fn assert_silent(heard: &[i16], range: std::ops::Range<u64>) {
    for n in range {
        assert_eq!(heard[n as usize], 0, "sample {n}");
    }
}

#[test]
fn each_voice_lies_on_its_own_channel_at_its_own_time() {
    for len in [80, 160, 240, 480] {
        let mut bench = Bench::new(1_000);
        for number in 0..100 {
            bench.feed(
                Side::Agent,
                &Packet::of_talker(number, len),
                (number + 1) * len,
            );
            bench.read();
        }
        let report = bench.stop(100 * len);
        assert_is_talker(&bench.left, 0..100 * len);
        assert_silent(&bench.right, 0..100 * len);
        assert_eq!(
            report.agent,
            ChannelReport {
                packets: 100,
                samples: 100 * len,
                ..Default::default()
            }
        );
        assert_eq!(report.customer.silence_filled, 100 * len);
    }
}

#[test]
fn both_voices_are_written_as_soon_as_both_are_there() {
    let mut bench = Bench::new(1_000);
    for number in 0..50 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.feed(
            Side::Customer,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.read();
        let now = (number + 1) * 160;
        assert_eq!(
            bench.left.len() as u64,
            if now < SETTLED { 0 } else { now },
            "nothing is held back without a hole once the streams have begun"
        );
    }
}

#[test]
fn a_hole_holds_the_recording_back_for_200_ms_and_no_longer() {
    let mut bench = Bench::new(1_000);
    for number in 0..50 {
        for side in [Side::Agent, Side::Customer] {
            if side == Side::Agent || number != 10 {
                bench.feed(side, &Packet::of_talker(number, 160), (number + 1) * 160);
            }
        }
        bench.read();
        let now = (number + 1) * 160;
        let expected = if now < SETTLED {
            0
        } else if number < 10 {
            now
        } else if now < 1_760 + 1_600 {
            1_600.max(now - 1_600)
        } else {
            now
        };
        assert_eq!(bench.left.len() as u64, expected);
    }
    let report = bench.stop(8_000);
    assert_silent(&bench.right, 1_600..1_760);
    assert_is_talker(&bench.right, 1_760..8_000);
    assert_eq!(
        (report.customer.lost, report.customer.silence_filled),
        (1, 160)
    );
}

#[test]
fn loss_becomes_silence_of_the_same_length() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..500, 160, |number| {
        number % 7 != 3
    });
    let report = bench.stop(80_000);
    for number in 0..500 {
        match number % 7 == 3 {
            true => assert_silent(&bench.left, number * 160..(number + 1) * 160),
            false => assert_is_talker(&bench.left, number * 160..(number + 1) * 160),
        }
    }
    assert_eq!(report.agent.lost, 71);
    assert_eq!(report.agent.silence_filled, 71 * 160);
    assert_eq!(report.agent.reanchored + slipped(&report.agent), 0);
}

#[test]
fn reordered_and_repeated_packets_change_nothing() {
    let mut bench = Bench::new(1_000);
    for pair in 0..100 {
        let now = (pair * 2 + 2) * 160;
        let (first, second) = (
            Packet::of_talker(pair * 2, 160),
            Packet::of_talker(pair * 2 + 1, 160),
        );
        if pair == 0 {
            bench.feed(Side::Customer, &first, 160);
        }
        bench.feed(Side::Customer, &second, now);
        bench.feed(Side::Customer, &first, now + 8);
        bench.feed(Side::Customer, &first, now + 16);
        bench.read();
    }
    let report = bench.stop(32_000);
    assert_is_talker(&bench.right, 0..32_000);
    assert_eq!(
        (
            report.customer.packets,
            report.customer.lost,
            report.customer.duplicate
        ),
        (200, 0, 101)
    );
}

#[test]
fn a_packet_after_its_time_is_counted_late_and_not_recorded() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..20, 160, |number| number != 5);
    bench.feed(Side::Agent, &Packet::of_talker(5, 160), 20 * 160);
    talk(&mut bench, Side::Agent, 20..30, 160, |_| true);
    let report = bench.stop(4_800);
    assert_silent(&bench.left, 800..960);
    assert_is_talker(&bench.left, 960..4_800);
    assert_eq!((report.agent.late, report.agent.lost), (1, 0));
}

#[test]
fn a_stream_that_was_already_running_is_cut_at_the_start() {
    let mut bench = Bench::new(1_000);
    for number in 0..50 {
        // Its first packet arrives 5 ms after the start: 15 ms of it were spoken before.
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            number * 160 + 40,
        );
    }
    bench.stop(7_880);
    for n in 0..7_880 {
        assert_eq!(bench.left[n], sample(n as u64 + 120));
    }
}

#[test]
fn a_time_stamp_jump_is_placed_by_the_clock() {
    for jump in [
        0x4000_0000_u32,
        0x9000_0000,
        80_000,
        80_000_u32.wrapping_neg(),
    ] {
        let mut bench = Bench::new(1_000);
        talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
        for number in 50..100 {
            let mut packet = Packet::of_talker(number, 160);
            packet.timestamp = packet.timestamp.wrapping_add(jump);
            bench.feed(Side::Agent, &packet, (number + 1) * 160);
            bench.read();
        }
        let report = bench.stop(16_000);
        assert_is_talker(&bench.left, 0..16_000);
        assert_eq!(
            (report.agent.reanchored, report.agent.silence_filled),
            (1, 0),
            "jump {jump}"
        );
    }
}

#[test]
fn a_new_source_goes_on_at_once() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
    for number in 50..100 {
        let mut packet = Packet::of_talker(number, 160);
        (packet.ssrc, packet.sequence) = (99, packet.sequence.wrapping_add(20_000));
        packet.timestamp = packet.timestamp.wrapping_mul(1).wrapping_add(0x1234_5678);
        bench.feed(Side::Agent, &packet, (number + 1) * 160);
        bench.read();
    }
    let report = bench.stop(16_000);
    assert_is_talker(&bench.left, 0..16_000);
    assert_eq!((report.agent.reanchored, report.agent.lost), (1, 0));
}

#[test]
fn a_sequence_that_restarts_costs_one_packet() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
    for number in 50..100 {
        let mut packet = Packet::of_talker(number, 160);
        packet.sequence = packet.sequence.wrapping_add(30_000);
        bench.feed(Side::Agent, &packet, (number + 1) * 160);
        bench.read();
    }
    bench.stop(16_000);
    assert_is_talker(&bench.left, 0..8_000);
    assert_silent(&bench.left, 8_000..8_160);
    assert_is_talker(&bench.left, 8_160..16_000);
}

#[test]
fn a_sender_that_pauses_and_goes_on_where_it_was_is_found_again() {
    for marker in [true, false] {
        let mut bench = Bench::new(1_000);
        talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
        bench.pass(8_000..88_000);
        // Held for 10 s; then its time stamps go on as if nothing had been.
        for number in 50..150 {
            let mut packet = Packet::of_talker(number, 160);
            packet.marker = marker && number == 50;
            bench.feed(Side::Agent, &packet, 80_000 + (number + 1) * 160);
            bench.read();
        }
        let report = bench.stop(80_000 + 24_000);
        assert_silent(&bench.left, 8_000..88_000);
        // Without a marker the first packets could be a burst of late ones, so five are needed to believe it.
        let first = if marker { 8_000 } else { 8_000 + 4 * 160 };
        for n in first..24_000_u64 {
            assert_eq!(
                bench.left[n as usize + 80_000],
                sample(n),
                "marker {marker}"
            );
        }
        assert_eq!(report.agent.reanchored, 1);
    }
}

#[test]
fn silence_suppression_keeps_the_time_line() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
    bench.pass(8_000..88_000);
    for number in 50..100 {
        let mut packet = Packet::of_talker(number, 160);
        packet.timestamp = packet.timestamp.wrapping_add(80_000); // no packets for 10 s, the clock ran on
        packet.marker = number == 50;
        bench.feed(Side::Agent, &packet, 80_000 + (number + 1) * 160);
        bench.read();
    }
    let report = bench.stop(96_000);
    assert_silent(&bench.left, 8_000..88_000);
    for n in 8_000..16_000_u64 {
        assert_eq!(bench.left[n as usize + 80_000], sample(n));
    }
    assert_eq!((report.agent.reanchored, report.agent.lost), (0, 0));
}

#[test]
fn a_burst_after_a_stall_keeps_what_is_not_too_old() {
    // The network holds back 400 ms or 1 s; then all is delivered at once, or one packet every 3 ms, as fast as the
    // engine takes them from a socket.
    for (stall, apart) in [(20, 0), (50, 0), (50, 24)] {
        let mut bench = Bench::new(2_000);
        talk(&mut bench, Side::Agent, 0..50, 160, |_| true);
        let delivered = (50 + stall) * 160;
        let mut arrivals: Vec<(u64, u64)> = (50..50 + stall)
            .map(|number| (delivered + (number - 50) * apart, number))
            .collect();
        arrivals.extend((50 + stall..150).map(|number| ((number + 1) * 160, number)));
        arrivals.sort_unstable();
        for (at, number) in arrivals {
            bench.feed(Side::Agent, &Packet::of_talker(number, 160), at);
            bench.read();
        }
        let report = bench.stop(24_000);
        assert_eq!(report.agent.reanchored, 0);
        assert_silent(&bench.left, 8_000..delivered - 1_600);
        assert_is_talker(&bench.left, delivered..24_000);
        assert!(
            (stall - 10..=stall).contains(&report.agent.late),
            "{}",
            report.agent.late
        );
    }
}

#[test]
fn a_digit_is_recorded_as_silence_and_holds_nothing_back() {
    let mut bench = Bench::new(1_000);
    for number in 0..10 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.feed(
            Side::Customer,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
    }
    for step in 1..=5_u64 {
        bench.feed(
            Side::Customer,
            &Packet::of_talker(9 + step, 160),
            (10 + step) * 160,
        );
        let mut packet = Packet::of_talker(9 + step, 160);
        packet.timestamp = Packet::of_talker(10, 160).timestamp;
        bench.feed_content(
            Side::Agent,
            &packet,
            TapContent::Digit(step as u32 * 160),
            (10 + step) * 160,
        );
    }
    bench.read();
    assert_eq!(
        bench.left.len(),
        2_400,
        "both are settled up to the digit's end"
    );
    for number in 15..20 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
    }
    let report = bench.stop(3_200);
    assert_silent(&bench.left, 1_600..2_400);
    assert_is_talker(&bench.left, 2_400..3_200);
    assert_eq!(
        (
            report.agent.digit_samples,
            report.agent.silence_filled,
            report.agent.lost
        ),
        (800, 0, 0)
    );
}

#[test]
fn a_pause_keeps_both_voices_out_and_the_time_line_whole() {
    let mut bench = Bench::new(1_000);
    for number in 0..100 {
        if number == 30 {
            let at = bench.at(30 * 160);
            bench.tap.as_mut().unwrap().pause(at);
        }
        if number == 60 {
            let at = bench.at(60 * 160);
            bench.tap.as_mut().unwrap().resume(at);
        }
        for side in [Side::Agent, Side::Customer] {
            bench.feed(side, &Packet::of_talker(number, 160), (number + 1) * 160);
        }
        bench.read();
    }
    let report = bench.stop(16_000);
    for heard in [&bench.left, &bench.right] {
        assert_is_talker(heard, 0..4_800);
        assert_silent(heard, 4_800..9_600);
        assert_is_talker(heard, 9_600..16_000);
    }
    assert_eq!(
        (report.paused_samples, report.agent.silence_filled),
        (4_800, 0)
    );
}

#[test]
fn laws_may_be_mixed() {
    let mut bench = Bench::new(1_000);
    for number in 0..40 {
        let mut packet = Packet::of_talker(number, 160);
        let law = if number % 2 == 0 {
            Codec::Pcma
        } else {
            Codec::Pcmu
        };
        packet.payload = vec![law.encode(1_000); 160];
        bench.feed_content(
            Side::Agent,
            &packet,
            TapContent::Audio(law, &packet.payload),
            (number + 1) * 160,
        );
    }
    bench.stop(6_400);
    assert!(bench.left.iter().all(|&s| (s - 1_000).abs() < 40));
}

#[test]
fn a_slow_reader_loses_samples_but_not_the_time_line() {
    let mut bench = Bench::new(0); // the smallest ring: a window
    for number in 0..100 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.feed(
            Side::Customer,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
    }
    bench.read();
    for number in 100..200 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.feed(
            Side::Customer,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
        bench.read();
    }
    let report = bench.stop(32_000);
    assert_is_talker(&bench.left, 0..WINDOW as u64);
    assert_silent(&bench.left, WINDOW as u64..16_000);
    assert!(report.overflow_samples >= 16_000 - WINDOW as u64);
    assert_is_talker(&bench.left, 24_000..32_000); // it has long recovered
    let silent = (0..32_000).filter(|&n| bench.left[n] == 0).count() as u64;
    assert_eq!(silent, report.overflow_samples);
    assert!((0..32_000).all(|n| bench.left[n] == 0 || bench.left[n] == sample(n as u64)));
}

#[test]
fn the_end_is_exact_even_if_nobody_read_before_it() {
    let mut bench = Bench::new(0);
    for number in 0..100 {
        bench.feed(
            Side::Agent,
            &Packet::of_talker(number, 160),
            (number + 1) * 160,
        );
    }
    bench.stop(100_003);
    assert_is_talker(&bench.left, 0..WINDOW as u64);
}

#[test]
fn a_stop_in_the_past_cuts_and_a_second_stop_changes_nothing() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..20, 160, |_| true);
    let report = bench.stop(3_001);
    assert_is_talker(&bench.left, 0..3_001);
    let later = bench.at(9_000);
    bench.tap.as_mut().unwrap().stop(later);
    bench.feed(Side::Agent, &Packet::of_talker(20, 160), 3_360);
    bench.read();
    assert_eq!(bench.left.len(), 3_001);
    assert_eq!(bench.reader.report(), report);
}

#[test]
fn a_tap_that_is_dropped_ends_its_reader() {
    let mut bench = Bench::new(1_000);
    talk(&mut bench, Side::Agent, 0..20, 160, |_| true);
    drop(bench.tap.take());
    bench.read();
    assert!(bench.reader.ended());
    assert_eq!(
        bench.left.len(),
        1_600,
        "without a hang-up instant it ends where it had written to"
    );
}

#[test]
fn nothing_but_silence_is_still_a_recording_of_the_right_length() {
    let mut bench = Bench::new(1_000);
    bench.pass(0..80_000);
    let report = bench.stop(80_000);
    assert_eq!(report.agent.silence_filled, 80_000);
}

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

mod arrivals;
