//! `sip:` and `sips:` (RFC 3261 19.1).

use std::borrow::Cow;
use std::fmt;

use super::Host;
use super::escape::{
    check_escapes, escape, is_header_byte, is_param_byte, is_user_byte, parse_uri_headers,
    parse_uri_params, unescape,
};
use crate::headers::Params;
use crate::text::Malformed;

/// A `sip:` or `sips:` URI (RFC 3261 19.1). User, password, parameters and headers keep their escapes.
#[derive(Clone, PartialEq, Eq)]
pub struct SipUri {
    /// `sips:`
    pub secure: bool,
    user: Option<String>,
    password: Option<String>,
    /// Where it points.
    pub host: Host,
    /// The port, if one is written.
    pub port: Option<u16>,
    params: Params,
    headers: Vec<(String, String)>,
}

impl SipUri {
    /// `sip:host[:port]`
    pub fn new(host: impl Into<Host>, port: Option<u16>) -> Self {
        Self {
            secure: false,
            user: None,
            password: None,
            host: host.into(),
            port,
            params: Params::new(),
            headers: Vec::new(),
        }
    }

    /// Sets the user part; what may not stand there is escaped.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = (!user.is_empty()).then(|| escape(user, is_user_byte));
        self
    }

    /// Sets a URI parameter; what may not stand there is escaped.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set_raw(
            &escape(name, is_param_byte),
            value.map(|value| escape(value, is_param_byte)),
        );
        self
    }

    /// Adds a `?header`; what may not stand there is escaped (RFC 3891 3: `?Replaces=` in a Refer-To).
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((escape(name, is_header_byte), escape(value, is_header_byte)));
        self
    }

    /// The user part, escapes undone.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.user.as_deref().map(unescape)
    }

    /// A URI parameter, escapes undone: `Some("")` for one without a value.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(unescape)
    }

    /// A `?header`, escapes undone.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers
            .iter()
            .find(|(have, _)| unescape(have).eq_ignore_ascii_case(name))
            .map(|(_, value)| unescape(value))
    }

    /// Whether `;lr` marks a loose router (RFC 3261 16.12).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// The `transport` parameter as written, e.g. `tcp`.
    pub fn transport(&self) -> Option<&str> {
        self.params.get("transport")
    }

    pub(super) fn parse_rest(secure: bool, rest: &str) -> Result<Self, Malformed> {
        let (userinfo, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, "")))
        {
            Some(("", _)) => return Err(Malformed("the user of a URI is empty")),
            Some((user, password)) => (
                Some(user),
                userinfo
                    .is_some_and(|info| info.contains(':'))
                    .then_some(password),
            ),
            None => (None, None),
        };
        for part in [user, password].into_iter().flatten() {
            check_escapes(part)?;
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (hostport, params) = match rest.find(';') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let (host, port) = Host::parse_with_port(hostport)?;
        Ok(Self {
            secure,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            host,
            port,
            params: parse_uri_params(params)?,
            headers: parse_uri_headers(headers)?,
        })
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(if self.secure { "sips:" } else { "sip:" });
        if let Some(user) = &self.user {
            out.push_str(user);
            if let Some(password) = &self.password {
                out.push(':');
                out.push_str(password);
            }
            out.push('@');
        }
        out.push_str(&self.host.to_string());
        if let Some(port) = self.port {
            out.push(':');
            out.push_str(&port.to_string());
        }
        self.params.write(out);
        for (at, (name, value)) in self.headers.iter().enumerate() {
            out.push(if at == 0 { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }

    /// Drops what may not stand in a request line (19.1.1).
    pub(super) fn strip_for_request_line(&mut self) {
        self.headers.clear();
        self.params.remove("method");
    }

    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        /// A parameter of these in one URI only makes the two different (19.1.4, with `transport` from its examples).
        const SIGNIFICANT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        let plain = |text: &Option<String>| text.as_deref().map(|text| unescape(text).into_owned());
        let params_agree = |a: &Self, b: &Self| {
            a.params
                .iter()
                .all(|(name, value)| match b.params.get(name) {
                    Some(other) => {
                        unescape(value.unwrap_or("")).eq_ignore_ascii_case(&unescape(other))
                    }
                    None => !SIGNIFICANT
                        .iter()
                        .any(|significant| significant.eq_ignore_ascii_case(name)),
                })
        };
        let headers = |uri: &Self| {
            let mut list: Vec<(String, String)> = uri
                .headers
                .iter()
                .map(|(name, value)| {
                    (
                        unescape(name).to_ascii_lowercase(),
                        unescape(value).into_owned(),
                    )
                })
                .collect();
            list.sort();
            list
        };
        self.secure == other.secure
            && plain(&self.user) == plain(&other.user)
            && plain(&self.password) == plain(&other.password)
            && self.host.same_as(&other.host)
            && self.port == other.port
            && params_agree(self, other)
            && params_agree(other, self)
            && headers(self) == headers(other)
    }
}

impl fmt::Debug for SipUri {
    /// Scheme, host and port; the user part, parameters and headers can hold numbers and names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if self.user.is_some() {
            f.write_str("…@")?;
        }
        write!(f, "{}", self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
