//! What is told of the floor to those who listen. None of it carries a number or a name.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    call::Cause,
    ids::{AgentId, CaseId, ClientId, ContactPointId},
};

/// Something that happened to a call. Carries no number and no name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FloorEvent {
    /// The call.
    pub call_id: String,
    /// How far the call is: `agent_ringing`, `agent_answered`, `customer_dialling`, `customer_ringing`,
    /// `customer_answered`, `talking`, `ended`. Or what else is to be known of it, which does not change that:
    /// `window_closing`, `window_closed`, `silent`, `resumed`, `recording_broken`, `draining`.
    pub state: &'static str,
    /// The agent.
    #[schema(value_type = i64)]
    pub agent: AgentId,
    /// Whose case.
    #[schema(value_type = Option<i64>)]
    pub client: Option<ClientId>,
    /// When, milliseconds UTC.
    pub at_ms: i64,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub cause: Option<Cause>,
    /// Which side, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<&'static str>,
}

/// What an agent's page must know of its connection.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionEvent {
    /// The connection, as the answer to its offer named it.
    pub session: String,
    /// `replaced` by another page of the same agent, or `closed` because nothing came from the browser.
    pub state: &'static str,
    /// The agent.
    #[schema(value_type = i64)]
    pub agent: AgentId,
}

/// A callback that came due.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallbackEvent {
    /// The callback, which `POST /api/v1/callbacks/{callback}/dial` places.
    pub callback_id: i64,
    /// The case.
    #[schema(value_type = i64)]
    pub case_id: CaseId,
    /// Whom to call.
    #[schema(value_type = i64)]
    pub contact_point_id: ContactPointId,
    /// Who calls.
    #[schema(value_type = i64)]
    pub agent: AgentId,
    /// Whose case.
    #[schema(value_type = i64)]
    pub client: ClientId,
    /// When it was due, milliseconds UTC.
    pub due_at_ms: i64,
}

/// Numbers of ours that are answered less than before; which ones says the report `caller-ids`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallerIdsEvent {
    /// How many.
    pub falling: usize,
    /// Of these, how many were not yesterday.
    pub new: usize,
    /// The last day judged.
    pub until: String,
    /// When it was looked.
    pub at_ms: i64,
}

/// Something that happened on the floor.
#[derive(Debug, Clone)]
pub enum News {
    /// To a call.
    Call(FloorEvent),
    /// To an agent's browser.
    Session(SessionEvent),
    /// To a callback.
    Callback(CallbackEvent),
    /// To our own numbers.
    CallerIds(CallerIdsEvent),
}
