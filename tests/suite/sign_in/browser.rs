//! The page at `/login` in a browser, by the keyboard, without a script, and looked over by axe-core.
//!
//! The browser is Chromium as the npm package `@sparticuz/chromium` brings it: it needs nothing of the system. It holds
//! `form-action` against redirects too, so what arrives shows that the page's policy lets people through.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::page::with_page;
use super::{CALLBACK, Stage};
use crate::harness::pki::{Authority, Leaf};
use crate::peers::node_packages;

const PACKAGE: &str = include_str!("browser/package.json");
const LOCK: &str = include_str!("browser/package-lock.json");
const STATE: &str = "\"><img src=x onerror=alert(1)>&'\u{e4}";

/// What the browser saw. Pictures are left in `target/tmp/sign-in/`, for whoever wants to look.
fn browse(setting: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/sign_in/browser/script.mjs");
    let script = node_packages("browser", PACKAGE, LOCK, &script);
    let mut node = Command::new("node");
    // Where the package unpacks the browser.
    node.env("TMPDIR", script.parent().expect("a folder"));
    node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = node.spawn().expect("node");
    child.stdin.take().expect("piped").write_all(setting.to_string().as_bytes()).expect("told");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}:\n{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_by_the_page_with_a_keyboard_and_no_script() {
    let stage = Stage::set_with(|config| {
        with_page(config);
        config.oauth.login.title = "Sign in to Orders".to_owned();
    })
    .await
    .with_people()
    .await;
    let url = format!("http://{}/login", stage.daemon.oauth_address());
    let url = reqwest::Url::parse_with_params(&url, [("state", STATE), ("nonce", "n1")]).expect("a URL");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sign-in");
    std::fs::create_dir_all(&shots).expect("a folder");
    let host = "signin.keyward.test";
    let identity = Authority::new("servers").issue(Leaf::server().dns(host));
    let files = tempfile::tempdir().expect("a folder");
    let (certificate, key) = identity.write(files.path(), "tls");
    let read = |path: &Path| std::fs::read_to_string(path).expect("PEM");
    let setting = json!({
        "url": url.as_str(), "host": host, "certificate": read(&certificate), "key": read(&key),
        "unknown": "ann@nowhere.example", "known": "ann@acme.example", "shots": shots,
    });
    let seen = tokio::task::spawn_blocking(move || browse(&setting)).await.expect("no panic");

    assert_eq!(seen["title"], "Sign in to Orders", "{seen:#}");
    let hint = "You go on to the sign-in of your organisation.";
    let focus = &seen["focus"];
    assert_eq!(
        (&focus["role"], &focus["name"], &focus["description"]),
        (&json!("textbox"), &json!("Work email"), &json!(hint)),
        "{seen:#}"
    );
    assert_eq!((&seen["next"]["role"], &seen["next"]["name"]), (&json!("button"), &json!("Continue")), "{seen:#}");
    for (what, colour) in [("focus", "rgb(29, 78, 216)"), ("next", "rgb(168, 199, 250)")] {
        let outline = seen[what]["outline"].as_str().unwrap_or_default();
        assert!(outline.contains(colour) && outline.contains("solid 3px"), "{what} has an outline: {seen:#}");
    }
    // The error is heard with the field, which has the focus and keeps what was typed.
    assert_eq!(seen["error_title"], "Error: Sign in to Orders", "{seen:#}");
    let after = &seen["error_focus"];
    let description = after["description"].as_str().unwrap_or_default();
    assert!(description.starts_with("No sign-in could be started") && description.ends_with(hint), "{seen:#}");
    assert_eq!((&after["invalid"], &after["value"]), (&json!("true"), &json!("ann@nowhere.example")), "{seen:#}");

    assert_eq!(seen["violations"], json!([]), "{seen:#}");
    assert!(seen["rules_error-dark"].as_u64().is_some_and(|rules| rules > 15), "axe has looked: {seen:#}");
    assert_eq!(seen["widths"], json!([320]), "nothing is beyond the edge of a small screen: {seen:#}");
    assert_eq!(seen["complaints"], json!([]), "the browser had nothing against it: {seen:#}");

    let arrived = seen["arrived"].as_array().expect("a list");
    assert_eq!(arrived.len(), 1, "{seen:#}");
    assert_eq!((&arrived[0]["method"], &arrived[0]["referer"]), (&json!("GET"), &json!("")), "{seen:#}");
    let place = reqwest::Url::parse(seen["place"].as_str().expect("a place")).expect("a URL");
    assert_eq!((place.host_str(), place.path()), (Some(host), "/oauth2/authorize"));
    let value = |name: &str| place.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    assert_eq!((value("state").as_deref(), value("nonce").as_deref()), (Some(STATE), Some("n1")));
    assert_eq!(value("redirect_uri").as_deref(), Some(CALLBACK));
    assert!(!place.as_str().contains("ann"), "{place}");
    assert_eq!(seen["last_title"], "The hosted sign-in");
    stage.stop().await;
}
