//! A call whose task breaks off by a fault of ours, at each place where it holds something else: it ends once, and nothing
//! of it stays open.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, interval, timeout};

use super::*;
use crate::{
    call::Class,
    settle::leftovers,
    store::{
        Location,
        attempts::Attempt,
        recordings::{Recording, RecordingState},
    },
};

/// More than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A call that has come so far.
async fn begun(house: &House, events: &mut broadcast::Receiver<News>, state: &str) -> CallId {
    let answer = house.switchboard.dial(house.request.clone()).await.unwrap();
    let DialAnswer::Accepted { call } = answer else {
        panic!("refused at ten in the morning");
    };
    assert_eq!(until(events, state).await, call);
    call
}

/// Breaks the call's task off at its next input, which the hang-up is if nothing else comes before.
async fn break_off(house: &House, call: CallId) {
    house.switchboard.work.fault.store(true, Ordering::SeqCst);
    house.switchboard.hang_up(call).await;
}

/// What nobody tells is looked at again and again.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(10));
    let until = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < until, "never: {what}");
        looks.tick().await;
    }
}

impl House {
    /// Some audio of the only call lies in the vault.
    async fn is_recording(&self) {
        let live = self.switchboard.vault.dir().join("live");
        eventually("audio in the vault", async || {
            let files = std::fs::read_dir(&live).unwrap().map(|file| file.unwrap());
            files
                .filter(|file| file.path().extension().is_some_and(|end| end == "live"))
                .any(|file| file.metadata().is_ok_and(|file| file.len() > 3 * 4_096))
        })
        .await;
    }

    /// Waits until the floor has let go of every call; then nothing of them is open any more.
    async fn is_settled(&self) {
        timeout(LONG, self.switchboard.drain(LONG)).await.unwrap();
        assert!(self.switchboard.vault.list_live().unwrap().is_empty());
        assert_eq!(self.switchboard.vault.probe().unwrap().live, 0);
        let mut tx = self.db.read().await.unwrap();
        let open = store::attempts::open_on(&mut tx, "main").await.unwrap();
        assert_eq!(open, []);
        drop(tx);
        let recount = crate::stats::check::recount(&self.db).await.unwrap();
        assert_eq!(recount.differences, []);
    }

    /// The PBX has confirmed the end of every leg.
    async fn legs_are_released(&self) {
        eventually("the PBX's release of every leg", async || {
            let legs = leftovers::journalled(&self.db, "main").await.unwrap();
            legs.is_empty()
        })
        .await;
    }

    async fn rows(&self, call: CallId) -> (Attempt, Vec<Recording>) {
        let mut tx = self.db.read().await.unwrap();
        let attempt = store::attempts::by_id(&mut tx, call).await.unwrap();
        let recordings = store::recordings::of_call(&mut tx, call).await.unwrap();
        (attempt.unwrap(), recordings)
    }
}

/// Nothing more is told of the call.
fn is_silent(events: &mut broadcast::Receiver<News>, call: CallId) {
    while let Ok(news) = events.try_recv() {
        let News::Call(event) = news else { continue };
        assert_ne!(event.call_id, call.to_string(), "{event:?}");
    }
}

#[tokio::test]
async fn one_that_breaks_off_in_the_middle_of_a_talk_ends_answered_and_recorded() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    let call = begun(&house, &mut events, "talking").await;
    house.is_recording().await;
    break_off(&house, call).await;
    let ended = event(&mut events, "ended").await;
    assert_eq!(
        (ended.call_id, ended.cause),
        (call.to_string(), Some(Cause::Answered))
    );

    // It stands in the rows before anybody is told.
    let (attempt, recordings) = house.rows(call).await;
    assert_eq!(attempt.cause, Some(Cause::Answered));
    assert_eq!(attempt.ended_by.as_deref(), Some("system"));
    assert!(attempt.settled && attempt.seized_at_ms.is_some());
    let [recording] = &recordings[..] else {
        panic!("{recordings:?}");
    };
    assert_eq!(recording.state, RecordingState::Recovered);
    let seal = recording.seal.as_ref().unwrap();
    assert_eq!(Some(seal.duration_ms as i64), attempt.talk_ms());
    assert!(seal.duration_ms > 0 && seal.covered_ms == seal.expected_ms);
    let sealed = house.switchboard.vault.verify(recording.id.uuid()).unwrap();
    assert!(sealed.facts.complete, "its last piece is missing");

    // The agent dials again, and that call ends as any other.
    house.switchboard.work.fault.store(false, Ordering::SeqCst);
    let again = begun(&house, &mut events, "talking").await;
    house.switchboard.hang_up(again).await;
    assert_eq!(until(&mut events, "ended").await, again);
    house.is_settled().await;
    house.legs_are_released().await;
    is_silent(&mut events, call);
}

