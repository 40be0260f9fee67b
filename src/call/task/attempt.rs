//! The attempt's row: marked before the customer INVITE leaves, closed at the end, each in a short transaction.

use std::time::{Duration, Instant};

use super::{CallTask, STORE_RETRY, work::Done};
use crate::{
    call::{Outcome, machine::Input},
    clock::ClockTrust,
    store::{
        self,
        attempts::{Closing, Seizure},
    },
};

/// How often it is said again that an attempt cannot be closed.
const CLOSE_REMIND: Duration = Duration::from_secs(60);

impl CallTask {
    pub(super) fn mark_seizure(&mut self) {
        let (floor, call) = (self.floor.clone(), self.call);
        let (target, allowed_by) = (self.target.clone(), self.rules_sha256.clone());
        self.work.spawn(async move {
            // Since the decision the clock may have jumped; then nobody knows any more whether the window is open.
            if let ClockTrust::Untrusted { why } = floor.clock.trust() {
                tracing::warn!(%call, %why, "the clock cannot be trusted, so nobody is called");
                return Done::Seizure(Input::SeizureFailed);
            }
            let marked = async {
                let mut tx = floor.db.begin_deciding().await?;
                if let Some(why) = floor.rules.objection(&mut tx, call, &target, &allowed_by).await? {
                    return tx.rollback().await.map(|()| Err(why));
                }
                let seizure = store::attempts::mark_seizure(&mut tx, call, floor.clock.wall_ms()).await?;
                tx.commit().await.map(|()| Ok(seizure))
            };
            Done::Seizure(match marked.await {
                Ok(Err(why)) => {
                    tracing::info!(%call, %why, "barred since it was allowed, so nobody is called");
                    Input::SeizureBarred
                }
                Ok(Ok(Seizure::Marked)) => Input::SeizureMarked,
                Ok(Ok(Seizure::Expired)) => Input::PermitExpired,
                Ok(Ok(
                    why @ (Seizure::CaseBarred(_)
                    | Seizure::Barred(_)
                    | Seizure::PersonRefused
                    | Seizure::AgreementEnded
                    | Seizure::Ended),
                )) => {
                    tracing::info!(%call, ?why, "barred since it was allowed, so nobody is called");
                    Input::SeizureBarred
                }
                Err(error) => {
                    tracing::error!(%call, %error, "the store cannot be asked, so nobody is called");
                    Input::SeizureFailed
                }
            })
        });
    }

    /// One transaction: the attempt's end, its roll-ups and its event. Tried until it stands while the database is away;
    /// what the database refuses for good is left to the next start, so that neither agent nor drain waits for ever.
    pub(super) async fn close_attempt(&mut self, mut outcome: Outcome) {
        // Marked, but the call was over before the INVITE could leave: no cap and no figure counts it.
        outcome.seized &= self.customer.invited;
        let closing = Closing::of(&outcome, self.began_ms);
        let mut told: Option<Instant> = None;
        loop {
            let Err(error) = self.floor.db.close_attempt(self.call, &closing).await else {
                break;
            };
            if !error.is_unavailable() {
                tracing::error!(call = %self.call, %error, "the attempt cannot be closed; the next start settles it");
                metrics::counter!("ringfence_attempts_not_closed_total").increment(1);
                break;
            }
            if told.is_none() {
                self.keep(&closing).await;
            }
            let now = self.now();
            if told.is_none_or(|told| now.saturating_duration_since(told) >= CLOSE_REMIND) {
                told = Some(now);
                tracing::error!(call = %self.call, %error, "the attempt cannot be closed yet; trying on");
            }
            tokio::time::sleep(STORE_RETRY).await;
        }
        if told.is_some() {
            self.floor.facts.forget(self.call);
        }
        self.herald.ended(outcome.cause);
        if let Some(over) = self.over.take() {
            let _ = over.send(outcome.connected);
        }
    }

    /// While the database is away the end waits in memory, and on the disk for the case that the daemon dies.
    async fn keep(&self, closing: &Closing) {
        let (facts, call, closing) = (self.floor.facts.clone(), self.call, closing.clone());
        let kept = tokio::task::spawn_blocking(move || facts.keep(call, &closing)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%call, %error, "the end of a call lies in memory only while the database is away");
            }
            Err(error) => tracing::error!(%call, %error, "keeping the end of a call broke off"),
        }
    }
}
