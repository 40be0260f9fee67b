//! A case store of somebody else on the same PostgreSQL: two views that it offers, read page by page.
//!
//! Our tables stand in the schema that the connection's `search_path` names first; the views may stand in any schema of
//! it. What the columns mean is said in `docs/cases.md`. Nothing is ever written there.

use std::collections::HashMap;

use super::{
    Error, Result, Tx,
    bulk::Among,
    sql::{Sql, Value},
};

/// The columns of `foreign_cases`: name, and whether it must have a value.
pub const CASE_COLUMNS: [(&str, bool); 16] = [
    ("client", true),
    ("batch", true),
    ("case_reference", true),
    ("state", true),
    ("debtor", false),
    ("name", false),
    ("identity", false),
    ("card", false),
    ("currency", false),
    ("placed", false),
    ("balance", false),
    ("principal", false),
    ("interest", false),
    ("fees", false),
    ("overdue_days", false),
    ("region", false),
];
/// The columns of `foreign_contact_points`.
pub const POINT_COLUMNS: [(&str, bool); 5] = [
    ("client", true),
    ("case_reference", true),
    ("contact_name", true),
    ("relation", true),
    ("number", true),
];

/// These cannot be prepared where there are no such views, so that their test makes some.
const COLUMNS: Sql = Sql {
    act: "look for the views of the foreign case store",
    text: "SELECT CAST(column_name AS TEXT) AS name FROM information_schema.columns
           WHERE table_name = $1 AND table_schema = ANY (current_schemas(false))",
};
const DUPLICATES: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT COUNT(*) AS n FROM (SELECT 1 FROM foreign_cases GROUP BY client, case_reference HAVING COUNT(*) > 1) d",
};
const EMPTY: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT COUNT(*) AS n FROM foreign_cases
           WHERE client IS NULL OR batch IS NULL OR case_reference IS NULL OR state IS NULL",
};
const STATES: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT COUNT(*) AS n FROM foreign_cases
           WHERE state NOT IN ('open', 'paused', 'settled', 'returned', 'closed')",
};
const STRAY: Sql = Sql {
    act: "check the foreign contact points",
    text: "SELECT COUNT(*) AS n FROM foreign_contact_points p WHERE NOT EXISTS
           (SELECT 1 FROM foreign_cases c WHERE c.client = p.client AND c.case_reference = p.case_reference)",
};
const BATCHES: Sql = Sql {
    act: "list the foreign batches",
    text: "SELECT DISTINCT CAST(batch AS TEXT) AS batch FROM foreign_cases WHERE client = $1 AND batch IS NOT NULL
           ORDER BY 1",
};
const PAGE: Sql = Sql {
    act: "read the foreign cases",
    text: "SELECT CAST(case_reference AS TEXT) AS case_reference, CAST(debtor AS TEXT) AS debtor, CAST(name AS TEXT) AS name,
                  CAST(identity AS TEXT) AS identity, CAST(card AS TEXT) AS card, CAST(currency AS TEXT) AS currency,
                  CAST(placed AS TEXT) AS placed, CAST(balance AS TEXT) AS balance,
                  CAST(principal AS TEXT) AS principal, CAST(interest AS TEXT) AS interest, CAST(fees AS TEXT) AS fees,
                  CAST(overdue_days AS TEXT) AS overdue_days, CAST(region AS TEXT) AS region,
                  CAST(state AS TEXT) AS state
           FROM foreign_cases WHERE client = $1 AND batch = $2 AND case_reference > $3
           ORDER BY case_reference LIMIT 500",
};
static POINTS: Among = Among::new(
    "read the foreign contact points",
    "SELECT CAST(case_reference AS TEXT) AS case_reference, CAST(contact_name AS TEXT) AS contact_name,
            CAST(relation AS TEXT) AS relation, CAST(number AS TEXT) AS number
     FROM foreign_contact_points WHERE client = $1 AND case_reference IN",
    1,
    "ORDER BY case_reference, contact_name, number",
);

/// The heads of the rows that [`page`] gives, as the template `foreign` knows them.
pub const HEADS: [&str; 17] = [
    "case_reference",
    "debtor",
    "name",
    "identity",
    "card",
    "currency",
    "placed",
    "balance",
    "principal",
    "interest",
    "fees",
    "overdue_days",
    "region",
    "state",
    "contact_name",
    "relation",
    "number",
];

