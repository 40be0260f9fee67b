//! Tones: what an agent hears while the customer's phone rings, a sine for tests and the self-check, and Goertzel's
//! filter that finds a tone in a recording.

use std::time::Duration;

use crate::SAMPLE_RATE;

/// A cadenced tone of one or two frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tone {
    /// Frequencies in hertz; a second of 0 means one frequency.
    pub hertz: [f32; 2],
    /// Level of the whole tone in dBm0; a full-scale sine is about +3.
    pub level_dbm0: f32,
    /// Sounding time of the cadence.
    pub on: Duration,
    /// Pause of the cadence; zero: it never pauses.
    pub off: Duration,
}

impl Tone {
    /// Ringback as Chinese networks send it (YD/T 1522.3: 450 Hz, 1 s on, 4 s off).
    pub const RINGBACK: Self = Self {
        hertz: [450.0, 0.0],
        level_dbm0: -13.0,
        on: Duration::from_secs(1),
        off: Duration::from_secs(4),
    };
    /// Busy (450 Hz, 350 ms on, 350 ms off).
    pub const BUSY: Self = Self {
        hertz: [450.0, 0.0],
        level_dbm0: -13.0,
        on: Duration::from_millis(350),
        off: Duration::from_millis(350),
    };

    /// A steady sine for tests and the self-check.
    pub const fn sine(hertz: f32) -> Self {
        Self {
            hertz: [hertz, 0.0],
            level_dbm0: -10.0,
            on: Duration::from_secs(1),
            off: Duration::ZERO,
        }
    }
}

/// Makes the samples of a tone, any number at a time, without allocation.
#[derive(Debug, Clone)]
pub struct ToneSource {
    step: [f64; 2],
    phase: [f64; 2],
    amplitude: f64,
    on: u64,
    period: u64,
    position: u64,
}

/// Amplitude of a sine at 0 dBm0 in 16-bit PCM (ITU-T G.711: full scale is +3.14 dBm0 for A-law).
const ZERO_DBM0: f64 = 32_767.0 / 1.435_489_433;

impl ToneSource {
    /// A source at the start of the tone's cadence.
    pub fn new(tone: Tone) -> Self {
        let samples = |time: Duration| {
            (time.as_micros() as u64).saturating_mul(u64::from(SAMPLE_RATE)) / 1_000_000
        };
        let (on, off) = (samples(tone.on).max(1), samples(tone.off));
        let voices = if tone.hertz[1] > 0.0 { 2.0 } else { 1.0 };
        let level = 10_f64.powf(f64::from(tone.level_dbm0) / 20.0);
        Self {
            step: tone
                .hertz
                .map(|hertz| f64::from(hertz) / f64::from(SAMPLE_RATE)),
            phase: [0.0; 2],
            amplitude: (ZERO_DBM0 * level / f64::sqrt(voices)).min(32_767.0 / voices),
            on,
            period: on + off,
            position: 0,
        }
    }

    /// The next sample.
    pub fn next_sample(&mut self) -> i16 {
        let sounding = self.position % self.period < self.on;
        self.position += 1;
        let mut sum = 0.0;
        for (phase, step) in self.phase.iter_mut().zip(self.step) {
            if step > 0.0 {
                sum += (*phase * std::f64::consts::TAU).sin();
                *phase = (*phase + step).fract();
            }
        }
        if sounding {
            (sum * self.amplitude) as i16
        } else {
            0
        }
    }

    /// Fills `samples`.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            *sample = self.next_sample();
        }
    }

    /// Fills `payload` with code words.
    pub fn fill_g711(&mut self, codec: crate::Codec, payload: &mut [u8]) {
        for code in payload {
            *code = codec.encode(self.next_sample());
        }
    }
}

/// Share of the signal's power that lies at `hertz`, 0 to 1, by Goertzel's filter. A pure tone at that frequency gives
/// nearly 1, other tones and silence nearly 0. Use at least 100 ms of samples at 8 kHz.
pub fn goertzel(samples: &[i16], hertz: f64) -> f64 {
    let count = samples.len() as f64;
    let coefficient = 2.0 * (std::f64::consts::TAU * hertz / f64::from(SAMPLE_RATE)).cos();
    let (mut s1, mut s2, mut power) = (0.0_f64, 0.0_f64, 0.0_f64);
    for &sample in samples {
        let value = f64::from(sample);
        let s0 = value + coefficient * s1 - s2;
        s2 = s1;
        s1 = s0;
        power += value * value;
    }
    if power <= count {
        return 0.0; // below one step of the sample: silence
    }
    let at_tone = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    (2.0 * at_tone / (count * power)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_found_at_its_frequency_and_nowhere_else() {
        let mut samples = [0; 1_600];
        ToneSource::new(Tone::sine(440.0)).fill(&mut samples);
        assert!(goertzel(&samples, 440.0) > 0.99);
        for other in [300.0, 400.0, 480.0, 880.0, 1_000.0] {
            assert!(goertzel(&samples, other) < 0.01, "{other} Hz");
        }
        assert_eq!(goertzel(&[0; 800], 440.0), 0.0);
    }

    #[test]
    fn the_level_is_what_was_asked_for() {
        let mut samples = [0; 8_000];
        ToneSource::new(Tone {
            level_dbm0: -10.0,
            ..Tone::sine(1_000.0)
        })
        .fill(&mut samples);
        let power: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / 8_000.0;
        let dbm0 = 10.0 * (2.0 * power / ZERO_DBM0.powi(2)).log10();
        assert!((dbm0 + 10.0).abs() < 0.1, "{dbm0}");
    }

    #[test]
    fn the_cadence_pauses() {
        let mut source = ToneSource::new(Tone::RINGBACK);
        let mut second = [0; 8_000];
        source.fill(&mut second);
        assert!(goertzel(&second, 450.0) > 0.99);
        for _ in 0..4 {
            source.fill(&mut second);
            assert!(second.iter().all(|&s| s == 0));
        }
        source.fill(&mut second);
        assert!(goertzel(&second, 450.0) > 0.99);
    }

    #[test]
    fn two_frequencies_sound_together_within_full_scale() {
        let mut samples = [0; 4_000];
        ToneSource::new(Tone {
            hertz: [440.0, 480.0],
            level_dbm0: 3.0,
            ..Tone::sine(0.0)
        })
        .fill(&mut samples);
        assert!((goertzel(&samples, 440.0) - 0.5).abs() < 0.02);
        assert!((goertzel(&samples, 480.0) - 0.5).abs() < 0.02);
    }
}
