//! Recordings whose owner is gone: what they leave, and that nobody waits for them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use ringfence_media::Tap;
use ringfence_recordings::{RootKey, VaultConfig};

use super::*;

fn vault() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("root-key");
    RootKey::create(&key).unwrap();
    let config = VaultConfig {
        free_floor: 0,
        ..VaultConfig::new(dir.path().join("vault"), dir.path().join("keys"))
    };
    let vault = Vault::open(config, RootKey::load(&key).unwrap()).unwrap();
    (dir, vault)
}

fn ids() -> (RecordingId, CallId) {
    const NOW_MS: i64 = 1_795_399_200_000;
    (
        RecordingId::from_parts(NOW_MS, [1; 10]),
        CallId::from_parts(NOW_MS, [2; 10]),
    )
}

#[test]
fn a_recording_that_nobody_waits_for_any_more_is_not_opened() {
    let (_dir, vault) = vault();
    let recorder = Recorder::start(vault.clone()).unwrap();
    let (id, call) = ids();
    // One thread for blocking work: what is asked second runs when the first is through.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let open = recorder.open(id, call, 1, "bank".into(), 1_795_399_200_000);
        tokio::select! {
            biased;
            _ = open => panic!("faster than its first look"),
            () = std::future::ready(()) => {}
        }
        tokio::task::spawn_blocking(|| {}).await.unwrap();
    });
    assert!(vault.list_live().unwrap().is_empty());
    assert_eq!(vault.probe().unwrap().live, 0);
}

#[tokio::test]
async fn a_recording_whose_owner_is_gone_is_written_to_its_last_sample() {
    let (_dir, vault) = vault();
    let recorder = Recorder::start(vault.clone()).unwrap();
    let (id, call) = ids();
    let opened = recorder
        .open(id, call, 1, "bank".into(), 1_795_399_200_000)
        .await
        .unwrap();
    let (mut tap, reader) = Tap::new(3_000);
    let begun = Instant::now();
    tap.start(begun);
    drop(recorder.record(opened, reader));
    tap.stop(begun + Duration::from_millis(1_234));
    let recovered = loop {
        let mut recovery = recorder.recover_call(call).await.unwrap();
        assert_eq!(recovery.failed.len(), 0);
        match recovery.recovered.pop() {
            Some(recovered) => break recovered,
            None => assert_eq!(recovery.unfinished, [id.uuid()]),
        }
    };
    assert_eq!(recovered.sealed.samples(), 8 * 1_234);
    assert!(recovered.sealed.facts.complete);
}
