//! What the documents tell people to type works as it stands there: each `$ curl` line of `docs/api.md` against the demo
//! it was written for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::daemon::{Api, Setup};
use support::net::Net;

const SOON: Duration = Duration::from_secs(60);

/// A running demo; ended on drop.
struct Demo {
    process: Child,
    listen: SocketAddr,
    /// Tokens by the names of the logins.
    tokens: BTreeMap<String, String>,
    _setup: Setup,
    _net: Net,
}

impl Demo {
    fn start() -> Demo {
        let net = Net::claim();
        let setup = Setup::new(&net, SocketAddr::new(net.pbx(), 5060));
        let listen = SocketAddr::new(net.daemon(), net.port());
        let data = setup.path("practice").to_string_lossy().into_owned();
        let mut process = setup
            .command(&["demo", "--listen", &listen.to_string(), "--data", &data])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tokens = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .take_while(|line| !line.starts_with("Ctrl-C"))
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (name, token) = (words.next()?, words.nth(1)?);
                token
                    .starts_with("rf_")
                    .then(|| (name.to_owned(), token.to_owned()))
            })
            .collect();
        Demo {
            process,
            listen,
            tokens,
            _setup: setup,
            _net: net,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The ids of the page, which are of another day, with those of today put in their place by what stands before them.
fn of_today(line: &str, ids: &[(&str, String)]) -> String {
    const ID: usize = 36;
    let mut line = line.to_owned();
    for (before, id) in ids {
        if let Some(at) = line.find(before).map(|at| at + before.len())
            && line
                .get(at..at + ID)
                .is_some_and(|old| old.parse::<uuid::Uuid>().is_ok())
        {
            line.replace_range(at..at + ID, id);
        }
    }
    line
}

#[test]
fn each_line_of_the_api_page_does_what_the_page_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.starts_with("curl "))
        // What is done with the answer is another program's business.
        .map(|line| line.split(" | ").next().unwrap())
        // Never ends; `tests/api.rs` reads it.
        .filter(|line| !line.contains("/api/v1/events"))
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");

    let demo = Demo::start();
    let token = |name: &str| demo.tokens[name].as_str();
    // A whole call first, which the lines about calls, recordings and receipts are about.
    let agent = Api::new(demo.listen, token("li"));
    let (status, body) = agent.post(
        "/api/v1/calls",
        &serde_json::json!({ "contact_point_id": 7 }),
    );
    assert_eq!(status, 202, "{body}");
    let call = body["call"].as_str().unwrap().to_owned();
    let row = agent.wait_for(&format!("/api/v1/calls/{call}"), SOON, |row| {
        row["state"] == "ended" && row["recording"].is_string()
    });
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    let recording = text("recording");
    let qa = Api::new(demo.listen, token("qa"));
    qa.wait_for(
        &format!("/api/v1/recordings/{recording}"),
        SOON,
        |recording| recording["state"] == "sealed",
    );
    let ids = [
        ("/calls/", call),
        ("/recordings/", recording),
        ("/receipts/", text("receipt")),
    ];

    let place = tempfile::tempdir().unwrap();
    let names = format!(
        "B=http://{}; LI={}; LEAD={}; QA={}; AUDITOR={}; auth() {{ echo \"Authorization: Bearer $1\"; }}\n\
         curl() {{ command curl --write-out '%{{stderr}}%{{http_code}}' \"$@\"; }}\n",
        demo.listen,
        token("li"),
        token("lead"),
        token("qa"),
        token("auditor"),
    );
    for line in commands {
        let output = Command::new("bash")
            .args(["-c", &format!("{names}{}", of_today(line, &ids))])
            .current_dir(place.path())
            .output()
            .unwrap();
        let said = format!(
            "{line}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{said}");
        // A line with a format of its own prints the status itself.
        let status = match line.contains(" -w ") {
            true => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            false => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        };
        let wanted = match line {
            // The page shows a refusal first of all.
            _ if line.contains("/api/v1/recordings -H \"$(auth $LI)\"") => "403",
            _ if line.contains("--json") || line.contains("DELETE") => "202",
            _ if line.contains("Range:") => "206",
            _ => "200",
        };
        assert_eq!(status, wanted, "{said}");
        // One call at a time: the next line may be another click.
        if line.contains("--json") {
            let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let call = format!("/api/v1/calls/{}", body["call"].as_str().unwrap());
            agent.wait_for(&call, SOON, |call| call["state"] == "ended");
        }
    }
    let wav = hound::WavReader::open(place.path().join("call.wav")).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
}
