//! Dispositions: what may be said to have come of a call. The general list, and each client's own rows over it.

use super::{Db, Error, Result, Tx, db::Row};
use crate::{
    agent::{Disposition, Effect, disposition},
    ids::ClientId,
};

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub disposition: Disposition,
    /// Whether the row is the client's own and not the general one.
    pub own: bool,
    /// Whether it is offered.
    pub active: bool,
}

statements! {
    SEED("enter a disposition") =
        "INSERT INTO dispositions (client_id, code, name_en, name_zh, right_party, effects)
         VALUES (NULL, $1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    UPDATE("change a disposition") =
        "UPDATE dispositions SET name_en = $3, name_zh = $4, right_party = $5, effects = $6, active = $7
         WHERE COALESCE(client_id, 0) = $1 AND code = $2";
    INSERT("enter a disposition") =
        "INSERT INTO dispositions (client_id, code, name_en, name_zh, right_party, effects, active)
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LIST("list the dispositions") =
        "SELECT client_id, code, name_en, name_zh, right_party, effects, active FROM dispositions
         WHERE client_id IS NULL OR client_id = $1 ORDER BY id";
    FIND("look up a disposition") =
        "SELECT client_id, code, name_en, name_zh, right_party, effects, active FROM dispositions
         WHERE code = $2 AND (client_id IS NULL OR client_id = $1) ORDER BY COALESCE(client_id, 0) DESC LIMIT 1";
}

/// Enters those of the shipped list that are missing; what is there stays as it is.
pub(super) async fn seed(db: &Db) -> Result<()> {
    let shipped = disposition::shipped().map_err(|e| Error::Mistake {
        act: "read the shipped dispositions",
        cause: e.to_string(),
    })?;
    let mut tx = db.read().await?;
    let known = list(&mut tx, None).await?;
    drop(tx);
    let missing: Vec<_> = shipped
        .iter()
        .filter(|one| known.iter().all(|k| k.disposition.code != one.code))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    for one in missing {
        let args = args![
            &one.code,
            &one.name_en,
            &one.name_zh,
            one.right_party,
            words(&one.effects)
        ];
        tx.execute(&SEED, args).await?;
    }
    tx.commit().await
}

/// Enters or changes a row of a client (`None`: of the general list).
pub async fn set(
    tx: &mut Tx,
    client: Option<ClientId>,
    one: &Disposition,
    active: bool,
) -> Result<()> {
    let args = args![
        client.map_or(0, ClientId::get),
        &one.code,
        &one.name_en,
        &one.name_zh,
        one.right_party,
        words(&one.effects),
        active
    ];
    if tx.execute(&UPDATE, args).await? > 0 {
        return Ok(());
    }
    let args = args![
        client,
        &one.code,
        &one.name_en,
        &one.name_zh,
        one.right_party,
        words(&one.effects),
        active
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// The list of a client, its own rows in the place of the general ones (`None`: the general list), in the order of entry.
pub async fn list(tx: &mut Tx, client: Option<ClientId>) -> Result<Vec<Listed>> {
    let rows = tx
        .fetch_all(&LIST, args![client.map_or(0, ClientId::get)])
        .await?;
    let mut list: Vec<Listed> = Vec::with_capacity(rows.len());
    for row in &rows {
        let one = read(row)?;
        match list
            .iter_mut()
            .find(|known| known.disposition.code == one.disposition.code)
        {
            Some(known) if one.own => *known = one,
            Some(_) => {}
            None => list.push(one),
        }
    }
    Ok(list)
}

/// What a code means for a client, if it is offered there.
pub async fn find(tx: &mut Tx, client: ClientId, code: &str) -> Result<Option<Disposition>> {
    let found = listed(tx, client, code).await?;
    Ok(found
        .filter(|found| found.active)
        .map(|found| found.disposition))
}

/// What a code means for a client, whether it is still offered or not.
pub async fn known(tx: &mut Tx, client: ClientId, code: &str) -> Result<Option<Disposition>> {
    Ok(listed(tx, client, code)
        .await?
        .map(|found| found.disposition))
}

async fn listed(tx: &mut Tx, client: ClientId, code: &str) -> Result<Option<Listed>> {
    let found = tx.fetch_optional(&FIND, args![client, code]).await?;
    found.as_ref().map(read).transpose()
}

fn words(effects: &[Effect]) -> String {
    let words: Vec<_> = effects.iter().map(|e| e.as_str()).collect();
    serde_json::json!(words).to_string()
}

fn read(row: &Row) -> Result<Listed> {
    let effects = serde_json::from_str(&row.get::<String>("effects")?)
        .map_err(|_| Error::unknown("read a disposition", "dispositions.effects"))?;
    Ok(Listed {
        disposition: Disposition {
            code: row.get("code")?,
            name_en: row.get("name_en")?,
            name_zh: row.get("name_zh")?,
            right_party: row.flag("right_party")?,
            effects,
        },
        own: row.get::<Option<i64>>("client_id")?.is_some(),
        active: row.flag("active")?,
    })
}
