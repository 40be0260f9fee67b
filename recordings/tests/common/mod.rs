//! A vault in a directory that goes away, and audio that can be told apart.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::io::Read;
use std::path::PathBuf;

use ringfence_recordings::{Begin, Live, RootKey, SealFacts, Sealed, Vault, VaultConfig};
use tempfile::TempDir;
use uuid::Uuid;

/// 2026-11-23T22:22:00Z.
pub const NOW_MS: i64 = 1_795_472_520_000;

pub struct Place {
    pub root: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        RootKey::create(&root.path().join("root.key")).unwrap();
        Self { root }
    }

    pub fn key_path(&self) -> PathBuf {
        self.root.path().join("root.key")
    }

    pub fn key(&self) -> RootKey {
        RootKey::load(&self.key_path()).unwrap()
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    pub fn keys(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    pub fn config(&self) -> VaultConfig {
        VaultConfig {
            free_floor: 0,
            call_reserve: 0,
            ..VaultConfig::new(self.dir(), self.keys())
        }
    }

    pub fn open(&self) -> Vault {
        Vault::open(self.config(), self.key()).unwrap()
    }

    pub fn live_file(&self, recording: Uuid) -> PathBuf {
        self.dir().join("live").join(format!("{recording}.live"))
    }

    pub fn sealed_file(&self, recording: Uuid) -> PathBuf {
        self.dir()
            .join("sealed/2026/11")
            .join(format!("{recording}.rec"))
    }

    /// One copy of the only month key; remembers its name when it is gone.
    pub fn month_key(&self, copy: u8) -> PathBuf {
        let end = format!(".{copy}.key");
        let found = files(&self.keys()).into_iter().find(|p| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.starts_with("2026-11.") && name.ends_with(".key")
        });
        let name = found.unwrap().to_str().unwrap().to_owned();
        PathBuf::from(name[..name.len() - 6].to_owned() + &end)
    }
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x7000_0000_0000_0000_0000 + n)
}

pub fn begin(vault: &Vault, recording: Uuid) -> Live {
    vault.begin(&begin_of(recording)).unwrap()
}

pub fn begin_of(recording: Uuid) -> Begin<'static> {
    Begin {
        recording,
        call: id(1_000_000),
        segment: 0,
        client: "bank-1",
        created_ms: NOW_MS,
        sample_rate: 8000,
        channels: 2,
    }
}

/// Interleaved audio in which every sample differs from its neighbours.
pub fn audio(seed: u32, frames: usize) -> Vec<i16> {
    let mut state = seed | 1;
    (0..frames * 2)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 16) as i16
        })
        .collect()
}

pub fn facts() -> SealFacts {
    SealFacts {
        ended_ms: NOW_MS + 60_000,
        ..SealFacts::default()
    }
}

/// One whole recording.
pub fn record(vault: &Vault, recording: Uuid, samples: &[i16]) -> Sealed {
    let mut live = begin(vault, recording);
    for frame in samples.chunks(320) {
        live.append(frame).unwrap();
    }
    live.finish().unwrap();
    vault.seal(recording, &facts()).unwrap()
}

pub fn wav_of(vault: &Vault, recording: Uuid) -> Vec<u8> {
    let mut bytes = Vec::new();
    vault
        .open_recording(recording)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The samples of a WAV, by hound's own reader.
pub fn samples_of(wav: &[u8]) -> Vec<i16> {
    let reader = hound::WavReader::new(wav).unwrap();
    assert_eq!(
        (reader.spec().sample_rate, reader.spec().bits_per_sample),
        (8000, 16)
    );
    reader.into_samples().map(Result::unwrap).collect()
}

/// Every regular file below a directory.
pub fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] })
        .collect()
}
