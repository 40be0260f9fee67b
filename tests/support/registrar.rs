//! The smallest PBX there is: a UDP socket that registers everybody, keeps every datagram it was sent, and answers as
//! the test says. For tests about what leaves the daemon, and about a PBX that answers nonsense.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::eventually;
use super::net::Net;

/// What [`Registrar::catch_up`] sends.
const MARK: &str = "MARK";

/// What it answers to one datagram: datagrams, in this order.
pub type Answers = Vec<Vec<u8>>;

/// A PBX without calls; ended on drop.
pub struct Registrar {
    address: SocketAddr,
    socket: UdpSocket,
    /// Who sent the last request.
    peer: Arc<Mutex<Option<SocketAddr>>>,
    seen: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registrar {
    /// One that registers, answers OPTIONS, and says 486 to every INVITE.
    pub fn start(net: &Net) -> Registrar {
        Registrar::answering(net, |request| vec![usual(request)])
    }

    /// One that answers as `answers` says.
    pub fn answering(
        net: &Net,
        mut answers: impl FnMut(&str) -> Answers + Send + 'static,
    ) -> Registrar {
        let socket = UdpSocket::bind(SocketAddr::new(net.pbx(), 5060)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let peer = Arc::new(Mutex::new(None));
        let ours = socket.try_clone().unwrap();
        let thread = std::thread::spawn({
            let (seen, stop, peer) = (seen.clone(), stop.clone(), peer.clone());
            move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                        continue;
                    };
                    let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    seen.lock().unwrap().push(request.clone());
                    if request.starts_with(MARK) {
                        continue;
                    }
                    *peer.lock().unwrap() = Some(from);
                    for answer in answers(&request) {
                        let _ = socket.send_to(&answer, from);
                    }
                }
            }
        });
        Registrar {
            address,
            socket: ours,
            peer,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// Its SIP address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a datagram to whoever sent the last request.
    pub fn say(&self, datagram: &[u8]) {
        let peer = self.peer.lock().unwrap().expect("nobody has sent anything");
        self.socket.send_to(datagram, peer).unwrap();
    }

    /// Returns when everything has been read that reached the socket before this call.
    pub fn catch_up(&self) {
        let marks = || self.requests(MARK).len();
        let before = marks();
        // To itself: the kernel hands datagrams out in the order they came.
        let mark = format!("{MARK} \r\n");
        self.socket.send_to(mark.as_bytes(), self.address).unwrap();
        eventually("the registrar to read on", Duration::from_secs(10), || {
            (marks() > before).then_some(())
        });
    }

    /// Every request of this method so far, retransmissions included.
    pub fn requests(&self, method: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let begins = format!("{method} ");
        seen.iter()
            .filter(|text| text.starts_with(&begins))
            .cloned()
            .collect()
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a well-behaved registrar without phones says; nothing to an ACK.
pub fn usual(request: &str) -> Vec<u8> {
    match request.split(' ').next() {
        Some("REGISTER") => {
            let contact = header(request, "Contact").unwrap_or_default();
            let expires = header(request, "Expires").unwrap_or("60");
            let contact = contact.split(";expires").next().unwrap_or_default();
            response(
                request,
                "200 OK",
                &format!("Contact: {contact};expires={expires}\r\n"),
            )
        }
        Some("INVITE") => response(request, "486 Busy Here", ""),
        Some("ACK") => Vec::new(),
        _ => response(request, "200 OK", ""),
    }
}

/// A response to `request` with the headers that must be copied, and `more` header lines.
pub fn response(request: &str, status: &str, more: &str) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines() {
        let name = line.split(':').next().unwrap_or_default();
        if ["Via", "v", "From", "f", "Call-ID", "i", "CSeq"].contains(&name) {
            text.push_str(&format!("{line}\r\n"));
        } else if ["To", "t"].contains(&name) {
            let tag = if line.contains(";tag=") {
                ""
            } else {
                ";tag=registrar"
            };
            text.push_str(&format!("{line}{tag}\r\n"));
        } else if line.is_empty() {
            break;
        }
    }
    text.push_str(more);
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

/// A 200 to an INVITE, with a session at `address` from where nothing is ever sent.
pub fn picked_up(request: &str, address: SocketAddr) -> Vec<u8> {
    let ip = address.ip();
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n"
    );
    let more = format!("Contact: <sip:phone@{address}>\r\nContent-Type: application/sdp\r\n");
    let empty = String::from_utf8(response(request, "200 OK", &more)).unwrap();
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    empty
        .replace("Content-Length: 0\r\n\r\n", &length)
        .into_bytes()
}

/// The value of a header.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
