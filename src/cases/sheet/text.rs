//! CSV as banks send it: any of four delimiters, UTF-8, UTF-16 or GBK, told or found out.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, Read, SeekFrom},
    rc::Rc,
};

use encoding_rs::{Decoder, DecoderResult, GB18030, UTF_8, UTF_16BE, UTF_16LE};

use super::{Bytes, Encoding, Gone, Options, SheetError, SheetRow, Sink, mixed, quotes::Quotes};

/// The most bytes of one row: a quotation mark that is not closed would swallow the rest of the file.
const MOST_OF_A_ROW: u64 = 1 << 20;
const CHUNK: usize = 64 * 1024;
const NOT_CLOSED: &str = "a quotation mark opens here that is never closed, so that the rows behind it are lost: close it, or take it \
                          away";

/// Reads all rows of a CSV file.
pub(super) fn read(
    mut bytes: Box<dyn Bytes>,
    options: &Options,
    sink: &mut Sink,
) -> Result<Result<(), Gone>, SheetError> {
    let encoding = encoding(&mut bytes, options.encoding)?;
    let delimiter = match options.delimiter {
        Some(told) => u8::try_from(told)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| SheetError::whole("the delimiter must be an ASCII character"))?,
        None => delimiter(Decoded::new(&mut bytes, encoding))?,
    };
    bytes.seek(SeekFrom::Start(0)).map_err(|e| failed(0, &e))?;
    let budget = Rc::new(Cell::new(MOST_OF_A_ROW));
    let opened = Rc::new(Cell::new(None));
    let begins = Rc::new(RefCell::new(VecDeque::new()));
    let source = Budgeted {
        inner: Quotes::new(
            Decoded::new(bytes, encoding),
            delimiter,
            opened.clone(),
            begins.clone(),
        ),
        left: budget.clone(),
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(source);
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        budget.set(MOST_OF_A_ROW);
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(error) => {
                if let Some(line) = opened.get() {
                    return Err(SheetError::at(line, NOT_CLOSED));
                }
                let line = begins.borrow().front().copied().unwrap_or(line);
                return Err(match error.into_kind() {
                    csv::ErrorKind::Io(error) => failed(line, &error),
                    _ => SheetError::at(line, "this is not CSV"),
                });
            }
        }
        let swallowed = record
            .iter()
            .map(|cell| swallowed(cell, delimiter))
            .enumerate()
            .filter(|(_, count)| *count > 0);
        let row = SheetRow {
            line: begins.borrow_mut().pop_front().unwrap_or(line),
            cells: record.iter().map(|cell| cell.trim().to_owned()).collect(),
            faults: Vec::new(),
            swallowed: swallowed.collect(),
        };
        if let Err(gone) = sink.push(row)? {
            return Ok(Err(gone));
        }
    }
}

/// The delimiters of a cell that also holds a line break: as many as a row has, and it is likely to have swallowed one.
fn swallowed(cell: &str, delimiter: u8) -> usize {
    let cell = cell.trim();
    match cell.contains('\n') {
        true => cell.bytes().filter(|byte| *byte == delimiter).count(),
        false => 0,
    }
}

fn failed(line: u64, error: &io::Error) -> SheetError {
    let problem = match error.kind() {
        io::ErrorKind::InvalidData => {
            "not in the encoding of the file: save the file as UTF-8, or name its encoding"
                .to_owned()
        }
        io::ErrorKind::FileTooLarge => format!(
            "a row of more than {} KiB begins here: is a quotation mark not closed?",
            MOST_OF_A_ROW >> 10
        ),
        _ => format!("cannot be read: {error}"),
    };
    match line {
        0 => SheetError::whole(problem),
        line => SheetError::at(line, problem),
    }
}

