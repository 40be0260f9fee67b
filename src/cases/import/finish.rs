//! How an import ends that is no longer read: what was decided is carried out, what was not is swept away. In pieces, by the
//! import itself, or after a crash by the next one or the next start.

use super::{ImportError, Report};
use crate::{
    clock::Clock,
    pace::Pace,
    store::{
        self, Db,
        case_changes::{self, Change},
        imports::{self, State},
    },
};

/// Sweeps what imports that broke off have written, and carries out what was decided. For the daemon's start; does nothing
/// while somebody imports. Says how many there were.
///
/// # Errors
/// The database.
pub async fn recover(db: &Db, clock: &Clock) -> Result<usize, ImportError> {
    match db.import_lock().await? {
        Some(lock) => {
            let recovered = recover_locked(db, clock).await;
            lock.release().await;
            recovered
        }
        None => Ok(0),
    }
}

pub(super) async fn recover_locked(db: &Db, clock: &Clock) -> Result<usize, ImportError> {
    let mut tx = db.read().await?;
    let unfinished = imports::unfinished(&mut tx).await?;
    tx.rollback().await?;
    for (id, state, actor) in &unfinished {
        if *state == State::Applying {
            apply(db, clock, *id, actor, &mut Report::default()).await?;
        } else {
            sweep(db, clock, *id, State::BrokenOff).await?;
        }
    }
    Ok(unfinished.len())
}

/// Takes away everything that an undecided import has written.
pub(super) async fn sweep(
    db: &Db,
    clock: &Clock,
    id: i64,
    state: State,
) -> Result<(), ImportError> {
    let mut pace = Pace::new(db, clock);
    loop {
        let mut tx = pace.begin().await?;
        let more = imports::sweep_some(&mut tx, id, pace.rows()).await?;
        if !more {
            imports::end(&mut tx, id, state, clock.wall_ms()).await?;
        }
        pace.commit(tx).await?;
        if !more {
            return Ok(());
        }
    }
}

/// Carries out what was decided.
pub(super) async fn apply(
    db: &Db,
    clock: &Clock,
    id: i64,
    actor: &str,
    report: &mut Report,
) -> Result<(), ImportError> {
    let mut pace = Pace::new(db, clock);
    loop {
        let mut tx = pace.begin().await?;
        // Revealing a row is far quicker than changing one.
        let most = pace.rows() * 10;
        let revealed = imports::reveal_some(&mut tx, id, most, clock.wall_ms()).await?;
        pace.commit(tx).await?;
        if revealed == 0 {
            break;
        }
    }
    loop {
        let mut tx = pace.begin().await?;
        let staged = imports::staged(&mut tx, id, pace.rows()).await?;
        let changes: Vec<Change> = staged
            .iter()
            .map(|(_, body)| serde_json::from_str(body))
            .collect::<Result<_, _>>()
            .map_err(|_| store::Error::unknown("carry out an import", "import_rows.body"))?;
        if let Some((last, _)) = staged.last() {
            let now_ms = clock.wall_ms();
            let applied = case_changes::apply(&mut tx, &changes, Some(id), actor, now_ms).await?;
            report.new_contact_points += applied.new_points;
            report.settled += applied.settled;
            report.in_balance += applied.in_balance;
            imports::unstage(&mut tx, id, *last).await?;
        }
        if changes.is_empty() {
            imports::end(&mut tx, id, State::Done, clock.wall_ms()).await?;
        }
        pace.commit(tx).await?;
        if changes.is_empty() {
            return Ok(());
        }
    }
}
