//! A case store of somebody else on the same PostgreSQL: two views that it offers, read page by page.
//!
//! Our tables stand in the schema that the connection's `search_path` names first; the views may stand in any schema of
//! it. What the columns mean is said in `docs/cases.md`. Nothing is ever written there.

use std::collections::{HashMap, HashSet};

use super::{
    Error, Result, Tx,
    bulk::Among,
    sql::{Sql, Value},
};

/// The columns of `foreign_cases`.
pub const CASE_COLUMNS: [&str; 16] = [
    "client",
    "batch",
    "case_reference",
    "state",
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
];
/// One that it may have: the day for which `balance` is told.
const BALANCE_ON: &str = "balance_on";
/// The columns of `foreign_contact_points`.
pub const POINT_COLUMNS: [&str; 5] = [
    "client",
    "case_reference",
    "contact_name",
    "relation",
    "number",
];
/// Those by which rows are found and put in order; all others are taken as text, whatever they are.
const KEYS: [&str; 3] = ["client", "batch", "case_reference"];

/// These cannot be prepared where there are no such views, so that their test makes some.
const COLUMNS: Sql = Sql {
    act: "look for the views of the foreign case store",
    text: "SELECT CAST(a.attname AS TEXT) AS name, CAST(t.typcategory AS TEXT) AS category,
                  CAST(format_type(a.atttypid, NULL) AS TEXT) AS type,
                  CAST(CASE WHEN has_column_privilege(a.attrelid, a.attnum, 'SELECT') THEN 1 ELSE 0 END AS BIGINT) AS readable,
                  CAST(CURRENT_USER AS TEXT) AS role
           FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
};
const ELSEWHERE: Sql = Sql {
    act: "look for the views of the foreign case store",
    text: "SELECT CAST(n.nspname AS TEXT) AS schema, CAST(CURRENT_USER AS TEXT) AS role,
                  CAST(CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN 1 ELSE 0 END AS BIGINT) AS usable
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relname = $1 AND c.relkind IN ('v', 'm', 'r', 'f', 'p') ORDER BY 1",
};
/// What is wrong with rows; each gives the case numbers, of a client or (empty) of all.
const DUPLICATES: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT CAST(case_reference AS TEXT) AS case_reference FROM foreign_cases
           WHERE ($1 = '' OR client = $1) AND case_reference IS NOT NULL
           GROUP BY client, case_reference HAVING COUNT(*) > 1 ORDER BY 1",
};
const EMPTY: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT CAST(case_reference AS TEXT) AS case_reference FROM foreign_cases
           WHERE ($1 = '' OR client = $1) AND (client IS NULL OR batch IS NULL OR case_reference IS NULL OR state IS NULL)
           ORDER BY 1",
};
const STATES: Sql = Sql {
    act: "check the foreign cases",
    text: "SELECT CAST(case_reference AS TEXT) AS case_reference FROM foreign_cases
           WHERE ($1 = '' OR client = $1)
             AND CAST(state AS TEXT) NOT IN ('open', 'paused', 'settled', 'returned', 'closed') ORDER BY 1",
};
const STRAY: Sql = Sql {
    act: "check the foreign contact points",
    text: "SELECT CAST(p.case_reference AS TEXT) AS case_reference FROM foreign_contact_points p
           WHERE ($1 = '' OR p.client = $1) AND NOT EXISTS
           (SELECT 1 FROM foreign_cases c WHERE c.client = p.client AND c.case_reference = p.case_reference) ORDER BY 1",
};
/// So many case numbers are named; more are counted.
const NAMED: usize = 10;
const BATCHES: Sql = Sql {
    act: "list the foreign batches",
    text: "SELECT DISTINCT CAST(batch AS TEXT) AS batch FROM foreign_cases WHERE client = $1 AND batch IS NOT NULL
           ORDER BY 1",
};
/// A page of cases; `$day` is the day of the balance.
macro_rules! page {
    ($day:literal) => {
        concat!(
            "SELECT CAST(case_reference AS TEXT) AS case_reference, CAST(debtor AS TEXT) AS debtor, CAST(name AS TEXT) AS name,
                    CAST(identity AS TEXT) AS identity, CAST(card AS TEXT) AS card, CAST(currency AS TEXT) AS currency,
                    CAST(placed AS TEXT) AS placed, CAST(balance AS TEXT) AS balance, ",
            $day,
            " AS balance_on, CAST(principal AS TEXT) AS principal, CAST(interest AS TEXT) AS interest,
                    CAST(fees AS TEXT) AS fees, CAST(overdue_days AS TEXT) AS overdue_days, CAST(region AS TEXT) AS region,
                    CAST(state AS TEXT) AS state
             FROM foreign_cases WHERE client = $1 AND batch = $2 AND case_reference > $3
             ORDER BY case_reference LIMIT 500"
        )
    };
}
const PAGE: Sql = Sql {
    act: "read the foreign cases",
    text: page!("CAST(NULL AS TEXT)"),
};
const DATED_PAGE: Sql = Sql {
    act: "read the foreign cases",
    text: page!("CAST(balance_on AS TEXT)"),
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
pub const HEADS: [&str; 18] = [
    "case_reference",
    "debtor",
    "name",
    "identity",
    "card",
    "currency",
    "placed",
    "balance",
    BALANCE_ON,
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

/// What the views have that they need not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Views {
    /// The day for which a balance is told.
    pub dated: bool,
}

/// What is wrong with the views themselves, each with the remedy, and what they have; they can be pulled from if it is
/// nothing.
pub async fn check_views(tx: &mut Tx) -> Result<(Vec<String>, Views)> {
    let mut problems = Vec::new();
    let mut dated = false;
    for (view, columns) in [
        ("foreign_cases", &CASE_COLUMNS[..]),
        ("foreign_contact_points", &POINT_COLUMNS[..]),
    ] {
        let (mut there, mut denied) = (HashMap::new(), None);
        for row in &tx.fetch_all(&COLUMNS, args![view]).await? {
            let name: String = row.get("name")?;
            if !row.flag("readable")? {
                denied = Some(row.get::<String>("role")?);
            }
            let (category, kind): (String, String) = (row.get("category")?, row.get("type")?);
            there.insert(name, (category, kind));
        }
        if there.is_empty() {
            problems.push(missing(tx, view).await?);
            continue;
        }
        if let Some(role) = denied {
            problems.push(format!(
                "{view} may not be read: GRANT SELECT ON {view} TO {role}"
            ));
            continue;
        }
        for column in columns {
            match there.get(*column) {
                None => problems.push(format!(
                    "{view} has no column {column}: add it, as NULL if nothing is known"
                )),
                Some((category, kind)) if KEYS.contains(column) && category != "S" => {
                    problems.push(format!(
                        "{view}.{column} is {kind}, but cases are looked up by text: write CAST({column} AS TEXT) AS {column} in \
                         the view"
                    ));
                }
                Some(_) => {}
            }
        }
        dated |= there.contains_key(BALANCE_ON);
    }
    Ok((problems, Views { dated }))
}

/// Why a view is not found.
async fn missing(tx: &mut Tx, view: &str) -> Result<String> {
    if let Some(row) = tx.fetch_all(&ELSEWHERE, args![view]).await?.first() {
        let (schema, role): (String, String) = (row.get("schema")?, row.get("role")?);
        return Ok(match row.flag("usable")? {
            true => format!(
                "{view} stands in the schema {schema}, which the connection's search_path does not name: name it there"
            ),
            false => format!(
                "{view} stands in the schema {schema}, which may not be used: GRANT USAGE ON SCHEMA {schema} TO {role}"
            ),
        });
    }
    Ok(format!(
        "there is no view {view} in the schemas of the connection's search_path: make it, or name its schema there"
    ))
}

/// What is wrong with rows of the views, of a client or (empty) of all, with the case numbers. Such rows are left out; the
/// others can be pulled.
pub async fn check_rows(tx: &mut Tx, client: &str) -> Result<Vec<String>> {
    let mut problems = Vec::new();
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
        let rows = tx.fetch_all(sql, args![client]).await?;
        if rows.is_empty() {
            continue;
        }
        let mut named = Vec::new();
        for row in rows.iter().take(NAMED) {
            let reference: Option<String> = row.get("case_reference")?;
            named.push(reference.unwrap_or_else(|| "(no number)".to_owned()));
        }
        let more = match rows.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        problems.push(format!("{} {said}: {}{more}", rows.len(), named.join(", ")));
    }
    Ok(problems)
}

/// A client's case numbers that stand in the view more than once: which row holds cannot be told.
pub async fn doubled(tx: &mut Tx, client: &str) -> Result<HashSet<String>> {
    let rows = tx.fetch_all(&DUPLICATES, args![client]).await?;
    rows.iter().map(|row| row.get("case_reference")).collect()
}

/// The batches in which a client has foreign cases.
pub async fn batches(tx: &mut Tx, client: &str) -> Result<Vec<String>> {
    let rows = tx.fetch_all(&BATCHES, args![client]).await?;
    rows.iter().map(|row| row.get("batch")).collect()
}

/// So many of [`HEADS`] are the case's own; the others are of a person with one number.
const OF_CASE: usize = 15;

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
pub async fn page(
    tx: &mut Tx,
    views: Views,
    client: &str,
    batch: &str,
    after: &str,
) -> Result<Vec<ForeignCase>> {
    let sql = if views.dated { &DATED_PAGE } else { &PAGE };
    let rows = tx.fetch_all(sql, args![client, batch, after]).await?;
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
