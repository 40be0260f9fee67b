//! The rules that a daemon goes by, as it noted them in the database: for whoever wants to know what is decided by, and is
//! not that daemon. What the files say at this moment may be something else.

use std::sync::Arc;

use super::{Refused, files::Set};
use crate::{
    policy::RuleSet,
    store::{
        self, Tx,
        rules::{self, OfNode},
    },
};

/// What one daemon goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored(Vec<OfNode>);

impl Stored {
    /// What a daemon noted last; `None` if it never did.
    ///
    /// # Errors
    /// The database.
    pub async fn of_node(tx: &mut Tx, node: &str) -> store::Result<Option<Self>> {
        let told = rules::told(tx, node).await?;
        Ok((!told.is_empty()).then_some(Self(told)))
    }

    /// What it noted for a client: rules of its own, or those of all.
    ///
    /// # Errors
    /// [`Refused::Conflict`] if it noted none for all, which no daemon leaves out.
    pub fn entry(&self, client: &str) -> Result<&OfNode, Refused> {
        let of = |code: &str| self.0.iter().find(|one| one.client == code);
        of(client).or_else(|| of("")).ok_or_else(|| {
            Refused::Conflict(
                "the daemon noted no rules for all clients; have it load them again".into(),
            )
        })
    }

    /// The rules that decide for a client.
    ///
    /// # Errors
    /// [`Refused::Conflict`] if this program cannot read them.
    pub async fn set(&self, tx: &mut Tx, client: &str) -> Result<Set, Refused> {
        let entry = self.entry(client)?;
        Ok(Set {
            rules: Arc::new(kept(tx, &entry.sha256).await?),
            sha256: entry.sha256.clone(),
            source: entry.source.clone(),
        })
    }
}

/// A rule set that ever decided, by its hash.
///
/// # Errors
/// [`Refused::Unknown`] if none has this hash, [`Refused::Conflict`] if this program cannot read it.
pub async fn kept(tx: &mut Tx, sha256: &str) -> Result<RuleSet, Refused> {
    let text = rules::text(tx, sha256).await?.ok_or_else(|| {
        Refused::Unknown(
            "no rules with this SHA-256 were ever in force here; `ringfence policy history` lists those that were"
                .into(),
        )
    })?;
    RuleSet::from_canonical(&text).map_err(|error| {
        Refused::Conflict(format!(
            "the rules {sha256} were kept by another version, which can read them; this one cannot: {error}"
        ))
    })
}
