//! The daemon's own part: seals each day some hours after it is over everywhere, on one node, and counts what an update
//! of the schema could not.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::{
    rebuild,
    seal::{self, Sealing},
};
use crate::{
    clock::Clock,
    store::{Db, Result, agent_days, claims},
};

/// How often it is looked for days to seal.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How long a node that died over it keeps the others out.
const CLAIM_MS: i64 = 1_800_000;
const CLAIM: &str = "seal";

/// Seals what is due, now and every ten minutes, until told to stop. `zone` is the one whose days agents' days are.
pub async fn keep(
    db: Db,
    clock: Clock,
    node: String,
    zone: TimeZone,
    after: Duration,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut counted = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            round = seal_due(&db, &clock, &node, after) => if let Err(error) = round {
                tracing::warn!(%error, "days are not sealed now; trying again in ten minutes");
            }
        }
        if counted {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            count = count_presence(&db, &clock, &node, &zone) => match count {
                Ok(()) => counted = true,
                Err(error) => tracing::warn!(%error, "when agents came and went is not counted now; trying again in ten minutes"),
            }
        }
    }
}

/// Counts when agents came and went on days of before that was kept; what they did is left as it is. Where that does not
/// agree with the stretches, after a change of the zone for example, it stays open when they came.
///
/// # Errors
/// The database, or another rebuild is at work.
pub async fn count_presence(db: &Db, clock: &Clock, node: &str, zone: &TimeZone) -> Result<()> {
    let mut tx = db.read().await?;
    let unknown = agent_days::unknown(&mut tx).await?;
    tx.rollback().await?;
    let Some((from, to)) = unknown else {
        return Ok(());
    };
    let (days, open) = rebuild::count_presence(db, (&from, &to), zone, node, clock).await?;
    tracing::info!(%from, %to, days, "counted when agents came and went");
    if open > 0 {
        tracing::warn!(rows = open, %from, %to, "agents' days do not agree with what they are sums of, so it stays open when agents came and went; see `ringfence stats check`, then run `ringfence stats rebuild`");
    }
    Ok(())
}

/// One round: seals every day that is due, unless another node is at it. Returns how many were sealed.
///
/// # Errors
/// The database.
pub async fn seal_due(db: &Db, clock: &Clock, node: &str, after: Duration) -> Result<usize> {
    let (mut sealed, mut claimed) = (0, false);
    for date in seal::due(db, clock.wall_ms(), after).await? {
        let now_ms = clock.wall_ms();
        let mut tx = db.begin().await?;
        let ours = claims::take(&mut tx, CLAIM, node, now_ms + CLAIM_MS, now_ms).await?;
        tx.commit().await?;
        if !ours {
            return Ok(sealed);
        }
        claimed = true;
        match seal::seal(db, &date, now_ms).await? {
            Sealing::Sealed(day) => {
                sealed += 1;
                tracing::info!(day = %day.date, attempts = day.attempts, sha256 = %day.sha256, "a day's figures are sealed");
            }
            Sealing::Differs(rows) => {
                tracing::error!(day = %date, rows, "the figures do not agree with the attempts: not sealed; run `ringfence stats check`, then `ringfence stats rebuild`");
                metrics::counter!("ringfence_figures_differ_total").increment(1);
            }
            Sealing::Before | Sealing::Busy => {}
        }
    }
    if claimed {
        let mut tx = db.begin().await?;
        claims::free(&mut tx, CLAIM, node).await?;
        tx.commit().await?;
    }
    Ok(sealed)
}
