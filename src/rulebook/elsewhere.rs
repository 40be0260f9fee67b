//! Where the rule files of daemons that share a database differ, and the strictest of them.
//!
//! Nobody can tell which of two daemons has the files that are meant. So neither goes by the looser ones: what both would
//! allow is allowed.

use std::collections::BTreeMap;

use super::files::{ALL, Loaded, Set};
use crate::{
    policy::RuleSet,
    store::{
        self, Tx,
        rules::{self, OfNode},
    },
};

/// A client whose rules are others at another daemon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Differing {
    /// The other daemon.
    pub node: String,
    /// Code of the client; empty: every client without rules of its own.
    pub client: String,
    /// Hash of what the other daemon's files come to.
    pub sha256: String,
}

impl Differing {
    /// The client as it is named to people.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.client.is_empty() {
            ALL
        } else {
            &self.client
        }
    }

    /// One line for people: which client at which daemon.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} at node {}", self.name(), self.node)
    }
}

/// The rules of one other daemon by code.
type Told<'a> = BTreeMap<&'a str, &'a OfNode>;

fn by_node(others: &[OfNode]) -> BTreeMap<&str, Told<'_>> {
    let mut nodes: BTreeMap<&str, Told<'_>> = BTreeMap::new();
    for one in others {
        let told = nodes.entry(&one.node).or_default();
        told.insert(&one.client, one);
    }
    nodes
}

/// What a daemon goes by for a client: rules of the client's own, or those of all.
fn told_for<'a>(told: &Told<'a>, code: &str) -> Option<&'a OfNode> {
    told.get(code).or_else(|| told.get("")).copied()
}

/// Every code that these files or another daemon's know, and the empty one.
fn codes<'a>(files: &'a Loaded, others: &'a [OfNode]) -> Vec<&'a str> {
    let mut codes: Vec<&str> = vec![""];
    codes.extend(files.clients.keys().map(String::as_str));
    codes.extend(others.iter().map(|one| one.client.as_str()));
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// For whom which other daemon has other rules than these files.
#[must_use]
pub fn differing(files: &Loaded, others: &[OfNode]) -> Vec<Differing> {
    let mut found = Vec::new();
    for (node, told) in by_node(others) {
        for code in codes(files, others) {
            let Some(theirs) = told_for(&told, code) else {
                continue;
            };
            if theirs.files_sha256 != files.of(code).sha256 {
                found.push(Differing {
                    node: node.to_owned(),
                    client: code.to_owned(),
                    sha256: theirs.files_sha256.clone(),
                });
            }
        }
    }
    found
}

/// For each client the strictest of these files and of the other daemons', merged in an order that is the same everywhere, so
/// that all come to the same rules; and the daemons whose rules cannot be read.
pub(super) async fn strictest(
    tx: &mut Tx,
    files: &Loaded,
    others: &[OfNode],
) -> store::Result<(Loaded, Vec<String>)> {
    let nodes = by_node(others);
    let mut unread = Vec::new();
    let mut merged = files.clone();
    for code in codes(files, others) {
        let ours = files.of(code);
        // By hash: whether it is ours (no node) or whose it is.
        let mut sets: BTreeMap<String, (RuleSet, String)> = BTreeMap::new();
        sets.insert(
            ours.sha256.clone(),
            ((*ours.rules).clone(), ours.source.clone()),
        );
        for (node, told) in &nodes {
            let Some(theirs) = told_for(told, code) else {
                continue;
            };
            if sets.contains_key(&theirs.files_sha256) {
                continue;
            }
            let text = rules::text(tx, &theirs.files_sha256).await?;
            match text.and_then(|text| RuleSet::from_canonical(&text).ok()) {
                Some(rules) => {
                    let source = format!("the files of node {node}");
                    sets.insert(theirs.files_sha256.clone(), (rules, source));
                }
                None => unread.push((*node).to_owned()),
            }
        }
        if sets.len() < 2 {
            continue;
        }
        let set = sets
            .into_values()
            .reduce(|(one, from), (other, also)| {
                (one.merge_strictest(&other), format!("{from} + {also}"))
            })
            .map(|(rules, source)| Set::new(rules, source));
        let Some(set) = set else { continue };
        if code.is_empty() {
            merged.general = set;
        } else {
            merged.clients.insert(code.to_owned(), set);
        }
    }
    unread.sort_unstable();
    unread.dedup();
    Ok((merged, unread))
}
