//! The directions of dependency that DESIGN.md fixes: who may know whom.
//!
//! Read from the sources themselves: a line that names a module it may not know fails this test with file and line.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};

#[test]
fn sip_media_and_recordings_know_neither_each_other_nor_the_daemon() {
    for krate in ["sip", "media", "recordings"] {
        let manifest = std::fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(|s| s.as_table()) else {
                continue;
            };
            for name in table.keys() {
                assert!(
                    !name.starts_with("ringfence"),
                    "{krate}/Cargo.toml: {section} names {name}"
                );
            }
        }
    }
}

#[test]
fn sip_has_no_runtime_no_sockets_and_no_clock() {
    forbid(
        &["sip/src"],
        &[
            "tokio",
            "net::UdpSocket",
            "net::TcpStream",
            "Instant::now",
            "SystemTime::now",
        ],
    );
}

#[test]
fn recordings_have_no_network_and_no_runtime() {
    forbid(&["recordings/src"], &["tokio", "std::net::"]);
}

#[test]
fn rules_and_machines_do_no_io() {
    forbid(
        &[
            "src/policy",
            "src/call/machine.rs",
            "src/call/cause.rs",
            "src/call/outcome.rs",
            "src/agent",
        ],
        &[
            "crate::store",
            "crate::trunk",
            "crate::recorder",
            "crate::switchboard",
            "crate::api",
            "ringfence_media",
            "ringfence_recordings",
            "tokio",
            "sqlx",
            "Instant::now",
            "SystemTime",
        ],
    );
}

#[test]
fn adapters_do_not_know_each_other() {
    let adapters = ["trunk", "store", "archive", "recorder"];
    for place in adapters {
        let others: Vec<String> = adapters
            .iter()
            .filter(|a| **a != place)
            .map(|a| format!("crate::{a}"))
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        for path in [format!("src/{place}"), format!("src/{place}.rs")] {
            if root().join(&path).exists() {
                forbid(&[path.as_str()], &others);
            }
        }
    }
}

#[test]
fn the_api_reaches_calls_only_through_the_switchboard() {
    forbid(
        &["src/api"],
        &[
            "crate::trunk",
            "crate::call::machine",
            "crate::call::task",
            "crate::recorder",
            "crate::settle",
            "ringfence_sip",
        ],
    );
}

#[test]
fn only_the_clock_reads_time() {
    for file in sources(&root().join("src")) {
        if !file.ends_with("clock.rs") {
            assert_free_of(
                &file,
                &[
                    "Instant::now",
                    "SystemTime::now",
                    "Timestamp::now",
                    "Zoned::now",
                ],
            );
        }
    }
}

fn forbid(places: &[&str], words: &[&str]) {
    for place in places {
        let files = sources(&root().join(place));
        assert!(
            !files.is_empty(),
            "{place} has moved: change this test with it"
        );
        for file in files {
            assert_free_of(&file, words);
        }
    }
}

/// Comments may name what code may not, and so may the tests at the end of a file.
fn assert_free_of(file: &Path, words: &[&str]) {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"));
    for (number, line) in code.enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for word in words {
            assert!(
                !code.contains(word),
                "{}:{}: names {word}",
                file.display(),
                number + 1
            );
        }
    }
}

fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if is_test(&path) => Vec::new(),
                true => sources(&path),
                false if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) => {
                    vec![path]
                }
                false => Vec::new(),
            }
        })
        .collect()
}

/// Modules of tests lie in folders or files that say so; every one of them is behind `cfg(test)`.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    ["tests", "testing"].contains(&&*name) || name.ends_with("_tests") || name.ends_with("_random")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
