//! Tones: files to play, and an ear (Goertzel) to find them again.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes a raw A-law file of 8 kHz with a sine of `hz` for `seconds`, by sox (a coder that is not ours).
pub fn alaw_file(dir: &Path, hz: u32, seconds: u32) -> PathBuf {
    let path = dir.join(format!("tone-{hz}-{seconds}.al"));
    if !path.exists() {
        let status = Command::new("sox")
            .args(["-n", "-r", "8000", "-c", "1", "-e", "a-law", "-t", "raw"])
            .arg(&path)
            .args([
                "synth",
                &seconds.to_string(),
                "sine",
                &hz.to_string(),
                "gain",
                "-6",
            ])
            .status()
            .expect("cannot start sox; scripts/peers installs it");
        assert!(status.success(), "sox could not make a tone");
    }
    path
}

/// Writes a mono PCM16 WAV of 8 kHz with a sine of `hz` for `seconds`.
pub fn wav_file(dir: &Path, hz: u32, seconds: u32) -> PathBuf {
    let path = dir.join(format!("tone-{hz}-{seconds}.wav"));
    if !path.exists() {
        let status = Command::new("sox")
            .args(["-n", "-r", "8000", "-c", "1", "-b", "16"])
            .arg(&path)
            .args([
                "synth",
                &seconds.to_string(),
                "sine",
                &hz.to_string(),
                "gain",
                "-6",
            ])
            .status()
            .expect("cannot start sox; scripts/peers installs it");
        assert!(status.success(), "sox could not make a tone");
    }
    path
}

/// Reads a PCM16 WAV: its sample rate and one vector of samples a channel.
///
/// # Panics
/// If it is none, or cut short.
pub fn read_wav(path: &Path) -> (u32, Vec<Vec<i16>>) {
    let mut reader =
        hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = reader.spec();
    let mut channels = vec![Vec::new(); usize::from(spec.channels)];
    for (index, sample) in reader.samples::<i16>().enumerate() {
        channels[index % usize::from(spec.channels)]
            .push(sample.expect("the WAV is shorter than it says"));
    }
    (spec.sample_rate, channels)
}

/// Share of the energy of `samples` that is a sine of `hz`: 1.0 is that sine and nothing else, 0.0 none of it.
/// Silence has no tone in it: 0.0.
pub fn share(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    // Below a mean square of 1 (one step of PCM16) there is nothing to hear.
    if samples.is_empty() || energy < samples.len() as f64 {
        return 0.0;
    }
    let omega = 2.0 * std::f64::consts::PI * hz / f64::from(rate);
    let coefficient = 2.0 * omega.cos();
    let (mut one, mut two) = (0.0_f64, 0.0_f64);
    for &sample in samples {
        let now = f64::from(sample) + coefficient * one - two;
        two = one;
        one = now;
    }
    let power = one * one + two * two - coefficient * one * two;
    (2.0 * power / (samples.len() as f64 * energy)).min(1.0)
}

/// `samples` without the silence before and after: a PBX that answers waits up to half a second for the other side's audio
/// before it sends its own, and a party that has hung up sends none until we know it.
pub fn sounding(samples: &[i16]) -> &[i16] {
    let sounds = |sample: &i16| sample.unsigned_abs() >= 16;
    let from = samples.iter().position(sounds).unwrap_or(samples.len());
    let to = samples
        .iter()
        .rposition(sounds)
        .map_or(from, |last| last + 1);
    &samples[from..to]
}

/// Whether `samples` are mostly a tone of `hz`: heard in 100 ms windows, in at least `fraction` of them.
///
/// Windows make the ear indifferent to a phase jump where a packet was lost, which would cancel the tone over the whole.
pub fn heard(samples: &[i16], rate: u32, hz: f64, fraction: f64) -> bool {
    fraction_heard(samples, rate, hz) >= fraction
}

/// In which share of the 100 ms windows a tone of `hz` makes up at least 0.8 of the energy.
pub fn fraction_heard(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let windows: Vec<&[i16]> = samples.chunks_exact((rate / 10) as usize).collect();
    if windows.is_empty() {
        return 0.0;
    }
    let with_tone = windows
        .iter()
        .filter(|window| share(window, rate, hz) > 0.8)
        .count();
    with_tone as f64 / windows.len() as f64
}
