//! The facade over both databases: [`Db`] opens, [`Tx`] runs statements, [`Row`] hands out columns.
//!
//! SQLite: WAL, `synchronous=FULL`, foreign keys on, one writer connection whose transactions begin with
//! `BEGIN IMMEDIATE`, and a read-only pool beside it. PostgreSQL: one pool, `READ COMMITTED`; whoever must not race
//! takes [`super::guards`] first. A [`Tx`] that is dropped without [`Tx::commit`] changes nothing.
//!
//! In this folder: the `schema` and its migrations, the `sqlite_file`, the `work_lock`, the `transaction` with its rows.

mod schema;
mod sqlite_file;
mod transaction;
mod work_lock;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
    },
};

use self::{
    schema::{migration_error, migrator},
    sqlite_file::{AGAIN, OpenFile, begin_immediate, prepare_file},
    transaction::Inner,
};
pub use self::{
    transaction::{Row, Tx},
    work_lock::WorkLock,
};
use super::error::{Error, Result};

/// How long it is asked why no connection came about, after the time for that is over.
const ASK_WHY: Duration = Duration::from_secs(1);
/// Begins a deciding transaction on PostgreSQL, which plans its statements as SQLite does: by index, one row after the
/// other, and once for each connection. Its own choice follows statistics: before a table's first ANALYZE it read all
/// attempts for one decision, and with them it planned anew each time, which took longer than to run. Joins are made in
/// the order in which they are written, from what was asked for: otherwise, of a table that it had not counted since an
/// import it took 'all contacts that are debtors' for few rows, and began with them.
const DECIDE: &str =
    "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
    SET LOCAL enable_material = off; SET LOCAL join_collapse_limit = 1";

/// Begins a reading transaction on PostgreSQL. A report over a year and one over a day want different plans: one made for
/// whatever is asked read the roll-ups of every dimension for one of them.
const LOOK: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan";

/// Where the data lies.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file of the embedded SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL server, as `postgres://user:password@host/database`.
    Postgres(secrecy::SecretString),
}

impl Location {
    /// Reads the address of a configuration: a path, `sqlite:PATH`, or `postgres://…`.
    pub fn parse(address: &str) -> Location {
        if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            Location::Postgres(address.to_owned().into())
        } else {
            let path = address
                .strip_prefix("sqlite://")
                .or_else(|| address.strip_prefix("sqlite:"))
                .unwrap_or(address);
            Location::Sqlite(path.into())
        }
    }
}

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it lies.
    pub location: Location,
    /// Whether a SQLite file may be made where there is none. Commands that only look say no.
    pub create: bool,
    /// How long a statement of a writing transaction waits for other processes before it fails.
    pub patience: Duration,
    /// Connections for reading (SQLite) or in all (PostgreSQL).
    pub connections: u32,
}

impl Options {
    /// The defaults for a location: made if missing, 5 s of patience, 4 connections.
    pub fn new(location: Location) -> Options {
        Options {
            location,
            create: true,
            patience: Duration::from_secs(5),
            connections: 4,
        }
    }
}

/// An open database. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Db {
    pools: Pools,
    /// The file or server, without credentials, for errors.
    name: Arc<str>,
    patience: Duration,
    closer: super::closer::Closer,
}

#[derive(Debug, Clone)]
enum Pools {
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
        file: OpenFile,
    },
    Postgres(PgPool),
}

impl Db {
    /// Opens the database and brings its schema to this version.
    ///
    /// # Errors
    /// A file that is missing, unreadable, locked, damaged, or written by a newer version; a server that cannot be
    /// reached: each names file or server and the remedy.
    pub async fn open(options: &Options) -> Result<Db> {
        let db = match &options.location {
            Location::Sqlite(path) => Self::open_sqlite(path, options).await?,
            Location::Postgres(address) => Self::open_postgres(address, options).await?,
        };
        super::rollups::store_definitions(&db).await?;
        super::dispositions::seed(&db).await?;
        Ok(db)
    }

