//! What is looked after every few seconds beside the calls: whether the other daemons go by the same rules, pauses that are
//! over, callbacks that came due or were missed; and once a day, whether our own numbers are still answered.
//!
//! Each round stands by itself: what one could not do because the database was away, the next does. Several nodes may do
//! the same rounds; every step asks for the state it starts from.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    callbacks,
    cases::bulk,
    clock::Clock,
    rulebook::in_force::Rulebook,
    stats::caller_id_watch::Watch,
    store::{self, Db},
    switchboard::{CallerIdsEvent, News, Switchboard},
};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(5);

/// What the rounds work with.
#[derive(Clone)]
pub struct Rounds {
    /// Database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// The floor.
    pub switchboard: Switchboard,
    /// The rules in force.
    pub rules: Rulebook,
    /// How long a callback that is due may wait before it is missed.
    pub callback_wait: Duration,
}

impl Rounds {
    /// Goes round until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut told, mut watch) = (false, Watch::default());
        loop {
            let round = async {
                self.once().await?;
                self.watch_caller_ids(&mut watch).await
            };
            match round.await {
                Ok(()) => told = false,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "rules of other daemons, pauses, callbacks and caller IDs cannot be looked after; trying on");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One round.
    ///
    /// # Errors
    /// The database.
    pub async fn once(&self) -> Result<(), store::Error> {
        let now_ms = self.clock.wall_ms();
        self.rules.compare(&self.db, now_ms).await?;
        let over = bulk::end_pauses(&self.db, now_ms).await?;
        if over > 0 {
            tracing::info!(cases = over, "pauses are over");
        }
        let wait = i64::try_from(self.callback_wait.as_millis()).unwrap_or(i64::MAX);
        let missed = callbacks::miss_late(&self.db, now_ms.saturating_sub(wait), now_ms).await?;
        if missed > 0 {
            tracing::info!(callbacks = missed, "callbacks were missed");
        }
        callbacks::offer_due(&self.db, &self.switchboard, now_ms).await?;
        Ok(())
    }

    /// Raises the alarm of caller IDs that are answered less than before, once for each.
    ///
    /// # Errors
    /// The database.
    pub async fn watch_caller_ids(&self, watch: &mut Watch) -> Result<(), store::Error> {
        let (today, zone) = (self.switchboard.today(), self.switchboard.display_zone());
        let Some(found) = watch.look(&self.db, today, zone).await? else {
            return Ok(());
        };
        metrics::gauge!("ringfence_caller_ids_falling").set(found.falling as f64);
        if found.new > 0 {
            tracing::warn!(falling = found.falling, new = found.new, until = %found.until, "caller IDs of ours are answered less than before; `ringfence stats report caller-ids` names them");
            self.switchboard.announce(News::CallerIds(CallerIdsEvent {
                falling: found.falling,
                new: found.new,
                until: found.until.to_string(),
                at_ms: self.clock.wall_ms(),
            }));
        }
        Ok(())
    }
}
