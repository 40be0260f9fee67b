//! `ringfence check`: everything a start needs, tried one by one, each with what is wrong and what to do.

use std::{io::Write, time::Duration};

use anyhow::bail;
use ringfence_recordings::VaultError;

use crate::{
    clock::ClockTrust,
    config::Config,
    daemon,
    rulebook::{
        elsewhere::{Differing, differing},
        in_force::LIVE_MS,
        stored::Stored,
    },
    store,
    trunk::{Trunk, TrunkState},
};

/// How long the PBX may take to accept the registration.
const PBX_PATIENCE: Duration = Duration::from_secs(8);

/// Runs `ringfence check`. The configuration itself has been read and is valid.
///
/// # Errors
/// If anything is not as it should be; what, has been printed.
pub async fn run(config: &Config, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut failed = 0;
    let mut line = |what: &str, result: anyhow::Result<String>| -> anyhow::Result<()> {
        match result {
            Ok(found) => writeln!(out, "ok      {what}: {found}")?,
            Err(error) => {
                failed += 1;
                writeln!(out, "FAILED  {what}: {}", super::whole(&error))?;
            }
        }
        Ok(())
    };
    line(
        "configuration",
        daemon::rules(config).map(|(_, preset)| format!("valid, rules {}", preset.name())),
    )?;
    line("clock", check_clock(config))?;
    line("database", check_store(config).await)?;
    line("rules", check_rules(config).await)?;
    let vault = check_vault(config);
    // Its sockets are then in use, by right.
    let running = matches!(vault, Ok(Vaulted::InUse));
    line(
        "vault",
        vault.map(|found| {
            let dir = config.vault.dir.display();
            match found {
                Vaulted::InUse => format!("{dir}, in use by a running daemon"),
                Vaulted::Free { mib } => format!("{dir}, {mib} MiB free"),
            }
        }),
    )?;
    line("API", check_listen(config, running).await)?;
    line("audio", check_audio(config))?;
    line("PBX", check_pbx(config, running).await)?;
    if failed > 0 {
        bail!("{failed} of 8 checks failed; what to do stands behind each");
    }
    Ok(())
}

fn check_clock(config: &Config) -> anyhow::Result<String> {
    match daemon::clock(config)?.trust() {
        ClockTrust::Trusted { error_ms } => Ok(format!("trusted to within {error_ms} ms")),
        ClockTrust::Untrusted { why } => bail!("{why}; no call would be allowed"),
    }
}

async fn check_store(config: &Config) -> anyhow::Result<String> {
    let db = daemon::open_store(config).await?;
    db.probe().await?;
    let name = db.name().to_owned();
    db.close().await;
    Ok(name)
}

/// Whether the files can be loaded, are loaded, and are those of every daemon on the database.
async fn check_rules(config: &Config) -> anyhow::Result<String> {
    let rulebook = daemon::open_rulebook(config)?;
    let rules = rulebook.now();
    let db = daemon::open_store(config).await?;
    let node = &config.store.node;
    let since_ms = daemon::clock(config)?.wall_ms().saturating_sub(LIVE_MS);
    let mut tx = db.read().await?;
    let others = store::rules::elsewhere(&mut tx, node, since_ms).await?;
    let stored = Stored::of_node(&mut tx, node).await?;
    tx.rollback().await?;
    db.close().await;
    let differing: Vec<String> = differing(&rules.files, &others)
        .iter()
        .map(Differing::words)
        .collect();
    if !differing.is_empty() {
        bail!(
            "other daemons on this database have other rule files: {}; the strictest is gone by until policy.dir holds the same \
             files everywhere and is loaded",
            differing.join(", ")
        );
    }
    let codes = rules.files.clients.keys().map(String::as_str);
    let loaded = stored.is_none_or(|stored| {
        codes.chain([""]).all(|code| {
            let entry = stored.entry(code);
            entry.is_ok_and(|entry| entry.files_sha256 == rules.files.of(code).sha256)
        })
    });
    let own = rules.files.clients.len();
    let then = if loaded {
        ""
    } else {
        "; not in force yet: systemctl reload ringfence"
    };
    Ok(format!("{own} clients have rules of their own{then}"))
}

/// How the vault was found.
enum Vaulted {
    /// A running daemon has it open for writing, and checks it by itself.
    InUse,
    /// Nobody has.
    Free {
        /// Room on its disk.
        mib: u64,
    },
}

fn check_vault(config: &Config) -> anyhow::Result<Vaulted> {
    let vault = match daemon::open_vault(config) {
        Err(error) if matches!(error.downcast_ref(), Some(VaultError::Locked { .. })) => {
            daemon::open_vault_read_only(config)?;
            return Ok(Vaulted::InUse);
        }
        opened => opened?,
    };
    Ok(Vaulted::Free {
        mib: vault.probe()?.free >> 20,
    })
}

async fn check_listen(config: &Config, running: bool) -> anyhow::Result<String> {
    match daemon::listen(config).await {
        Ok(listener) => Ok(listener.local_addr()?.to_string()),
        Err(_) if running => Ok(format!(
            "{}, in use by a running daemon",
            config.server.listen
        )),
        Err(error) => Err(error),
    }
}

fn check_audio(config: &Config) -> anyhow::Result<String> {
    let bind = config.media.bind.unwrap_or(config.trunk.bind.ip());
    daemon::open_audio(config, bind)?;
    let ports = &config.media.ports;
    Ok(format!("{bind}, ports {}-{}", ports.start(), ports.end()))
}

async fn check_pbx(config: &Config, running: bool) -> anyhow::Result<String> {
    let mut settings = daemon::trunk_settings(config).await?;
    let server = settings.server;
    if running {
        // It holds the configured port; to reach the PBX any other will do.
        settings.bind.set_port(0);
    }
    let trunk = Trunk::start(settings, daemon::clock(config)?, crate::random::bits()?).await?;
    let mut state = trunk.watch();
    // Only the answer is kept: what `wait_for` gives holds the state locked, and the trunk could not stop.
    let up = tokio::time::timeout(PBX_PATIENCE, state.wait_for(TrunkState::is_up))
        .await
        .is_ok_and(|reached| reached.is_ok());
    let problem = trunk.state().problem;
    trunk.stop().await;
    if up {
        return Ok(format!("registered at {server}"));
    }
    if problem.is_empty() {
        bail!(
            "{server} did not answer within {} s; check trunk.server, the PBX and the firewall between",
            PBX_PATIENCE.as_secs()
        );
    }
    bail!("{server}: {problem}");
}
