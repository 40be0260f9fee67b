//! An attempt of which nobody knows whether it stands, because the database went away as its decision was written down. It
//! never rang and never will: as soon as the database answers, an attempt that stands is closed, and the click is
//! forgotten, so that clicking again decides anew.

use std::time::Instant;

use super::call::{BrokenCall, REMIND, RETRY};
use crate::{
    ids::UserId,
    store::{self, guards::Guard},
};

/// A call whose attempt stands or not.
pub(crate) struct UnsureCall {
    /// How it is closed if it stands.
    pub broken: BrokenCall,
    /// What it was decided under.
    pub guards: Vec<Guard>,
    /// The click, if it was named: whose, and how.
    pub key: Option<(UserId, String)>,
}

impl UnsureCall {
    /// Asks until the database answers, and closes what stands. Gives whether it stood.
    pub(crate) async fn settle(self) -> bool {
        let (call, clock) = (self.broken.call, self.broken.clock.clone());
        let mut told: Option<Instant> = None;
        let stands = loop {
            let error = match self.find().await {
                Ok(stands) => break stands,
                Err(error) => error,
            };
            if !error.is_unavailable() {
                tracing::error!(%call, %error, "whether an attempt stands cannot be found out; the next start settles it");
                metrics::counter!("ringfence_attempts_not_closed_total").increment(1);
                return false;
            }
            let now = clock.monotonic();
            if told.is_none_or(|told| now.saturating_duration_since(told) >= REMIND) {
                told = Some(now);
                tracing::error!(%call, %error, "whether an attempt stands cannot be found out yet; trying on");
            }
            tokio::time::sleep(RETRY).await;
        };
        if stands {
            self.broken.settle().await;
        }
        stands
    }

    async fn find(&self) -> Result<bool, store::Error> {
        let mut tx = self.broken.db.begin().await?;
        // The transaction in doubt held them to its end. Who has them now sees how it ended.
        store::guards::touch(&mut tx, &self.guards).await?;
        let attempt = store::attempts::by_id(&mut tx, self.broken.call).await?;
        if let (Some(_), Some((user, key))) = (&attempt, &self.key) {
            store::idempotency::take_back(&mut tx, *user, key).await?;
        }
        tx.commit().await?;
        Ok(attempt.is_some())
    }
}
