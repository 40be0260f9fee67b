//! Audio plane: RTP legs, bridging, digits, tones, and the recording tap.
//!
//! An [`Engine`] owns a few threads; each owns the sockets of its legs and forwards packets between bridged legs with
//! continuous SSRC, sequence and time stamp. Nothing is locked or allocated for a packet. A [`Tap`] on a bridge writes
//! a stereo time line (agent left, customer right, 8 kHz) into a bounded ring that a [`TapReader`] drains.
//!
//! This crate never speaks SIP, never writes a file, and knows nothing of calls, agents or numbers.
//!
//! Reading order: [`leg`] and [`engine`] (what others call), `worker` (the thread), `stamps` (when a packet came),
//! [`stream`] (in which order), [`bridge`] (what leaves), [`tap`] (what is recorded). Everything but `engine` and `worker` is pure: packets
//! and instants in, values out.

pub mod bridge;
mod command;
pub mod dtmf;
pub mod engine;
pub mod g711;
pub mod leg;
pub mod ports;
pub mod rtcp;
pub mod rtp;
pub mod silence;
mod stamps;
pub mod stats;
pub mod stream;
pub mod tap;
mod timeline;
pub mod tone;
#[cfg(feature = "browser")]
pub mod webrtc_leg;
mod wire;
mod worker;

pub use engine::{Engine, EngineConfig, MediaError};
pub use g711::Codec;
pub use leg::{Address, Direction, Leg, LegId, MediaEvent, Remote, Rtcp};
pub use stats::{LegStats, PortUse};
pub use tap::{Side, Tap, TapReader, TapReport};
pub use tone::Tone;

/// Samples a second of every G.711 stream and of the recording.
pub const SAMPLE_RATE: u32 = 8_000;
