//! The floor through its own inbox: who may begin a call, what is counted, what a drain waits for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{
    call::task::Told,
    clock::TrustMode,
    phone::{Region, ShortCodes},
    store::attempts::Purpose,
    switchboard::BrowserSettings,
};

struct Hall {
    asks: mpsc::Sender<Ask>,
    changes: crate::switchboard::states::Inbox,
}

fn hall(max_calls: usize, wrap_up: Duration) -> Hall {
    let settings = Settings {
        node: "main".into(),
        agent_ring: Duration::from_secs(20),
        customer_ring: Duration::from_secs(40),
        silence_limit: Duration::from_secs(60),
        max_calls,
        wrap_up,
        caller_id: String::new(),
        region: Region::CN,
        short_codes: ShortCodes::default(),
        purpose: Purpose::Case,
        media_address: std::net::Ipv4Addr::LOCALHOST.into(),
        browser: BrowserSettings {
            ips: Vec::new(),
            advertise: None,
        },
        display_zone: jiff::tz::TimeZone::UTC,
    };
    let (asks, inbox) = mpsc::channel(8);
    let (states, changes) = crate::switchboard::states::channel();
    let floor = Floor::new(Clock::system(TrustMode::Host), Arc::new(settings), states);
    tokio::spawn(floor.run(inbox));
    Hall { asks, changes }
}

fn call(n: u8) -> CallId {
    CallId::from_parts(1_795_399_200_000, [n; 10])
}

fn agent(n: i64) -> AgentId {
    AgentId::new(n)
}

impl Hall {
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply)).await;
        answer.await.unwrap()
    }

    async fn tell(&self, ask: Ask) {
        assert!(self.asks.send(ask).await.is_ok());
    }

    /// `Ok` if the agent was taken, else why not.
    async fn reserve(&self, who: i64, n: u8) -> Result<(), String> {
        let (agent, call) = (agent(who), call(n));
        self.ask(|reply| Ask::Reserve { agent, call, reply })
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    async fn release(&self, who: i64, n: u8) {
        let (agent, call) = (agent(who), call(n));
        self.tell(Ask::Release { agent, call }).await;
    }

    async fn begin(&self, who: i64, n: u8) -> Told {
        let (handle, told) = CallHandle::observed();
        let (agent, call) = (agent(who), call(n));
        let begin = Ask::Begin {
            call,
            agent,
            handle,
        };
        self.tell(begin).await;
        told
    }

    async fn over(&self, who: i64, n: u8, connected: bool) {
        let (agent, call) = (agent(who), call(n));
        let wrap_up = Ask::WrapUp {
            call,
            agent,
            connected,
        };
        self.tell(wrap_up).await;
        self.tell(Ask::End { call }).await;
    }

    async fn wish(&self, who: i64, wish: Wish) -> Result<(), String> {
        let agent = agent(who);
        self.ask(|reply| Ask::Wish { agent, wish, reply })
            .await
            .map_err(|error| error.to_string())
    }

    /// What an agent does since the last question, as it is written: the state's word and the reason.
    async fn did(&mut self) -> Vec<(i64, String)> {
        // What is asked after it has been handled: its changes are told.
        self.ask(|reply| Ask::IsDraining { reply }).await;
        self.ask(|reply| Ask::IsDraining { reply }).await;
        let changes = std::iter::from_fn(|| self.changes.try_next());
        let word = |change: &crate::store::agent_states::Change| match change.doing {
            Some(doing) => format!(
                "{doing}{}{}",
                if change.reason.is_empty() { "" } else { ": " },
                change.reason
            ),
            None => "gone".into(),
        };
        changes
            .map(|change| (change.agent.get(), word(&change)))
            .collect()
    }

    async fn drain(&self, patience: Duration) -> oneshot::Receiver<()> {
        self.ask(|reply| Ask::Drain { patience, reply }).await
    }
}

#[tokio::test]
async fn an_agent_has_one_call_at_a_time() {
    let hall = hall(10, Duration::ZERO);
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    assert_eq!(
        hall.reserve(1, 2).await,
        Err("the agent is reserved".into())
    );
    let _told = hall.begin(1, 1).await;
    assert_eq!(hall.reserve(1, 2).await, Err("the agent is on_call".into()));
    assert_eq!(hall.reserve(2, 3).await, Ok(()));
    hall.over(1, 1, true).await;
    assert_eq!(hall.reserve(1, 2).await, Ok(()));
}

#[tokio::test]
async fn a_refused_click_frees_the_agent_and_its_place() {
    let hall = hall(1, Duration::ZERO);
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    assert_eq!(hall.reserve(2, 2).await, Err("1 calls are up".into()));
    // Releasing for another call, or twice, frees nothing that is taken.
    hall.release(1, 9).await;
    assert_eq!(hall.reserve(2, 2).await, Err("1 calls are up".into()));
    hall.release(1, 1).await;
    hall.release(1, 1).await;
    assert_eq!(hall.reserve(2, 2).await, Ok(()));
    assert_eq!(hall.reserve(1, 3).await, Err("1 calls are up".into()));
}

