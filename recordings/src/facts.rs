//! What is known about a recording once it is sealed, and what the caller adds to it.
//!
//! The facts stand encrypted and authenticated in the manifest page of the sealed file, so that they hold without any
//! database. Times are milliseconds UTC since 1970, audio is counted in samples per channel.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::analysis::ChannelAnalysis;
use crate::manifest::Manifest;
use crate::retention::Retention;

/// Why the audio at some place is silence that nobody spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapKind {
    /// Recording was paused on purpose (card numbers).
    Paused,
    /// The vault could not take it in time, for example because its disk was full.
    NotWritten,
    /// It was written, but could not be read back authentic when the recording was sealed.
    Damaged,
}

/// A stretch of silence that the vault put in place of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Why.
    pub kind: GapKind,
    /// Where it begins, in samples per channel from the start.
    pub start: u64,
    /// How long it is, in samples per channel.
    pub samples: u64,
}

/// An ordered list of gaps, bounded: what does not fit is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaps {
    /// The first gaps, by start, at most [`Gaps::MAX`].
    pub list: Vec<Gap>,
    /// Gaps beyond those in the list.
    pub omitted: u64,
    /// Samples per channel in the gaps beyond those in the list.
    pub omitted_samples: u64,
}

impl Gaps {
    /// How many gaps are kept with their position.
    pub const MAX: usize = 24;

    pub(crate) fn new() -> Self {
        Self {
            list: Vec::with_capacity(Self::MAX),
            ..Self::default()
        }
    }

    /// Adds a stretch; one that continues the last of the same kind makes it longer. Never allocates.
    pub(crate) fn add(&mut self, kind: GapKind, start: u64, samples: u64) {
        if samples == 0 {
            return;
        }
        let room = self.list.len() < Self::MAX;
        match self.list.last_mut() {
            Some(last)
                if self.omitted == 0 && last.kind == kind && last.start + last.samples == start =>
            {
                last.samples += samples;
            }
            _ if room => self.list.push(Gap {
                kind,
                start,
                samples,
            }),
            _ => {
                self.omitted += 1;
                self.omitted_samples += samples;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Gaps) {
        let mut all: Vec<Gap> = self.list.iter().chain(&other.list).copied().collect();
        all.sort_by_key(|g| g.start);
        self.omitted += other.omitted;
        self.omitted_samples += other.omitted_samples;
        for gap in all.drain(Self::MAX.min(all.len())..) {
            self.omitted += 1;
            self.omitted_samples += gap.samples;
        }
        self.list = all;
    }

    /// Samples per channel in all gaps of one kind; the gaps beyond the list have lost their kind and count for none.
    pub fn samples_of(&self, kind: GapKind) -> u64 {
        self.list
            .iter()
            .filter(|g| g.kind == kind)
            .map(|g| g.samples)
            .sum()
    }

    /// Samples per channel in all gaps.
    pub fn samples(&self) -> u64 {
        self.list.iter().map(|g| g.samples).sum::<u64>() + self.omitted_samples
    }
}

/// What the caller of the seal knows about the call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealFacts {
    /// When the call ended; retention counts from here.
    pub ended_ms: i64,
    /// When the customer answered, if known.
    pub answered_ms: Option<i64>,
    /// How many samples per channel there should be, from answer to hang-up by the monotonic clock.
    pub expected_samples: Option<u64>,
    /// Per channel, samples of silence that the tap put in place of lost or late packets.
    pub filled_samples: [u64; 2],
    /// Samples per channel that the tap could not hand over because its queue was full.
    pub overflow_samples: u64,
    /// A retention longer than the vault's own; the longer of the two counts.
    pub retention: Option<Retention>,
}

/// SHA-256 of the plaintext WAV.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WavDigest(pub [u8; 32]);

impl fmt::Display for WavDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for WavDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for WavDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WavDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let mut out = [0; 32];
        let pairs = text.as_bytes().as_chunks::<2>();
        if pairs.0.len() != out.len() || !pairs.1.is_empty() {
            return Err(D::Error::custom("a SHA-256 has 64 hexadecimal digits"));
        }
        for (byte, pair) in out.iter_mut().zip(pairs.0) {
            let digit = |c: u8| {
                char::from(c)
                    .to_digit(16)
                    .ok_or_else(|| D::Error::custom("no hexadecimal digit"))
            };
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8; // two digits below 16
        }
        Ok(Self(out))
    }
}

/// The facts of a sealed recording, as they stand in its manifest page (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Facts {
    /// When the call ended.
    pub ended_ms: i64,
    /// When the customer answered, if that was known at seal.
    pub answered_ms: Option<i64>,
    /// Nothing may delete the recording before this instant.
    pub retain_until_ms: i64,
    /// Samples per channel.
    pub samples: u64,
    /// Samples per channel that the call should have given, if that was known at seal.
    pub expected_samples: Option<u64>,
    /// Length of the WAV, in bytes.
    pub wav_bytes: u64,
    /// SHA-256 of the WAV.
    pub wav_sha256: WavDigest,
    /// Sealed at start from what a crash had left.
    pub recovered: bool,
    /// The live file had its last segment: nothing is missing at the end.
    pub complete: bool,
    /// Bytes of a torn segment dropped at the end of the live file.
    pub torn_bytes: u64,
    /// Audio that had been made durable and was not there any more, in bytes: the disk did not keep what it had
    /// confirmed. Anything but 0 is an alarm.
    pub lost_durable_bytes: u64,
    /// Per channel, what is to be heard.
    pub channels: Vec<ChannelAnalysis>,
    /// Silence that the vault put in place of audio.
    pub gaps: Gaps,
    /// Per channel, samples of silence that the tap put in place of lost or late packets.
    pub filled_samples: [u64; 2],
    /// Samples per channel that the tap could not hand over because its queue was full.
    pub overflow_samples: u64,
}

