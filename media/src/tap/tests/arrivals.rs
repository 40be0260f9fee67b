//! Packets that come as they do from real machines through real networks: with jitter, in bursts after stalls, late for
//! half a minute on end, lost, out of order, twice, from senders whose clocks run fast or slow; and taken by a thread that
//! is not run for most of a second. All on virtual time; a failing case is kept in `proptest-regressions`.

use proptest::prelude::*;

use super::*;

/// A position the recording may be off the sender's clock, at most: 40 ms.
const BOUND: i64 = 320;

/// Code word of a talker's sample `n`, without a period: any 40 samples in a row say where they are.
fn word(n: u64) -> u8 {
    code(mix(n) % 251)
}

fn spoken(n: u64) -> i16 {
    Codec::Pcma.decode(word(n))
}

/// Splitmix64: chance that is the same in every run.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Who speaks: packets of `len` samples, by a clock that is `ppm` too fast.
#[derive(Debug, Clone, Copy)]
struct Sender {
    len: u64,
    ppm: i64,
}

impl Sender {
    /// The position at which its sample `n` is spoken.
    fn position(self, n: u64) -> u64 {
        (i128::from(n) * i128::from(1_000_000 - self.ppm) / 1_000_000) as u64
    }

    fn packet(self, number: u64) -> Packet {
        Packet {
            payload: (number * self.len..(number + 1) * self.len)
                .map(word)
                .collect(),
            ..Packet::of_talker(number, self.len)
        }
    }
}

/// What lies between a sender and us. Spans are positions.
#[derive(Debug, Clone)]
struct Network {
    seed: u64,
    /// Each packet is up to so much late.
    jitter: u64,
    /// One packet in so many is lost, overtaken, repeated.
    one_in: u64,
    /// Nothing passes; what waited then comes at once or this many samples apart.
    stalls: Vec<(Range<u64>, u64)>,
    /// All is this much late.
    spells: Vec<(Range<u64>, u64)>,
}

impl Network {
    /// When which packets come, in order.
    fn arrivals(&self, sender: Sender, packets: u64) -> Vec<(u64, u64)> {
        let mut chance = (0..).map(|n| mix(self.seed ^ mix(n)));
        let mut chance = move |below: u64| chance.next().unwrap() % below;
        let mut arrivals = Vec::new();
        for number in 0..packets {
            let ready = sender.position((number + 1) * sender.len);
            let (fate, jitter, more) =
                (chance(self.one_in), chance(self.jitter + 1), chance(1_400));
            let late = |(span, by): &(Range<u64>, u64)| if span.contains(&ready) { *by } else { 0 };
            let at = ready + jitter + self.spells.iter().map(late).sum::<u64>();
            match fate {
                0 => {}
                1 => arrivals.push((at + more, number)),
                2 => arrivals.extend([(at, number), (at + more, number)]),
                _ => arrivals.push((at, number)),
            }
        }
        arrivals.sort_unstable();
        let mut free = 0;
        for (at, _) in &mut arrivals {
            let came = *at;
            let mut apart = 0;
            for (span, every) in &self.stalls {
                if span.contains(&came) {
                    *at = span.end;
                }
                if (span.start..span.end + 4 * (span.end - span.start)).contains(&came) {
                    apart = *every;
                }
            }
            *at = free.max(*at);
            free = *at + if *at > came { apart } else { 0 };
        }
        arrivals
    }
}

/// Networks for a talk of `samples`. Stalls begin after 3 s: before, nobody knows the line yet.
fn network(samples: u64, len: u64) -> impl Strategy<Value = Network> {
    let stall = (24_000..samples.max(24_001), 400_u64..6_400, 0..=len / 3);
    let spell = (0..samples, 1_000_u64..240_000, 1_u64..700);
    (
        any::<u64>(),
        prop_oneof![Just(0_u64), 1_u64..24, 24_u64..120],
        prop_oneof![2 => 8_u64..100, 1 => Just(1_000_000_u64)],
        proptest::collection::vec(stall, 0..6),
        proptest::collection::vec(spell, 0..3),
    )
        .prop_map(|(seed, jitter, one_in, stalls, spells)| {
            let mut network = Network {
                seed,
                jitter,
                one_in,
                stalls: Vec::new(),
                spells: Vec::new(),
            };
            let mut free = 0;
            for (begin, length, apart) in stalls {
                let begin = begin.max(free);
                // Until what waited is out.
                free = begin + 5 * length;
                network.stalls.push((begin..begin + length, apart));
            }
            let mut free = 0;
            for (begin, length, late) in spells {
                let begin = if begin < 80_000 { 0 } else { begin }.max(free);
                // Prompt packets for a while, so that it is a spell and not the way things are.
                free = begin + length + 80_000;
                network.spells.push((begin..begin + length, late));
            }
            network
        })
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![Just(80_u64), Just(160), Just(160), Just(240), Just(480)]
}

