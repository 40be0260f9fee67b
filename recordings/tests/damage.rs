//! Damage, tampering, wrong and lost keys: each is told for what it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;

use common::*;
use ringfence_recordings::{GapKind, Region, RootKey, Vault, VaultError};

fn flip(path: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

/// The region that verification names for a sealed file.
fn region(vault: &Vault) -> Option<Region> {
    let one = vault.verify(id(1)).map_err(|e| match e {
        VaultError::Damaged { region, .. } | VaultError::Altered { region, .. } => Some(region),
        _ => None,
    });
    // Both ways of asking agree.
    let all: Vec<_> = vault.verify_all().unwrap().collect();
    assert_eq!(
        all.iter().filter(|v| v.result.is_err()).count(),
        usize::from(one.is_err())
    );
    one.err().flatten()
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_file_is_found_and_named() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000)); // segments 0 to 3
    record(&vault, id(2), &audio(2, 4000));
    let path = place.sealed_file(id(1));
    let good = fs::read(&path).unwrap();
    assert_eq!(good.len(), 4096 + 40 + 44 + 16_000 + 4 * 16);
    let mut places: Vec<usize> = (0..4096)
        .step_by(61)
        .chain([8, 9, 10, 11, 256, 272, 288, 512, 515, 516, 4064, 4095])
        .collect();
    places.extend(4096..4096 + 41);
    places.extend((4137..good.len()).step_by(257));
    places.push(good.len() - 1);
    for at in places {
        flip(&path, at, (at % 8) as u8);
        let found = region(&vault);
        match at {
            0..4096 if found.is_none() => {
                // The first bytes decide whether it is a recording at all.
                assert!(at < 10, "byte {at}");
                assert!(
                    matches!(vault.verify(id(1)), Err(VaultError::NotOurs { .. })),
                    "byte {at}"
                );
            }
            0..4096 => assert_eq!(found, Some(Region::Manifest), "byte {at}"),
            4096 => assert_eq!(found, Some(Region::StreamHeader)),
            4097..4136 => assert!(
                matches!(found, Some(Region::Segment { of: 4, .. })),
                "byte {at}: {found:?}"
            ),
            _ => {
                let number = ((at - 4096) / 4096) as u32;
                assert_eq!(found, Some(Region::Segment { number, of: 4 }), "byte {at}");
            }
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(region(&vault), None);
    vault.verify(id(1)).unwrap();
}

#[test]
fn a_damaged_segment_silences_only_itself() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000));
    let whole = wav_of(&vault, id(1));
    flip(&place.sealed_file(id(1)), 4096 + 4096 + 100, 0);
    let mut reader = vault.open_recording(id(1)).unwrap();
    let mut out = vec![0; 4080];
    assert_eq!(reader.read_at(0, &mut out).unwrap(), 4040);
    assert!(out[..4040] == whole[..4040]);
    let error = reader.read_at(4040, &mut out).unwrap_err();
    assert!(
        error.to_string().contains("segment 1 of 4") && error.is_damage(),
        "{error}"
    );
    assert_eq!(reader.read_at(8120, &mut out).unwrap(), 4080);
    assert!(out == whole[8120..12_200]);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_file_cut_or_lengthened_anywhere_is_refused_before_the_first_byte() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000));
    let path = place.sealed_file(id(1));
    let good = fs::read(&path).unwrap();
    for len in [
        0,
        1,
        4095,
        4096,
        4097,
        4136,
        4151,
        8191,
        8192,
        8193,
        12_288,
        good.len() - 1,
    ] {
        fs::write(&path, &good[..len]).unwrap();
        let error = vault.open_recording(id(1)).unwrap_err();
        assert!(
            matches!(error, VaultError::Damaged { region: Region::Length { found, .. }, .. } if found == len as u64),
            "{len}: {error}"
        );
    }
    fs::write(&path, [&good[..], &[0]].concat()).unwrap();
    let error = vault.open_recording(id(1)).unwrap_err().to_string();
    assert!(
        error.contains("too many") && error.contains("Restore"),
        "{error}"
    );
}

