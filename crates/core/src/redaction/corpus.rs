//! Every shape of a credential that we know, with generated secrets in it: none is seen.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// One shape: `%s` and `%d` in the canary are placeholders for generated letters and digits, `%s` in the value for
/// the canary.
#[derive(Deserialize)]
struct Shape {
    name: String,
    key: String,
    value: String,
    canary: String,
}

fn shapes() -> Vec<Shape> {
    serde_json::from_str(include_str!("../../../../tests/vectors/credentials.json")).unwrap()
}

impl Shape {
    fn canary(&self, letters: &str, digits: &str) -> String {
        self.canary.replace("%s", letters).replace("%d", digits).replace("%%", "%")
    }

    fn value(&self, canary: &str) -> String {
        if self.value.starts_with('{') {
            let inner = Value::from(canary).to_string();
            return self.value.replace("%s", &inner[1..inner.len() - 1]);
        }
        self.value.replace("%s", canary)
    }
}

fn percent_encoded(text: &str, kept: &str, upper: bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || kept.contains(c) {
            encoded.push(c);
        } else if upper {
            write!(encoded, "%{byte:02X}").unwrap();
        } else {
            write!(encoded, "%{byte:02x}").unwrap();
        }
        encoded
    })
}

/// A secret as programs write it.
fn encodings(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let ascii = secret.chars().fold(String::new(), |mut escaped, c| match c {
        '"' | '\\' => escaped + "\\" + &c.to_string(),
        c if c.is_ascii() => escaped + &c.to_string(),
        c => {
            for half in c.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{half:04x}").unwrap();
            }
            escaped
        }
    });
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    vec![
        secret.to_owned(),
        percent_encoded(secret, "-._~", true),
        percent_encoded(secret, "-._~", false),
        percent_encoded(secret, "-._~/", true),
        percent_encoded(secret, "-._~!'()*", true),
        percent_encoded(secret, "-._~ ", true).replace(' ', "+"),
        percent_encoded(&percent_encoded(secret, "", true), "", true),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        STANDARD.encode(format!("user:{secret}")),
        STANDARD.encode(format!("me:{secret}")),
        STANDARD.encode(format!("u:{secret}")),
        json[1..json.len() - 1].to_owned(),
        Value::from(json).to_string(),
        ascii,
        secret.replace('\\', "\\\\").replace('\'', "\\'"),
        html.replace('\'', "&#39;"),
        html.replace('\'', "&#x27;"),
    ]
}

/// True where the generated part of a canary is seen.
fn is_seen(text: &str, canary: &str) -> bool {
    text.contains(canary)
}

#[test]
fn no_shape_is_seen_in_a_document() {
    for (at, shape) in shapes().iter().enumerate() {
        let canary = shape.canary(&format!("qz{at:02}xv"), &format!("{:06}", 730_100 + at));
        let value = shape.value(&canary);
        let document = json!({ "sourceConfig": { "config": { shape.key.clone(): value } } });
        let masked = mask(&document).to_string();
        let inner = Value::from(canary.as_str()).to_string();
        assert!(!is_seen(&masked, &inner[1..inner.len() - 1]), "{}: {masked}", shape.name);
        assert!(!is_seen(&masked, "qz"), "{}: {masked}", shape.name);
        assert!(is_secret(&shape.key, &value), "{}", shape.name);
    }
}

#[test]
fn what_is_no_credential_stays_readable() {
    for (key, value) in [
        ("url", "https://host:8443/a/b?page=2&size=10#top"),
        ("url", "postgresql://db:5432/shop?sslmode=require"),
        ("url", "https://medium.com/@somebody/a-post"),
        ("url", "http://[::1]:8080/x"),
        ("hostPort", "db:5432"),
        ("note", "the basic type of a bearer"),
        ("note", "a=b; c=d, e: f"),
        ("note", "sk-learn and dapier"),
        ("primaryKey", "id"),
        ("compass", "north"),
        ("path", "/opt/pathological"),
        ("schemaFilterPattern", "^public$"),
        ("secretsManagerLoader", "noop"),
    ] {
        let document = json!({ key: value });
        assert_eq!(mask(&document), document);
        assert!(!is_secret(key, value), "{key} {value}");
    }
}

#[test]
fn a_short_word_that_the_document_has_in_the_clear_stays() {
    let document = json!({ "type": "postgres", "password": "postgres" });
    assert_eq!(mask(&document), json!({ "type": "postgres", "password": PLACEHOLDER }));
}

#[test]
fn of_overlapping_secrets_nothing_is_left() {
    let secrets: Secrets = ["correct-horse1234", "correct-horse1234-battery", "battery-staple"]
        .map(str::to_owned)
        .into_iter()
        .collect();
    assert_eq!(secrets.scrub("x correct-horse1234-battery-staple y"), format!("x {PLACEHOLDER} y"));
    assert_eq!(secrets.scrub("correct-horse1234!"), format!("{PLACEHOLDER}!"));
}

#[test]
fn a_short_secret_is_masked_as_a_word() {
    let secrets: Secrets = ["k7qQ", "8341"].map(str::to_owned).into_iter().collect();
    let text = "k7qQ, ak7qQb, (8341) 83411 --p=k7qQ";
    let expected = format!("{PLACEHOLDER}, ak7qQb, ({PLACEHOLDER}) 83411 --p={PLACEHOLDER}");
    assert_eq!(secrets.scrub(text), expected);
}

/// What programs print of secrets that a config has.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9]{8,40}",
        "[a-zA-Z0-9!-/:-@\\[-`{-~ äß€😀]{8,40}"
            .prop_filter("no blanks around", |text| { text.trim() == text }),
        "[0-9]{12,20}",
        "[a-z0-9]{6}[!-/]{4}[a-z]{3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_form_of_a_known_secret_is_seen(secret in secret(), around in "[a-z ]{0,9}") {
        let secrets = secrets_of(&json!({ "password": secret.clone() }));
        for form in encodings(&secret) {
            let text = format!("{around} {form} {around}");
            let masked = secrets.scrub(&text);
            prop_assert!(!masked.contains(&form), "{form:?} of {secret:?} in {masked:?}");
            prop_assert!(masked.contains(PLACEHOLDER), "{form:?} of {secret:?} in {masked:?}");
        }
    }

    #[test]
    fn no_shape_is_seen_in_a_line(at in 0usize..60, letters in "[g-w]{3}[0-9]{2}[g-w]{3}") {
        let shapes = shapes();
        let shape = &shapes[at % shapes.len()];
        let canary = shape.canary(&letters, "427001");
        let line = format!("ERROR {{m:1}} - {}={} failed", shape.key, shape.value(&canary));
        let masked = mask_text(&line);
        prop_assert!(!masked.contains(&letters), "{}: {masked}", shape.name);
    }

    /// Whatever a text is, masking ends, keeps what is no secret, and does not panic.
    #[test]
    fn every_text_can_be_masked(text in any::<String>(), more in "(://|@|=|:|\\?|&|\"|%4|\\\\u|é|-----BEGIN |eyJ|[a-z0-9])*") {
        let text = text + &more;
        let _ = mask_text(&text);
        let _ = mask(&json!({ "a": text, "password": more }));
    }
}
