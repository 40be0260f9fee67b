//! Claims: work that one node does for all, claimed in the database until it is done or the claim runs out.

use super::{Result, Tx};

statements! {
    TAKE("claim work") =
        "INSERT INTO claims (name, holder, until_ms) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
         WHERE claims.until_ms <= $4 OR claims.holder = $2";
    FREE("give a claim back") = "DELETE FROM claims WHERE name = $1 AND holder = $2";
}

/// Claims a piece of work, or renews one's claim; false while another has it.
pub(crate) async fn take(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    until_ms: i64,
    now_ms: i64,
) -> Result<bool> {
    Ok(tx
        .execute(&TAKE, args![name, holder, until_ms, now_ms])
        .await?
        > 0)
}

/// Gives a claim back before it runs out.
pub(crate) async fn free(tx: &mut Tx, name: &str, holder: &str) -> Result<()> {
    tx.execute(&FREE, args![name, holder]).await.map(drop)
}
