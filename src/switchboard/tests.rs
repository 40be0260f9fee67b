//! Clicks through the whole switchboard, against the practice PBX on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ringfence_media::EngineConfig;
use ringfence_recordings::{NamedKey, RootKey, VaultConfig};
use secrecy::SecretString;

use super::*;
use crate::{
    call::Cause,
    config::Transport,
    fact_journal::KEY_NAME,
    phone::PhoneNumber,
    policy::Preset,
    practice::{self, PracticePbx},
    store::tests::{Test, case},
    trunk::{TrunkSettings, TrunkState},
};

#[path = "broken_tests.rs"]
mod broken;
#[path = "unsure_tests.rs"]
mod unsure;

struct House {
    switchboard: Switchboard,
    db: Db,
    request: DialRequest,
    test: Test,
    _dir: tempfile::TempDir,
    _pbx: PracticePbx,
}

/// The debtor who answers and stays.
const STAYS: &str = "+8613800000002";
/// The debtor who never answers.
const RINGS_OUT: &str = "+8613800000003";

/// A floor with one agent at desk phone 1001 and one debtor of the practice PBX.
async fn house(debtor: &str) -> House {
    let test = Test::sqlite().await;
    let db = test.db.clone();
    house_on(debtor, test, db).await
}

/// The same, whose daemon has its own way to the database.
async fn house_on(debtor: &str, test: Test, db: Db) -> House {
    let clock = Clock::practice("Asia/Shanghai").unwrap();
    let now_ms = clock.wall_ms();
    let number = PhoneNumber::parse(debtor, Region::CN, &ShortCodes::default()).unwrap();
    let mut tx = db.begin().await.unwrap();
    let agent = store::agents::ensure(&mut tx, "A1", "Li", "1001", now_ms)
        .await
        .unwrap()
        .id;
    let target = case(&mut tx, "bank", "D1", "C1", &number).await;
    tx.commit().await.unwrap();

    let password = SecretString::from("practice".to_owned());
    let pbx = PracticePbx::start(clock.clone(), [1; 32], password.clone())
        .await
        .unwrap();
    let settings = TrunkSettings {
        name: "practice".into(),
        server: pbx.address,
        transport: Transport::Udp,
        bind: std::net::SocketAddr::new(pbx.address.ip(), 0),
        advertise: None,
        domain: pbx.address.to_string(),
        user: practice::USER.into(),
        password,
        register_expires: Duration::from_secs(60),
        qualify: Duration::from_secs(10),
        session_expires: Duration::from_secs(120),
        dial: "{e164}".into(),
        caller_id: None,
    };
    let trunk = Trunk::start(settings, clock.clone(), [2; 32])
        .await
        .unwrap();
    trunk.watch().wait_for(TrunkState::is_up).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    RootKey::create(&key).unwrap();
    let config = VaultConfig {
        free_floor: 0,
        ..VaultConfig::new(dir.path().join("vault"), dir.path().join("keys"))
    };
    let root = RootKey::load(&key).unwrap();
    let facts = NamedKey::open(&config.keys, KEY_NAME, &root, true).unwrap();
    let facts = FactJournal::open(&dir.path().join("journal"), facts).unwrap();
    let vault = Vault::open(config, RootKey::load(&key).unwrap()).unwrap();
    let engine = Engine::start(EngineConfig {
        threads: 1,
        bind: pbx.address.ip(),
        ports: 28_000..=28_999,
        quarantine: Duration::ZERO,
        silence_after: Duration::from_secs(10),
    })
    .unwrap();
    let switchboard = Switchboard::start(
        Parts {
            db: db.clone(),
            clock,
            trunk,
            engine,
            recorder: Recorder::start(vault.clone()).unwrap(),
            facts,
            vault,
            rules: Rulebook::open(Preset::CnPlan, None, "main").unwrap(),
        },
        Settings {
            node: "main".into(),
            agent_ring: Duration::from_secs(20),
            customer_ring: Duration::from_secs(40),
            silence_limit: Duration::from_secs(60),
            max_calls: 4,
            wrap_up: Duration::ZERO,
            caller_id: String::new(),
            region: Region::CN,
            short_codes: ShortCodes::default(),
            purpose: Purpose::Case,
            media_address: pbx.address.ip(),
            browser: BrowserSettings {
                ips: Vec::new(),
                advertise: None,
            },
            display_zone: jiff::tz::TimeZone::UTC,
        },
    );
    let request = DialRequest {
        contact_point: target.contact_point,
        agent,
        user: None,
        key: None,
    };
    House {
        switchboard,
        db,
        request,
        test,
        _dir: dir,
        _pbx: pbx,
    }
}

