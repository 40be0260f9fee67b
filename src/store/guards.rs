//! Guards: rows that a deciding transaction updates first, so that two of them take turns.
//!
//! SQLite has no `FOR UPDATE`, and under `READ COMMITTED` two PostgreSQL transactions could both count five attempts
//! and both store a sixth. An update of the same row makes the second wait until the first is done. The names are
//! taken in sorted order, so that no two transactions wait for each other.

use super::{Result, Tx};
use crate::ids::PersonId;

/// What is guarded. The order of the variants is the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// Everything counted per person, and who is that person.
    Person(PersonId),
    /// Everything counted per number.
    Number(i64),
    /// The end of the access log; always the last to be taken.
    AccessLog,
}

statements! {
    TAKE("take turns") =
        "INSERT INTO guards (name, turns) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET turns = guards.turns + 1";
}

/// Takes the guards until the end of the transaction. Must be its first statement.
pub async fn touch(tx: &mut Tx, guards: &[Guard]) -> Result<()> {
    let mut sorted = guards.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for guard in sorted {
        let name = match guard {
            Guard::Person(id) => format!("person:{id}"),
            Guard::Number(id) => format!("number:{id}"),
            Guard::AccessLog => "access_log".to_owned(),
        };
        tx.execute(&TAKE, args![name]).await?;
    }
    Ok(())
}
