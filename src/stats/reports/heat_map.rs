//! Connect rate by weekday and hour of the day, both local to the person called.

use super::{Body, Within, calls, heads, with_interval};
use crate::{
    export::Cell,
    stats::rollup::Dimension,
    store::{Dialect, Result, Tx, figures},
};

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body> {
    let (dimension, value) = match within.client {
        None => (Dimension::All, String::new()),
        Some(client) => (Dimension::Client, client.to_string()),
    };
    let cells = figures::heat_map(tx, dimension, &value, within.from_text, within.to_text).await?;
    let rows =
        cells
            .into_iter()
            .filter(|(.., sums)| !sums.is_zero())
            .map(|(weekday, hour, sums)| {
                let mut row = vec![
                    Cell::Int(weekday.into()),
                    Cell::Int(hour),
                    Cell::Int(sums.attempts),
                    Cell::Int(sums.connected),
                    Cell::Int(sums.lost_ours),
                ];
                row.extend(with_interval(sums.connect_rate()));
                row
            });
    let weekday = match within.dialect {
        Dialect::Sqlite => "(CAST(strftime('%w', a.local_date) AS INTEGER) + 6) % 7 + 1",
        Dialect::Postgres => "CAST(EXTRACT(ISODOW FROM CAST(a.local_date AS DATE)) AS INTEGER)",
    };
    Ok(Body {
        heads: heads(&[
            "weekday",
            "hour",
            "attempts",
            "connected",
            "lost_ours",
            "connect_rate",
            "low",
            "high",
        ]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["attempts", "connected", "lost_ours", "connect_rate"],
        notes: vec!["weekday 1 is Monday; day and hour are those of the person called".into()],
        sealed: true,
        sql_of_total: None,
        sql: format!(
            "SELECT f.k1 AS weekday, f.k2 AS hour, f.attempts, f.connected, f.lost_ours,
       {}
FROM ({}) AS f
ORDER BY f.k1, f.k2",
            calls::connect_rate(),
            calls::facts(&[weekday, "a.local_hour"], within)
        ),
    })
}
