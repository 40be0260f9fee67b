//! `;name=value` parameters, of headers and of URIs.

use std::borrow::Cow;
use std::fmt;

use crate::text::{Malformed, find_top, is_quoted, is_token, quote_into, unquote};

/// More parameters than anybody needs; looking one up takes a walk through all of them.
pub(crate) const PARAM_LIMIT: usize = 64;

/// Parameters in their order. Names are compared without regard to case, values are kept as they were written (quotes
/// and escapes included), so that what is printed is what was read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// No parameters.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Parses what follows a header value: nothing, or `;name`, `;name=token`, `;name="quoted"` … (RFC 3261 25.1
    /// `generic-param`). White space around `;` and `=` is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut params = Self::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let Some(after) = rest.strip_prefix(';') else {
                return Err(Malformed(
                    "something other than a parameter follows the value",
                ));
            };
            let end = find_top(after, false, |byte| byte == b';').unwrap_or(after.len());
            let (piece, remaining) = after.split_at_checked(end).unwrap_or((after, ""));
            rest = remaining;
            let piece = piece.trim();
            if piece.is_empty() {
                continue; // `;;` and a `;` at the end: seen in the field, harmless
            }
            let (name, value) = match piece.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (piece, None),
            };
            if params.0.len() >= PARAM_LIMIT {
                return Err(Malformed("too many parameters"));
            }
            if !is_token(name) {
                return Err(Malformed("a parameter name is no token"));
            }
            if let Some(value) = value
                && !is_quoted(value)
                && !is_gen_value(value)
            {
                return Err(Malformed(
                    "a parameter value is neither token, host nor quoted string",
                ));
            }
            params.0.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(params)
    }

    /// The value as written; `Some("")` for a parameter without one, `None` if it is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or(""))
    }

    /// Like [`get`](Self::get), but with the quotes of a quoted string removed.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(unquote)
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a header parameter, replacing one of that name. A value that is no token and no host is quoted.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| {
            if is_gen_value(value) {
                return value.to_owned();
            }
            let mut quoted = String::with_capacity(value.len() + 2);
            quote_into(&mut quoted, value);
            quoted
        });
        self.set_raw(name, value);
    }

    pub(crate) fn set_raw(&mut self, name: &str, value: Option<String>) {
        match self
            .0
            .iter_mut()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
        {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn push_raw(&mut self, name: String, value: Option<String>) {
        self.0.push((name, value));
    }

    /// Removes every parameter of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    }

    /// Name and written value of each parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn write(&self, out: &mut String) {
        for (name, value) in self.iter() {
            out.push(';');
            out.push_str(name);
            if let Some(value) = value {
                out.push('=');
                out.push_str(value);
            }
        }
    }
}

/// `token / host`, with the characters that peers send although they are not allowed (`/`, `@`, `:` …), but nothing
/// that could end the value.
fn is_gen_value(value: &str) -> bool {
    value.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'<' | b'>' | b'\\')
    }) && !value.is_empty()
}

impl fmt::Debug for Params {
    /// Names only: values hold numbers (`phone-context`), names and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}
