//! What is asked of a list of receipts before the store is.

use super::Refused;

/// Whether a text can be the code of a reason.
///
/// # Errors
/// [`Refused::Invalid`], with an example.
pub fn check_reason(code: &str) -> Result<(), Refused> {
    let fits = code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    fits.then_some(()).ok_or_else(|| {
        Refused::Invalid(
            "reason: the code of a reason, such as cap_reached; the table \"What refuses\" of docs/calling-rules.md has all"
                .into(),
        )
    })
}
