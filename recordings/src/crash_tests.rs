//! What every possible death of the machine leaves behind: tests only.
//!
//! A whole call is run again and again, each time with the machine dying before another act on the disk, once as a
//! killed process and once as a loss of power. Then the vault is opened anew and must hold what it promised.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::path::Path;

use tempfile::TempDir;
use uuid::Uuid;

use crate::crash;
use crate::{Begin, Result, RootKey, SealFacts, Vault, VaultConfig};

const NOW_MS: i64 = 1_795_472_520_000;
const PIECE: usize = 700;
const PIECES: usize = 8;

fn open(root: &Path) -> Result<Vault> {
    let config = VaultConfig {
        free_floor: 0,
        call_reserve: 0,
        ..VaultConfig::new(root.join("vault"), root.join("keys"))
    };
    Vault::open(config, RootKey::load(&root.join("root.key"))?)
}

fn recording() -> Uuid {
    Uuid::from_u128(1)
}

fn samples() -> Vec<i16> {
    (0..PIECE * PIECES * 2)
        .map(|i| (i * 7919) as i16 | 1)
        .collect()
}

fn facts() -> SealFacts {
    SealFacts {
        ended_ms: NOW_MS + 1000,
        expected_samples: Some((PIECE * PIECES) as u64),
        ..SealFacts::default()
    }
}

/// What the world outside saw before the machine died.
#[derive(Default)]
struct Seen {
    begun: bool,
    /// Samples per channel that were given to the vault.
    given: u64,
    /// Samples per channel given before the last sync that succeeded.
    synced: u64,
    finished: bool,
    sealed: bool,
}

/// One call from a new vault to its seal.
fn call(root: &Path, seen: &mut Seen) -> Result<()> {
    let vault = open(root)?;
    let mut live = vault.begin(&Begin {
        recording: recording(),
        call: Uuid::from_u128(2),
        segment: 0,
        client: "bank",
        created_ms: NOW_MS,
        sample_rate: 8000,
        channels: 2,
    })?;
    seen.begun = true;
    for (n, piece) in samples().chunks(PIECE * 2).enumerate() {
        live.append(piece)?;
        seen.given += PIECE as u64;
        if n % 3 == 2 {
            vault.sync_live()?;
            seen.synced = seen.given;
        }
    }
    live.finish()?;
    seen.finished = true;
    vault.seal(recording(), &facts())?;
    seen.sealed = true;
    Ok(())
}

fn wav(vault: &Vault) -> Vec<i16> {
    let mut bytes = Vec::new();
    vault
        .open_recording(recording())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    hound::WavReader::new(&bytes[..])
        .unwrap()
        .into_samples()
        .map(std::result::Result::unwrap)
        .collect()
}

/// Opens what is left and checks it against what was promised.
fn check(root: &Path, seen: &Seen, power_lost: bool, at: u64) {
    let vault = open(root).unwrap_or_else(|e| panic!("act {at}: {e}"));
    let recovery = vault.recover_with(|_| Some(facts())).unwrap();
    assert!(
        recovery.failed.is_empty(),
        "act {at}: {:?}",
        recovery.failed
    );
    assert!(vault.list_live().unwrap().is_empty(), "act {at}");
    if vault.list().unwrap().is_empty() {
        assert!(!seen.begun, "act {at}: the recording is gone");
        return;
    }
    let sealed = vault
        .verify(recording())
        .unwrap_or_else(|e| panic!("act {at}: {e}"));
    assert_eq!(sealed.facts.lost_durable_bytes, 0, "act {at}");
    // A segment holds 1,020 samples (the first 1,010): of what was given at most one unfinished segment may be missing,
    // with the power gone also what came after the last sync; of a finished call nothing.
    let promised = match (seen.finished, power_lost) {
        (true, _) => seen.given,
        (false, false) => seen.given.saturating_sub(1019),
        (false, true) => seen.synced.saturating_sub(1019),
    };
    assert!(
        sealed.samples() >= promised,
        "act {at}: {} of {promised}",
        sealed.samples()
    );
    let heard = wav(&vault);
    assert!(heard == samples()[..heard.len()], "act {at}: other audio");
    if seen.finished {
        assert!(sealed.facts.complete, "act {at}");
    }
    // Whatever happened, once more changes nothing.
    assert_eq!(vault.seal(recording(), &facts()).unwrap(), sealed);
    let again = vault.recover().unwrap();
    assert!(again.recovered.is_empty() && again.failed.is_empty());
    assert_eq!(sealed.facts.ended_ms, NOW_MS + 1000);
    let left = std::fs::read_dir(root.join("vault/sealed/2026/11"))
        .unwrap()
        .count();
    assert_eq!(left, 1, "act {at}: something lies beside the recording");
}

fn fresh() -> TempDir {
    // In memory where there is one: hundreds of vaults are synced here.
    let shm = Path::new("/dev/shm");
    let root = if shm.is_dir() {
        TempDir::new_in(shm)
    } else {
        TempDir::new()
    }
    .unwrap();
    RootKey::create(&root.path().join("root.key")).unwrap();
    root
}

