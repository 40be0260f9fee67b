//! The facade over both databases: [`Db`] opens, [`Tx`] runs statements, [`Row`] hands out columns.
//!
//! SQLite: WAL, `synchronous=FULL`, foreign keys on, one writer connection whose transactions begin with
//! `BEGIN IMMEDIATE`, and a read-only pool beside it. PostgreSQL: one pool, `READ COMMITTED`; whoever must not race
//! takes [`super::guards`] first. A [`Tx`] that is dropped without [`Tx::commit`] changes nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Postgres, Row as _, Sqlite, Transaction,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::{
    error::{Error, Result},
    sql::{Dialect, Sql, Value},
};

/// A step of the schema: its number, its name, and its text for SQLite and PostgreSQL.
macro_rules! migration {
    ($version:literal, $name:literal, $file:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("../../migrations/sqlite/", $file)),
            include_str!(concat!("../../migrations/postgres/", $file)),
        )
    };
}

/// The schema, in order. A file that was released is never changed; the next one gets the next number.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    migration!(1, "floor", "0001_floor.sql"),
    migration!(2, "cases", "0002_cases.sql"),
    migration!(3, "rules", "0003_rules.sql"),
    migration!(4, "figures", "0004_figures.sql"),
];

/// Begins a deciding transaction on PostgreSQL, which plans its statements as SQLite does: by index, one row after the
/// other, and once for each connection. Its own choice follows statistics: before a table's first ANALYZE it read all
/// attempts for one decision, and with them it planned anew each time, which took longer than to run.
const DECIDE: &str =
    "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

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

/// Which file SQLite holds open. It would go on writing into one that was removed, and all of it would be lost.
#[derive(Debug, Clone)]
struct OpenFile {
    path: Arc<Path>,
    device: u64,
    inode: u64,
}

