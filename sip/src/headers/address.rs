//! Addresses in headers: `"Display" <uri>;params`, as in From, To, Contact, Route, Record-Route, Refer-To.

use std::fmt;

use crate::headers::Params;
use crate::text::{Malformed, clamped_u32, find_top, is_quoted, is_token, quote_into, unquote};
use crate::uri::Uri;

/// A `name-addr` or `addr-spec` with its header parameters (RFC 3261 20.10). Printed always with brackets.
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name, quotes and escapes undone. Bytes that were no UTF-8 are replacement characters.
    pub display: Option<String>,
    /// The address itself.
    pub uri: Uri,
    /// Parameters of the header (`tag`, `expires`, `q` …), not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// `<uri>`
    pub const fn new(uri: Uri) -> Self {
        Self {
            display: None,
            uri,
            params: Params::new(),
        }
    }

    /// Sets the display name.
    #[must_use]
    pub fn with_display(mut self, display: &str) -> Self {
        self.display = (!display.is_empty()).then(|| display.to_owned());
        self
    }

    /// Sets the `tag`.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// The `tag` of a From or To. One without a value counts as none.
    pub fn tag(&self) -> Option<&str> {
        self.params
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("tag"))
            .find_map(|(_, value)| value)
    }

    /// The `expires` of a Contact, in seconds. A value that is no number counts as 3600 (RFC 3261 20.10).
    pub fn expires(&self) -> Option<u32> {
        self.params
            .get("expires")
            .map(|text| clamped_u32(text).unwrap_or(3600))
    }

    /// Reads one address. Without brackets everything from the first `;` on belongs to the header, and the URI may
    /// hold neither comma nor (by the letter) `?`; the `?` is let through because transfers arrive so.
    ///
    /// # Errors
    /// Display name, brackets, URI or parameters break the grammar.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        let Some(open) = find_top(text, false, |byte| byte == b'<') else {
            let end = text.find(';').unwrap_or(text.len());
            let (uri, params) = text.split_at_checked(end).unwrap_or((text, ""));
            let uri = uri.trim();
            if uri.contains(',') {
                return Err(Malformed("an address with a comma is not in brackets"));
            }
            return Ok(Self {
                display: None,
                uri: Uri::parse(uri)?,
                params: Params::parse(params)?,
            });
        };
        let display = text.get(..open).unwrap_or("").trim();
        let inside = text.get(open + 1..).unwrap_or("");
        let (uri, params) = inside
            .split_once('>')
            .ok_or(Malformed("the bracket of an address is not closed"))?;
        Ok(Self {
            display: parse_display(display)?,
            uri: Uri::parse(uri.trim())?,
            params: Params::parse(params)?,
        })
    }

    /// The header value as it goes on the wire: never log it.
    pub fn to_wire(&self) -> String {
        let mut out = String::with_capacity(64);
        if let Some(display) = &self.display {
            quote_into(&mut out, display);
            out.push(' ');
        }
        out.push('<');
        self.uri.write(&mut out);
        out.push('>');
        self.params.write(&mut out);
        out
    }
}

/// A display name: one quoted string, or words (RFC 3261 says tokens; UTF-8 words are seen and harmless).
fn parse_display(text: &str) -> Result<Option<String>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('"') {
        if !is_quoted(text) {
            return Err(Malformed("the quotes of a display name are not closed"));
        }
        return Ok(Some(unquote(text).into_owned()).filter(|name| !name.is_empty()));
    }
    let word = |word: &str| {
        is_token(word)
            || word
                .chars()
                .all(|char| !char.is_ascii() || char.is_ascii_alphanumeric())
    };
    if !text.split_ascii_whitespace().all(word) {
        return Err(Malformed("a display name must be quoted"));
    }
    Ok(Some(text.to_owned()))
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>{:?}", self.uri, self.params)
    }
}

/// The Contact header of a message (RFC 3261 20.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: unregister everything (10.2.2).
    Star,
    /// The addresses in their order, at least one.
    List(Vec<NameAddr>),
}

impl Contacts {
    /// The first address.
    pub fn first(&self) -> Option<&NameAddr> {
        match self {
            Self::Star => None,
            Self::List(list) => list.first(),
        }
    }
}