#[tokio::test]
async fn one_that_breaks_off_while_it_rings_at_the_customer_is_ours() {
    let house = house(RINGS_OUT).await;
    let mut events = house.switchboard.events();
    let call = begun(&house, &mut events, "customer_ringing").await;
    break_off(&house, call).await;
    let ended = event(&mut events, "ended").await;
    assert_eq!(
        (ended.call_id, ended.cause),
        (call.to_string(), Some(Cause::Internal))
    );
    house.is_settled().await;
    house.legs_are_released().await;
    let (attempt, recordings) = house.rows(call).await;
    assert_eq!(
        (attempt.class, attempt.answered_at_ms),
        (Some(Class::Ours), None)
    );
    assert!(attempt.seized_at_ms.is_some(), "its INVITE had left");
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].state, RecordingState::Abandoned);
    is_silent(&mut events, call);
}

#[tokio::test]
async fn one_that_breaks_off_while_it_rings_at_the_agent_counts_as_no_seizure() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    let call = begun(&house, &mut events, "agent_ringing").await;
    break_off(&house, call).await;
    assert_eq!(
        event(&mut events, "ended").await.cause,
        Some(Cause::Internal)
    );
    house.is_settled().await;
    house.legs_are_released().await;
    let (attempt, recordings) = house.rows(call).await;
    assert_eq!((attempt.seized_at_ms, recordings), (None, Vec::new()));
}

#[tokio::test]
async fn one_that_breaks_off_after_its_end_keeps_that_end_and_is_sealed() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    let call = begun(&house, &mut events, "talking").await;
    house.is_recording().await;
    // Until the one writer is given back the call cannot be closed, and nothing of its end has been looked at.
    let writer = house.db.begin().await.unwrap();
    house.switchboard.hang_up(call).await;
    eventually("the seal", async || {
        house.switchboard.vault.list_live().unwrap().is_empty()
    })
    .await;
    house.switchboard.work.fault.store(true, Ordering::SeqCst);
    writer.rollback().await.unwrap();
    assert_eq!(
        event(&mut events, "ended").await.cause,
        Some(Cause::Answered)
    );
    house.is_settled().await;
    let (attempt, recordings) = house.rows(call).await;
    assert_eq!(attempt.ended_by.as_deref(), Some("agent"));
    assert!(!attempt.settled);
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].state, RecordingState::Sealed);
    is_silent(&mut events, call);
    // That the PBX had released a leg went down with the task: it is asked as after a crash.
    let work = &house.switchboard.work;
    let left = leftovers::journalled(&house.db, "main").await.unwrap();
    let (trunk, clock) = (work.trunk.clone(), work.clock.clone());
    leftovers::release(house.db.clone(), trunk, clock, "main".into(), left);
    house.legs_are_released().await;
}

#[tokio::test]
async fn one_that_breaks_off_while_the_database_is_away_is_settled_when_it_is_back() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    let call = begun(&house, &mut events, "talking").await;
    house.is_recording().await;
    let Location::Sqlite(file) = &house.test.options.location else {
        panic!("another database");
    };
    let aside = file.with_extension("aside");
    std::fs::rename(file, &aside).unwrap();
    break_off(&house, call).await;
    eventually("the seal", async || {
        house.switchboard.vault.list_live().unwrap().is_empty()
    })
    .await;
    assert_eq!(house.switchboard.state_of(call).await, Some("talking"));
    is_silent(&mut events, call);
    std::fs::rename(&aside, file).unwrap();
    assert_eq!(
        event(&mut events, "ended").await.cause,
        Some(Cause::Answered)
    );
    let (attempt, recordings) = house.rows(call).await;
    assert_eq!(attempt.talk_ms().map(|ms| ms > 0), Some(true));
    assert_eq!(recordings[0].state, RecordingState::Recovered);
}
