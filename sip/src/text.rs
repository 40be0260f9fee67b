//! The few lexical rules that every header shares (RFC 3261 25.1): tokens, quoted strings, lists.
//!
//! Nothing here knows a header. What is malformed is told as [`Malformed`], whose text is fixed at compile time, so
//! that no part of a message (a phone number, a name) can slip into a log through an error.

use std::borrow::Cow;

/// Why a piece of text is not what it should be. The text never holds any of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Whether `byte` may stand in a `token` (RFC 3261 25.1).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// Whether `text` is a non-empty `token`.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Position of the first byte for which `wanted` holds outside quoted strings and, if `brackets`, outside `<...>`.
pub(crate) fn find_top(text: &str, brackets: bool, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    let mut inside = false;
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        if !inside && wanted(byte) {
            return Some(at);
        }
        match byte {
            b'"' if !inside => quoted = true,
            b'<' if brackets => inside = true,
            b'>' if brackets => inside = false,
            _ => {}
        }
    }
    None
}

/// Splits a header value at `separator`, which does not count inside quoted strings and `<...>`. Pieces are trimmed,
/// empty ones left out (RFC 3261 allows no empty element, but peers send them).
pub(crate) fn split_top(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        match find_top(current, true, |byte| byte == separator) {
            Some(at) => {
                rest = current.get(at + 1..);
                current.get(..at)
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
    .map(str::trim)
    .filter(|piece| !piece.is_empty())
}

/// The text inside a quoted string with its escapes undone; a text without quotes comes back as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => plain.extend(chars.next()),
            _ => plain.push(char),
        }
    }
    Cow::Owned(plain)
}

/// Whether `text` is one whole quoted string: it ends with the quote that closes the first one.
pub(crate) fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"') else {
        return false;
    };
    let mut escaped = false;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1 == inner.len(),
            _ => {}
        }
    }
    false
}

/// Appends `text` as a quoted string; line ends, which cannot be escaped, become blanks.
pub(crate) fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\r' | '\n' | '\0' => out.push(' '),
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// A decimal number (only digits) that is cut to `u32::MAX` when larger, as RFC 3261 20.19 allows for durations.
pub(crate) fn clamped_u32(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// A decimal number (only digits) that must fit.
pub(crate) fn strict_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