impl Facts {
    /// Whether nothing is to be heard on any channel.
    pub fn is_silent(&self) -> bool {
        self.channels.iter().all(|c| !c.is_heard())
    }

    /// With two channels of which only one is heard: that one (0 agent, 1 customer).
    pub fn one_sided(&self) -> Option<u8> {
        match self.channels.as_slice() {
            [agent, customer] if agent.is_heard() != customer.is_heard() => {
                Some(u8::from(customer.is_heard()))
            }
            _ => None,
        }
    }
}

/// A sealed recording.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// Who and what it is.
    pub manifest: Manifest,
    /// What is known about it.
    pub facts: Facts,
    /// The file.
    pub path: PathBuf,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
}

impl Sealed {
    /// The recording's id.
    pub fn recording(&self) -> Uuid {
        self.manifest.recording
    }

    /// Samples per channel.
    pub fn samples(&self) -> u64 {
        self.facts.samples
    }

    /// How long it plays.
    pub fn duration(&self) -> Duration {
        let rate = u64::from(self.manifest.sample_rate).max(1);
        let samples = self.facts.samples;
        Duration::from_secs(samples / rate)
            + Duration::from_nanos(samples % rate * 1_000_000_000 / rate)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::manifest::FACTS_MAX;

    #[test]
    fn the_longest_facts_fit_in_the_page_and_come_back() {
        let most = u64::MAX;
        let channel = ChannelAnalysis {
            peak: u16::MAX,
            rms: u16::MAX,
            sound_ms: most,
            silence_ms: most,
            longest_silence_ms: most,
            empty_ms: most,
        };
        let gap = Gap {
            kind: GapKind::NotWritten,
            start: most,
            samples: most,
        };
        let facts = Facts {
            ended_ms: i64::MIN,
            answered_ms: Some(i64::MIN),
            retain_until_ms: i64::MIN,
            samples: most,
            expected_samples: Some(most),
            wav_bytes: most,
            wav_sha256: WavDigest([0xAB; 32]),
            recovered: false,
            complete: false,
            torn_bytes: most,
            lost_durable_bytes: most,
            channels: vec![channel; 2],
            gaps: Gaps {
                list: vec![gap; Gaps::MAX],
                omitted: most,
                omitted_samples: most,
            },
            filled_samples: [most; 2],
            overflow_samples: most,
        };
        let json = serde_json::to_vec(&facts).unwrap();
        assert!(json.len() <= FACTS_MAX, "{} of {FACTS_MAX}", json.len());
        assert_eq!(serde_json::from_slice::<Facts>(&json).unwrap(), facts);
        let unknown = [&json[..json.len() - 1], b",\"more\":1}"].concat();
        assert!(serde_json::from_slice::<Facts>(&unknown).is_err());
    }

    #[test]
    fn gaps_grow_together_and_are_bounded() {
        let mut gaps = Gaps::new();
        gaps.add(GapKind::Paused, 0, 160);
        gaps.add(GapKind::Paused, 160, 160);
        gaps.add(GapKind::NotWritten, 320, 0);
        gaps.add(GapKind::NotWritten, 320, 10);
        assert_eq!(gaps.list.len(), 2);
        assert_eq!(
            (gaps.list[0].samples, gaps.samples_of(GapKind::NotWritten)),
            (320, 10)
        );
        let capacity = gaps.list.capacity();
        for n in 0..100 {
            gaps.add(GapKind::Damaged, 1000 + n * 10, 1);
        }
        assert_eq!(
            (gaps.list.len(), gaps.list.capacity()),
            (Gaps::MAX, capacity)
        );
        assert_eq!(
            (gaps.omitted, gaps.samples()),
            (102 - Gaps::MAX as u64, 430)
        );
        let mut other = Gaps::new();
        other.add(GapKind::Paused, 5, 7);
        gaps.merge(&other);
        assert_eq!(
            (gaps.list[1].start, gaps.list.len(), gaps.samples()),
            (5, Gaps::MAX, 437)
        );
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits_and_nothing_else() {
        let digest = WavDigest(std::array::from_fn(|i| i as u8 * 7));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json.len(), 66);
        assert_eq!(serde_json::from_str::<WavDigest>(&json).unwrap(), digest);
        for bad in [
            "",
            "00",
            &"g".repeat(64),
            &"0".repeat(63),
            &"0".repeat(66),
            "\u{e9}",
        ] {
            assert!(serde_json::from_str::<WavDigest>(&format!("\"{bad}\"")).is_err());
        }
    }
}
