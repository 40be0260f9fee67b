//! The rules in force: the preset, made stricter by files, for each client its own. Loaded at the start, again on
//! SIGHUP, never half.
//!
//! `policy.dir` holds one TOML file per client, named by the client's code, and `all.toml` for every client. A file names
//! the preset that it makes stricter, and can do nothing else; clients without one are called by `policy.preset`. That a
//! file names another preset is allowed, and told. A bad file at the start refuses the start; a bad file later leaves
//! everything as it was and says so. Every set that comes into force is kept in the database with its hash, which receipts name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::{
    policy::{Preset, RuleSet},
    store::{
        self, Db,
        access::{self, Access},
        clients,
        rules::{self, Kept},
    },
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
    fn new(rules: RuleSet, source: String) -> Self {
        Self {
            sha256: rules.hash(),
            rules: Arc::new(rules),
            source,
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
        let named = place.extension().is_some_and(|ending| ending == "toml");
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
        found.insert(code.to_owned(), (place.clone(), text));
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

/// The rules in force, for whoever asks; clones share them.
#[derive(Debug, Clone)]
pub struct Rulebook(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    preset: Preset,
    dir: Option<PathBuf>,
    loaded: RwLock<Arc<Loaded>>,
    /// What was wrong with the files when they were last read.
    fault: Mutex<Option<String>>,
}

/// What loading again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Whose rules are other ones now: codes of clients, and `all`.
    pub changed: Vec<String>,
    /// Files whose client is not known yet.
    pub strangers: Vec<String>,
}

impl Rulebook {
    /// Reads the files.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn open(preset: Preset, dir: Option<PathBuf>) -> Result<Self, FilesError> {
        let loaded = Loaded::read(preset, dir.as_deref())?;
        Ok(Self(Arc::new(Shelf {
            preset,
            dir,
            loaded: RwLock::new(Arc::new(loaded)),
            fault: Mutex::new(None),
        })))
    }

    /// All rules of this moment.
    #[must_use]
    pub fn now(&self) -> Arc<Loaded> {
        let loaded = self.0.loaded.read();
        // The lock guards one pointer, which is always whole.
        loaded.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rules of a client at this moment.
    #[must_use]
    pub fn of(&self, client: &str) -> Arc<RuleSet> {
        self.now().of(client).rules.clone()
    }

    /// Whether a client's rules ask for a second person to approve an agreement.
    #[must_use]
    pub fn two_persons(&self, client: &str) -> bool {
        let rules = self.of(client);
        rules
            .agreements
            .as_ref()
            .is_some_and(|rules| rules.two_persons)
    }

    /// What is wrong with the files, if they were found bad since they were last good.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let fault = self.0.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes in the database what is in force.
    ///
    /// # Errors
    /// The database.
    pub async fn note(&self, db: &Db, actor: &str, now_ms: i64) -> store::Result<Reloaded> {
        note(db, &self.now(), actor, now_ms).await
    }

    /// Reads the files again. If they are good and the database has noted them, every decision from now on is by them;
    /// if not, everything stays as it was.
    ///
    /// # Errors
    /// The fault of a file with its line, or the database.
    pub async fn reload(&self, db: &Db, actor: &str, now_ms: i64) -> anyhow::Result<Reloaded> {
        let shelf = self.0.clone();
        let read =
            tokio::task::spawn_blocking(move || Loaded::read(shelf.preset, shelf.dir.as_deref()));
        let loaded = match read.await? {
            Ok(loaded) => Arc::new(loaded),
            Err(error) => {
                self.set_fault(Some(error.to_string()));
                return Err(error.into());
            }
        };
        let reloaded = note(db, &loaded, actor, now_ms).await?;
        let mut now = self
            .0
            .loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *now = loaded;
        drop(now);
        self.set_fault(None);
        Ok(reloaded)
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

async fn note(db: &Db, loaded: &Loaded, actor: &str, now_ms: i64) -> store::Result<Reloaded> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut tx = db.begin().await?;
    let known = clients::list(&mut tx).await?;
    let mut changed = Vec::new();
    let all = [(ALL, None, &loaded.general)];
    let own = known.iter().filter_map(|client| {
        let set = loaded.clients.get(&client.code)?;
        Some((client.code.as_str(), Some(client.id), set))
    });
    let mut sets: Vec<_> = all.into_iter().chain(own).collect();
    // Whose file went away is called by the general rules again.
    for client in &known {
        if !loaded.clients.contains_key(&client.code) && rules::has_own(&mut tx, client.id).await? {
            sets.push((&client.code, Some(client.id), &loaded.general));
        }
    }
    for (name, client, set) in sets {
        let text = set.rules.canonical_text();
        let kept = Kept {
            sha256: &set.sha256,
            name: &set.rules.name,
            revision: &set.rules.revision,
            text: &text,
        };
        if rules::put_in_force(&mut tx, client, kept, &set.source, actor, now_ms).await? {
            changed.push(name.to_owned());
        }
    }
    if !changed.is_empty() {
        let access = Access {
            at_ms: now_ms,
            actor,
            action: "policy.load",
            object: &loaded.general.sha256,
            client_id: None,
            detail: serde_json::json!({ "changed": changed }),
        };
        access::log(&mut tx, &access).await?;
    }
    tx.commit().await?;
    let strangers: Vec<String> = loaded
        .clients
        .keys()
        .filter(|code| !known.iter().any(|client| client.code == **code))
        .cloned()
        .collect();
    for code in &strangers {
        tracing::warn!(
            file = format!("{code}.toml"),
            "no client has this code yet; check the file's name if its client should be here"
        );
    }
    Ok(Reloaded { changed, strangers })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::store::tests::{NOW_MS, Test, floor, on_both};

    const BANK: &str =
        "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[ring]\nclause = 'x'\nguard_ms = 9000\n";
    const ALL_FILE: &str = "base = 'cn-plan'\nname = 'house'\nrevision = '1'\n[ring]\nclause = 'y'\nshortest_ms = 20000\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            files
                .iter()
                .for_each(|(name, text)| folder.write(name, text));
            folder
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }

        fn open(&self) -> Result<Rulebook, FilesError> {
            Rulebook::open(Preset::CnPlan, Some(self.0.path().into()))
        }
    }

    #[test]
    fn what_holds_for_all_holds_for_each_and_a_clients_file_for_that_client_alone() {
        let folder = Folder::new(&[
            ("all.toml", ALL_FILE),
            ("bank.toml", BANK),
            ("us.toml", "base = 'us-regf'\nname = 'us'\nrevision = '1'\n"),
            ("notes.txt", "no rules"),
            (".bank.toml.swp", "no rules"),
        ]);
        let rules = folder.open().unwrap();
        let (bank, other) = (rules.of("bank"), rules.of("other"));
        assert_eq!((bank.ring.guard_ms, bank.ring.shortest_ms), (9_000, 20_000));
        assert_eq!(
            (other.ring.guard_ms, other.ring.shortest_ms),
            (5_000, 20_000)
        );
        // Another preset takes the place of the configured one, what holds for all is added.
        let us = rules.of("us");
        assert_eq!(us.pauses.len(), 1);
        assert_eq!(us.ring.shortest_ms, 20_000);
        assert_eq!(rules.now().of("bank").source, "all.toml + bank.toml");
        assert_eq!(rules.now().general.source, "preset cn-plan + all.toml");
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
            folder.open().unwrap().now().warnings.clone()
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
        let missing = Rulebook::open(Preset::CnPlan, Some("/nowhere/at/all".into()));
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("correct policy.dir")
        );
    }

    on_both! {
        async fn a_bad_file_later_leaves_the_rules_as_they_were_and_is_told(test: Test) {
            floor(&test.db, 1).await;
            let folder = Folder::new(&[("bank.toml", BANK)]);
            let rules = folder.open().unwrap();
            let noted = rules.note(&test.db, "system", NOW_MS).await.unwrap();
            assert_eq!(noted.changed, ["all", "bank"]);
            assert_eq!(rules.note(&test.db, "system", NOW_MS).await.unwrap().changed, Vec::<String>::new());
            folder.write("bank.toml", &BANK.replace("9000", "1"));
            let error = rules.reload(&test.db, "lin", NOW_MS).await.unwrap_err().to_string();
            assert!(error.contains("bank.toml") && error.contains("line 6"), "{error}");
            assert_eq!(rules.fault(), Some(error));
            assert_eq!(rules.of("bank").ring.guard_ms, 9_000);
            folder.write("bank.toml", &BANK.replace("9000", "8000").replace("'1'", "'2'"));
            folder.write("stranger.toml", BANK);
            let done = rules.reload(&test.db, "lin", NOW_MS + 1).await.unwrap();
            assert_eq!((done.changed, done.strangers), (vec!["bank".to_owned()], vec!["stranger".to_owned()]));
            assert_eq!((rules.of("bank").ring.guard_ms, rules.fault()), (8_000, None));
            // Without its file the bank is called by the general rules again, and the history says so.
            std::fs::remove_file(folder.0.path().join("bank.toml")).unwrap();
            let done = rules.reload(&test.db, "lin", NOW_MS + 2).await.unwrap();
            assert_eq!(done.changed, ["bank"]);
            assert_eq!(rules.of("bank").ring.guard_ms, 5_000);
            let mut tx = test.db.read().await.unwrap();
            let history = rules::history(&mut tx, Some("bank"), None, 9).await.unwrap();
            let revisions: Vec<_> = history.iter().map(|row| (row.client.is_some(), row.from_ms - NOW_MS)).collect();
            assert_eq!(revisions, [(true, 2), (true, 1), (true, 0), (false, 0)]);
        }
    }
}
