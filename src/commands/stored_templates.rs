//! Templates that were entered, for `cases templates` and `notes templates` alike: one is read back or withdrawn.

use std::io::Write;

use anyhow::bail;
use clap::Args;

use super::ACTOR;
use crate::{
    ids::ClientId,
    store::{
        Db,
        access::{self, Access},
        clients,
        templates::{self, Stored},
    },
};

/// Which template. Its `--version` is the template's and not the program's.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct WhichTemplate {
    /// Its name
    pub name: String,
    /// Code of the client whose own it is; left out: one for every client
    #[arg(long, value_name = "CODE")]
    pub client: Option<String>,
    /// Its version; left out: the newest that counts
    #[arg(long, value_name = "N")]
    pub version: Option<i64>,
}

/// Prints a stored template as it was entered; `false` if there is none of the name.
pub(super) async fn show(
    which: &WhichTemplate,
    kinds: &[&str],
    db: &Db,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let Some((_, found)) = find(which, kinds, db).await? else {
        return Ok(false);
    };
    write!(out, "{}", found.body)?;
    if !found.body.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(true)
}

/// Withdraws a version: the one before it counts again, or what comes after it otherwise.
pub(super) async fn withdraw(
    which: &WhichTemplate,
    kinds: &[&str],
    db: &Db,
    now_ms: i64,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let name = &which.name;
    let Some((client_id, found)) = find(which, kinds, db).await? else {
        bail!("no template {name} was entered; those that come with the program are not withdrawn");
    };
    let mut tx = db.begin().await?;
    if !templates::withdraw(&mut tx, found.id, now_ms).await? {
        bail!(
            "version {} of the template {name} is withdrawn already",
            found.version
        );
    }
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action: "template.withdraw",
        object: &found.id.to_string(),
        client_id,
        detail: serde_json::json!({ "kind": found.kind, "name": name, "version": found.version }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    Ok(writeln!(
        out,
        "version {} of the template {name} for {} is withdrawn",
        found.version, found.kind
    )?)
}

async fn find(
    which: &WhichTemplate,
    kinds: &[&str],
    db: &Db,
) -> anyhow::Result<Option<(Option<ClientId>, Stored)>> {
    let mut tx = db.read().await?;
    let client = match &which.client {
        None => None,
        Some(code) => match clients::by_code(&mut tx, code).await? {
            Some(client) => Some(client.id),
            None => bail!("there is no client {code}"),
        },
    };
    let all = templates::versions(&mut tx, client, &which.name).await?;
    tx.rollback().await?;
    let mut fit: Vec<Stored> = all
        .into_iter()
        .filter(|one| kinds.contains(&one.kind.as_str()))
        .filter(|one| match which.version {
            Some(version) => one.version == version,
            None => !one.withdrawn,
        })
        .collect();
    let of: std::collections::BTreeSet<&str> = fit.iter().map(|one| one.kind.as_str()).collect();
    if of.len() > 1 {
        let of: Vec<&str> = of.into_iter().collect();
        bail!(
            "there are templates {} for {}: say --kind",
            which.name,
            of.join(" and ")
        );
    }
    if fit.is_empty() {
        if let Some(version) = which.version {
            bail!("there is no version {version} of a template {}", which.name);
        }
        return Ok(None);
    }
    Ok(Some((client, fit.swap_remove(0))))
}
