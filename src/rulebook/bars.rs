//! Bars: who must not be called. Entered and lifted here, each in one transaction with the access log; a file of numbers is
//! read here and brought in by `lists.rs`.

use super::{
    By, Refused, find,
    lists::{self, Rows},
    reason,
    table::{Column, Faults, rows},
};
use crate::{
    clock::Clock,
    ids::{BarId, ClientId},
    phone::PhoneNumber,
    policy::BarKind,
    store::{
        self, Db, Tx,
        access::{self, Access},
        bars::{self, Bar, NewBar, Subject},
        cases::Case,
        contact_points,
        rule_lists::{Kind, NewList},
        users::{Scope, User},
    },
};

/// What is to be barred, as people name it.
#[derive(Debug, Clone)]
pub enum What {
    /// A number, in every case.
    Number(PhoneNumber),
    /// The person who owes this case.
    PersonOf(find::CaseName),
    /// A case.
    Case(find::CaseName),
    /// Every case of a client.
    Client(String),
    /// Every call.
    Everything,
}

/// A bar as it was asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// What.
    pub what: What,
    /// Code of the client, if it shall hold for that one's cases only.
    pub only_client: Option<String>,
    /// Why, as the rules see it.
    pub kind: BarKind,
    /// Why, in words.
    pub reason: String,
    /// Until when; `None`: until lifted.
    pub until_ms: Option<i64>,
}

/// Bars something; gives the bar's id and whether it is new. `viewer` is whose rights count; without one everything is
/// seen.
///
/// # Errors
/// [`Refused`].
pub async fn add(
    db: &Db,
    order: &Order,
    viewer: Option<&User>,
    by: By<'_>,
) -> Result<(BarId, bool), Refused> {
    let reason = reason(&order.reason)?;
    if order.until_ms.is_some_and(|until| until <= by.now_ms) {
        return Err(Refused::Invalid(
            "a bar that ended before now bars nothing; choose a later end, or none".into(),
        ));
    }
    let mut tx = db.begin().await?;
    let (subject, whose) = subject(&mut tx, &order.what, viewer, by.now_ms).await?;
    let client = match &order.only_client {
        Some(code) => Some(find::client(&mut tx, code, viewer).await?.id),
        None => None,
    };
    let new = NewBar {
        subject,
        client,
        kind: order.kind,
        reason,
        from_ms: by.now_ms,
        until_ms: order.until_ms,
        actor: by.actor,
    };
    let (id, is_new) = bars::bar(&mut tx, &new).await?;
    let detail = serde_json::json!({
        "scope": subject.scope(),
        "kind": order.kind,
        "until_ms": order.until_ms,
        "new": is_new,
    });
    log(&mut tx, "bar.add", id, client.or(whose), detail, by).await?;
    tx.commit().await?;
    Ok((id, is_new))
}

async fn subject(
    tx: &mut Tx,
    what: &What,
    viewer: Option<&User>,
    now_ms: i64,
) -> Result<(Subject, Option<ClientId>), Refused> {
    let sees_all = viewer.is_none_or(|user| user.scope == Scope::All);
    Ok(match what {
        What::Number(number) => {
            let id = contact_points::ensure_number(tx, number, now_ms).await?;
            if !sees_all && !concerns(tx, Subject::Number(id), viewer).await? {
                return Err(Refused::Unknown(
                    "there is no such number among your clients' cases".into(),
                ));
            }
            (Subject::Number(id), None)
        }
        What::PersonOf(name) => {
            let case = find::case(tx, name, viewer).await?;
            (Subject::Person(person_of(tx, &case).await?), None)
        }
        What::Case(name) => {
            let case = find::case(tx, name, viewer).await?;
            (Subject::Case(case.id), Some(case.client_id))
        }
        What::Client(code) => {
            let client = find::client(tx, code, viewer).await?;
            (Subject::Client(client.id), Some(client.id))
        }
        What::Everything if sees_all => (Subject::Everything, None),
        What::Everything => {
            return Err(Refused::Invalid(
                "stopping every call needs an account that sees all clients".into(),
            ));
        }
    })
}

/// The person who owes a case.
pub(super) async fn person_of(tx: &mut Tx, case: &Case) -> Result<crate::ids::PersonId, Refused> {
    store::persons::of_debtor(tx, case.debtor_id)
        .await?
        .ok_or_else(|| store::Error::unknown("look up a person", "debtors.person_id").into())
}

