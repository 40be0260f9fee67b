//! A full disk, a killed process, a very long call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;
use ringfence_recordings::{GapKind, RootKey, SealFacts, Vault, VaultConfig, VaultError};

/// This test binary again, to run one test in a world of its own, told by an environment variable where.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("RINGFENCE_TEST_DIR", dir);
    command
}

fn world() -> Option<PathBuf> {
    std::env::var_os("RINGFENCE_TEST_DIR").map(PathBuf::from)
}

fn open(dir: &Path) -> Vault {
    let config = VaultConfig {
        free_floor: 0,
        call_reserve: 0,
        ..VaultConfig::new(dir.join("vault"), dir.join("keys"))
    };
    Vault::open(config, RootKey::load(&dir.join("root.key")).unwrap()).unwrap()
}

#[test]
fn a_full_disk_loses_nothing_written_and_goes_on_when_there_is_room() {
    let Some(disk) = world() else {
        // Outside: a mount namespace with a disk of 256 KiB, as root or as root of a user namespace.
        let place = Place::new();
        let disk = place.root.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let this = child(
            "a_full_disk_loses_nothing_written_and_goes_on_when_there_is_room",
            &disk,
        );
        let root = rustix::process::geteuid().is_root();
        let output = Command::new("unshare")
            .args(if root {
                &["--mount"][..]
            } else {
                &["--user", "--map-root-user", "--mount"]
            })
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o size=256k none \"$RINGFENCE_TEST_DIR\" && exec \"$@\"")
            .arg("sh")
            .arg(this.get_program())
            .args(this.get_args())
            .env("RINGFENCE_TEST_DIR", &disk)
            .output()
            .expect("this test needs `unshare` of util-linux");
        let told = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}\nremedy: run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        );
        return;
    };
    RootKey::create(&disk.join("root.key")).unwrap();
    let vault = open(&disk);
    let ballast = |bytes: usize| std::fs::write(disk.join("ballast"), vec![1; bytes]);
    let samples = audio(1, 1010 + 1020 * 11);
    let piece = 1020 * 2;
    let mut live = begin(&vault, id(1));
    live.append(&samples[..2020 + piece]).unwrap();
    vault.sync_live().unwrap();
    // The disk fills up under a call that is up.
    assert!(ballast(1 << 20).is_err());
    let error = live
        .append(&samples[2020 + piece..2020 + 2 * piece])
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, VaultError::DiskFull { .. }) && error.is_full(),
        "{text}"
    );
    assert!(
        text.contains("/vault/live/")
            && text.contains("Free space")
            && text.contains("nothing written"),
        "{text}"
    );
    // That segment waits; what comes meanwhile is owed.
    live.append(&samples[2020 + 2 * piece..2020 + 5 * piece])
        .unwrap_err();
    // No new call, said before anything is made.
    let error = vault.probe().unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(vault.begin(&begin_of(id(2))).unwrap_err().is_full());
    assert_eq!(vault.list_live().unwrap(), [id(1)]);
    // Finishing waits as well, and so does the seal.
    live.finish().unwrap_err();
    std::fs::remove_file(disk.join("ballast")).unwrap();
    live.append(&samples[2020 + 5 * piece..]).unwrap();
    live.finish().unwrap();
    assert!(ballast(1 << 20).is_err());
    assert!(vault.seal(id(1), &facts()).unwrap_err().is_full());
    assert_eq!(vault.list_live().unwrap(), [id(1)]);
    assert_eq!(
        files(&vault.dir().join("sealed")),
        [] as [PathBuf; 0],
        "a half sealed file keeps its room"
    );
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let sealed = vault.seal(id(1), &facts()).unwrap();
    let gap = sealed.facts.gaps.list[0];
    assert_eq!(
        (gap.kind, gap.start, gap.samples),
        (GapKind::NotWritten, 1010 + 2 * 1020, 3 * 1020)
    );
    assert!(sealed.facts.complete && sealed.facts.gaps.list.len() == 1);
    let heard = samples_of(&wav_of(&vault, id(1)));
    let (from, to) = (2020 + 2 * piece, 2020 + 5 * piece);
    assert!(heard[..from] == samples[..from] && heard[to..] == samples[to..]);
    assert!(heard[from..to].iter().all(|s| *s == 0));
    // Room for the calls that are up is kept from new ones.
    let config = VaultConfig {
        call_reserve: 100 << 10,
        ..VaultConfig {
            free_floor: 0,
            ..VaultConfig::new(disk.join("vault"), disk.join("keys"))
        }
    };
    drop((live, vault));
    let vault = Vault::open(config, RootKey::load(&disk.join("root.key")).unwrap()).unwrap();
    let _up = begin(&vault, id(3));
    let error = vault.begin(&begin_of(id(4))).unwrap_err();
    assert!(
        matches!(
            error,
            VaultError::NoRoom {
                needed: 208_896,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_killed_process_loses_at_most_the_unfinished_segment() {
    if let Some(dir) = world() {
        let vault = open(&dir);
        let mut live = begin(&vault, id(1));
        let samples = audio(1, 160 * 4000);
        for (n, frame) in samples.chunks(320).enumerate() {
            live.append(frame).unwrap();
            if n % 25 == 24 {
                vault.sync_live().unwrap();
            }
            println!("\nappended {}", live.samples());
        }
        // Waits to be killed; ends by itself if the parent is gone.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    for kill_at in [1, 160 * 3, 160 * 57, 160 * 1234] {
        let place = Place::new();
        let mut running = child(
            "a_killed_process_loses_at_most_the_unfinished_segment",
            place.root.path(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let mut seen = 0;
        for line in BufReader::new(running.stdout.take().unwrap()).lines() {
            if let Some(n) = line.unwrap().strip_prefix("appended ") {
                seen = n.parse().unwrap();
            }
            if seen >= kill_at {
                break;
            }
        }
        running.kill().unwrap(); // SIGKILL
        running.wait().unwrap();
        let vault = place.open();
        let recovery = vault.recover().unwrap();
        let [recovered] = &recovery.recovered[..] else {
            panic!("{:?}", recovery.failed)
        };
        let facts = &recovered.sealed.facts;
        assert!(facts.recovered && !facts.complete && facts.lost_durable_bytes == 0);
        assert!(facts.samples + 1020 > seen, "{} of {seen}", facts.samples);
        let heard = samples_of(&wav_of(&vault, id(1)));
        assert!(heard == audio(1, 160 * 4000)[..heard.len()]);
        // Its end is the last write to its file, so the retention counts from no earlier time than the truth.
        let played = facts.samples as i64 / 8;
        assert!(facts.ended_ms >= NOW_MS + played);
        vault.verify(id(1)).unwrap();
    }
}

/// The greatest memory this process has held so far, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_call_of_two_hours_is_sealed_in_constant_memory() {
    // In a process of its own, because the peak is that of a process.
    let Some(dir) = world() else {
        let place = Place::new();
        let output = child(
            "a_call_of_two_hours_is_sealed_in_constant_memory",
            place.root.path(),
        )
        .output()
        .unwrap();
        std::io::stderr().write_all(&output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    };
    let vault = open(&dir);
    let second = audio(5, 8000);
    let record = |recording, seconds: u64| {
        let mut live = begin(&vault, recording);
        (0..seconds).for_each(|_| live.append(&second).unwrap());
        live.finish().unwrap();
        vault
            .seal(
                recording,
                &SealFacts {
                    ended_ms: NOW_MS + seconds as i64 * 1000,
                    ..facts()
                },
            )
            .unwrap()
    };
    record(id(1), 10);
    let before = peak_kb();
    let started = std::time::Instant::now();
    let sealed = record(id(2), 7200);
    let grown = peak_kb() - before;
    println!(
        "two hours recorded and sealed in {:?}, peak memory grew by {grown} kB",
        started.elapsed()
    );
    assert!(grown < 1024, "{grown} kB");
    assert_eq!(sealed.duration().as_secs(), 7200);
    // Any second of it is at hand without the others.
    let mut reader = vault.open_recording(id(2)).unwrap();
    let mut heard = vec![0; 32_000];
    let mut filled = 0;
    while filled < heard.len() {
        filled += reader
            .read_at(44 + 7000 * 32_000 + filled as u64, &mut heard[filled..])
            .unwrap();
    }
    let expected: Vec<u8> = second.iter().flat_map(|s| s.to_le_bytes()).collect();
    assert!(heard == expected);
    assert!(peak_kb() - before < 2048);
}
