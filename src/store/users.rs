//! Users: accounts of the API, each with one bearer token, a role and the clients it may see.
//!
//! The token is 256 random bits, shown once; only its SHA-256 is stored. A hash without salt and stretching is right
//! here because nobody can guess 256 bits.

use std::fmt::Write as _;

use super::{Error, Result, Tx, db::Row};
use crate::ids::{AgentId, ClientId, UserId};

words! {
    /// What an account may do.
    pub enum Role {
        /// Calls, and sees the own calls.
        Agent = "agent",
        /// Leads a team: sees its calls, listens.
        Lead = "lead",
        /// Plays and exports recordings.
        Qa = "qa",
        /// Reads figures.
        Operations = "operations",
        /// Reads receipts and rules.
        Compliance = "compliance",
        /// Reads everything of the clients it may see, changes nothing.
        Auditor = "auditor",
        /// Manages accounts and the installation.
        Admin = "admin",
    }
}

/// A bearer token. It prints redacted; [`Token::expose`] shows it, once, to its owner.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Makes a token from 256 random bits.
    pub fn from_random(bits: [u8; 32]) -> Token {
        use base64::Engine as _;
        Token(format!(
            "rf_{}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits)
        ))
    }

    /// Takes what a request presented.
    pub fn presented(text: &str) -> Token {
        Token(text.to_owned())
    }

    /// The text to be shown to the owner and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn sha256(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes()).as_ref())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The clients whose objects an account may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every client, also those entered later.
    All,
    /// These clients, by id.
    Clients(Vec<ClientId>),
}

impl Scope {
    /// Whether objects of this client may be seen.
    pub fn includes(&self, client_id: ClientId) -> bool {
        match self {
            Scope::All => true,
            Scope::Clients(ids) => ids.contains(&client_id),
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Our id.
    pub id: UserId,
    /// Login name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The agent it speaks for.
    pub agent_id: Option<AgentId>,
    /// Whose objects it may see.
    pub scope: Scope,
    /// When it was barred.
    pub revoked_at_ms: Option<i64>,
    /// When its token was last used, to the minute.
    pub used_at_ms: Option<i64>,
}

impl User {
    /// What statements that list objects bind as "whose": 0 for every client, else the account.
    pub(crate) fn scope_parameter(&self) -> i64 {
        match self.scope {
            Scope::All => 0,
            Scope::Clients(_) => self.id.get(),
        }
    }
}

/// A new account.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    /// Login name.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// The agent it speaks for.
    pub agent_id: Option<AgentId>,
    /// Whose objects it may see.
    pub scope: Scope,
}

statements! {
    INSERT("add an account") =
        "INSERT INTO users (name, role, agent_id, all_clients, token_sha256, token_at_ms, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id";
    INSERT_CLIENT("let an account see a client") = "INSERT INTO user_clients (user_id, client_id) VALUES ($1, $2)";
    BY_TOKEN("look up a token") =
        "SELECT id, name, role, agent_id, all_clients, revoked_at_ms, used_at_ms FROM users
         WHERE token_sha256 = $1 AND revoked_at_ms IS NULL";
    BY_NAME("look up an account") =
        "SELECT id, name, role, agent_id, all_clients, revoked_at_ms, used_at_ms FROM users WHERE name = $1";
    LIST("list the accounts") =
        "SELECT id, name, role, agent_id, all_clients, revoked_at_ms, used_at_ms FROM users ORDER BY name";
    OF_AGENT("look up the accounts of an agent") =
        "SELECT id, name, role, agent_id, all_clients, revoked_at_ms, used_at_ms FROM users
         WHERE agent_id = $1 AND revoked_at_ms IS NULL ORDER BY id";
    CLIENTS("look up what an account may see") =
        "SELECT client_id FROM user_clients WHERE user_id = $1 ORDER BY client_id";
    USED("note the use of a token") = "UPDATE users SET used_at_ms = $2 WHERE id = $1";
    REVOKE("bar an account") = "UPDATE users SET revoked_at_ms = $2 WHERE name = $1 AND revoked_at_ms IS NULL";
    RENEW("give an account a new token") =
        "UPDATE users SET token_sha256 = $2, token_at_ms = $3 WHERE name = $1 AND revoked_at_ms IS NULL";
}

/// Adds an account with its token; returns its id.
///
/// # Errors
/// [`Error::Constraint`] if the name is taken, or the agent or a client does not exist.
pub async fn add(tx: &mut Tx, user: &NewUser<'_>, token: &Token, now_ms: i64) -> Result<UserId> {
    let all = matches!(user.scope, Scope::All);
    let row = tx
        .fetch_one(
            &INSERT,
            args![
                user.name,
                user.role,
                user.agent_id,
                all,
                token.sha256(),
                now_ms
            ],
        )
        .await?;
    let id = UserId::new(row.get("id")?);
    if let Scope::Clients(clients) = &user.scope {
        for client in clients {
            tx.execute(&INSERT_CLIENT, args![id, *client]).await?;
        }
    }
    Ok(id)
}

/// The account that owns this token, if it is valid.
pub async fn by_token(tx: &mut Tx, token: &Token) -> Result<Option<User>> {
    match tx.fetch_optional(&BY_TOKEN, args![token.sha256()]).await? {
        Some(row) => read(tx, &row).await.map(Some),
        None => Ok(None),
    }
}

/// The account of this name, valid or not.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<User>> {
    match tx.fetch_optional(&BY_NAME, args![name]).await? {
        Some(row) => read(tx, &row).await.map(Some),
        None => Ok(None),
    }
}

