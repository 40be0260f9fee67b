//! What agents did that the database could not be told: one file with all of it, in its order.
//!
//! The switchboard's writer (`switchboard/states.rs`) keeps what it holds in memory each time that grows while the
//! database is away, and forgets the file when the database has it. At the next start [`FactJournal::replay_states`]
//! tells what is in it, before the stretches of time that a crash left open are ended. What the database has already is
//! left out by its time, so that telling twice does no harm.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::PathBuf,
};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{FactJournal, JournalError, failed};
use crate::{
    ids::AgentId,
    store::{
        Db,
        agent_states::{self, Change},
    },
};

/// The file, and what it is called when it cannot be told.
const FILE: &str = "agents.states";
const REFUSED: &str = "agents.refused";
/// More than the switchboard ever holds back.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A change as it lies in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    agent: AgentId,
    doing: Option<String>,
    reason: String,
    at_ms: i64,
}

impl FactJournal {
    /// Keeps what agents did instead of what was kept before; durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The disk or the cipher; what was kept before is kept still.
    pub fn keep_states(&self, changes: &[Change]) -> Result<(), JournalError> {
        let kept: Vec<Kept> = changes
            .iter()
            .map(|change| Kept {
                agent: change.agent,
                doing: change.doing.map(|doing| doing.as_str().to_owned()),
                reason: change.reason.clone(),
                at_ms: change.at_ms,
            })
            .collect();
        let path = self.states();
        let plain =
            serde_json::to_vec(&kept).map_err(|e| failed("write", &path)(io::Error::from(e)))?;
        let sealed = self.key.seal(FILE.as_bytes(), &plain)?;
        self.write(&path, &sealed)
    }

    /// Forgets what agents did: the database has it.
    pub fn forget_states(&self) {
        if let Err(error) = fs::remove_file(self.states())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what agents did stays in the journal though the database knows it");
        }
    }

    /// Tells the database what agents did while it was away, in one transaction, and forgets it. Returns how many changes
    /// it did not have yet. A file that cannot be read, or that the database refuses, stays as `agents.refused`.
    ///
    /// # Errors
    /// The database is away: then the file stays for the next time.
    pub async fn replay_states(
        &self,
        db: &Db,
        node: &str,
        zone: &TimeZone,
    ) -> anyhow::Result<usize> {
        let changes = match self.read_states() {
            Ok(Some(changes)) => changes,
            Ok(None) => return Ok(0),
            Err(error) => {
                tracing::error!(%error, "what agents did while the database was away cannot be read; it stays beside the others as .refused");
                let _ = fs::rename(self.states(), self.dir.join(REFUSED));
                return Ok(0);
            }
        };
        let told = async {
            let mut tx = db.begin().await?;
            let new = agent_states::unknown(&mut tx, node, changes).await?;
            agent_states::change(&mut tx, node, &new, zone).await?;
            tx.commit().await.map(|()| new.len())
        };
        match told.await {
            Ok(told) => {
                self.forget_states();
                Ok(told)
            }
            Err(error) if error.is_unavailable() => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the database refuses what agents did while it was away; it stays beside the others as .refused");
                let _ = fs::rename(self.states(), self.dir.join(REFUSED));
                Ok(0)
            }
        }
    }

    /// What is kept, in its order; nothing if nothing is.
    fn read_states(&self) -> Result<Option<Vec<Change>>, JournalError> {
        let path = self.states();
        let mut sealed = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut sealed)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed("read", &path))?,
        };
        let damaged = || JournalError::NotAuthentic { path: path.clone() };
        let plain = self.key.open_box(FILE.as_bytes(), &sealed)?;
        let kept: Option<Vec<Kept>> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
        let change = |kept: Kept| {
            let doing = kept.doing.map(|word| word.parse()).transpose();
            Ok(Change {
                agent: kept.agent,
                doing: doing.map_err(|_| damaged())?,
                reason: kept.reason,
                at_ms: kept.at_ms,
            })
        };
        let changes: Result<_, _> = kept.ok_or_else(damaged)?.into_iter().map(change).collect();
        changes.map(Some)
    }

    fn states(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}
