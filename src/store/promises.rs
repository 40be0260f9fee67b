//! Promises to pay that came due, for the report on how they were kept.
//!
//! A promise is kept if at least its amount came in from the day of the note to the promised day and some days of grace
//! after it. Whoever asks leaves out days whose grace still runs.

use super::{
    Dialect, Result, Tx,
    sql::{Sql, Value},
};
use crate::ids::ClientId;

/// `$1` and `$2`: promised days; `$3`: days of grace; `$4`: client, 0 for all. Materialized, or a promise's payments would be
/// added up once for every column that uses the sum. The currency is missing where a daemon of before 0011 wrote the note.
macro_rules! promises {
    ($last_day:literal) => {
        concat!(
            "WITH promised AS MATERIALIZED (
            SELECT n.client_id, n.agent_id, n.promise_e4,
                   COALESCE(n.promise_currency, (SELECT k.currency FROM cases k WHERE k.id = n.case_id)) AS currency,
                   (SELECT CAST(COALESCE(SUM(r.amount_e4), 0) AS BIGINT) FROM repayments r
                    WHERE r.case_id = n.case_id AND r.paid_on BETWEEN n.local_date AND ", $last_day, ") AS paid_e4
            FROM notes n
            WHERE n.promise_on BETWEEN $1 AND $2 AND n.state = 'final' AND n.promise_e4 IS NOT NULL
                  AND (CAST($4 AS BIGINT) = 0 OR n.client_id = $4))
SELECT c.code AS client, COALESCE(g.code, '') AS agent, p.currency, p.promises, p.kept,
       p.promised_e4 / 10000.0 AS promised, p.paid_e4 / 10000.0 AS paid,
       p.promised_e4, p.paid_e4
FROM (SELECT client_id, agent_id, currency, COUNT(*) AS promises,
             COUNT(CASE WHEN paid_e4 >= promise_e4 THEN 1 END) AS kept,
             CAST(SUM(promise_e4) AS BIGINT) AS promised_e4, CAST(SUM(paid_e4) AS BIGINT) AS paid_e4
      FROM promised
      GROUP BY client_id, agent_id, currency) AS p
     JOIN clients c ON c.id = p.client_id LEFT JOIN agents g ON g.id = p.agent_id")
    };
}

const SQLITE: Sql = Sql {
    act: "count promises",
    text: promises!("date(n.promise_on, '+' || CAST($3 AS BIGINT) || ' days')"),
};
const POSTGRES: Sql = Sql {
    act: "count promises",
    text: promises!(
        "to_char(CAST(n.promise_on AS DATE) + CAST(CAST($3 AS BIGINT) AS INTEGER), 'YYYY-MM-DD')"
    ),
};

/// Which promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// First promised day.
    pub from: String,
    /// Last promised day, included.
    pub to: String,
    /// Days after the promised one on which the money may still come.
    pub grace_days: u16,
    /// Of this client only.
    pub client: Option<ClientId>,
}

/// Promises of one client, agent and currency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promises {
    /// Code of the client.
    pub client: String,
    /// Employee number of whose note it is; empty for none.
    pub agent: String,
    /// ISO 4217.
    pub currency: String,
    /// Promises.
    pub promises: i64,
    /// Of these, those that were kept.
    pub kept: i64,
    /// Amounts promised, in ten-thousandths.
    pub promised_e4: i64,
    /// Amounts that came in, in ten-thousandths.
    pub paid_e4: i64,
}

pub(crate) const fn statement(dialect: Dialect) -> &'static Sql {
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    }
}

impl Due {
    pub(crate) fn args(&self) -> Vec<Value> {
        let client = self.client.map_or(0, ClientId::get);
        args![&self.from, &self.to, self.grace_days, client]
    }
}

/// Promises by client, agent and currency.
pub async fn due(tx: &mut Tx, due: &Due) -> Result<Vec<Promises>> {
    let rows = tx.fetch_all(statement(tx.dialect()), due.args()).await?;
    rows.iter()
        .map(|row| {
            Ok(Promises {
                client: row.get("client")?,
                agent: row.get("agent")?,
                currency: row.get("currency")?,
                promises: row.get("promises")?,
                kept: row.get("kept")?,
                promised_e4: row.get("promised_e4")?,
                paid_e4: row.get("paid_e4")?,
            })
        })
        .collect()
}
