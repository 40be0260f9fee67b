//! What is to be heard on each channel, measured while a recording is sealed.
//!
//! Windows of 20 ms: one whose RMS lies below -50 dBFS is silent. Telephone speech stands at -35 to -15 dBFS, the idle
//! noise of a G.711 line at -70 to -60. Integers throughout, so that two runs give the same figures.

use serde::{Deserialize, Serialize};

/// Length of a window, in milliseconds.
const WINDOW_MS: u64 = 20;
/// RMS below which a window is silent, in sample units: -50 dBFS.
const SILENT_RMS: u64 = 104;
/// Sound on a channel, in milliseconds, from which on it counts as heard.
const HEARD_MS: u64 = 200;

/// The figures of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelAnalysis {
    /// Greatest absolute sample value, 0 to 32,768.
    pub peak: u16,
    /// RMS over the whole recording, in sample units, 0 to 32,768.
    pub rms: u16,
    /// Time above the silence threshold of -50 dBFS, in milliseconds.
    pub sound_ms: u64,
    /// Time below it, in milliseconds.
    pub silence_ms: u64,
    /// The longest silence at a stretch, in milliseconds.
    pub longest_silence_ms: u64,
    /// Time in which every sample is exactly zero (nothing arrived, or it was paused), in milliseconds.
    pub empty_ms: u64,
}

impl ChannelAnalysis {
    /// Whether anything was heard: at least 200 ms of sound.
    pub fn is_heard(&self) -> bool {
        self.sound_ms >= HEARD_MS
    }

    /// Level in decibels relative to full scale, -96 for silence.
    pub fn level_dbfs(&self) -> f64 {
        if self.rms == 0 {
            -96.0
        } else {
            20.0 * (f64::from(self.rms) / 32_768.0).log10()
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Running {
    peak: u16,
    squares: u128,
    window_squares: u64,
    sound: u64,
    silence: u64,
    run: u64,
    longest: u64,
    empty: u64,
}

impl Running {
    fn close_window(&mut self, samples: u64) {
        if samples == 0 {
            return;
        }
        self.squares += u128::from(self.window_squares);
        if self.window_squares == 0 {
            self.empty += samples;
        }
        if self.window_squares < SILENT_RMS * SILENT_RMS * samples {
            self.silence += samples;
            self.run += samples;
            self.longest = self.longest.max(self.run);
        } else {
            self.sound += samples;
            self.run = 0;
        }
        self.window_squares = 0;
    }
}

/// Collects the figures of up to two channels in constant memory.
pub(crate) struct Analyser {
    channels: [Running; 2],
    count: usize,
    rate: u64,
    window: u64,
    in_window: u64,
    samples: u64,
}

impl Analyser {
    pub(crate) fn new(sample_rate: u32, channels: u8) -> Self {
        let rate = u64::from(sample_rate).max(1);
        Self {
            channels: Default::default(),
            count: usize::from(channels).clamp(1, 2),
            rate,
            window: (rate * WINDOW_MS / 1000).max(1),
            in_window: 0,
            samples: 0,
        }
    }

    /// Adds interleaved little-endian 16-bit PCM, whole frames.
    pub(crate) fn add(&mut self, pcm: &[u8]) {
        for frame in pcm.chunks_exact(2 * self.count) {
            for (channel, sample) in self.channels.iter_mut().zip(frame.as_chunks::<2>().0) {
                let value = i16::from_le_bytes(*sample).unsigned_abs();
                channel.peak = channel.peak.max(value);
                channel.window_squares += u64::from(value) * u64::from(value);
            }
            self.in_window += 1;
            if self.in_window == self.window {
                self.close_window();
            }
        }
    }

    fn close_window(&mut self) {
        for channel in &mut self.channels {
            channel.close_window(self.in_window);
        }
        self.samples += self.in_window;
        self.in_window = 0;
    }

    /// The figures of each channel.
    pub(crate) fn finish(mut self) -> Vec<ChannelAnalysis> {
        self.close_window();
        let ms = |samples: u64| samples * 1000 / self.rate;
        let samples = u128::from(self.samples.max(1));
        self.channels
            .iter()
            .take(self.count)
            .map(|c| ChannelAnalysis {
                peak: c.peak,
                rms: u16::try_from((c.squares / samples).isqrt()).unwrap_or(u16::MAX),
                sound_ms: ms(c.sound),
                silence_ms: ms(c.silence),
                longest_silence_ms: ms(c.longest),
                empty_ms: ms(c.empty),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn pcm(samples: impl Iterator<Item = (i16, i16)>) -> Vec<u8> {
        samples
            .flat_map(|(l, r)| [l.to_le_bytes(), r.to_le_bytes()].concat())
            .collect()
    }

    #[test]
    fn a_tone_on_the_left_and_nothing_on_the_right_is_told_apart() {
        let tone = |i: u32| (f64::from(i) * 0.4).sin() * 8000.0;
        let bytes = pcm((0..16_000).map(|i| (tone(i) as i16, 0)));
        let mut analyser = Analyser::new(8000, 2);
        // Pieces of odd frame counts: the windows must not depend on how the audio arrives.
        bytes.chunks(4 * 333).for_each(|c| analyser.add(c));
        let [left, right] = analyser.finish().try_into().unwrap();
        assert_eq!(
            (left.sound_ms, left.silence_ms, left.empty_ms),
            (2000, 0, 0)
        );
        assert!(
            (left.level_dbfs() + 15.3).abs() < 0.2,
            "{}",
            left.level_dbfs()
        );
        assert!((7990..=8000).contains(&left.peak));
        assert_eq!(
            (
                right.sound_ms,
                right.silence_ms,
                right.longest_silence_ms,
                right.empty_ms
            ),
            (0, 2000, 2000, 2000)
        );
        assert!(left.is_heard() && !right.is_heard());
    }

    #[test]
    fn line_noise_is_silence_but_not_empty_and_full_scale_does_not_overflow() {
        let mut analyser = Analyser::new(8000, 2);
        analyser.add(&pcm(
            (0..8000).map(|i| (if i % 2 == 0 { 20 } else { -20 }, i16::MIN))
        ));
        let [left, right] = analyser.finish().try_into().unwrap();
        assert_eq!((left.silence_ms, left.empty_ms, left.rms), (1000, 0, 20));
        assert_eq!(
            (right.sound_ms, right.peak, right.rms),
            (1000, 32_768, 32_768)
        );
    }

    #[test]
    fn the_longest_silence_is_found_between_two_words() {
        let mut analyser = Analyser::new(8000, 1);
        let word = |n: usize| {
            std::iter::repeat_n(5000i16.to_le_bytes(), n)
                .flatten()
                .collect::<Vec<u8>>()
        };
        analyser.add(&word(1600));
        analyser.add(&vec![0; 2 * 2400]);
        analyser.add(&word(1600));
        analyser.add(&vec![0; 2 * 800]);
        let [only] = analyser.finish().try_into().unwrap();
        assert_eq!(
            (only.sound_ms, only.silence_ms, only.longest_silence_ms),
            (400, 400, 300)
        );
    }

    #[test]
    fn no_audio_gives_zeros() {
        assert_eq!(
            Analyser::new(8000, 2).finish(),
            vec![ChannelAnalysis::default(); 2]
        );
    }
}
