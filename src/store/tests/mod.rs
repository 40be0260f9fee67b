//! Behaviours of the store, each on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod attempts;
mod database;
mod figures;
mod histories;
mod ledger;
mod lost_contact;
mod notes;
mod nouns;
mod people;
pub(crate) mod postgres;
mod report_house;
mod reports;
mod schedules;
mod selections;
mod views;
mod work;

use std::sync::Arc;

use super::{
    Db, Location, Options, Tx, agents, attempts as at, batches, cases, clients, contact_points,
    contact_points::Target, receipts,
};
use crate::{
    ids::{AgentId, CallId, ReceiptId},
    phone::{PhoneNumber, Region, ShortCodes},
    policy::Relation,
};

/// Makes a test of each async function for both databases: `on_both! { fn name(test: Test) {…} }`.
macro_rules! on_both {
    ($( $(#[$meta:meta])* async fn $name:ident($test:ident: Test) $body:block )*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($test: Test) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                run(Test::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                run(Test::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use on_both;

/// An empty database of its own that goes away with the test.
pub(crate) struct Test {
    pub(crate) db: Db,
    pub(crate) options: Options,
    #[allow(dead_code, reason = "held until the test ends")]
    place: Place,
}

#[allow(dead_code, reason = "held until the test ends")]
enum Place {
    Dir(tempfile::TempDir),
    Server(Arc<postgres::Server>),
}

impl Test {
    pub(crate) async fn sqlite() -> Test {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(Location::Sqlite(dir.path().join("floor.db")));
        Test {
            db: Db::open(&options).await.unwrap(),
            options,
            place: Place::Dir(dir),
        }
    }

    pub(crate) async fn postgres() -> Test {
        let server = tokio::task::spawn_blocking(postgres::Server::shared)
            .await
            .unwrap();
        let address = server.create_database().await;
        let options = Options {
            connections: 8,
            ..Options::new(Location::Postgres(address.into()))
        };
        Test {
            db: Db::open(&options).await.unwrap(),
            options,
            place: Place::Server(server),
        }
    }
}

impl Test {
    /// On a database that was prepared with `statements` beforehand; the connection looks through these schemas.
    pub(crate) async fn postgres_beside(statements: &'static str, search_path: &str) -> Test {
        use sqlx::Connection as _;
        let server = tokio::task::spawn_blocking(postgres::Server::shared)
            .await
            .unwrap();
        let address = server.create_database().await;
        let mut connection = sqlx::PgConnection::connect(&address).await.unwrap();
        sqlx::raw_sql(statements)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let path = search_path.replace(',', "%2C");
        let url = format!("{address}?options=-c%20search_path%3D{path}");
        let options = Options {
            connections: 8,
            ..Options::new(Location::Postgres(url.into()))
        };
        Test {
            db: Db::open(&options).await.unwrap(),
            options,
            place: Place::Server(server),
        }
    }
}

/// Monday 2026-11-23, 10:00 in Shanghai.
pub(crate) const NOW_MS: i64 = 1_795_399_200_000;
pub(crate) const DATE: &str = "2026-11-23";
pub(crate) const NODE: &str = "node-a";

/// A client, an agent, and cases with one number each.
pub(crate) struct Floor {
    pub(crate) agent: AgentId,
    pub(crate) targets: Vec<Target>,
}

pub(crate) fn number(n: u32) -> PhoneNumber {
    PhoneNumber::parse(
        &format!("+86138{:08}", 10_000_000 + n),
        Region::CN,
        &ShortCodes::default(),
    )
    .unwrap()
}

/// Fills the database: `cases` cases of one client, each of another debtor with one own number.
pub(crate) async fn floor(db: &Db, cases: u32) -> Floor {
    let mut tx = db.begin().await.unwrap();
    let agent = agents::ensure(&mut tx, "A1", "Agent One", "8001", NOW_MS)
        .await
        .unwrap()
        .id;
    let mut targets = Vec::new();
    for n in 0..cases {
        targets.push(
            case(
                &mut tx,
                "bank",
                &format!("D{n}"),
                &format!("C{n}"),
                &number(n),
            )
            .await,
        );
    }
    tx.commit().await.unwrap();
    Floor { agent, targets }
}

/// One case with one number of the debtor's own.
pub(crate) async fn case(
    tx: &mut Tx,
    client: &str,
    debtor: &str,
    reference: &str,
    number: &PhoneNumber,
) -> Target {
    let client = clients::ensure(tx, client, client, NOW_MS)
        .await
        .unwrap()
        .id;
    let batch = batches::ensure(tx, client, "2026-11", NOW_MS)
        .await
        .unwrap();
    let debtor = cases::ensure_debtor(tx, client, debtor, NOW_MS)
        .await
        .unwrap();
    let case = cases::insert(tx, client, batch, debtor, reference, NOW_MS)
        .await
        .unwrap();
    let (point, _) =
        contact_points::ensure(tx, case.id, "Person", Relation::Debtor, number, NOW_MS)
            .await
            .unwrap();
    contact_points::target(tx, point).await.unwrap().unwrap()
}

/// Makes the debtors of two cases one person.
pub(crate) async fn same_person(tx: &mut Tx, one: &Target, other: &Target) {
    let sql = super::sql::Sql {
        act: "merge",
        text: "UPDATE debtors SET person_id = $1 WHERE id = $2",
    };
    let args = vec![one.person.into(), other.debtor.into()];
    tx.execute(&sql, args).await.unwrap();
}

/// Ids that tests can tell apart: the n-th of a millisecond.
pub(crate) fn call_id(n: u32) -> CallId {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    CallId::from_parts(NOW_MS, random)
}

/// Stores an allowed receipt and its attempt.
pub(crate) async fn dial(tx: &mut Tx, n: u32, target: &Target, agent: AgentId) -> CallId {
    let id = call_id(n);
    attempt(tx, id, target, agent, DATE, 10, NOW_MS, NODE).await;
    id
}

/// The same, ended by a busy phone.
pub(crate) async fn dial_busy(tx: &mut Tx, n: u32, target: &Target, agent: AgentId) -> CallId {
    let id = dial(tx, n, target, agent).await;
    let attempt = at::by_id(tx, id).await.unwrap().unwrap();
    let closing = at::Closing::after_crash(&attempt, crate::call::Cause::Busy, NOW_MS + 1, None);
    at::close(tx, id, &closing).await.unwrap();
    id
}

#[expect(
    clippy::too_many_arguments,
    reason = "a test's way to say what differs"
)]
pub(crate) async fn attempt(
    tx: &mut Tx,
    id: CallId,
    target: &Target,
    agent: AgentId,
    date: &str,
    hour: u8,
    now_ms: i64,
    node: &str,
) {
    let receipt = ReceiptId::from_uuid(id.uuid());
    let new = receipts::NewReceipt {
        id: receipt,
        at_ms: now_ms,
        allowed: true,
        target,
        agent: Some(agent),
        user: None,
        rules_sha256: "0",
        reasons: "[]",
        body: "{}",
    };
    receipts::insert(tx, &new).await.unwrap();
    let new = at::NewAttempt {
        id,
        receipt,
        purpose: at::Purpose::Case,
        node,
        target,
        agent,
        user: None,
        trunk: "pbx",
        caller_id: "+861088880000",
        zone: "Asia/Shanghai",
        local_date: date,
        local_hour: hour,
        started_at_ms: now_ms,
        valid_until_ms: now_ms + 60_000,
    };
    at::insert(tx, &new).await.unwrap();
}
