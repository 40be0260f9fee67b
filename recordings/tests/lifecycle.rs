//! A recording from its first sample to the listener's ear.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use common::*;
use ringfence_recordings::{GapKind, Retention, SealFacts, Vault, VaultError};

#[test]
fn a_call_comes_back_as_the_exact_wav_of_what_was_said() {
    let place = Place::new();
    let vault = place.open();
    // Around the borders of first and later segments, and none at all.
    for (n, frames) in [
        0,
        1,
        999,
        1009,
        1010,
        1011,
        2029,
        2030,
        2031,
        8000,
        1010 + 1020 * 7,
    ]
    .into_iter()
    .enumerate()
    {
        let samples = audio(7, frames);
        let sealed = record(&vault, id(n as u128), &samples);
        assert_eq!(sealed.samples(), frames as u64);
        assert_eq!(
            sealed.duration(),
            Duration::from_micros(frames as u64 * 125)
        );
        assert!(sealed.facts.complete && !sealed.facts.recovered);
        let wav = wav_of(&vault, id(n as u128));
        assert_eq!(wav.len() as u64, sealed.facts.wav_bytes);
        assert!(samples_of(&wav) == samples, "{frames} frames");
        assert_eq!(
            sealed.file_bytes,
            place.sealed_file(id(n as u128)).metadata().unwrap().len()
        );
        assert_eq!(vault.verify(id(n as u128)).unwrap(), sealed);
        assert_eq!(vault.describe(id(n as u128)).unwrap(), sealed);
    }
    assert_eq!(vault.list().unwrap().len(), 11);
    assert!(vault.list_live().unwrap().is_empty());
    assert!(vault.verify_all().unwrap().all(|v| v.result.is_ok()));
}

#[test]
fn what_is_known_about_the_call_is_written_at_seal() {
    let place = Place::new();
    let vault = place.open();
    let mut live = begin(&vault, id(1));
    // The agent speaks, the customer says nothing.
    let one_sided: Vec<i16> = (0..16_000)
        .flat_map(|i| [(((i as f64) * 0.3).sin() * 9000.0) as i16, 0])
        .collect();
    live.append(&one_sided).unwrap();
    live.finish().unwrap();
    let given = SealFacts {
        ended_ms: NOW_MS + 5000,
        answered_ms: Some(NOW_MS + 3000),
        expected_samples: Some(16_000),
        filled_samples: [160, 16_000],
        overflow_samples: 3,
        retention: Some(Retention::years(5).unwrap()),
    };
    let sealed = vault.seal(id(1), &given).unwrap();
    let facts = &sealed.facts;
    assert_eq!((facts.one_sided(), facts.is_silent()), (Some(0), false));
    assert_eq!(facts.channels[1].empty_ms, 2000);
    assert_eq!(
        (facts.answered_ms, facts.expected_samples),
        (given.answered_ms, Some(16_000))
    );
    assert_eq!(
        (facts.filled_samples, facts.overflow_samples),
        ([160, 16_000], 3)
    );
    // 2026-11-23T22:22:05Z plus five years.
    assert_eq!(facts.retain_until_ms, 1_953_238_925_000);
    assert_eq!(sealed.manifest.client, "bank-1");
    assert_eq!(sealed.manifest.created_ms, NOW_MS);
}

#[test]
fn the_retention_is_never_shorter_than_the_vaults_own() {
    let place = Place::new();
    let config = ringfence_recordings::VaultConfig {
        retention: Retention::years(3).unwrap(),
        ..place.config()
    };
    let vault = Vault::open(config, place.key()).unwrap();
    let mut live = begin(&vault, id(1));
    live.append(&audio(1, 160)).unwrap();
    live.finish().unwrap();
    let shorter = SealFacts {
        retention: Some(Retention::default()),
        ..facts()
    };
    let sealed = vault.seal(id(1), &shorter).unwrap();
    let years = (sealed.facts.retain_until_ms - sealed.facts.ended_ms) / 86_400_000;
    assert_eq!(years, 3 * 365 + 1); // 2028 is a leap year
}

