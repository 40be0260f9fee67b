//! People and cases of a test: agents, logins and debtors in the database of one [`Setup`], and a way into that
//! database behind the daemon's back.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::daemon::{Api, Daemon, Setup};

/// The client that placed all cases.
pub const CLIENT: &str = "bank";
/// What the people of the cases are called: a name that is found wherever it leaks.
pub const NAME: &str = "欧阳测试";

/// Who works here. Tokens are as the command line printed them.
pub struct Floor {
    /// Tokens of the agents, in the order of their extensions.
    pub agents: Vec<String>,
    /// Token of a lead.
    pub lead: String,
    /// Token of a compliance officer.
    pub compliance: String,
    /// The numbers, in the order of their contact points; contact point and case `n` (from 1) have number `n - 1`.
    pub numbers: Vec<String>,
}

impl Floor {
    /// Imports a case for each number, and makes an agent for each extension, a lead and a compliance officer.
    pub fn prepare(setup: &Setup, extensions: &[&str], numbers: &[&str]) -> Floor {
        let mut csv = "case,debtor,name,relation,number\n".to_owned();
        for (index, number) in numbers.iter().enumerate() {
            csv.push_str(&format!("C{0},D{0},{NAME}{0},debtor,{number}\n", index + 1));
        }
        std::fs::write(setup.path("cases.csv"), csv).unwrap();
        let file = setup.path("cases.csv");
        setup.with_config(&[
            "cases",
            "import",
            &file.to_string_lossy(),
            "--client",
            CLIENT,
            "--batch",
            "1",
            "--new-client",
            "Bank",
        ]);
        let user = |name: &str, role: &str, more: &[&str]| {
            add_user(setup, name, role, &[&["--all-clients"], more].concat())
        };
        let agents = extensions
            .iter()
            .enumerate()
            .map(|(index, extension)| {
                let code = format!("A{}", index + 1);
                user(
                    &format!("agent-{}", index + 1),
                    "agent",
                    &["--agent", &code, "--extension", extension],
                )
            })
            .collect();
        Floor {
            agents,
            lead: user("lead", "lead", &[]),
            compliance: user("compliance", "compliance", &[]),
            numbers: numbers.iter().map(|&number| number.to_owned()).collect(),
        }
    }

    /// Like [`Floor::prepare`], with numbers whose last four digits are `behaviours` (see `asterisk.rs`).
    pub fn prepare_for(setup: &Setup, extensions: &[&str], behaviours: &[&str]) -> Floor {
        let numbers: Vec<String> = behaviours
            .iter()
            .enumerate()
            .map(|(index, behaviour)| super::house::number(index, behaviour))
            .collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        Floor::prepare(setup, extensions, &numbers)
    }

    /// The API as the first agent.
    pub fn agent(&self, daemon: &Daemon) -> Api {
        daemon.api(&self.agents[0])
    }

    /// Everything that no log may hold: numbers, names, tokens.
    pub fn secrets(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.numbers.iter().map(String::as_str).collect();
        all.extend(self.agents.iter().map(String::as_str));
        all.extend([NAME, &self.lead, &self.compliance]);
        all
    }
}

/// Makes a login and gives its token; `more` says for which clients and, of an agent, who and where.
pub fn add_user(setup: &Setup, name: &str, role: &str, more: &[&str]) -> String {
    let mut arguments = vec!["users", "add", name, "--role", role];
    arguments.extend(more);
    setup.with_config(&arguments).trim().to_owned()
}

/// Enters a second client, `other`, with one case at `number`.
pub fn other_client(setup: &Setup, number: &str) {
    let file = setup.path("other.csv");
    let rows = format!("case,debtor,name,relation,number\nX1,X1,Someone,debtor,{number}\n");
    std::fs::write(&file, rows).unwrap();
    let file = file.to_string_lossy();
    let import = format!("cases import {file} --client other --batch 1 --new-client Other");
    setup.with_config(&import.split(' ').collect::<Vec<_>>());
}

/// A connection to a setup's database, as another program would have one.
pub struct Store {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Does the same on either connection.
macro_rules! on {
    ($store:ident, $connection:ident => $act:expr) => {
        match &mut $store.connection {
            Connection::Sqlite($connection) => $store.runtime.block_on($act).unwrap(),
            Connection::Postgres($connection) => $store.runtime.block_on($act).unwrap(),
        }
    };
}

impl Store {
    /// Opens the file, or connects to the server.
    pub fn open(setup: &Setup) -> Store {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connection = match setup.postgres() {
            Some(url) => {
                let options: PgConnectOptions = url.parse().unwrap();
                Connection::Postgres(runtime.block_on(options.connect()).unwrap())
            }
            None => {
                let options = SqliteConnectOptions::new()
                    .filename(setup.path("ringfence.db"))
                    .busy_timeout(std::time::Duration::from_secs(10))
                    .disable_statement_logging();
                Connection::Sqlite(runtime.block_on(options.connect()).unwrap())
            }
        };
        Store {
            runtime,
            connection,
        }
    }

    /// Runs a statement.
    pub fn run(&mut self, sql: &'static str) {
        on!(self, to => async { sqlx::raw_sql(sql).execute(to).await.map(drop) });
    }

    /// The first column of the first row, as a number.
    pub fn number(&mut self, sql: &'static str) -> i64 {
        on!(self, to => sqlx::query_scalar(sql).fetch_one(to))
    }

    /// The first column of all rows, as text.
    pub fn texts(&mut self, sql: &'static str) -> Vec<String> {
        on!(self, to => sqlx::query_scalar(sql).fetch_all(to))
    }

    /// Closes it.
    pub fn close(self) {
        match self.connection {
            Connection::Sqlite(connection) => self.runtime.block_on(connection.close()),
            Connection::Postgres(connection) => self.runtime.block_on(connection.close()),
        }
        .unwrap();
    }
}
