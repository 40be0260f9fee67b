//! Receipts: the stored proof of every policy decision, allowed or refused.

use super::{Result, Tx, contact_points::Target, db::Row, users::User};
use crate::{
    ids::{AgentId, CallId, CaseId, ClientId, ContactPointId, ReceiptId, UserId},
    policy::Decision,
};

/// A receipt to be stored, in the transaction that decided.
#[derive(Debug, Clone)]
pub struct NewReceipt<'a> {
    /// Its id.
    pub id: ReceiptId,
    /// The instant decided for.
    pub at_ms: i64,
    /// Whether the call was allowed.
    pub allowed: bool,
    /// Whom it was about.
    pub target: &'a Target,
    /// Who wanted to call.
    pub agent: Option<AgentId>,
    /// The account that asked.
    pub user: Option<UserId>,
    /// Hash of the rule set's canonical text.
    pub rules_sha256: &'a str,
    /// JSON list of the codes of every reason of a refusal.
    pub reasons: &'a str,
    /// JSON that the decision can be replayed from.
    pub body: &'a str,
}

/// A stored receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// The instant decided for.
    pub at_ms: i64,
    /// Whether the call was allowed.
    pub allowed: bool,
    /// Whose case.
    pub client: ClientId,
    /// Which case.
    pub case: CaseId,
    /// Which number of which person.
    pub contact_point: ContactPointId,
    /// Who wanted to call.
    pub agent: Option<AgentId>,
    /// Hash of the rule set's canonical text.
    pub rules_sha256: String,
    /// JSON list of the codes of every reason of a refusal.
    pub reasons: String,
    /// JSON that the decision can be replayed from.
    pub body: String,
}

/// Receipts by what is asked of every list; `$which` is what makes it find them quickly.
macro_rules! listed {
    ($which:literal) => {
        concat!(
            "SELECT r.id, r.at_ms, r.allowed, k.code AS client, r.case_id, c.reference, r.contact_point_id, r.agent_id,
                    r.rules_sha256, r.reasons
             FROM receipts r JOIN clients k ON k.id = r.client_id JOIN cases c ON c.id = r.case_id
             WHERE ",
            $which,
            " AND (CAST($1 AS BIGINT) = 0 OR r.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
               AND (CAST($2 AS BIGINT) = 0 OR r.client_id = $2) AND r.at_ms >= $3 AND r.at_ms < $4
               AND (CAST($5 AS BIGINT) < 0 OR r.allowed = $5)
               AND (CAST($6 AS TEXT) = '' OR r.reasons LIKE '%\"' || $6 || '\"%') AND r.id < $7
             ORDER BY r.id DESC LIMIT $9"
        )
    };
}

