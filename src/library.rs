//! Who may hear what: the only way to the audio of a sealed recording. The access is in the hash-chained log before
//! the first byte can be read; what cannot be logged is not played.

use std::io::{Read, Seek, SeekFrom};

use ringfence_recordings::{Vault, VaultError, WavReader};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    ids::{CallId, ClientId, RecordingId},
    store::{
        self, Db,
        recordings::{Recording, RecordingState},
    },
};

/// Bytes read at once, and handed on as one piece.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for a slow listener.
const PIECES: usize = 4;

/// The recordings of a daemon, or of a command that runs beside it.
#[derive(Clone)]
pub struct Library {
    vault: Vault,
    db: Db,
    clock: Clock,
}

/// What somebody wants a recording for; the word in the log of accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Listening in place.
    Play,
    /// Taking a copy away.
    Export,
}

/// Why a recording cannot be heard.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The call is not over.
    #[error("the recording is not sealed yet; try again when the call is over")]
    NotSealed,
    /// Nobody answered, or the vault has lost it.
    #[error("there is no audio: the recording is {}", .0.as_str())]
    NoAudio(RecordingState),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The runtime is ending.
    #[error("opening the recording was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// A recording that is open, of which nothing can be read yet.
pub struct Found {
    reader: WavReader,
    access: Access,
}

struct Access {
    recording: RecordingId,
    call: CallId,
    client: ClientId,
}

/// A recording whose access has been logged.
pub struct Opened {
    reader: WavReader,
}

impl Library {
    /// Over a vault and its database.
    pub fn new(vault: Vault, db: Db, clock: Clock) -> Self {
        Self { vault, db, clock }
    }

    /// Finds a sealed recording, so that its length is known. Nobody hears anything by this.
    pub async fn find(&self, recording: &Recording) -> Result<Found, LibraryError> {
        match recording.state {
            RecordingState::Sealed | RecordingState::Recovered => {}
            RecordingState::Live => return Err(LibraryError::NotSealed),
            RecordingState::Abandoned | RecordingState::Lost => {
                return Err(LibraryError::NoAudio(recording.state));
            }
        }
        let (vault, id) = (self.vault.clone(), recording.id.uuid());
        let reader = tokio::task::spawn_blocking(move || vault.open_recording(id))
            .await
            .map_err(LibraryError::Interrupted)??;
        Ok(Found {
            reader,
            access: Access {
                recording: recording.id,
                call: recording.call,
                client: recording.client,
            },
        })
    }

    /// Logs that `actor` hears the bytes `first..=last` of what was found, then opens it.
    pub async fn open(
        &self,
        found: Found,
        actor: &str,
        purpose: Purpose,
        (first, last): (u64, u64),
    ) -> Result<Opened, LibraryError> {
        let Access {
            recording,
            call,
            client,
        } = found.access;
        let mut tx = self.db.begin().await?;
        store::access::log(
            &mut tx,
            &store::access::Access {
                at_ms: self.clock.wall_ms(),
                actor,
                action: match purpose {
                    Purpose::Play => "recording.play",
                    Purpose::Export => "recording.export",
                },
                object: &recording.to_string(),
                client_id: Some(client),
                detail: serde_json::json!({ "call": call.to_string(), "first": first, "last": last }),
            },
        )
        .await?;
        tx.commit().await?;
        Ok(Opened {
            reader: found.reader,
        })
    }
}

impl Found {
    /// Length of the WAV in bytes.
    pub fn length(&self) -> u64 {
        self.reader.len()
    }
}

impl Opened {
    /// The bytes `first..=last` in pieces, decrypted as they are taken. An error ends the stream, so that a damaged
    /// recording never looks like a shorter one.
    pub fn stream(self, first: u64, last: u64) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let mut reader = self.reader;
        tokio::task::spawn_blocking(move || {
            let mut left = (last + 1).saturating_sub(first);
            if let Err(error) = reader.seek(SeekFrom::Start(first)) {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            while left > 0 {
                let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
                let read = reader.read_exact(&mut piece).map(|()| piece);
                left = left.saturating_sub(PIECE as u64);
                let failed = read.is_err();
                if let Err(error) = &read {
                    tracing::error!(%error, "a recording could not be read to its end");
                }
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        receiver
    }

    /// The whole WAV, for files and checks.
    pub fn into_reader(self) -> WavReader {
        self.reader
    }
}
