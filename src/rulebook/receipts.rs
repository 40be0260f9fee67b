//! What is asked of a list of receipts before the store is.

use super::Refused;
use crate::policy::Reason;

/// Whether a text is the code of a reason, or empty.
///
/// # Errors
/// [`Refused::Invalid`], with all codes.
pub fn check_reason(code: &str) -> Result<(), Refused> {
    if code.is_empty() || Reason::CODES.contains(&code) {
        return Ok(());
    }
    Err(Refused::Invalid(format!(
        "reason: one of {}",
        Reason::CODES.join(", ")
    )))
}
