//! What a bridged, recorded call costs, beside its peers in the same run: a bare loop that only receives and sends, the
//! daemon (recorded and encrypted), and Asterisk 22 bridging two SIP legs without and with its own recorder (MixMonitor to
//! plain WAV). Then what a call costs in memory and how long the person called waits for the agent's voice.
//!
//! `make bench`, or `cargo bench --bench calls -- --calls 40,200 --seconds 15`. Needs root and the peers of `make test`.
//! SIPp is the phones of all four and plays the same file to each, in bursts: a relay that takes several packets a wake-up
//! saves what the others pay. The daemon and the bare loop get them straight from SIPp, Asterisk stands between two of them.
//!
//! Figures are CPU of the process in percent of one core per call. The machine may be shared: compare ratios within one
//! run, never absolute figures of two.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bare_loop;
mod ours;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use support::asterisk::Asterisk;
use support::net::Net;
use support::sipp::{Calls, Manner, Sipp};

/// Calls are set up at this rate.
const RATE: u32 = 20;

struct Figure {
    what: &'static str,
    cores: f64,
}

fn main() {
    let (counts, seconds) = arguments();
    for calls in counts {
        println!("\n{calls} calls, G.711 A-law, {seconds} s measured");
        let bare = bare(calls, seconds);
        let kept = bare.packets_per_second / (calls as f64 * 100.0);
        assert!(
            kept > 0.95,
            "the bare loop carried only {:.0} % of the packets",
            kept * 100.0
        );
        let ours = ours::run(calls, seconds);
        let figures = [
            Figure {
                what: "bare loop: receive and send",
                cores: bare.cores,
            },
            Figure {
                what: "Ringfence, recorded and encrypted",
                cores: ours.cores,
            },
            Figure {
                what: "Asterisk 22, bridged",
                cores: asterisk(calls, seconds, "2000"),
            },
            Figure {
                what: "Asterisk 22, bridged, MixMonitor",
                cores: asterisk(calls, seconds, "3000"),
            },
        ];
        print_table(&figures, calls);
        print_goals(&figures, &ours, calls);
    }
}

/// The bare loop with SIPp as its phones, as the daemon has it.
fn bare(calls: usize, seconds: u64) -> bare_loop::Run {
    let net = Net::claim();
    let pbx = SocketAddr::new(net.pbx(), 5060);
    let _phones = Sipp::pbx(pbx, 600);
    bare_loop::run(calls, seconds, net.daemon(), pbx).expect("the bare loop failed")
}

/// Cores that Asterisk uses while SIPp talks to SIPp through it.
fn asterisk(calls: usize, seconds: u64, number: &str) -> f64 {
    let pbx = Asterisk::start();
    let _phones = Sipp::listen(
        SocketAddr::new(pbx.net().load(), 5070),
        &Manner::answer(600),
    );
    let count = u32::try_from(calls).expect("too many calls");
    let ramp = Duration::from_secs(u64::from(count / RATE) + 1);
    let calls_made = Calls {
        number: number.to_owned(),
        count,
        rate: RATE,
        tone_hz: 440,
        talk: ramp + Duration::from_secs(seconds + 10),
    };
    let callers = Sipp::call(
        SocketAddr::new(pbx.net().callers(), 5060),
        pbx.address(),
        &calls_made,
    );
    pbx.wait_for_channels(2 * calls, ramp + Duration::from_secs(30));
    let (cpu, wall) = (pbx.cpu_seconds(), Instant::now());
    thread::sleep(Duration::from_secs(seconds));
    let cores = (pbx.cpu_seconds() - cpu) / wall.elapsed().as_secs_f64();
    assert_eq!(
        pbx.channels(),
        2 * calls,
        "calls were lost while they were measured"
    );
    callers.finish(ramp + Duration::from_secs(60));
    cores
}

fn print_table(figures: &[Figure], calls: usize) {
    let per_call = |figure: &Figure| figure.cores * 100.0 / calls as f64;
    let (bare, recorded) = (per_call(&figures[0]), per_call(&figures[3]));
    println!(
        "{:<36} {:>14} {:>12} {:>16}",
        "", "% core a call", "x bare loop", "x Asterisk rec."
    );
    for figure in figures {
        let one = per_call(figure);
        println!(
            "{:<36} {one:>14.3} {:>12.2} {:>16.2}",
            figure.what,
            one / bare,
            one / recorded
        );
    }
}

/// Each goal beside what was reached.
fn print_goals(figures: &[Figure], ours: &ours::Run, calls: usize) {
    let line = |what: &str, reached: f64, goal: f64, unit: &str| {
        let verdict = if reached <= goal {
            "reached"
        } else {
            "NOT reached"
        };
        println!("{what:<52} {reached:>8.2} {unit:<4} goal {goal:>6.2}  {verdict}");
    };
    let cores = |index: usize| figures[index].cores;
    line(
        "CPU a call, of Asterisk with MixMonitor",
        cores(1) / cores(3),
        0.20,
        "x",
    );
    line(
        "CPU a call, of the bare loop",
        cores(1) / cores(0),
        2.0,
        "x",
    );
    line(
        "customer's 200 OK read to legs joined, p99 (bucket)",
        ours.bridge_p99_ms,
        20.0,
        "ms",
    );
    if calls >= 200 {
        line("memory a call", ours.kib_per_call, 300.0, "KiB");
    } else {
        println!(
            "{:<52} {:>8.2} KiB  (the goal is for 200 calls)",
            "memory a call", ours.kib_per_call
        );
    }
    println!(
        "every call sealed; the least covered recording accounts for {:.2} % of its answered time",
        ours.least_coverage * 100.0
    );
}

/// `--calls 40,200 --seconds 15`; Cargo adds `--bench` of its own.
fn arguments() -> (Vec<usize>, u64) {
    let (mut calls, mut seconds) = (vec![40, 200], 15);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--calls" => {
                let list = arguments
                    .next()
                    .expect("--calls wants numbers such as 40,200");
                calls = list
                    .split(',')
                    .map(|count| count.parse().expect("--calls wants numbers"))
                    .collect();
            }
            "--seconds" => {
                seconds = arguments
                    .next()
                    .and_then(|text| text.parse().ok())
                    .expect("--seconds wants a number");
            }
            "--bench" => {}
            other => panic!("unknown argument {other}; known: --calls 40,200 --seconds 15"),
        }
    }
    (calls, seconds)
}
