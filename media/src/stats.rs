//! Counters of a leg. One audio thread writes them, anyone reads them; a write is a plain store, so counting costs
//! no lock and no atomic read-modify-write. A reader may see one packet's counters half updated.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A number with a single writer and many readers.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    #[inline]
    pub(crate) fn bump(&self) {
        self.add(1);
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the owning thread writes.
        #[derive(Debug, Default)]
        pub(crate) struct LegCounters {
            $(pub(crate) $name: Counter,)*
            /// Source clock ticks (125 us), RFC 3550 section 6.4.1.
            pub(crate) jitter: Counter,
            pub(crate) remote_jitter: Counter,
            pub(crate) round_trip_us: Counter,
            abandoned: AtomicBool,
        }

        /// Figures of one leg since it was opened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct LegStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Interarrival jitter of what we received (RFC 3550 section 6.4.1).
            pub jitter: Duration,
            /// Jitter the peer reported.
            pub remote_jitter: Duration,
            /// Round trip by the peer's last report, if it sent one that refers to ours.
            pub round_trip: Option<Duration>,
        }

        impl LegCounters {
            pub(crate) fn snapshot(&self) -> LegStats {
                LegStats {
                    $($name: self.$name.get(),)*
                    jitter: ticks(self.jitter.get()),
                    remote_jitter: ticks(self.remote_jitter.get()),
                    round_trip: match self.round_trip_us.get() {
                        0 => None,
                        us => Some(Duration::from_micros(us)),
                    },
                }
            }
        }
    };
}

counters! {
    /// RTP packets accepted from the peer, duplicates not counted.
    received,
    /// Payload octets of them.
    received_octets,
    /// Packets that the sequence numbers say never arrived.
    lost,
    /// Packets that arrived after a later one.
    reordered,
    /// Packets that arrived twice.
    duplicate,
    /// Times the peer's stream began anew (SSRC change, or sequence restarted).
    restarts,
    /// Single packets far out of sequence, dropped (RFC 3550 A.1).
    doubtful,
    /// Packets from a source that was not negotiated, or before any was.
    refused,
    /// Datagrams that are no RTP or RTCP.
    malformed,
    /// Packets of a payload type that was not negotiated.
    unknown_payload,
    /// Packets dropped because the negotiated direction does not let the peer send.
    on_hold,
    /// Digits heard (RFC 4733 events).
    digits,
    /// Packets of digits for this peer that it cannot take.
    digits_undeliverable,
    /// RTP packets sent to the peer.
    sent,
    /// Payload octets of them.
    sent_octets,
    /// Packets that the kernel or the other end of the pair did not take.
    send_failed,
    /// ICMP and other errors the sockets reported; they end nothing.
    socket_errors,
    /// RTCP packets understood.
    rtcp_received,
    /// RTCP packets sent.
    rtcp_sent,
    /// Packets the peer says it lost (last report block about us).
    remote_lost,
    /// Share lost in the peer's last interval, in 1/256.
    remote_fraction_lost,
    /// Times the peer fell silent although it should send.
    silences,
    /// Events nobody had room for.
    events_dropped,
}

impl LegCounters {
    /// The handle is gone: the thread must close the leg at its next sweep.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_micros(ticks.saturating_mul(125))
}

/// How full the port pool is, in port pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortUse {
    /// Pairs in the configured range.
    pub total: usize,
    /// Pairs held by legs.
    pub in_use: usize,
    /// Pairs closed so recently that late packets may still arrive.
    pub quarantined: usize,
}
