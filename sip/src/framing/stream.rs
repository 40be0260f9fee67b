//! Messages in a stream of bytes that arrives in any pieces.

use super::head::{self, Head};
use super::{Defect, Limits, Received};

/// Reads messages from a connection. Work is linear in the bytes, memory is bounded by the [`Limits`], and what comes
/// out does not depend on how the bytes were cut.
pub struct Stream {
    limits: Limits,
    state: State,
}

enum State {
    /// Between messages; `true` after one CRLF, `half` after a CR.
    Between { newline: bool, half: bool },
    /// In the head; the last bytes of `bytes` are looked at together with the next piece.
    Head { bytes: Vec<u8> },
    /// In the body, of which `missing` bytes are still to come.
    Body {
        head: Box<Head>,
        body: Vec<u8>,
        missing: usize,
    },
    /// The stream cannot be followed any further; everything is dropped.
    Lost,
}

const BETWEEN: State = State::Between {
    newline: false,
    half: false,
};

impl Stream {
    /// A connection of which nothing has been read.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: BETWEEN,
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next thing it can report. `None` when all of
    /// `input` is used up and more is needed.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Received> {
        loop {
            match std::mem::replace(&mut self.state, State::Lost) {
                State::Lost => {
                    *input = &[];
                    return None;
                }
                State::Between { newline, half } => {
                    let Some(byte) = input.first().copied() else {
                        self.state = State::Between { newline, half };
                        return None;
                    };
                    match (byte, half) {
                        (b'\r', false) => {
                            self.state = State::Between {
                                newline,
                                half: true,
                            }
                        }
                        (b'\n', true) => {
                            *input = input.get(1..).unwrap_or(&[]);
                            self.state = State::Between {
                                newline: !newline,
                                half: false,
                            };
                            return Some(if newline {
                                Received::Ping
                            } else {
                                Received::Pong
                            });
                        }
                        (_, true) => {
                            self.state = State::Head { bytes: vec![b'\r'] };
                            continue;
                        }
                        (_, false) => {
                            self.state = State::Head { bytes: Vec::new() };
                            continue;
                        }
                    }
                    *input = input.get(1..).unwrap_or(&[]);
                }
                State::Head { bytes } => {
                    if let Some(report) = self.head(bytes, input)? {
                        return Some(report);
                    }
                }
                State::Body {
                    head,
                    mut body,
                    missing,
                } => {
                    let (now, later) = input.split_at_checked(missing).unwrap_or((*input, &[]));
                    body.extend_from_slice(now);
                    *input = later;
                    let missing = missing - now.len();
                    if missing > 0 {
                        self.state = State::Body {
                            head,
                            body,
                            missing,
                        };
                        return None;
                    }
                    self.state = BETWEEN;
                    return Some(head.finish(body, false));
                }
            }
        }
    }

    /// Whether the stream is lost: a fatal [`Broken`](super::Broken) has been reported.
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// `None`: more bytes are needed. `Some(None)`: go on with the next state.
    fn head(&mut self, mut bytes: Vec<u8>, input: &mut &[u8]) -> Option<Option<Received>> {
        // Byte by byte: what belongs to the next message is neither looked at nor copied.
        let mut used = 0;
        let mut complete = false;
        for byte in input.iter() {
            bytes.push(*byte);
            used += 1;
            complete = *byte == b'\n' && bytes.ends_with(b"\r\n\r\n");
            if complete || bytes.len() > self.limits.head {
                break;
            }
        }
        *input = input.get(used..).unwrap_or(&[]);
        if bytes.len() > self.limits.head {
            let head = head::parse(&bytes, &self.limits);
            return Some(Some(self.lose(head, Defect::LongHead)));
        }
        if !complete {
            self.state = State::Head { bytes };
            return None;
        }
        let head = head::parse(&bytes, &self.limits);
        if head.length_is_broken {
            let why = head.defect.unwrap_or(Defect::NoContentLength);
            return Some(Some(self.lose(head, why)));
        }
        match head.length {
            None => Some(Some(self.lose(head, Defect::NoContentLength))),
            Some(length) if length > self.limits.body => {
                Some(Some(self.lose(head, Defect::LongBody(self.limits.body))))
            }
            Some(missing) => {
                self.state = State::Body {
                    head: Box::new(head),
                    body: Vec::new(),
                    missing,
                };
                Some(None)
            }
        }
    }

    fn lose(&mut self, head: Head, why: Defect) -> Received {
        self.state = State::Lost;
        let why = head.defect.unwrap_or(why);
        head.broken(why, true)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Between { .. } => "between messages",
            State::Head { .. } => "in a head",
            State::Body { .. } => "in a body",
            State::Lost => "lost",
        };
        write!(f, "Stream({state})")
    }
}
