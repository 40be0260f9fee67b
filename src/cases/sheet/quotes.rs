//! Quotation marks of a CSV file, followed as they are read: the reader of CSV takes the end of a file inside of them for the
//! end of the cell, and the rows that such a cell has swallowed would be lost without a word.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, Read},
    rc::Rc,
};

/// Where in a row the text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first character of a cell: a quotation mark opens here.
    Begin,
    /// In a cell without quotation marks around it, or behind the closing one.
    Bare,
    /// Inside.
    Inside,
    /// Behind a quotation mark inside: the closing one, or the first of a double one.
    Closing,
}

/// A reader that fails where a file ends inside of quotation marks; `opened` then is the line where they open. It also tells on which
/// lines rows begin: the reader of CSV passes over blank lines, and counts a line feed behind a carriage return to the row behind it.
pub(super) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    at: At,
    line: u64,
    since: u64,
    opened: Rc<Cell<Option<u64>>>,
    /// Whether the row has anything yet.
    begun: bool,
    begins: Rc<RefCell<VecDeque<u64>>>,
}

impl<R: Read> Quotes<R> {
    pub(super) fn new(
        inner: R,
        delimiter: u8,
        opened: Rc<Cell<Option<u64>>>,
        begins: Rc<RefCell<VecDeque<u64>>>,
    ) -> Self {
        Self {
            inner,
            delimiter,
            at: At::Begin,
            line: 1,
            since: 1,
            opened,
            begun: false,
            begins,
        }
    }

    fn follow(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Begin, b'"') => {
                self.since = self.line;
                At::Inside
            }
            (At::Inside, b'"') => At::Closing,
            (At::Inside, _) | (At::Closing, b'"') => At::Inside,
            (_, b'\n' | b'\r') => At::Begin,
            (_, other) if other == self.delimiter => At::Begin,
            _ => At::Bare,
        };
        if !matches!(byte, b'\n' | b'\r') {
            if !self.begun {
                self.begins.borrow_mut().push_back(self.line);
            }
            self.begun = true;
        } else if self.at == At::Begin {
            self.begun = false;
        }
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && !buffer.is_empty() && self.at == At::Inside {
            self.opened.set(Some(self.since));
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for byte in buffer.iter().take(n) {
            self.follow(*byte);
        }
        Ok(n)
    }
}
