//! What is secret in a document, and the document without it
//! (docs/adr/0004-config-only-in-secrets.md).
//!
//! Rules by meaning, from sure to cautious: whole subtrees that the schemas keep for credentials; keys
//! that name a credential; and within every other text the credentials of URLs, `password=…`, and
//! tokens that are known by their look. A value that is masked once is masked wherever else it occurs,
//! in whatever form, so that a password repeated in a description does not slip through.

#[cfg(test)]
mod corpus;
mod inline;
mod keys;
mod secrets;
mod shapes;
mod urls;
mod view;

use keys::{Certainty, certainty};
pub use secrets::Secrets;
use serde_json::{Map, Value};

/// What replaces a secret in everything that people read.
pub const PLACEHOLDER: &str = "<from-secret>";

/// `document` with everything secret replaced by [`PLACEHOLDER`].
#[must_use]
pub fn mask(document: &Value) -> Value {
    let mut found = Secrets::default();
    let masked = mask_value(document, Certainty::Clear, &mut found);
    mask_repeated(masked, &found)
}

/// True when a named value should not be seen: by its name, or by how it looks.
#[must_use]
pub fn is_secret(key: &str, value: &str) -> bool {
    certainty(key) != Certainty::Clear || !inline::credentials(value).is_empty()
}

/// `text` on one line, with every word replaced that looks secret, or that follows a name which
/// says so (`password=…`, `'token': '…'`, `Bearer …`); for text whose secrets are not known.
#[must_use]
pub fn mask_text(text: &str) -> String {
    let text = inline::replaced(text, &inline::credentials(text), PLACEHOLDER);
    let mut words = text.split_whitespace();
    let mut masked: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        masked.push(mask_word(word));
        if announces_secret(word) {
            let Some(secret) = words.next() else { break };
            let scheme = secret.trim_matches(['"', '\'']);
            if matches!(scheme, "Bearer" | "Basic") {
                // The scheme of an `Authorization` header is no secret, what follows it is.
                masked.push(scheme.to_owned());
                let _ = words.next();
            } else if let Some(quote) = open_quote(secret) {
                let _ = words.find(|word| word.contains(quote));
            }
            masked.push(PLACEHOLDER.to_owned());
        }
    }
    masked.join(" ")
}

