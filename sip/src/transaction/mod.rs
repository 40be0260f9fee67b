//! The four transaction machines of RFC 3261 17 (with the accepted states of RFC 6026) and their timers.
//!
//! A machine knows states and timers only: it is told what arrived and says what to do. Messages, addresses and owners
//! are kept beside it in `table`. Read [`client_invite`] first.

pub mod client;
pub mod client_invite;
pub mod server;
pub mod server_invite;
pub(crate) mod table;

use std::time::Duration;

use crate::config::Timers;

/// The timers of RFC 3261 table 4 and RFC 6026.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// First retransmission of an INVITE; doubles.
    A,
    /// An INVITE without any response gives up.
    B,
    /// An INVITE client absorbs retransmitted final responses.
    D,
    /// First retransmission of another request; doubles up to T2.
    E,
    /// Another request without a final response gives up.
    F,
    /// First retransmission of an INVITE's final response; doubles up to T2.
    G,
    /// A final response without ACK gives up.
    H,
    /// An INVITE server absorbs retransmitted ACKs.
    I,
    /// Another server absorbs retransmitted requests.
    J,
    /// Another client absorbs retransmitted responses.
    K,
    /// An INVITE server lingers after its 2xx (RFC 6026).
    L,
    /// An INVITE client lingers after a 2xx (RFC 6026), for forks and retransmissions.
    M,
}

impl Timers {
    /// How long `timer` runs at first; zero over a reliable transport for those that only guard against loss. Timers A,
    /// E and G do not run at all there, which is `None`.
    pub const fn duration(&self, timer: Timer, reliable: bool) -> Option<Duration> {
        match timer {
            Timer::A | Timer::E | Timer::G if reliable => None,
            Timer::A | Timer::E | Timer::G => Some(self.t1),
            Timer::D | Timer::I | Timer::J | Timer::K if reliable => Some(Duration::ZERO),
            Timer::I | Timer::K => Some(self.t4),
            Timer::B | Timer::D | Timer::F | Timer::H | Timer::J | Timer::L | Timer::M => {
                Some(self.span())
            }
        }
    }

    /// 64 * T1, the longest that anything in a transaction waits.
    pub const fn span(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// What a client machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientStep {
    /// Send the request again.
    pub resend: bool,
    /// Send (again) the ACK of this transaction for a 3xx to 6xx.
    pub ack: bool,
    /// Hand the response to the owner.
    pub deliver: bool,
    /// No final response came in time: tell the owner.
    pub timed_out: bool,
}

/// What a server machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerStep {
    /// Send the last response again.
    pub resend: bool,
    /// No ACK came for a 3xx to 6xx.
    pub unacknowledged: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn timers_are_those_of_table_4() {
        let timers = Timers::default();
        let ms = |timer, reliable| timers.duration(timer, reliable).map(|d| d.as_millis());
        for (timer, unreliable, reliable) in [
            (Timer::A, Some(500), None),
            (Timer::B, Some(32_000), Some(32_000)),
            (Timer::D, Some(32_000), Some(0)),
            (Timer::E, Some(500), None),
            (Timer::F, Some(32_000), Some(32_000)),
            (Timer::G, Some(500), None),
            (Timer::H, Some(32_000), Some(32_000)),
            (Timer::I, Some(5_000), Some(0)),
            (Timer::J, Some(32_000), Some(0)),
            (Timer::K, Some(5_000), Some(0)),
            (Timer::L, Some(32_000), Some(32_000)),
            (Timer::M, Some(32_000), Some(32_000)),
        ] {
            assert_eq!(
                (ms(timer, false), ms(timer, true)),
                (unreliable, reliable),
                "{timer:?}"
            );
        }
    }
}
