//! The default of every option; `config/ringfence.toml` says why each is what it is.

use std::net::SocketAddr;

use super::{
    Calls, Clock, ClockSource, Figures, Floor, Log, LogFormat, Media, Policy, Reports,
    SecretSource, Server, Store, Transport, Trunk, Vault,
};
use crate::clock::TrustMode;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8085)),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:/var/lib/ringfence/ringfence.db".into(),
            node: "floor".into(),
            journal_dir: "/var/lib/ringfence/journal".into(),
        }
    }
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            dir: "/var/lib/ringfence/vault".into(),
            keys_dir: "/var/lib/ringfence/keys".into(),
            root_key: SecretSource::Credential("vault-root-key".into()),
            retention_years: 2,
            reserve_mib: 512,
        }
    }
}

impl Default for Trunk {
    fn default() -> Self {
        Self {
            name: "pbx".into(),
            server: String::new(),
            transport: Transport::Udp,
            bind: SocketAddr::from(([0, 0, 0, 0], 5070)),
            advertise: String::new(),
            domain: String::new(),
            user: "ringfence".into(),
            password: SecretSource::Credential("trunk-password".into()),
            register_expires_s: 300,
            qualify_s: 15,
            session_expires_s: 300,
            dial: "{e164}".into(),
            caller_id: String::new(),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            bind: None,
            advertise: None,
            ports: 20_000..=23_999,
            quarantine_s: 10,
            threads: 1,
            browser: None,
            browser_advertise: None,
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            agent_ring_s: 20,
            customer_ring_s: 45,
            max: 200,
            drain_s: 60,
            wrap_up_s: 30,
            silence_alarm_s: 10,
            silence_limit_s: 60,
        }
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            callback_wait_s: 1_800,
            new_case_s: 7_200,
            first_call_s: 172_800,
            major_matter_s: 1_800,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            preset: "cn-plan".into(),
            dir: std::path::PathBuf::new(),
            display_zone: "Asia/Shanghai".into(),
            region: "CN".into(),
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self { seal_after_h: 12 }
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            dir: "/var/lib/ringfence/reports".into(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            trust: TrustMode::Kernel,
            source: ClockSource::System,
        }
    }
}
