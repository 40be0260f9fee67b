//! The WAV inside a sealed recording: its header, made by `hound`, with the true length in it; and the check of a WAV
//! that comes from elsewhere.

use std::io::Read;

use hound::{SampleFormat, WavReader as Hound, WavSpec};

use crate::error::{Result, VaultError};

/// Length of the header of a 16-bit PCM WAV, in bytes.
pub const WAV_HEADER_LEN: usize = 44;
/// The most PCM bytes a WAV can hold, whole stereo frames only: its sizes are 32-bit.
pub const WAV_DATA_MAX: u64 = (u32::MAX as u64 - WAV_HEADER_LEN as u64) & !3;

/// Form and length of a WAV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavInfo {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Samples per channel.
    pub samples: u64,
}

/// The 44 bytes in front of `data_len` bytes of 16-bit PCM.
///
/// # Errors
/// [`VaultError::NotWav`] if that is longer than a WAV can be, or no whole number of samples.
pub fn header(sample_rate: u32, channels: u8, data_len: u64) -> Result<[u8; WAV_HEADER_LEN]> {
    let not = |detail: &str| VaultError::NotWav {
        detail: detail.into(),
    };
    let frame = u64::from(channels) * 2;
    if frame == 0 || !data_len.is_multiple_of(frame) {
        return Err(not("its audio is no whole number of samples"));
    }
    let data = u32::try_from(data_len)
        .ok()
        .filter(|_| data_len <= WAV_DATA_MAX)
        .ok_or_else(|| not("too long"))?;
    let spec = WavSpec {
        channels: channels.into(),
        sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    // hound's header for a file of unknown length, whose two lengths are then made true.
    let made = spec.into_header_for_infinite_file();
    let mut out: [u8; WAV_HEADER_LEN] = made
        .try_into()
        .map_err(|_| not("its header is not that of plain 16-bit PCM"))?;
    out[4..8].copy_from_slice(&(data + WAV_HEADER_LEN as u32 - 8).to_le_bytes());
    out[40..44].copy_from_slice(&data.to_le_bytes());
    Ok(out)
}

/// Reads the header of a WAV with 16-bit PCM samples, this vault's or another's.
///
/// # Errors
/// [`VaultError::NotWav`] saying what it is instead.
pub fn inspect(from: impl Read) -> Result<WavInfo> {
    let reader = Hound::new(from).map_err(|e| VaultError::NotWav {
        detail: e.to_string(),
    })?;
    let spec = reader.spec();
    let not = |detail: String| Err(VaultError::NotWav { detail });
    if spec.sample_format != SampleFormat::Int || spec.bits_per_sample != 16 {
        return not(format!(
            "it has {}-bit {:?} samples",
            spec.bits_per_sample, spec.sample_format
        ));
    }
    match u8::try_from(spec.channels) {
        Ok(channels @ 1..) => Ok(WavInfo {
            sample_rate: spec.sample_rate,
            channels,
            samples: u64::from(reader.duration()),
        }),
        _ => not(format!("it has {} channels", spec.channels)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn by_hound(rate: u32, channels: u8, samples: &[i16]) -> Vec<u8> {
        let mut out = std::io::Cursor::new(Vec::new());
        let spec = WavSpec {
            channels: channels.into(),
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
        samples
            .iter()
            .for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        out.into_inner()
    }

    #[test]
    fn our_header_is_the_one_hound_writes_for_the_same_audio() {
        for (rate, channels, count) in [
            (8000, 2, 0usize),
            (8000, 2, 2000),
            (16_000, 1, 777),
            (48_000, 2, 2),
        ] {
            let samples: Vec<i16> = (0..count).map(|i| i as i16).collect();
            let whole = by_hound(rate, channels, &samples);
            assert_eq!(
                header(rate, channels, count as u64 * 2).unwrap(),
                whole[..WAV_HEADER_LEN]
            );
            let info = inspect(&whole[..]).unwrap();
            assert_eq!(
                info,
                WavInfo {
                    sample_rate: rate,
                    channels,
                    samples: count as u64 / u64::from(channels)
                }
            );
        }
    }

    #[test]
    fn a_wav_that_is_none_is_refused_with_its_reason() {
        let mut float = by_hound(8000, 2, &[0; 8]);
        float[20] = 3; // IEEE float
        let good = by_hound(8000, 2, &[1; 100]);
        let bad: [(&str, &[u8]); 5] = [
            ("empty", b""),
            ("an MP3", b"ID3\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
            (
                "a page of HTML",
                b"<!doctype html><html><head></head><body>404</body></html>",
            ),
            ("a header cut off", &good[..30]),
            ("a float WAV", &float),
        ];
        for (what, bytes) in bad {
            let text = inspect(bytes).expect_err(what).to_string();
            assert!(
                text.starts_with("no usable WAV: ") && text.contains("16-bit PCM"),
                "{what}: {text}"
            );
        }
    }

    #[test]
    fn what_no_wav_can_hold_is_refused() {
        assert!(header(8000, 2, WAV_DATA_MAX).is_ok());
        assert!(header(8000, 2, WAV_DATA_MAX + 4).is_err());
        assert!(header(8000, 2, 6).is_err());
        assert!(header(8000, 0, 0).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), at in 0usize..44
        ) {
            let mut bytes = by_hound(8000, 2, &[1; 20]);
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            let _ = inspect(&bytes[..]);
            let _ = inspect(&noise[..]);
        }

        #[test]
        fn no_single_field_makes_the_reader_panic(at in 0usize..44, value: u8, second in 0usize..44, other: u8) {
            let mut bytes = by_hound(8000, 2, &[1; 20]);
            bytes[at] = value;
            bytes[second] = other;
            let _ = inspect(&bytes[..]);
        }
    }
}
