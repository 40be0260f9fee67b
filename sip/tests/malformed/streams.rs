//! Messages in a stream, where one that is wrong must not spoil the next.

use super::*;

fn read_all(limits: Limits, bytes: &[u8]) -> (Vec<Received>, Stream) {
    let mut stream = Stream::new(limits);
    let mut input = bytes;
    let mut all = Vec::new();
    while let Some(received) = stream.next(&mut input) {
        all.push(received);
    }
    assert!(input.is_empty());
    (all, stream)
}

#[test]
fn a_stream_yields_one_message_after_the_other() {
    let second = with("Content-Length", Some("l: 5"));
    let bytes = [
        b"\r\n\r\n".as_slice(),
        &wire(GOOD),
        b"\r\n",
        &second,
        b"a\r\n\r\n",
        &wire(GOOD),
    ]
    .concat();
    let (all, stream) = read_all(Limits::default(), &bytes);
    let bodies: Vec<_> = all
        .iter()
        .filter_map(|received| match received {
            Received::Message(message) => Some(message.body()),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [b"".as_slice(), b"a\r\n\r\n", b""]);
    assert_eq!(all[..2], [Received::Pong, Received::Ping]);
    assert!(!stream.is_lost());
}

#[test]
fn a_broken_message_of_known_length_does_not_end_the_stream() {
    let bad = with("CSeq", Some("CSeq: x"));
    let (all, stream) = read_all(Limits::default(), &[bad, wire(GOOD)].concat());
    assert!(
        matches!(&all[0], Received::Broken(broken) if !broken.fatal && broken.response("t").is_some())
    );
    assert!(matches!(&all[1], Received::Message(_)));
    assert!(!stream.is_lost());
}

#[test]
fn a_stream_whose_length_is_unknown_is_answered_and_given_up() {
    let small = Limits {
        head: 600,
        body: 100,
        ..Limits::default()
    };
    for (bytes, code) in [
        (with("Content-Length", None), 400),
        (with("Content-Length", Some("Content-Length: -1")), 400),
        (
            with(
                "Content-Length",
                Some("Content-Length: 0\nContent-Length: 3"),
            ),
            400,
        ),
        (with("Content-Length", Some("Content-Length: 101")), 413),
        (
            with("Content-Length", Some(&format!("X: {}", "y".repeat(600)))),
            513,
        ),
    ] {
        let (all, mut stream) = read_all(small, &[bytes, wire(GOOD)].concat());
        let [Received::Broken(broken)] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(
            (broken.fatal, broken.response("t").unwrap().status.code()),
            (true, code)
        );
        assert!(stream.is_lost());
        assert_eq!(stream.next(&mut wire(GOOD).as_slice()), None);
    }
}

#[test]
fn a_stream_does_not_collect_beyond_its_limits() {
    let limits = Limits::default();
    let mut stream = Stream::new(limits);
    let mut fed = 0;
    let report = loop {
        fed += 1_000;
        if let Some(received) = stream.next(&mut [b'a'; 1_000].as_slice()) {
            break received;
        }
        assert!(
            fed <= limits.head + 1_000,
            "a head that never ends must be given up at the limit"
        );
    };
    assert!(matches!(report, Received::Broken(broken) if broken.fatal));
}
