//! The daemon under load: every call dialled through its API, two SIP legs, bridged, recorded and encrypted.
//!
//! One SIPp is the PBX and everybody behind it, so that nothing but the daemon lies between the phones. What is sealed at
//! the end is counted: a daemon that got cheap by not recording fails here.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::RATE;
use crate::support::daemon::{Daemon, Setup};
use crate::support::eventually;
use crate::support::floor::{Floor, Store};
use crate::support::net::Net;
use crate::support::process::resident_kib;
use crate::support::sipp::Sipp;
use crate::support::web::{Web, dial};

/// What one run cost and achieved.
pub struct Run {
    /// CPU of the daemon per second of wall time, in cores.
    pub cores: f64,
    /// Resident memory that came with the calls, in KiB a call.
    pub kib_per_call: f64,
    /// The bucket of `ringfence_bridge_seconds` that holds the 99th percentile, in milliseconds.
    pub bridge_p99_ms: f64,
    /// Share of the answered time that the worst recording accounts for.
    pub least_coverage: f64,
}

/// Runs `calls` calls and measures for `seconds` while all of them talk.
pub fn run(calls: usize, seconds: u64) -> Run {
    let net = Net::claim();
    let _phones = Sipp::pbx(SocketAddr::new(net.pbx(), 5060), 600);
    let mut setup = Setup::new(&net, SocketAddr::new(net.pbx(), 5060))
        .set("calls.max", 2_000)
        .set("calls.drain_s", 1)
        .set("log.level", "warn");
    if let Some(wall) = outside_the_window() {
        println!(
            "  (it is night in China: the daemon runs with a preloaded clock, which costs it some per cent)"
        );
        setup = setup.at(wall);
    }
    let extensions: Vec<String> = (0..calls).map(|n| (2_000 + n).to_string()).collect();
    let numbers: Vec<String> = (0..calls)
        .map(|n| format!("+8613800{:06}", 130_000 + n))
        .collect();
    let floor = Floor::prepare(
        &setup,
        &extensions.iter().map(String::as_str).collect::<Vec<_>>(),
        &numbers.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let daemon = Daemon::start(&setup);
    let web = Web::new(setup.http());
    let before_kib = resident_kib(daemon.pid());

    let begun = Instant::now();
    for (n, agent) in (1_u32..).zip(&floor.agents) {
        let answer = dial(&web, agent, &serde_json::json!({ "contact_point_id": n }));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let next = begun + Duration::from_secs(1) / RATE * n;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    eventually("talk on every call", Duration::from_secs(60), || {
        (metric(&web, "ringfence_bridge_seconds_count") == calls as f64).then_some(())
    });

    let (cpu, wall) = (daemon.cpu_seconds(), Instant::now());
    thread::sleep(Duration::from_secs(seconds));
    let cores = (daemon.cpu_seconds() - cpu) / wall.elapsed().as_secs_f64();
    let kib = resident_kib(daemon.pid()).saturating_sub(before_kib);
    assert_eq!(
        metric(&web, "ringfence_calls"),
        calls as f64,
        "calls were lost while they were measured"
    );
    let bridge_p99_ms = 1_000.0 * percentile(&web, 0.99);

    daemon.stop(Duration::from_secs(180), &[]);
    let mut store = Store::open(&setup);
    let sealed = store.number("SELECT COUNT(*) FROM recordings WHERE state = 'sealed'");
    assert_eq!(sealed, calls as i64, "not every call was recorded");
    let least = store.number("SELECT MIN(covered_ms * 10000 / expected_ms) FROM recordings");
    Run {
        cores,
        kib_per_call: kib as f64 / calls as f64,
        bridge_p99_ms,
        least_coverage: least as f64 / 10_000.0,
    }
}

/// A wall clock inside the permitted hours, if the real one will not be for the next minutes.
fn outside_the_window() -> Option<&'static str> {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a time zone");
    let now = zone.to_datetime(jiff::Timestamp::now());
    let minutes = i32::from(now.hour()) * 60 + i32::from(now.minute());
    (!(8 * 60 + 1..20 * 60 + 45).contains(&minutes)).then_some("2026-03-10 02:00:00")
}

/// The value of a metric without labels.
fn metric(web: &Web, name: &str) -> f64 {
    let text = web.ask("GET", "/metrics", &[], &[]).text();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or(0.0)
}

/// Upper end of the bucket in which this percentile of the bridging times lies, in seconds.
fn percentile(web: &Web, share: f64) -> f64 {
    let text = web.ask("GET", "/metrics", &[], &[]).text();
    let all = metric(web, "ringfence_bridge_seconds_count");
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("ringfence_bridge_seconds_bucket{le=\"")?
                .split_once("\"} ")
        })
        .filter_map(|(le, count)| Some((le.parse::<f64>().ok()?, count.parse::<f64>().ok()?)))
        .find(|(_, count)| *count >= share * all)
        .map_or(f64::INFINITY, |(le, _)| le)
}