#[test]
fn sealing_twice_gives_the_first_result_again() {
    let place = Place::new();
    let vault = place.open();
    let first = record(&vault, id(1), &audio(3, 5000));
    let other = SealFacts {
        ended_ms: NOW_MS + 999_000,
        ..SealFacts::default()
    };
    assert_eq!(vault.seal(id(1), &other).unwrap(), first);
    assert!(matches!(
        vault.seal(id(2), &other),
        Err(VaultError::NotFound(_))
    ));
}

#[test]
fn nothing_is_sealed_or_heard_while_it_is_written() {
    let place = Place::new();
    let vault = place.open();
    let mut live = begin(&vault, id(1));
    live.append(&audio(1, 2000)).unwrap();
    assert!(matches!(
        vault.seal(id(1), &facts()),
        Err(VaultError::StillLive(_))
    ));
    assert!(matches!(
        vault.open_recording(id(1)),
        Err(VaultError::StillLive(_))
    ));
    assert!(vault.recover().unwrap().recovered.is_empty());
    assert!(matches!(
        vault.begin(&begin_of(id(1))),
        Err(VaultError::AlreadyExists(_))
    ));
    live.finish().unwrap();
    assert!(live.append(&[0, 0]).is_err());
    live.finish().unwrap();
    vault.seal(id(1), &facts()).unwrap();
    assert!(matches!(
        vault.begin(&begin_of(id(1))),
        Err(VaultError::AlreadyExists(_))
    ));
}

#[test]
fn an_unanswered_call_leaves_nothing_but_audio_is_never_abandoned() {
    let place = Place::new();
    let vault = place.open();
    begin(&vault, id(1)).abandon().unwrap();
    assert!(!place.live_file(id(1)).exists());
    assert!(matches!(
        vault.seal(id(1), &facts()),
        Err(VaultError::NotFound(_))
    ));
    let mut live = begin(&vault, id(2));
    live.append(&audio(2, 160)).unwrap();
    assert!(live.abandon().is_err());
    assert!(place.live_file(id(2)).exists());
}

#[test]
fn a_pause_is_silence_on_an_unbroken_timeline() {
    let place = Place::new();
    let vault = place.open();
    let mut live = begin(&vault, id(1));
    let samples = audio(5, 9000);
    live.append(&samples[..4000]).unwrap();
    live.pause();
    assert!(live.is_paused());
    live.append(&samples[4000..10_000]).unwrap();
    live.append(&samples[10_000..12_000]).unwrap();
    live.resume();
    live.append(&samples[12_000..]).unwrap();
    live.finish().unwrap();
    let sealed = vault.seal(id(1), &facts()).unwrap();
    let heard = samples_of(&wav_of(&vault, id(1)));
    assert!(heard[..4000] == samples[..4000]);
    assert!(heard[4000..12_000].iter().all(|s| *s == 0));
    assert!(heard[12_000..] == samples[12_000..]);
    let [gap] = sealed.facts.gaps.list[..] else {
        panic!("{:?}", sealed.facts.gaps)
    };
    assert_eq!(
        (gap.kind, gap.start, gap.samples),
        (GapKind::Paused, 2000, 4000)
    );
}

#[test]
fn any_position_reads_as_in_one_go() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(11, 20_000));
    let whole = wav_of(&vault, id(1));
    let mut reader = vault.open_recording(id(1)).unwrap();
    assert_eq!(reader.len(), whole.len() as u64);
    let mut state = 12345u64;
    for _ in 0..2000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let from = (state >> 33) as usize % (whole.len() + 10);
        let len = (state >> 20) as usize % 9000;
        let end = (from + len).min(whole.len());
        let mut piece = vec![0; end.saturating_sub(from)];
        reader.seek(SeekFrom::Start(from as u64)).unwrap();
        reader.read_exact(&mut piece).unwrap();
        assert!(piece == whole[from.min(end)..end], "{from}+{len}");
    }
    let mut tail = Vec::new();
    assert_eq!(
        reader.seek(SeekFrom::End(-7)).unwrap(),
        whole.len() as u64 - 7
    );
    reader.read_to_end(&mut tail).unwrap();
    assert_eq!(tail, whole[whole.len() - 7..]);
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    assert!(reader.seek(SeekFrom::Current(-1_000_000)).is_err());
}

