//! What the database could not be told: how a call ended, encrypted and durable in a file of its own until it could; and
//! what agents did meanwhile (`agents`).
//!
//! Calls that are up go on while the database is away, and end. Their ends wait in memory for it to come back; so that a
//! daemon that dies meanwhile does not lose them, they lie here too. [`FactJournal::replay`] tells the database at the
//! next start, before what a crash left open is settled by guesses; telling twice does no harm, because an attempt that
//! is closed stays as it is. No number and no name is in here, but whose call it was is nobody's business either: the
//! files are sealed with a key that the vault's root key wraps.

mod agents;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_recordings::{NamedKey, VaultError};

use crate::{
    ids::CallId,
    store::{Db, attempts::Closing},
};

/// Name of the key in the key directory.
pub const KEY_NAME: &str = "fact-journal";
/// How a whole file ends, and one that the database refused.
const KEPT: &str = "fact";
const REFUSED: &str = "refused";
/// No end of a call is longer.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a fact cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error(
        "the fact journal cannot {act} {path}: {source}; see that the disk has room and the folder is ours"
    )]
    Io {
        /// What failed.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] VaultError),
    /// The file is not what was written, or was written under another key.
    #[error("{path} does not open: it was damaged, or the key directory is another one's")]
    NotAuthentic {
        /// Which file.
        path: PathBuf,
    },
}

/// The files of one daemon. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct FactJournal {
    dir: Arc<Path>,
    key: Arc<NamedKey>,
}

/// What a replay did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Ends that the database learned from the journal.
    pub told: usize,
    /// Ends that it knew already.
    pub known: usize,
    /// Files that cannot be read, or that the database refuses; they stay where they are.
    pub left: usize,
}

