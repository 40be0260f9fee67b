//! Calls that the rules did not allow, by client and reason. They are no attempts and in no other report.

use std::collections::BTreeMap;

use super::{Body, ReportError, Within, heads};
use crate::{
    export::Cell,
    store::{Dialect, Tx, clients, figures},
};

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body, ReportError> {
    let (from_ms, to_ms) = within.ms()?;
    let codes = clients::list(tx).await?;
    let codes: BTreeMap<i64, String> = codes.into_iter().map(|c| (c.id.get(), c.code)).collect();
    let mut lines = BTreeMap::new();
    for (client, reason, refusals) in figures::refusals(tx, from_ms, to_ms).await? {
        if within.client.is_none_or(|only| only.get() == client) {
            let code = codes.get(&client).cloned().unwrap_or_default();
            lines.insert((code, reason), refusals);
        }
    }
    let rows = lines.into_iter().map(|((client, reason), refusals)| {
        vec![Cell::Text(client), Cell::Text(reason), Cell::Int(refusals)]
    });
    Ok(Body {
        heads: heads(&["client", "reason", "refusals"]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["refusals"],
        notes: vec![
            "a refusal with several reasons counts once under each of them; days are those of the zone shown to operators"
                .into(),
        ],
        sealed: false,
        sql_of_total: None,
        sql: sql((from_ms, to_ms), within),
    })
}

fn sql((from_ms, to_ms): (i64, i64), within: &Within<'_>) -> String {
    let reasons = match within.dialect {
        Dialect::Sqlite => "json_each(r.reasons) AS j",
        Dialect::Postgres => "jsonb_array_elements_text(CAST(r.reasons AS jsonb)) AS j(value)",
    };
    let client = within
        .client
        .map(|client| format!(" AND r.client_id = {client}"))
        .unwrap_or_default();
    format!(
        "SELECT c.code AS client, j.value AS reason, COUNT(DISTINCT r.id) AS refusals
FROM receipts r JOIN clients c ON c.id = r.client_id CROSS JOIN {reasons}
WHERE r.allowed = 0 AND r.at_ms >= {from_ms} AND r.at_ms < {to_ms}{client}
GROUP BY c.code, j.value
ORDER BY c.code{collate}, j.value{collate}",
        collate = within.collate()
    )
}
