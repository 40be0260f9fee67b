//! What an import of 100,000 cases takes, and their allocation: time, memory, and how long a call's short transaction waits
//! meanwhile.
//!
//! `make bench`, or `cargo bench --bench cases -- --rows 100000`. The work is done by the program itself in a process of its own;
//! this one stands for the daemon and writes a short transaction again and again, as calls do. SQLite with
//! synchronous=FULL; with `--postgres postgres://…` also an empty PostgreSQL database. The machine may be shared: the same
//! transactions are timed without an import in the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ringfence::store::{
    Db, Location, Options, agents,
    guards::{self, Guard},
};

/// Agents among whom the cases are dealt.
const AGENTS: u32 = 70;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let rows: u32 = after("--rows").map_or(100_000, |text| text.parse().expect("--rows N"));
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("cases.csv");
    let xlsx = dir.path().join("cases.xlsx");
    let updates = dir.path().join("updates.csv");
    write_csv(&csv, rows);
    write_xlsx(&xlsx, rows);
    write_updates(&updates, rows);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut databases = vec![("SQLite", None)];
    if let Some(address) = after("--postgres") {
        databases.push(("PostgreSQL", Some(address)));
    }
    println!("{rows} cases of 15 columns, 3 numbers each, identity and card encrypted");
    println!(
        "{:12} {:28} {:>8} {:>9} {:>8} {:>12} {:>12} {:>8}",
        "database", "file", "seconds", "rows/s", "MB", "longest wait", "99th of 100", "writes"
    );
    for (name, address) in databases {
        let home = Home::new(dir.path(), name, address.as_deref());
        let idle = runtime.block_on(home.time_writes(None));
        println!(
            "{name:12} {:28} {:>8} {:>9} {:>8} {:>9.1} ms {:>9.1} ms {:>8}",
            "(no import)",
            "",
            "",
            "",
            idle.longest_ms(),
            idle.p99_ms(),
            idle.0.len()
        );
        // A line of what one command took, which said that it did what it was to do.
        let measure = |mut child: Child, began: Instant, what: &str, said: &str| {
            let waits = runtime.block_on(home.time_writes(Some(&mut child)));
            let took = began.elapsed().as_secs_f64();
            let text = fs::read_to_string(home.dir.join("out")).unwrap();
            assert!(text.contains(said), "{text}");
            println!(
                "{name:12} {what:28} {took:>8.1} {:>9.0} {:>8.0} {:>9.1} ms {:>9.1} ms {:>8}",
                f64::from(rows) / took,
                waits.1 as f64 / 1024.0,
                waits.longest_ms(),
                waits.p99_ms(),
                waits.0.len()
            );
        };
        for (what, file, kind) in [
            ("CSV, all new", &csv, "cases"),
            ("CSV again, nothing new", &csv, "cases"),
            ("updates of every case", &updates, "updates"),
            ("XLSX, all new", &xlsx, "cases"),
        ] {
            let client = if what.starts_with("XLSX") {
                "other"
            } else {
                "bank"
            };
            let began = Instant::now();
            let child = home.import(file, kind, client);
            measure(child, began, what, &format!("{rows} rows:"));
        }
        runtime.block_on(home.hire());
        let among: Vec<String> = (0..AGENTS)
            .flat_map(|n| ["--to-agent".to_owned(), format!("A{n}")])
            .collect();
        let plan: Vec<&str> = ["plan", "--method", "even-both", "--client", "bank"]
            .into_iter()
            .chain(among.iter().map(String::as_str))
            .collect();
        for (what, arguments, said) in [
            ("allocation planned", plan, "is planned"),
            ("carried out", vec!["apply", "1"], "changed hands"),
            ("undone", vec!["undo", "1"], "went back"),
        ] {
            let began = Instant::now();
            let child = home.allocate(&arguments);
            measure(child, began, what, said);
        }
    }
    println!(
        "goals: 100,000 rows imported in at most 30 s and 200 MB on SQLite; no wait above 50 ms"
    );
}

/// How long each short transaction took, and the importer's peak memory in KiB.
struct Waits(Vec<Duration>, u64);

impl Waits {
    fn longest_ms(&self) -> f64 {
        self.0
            .iter()
            .max()
            .map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }

    fn p99_ms(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = sorted.len().saturating_sub(1) * 99 / 100;
        sorted.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }
}

struct Home {
    dir: PathBuf,
    config: PathBuf,
    options: Options,
}

impl Home {
    fn new(dir: &Path, name: &str, address: Option<&str>) -> Home {
        let dir = dir.join(name);
        fs::create_dir(&dir).unwrap();
        let url = match address {
            Some(address) => address.to_owned(),
            None => format!("sqlite:{}", dir.join("floor.db").display()),
        };
        let shown = dir.display();
        let config = dir.join("ringfence.toml");
        let text = format!(
            "[store]\nurl = \"{url}\"\n[vault]\ndir = \"{shown}/vault\"\nkeys_dir = \"{shown}/keys\"\nroot_key = \"{shown}/root\"\n"
        );
        fs::write(&config, text).unwrap();
        let made = Command::new(program())
            .args(["keys", "create"])
            .arg(dir.join("root"))
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Home {
            options: Options::new(Location::parse(&url)),
            dir,
            config,
        }
    }

