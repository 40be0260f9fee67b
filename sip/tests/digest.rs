//! Digest authentication: published examples, and our client against our server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use ringfence_sip::digest::{
    Algorithm, Challenge, Client, Credentials, DigestError, Login, Server, Verdict,
};
use ringfence_sip::headers::name;
use ringfence_sip::message::{Request, Response};
use ringfence_sip::method::{Method, StatusCode};
use ringfence_sip::uri::Uri;
use secrecy::SecretString;

fn login(username: &str, password: &str) -> Login {
    Login::new(username, SecretString::from(password.to_owned()))
}

fn register() -> Request {
    Request::new(Method::REGISTER, Uri::parse("sip:[::1]:5060").unwrap())
}

fn refusal(code: StatusCode, header: &str, values: &[String]) -> Response {
    values.iter().fold(Response::new(code), |response, value| {
        response.header(header, value.as_str())
    })
}

/// Answers to challenges in a 401 for a fresh REGISTER.
fn answer_to(challenges: &[&str]) -> Result<Credentials, DigestError> {
    let mut request = register();
    let values: Vec<String> = challenges.iter().map(|text| (*text).to_owned()).collect();
    let mut client = Client::new(login("a", "b"));
    client.answer(
        &mut request,
        &refusal(StatusCode::UNAUTHORIZED, name::WWW_AUTHENTICATE, &values),
        "cn",
    )?;
    Ok(request.headers.authorization().remove(0))
}

#[test]
fn the_example_of_rfc_7616_is_computed_for_both_hashes() {
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let challenge = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let challenge = Challenge::parse_all(&challenge).remove(0);
        let login = login("Mufasa", "Circle of Life");
        let credentials = challenge.answer(&login, "GET", "/dir/index.html", cnonce, 1);
        assert_eq!(credentials.response, response);
        assert!(
            credentials.to_wire().contains("qop=auth, "),
            "the token is not quoted in an answer"
        );
        assert!(credentials.to_wire().contains("nc=00000001"));
    }
}

#[test]
fn the_example_of_rfc_2617_and_its_older_form_are_computed() {
    let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
    let text = format!("Digest realm=\"testrealm@host.com\", qop=auth, nonce=\"{nonce}\"");
    let login = login("Mufasa", "Circle Of Life");
    let with_qop = Challenge::parse_all(&text).remove(0).answer(
        &login,
        "GET",
        "/dir/index.html",
        "0a4f113b",
        1,
    );
    assert_eq!(with_qop.response, "6629fae49393a05397450978507c4ef1");
    let without = Challenge::parse_all(&text.replace("qop=auth, ", "")).remove(0);
    let without = without.answer(&login, "GET", "/dir/index.html", "0a4f113b", 1);
    assert_eq!(without.response, "670fd8c2df070c60b045671b8b24ff02");
    assert!(!without.to_wire().contains("nc="));
}

#[test]
fn the_count_of_uses_is_hexadecimal() {
    let challenge = Challenge::parse_all("Digest realm=\"r\", nonce=\"n\", qop=\"auth\"").remove(0);
    let credentials = challenge.answer(&login("u", "p"), "INVITE", "sip:a@b", "c", 300);
    assert!(credentials.to_wire().contains("nc=0000012c"));
    assert_eq!(
        Credentials::parse(&credentials.to_wire()),
        Some(credentials)
    );
}

#[test]
fn of_several_challenges_the_strongest_is_answered() {
    let md5 = "Digest realm=\"r\", nonce=\"1\", algorithm=MD5, qop=\"auth\"";
    let sha = "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"";
    let foreign = "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-512-256, qop=\"auth\"";
    let both = format!("{md5}, {sha}");
    for challenges in [
        vec![md5, sha],
        vec![sha, md5],
        vec![foreign, md5, sha],
        vec![both.as_str()],
    ] {
        let credentials = answer_to(&challenges).unwrap();
        assert_eq!(
            (credentials.algorithm, credentials.nonce.as_str()),
            (Algorithm::Sha256, "2")
        );
    }
    assert_eq!(
        answer_to(&[foreign, md5]).unwrap().algorithm,
        Algorithm::Md5
    );
}

