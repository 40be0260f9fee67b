//! Registration, with our own server side as the registrar.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use super::{Net, Weather, description, name_addr};
use crate::digest::{Algorithm, Login, Server, Verdict};
use crate::headers::NameAddr;
use crate::method::StatusCode;
use crate::uri::SipUri;
use crate::{Account, AccountHandle, Config, Event, Load, Peer, RegisterRequest};

const SOON: Duration = Duration::from_secs(2);

/// Node 1 is the registrar.
fn net(seed: u64, weather: Weather) -> Net {
    let registrar = Config {
        registrar: true,
        ..Config::default()
    };
    let mut net = Net::new(seed, weather, vec![Config::default(), registrar]);
    net.keep = true;
    net
}

fn server(net: &Net) -> Server {
    Server::new(
        "ringfence",
        [7; 32],
        net.now,
        Duration::from_secs(60),
        &[Algorithm::Sha256, Algorithm::Md5],
    )
}

fn register(net: &mut Net, password: &str, expires: u64) -> AccountHandle {
    let registrar = SipUri::new(net.address(1).ip(), None).into();
    let login = Login::new("node0", password.to_owned().into());
    let mut account = Account::new(
        registrar,
        name_addr(0),
        Peer::udp(net.address(1)),
        Some(login),
    );
    account.expires = Duration::from_secs(expires);
    net.with(0, |endpoint, now| endpoint.register(now, account).unwrap())
}

fn request(event: &Event) -> Option<RegisterRequest> {
    match event {
        Event::RegisterRequest(request) => Some((**request).clone()),
        _ => None,
    }
}

/// Answers the next REGISTER as a registrar would. `true` if it was accepted.
fn serve(net: &mut Net, server: &mut Server, limit: Duration) -> Option<bool> {
    let register = net.wait(1, limit, request)?;
    let verdict = server.verify(net.now, &register.message, false, |user| {
        (user == "node0").then(|| "secret".into())
    });
    let now = net.now;
    match verdict {
        Verdict::Accepted { .. } => {
            let mut bindings = register.contacts.clone();
            bindings.retain(|binding| binding.expires() != Some(0));
            net.with(1, |endpoint, now| {
                endpoint
                    .accept_register(now, register.request, &bindings)
                    .unwrap()
            });
            Some(true)
        }
        verdict => {
            let challenges = server.challenges(now, verdict == Verdict::Stale);
            net.with(1, |endpoint, now| {
                endpoint
                    .challenge_register(now, register.request, &challenges)
                    .unwrap()
            });
            Some(false)
        }
    }
}

fn registered(event: &Event) -> Option<Duration> {
    match event {
        Event::Registered { expires, .. } => Some(*expires),
        _ => None,
    }
}

fn failed(event: &Event) -> Option<(Option<u16>, Option<Duration>)> {
    match event {
        Event::RegistrationFailed {
            release, retry_in, ..
        } => Some((release.status, *retry_in)),
        _ => None,
    }
}

#[test]
fn an_account_is_registered_refreshed_with_a_stale_nonce_and_removed() {
    let mut net = net(1, Weather::FAIR);
    let mut server = server(&net);
    let account = register(&mut net, "secret", 600);
    assert_eq!(serve(&mut net, &mut server, SOON), Some(false));
    assert_eq!(serve(&mut net, &mut server, SOON), Some(true));
    assert_eq!(
        net.wait(0, SOON, registered),
        Some(Duration::from_secs(600))
    );
    assert!(
        net.wire
            .iter()
            .any(|(node, text)| *node == 0 && text.contains("algorithm=SHA-256")),
        "the strongest"
    );
    // The nonce is a minute old when the refresh comes: stale, answered once more, no password is asked twice.
    let begun = net.now;
    assert_eq!(
        serve(&mut net, &mut server, Duration::from_secs(600)),
        Some(false)
    );
    let waited = net.now - begun;
    assert!(
        waited >= Duration::from_secs(445) && waited <= Duration::from_secs(545),
        "{waited:?}"
    );
    assert!(
        net.wire
            .iter()
            .any(|(node, text)| *node == 1 && text.contains("stale=true"))
    );
    assert_eq!(serve(&mut net, &mut server, SOON), Some(true));
    net.wait(0, SOON, registered).unwrap();
    net.with(0, |endpoint, now| {
        endpoint.unregister(now, account).unwrap()
    });
    assert_eq!(serve(&mut net, &mut server, SOON), Some(true));
    net.wait(0, SOON, |event| {
        matches!(event, Event::Unregistered { .. }).then_some(())
    })
    .unwrap();
    assert!(net.settle(Duration::from_secs(100)));
    assert_eq!(
        (net.load(0), net.load(1)),
        (Load::default(), Load::default())
    );
}

