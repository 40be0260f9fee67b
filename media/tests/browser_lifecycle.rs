//! The beginning and the end of a browser leg without a browser: what an answer holds, and that every way out
//! frees the port. The crate below keeps its sockets when it is merely dropped, so each way is tried.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use ringfence_media::Codec;
use ringfence_media::webrtc_leg::{
    BrowserConfig, BrowserError, BrowserEvent, BrowserLeg, CONNECT_LIMIT,
};
use tokio::sync::mpsc;

const OFFER: &str = include_str!("data/chromium-offer.sdp");
const LIMIT: Duration = Duration::from_secs(10);

/// A port that is free now, as the whole range.
fn one_port(ip: Ipv4Addr) -> (u16, BrowserConfig) {
    let port = UdpSocket::bind((ip, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    (
        port,
        BrowserConfig {
            ips: vec![IpAddr::V4(ip)],
            advertise: None,
            ports: port..=port,
            prefer: Codec::Pcma,
        },
    )
}

/// Waits until the port can be bound again.
async fn freed(ip: Ipv4Addr, port: u16) {
    let begun = tokio::time::Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while UdpSocket::bind((ip, port)).is_err() {
        assert!(begun.elapsed() < LIMIT, "port {port} is still taken");
        look.tick().await;
    }
}

async fn answer(offer: &str, config: &BrowserConfig) -> Result<(BrowserLeg, String), BrowserError> {
    let (_, theirs) = UnixDatagram::pair().unwrap();
    let (events, _) = mpsc::channel(4);
    BrowserLeg::answer(offer, config, theirs, events)
        .await
        .map(|(leg, answer)| (leg, answer.sdp))
}

#[tokio::test]
async fn an_answer_holds_our_law_our_digits_our_address_and_waits_for_the_browser() {
    let (port, config) = one_port(Ipv4Addr::LOCALHOST);
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let (events, _listening) = mpsc::channel(4);
    let (leg, answer) = BrowserLeg::answer(OFFER, &config, theirs, events)
        .await
        .unwrap();
    assert_eq!(
        (answer.codec, answer.payload_type, answer.telephone_event),
        (Codec::Pcma, 8, Some(126))
    );
    let lines: Vec<&str> = answer.sdp.lines().collect();
    assert!(
        lines.contains(&"m=audio 9 UDP/TLS/RTP/SAVPF 8 126"),
        "{}",
        answer.sdp
    );
    assert!(lines.contains(&"a=setup:passive"));
    let candidates: Vec<&&str> = lines
        .iter()
        .filter(|line| line.starts_with("a=candidate:"))
        .collect();
    assert!(!candidates.is_empty());
    assert!(
        candidates
            .iter()
            .all(|line| line.contains(&format!(" 127.0.0.1 {port} typ host"))),
        "{candidates:?}"
    );
    assert!(
        !format!("{answer:?}").contains("ice-pwd"),
        "the description would reach a log"
    );
    drop(ours);
    leg.close().await;
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("close() returns when the port is free");
}

#[tokio::test]
async fn a_dropped_leg_frees_its_port() {
    let ip = Ipv4Addr::new(127, 0, 0, 2);
    let (port, config) = one_port(ip);
    drop(answer(OFFER, &config).await.unwrap());
    freed(ip, port).await;
}

#[tokio::test]
async fn an_answer_nobody_waits_for_frees_its_port() {
    let ip = Ipv4Addr::new(127, 0, 0, 3);
    let (port, config) = one_port(ip);
    // Given up at every point where it waits, one further each time, until it is through.
    for polls in 1.. {
        let mut pending = Box::pin(answer(OFFER, &config));
        let mut through = false;
        for _ in 0..polls {
            through = tokio::select! {
                biased;
                done = &mut pending => { done.unwrap(); true }
                () = tokio::task::yield_now() => false,
            };
            if through {
                break;
            }
        }
        drop(pending);
        freed(ip, port).await;
        if through {
            return;
        }
    }
}

#[tokio::test]
async fn an_offer_the_crate_refuses_frees_its_port() {
    let ip = Ipv4Addr::new(127, 0, 0, 4);
    let (port, config) = one_port(ip);
    let broken = OFFER.replace("a=fingerprint:sha-256 6B:F8", "a=fingerprint:");
    let error = answer(&broken, &config).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, BrowserError::Setup { .. }), "{error}");
    assert!(error.to_string().len() < 250, "{error}");
    freed(ip, port).await;
}

#[tokio::test]
async fn a_taken_port_and_a_missing_address_are_named() {
    let (port, mut config) = one_port(Ipv4Addr::new(127, 0, 0, 5));
    let _taken = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 5), port)).unwrap();
    let error = answer(OFFER, &config)
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("in use"),
        "{error}"
    );
    config.ips.clear();
    let error = answer(OFFER, &config)
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no address is configured"), "{error}");
}

#[tokio::test]
async fn a_browser_that_never_comes_is_given_up() {
    let ip = Ipv4Addr::new(127, 0, 0, 6);
    let (port, config) = one_port(ip);
    let (_ours, theirs) = UnixDatagram::pair().unwrap();
    let (events, mut told) = mpsc::channel(1);
    let (_leg, _) = BrowserLeg::answer(OFFER, &config, theirs, events)
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    tokio::time::pause();
    assert_eq!(told.recv().await, Some(BrowserEvent::Failed));
    assert!(
        begun.elapsed() <= CONNECT_LIMIT + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    tokio::time::resume();
    freed(ip, port).await;
}

#[tokio::test]
async fn no_damaged_offer_ends_the_task_or_keeps_the_port() {
    let ip = Ipv4Addr::new(127, 0, 0, 7);
    let (port, config) = one_port(ip);
    // xorshift64 with a fixed seed: the same 300 offers every time.
    let mut state = 88_172_645_463_325_252_u64;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % bound
    };
    let mut served = 0;
    for _ in 0..300 {
        let mut offer = OFFER.as_bytes().to_vec();
        for _ in 0..=below(3) {
            let at = below(offer.len());
            let end = (at + below(12)).min(offer.len());
            let put: Vec<u8> = (0..below(6))
                .map(|_| b" 0129aZ:/=-+.,"[below(14)])
                .collect();
            offer.splice(at..end, put);
        }
        match answer(&String::from_utf8_lossy(&offer), &config).await {
            Ok((leg, _)) => {
                leg.close().await;
                served += 1;
            }
            Err(error) => assert!(
                !error.to_string().contains("its task ended"),
                "{}",
                String::from_utf8_lossy(&offer)
            ),
        }
    }
    // Otherwise the damage would be so heavy that nothing behind the first check is reached.
    assert!((50..290).contains(&served), "{served} of 300 were served");
    freed(ip, port).await;
}
