//! Persons: who a debtor is, across clients and cases, so that caps count whom we call.
//!
//! Every debtor has a person. Debtors whose client gave their identity number share the person with that number; the
//! number itself is never here in clear, only its keyed hash and its box (see `cases::fields`).

use super::{Result, Tx};
use crate::ids::PersonId;

statements! {
    INSERT("enter a person") = "INSERT INTO persons (created_at_ms) VALUES ($1) RETURNING id";
    REMOVE("remove a person") = "DELETE FROM persons WHERE id = $1";
}

/// Enters a person of whom nothing is known yet.
pub async fn insert(tx: &mut Tx, now_ms: i64) -> Result<PersonId> {
    let row = tx.fetch_one(&INSERT, args![now_ms]).await?;
    Ok(PersonId::new(row.get("id")?))
}

/// Removes a person whom no debtor refers to.
pub async fn remove(tx: &mut Tx, person: PersonId) -> Result<()> {
    tx.execute(&REMOVE, args![person]).await.map(drop)
}
