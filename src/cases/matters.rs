//! Entering and reporting major matters (重大事项), each with its line in the access log.

use crate::{
    ids::CaseId,
    store::{
        self, Tx,
        access::{self, Access},
        major_matters::{self, Grade, Matter, MatterKind},
        users::User,
    },
};

/// Characters of the longest text.
const LONGEST: usize = 4_000;

/// A matter as it is told.
#[derive(Debug, Clone, Copy)]
pub struct NewMatter<'a> {
    /// Code of the client.
    pub client: &'a str,
    /// The case, if it is about one.
    pub case: Option<CaseId>,
    /// What happened.
    pub kind: MatterKind,
    /// How grave.
    pub grade: Grade,
    /// In words.
    pub text: &'a str,
    /// When it became known.
    pub occurred_at_ms: i64,
}

/// Why nothing was entered.
#[derive(Debug, thiserror::Error)]
pub enum MatterError {
    /// No such matter, or not for this user.
    #[error("there is no such major matter")]
    NotFound,
    /// No such client or case, or not for this user.
    #[error("there is no such client, or no such case of it")]
    Client,
    /// Reported before.
    #[error("the matter was reported before; the first report stands")]
    Reported,
    /// Nothing said, or too much.
    #[error("write what happened, or who was told, in 1 to {LONGEST} characters")]
    Text,
    /// It lies ahead.
    #[error("it cannot have become known in the future")]
    Time,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn words(text: &str) -> Result<&str, MatterError> {
    let text = text.trim();
    if (1..=LONGEST).contains(&text.chars().count()) {
        Ok(text)
    } else {
        Err(MatterError::Text)
    }
}

/// Enters a matter. `viewer` `None`: the command line. Commit afterwards.
///
/// # Errors
/// [`MatterError`].
pub async fn enter(
    tx: &mut Tx,
    new: &NewMatter<'_>,
    viewer: Option<&User>,
    actor: &str,
    now_ms: i64,
) -> Result<Matter, MatterError> {
    let text = words(new.text)?;
    if new.occurred_at_ms > now_ms {
        return Err(MatterError::Time);
    }
    let client = store::clients::by_code(tx, new.client)
        .await?
        .filter(|client| viewer.is_none_or(|viewer| viewer.scope.includes(client.id)))
        .ok_or(MatterError::Client)?;
    if let Some(case) = new.case {
        let case = store::cases::by_id(tx, case).await?;
        if case.is_none_or(|case| case.client_id != client.id) {
            return Err(MatterError::Client);
        }
    }
    let row = major_matters::NewMatter {
        client: client.id,
        case: new.case,
        kind: new.kind,
        grade: new.grade,
        text,
        occurred_at_ms: new.occurred_at_ms,
        actor,
    };
    let id = major_matters::enter(tx, &row, now_ms).await?;
    let access = Access {
        at_ms: now_ms,
        actor,
        action: "matter.enter",
        object: &id.to_string(),
        client_id: Some(client.id),
        detail: serde_json::json!({ "kind": new.kind.as_str(), "grade": new.grade.as_str(), "case": new.case }),
    };
    access::log(tx, &access).await?;
    major_matters::by_id(tx, id)
        .await?
        .ok_or(MatterError::NotFound)
}

/// Notes that the client was told, and grades the matter where that was found out. Commit afterwards.
///
/// # Errors
/// [`MatterError`].
pub async fn report(
    tx: &mut Tx,
    id: i64,
    told: &str,
    grade: Option<Grade>,
    (viewer, actor): (Option<&User>, &str),
    now_ms: i64,
) -> Result<Matter, MatterError> {
    let told = words(told)?;
    let matter = major_matters::by_id(tx, id)
        .await?
        .filter(|matter| viewer.is_none_or(|viewer| viewer.scope.includes(matter.client)))
        .ok_or(MatterError::NotFound)?;
    match major_matters::report(tx, id, told, now_ms).await {
        Err(store::Error::NotFound { .. }) => return Err(MatterError::Reported),
        done => done?,
    }
    if let Some(grade) = grade {
        major_matters::grade(tx, id, grade).await?;
    }
    let access = Access {
        at_ms: now_ms,
        actor,
        action: "matter.report",
        object: &id.to_string(),
        client_id: Some(matter.client),
        detail: serde_json::json!({ "grade": grade.map(Grade::as_str) }),
    };
    access::log(tx, &access).await?;
    major_matters::by_id(tx, id)
        .await?
        .ok_or(MatterError::NotFound)
}
