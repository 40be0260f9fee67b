//! `ringfence serve`: the daemon, until SIGTERM drains it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, sleep},
};

use crate::{
    clock::{Clock, ClockTrust},
    config::Config,
    daemon::{self, Daemon},
};

/// How long the start waits for the PBX before it says it is ready all the same: the daemon is, the PBX is not.
const PBX_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Whatever stands in the way of the start, named with its remedy.
pub async fn run(
    config: &Config,
    reload: impl Fn() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    let trunk = daemon::trunk_settings(config).await?;
    let clock = Clock::system(config.clock.trust);
    let daemon = Daemon::start(config, clock.clone(), trunk).await?;
    if let ClockTrust::Untrusted { why } = clock.trust() {
        tracing::warn!(%why, "the wall clock cannot be trusted; no call is allowed until it can");
    }

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut state = daemon.trunk().watch();
    let mut told = false;
    let patience = sleep(PBX_PATIENCE);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            _ = state.wait_for(crate::trunk::TrunkState::is_up) => break,
            () = &mut patience => break tracing::warn!("the PBX is not there yet; calls fail until it is"),
            _ = terminate.recv() => break told = true,
            _ = interrupt.recv() => break told = true,
            _ = hangup.recv() => daemon.reload_rules().await,
        }
    }
    notify(&[NotifyState::Ready, NotifyState::Status("taking calls")]);
    let watchdog = watch_over(&daemon);
    while !told {
        tokio::select! {
            _ = terminate.recv() => told = true,
            _ = interrupt.recv() => told = true,
            _ = hangup.recv() => {
                daemon.reload_rules().await;
                match reload() {
                Ok(new) if new == *config => tracing::info!("the configuration is as it was"),
                Ok(_) => tracing::warn!("the configuration is valid and has changed; restart to use it"),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the changed configuration is not valid; going on with the old one"),
                }
            },
        }
    }
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("draining: no new calls"),
    ]);
    tracing::info!(
        seconds = config.calls.drain_s,
        "draining: no new calls, those that are up may end"
    );
    let patience = Duration::from_secs(config.calls.drain_s);
    let switchboard = daemon.switchboard.clone();
    let stopping = daemon.stop(patience);
    tokio::pin!(stopping);
    tokio::select! {
        () = &mut stopping => {}
        // Told twice: end the calls now, and seal them all the same.
        _ = async { tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () } } => {
            tracing::warn!("told twice: ending the calls that are up");
            tokio::join!(switchboard.drain(Duration::ZERO), stopping);
        }
    }
    watchdog.abort();
    Ok(())
}

/// Pats systemd's watchdog as long as the floor answers.
fn watch_over(daemon: &Daemon) -> tokio::task::JoinHandle<()> {
    let switchboard = daemon.switchboard.clone();
    tokio::spawn(async move {
        let Some(limit) = sd_notify::watchdog_enabled() else {
            return;
        };
        let mut tick = interval(limit / 3);
        loop {
            tick.tick().await;
            // Only a floor that answers is alive.
            if switchboard.is_answering().await {
                notify(&[NotifyState::Watchdog]);
            }
        }
    })
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
