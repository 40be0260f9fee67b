//! The vault: recordings encrypted while they are written.
//!
//! A call's audio goes in as samples and lies on the disk as authenticated ciphertext from its first second; at hang-up
//! it is sealed as an exact WAV under a key of its own; from then on it can be heard from any position and proven whole.
//! Nothing here deletes a sealed recording, knows a network, a database or a clock, or starts a thread that outlives its
//! call. No plaintext audio ever touches a disk.
//!
//! ```no_run
//! # use ringfence_recordings::*;
//! # use uuid::Uuid;
//! # fn main() -> Result<(), VaultError> {
//! # let (recording, call, now_ms) = (Uuid::nil(), Uuid::nil(), 0);
//! let root = RootKey::load("/etc/ringfence/root.key".as_ref())?;
//! let vault = Vault::open(VaultConfig::new("/var/lib/ringfence/vault", "/var/lib/ringfence/keys"), root)?;
//! vault.recover()?;
//! let begin =
//!     Begin { recording, call, segment: 0, client: "bank-1", created_ms: now_ms, sample_rate: 8000, channels: 2 };
//! let mut live = vault.begin(&begin)?;
//! live.append(&[0; 320])?; // 20 ms of both channels
//! vault.sync_live()?; // every 500 ms
//! live.finish()?;
//! let sealed = vault.seal(recording, &SealFacts { ended_ms: now_ms + 20, ..SealFacts::default() })?;
//! std::io::copy(&mut vault.open_recording(sealed.recording())?, &mut std::io::stdout()).ok();
//! # Ok(())
//! # }
//! ```
//!
//! Read on in `vault.rs` (what lies where), `live.rs`, `seal.rs`; the format for strangers is
//! `docs/recording-format.md`.

mod analysis;
mod disk;
mod durable;
mod error;
mod facts;
mod keys;
mod live;
mod manifest;
mod marker;
mod month;
mod named;
mod reader;
mod recover;
mod retention;
mod seal;
mod stream;
mod sync;
mod vault;
mod verify;
pub mod wav;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod stream_tests;

pub use analysis::ChannelAnalysis;
pub use error::{Region, Result, VaultError};
pub use facts::{Facts, Gap, GapKind, Gaps, SealFacts, Sealed, WavDigest};
pub use keys::{KeyId, RootKey};
pub use live::Live;
pub use manifest::{CLIENT_MAX, Kind, Manifest};
pub use named::NamedKey;
pub use reader::{Listed, WavReader};
pub use recover::{Recovered, Recovery};
pub use retention::{RETENTION_FLOOR_YEARS, RETENTION_MAX_YEARS, Retention};
pub use vault::{Begin, Room, SyncReport, Vault, VaultConfig};
pub use verify::Verdict;
