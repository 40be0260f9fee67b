//! A click and what is answered to it.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, CallId, ContactPointId, ReceiptId, UserId},
    policy::Refusal,
    store,
};

/// A click.
#[derive(Debug, Clone)]
pub struct DialRequest {
    /// Whom to reach.
    pub contact_point: ContactPointId,
    /// Who talks.
    pub agent: AgentId,
    /// The account that asked.
    pub user: Option<UserId>,
    /// Names the click, so that sending it again rings nothing twice.
    pub key: Option<RequestKey>,
}

/// An idempotency key with the request it belongs to.
#[derive(Clone)]
pub struct RequestKey {
    /// Whose key.
    pub user: UserId,
    /// The key.
    pub key: String,
    /// The body of the request; holds a number, so it prints nothing.
    pub request: Vec<u8>,
}

impl std::fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestKey")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What the gate answers to a click.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialAnswer {
    /// The call begins.
    Accepted {
        /// Its id.
        call: CallId,
    },
    /// The rules do not allow it.
    Refused {
        /// The stored proof.
        receipt: ReceiptId,
        /// Every reason.
        reasons: Vec<RefusalText>,
    },
}

/// A reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalText {
    /// Stable code.
    pub code: String,
    /// In English.
    pub text: String,
    /// 中文.
    pub text_zh: String,
    /// The clause it comes from.
    pub clause: String,
}

impl RefusalText {
    pub(super) fn of(refusal: &Refusal) -> Self {
        Self {
            code: refusal.reason.code().to_owned(),
            text: refusal.reason.english(),
            text_zh: refusal.reason.chinese(),
            clause: refusal.clause.clone(),
        }
    }
}

/// Why a click could not even be decided.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No such contact point.
    #[error("there is no such contact point")]
    NotFound,
    /// No such agent, or it has left, or its extension cannot be dialled.
    #[error("there is no such agent, or it has left")]
    AgentUnknown,
    /// The agent is not free; in which state it is.
    #[error("the agent is {0}")]
    AgentBusy(&'static str),
    /// The agent's browser is not connected yet, or nothing is heard from it.
    #[error("the agent's browser is not connected")]
    BrowserSilent,
    /// The idempotency key belongs to another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// The daemon is being stopped.
    #[error("the daemon takes no new calls")]
    Draining,
    /// Too many calls.
    #[error("{0} calls are up")]
    Full(usize),
    /// No recording, no call.
    #[error("the vault cannot take a new file: {0}")]
    Vault(String),
    /// A fault of ours while deciding.
    #[error("deciding the call broke off: {0}")]
    BrokeOff(String),
    /// No random bits for an id.
    #[error("the kernel gave no random bits")]
    Randomness,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}