/// Two senders, their networks, and how many packets each sends.
#[derive(Debug, Clone)]
struct Talk {
    sides: [(Sender, Network, u64); 2],
    samples: u64,
}

fn talk_of(
    seconds: Range<u64>,
    ppm: impl Strategy<Value = i64> + Clone + 'static,
) -> impl Strategy<Value = Talk> {
    let side = move |samples: u64, ppm: i64| {
        lengths().prop_flat_map(move |len| {
            network(samples, len)
                .prop_map(move |network| (Sender { len, ppm }, network, samples / len))
        })
    };
    (seconds, ppm.clone(), ppm).prop_flat_map(move |(seconds, left, right)| {
        let samples = seconds * 8_000;
        (side(samples, left), side(samples, right)).prop_map(move |(left, right)| Talk {
            sides: [left, right],
            samples,
        })
    })
}

/// One packet as it comes: at, side, number.
type Coming = (u64, usize, u64);

impl Talk {
    fn arrivals(&self) -> Vec<Coming> {
        let mut all = Vec::new();
        for (side, (sender, network, packets)) in self.sides.iter().enumerate() {
            all.extend(
                network
                    .arrivals(*sender, *packets)
                    .into_iter()
                    .map(|(at, number)| (at, side, number)),
            );
        }
        all.sort_by_key(|&(at, side, _)| (at, side));
        all
    }

    /// After everything has come and nothing waits any more.
    fn end(&self, arrivals: &[Coming]) -> u64 {
        arrivals.last().map_or(0, |last| last.0).max(self.samples) + 2_000
    }

    fn feed(&self, bench: &mut Bench, (at, side, number): Coming) {
        let packet = self.sides[side].0.packet(number);
        bench.feed([Side::Agent, Side::Customer][side], &packet, at);
    }

    /// The recording, every packet taken as it comes.
    fn recorded(&self, arrivals: &[Coming]) -> (Bench, TapReport) {
        let mut bench = Bench::new(2_000);
        for &coming in arrivals {
            self.feed(&mut bench, coming);
            bench.read();
        }
        let report = bench.stop(self.end(arrivals));
        (bench, report)
    }
}

/// What must be heard of one side that has no drift: its packets lie on one line, which the earliest of the first 140 ms
/// draws, and a sample is there if it came within 200 ms.
fn expected(sender: Sender, arrivals: &[(u64, u64)], length: u64) -> Vec<i16> {
    let mut heard = vec![0; length as usize];
    let Some(&(first, number)) = arrivals.first() else {
        return heard;
    };
    let delay = |at: u64, number: u64| at as i64 - ((number + 1) * sender.len) as i64;
    let mut line = delay(first, number);
    let (mut drawn, mut newest) = (first, number);
    for &(at, number) in arrivals.iter().take_while(|(at, _)| *at < first + 1_120) {
        newest = newest.max(number);
        if number == newest && delay(at, number) < line {
            (line, drawn) = (delay(at, number), at);
        }
    }
    for &(at, number) in arrivals {
        for n in number * sender.len..(number + 1) * sender.len {
            let place = n as i64 + line;
            if place >= 0 && place + HOLD_SAMPLES >= at.max(drawn.min(first + 1_120)) as i64 {
                heard[place as usize] = spoken(n);
            }
        }
    }
    heard
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(40))]

    /// With clocks that agree, not one sample is inserted or dropped, nothing is placed anew, and every sample that came
    /// within 200 ms is exactly where its packet says.
    #[test]
    fn lateness_is_never_taken_for_drift(talk in talk_of(6..75, Just(0))) {
        let arrivals = talk.arrivals();
        let (bench, report) = talk.recorded(&arrivals);
        let heard = [(&bench.left, report.agent), (&bench.right, report.customer)];
        for (side, (heard, channel)) in heard.into_iter().enumerate() {
            prop_assert_eq!((channel.repeated, channel.dropped, channel.reanchored), (0, 0, 0));
            prop_assert_eq!(channel.crowded, 0);
            let own: Vec<(u64, u64)> = arrivals
                .iter()
                .filter(|coming| coming.1 == side)
                .map(|&(at, _, number)| (at, number))
                .collect();
            let expected = expected(talk.sides[side].0, &own, heard.len() as u64);
            // Before its first packet there is only what that one overtook, written while the line was not drawn yet.
            let from = own.first().map_or(0, |first| first.0.saturating_sub(480)) as usize;
            let wrong = (from..heard.len()).find(|&n| heard[n] != expected[n]);
            prop_assert_eq!(wrong, None);
        }
    }

    /// A thread that stands still for up to 800 ms, and then empties its sockets in any order, records the same.
    #[test]
    fn a_thread_that_stood_still_records_the_same(
        talk in talk_of(6..40, prop_oneof![Just(0_i64), -100..100_i64]),
        seed in any::<u64>(),
    ) {
        let arrivals = talk.arrivals();
        let (prompt, report) = talk.recorded(&arrivals);
        let (late, same) = taken_late(&talk, &arrivals, seed);
        prop_assert_eq!(report, same);
        prop_assert!(prompt.left == late.left);
        prop_assert!(prompt.right == late.right);
    }
}

