//! An HTTP client that looks at everything: status, headers, body, and events as they come. Every refusal it meets must be
//! a problem in the sense of RFC 9457.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::floor::Floor;

/// Longest wait for one answer or one event.
const LIMIT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header as text, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of one daemon.
pub struct Web {
    runtime: Runtime,
    client: reqwest::Client,
    base: String,
}

impl Web {
    /// Speaks to the API at `address`.
    pub fn new(address: SocketAddr) -> Web {
        Web {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}"),
        }
    }

    /// Sends a request with these headers, and checks the manner of a refusal.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_vec());
        }
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(LIMIT, async {
                let response = request.send().await.expect("the API does not answer");
                Answer {
                    status: response.status().as_u16(),
                    headers: response.headers().clone(),
                    body: response
                        .bytes()
                        .await
                        .expect("the answer broke off")
                        .to_vec(),
                }
            })
            .await
            .unwrap_or_else(|_| panic!("{method} {path} is not answered"))
        });
        if answer.status >= 400 && path != "/readyz" && method != Method::HEAD {
            check_problem(&answer, path);
        }
        answer
    }

    /// GET with a token.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &[("authorization", &bearer(token))], &[])
    }

    /// Opens the stream of events; they are kept for the reader from here on.
    pub fn events(&self, token: &str) -> Events<'_> {
        let request = self.client.get(format!("{}/api/v1/events", self.base));
        let response = self
            .runtime
            .block_on(request.bearer_auth(token).send())
            .expect("the API does not answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        Events {
            runtime: &self.runtime,
            response,
            rest: String::new(),
        }
    }
}

/// A request with a token and a body of JSON.
pub fn send(web: &Web, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let headers = [
        ("authorization", bearer(token)),
        ("content-type", "application/json".to_owned()),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, &**value));
    web.ask(method, path, &headers, body.to_string().as_bytes())
}

/// A click.
pub fn dial(web: &Web, token: &str, body: &Value) -> Answer {
    send(web, "POST", "/api/v1/calls", token, body)
}

/// Asks until the answer is as wanted.
pub fn until(web: &Web, path: &str, token: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    super::eventually(path, LIMIT, || {
        let body = web.get(path, token).json();
        wanted(&body).then_some(body)
    })
}

/// Makes one call of two seconds to contact point `point` and returns it, ended and sealed.
pub fn whole_call(web: &Web, floor: &Floor, point: i64) -> Value {
    let accepted = dial(web, &floor.agents[0], &json!({"contact_point_id": point}));
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let path = format!(
        "/api/v1/calls/{}",
        accepted.json()["call"].as_str().unwrap()
    );
    assert_eq!(accepted.header("location"), path);
    let call = until(web, &path, &floor.lead, |call| call["state"] == "ended");
    assert_eq!(call["class"], "callee", "{call}");
    let recording = format!("/api/v1/recordings/{}", call["recording"].as_str().unwrap());
    until(web, &recording, &floor.lead, |body| {
        body["state"] == "sealed"
    });
    call
}

/// The value of an Authorization header.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn check_problem(answer: &Answer, path: &str) {
    let text = answer.text();
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{path}: {text}"
    );
    let body = answer.json();
    assert_eq!(body["status"], answer.status, "{path}: {text}");
    assert!(
        body["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("urn:ringfence:problem:")),
        "{path}: {text}"
    );
    for member in ["title", "detail"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{path}: {member} is missing: {text}"
        );
    }
}

/// An open stream of events.
pub struct Events<'a> {
    runtime: &'a Runtime,
    response: reqwest::Response,
    rest: String,
}

impl Events<'_> {
    /// The next event: its name and its data; `None` where the stream ended.
    ///
    /// # Panics
    /// If none comes within half a minute.
    pub fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((message, rest)) = self.rest.split_once("\n\n") {
                let (mut name, mut data) = (String::new(), String::new());
                for line in message.lines() {
                    if let Some(text) = line.strip_prefix("event:") {
                        name = text.trim().to_owned();
                    } else if let Some(text) = line.strip_prefix("data:") {
                        data.push_str(text.trim());
                    }
                }
                self.rest = rest.to_owned();
                // Comments keep the connection alive and are no events.
                if !data.is_empty() {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
            }
            let chunk = self.runtime.block_on(async {
                tokio::time::timeout(LIMIT, self.response.chunk())
                    .await
                    .expect("no event came")
            });
            let chunk = chunk.expect("the stream of events broke off")?;
            self.rest.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}
