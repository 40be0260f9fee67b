//! Escapes, parameters and headers of URIs (RFC 3261 19.1.2 and 25.1).

use std::borrow::Cow;

use crate::headers::{PARAM_LIMIT, Params};
use crate::text::Malformed;

/// `;name[=value]` of a URI: no quotes, no blanks, escapes checked.
pub(super) fn parse_uri_params(text: &str) -> Result<Params, Malformed> {
    let mut params = Params::new();
    for piece in text.split(';').filter(|piece| !piece.is_empty()) {
        let (name, value) = match piece.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (piece, None),
        };
        if name.is_empty() || params.len() >= PARAM_LIMIT {
            return Err(Malformed(
                "a URI parameter has no name, or there are too many",
            ));
        }
        check_escapes(name)?;
        check_escapes(value.unwrap_or(""))?;
        params.push_raw(name.to_owned(), value.map(str::to_owned));
    }
    Ok(params)
}

pub(super) fn parse_uri_headers(text: Option<&str>) -> Result<Vec<(String, String)>, Malformed> {
    let mut headers = Vec::new();
    for piece in text
        .unwrap_or("")
        .split('&')
        .filter(|piece| !piece.is_empty())
    {
        let (name, value) = piece
            .split_once('=')
            .ok_or(Malformed("a header of a URI has no value"))?;
        if name.is_empty() || headers.len() >= PARAM_LIMIT {
            return Err(Malformed(
                "a header of a URI has no name, or there are too many",
            ));
        }
        check_escapes(name)?;
        check_escapes(value)?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
        )
}

pub(super) fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

pub(super) fn is_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

pub(super) fn is_header_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
}

pub(super) fn check_escapes(text: &str) -> Result<(), Malformed> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                rest = rest.get(at + 3..).unwrap_or(&[])
            }
            _ => {
                return Err(Malformed(
                    "a % in a URI is not followed by two hexadecimal digits",
                ));
            }
        }
    }
    Ok(())
}

/// Undoes `%xx`; bytes that are no UTF-8 then become replacement characters.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (
            ahead.next().and_then(hex_digit),
            ahead.next().and_then(hex_digit),
        );
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

pub(super) fn escape(text: &str, allowed: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if allowed(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
