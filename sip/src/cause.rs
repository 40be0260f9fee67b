//! Why a leg ended: status code, Reason header (RFC 3326), Q.850 cause.
//!
//! This file only says what the peer said. What it means (ours, trunk's, callee's, caller's) is the daemon's business.

use std::fmt;

use crate::headers::{Headers, Params, name};
use crate::message::{Request, Response};
use crate::text::{Malformed, is_token, split_top, strict_number};

/// Cause values of ITU-T Q.850 with the names RFC 3398 7.2.4 and 8.2.6.1 use for them.
pub mod q850 {
    #![allow(missing_docs, reason = "each is its own name")]
    pub const UNALLOCATED_NUMBER: u8 = 1;
    pub const NO_ROUTE_TO_NETWORK: u8 = 2;
    pub const NO_ROUTE_TO_DESTINATION: u8 = 3;
    pub const NORMAL_CLEARING: u8 = 16;
    pub const USER_BUSY: u8 = 17;
    pub const NO_USER_RESPONDING: u8 = 18;
    pub const NO_ANSWER: u8 = 19;
    pub const SUBSCRIBER_ABSENT: u8 = 20;
    pub const CALL_REJECTED: u8 = 21;
    pub const NUMBER_CHANGED: u8 = 22;
    pub const REDIRECTION_TO_NEW_DESTINATION: u8 = 23;
    pub const NON_SELECTED_USER_CLEARING: u8 = 26;
    pub const DESTINATION_OUT_OF_ORDER: u8 = 27;
    pub const ADDRESS_INCOMPLETE: u8 = 28;
    pub const FACILITY_REJECTED: u8 = 29;
    pub const NORMAL_UNSPECIFIED: u8 = 31;
    pub const NO_CIRCUIT_AVAILABLE: u8 = 34;
    pub const NETWORK_OUT_OF_ORDER: u8 = 38;
    pub const TEMPORARY_FAILURE: u8 = 41;
    pub const SWITCHING_EQUIPMENT_CONGESTION: u8 = 42;
    pub const RESOURCE_UNAVAILABLE: u8 = 47;
    pub const INCOMING_CALLS_BARRED_IN_GROUP: u8 = 55;
    pub const BEARER_NOT_AUTHORIZED: u8 = 57;
    pub const BEARER_NOT_AVAILABLE: u8 = 58;
    pub const BEARER_NOT_IMPLEMENTED: u8 = 65;
    pub const ONLY_RESTRICTED_DIGITAL: u8 = 70;
    pub const SERVICE_NOT_IMPLEMENTED: u8 = 79;
    pub const USER_NOT_IN_GROUP: u8 = 87;
    pub const INCOMPATIBLE_DESTINATION: u8 = 88;
    pub const RECOVERY_ON_TIMER_EXPIRY: u8 = 102;
    pub const PROTOCOL_ERROR: u8 = 111;
    pub const INTERWORKING: u8 = 127;
}

/// Longest text kept of what a peer says about a failure, in characters.
const TEXT_LIMIT: usize = 128;

/// One value of a Reason header.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whose numbering the cause follows.
    pub protocol: Protocol,
    /// `cause`, as it stands there; 0 says nothing (Asterisk sends it with a 487).
    pub cause: Option<u16>,
    /// `text`, quotes undone.
    pub text: Option<String>,
}

/// The protocol of a [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// The cause is a SIP status.
    Sip,
    /// The cause is one of Q.850.
    Q850,
    /// Another one.
    Other(String),
}

impl Reason {
    /// A Q.850 reason of our own.
    pub fn q850(cause: u8, text: &str) -> Self {
        Self {
            protocol: Protocol::Q850,
            cause: Some(cause.into()),
            text: Some(text.to_owned()).filter(|text| !text.is_empty()),
        }
    }

    /// A SIP reason of our own, e.g. `SIP;cause=200;text="Call completed elsewhere"`.
    pub fn sip(status: u16, text: &str) -> Self {
        Self {
            protocol: Protocol::Sip,
            cause: Some(status),
            text: Some(text.to_owned()).filter(|text| !text.is_empty()),
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// The protocol is no token, the parameters are none, or the cause is no number up to 65535.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let end = text.find(';').unwrap_or(text.len());
        let (protocol, params) = text.split_at_checked(end).unwrap_or((text, ""));
        let protocol = protocol.trim();
        if !is_token(protocol) {
            return Err(Malformed("the protocol is no token"));
        }
        let params = Params::parse(params)?;
        let cause = match params.text("cause") {
            None => None,
            Some(digits) => {
                Some(strict_number(digits.trim()).ok_or(Malformed("the cause is no number"))?)
            }
        };
        let protocol = match protocol {
            _ if protocol.eq_ignore_ascii_case("SIP") => Protocol::Sip,
            _ if protocol.eq_ignore_ascii_case("Q.850") => Protocol::Q850,
            _ => Protocol::Other(protocol.to_owned()),
        };
        Ok(Self {
            protocol,
            cause,
            text: params.text("text").map(|text| limited(&text)),
        })
    }

    /// The header value.
    pub fn to_wire(&self) -> String {
        let mut out = match &self.protocol {
            Protocol::Sip => "SIP".to_owned(),
            Protocol::Q850 => "Q.850".to_owned(),
            Protocol::Other(name) => name.clone(),
        };
        if let Some(cause) = self.cause {
            out.push_str(&format!(";cause={cause}"));
        }
        if let Some(text) = &self.text {
            out.push_str(";text=");
            crate::text::quote_into(&mut out, text);
        }
        out
    }
}

impl fmt::Debug for Reason {
    /// Without the text, in which some trunks repeat the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?};cause={:?}", self.protocol, self.cause)
    }
}