/// Whether a subject concerns a case of a client that the viewer may see.
async fn concerns(tx: &mut Tx, subject: Subject, viewer: Option<&User>) -> Result<bool, Refused> {
    let Some(user) = viewer else { return Ok(true) };
    Ok(bars::concerns(tx, subject, user).await?)
}

/// Lifts a bar; gives whether it stood until now.
///
/// # Errors
/// [`Refused::Unknown`] if there is no such bar, or not for this viewer.
pub async fn lift(
    db: &Db,
    id: BarId,
    viewer: Option<&User>,
    why: &str,
    by: By<'_>,
) -> Result<bool, Refused> {
    let why = reason(why)?;
    let mut tx = db.begin().await?;
    let bar = bars::by_id(&mut tx, id).await?;
    let bar = match bar {
        Some(bar) if may_lift(&mut tx, &bar, viewer).await? => bar,
        _ => {
            return Err(Refused::Unknown(
                "there is no such bar among your clients' cases".into(),
            ));
        }
    };
    let lifted = bars::lift(&mut tx, id, by.actor, by.now_ms).await?;
    if lifted {
        let detail =
            serde_json::json!({ "scope": bar.subject.scope(), "kind": bar.kind, "reason": why });
        log(&mut tx, "bar.lift", id, bar.client, detail, by).await?;
    }
    tx.commit().await?;
    Ok(lifted)
}

/// What holds for other clients' cases too is lifted only by somebody who sees them all.
async fn may_lift(tx: &mut Tx, bar: &Bar, viewer: Option<&User>) -> Result<bool, Refused> {
    let Some(user) = viewer else { return Ok(true) };
    if user.scope == Scope::All {
        return Ok(true);
    }
    Ok(match (bar.client, bar.subject) {
        (Some(client), _) | (None, Subject::Client(client)) => user.scope.includes(client),
        (None, subject @ Subject::Case(_)) => bars::concerns(tx, subject, user).await?,
        (None, _) => false,
    })
}

const NUMBER: usize = 0;
const REASON: usize = 1;

/// Reads a list of numbers to be barred: a file with the column `number`, and `reason` where it differs.
///
/// # Errors
/// [`Refused::Invalid`] with the faults by line and column, without the digits.
pub fn read_numbers(
    file: &std::path::Path,
    numbering: &find::Numbering<'_>,
) -> Result<Vec<(PhoneNumber, Option<String>)>, Refused> {
    let columns = [Column::needed("number"), Column::optional("reason")];
    let mut faults = Faults::default();
    let mut numbers = Vec::new();
    for line in rows(file, &columns)? {
        let own = line.cell(REASON);
        if !own.is_empty() && reason(own).is_err() {
            faults.add(line.line, Some("reason"), "one line of 1 to 500 characters");
        }
        match numbering.number(line.cell(NUMBER)) {
            Ok(number) => numbers.push((number, (!own.is_empty()).then(|| own.to_owned()))),
            Err(error) => faults.add(line.line, Some("number"), error.to_string()),
        }
    }
    faults.refuse()?;
    Ok(numbers)
}

/// Bars the numbers of a file, all or none; gives how many are new.
///
/// # Errors
/// [`Refused`].
pub async fn add_numbers(
    db: &Db,
    clock: &Clock,
    file_name: &str,
    (rows, only_client): (&[(PhoneNumber, Option<String>)], Option<&str>),
    (kind, why): (BarKind, &str),
    by: By<'_>,
) -> Result<u64, Refused> {
    let why = reason(why)?;
    for own in rows.iter().filter_map(|(_, own)| own.as_deref()) {
        reason(own)?;
    }
    let client = match only_client {
        Some(code) => {
            let mut tx = db.read().await?;
            let client = find::client(&mut tx, code, None).await?;
            tx.rollback().await?;
            Some(client.id)
        }
        None => None,
    };
    let new = NewList {
        kind: Kind::Bars,
        client,
        file_name,
        read: rows.len() as u64,
        faulty: 0,
    };
    let rows = Rows::Bars {
        numbers: rows,
        client,
        kind,
        reason: why,
    };
    Ok(lists::bring(db, clock, &new, rows, by).await?.new)
}

async fn log(
    tx: &mut Tx,
    action: &'static str,
    id: BarId,
    client_id: Option<ClientId>,
    detail: serde_json::Value,
    by: By<'_>,
) -> Result<(), Refused> {
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action,
        object: &id.to_string(),
        client_id,
        detail,
    };
    Ok(access::log(tx, &access).await?)
}
