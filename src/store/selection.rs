//! Which cases: the filters of bulk work and allocation, in one place, so that what is shown is what is changed.
//!
//! Cases of an import that is still at work are never selected.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Result, Tx, db::Row, users::User};
use crate::{
    ids::{AgentId, CaseId, ClientId, TeamId},
    policy::CaseState,
};

/// Rows of one reading.
const PAGE: u32 = 5_000;

/// Which cases. What is left out asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseFilter {
    /// Code of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// The client's name of the lot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub batch: String,
    /// State.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<CaseState>,
    /// Overdue bucket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bucket: String,
    /// Where the debtor lives, as the client calls it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Colour mark.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mark: String,
    /// Currency.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// Least amount owed, ten-thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_e4: Option<i64>,
    /// Largest amount owed, ten-thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_e4: Option<i64>,
    /// Employee number of who has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// Code of the team that has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// Only those that no agent has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unallocated: bool,
    /// Kind of the debts, as the template of the batch calls it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub case_type: String,
    /// Least days overdue at placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_days: Option<i64>,
    /// Most days overdue at placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_days: Option<i64>,
    /// First day on which their lot was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_from: Option<Date>,
    /// Last day on which their lot was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_to: Option<Date>,
    /// Only those that nobody has followed up since this instant, or ever; milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_followed_since_ms: Option<i64>,
    /// The client's own fields that have these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// A selected case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The case.
    pub case: CaseId,
    /// Whose.
    pub client: ClientId,
    /// The client's case number.
    pub reference: String,
    /// What may be done with it.
    pub state: CaseState,
    /// The person who owes; cases with the same one are one household.
    pub person: i64,
    /// Currency.
    pub currency: String,
    /// What is owed now, ten-thousandths.
    pub balance_e4: i64,
    /// Where the debtor lives.
    pub region: String,
    /// The team that has it.
    pub team: Option<TeamId>,
    /// The agent who has it.
    pub agent: Option<AgentId>,
}

/// Who has which person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The case.
    pub case: CaseId,
    /// The person who owes.
    pub person: i64,
    /// What is owed now, ten-thousandths.
    pub balance_e4: i64,
    /// Whether it is still worked.
    pub worked: bool,
    /// The team that has it.
    pub team: Option<TeamId>,
    /// The agent who has it.
    pub agent: Option<AgentId>,
    /// Since when.
    pub since_ms: i64,
}

statements! {
    SELECT("select cases") =
        "SELECT c.id, c.client_id, c.reference, c.state, d.person_id AS person, c.currency, c.balance_e4, c.region, c.team_id,
                c.agent_id, CASE WHEN CAST($21 AS BIGINT) = 0 THEN '' ELSE c.fields END AS fields
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN clients k ON k.id = c.client_id
              JOIN batches b ON b.id = c.batch_id LEFT JOIN agents a ON a.id = c.agent_id LEFT JOIN teams t ON t.id = c.team_id
         WHERE c.id > $1 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL
           AND (CAST($2 AS BIGINT) = 0 OR c.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $2))
           AND ($3 = '' OR k.code = $3) AND ($4 = '' OR b.code = $4) AND ($5 = '' OR c.state = $5)
           AND ($6 = '' OR c.bucket = $6) AND ($7 = '' OR c.region = $7) AND ($8 = '' OR c.mark = $8)
           AND ($9 = '' OR c.currency = $9) AND c.balance_e4 >= $10 AND c.balance_e4 <= $11
           AND ($12 = '' OR a.code = $12) AND ($13 = '' OR t.code = $13)
           AND (CAST($14 AS BIGINT) = 0 OR c.agent_id IS NULL) AND ($15 = '' OR b.case_type = $15)
           AND (CAST($16 AS BIGINT) IS NULL OR c.overdue_days >= $16) AND (CAST($17 AS BIGINT) IS NULL OR c.overdue_days <= $17)
           AND ($18 = '' OR b.placed_on >= $18) AND ($19 = '' OR b.placed_on <= $19)
           AND (CAST($20 AS BIGINT) IS NULL OR c.followed_at_ms IS NULL OR c.followed_at_ms < $20)
         ORDER BY c.id LIMIT $22";
    HELD("read who has which case") =
        "SELECT c.id, d.person_id AS person, c.balance_e4, c.state, c.team_id, c.agent_id,
                c.allocated_at_ms
         FROM cases c JOIN debtors d ON d.id = c.debtor_id
         WHERE c.id > $1 AND (c.agent_id IS NOT NULL OR c.team_id IS NOT NULL) ORDER BY c.id LIMIT $2";
    ONE("look up a case by its number") =
        "SELECT c.id, c.client_id, c.reference, c.state, d.person_id AS person, c.currency, c.balance_e4, c.region, c.team_id,
                c.agent_id
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN batches b ON b.id = c.batch_id
         WHERE c.client_id = $1 AND c.reference = $2 AND c.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL";
}

