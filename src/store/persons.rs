//! Persons: who a debtor is, across clients and cases, so that caps count whom we call.
//!
//! Every debtor has a person. Debtors whose client gave their identity number share the person with that number, and so
//! does every contact whose `identity_hash` is the person's; the number itself is never here in clear, only its keyed hash
//! and, once it was told of a debtor, its box (see `cases::fields`).

use super::{
    Result, Tx,
    guards::{self, Guard},
};
use crate::ids::{DebtorId, PersonId};

statements! {
    INSERT("enter a person") = "INSERT INTO persons (created_at_ms) VALUES ($1) RETURNING id";
    OF_DEBTOR("look up the person of a debtor") =
        "SELECT p.id, p.identity_hash FROM debtors d JOIN persons p ON p.id = d.person_id WHERE d.id = $1";
    BY_HASH("look up a person") = "SELECT id FROM persons WHERE identity_hash = $1";
    NAME("note who a person is") =
        "UPDATE persons SET identity_hash = $2, identity_box = $3 WHERE id = $1 AND identity_hash IS NULL";
    BOX("note the identity number of a person") =
        "UPDATE persons SET identity_box = COALESCE(identity_box, $2) WHERE id = $1";
    MERGE_DEBTORS("merge two persons") = "UPDATE debtors SET person_id = $2 WHERE person_id = $1";
    MERGE_BARS("merge what bars two persons") =
        "UPDATE bars SET subject_id = $2 WHERE scope = 'person' AND subject_id = $1";
    OF_DEBTOR_ONLY("look up a person") = "SELECT person_id FROM debtors WHERE id = $1";
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

/// Notes who a debtor is. If that person is on file already, all debtors of the person he had until now become his, with
/// what bars them; nobody decides about either of the two meanwhile.
///
/// A person whose identity number is known keeps it: another one is refused before, by whoever reads the file.
pub async fn learn(tx: &mut Tx, debtor: DebtorId, hash: &str, boxed: &str) -> Result<()> {
    let row = tx.fetch_one(&OF_DEBTOR, args![debtor]).await?;
    let person = PersonId::new(row.get("id")?);
    if row.get::<Option<String>>("identity_hash")?.is_some() {
        return Ok(());
    }
    let other = tx.fetch_optional(&BY_HASH, args![hash]).await?;
    let Some(other) = other else {
        return tx
            .execute(&NAME, args![person, hash, boxed])
            .await
            .map(drop);
    };
    let other = PersonId::new(other.get("id")?);
    guards::touch(tx, &[Guard::Person(person), Guard::Person(other)]).await?;
    tx.execute(&MERGE_DEBTORS, args![person, other]).await?;
    tx.execute(&MERGE_BARS, args![person, other]).await?;
    // Somebody who was a contact only has no box yet.
    tx.execute(&BOX, args![other, boxed]).await?;
    remove(tx, person).await
}

/// The person that a debtor is.
pub async fn of_debtor(tx: &mut Tx, debtor: DebtorId) -> Result<Option<PersonId>> {
    let row = tx.fetch_optional(&OF_DEBTOR_ONLY, args![debtor]).await?;
    let id = row
        .map(|row| row.get::<Option<i64>>("person_id"))
        .transpose()?;
    Ok(id.flatten().map(PersonId::new))
}