impl FactJournal {
    /// Opens the folder, making it where there is none.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(dir: &Path, key: NamedKey) -> Result<Self, JournalError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("make", dir))?;
        Ok(Self {
            dir: dir.into(),
            key: Arc::new(key),
        })
    }

    /// Keeps how a call ended; durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The disk or the cipher; nothing is kept then.
    pub fn keep(&self, call: CallId, closing: &Closing) -> Result<(), JournalError> {
        let path = self.path(call, KEPT);
        let plain = serde_json::to_vec(closing).map_err(|e| JournalError::Io {
            act: "write",
            path: path.clone(),
            source: e.into(),
        })?;
        let sealed = self.key.seal(call.to_string().as_bytes(), &plain)?;
        self.write(&path, &sealed)
    }

    /// Puts a file in its place, whole and durable.
    fn write(&self, path: &Path, sealed: &[u8]) -> Result<(), JournalError> {
        let new = path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(sealed)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&self.dir)?.sync_all()
        };
        written().map_err(failed("write", path))
    }

    /// Forgets what the database knows by now. A file that stays all the same is told again, which does no harm.
    pub fn forget(&self, call: CallId) {
        if let Err(error) = fs::remove_file(self.path(call, KEPT))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%call, %error, "a fact that the database knows stays in the journal");
        }
    }

    /// Tells the database everything that is kept, each end in a transaction of its own.
    ///
    /// # Errors
    /// The folder cannot be read, or the database is away: then what was not told yet stays for the next time.
    pub async fn replay(&self, db: &Db) -> anyhow::Result<Replayed> {
        let mut done = Replayed::default();
        for call in self.kept()? {
            let closing = match self.read(call) {
                Ok(closing) => closing,
                Err(error) => {
                    tracing::error!(%call, %error, "a fact of the journal cannot be read; what is known of the call is settled without it");
                    done.left += 1;
                    continue;
                }
            };
            match db.close_attempt(call, &closing).await {
                Ok(true) => done.told += 1,
                Ok(false) => done.known += 1,
                Err(error) if error.is_unavailable() => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%call, %error, "the database refuses a fact of the journal; it stays beside the others as .refused");
                    let _ = fs::rename(self.path(call, KEPT), self.path(call, REFUSED));
                    done.left += 1;
                    continue;
                }
            }
            self.forget(call);
        }
        Ok(done)
    }

    /// Whose ends are kept, in the order of the calls.
    fn kept(&self) -> Result<Vec<CallId>, JournalError> {
        let read = |e| failed("read", &self.dir)(e);
        let mut calls = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let ours = path.extension().is_some_and(|kind| kind == KEPT);
            let call = path.file_stem().and_then(|stem| stem.to_str());
            if let (true, Some(call)) = (ours, call.and_then(|stem| stem.parse().ok())) {
                calls.push(call);
            }
        }
        calls.sort_unstable();
        Ok(calls)
    }

    fn read(&self, call: CallId) -> Result<Closing, JournalError> {
        let path = self.path(call, KEPT);
        let mut sealed = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut sealed))
            .map_err(failed("read", &path))?;
        let plain = self.key.open_box(call.to_string().as_bytes(), &sealed)?;
        plain
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .ok_or(JournalError::NotAuthentic { path })
    }

    fn path(&self, call: CallId, kind: &str) -> PathBuf {
        self.dir.join(format!("{call}.{kind}"))
    }
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ringfence_recordings::RootKey;

    use super::*;
    use crate::{
        call::{Cause, Party},
        stats::check,
        store::agent_states::{self, Change, Doing},
        store::attempts,
        store::tests::{NOW_MS, Test, call_id, dial, floor, on_both},
    };

    fn journal(dir: &Path) -> FactJournal {
        let root = match RootKey::load(&dir.join("root")) {
            Ok(root) => root,
            Err(_) => RootKey::create(&dir.join("root")).unwrap(),
        };
        let key = NamedKey::open(&dir.join("keys"), KEY_NAME, &root, true).unwrap();
        FactJournal::open(&dir.join("journal"), key).unwrap()
    }

    fn busy() -> Closing {
        Closing {
            cause: Cause::Busy,
            ended_by: Party::Customer,
            sip_status: Some(486),
            q850: Some(17),
            seized_at_ms: Some(NOW_MS + 4_000),
            rang_at_ms: None,
            answered_at_ms: None,
            ended_at_ms: NOW_MS + 5_000,
            overrun_ms: 0,
        }
    }

    on_both! {
        async fn an_end_that_was_kept_is_told_once(test: Test) {
            let dir = tempfile::tempdir().unwrap();
            let floor = floor(&test.db, 1).await;
            let mut tx = test.db.begin().await.unwrap();
            dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
            tx.commit().await.unwrap();
            journal(dir.path()).keep(call_id(1), &busy()).unwrap();

            // Another process, after a crash.
            let told = journal(dir.path()).replay(&test.db).await.unwrap();
            assert_eq!(told, Replayed { told: 1, known: 0, left: 0 });
            let mut tx = test.db.read().await.unwrap();
            let attempt = attempts::by_id(&mut tx, call_id(1)).await.unwrap().unwrap();
            drop(tx);
            assert_eq!((attempt.cause, attempt.q850), (Some(Cause::Busy), Some(17)));
            assert_eq!(attempt.ended_at_ms, Some(NOW_MS + 5_000));
            assert!(!attempt.settled, "it was told, not guessed");

            // It died before it could forget: the same again changes nothing.
            journal(dir.path()).keep(call_id(1), &busy()).unwrap();
            let again = journal(dir.path()).replay(&test.db).await.unwrap();
            assert_eq!(again, Replayed { told: 0, known: 1, left: 0 });
            assert_eq!(journal(dir.path()).replay(&test.db).await.unwrap(), Replayed::default());
            let recount = check::recount(&test.db).await.unwrap();
            assert_eq!((recount.attempts, recount.differences.len()), (1, 0));
        }

        async fn a_damaged_fact_is_left_and_hinders_no_other(test: Test) {
            let dir = tempfile::tempdir().unwrap();
            let floor = floor(&test.db, 2).await;
            let mut tx = test.db.begin().await.unwrap();
            dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
            dial(&mut tx, 2, &floor.targets[1], floor.agent).await;
            tx.commit().await.unwrap();
            let kept = journal(dir.path());
            for call in [1, 2, 3] {
                kept.keep(call_id(call), &busy()).unwrap();
            }
            // Of the first a byte is another one, the third is of a call that nobody knows.
            let path = kept.path(call_id(1), KEPT);
            let mut bytes = fs::read(&path).unwrap();
            bytes[30] ^= 1;
            fs::write(&path, bytes).unwrap();
            let told = kept.replay(&test.db).await.unwrap();
            assert_eq!(told, Replayed { told: 1, known: 0, left: 2 });
            assert!(path.exists() && kept.path(call_id(3), REFUSED).exists());
        }
    }

    on_both! {
        async fn what_agents_did_while_the_database_was_away_is_told_once(test: Test) {
            let dir = tempfile::tempdir().unwrap();
            let floor = floor(&test.db, 1).await;
            let zone = jiff::tz::TimeZone::UTC;
            let change = |doing, at_ms| Change {
                agent: floor.agent,
                doing,
                reason: String::new(),
                at_ms: NOW_MS + at_ms,
            };
            let mut tx = test.db.begin().await.unwrap();
            agent_states::change(&mut tx, "main", &[change(Some(Doing::Ready), 0)], &zone).await.unwrap();
            tx.commit().await.unwrap();
            let kept = [change(Some(Doing::Talk), 10_000), change(Some(Doing::WrapUp), 70_000)];
            journal(dir.path()).keep_states(&kept[..1]).unwrap();
            journal(dir.path()).keep_states(&kept).unwrap();

            // Another process, after a crash; and one more that died before it could forget.
            for told in [2, 0] {
                let journal = journal(dir.path());
                assert_eq!(journal.replay_states(&test.db, "main", &zone).await.unwrap(), told);
                assert_eq!(journal.replay_states(&test.db, "main", &zone).await.unwrap(), 0, "it is forgotten");
                let mut tx = test.db.begin().await.unwrap();
                agent_states::close_leftovers(&mut tx, "main", NOW_MS + 900_000, &zone).await.unwrap();
                tx.commit().await.unwrap();
                let mut tx = test.db.read().await.unwrap();
                let did = agent_states::between(&mut tx, None, NOW_MS, NOW_MS + 900_000).await.unwrap();
                let did: Vec<_> = did
                    .iter()
                    .map(|one| (one.doing, one.from_ms - NOW_MS, one.until_ms.map(|until| until - NOW_MS)))
                    .collect();
                assert_eq!(did, [
                    (Doing::Ready, 0, Some(10_000)),
                    (Doing::Talk, 10_000, Some(70_000)),
                    (Doing::WrapUp, 70_000, Some(70_000)),
                ]);
                journal.keep_states(&kept).unwrap();
            }
            // Damaged, it hinders nobody.
            let file = dir.path().join("journal/agents.states");
            let mut bytes = fs::read(&file).unwrap();
            assert!(!bytes.windows(4).any(|w| w == b"talk"));
            bytes[30] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert_eq!(journal(dir.path()).replay_states(&test.db, "main", &zone).await.unwrap(), 0);
            assert!(!file.exists() && file.with_extension("refused").exists());
        }
    }

    #[test]
    fn nothing_of_a_fact_lies_on_the_disk_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let kept = journal(dir.path());
        kept.keep(call_id(1), &busy()).unwrap();
        let bytes = fs::read(kept.path(call_id(1), KEPT)).unwrap();
        assert!(!bytes.windows(4).any(|w| w == b"busy"));
        assert_eq!(kept.read(call_id(1)).unwrap(), busy());
        // Moved to another call it does not open.
        fs::rename(kept.path(call_id(1), KEPT), kept.path(call_id(2), KEPT)).unwrap();
        let error = kept.read(call_id(2)).unwrap_err();
        assert!(
            matches!(error, JournalError::NotAuthentic { .. }),
            "{error}"
        );
    }
}
