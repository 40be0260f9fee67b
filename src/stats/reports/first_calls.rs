//! First calls of each batch and what came of them (T10): connected, promised, deceased, suspected fraud.

use std::collections::{BTreeMap, HashMap};

use super::{Body, Within, calls, heads, with_interval};
use crate::{
    agent::Effect,
    export::Cell,
    stats::rollup::Sums,
    store::{Result, Tx, batches, clients, dispositions, figures},
};

/// What is counted apart.
const EFFECTS: [Effect; 3] = [Effect::Promise, Effect::Deceased, Effect::SuspectedFraud];

#[derive(Default)]
struct Line {
    sums: Sums,
    effects: [i64; 3],
    unnoted: i64,
}

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body> {
    let batches = batches::list(tx).await?;
    let batches: HashMap<i64, _> = batches.into_iter().map(|b| (b.id.get(), b)).collect();
    let clients = clients::list(tx).await?;
    // What a code does, for each client: its own list stands over the general one.
    let mut does = HashMap::new();
    for client in clients {
        if within.client.is_some_and(|only| only != client.id) {
            continue;
        }
        let list = dispositions::list(tx, Some(client.id)).await?;
        let list = list.into_iter().map(|l| (l.disposition.code.clone(), l));
        does.insert(client.code, list.collect::<HashMap<_, _>>());
    }
    let mut lines = BTreeMap::<String, Line>::new();
    for (batch, code, sums) in figures::first_calls(tx, within.from_text, within.to_text).await? {
        let Some(batch) = batches.get(&batch).filter(|b| does.contains_key(&b.client)) else {
            continue;
        };
        if sums.is_zero() {
            continue;
        }
        let line = lines.entry(batch.label()).or_default();
        line.sums += sums;
        if code.is_empty() {
            line.unnoted += sums.attempts;
        }
        let known = does[&batch.client].get(&code);
        for (count, effect) in line.effects.iter_mut().zip(EFFECTS) {
            if known.is_some_and(|l| l.disposition.does(effect)) {
                *count += sums.attempts;
            }
        }
    }
    let rows = lines.into_iter().map(|(batch, line)| {
        let mut row = vec![
            Cell::Text(batch),
            Cell::Int(line.sums.attempts),
            Cell::Int(line.sums.connected),
            Cell::Int(line.sums.lost_ours),
        ];
        row.extend(with_interval(line.sums.connect_rate()));
        row.push(Cell::Int(line.sums.right_party));
        row.extend(line.effects.map(Cell::Int));
        row.push(Cell::Int(line.unnoted));
        row
    });
    Ok(Body {
        heads: heads(&[
            "batch",
            "first_calls",
            "connected",
            "lost_ours",
            "connect_rate",
            "low",
            "high",
            "right_party",
            "promised",
            "deceased",
            "suspected_fraud",
            "unnoted",
        ]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["connected", "lost_ours", "connect_rate", "right_party", "first_calls"],
        notes: vec![
            "promised, deceased and suspected_fraud go by what a disposition does, whatever a client calls it; unnoted: \
             nothing was said of the call yet"
                .into(),
        ],
        sealed: true,
        sql: sql(within),
        sql_of_total: None,
    })
}

fn sql(within: &Within<'_>) -> String {
    let keys = ["a.client_id", "a.batch_id", "a.disposition"];
    let facts = calls::facts_where(&keys, " AND a.first_call = 1", within);
    let effects: String = EFFECTS
        .into_iter()
        .zip(["promised", "deceased", "suspected_fraud"])
        .map(|(effect, name)| {
            format!(
                "\n             CAST(SUM(CASE WHEN e.effects LIKE '%\"{}\"%' THEN e.attempts ELSE 0 END) AS BIGINT) AS {name},",
                effect.as_str()
            )
        })
        .collect();
    format!(
        "SELECT c.code || '/' || b.code AS batch, g.first_calls, g.connected, g.lost_ours,
       {rate},
       g.right_party, g.promised, g.deceased,
       g.suspected_fraud, g.unnoted
FROM (SELECT e.k2 AS batch_id, CAST(SUM(e.attempts) AS BIGINT) AS first_calls, CAST(SUM(e.connected) AS BIGINT) AS connected,
             CAST(SUM(e.lost_ours) AS BIGINT) AS lost_ours, CAST(SUM(e.right_party) AS BIGINT) AS right_party,{effects}
             CAST(SUM(CASE WHEN e.k3 = '' THEN e.attempts ELSE 0 END) AS BIGINT) AS unnoted
      FROM (SELECT f.*, (SELECT d.effects FROM dispositions d
                         WHERE d.code = f.k3 AND (d.client_id IS NULL OR d.client_id = f.k1)
                         ORDER BY COALESCE(d.client_id, 0) DESC LIMIT 1) AS effects
            FROM ({facts}) AS f) AS e
      GROUP BY e.k2) AS g
     JOIN batches b ON b.id = g.batch_id JOIN clients c ON c.id = b.client_id
ORDER BY c.code || '/' || b.code{collate}",
        rate = calls::rate(
            "g.connected",
            "(g.first_calls - g.lost_ours)",
            ["connect_rate", "low", "high"]
        ),
        collate = within.collate()
    )
}