#[test]
fn a_wrong_password_is_tried_once_and_not_again() {
    let mut net = net(2, Weather::FAIR);
    let mut server = server(&net);
    register(&mut net, "wrong", 600);
    assert_eq!(serve(&mut net, &mut server, SOON), Some(false));
    assert_eq!(serve(&mut net, &mut server, SOON), Some(false));
    assert_eq!(net.wait(0, SOON, failed), Some((Some(401), None)));
    assert!(net.wait(1, Duration::from_secs(3600), request).is_none());
}

#[test]
fn a_registrar_that_is_gone_is_tried_again_ever_less_often() {
    let mut net = net(3, Weather::FAIR);
    net.cut(1, true);
    let account = register(&mut net, "secret", 600);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (status, pause) = net.wait(0, Duration::from_secs(200), failed).unwrap();
        assert_eq!(status, Some(408));
        pauses.push(pause.unwrap());
    }
    for (index, pause) in pauses.iter().enumerate() {
        let most = Duration::from_secs(1 << index).min(Duration::from_secs(60));
        assert!(*pause <= most && *pause >= most / 2, "{index}: {pause:?}");
    }
    // The PBX is back: at once on demand.
    net.cut(1, false);
    let mut server = server(&net);
    net.with(0, |endpoint, now| {
        endpoint.register_now(now, account).unwrap()
    });
    assert_eq!(serve(&mut net, &mut server, SOON), Some(false));
    assert_eq!(serve(&mut net, &mut server, SOON), Some(true));
    net.wait(0, SOON, registered).unwrap();
}

#[test]
fn a_lifetime_that_is_too_brief_is_raised() {
    let mut net = net(4, Weather::FAIR);
    register(&mut net, "secret", 10);
    let first = net.wait(1, SOON, request).unwrap();
    net.with(1, |endpoint, now| {
        endpoint
            .refuse_register(
                now,
                first.request,
                StatusCode::INTERVAL_TOO_BRIEF,
                &[("Min-Expires", "120")],
            )
            .unwrap();
    });
    let second = net.wait(1, SOON, request).unwrap();
    assert_eq!(
        second.contacts.first().and_then(NameAddr::expires),
        Some(120)
    );
    net.with(1, |endpoint, now| {
        endpoint
            .accept_register(now, second.request, &second.contacts)
            .unwrap()
    });
    assert_eq!(
        net.wait(0, SOON, registered),
        Some(Duration::from_secs(120))
    );
}

#[test]
fn registration_survives_bad_weather() {
    for seed in 0..50 {
        let mut net = net(
            seed,
            Weather {
                loss_percent: 20,
                double_percent: 20,
                longest_ms: 400,
            },
        );
        let mut server = server(&net);
        register(&mut net, "secret", 300);
        let until: Instant = net.now + Duration::from_secs(120);
        let mut accepted = false;
        while net.now < until && !accepted {
            accepted = serve(&mut net, &mut server, Duration::from_secs(60)) == Some(true)
                && net.wait(0, Duration::from_secs(20), registered).is_some();
        }
        assert!(accepted, "seed {seed}");
    }
}

#[test]
fn an_invite_is_challenged_and_sent_again_with_credentials() {
    let mut net = net(5, Weather::FAIR);
    let mut server = server(&net);
    let mut invite = net.invite(0, 1);
    invite.credentials = Some(Login::new("node0", "secret".to_owned().into()));
    let (leg, snapshot) = net.with(0, |endpoint, now| {
        endpoint.prepare_invite(now, invite).unwrap()
    });
    net.with(0, |endpoint, now| endpoint.send_invite(now, leg).unwrap());
    let incoming = |event: &Event| match event {
        Event::Incoming(incoming) => Some((**incoming).clone()),
        _ => None,
    };
    let first = net.wait(1, SOON, incoming).unwrap();
    let challenges = server.challenges(net.now, false);
    net.with(1, |endpoint, now| {
        endpoint
            .challenge_invite(now, first.leg, &challenges)
            .unwrap()
    });
    let second = net.wait(1, SOON, incoming).unwrap();
    let verdict = server.verify(net.now, &second.request, false, |_| Some("secret".into()));
    assert_eq!(
        verdict,
        Verdict::Accepted {
            username: "node0".into()
        }
    );
    let cseq = second.request.headers.cseq().unwrap().number;
    assert_eq!(cseq, snapshot.invite_cseq + 1);
    let branch = second
        .request
        .headers
        .top_via()
        .unwrap()
        .branch()
        .unwrap()
        .to_owned();
    assert_eq!(
        branch,
        format!("{}.1", snapshot.branch),
        "the branch follows from the durable one"
    );
    net.with(1, |endpoint, now| {
        endpoint
            .answer(now, second.leg, &description(1, 1))
            .unwrap()
    });
    net.wait(0, SOON, |event| {
        matches!(event, Event::Answered { .. }).then_some(())
    })
    .unwrap();
    let (_, ack) = net
        .wire
        .iter()
        .rfind(|(node, text)| *node == 0 && text.starts_with("ACK "))
        .unwrap();
    assert!(
        ack.contains("Authorization: Digest"),
        "the ACK repeats the credentials"
    );
}
