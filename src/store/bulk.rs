//! Questions about many keys at once, in chunks of one size, so that every text is prepared once. Rows are written by
//! [`super::many::Many`].

use std::sync::OnceLock;

use super::{
    Result, Row, Tx,
    sql::{Sql, Value},
};

/// Keys of one question.
const KEYS: usize = 100;

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

/// Every text that these become.
#[cfg(test)]
pub(crate) fn texts_of(many: &[&super::many::Many], among: &[&Among]) -> Vec<Sql> {
    let rows = many.iter().flat_map(|many| many.texts().iter().copied());
    rows.chain(among.iter().map(|among| among.sql())).collect()
}
