//! What the PBX still holds of calls that are over is released as soon as it can be reached: legs of before a crash, and
//! of calls whose BYE or CANCEL it did not answer because it was away.

use std::time::Duration;

use ringfence_sip::DialogSnapshot;
use tokio::task::JoinSet;

use crate::{
    clock::Clock,
    store::{self, Db, dialogs::Dialog},
    trunk::{Trunk, TrunkState},
};

/// Pause between tries to reach the PBX about leftovers.
const RETRY: Duration = Duration::from_secs(2);
/// Pause between looks for legs of ended calls that the PBX never released.
const LOOK: Duration = Duration::from_secs(5);
/// A leg is forgotten when its call has been over for so long: BYE is repeated for 32 s (RFC 3261 17.1.2.2, timer F).
const FORGOTTEN_MS: i64 = 35_000;

/// The legs that the journal still holds: calls from before, as long as none has begun now.
pub(crate) async fn journalled(db: &Db, node: &str) -> Result<Vec<Dialog>, store::Error> {
    let mut tx = db.read().await?;
    store::dialogs::leftovers(&mut tx, node).await
}

/// Ends, beside everything else, what the PBX still holds of calls from before; and later, of calls whose BYE or CANCEL
/// it did not answer because it was away.
pub(crate) fn release(
    db: Db,
    trunk: Trunk,
    clock: Clock,
    node: String,
    mut leftovers: Vec<Dialog>,
) {
    tokio::spawn(async move {
        let mut state = trunk.watch();
        let mut away = false;
        loop {
            // Ends only with the trunk itself.
            if state.wait_for(TrunkState::is_up).await.is_err() {
                return;
            }
            let mut asked = JoinSet::new();
            for leftover in leftovers {
                asked.spawn(release_one(db.clone(), trunk.clone(), leftover));
            }
            asked.join_all().await;
            tokio::time::sleep(LOOK).await;
            let forgotten = async {
                let mut tx = db.read().await?;
                let before = clock.wall_ms().saturating_sub(FORGOTTEN_MS);
                store::dialogs::forgotten(&mut tx, &node, before).await
            };
            leftovers = listed(forgotten.await, &mut away);
        }
    });
}

/// What was listed. An outage of the database is told once, and once more when it is over.
fn listed(found: Result<Vec<Dialog>, store::Error>, away: &mut bool) -> Vec<Dialog> {
    match found {
        Ok(found) => {
            if std::mem::replace(away, false) {
                tracing::info!("legs that the PBX did not release can be listed again");
            }
            found
        }
        Err(error) => {
            if !std::mem::replace(away, true) {
                tracing::warn!(%error, "legs that the PBX did not release cannot be listed; asking on");
            }
            Vec::new()
        }
    }
}

async fn release_one(db: Db, trunk: Trunk, leftover: Dialog) {
    let (call, leg) = (leftover.call_id, leftover.leg.as_str());
    match leftover.snapshot.parse::<DialogSnapshot>() {
        Ok(snapshot) => {
            let mut told = false;
            while !trunk.release_leftover(snapshot.clone()).await {
                if !told {
                    tracing::warn!(%call, leg, "the PBX does not answer about a leg of before; asking on");
                    told = true;
                }
                tokio::time::sleep(RETRY).await;
            }
            tracing::info!(%call, leg, "the PBX has released a leg of a call that is over");
        }
        Err(error) => {
            tracing::error!(%call, leg, %error, "a journalled leg cannot be read and is forgotten")
        }
    }
    let removed = async {
        let mut tx = db.begin().await?;
        store::dialogs::remove(&mut tx, call, leg).await?;
        tx.commit().await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%call, leg, %error, "a released leg stays in the journal; the next start asks again");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    /// Where the log goes.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outage_is_told_once_and_once_that_it_is_over() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            let gone = || {
                Err(store::Error::Unavailable {
                    act: "ask",
                    cause: "it is away".into(),
                    remedy: "wait".into(),
                })
            };
            let mut away = false;
            for found in [
                Ok(Vec::new()),
                gone(),
                gone(),
                gone(),
                Ok(Vec::new()),
                Ok(Vec::new()),
            ] {
                listed(found, &mut away);
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("WARN").count(), 1, "{text}");
        assert_eq!(text.matches("listed again").count(), 1, "{text}");
    }
}