/// What is wrong with the views, each with the remedy; nothing if they can be pulled from.
pub async fn check(tx: &mut Tx) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (view, columns) in [
        ("foreign_cases", &CASE_COLUMNS[..]),
        ("foreign_contact_points", &POINT_COLUMNS[..]),
    ] {
        let rows = tx.fetch_all(&COLUMNS, args![view]).await?;
        let there: Vec<String> = rows
            .iter()
            .map(|row| row.get("name"))
            .collect::<Result<_>>()?;
        if there.is_empty() {
            problems.push(format!(
                "there is no view {view} in the schemas of the connection's search_path: make it, or name its schema there"
            ));
            continue;
        }
        for (column, _) in columns {
            if !there.iter().any(|name| name == column) {
                problems.push(format!(
                    "{view} has no column {column}: add it, as NULL if nothing is known"
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Ok(problems);
    }
    for (sql, said) in [
        (
            &DUPLICATES,
            "case numbers stand in foreign_cases more than once for a client",
        ),
        (
            &EMPTY,
            "rows of foreign_cases have no client, batch, case_reference or state",
        ),
        (
            &STATES,
            "rows of foreign_cases have a state that is none of open, paused, settled, returned, closed",
        ),
        (
            &STRAY,
            "rows of foreign_contact_points belong to no case of foreign_cases",
        ),
    ] {
        let count: i64 = tx.fetch_one(sql, args![]).await?.get("n")?;
        if count > 0 {
            problems.push(format!("{count} {said}"));
        }
    }
    Ok(problems)
}

/// The batches in which a client has foreign cases.
pub async fn batches(tx: &mut Tx, client: &str) -> Result<Vec<String>> {
    let rows = tx.fetch_all(&BATCHES, args![client]).await?;
    rows.iter().map(|row| row.get("batch")).collect()
}

/// So many of [`HEADS`] are the case's own; the others are of a person with one number.
const OF_CASE: usize = 14;

/// A foreign case: its state, what is owed, and a row a number (one at least) under [`HEADS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignCase {
    /// The client's case number.
    pub reference: String,
    /// Word of its state.
    pub state: String,
    /// What is owed, or else what was placed, as the view says it; empty if it says neither.
    pub owed: String,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// The foreign cases of a batch behind a case number, in the order of their numbers, at most 500.
pub async fn page(tx: &mut Tx, client: &str, batch: &str, after: &str) -> Result<Vec<ForeignCase>> {
    let rows = tx.fetch_all(&PAGE, args![client, batch, after]).await?;
    let mut cases = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = Vec::with_capacity(HEADS.len());
        for head in HEADS.iter().take(OF_CASE) {
            cells.push(row.get::<Option<String>>(head)?.unwrap_or_default());
        }
        let text = |column| row.get::<Option<String>>(column);
        let owed = text("balance")?.or(text("placed")?).unwrap_or_default();
        let state = text("state")?.unwrap_or_default();
        let reference = cells.first().cloned().unwrap_or_default();
        cases.push((reference, state, owed, cells));
    }
    let keys: Vec<Value> = cases
        .iter()
        .map(|(reference, ..)| reference.into())
        .collect();
    let mut points: HashMap<String, Vec<[String; 3]>> = HashMap::new();
    for row in POINTS.fetch(tx, &[client.into()], &keys).await? {
        let text = |column| Ok::<_, Error>(row.get::<Option<String>>(column)?.unwrap_or_default());
        let point = [text("contact_name")?, text("relation")?, text("number")?];
        let of = points.entry(row.get("case_reference")?).or_default();
        // A chunk that was filled up asks for its last key more than once, but is answered once.
        of.push(point);
    }
    Ok(cases
        .into_iter()
        .map(|(reference, state, owed, cells)| {
            let mut of = points.remove(&reference).unwrap_or_default();
            if of.is_empty() {
                of.push(Default::default());
            }
            let rows = of
                .into_iter()
                .map(|point| cells.iter().cloned().chain(point).collect())
                .collect();
            ForeignCase {
                reference,
                state,
                owed,
                rows,
            }
        })
        .collect())
}