/// The cases that a filter selects and a user may see (`None`: the command line), by their ids.
pub async fn select(
    tx: &mut Tx,
    viewer: Option<&User>,
    filter: &CaseFilter,
) -> Result<Vec<Selected>> {
    let mut all = Vec::new();
    let mut after = 0;
    let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    loop {
        let args = args![
            after,
            viewer.map_or(0, User::scope_parameter),
            &filter.client,
            &filter.batch,
            filter.state.map_or("", CaseState::as_str),
            &filter.bucket,
            &filter.region,
            &filter.mark,
            &filter.currency,
            filter.from_e4.unwrap_or(i64::MIN),
            filter.to_e4.unwrap_or(i64::MAX),
            &filter.agent,
            &filter.team,
            filter.unallocated,
            &filter.case_type,
            filter.from_days,
            filter.to_days,
            day(filter.placed_from),
            day(filter.placed_to),
            filter.not_followed_since_ms,
            !filter.fields.is_empty(),
            PAGE
        ];
        let rows = tx.fetch_all(&SELECT, args).await?;
        for row in &rows {
            let one = read(row)?;
            after = one.case.get();
            if has_fields(row, &filter.fields)? {
                all.push(one);
            }
        }
        if rows.len() < PAGE as usize {
            return Ok(all);
        }
    }
}

/// The client's cases with these numbers, and the numbers of which there are none.
pub async fn by_references(
    tx: &mut Tx,
    client: ClientId,
    references: &[String],
) -> Result<(Vec<Selected>, Vec<String>)> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in references {
        match tx.fetch_optional(&ONE, args![client, reference]).await? {
            Some(row) => found.push(read(&row)?),
            None => missing.push(reference.clone()),
        }
    }
    found.sort_by_key(|one| one.case);
    found.dedup_by_key(|one| one.case);
    Ok((found, missing))
}

/// Every case that an agent or a team has.
pub async fn holdings(tx: &mut Tx) -> Result<Vec<Holding>> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let rows = tx.fetch_all(&HELD, args![after, PAGE]).await?;
        for row in &rows {
            let state: CaseState = row.word("state", CaseState::parse)?;
            let case = CaseId::new(row.get("id")?);
            after = case.get();
            all.push(Holding {
                case,
                person: row.get("person")?,
                balance_e4: row.get("balance_e4")?,
                worked: matches!(state, CaseState::Open | CaseState::Paused),
                team: row.get::<Option<i64>>("team_id")?.map(TeamId::new),
                agent: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
                since_ms: row.get::<Option<i64>>("allocated_at_ms")?.unwrap_or(0),
            });
        }
        if rows.len() < PAGE as usize {
            return Ok(all);
        }
    }
}

/// Whether the client's own fields have these values. Compared here: the two databases read JSON in ways of their own.
fn has_fields(row: &Row, wanted: &BTreeMap<String, String>) -> Result<bool> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let fields: BTreeMap<String, String> =
        serde_json::from_str(&row.get::<String>("fields")?).unwrap_or_default();
    Ok(wanted
        .iter()
        .all(|(name, value)| fields.get(name) == Some(value)))
}

fn read(row: &Row) -> Result<Selected> {
    Ok(Selected {
        case: CaseId::new(row.get("id")?),
        client: ClientId::new(row.get("client_id")?),
        reference: row.get("reference")?,
        state: row.word("state", CaseState::parse)?,
        person: row.get("person")?,
        currency: row.get("currency")?,
        balance_e4: row.get("balance_e4")?,
        region: row.get("region")?,
        team: row.get::<Option<i64>>("team_id")?.map(TeamId::new),
        agent: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
    })
}
