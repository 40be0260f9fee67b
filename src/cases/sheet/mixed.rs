//! Files of two encodings: lines in UTF-8 among lines in GBK, as they come of files that were put one behind another. All of
//! it can be read as GBK, and names and addresses of the other lines become others without a word.

use std::io::{self, BufRead as _, BufReader, Read as _};

use super::Bytes;

/// The longest line that is looked at in one go.
const MOST_OF_A_LINE: u64 = 1 << 20;
/// So many Chinese characters of a line that is UTF-8 are none of GBK's by chance: 1 line of a billion.
const CHARACTERS: usize = 4;

/// The first line that can only be meant as UTF-8.
pub(super) fn utf8_line(bytes: &mut impl Bytes) -> io::Result<Option<u64>> {
    bytes.rewind()?;
    let mut reader = BufReader::new(&mut *bytes);
    let (mut raw, mut line, mut found) = (Vec::new(), 1, None);
    while found.is_none() {
        raw.clear();
        if (&mut reader)
            .take(MOST_OF_A_LINE)
            .read_until(b'\n', &mut raw)?
            == 0
        {
            break;
        }
        if is_utf8(&raw) {
            found = Some(line);
        }
        line += u64::from(raw.ends_with(b"\n"));
    }
    drop(reader);
    bytes.rewind()?;
    Ok(found)
}

fn is_utf8(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else {
        return false;
    };
    let mut chinese = 0;
    for character in text.chars().filter(|c| !c.is_ascii()) {
        match character {
            '\u{4e00}'..='\u{9fff}' => chinese += 1,
            // Brackets, commas and digits of full width, and signs of currencies.
            '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}' | '¥' | '·' => {}
            _ => return false,
        }
    }
    chinese >= CHARACTERS
}
