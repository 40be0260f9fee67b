//! Bringing a list in, whole or not at all: numbers that must not be called, calls of other agencies.
//!
//! The rows are noted in short pieces that no decision reads, with gaps in which calls find their turn. One short transaction
//! decides; from then on they are carried out in such pieces to the end, if need be by the next import or the next start.
//! What broke off before is swept away by those. Which rows are good is judged before, by `bars.rs` and `outside.rs`.

use serde::{Deserialize, Serialize};

use super::{By, Refused};
use crate::{
    clock::Clock,
    ids::ClientId,
    pace::Pace,
    phone::PhoneNumber,
    policy::BarKind,
    store::{
        self, Db, Tx,
        access::{self, Access},
        bars::{self, NewBar, Subject},
        contact_points,
        imports::{Counts, State},
        outside_counts::{self, Change, OutsideCount},
        rule_lists::{self, Kind, NewList},
    },
};

/// One row of a list as it waits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Waiting {
    Calls(OutsideCount),
    Bar {
        number: i64,
        client: Option<ClientId>,
        kind: BarKind,
        reason: String,
        from_ms: i64,
        actor: String,
    },
}

/// The rows of a list.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Calls that others made.
    Calls(&'a [OutsideCount]),
    /// Numbers to be barred, with a reason where it is not the list's.
    Bars {
        /// The numbers.
        numbers: &'a [(PhoneNumber, Option<String>)],
        /// For whose cases alone.
        client: Option<ClientId>,
        /// Why, as the rules see it.
        kind: BarKind,
        /// Why, in words.
        reason: &'a str,
    },
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Calls(counts) => counts.len(),
            Self::Bars { numbers, .. } => numbers.len(),
        }
    }

    async fn waiting(&self, tx: &mut Tx, at: usize, by: By<'_>) -> store::Result<Option<Waiting>> {
        Ok(match self {
            Self::Calls(counts) => counts.get(at).cloned().map(Waiting::Calls),
            Self::Bars {
                numbers,
                client,
                kind,
                reason,
            } => match numbers.get(at) {
                Some((number, own)) => Some(Waiting::Bar {
                    number: contact_points::ensure_number(tx, number, by.now_ms).await?,
                    client: *client,
                    kind: *kind,
                    reason: own.as_deref().unwrap_or(reason).to_owned(),
                    from_ms: by.now_ms,
                    actor: by.actor.to_owned(),
                }),
                None => None,
            },
        })
    }
}

/// Brings a list in; gives what became of its rows.
///
/// # Errors
/// [`Refused::Conflict`] while somebody else imports, or the database. An error that names the list came after it was
/// decided: the rest of it is carried out by the next import or start.
pub async fn bring(
    db: &Db,
    clock: &Clock,
    new: &NewList<'_>,
    rows: Rows<'_>,
    by: By<'_>,
) -> Result<Counts, Refused> {
    let Some(lock) = db.import_lock().await? else {
        return Err(Refused::Conflict(
            "somebody else is importing into this database; try again when that is done".into(),
        ));
    };
    let done = locked(db, clock, new, rows, by).await;
    lock.release().await;
    done
}

async fn locked(
    db: &Db,
    clock: &Clock,
    new: &NewList<'_>,
    rows: Rows<'_>,
    by: By<'_>,
) -> Result<Counts, Refused> {
    recover_locked(db, clock).await?;
    let mut tx = db.begin().await?;
    let id = rule_lists::begin(&mut tx, new, by.actor, by.now_ms).await?;
    tx.commit().await?;
    let decided = match stage(db, clock, id, rows, by).await {
        Ok(()) => decide(db, id, new, by).await,
        Err(error) => Err(error),
    };
    if let Err(error) = decided {
        // If the database went away, the next import or start sweeps.
        if let Err(swept) = sweep(db, clock, id).await {
            tracing::warn!(error = %swept, list = id, "what a list had written is not swept yet");
        }
        return Err(error.into());
    }
    let applied = match apply(db, clock, id).await {
        Ok(()) => counted(db, id).await,
        Err(error) => Err(error),
    };
    applied.map_err(|error| {
        Refused::Conflict(format!(
            "list {id} is decided, and what is left of it is carried out by the next import or start: {error}"
        ))
    })
}

async fn counted(db: &Db, id: i64) -> store::Result<Counts> {
    let mut tx = db.read().await?;
    let counts = rule_lists::counts(&mut tx, id).await?;
    tx.rollback().await?;
    Ok(counts)
}

