//! A clock that nobody vouches for, or that jumps, lets nothing ring.

use super::*;

#[test]
fn without_a_trusted_clock_nothing_rings_and_the_refusal_names_the_option() {
    for (kernel, word) in [
        ("unsynchronised", "not synchronised"),
        ("denied", "may not be read"),
    ] {
        let house = House::with(&[SHANGHAI], |setup| {
            setup
                .at("2026-03-10 02:00:00")
                .set("clock.trust", "kernel")
                .preload(kernel_clock())
                .env("TEST_KERNEL_CLOCK", kernel)
        });
        // It does not become ready: there is nothing it could do.
        let daemon = Daemon::start_unready(&house.setup);
        let api = house.floor.agent(&daemon);
        let answer = eventually("the agent's page", SOON, || {
            Some(api.post("/api/v1/calls", &click(1)))
        });
        assert_eq!(refused(&daemon, &house.floor, &answer), ["clock_untrusted"]);
        let text = answer.1["reasons"][0]["text"].as_str().unwrap();
        assert!(
            text.contains(word) && text.contains("clock.trust"),
            "{text}"
        );
        assert_eq!(daemon.http_status("/readyz"), Some(503));
        let log = daemon.log();
        assert!(log.contains("the wall clock cannot be trusted"), "{log}");
        house.end_without_invite(daemon);

        // The same clock, vouched for by the operator.
        let setup = house.setup.set("clock.trust", "host");
        let daemon = Daemon::start(&setup);
        let api = house.floor.agent(&daemon);
        ended(&api, &api.post("/api/v1/calls", &click(1)));
        assert_eq!(house.pbx.requests("INVITE").len(), 1);
    }
}

#[test]
fn after_a_jump_of_the_wall_clock_nothing_rings() {
    let house = House::with(&[SHANGHAI], |setup| {
        setup.with_movable_wall(until_ten_in_shanghai())
    });
    let daemon = house.start();
    // Ten minutes, within the hours: it is the jump that is refused, not the hour.
    house.setup.move_wall(until_ten_in_shanghai() + 600);
    let answer = house.floor.agent(&daemon).post("/api/v1/calls", &click(1));
    assert_eq!(refused(&daemon, &house.floor, &answer), ["clock_untrusted"]);
    assert!(
        answer.1["reasons"][0]["text"]
            .as_str()
            .unwrap()
            .contains("jumped by"),
        "{}",
        answer.1
    );
    assert_eq!(daemon.http_status("/readyz"), Some(503));
    house.end_without_invite(daemon);
}

#[test]
fn a_clock_that_jumps_while_the_agents_phone_rings_keeps_the_customer_from_being_called() {
    let pbx = Asterisk::start();
    pbx.trace_sip();
    let mut phone = desk_phone(&pbx, "1001");
    let setup = Setup::for_pbx(&pbx).with_movable_wall(until_ten_in_shanghai());
    let floor = Floor::prepare(&setup, &["1001"], &["+8613800131520"]);
    let daemon = Daemon::start(&setup);
    let api = floor.agent(&daemon);
    let answer = api.post("/api/v1/calls", &click(1));
    phone.wait_for("CALL_INCOMING", SOON);
    // Back by an hour: by the wall clock alone the permission would last for an hour more.
    setup.move_wall(until_ten_in_shanghai() - 3600);
    phone.accept();
    let call = ended(&api, &answer);
    assert_eq!(call["class"], "ours", "{call}");
    daemon.stop(SOON, &floor.secrets());
    assert!(
        !pbx.log().contains("INVITE sip:+86"),
        "the customer was called"
    );
}

/// A library that answers for the kernel when the daemon asks whether its clock is synchronised.
fn kernel_clock() -> PathBuf {
    const SOURCE: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
int adjtimex(struct timex *t) {
  const char *answer = getenv("TEST_KERNEL_CLOCK");
  if (answer && !strcmp(answer, "denied")) { errno = EPERM; return -1; }
  memset(t, 0, sizeof *t);
  t->status = STA_UNSYNC;
  return TIME_ERROR;
}
"#;
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let (source, library) = (dir.join("kernel_clock.c"), dir.join("kernel_clock.so"));
            std::fs::write(&source, SOURCE).unwrap();
            let built = Command::new("cc")
                .args(["-shared", "-fPIC", "-o"])
                .args([&library, &source])
                .status();
            assert!(built.unwrap().success(), "cc");
            library
        })
        .clone()
}
