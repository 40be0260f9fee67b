//! The colour marks of cases: set by people, and by nothing else. That a debtor is dead or a debt a fraud is a bar
//! (`store::bars`), which no colour hides and which hides no colour.

/// The colours, as they are stored.
pub const COLOURS: [&str; 6] = ["red", "orange", "yellow", "green", "blue", "purple"];
/// What people write to take a mark away; nothing at all does so too.
pub const NONE: &str = "none";

/// A mark that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mark: one of {}; {NONE}, or nothing, takes the mark away", COLOURS.join(", "))]
pub struct MarkError;

/// The stored word of a mark; empty for none.
///
/// # Errors
/// [`MarkError`] for what is no colour.
pub fn stored(word: &str) -> Result<&'static str, MarkError> {
    if word.is_empty() || word == NONE {
        return Ok("");
    }
    let found = COLOURS.into_iter().find(|colour| *colour == word);
    found.ok_or(MarkError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_one_of_six_colours_or_none() {
        assert_eq!(stored("red"), Ok("red"));
        assert_eq!((stored(""), stored("none")), (Ok(""), Ok("")));
        for word in ["weird", "Red", "deceased", " red"] {
            assert_eq!(stored(word), Err(MarkError), "{word}");
        }
    }
}