/// The encoding of a file, proven on all of it.
fn encoding(
    bytes: &mut impl Bytes,
    told: Encoding,
) -> Result<&'static encoding_rs::Encoding, SheetError> {
    let mut head = [0; 3];
    let mut filled = 0;
    while filled < head.len() {
        match bytes.read(&mut head[filled..]).map_err(|e| failed(0, &e))? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.rewind().map_err(|e| failed(0, &e))?;
    if head.starts_with(&[0xff, 0xfe]) {
        return Ok(UTF_16LE);
    }
    if head.starts_with(&[0xfe, 0xff]) {
        return Ok(UTF_16BE);
    }
    let candidates = match told {
        Encoding::Utf8 => &[UTF_8][..],
        _ if head == [0xef, 0xbb, 0xbf] => &[UTF_8],
        Encoding::Gbk => &[GB18030],
        Encoding::Auto => &[UTF_8, GB18030],
    };
    let (mut last, mut furthest) = (1, 1);
    for candidate in candidates {
        match first_fault(bytes, candidate)? {
            None if *candidate == GB18030 && told == Encoding::Auto => {
                return match mixed::utf8_line(bytes).map_err(|e| failed(0, &e))? {
                    None => Ok(candidate),
                    Some(line) => Err(SheetError::at(
                        line,
                        format!(
                            "this line is UTF-8, but line {last} is not: save the whole file as UTF-8, or name its encoding in the template"
                        ),
                    )),
                };
            }
            None => return Ok(candidate),
            Some(line) => (last, furthest) = (line, furthest.max(line)),
        }
    }
    let names: Vec<&str> = candidates
        .iter()
        .map(|c| if *c == UTF_8 { "UTF-8" } else { "GBK" })
        .collect();
    Err(SheetError::at(
        furthest,
        format!("not {}: save the file as UTF-8", names.join(" and not ")),
    ))
}

/// The first line that is not in the encoding.
fn first_fault(
    bytes: &mut impl Bytes,
    encoding: &'static encoding_rs::Encoding,
) -> Result<Option<u64>, SheetError> {
    bytes.rewind().map_err(|e| failed(0, &e))?;
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut raw = vec![0; CHUNK];
    let mut text = vec![0; CHUNK * 4];
    let mut line = 1;
    let fault = loop {
        let n = bytes.read(&mut raw).map_err(|e| failed(0, &e))?;
        let mut from = 0;
        let faulty = loop {
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(
                raw.get(from..n).unwrap_or_default(),
                &mut text,
                n == 0,
            );
            from += read;
            let written = text.get(..written).unwrap_or_default();
            line += written.iter().filter(|b| **b == b'\n').count() as u64;
            match result {
                DecoderResult::InputEmpty => break false,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => break true,
            }
        };
        if faulty {
            break Some(line);
        }
        if n == 0 {
            break None;
        }
    };
    bytes.rewind().map_err(|e| failed(0, &e))?;
    Ok(fault)
}

/// Whichever delimiter is most frequent in the first line outside of quotation marks.
fn delimiter(mut text: impl Read) -> Result<u8, SheetError> {
    let mut head = Vec::new();
    text.by_ref()
        .take(CHUNK as u64)
        .read_to_end(&mut head)
        .map_err(|e| failed(1, &e))?;
    let mut quoted = false;
    let line: Vec<u8> = head
        .into_iter()
        .skip_while(|b| b"\r\n".contains(b))
        .take_while(|b| {
            quoted ^= *b == b'"';
            quoted || !b"\r\n".contains(b)
        })
        .collect();
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line {
        quoted ^= byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!quoted && *delimiter == byte);
        }
    }
    // The first of equals: a comma, if there is none at all.
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    Ok(best.map_or(b',', |(delimiter, _)| *delimiter))
}

/// A reader that fails when one row takes more than it may.
struct Budgeted<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(n as u64));
        Ok(n)
    }
}

/// A reader that turns another encoding into UTF-8 and fails on what is not of that encoding.
struct Decoded<R> {
    inner: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    /// What of `text` was not handed out yet.
    ready: std::ops::Range<usize>,
    ended: bool,
}

impl<R: Read> Decoded<R> {
    fn new(inner: R, encoding: &'static encoding_rs::Encoding) -> Self {
        Self {
            inner,
            decoder: encoding.new_decoder_with_bom_removal(),
            raw: vec![0; CHUNK],
            // No encoding makes more than three bytes of one, so that each chunk is decoded whole.
            text: vec![0; CHUNK * 3 + 16],
            ready: 0..0,
            ended: false,
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.ended {
            let n = self.inner.read(&mut self.raw)?;
            self.ended = n == 0;
            let raw = self.raw.get(..n).unwrap_or_default();
            let (result, _, written) =
                self.decoder
                    .decode_to_utf8_without_replacement(raw, &mut self.text, self.ended);
            if result != DecoderResult::InputEmpty {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.ready = 0..written;
        }
        let ready = self.text.get(self.ready.clone()).unwrap_or_default();
        let n = ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(ready) {
            *to = *from;
        }
        self.ready.start += n;
        Ok(n)
    }
}
