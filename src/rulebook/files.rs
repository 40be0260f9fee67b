//! What the rule files say: the preset, made stricter by files, for each client its own.
//!
//! `policy.dir` holds one TOML file per client, named by the client's code, and `all.toml` for every client. A file names
//! the preset that it makes stricter, and can do nothing else; clients without one are called by `policy.preset`. That a
//! file names another preset is allowed, and told. Read as a whole or not at all. What comes into force of it, and when:
//! `in_force.rs`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    policy::{Preset, RuleSet},
    store::rules::Kept,
};

/// The file whose rules are every client's.
pub const ALL: &str = "all";
/// The most bytes of a rule file.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is wrong with the rule files, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilesError {
    /// The folder or a file cannot be read.
    #[error("{place}: cannot be read: {problem}; correct policy.dir or its permissions")]
    Read {
        /// Folder or file.
        place: PathBuf,
        /// Why.
        problem: String,
    },
    /// The file is no rule set, or a looser one than it may be.
    #[error("{place}: {problem}")]
    Rules {
        /// The file.
        place: PathBuf,
        /// Line and reason.
        problem: String,
    },
}

/// One client's rules, and where they came from.
#[derive(Debug, Clone)]
pub struct Set {
    /// The rules, merged.
    pub rules: Arc<RuleSet>,
    /// Their hash.
    pub sha256: String,
    /// Names of preset and files, joined by ` + `.
    pub source: String,
}

impl Set {
    /// Rules that come from these files.
    pub(super) fn new(rules: RuleSet, source: String) -> Self {
        Self {
            sha256: rules.hash(),
            rules: Arc::new(rules),
            source,
        }
    }

    /// As the database keeps it; `text` is the canonical text.
    pub(super) fn kept<'a>(&'a self, text: &'a str) -> Kept<'a> {
        Kept {
            sha256: &self.sha256,
            name: &self.rules.name,
            revision: &self.rules.revision,
            text,
        }
    }
}

/// All rules at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For every client without a file of its own.
    pub general: Set,
    /// By code of the client.
    pub clients: BTreeMap<String, Set>,
    /// Where another preset takes the place of the configured one: told to whoever loads the rules.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Reads the preset and the files of a folder; without a folder the preset alone.
    ///
    /// # Errors
    /// [`FilesError`] names the file and, for its content, the line.
    pub fn read(preset: Preset, dir: Option<&Path>) -> Result<Self, FilesError> {
        let mut texts = match dir {
            Some(dir) => files(dir)?,
            None => BTreeMap::new(),
        };
        let warnings = warnings(preset, &texts);
        let preset = Set::new(preset.rules(), format!("preset {}", preset.name()));
        // A client's file names its own preset; what holds for all holds for that client too.
        let all = match texts.remove(ALL) {
            Some((place, text)) => Some(stricter(None, &place, &text)?),
            None => None,
        };
        let clients = texts
            .into_iter()
            .map(|(code, (place, text))| Ok((code, stricter(all.as_ref(), &place, &text)?)))
            .collect::<Result<_, FilesError>>()?;
        let general = match all {
            Some(all) => Set::new(
                preset.rules.merge_strictest(&all.rules),
                format!("{} + {}", preset.source, all.source),
            ),
            None => preset,
        };
        Ok(Self {
            general,
            clients,
            warnings,
        })
    }

    /// The rules of a client.
    #[must_use]
    pub fn of(&self, client: &str) -> &Set {
        self.clients.get(client).unwrap_or(&self.general)
    }
}

/// The rule files of a folder by the part of their name before `.toml`.
fn files(dir: &Path) -> Result<BTreeMap<String, (PathBuf, String)>, FilesError> {
    let unread = |place: &Path, problem: String| FilesError::Read {
        place: place.to_owned(),
        problem,
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| unread(dir, e.to_string()))? {
        let place = entry.map_err(|e| unread(dir, e.to_string()))?.path();
        let named = place
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        let hidden = place
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !named || hidden {
            continue;
        }
        let text = read(&place)?;
        let Some(code) = place.file_stem().and_then(|stem| stem.to_str()) else {
            return Err(unread(&place, "its name is not UTF-8".into()));
        };
        if let Some((other, _)) = found.insert(code.to_owned(), (place.clone(), text)) {
            let problem = format!("{} has the same name: keep one of them", other.display());
            return Err(unread(&place, problem));
        }
    }
    Ok(found)
}

