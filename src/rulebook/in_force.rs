//! The rules in force: loaded at the start, again on SIGHUP, never half, and never looser than those of another daemon that
//! shares the database.
//!
//! A bad file at the start refuses the start; a bad file later leaves everything as it was and says so. Every set that comes
//! into force is kept in the database with its hash, which receipts name. Each daemon tells the others what its files come
//! to. Where they differ, it reads its own files again; where they still differ, it goes by the strictest of all until they
//! agree, and says so. What the files say: `files.rs`.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::{
    elsewhere::{Differing, differing, strictest},
    files::{ALL, FilesError, Loaded, Set},
};
use crate::{
    ids::{CallId, ClientId},
    policy::{Preset, RuleSet, replay_against},
    store::{
        self, Db, Tx,
        access::{self, Access},
        clients,
        contact_points::Target,
        rules::{self, Entry, OfNode},
    },
};

/// A daemon that gave no sign of life for so long is taken for ended: many rounds, and clocks that disagree a little.
pub const LIVE_MS: i64 = 60_000;

/// Why a call that was allowed may not begin any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// By the rules of now it would not be allowed.
    #[error("other rules came into force, and by them it would not be allowed")]
    OtherRules,
    /// It is to a third party, and the debtor is not out of contact any more.
    #[error("the debtor was reached or is being called, and third parties are locked again")]
    DebtorInContact,
}

/// All rules of one moment, as decisions are made by them.
#[derive(Debug)]
pub struct InForce {
    /// What the files of this daemon say.
    pub files: Loaded,
    /// What is decided by: the same, or stricter while another daemon's files differ.
    pub sets: Loaded,
    /// Where they differ.
    pub differing: Vec<Differing>,
    /// For whom it is noted in the database since when which set is in force: codes, and the empty one for all.
    noted: Mutex<BTreeSet<String>>,
}

impl InForce {
    fn of_files(files: Loaded) -> Self {
        Self {
            sets: files.clone(),
            files,
            differing: Vec::new(),
            noted: Mutex::default(),
        }
    }

    /// The rules of a client.
    #[must_use]
    pub fn of(&self, client: &str) -> &Set {
        self.sets.of(client)
    }

    /// Under which code it is noted what a client is called by.
    fn noted_as<'a>(&self, client: &'a str) -> &'a str {
        if self.sets.clients.contains_key(client) {
            client
        } else {
            ""
        }
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules in force, for whoever asks; clones share them.
#[derive(Debug, Clone)]
pub struct Rulebook(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    preset: Preset,
    dir: Option<PathBuf>,
    /// This daemon among those that share the database.
    node: String,
    now: RwLock<Arc<InForce>>,
    /// What was wrong with the files when they were last read.
    fault: Mutex<Option<String>>,
    /// Held while rules come into force: one after the other.
    loading: tokio::sync::Mutex<()>,
}

/// What loading again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Whose rules are other ones now: codes of clients, and `all`.
    pub changed: Vec<String>,
    /// Files whose client is not known yet.
    pub strangers: Vec<String>,
    /// Where the files of other daemons differ.
    pub differing: Vec<Differing>,
}

