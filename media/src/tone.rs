//! Tones: what an agent hears while the customer's phone rings, a sine for tests and the self-check, Goertzel's filter
//! that finds a tone in a recording, and an ear for single samples that are missing or twice in one.

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

/// What a steady tone went through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steadiness {
    /// Samples in which it sounds without a pause, in whole steps of 10 ms.
    pub sounding: usize,
    /// Where a sample or more is missing or too much while it sounds, to within 20 ms; one place may be named three times.
    pub broken: Vec<usize>,
    /// Where it goes on after a pause (a lost packet, a hold) as if the pause had had another length.
    pub shifted: Vec<usize>,
}

/// One step of the ear, 10 ms: whole periods of every tone that is a multiple of 100 Hz, nearly so of the others.
const STEP: usize = 80;
/// Below this nothing sounds: -36 dB of full scale.
const AUDIBLE: u16 = 500;

/// Follows the phase of a steady tone of `hertz`, which turns by `360 * hertz / 8000` degrees for each sample that is
/// missing or too much. For tones from 300 to 1,000 Hz: of slower ones a sample is too small a part, of faster ones
/// whole periods hide in few samples.
pub fn steadiness(samples: &[i16], hertz: f64) -> Steadiness {
    let step = std::f64::consts::TAU * hertz / f64::from(SAMPLE_RATE);
    let mut found = Steadiness::default();
    // Phases of the last two steps, if the tone sounded without a pause, and of the last one at all.
    let (mut before_last, mut last, mut ever) = (None, None, None);
    for (index, window) in samples.chunks_exact(STEP).enumerate() {
        let at = index * STEP;
        if !sounds(window) {
            (before_last, last) = (None, None);
            continue;
        }
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (n, &sample) in window.iter().enumerate() {
            let (sine, cosine) = (step * (at + n) as f64).sin_cos();
            real += f64::from(sample) * cosine;
            imaginary -= f64::from(sample) * sine;
        }
        let phase = imaginary.atan2(real);
        found.sounding += STEP;
        // A break in the middle of the last step shows between its neighbours.
        if before_last
            .or(last)
            .is_some_and(|earlier| turned(phase - earlier) > step / 2.0)
        {
            found.broken.push(at);
        } else if last.is_none() && ever.is_some_and(|earlier| turned(phase - earlier) > step / 2.0)
        {
            found.shifted.push(at);
        }
        (before_last, last, ever) = (last, Some(phase), Some(phase));
    }
    found
}

/// True if there is no pause in it: every 2 ms, a period of 500 Hz, has a peak.
fn sounds(window: &[i16]) -> bool {
    window
        .chunks(16)
        .all(|part| part.iter().any(|sample| sample.unsigned_abs() > AUDIBLE))
}

/// The size of an angle, 0 to pi.
fn turned(angle: f64) -> f64 {
    let turns = angle.rem_euclid(std::f64::consts::TAU);
    turns.min(std::f64::consts::TAU - turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone as a telephone sends it.
    fn sent(hertz: f32, samples: usize) -> Vec<i16> {
        let mut tone = vec![0; samples];
        ToneSource::new(Tone::sine(hertz)).fill(&mut tone);
        for sample in &mut tone {
            *sample = crate::Codec::Pcma.decode(crate::Codec::Pcma.encode(*sample));
        }
        tone
    }

    #[test]
    fn a_tone_that_lacks_nothing_is_steady_and_may_pause() {
        for hertz in [300.0, 400.0, 440.0, 450.0, 500.0, 700.0, 850.0, 1_000.0] {
            let mut tone = sent(hertz, 40_000);
            for lost in [8_000, 8_160, 16_040, 24_113] {
                tone[lost..lost + 160].fill(0);
            }
            let ear = steadiness(&tone, hertz.into());
            assert_eq!((ear.broken, ear.shifted), (vec![], vec![]), "{hertz} Hz");
            assert!(ear.sounding > 38_000, "{hertz} Hz: {}", ear.sounding);
        }
        assert_eq!(steadiness(&[0; 8_000], 500.0), Steadiness::default());
    }

    #[test]
    fn a_single_sample_too_much_or_too_few_is_heard() {
        for hertz in [300.0, 400.0, 440.0, 450.0, 500.0, 700.0, 850.0, 1_000.0] {
            for at in [16_000, 16_001, 16_040, 16_079, 16_113] {
                let mut repeated = sent(hertz, 40_000);
                repeated.insert(at, repeated[at]);
                let mut dropped = sent(hertz, 40_000);
                dropped.remove(at);
                for tone in [repeated, dropped] {
                    let ear = steadiness(&tone, hertz.into());
                    assert!(!ear.broken.is_empty(), "{hertz} Hz at {at}");
                    assert!(
                        ear.broken.iter().all(|found| found.abs_diff(at) <= 160),
                        "{hertz} Hz at {at}: {:?}",
                        ear.broken
                    );
                    assert_eq!(ear.shifted, vec![]);
                }
            }
        }
    }

    #[test]
    fn a_sample_in_each_packet_for_six_tenths_of_a_second_is_heard_all_the_while() {
        let mut tone = sent(500.0, 40_000);
        for packet in (0..30).rev() {
            tone.insert(16_000 + packet * 160, 0);
        }
        let ear = steadiness(&tone, 500.0);
        assert!(ear.broken.len() >= 30, "{:?}", ear.broken);
    }

    #[test]
    fn a_pause_of_another_length_is_no_break_but_is_heard() {
        let mut tone = sent(500.0, 40_000);
        tone[16_000..16_160].fill(0);
        tone.remove(16_050);
        let ear = steadiness(&tone, 500.0);
        assert_eq!((ear.broken.len(), ear.shifted.len()), (0, 1));
    }

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