statements! {
    REFUSED("count refusals by client") =
        "SELECT client_id, COUNT(*) AS refusals FROM receipts WHERE allowed = 0 AND at_ms >= $1 AND at_ms < $2
         GROUP BY client_id ORDER BY client_id";
    INSERT("store a receipt") =
        "INSERT INTO receipts (id, at_ms, allowed, client_id, case_id, contact_point_id, agent_id, user_id, rules_sha256,
                               reasons, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    BY_ID("read a receipt") =
        "SELECT id, at_ms, allowed, client_id, case_id, contact_point_id, agent_id, rules_sha256, reasons, body
         FROM receipts WHERE id = $1";
    OF_CALL("read the receipt of a call") =
        "SELECT id, at_ms, allowed, client_id, case_id, contact_point_id, agent_id, rules_sha256, reasons, body
         FROM receipts WHERE id = (SELECT receipt_id FROM attempts WHERE id = $1)";
    LIST("list receipts") = listed!("r.id >= $8");
    OF_CASE("list the receipts of a case") = listed!(
        "r.id >= $8 AND r.case_id = $10
         AND (CAST($11 AS BIGINT) = 0 OR r.contact_point_id IN (SELECT p.id FROM contact_points p WHERE p.number_id = $11))");
    OF_NUMBER("list the receipts of a number") = listed!(
        "r.id >= $8 AND r.case_id IN (SELECT p.case_id FROM contact_points p WHERE p.number_id = $10)
         AND r.contact_point_id IN (SELECT p.id FROM contact_points p WHERE p.number_id = $10)");
    PAGE("read receipts in order") =
        "SELECT id, at_ms, allowed, client_id, case_id, contact_point_id, agent_id, rules_sha256, reasons, body
         FROM receipts
         WHERE id > $1 AND at_ms >= $2 AND at_ms < $3 AND (CAST($4 AS BIGINT) = 0 OR client_id = $4)
         ORDER BY id LIMIT $5";
}

/// The codes of a decision's reasons as a receipt's row holds them: a JSON list, each code once, however many bars or caps
/// gave it; `[]` if it is allowed. The body has every reason with what it is about.
#[must_use]
pub fn codes(decision: &Decision) -> String {
    listed(decision.reasons().iter().map(|r| r.reason.code()))
}

fn listed<'a>(codes: impl Iterator<Item = &'a str>) -> String {
    let mut once = Vec::<&str>::new();
    for code in codes {
        if !once.contains(&code) {
            once.push(code);
        }
    }
    serde_json::json!(once).to_string()
}

/// A stretch of receipts.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Only those of this client's cases.
    pub client: Option<ClientId>,
    /// From this instant on.
    pub from_ms: i64,
    /// To before this instant.
    pub to_ms: i64,
}

/// Receipts in the order of their ids, which is that of time, after an id (`None` for the first), at most `limit`.
pub async fn page(
    tx: &mut Tx,
    span: Span,
    after: Option<ReceiptId>,
    limit: u32,
) -> Result<Vec<Receipt>> {
    let args = args![
        after.map_or_else(String::new, |id| id.to_string()),
        span.from_ms,
        span.to_ms,
        span.client.map_or(0, ClientId::get),
        limit
    ];
    tx.fetch_all(&PAGE, args).await?.iter().map(read).collect()
}

/// Stores a receipt. An allowed one must stand before its attempt, which refers to it.
pub async fn insert(tx: &mut Tx, r: &NewReceipt<'_>) -> Result<()> {
    let t = r.target;
    let args = args![
        r.id,
        r.at_ms,
        r.allowed,
        t.client,
        t.case,
        t.contact_point,
        r.agent,
        r.user,
        r.rules_sha256,
        r.reasons,
        r.body
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// The receipt with this id.
pub async fn by_id(tx: &mut Tx, id: ReceiptId) -> Result<Option<Receipt>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The receipt of the decision that allowed a call.
pub async fn of_call(tx: &mut Tx, call: CallId) -> Result<Option<Receipt>> {
    tx.fetch_optional(&OF_CALL, args![call])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Which receipts to list.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Only those of this client's cases.
    pub client: Option<ClientId>,
    /// Only those of this case.
    pub case: Option<CaseId>,
    /// Only those about this number, whoever has it: its id.
    pub number: Option<i64>,
    /// Decided for this instant or later.
    pub from_ms: i64,
    /// Decided for an earlier instant.
    pub to_ms: i64,
    /// Only allowed ones, or only refused ones.
    pub allowed: Option<bool>,
    /// Only those with this reason among theirs: its code; empty for any.
    pub reason: &'a str,
    /// Only those before this one, for the next page.
    pub before: Option<ReceiptId>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            client: None,
            case: None,
            number: None,
            from_ms: i64::MIN,
            to_ms: i64::MAX,
            allowed: None,
            reason: "",
            before: None,
        }
    }
}

