//! What a network and a sender do to a stream, one thing at a time: loss, order, jumps, pauses, bursts, digits.

use super::*;

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