/// A line of a log, masked as [`mask_text`] does it. A line in which nothing is masked keeps its spaces;
/// of another one, the indent and the line end stay.
#[must_use]
pub fn mask_line(line: &str) -> String {
    let masked = mask_text(line);
    if line.split_whitespace().eq(masked.split_whitespace()) {
        return line.to_owned();
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    let end = &line[line.trim_end().len()..];
    format!("{indent}{masked}{end}")
}

/// True for a word after which a secret comes.
fn announces_secret(word: &str) -> bool {
    if matches!(word, "Bearer" | "Basic") {
        return true;
    }
    let name = word.trim_end_matches(['"', '\'', ' ']);
    let name = name.strip_suffix([':', '=']).unwrap_or_default();
    let name = name.rsplit(['{', ',', '(']).next().unwrap_or_default();
    let name = name.trim_matches(['"', '\'', '[']);
    !name.is_empty() && certainty(name) != Certainty::Clear
}

/// The quote that a word opens and does not close.
fn open_quote(word: &str) -> Option<char> {
    let quote = word.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    (word.matches(quote).count() == 1).then_some(quote)
}

/// A word without its secret part.
fn mask_word(word: &str) -> String {
    let parts = word.split_inclusive(['?', '&', ';', ',']).map(|part| {
        let Some((name, value)) = part.split_once(['=', ':']) else { return part.to_owned() };
        let plain = name.trim_matches(['"', '\'', '{', '(']);
        if value.is_empty() || plain.is_empty() || certainty(plain) == Certainty::Clear {
            return part.to_owned();
        }
        let end = part.strip_suffix(['?', '&', ';', ',']).map_or(part.len(), str::len);
        format!("{name}={PLACEHOLDER}{}", &part[end..])
    });
    parts.collect()
}

/// Every secret of `document` that [`mask`] would mask.
#[must_use]
pub fn secrets_of(document: &Value) -> Secrets {
    let mut found = Secrets::default();
    mask_value(document, Certainty::Clear, &mut found);
    found
}

fn mask_value(value: &Value, certainty: Certainty, found: &mut Secrets) -> Value {
    match value {
        Value::Object(map) => Value::Object(mask_object(map, certainty, found)),
        Value::Array(items) => {
            items.iter().map(|item| mask_value(item, certainty, found)).collect()
        }
        Value::String(text) if !text.is_empty() => mask_string(text, certainty, found),
        Value::Number(number) if certainty != Certainty::Clear => {
            note(&number.to_string(), certainty, found);
            PLACEHOLDER.into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn mask_object(
    map: &Map<String, Value>,
    outer: Certainty,
    found: &mut Secrets,
) -> Map<String, Value> {
    let mut mask_entry = |(key, value): (&String, &Value)| {
        (key.clone(), mask_value(value, outer.max(certainty(key)), found))
    };
    map.iter().map(&mut mask_entry).collect()
}

/// A text that is a document has the secrets of that, and any text those that occur within it.
fn mask_string(text: &str, certainty: Certainty, found: &mut Secrets) -> Value {
    let inner = document_in(text).map(|inner| secrets_of(&inner)).unwrap_or_default();
    let parts = inline::credentials(text);
    for part in &parts {
        note_credential(&text[part.clone()], found);
    }
    let masked = if certainty == Certainty::Clear {
        let masked = inline::replaced(text, &parts, PLACEHOLDER);
        if inner.is_empty() { masked } else { inner.scrub(&masked) }
    } else {
        PLACEHOLDER.to_owned()
    };
    found.merge(inner);
    note(text, certainty, found);
    masked.into()
}

/// Notes a value as what its key says it is.
fn note(text: &str, certainty: Certainty, found: &mut Secrets) {
    match certainty {
        Certainty::Sure => found.add_sure(text),
        Certainty::Likely => found.add_likely(text),
        Certainty::Clear => found.add_clear(text),
    }
}

/// Notes a credential within a text, and of `user:password` the password too.
fn note_credential(text: &str, found: &mut Secrets) {
    found.add_sure(text);
    if let Some((_, password)) = text.split_once(':') {
        found.add_sure(password);
    }
}

/// The JSON that a text holds.
fn document_in(text: &str) -> Option<Value> {
    let is_document = text.trim_start().starts_with(['{', '[']);
    is_document.then(|| serde_json::from_str(text).ok()).flatten()
}

fn mask_repeated(value: Value, found: &Secrets) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, mask_repeated(value, found))).collect()
        }
        Value::Array(items) => items.into_iter().map(|item| mask_repeated(item, found)).collect(),
        Value::String(text) => found.scrub(&text).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_credentials_and_keeps_the_rest_readable() {
        let document = json!({
            "source": {
                "type": "postgres",
                "serviceConnection": { "config": { "username": "u", "port": 5432, "ssl": true } },
                "sourceConfig": { "config": { "dbtSecurityConfig": { "region": "eu" } } },
            },
            "workflowConfig": { "openMetadataServerConfig": {
                "hostPort": "http://om:8585/api",
                "securityConfig": { "jwtToken": "abc" },
                "secretsManagerProvider": "db",
            }},
        });
        assert_eq!(
            mask(&document),
            json!({
                "source": {
                    "type": "postgres",
                    "serviceConnection": { "config": {
                        "username": PLACEHOLDER, "port": PLACEHOLDER, "ssl": true,
                    }},
                    "sourceConfig": { "config": { "dbtSecurityConfig": { "region": PLACEHOLDER } } },
                },
                "workflowConfig": { "openMetadataServerConfig": {
                    "hostPort": "http://om:8585/api",
                    "securityConfig": { "jwtToken": PLACEHOLDER },
                    "secretsManagerProvider": "db",
                }},
            })
        );
    }

    #[rstest]
    #[case("password", "x", true)]
    #[case("awsSecretAccessKey", "x", true)]
    #[case("client_secret", "x", true)]
    #[case("api-key", "x", true)]
    #[case("DATABASE_URL", "postgresql://u:p@host/db", true)]
    #[case("DATABASE_URL", "postgresql://host:5432/db", false)]
    #[case("note", "eyJhbGciOi.eyJzdWIi.c2ln", true)]
    #[case("note", "-----BEGIN PRIVATE KEY-----", true)]
    #[case("keyId", "AKIAIOSFODNN7EXAMPLE", true)]
    #[case("LOG_LEVEL", "DEBUG", false)]
    #[case("secretsManagerLoader", "noop", false)]
    #[case("hostPort", "db:5432", false)]
    fn what_is_secret(#[case] key: &str, #[case] value: &str, #[case] secret: bool) {
        assert_eq!(is_secret(key, value), secret);
    }

    #[test]
    fn a_secret_repeated_elsewhere_is_masked_there_too() {
        let document =
            json!({ "password": "correct-horse-battery", "note": "it is correct-horse-battery!" });
        assert_eq!(mask(&document)["note"], format!("it is {PLACEHOLDER}!"));
    }

    #[test]
    fn secrets_of_finds_what_mask_hides() {
        let document = json!({ "a": [{ "token": "t1" }], "b": "plain" });
        let secrets = secrets_of(&document);
        assert!(secrets.contains("t1") && !secrets.contains("plain"));
    }
}
