//! Dialogues with a peer that is only text: what the RFCs show, message by message.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use super::{Net, Weather, description, name_addr};
use crate::command::Invite;
use crate::uri::{SipUri, Uri};
use crate::{Config, EndedBy, Event, LegHandle, Load, Peer, SessionTimer, TransportKind};

const SOON: Duration = Duration::from_secs(2);

/// One endpoint and somebody at 10.0.0.99 who sends what the test says.
struct Table {
    net: Net,
    peer: SocketAddr,
}

impl Table {
    fn new() -> Self {
        Self::with(Config {
            session_timer: None,
            ..Config::default()
        })
    }

    fn with(config: Config) -> Self {
        let mut net = Net::new(1, Weather::FAIR, vec![config]);
        net.keep = true;
        Self {
            net,
            peer: "10.0.0.99:5060".parse().unwrap(),
        }
    }

    fn call(&mut self) -> LegHandle {
        let target = SipUri::new(self.peer.ip(), None).with_user("42").into();
        let invite = Invite::new(
            target,
            name_addr(0),
            Peer::udp(self.peer),
            description(0, 1),
        );
        self.net.with(0, |endpoint, now| {
            let (leg, _) = endpoint.prepare_invite(now, invite).unwrap();
            endpoint.send_invite(now, leg).unwrap();
            leg
        })
    }

    fn hear(&mut self, text: &str) {
        let peer = self.peer;
        self.net.inject(0, peer, text.as_bytes());
    }

    /// All messages of the endpoint that begin so.
    fn sent(&self, start: &str) -> Vec<String> {
        self.net
            .wire
            .iter()
            .map(|(_, text)| text.clone())
            .filter(|text| text.starts_with(start))
            .collect()
    }

    fn last(&self, start: &str) -> String {
        self.sent(start)
            .pop()
            .unwrap_or_else(|| panic!("nothing sent begins with {start}"))
    }

