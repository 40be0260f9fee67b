//! The directions of dependency that DESIGN.md fixes: who may know whom.
//!
//! Read from the parsed sources: a path that names what its module may not know fails this test with file and line,
//! whether it stands in a `use` with braces, in an expression or in a macro. What is behind `cfg(test)` may know more.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens as _;

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
    forbid(&["recordings/src"], &["tokio", "std::net"]);
}

#[test]
fn rules_and_machines_do_no_io() {
    forbid(
        &[
            "src/policy",
            "src/call/machine.rs",
            "src/call/signals.rs",
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

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    let text = r#"
        use crate::{clock::{self, Clock}, store::{Db as Base, users::*}};
        #[cfg(test)]
        mod tests { use crate::trunk; }
        #[cfg(test)]
        use crate::api;
        // crate::comment
        fn f() { let _ = std::time::Instant::now(); println!("{:?}", crate::recorder::Recorder); }
        impl X { #[cfg(test)] fn only_there() { crate::hidden::g() } }
    "#;
    let paths = paths(text, Path::new("a text"));
    for seen in [
        "crate::clock",
        "crate::clock::Clock",
        "crate::store::Db",
        "crate::store::users",
        "Instant::now",
        "crate::recorder",
    ] {
        assert!(paths.iter().any(|p| names(&p.path, seen)), "{seen}");
    }
    for unseen in ["crate::trunk", "crate::api", "comment", "crate::hidden"] {
        assert!(!paths.iter().any(|p| names(&p.path, unseen)), "{unseen}");
    }
    assert!(!names("crate::storeroom", "crate::store"));
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

fn assert_free_of(file: &Path, words: &[&str]) {
    let text = std::fs::read_to_string(file).unwrap();
    for Named { path, line } in paths(&text, file) {
        for word in words {
            assert!(
                !names(&path, word),
                "{}:{line}: names {word} ({path})",
                file.display()
            );
        }
    }
}

/// Whether a path holds these segments one after another.
fn names(path: &str, word: &str) -> bool {
    format!("::{path}::").contains(&format!("::{word}::"))
}

/// A path as the source names it, without braces, and where.
struct Named {
    path: String,
    line: usize,
}

/// Every path of a file that is not behind `cfg(test)`.
fn paths(text: &str, file: &Path) -> Vec<Named> {
    let parsed =
        syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut found = Vec::new();
    for item in without_tests(parsed.to_token_stream()) {
        read(item, &mut found);
    }
    found
}

/// The tokens of a file without each item that carries `#[cfg(test)]`, one stream for what lies between.
fn without_tests(tokens: TokenStream) -> Vec<TokenStream> {
    let (mut kept, mut now) = (Vec::new(), Vec::new());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = matches!(&token, TokenTree::Punct(p) if p.as_char() == '#');
        match tokens.peek() {
            Some(TokenTree::Group(group)) if attribute && is_cfg_test(group) => {
                kept.push(now.drain(..).collect());
                // The item ends with its braces or a semicolon.
                for token in tokens.by_ref() {
                    let ends = match &token {
                        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                        TokenTree::Punct(p) => p.as_char() == ';',
                        _ => false,
                    };
                    if ends {
                        break;
                    }
                }
            }
            _ => now.push(token),
        }
    }
    kept.push(now.into_iter().collect());
    kept
}

fn is_cfg_test(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Joins identifiers over `::`; braces after `::` share what stands before them, as in a `use`.
fn read(tokens: TokenStream, found: &mut Vec<Named>) {
    for part in without_tests(tokens) {
        read_with(part, "", found);
    }
}

fn read_with(tokens: TokenStream, before: &str, found: &mut Vec<Named>) {
    let mut path = before.to_owned();
    let mut joined = !before.is_empty();
    let mut line = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if !joined {
                    tell(&mut path, line, found);
                    path = before.to_owned();
                }
                line = ident.span().start().line;
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(&ident.to_string());
                joined = false;
            }
            TokenTree::Punct(p) if p.as_char() == ':' => joined = true,
            TokenTree::Punct(p) if p.as_char() == ',' => {
                tell(&mut path, line, found);
                path = before.to_owned();
                joined = !before.is_empty();
            }
            TokenTree::Group(group) if joined && group.delimiter() == Delimiter::Brace => {
                read_with(group.stream(), &path, found);
                path.clear();
                joined = false;
            }
            TokenTree::Group(group) => {
                tell(&mut path, line, found);
                read(group.stream(), found);
                joined = false;
            }
            _ => {
                tell(&mut path, line, found);
                joined = false;
            }
        }
    }
    tell(&mut path, line, found);
}

fn tell(path: &mut String, line: usize, found: &mut Vec<Named>) {
    if !path.is_empty() {
        found.push(Named {
            path: std::mem::take(path),
            line,
        });
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