/// Waits for a call's event of this state.
async fn event(events: &mut broadcast::Receiver<News>, state: &str) -> FloorEvent {
    loop {
        match events.recv().await.unwrap() {
            News::Call(event) if event.state == state => return event,
            _ => {}
        }
    }
}

/// Waits for a call's event of this state; gives its call.
async fn until(events: &mut broadcast::Receiver<News>, state: &str) -> CallId {
    event(events, state).await.call_id.parse().unwrap()
}

#[tokio::test]
async fn a_click_whose_browser_is_closed_in_the_middle_is_decided_all_the_same() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    // The one writer is taken: the click gets as far as its transaction, and its asker goes away there.
    let writer = house.db.begin().await.unwrap();
    {
        let mut click = std::pin::pin!(house.switchboard.dial(house.request.clone()));
        let mut again = std::pin::pin!(async {
            // Busy as soon as the first click holds the agent.
            while !matches!(
                house.switchboard.dial(house.request.clone()).await,
                Err(DialError::AgentBusy(_))
            ) {}
        });
        tokio::select! {
            biased;
            // The other one was faster; then it is the one whose asker goes away.
            answer = &mut click => assert!(matches!(answer, Err(DialError::AgentBusy(_)))),
            () = &mut again => {}
        }
    }
    writer.rollback().await.unwrap();
    // Whoever of the two clicks came first: its call begins, is the agent's only one, and can be ended.
    let call = until(&mut events, "talking").await;
    assert!(matches!(
        house.switchboard.dial(house.request.clone()).await,
        Err(DialError::AgentBusy("on_call"))
    ));
    house.switchboard.hang_up(call).await;
    assert_eq!(until(&mut events, "ended").await, call);
    house.switchboard.drain(Duration::ZERO).await;
    let mut tx = house.db.read().await.unwrap();
    let attempt = store::attempts::by_id(&mut tx, call)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempt.cause, Some(Cause::Answered));
    assert!(
        store::dialogs::leftovers(&mut tx, "main")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_call_hung_up_before_its_customer_was_invited_counts_as_no_seizure() {
    let house = house(STAYS).await;
    let mut events = house.switchboard.events();
    let DialAnswer::Accepted { call } =
        house.switchboard.dial(house.request.clone()).await.unwrap()
    else {
        panic!("refused at ten in the morning");
    };
    assert_eq!(until(&mut events, "agent_ringing").await, call);
    // From here on nothing durable can happen, so the customer's INVITE cannot leave.
    let writer = house.db.begin().await.unwrap();
    until(&mut events, "agent_answered").await;
    house.switchboard.hang_up(call).await;
    writer.rollback().await.unwrap();
    assert_eq!(until(&mut events, "ended").await, call);
    house.switchboard.drain(Duration::ZERO).await;
    let mut tx = house.db.read().await.unwrap();
    let attempt = store::attempts::by_id(&mut tx, call)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (attempt.cause, attempt.seized_at_ms),
        (Some(Cause::Cancelled), None)
    );
    let recordings = store::recordings::of_call(&mut tx, call).await.unwrap();
    assert!(
        recordings
            .iter()
            .all(|r| r.state == store::recordings::RecordingState::Abandoned)
    );
}