#[test]
fn segments_and_files_cannot_be_swapped() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 4000));
    record(&vault, id(2), &audio(2, 4000));
    let (one, two) = (place.sealed_file(id(1)), place.sealed_file(id(2)));
    let (a, b) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    // Two segments of one file change places.
    let swapped = [
        &a[..8192],
        &a[12_288..16_384],
        &a[8192..12_288],
        &a[16_384..],
    ]
    .concat();
    fs::write(&one, swapped).unwrap();
    assert_eq!(region(&vault), Some(Region::Segment { number: 1, of: 4 }));
    // The stream of one call under the page of another.
    fs::write(&one, [&a[..4096], &b[4096..]].concat()).unwrap();
    assert_eq!(region(&vault), Some(Region::Segment { number: 3, of: 4 }));
    // A whole file under another's name.
    fs::write(&one, &b).unwrap();
    let error = vault.verify(id(1)).unwrap_err().to_string();
    assert!(error.contains("under another one's name"), "{error}");
    assert_eq!(
        vault
            .verify_all()
            .unwrap()
            .filter(|v| v.result.is_err())
            .count(),
        1
    );
    // Another client's name in the page, with the checksum made right again: that is no accident.
    let mut forged = a.clone();
    forged[20..24].copy_from_slice(&7u32.to_be_bytes());
    let sum = ring::digest::digest(&ring::digest::SHA256, &forged[..4064]);
    forged[4064..4096].copy_from_slice(sum.as_ref());
    fs::write(&one, &forged).unwrap();
    let error = vault.verify(id(1)).unwrap_err();
    assert!(matches!(error, VaultError::Altered { .. }), "{error}");
    // The facts of another seal of the same recording.
    let mut forged = a.clone();
    forged[516..4064].copy_from_slice(&b[516..4064]);
    let sum = ring::digest::digest(&ring::digest::SHA256, &forged[..4064]);
    forged[4064..4096].copy_from_slice(sum.as_ref());
    fs::write(&one, &forged).unwrap();
    assert!(matches!(
        vault.verify(id(1)),
        Err(VaultError::Altered {
            region: Region::Facts,
            ..
        })
    ));
}

