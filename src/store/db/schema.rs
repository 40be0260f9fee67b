//! The schema: its migrations in order, and what is said when a database has another one.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::store::error::Error;

/// A step of the schema: its number, its name, and its text for SQLite and PostgreSQL.
macro_rules! migration {
    ($version:literal, $name:literal, $file:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("../../../migrations/sqlite/", $file)),
            include_str!(concat!("../../../migrations/postgres/", $file)),
        )
    };
}

/// The schema, in order. A file that was released is never changed; the next one gets the next number.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    migration!(1, "floor", "0001_floor.sql"),
    migration!(2, "cases", "0002_cases.sql"),
    migration!(3, "rules", "0003_rules.sql"),
    migration!(4, "figures", "0004_figures.sql"),
    migration!(5, "rules of people", "0005_rules_of_people.sql"),
    migration!(6, "work", "0006_work.sql"),
    migration!(7, "number faults", "0007_number_faults.sql"),
    migration!(8, "rules of nodes", "0008_rules_of_nodes.sql"),
    migration!(9, "imports", "0009_imports.sql"),
    migration!(10, "figures of clients", "0010_figures_of_clients.sql"),
    migration!(11, "kept sums", "0011_kept_sums.sql"),
];

/// The schema of one database; `text` picks from SQLite's and PostgreSQL's.
pub(super) fn migrator(text: fn(&'static str, &'static str) -> &'static str) -> Migrator {
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

pub(super) fn migration_error(name: &str, error: MigrateError) -> Error {
    let failed = |cause: String, remedy: &str| Error::Migration {
        database: name.into(),
        cause,
        remedy: remedy.into(),
    };
    match error {
        MigrateError::VersionMissing(v) | MigrateError::VersionTooNew(v, _) => failed(
            format!(
                "it was written by a newer ringfence (schema {v}; this one knows {})",
                MIGRATIONS.last().map_or(0, |(newest, ..)| *newest)
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
