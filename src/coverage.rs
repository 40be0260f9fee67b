//! The coverage ledger: what a sealed recording says about itself, as its row keeps it, and what is wrong with it.
//!
//! Coverage is accounted time over answered time. Time is accounted for when the vault holds what arrived: audio, or the
//! silence that the network left. What our own queues or disk lost is not.

use ringfence_recordings::{GapKind, Sealed};

use crate::store::recordings::Seal;

/// A recording shorter than this is not judged by what is heard on it, in milliseconds.
const JUDGED_FROM_MS: u64 = 3_000;
/// How much a recording may fall short of the answered time: one packet each at the bridge and the hang-up.
const TOLERANCE_MS: u64 = 40;

/// Something wrong with a recording; the words of the metric and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// No audio at all although the call was answered.
    Empty,
    /// Nothing is heard on either side.
    Silent,
    /// Only one side is heard.
    OneSided,
    /// Less than the answered time is accounted for.
    Short,
    /// The disk lost what it had confirmed.
    DurableLost,
}

impl Alarm {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Silent => "silent",
            Self::OneSided => "one_sided",
            Self::Short => "short",
            Self::DurableLost => "durable_lost",
        }
    }
}

/// The row of a sealed recording. `sealed_at_ms` is now.
pub fn row(sealed: &Sealed, started_at_ms: Option<i64>, sealed_at_ms: i64) -> Seal {
    let facts = &sealed.facts;
    let rate = u64::from(sealed.manifest.sample_rate.max(1));
    let ms = |samples: u64| samples.saturating_mul(1_000) / rate;
    let expected = facts.expected_samples.unwrap_or(facts.samples);
    let lost = facts.overflow_samples
        + facts.gaps.samples_of(GapKind::NotWritten)
        + facts.gaps.samples_of(GapKind::Damaged)
        + facts.gaps.omitted_samples;
    let covered = facts.samples.min(expected).saturating_sub(lost);
    Seal {
        recovered: facts.recovered,
        started_at_ms,
        ended_at_ms: facts.ended_ms,
        sealed_at_ms,
        samples: facts.samples,
        duration_ms: ms(facts.samples),
        expected_ms: ms(expected),
        covered_ms: ms(covered),
        bytes: sealed.file_bytes,
        wav_sha256: facts.wav_sha256.to_string(),
        analysis: serde_json::json!({
            "channels": facts.channels,
            "filled_samples": facts.filled_samples,
            "overflow_samples": facts.overflow_samples,
            "complete": facts.complete,
            "torn_bytes": facts.torn_bytes,
        })
        .to_string(),
        gaps: serde_json::json!(facts.gaps).to_string(),
        retain_until_ms: facts.retain_until_ms,
    }
}

/// Coverage from 0 to 1; a call without answered time is covered.
pub fn share(row: &Seal) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of a call are far below 2^52"
    )]
    match row.expected_ms {
        0 => 1.0,
        expected => row.covered_ms.min(expected) as f64 / expected as f64,
    }
}

/// Everything wrong with a sealed recording.
pub fn alarms(sealed: &Sealed, row: &Seal) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if sealed.facts.lost_durable_bytes > 0 {
        alarms.push(Alarm::DurableLost);
    }
    if row.covered_ms + TOLERANCE_MS < row.expected_ms {
        alarms.push(Alarm::Short);
    }
    if row.samples == 0 && row.expected_ms > TOLERANCE_MS {
        alarms.push(Alarm::Empty);
    } else if row.duration_ms >= JUDGED_FROM_MS {
        if sealed.facts.is_silent() {
            alarms.push(Alarm::Silent);
        } else if sealed.facts.one_sided().is_some() {
            alarms.push(Alarm::OneSided);
        }
    }
    alarms
}

/// Raises them where operators look.
pub fn raise(sealed: &Sealed, alarms: &[Alarm]) {
    for alarm in alarms {
        tracing::warn!(recording = %sealed.recording(), alarm = alarm.as_str(), "a recording is not as it should be");
        metrics::counter!("ringfence_recording_alarms_total", "kind" => alarm.as_str())
            .increment(1);
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
