//! What a start makes of what the last run left: recordings that only lack their row, files that cannot be sealed, and
//! rows without a file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ringfence_recordings::{Begin, RootKey, SealFacts, Vault, VaultConfig};

use super::recordings_and_attempts;
use crate::{
    call::Cause,
    clock::{Clock, TrustMode},
    ids::{CallId, RecordingId},
    recorder::Recorder,
    store::{
        self,
        recordings::{NewRecording, Recording, RecordingState},
        tests::{NODE, NOW_MS, Test, dial, floor},
    },
};

struct Left {
    test: Test,
    dir: tempfile::TempDir,
    vault: Vault,
    call: CallId,
    id: RecordingId,
}

/// A call under way with a live recording of two seconds.
async fn left() -> Left {
    let test = Test::sqlite().await;
    let floor = floor(&test.db, 1).await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("root-key");
    RootKey::create(&key).unwrap();
    let config = VaultConfig {
        free_floor: 0,
        ..VaultConfig::new(dir.path().join("vault"), dir.path().join("keys"))
    };
    let vault = Vault::open(config, RootKey::load(&key).unwrap()).unwrap();
    let mut tx = test.db.begin().await.unwrap();
    let call = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
    let id = RecordingId::from_parts(NOW_MS, [1; 10]);
    let row = NewRecording {
        id,
        call,
        segment: 1,
        client: floor.targets[0].client,
        created_at_ms: NOW_MS,
        sample_rate: 8_000,
        channels: 2,
    };
    store::recordings::insert(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    let mut live = vault
        .begin(&Begin {
            recording: id.uuid(),
            call: call.uuid(),
            segment: 1,
            client: "bank",
            created_ms: NOW_MS,
            sample_rate: 8_000,
            channels: 2,
        })
        .unwrap();
    live.append(&[1_000; 32_000]).unwrap();
    live.finish().unwrap();
    drop(live);
    Left {
        test,
        dir,
        vault,
        call,
        id,
    }
}

impl Left {
    async fn settle(&self) {
        let recorder = Recorder::start(self.vault.clone()).unwrap();
        let clock = Clock::system(TrustMode::Host);
        recordings_and_attempts(&self.test.db, &recorder, &clock, NODE)
            .await
            .unwrap();
    }

    async fn row(&self) -> Recording {
        let mut tx = self.test.db.read().await.unwrap();
        store::recordings::by_id(&mut tx, self.id)
            .await
            .unwrap()
            .unwrap()
    }

    async fn cause(&self) -> Option<Cause> {
        let mut tx = self.test.db.read().await.unwrap();
        let attempt = store::attempts::by_id(&mut tx, self.call).await.unwrap();
        attempt.unwrap().cause
    }
}

#[tokio::test]
async fn a_recording_that_was_sealed_while_the_database_was_away_gets_its_row() {
    let left = left().await;
    let facts = SealFacts {
        ended_ms: NOW_MS + 9_000,
        expected_samples: Some(16_000),
        ..SealFacts::default()
    };
    left.vault.seal(left.id.uuid(), &facts).unwrap();
    left.settle().await;
    let row = left.row().await;
    assert_eq!(row.state, RecordingState::Sealed);
    let seal = row.seal.unwrap();
    assert_eq!(
        (seal.duration_ms, seal.ended_at_ms),
        (2_000, NOW_MS + 9_000)
    );
    assert_eq!(seal.started_at_ms, Some(NOW_MS + 7_000));
    assert_eq!(left.cause().await, Some(Cause::Answered));
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Sealed);
}

#[tokio::test]
async fn a_live_file_is_recovered_and_its_call_was_answered() {
    let left = left().await;
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Recovered);
    assert_eq!(left.cause().await, Some(Cause::Answered));
}

#[tokio::test]
async fn a_file_that_cannot_be_sealed_keeps_its_row_for_the_next_start() {
    let left = left().await;
    let live = left.dir.path().join("vault/live");
    let file = live.join(format!("{}.live", left.id));
    let whole = std::fs::read(&file).unwrap();
    let mut broken = whole.clone();
    broken.splice(..64, [0; 64]);
    std::fs::write(&file, &broken).unwrap();
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Live);
    std::fs::write(&file, &whole).unwrap();
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Recovered);
}

#[tokio::test]
async fn a_row_without_a_file_was_given_up_before_the_answer() {
    let left = left().await;
    std::fs::remove_file(left.dir.path().join(format!("vault/live/{}.live", left.id))).unwrap();
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Abandoned);
    assert_eq!(left.cause().await, Some(Cause::Crashed));
}
