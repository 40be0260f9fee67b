//! The root key file: what is accepted, and what is refused with which remedy.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use ringfence_recordings::{RootKey, VaultError};
use tempfile::TempDir;

#[test]
fn a_new_root_key_is_read_again_and_for_its_owner_only() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("sub/root.key");
    let made = RootKey::create(&path).unwrap();
    assert_eq!(RootKey::load(&path).unwrap().id(), made.id());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("ringfence-root-key-1:") && text.len() == 21 + 44 + 1);
    // Neither the key nor a part of it is in what gets printed.
    let shown = format!("{made:?}");
    assert_eq!(shown, format!("RootKey({})", made.id()));
    assert!(!text.contains(&made.id().to_string()));
}

#[test]
fn a_root_key_is_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("root.key");
    let first = RootKey::create(&path).unwrap();
    let error = RootKey::create(&path).unwrap_err();
    assert!(matches!(error, VaultError::RootKeyExists { .. }), "{error}");
    assert_eq!(RootKey::load(&path).unwrap().id(), first.id());
    // Not even a link that leads nowhere.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    assert!(matches!(
        RootKey::create(&link),
        Err(VaultError::RootKeyExists { .. })
    ));
}

#[test]
fn a_root_key_that_others_may_touch_is_refused_with_the_command_that_cures_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("root.key");
    RootKey::create(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601, 0o620, 0o644, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = RootKey::load(&path).unwrap_err();
        assert!(
            matches!(error, VaultError::RootKeyExposed { .. }),
            "{mode:o}: {error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        RootKey::load(&path).unwrap();
    }
    // systemd shows the mask of its access control list as a group right.
    for (mode, good) in [(0o440, true), (0o400, true), (0o460, false), (0o444, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(RootKey::load_credential(&path).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn what_is_no_root_key_is_refused_without_showing_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("root.key");
    let error = RootKey::load(&path).unwrap_err();
    assert!(
        matches!(error, VaultError::RootKeyMissing { .. }),
        "{error}"
    );
    assert!(matches!(
        RootKey::load(dir.path()),
        Err(VaultError::RootKeyMalformed { .. } | VaultError::RootKeyExposed { .. })
    ));
    let prefix = b"ringfence-root-key-1:".as_slice();
    let good = [prefix, b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="].concat();
    let bad: [&[u8]; 8] = [
        b"",
        b"SECRETSECRET",
        &[prefix, b"SECRET"].concat(),
        &[prefix, b"SECRETSECRETSECRETSECRETSECRETSECRETSECRET=="].concat(),
        &[&good[..], &good[..]].concat(),
        &[&good[..], &[b'A'; 5000]].concat(),
        &[0xff, 0xfe, 0x00],
        &[prefix, &[0u8; 44]].concat(),
    ];
    for bytes in bad {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = RootKey::load(&path).unwrap_err();
        assert!(
            matches!(error, VaultError::RootKeyMalformed { .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
    fs::write(&path, [&good[..], b"\n"].concat()).unwrap();
    RootKey::load(&path).unwrap();
}
