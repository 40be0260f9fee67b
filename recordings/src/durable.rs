//! How far each live file is known to have reached the disk, kept where a crash cannot take it.
//!
//! After every round of `sync_live` the positions are written, alternately, into one of two small files beside the live
//! ones. Recovery reads the younger whole one: audio beyond its position was at risk, audio missing before it is a
//! fault of the disk. The ledger is only a measure; no decision about keeping audio hangs on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::disk;
use crate::error::Result;

const MAGIC: &[u8; 8] = b"RNGFDURA";
const ENTRY: usize = 24;
const LIMIT: u64 = 16 << 20;

/// The two ledger files of a vault.
pub(crate) struct Ledger {
    paths: [PathBuf; 2],
    sequence: u64,
    bytes: Vec<u8>,
}

impl Ledger {
    /// The ledger of the live directory; the positions that it holds come with it.
    pub(crate) fn open(live: &Path) -> (Self, HashMap<Uuid, u64>) {
        let paths = [live.join("durable.1"), live.join("durable.2")];
        // An unreadable ledger costs the measure, never audio.
        let youngest = paths
            .iter()
            .filter_map(|p| disk::read_small(p, LIMIT).ok())
            .filter_map(|bytes| parse(&bytes))
            .max_by_key(|(sequence, _)| *sequence);
        let (sequence, positions) = youngest.unwrap_or_default();
        (
            Self {
                paths,
                sequence,
                bytes: Vec::new(),
            },
            positions,
        )
    }

    /// Writes the positions of one round. They become durable with the next round at the latest; until then the other
    /// file holds lower ones, which are true as well.
    pub(crate) fn write(&mut self, positions: impl Iterator<Item = (Uuid, u64)>) -> Result<()> {
        self.sequence += 1;
        self.bytes.clear();
        self.bytes.extend_from_slice(MAGIC);
        self.bytes.extend_from_slice(&self.sequence.to_be_bytes());
        for (recording, position) in positions {
            self.bytes.extend_from_slice(recording.as_bytes());
            self.bytes.extend_from_slice(&position.to_be_bytes());
        }
        let sum = digest(&SHA256, &self.bytes);
        self.bytes.extend_from_slice(sum.as_ref());
        let path = &self.paths[usize::from(self.sequence.is_multiple_of(2))];
        let file = disk::create_or_empty(path)?;
        disk::write_at(&file, path, &self.bytes, 0)
    }
}

fn parse(bytes: &[u8]) -> Option<(u64, HashMap<Uuid, u64>)> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if digest(&SHA256, body).as_ref() != sum {
        return None;
    }
    let (sequence, entries) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return None;
    }
    let positions = entries.iter().filter_map(|entry| {
        let (id, position) = entry.split_first_chunk::<16>()?;
        Some((
            Uuid::from_bytes(*id),
            u64::from_be_bytes(position.try_into().ok()?),
        ))
    });
    Some((u64::from_be_bytes(*sequence), positions.collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_younger_whole_ledger_counts() {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let (mut ledger, none) = Ledger::open(dir.path());
        assert!(none.is_empty());
        for position in [4096, 8192, 12_288] {
            ledger.write([(id, position)].into_iter()).unwrap();
        }
        assert_eq!(Ledger::open(dir.path()).1[&id], 12_288);
        // The third round is in the first file; cut it: the second round is still there.
        let third = dir.path().join("durable.1");
        let bytes = std::fs::read(&third).unwrap();
        for cut in 0..bytes.len() {
            std::fs::write(&third, &bytes[..cut]).unwrap();
            assert_eq!(Ledger::open(dir.path()).1[&id], 8192, "cut at {cut}");
        }
    }
}