#[test]
fn the_machine_may_die_before_any_act_of_a_call() {
    let root = fresh();
    let mut seen = Seen::default();
    let (done, acts) = crash::run(None, || call(root.path(), &mut seen));
    done.unwrap();
    assert!(acts > 40, "the seam counts: {acts}");
    check(root.path(), &seen, false, 0);
    for power_lost in [false, true] {
        // One more than there are: the power may also fail right after the last.
        for at in 1..=acts + 1 {
            let root = fresh();
            let mut seen = Seen::default();
            let (done, _) = crash::run(Some(at), || call(root.path(), &mut seen));
            assert_eq!(done.is_err(), at <= acts, "act {at} was survived");
            assert_eq!(seen.sealed, at > acts);
            if power_lost {
                crash::lose_power(root.path());
            }
            check(root.path(), &seen, power_lost, at);
        }
    }
}

#[test]
fn the_machine_may_die_again_at_any_act_of_the_recovery() {
    // A call that was killed in the middle, with a torn segment at its end.
    let root = fresh();
    let (_, whole) = crash::run(None, || call(root.path(), &mut Seen::default()));
    let middle = (1..whole)
        .find(|at| {
            let (root, mut seen) = (fresh(), Seen::default());
            let _ = crash::run(Some(*at), || call(root.path(), &mut seen));
            seen.given == (PIECE * 5) as u64
        })
        .unwrap();
    let left = |root: &Path| {
        let mut seen = Seen::default();
        let (done, _) = crash::run(Some(middle), || call(root, &mut seen));
        assert!(done.is_err() && seen.synced > 0 && !seen.finished);
        let live = root.join(format!("vault/live/{}.live", recording()));
        let mut bytes = std::fs::read(&live).unwrap();
        bytes.extend_from_slice(&[0xA5; 1000]);
        std::fs::write(&live, bytes).unwrap();
        seen
    };
    let recover = |root: &Path| -> Result<()> {
        let mut recovery = open(root)?.recover_with(|_| Some(facts()))?;
        match recovery.failed.pop() {
            Some((_, e)) => Err(e),
            None => Ok(()),
        }
    };
    let root = fresh();
    let seen = left(root.path());
    let (done, acts) = crash::run(None, || recover(root.path()));
    done.unwrap();
    assert!(acts > 8, "{acts}");
    check(root.path(), &seen, false, 0);
    for power_lost in [false, true] {
        for at in 1..=acts + 1 {
            let root = fresh();
            let seen = left(root.path());
            let (done, _) = crash::run(Some(at), || recover(root.path()));
            assert_eq!(done.is_err(), at <= acts, "act {at} was survived");
            if power_lost {
                crash::lose_power(root.path());
            }
            check(root.path(), &seen, false, at);
        }
    }
}

/// A call by somebody who goes on after every error, as the recorder does. Returns how many acts failed in his sight.
fn stubborn_call(root: &Path) -> (Vault, usize) {
    let mut errors = 0;
    let mut again = |done: Result<()>| {
        errors += usize::from(done.is_err());
        done.is_ok()
    };
    let vault = loop {
        match open(root) {
            Ok(vault) => break vault,
            Err(e) => drop(again(Err(e))),
        }
    };
    let begin = Begin {
        recording: recording(),
        call: Uuid::from_u128(2),
        segment: 0,
        client: "bank",
        created_ms: NOW_MS,
        sample_rate: 8000,
        channels: 2,
    };
    let mut live = loop {
        match vault.begin(&begin) {
            Ok(live) => break live,
            Err(e) => {
                again(Err(e));
                // Nothing is left of it that would stand in the way or look like a recording.
                assert!(vault.list_live().unwrap().is_empty());
            }
        }
    };
    for (n, piece) in samples().chunks(PIECE * 2).enumerate() {
        again(live.append(piece));
        if n % 3 == 2 {
            again(vault.sync_live().map(drop));
        }
    }
    for _ in 0..2 {
        if again(live.finish()) {
            break;
        }
    }
    drop(live);
    while !again(vault.seal(recording(), &facts()).map(drop)) {}
    (vault, errors)
}

#[test]
fn any_act_may_fail_once_and_the_recording_is_whole_all_the_same() {
    let root = fresh();
    let (_, acts) = crash::run(None, || stubborn_call(root.path()));
    let mut seen_by_caller = 0;
    for at in 1..=acts {
        let root = fresh();
        let (vault, errors) = crash::run_with_one_failure(at, || stubborn_call(root.path()));
        seen_by_caller += usize::from(errors > 0);
        let sealed = vault.verify(recording()).unwrap();
        assert_eq!(sealed.samples(), (PIECE * PIECES) as u64, "act {at}");
        assert!(
            sealed.facts.complete && sealed.facts.lost_durable_bytes == 0,
            "act {at}"
        );
        // What could not be written in its moment is silence in its place, and in the list; the rest is as it was said.
        let (heard, mut said) = (wav(&vault), samples());
        assert!(
            sealed.facts.gaps.list.len() <= 1 && sealed.facts.gaps.samples() <= PIECE as u64,
            "act {at}"
        );
        for gap in &sealed.facts.gaps.list {
            said[gap.start as usize * 2..(gap.start + gap.samples) as usize * 2].fill(0);
        }
        assert!(heard == said, "act {at}: other audio");
        assert!(vault.list_live().unwrap().is_empty());
        assert_eq!(vault.list().unwrap().len(), 1);
    }
    // Hardly anything fails unseen: only what is tidied up on the way.
    assert!(
        seen_by_caller as u64 >= acts - 3,
        "{seen_by_caller} of {acts}"
    );
}