    fn import(&self, file: &Path, kind: &str, client: &str) -> Child {
        let template = if kind == "cases" {
            "credit-card"
        } else {
            "updates"
        };
        Command::new(program())
            .arg("--config")
            .arg(&self.config)
            .args(["cases", "import"])
            .arg(file)
            .args([
                "--client",
                client,
                "--new-client",
                client,
                "--batch",
                "2026-11",
                "--kind",
                kind,
            ])
            .args(["--template", template])
            .stdout(fs::File::create(self.dir.join("out")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Enters those who get the cases.
    async fn hire(&self) {
        let db = Db::open(&self.options).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        for n in 0..AGENTS {
            let (code, extension) = (format!("A{n}"), format!("8{n:03}"));
            agents::ensure(&mut tx, &code, &code, &extension, 0)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        db.close().await;
    }

    fn allocate(&self, arguments: &[&str]) -> Child {
        Command::new(program())
            .arg("--config")
            .arg(&self.config)
            .args(["cases", "allocate"])
            .args(arguments)
            .stdout(fs::File::create(self.dir.join("out")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Writes short transactions until the child has ended, or for five seconds.
    async fn time_writes(&self, mut child: Option<&mut Child>) -> Waits {
        let db = Db::open(&self.options).await.unwrap();
        let (began, mut waits, mut peak) = (Instant::now(), Vec::new(), 0);
        loop {
            match &mut child {
                Some(child) => {
                    peak = peak_kib(child.id()).max(peak);
                    if let Some(status) = child.try_wait().unwrap() {
                        assert!(status.success(), "the program failed");
                        break;
                    }
                }
                None if began.elapsed() > Duration::from_secs(5) => break,
                None => {}
            }
            let at = Instant::now();
            let mut tx = db.begin().await.unwrap();
            guards::touch(&mut tx, &[Guard::Number(1)]).await.unwrap();
            tx.commit().await.unwrap();
            waits.push(at.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        db.close().await;
        Waits(waits, peak)
    }
}

/// `VmHWM` of a process: the most memory it ever had.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_ringfence").into()
}

const HEADS: [&str; 15] = [
    "案件编号",
    "客户号",
    "姓名",
    "身份证号",
    "卡号",
    "委案金额",
    "本金",
    "利息",
    "逾期天数",
    "地区",
    "产品",
    "本人电话",
    "家庭地址",
    "联系人1",
    "联系人1电话",
];

fn cells(n: u32) -> [String; 15] {
    let body = format!(
        "110105{}{:02}{:02}{:03}",
        1950 + n % 50,
        1 + n / 50 % 12,
        1 + n / 600 % 28,
        n / 16_800 % 1_000
    );
    [
        format!("C{n:07}"),
        format!("D{n:07}"),
        format!("王小{n}"),
        format!("{body}{}", check_digit(&body)),
        format!("622202{n:010}"),
        format!("{}.{:02}", 1_000 + n % 90_000, n % 100),
        format!("{}.{:02}", 900 + n % 80_000, n % 100),
        format!("{}.5", n % 500),
        (n % 400).to_string(),
        "北京市朝阳区".to_owned(),
        "金卡".to_owned(),
        format!("138{:08}/139{:08}", n, n),
        format!("北京市朝阳区建国路{n}号院{}楼", n % 40),
        format!("李红{n}"),
        format!("137{n:08}"),
    ]
}

fn check_digit(body: &str) -> char {
    let sum = body
        .bytes()
        .fold(0u32, |sum, b| (sum + u32::from(b - b'0')) * 2 % 11);
    match (12 - sum) % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap(),
    }
}

fn write_csv(path: &Path, rows: u32) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    writeln!(file, "{}", HEADS.join(",")).unwrap();
    for n in 0..rows {
        writeln!(file, "{}", cells(n).join(",")).unwrap();
    }
    file.flush().unwrap();
}

fn write_updates(path: &Path, rows: u32) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    writeln!(file, "案件编号,最新欠款,利息,新地址").unwrap();
    for n in 0..rows {
        writeln!(
            file,
            "C{n:07},{}.25,{}.75,天津市{n}号",
            2_000 + n % 90_000,
            n % 700
        )
        .unwrap();
    }
    file.flush().unwrap();
}

fn write_xlsx(path: &Path, rows: u32) {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory().unwrap();
    for (column, head) in HEADS.iter().enumerate() {
        sheet.write_string(0, column as u16, *head).unwrap();
    }
    for n in 0..rows {
        for (column, cell) in cells(n).into_iter().enumerate() {
            let (row, column) = (n + 1, column as u16);
            match cell.parse::<f64>() {
                Ok(number) if (5..9).contains(&column) => {
                    sheet.write_number(row, column, number).unwrap()
                }
                _ => sheet.write_string(row, column, cell).unwrap(),
            };
        }
    }
    book.save(path).unwrap();
}
