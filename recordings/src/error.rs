//! What can go wrong in the vault, each with its remedy.
//!
//! A wrong key, a damaged file and a file that was altered by someone are three different errors, because three
//! different people have to act on them. No error ever holds audio or key bytes.

use std::fmt;
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

/// Short form of `std::result::Result` with the vault's error.
pub type Result<T, E = VaultError> = std::result::Result<T, E>;

/// The place in a recording file where damage was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The first 4,096 bytes: who, what, and the wrapped data key.
    Manifest,
    /// The facts inside the manifest page that were written when the recording was sealed.
    Facts,
    /// The 40 bytes in front of the first segment: salt and nonce prefix.
    StreamHeader,
    /// One encrypted segment of the stream.
    Segment {
        /// Number of the segment, from 0.
        number: u32,
        /// How many segments the file holds.
        of: u32,
    },
    /// The length of the file: bytes are missing at the end, or too many are there.
    Length {
        /// Bytes that are there.
        found: u64,
        /// Bytes that the manifest demands.
        expected: u64,
    },
    /// The WAV header inside the stream.
    WavHeader,
    /// Every segment is authentic, and yet the audio is not that of the digest written at seal.
    Digest,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Region::Manifest => write!(f, "manifest page"),
            Region::Facts => write!(f, "sealed facts in the manifest page"),
            Region::StreamHeader => write!(f, "stream header"),
            Region::Segment { number, of } => write!(f, "segment {number} of {of}"),
            Region::Length { found, expected } => {
                write!(f, "file length ({found} bytes, {expected} expected)")
            }
            Region::WavHeader => write!(f, "WAV header"),
            Region::Digest => write!(f, "SHA-256 of the audio"),
        }
    }
}

