//! A database that writes a call down and goes away before it can say so.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::store::{
    Location,
    users::{self, NewUser, Role, Scope, Token},
};

/// More than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A way to the server that hands everything on, but not the answer to the first COMMIT of an attempt: there it breaks.
async fn way_that_breaks(server: SocketAddr, armed: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(hand_on(client, server, armed.clone()));
        }
    });
    address
}

async fn hand_on(mut client: TcpStream, server: SocketAddr, armed: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    // What was asked lately: a word may come in two pieces.
    let (mut lately, mut attempt) = (Vec::new(), false);
    loop {
        tokio::select! {
            Ok(n @ 1..) = client.read(&mut asked) => {
                lately.extend_from_slice(&asked[..n]);
                let said = |word: &[u8]| lately.windows(word.len()).any(|at| at == word);
                attempt |= said(b"INSERT INTO attempts");
                let breaks = attempt && said(b"COMMIT") && armed.swap(false, Ordering::SeqCst);
                lately.drain(..lately.len().saturating_sub(20));
                if server.write_all(&asked[..n]).await.is_err() {
                    return;
                }
                if breaks {
                    // It is done when the server says so, which nobody hears.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            Ok(n @ 1..) = server.read(&mut answered) => {
                if client.write_all(&answered[..n]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_commit_nobody_heard_of_never_rings_and_is_closed() {
    let test = Test::postgres().await;
    let Location::Postgres(address) = &test.options.location else {
        panic!("a server");
    };
    let address = address.expose_secret().to_owned();
    let (before, rest) = address.split_once("127.0.0.1:").unwrap();
    let (port, name) = rest.split_once('/').unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let armed = Arc::new(AtomicBool::new(true));
    let way = way_that_breaks(server, armed.clone()).await;
    let options = store::Options {
        location: Location::Postgres(format!("{before}{way}/{name}").into()),
        ..test.options.clone()
    };
    let db = Db::open(&options).await.unwrap();
    let mut house = house_on(STAYS, test, db).await;
    let mut tx = house.test.db.begin().await.unwrap();
    let new = NewUser {
        name: "li",
        role: Role::Agent,
        agent_id: Some(house.request.agent),
        scope: Scope::All,
    };
    let token = Token::from_random([7; 32]);
    users::add(&mut tx, &new, &token, 0).await.unwrap();
    let user = users::by_token(&mut tx, &token).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let key = RequestKey {
        user: user.id,
        key: "one click".into(),
        request: b"{}".to_vec(),
    };
    house.request.key = Some(key);

    let first = house.switchboard.dial(house.request.clone()).await;
    assert!(
        matches!(&first, Err(DialError::Store(error)) if error.is_unavailable()),
        "{first:?}"
    );
    assert!(!armed.load(Ordering::SeqCst));
    // The same click again: nothing is promised that is not so. As soon as it is known what happened, it is decided anew.
    let mut events = house.switchboard.events();
    let again = async {
        loop {
            match house.switchboard.dial(house.request.clone()).await {
                Err(DialError::Store(error)) if error.is_unavailable() => {}
                other => break other.unwrap(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let DialAnswer::Accepted { call } = timeout(LONG, again).await.unwrap() else {
        panic!("the ghost of the first call bars the second");
    };
    assert_eq!(
        timeout(LONG, until(&mut events, "talking")).await.unwrap(),
        call
    );
    house.switchboard.hang_up(call).await;
    assert_eq!(until(&mut events, "ended").await, call);
    let mut tx = house.test.db.read().await.unwrap();
    assert_eq!(store::attempts::open_on(&mut tx, "main").await.unwrap(), []);
    let all = store::attempts::list(&mut tx, &user, None, None, 9)
        .await
        .unwrap();
    let ends: Vec<_> = all
        .iter()
        .map(|attempt| (attempt.cause.unwrap(), attempt.seized_at_ms.is_some()))
        .collect();
    assert_eq!(ends, [(Cause::Answered, true), (Cause::Internal, false)]);
}
