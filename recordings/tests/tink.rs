//! A stranger opens our recordings: Google's implementation of the stream, and nothing of ours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::*;

/// Where downloads are kept from run to run: never inside the checkout.
fn cache() -> PathBuf {
    match std::env::var_os("RINGFENCE_CACHE") {
        Some(dir) => dir.into(),
        None => {
            PathBuf::from(std::env::var_os("HOME").expect("HOME or RINGFENCE_CACHE must be set"))
                .join(".cache/ringfence")
        }
    }
}

fn run(command: &mut Command, remedy: &str) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}\nremedy: {remedy}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{}\nremedy: {remedy}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A Python that has `tink`, made once and kept in the cache.
fn python() -> PathBuf {
    let venv = cache().join("venv-tink");
    let python = venv.join("bin/python");
    let has_tink = |python: &Path| {
        Command::new(python)
            .args(["-c", "import tink.streaming_aead"])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if has_tink(&python) {
        return python;
    }
    std::fs::create_dir_all(cache()).unwrap();
    // Made under a name of its own and renamed: two runs at once do not meet half a one. Its scripts name the old path,
    // so the interpreter is called, never they.
    let fresh = cache().join(format!("venv-tink.{}", std::process::id()));
    let remedy = "install Python 3 with venv (Debian: apt-get install python3-venv)";
    run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&fresh),
        remedy,
    );
    let remedy = "this test needs the package `tink` from PyPI: let pip reach its index, or fill the cache directory \
                  (RINGFENCE_CACHE, by default ~/.cache/ringfence) on a machine that can";
    run(
        Command::new(fresh.join("bin/python")).args(["-m", "pip", "install", "--quiet", "tink"]),
        remedy,
    );
    if !has_tink(&python) {
        let _ = std::fs::remove_dir_all(&venv);
        let _ = std::fs::rename(&fresh, &venv);
    }
    let _ = std::fs::remove_dir_all(&fresh);
    assert!(
        has_tink(&python),
        "{} has no tink; remove that directory and try again",
        venv.display()
    );
    python
}

#[test]
fn tink_opens_what_we_sealed_and_hears_the_same_wav() {
    let python = python();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_with_tink.py");
    let place = Place::new();
    let vault = place.open();
    // None, one segment, a full first segment (4,040 bytes with the WAV header of 44), one byte pair beyond, many.
    for (n, frames) in [0, 500, 999, 1000, 999 + 1020, 1000 + 1020, 40_000]
        .into_iter()
        .enumerate()
    {
        let recording = id(n as u128);
        record(&vault, recording, &audio(n as u32 + 1, frames));
        let output = run(
            Command::new(&python).arg(&script).args([
                place.key_path(),
                place.keys(),
                place.sealed_file(recording),
            ]),
            "the format and docs/recording-format.md have drifted apart",
        );
        assert!(
            output.stdout == wav_of(&vault, recording),
            "{frames} frames: another WAV"
        );
        let facts: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(facts["samples"], frames);
        assert_eq!(
            facts["retain_until_ms"],
            vault.describe(recording).unwrap().facts.retain_until_ms
        );
    }
    // It can tell right from wrong as well: one flipped bit and nothing is heard.
    let path = place.sealed_file(id(6));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new(&python)
        .arg(&script)
        .args([place.key_path(), place.keys(), path])
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}
