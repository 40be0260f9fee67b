//! `ringfence check`: everything a start needs, tried one by one, each with what is wrong and what to do.

use std::{io::Write, time::Duration};

use anyhow::bail;
use ringfence_recordings::VaultError;

use crate::{
    clock::{Clock, ClockTrust},
    config::Config,
    daemon,
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
    line("configuration", Ok("valid".into()))?;
    line("clock", check_clock(config))?;
    line("database", check_store(config).await)?;
    line("vault", check_vault(config))?;
    line("PBX", check_pbx(config).await)?;
    if failed > 0 {
        bail!("{failed} of 5 checks failed");
    }
    Ok(())
}

fn check_clock(config: &Config) -> anyhow::Result<String> {
    match Clock::system(config.clock.trust).trust() {
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

fn check_vault(config: &Config) -> anyhow::Result<String> {
    let vault = match daemon::open_vault(config) {
        // A running daemon has it open for writing, and checks it by itself.
        Err(error) if matches!(error.downcast_ref(), Some(VaultError::Locked { .. })) => {
            daemon::open_vault_read_only(config)?;
            return Ok(format!(
                "{}, in use by a running daemon",
                config.vault.dir.display()
            ));
        }
        opened => opened?,
    };
    let room = vault.probe()?;
    Ok(format!(
        "{}, {} MiB free",
        config.vault.dir.display(),
        room.free >> 20
    ))
}

async fn check_pbx(config: &Config) -> anyhow::Result<String> {
    let mut settings = daemon::trunk_settings(config).await?;
    let server = settings.server;
    // The daemon may be running on the configured port; a check does not need that very one.
    settings.bind.set_port(0);
    let trunk = Trunk::start(
        settings,
        Clock::system(config.clock.trust),
        crate::random::bits()?,
    )
    .await?;
    let mut state = trunk.watch();
    let up = tokio::time::timeout(PBX_PATIENCE, state.wait_for(TrunkState::is_up)).await;
    let problem = trunk.state().problem;
    trunk.stop().await;
    match up {
        Ok(Ok(_)) => Ok(format!("registered at {server}")),
        _ if problem.is_empty() => bail!(
            "{server} did not answer within {} s",
            PBX_PATIENCE.as_secs()
        ),
        _ => bail!("{server}: {problem}"),
    }
}
