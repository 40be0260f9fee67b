//! The INVITE towards a customer is not sent again when its permission is over, whatever the PBX does.

use super::*;

/// Where the agent picks up at once and nothing ever comes back for a customer: a PBX whose line outside hangs.
fn mute_outside(net: &Net) -> Registrar {
    let address = SocketAddr::new(net.pbx(), 5060);
    Registrar::answering(net, move |request| {
        if request.starts_with(OUTSIDE) {
            return Vec::new();
        }
        match request.starts_with("INVITE ") {
            true => vec![picked_up(request, address)],
            false => vec![usual(request)],
        }
    })
}

const OUTSIDE: &str = "INVITE sip:+86";

/// The INVITEs for a customer that have reached the PBX.
fn outside(pbx: &Registrar) -> Vec<String> {
    pbx.catch_up();
    let mut invites = pbx.requests("INVITE");
    invites.retain(|invite| invite.starts_with(OUTSIDE));
    invites
}

/// Waits until the trunk has given up every leg: nothing more comes of them.
fn forgotten(store: &mut Store) {
    eventually("the end of every dialog", Duration::from_secs(60), || {
        (store.number("SELECT COUNT(*) FROM dialogs") == 0).then_some(())
    });
}

#[test]
fn an_invite_that_the_pbx_never_heard_is_not_sent_again_from_nine_on() {
    let house = House::with_pbx(&[SHANGHAI], mute_outside, |setup| {
        setup.at("2026-03-10 12:59:25")
    });
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let answer = api.post("/api/v1/calls", &click(1));
    assert_eq!(answer.0, 202, "{}", answer.1);
    let call = format!("/api/v1/calls/{}", answer.1["call"].as_str().unwrap());
    let row = api.wait_for(&call, Duration::from_secs(60), |call| {
        call["state"] == "ended"
    });
    assert_eq!(row["cause"], "trunk_down", "{row}");
    // It ended with the last moment of ringing, and the last moment of sending was before that.
    let sent = outside(&house.pbx);
    assert!(!sent.is_empty(), "no INVITE left at all");
    forgotten(&mut Store::open(&house.setup));
    assert_eq!(outside(&house.pbx).len(), sent.len(), "one left after it");
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn an_invite_that_the_pbx_never_heard_is_not_sent_again_once_the_agent_hung_up() {
    let house = House::with_pbx(&[SHANGHAI], mute_outside, |setup| {
        setup.at("2026-03-10 02:00:00")
    });
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let answer = api.post("/api/v1/calls", &click(1));
    assert_eq!(answer.0, 202, "{}", answer.1);
    eventually("the customer's INVITE", SOON, || {
        (!outside(&house.pbx).is_empty()).then_some(())
    });
    let call = format!("/api/v1/calls/{}", answer.1["call"].as_str().unwrap());
    assert_eq!(api.delete(&call).0, 202);
    let row = api.wait_for(&call, SOON, |call| call["state"] == "ended");
    assert_eq!(row["cause"], "cancelled", "{row}");
    // The trunk has heard of it too once the agent's phone is released.
    eventually("the BYE to the agent's phone", SOON, || {
        (!house.pbx.requests("BYE").is_empty()).then_some(())
    });
    let sent = outside(&house.pbx);
    forgotten(&mut Store::open(&house.setup));
    assert_eq!(outside(&house.pbx).len(), sent.len(), "one left after it");
    daemon.stop(SOON, &house.floor.secrets());
}

#[test]
fn a_challenge_that_comes_when_the_permission_is_over_is_not_answered() {
    // The bank's own rules: a decision is good for six seconds.
    const PERMIT: Duration = Duration::from_secs(6);
    let rules = "base = \"cn-plan\"\nname = \"short\"\nrevision = \"1\"\n\
                 [ring]\nclause = \"contract, 1\"\npermit_ms = 6000\n";
    let house = House::with_pbx(&[SHANGHAI], mute_outside, |setup| {
        std::fs::create_dir(setup.path("rules")).unwrap();
        std::fs::write(setup.path("rules/all.toml"), rules).unwrap();
        let dir = setup.path("rules").to_string_lossy().into_owned();
        setup.at("2026-03-10 02:00:00").set("policy.dir", dir)
    });
    let daemon = house.start();
    let api = house.floor.agent(&daemon);
    let answer = api.post("/api/v1/calls", &click(1));
    // The decision was made before this.
    let over = Instant::now() + PERMIT;
    let first = eventually("the customer's INVITE", SOON, || {
        outside(&house.pbx).first().cloned()
    });
    let expires: u32 = header(&first, "Expires").unwrap().parse().unwrap();
    assert!((1..=60).contains(&expires), "rings for {expires} s");
    eventually("the end of the permission", SOON, || {
        (Instant::now() >= over).then_some(())
    });
    let sent = outside(&house.pbx);
    let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n\", algorithm=MD5\r\n";
    house
        .pbx
        .say(&response(&first, "401 Unauthorized", challenge));
    let row = ended(&api, &answer);
    assert_eq!(
        (&row["cause"], &row["class"]),
        (&json!("permit_expired"), &json!("ours")),
        "{row}"
    );
    forgotten(&mut Store::open(&house.setup));
    let after = outside(&house.pbx);
    assert_eq!(after.len(), sent.len(), "another one left");
    assert!(!after.iter().any(|invite| invite.contains("Authorization:")));
    daemon.stop(SOON, &house.floor.secrets());
}