/// The recording as the audio thread makes it: in rounds, each a look at both sockets, with stalls between them.
fn taken_late(talk: &Talk, arrivals: &[Coming], seed: u64) -> (Bench, TapReport) {
    let mut chance = (0..).map(|n| mix(seed ^ mix(n)));
    let mut chance = move |below: u64| chance.next().unwrap() % below;
    let mut bench = Bench::new(2_000);
    bench.prompt = false;
    let mut sockets = [0, 1].map(|side| {
        let own: Vec<Coming> = arrivals.iter().filter(|c| c.1 == side).copied().collect();
        own.into_iter().peekable()
    });
    let end = talk.end(arrivals);
    let (mut now, mut horizon) = (0, 0);
    while now < end {
        let asleep = now;
        let stands_still = chance(100) == 0;
        now = (now + 1 + chance(if stands_still { 6_400 } else { 200 })).min(end);
        horizon = now.min(horizon + 1_600);
        let mut quiet = [true; 2];
        let first = chance(2) as usize;
        // Behind by more than 200 ms, packets are looked at before they are taken; else, one, and more if it waited.
        for side in [first, 1 - first] {
            let until = if horizon < now { horizon - 1 } else { now };
            while let Some(coming) = sockets[side].next_if(|coming| coming.0 <= until) {
                talk.feed(&mut bench, coming);
                quiet[side] = false;
                if horizon == now && coming.0 + 160 >= now {
                    break;
                }
            }
        }
        for (quiet, side) in quiet.into_iter().zip([Side::Agent, Side::Customer]) {
            if quiet {
                let until = bench.at(asleep.min(horizon));
                bench.tap.as_mut().unwrap().idle(side, until);
            }
        }
        bench.read();
    }
    // The hang-up: what waits is taken, both sides abreast.
    while horizon < end {
        horizon = end.min(horizon + 1_600);
        for socket in &mut sockets {
            while let Some(coming) = socket.next_if(|coming| coming.0 <= horizon) {
                talk.feed(&mut bench, coming);
            }
        }
    }
    for socket in &mut sockets {
        for coming in socket {
            talk.feed(&mut bench, coming);
        }
    }
    let report = bench.stop(end);
    (bench, report)
}

/// Where the recording has sample `n` of the talker, looked for within 100 ms of its time.
fn found(heard: &[i16], sender: Sender, n: u64) -> Option<i64> {
    let words: Vec<i16> = (n..n + 40).map(spoken).collect();
    let about = sender.position(n) as i64;
    (about - 800..about + 800)
        .filter(|&at| at >= 0)
        .find(|&at| heard.get(at as usize..at as usize + 40) == Some(&words[..]))
}

fn drifting() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![Just(20_i64), Just(-20), Just(100), Just(-100)]
}

proptest! {
    #![proptest_config(config(4))]

    /// A sender whose clock drifts stays within 40 ms of our clock for as long as it talks, by single samples far apart.
    #[test]
    fn drift_is_followed_by_single_samples(talk in talk_of(900..1_500, drifting())) {
        let talk = Talk {
            // Only as much lateness as leaves every window of 5 s a packet in time.
            sides: talk.sides.map(|(sender, network, packets)| {
                (sender, Network { spells: Vec::new(), ..network }, packets)
            }),
            ..talk
        };
        let arrivals = talk.arrivals();
        let (bench, report) = talk.recorded(&arrivals);
        let heard = [(&bench.left, report.agent), (&bench.right, report.customer)];
        for ((heard, channel), (sender, _, packets)) in heard.into_iter().zip(&talk.sides) {
            followed(heard, &channel, *sender, packets * sender.len)?;
        }
    }
}