    /// Answers a request of the endpoint.
    fn reply(&mut self, request: &str, status: &str, tag: &str, more: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap();
            match name {
                "Via" | "From" | "Call-ID" | "CSeq" => text.push_str(&format!("{line}\r\n")),
                "To" if line.contains(";tag=") => text.push_str(&format!("{line}\r\n")),
                "To" => text.push_str(&format!("{line};tag={tag}\r\n")),
                _ => {}
            }
        }
        text.push_str(more);
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.hear(&text);
    }

    /// A request of the peer within the dialog that its answer with tag `b` made; the endpoint's answer, if it has one.
    fn ask_within(&mut self, invite: &str, method: &str, cseq: u32, body: &str) -> String {
        let before = self.net.wire.len();
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        self.hear(&format!(
            "{method} sip:node0@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5060;branch=z9hG4bKw{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: {};tag=b\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             {CONTACT}{kind}Content-Length: {}\r\n\r\n{body}",
            header(invite, "To"),
            header(invite, "From"),
            header(invite, "Call-ID"),
            body.len()
        ));
        let answers = self.net.wire.get(before..).unwrap();
        answers
            .iter()
            .map(|(_, text)| text.clone())
            .find(|text| text.starts_with("SIP/2.0"))
            .unwrap_or_default()
    }

    /// A request outside any dialog; the endpoint's answer.
    fn ask(&mut self, method: &str, branch: &str, more: &str, body: &str) -> String {
        let before = self.net.wire.len();
        self.hear(&format!(
            "{method} sip:node0@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5060;rport;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@10.0.0.99>;tag=f\r\nTo: <sip:node0@10.0.0.1>\r\nCall-ID: {branch}@x\r\n\
             CSeq: 1 {method}\r\nContact: <sip:a@10.0.0.99:5060>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answers = self.net.wire.get(before..).unwrap();
        answers
            .iter()
            .map(|(_, text)| text.clone())
            .find(|text| !text.starts_with("SIP/2.0 100"))
            .unwrap_or_default()
    }
}

fn header(message: &str, name: &str) -> String {
    let line = message
        .lines()
        .find(|line| line.starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
        .split_once(": ")
        .unwrap()
        .1
        .to_owned()
}

fn answer() -> String {
    description(9, 1).to_wire()
}

const CONTACT: &str = "Contact: <sip:42@10.0.0.99:5060>\r\n";

#[test]
fn of_two_forks_that_answer_the_second_gets_ack_and_bye() {
    let mut table = Table::new();
    let leg = table.call();
    let invite = table.last("INVITE");
    table.reply(&invite, "180 Ringing", "a", CONTACT, "");
    table.reply(&invite, "180 Ringing", "b", CONTACT, "");
    table.reply(&invite, "200 OK", "b", CONTACT, &answer());
    table.reply(&invite, "200 OK", "a", CONTACT, &answer());
    let acks = table.sent("ACK");
    assert_eq!(acks.len(), 2);
    assert!(
        header(&acks[0], "To").ends_with(";tag=b") && header(&acks[1], "To").ends_with(";tag=a")
    );
    let byes = table.sent("BYE");
    assert_eq!(byes.len(), 1);
    assert!(header(&byes[0], "To").ends_with(";tag=a"));
    table.reply(&byes[0], "200 OK", "", "", "");
    // Repetitions get the same ACK, byte for byte.
    table.reply(&invite, "200 OK", "b", CONTACT, &answer());
    assert_eq!(table.last("ACK"), acks[0]);
    let mut answers = 0;
    while let Some(event) = table.net.event(0) {
        assert!(!matches!(event, Event::Released { .. }));
        answers += usize::from(matches!(event, Event::Answered { .. }));
    }
    assert_eq!(answers, 1);
    table.net.hang_up(0, leg);
    let bye = table.last("BYE");
    assert!(header(&bye, "To").ends_with(";tag=b"));
    table.reply(&bye, "200 OK", "", "", "");
    assert!(table.net.settle(Duration::from_secs(100)));
    assert_eq!(table.net.load(0), Load::default());
}

#[test]
fn loose_routes_are_followed_in_reverse_order() {
    let mut table = Table::new();
    let leg = table.call();
    let invite = table.last("INVITE");
    let routes = "Record-Route: <sip:10.0.0.50;lr>, <sip:10.0.0.51;lr>\r\nContact: <sip:42@10.0.0.77:5070>\r\n";
    table.reply(&invite, "200 OK", "b", routes, &answer());
    let ack = table.last("ACK");
    assert!(ack.starts_with("ACK sip:42@10.0.0.77:5070 SIP/2.0"));
    let routes: Vec<_> = ack
        .lines()
        .filter(|line| line.starts_with("Route: "))
        .collect();
    assert_eq!(
        routes,
        ["Route: <sip:10.0.0.51;lr>", "Route: <sip:10.0.0.50;lr>"]
    );
    table.net.hang_up(0, leg);
    assert_eq!(header(&table.last("BYE"), "CSeq"), "2 BYE");
}

#[test]
fn a_strict_router_stands_in_the_request_line_and_the_target_goes_last() {
    let mut table = Table::new();
    table.call();
    let invite = table.last("INVITE");
    let routes =
        "Record-Route: <sip:10.0.0.50;lr>, <sip:10.0.0.51>\r\nContact: <sip:42@10.0.0.77:5070>\r\n";
    table.reply(&invite, "200 OK", "b", routes, &answer());
    let ack = table.last("ACK");
    assert!(ack.starts_with("ACK sip:10.0.0.51 SIP/2.0"), "{ack}");
    let routes: Vec<_> = ack
        .lines()
        .filter(|line| line.starts_with("Route: "))
        .collect();
    assert_eq!(
        routes,
        [
            "Route: <sip:10.0.0.50;lr>",
            "Route: <sip:42@10.0.0.77:5070>"
        ]
    );
}

#[test]
fn a_reliable_provisional_response_gets_one_prack() {
    let mut table = Table::new();
    table.call();
    let invite = table.last("INVITE");
    assert!(header(&invite, "Supported").contains("100rel"));
    let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 17\r\n");
    table.reply(&invite, "183 Session Progress", "b", &reliable, &answer());
    table.reply(&invite, "183 Session Progress", "b", &reliable, &answer());
    let pracks = table.sent("PRACK");
    assert_eq!(pracks.len(), 1);
    assert_eq!(
        (header(&pracks[0], "RAck"), header(&pracks[0], "CSeq")),
        ("17 1 INVITE".into(), "2 PRACK".into())
    );
    table.reply(&pracks[0], "200 OK", "", "", "");
    // The ACK has the number of the INVITE, not of the PRACK.
    table.reply(&invite, "200 OK", "b", CONTACT, &answer());
    assert_eq!(header(&table.last("ACK"), "CSeq"), "1 ACK");
}

#[test]
fn requests_that_cannot_be_served_get_the_answer_of_the_rfc() {
    let mut table = Table::new();
    let cases = [
        ("OPTIONS", "", "", "200"),
        ("FROBNICATE", "", "", "501"),
        ("MESSAGE", "", "", "405"),
        ("SUBSCRIBE", "", "", "405"),
        ("REGISTER", "", "", "405"),
        ("BYE", "", "", "481"),
        ("UPDATE", "", "", "481"),
        ("CANCEL", "", "", "481"),
        ("NOTIFY", "", "", "481"),
        ("INVITE", "Require: 100rel, frob\r\n", "", "420"),
        ("OPTIONS", "Require: frob\r\n", "", "420"),
        ("INVITE", "Content-Type: text/plain\r\n", "hello", "415"),
        (
            "INVITE",
            "Content-Type: application/sdp\r\n",
            "hello",
            "400",
        ),
        (
            "INVITE",
            "Supported: timer\r\nSession-Expires: 20\r\n",
            "",
            "422",
        ),
        ("INVITE", "CSeq: 7 INVITE\r\n", "", "400"),
    ];
    for (number, (method, more, body, status)) in cases.into_iter().enumerate() {
        let answer = table.ask(method, &format!("case{number}"), more, body);
        assert!(
            answer.starts_with(&format!("SIP/2.0 {status}")),
            "{method} {more}: {answer}"
        );
        match status {
            "405" | "501" => assert!(header(&answer, "Allow").contains("INVITE")),
            "420" => assert!(header(&answer, "Unsupported").contains("frob")),
            "415" => assert_eq!(header(&answer, "Accept"), "application/sdp"),
            "422" => assert_eq!(header(&answer, "Min-SE"), "90"),
            _ => {}
        }
        assert!(
            answer.contains("received=10.0.0.99;rport=5060") || answer.contains("rport=5060"),
            "{answer}"
        );
    }
    assert!(
        table.net.event(0).is_none(),
        "the application hears of none of them"
    );
    assert!(table.net.settle(Duration::from_secs(100)));
    assert_eq!(table.net.load(0), Load::default());
}

#[test]
fn the_same_request_by_two_ways_is_merged() {
    let mut table = Table::new();
    let invite = |branch: &str| {
        format!(
            "INVITE sip:node0@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5060;rport;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@10.0.0.99>;tag=f\r\nTo: <sip:node0@10.0.0.1>\r\nCall-ID: one\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:a@10.0.0.99:5060>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    table.hear(&invite("one"));
    table.hear(&invite("two"));
    assert_eq!(table.sent("SIP/2.0 482").len(), 1);
    table.hear(&invite("one"));
    assert_eq!(
        table.sent("SIP/2.0 100").len(),
        2,
        "a repetition gets the first answer again"
    );
    let mut legs = 0;
    while let Some(event) = table.net.event(0) {
        legs += usize::from(matches!(event, Event::Incoming(_)));
    }
    assert_eq!(legs, 1);
}

#[test]
fn a_call_nobody_answers_is_refused_in_the_end() {
    let mut table = Table::new();
    table.ask("INVITE", "slow", "", "");
    let released = |event: &Event| match event {
        Event::Released { by, release, .. } => Some((*by, release.status)),
        _ => None,
    };
    assert_eq!(
        table.net.wait(0, Duration::from_secs(400), released),
        Some((EndedBy::Fault, Some(480)))
    );
    assert!(header(&table.last("SIP/2.0 480"), "To").contains(";tag="));
}

#[test]
fn a_call_without_an_offer_is_answered_with_one() {
    let mut table = Table::new();
    table.ask("INVITE", "late", "", "");
    let leg = table.net.wait(0, SOON, |event| match event {
        Event::Incoming(incoming) => Some((incoming.leg, incoming.offer.is_none())),
        _ => None,
    });
    let (leg, without) = leg.unwrap();
    assert!(without);
    table.net.with(0, |endpoint, now| {
        endpoint.answer(now, leg, &description(0, 1)).unwrap()
    });
    let ok = table.last("SIP/2.0 200");
    let to = header(&ok, "To");
    let sdp = answer();
    table.hear(&format!(
        "ACK sip:node0@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5060;branch=z9hG4bKack\r\nMax-Forwards: 70\r\n\
         From: <sip:a@10.0.0.99>;tag=f\r\nTo: {to}\r\nCall-ID: late@x\r\nCSeq: 1 ACK\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    ));
    let acknowledged = |event: &Event| match event {
        Event::Acknowledged { answer, .. } => Some(answer.is_some()),
        _ => None,
    };
    assert_eq!(table.net.wait(0, SOON, acknowledged), Some(true));
}

#[test]
fn a_call_over_tcp_asks_for_a_connection_and_fails_with_it() {
    let mut table = Table::new();
    let target: Uri = SipUri::new(table.peer.ip(), None).with_user("42").into();
    let peer = Peer::tcp(table.peer);
    let invite = Invite::new(target, name_addr(0), peer, description(0, 1));
    let (leg, connect, invites) = table.net.with(0, |endpoint, now| {
        let (leg, snapshot) = endpoint.prepare_invite(now, invite).unwrap();
        assert_eq!(snapshot.peer.kind, TransportKind::Tcp);
        endpoint.send_invite(now, leg).unwrap();
        let connect = endpoint.poll_connect().unwrap();
        assert!(endpoint.poll_connect().is_none());
        let transmit = endpoint.poll_transmit().unwrap();
        assert_eq!(transmit.transport, connect.transport);
        (leg, connect, String::from_utf8(transmit.bytes).unwrap())
    });
    assert!(invites.contains("Via: SIP/2.0/TCP") && invites.contains(";transport=tcp>"));
    table.net.run(Duration::from_secs(5));
    assert_eq!(
        table.sent("INVITE").len(),
        0,
        "nothing is repeated over a stream"
    );
    // Two responses in one piece, cut in the middle.
    let reply = |status: &str| {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in invites.lines().take_while(|line| !line.is_empty()) {
            if ["Via", "From", "To", "Call-ID", "CSeq"].contains(&line.split(':').next().unwrap()) {
                text.push_str(&format!(
                    "{line}{}\r\n",
                    if line.starts_with("To:") {
                        ";tag=t"
                    } else {
                        ""
                    }
                ));
            }
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        text
    };
    let bytes = reply("180 Ringing") + &reply("183 Session Progress");
    let (one, two) = bytes.split_at(bytes.len() / 2 + 9);
    for part in [one, two] {
        table.net.with(0, |endpoint, now| {
            endpoint.handle_stream(now, connect.transport, part.as_bytes())
        });
    }
    let mut seen = Vec::new();
    while let Some(event) = table.net.event(0) {
        if let Event::Progress { status, .. } = event {
            seen.push(status);
        }
    }
    assert_eq!(seen, [180, 183]);
    table.net.with(0, |endpoint, now| {
        endpoint.handle_stream_closed(now, connect.transport)
    });
    let released = table.net.wait(0, SOON, |event| match event {
        Event::Released { leg, by, release } => Some((*leg, *by, release.status)),
        _ => None,
    });
    assert_eq!(released, Some((leg, EndedBy::Fault, Some(503))));
    assert_eq!(table.net.load(0), Load::default());
}

#[test]
fn a_redirection_is_told_and_never_followed() {
    let mut table = Table::new();
    table.call();
    let invite = table.last("INVITE");
    table.reply(
        &invite,
        "302 Moved Temporarily",
        "b",
        "Contact: <sip:43@10.0.0.98>\r\n",
        "",
    );
    let status = table.net.wait(0, SOON, |event| match event {
        Event::Released { release, .. } => Some(release.status),
        _ => None,
    });
    assert_eq!(status, Some(Some(302)));
    assert_eq!(table.sent("INVITE").len(), 1);
}

#[test]
fn an_offer_by_update_is_answered_in_its_200_and_refused_while_ours_is_open() {
    let mut table = Table::new();
    let leg = table.call();
    let invite = table.last("INVITE");
    table.reply(&invite, "200 OK", "b", CONTACT, &answer());
    let theirs = description(9, 2).to_wire();
    assert_eq!(
        table.ask_within(&invite, "UPDATE", 1, &theirs),
        "",
        "the application answers, nobody else"
    );
    let offer = table.net.wait(0, SOON, |event| match event {
        Event::Reoffer { offer, .. } => offer.as_ref().map(|offer| offer.to_wire()),
        _ => None,
    });
    assert_eq!(offer, Some(theirs));
    let ours = description(0, 2);
    table.net.with(0, |endpoint, now| {
        endpoint.answer_reoffer(now, leg, &ours).unwrap()
    });
    let ok = table.last("SIP/2.0 200");
    assert_eq!(header(&ok, "CSeq"), "1 UPDATE");
    assert!(ok.ends_with(&ours.to_wire()), "{ok}");

    // Our own change is under way: an offer collides with it, a bare refresh does not.
    table.net.with(0, |endpoint, now| {
        endpoint.reoffer(now, leg, &description(0, 3)).unwrap()
    });
    let change = table.last("INVITE");
    assert!(header(&change, "To").ends_with(";tag=b"));
    let collision = table.ask_within(&invite, "UPDATE", 2, &description(9, 3).to_wire());
    assert!(collision.starts_with("SIP/2.0 491"), "{collision}");
    let refresh = table.ask_within(&invite, "UPDATE", 3, "");
    assert!(refresh.starts_with("SIP/2.0 200"), "{refresh}");
    // A body that is no description changes nothing.
    table.reply(
        &change,
        "200 OK",
        "b",
        CONTACT,
        &description(9, 4).to_wire(),
    );
    let broken = table.ask_within(&invite, "UPDATE", 4, "v=1\r\n");
    assert!(broken.starts_with("SIP/2.0 400"), "{broken}");
    // An older number is no request of this dialog any more (RFC 3261 12.2.2).
    let late = table.ask_within(&invite, "UPDATE", 2, "");
    assert!(!late.starts_with("SIP/2.0 200"), "{late}");
    table.net.hang_up(0, leg);
    let bye = table.last("BYE");
    table.reply(&bye, "200 OK", "", "", "");
    assert!(table.net.settle(Duration::from_secs(100)));
    assert_eq!(table.net.load(0), Load::default());
}

#[test]
fn where_update_is_refused_the_session_is_refreshed_by_re_invite() {
    let mut table = Table::with(Config {
        session_timer: Some(SessionTimer {
            interval: Duration::from_secs(90),
            min: Duration::from_secs(90),
        }),
        ..Config::default()
    });
    let leg = table.call();
    let timed = format!(
        "{CONTACT}Allow: INVITE, ACK, BYE, UPDATE\r\nRequire: timer\r\nSession-Expires: 90;refresher=uac\r\n"
    );
    let first = table.last("INVITE");
    table.reply(&first, "200 OK", "b", &timed, &answer());
    for round in 0..3 {
        table.net.run(Duration::from_secs(46));
        if round == 0 {
            let update = table.last("UPDATE");
            assert_eq!(header(&update, "Session-Expires"), "90;refresher=uac");
            table.reply(&update, "501 Not Implemented", "", "", "");
        }
        let again = table.last("INVITE");
        assert_eq!(
            header(&again, "CSeq"),
            format!("{} INVITE", 3 + round),
            "one refresh a round, and the refused UPDATE is not tried again"
        );
        // The same session as before, by its version too: only the timer is refreshed.
        assert!(again.ends_with(&description(0, 1).to_wire()), "{again}");
        table.reply(&again, "200 OK", "b", &timed, &answer());
        assert_eq!(
            header(&table.last("ACK"), "CSeq"),
            format!("{} ACK", 3 + round)
        );
    }
    // It was repeated until it was answered, as every request is.
    let updates = table.sent("UPDATE");
    assert!(
        updates
            .iter()
            .all(|update| header(update, "CSeq") == "2 UPDATE")
    );
    while let Some(event) = table.net.event(0) {
        assert!(
            !matches!(
                event,
                Event::Released { .. } | Event::Reanswered { .. } | Event::ReofferFailed { .. }
            ),
            "a refresh is nobody's business: {event:?}"
        );
    }
    table.net.hang_up(0, leg);
    let bye = table.last("BYE");
    table.reply(&bye, "200 OK", "", "", "");
    assert!(table.net.settle(Duration::from_secs(100)));
    assert_eq!(table.net.load(0), Load::default());
}