impl OpenFile {
    fn at(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path)?;
        Ok(Self {
            path: path.into(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// What has become of it since, if anything.
    fn problem(&self) -> Option<&'static str> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(&self.path) {
            Err(_) => Some("was taken away"),
            Ok(now) if (now.dev(), now.ino()) != (self.device, self.inode) => Some("was replaced"),
            Ok(now) if now.len() == 0 => Some("was cut off"),
            Ok(_) => None,
        }
    }
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
            .connect_with(connect)
            .await
            .map_err(failed)?;
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
        Ok(Tx {
            inner,
            db: self.clone(),
            limit: Some(limit),
        })
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
        Ok(Tx {
            inner,
            db: self.clone(),
            limit: None,
        })
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

    /// The right to import, of which there is one a database; `None` if somebody else holds it. It ends with its holder:
    /// a lock of a file beside SQLite's, a lock of a connection on PostgreSQL.
    ///
    /// # Errors
    /// The lock cannot be asked for.
    pub async fn import_lock(&self) -> Result<Option<ImportLock>> {
        const ACT: &str = "ask for the right to import";
        match &self.pools {
            Pools::Sqlite { file, .. } => {
                use std::os::unix::fs::OpenOptionsExt as _;
                let failed =
                    |e: std::io::Error| Error::from_sqlx(ACT, &self.name, &sqlx::Error::Io(e));
                let mut path = file.path.as_os_str().to_owned();
                path.push("-import");
                let lock = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed)?;
                match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
                {
                    Ok(()) => Ok(Some(ImportLock(Held::File(lock)))),
                    Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
                    Err(e) => Err(failed(e.into())),
                }
            }
            Pools::Postgres(pool) => {
                let asked = async {
                    let mut tx = pool.begin().await?;
                    let got: bool = sqlx::query("SELECT pg_try_advisory_xact_lock(7306648123)")
                        .fetch_one(&mut *tx)
                        .await?
                        .try_get(0)?;
                    Ok(got.then_some(ImportLock(Held::Session(tx))))
                };
                self.within(ACT, Some(self.patience * 2), asked).await
            }
        }
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

/// The right to import, as long as it is kept.
#[derive(Debug)]
pub struct ImportLock(#[allow(dead_code, reason = "held until it is dropped")] Held);

impl ImportLock {
    /// Gives the right back; when this returns somebody else can have it. Dropped, it ends a moment later.
    pub async fn release(self) {
        match self.0 {
            Held::File(file) => drop(file),
            // A connection that broke has given it back already.
            Held::Session(tx) => drop(tx.rollback().await),
        }
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "held until it is dropped")]
enum Held {
    File(std::fs::File),
    Session(Transaction<'static, Postgres>),
}

/// Makes an empty file that only its owner can read, so that SQLite's own files beside it are made alike.
fn prepare_file(path: &Path, create: bool) -> std::result::Result<(), (String, String)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let shown = path.display();
    if path.is_dir() {
        return Err((
            format!("{shown} is a directory"),
            "name a file in it".into(),
        ));
    }
    if path.exists() {
        // access(2) and not open(2): closing a descriptor of ours would drop SQLite's locks in this process.
        return rustix::fs::access(
            path,
            rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
        )
        .map_err(|e| {
            (
                format!("{shown} cannot be read and written: {e}"),
                "give it to the user that runs ringfence, mode 0600".into(),
            )
        });
    }
    if !create {
        return Err((
            format!("{shown} does not exist"),
            "correct the path, or start the daemon once, which makes it".into(),
        ));
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err((
            format!("{shown} cannot be made: {e}"),
            "make its directory and give it to the user that runs ringfence".into(),
        )),
    }
}

/// How soon a writer asks SQLite again for its turn.
const AGAIN: Duration = Duration::from_millis(1);

/// Begins a writing transaction as soon as no other process writes. SQLite's own waiting grows to a tenth of a second
/// between two looks, so that it misses the short gaps that an import leaves for calls; ours does not.
async fn begin_immediate(
    write: &SqlitePool,
    patience: Duration,
) -> sqlx::Result<Transaction<'static, Sqlite>> {
    let mut patience = std::pin::pin!(tokio::time::sleep(patience));
    loop {
        match write.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::Database(error)) if is_busy(&*error) => {
                tokio::select! {
                    biased;
                    () = &mut patience => return Err(sqlx::Error::Database(error)),
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
            begun => return begun,
        }
    }
}

/// SQLITE_BUSY, of whatever kind: another connection writes.
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// The schema of one database; `text` picks from SQLite's and PostgreSQL's.
fn migrator(text: fn(&'static str, &'static str) -> &'static str) -> Migrator {
    use sqlx::SqlSafeStr as _;
    let migration = |&(version, description, sqlite, postgres): &(
        i64,
        &'static str,
        &'static str,
        &'static str,
    )| {
        let sql = text(sqlite, postgres).into_sql_str();
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql,
            false,
        )
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

fn migration_error(name: &str, error: MigrateError) -> Error {
    let failed = |cause: String, remedy: &str| Error::Migration {
        database: name.into(),
        cause,
        remedy: remedy.into(),
    };
    match error {
        MigrateError::VersionMissing(v) | MigrateError::VersionTooNew(v, _) => failed(
            format!(
                "it was written by a newer ringfence (schema {v}; this one knows {})",
                MIGRATIONS.len()
            ),
            "start the newer version, or restore the backup made before the upgrade",
        ),
        MigrateError::VersionMismatch(v) => failed(
            format!("its schema {v} is not the one this version was made with"),
            "start the version that wrote it, or restore a backup",
        ),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => {
            Error::from_sqlx("bring the schema up to date", name, &e)
        }
        other => failed(
            other.to_string(),
            "restore the backup made before the upgrade",
        ),
    }
}

/// A transaction. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    db: Db,
    limit: Option<Duration>,
}

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Binds the values to a statement of either database.
macro_rules! bound {
    ($sql:expr, $args:expr) => {
        $args
            .into_iter()
            .fold(sqlx::query($sql.text), |query, value| match value {
                Value::Int(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
            })
    };
}

impl Tx {
    /// Which database speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement; returns the number of rows changed.
    pub(crate) async fn execute(&mut self, sql: &Sql, args: Vec<Value>) -> Result<u64> {
        debug_assert_eq!(sql.parameters(), args.len(), "{}", sql.text);
        let done = async {
            Ok(match &mut self.inner {
                Inner::Sqlite(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
                Inner::Postgres(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
            })
        };
        self.db.within(sql.act, self.limit, done).await
    }

    /// Runs a query; returns all rows.
    pub(crate) async fn fetch_all(&mut self, sql: &Sql, args: Vec<Value>) -> Result<Vec<Row>> {
        debug_assert_eq!(sql.parameters(), args.len(), "{}", sql.text);
        let act = sql.act;
        let done = async {
            Ok(match &mut self.inner {
                Inner::Sqlite(tx) => {
                    let rows = bound!(sql, args).fetch_all(&mut **tx).await?;
                    rows.into_iter()
                        .map(|row| Row {
                            act,
                            cells: Cells::Sqlite(row),
                        })
                        .collect()
                }
                Inner::Postgres(tx) => {
                    let rows = bound!(sql, args).fetch_all(&mut **tx).await?;
                    rows.into_iter()
                        .map(|row| Row {
                            act,
                            cells: Cells::Postgres(row),
                        })
                        .collect()
                }
            })
        };
        self.db.within(sql.act, self.limit, done).await
    }

    /// Runs a query of at most one row.
    pub(crate) async fn fetch_optional(
        &mut self,
        sql: &Sql,
        args: Vec<Value>,
    ) -> Result<Option<Row>> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// Runs a query that always gives a row.
    pub(crate) async fn fetch_one(&mut self, sql: &Sql, args: Vec<Value>) -> Result<Row> {
        let row = self.fetch_optional(sql, args).await?;
        row.ok_or(Error::Mistake {
            act: sql.act,
            cause: "a row was expected and none came".into(),
        })
    }

    /// Makes everything of this transaction durable.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database went away; the transaction then did or, rarely, did not happen.
    pub async fn commit(self) -> Result<()> {
        // What is written into a file that is gone is lost; nothing may be done on the strength of it.
        self.db.check_file("commit a transaction")?;
        let done = async {
            match self.inner {
                Inner::Sqlite(tx) => tx.commit().await,
                Inner::Postgres(tx) => tx.commit().await,
            }
        };
        self.db
            .within("commit a transaction", self.limit, done)
            .await
    }

    /// Undoes everything of this transaction and frees its connection at once.
    pub async fn rollback(self) -> Result<()> {
        let done = async {
            match self.inner {
                Inner::Sqlite(tx) => tx.rollback().await,
                Inner::Postgres(tx) => tx.rollback().await,
            }
        };
        self.db.within("undo a transaction", self.limit, done).await
    }

    /// How the database would run a statement, whatever the values, line by line: for the test that nothing is read from
    /// end to end.
    #[cfg(test)]
    pub(crate) async fn plan(&mut self, sql: &Sql) -> Result<Vec<String>> {
        use sqlx::AssertSqlSafe;
        let nothing = vec!["NULL"; sql.parameters()].join(", ");
        let call = if nothing.is_empty() {
            "asked".to_owned()
        } else {
            format!("asked({nothing})")
        };
        let done = async {
            Ok(match &mut self.inner {
                Inner::Sqlite(tx) => {
                    let text = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.text));
                    let rows = sqlx::raw_sql(text).fetch_all(&mut **tx).await?;
                    rows.iter().map(|row| row.get("detail")).collect()
                }
                Inner::Postgres(tx) => {
                    let text = AssertSqlSafe(format!("PREPARE asked AS {}", sql.text));
                    sqlx::raw_sql(text).execute(&mut **tx).await?;
                    let text = AssertSqlSafe(format!("EXPLAIN EXECUTE {call}"));
                    let rows = sqlx::raw_sql(text).fetch_all(&mut **tx).await?;
                    sqlx::raw_sql("DEALLOCATE asked").execute(&mut **tx).await?;
                    rows.iter().map(|row| row.get(0)).collect()
                }
            })
        };
        self.db.within(sql.act, self.limit, done).await
    }

    /// Has the database parse a statement without running it, for the test of all statements.
    #[cfg(test)]
    pub(crate) async fn prepare(&mut self, sql: &Sql) -> Result<usize> {
        use sqlx::{Either, Executor as _, SqlSafeStr as _, Statement as _};
        let count = |p: Option<Either<&[sqlx::postgres::PgTypeInfo], usize>>| match p {
            Some(Either::Left(types)) => types.len(),
            Some(Either::Right(n)) => n,
            None => 0,
        };
        let done = async {
            Ok(match &mut self.inner {
                Inner::Sqlite(tx) => match (&mut **tx)
                    .prepare(sql.text.into_sql_str())
                    .await?
                    .parameters()
                {
                    Some(Either::Right(n)) => n,
                    _ => 0,
                },
                Inner::Postgres(tx) => count(
                    (&mut **tx)
                        .prepare(sql.text.into_sql_str())
                        .await?
                        .parameters(),
                ),
            })
        };
        self.db.within(sql.act, self.limit, done).await
    }
}

/// One row of an answer.
#[derive(Debug)]
pub struct Row {
    act: &'static str,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column; `Option` for columns that may be NULL.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the stored value is not of that type, [`Error::Mistake`] if there is no such column.
    pub fn get<T>(&self, column: &'static str) -> Result<T>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite>
            + sqlx::Type<Sqlite>
            + for<'r> sqlx::Decode<'r, Postgres>
            + sqlx::Type<Postgres>,
    {
        match &self.cells {
            Cells::Sqlite(row) => row.try_get(column),
            Cells::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| Error::from_sqlx(self.act, "the database", &e))
    }

    /// A column that holds 0 or 1.
    pub(crate) fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.get::<i64>(column)? != 0)
    }

    /// A column that holds a small number that never is negative.
    pub(crate) fn small<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T> {
        T::try_from(self.get::<i64>(column)?).map_err(|_| Error::unknown(self.act, column))
    }

    /// A column that holds a word of an enumeration that reads its words by itself.
    pub(crate) fn word<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T> {
        parse(&self.get::<String>(column)?).ok_or_else(|| Error::unknown(self.act, column))
    }

    /// A column that holds a word of an enumeration, or the id of a call, receipt or recording.
    pub(crate) fn parse<T: std::str::FromStr>(&self, column: &'static str) -> Result<T> {
        self.get::<String>(column)?
            .parse()
            .map_err(|_| Error::unknown(self.act, column))
    }
}
