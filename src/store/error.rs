//! Errors of the store, classified where they arise: is it the database's absence, the data, or our own mistake?
//!
//! None of them carries a bound value: the text of a database error is kept, its detail (which quotes rows) is not.

use std::fmt;

/// Result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an act of the store failed. The message names the act, the cause and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be asked now: away, locked, full or read-only. Nothing was changed; no call may start.
    #[error("could not {act}: {cause}; {remedy}")]
    Unavailable {
        /// What was attempted.
        act: &'static str,
        /// What the database or the system said.
        cause: String,
        /// What an administrator should do.
        remedy: String,
    },
    /// The data refused the change: it exists already, refers to nothing, or breaks a check.
    #[error("could not {act}: {kind}")]
    Constraint {
        /// What was attempted.
        act: &'static str,
        /// Which kind of constraint.
        kind: ConstraintKind,
    },
    /// The stored data is damaged or is not what this version writes.
    #[error("could not {act}: {cause}; {remedy}")]
    Corrupt {
        /// What was attempted.
        act: &'static str,
        /// What is wrong.
        cause: String,
        /// What an administrator should do.
        remedy: String,
    },
    /// The schema could not be brought to this version.
    #[error("could not bring the schema of {database} up to date: {cause}; {remedy}")]
    Migration {
        /// File or server, without credentials.
        database: String,
        /// What is wrong.
        cause: String,
        /// What an administrator should do.
        remedy: String,
    },
    /// A statement is wrong: our own mistake, to be reported.
    #[error("could not {act}: {cause}; this is a fault of ringfence, please report it")]
    Mistake {
        /// What was attempted.
        act: &'static str,
        /// What the database said.
        cause: String,
    },
    /// Something named in a request does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
}

/// Which kind of constraint refused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstraintKind {
    /// Such a row exists already.
    Exists,
    /// It refers to a row that does not exist, or is referred to.
    Reference,
    /// A value is missing or not one of those allowed.
    Value,
}

impl fmt::Display for ConstraintKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConstraintKind::Exists => "it exists already",
            ConstraintKind::Reference => "it refers to something that does not exist",
            ConstraintKind::Value => "a value is missing or not one of those allowed",
        })
    }
}

impl Error {
    /// Whether the database could not be asked, so that trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }

    /// Whether such a row exists already.
    pub fn exists_already(&self) -> bool {
        matches!(
            self,
            Error::Constraint {
                kind: ConstraintKind::Exists,
                ..
            }
        )
    }

    /// A stored value that this version does not know.
    pub(crate) fn unknown(act: &'static str, column: &str) -> Self {
        Error::Corrupt {
            act,
            cause: format!("column {column} holds a value that this version does not know"),
            remedy: "run the version of ringfence that wrote it, or restore a backup".into(),
        }
    }

    /// Classifies an error of the driver. `database` names the file or server.
    pub(crate) fn from_sqlx(act: &'static str, database: &str, error: &sqlx::Error) -> Self {
        let unavailable = |cause: String, remedy: String| Error::Unavailable { act, cause, remedy };
        match error {
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some(code) if e.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
                    Self::from_sqlite(act, database, code.parse().unwrap_or(1), e.message())
                }
                Some(code) => Self::from_postgres(act, database, code, e.message()),
                None => Error::Mistake {
                    act,
                    cause: e.message().to_owned(),
                },
            },
            sqlx::Error::PoolTimedOut => unavailable(
                format!("no connection to {database} came free in time"),
                "check that it can be reached; if it can, look for a long transaction of another process, or for a slow disk"
                    .into(),
            ),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::PoolClosed => unavailable(
                format!("no connection to {database}: {error}"),
                "check that the server runs and can be reached".into(),
            ),
            sqlx::Error::Configuration(_) => unavailable(
                format!("the address of {database} is not valid"),
                "correct the database address in the configuration".into(),
            ),
            sqlx::Error::ColumnDecode { index, .. } => Error::unknown(act, index),
            // Protocol errors name no values; all others are shapes of statements, not of data.
            other => Error::Mistake {
                act,
                cause: other.to_string(),
            },
        }
    }

    /// Primary result codes of SQLite are the low eight bits of the extended ones.
    fn from_sqlite(act: &'static str, database: &str, code: i32, message: &str) -> Self {
        let unavailable = |cause: &str, remedy: &str| Error::Unavailable {
            act,
            cause: format!("{cause} ({database})"),
            remedy: remedy.into(),
        };
        match (code & 0xff, code) {
            (5 | 6, _) => unavailable(
                "another process holds the database locked",
                "end that process (`fuser FILE` names it) or wait until it is done, then try again",
            ),
            (13, _) => unavailable(
                "the disk of the database is full",
                "free space on that disk; nothing was lost",
            ),
            (8, _) => unavailable(
                "the database can only be read",
                "give the user that runs ringfence write permission on the file and its directory",
            ),
            (3 | 14 | 23, _) => unavailable(
                "the database file cannot be opened",
                "check that the directory exists and that the user that runs ringfence may read and write there",
            ),
            (10, _) => unavailable(
                &format!("the disk of the database failed: {message}"),
                "look at the system log for faults of the disk",
            ),
            (7, _) => unavailable("out of memory", "give the machine more memory"),
            (11 | 26, _) => Error::Corrupt {
                act,
                cause: format!("{database} is damaged or is not a ringfence database ({message})"),
                remedy: "point the configuration at the right file, or restore the last backup"
                    .into(),
            },
            (19, 1555 | 2067 | 2579) => Error::Constraint {
                act,
                kind: ConstraintKind::Exists,
            },
            (19, 787) => Error::Constraint {
                act,
                kind: ConstraintKind::Reference,
            },
            (19, _) => Error::Constraint {
                act,
                kind: ConstraintKind::Value,
            },
            _ => Error::Mistake {
                act,
                cause: message.to_owned(),
            },
        }
    }

    /// By SQLSTATE, PostgreSQL documentation, appendix A.
    fn from_postgres(act: &'static str, database: &str, code: &str, message: &str) -> Self {
        let unavailable = |remedy: &str| Error::Unavailable {
            act,
            cause: format!("{message} ({database})"),
            remedy: remedy.into(),
        };
        match code {
            "23505" => Error::Constraint {
                act,
                kind: ConstraintKind::Exists,
            },
            "23503" => Error::Constraint {
                act,
                kind: ConstraintKind::Reference,
            },
            _ if code.starts_with("23") => Error::Constraint {
                act,
                kind: ConstraintKind::Value,
            },
            "28P01" | "28000" | "3D000" => {
                unavailable("check user, password and database name of the address")
            }
            "53100" => unavailable("free space on the disk of the server"),
            "42501" | "25006" => unavailable(
                "give the database user permission to write, and connect to the primary server",
            ),
            "40P01" | "40001" | "55P03" | "57014" => {
                unavailable("try again; if it stays, look for a long transaction")
            }
            _ if code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || code.starts_with("58") =>
            {
                unavailable("check that the server runs and has room for connections")
            }
            _ if code.starts_with("XX") => Error::Corrupt {
                act,
                cause: format!("{message} ({database})"),
                remedy: "restore the last backup".into(),
            },
            _ => Error::Mistake {
                act,
                cause: message.to_owned(),
            },
        }
    }
}
