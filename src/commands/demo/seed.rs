//! The practice floor's cases, agents and logins. Entered once; tokens are made anew at each start.

use base64::Engine as _;
use secrecy::SecretString;

use crate::{
    ids::AgentId,
    phone::{PhoneNumber, Region, ShortCodes},
    policy::Relation,
    practice::plan::{DEBTORS, DESK_PHONES, PracticeDebtor},
    store::{
        self, Db,
        users::{NewUser, Role, Scope, Token},
    },
};

/// What the demo shows.
pub(super) struct Floor {
    /// Name, role, token.
    pub logins: Vec<(String, &'static str, String)>,
    /// Debtors with their contact points.
    pub debtors: Vec<(PracticeDebtor, i64)>,
}

/// A password that nobody needs to know.
pub(super) fn secret() -> anyhow::Result<SecretString> {
    let bits: [u8; 24] = crate::random::bits()?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(bits)
        .into())
}

/// Enters what is missing.
pub(super) async fn floor(db: &Db, now_ms: i64) -> anyhow::Result<Floor> {
    let mut tx = db.begin().await?;
    let client = store::clients::ensure(&mut tx, "practice", "Practice Bank", now_ms).await?;
    let batch = store::batches::ensure(&mut tx, client.id, "P-1", now_ms).await?;
    let none = ShortCodes::new([])?;
    let mut debtors = Vec::new();
    for (index, debtor) in DEBTORS.into_iter().enumerate() {
        let reference = format!("P-{:03}", index + 1);
        let person = store::cases::ensure_debtor(&mut tx, client.id, &reference, now_ms).await?;
        let case = match store::cases::by_reference(&mut tx, client.id, &reference).await? {
            Some(case) => case.id,
            None => {
                store::cases::insert(&mut tx, client.id, batch, person, &reference, now_ms)
                    .await?
                    .id
            }
        };
        let number = PhoneNumber::parse(debtor.number, Region::CN, &none)?;
        let (point, _) = store::contact_points::ensure(
            &mut tx,
            case,
            debtor.name,
            Relation::Debtor,
            &number,
            now_ms,
        )
        .await?;
        debtors.push((debtor, point.get()));
    }
    let mut logins = Vec::new();
    for phone in DESK_PHONES {
        let agent = store::agents::ensure(
            &mut tx,
            phone.extension,
            phone.name,
            phone.extension,
            now_ms,
        )
        .await?;
        let name = phone.name.to_lowercase();
        logins.push(login(&mut tx, &name, Role::Agent, Some(agent.id), now_ms).await?);
    }
    for role in [Role::Lead, Role::Qa, Role::Operations, Role::Auditor] {
        logins.push(login(&mut tx, role.as_str(), role, None, now_ms).await?);
    }
    tx.commit().await?;
    Ok(Floor { logins, debtors })
}

async fn login(
    tx: &mut store::Tx,
    name: &str,
    role: Role,
    agent_id: Option<AgentId>,
    now_ms: i64,
) -> anyhow::Result<(String, &'static str, String)> {
    let token = Token::from_random(crate::random::bits()?);
    match store::users::by_name(tx, name).await? {
        Some(_) => store::users::renew_token(tx, name, &token, now_ms).await?,
        None => {
            store::users::add(
                tx,
                &NewUser {
                    name,
                    role,
                    agent_id,
                    scope: Scope::All,
                },
                &token,
                now_ms,
            )
            .await?;
        }
    }
    Ok((name.to_owned(), role.as_str(), token.expose().to_owned()))
}
