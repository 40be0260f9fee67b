//! Which recordings raise which alarm, on real sealed files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ringfence_recordings::{Begin, RootKey, SealFacts, Sealed, Vault, VaultConfig};
use uuid::Uuid;

use super::*;

/// Seals `seconds` of audio with these levels, and facts that `change` alters.
fn sealed(
    seconds: usize,
    agent: i16,
    customer: i16,
    change: impl FnOnce(&mut SealFacts),
) -> Sealed {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    RootKey::create(&key).unwrap();
    let config = VaultConfig {
        free_floor: 0,
        ..VaultConfig::new(dir.path().join("vault"), dir.path().join("keys"))
    };
    let vault = Vault::open(config, RootKey::load(&key).unwrap()).unwrap();
    let recording = Uuid::from_u128(7);
    let mut live = vault
        .begin(&Begin {
            recording,
            call: Uuid::from_u128(8),
            segment: 1,
            client: "bank",
            created_ms: 1_795_399_200_000,
            sample_rate: 8_000,
            channels: 2,
        })
        .unwrap();
    let wave: Vec<i16> = (0..seconds * 8_000)
        .flat_map(|n| {
            if n % 16 < 8 {
                [agent, customer]
            } else {
                [-agent, -customer]
            }
        })
        .collect();
    live.append(&wave).unwrap();
    live.finish().unwrap();
    let mut facts = SealFacts {
        ended_ms: 1_795_399_260_000,
        expected_samples: Some(seconds as u64 * 8_000),
        ..SealFacts::default()
    };
    change(&mut facts);
    vault.seal(recording, &facts).unwrap()
}

fn judged(sealed: &Sealed) -> (Vec<Alarm>, f64) {
    let row = row(sealed, None, 0);
    (alarms(sealed, &row), share(&row))
}

#[test]
fn a_whole_recording_of_both_sides_raises_nothing() {
    assert_eq!(judged(&sealed(4, 8_000, 8_000, |_| {})), (vec![], 1.0));
}

#[test]
fn one_side_alone_and_no_side_at_all_are_told_apart() {
    assert_eq!(judged(&sealed(4, 8_000, 0, |_| {})).0, [Alarm::OneSided]);
    assert_eq!(judged(&sealed(4, 0, 0, |_| {})).0, [Alarm::Silent]);
}

#[test]
fn a_short_call_is_not_judged_by_what_is_heard() {
    assert_eq!(judged(&sealed(2, 0, 0, |_| {})), (vec![], 1.0));
}

#[test]
fn less_than_the_answered_time_is_short_beyond_one_packet_at_each_end() {
    let within = sealed(4, 8_000, 8_000, |f| {
        f.expected_samples = Some(4 * 8_000 + 320)
    });
    assert_eq!(judged(&within).0, []);
    let beyond = sealed(4, 8_000, 8_000, |f| f.expected_samples = Some(5 * 8_000));
    let (alarms, share) = judged(&beyond);
    assert_eq!(alarms, [Alarm::Short]);
    assert!((share - 0.8).abs() < 1e-9, "{share}");
}

#[test]
fn what_our_queues_lost_is_not_covered_and_what_the_network_lost_is() {
    let ours = sealed(4, 8_000, 8_000, |f| f.overflow_samples = 8_000);
    let (alarms, share) = judged(&ours);
    assert_eq!(alarms, [Alarm::Short]);
    assert!((share - 0.75).abs() < 1e-9, "{share}");
    let network = sealed(4, 8_000, 8_000, |f| f.filled_samples = [8_000, 0]);
    assert_eq!(judged(&network), (vec![], 1.0));
}

#[test]
fn an_answered_call_without_audio_is_empty_and_short() {
    let empty = sealed(0, 0, 0, |f| f.expected_samples = Some(8_000));
    assert_eq!(judged(&empty), (vec![Alarm::Short, Alarm::Empty], 0.0));
    let nothing_expected = sealed(0, 0, 0, |_| {});
    assert_eq!(judged(&nothing_expected), (vec![], 1.0));
}
