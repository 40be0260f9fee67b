//! Connect rate and connected volume by any one or two axes.

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
    let names: Vec<&str> = axes.iter().map(|axis| axis.as_str()).collect();
    Ok(Body {
        heads: heads(&[names.as_slice(), &calls::HEADS].concat()),
        rows,
        total: Some(last),
        meanings: calls::MEANINGS.to_vec(),
        notes: Vec::new(),
        sealed: true,
        sql: sql(axes, within),
    })
}

fn sql(axes: &[Axis], within: &Within<'_>) -> String {
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
        .map(|axis| format!("a.{}", axis.column()))
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    format!(
        "SELECT {shown}{}\nFROM ({}) AS f{joins}\nORDER BY {}",
        calls::columns(),
        calls::facts(&columns, within),
        order.join(", ")
    )
}
