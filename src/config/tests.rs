#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("test.toml"), [])
}

#[test]
fn the_shipped_file_holds_exactly_the_defaults() {
    let shipped = parse(include_str!("../../config/ringfence.toml")).unwrap();
    assert_eq!(shipped, Config::default());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let error = parse("[vault]\nretention_yaers = 3\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("retention_yaers") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn a_retention_below_two_years_is_refused() {
    let error = parse("[vault]\nretention_years = 1\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("vault.retention_years") && error.contains("raise it"),
        "{error}"
    );
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    let error = parse("[trunk]\npassword = \"hunter2\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not belong here") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let over = [("trunk__register_expires_s".to_owned(), "77".to_owned())];
    let config = Config::parse("[trunk]\nregister_expires_s = 60\n", Path::new("t"), over).unwrap();
    assert_eq!(config.trunk.register_expires_s, 77);
    let wrong = [("trunk__sever".to_owned(), "x".to_owned())];
    assert!(Config::parse("", Path::new("t"), wrong).is_err());
}

#[test]
fn the_practice_clock_is_refused_with_a_real_trunk() {
    let practice = "[clock]\nsource = \"practice\"\n[trunk]\nserver = ";
    let error = parse(&format!("{practice}\"10.0.0.5:5060\""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("clock.source"), "{error}");
    parse(&format!("{practice}\"practice\"")).unwrap();
}

#[test]
fn impossible_values_name_their_key() {
    for (text, key) in [
        ("[media]\nports = \"9-5\"", "9-5"),
        ("[media]\nports = \"80-4000\"", "media.ports"),
        ("[media]\nthreads = 0", "media.threads"),
        ("[trunk]\nsession_expires_s = 10", "trunk.session_expires_s"),
        ("[trunk]\ndial = \"90\"", "trunk.dial"),
        ("[calls]\nsilence_limit_s = 0", "calls.silence_limit_s"),
        ("[calls]\ncustomer_ring_s = 5", "calls.customer_ring_s"),
        (
            "[policy]\ndisplay_zone = \"Mars/Olympus\"",
            "policy.display_zone",
        ),
        ("[reports]\ndir = \"reports\"", "reports.dir"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
}