/// The valid accounts that speak for an agent.
pub async fn of_agent(tx: &mut Tx, agent: AgentId) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for row in tx.fetch_all(&OF_AGENT, args![agent]).await? {
        users.push(read(tx, &row).await?);
    }
    Ok(users)
}

/// All accounts by name.
pub async fn list(tx: &mut Tx) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for row in tx.fetch_all(&LIST, args![]).await? {
        users.push(read(tx, &row).await?);
    }
    Ok(users)
}

/// Notes that the token was used. The caller does so when `used_at_ms` is a minute old, not on every request.
pub async fn note_use(tx: &mut Tx, id: UserId, now_ms: i64) -> Result<()> {
    tx.execute(&USED, args![id, now_ms]).await.map(drop)
}

/// Bars an account for good; its token stops at once. The row stays, because attempts and receipts refer to it.
///
/// # Errors
/// [`Error::NotFound`] if there is no valid account of that name.
pub async fn revoke(tx: &mut Tx, name: &str, now_ms: i64) -> Result<()> {
    found(tx.execute(&REVOKE, args![name, now_ms]).await?)
}

/// Replaces the token of a valid account; the old one stops at once.
///
/// # Errors
/// [`Error::NotFound`] if there is no valid account of that name.
pub async fn renew_token(tx: &mut Tx, name: &str, token: &Token, now_ms: i64) -> Result<()> {
    found(
        tx.execute(&RENEW, args![name, token.sha256(), now_ms])
            .await?,
    )
}

fn found(rows: u64) -> Result<()> {
    if rows == 0 {
        Err(Error::NotFound {
            what: "valid account of that name",
        })
    } else {
        Ok(())
    }
}

async fn read(tx: &mut Tx, row: &Row) -> Result<User> {
    let id = UserId::new(row.get("id")?);
    let scope = if row.flag("all_clients")? {
        Scope::All
    } else {
        let rows = tx.fetch_all(&CLIENTS, args![id]).await?;
        Scope::Clients(
            rows.iter()
                .map(|row| row.get("client_id").map(ClientId::new))
                .collect::<Result<_>>()?,
        )
    };
    Ok(User {
        id,
        name: row.get("name")?,
        role: row.parse("role")?,
        agent_id: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
        scope,
        revoked_at_ms: row.get("revoked_at_ms")?,
        used_at_ms: row.get("used_at_ms")?,
    })
}