#[test]
fn a_version_of_the_future_is_refused_by_number() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 400));
    let path = place.sealed_file(id(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[9] = 2;
    let sum = ring::digest::digest(&ring::digest::SHA256, &bytes[..4064]);
    bytes[4064..4096].copy_from_slice(sum.as_ref());
    fs::write(&path, bytes).unwrap();
    let error = vault.open_recording(id(1)).unwrap_err();
    assert!(
        matches!(
            error,
            VaultError::UnknownVersion {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    fs::write(&path, vec![7; 9000]).unwrap();
    assert!(matches!(
        vault.open_recording(id(1)),
        Err(VaultError::NotOurs { .. })
    ));
}

#[test]
fn the_wrong_root_key_is_told_from_damage_and_harms_nothing() {
    let place = Place::new();
    let vault = place.open();
    record(&vault, id(1), &audio(1, 400));
    drop(vault);
    let other = place.root.path().join("other.key");
    RootKey::create(&other).unwrap();
    let before: Vec<_> = files(place.root.path())
        .into_iter()
        .map(|f| (fs::read(&f).unwrap(), f))
        .collect();
    for opened in [
        Vault::open(place.config(), RootKey::load(&other).unwrap()),
        Vault::open_read_only(place.config(), RootKey::load(&other).unwrap()),
    ] {
        let error = opened.unwrap_err();
        assert!(matches!(error, VaultError::WrongRootKey { .. }), "{error}");
        assert!(error.to_string().contains("nothing is damaged"), "{error}");
    }
    // Also when only the markers were replaced: the month key tells.
    let elsewhere = Place::new();
    drop(elsewhere.open());
    let theirs = fs::read(elsewhere.keys().join("vault.id")).unwrap();
    let ours = fs::read(place.keys().join("vault.id")).unwrap();
    fs::write(place.keys().join("vault.id"), &theirs).unwrap();
    let error = Vault::open(place.config(), elsewhere.key()).unwrap_err();
    assert!(matches!(error, VaultError::Unpaired { .. }), "{error}");
    fs::write(place.dir().join("vault.id"), &theirs).unwrap();
    let vault = Vault::open(place.config(), elsewhere.key()).unwrap();
    assert!(matches!(
        vault.verify(id(1)),
        Err(VaultError::WrongRootKey { .. })
    ));
    drop(vault);
    fs::write(place.keys().join("vault.id"), &ours).unwrap();
    fs::write(place.dir().join("vault.id"), &ours).unwrap();
    for (bytes, file) in before {
        assert!(fs::read(&file).unwrap() == bytes, "{}", file.display());
    }
    place.open().verify(id(1)).unwrap();
}

#[test]
fn a_damaged_or_lost_copy_of_a_month_key_is_mended_from_the_other() {
    let place = Place::new();
    record(&place.open(), id(1), &audio(1, 400));
    let good = fs::read(place.month_key(1)).unwrap();
    assert_eq!(good, fs::read(place.month_key(2)).unwrap());
    for copy in [1, 2] {
        for at in [0, 8, 12, 20, 40, 60, 130, 150, 187, 200, 255] {
            flip(&place.month_key(copy), at, 3);
            // A reader gets by with the other copy and writes nothing.
            let reader = Vault::open_read_only(place.config(), place.key()).unwrap();
            reader.verify(id(1)).unwrap();
            assert_ne!(fs::read(place.month_key(copy)).unwrap(), good);
            place.open().verify(id(1)).unwrap();
            assert_eq!(
                fs::read(place.month_key(copy)).unwrap(),
                good,
                "copy {copy}, byte {at}"
            );
        }
        fs::write(place.month_key(copy), &good[..100]).unwrap();
        place.open().verify(id(1)).unwrap();
        fs::remove_file(place.month_key(copy)).unwrap();
        place.open().verify(id(1)).unwrap();
        assert_eq!(fs::read(place.month_key(copy)).unwrap(), good);
    }
}

#[test]
fn with_both_copies_damaged_or_gone_the_error_says_which() {
    let place = Place::new();
    record(&place.open(), id(1), &audio(1, 400));
    let good = fs::read(place.month_key(1)).unwrap();
    flip(&place.month_key(1), 140, 0);
    flip(&place.month_key(2), 140, 0);
    let vault = place.open();
    let error = vault.verify(id(1)).unwrap_err();
    assert!(
        matches!(error, VaultError::MonthKeyDamaged { .. }),
        "{error}"
    );
    // Nor is a new key made over the damaged one.
    let error = vault.begin(&begin_of(id(2))).unwrap_err();
    assert!(
        matches!(error, VaultError::MonthKeyDamaged { .. }),
        "{error}"
    );
    let copies = [place.month_key(1), place.month_key(2)];
    copies
        .iter()
        .for_each(|copy| fs::remove_file(copy).unwrap());
    drop(vault);
    let vault = place.open();
    let error = vault.verify(id(1)).unwrap_err();
    assert!(
        matches!(&error, VaultError::MonthKeyMissing { client, month, .. } if client == "bank-1" && month == "2026-11"),
        "{error}"
    );
    // Calls go on under a new key; the old one, restored, brings the old recordings back, and nothing is overwritten.
    record(&vault, id(2), &audio(2, 400));
    drop(vault);
    fs::write(&copies[1], &good).unwrap();
    let vault = place.open();
    vault.verify(id(1)).unwrap();
    vault.verify(id(2)).unwrap();
    record(&vault, id(3), &audio(3, 400));
    assert_eq!(
        vault
            .verify_all()
            .unwrap()
            .filter(|v| v.result.is_ok())
            .count(),
        3
    );
}

#[test]
fn a_disk_that_is_not_mounted_is_noticed_on_either_side() {
    let place = Place::new();
    record(&place.open(), id(1), &audio(1, 400));
    for (part, word) in [
        (place.keys(), "keys of this vault are not there"),
        (place.dir(), "mount the vault's disk"),
    ] {
        let aside = part.with_extension("aside");
        fs::rename(&part, &aside).unwrap();
        let error = Vault::open(place.config(), place.key()).unwrap_err();
        assert!(
            matches!(error, VaultError::Unpaired { .. }) && error.to_string().contains(word),
            "{error}"
        );
        let _ = fs::remove_dir_all(&part);
        fs::rename(&aside, &part).unwrap();
    }
    place.open().verify(id(1)).unwrap();
    // A damaged marker is mended from the other.
    for part in [place.keys(), place.dir()] {
        flip(&part.join("vault.id"), 30, 1);
        Vault::open_read_only(place.config(), place.key())
            .unwrap()
            .verify(id(1))
            .unwrap();
        place.open().verify(id(1)).unwrap();
    }
    assert_eq!(
        fs::read(place.keys().join("vault.id")).unwrap(),
        fs::read(place.dir().join("vault.id")).unwrap()
    );
}

#[test]
fn a_live_file_with_a_torn_tail_loses_only_the_tail() {
    let place = Place::new();
    let vault = place.open();
    let samples = audio(1, 1010 + 1020 * 4);
    let mut live = begin(&vault, id(1));
    live.append(&samples).unwrap();
    drop(live);
    drop(vault);
    let path = place.live_file(id(1));
    let good = fs::read(&path).unwrap();
    assert_eq!(good.len(), 4096 * 6);
    for len in [
        4096,
        4097,
        4140,
        8191,
        8192,
        10_000,
        12_288,
        4096 * 5 + 1,
        4096 * 6 - 1,
        4096 * 6,
    ] {
        fs::write(&path, &good[..len]).unwrap();
        let vault = place.open();
        let recovery = vault.recover().unwrap();
        let [recovered] = &recovery.recovered[..] else {
            panic!("{len}: {:?}", recovery.failed)
        };
        let whole = (len / 4096).saturating_sub(1);
        let frames = if whole == 0 {
            0
        } else {
            1010 + 1020 * (whole - 1)
        };
        let facts = &recovered.sealed.facts;
        assert_eq!(
            (facts.samples, facts.torn_bytes),
            (frames as u64, (len % 4096) as u64),
            "{len}"
        );
        assert!(facts.recovered && !facts.complete);
        assert!(samples_of(&wav_of(&vault, id(1))) == samples[..frames * 2]);
        vault.verify(id(1)).unwrap();
        fs::remove_file(place.sealed_file(id(1))).unwrap();
    }
}

#[test]
fn recovery_measures_the_distance_from_what_was_durable() {
    let place = Place::new();
    let vault = place.open();
    let mut live = begin(&vault, id(1));
    live.append(&audio(1, 1010 + 1020 * 3)).unwrap();
    vault.sync_live().unwrap();
    live.append(&audio(2, 1020 * 2)).unwrap();
    drop(live);
    drop(vault);
    let recovery = place.open().recover().unwrap();
    let beyond = recovery.recovered[0].beyond_durable.unwrap();
    // Two segments of 4,096 bytes at 32,000 bytes a second.
    assert_eq!(beyond.as_millis(), 256);
    assert_eq!(recovery.recovered[0].sealed.facts.lost_durable_bytes, 0);
}

#[test]
fn durable_audio_that_is_damaged_becomes_a_counted_gap_and_the_evidence_is_kept() {
    let place = Place::new();
    let vault = place.open();
    let samples = audio(1, 1010 + 1020 * 3);
    let mut live = begin(&vault, id(1));
    live.append(&samples).unwrap();
    vault.sync_live().unwrap();
    drop(live);
    drop(vault);
    flip(&place.live_file(id(1)), 4096 * 2 + 50, 5); // segment 1
    let damaged = fs::read(place.live_file(id(1))).unwrap();
    let vault = place.open();
    let recovery = vault.recover().unwrap();
    let recovered = &recovery.recovered[0];
    let facts = &recovered.sealed.facts;
    assert_eq!((facts.samples, facts.lost_durable_bytes), (4070, 4096));
    assert_eq!(facts.gaps.list.len(), 1);
    let gap = facts.gaps.list[0];
    assert_eq!(
        (gap.kind, gap.start, gap.samples),
        (GapKind::Damaged, 1010, 1020)
    );
    let heard = samples_of(&wav_of(&vault, id(1)));
    assert!(heard[..2020] == samples[..2020] && heard[4060..] == samples[4060..]);
    assert!(heard[2020..4060].iter().all(|s| *s == 0));
    assert!(fs::read(recovered.quarantined.as_ref().unwrap()).unwrap() == damaged);
    assert!(vault.list_live().unwrap().is_empty());
}

#[test]
fn one_unreadable_live_file_does_not_keep_the_others_from_their_seal() {
    let place = Place::new();
    let vault = place.open();
    for n in 1..4 {
        begin(&vault, id(n)).append(&audio(n as u32, 3000)).unwrap();
    }
    drop(vault);
    flip(&place.live_file(id(2)), 300, 0);
    fs::write(
        place
            .dir()
            .join("live/ffffffff-0000-0000-0000-000000000000.new"),
        b"half a pa",
    )
    .unwrap();
    let vault = place.open();
    let recovery = vault.recover().unwrap();
    assert_eq!(recovery.recovered.len(), 2);
    assert_eq!(recovery.failed.len(), 1);
    assert!(recovery.failed[0].1.is_damage(), "{}", recovery.failed[0].1);
    assert_eq!(vault.list_live().unwrap(), [id(2)]);
    assert_eq!(
        fs::read_dir(place.dir().join("live"))
            .unwrap()
            .filter(|e| e
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "new"))
            .count(),
        0
    );
}

#[test]
fn what_one_call_left_is_sealed_while_the_others_go_on() {
    let place = Place::new();
    let vault = place.open();
    let of = |recording: u128, call: u128| {
        let begin = ringfence_recordings::Begin {
            call: id(call),
            ..begin_of(id(recording))
        };
        vault.begin(&begin).unwrap()
    };
    // Two segments of the broken call, and another one that waits for its seal.
    let (mut first, mut second, mut other) = (of(1, 100), of(2, 100), of(3, 200));
    for live in [&mut first, &mut second, &mut other] {
        live.append(&audio(1, 3000)).unwrap();
    }
    other.finish().unwrap();
    drop(first);

    let recovery = vault.recover_call(id(100)).unwrap();
    assert_eq!(recovery.recovered.len(), 1);
    let facts = &recovery.recovered[0].sealed.facts;
    assert!(facts.recovered && facts.samples > 0);
    assert_eq!(recovery.unfinished, [id(2)], "it is still being written");
    assert!(recovery.failed.is_empty());

    second.finish().unwrap();
    let recovery = vault.recover_call(id(100)).unwrap();
    assert_eq!(recovery.recovered[0].sealed.facts.samples, 3000);
    assert_eq!(
        (recovery.recovered.len(), recovery.unfinished.len()),
        (1, 0)
    );
    assert!(vault.recover_call(id(100)).unwrap().recovered.is_empty());

    // The other call's own seal finds its file as it left it.
    assert_eq!(vault.list_live().unwrap(), [id(3)]);
    let sealed = vault.seal(id(3), &common::facts()).unwrap();
    assert!(!sealed.facts.recovered);
}
