//! Settings of one [`Endpoint`](crate::Endpoint): who it says it is, its timers, its limits.

use std::net::SocketAddr;
use std::time::Duration;

use crate::framing;

/// Settings of one user agent. [`Config::default`] suits a UDP peer on a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Text of User-Agent and Server.
    pub user_agent: String,
    /// The address printed into Via and Contact for TCP and TLS, where we listen; without it that of the first UDP
    /// socket stands there.
    pub stream_contact: Option<SocketAddr>,
    /// The base timers of the transactions.
    pub timers: Timers,
    /// Upper bounds of every table.
    pub limits: Limits,
    /// Upper bounds of one message.
    pub message_limits: framing::Limits,
    /// Whether an outgoing INVITE lists `100rel` under Supported (RFC 3262), so that a peer may ask for PRACK.
    pub offer_100rel: bool,
    /// The session timer asked for by an outgoing INVITE and granted to an incoming one; `None` only answers what the
    /// peer asks for.
    pub session_timer: Option<SessionTimer>,
    /// Whether the ACK of an answer to our INVITE waits for [`Endpoint::acknowledge`](crate::Endpoint::acknowledge): a
    /// peer that has its ACK forgets its answer, and only what it repeats tells the next process about a call that was
    /// answered in the instant of a crash. A hang-up by anybody does not wait.
    pub hold_ack: bool,
    /// How long an incoming INVITE, re-INVITE or REFER may stay without an answer by the application before the
    /// endpoint answers 480 (INVITE) or 500 (the others) by itself. The others are also bounded by 48 * T1, before their
    /// sender gives up.
    pub answer_within: Duration,
    /// Whether a REGISTER is an event for the application (a registrar) or refused with 405.
    pub registrar: bool,
    /// Whether the Contact follows the address under which the registrar sees us (Via `received` and `rport`,
    /// RFC 3581), for a daemon behind NAT.
    pub learn_contact: bool,
    /// Pause between two keepalives on an idle stream connection (RFC 5626 4.4.1, a double CRLF); `None` sends none.
    pub stream_keepalive: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("Ringfence/", env!("CARGO_PKG_VERSION")).to_owned(),
            stream_contact: None,
            timers: Timers::default(),
            limits: Limits::default(),
            message_limits: framing::Limits::default(),
            offer_100rel: true,
            session_timer: Some(SessionTimer::default()),
            hold_ack: false,
            answer_within: Duration::from_secs(300),
            registrar: false,
            learn_contact: false,
            stream_keepalive: Some(Duration::from_secs(30)),
        }
    }
}

/// The three times from which all timers of RFC 3261 17 follow (table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip.
    pub t1: Duration,
    /// Longest pause between retransmissions of a non-INVITE request or an INVITE's final response.
    pub t2: Duration,
    /// How long a message may linger in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// Upper bounds. What arrives above them is refused with 503 (requests) or with
/// [`CommandError::Full`](crate::CommandError::Full) (commands).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions of all kinds.
    pub transactions: usize,
    /// Legs, incoming and outgoing.
    pub legs: usize,
    /// Early dialogs and forked answers of one leg.
    pub forks: usize,
    /// Registration accounts.
    pub accounts: usize,
    /// Open or wanted stream connections.
    pub streams: usize,
    /// Leftovers of a crash being released at once.
    pub leftovers: usize,
    /// Requests outside dialogs that wait for the application, and OPTIONS under way.
    pub pending: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 20_000,
            legs: 4_000,
            forks: 16,
            accounts: 1_000,
            streams: 1_000,
            leftovers: 4_000,
            pending: 2_000,
        }
    }
}

/// A session timer (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// Session-Expires: without a refresh in this time the session is over. Whole seconds.
    pub interval: Duration,
    /// Min-SE: the least we accept. At least 90 s by the RFC; tests set less.
    pub min: Duration,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            min: Duration::from_secs(90),
        }
    }
}
