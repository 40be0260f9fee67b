//! What a start makes of what the last run left: recordings that only lack their row, files that cannot be sealed, and
//! rows without a file. And the same of one call while another goes on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use ringfence_recordings::{Begin, Live, RootKey, SealFacts, Vault, VaultConfig};

use super::{BrokenCall, everything};
use crate::{
    call::Cause,
    clock::{Clock, TrustMode},
    ids::{CallId, RecordingId},
    recorder::Recorder,
    store::{
        self,
        recordings::{NewRecording, Recording, RecordingState},
        tests::{Floor, NODE, NOW_MS, Test, call_id, dial, floor},
    },
};

struct Left {
    test: Test,
    floor: Floor,
    dir: tempfile::TempDir,
    vault: Vault,
    call: CallId,
    id: RecordingId,
}

/// A call under way with a live recording of two seconds, whose owner is gone.
async fn left() -> Left {
    let (left, mut live) = up().await;
    live.append(&[1_000; 32_000]).unwrap();
    live.finish().unwrap();
    left
}

/// A call under way with a live recording without audio.
async fn up() -> (Left, Live) {
    let test = Test::sqlite().await;
    let floor = floor(&test.db, 2).await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("root-key");
    RootKey::create(&key).unwrap();
    let config = VaultConfig {
        free_floor: 0,
        ..VaultConfig::new(dir.path().join("vault"), dir.path().join("keys"))
    };
    let vault = Vault::open(config, RootKey::load(&key).unwrap()).unwrap();
    let mut left = Left {
        call: call_id(1),
        id: RecordingId::from_parts(NOW_MS, [1; 10]),
        test,
        floor,
        dir,
        vault,
    };
    let live;
    (left.call, left.id, live) = left.begin(1).await;
    (left, live)
}

impl Left {
    /// Another call, with its live recording.
    async fn begin(&self, n: u8) -> (CallId, RecordingId, Live) {
        let target = &self.floor.targets[usize::from(n) - 1];
        let mut tx = self.test.db.begin().await.unwrap();
        let call = dial(&mut tx, n.into(), target, self.floor.agent).await;
        let id = RecordingId::from_parts(NOW_MS, [n; 10]);
        let row = NewRecording {
            id,
            call,
            segment: 1,
            client: target.client,
            created_at_ms: NOW_MS,
            sample_rate: 8_000,
            channels: 2,
        };
        store::recordings::insert(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        (call, id, self.open(call, id))
    }

    /// The first page of a recording, and no row.
    fn open(&self, call: CallId, id: RecordingId) -> Live {
        let begin = Begin {
            recording: id.uuid(),
            call: call.uuid(),
            segment: 1,
            client: "bank",
            created_ms: NOW_MS,
            sample_rate: 8_000,
            channels: 2,
        };
        self.vault.begin(&begin).unwrap()
    }

    fn broken(&self) -> BrokenCall {
        BrokenCall {
            call: self.call,
            db: self.test.db.clone(),
            recorder: Recorder::start(self.vault.clone()).unwrap(),
            clock: Clock::system(TrustMode::Host),
        }
    }

    fn live_file(&self) -> std::path::PathBuf {
        self.dir.path().join(format!("vault/live/{}.live", self.id))
    }

    async fn figures_agree(&self) {
        let recount = crate::stats::check::recount(&self.test.db).await.unwrap();
        assert_eq!(recount.differences, []);
    }

    async fn settle(&self) {
        let recorder = Recorder::start(self.vault.clone()).unwrap();
        let clock = Clock::system(TrustMode::Host);
        everything(&self.test.db, &recorder, &clock, NODE)
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
    let file = left.live_file();
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
    std::fs::remove_file(left.live_file()).unwrap();
    left.settle().await;
    assert_eq!(left.row().await.state, RecordingState::Abandoned);
    assert_eq!(left.cause().await, Some(Cause::Crashed));
}

#[tokio::test]
async fn one_broken_call_is_settled_by_what_was_recorded_and_the_others_go_on() {
    let left = left().await;
    let (other, its_recording, mut live) = left.begin(2).await;
    live.append(&[1_000; 32_000]).unwrap();
    assert_eq!(left.broken().settle().await, Some(Cause::Answered));
    assert_eq!(left.row().await.state, RecordingState::Recovered);
    // Twice does no harm.
    assert_eq!(left.broken().settle().await, None);
    left.figures_agree().await;

    live.append(&[1_000; 32_000]).unwrap();
    assert_eq!(left.vault.list_live().unwrap(), [its_recording.uuid()]);
    let mut tx = left.test.db.read().await.unwrap();
    let open = store::attempts::open_on(&mut tx, NODE).await.unwrap();
    assert_eq!(open.iter().map(|open| open.id).collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn a_broken_call_waits_for_the_recorder_to_let_go() {
    let (left, mut live) = up().await;
    live.append(&[1_000; 32_000]).unwrap();
    let settling = tokio::spawn(left.broken().settle());
    // It finds the file open at least once, or finished; both are right, and neither closes the call without it.
    tokio::task::yield_now().await;
    live.append(&[1_000; 32_000]).unwrap();
    live.finish().unwrap();
    assert_eq!(settling.await.unwrap(), Some(Cause::Answered));
    assert_eq!(left.row().await.seal.unwrap().duration_ms, 4_000);
}

#[tokio::test]
async fn a_broken_call_that_nobody_answered_was_ours() {
    let (left, live) = up().await;
    drop(live);
    assert_eq!(left.broken().settle().await, Some(Cause::Internal));
    assert_eq!(left.row().await.state, RecordingState::Abandoned);
    left.figures_agree().await;
}

#[tokio::test]
async fn a_broken_call_is_closed_before_its_recording_can_be_sealed_and_corrected_after() {
    let left = left().await;
    let whole = std::fs::read(left.live_file()).unwrap();
    let mut broken = whole.clone();
    broken.splice(..64, [0; 64]);
    std::fs::write(left.live_file(), &broken).unwrap();
    assert_eq!(left.broken().settle().await, Some(Cause::Internal));
    assert_eq!(left.row().await.state, RecordingState::Live);
    left.figures_agree().await;

    std::fs::write(left.live_file(), &whole).unwrap();
    let call = left.broken();
    call.recover_when_possible(Duration::from_millis(1)).await;
    assert_eq!(left.row().await.state, RecordingState::Recovered);
    assert_eq!(left.cause().await, Some(Cause::Answered));
    left.figures_agree().await;
}

#[tokio::test]
async fn a_recording_that_was_opened_but_not_yet_noted_gets_its_row() {
    let (left, live) = up().await;
    drop(live);
    let target = &left.floor.targets[1];
    let mut tx = left.test.db.begin().await.unwrap();
    let call = dial(&mut tx, 2, target, left.floor.agent).await;
    tx.commit().await.unwrap();
    let id = RecordingId::from_parts(NOW_MS, [2; 10]);
    drop(left.open(call, id));
    left.settle().await;
    let mut tx = left.test.db.read().await.unwrap();
    let row = store::recordings::by_id(&mut tx, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.call, row.client), (call, target.client));
    assert_eq!(row.state, RecordingState::Abandoned);
}
