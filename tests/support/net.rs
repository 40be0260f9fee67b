//! Addresses of one test: a slice of loopback that no other test has, in this process or another.
//!
//! A claim is a lock on a file, so it ends with the process however that ends. Because the addresses differ, everybody
//! may use the same ports: Asterisk is on `:5060` in every test. Ports stay below the system's ephemeral range.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

/// A claimed `127.66.n.0/24`, released on drop.
pub struct Net {
    number: u8,
    next_port: AtomicU16,
    _claim: File,
}

impl Net {
    /// Claims a free slice.
    ///
    /// # Panics
    /// If all 250 are taken.
    pub fn claim() -> Net {
        let dir = std::env::temp_dir().join("ringfence-test-nets");
        std::fs::create_dir_all(&dir).expect("cannot make the directory of address claims");
        for number in 1..=250 {
            let path: PathBuf = dir.join(number.to_string());
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .expect("cannot open a claim");
            match file.try_lock() {
                Ok(()) => {
                    return Net {
                        number,
                        next_port: AtomicU16::new(6100),
                        _claim: file,
                    };
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("cannot lock an address claim: {error}"),
            }
        }
        panic!("all 250 test networks are in use")
    }

    /// An address of this slice; `host` is up to the test (1 to 10 are the names below).
    pub fn ip(&self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 66, self.number, host))
    }

    /// Where Asterisk lives.
    pub fn pbx(&self) -> IpAddr {
        self.ip(1)
    }

    /// Where the daemon lives: SIP, RTP and HTTP.
    pub fn daemon(&self) -> IpAddr {
        self.ip(2)
    }

    /// Where the agents' phones live.
    pub fn phones(&self) -> IpAddr {
        self.ip(3)
    }

    /// Where SIPp plays many customers or agents at once.
    pub fn load(&self) -> IpAddr {
        self.ip(4)
    }

    /// Where SIPp calls from.
    pub fn callers(&self) -> IpAddr {
        self.ip(5)
    }

    /// Where a daemon finds the PBX when something lies between them ([`super::between`]).
    pub fn way_to_pbx(&self) -> IpAddr {
        self.ip(6)
    }

    /// Where the PBX finds the daemon when something lies between them.
    pub fn way_to_daemon(&self) -> IpAddr {
        self.ip(7)
    }

    /// A port that nobody uses on any address of this slice, never given twice.
    pub fn port(&self) -> u16 {
        loop {
            let port = self.next_port.fetch_add(2, Ordering::Relaxed);
            if TcpListener::bind(SocketAddr::new(self.daemon(), port)).is_ok() {
                return port;
            }
        }
    }
}
