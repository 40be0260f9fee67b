//! Promises to pay that came due, by client, agent and currency, and how they were kept.

use super::{Body, Within, calls, heads, with_interval};
use crate::{
    export::Cell,
    stats::report::wilson,
    store::{
        Result, Tx,
        promises::{self, Due},
        sql::filled,
    },
};

pub(super) async fn read(tx: &mut Tx, grace_days: u16, within: &Within<'_>) -> Result<Body> {
    // A promise came due when the last day of grace is over.
    let over = jiff::Span::new().days(i64::from(grace_days) + 1);
    let last = within.today.checked_sub(over).unwrap_or(within.from);
    let due = Due {
        from: within.from_text.to_owned(),
        to: last.min(within.to).to_string(),
        grace_days,
        client: within.client,
    };
    let mut lines = promises::due(tx, &due).await?;
    lines.sort();
    let rows = lines.into_iter().map(|p| {
        let mut row = vec![
            Cell::Text(p.client),
            Cell::Text(p.agent),
            Cell::Text(p.currency),
            Cell::Int(p.promises),
            Cell::Int(p.kept),
        ];
        row.extend(with_interval(wilson(p.kept, p.promises)));
        row.extend([Cell::Money(p.promised_e4), Cell::Money(p.paid_e4)]);
        row
    });
    let collate = within.collate();
    Ok(Body {
        heads: heads(&[
            "client",
            "agent",
            "currency",
            "promises",
            "kept",
            "kept_rate",
            "low",
            "high",
            "promised",
            "paid",
        ]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["promise_kept_rate"],
        notes: vec![
            format!(
                "promised for {} to {}, with {grace_days} days of grace; those whose grace still runs are left out",
                due.from, due.to
            ),
            "a repayment counts for every promise of its case whose days it falls into".into(),
        ],
        sealed: false,
        sql_of_total: None,
        sql: format!(
            "SELECT client, agent, currency, promises, kept,\n       {},\n       promised, paid\nFROM ({}) AS due\n\
             ORDER BY client{collate}, agent{collate}, currency{collate}",
            calls::rate("kept", "promises", ["kept_rate", "low", "high"]),
            filled(promises::statement(within.dialect).text, &due.args())
        ),
    })
}
