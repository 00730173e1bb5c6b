//! What is secret in a document, and the document without it
//! (docs/adr/0004-config-only-in-secrets.md).
//!
//! Three rules, from sure to cautious: whole subtrees that the schemas keep for credentials; keys
//! that look like a credential; strings that look like one. A value masked once is masked
//! wherever else it stands, so that a password repeated in a description does not slip through.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What stands for a secret in everything that people read.
pub const PLACEHOLDER: &str = "<from-secret>";

/// Subtrees under which every value is a credential or part of one.
const SECRET_SUBTREES: [&str; 6] = [
    "securityconfig", // also dbtSecurityConfig and its like, by ending
    "serviceconnection",
    "appprivateconfig",
    "privateconfiguration",
    "extraheaders",
    "sslconfig",
];

/// Words that make a key look like a credential. Keys are compared in lower case without `_`, `-`.
const SECRET_WORDS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "privatekey",
    "apikey",
    "accesskey",
    "clientkey",
    "accountkey",
    "sslkey",
    "signingkey",
    "encryptionkey",
    "authorization",
    "cookie",
    "connectionstring",
    "jwt",
    "keytab",
    "sasurl",
    "webhook",
];

/// Keys with such a word that name a setting, not a credential.
const HARMLESS: [&str; 4] =
    ["secretsmanagerprovider", "secretsmanagerloader", "tokenuri", "tokenurl"];

/// A masked value of at least this length is also masked inside other strings. Shorter ones are
/// ordinary words too often (`postgres`).
const MIN_REPEATED: usize = 12;

/// `document` with everything secret replaced by [`PLACEHOLDER`].
#[must_use]
pub fn mask(document: &Value) -> Value {
    let mut found = BTreeSet::new();
    let masked = mask_value(document, false, &mut found);
    mask_repeated(masked, &found)
}

/// True when a named value should not be seen: by its name, or by how it looks.
#[must_use]
pub fn is_secret(key: &str, value: &str) -> bool {
    is_secret_key(key) || looks_secret(value)
}

/// `text` without the given secrets; for messages that come from elsewhere.
#[must_use]
pub fn scrub(text: &str, secrets: &BTreeSet<String>) -> String {
    secrets
        .iter()
        .filter(|secret| secret.len() >= MIN_REPEATED)
        .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), PLACEHOLDER))
}

/// `text` on one line, with every word replaced that looks secret, or that follows a name which
/// says so (`password=…`, `'token': '…'`, `Bearer …`); for text whose secrets nobody knows.
#[must_use]
pub fn mask_text(text: &str) -> String {
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
    !name.is_empty() && (is_secret_key(name) || name.eq_ignore_ascii_case("authorization"))
}

/// The quote that a word opens and does not close.
fn open_quote(word: &str) -> Option<char> {
    let quote = word.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    (word.matches(quote).count() == 1).then_some(quote)
}

/// A word without its secret part.
fn mask_word(word: &str) -> String {
    const AROUND: [char; 8] = ['"', '\'', '(', ')', '[', ']', ',', ';'];
    if looks_secret(word.trim_matches(AROUND)) {
        return PLACEHOLDER.to_owned();
    }
    let parts = word.split_inclusive(['?', '&', ';', ',']).map(|part| {
        let Some((name, value)) = part.split_once(['=', ':']) else { return part.to_owned() };
        let plain = name.trim_matches(['"', '\'', '{', '(']);
        if value.is_empty() || plain.is_empty() || !is_secret_key(plain) {
            return part.to_owned();
        }
        let end = part.strip_suffix(['?', '&', ';', ',']).map_or(part.len(), str::len);
        format!("{name}={PLACEHOLDER}{}", &part[end..])
    });
    parts.collect()
}

/// Every string of `document` that [`mask`] would mask.
#[must_use]
pub fn secrets_of(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    mask_value(document, false, &mut found);
    found
}

fn mask_value(value: &Value, secret: bool, found: &mut BTreeSet<String>) -> Value {
    match value {
        Value::Object(map) => Value::Object(mask_object(map, secret, found)),
        Value::Array(items) => items.iter().map(|item| mask_value(item, secret, found)).collect(),
        Value::String(text) if !text.is_empty() && (secret || looks_secret(text)) => {
            found.insert(text.clone());
            PLACEHOLDER.into()
        }
        Value::Number(_) if secret => PLACEHOLDER.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn mask_object(
    map: &Map<String, Value>,
    secret: bool,
    found: &mut BTreeSet<String>,
) -> Map<String, Value> {
    let mut mask_entry = |(key, value): (&String, &Value)| {
        (key.clone(), mask_value(value, secret || is_secret_key(key), found))
    };
    map.iter().map(&mut mask_entry).collect()
}

fn mask_repeated(value: Value, found: &BTreeSet<String>) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, mask_repeated(value, found))).collect()
        }
        Value::Array(items) => items.into_iter().map(|item| mask_repeated(item, found)).collect(),
        Value::String(text) => scrub(&text, found).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn is_secret_key(key: &str) -> bool {
    let plain: String =
        key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
    let secret_subtree = SECRET_SUBTREES.iter().any(|subtree| plain.ends_with(subtree));
    let secret_word = SECRET_WORDS.iter().any(|word| plain.contains(word));
    secret_subtree || (secret_word && !HARMLESS.contains(&plain.as_str()))
}

fn looks_secret(text: &str) -> bool {
    is_jwt(text) || text.contains("-----BEGIN ") || has_url_password(text) || is_aws_key_id(text)
}

/// Three base64url parts, the first a JSON object.
fn is_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

/// `scheme://user:password@host`.
fn has_url_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn is_aws_key_id(text: &str) -> bool {
    let upper = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
    text.len() == 20 && text.starts_with("AKIA") && text.bytes().all(upper)
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
        assert_eq!(secrets_of(&document), BTreeSet::from(["t1".to_owned()]));
    }
}
