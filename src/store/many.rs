//! Statements over many rows at once: one text for each of a few sizes, so that both databases keep them prepared.
//!
//! A group of closings writes hundreds of rows; a round trip for each would cost more than the rows.

use std::sync::OnceLock;

use super::{
    Result, Tx,
    db::Row,
    sql::{Sql, Value},
};

/// So many rows in one statement; the rest goes in smaller ones. 256 rows of 14 values stay below SQLite's 32,766.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// A statement that takes a list of rows: `before`, then the rows as `($1, $2), ($3, $4)`, then `after`.
pub(crate) struct Many {
    act: &'static str,
    before: &'static str,
    /// The SQL type of each column, `""` where the database knows it from the table.
    columns: &'static [&'static str],
    after: &'static str,
    made: OnceLock<Vec<Sql>>,
}

impl Many {
    pub(crate) const fn new(
        act: &'static str,
        before: &'static str,
        columns: &'static [&'static str],
        after: &'static str,
    ) -> Many {
        Many {
            act,
            before,
            columns,
            after,
            made: OnceLock::new(),
        }
    }

    /// The texts, by falling size. Made once in the life of the process, from constants only.
    pub(crate) fn texts(&self) -> &[Sql] {
        self.made.get_or_init(|| {
            let make = |rows: usize| Sql {
                act: self.act,
                text: Box::leak(self.text(rows).into_boxed_str()),
            };
            SIZES.iter().map(|rows| make(*rows)).collect()
        })
    }

    fn text(&self, rows: usize) -> String {
        let mut text = self.before.to_owned();
        let mut n = 0;
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for (column, kind) in self.columns.iter().enumerate() {
                n += 1;
                if column > 0 {
                    text.push_str(", ");
                }
                // The first row gives the list its types.
                if row == 0 && !kind.is_empty() {
                    text.push_str(&format!("CAST(${n} AS {kind})"));
                } else {
                    text.push_str(&format!("${n}"));
                }
            }
            text.push(')');
        }
        text + self.after
    }

    /// Runs the statement over all rows, in their order; returns the rows that it gives back.
    pub(crate) async fn run(&self, tx: &mut Tx, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        let mut given = Vec::new();
        let mut left = rows.into_iter();
        for (size, sql) in SIZES.into_iter().zip(self.texts()) {
            while left.len() >= size {
                let args = left.by_ref().take(size).flatten().collect();
                given.extend(tx.fetch_all(sql, args).await?);
            }
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::Many;

    #[test]
    fn the_first_row_gives_the_types() {
        let many = Many::new("test", "VALUES ", &["TEXT", ""], " x");
        assert_eq!(many.text(2), "VALUES (CAST($1 AS TEXT), $2), ($3, $4) x");
        assert!(many.texts().iter().all(|sql| sql.parameters() % 2 == 0));
    }
}