#[test]
fn what_cannot_be_answered_is_said_so() {
    for challenge in [
        "Basic realm=\"r\"",
        "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-512-256",
        "Digest realm=\"r\", nonce=\"3\", qop=\"auth-int\"",
        "Digest nonce=\"3\"",
        "Digest realm=\"r\"",
        "",
        ",,,=,\"",
    ] {
        assert_eq!(
            answer_to(&[challenge]),
            Err(DigestError::NothingUsable),
            "{challenge}"
        );
    }
    assert!(answer_to(&["Basic realm=\"r\", Digest realm=\"x, y\" , nonce=\"\\\"\" "]).is_ok());
}

struct Floor {
    server: Server,
    start: Instant,
}

impl Floor {
    fn new() -> Self {
        let start = Instant::now();
        let algorithms = [Algorithm::Sha256, Algorithm::Md5];
        Self {
            server: Server::new("pbx", [7; 32], start, Duration::from_secs(60), &algorithms),
            start,
        }
    }

    fn refusal(&mut self, at: u64, stale: bool) -> Response {
        let values = self
            .server
            .challenges(self.start + Duration::from_secs(at), stale);
        refusal(StatusCode::UNAUTHORIZED, name::WWW_AUTHENTICATE, &values)
    }

    fn verify(&mut self, at: u64, request: &Request) -> Verdict {
        let now = self.start + Duration::from_secs(at);
        self.server.verify(now, request, false, |user| {
            (user == "6001").then(|| SecretString::from("s3cret".to_owned()))
        })
    }
}

const ACCEPTED: fn() -> Verdict = || Verdict::Accepted {
    username: "6001".to_owned(),
};

#[test]
fn our_client_satisfies_our_server_and_keeps_its_nonce() {
    let mut floor = Floor::new();
    let mut client = Client::new(login("6001", "s3cret"));
    let mut request = register();
    client.authorize(&mut request, "c0");
    assert_eq!(floor.verify(0, &request), Verdict::Missing);
    let refusal = floor.refusal(0, false);
    client.answer(&mut request, &refusal, "c1").unwrap();
    assert_eq!(floor.verify(1, &request), ACCEPTED());
    assert_eq!(
        floor.verify(2, &request),
        Verdict::Stale,
        "the same nc twice is a replay"
    );
    for at in 3..40 {
        let mut next = register();
        client.authorize(&mut next, "c2");
        assert_eq!(floor.verify(at, &next), ACCEPTED());
    }
}

#[test]
fn an_old_nonce_is_stale_and_the_client_takes_the_new_one() {
    let mut floor = Floor::new();
    let mut client = Client::new(login("6001", "s3cret"));
    let mut request = register();
    let first = floor.refusal(0, false);
    client.answer(&mut request, &first, "c").unwrap();
    assert_eq!(floor.verify(61, &request), Verdict::Stale);
    let second = floor.refusal(61, true);
    client.answer(&mut request, &second, "c").unwrap();
    assert_eq!(request.headers.authorization().len(), 1);
    assert_eq!(floor.verify(62, &request), ACCEPTED());
}

#[test]
fn a_wrong_password_is_refused_and_not_tried_again() {
    for wrong in [
        login("6001", "S3cret"),
        login("6002", "s3cret"),
        login("6002", ""),
    ] {
        let mut floor = Floor::new();
        let mut client = Client::new(wrong);
        let mut request = register();
        let first = floor.refusal(0, false);
        client.answer(&mut request, &first, "c").unwrap();
        assert_eq!(floor.verify(0, &request), Verdict::Refused);
        let second = floor.refusal(0, false);
        assert_eq!(
            client.answer(&mut request, &second, "c"),
            Err(DigestError::Refused)
        );
    }
}

