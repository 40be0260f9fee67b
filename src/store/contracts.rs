//! Contracts: what we agreed with a client for a kind of cases, and for what fee (C16).

use super::{Result, Tx};
use crate::ids::ClientId;

statements! {
    INSERT("enter a contract") =
        "INSERT INTO contracts (client_id, code, valid_from_on, valid_to_on, created_at_ms) VALUES ($1, $2, $3, $4, $5)
         RETURNING id";
    TIER("enter the terms of a contract") =
        "INSERT INTO contract_tiers (contract_id, bucket, base_bp, minimum_bp, fee_bp, reduced_bp)
         VALUES ($1, $2, $3, $4, $5, $6)";
    LIST("list the contracts") =
        "SELECT c.id, k.code AS client, c.code, c.valid_from_on, c.valid_to_on, t.bucket, t.base_bp, t.minimum_bp, t.fee_bp,
                t.reduced_bp
         FROM contracts c JOIN clients k ON k.id = c.client_id JOIN contract_tiers t ON t.contract_id = c.id
         ORDER BY k.code, c.code, t.base_bp DESC";
    BY_CODE("look up a contract") = "SELECT id FROM contracts WHERE client_id = $1 AND code = $2";
    ASSIGN("put a batch under a contract") = "UPDATE batches SET contract_id = $2 WHERE id = $1";
}

/// The terms for one overdue bucket, in hundredths of a per cent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Word of the bucket.
    pub bucket: String,
    /// Share of what was placed below which the fee is reduced.
    pub base_bp: i64,
    /// Share below which there is no fee after three months.
    pub minimum_bp: i64,
    /// Fee on what came back.
    pub fee_bp: i64,
    /// Fee where the base rate was not reached; `None` if none was told.
    pub reduced_bp: Option<i64>,
}

/// The usual rates by bucket: base and minimum, from the youngest debts to the oldest (C16).
pub const USUAL: [(i64, i64); 4] = [(8_500, 6_000), (6_500, 3_000), (4_500, 1_500), (4_000, 500)];

/// A contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Our id.
    pub id: i64,
    /// Code of the client.
    pub client: String,
    /// Its number.
    pub code: String,
    /// First day.
    pub valid_from_on: String,
    /// Last day; `None`: until ended.
    pub valid_to_on: Option<String>,
    /// Terms by bucket.
    pub tiers: Vec<Tier>,
}

/// Enters a contract with its terms.
///
/// # Errors
/// [`super::Error::Constraint`] (exists) if the client has one of this number.
pub async fn insert(
    tx: &mut Tx,
    client: ClientId,
    code: &str,
    from: &str,
    to: Option<&str>,
    tiers: &[Tier],
    now_ms: i64,
) -> Result<i64> {
    let args = args![client, code, from, to, now_ms];
    let id: i64 = tx.fetch_one(&INSERT, args).await?.get("id")?;
    for tier in tiers {
        let args = args![
            id,
            &tier.bucket,
            tier.base_bp,
            tier.minimum_bp,
            tier.fee_bp,
            tier.reduced_bp
        ];
        tx.execute(&TIER, args).await?;
    }
    Ok(id)
}

/// The client's contract of this number.
pub async fn by_code(tx: &mut Tx, client: ClientId, code: &str) -> Result<Option<i64>> {
    let row = tx.fetch_optional(&BY_CODE, args![client, code]).await?;
    row.map(|row| row.get("id")).transpose()
}

/// Puts a batch under a contract.
pub async fn assign(tx: &mut Tx, batch: crate::ids::BatchId, contract: i64) -> Result<()> {
    tx.execute(&ASSIGN, args![batch, contract]).await.map(drop)
}

/// All contracts with their terms.
pub async fn list(tx: &mut Tx) -> Result<Vec<Contract>> {
    let mut contracts: Vec<Contract> = Vec::new();
    for row in tx.fetch_all(&LIST, args![]).await? {
        let id: i64 = row.get("id")?;
        if contracts.last().is_none_or(|last| last.id != id) {
            contracts.push(Contract {
                id,
                client: row.get("client")?,
                code: row.get("code")?,
                valid_from_on: row.get("valid_from_on")?,
                valid_to_on: row.get("valid_to_on")?,
                tiers: Vec::new(),
            });
        }
        let tier = Tier {
            bucket: row.get("bucket")?,
            base_bp: row.get("base_bp")?,
            minimum_bp: row.get("minimum_bp")?,
            fee_bp: row.get("fee_bp")?,
            reduced_bp: row.get("reduced_bp")?,
        };
        if let Some(last) = contracts.last_mut() {
            last.tiers.push(tier);
        }
    }
    Ok(contracts)
}
