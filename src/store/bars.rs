//! Bars (禁呼): what must not be called, by number, person, case, client, or everything. Rows are lifted, never deleted.
//!
//! The one place of what bars a call. A decision reads [`active_for`]; the seizure transaction asks again
//! ([`super::attempts::mark_seizure`]), so that a bar that comes while the agent's phone rings stops the customer leg.

use super::{
    Error, Result, Tx,
    contact_points::Target,
    db::Row,
    users::{Scope, User},
};
use crate::{
    ids::{BarId, CaseId, ClientId, PersonId},
    policy::{BarFacts, BarKind, BarScope},
};

/// What is barred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A number, in every case.
    Number(i64),
    /// A person: all cases of that person, and every own number of theirs in whatever case it stands, also where the
    /// person is a contact whose identity number the client gave.
    Person(PersonId),
    /// A case.
    Case(CaseId),
    /// Every case of a client.
    Client(ClientId),
    /// Every call.
    Everything,
}

impl Subject {
    /// What kind of thing it is.
    #[must_use]
    pub const fn scope(self) -> BarScope {
        match self {
            Self::Number(_) => BarScope::Number,
            Self::Person(_) => BarScope::Person,
            Self::Case(_) => BarScope::Case,
            Self::Client(_) => BarScope::Client,
            Self::Everything => BarScope::Everything,
        }
    }

    /// Its id; 0 for everything.
    #[must_use]
    pub const fn id(self) -> i64 {
        match self {
            Self::Number(id) => id,
            Self::Person(id) => id.get(),
            Self::Case(id) => id.get(),
            Self::Client(id) => id.get(),
            Self::Everything => 0,
        }
    }

    const fn of(scope: BarScope, id: i64) -> Self {
        match scope {
            BarScope::Number => Self::Number(id),
            BarScope::Person => Self::Person(PersonId::new(id)),
            BarScope::Case => Self::Case(CaseId::new(id)),
            BarScope::Client => Self::Client(ClientId::new(id)),
            BarScope::Everything => Self::Everything,
        }
    }
}

/// A bar about to be entered.
#[derive(Debug, Clone, Copy)]
pub struct NewBar<'a> {
    /// What is barred.
    pub subject: Subject,
    /// If it holds for this client's cases only.
    pub client: Option<ClientId>,
    /// Why, as the rules see it.
    pub kind: BarKind,
    /// Why, in words; no number and no name.
    pub reason: &'a str,
    /// Since when.
    pub from_ms: i64,
    /// Until when; `None`: until lifted.
    pub until_ms: Option<i64>,
    /// Who enters it.
    pub actor: &'a str,
}

/// A stored bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Our id.
    pub id: BarId,
    /// What is barred.
    pub subject: Subject,
    /// If it holds for this client's cases only.
    pub client: Option<ClientId>,
    /// Why, as the rules see it.
    pub kind: BarKind,
    /// Why, in words.
    pub reason: String,
    /// Since when.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: Option<i64>,
    /// Who entered it.
    pub actor: String,
    /// When it was lifted.
    pub lifted_at_ms: Option<i64>,
    /// By whom.
    pub lifted_by: Option<String>,
}

impl Bar {
    /// Whether it bars at an instant.
    #[must_use]
    pub fn is_active(&self, at_ms: i64) -> bool {
        self.lifted_at_ms.is_none() && self.until_ms.is_none_or(|until_ms| at_ms < until_ms)
    }
}

/// Which bars to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Only those on this.
    pub subject: Option<Subject>,
    /// Also those that were lifted or ran out, when they are not active at this instant; `None`: all.
    pub active_at_ms: Option<i64>,
    /// Only those entered before this one; for the next page.
    pub before: Option<BarId>,
}

macro_rules! columns {
    () => {
        "id, scope, subject_id, client_id, kind, reason, from_ms, until_ms, actor, lifted_at_ms, lifted_by"
    };
}

