//! Proving that a sealed recording is whole: every byte read, every segment authenticated, the digest compared.

use ring::digest::{Context, SHA256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Region, Result, VaultError};
use crate::facts::Sealed;
use crate::reader::WavReader;
use crate::stream::SEGMENT_LEN;
use crate::vault::Vault;
use crate::wav::{WAV_HEADER_LEN, header};

/// What [`Vault::verify_all`] found in one file.
#[derive(Debug)]
pub struct Verdict {
    /// The recording.
    pub recording: Uuid,
    /// What it is, or what is wrong with it.
    pub result: Result<Sealed>,
}

impl Vault {
    /// Reads the whole recording and checks everything that can be checked: the page, the length, every segment, the
    /// WAV header, and the digest written at seal.
    ///
    /// # Errors
    /// As [`Vault::open_recording`]; damage is named with its region.
    pub fn verify(&self, recording: Uuid) -> Result<Sealed> {
        verify(self.open_recording(recording)?)
    }

    /// Verifies every sealed recording, oldest month first, one at a time as the iterator is driven.
    ///
    /// # Errors
    /// Only if the directory cannot be listed; what is wrong with a file stands in its verdict.
    pub fn verify_all(&self) -> Result<impl Iterator<Item = Verdict> + use<>> {
        let vault = self.clone();
        Ok(self.list()?.into_iter().map(move |listed| {
            let recording = listed.recording;
            // By path, not by id: a second copy in another month must be looked at as well.
            let result = WavReader::open(&listed.path, &vault.inner.keys).and_then(|reader| {
                if reader.sealed().recording() == recording {
                    return verify(reader);
                }
                let detail = format!(
                    "it holds recording {} under another one's name",
                    reader.sealed().recording()
                );
                Err(VaultError::Damaged {
                    path: listed.path,
                    region: Region::Manifest,
                    detail,
                })
            });
            Verdict { recording, result }
        }))
    }
}

pub(crate) fn verify(mut reader: WavReader) -> Result<Sealed> {
    let mut context = Context::new(&SHA256);
    let mut buffer = Zeroizing::new([0; SEGMENT_LEN]);
    let mut position = 0;
    loop {
        let n = reader.read_at(position, &mut buffer[..])?;
        let read = buffer.get(..n).unwrap_or_default();
        if position == 0 {
            check_header(&reader, read)?;
        }
        if n == 0 {
            break;
        }
        context.update(read);
        position += n as u64;
    }
    let sealed = reader.sealed();
    if position != sealed.facts.wav_bytes || context.finish().as_ref() != sealed.facts.wav_sha256.0
    {
        return Err(VaultError::Damaged {
            path: sealed.path.clone(),
            region: Region::Digest,
            detail: "the audio is not the one that was sealed".into(),
        });
    }
    Ok(sealed.clone())
}

fn check_header(reader: &WavReader, start: &[u8]) -> Result<()> {
    let sealed = reader.sealed();
    let manifest = &sealed.manifest;
    let expected = header(
        manifest.sample_rate,
        manifest.channels,
        sealed.facts.wav_bytes - WAV_HEADER_LEN as u64,
    )?;
    if start.get(..WAV_HEADER_LEN) == Some(&expected[..]) {
        return Ok(());
    }
    Err(VaultError::Damaged {
        path: sealed.path.clone(),
        region: Region::WavHeader,
        detail: "it does not fit the manifest".into(),
    })
}
