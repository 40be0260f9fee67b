//! The tap on virtual time: a talker whose every sample is known, a network that does what the test says, and the
//! recording compared sample by sample.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arrivals;
mod disturbed;
mod random;

use std::time::{Duration, Instant};

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