/// Notes the rows in pieces.
async fn stage(db: &Db, clock: &Clock, id: i64, rows: Rows<'_>, by: By<'_>) -> store::Result<()> {
    let mut pace = Pace::new(db, clock);
    let mut at = 0;
    while at < rows.len() {
        let mut tx = pace.begin().await?;
        let mut piece = Vec::new();
        for _ in 0..pace.rows() {
            let Some(row) = rows.waiting(&mut tx, at, by).await? else {
                break;
            };
            let body = serde_json::to_string(&row).map_err(|error| store::Error::Mistake {
                act: "note the rows of a list",
                cause: error.to_string(),
            })?;
            at += 1;
            piece.push((at as u64, body));
        }
        rule_lists::stage(&mut tx, id, piece).await?;
        pace.commit(tx).await?;
    }
    Ok(())
}

async fn decide(db: &Db, id: i64, new: &NewList<'_>, by: By<'_>) -> store::Result<()> {
    let mut tx = db.begin().await?;
    rule_lists::decide(&mut tx, id).await?;
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action: match new.kind {
            Kind::OutsideCounts => "outside_counts.import",
            Kind::Bars => "bar.import",
        },
        object: &format!("list {id}"),
        client_id: new.client,
        detail: serde_json::json!({
            "rows": new.read,
            "faulty": new.faulty,
        }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await
}

/// Carries out what was decided.
async fn apply(db: &Db, clock: &Clock, id: i64) -> store::Result<()> {
    let mut pace = Pace::new(db, clock);
    loop {
        let mut tx = pace.begin().await?;
        let staged = rule_lists::staged(&mut tx, id, pace.rows()).await?;
        let mut became = Counts::default();
        for (_, body) in &staged {
            let row = serde_json::from_str(body)
                .map_err(|_| store::Error::unknown("carry out a list", "rule_list_rows.body"))?;
            match carry_out(&mut tx, row).await? {
                Change::New => became.new += 1,
                Change::Changed => became.changed += 1,
                Change::Same => became.same += 1,
            }
        }
        match staged.last() {
            Some((last, _)) => rule_lists::unstage(&mut tx, id, *last, &became).await?,
            None => rule_lists::end(&mut tx, id, State::Done, clock.wall_ms()).await?,
        }
        pace.commit(tx).await?;
        if staged.is_empty() {
            return Ok(());
        }
    }
}

async fn carry_out(tx: &mut Tx, row: Waiting) -> store::Result<Change> {
    match row {
        Waiting::Calls(count) => outside_counts::put(tx, &count, None).await,
        Waiting::Bar {
            number,
            client,
            kind,
            reason,
            from_ms,
            actor,
        } => {
            let bar = NewBar {
                subject: Subject::Number(number),
                client,
                kind,
                reason: &reason,
                from_ms,
                until_ms: None,
                actor: &actor,
            };
            let (_, new) = bars::bar(tx, &bar).await?;
            Ok(if new { Change::New } else { Change::Same })
        }
    }
}

/// Sweeps lists that broke off, and carries out what was decided. For the daemon's start; does nothing while somebody
/// imports. Says how many there were.
///
/// # Errors
/// The database.
pub async fn recover(db: &Db, clock: &Clock) -> store::Result<usize> {
    match db.import_lock().await? {
        Some(lock) => {
            let recovered = recover_locked(db, clock).await;
            lock.release().await;
            recovered
        }
        None => Ok(0),
    }
}

async fn recover_locked(db: &Db, clock: &Clock) -> store::Result<usize> {
    let mut tx = db.read().await?;
    let unfinished = rule_lists::unfinished(&mut tx).await?;
    tx.rollback().await?;
    for (id, state) in &unfinished {
        match state {
            State::Applying => apply(db, clock, *id).await?,
            _ => sweep(db, clock, *id).await?,
        }
    }
    Ok(unfinished.len())
}

/// Takes away everything that an undecided list has noted. Numbers stay: one without a person says nothing about anybody.
async fn sweep(db: &Db, clock: &Clock, id: i64) -> store::Result<()> {
    let mut pace = Pace::new(db, clock);
    loop {
        let mut tx = pace.begin().await?;
        let more = rule_lists::sweep_some(&mut tx, id, pace.rows()).await?;
        if !more {
            rule_lists::end(&mut tx, id, State::BrokenOff, clock.wall_ms()).await?;
        }
        pace.commit(tx).await?;
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        clock::{TestClock, TrustMode},
        store::tests::{DATE, NOW_MS, Test, floor, number, on_both},
    };

    const BY: By<'static> = By {
        actor: "lin",
        now_ms: NOW_MS,
    };

    fn clock() -> Clock {
        Clock::test(TestClock::standing(NOW_MS), TrustMode::Host)
    }

    fn list(kind: Kind, rows: usize) -> NewList<'static> {
        NewList {
            kind,
            client: None,
            file_name: "list.csv",
            read: rows as u64,
            faulty: 0,
        }
    }

    fn numbers(of: u32) -> Vec<(PhoneNumber, Option<String>)> {
        (0..of).map(|n| (number(n), None)).collect()
    }

    fn barring(numbers: &[(PhoneNumber, Option<String>)]) -> Rows<'_> {
        Rows::Bars {
            numbers,
            client: None,
            kind: BarKind::DoNotCall,
            reason: "list of the bank",
        }
    }

    async fn barred(test: &Test) -> usize {
        let mut tx = test.db.read().await.unwrap();
        let wanted = bars::Wanted::default();
        bars::list(&mut tx, wanted, None, 9_999)
            .await
            .unwrap()
            .len()
    }

    /// Writes the rows of a list as its process does before it dies.
    async fn noted(test: &Test, new: &NewList<'_>, rows: Rows<'_>, decided: bool) -> i64 {
        let mut tx = test.db.begin().await.unwrap();
        let id = rule_lists::begin(&mut tx, new, "lin", NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        stage(&test.db, &clock(), id, rows, BY).await.unwrap();
        if decided {
            decide(&test.db, id, new, BY).await.unwrap();
        }
        id
    }

    async fn left(test: &Test) -> Vec<(Kind, State, Counts)> {
        let mut tx = test.db.read().await.unwrap();
        let lines = rule_lists::list(&mut tx, 9).await.unwrap();
        assert!(
            rule_lists::staged(&mut tx, lines[0].id, 9)
                .await
                .unwrap()
                .is_empty()
        );
        lines
            .into_iter()
            .map(|line| (line.kind, line.state, line.counts))
            .collect()
    }

    on_both! {
        async fn a_list_is_there_whole_and_again_changes_nothing(test: Test) {
            let numbers = numbers(500);
            let new = list(Kind::Bars, numbers.len());
            let first = bring(&test.db, &clock(), &new, barring(&numbers), BY).await.unwrap();
            assert_eq!((first.read, first.new, first.same, barred(&test).await), (500, 500, 0, 500));
            let again = bring(&test.db, &clock(), &new, barring(&numbers), BY).await.unwrap();
            assert_eq!((again.new, again.same, barred(&test).await), (0, 500, 500));
            let lock = test.db.import_lock().await.unwrap();
            let busy = bring(&test.db, &clock(), &new, barring(&numbers), BY).await.unwrap_err();
            assert!(busy.to_string().contains("try again"), "{busy}");
            drop(lock);
        }

        async fn what_broke_off_bars_nobody_and_is_swept_by_the_next_start(test: Test) {
            let numbers = numbers(300);
            let new = list(Kind::Bars, numbers.len());
            noted(&test, &new, barring(&numbers), false).await;
            assert_eq!(barred(&test).await, 0, "nothing half done");
            assert_eq!(recover(&test.db, &clock()).await.unwrap(), 1);
            assert_eq!(recover(&test.db, &clock()).await.unwrap(), 0);
            assert_eq!(barred(&test).await, 0);
            assert_eq!(left(&test).await[0].1, State::BrokenOff);
            // Or by the next import.
            let id = noted(&test, &new, barring(&numbers), false).await;
            bring(&test.db, &clock(), &new, barring(&numbers[..1]), BY).await.unwrap();
            assert_eq!(barred(&test).await, 1);
            let states: Vec<_> = left(&test).await.into_iter().map(|(_, state, _)| state).collect();
            assert_eq!(states, [State::Done, State::BrokenOff, State::BrokenOff]);
            // Whoever was thought dead and is not finds itself swept.
            let late = stage(&test.db, &clock(), id, barring(&numbers), BY).await.unwrap_err();
            assert!(late.to_string().contains("swept"), "{late}");
        }

        async fn what_was_decided_is_carried_out_to_its_end_after_a_crash(test: Test) {
            let floor = floor(&test.db, 1).await;
            let target = &floor.targets[0];
            let counts: Vec<OutsideCount> = (0..300)
                .map(|n| OutsideCount {
                    client: target.client,
                    case: target.case,
                    number: None,
                    date: DATE.into(),
                    day_began_ms: NOW_MS,
                    day_ended_ms: NOW_MS + 1,
                    attempts: 2,
                    connected: 1,
                    source: format!("agency {n}"),
                })
                .collect();
            let sum = async |test: &Test| {
                let mut tx = test.db.read().await.unwrap();
                let over = outside_counts::Over::Case(target.case);
                outside_counts::sum(&mut tx, over, 0).await.unwrap().attempts
            };
            let new = list(Kind::OutsideCounts, counts.len());
            noted(&test, &new, Rows::Calls(&counts), true).await;
            assert_eq!(sum(&test).await, 0);
            assert_eq!(recover(&test.db, &clock()).await.unwrap(), 1);
            assert_eq!(sum(&test).await, 600);
            let (kind, state, became) = left(&test).await[0];
            assert_eq!((kind, state, became.new), (Kind::OutsideCounts, State::Done, 300));
        }
    }
}