#[test]
fn two_hundred_calls_at_once_do_not_mix() {
    let place = Place::new();
    let vault = place.open();
    let mut calls: Vec<_> = (0..200)
        .map(|n| (begin(&vault, id(n)), audio(n as u32 * 2 + 1, 3000)))
        .collect();
    for from in (0..6000).step_by(320) {
        for (live, samples) in &mut calls {
            live.append(&samples[from..(from + 320).min(6000)]).unwrap();
        }
    }
    let synced = vault.sync_live().unwrap();
    assert_eq!((synced.files, synced.bytes), (200, 200 * 2 * 4096));
    assert_eq!(vault.sync_live().unwrap().files, 0);
    assert_eq!(vault.probe().unwrap().live, 200);
    std::thread::scope(|scope| {
        for chunk in calls.chunks_mut(50) {
            let vault = vault.clone();
            scope.spawn(move || {
                for (live, samples) in chunk {
                    live.finish().unwrap();
                    let recording = live.recording();
                    vault.seal(recording, &facts()).unwrap();
                    assert!(samples_of(&wav_of(&vault, recording)) == *samples);
                }
            });
        }
    });
    assert_eq!(vault.probe().unwrap().live, 0);
    assert_eq!(vault.list().unwrap().len(), 200);
}

#[test]
fn one_process_writes_while_others_read() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000));
    let second = Vault::open(place.config(), place.key()).unwrap_err();
    assert!(matches!(second, VaultError::Locked { .. }), "{second}");
    let reader = Vault::open_read_only(place.config(), place.key()).unwrap();
    assert_eq!(wav_of(&reader, id(1)), wav_of(&vault, id(1)));
    assert!(matches!(
        reader.begin(&begin_of(id(2))),
        Err(VaultError::ReadOnly { .. })
    ));
    assert!(matches!(
        reader.seal(id(1), &facts()),
        Err(VaultError::ReadOnly { .. })
    ));
    assert!(matches!(reader.recover(), Err(VaultError::ReadOnly { .. })));
    assert!(matches!(reader.probe(), Err(VaultError::ReadOnly { .. })));
    drop(vault);
    place.open();
}

#[test]
fn files_and_directories_belong_to_the_daemon_alone() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000));
    let _live = begin(&vault, id(2));
    for file in files(&place.dir()).into_iter().chain(files(&place.keys())) {
        if !file.ends_with("lock") {
            assert_eq!(
                file.metadata().unwrap().mode() & 0o777,
                0o600,
                "{}",
                file.display()
            );
        }
        let dir = file.parent().unwrap();
        assert_eq!(
            dir.metadata().unwrap().mode() & 0o777,
            0o700,
            "{}",
            dir.display()
        );
    }
}

#[test]
fn no_byte_of_audio_lies_in_the_clear_at_any_time() {
    let place = Place::new();
    let vault = place.open();
    // A pattern that would be found wherever it stood, even across sample alignment.
    let samples = [0x5A17, 0x3C2B].repeat(6000);
    let needle: Vec<u8> = samples[..8]
        .iter()
        .flat_map(|s: &i16| s.to_le_bytes())
        .collect();
    let clear = || {
        let all = files(place.root.path());
        all.iter().any(|f| {
            std::fs::read(f)
                .unwrap()
                .windows(needle.len())
                .any(|w| w == needle)
        })
    };
    let mut live = begin(&vault, id(1));
    for piece in samples.chunks(500) {
        live.append(piece).unwrap();
        assert!(!clear());
    }
    live.finish().unwrap();
    assert!(!clear());
    vault.seal(id(1), &facts()).unwrap();
    assert!(!clear());
    assert!(samples_of(&wav_of(&vault, id(1))) == samples);
}