/// An act of the vault that failed. The text names the cause and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The operating system refused an act on a file.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// The act, as a verb.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk (or the quota) of the vault is full. What was written before stays readable.
    #[error(
        "the vault's disk is full: cannot {act} {}: {source}; nothing written so far is lost. Free space on that file \
         system or enlarge it (or the quota of the daemon's user); what waits is written as soon as there is room", path.display()
    )]
    DiskFull {
        /// The act, as a verb.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is too little room for one more call beside those that are up.
    #[error(
        "the vault {} has {free} bytes free and keeps {needed} for the calls that are up and one more: no new call is \
         taken. Free space on that file system or enlarge it", dir.display()
    )]
    NoRoom {
        /// The vault.
        dir: PathBuf,
        /// Bytes free to the daemon's user.
        free: u64,
        /// Bytes that must be free before a new call is taken.
        needed: u64,
    },
    /// The root key file is not there.
    #[error(
        "there is no root key at {}: restore it from its backup; only for a new, empty vault make one with \
         `ringfence keys create`", path.display()
    )]
    RootKeyMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The root key file can be read by others.
    #[error(
        "the root key {} has mode {mode:04o}, so that others may read it: `chmod 600 {}`, and think about who could \
         have read it until now", path.display(), path.display()
    )]
    RootKeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The root key file holds something else.
    #[error("{} is no root key of this vault format ({detail}): restore it from its backup", path.display())]
    RootKeyMalformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        detail: &'static str,
    },
    /// A root key is there already and is never overwritten.
    #[error(
        "{} exists and is not overwritten: without it every recording made under it is lost. Move it away by hand if \
         you are sure", path.display()
    )]
    RootKeyExists {
        /// The file.
        path: PathBuf,
    },
    /// The vault was made with another root key.
    #[error(
        "wrong root key: {} was made under root key {expected}, the one given is {given}. Point the configuration at \
         the right root key file; nothing is damaged", path.display()
    )]
    WrongRootKey {
        /// The file that told.
        path: PathBuf,
        /// Id of the key that is needed.
        expected: String,
        /// Id of the key that was given.
        given: String,
    },
    /// A month's key is not there: shredded, not restored, or its disk is not mounted.
    #[error(
        "the key {id} of client {client:?} for {month} is not in {}: restore the key directory from its backup or \
         mount it; if it was shredded the recording is gone for good", keys.display()
    )]
    MonthKeyMissing {
        /// The key directory.
        keys: PathBuf,
        /// The client.
        client: String,
        /// Year and month, `2026-11`.
        month: String,
        /// Id of the key.
        id: String,
    },
    /// Both copies of a month's key are damaged.
    #[error(
        "both copies of a month key are unusable ({}: {detail}): restore either of them from the backup of the key \
         directory", path.display()
    )]
    MonthKeyDamaged {
        /// The first copy.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A key of the daemon's own is not there.
    #[error(
        "the key {name} is not in {}: restore the key directory from its backup; without it what it protects cannot be \
         read", keys.display()
    )]
    NamedKeyMissing {
        /// The key directory.
        keys: PathBuf,
        /// Name of the key.
        name: &'static str,
    },
    /// A copy of a key of the daemon's own is damaged, and there is no other.
    #[error(
        "{} is unusable: {detail}; restore it from the backup of the key directory", path.display()
    )]
    NamedKeyDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Something in a recording file is not as it was written.
    #[error(
        "{} is damaged: {region}: {detail}. Restore the file from its backup; the key is right and the other \
         recordings are not touched", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        region: Region,
        /// What was found.
        detail: String,
    },
    /// The page is whole, but was not written with the key it names: somebody altered it.
    #[error(
        "{} was altered: {region} carries a right checksum but is not authentic under its key. Treat it as tampering, \
         keep the file, and restore from backup", path.display()
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// Where in it.
        region: Region,
    },
    /// The file is of a version that this program does not know.
    #[error("{} has format version {found}, this program reads {known}: use the newer program that wrote it", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u16,
        /// The version this program writes.
        known: u16,
    },
    /// The file is none of the vault's.
    #[error("{} is no {wanted} of this vault (its first bytes are others): it does not belong here", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        wanted: &'static str,
    },
    /// No sealed recording has this id.
    #[error("there is no sealed recording {0} in this vault")]
    NotFound(Uuid),
    /// The recording is still being written or waits for its seal.
    #[error("recording {0} is not sealed yet: ask again after hang-up")]
    StillLive(Uuid),
    /// A recording with this id is there already.
    #[error("recording {0} exists already: every segment of a call needs an id of its own")]
    AlreadyExists(Uuid),
    /// The vault was opened for reading only.
    #[error("this process opened the vault {} for reading only", dir.display())]
    ReadOnly {
        /// The vault.
        dir: PathBuf,
    },
    /// Another process writes into the vault.
    #[error(
        "another process holds the vault {} for writing: is a daemon running already? Stop it, or give this one a \
         directory of its own", dir.display()
    )]
    Locked {
        /// The vault.
        dir: PathBuf,
    },
    /// The vault and its key directory do not belong together.
    #[error("the vault {} and the keys {} do not belong together: {detail}", dir.display(), keys.display())]
    Unpaired {
        /// The vault.
        dir: PathBuf,
        /// The key directory.
        keys: PathBuf,
        /// Why, and what to do.
        detail: &'static str,
    },
    /// The configured retention is shorter than the law of this product.
    #[error(
        "a retention of {configured} calendar years is below the floor of {floor}: recordings are kept at least that \
         long from the end of the call. Configure {floor} or more"
    )]
    RetentionBelowFloor {
        /// What the configuration says, in calendar years.
        configured: u16,
        /// The least that is allowed, in calendar years.
        floor: u16,
    },
    /// A field given by the caller cannot be stored.
    #[error("{field} cannot be recorded: {detail}")]
    BadField {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        detail: &'static str,
    },
    /// The recording has reached the longest a WAV can be (about 37 hours of stereo telephone audio).
    #[error("recording {0} is as long as a WAV file can be: begin a new segment of the call")]
    TooLong(Uuid),
    /// The bytes are no WAV file that this vault writes.
    #[error("no usable WAV: {detail}. Give a RIFF/WAVE file with 16-bit PCM")]
    NotWav {
        /// What is wrong.
        detail: String,
    },
    /// The system's random generator gave nothing.
    #[error(
        "the operating system gave no random bytes: no key can be made, so nothing is recorded"
    )]
    NoRandomness,
    /// Encryption itself refused; only a broken invariant can cause it.
    #[error("encryption failed while {0}: this is a fault of the program, please report it")]
    Crypto(&'static str),
}

impl VaultError {
    /// Makes the error of an act on a file, telling a full disk from everything else.
    pub(crate) fn io(act: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => VaultError::DiskFull { act, path, source },
            _ => VaultError::Io { act, path, source },
        }
    }

    /// Whether room on the disk would cure it.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            VaultError::DiskFull { .. } | VaultError::NoRoom { .. }
        )
    }

    /// Whether the bytes of a recording are not what was written: damage or tampering, as against a missing key or a
    /// failing system.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            VaultError::Damaged { .. } | VaultError::Altered { .. } | VaultError::NotOurs { .. }
        )
    }
}
