//! Methods and status codes.
//!
//! `rsip` supplies the known methods. What it lacks is here: methods it does not know (they must get 405 or 501, not a
//! parse error), case (RFC 3261 7.1: `invite` is not INVITE), and the reason phrases (rsip prints the names of its enum
//! and takes 202 for unknown).

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::text::{Malformed, is_token};

/// The method of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Method {
    /// A method that `rsip` knows.
    Known(rsip::Method),
    /// Any other token, as it was written.
    Other(Box<str>),
}

impl Method {
    /// RFC 3261 13
    pub const INVITE: Self = Self::Known(rsip::Method::Invite);
    /// RFC 3261 13.2.2.4
    pub const ACK: Self = Self::Known(rsip::Method::Ack);
    /// RFC 3261 15
    pub const BYE: Self = Self::Known(rsip::Method::Bye);
    /// RFC 3261 9
    pub const CANCEL: Self = Self::Known(rsip::Method::Cancel);
    /// RFC 3261 10
    pub const REGISTER: Self = Self::Known(rsip::Method::Register);
    /// RFC 3261 11
    pub const OPTIONS: Self = Self::Known(rsip::Method::Options);
    /// RFC 3311
    pub const UPDATE: Self = Self::Known(rsip::Method::Update);
    /// RFC 3262
    pub const PRACK: Self = Self::Known(rsip::Method::PRack);
    /// RFC 3515
    pub const REFER: Self = Self::Known(rsip::Method::Refer);
    /// RFC 6665
    pub const NOTIFY: Self = Self::Known(rsip::Method::Notify);
    /// RFC 6665
    pub const SUBSCRIBE: Self = Self::Known(rsip::Method::Subscribe);
    /// RFC 6086
    pub const INFO: Self = Self::Known(rsip::Method::Info);
    /// RFC 3428
    pub const MESSAGE: Self = Self::Known(rsip::Method::Message);

    /// Reads a method. Case counts (RFC 3261 7.1).
    ///
    /// # Errors
    /// The text is no token.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if !is_token(text) {
            return Err(Malformed("the method is no token"));
        }
        match text.parse::<rsip::Method>() {
            Ok(known) if Self::Known(known).as_str() == text => Ok(Self::Known(known)),
            _ => Ok(Self::Other(text.into())),
        }
    }

    /// The method as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(method) => match method {
                rsip::Method::Ack => "ACK",
                rsip::Method::Bye => "BYE",
                rsip::Method::Cancel => "CANCEL",
                rsip::Method::Info => "INFO",
                rsip::Method::Invite => "INVITE",
                rsip::Method::Message => "MESSAGE",
                rsip::Method::Notify => "NOTIFY",
                rsip::Method::Options => "OPTIONS",
                rsip::Method::PRack => "PRACK",
                rsip::Method::Publish => "PUBLISH",
                rsip::Method::Refer => "REFER",
                rsip::Method::Register => "REGISTER",
                rsip::Method::Subscribe => "SUBSCRIBE",
                rsip::Method::Update => "UPDATE",
            },
            Self::Other(name) => name,
        }
    }
}

impl Hash for Method {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<rsip::Method> for Method {
    fn from(method: rsip::Method) -> Self {
        Self::Known(method)
    }
}

/// A status code, 100 to 699 (RFC 3261 21). A code nobody knows is treated as the x00 of its class (8.1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 100
    pub const TRYING: Self = Self(100);
    /// 180
    pub const RINGING: Self = Self(180);
    /// 183
    pub const SESSION_PROGRESS: Self = Self(183);
    /// 200
    pub const OK: Self = Self(200);
    /// 202
    pub const ACCEPTED: Self = Self(202);
    /// 400
    pub const BAD_REQUEST: Self = Self(400);
    /// 401
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403
    pub const FORBIDDEN: Self = Self(403);
    /// 404
    pub const NOT_FOUND: Self = Self(404);
    /// 405
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    /// 407
    pub const PROXY_AUTHENTICATION_REQUIRED: Self = Self(407);
    /// 408
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 415
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// 416
    pub const UNSUPPORTED_URI_SCHEME: Self = Self(416);
    /// 420
    pub const BAD_EXTENSION: Self = Self(420);
    /// 421
    pub const EXTENSION_REQUIRED: Self = Self(421);
    /// 422
    pub const SESSION_INTERVAL_TOO_SMALL: Self = Self(422);
    /// 423
    pub const INTERVAL_TOO_BRIEF: Self = Self(423);
    /// 480
    pub const TEMPORARILY_UNAVAILABLE: Self = Self(480);
    /// 481
    pub const NO_SUCH_CALL: Self = Self(481);
    /// 482
    pub const LOOP_DETECTED: Self = Self(482);
    /// 483
    pub const TOO_MANY_HOPS: Self = Self(483);
    /// 486
    pub const BUSY_HERE: Self = Self(486);
    /// 487
    pub const REQUEST_TERMINATED: Self = Self(487);
    /// 488
    pub const NOT_ACCEPTABLE_HERE: Self = Self(488);
    /// 489
    pub const BAD_EVENT: Self = Self(489);
    /// 491
    pub const REQUEST_PENDING: Self = Self(491);
    /// 500
    pub const SERVER_INTERNAL_ERROR: Self = Self(500);
    /// 501
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 503
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 603
    pub const DECLINE: Self = Self(603);

    /// A code from 100 to 699; `None` for anything else.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=699 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 1xx
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx
    pub const fn is_success(self) -> bool {
        self.0 >= 200 && self.0 < 300
    }

    /// Anything but 1xx
    pub const fn is_final(self) -> bool {
        self.0 >= 200
    }

    /// The usual reason phrase (RFC 3261 21 and the IANA registry), that of the class for an unknown code.
    pub const fn reason(self) -> &'static str {
        match self.0 {
            100 => "Trying",
            180 => "Ringing",
            181 => "Call Is Being Forwarded",
            182 => "Queued",
            183 => "Session Progress",
            199 => "Early Dialog Terminated",
            200 => "OK",
            202 => "Accepted",
            204 => "No Notification",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            305 => "Use Proxy",
            380 => "Alternative Service",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            410 => "Gone",
            412 => "Conditional Request Failed",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            420 => "Bad Extension",
            421 => "Extension Required",
            422 => "Session Interval Too Small",
            423 => "Interval Too Brief",
            433 => "Anonymity Disallowed",
            469 => "Bad Info Package",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            482 => "Loop Detected",
            483 => "Too Many Hops",
            484 => "Address Incomplete",
            485 => "Ambiguous",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            489 => "Bad Event",
            491 => "Request Pending",
            493 => "Undecipherable",
            494 => "Security Agreement Required",
            500 => "Server Internal Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Server Time-out",
            505 => "Version Not Supported",
            513 => "Message Too Large",
            580 => "Precondition Failure",
            600 => "Busy Everywhere",
            603 => "Decline",
            604 => "Does Not Exist Anywhere",
            606 => "Not Acceptable",
            607 => "Unwanted",
            608 => "Rejected",
            101..=199 => "Session Progress",
            201..=299 => "OK",
            303..=399 => "Redirection",
            409..=499 => "Request Failure",
            506..=599 => "Server Failure",
            _ => "Global Failure",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
