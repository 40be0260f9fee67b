//! Many rows in one statement, in chunks of fixed sizes, so that every text is prepared once and stays far below the
//! 32,766 parameters of SQLite and the 65,535 of PostgreSQL.

use std::sync::OnceLock;

use super::{
    Result, Row, Tx,
    sql::{Sql, Value},
};

/// Rows of one statement, largest first.
const SIZES: [usize; 3] = [100, 10, 1];
/// Keys of one question.
const KEYS: usize = 100;

/// An insert of many rows.
pub(crate) struct Many {
    /// Completes the sentence "could not …".
    pub(crate) act: &'static str,
    /// Up to and with `VALUES`.
    pub(crate) head: &'static str,
    /// Values of a row.
    pub(crate) width: usize,
    /// What follows: `ON CONFLICT …`, `RETURNING …`.
    pub(crate) tail: &'static str,
    texts: [OnceLock<Sql>; SIZES.len()],
}

impl Many {
    pub(crate) const fn new(
        act: &'static str,
        head: &'static str,
        width: usize,
        tail: &'static str,
    ) -> Self {
        Self {
            act,
            head,
            width,
            tail,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// The statement for so many rows; kept for the life of the process, three of them an insert.
    fn sql(&self, place: usize) -> Sql {
        let rows = SIZES[place];
        *self.texts[place].get_or_init(|| {
            let mut text = self.head.to_owned();
            for row in 0..rows {
                text.push_str(if row == 0 { " (" } else { ", (" });
                for column in 0..self.width {
                    let comma = if column == 0 { "" } else { ", " };
                    text.push_str(&format!("{comma}${}", row * self.width + column + 1));
                }
                text.push(')');
            }
            text.push(' ');
            text.push_str(self.tail);
            Sql {
                act: self.act,
                text: text.leak(),
            }
        })
    }

    /// Inserts the rows; what `RETURNING` gives, in no particular order.
    pub(crate) async fn insert(&self, tx: &mut Tx, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        let mut returned = Vec::new();
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        for (place, size) in SIZES.into_iter().enumerate() {
            while left >= size {
                let args: Vec<Value> = rows.by_ref().take(size).flatten().collect();
                left -= size;
                returned.extend(tx.fetch_all(&self.sql(place), args).await?);
            }
        }
        Ok(returned)
    }
}

/// A question about many keys: `… IN ($n, …)`.
pub(crate) struct Among {
    /// Completes the sentence "could not …".
    pub(crate) act: &'static str,
    /// Up to and with `IN`.
    pub(crate) head: &'static str,
    /// Parameters that stand before the keys.
    pub(crate) lead: usize,
    /// What follows the list.
    pub(crate) tail: &'static str,
    text: OnceLock<Sql>,
}

impl Among {
    pub(crate) const fn new(
        act: &'static str,
        head: &'static str,
        lead: usize,
        tail: &'static str,
    ) -> Self {
        Self {
            act,
            head,
            lead,
            tail,
            text: OnceLock::new(),
        }
    }

    fn sql(&self) -> Sql {
        *self.text.get_or_init(|| {
            let places: Vec<String> = (1..=KEYS).map(|n| format!("${}", self.lead + n)).collect();
            let text = format!("{} ({}) {}", self.head, places.join(", "), self.tail);
            Sql {
                act: self.act,
                text: text.leak(),
            }
        })
    }

    /// Asks about all keys. The last chunk is filled up with its last key.
    pub(crate) async fn fetch(
        &self,
        tx: &mut Tx,
        lead: &[Value],
        keys: &[Value],
    ) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        for chunk in keys.chunks(KEYS) {
            let Some(last) = chunk.last() else { continue };
            let fill = std::iter::repeat_n(last, KEYS - chunk.len());
            let args: Vec<Value> = lead.iter().chain(chunk).chain(fill).cloned().collect();
            found.extend(tx.fetch_all(&self.sql(), args).await?);
        }
        Ok(found)
    }
}

/// Every text that an insert can become.
#[cfg(test)]
pub(crate) fn texts_of(many: &[&Many], among: &[&Among]) -> Vec<Sql> {
    let inserts = many
        .iter()
        .flat_map(|many| (0..SIZES.len()).map(|place| many.sql(place)));
    inserts
        .chain(among.iter().map(|among| among.sql()))
        .collect()
}