/// A receipt in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: ReceiptId,
    /// The instant decided for.
    pub at_ms: i64,
    /// Whether the call was allowed.
    pub allowed: bool,
    /// Code of the client whose case it is.
    pub client: String,
    /// The case.
    pub case: CaseId,
    /// The client's own number of the case.
    pub reference: String,
    /// Which number of which person.
    pub contact_point: ContactPointId,
    /// Who wanted to call.
    pub agent: Option<AgentId>,
    /// Hash of the rule set's canonical text.
    pub rules_sha256: String,
    /// The codes of every reason of a refusal.
    pub reasons: Vec<String>,
}

/// An id holds the time it was made at, and a decision is for that time: a day's room for a clock that was set.
const ROOM_MS: i64 = 86_400_000;

/// Receipts that a user may see (without one, all), newest first, at most `limit`.
pub async fn list(
    tx: &mut Tx,
    wanted: &Wanted<'_>,
    viewer: Option<&User>,
    limit: u32,
) -> Result<Vec<Line>> {
    // Greater than any id.
    let last = || "g".to_owned();
    let edge = |ms: i64| ReceiptId::from_parts(ms, [0; 10]).to_string();
    let first = match wanted.from_ms {
        i64::MIN => String::new(),
        ms => edge(ms.saturating_sub(ROOM_MS)),
    };
    // As many milliseconds as an id holds.
    let until = match wanted.to_ms.saturating_add(ROOM_MS) {
        ms if ms < 1 << 47 => edge(ms),
        _ => last(),
    };
    let before = wanted.before.map_or_else(last, |id| id.to_string());
    let mut args = args![
        viewer.map_or(0, User::scope_parameter),
        wanted.client.map_or(0, ClientId::get),
        wanted.from_ms,
        wanted.to_ms,
        wanted.allowed.map_or(-1, i64::from),
        wanted.reason,
        before.min(until),
        first,
        limit
    ];
    let sql = match (wanted.case, wanted.number) {
        (None, None) => &LIST,
        (Some(case), number) => {
            args.extend(args![case, number.unwrap_or(0)]);
            &OF_CASE
        }
        (None, Some(number)) => {
            args.extend(args![number]);
            &OF_NUMBER
        }
    };
    tx.fetch_all(sql, args).await?.iter().map(line).collect()
}

fn line(row: &Row) -> Result<Line> {
    Ok(Line {
        id: row.parse("id")?,
        at_ms: row.get("at_ms")?,
        allowed: row.flag("allowed")?,
        client: row.get("client")?,
        case: CaseId::new(row.get("case_id")?),
        reference: row.get("reference")?,
        contact_point: ContactPointId::new(row.get("contact_point_id")?),
        agent: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
        rules_sha256: row.get("rules_sha256")?,
        reasons: serde_json::from_str(&row.get::<String>("reasons")?)
            .map_err(|_| super::Error::unknown("list receipts", "receipts.reasons"))?,
    })
}

fn read(row: &Row) -> Result<Receipt> {
    Ok(Receipt {
        id: row.parse("id")?,
        at_ms: row.get("at_ms")?,
        allowed: row.flag("allowed")?,
        client: ClientId::new(row.get("client_id")?),
        case: CaseId::new(row.get("case_id")?),
        contact_point: ContactPointId::new(row.get("contact_point_id")?),
        agent: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
        rules_sha256: row.get("rules_sha256")?,
        reasons: row.get("reasons")?,
        body: row.get("body")?,
    })
}

/// Refusals by client, decided from `from_ms` on and before `to_ms`.
pub async fn refused(tx: &mut Tx, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, i64)>> {
    tx.fetch_all(&REFUSED, args![from_ms, to_ms])
        .await?
        .iter()
        .map(|row| Ok((row.get("client_id")?, row.get("refusals")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bars_of_one_number_are_one_code_of_the_refusal() {
        let codes = ["barred", "cap_unanswered", "barred"];
        assert_eq!(listed(codes.into_iter()), r#"["barred","cap_unanswered"]"#);
        assert_eq!(listed(std::iter::empty()), "[]");
    }
}
