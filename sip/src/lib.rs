//! Signalling: SIP as a sans-IO user agent. Bytes and time in, bytes and events out.
//!
//! No tokio, no sockets, no clock, no randomness of its own: all of these are arguments. The wire layer, from the bytes
//! up: [`framing`] finds messages in datagrams and streams, [`message`] is what they are, [`headers`], [`uri`] and
//! [`sdp`] what is in them, [`digest`] proves who sent them, [`cause`] says why a leg ended. Phone numbers and secrets
//! are in most of these types; none of them shows its content in `Debug`.

pub mod cause;
pub mod digest;
pub mod framing;
pub mod headers;
pub mod message;
pub mod method;
pub mod sdp;
pub mod text;
pub mod uri;
