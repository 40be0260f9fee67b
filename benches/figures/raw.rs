//! The databases past the facade: to fill them fast, and to ask what a person with SQL would ask.

use ringfence::store::Location;
use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

/// One connection of either database.
pub enum Raw {
    Sqlite(Box<sqlx::SqliteConnection>),
    Postgres(Box<sqlx::PgConnection>),
}

impl Raw {
    pub async fn open(location: &Location) -> Raw {
        match location {
            Location::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(path)
                    .foreign_keys(false)
                    .busy_timeout(std::time::Duration::from_secs(60));
                Raw::Sqlite(Box::new(options.connect().await.unwrap()))
            }
            Location::Postgres(address) => Raw::Postgres(Box::new(
                sqlx::PgConnection::connect(address.expose_secret())
                    .await
                    .unwrap(),
            )),
        }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Raw::Sqlite(_))
    }

    /// Runs statements.
    pub async fn run(&mut self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Raw::Sqlite(c) => drop(sql.execute(&mut **c).await.unwrap()),
            Raw::Postgres(c) => drop(sql.execute(&mut **c).await.unwrap()),
        }
    }

    /// Runs a prepared statement with one text.
    pub async fn insert(&mut self, sql: &'static str, text: &str) {
        match self {
            Raw::Sqlite(c) => {
                let done = sqlx::query(sql).bind(text).execute(&mut **c).await;
                done.unwrap();
            }
            Raw::Postgres(c) => {
                let done = sqlx::query(sql).bind(text).execute(&mut **c).await;
                done.unwrap();
            }
        }
    }

    /// Number of rows of a query, all of them read.
    pub async fn rows(&mut self, sql: &str) -> usize {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Raw::Sqlite(c) => sql.fetch_all(&mut **c).await.unwrap().len(),
            Raw::Postgres(c) => sql.fetch_all(&mut **c).await.unwrap().len(),
        }
    }

    /// First column of the first row.
    pub async fn number(&mut self, sql: &str) -> i64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Raw::Sqlite(c) => sql.fetch_one(&mut **c).await.unwrap().get(0),
            Raw::Postgres(c) => sql.fetch_one(&mut **c).await.unwrap().get(0),
        }
    }

    /// First column of every row.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Raw::Sqlite(c) => {
                let rows = sql.fetch_all(&mut **c).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Raw::Postgres(c) => {
                let rows = sql.fetch_all(&mut **c).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// What a database does by itself in time, done now. SQLite never counts its tables by itself.
    pub async fn settle(&mut self) {
        match self {
            Raw::Sqlite(_) => self.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
            Raw::Postgres(_) => self.run("VACUUM ANALYZE").await,
        }
    }
}