    async fn open_sqlite(path: &Path, options: &Options) -> Result<Db> {
        const ACT: &str = "open the database";
        let name: Arc<str> = path.display().to_string().into();
        prepare_file(path, options.create).map_err(|(cause, remedy)| Error::Unavailable {
            act: ACT,
            cause,
            remedy,
        })?;
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(options.patience)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let failed = |e: sqlx::Error| Error::from_sqlx(ACT, &name, &e);
        // The pool waits a little longer than SQLite itself, so that the more exact of the two errors is reported.
        let wait = options.patience + Duration::from_secs(1);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(wait)
            .connect_with(connect.clone().journal_mode(SqliteJournalMode::Wal))
            .await
            .map_err(failed)?;
        let migrator = migrator(|sqlite, _| sqlite);
        let mut migrated = migrator.run(&write).await;
        if matches!(
            migrated,
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
        ) {
            // Two processes may meet on an empty file; the second try finds the work of the other one done.
            migrated = migrator.run(&write).await;
        }
        migrated.map_err(|e| migration_error(&name, e))?;
        // From now on it is we who ask again (`begin_immediate`).
        write.set_connect_options(
            connect
                .clone()
                .journal_mode(SqliteJournalMode::Wal)
                .busy_timeout(AGAIN),
        );
        sqlx::raw_sql("PRAGMA busy_timeout = 1")
            .execute(&write)
            .await
            .map_err(failed)?;
        let read = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(wait)
            .connect_with(connect.read_only(true))
            .await
            .map_err(failed)?;
        let file = OpenFile::at(path).map_err(|e| failed(sqlx::Error::Io(e)))?;
        Ok(Db {
            pools: Pools::Sqlite { write, read, file },
            name,
            patience: options.patience,
            closer: super::closer::Closer::default(),
        })
    }

