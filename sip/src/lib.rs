//! Signalling: SIP as a sans-IO user agent. Bytes and time in, bytes and events out.
//!
//! No tokio, no sockets, no clock, no randomness of its own: all of these are arguments. The wire layer, from the bytes
//! up: [`framing`] finds messages in datagrams and streams, [`message`] is what they are, [`headers`], [`uri`] and
//! [`sdp`] what is in them, [`digest`] proves who sent them, [`cause`] says why a leg ended. Phone numbers and secrets
//! are in most of these types; none of them shows its content in `Debug`.
//!
//! The user agent stands on it: [`Endpoint`] is the whole of it, [`command`] what it is asked, [`event`] what it tells,
//! [`transport`] what it knows of sockets, [`snapshot`] what must survive a crash.

pub mod cause;
pub mod command;
pub mod config;
mod core;
mod dialog;
pub mod digest;
mod endpoint;
pub mod event;
pub mod framing;
pub mod headers;
mod leftover;
pub mod message;
pub mod method;
mod registration;
mod schedule;
pub mod sdp;
mod session;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod transaction;
pub mod transport;
pub mod uri;

pub use command::{Account, CommandError, Hangup, Invite};
pub use config::{Config, Limits, SessionTimer, Timers};
pub use endpoint::{Endpoint, Load};
pub use event::{
    AccountHandle, EndedBy, Event, Incoming, LeftoverHandle, LegHandle, QueryHandle,
    RegisterRequest, RequestHandle,
};
pub use snapshot::{DialogSnapshot, Phase};
pub use transport::{Connect, Peer, Transmit, TransportId, TransportKind};
