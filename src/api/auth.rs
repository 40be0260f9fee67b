//! Who asks: bearer tokens of `ringfence users`, their role, and what a role may do.
//!
//! Every handler that shows or changes something takes a [`Caller`] and asks it; a client outside the caller's scope
//! is answered as if it did not exist.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::{App, problem::Problem};
use crate::{
    ids::ClientId,
    rulebook::Refused,
    store::{
        self,
        users::{Role, Token, User},
    },
};

/// The last use of a token is kept to the minute.
const USED_NOTED_MS: i64 = 60_000;

/// Something a role may do or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Dial as oneself and end one's own calls.
    Dial,
    /// Dial and hang up for any agent, see every call of one's clients.
    Supervise,
    /// List recordings, play and export them.
    Recordings,
    /// See the figures.
    Figures,
    /// Read decision receipts.
    Receipts,
    /// See identity and card numbers whole, each time with a reason.
    Reveal,
    /// Enter cases and change their state.
    EnterCases,
    /// Read rules, bars and agreements, and ask what would be decided.
    Rules,
    /// Bar numbers, persons, cases and clients.
    Bar,
    /// Lift bars.
    Lift,
    /// Enter agreements, and see those of one's clients.
    Agree,
    /// Approve, refuse and revoke agreements.
    Approve,
    /// Put on record in which time zone somebody lives, which decides whose hour counts.
    Zone,
    /// Have the rule files read again.
    Reload,
    /// Read everybody's call notes and write them out.
    Notes,
    /// Deal cases out; pause, return, close and mark them, also many at once.
    DealCases,
    /// Report major matters to clients.
    Report,
    /// Vouch for what is wrong with a number, and say that one is good again.
    Numbers,
}

impl Right {
    /// What it is, behind "may not".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Supervise => "supervise other agents",
            Self::Recordings => "listen to recordings",
            Self::Figures => "see figures",
            Self::Receipts => "read receipts",
            Self::Reveal => "see identity and card numbers whole",
            Self::EnterCases => "enter cases and change their state",
            Self::Rules => "read the rules",
            Self::Bar => "bar calls",
            Self::Lift => "lift bars",
            Self::Agree => "enter agreements",
            Self::Approve => "approve or end agreements",
            Self::Zone => "put time zones on record",
            Self::Reload => "load the rules again",
            Self::Notes => "read the notes of others",
            Self::DealCases => "deal cases out or change many at once",
            Self::Report => "report major matters",
            Self::Numbers => "judge numbers",
        }
    }
}

/// Least privilege: what each role is for (PRODUCT.md, "People who use it").
pub const fn may(role: Role, right: Right) -> bool {
    match role {
        Role::Agent => matches!(right, Right::Dial | Right::Agree),
        Role::Lead => matches!(
            right,
            Right::Dial
                | Right::Supervise
                | Right::Recordings
                | Right::Figures
                | Right::Reveal
                | Right::Rules
                | Right::Bar
                | Right::Agree
                | Right::Approve
                | Right::Zone
                | Right::Notes
                | Right::DealCases
                | Right::Report
                | Right::Numbers
        ),
        Role::Qa => matches!(right, Right::Recordings | Right::Figures | Right::Notes),
        Role::Operations => matches!(
            right,
            Right::Figures
                | Right::Supervise
                | Right::EnterCases
                | Right::Notes
                | Right::DealCases
                | Right::Report
        ),
        Role::Compliance => matches!(
            right,
            Right::Recordings
                | Right::Figures
                | Right::Receipts
                | Right::Reveal
                | Right::Rules
                | Right::Bar
                | Right::Lift
                | Right::Agree
                | Right::Approve
                | Right::Zone
                | Right::Reload
                | Right::Notes
                | Right::Report
                | Right::Numbers
        ),
        Role::Auditor => matches!(
            right,
            Right::Recordings | Right::Figures | Right::Receipts | Right::Rules | Right::Notes
        ),
        Role::Admin => matches!(
            right,
            Right::Supervise | Right::Figures | Right::EnterCases | Right::Reload
        ),
    }
}

/// The user behind a request.
#[derive(Debug, Clone)]
pub struct Caller(pub User);

impl std::ops::Deref for Caller {
    type Target = User;

    fn deref(&self) -> &User {
        &self.0
    }
}

impl Caller {
    /// Refuses with 403 unless the role may.
    pub fn must(&self, right: Right) -> Result<(), Problem> {
        if may(self.role, right) {
            return Ok(());
        }
        Err(Problem::Forbidden(format!(
            "the role {} may not {}; ask the administrator for another role",
            self.role.as_str(),
            right.words()
        )))
    }

    /// Whether objects of this client exist for the caller.
    pub fn sees(&self, client: ClientId) -> bool {
        self.scope.includes(client)
    }
}

/// Notes, at most once a minute and beside the request, that the account is in use.
fn note_use(app: &App, user: &User) {
    let now_ms = app.clock.wall_ms();
    if user
        .used_at_ms
        .is_some_and(|used| (now_ms - USED_NOTED_MS..=now_ms).contains(&used))
    {
        return;
    }
    let (db, id) = (app.db.clone(), user.id);
    tokio::spawn(async move {
        let noted = async {
            let mut tx = db.begin().await?;
            store::users::note_use(&mut tx, id, now_ms).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "the last use of an account was not noted");
        }
    });
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let user = user(app, &parts.headers).await?;
        note_use(app, &user);
        Ok(Self(user))
    }
}

/// The user whose token a request carries.
pub(super) async fn user(app: &App, headers: &HeaderMap) -> Result<User, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Token::presented(token.trim()))
        .ok_or(Problem::Unauthenticated)?;
    let mut tx = app.db.read().await?;
    store::users::by_token(&mut tx, &token)
        .await?
        .ok_or(Problem::Unauthenticated)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(detail) => Self::NotFound(detail),
            Refused::Invalid(detail) => Self::Invalid(detail),
            Refused::Conflict(detail) => Self::Conflict(detail),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "the database cannot be asked");
            return Self::Unavailable(
                "the database cannot be asked at the moment; try again when it is back, and see first whether what you asked for \
                 was done in the last moment"
                    .into(),
            );
        }
        Self::Internal(anyhow::Error::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_audit_or_lead_hear_recordings() {
        for (role, hears) in [
            (Role::Agent, false),
            (Role::Lead, true),
            (Role::Qa, true),
            (Role::Operations, false),
            (Role::Compliance, true),
            (Role::Auditor, true),
            (Role::Admin, false),
        ] {
            assert_eq!(may(role, Right::Recordings), hears, "{role:?}");
        }
    }

    #[test]
    fn whole_identity_numbers_are_for_leads_and_compliance() {
        for (role, sees) in [
            (Role::Agent, false),
            (Role::Lead, true),
            (Role::Qa, false),
            (Role::Operations, false),
            (Role::Compliance, true),
            (Role::Auditor, false),
            (Role::Admin, false),
        ] {
            assert_eq!(may(role, Right::Reveal), sees, "{role:?}");
        }
    }

    #[test]
    fn an_auditor_cannot_dial() {
        assert!(!may(Role::Auditor, Right::Dial) && !may(Role::Auditor, Right::Supervise));
    }
}