    async fn open_postgres(address: &secrecy::SecretString, options: &Options) -> Result<Db> {
        use secrecy::ExposeSecret as _;
        const ACT: &str = "open the database";
        let connect: PgConnectOptions =
            address
                .expose_secret()
                .parse()
                .map_err(|_| Error::Unavailable {
                    act: ACT,
                    cause: "the PostgreSQL address cannot be read".into(),
                    remedy: "write it as postgres://user:password@host:port/database".into(),
                })?;
        let name: Arc<str> = format!(
            "PostgreSQL {}:{}/{}",
            connect.get_host(),
            connect.get_port(),
            connect.get_database().unwrap_or("")
        )
        .into();
        let patience_ms = options.patience.as_millis().to_string();
        let connect = connect
            .application_name("ringfence")
            // Statements take milliseconds; to compile one takes longer.
            .options([("lock_timeout", patience_ms.as_str()), ("jit", "off")])
            .disable_statement_logging();
        let failed = |e: sqlx::Error| Error::from_sqlx(ACT, &name, &e);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(2))
            .acquire_timeout(options.patience)
            .connect_with(connect.clone())
            .await;
        let pool = match pool {
            Ok(pool) => pool,
            // The pool tries until its time is over and then says no more than that; one that tries once says why.
            Err(sqlx::Error::PoolTimedOut) => {
                let once = tokio::time::timeout(ASK_WHY, connect.connect()).await;
                let why = once.ok().and_then(std::result::Result::err);
                return Err(failed(why.unwrap_or(sqlx::Error::PoolTimedOut)));
            }
            Err(error) => return Err(failed(error)),
        };
        migrator(|_, postgres| postgres)
            .run(&pool)
            .await
            .map_err(|e| migration_error(&name, e))?;
        Ok(Db {
            pools: Pools::Postgres(pool),
            name,
            patience: options.patience,
            closer: super::closer::Closer::default(),
        })
    }

    /// Begins a transaction that writes. On SQLite it is the only one; on PostgreSQL take [`super::guards`] first.
    pub async fn begin(&self) -> Result<Tx> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction that decides about one call: a writing one whose look-ups go by index whatever the database
    /// knows of its tables.
    pub async fn begin_deciding(&self) -> Result<Tx> {
        self.begin_with(DECIDE).await
    }

    async fn begin_with(&self, postgres: &'static str) -> Result<Tx> {
        const ACT: &str = "begin a transaction";
        self.check_file(ACT)?;
        let begun = async {
            Ok(match &self.pools {
                Pools::Sqlite { write, .. } => {
                    Inner::Sqlite(begin_immediate(write, self.patience).await?)
                }
                Pools::Postgres(pool) => Inner::Postgres(pool.begin_with(postgres).await?),
            })
        };
        // One second more than the driver's own limits, whose errors say more.
        let limit = self.patience * 2 + Duration::from_secs(1);
        let inner = self.within(ACT, Some(limit), begun).await?;
        Ok(Tx::new(inner, self, Some(limit)))
    }

    /// Begins a transaction that only reads, one consistent moment of the data, without holding up writers.
    pub async fn read(&self) -> Result<Tx> {
        const ACT: &str = "begin to read";
        self.check_file(ACT)?;
        let begun = async {
            Ok(match &self.pools {
                Pools::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
                Pools::Postgres(pool) => Inner::Postgres(pool.begin_with(LOOK).await?),
            })
        };
        let inner = self
            .within(ACT, Some(self.patience * 2 + Duration::from_secs(1)), begun)
            .await?;
        Ok(Tx::new(inner, self, None))
    }

    /// Refuses to go on with a SQLite file that is not at its place any more.
    fn check_file(&self, act: &'static str) -> Result<()> {
        let Pools::Sqlite { file, .. } = &self.pools else {
            return Ok(());
        };
        file.problem().map_or(Ok(()), |what| {
            Err(Error::Unavailable {
                act,
                cause: format!("{} {what} while it was in use", self.name),
                remedy:
                    "put back the very file, or stop ringfence, restore a backup and start again"
                        .into(),
            })
        })
    }

    /// Whether only one transaction can write at a time, so that long work must leave gaps for others.
    #[must_use]
    pub fn one_writer(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// Has PostgreSQL count what an import has filled, which it would do by itself a minute later: until then it guesses.
    /// SQLite never needs it.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; nothing but speed depends on it.
    pub async fn count_tables(&self) -> Result<()> {
        const ACT: &str = "count the rows of tables";
        let Pools::Postgres(pool) = &self.pools else {
            return Ok(());
        };
        let counted = async {
            let tables = "ANALYZE persons, debtors, batches, cases, numbers, contacts, contact_points, addresses, repayments";
            sqlx::raw_sql(tables).execute(pool).await.map(drop)
        };
        self.within(ACT, None, counted).await
    }

    /// Asks the database for nothing: readiness.
    pub async fn probe(&self) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.fetch_all(&PROBE, vec![]).await?;
        Ok(())
    }

    /// The way to the writer that closes attempts in groups.
    pub(super) fn closer(&self) -> &super::closer::Closer {
        &self.closer
    }

    /// The same database without that way.
    pub(super) fn without_closer(&self) -> Db {
        Db {
            closer: super::closer::Closer::default(),
            ..self.clone()
        }
    }

    /// The file or server, without credentials.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Closes all connections; SQLite then folds its WAL back into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read, .. } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Runs one act within a limit of time and classifies its error.
    async fn within<T>(
        &self,
        act: &'static str,
        limit: Option<Duration>,
        future: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        let done = match limit {
            None => future.await,
            Some(limit) => tokio::time::timeout(limit, future)
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut)),
        };
        done.map_err(|e| Error::from_sqlx(act, &self.name, &e))
    }
}

statements! {
    PROBE("ask the database for a sign of life") = "SELECT COUNT(*) AS n FROM guards";
}