impl Rulebook {
    /// Reads the files. `node` is this daemon among those that share the database.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn open(preset: Preset, dir: Option<PathBuf>, node: &str) -> Result<Self, FilesError> {
        let loaded = Loaded::read(preset, dir.as_deref())?;
        Ok(Self(Arc::new(Shelf {
            preset,
            dir,
            node: node.to_owned(),
            now: RwLock::new(Arc::new(InForce::of_files(loaded))),
            fault: Mutex::new(None),
            loading: tokio::sync::Mutex::default(),
        })))
    }

    /// All rules of this moment.
    #[must_use]
    pub fn now(&self) -> Arc<InForce> {
        let now = self.0.now.read();
        // The lock guards one pointer, which is always whole.
        now.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rules of a client at this moment.
    #[must_use]
    pub fn of(&self, client: &str) -> Arc<RuleSet> {
        self.now().of(client).rules.clone()
    }

    /// Whether a client's rules ask for a second person to approve an agreement.
    #[must_use]
    pub fn two_persons(&self, client: &str) -> bool {
        self.of(client).two_persons()
    }

    /// What is wrong with the files, if they were found bad since they were last good.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let fault = self.0.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes in the database what is in force, and heeds the daemons that are at work already.
    ///
    /// # Errors
    /// The database.
    pub async fn note(&self, db: &Db, actor: &str, now_ms: i64) -> store::Result<Reloaded> {
        let _one_by_one = self.0.loading.lock().await;
        let files = self.now().files.clone();
        self.bring_into_force(db, files, actor, now_ms).await
    }

    /// Reads the files again. If they are good and the database has noted them, every decision from now on is by them;
    /// if not, everything stays as it was.
    ///
    /// # Errors
    /// The fault of a file with its line, or the database.
    pub async fn reload(&self, db: &Db, actor: &str, now_ms: i64) -> anyhow::Result<Reloaded> {
        let _one_by_one = self.0.loading.lock().await;
        let loaded = self.read().await??;
        let reloaded = self.bring_into_force(db, loaded, actor, now_ms).await?;
        self.set_fault(None);
        Ok(reloaded)
    }

    /// Gives a sign of life, and looks whether the other daemons' files say the same. Where they do not, this daemon's are
    /// read again, and what still differs is decided by the strictest.
    ///
    /// # Errors
    /// The database.
    pub async fn compare(&self, db: &Db, now_ms: i64) -> store::Result<()> {
        let mut tx = db.begin().await?;
        rules::beat(&mut tx, &self.0.node, now_ms).await?;
        let others = self.others(&mut tx, now_ms).await?;
        tx.commit().await?;
        let now = self.now();
        let found = differing(&now.files, &others);
        if found.is_empty() && now.differing.is_empty() {
            return Ok(());
        }
        let _one_by_one = self.0.loading.lock().await;
        let now = self.now();
        let files = match self.read().await {
            Ok(Ok(read)) => {
                self.set_fault(None);
                // Nobody need be told twice that they are as they were.
                (!same(&read, &now.files)).then_some(read)
            }
            // Bad files leave everything as it was; the fault is remembered.
            Ok(Err(_)) | Err(_) => None,
        };
        if files.is_none() && found == now.differing {
            return Ok(());
        }
        let files = files.unwrap_or_else(|| now.files.clone());
        let done = self.bring_into_force(db, files, "system", now_ms).await?;
        if !done.changed.is_empty() {
            tracing::info!(changed = ?done.changed, "new calling rules are in force");
        }
        Ok(())
    }

    /// This daemon ends: the others need not heed its rules any more.
    ///
    /// # Errors
    /// The database.
    pub async fn leave(&self, db: &Db) -> store::Result<()> {
        let mut tx = db.begin().await?;
        rules::leave(&mut tx, &self.0.node).await?;
        tx.commit().await
    }

    /// Keeps what a client is called by, in the transaction that decided by it, unless that is noted: the files may name a
    /// client that was entered after they were read. Once that transaction is committed, say so to [`Rulebook::is_kept`].
    ///
    /// # Errors
    /// The database.
    pub async fn keep(
        &self,
        tx: &mut Tx,
        rules: &InForce,
        (client, code): (ClientId, &str),
        now_ms: i64,
    ) -> store::Result<()> {
        let noted_as = rules.noted_as(code);
        if rules.noted().contains(noted_as) {
            return Ok(());
        }
        let set = rules.of(code);
        let entry = Entry {
            node: &self.0.node,
            client: (!noted_as.is_empty()).then_some(client),
            source: &set.source,
            actor: "system",
            now_ms,
        };
        let text = set.rules.canonical_text();
        rules::put_in_force(tx, set.kept(&text), &entry)
            .await
            .map(drop)
    }

    /// What [`Rulebook::keep`] wrote stands.
    pub fn is_kept(&self, rules: &InForce, code: &str) {
        let noted_as = rules.noted_as(code);
        let mut noted = rules.noted();
        if !noted.contains(noted_as) {
            noted.insert(noted_as.to_owned());
        }
    }

    /// Why a call that rules of this hash allowed may not begin any more: the rules of its client are others, and judge the
    /// facts of its receipt otherwise or within narrower bounds; or it is to a third party, and the debtor was reached
    /// or is being called.
    ///
    /// # Errors
    /// The database.
    pub async fn objection(
        &self,
        tx: &mut Tx,
        call: CallId,
        target: &Target,
        allowed_by: &str,
    ) -> store::Result<Option<Objection>> {
        let now = self.now();
        let set = now.of(&target.client_code);
        if set.sha256 != allowed_by {
            let receipt = store::receipts::of_call(tx, call).await?;
            let judged = receipt.and_then(|receipt| replay_against(&receipt.body, &set.rules).ok());
            if !judged.is_some_and(|judged| judged.still_holds()) {
                return Ok(Some(Objection::OtherRules));
            }
        }
        if target.relation.is_third_party() {
            let own = store::facts::own_numbers(tx, target.person).await?;
            if set.rules.third_party.locks(&own) {
                return Ok(Some(Objection::DebtorInContact));
            }
        }
        Ok(None)
    }

    /// The files as they are now; what is wrong with them is remembered.
    async fn read(&self) -> Result<Result<Loaded, FilesError>, tokio::task::JoinError> {
        let shelf = self.0.clone();
        let read =
            tokio::task::spawn_blocking(move || Loaded::read(shelf.preset, shelf.dir.as_deref()));
        let read = read.await?;
        if let Err(error) = &read {
            self.set_fault(Some(error.to_string()));
        }
        Ok(read)
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    async fn others(&self, tx: &mut Tx, now_ms: i64) -> store::Result<Vec<OfNode>> {
        rules::elsewhere(tx, &self.0.node, now_ms.saturating_sub(LIVE_MS)).await
    }

    /// One transaction notes what the files come to beside the other daemons'; then every decision is by it.
    async fn bring_into_force(
        &self,
        db: &Db,
        files: Loaded,
        actor: &str,
        now_ms: i64,
    ) -> store::Result<Reloaded> {
        let before = self.now();
        let mut tx = db.begin().await?;
        let others = self.others(&mut tx, now_ms).await?;
        let differing = differing(&files, &others);
        let mut sets = files.clone();
        let mut unread = Vec::new();
        if !differing.is_empty() {
            (sets, unread) = strictest(&mut tx, &files, &others).await?;
        }
        let mut after = InForce {
            files,
            sets,
            differing,
            noted: Mutex::default(),
        };
        let (changed, strangers) = note(&mut tx, &self.0.node, &mut after, actor, now_ms).await?;
        tx.commit().await?;
        let after = Arc::new(after);
        *self.0.now.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        tell(&before, &after, &strangers, &unread);
        Ok(Reloaded {
            changed,
            strangers,
            differing: after.differing.clone(),
        })
    }
}

/// Whether two readings of the files come to the same rules.
fn same(one: &Loaded, other: &Loaded) -> bool {
    let hashes = |loaded: &Loaded| {
        let own = loaded.clients.iter();
        let own = own.map(|(code, set)| (code.clone(), set.sha256.clone()));
        (loaded.general.sha256.clone(), own.collect::<Vec<_>>())
    };
    hashes(one) == hashes(other)
}

/// Says what whoever looks after the daemon should know.
fn tell(before: &InForce, after: &InForce, strangers: &[String], unread: &[String]) {
    metrics::gauge!("ringfence_rules_differing").set(after.differing.len() as f64);
    for warning in &after.files.warnings {
        tracing::warn!("{warning}");
    }
    for code in strangers {
        tracing::warn!(
            file = format!("{code}.toml"),
            "no client has this code yet; check the file's name if its client should be here"
        );
    }
    for node in unread {
        tracing::error!(
            node,
            "rules of another daemon cannot be read by this version, so this one does not heed them; upgrade it"
        );
    }
    if after.differing != before.differing {
        for one in &after.differing {
            tracing::warn!(
                client = one.name(),
                node = one.node,
                "another daemon's rule files differ from ours; the strictest of all is gone by until they are the same"
            );
        }
        if after.differing.is_empty() {
            tracing::info!("the rule files of all daemons are the same again");
        }
    }
}

/// Notes in the database whose rules are other ones from now on, and what the other daemons shall know; gives whose are
/// other ones, and the files whose client is not known.
async fn note(
    tx: &mut Tx,
    node: &str,
    rules: &mut InForce,
    actor: &str,
    now_ms: i64,
) -> store::Result<(Vec<String>, Vec<String>)> {
    let known = clients::list(tx).await?;
    // Kept whether or not anybody is called by them yet: a client may be entered at any time.
    let (files, sets) = (&rules.files, &rules.sets);
    let general = [&files.general, &sets.general].into_iter();
    let own = files.clients.values().chain(sets.clients.values());
    for set in general.chain(own) {
        let text = set.rules.canonical_text();
        rules::keep(tx, set.kept(&text), now_ms).await?;
    }
    let mut noted = BTreeSet::from([String::new()]);
    let mut entries = vec![(ALL, None, &sets.general)];
    for client in &known {
        if let Some(set) = sets.clients.get(&client.code) {
            noted.insert(client.code.clone());
            entries.push((client.code.as_str(), Some(client.id), set));
        } else if rules::has_own(tx, client.id, node).await? {
            // Whose file went away is called by the general rules again.
            entries.push((&client.code, Some(client.id), &sets.general));
        }
    }
    let mut changed = Vec::new();
    for (name, client, set) in entries {
        let text = set.rules.canonical_text();
        let entry = Entry {
            node,
            client,
            source: &set.source,
            actor,
            now_ms,
        };
        if rules::put_in_force(tx, set.kept(&text), &entry).await? {
            changed.push(name.to_owned());
        }
    }
    let codes = [""]
        .into_iter()
        .chain(sets.clients.keys().map(String::as_str));
    let told: Vec<OfNode> = codes
        .map(|code| OfNode {
            node: node.to_owned(),
            client: code.to_owned(),
            files_sha256: files.of(code).sha256.clone(),
            sha256: sets.of(code).sha256.clone(),
            source: sets.of(code).source.clone(),
        })
        .collect();
    rules::tell(tx, node, &told).await?;
    rules::beat(tx, node, now_ms).await?;
    if !changed.is_empty() {
        let access = Access {
            at_ms: now_ms,
            actor,
            action: "policy.load",
            object: &sets.general.sha256,
            client_id: None,
            detail: serde_json::json!({ "changed": changed, "node": node }),
        };
        access::log(tx, &access).await?;
    }
    let strangers = files.clients.keys();
    let strangers = strangers
        .filter(|code| !known.iter().any(|client| client.code == **code))
        .cloned()
        .collect();
    *rules
        .noted
        .get_mut()
        .unwrap_or_else(PoisonError::into_inner) = noted;
    Ok((changed, strangers))
}

#[cfg(test)]
#[path = "in_force_tests.rs"]
mod tests;