/// The text of a rule file.
///
/// # Errors
/// [`FilesError::Read`] if it cannot be read, [`FilesError::Rules`] with the line if it is not UTF-8.
pub fn read(place: &Path) -> Result<String, FilesError> {
    let unread = |problem: String| FilesError::Read {
        place: place.to_owned(),
        problem,
    };
    let size = std::fs::metadata(place)
        .map_err(|e| unread(e.to_string()))?
        .len();
    if size > MAX_BYTES {
        return Err(FilesError::Rules {
            place: place.to_owned(),
            problem: format!("{size} bytes; a rule file has at most {MAX_BYTES}"),
        });
    }
    let bytes = std::fs::read(place).map_err(|e| unread(e.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        FilesError::Rules {
            place: place.to_owned(),
            problem: format!("line {line}: not UTF-8 (GBK, perhaps); save it as UTF-8"),
        }
    })
}

/// The presets that a file makes stricter; none if it does not say.
fn bases(text: &str) -> Vec<String> {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    match table.get("base") {
        Some(toml::Value::String(base)) => vec![base.clone()],
        Some(toml::Value::Array(bases)) => bases
            .iter()
            .filter_map(|base| base.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

/// What to say of a file whose client is called by another preset than the configured one.
#[must_use]
pub fn warning(configured: Preset, name: &str, text: &str) -> Option<String> {
    let bases = bases(text);
    let other = !bases.is_empty() && bases.iter().all(|base| base != configured.name());
    other.then(|| {
        format!(
            "{name}: its base {} takes the place of policy.preset = {} for this client, whose calls the configured preset \
             does not bind",
            bases.join(", "),
            configured.name()
        )
    })
}

/// The warnings of a folder. What all.toml is based on binds every client.
fn warnings(configured: Preset, texts: &BTreeMap<String, (PathBuf, String)>) -> Vec<String> {
    let all = texts.get(ALL).map(|(_, text)| bases(text));
    if all.is_some_and(|bases| bases.iter().any(|base| base == configured.name())) {
        return Vec::new();
    }
    let clients = texts.iter().filter(|(code, _)| *code != ALL);
    clients
        .filter_map(|(code, (_, text))| warning(configured, &format!("{code}.toml"), text))
        .collect()
}

/// Reads rules in either form: a file that makes a preset stricter (it names its `base`), or a whole rule set.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(text: &str) -> Result<RuleSet, String> {
    let has_base = text
        .parse::<toml::Table>()
        .is_ok_and(|table| table.contains_key("base"));
    if has_base {
        RuleSet::stricter(text).map_err(|e| e.to_string())
    } else {
        RuleSet::parse(text).map_err(|e| e.to_string())
    }
}

/// What the configuration says of rules.
#[derive(Debug, Clone)]
pub struct Configured {
    /// `policy.preset`.
    pub preset: Preset,
    /// `policy.dir`; empty for none.
    pub dir: PathBuf,
}

/// What a single file comes to.
#[derive(Debug, Clone)]
pub struct Single {
    /// With its base alone.
    pub alone: Set,
    /// As it would come into force, where that is something else: with the all.toml beside it or of `policy.dir`, or, being
    /// all.toml, with the configured preset.
    pub in_force: Option<Set>,
}

impl Single {
    /// Reads a file in either form of [`parse`]. A whole rule set is taken as it is.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn read(place: &Path, configured: Option<&Configured>) -> Result<Self, FilesError> {
        let wrong = |place: &Path, problem: String| FilesError::Rules {
            place: place.to_owned(),
            problem,
        };
        let text = read(place)?;
        let rules = parse(&text).map_err(|problem| wrong(place, problem))?;
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let alone = Set::new(rules, name.into_owned());
        if bases(&text).is_empty() {
            return Ok(Self {
                alone,
                in_force: None,
            });
        }
        if place.file_stem().is_some_and(|stem| stem == ALL) {
            let in_force = configured.map(|configured| {
                let preset = configured.preset;
                let source = format!("preset {} + {}", preset.name(), alone.source);
                Set::new(preset.rules().merge_strictest(&alone.rules), source)
            });
            return Ok(Self { alone, in_force });
        }
        let file = format!("{ALL}.toml");
        let beside = place.with_file_name(&file);
        let configured = configured.map(|configured| configured.dir.join(&file));
        let all = [Some(beside), configured].into_iter().flatten();
        let Some(all) = all.into_iter().find(|all| all.is_file()) else {
            return Ok(Self {
                alone,
                in_force: None,
            });
        };
        let all = stricter(None, &all, &read(&all)?)?;
        let rules = all.rules.merge_strictest(&alone.rules);
        let in_force = Some(Set::new(
            rules,
            format!("{} + {}", all.source, alone.source),
        ));
        Ok(Self { alone, in_force })
    }

    /// The rules by which calls would be judged.
    #[must_use]
    pub fn judging(&self) -> &Set {
        self.in_force.as_ref().unwrap_or(&self.alone)
    }
}

fn stricter(base: Option<&Set>, place: &Path, text: &str) -> Result<Set, FilesError> {
    let rules = RuleSet::stricter(text).map_err(|error| FilesError::Rules {
        place: place.to_owned(),
        problem: error.to_string(),
    })?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    Ok(match base {
        Some(base) => Set::new(
            base.rules.merge_strictest(&rules),
            format!("{} + {name}", base.source),
        ),
        None => Set::new(rules, name.into_owned()),
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    pub(in crate::rulebook) const BANK: &str =
        "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[ring]\nclause = 'x'\nguard_ms = 9000\n";
    const ALL_FILE: &str = "base = 'cn-plan'\nname = 'house'\nrevision = '1'\n[ring]\nclause = 'y'\nshortest_ms = 20000\n";

    /// A folder of rule files.
    pub(in crate::rulebook) struct Folder(pub tempfile::TempDir);

    impl Folder {
        pub(in crate::rulebook) fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            files
                .iter()
                .for_each(|(name, text)| folder.write(name, text));
            folder
        }

        pub(in crate::rulebook) fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }

        fn open(&self) -> Result<Loaded, FilesError> {
            Loaded::read(Preset::CnPlan, Some(self.0.path()))
        }
    }

    #[test]
    fn what_holds_for_all_holds_for_each_and_a_clients_file_for_that_client_alone() {
        let folder = Folder::new(&[
            ("all.toml", ALL_FILE),
            ("bank.toml", BANK),
            ("us.TOML", "base = 'us-regf'\nname = 'us'\nrevision = '1'\n"),
            ("notes.txt", "no rules"),
            (".bank.toml.swp", "no rules"),
        ]);
        let rules = folder.open().unwrap();
        let (bank, other) = (&rules.of("bank").rules, &rules.of("other").rules);
        assert_eq!((bank.ring.guard_ms, bank.ring.shortest_ms), (9_000, 20_000));
        assert_eq!(
            (other.ring.guard_ms, other.ring.shortest_ms),
            (5_000, 20_000)
        );
        // Another preset takes the place of the configured one, what holds for all is added.
        let us = &rules.of("us").rules;
        assert_eq!(us.pauses.len(), 1);
        assert_eq!(us.ring.shortest_ms, 20_000);
        assert_eq!(rules.of("bank").source, "all.toml + bank.toml");
        assert_eq!(rules.general.source, "preset cn-plan + all.toml");
    }

    #[test]
    fn another_preset_than_the_configured_one_is_told_with_both_names() {
        let us = ("us.toml", "base = 'us-regf'\nname = 'us'\nrevision = '1'\n");
        let both = (
            "both.toml",
            "base = ['cn-plan', 'cn-gbt']\nname = 'both'\nrevision = '1'\n",
        );
        let warnings = |files: &[(&str, &str)]| {
            let folder = Folder::new(files);
            folder.open().unwrap().warnings
        };
        let told = warnings(&[us, both, ("bank.toml", BANK)]);
        assert_eq!(told.len(), 1);
        for word in ["us.toml", "us-regf", "cn-plan"] {
            assert!(told[0].contains(word), "{told:?}");
        }
        let bound = warnings(&[us, ("all.toml", ALL_FILE)]);
        assert_eq!(bound, [""; 0], "all.toml binds every client to the preset");
        let elsewhere = ALL_FILE.replace("cn-plan", "cn-gbt");
        assert_eq!(warnings(&[us, ("all.toml", &elsewhere)]).len(), 1);
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_told_with_its_line_and_what_to_do() {
        let folder = Folder::new(&[]);
        let place = folder.0.path().join("bank.toml");
        // 银行 in GBK, on the second line.
        let text = b"base = 'cn-plan'\nname = '\xd2\xf8\xd0\xd0'\nrevision = '1'\n";
        std::fs::write(&place, text).unwrap();
        for error in [folder.open().unwrap_err(), read(&place).unwrap_err()] {
            let error = error.to_string();
            for word in ["bank.toml", "line 2", "save it as UTF-8"] {
                assert!(error.contains(word), "{error}");
            }
            assert!(!error.contains("permissions"), "{error}");
        }
    }

    #[test]
    fn a_bad_file_refuses_the_start_and_names_file_and_line() {
        for (name, text, wrong) in [
            ("bank.toml", BANK.replace("9000", "1"), "line 6"),
            (
                "bank.toml",
                BANK.replace("guard_ms", "gaurd_ms"),
                "gaurd_ms",
            ),
            ("bank.toml", "base = ".to_owned(), "line 1"),
            ("all.toml", BANK.replace("cn-plan", "cn-dream"), "cn-dream"),
        ] {
            let error = Folder::new(&[(name, &text)])
                .open()
                .unwrap_err()
                .to_string();
            assert!(error.contains(name) && error.contains(wrong), "{error}");
        }
        let missing = Loaded::read(Preset::CnPlan, Some("/nowhere/at/all".as_ref()));
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("correct policy.dir")
        );
    }
}