#[tokio::test]
async fn a_click_whose_asker_is_gone_takes_nobody() {
    let hall = hall(1, Duration::ZERO);
    let (reply, answer) = oneshot::channel();
    drop(answer);
    let (agent, call) = (agent(1), call(1));
    hall.tell(Ask::Reserve { agent, call, reply }).await;
    assert_eq!(hall.reserve(1, 2).await, Ok(()));
}

#[tokio::test]
async fn after_a_conversation_the_next_click_ends_the_wrap_up() {
    let hall = hall(10, Duration::from_secs(3_600));
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let _told = hall.begin(1, 1).await;
    hall.over(1, 1, true).await;
    assert_eq!(hall.reserve(1, 2).await, Ok(()));
}

#[tokio::test]
async fn a_hang_up_reaches_the_call_and_only_that() {
    let hall = hall(10, Duration::ZERO);
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let mut first = hall.begin(1, 1).await;
    assert_eq!(hall.reserve(2, 2).await, Ok(()));
    let mut second = hall.begin(2, 2).await;
    hall.tell(Ask::HangUp { call: call(2) }).await;
    hall.tell(Ask::HangUp { call: call(7) }).await;
    assert_eq!(second.next().await, Some("hang_up"));
    hall.over(1, 1, false).await;
    assert_eq!(first.next().await, None);
}

#[tokio::test]
async fn a_drain_takes_no_new_call_and_waits_for_the_last() {
    let hall = hall(10, Duration::ZERO);
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let mut told = hall.begin(1, 1).await;
    let mut done = hall.drain(Duration::from_secs(3_600)).await;
    assert_eq!(
        hall.reserve(2, 2).await,
        Err("the daemon takes no new calls".into())
    );
    assert!(done.try_recv().is_err());
    hall.over(1, 1, true).await;
    assert_eq!(done.await, Ok(()));
    assert_eq!(told.next().await, None);
    assert_eq!(hall.drain(Duration::from_secs(3_600)).await.await, Ok(()));
}

#[tokio::test]
async fn a_click_under_decision_holds_the_drain_and_its_call_is_ended_as_it_begins() {
    let hall = hall(10, Duration::ZERO);
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let mut done = hall.drain(Duration::ZERO).await;
    assert!(hall.ask(|reply| Ask::IsDraining { reply }).await);
    assert!(done.try_recv().is_err());
    // The second drain's answer comes after the first has told everybody.
    let mut again = hall.drain(Duration::ZERO).await;
    assert!(again.try_recv().is_err());
    let mut told = hall.begin(1, 1).await;
    assert_eq!(told.next().await, Some("drain"));
    hall.over(1, 1, false).await;
    assert_eq!((done.await, again.await), (Ok(()), Ok(())));
}

#[tokio::test]
async fn every_change_of_an_agents_state_is_handed_on_once() {
    let mut hall = hall(10, Duration::from_secs(3_600));
    let own = |words: &[&str]| {
        words
            .iter()
            .map(|w| (1, (*w).to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(hall.wish(1, Wish::Ready).await, Ok(()));
    assert_eq!(hall.wish(1, Wish::Ready).await, Ok(()));
    assert_eq!(hall.did().await, own(&["ready"]));
    assert_eq!(hall.wish(1, Wish::Break("lunch".into())).await, Ok(()));
    assert_eq!(hall.wish(1, Wish::Break("training".into())).await, Ok(()));
    assert_eq!(hall.reserve(1, 1).await, Err("the agent is break".into()));
    assert_eq!(hall.wish(1, Wish::Ready).await, Ok(()));
    assert_eq!(
        hall.did().await,
        own(&["break: lunch", "break: training", "ready"])
    );
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let _told = hall.begin(1, 1).await;
    assert!(hall.wish(1, Wish::Break(String::new())).await.is_err());
    assert!(hall.wish(1, Wish::Gone).await.is_err());
    hall.over(1, 1, true).await;
    assert_eq!(hall.did().await, own(&["reserved", "talk", "wrap_up"]));
    // Another call's note ends nothing.
    let (agent, other) = (agent(1), call(9));
    hall.tell(Ask::Noted { agent, call: other }).await;
    assert_eq!(hall.did().await, []);
    hall.tell(Ask::Noted {
        agent,
        call: call(1),
    })
    .await;
    assert_eq!(hall.did().await, own(&["ready"]));
    assert_eq!(hall.wish(1, Wish::Gone).await, Ok(()));
    // Who clicks is there again.
    assert_eq!(hall.reserve(1, 2).await, Ok(()));
    hall.release(1, 2).await;
    hall.ask(|reply| Ask::AllGone { reply }).await;
    assert_eq!(
        hall.did().await,
        own(&["gone", "reserved", "ready", "gone"])
    );
}

#[tokio::test]
async fn a_wrap_up_that_runs_out_is_handed_on_without_being_asked() {
    let mut hall = hall(10, Duration::from_millis(20));
    assert_eq!(hall.reserve(1, 1).await, Ok(()));
    let _told = hall.begin(1, 1).await;
    hall.over(1, 1, true).await;
    let mut words = Vec::new();
    while words
        .last()
        .is_none_or(|word: &Option<_>| *word != Some(crate::store::agent_states::Doing::Ready))
    {
        words.push(hall.changes.next().await.unwrap().doing);
    }
    assert_eq!(words.len(), 4);
}
