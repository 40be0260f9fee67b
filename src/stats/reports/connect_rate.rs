//! Connect rate and connected volume by any one or two axes, and over time.

use super::{Body, Within, calls, heads};
use crate::{
    export::Cell,
    stats::rollup::Sums,
    store::{Result, Tx, figures::Axis},
};

pub(super) async fn read(tx: &mut Tx, axes: &[Axis], within: &Within<'_>) -> Result<Body> {
    let lines = calls::labelled(tx, axes, within).await?;
    let mut total = Sums::default();
    let mut rows = Vec::with_capacity(lines.len());
    for (labels, sums) in lines {
        total += sums;
        let mut row: Vec<Cell> = labels.iter().map(calls::Label::cell).collect();
        row.extend(calls::cells(&sums));
        rows.push(row);
    }
    let mut last = vec![Cell::Text("total".into())];
    last.resize(axes.len(), Cell::Empty);
    last.extend(calls::cells(&total));
    let mut notes = vec![format!(
        "connect rate = connected {} / (attempts {} - lost by our own faults {}), with its interval at 95 % (Wilson); refused, test \
         and inbound calls are no attempts",
        total.connected, total.attempts, total.lost_ours
    )];
    if axes.contains(&Axis::Week) {
        notes.push(
            "week: from Monday to Sunday (ISO 8601), called by its Monday; of the first and the last only the days asked for"
                .to_owned(),
        );
    }
    if axes.contains(&Axis::Month) {
        notes.push("month: of the first and the last only the days asked for".to_owned());
    }
    let names: Vec<&str> = axes.iter().map(|axis| axis.as_str()).collect();
    Ok(Body {
        heads: heads(&[names.as_slice(), &calls::HEADS].concat()),
        rows,
        total: Some(last),
        meanings: calls::MEANINGS.to_vec(),
        notes,
        sealed: true,
        sql: sql(axes, within),
        sql_of_total: Some(sql_of_total(axes, within)),
    })
}

pub(in crate::stats) fn sql(axes: &[Axis], within: &Within<'_>) -> String {
    let (mut shown, mut joins, mut order) = (String::new(), String::new(), Vec::new());
    for (n, axis) in (1..).zip(axes) {
        let (expression, join, text) = calls::label(*axis, n);
        shown.push_str(&format!("{expression} AS \"{axis}\", "));
        joins.push_str(&join);
        let collate = if text { within.collate() } else { "" };
        order.push(format!("{expression}{collate}"));
    }
    let columns: Vec<String> = axes
        .iter()
        .map(|axis| axis.expression("a", within.dialect))
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    format!(
        "SELECT {shown}{}\nFROM ({}) AS f{joins}\nORDER BY {}",
        calls::columns(),
        calls::facts(&columns, within),
        order.join(", ")
    )
}

/// The query of the last line.
pub(in crate::stats) fn sql_of_total(axes: &[Axis], within: &Within<'_>) -> String {
    let shown: String = (0..)
        .zip(axes)
        .map(|(n, axis)| {
            let label = if n == 0 { "'total'" } else { "NULL" };
            format!("{label} AS \"{axis}\", ")
        })
        .collect();
    format!(
        "SELECT {shown}{}\nFROM ({}) AS f",
        calls::columns(),
        calls::facts(&[], within)
    )
}
