//! A PostgreSQL server of the tests' own: made in a new directory, on a free loopback port, ended with the last test
//! that uses it, or with the process. The tests of the whole daemon use it too (`tests/support`).

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// A running server.
pub(crate) struct Server {
    /// `None` while it is away.
    child: Mutex<Option<Child>>,
    port: u16,
    settings: Vec<String>,
    databases: AtomicU32,
    /// Removed with the server.
    dir: tempfile::TempDir,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// The server of this process, started by the first test that asks.
    pub(crate) fn shared() -> Arc<Server> {
        let mut shared = SHARED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start(&["fsync=off"]));
        *shared = Arc::downgrade(&server);
        server
    }

    /// Makes an empty database; returns its address.
    pub(crate) async fn create_database(&self) -> String {
        use sqlx::Connection as _;
        let address = |name: &str| format!("postgres://postgres@127.0.0.1:{}/{name}", self.port);
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = sqlx::PgConnection::connect(&address("postgres"))
            .await
            .unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        address(&name)
    }

    /// Starts a server of one's own with settings as `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Server {
        let bin = binaries();
        let dir = tempfile::Builder::new()
            .prefix("ringfence-postgres-")
            .tempdir()
            .unwrap();
        let root = rustix::process::getuid().is_root();
        if root {
            let id = |flag: &str| -> u32 {
                let out = Command::new("id")
                    .args([flag, "postgres"])
                    .output()
                    .unwrap()
                    .stdout;
                String::from_utf8(out).unwrap().trim().parse().unwrap()
            };
            std::os::unix::fs::chown(dir.path(), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        let made = command(dir.path(), &bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(dir.path().join("data"))
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Server {
            child: Mutex::new(None),
            port,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            databases: AtomicU32::new(0),
            dir,
        };
        server.come_back();
        server
    }

    /// Starts it on its data and port, and waits until it answers.
    pub(crate) fn come_back(&self) {
        let dir = self.dir.path();
        let mut server = command(dir, &binaries().join("postgres"));
        server.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=200",
        ]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        server.arg("-k").arg(dir).arg("-D").arg(dir.join("data"));
        server.stderr(std::fs::File::create(dir.join("log")).unwrap());
        // The death signal follows the thread that started the child, so that thread stays.
        let (sent, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            sent.send(server.spawn()).unwrap();
            loop {
                std::thread::park();
            }
        });
        *self.child() = Some(started.recv().unwrap().unwrap());
        self.wait();
    }

    /// Ends it as a power cut would, connections and all.
    #[allow(dead_code, reason = "used by the tests of the whole daemon")]
    pub(crate) fn go_away(&self) {
        self.end(rustix::process::Signal::QUIT);
    }

    fn end(&self, signal: rustix::process::Signal) {
        if let Some(mut child) = self.child().take() {
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, signal);
            let _ = child.wait();
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks until it answers: a server has no other way to say that it is ready.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = || {
            let mut ask = Command::new(binaries().join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|s| s.success())
        };
        while !ready() {
            assert!(
                Instant::now() < deadline,
                "PostgreSQL did not start: {}",
                self.log()
            );
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(rustix::process::Signal::INT);
    }
}

/// A program of the server's, run as who owns `dir`. It ends when this process does, however that ends.
fn command(dir: &Path, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if rustix::process::getuid().is_root() {
        // PostgreSQL refuses to run as root.
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command
        .arg(program)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Where Debian keeps the server's programs.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .map(|v| v.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max();
    newest.expect("PostgreSQL is not installed: apt-get install postgresql")
}