#[test]
fn a_server_that_forgot_its_nonces_is_answered_once_more() {
    let mut before = Floor::new();
    let mut client = Client::new(login("6001", "s3cret"));
    let first = before.refusal(0, false);
    client.answer(&mut register(), &first, "c").unwrap();
    let mut request = register();
    client.authorize(&mut request, "c");
    let mut after = Floor {
        server: Server::new(
            "pbx",
            [8; 32],
            before.start,
            Duration::from_secs(60),
            &[Algorithm::Md5],
        ),
        ..before
    };
    assert_eq!(
        after.verify(0, &request),
        Verdict::Missing,
        "SHA-256 is not offered any more"
    );
    let second = after.refusal(0, false);
    client.answer(&mut request, &second, "c").unwrap();
    assert_eq!(after.verify(0, &request), ACCEPTED());
    let third = after.refusal(0, false);
    assert_eq!(
        client.answer(&mut request, &third, "c"),
        Err(DigestError::Refused)
    );
}

#[test]
fn a_server_that_calls_everything_stale_is_given_up() {
    let mut floor = Floor::new();
    let mut client = Client::new(login("6001", "s3cret"));
    let mut request = register();
    let tries = (0..20)
        .take_while(|_| {
            let refusal = floor.refusal(0, true);
            client.answer(&mut request, &refusal, "c") != Err(DigestError::AlwaysStale)
        })
        .count();
    assert_eq!(tries, 4);
}

#[test]
fn a_forged_nonce_is_worth_nothing_even_with_the_password() {
    let mut floor = Floor::new();
    let genuine = floor.server.challenges(floor.start, false).remove(0);
    for at in [0, 15, 20, 40, 63] {
        let nonce = Challenge::parse_all(&genuine).remove(0).nonce;
        let mut bytes = nonce.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let forged = genuine.replace(&nonce, &String::from_utf8(bytes).unwrap());
        let mut request = register();
        let mut client = Client::new(login("6001", "s3cret"));
        client
            .answer(
                &mut request,
                &refusal(StatusCode::UNAUTHORIZED, name::WWW_AUTHENTICATE, &[forged]),
                "c",
            )
            .unwrap();
        assert_eq!(floor.verify(0, &request), Verdict::Stale, "byte {at}");
    }
}

#[test]
fn an_answer_for_another_address_or_method_is_refused() {
    let mut floor = Floor::new();
    let mut client = Client::new(login("6001", "s3cret"));
    let mut request = register();
    let first = floor.refusal(0, false);
    client.answer(&mut request, &first, "c").unwrap();
    let moved = Request {
        uri: Uri::parse("sip:other.example").unwrap(),
        ..request.clone()
    };
    assert_eq!(floor.verify(0, &moved), Verdict::Refused);
    let other = Request {
        method: Method::INVITE,
        ..request.clone()
    };
    assert_eq!(floor.verify(0, &other), Verdict::Refused);
    assert_eq!(floor.verify(0, &request), ACCEPTED());
}

#[test]
fn a_proxy_and_a_registrar_are_answered_side_by_side() {
    let mut client = Client::new(login("6001", "s3cret"));
    let mut request = register();
    let proxy = ["Digest realm=\"proxy\", nonce=\"1\", qop=\"auth\"".to_owned()];
    client
        .answer(
            &mut request,
            &refusal(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                name::PROXY_AUTHENTICATE,
                &proxy,
            ),
            "c",
        )
        .unwrap();
    let registrar = ["Digest realm=\"registrar\", nonce=\"2\", qop=\"auth\"".to_owned()];
    client
        .answer(
            &mut request,
            &refusal(StatusCode::UNAUTHORIZED, name::WWW_AUTHENTICATE, &registrar),
            "c",
        )
        .unwrap();
    assert_eq!(request.headers.proxy_authorization()[0].realm, "proxy");
    assert_eq!(
        request.headers.proxy_authorization()[0]
            .qop_auth
            .as_ref()
            .unwrap()
            .1,
        2
    );
    assert_eq!(request.headers.authorization()[0].realm, "registrar");
}

#[test]
fn nothing_secret_shows_in_debug() {
    let client = Client::new(login("13800138000", "s3cret"));
    let shown = format!(
        "{client:?} {:?} {:?}",
        client.login(),
        answer_to(&["Digest realm=\"r\", nonce=\"n\""]).unwrap()
    );
    assert!(!shown.contains("138") && !shown.contains("s3cret"));
}