/// How a leg was released, as far as the peer (or our own timer) said.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// The final status of the INVITE, or the one named by a SIP Reason in a BYE or CANCEL.
    pub status: Option<u16>,
    /// The Q.850 cause, 1 to 127; a cause 0 is no cause.
    pub q850: Option<u8>,
    /// What was said for people. May hold a number: not for logs.
    pub text: Option<String>,
}

impl Release {
    /// A release of our own making, with only a status (e.g. 408 when a transaction timed out).
    pub const fn from_status(status: u16) -> Self {
        Self {
            status: Some(status),
            q850: None,
            text: None,
        }
    }

    /// From a final response: its status, and what its Reason headers add.
    pub fn from_response(response: &Response) -> Self {
        let mut release = Self::from_headers(&response.headers);
        release.status = Some(response.status.code());
        if release.text.is_none() && !response.reason.is_empty() {
            release.text = Some(limited(&response.reason));
        }
        release
    }

    /// From a BYE or CANCEL: what its Reason headers say, nothing if there are none.
    pub fn from_request(request: &Request) -> Self {
        Self::from_headers(&request.headers)
    }

    /// From Reason headers alone. Values that cannot be read are passed over; of several for one protocol the first
    /// with a cause that says something wins.
    pub fn from_headers(headers: &Headers) -> Self {
        let mut release = Self::default();
        for value in headers.all(name::REASON) {
            for piece in split_top(&String::from_utf8_lossy(value), b',') {
                let Ok(reason) = Reason::parse(piece) else {
                    continue;
                };
                let fresh = match (&reason.protocol, reason.cause) {
                    (Protocol::Q850, Some(cause @ 1..=127)) if release.q850.is_none() => {
                        release.q850 = u8::try_from(cause).ok();
                        true
                    }
                    (Protocol::Sip, Some(status @ 100..=699)) if release.status.is_none() => {
                        release.status = Some(status);
                        true
                    }
                    _ => false,
                };
                if fresh && release.text.is_none() {
                    release.text = reason.text;
                }
            }
        }
        release
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release")
            .field("status", &self.status)
            .field("q850", &self.q850)
            .finish_non_exhaustive()
    }
}

fn limited(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_control())
        .take(TEXT_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn release(values: &[&str]) -> Release {
        let mut headers = Headers::new();
        for value in values {
            headers.push(name::REASON, *value);
        }
        Release::from_headers(&headers)
    }

    #[test]
    fn several_reasons_in_one_line_and_in_many_are_read() {
        let expected = Release {
            status: Some(486),
            q850: Some(17),
            text: Some("User, busy".into()),
        };
        assert_eq!(
            release(&[r#"Q.850;cause=17;text="User, busy", SIP ;cause=486"#]),
            expected
        );
        assert_eq!(
            release(&[r#"q.850 ; cause=17 ; text="User, busy""#, "SIP;cause=486"]),
            expected
        );
    }

    #[test]
    fn a_cause_of_zero_or_out_of_range_says_nothing() {
        assert_eq!(release(&["Q.850;cause=0"]), Release::default());
        assert_eq!(release(&["Q.850;cause=128"]), Release::default());
        assert_eq!(
            release(&["Q.850;cause=0", "Q.850;cause=21"]).q850,
            Some(q850::CALL_REJECTED)
        );
    }

    #[test]
    fn an_unreadable_reason_does_not_hide_the_next() {
        assert_eq!(release(&["Q.850;cause=x, Q.850;cause=3"]).q850, Some(3));
        assert_eq!(
            release(&["\"", ";;;", "Q.850;cause=-1", ""]),
            Release::default()
        );
    }

    #[test]
    fn the_status_of_a_response_wins_over_its_reason() {
        let busy = crate::method::StatusCode::new(486).unwrap();
        let response = Response::new(busy).header(name::REASON, "SIP;cause=480, Q.850;cause=17");
        let release = Release::from_response(&response);
        assert_eq!((release.status, release.q850), (Some(486), Some(17)));
        assert_eq!(release.text.as_deref(), Some("Busy Here"));
    }

    #[test]
    fn a_reason_survives_printing_and_debug_hides_its_text() {
        let reason = Reason::q850(16, "say \"13800138000\"\r\nX: y");
        assert!(!reason.to_wire().contains('\n'));
        assert_eq!(Reason::parse(&reason.to_wire()).unwrap().cause, Some(16));
        assert!(!format!("{reason:?}").contains("13800138000"));
    }
}
