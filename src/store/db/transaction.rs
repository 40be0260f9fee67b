//! A transaction of either database and the rows it reads: the only place where statements meet a driver.

use std::time::Duration;

use sqlx::{Postgres, Row as _, Sqlite, Transaction, postgres::PgRow, sqlite::SqliteRow};

use super::Db;
use crate::store::{
    error::{Error, Result},
    sql::{Dialect, Sql, Value},
};

/// A transaction. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    db: Db,
    limit: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Inner {
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
    /// A transaction that was begun; each of its statements may take `limit`.
    pub(super) fn new(inner: Inner, db: &Db, limit: Option<Duration>) -> Tx {
        Tx {
            inner,
            db: db.clone(),
            limit,
        }
    }

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
