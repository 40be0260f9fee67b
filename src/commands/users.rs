//! `ringfence users`: accounts of the API and their tokens. A token is printed once, when it is made.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::ACTOR;
use crate::policy::Extension;
use crate::store::{
    Db, Tx,
    access::{self, Access},
    agents, clients,
    users::{self, NewUser, Role, Scope, Token},
};

/// Arguments of `ringfence users`.
#[derive(Debug, Args)]
pub struct UsersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UsersCommand,
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Add an account and print its token, once
    Add(AddArgs),
    /// List the accounts
    List,
    /// Bar an account for good; its token stops at once
    Revoke {
        /// Login name
        name: String,
    },
    /// Give an account a new token and print it, once; the old one stops at once
    Token {
        /// Login name
        name: String,
    },
}

/// Arguments of `ringfence users add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Login name
    pub name: String,
    /// What the account may do: agent, lead, qa, operations, compliance, auditor, admin
    #[arg(long)]
    pub role: Role,
    /// Code of a client whose objects it may see; may be given several times
    #[arg(long = "client", value_name = "CODE", conflicts_with = "all_clients")]
    pub clients: Vec<String>,
    /// It may see every client, also those entered later
    #[arg(long)]
    pub all_clients: bool,
    /// Employee number of the agent it speaks for
    #[arg(long, value_name = "CODE")]
    pub agent: Option<String>,
    /// Extension of that agent's phone; enters the agent if there is none with this number
    #[arg(long, requires = "agent")]
    pub extension: Option<String>,
}

/// Runs `ringfence users`. `random` makes the token, should one be needed.
///
/// # Errors
/// A name that is taken, an agent or a client that does not exist, or the database.
pub async fn run(
    args: UsersArgs,
    db: &Db,
    now_ms: i64,
    random: [u8; 32],
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        UsersCommand::Add(args) => add(&args, db, now_ms, random, out).await,
        UsersCommand::List => list(db, out).await,
        UsersCommand::Revoke { name } => {
            let mut tx = db.begin().await?;
            users::revoke(&mut tx, &name, now_ms)
                .await
                .with_context(|| format!("account {name}"))?;
            log(&mut tx, "user.revoke", &name, serde_json::json!({}), now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "account {name} is barred")?)
        }
        UsersCommand::Token { name } => {
            let token = Token::from_random(random);
            let mut tx = db.begin().await?;
            users::renew_token(&mut tx, &name, &token, now_ms)
                .await
                .with_context(|| format!("account {name}"))?;
            log(&mut tx, "user.token", &name, serde_json::json!({}), now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "{}", token.expose())?)
        }
    }
}

async fn add(
    args: &AddArgs,
    db: &Db,
    now_ms: i64,
    random: [u8; 32],
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if args.name.is_empty()
        || args.name.chars().count() > 64
        || args.name.chars().any(|c| c.is_control() || c == ' ')
    {
        bail!("a login name has 1 to 64 characters, no spaces");
    }
    if args.role == Role::Agent && args.agent.is_none() {
        bail!("an account with the role agent needs --agent CODE");
    }
    if args.clients.is_empty() && !args.all_clients {
        bail!(
            "say whose objects the account may see: --client CODE (several times) or --all-clients"
        );
    }
    let mut tx = db.begin().await?;
    let agent = match (&args.agent, &args.extension) {
        (None, _) => None,
        (Some(code), None) => Some(agents::by_code(&mut tx, code).await?.with_context(|| {
            format!("there is no agent {code}; enter it with --extension EXTENSION")
        })?),
        (Some(code), Some(extension)) => Some(match agents::by_code(&mut tx, code).await? {
            Some(agent) if agent.extension == *extension => agent,
            Some(agent) => bail!("agent {code} has the extension {} already", agent.extension),
            None => {
                // Only a phone of the house is rung without asking the gate.
                Extension::parse(extension).with_context(|| format!("--extension {extension}"))?;
                let made = agents::ensure(&mut tx, code, &args.name, extension, now_ms).await;
                made.with_context(|| format!("extension {extension} belongs to another agent"))?
            }
        }),
    };
    let mut ids = Vec::new();
    for code in &args.clients {
        let client = clients::by_code(&mut tx, code).await?;
        ids.push(
            client
                .with_context(|| format!("there is no client {code}; its first import enters it"))?
                .id,
        );
    }
    ids.sort_unstable();
    ids.dedup();
    let new = NewUser {
        name: &args.name,
        role: args.role,
        agent_id: agent.map(|a| a.id),
        scope: if args.all_clients {
            Scope::All
        } else {
            Scope::Clients(ids)
        },
    };
    let token = Token::from_random(random);
    users::add(&mut tx, &new, &token, now_ms)
        .await
        .with_context(|| format!("account {}", args.name))?;
    let detail = serde_json::json!({ "role": args.role.as_str(), "clients": args.clients, "all": args.all_clients });
    log(&mut tx, "user.add", &args.name, detail, now_ms).await?;
    tx.commit().await?;
    Ok(writeln!(out, "{}", token.expose())?)
}

async fn list(db: &Db, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = db.read().await?;
    let codes: Vec<_> = clients::list(&mut tx)
        .await?
        .into_iter()
        .map(|c| (c.id, c.code))
        .collect();
    let agents = agents::list(&mut tx).await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["name", "role", "agent", "clients", "last used", "state"]);
    for user in users::list(&mut tx).await? {
        let agent = user
            .agent_id
            .and_then(|id| agents.iter().find(|a| a.id == id))
            .map(|a| a.code.as_str());
        let seen = match &user.scope {
            Scope::All => "all".to_owned(),
            scope => {
                let seen: Vec<_> = codes
                    .iter()
                    .filter(|(id, _)| scope.includes(*id))
                    .map(|(_, code)| &**code)
                    .collect();
                seen.join(", ")
            }
        };
        let used = user
            .used_at_ms
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let used = used.map_or_else(
            || "never".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        );
        let state = if user.revoked_at_ms.is_some() {
            "barred"
        } else {
            "valid"
        };
        table.add_row([
            &user.name,
            user.role.as_str(),
            agent.unwrap_or(""),
            &seen,
            &used,
            state,
        ]);
    }
    tx.rollback().await?;
    Ok(writeln!(out, "{table}")?)
}

async fn log(
    tx: &mut Tx,
    action: &str,
    name: &str,
    detail: serde_json::Value,
    now_ms: i64,
) -> anyhow::Result<()> {
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action,
        object: name,
        client_id: None,
        detail,
    };
    Ok(access::log(tx, &access).await?)
}