/// Checks that the recording of `spoken` samples stayed with the clock.
fn followed(
    heard: &[i16],
    channel: &ChannelReport,
    sender: Sender,
    samples: u64,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(channel.reanchored, 0);
    let mut there = 0;
    for n in (0..samples).step_by(8_000) {
        if let Some(at) = found(heard, sender, n) {
            let off = at - sender.position(n) as i64;
            prop_assert!(
                off.abs() <= BOUND,
                "sample {n} is {off} samples off; {channel:?}"
            );
            there += 1;
        }
    }
    prop_assert!(
        there * 10 > samples / 8_000 * 6,
        "{there} places found; {channel:?}"
    );
    // What the clock gained is what was dropped, but for what is tolerated.
    let gained = samples as i64 - sender.position(samples) as i64;
    let corrected = channel.dropped as i64 - channel.repeated as i64;
    prop_assert!(
        (gained - corrected).abs() <= BOUND,
        "{corrected} of {gained}"
    );
    prop_assert_eq!(channel.dropped.min(channel.repeated), 0, "back and forth");
    Ok(())
}

/// An hour of a sender off by much more than telephones are.
fn is_followed_for_an_hour(ppm: i64) {
    let sender = Sender { len: 160, ppm };
    let network = Network {
        seed: 1,
        jitter: 16,
        one_in: 1_000_000,
        stalls: Vec::new(),
        spells: Vec::new(),
    };
    let talk = Talk {
        sides: [(sender, network.clone(), 180_000), (sender, network, 0)],
        samples: 28_800_000,
    };
    let arrivals = talk.arrivals();
    let (bench, report) = talk.recorded(&arrivals);
    followed(&bench.left, &report.agent, sender, 28_800_000).unwrap();
    assert_eq!((report.agent.late, report.agent.lost), (0, 0));
}

#[test]
fn a_fast_sender_is_followed_for_an_hour() {
    is_followed_for_an_hour(200);
}

#[test]
fn a_slow_sender_is_followed_for_an_hour() {
    is_followed_for_an_hour(-200);
}

#[test]
fn a_first_packet_that_came_late_moves_nothing_once_the_stream_is_settled() {
    for late in [8, 32, 80, 320, 800, 1_600] {
        let mut bench = Bench::new(1_000);
        let sender = Sender { len: 160, ppm: 0 };
        let arrivals: Vec<(u64, u64)> = (0..1_500)
            .map(|number| {
                let ready = (number + 1) * 160;
                (
                    if ready < 160 + late {
                        160 + late
                    } else {
                        ready
                    },
                    number,
                )
            })
            .collect();
        for &(at, number) in &arrivals {
            bench.feed(Side::Agent, &sender.packet(number), at);
            bench.read();
        }
        let report = bench.stop(240_000);
        assert_eq!((slipped(&report.agent), report.agent.reanchored), (0, 0));
        for n in 0..240_000_u64 {
            let came = (n / 160 + 1) * 160;
            if came >= 160 + late || n + 1_600 >= 160 + late {
                assert_eq!(bench.left[n as usize], spoken(n), "{late} late, sample {n}");
            }
        }
    }
}

#[test]
fn a_way_that_stays_far_too_long_is_followed_at_once() {
    let mut bench = Bench::new(1_000);
    let sender = Sender { len: 160, ppm: 0 };
    for number in 0..3_000 {
        let detour = if number < 500 { 0 } else { 1_200 };
        bench.feed(
            Side::Agent,
            &sender.packet(number),
            (number + 1) * 160 + detour,
        );
        bench.read();
    }
    let report = bench.stop(482_000);
    assert_eq!((slipped(&report.agent), report.agent.reanchored), (0, 1));
    assert_eq!((report.agent.late, report.agent.late_samples), (0, 0));
    assert_eq!(found(&bench.left, sender, 400_000), None);
    assert_eq!(bench.left[401_200], spoken(400_000));
}

#[test]
fn what_was_said_during_a_pause_stays_out_however_late_it_is_taken() {
    let mut bench = Bench::new(1_000);
    bench.prompt = false;
    // The thread stands still while the pause begins and ends.
    for number in 0..100 {
        if number == 30 {
            let (from, to) = (bench.at(35 * 160), bench.at(60 * 160));
            bench.tap.as_mut().unwrap().pause(from);
            bench.tap.as_mut().unwrap().resume(to);
        }
        for side in [Side::Agent, Side::Customer] {
            bench.feed(side, &Packet::of_talker(number, 160), (number + 1) * 160);
        }
        bench.read();
    }
    let report = bench.stop(16_000);
    for heard in [&bench.left, &bench.right] {
        assert_is_talker(heard, 0..34 * 160);
        assert_silent(heard, 34 * 160..59 * 160);
        assert_is_talker(heard, 59 * 160..16_000);
    }
    assert_eq!(report.paused_samples, 25 * 160);
}