statements! {
    SAME("look for the same bar") =
        "SELECT id FROM bars
         WHERE scope = $1 AND subject_id = $2 AND kind = $3 AND COALESCE(client_id, 0) = $4 AND lifted_at_ms IS NULL
           AND from_ms <= $5 AND (until_ms IS NULL OR until_ms >= $6)
         ORDER BY id LIMIT 1";
    INSERT("enter a bar") =
        "INSERT INTO bars (scope, subject_id, client_id, kind, reason, from_ms, until_ms, actor)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
    LIFT("lift a bar") =
        "UPDATE bars SET lifted_at_ms = $2, lifted_by = $3 WHERE id = $1 AND lifted_at_ms IS NULL";
    BY_ID("read a bar") = concat!("SELECT ", columns!(), " FROM bars WHERE id = $1");
    LIST("list the bars") = concat!("SELECT ", columns!(), " FROM bars b
         WHERE b.id < $1 AND ($2 = '' OR (b.scope = $2 AND b.subject_id = $3))
           AND (CAST($4 AS BIGINT) = 0 OR (b.lifted_at_ms IS NULL AND (b.until_ms IS NULL OR b.until_ms > $4)))
           AND (CAST($5 AS BIGINT) = 0 OR b.scope = 'everything'
                OR b.client_id IN (SELECT u.client_id FROM user_clients u WHERE u.user_id = $5)
                OR (b.scope = 'client' AND b.subject_id IN (SELECT u.client_id FROM user_clients u WHERE u.user_id = $5))
                OR (b.scope = 'case' AND EXISTS (SELECT 1 FROM cases c JOIN user_clients u ON u.client_id = c.client_id
                    WHERE c.id = b.subject_id AND u.user_id = $5))
                OR (b.scope = 'person' AND b.client_id IS NULL AND EXISTS (
                    SELECT 1 FROM debtors d JOIN user_clients u ON u.client_id = d.client_id
                    WHERE d.person_id = b.subject_id AND u.user_id = $5))
                OR (b.scope = 'number' AND b.client_id IS NULL AND EXISTS (
                    SELECT 1 FROM contact_points p JOIN cases c ON c.id = p.case_id
                         JOIN user_clients u ON u.client_id = c.client_id
                    WHERE p.number_id = b.subject_id AND u.user_id = $5)))
         ORDER BY b.id DESC LIMIT $6");
    CONCERNS("see whom a bar concerns") =
        "SELECT COUNT(*) AS n FROM user_clients u
         WHERE u.user_id = $1
           AND (($2 = 'client' AND u.client_id = $3)
                OR ($2 = 'case' AND EXISTS (SELECT 1 FROM cases c WHERE c.id = $3 AND c.client_id = u.client_id))
                OR ($2 = 'person' AND EXISTS (SELECT 1 FROM debtors d WHERE d.person_id = $3 AND d.client_id = u.client_id))
                OR ($2 = 'number' AND EXISTS (SELECT 1 FROM contact_points p JOIN cases c ON c.id = p.case_id
                    WHERE p.number_id = $3 AND c.client_id = u.client_id)))";
    ON_CASE("list what bars a case") =
        "SELECT DISTINCT b.kind
         FROM (SELECT 'case' AS scope, c.id AS subject, c.client_id FROM cases c WHERE c.id = $1
               UNION SELECT 'client', c.client_id, c.client_id FROM cases c WHERE c.id = $1
               UNION SELECT 'everything', 0, c.client_id FROM cases c WHERE c.id = $1
               UNION SELECT 'person', d.person_id, c.client_id FROM cases c JOIN debtors d ON d.id = c.debtor_id WHERE c.id = $1)
              AS s JOIN bars b ON b.scope = s.scope AND b.subject_id = s.subject
         WHERE b.lifted_at_ms IS NULL AND (b.until_ms IS NULL OR b.until_ms > $2)
           AND (b.client_id IS NULL OR b.client_id = s.client_id)
         ORDER BY b.kind";
    /// The persons are those that the number counts for ([`super::facts::persons`]). When a bar was entered does not
    /// matter: the clock of the node that entered it may be ahead of ours. An outer join, for PostgreSQL may not turn it
    /// round and go through all bars.
    ACTIVE("look up what bars a call") =
        "SELECT b.id, b.scope, b.kind, b.from_ms
         FROM (SELECT 'number' AS scope, CAST($1 AS BIGINT) AS subject
               UNION SELECT 'case', $3 UNION SELECT 'client', $4 UNION SELECT 'everything', 0 UNION SELECT 'person', $2
               UNION SELECT 'person', d.person_id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                     JOIN cases c ON c.id = p.case_id JOIN debtors d ON d.id = c.debtor_id
                     WHERE p.number_id = $1 AND t.relation IN ('debtor', 'joint_debtor')
               UNION SELECT 'person', h.id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                     JOIN persons h ON h.identity_hash = t.identity_hash
                     WHERE p.number_id = $1) AS s
              LEFT JOIN bars b ON b.scope = s.scope AND b.subject_id = s.subject AND b.lifted_at_ms IS NULL
                   AND (b.until_ms IS NULL OR b.until_ms > $5) AND (b.client_id IS NULL OR b.client_id = $4)
         WHERE COALESCE(b.id, 0) <> 0
         ORDER BY b.id";
}

/// Enters a bar, unless the same one stands already for at least as long; gives its id and whether it is new.
pub async fn bar(tx: &mut Tx, new: &NewBar<'_>) -> Result<(BarId, bool)> {
    let scope = new.subject.scope();
    let same = args![
        scope,
        new.subject.id(),
        new.kind,
        new.client.map_or(0, ClientId::get),
        new.from_ms,
        new.until_ms.unwrap_or(i64::MAX)
    ];
    if let Some(row) = tx.fetch_optional(&SAME, same).await? {
        return Ok((BarId::new(row.get("id")?), false));
    }
    let args = args![
        scope,
        new.subject.id(),
        new.client,
        new.kind,
        new.reason,
        new.from_ms,
        new.until_ms,
        new.actor
    ];
    let id = tx.fetch_one(&INSERT, args).await?.get("id")?;
    Ok((BarId::new(id), true))
}

/// Lifts a bar; gives whether it stood until now.
///
/// # Errors
/// [`Error::NotFound`] if there is no such bar.
pub async fn lift(tx: &mut Tx, id: BarId, actor: &str, now_ms: i64) -> Result<bool> {
    if tx.execute(&LIFT, args![id, now_ms, actor]).await? > 0 {
        return Ok(true);
    }
    match by_id(tx, id).await? {
        Some(_) => Ok(false),
        None => Err(Error::NotFound { what: "such bar" }),
    }
}

/// The bar with this id.
pub async fn by_id(tx: &mut Tx, id: BarId) -> Result<Option<Bar>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Bars, newest first, at most `limit`; with a viewer, only what concerns the clients that one may see.
pub async fn list(
    tx: &mut Tx,
    wanted: Wanted,
    viewer: Option<&User>,
    limit: u32,
) -> Result<Vec<Bar>> {
    let args = args![
        wanted.before.map_or(i64::MAX, BarId::get),
        wanted.subject.map_or("", |s| s.scope().as_str()),
        wanted.subject.map_or(0, Subject::id),
        wanted.active_at_ms.unwrap_or(0),
        viewer.map_or(0, User::scope_parameter),
        limit
    ];
    tx.fetch_all(&LIST, args).await?.iter().map(read).collect()
}

/// Whether a subject concerns a client that a user may see.
pub async fn concerns(tx: &mut Tx, subject: Subject, user: &User) -> Result<bool> {
    if user.scope == Scope::All || subject == Subject::Everything {
        return Ok(user.scope == Scope::All);
    }
    let args = args![user.id, subject.scope(), subject.id()];
    Ok(tx.fetch_one(&CONCERNS, args).await?.get::<i64>("n")? > 0)
}

/// Everything on record that bars a call to this target at an instant.
pub async fn active_for(tx: &mut Tx, target: &Target, at_ms: i64) -> Result<Vec<BarFacts>> {
    let args = args![
        target.number_id,
        target.person,
        target.case,
        target.client,
        at_ms
    ];
    tx.fetch_all(&ACTIVE, args)
        .await?
        .iter()
        .map(|row| {
            Ok(BarFacts {
                id: BarId::new(row.get("id")?),
                kind: row.word("kind", BarKind::parse)?,
                scope: row.word("scope", BarScope::parse)?,
                since_ms: row.get("from_ms")?,
            })
        })
        .collect()
}

/// Why every call of a case is barred at an instant, whatever the number.
pub async fn kinds_on(tx: &mut Tx, case: CaseId, at_ms: i64) -> Result<Vec<BarKind>> {
    let rows = tx.fetch_all(&ON_CASE, args![case, at_ms]).await?;
    rows.iter()
        .map(|row| row.word("kind", BarKind::parse))
        .collect()
}

fn read(row: &Row) -> Result<Bar> {
    Ok(Bar {
        id: BarId::new(row.get("id")?),
        subject: Subject::of(row.word("scope", BarScope::parse)?, row.get("subject_id")?),
        client: row.get::<Option<i64>>("client_id")?.map(ClientId::new),
        kind: row.word("kind", BarKind::parse)?,
        reason: row.get("reason")?,
        from_ms: row.get("from_ms")?,
        until_ms: row.get("until_ms")?,
        actor: row.get("actor")?,
        lifted_at_ms: row.get("lifted_at_ms")?,
        lifted_by: row.get("lifted_by")?,
    })
}
