//! Trusted, unsynchronised, denied, failing, jumping: what each kind of clock is worth.
#![allow(clippy::unwrap_used)]
use super::*;

const TEN: i64 = 1_790_042_400_000;

fn trusted(error_ms: i64) -> ClockTrust {
    ClockTrust::Trusted { error_ms }
}

fn untrusted(why: Distrust) -> ClockTrust {
    ClockTrust::Untrusted { why }
}

#[test]
fn a_synchronised_clock_is_trusted_to_within_the_kernels_bound() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test.clone(), TrustMode::Kernel);
    assert_eq!(
        clock.now(),
        Now {
            wall_ms: TEN,
            trust: trusted(0),
            origin: ClockOrigin::Test
        }
    );
    test.set_kernel(KernelState::Synchronised {
        max_error_us: 1_200_001,
    });
    assert_eq!(clock.trust(), trusted(1_201));
}

#[test]
fn unsynchronised_denied_and_failing_are_untrusted_and_name_the_option() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test.clone(), TrustMode::default());
    for (kernel, why) in [
        (KernelState::Unsynchronised, Distrust::Unsynchronised),
        (KernelState::Denied, Distrust::Denied),
        (KernelState::Failed(38), Distrust::Failed { errno: 38 }),
    ] {
        test.set_kernel(kernel);
        assert_eq!(clock.trust(), untrusted(why));
        assert!(why.to_string().contains("clock.trust = \"host\""), "{why}");
    }
    assert_eq!(
        KernelState::from_error(&std::io::Error::from_raw_os_error(libc::EPERM)),
        KernelState::Denied
    );
    assert_eq!(
        KernelState::from_error(&std::io::Error::from_raw_os_error(libc::ENOSYS)),
        KernelState::Failed(38)
    );
}

#[test]
fn a_host_that_is_vouched_for_is_not_asked_but_still_watched_for_jumps() {
    let test = TestClock::standing(TEN);
    test.set_kernel(KernelState::Denied);
    let clock = Clock::test(test.clone(), TrustMode::Host);
    assert_eq!(clock.trust(), trusted(0));
    test.jump(-3_600_000);
    assert_eq!(
        clock.trust(),
        untrusted(Distrust::Jumped { by_ms: -3_600_000 })
    );
}

#[test]
fn a_jump_closes_until_the_clock_has_run_evenly_for_a_minute() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test.clone(), TrustMode::Kernel);
    test.advance(Duration::from_secs(5));
    test.jump(2_000);
    let jumped = untrusted(Distrust::Jumped { by_ms: 2_000 });
    assert_eq!(clock.trust(), jumped);
    test.advance(Duration::from_secs(59));
    assert_eq!(clock.trust(), jumped);
    test.jump(-2_000);
    assert_eq!(clock.trust(), untrusted(Distrust::Jumped { by_ms: -2_000 }));
    test.advance(Duration::from_secs(60));
    assert_eq!(clock.trust(), trusted(0));
}

#[test]
fn small_jumps_add_up_and_are_noticed() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test.clone(), TrustMode::Host);
    let noticed = (0..30).any(|_| {
        test.advance(Duration::from_secs(1));
        test.jump(90);
        clock.trust() != trusted(0)
    });
    assert!(noticed);
}

#[test]
fn honest_slewing_for_days_is_no_jump() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test.clone(), TrustMode::Host);
    for _ in 0..10_000 {
        test.advance(Duration::from_secs(20));
        test.jump(10);
        assert_eq!(clock.trust(), trusted(0));
    }
}

#[test]
fn the_practice_clock_starts_at_ten_and_is_marked() {
    let clock = Clock::practice("Asia/Shanghai").unwrap();
    assert_eq!(clock.origin(), ClockOrigin::Practice);
    assert_eq!(clock.trust(), trusted(0));
    let since_midnight = (clock.wall_ms() + 8 * 3_600_000).rem_euclid(86_400_000);
    assert!(
        (36_000_000..36_060_000).contains(&since_midnight),
        "{since_midnight}"
    );
    assert!(Clock::practice("Asia/Nowhere").is_err());
    let beside = Clock::practice_ahead(clock.ahead_ms());
    assert!((beside.wall_ms() - clock.wall_ms()).abs() < 1_000);
}

#[test]
fn asking_the_real_kernel_gives_an_answer_of_some_kind() {
    let clock = Clock::system(TrustMode::Kernel);
    match KernelState::read() {
        KernelState::Synchronised { max_error_us } => assert!(max_error_us < 16_000_001),
        KernelState::Unsynchronised | KernelState::Denied => {
            assert!(matches!(clock.trust(), ClockTrust::Untrusted { .. }));
        }
        KernelState::Failed(errno) => panic!("adjtimex failed with {errno}"),
    }
}

#[test]
fn an_instant_follows_the_wall_clock() {
    let test = TestClock::standing(TEN);
    let clock = Clock::test(test, TrustMode::Kernel);
    assert_eq!(
        clock.instant_of(TEN + 5_000) - clock.monotonic(),
        Duration::from_secs(5)
    );
    assert_eq!(clock.instant_of(TEN - 5_000), clock.monotonic());
    assert!(clock.instant_of(i64::MAX) > clock.monotonic());
}
