//! `tel:` (RFC 3966).

use std::borrow::Cow;

use super::escape::{parse_uri_params, unescape};
use crate::headers::Params;
use crate::text::Malformed;

/// A `tel:` URI (RFC 3966).
#[derive(Clone, PartialEq, Eq)]
pub struct TelUri {
    number: String,
    params: Params,
}

impl TelUri {
    /// The number as written, visual separators included.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// A parameter, e.g. `phone-context` (RFC 3966 5.1.5).
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(unescape)
    }

    pub(super) fn parse_rest(rest: &str) -> Result<Self, Malformed> {
        let (number, params) = match rest.find(';') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let digits = number.strip_prefix('+').unwrap_or(number);
        let allowed = |byte: u8| {
            byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#' | b'-' | b'.' | b'(' | b')')
        };
        if !digits.bytes().all(allowed)
            || !digits
                .bytes()
                .any(|byte| byte.is_ascii_hexdigit() || byte == b'*' || byte == b'#')
        {
            return Err(Malformed("a tel: URI holds no number"));
        }
        Ok(Self {
            number: number.to_owned(),
            params: parse_uri_params(params)?,
        })
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str("tel:");
        out.push_str(&self.number);
        self.params.write(out);
    }

    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        let digits = |uri: &Self| -> String {
            uri.number
                .chars()
                .filter(|char| !matches!(char, '-' | '.' | '(' | ')'))
                .map(|char| char.to_ascii_lowercase())
                .collect()
        };
        let params = |uri: &Self| {
            let mut list: Vec<(String, String)> = uri
                .params
                .iter()
                .map(|(name, value)| {
                    (
                        name.to_ascii_lowercase(),
                        value.unwrap_or("").to_ascii_lowercase(),
                    )
                })
                .collect();
            list.sort();
            list
        };
        digits(self) == digits(other) && params(self) == params(other)
    }
}