#[test]
fn what_cannot_be_recorded_is_refused_before_a_file_is_made() {
    let place = Place::new();
    let vault = place.open();
    let good = begin_of(id(1));
    let long = "x".repeat(65);
    for (bad, field) in [
        (
            ringfence_recordings::Begin {
                client: "",
                ..good.clone()
            },
            "client",
        ),
        (
            ringfence_recordings::Begin {
                client: &long,
                ..good.clone()
            },
            "client",
        ),
        (
            ringfence_recordings::Begin {
                client: "a\nb",
                ..good.clone()
            },
            "client",
        ),
        (
            ringfence_recordings::Begin {
                channels: 3,
                ..good.clone()
            },
            "channels",
        ),
        (
            ringfence_recordings::Begin {
                sample_rate: 11_025,
                ..good.clone()
            },
            "sample rate",
        ),
        (
            ringfence_recordings::Begin {
                created_ms: -1,
                ..good.clone()
            },
            "time",
        ),
        (
            ringfence_recordings::Begin {
                recording: uuid::Uuid::nil(),
                ..good.clone()
            },
            "id",
        ),
    ] {
        let error = vault.begin(&bad).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    assert!(vault.list_live().unwrap().is_empty());
    let mut live = vault
        .begin(&ringfence_recordings::Begin {
            client: "../委托方 1",
            ..good
        })
        .unwrap();
    assert!(live.append(&[1, 2, 3]).is_err(), "half a frame");
    live.append(&[1, 2]).unwrap();
    live.finish().unwrap();
    assert_eq!(
        vault.seal(id(1), &facts()).unwrap().manifest.client,
        "../委托方 1"
    );
    assert!(
        files(place.root.path())
            .iter()
            .all(|f| f.starts_with(place.root.path()))
    );
}

#[test]
fn a_recording_may_move_between_threads() {
    fn movable<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    movable::<ringfence_recordings::Live>();
    movable::<ringfence_recordings::WavReader>();
    shared::<Vault>();
}

#[test]
fn each_client_and_month_has_a_key_of_its_own() {
    const DECEMBER_MS: i64 = NOW_MS + 30 * 86_400_000;
    let place = Place::new();
    let vault = place.open();
    let recorded = [
        (id(1), "bank-1", NOW_MS),
        (id(2), "bank-1", NOW_MS + 1),
        (id(3), "bank-2", NOW_MS),
        (id(4), "bank-1", DECEMBER_MS),
    ];
    // Which key files came with which recording.
    let mut seen: Vec<std::path::PathBuf> = Vec::new();
    let mut made = Vec::new();
    for (recording, client, created_ms) in recorded {
        let begin = ringfence_recordings::Begin {
            client,
            created_ms,
            ..begin_of(recording)
        };
        let mut live = vault.begin(&begin).unwrap();
        live.append(&audio(7, 2_000)).unwrap();
        live.finish().unwrap();
        let ended = SealFacts {
            ended_ms: created_ms + 60_000,
            ..facts()
        };
        vault.seal(recording, &ended).unwrap();
        let mut new: Vec<_> = files(&place.keys())
            .into_iter()
            .filter(|file| file.extension().is_some_and(|kind| kind == "key"))
            .filter(|file| !seen.contains(file))
            .collect();
        seen.append(&mut new.clone());
        new.sort();
        made.push(new);
    }
    drop(vault);
    let counts: Vec<usize> = made.iter().map(Vec::len).collect();
    assert_eq!(counts, [2, 0, 2, 2], "two copies of each new key: {made:?}");
    // What is shredded with one key is gone, and nothing else is.
    for file in &made[2] {
        std::fs::remove_file(file).unwrap();
    }
    let vault = place.open();
    for (recording, client, _) in recorded {
        let opened = vault.verify(recording);
        assert_eq!(
            opened.is_ok(),
            client == "bank-1",
            "{recording}: {opened:?}"
        );
    }
    let error = vault.verify(id(3)).unwrap_err();
    assert!(
        matches!(&error, ringfence_recordings::VaultError::MonthKeyMissing { client, .. } if client == "bank-2"),
        "{error}"
    );
}
