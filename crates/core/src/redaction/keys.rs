//! Which names say that their value is a credential.

/// Subtrees under which every value is a credential or part of one.
const SECRET_SUBTREES: [&str; 6] = [
    "securityconfig", // also dbtSecurityConfig and its like, by ending
    "serviceconnection",
    "appprivateconfig",
    "privateconfiguration",
    "extraheaders",
    "sslconfig",
];

/// Parts of names that make a key look like a credential, compared in lower case without `_`, `-`.
const SECRET_PARTS: [&str; 27] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
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
    "sharedaccess",
    "webhook",
    "signature",
    "bearer",
    "authkey",
];

/// Whole words of names that do, where the same letters within a word do not (`compass`, `path`).
const SECRET_WORDS: [&str; 9] =
    ["pass", "pat", "sas", "pw", "psw", "otp", "pin", "dsn", "credentials"];

/// A name that ends with the word `key` is a credential's, except after one of these.
const HARMLESS_KEYS: [&str; 16] = [
    "primary",
    "foreign",
    "partition",
    "sort",
    "row",
    "public",
    "task",
    "label",
    "group",
    "unique",
    "cache",
    "object",
    "column",
    "map",
    "host",
    "surrogate",
];

/// Keys with such a part that name a setting, not a credential.
const HARMLESS: [&str; 6] = [
    "secretsmanagerprovider",
    "secretsmanagerloader",
    "tokenuri",
    "tokenurl",
    "tokenendpoint",
    "signatureversion",
];

/// Names of query parameters that hold a credential in URLs, and rarely elsewhere.
const SECRET_QUERY: [&str; 5] = ["sig", "key", "code", "auth", "hash"];

/// How sure a name is about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// The value may be seen.
    Clear,
    /// The value accompanies credentials, such as a host or a user.
    Likely,
    /// The value is a credential.
    Sure,
}

/// What a key says about its value.
pub(super) fn certainty(key: &str) -> Certainty {
    let plain = plain(key);
    if HARMLESS.contains(&plain.as_str()) {
        return Certainty::Clear;
    }
    if SECRET_PARTS.iter().any(|part| plain.contains(part)) || has_secret_word(key) {
        return Certainty::Sure;
    }
    if plain.ends_with("extraheaders") {
        return Certainty::Sure;
    }
    let in_subtree = SECRET_SUBTREES.iter().any(|subtree| plain.ends_with(subtree));
    if in_subtree { Certainty::Likely } else { Certainty::Clear }
}

/// True for the name of a query parameter whose value is a credential.
pub(super) fn is_secret_in_query(key: &str) -> bool {
    SECRET_QUERY.contains(&plain(key).as_str()) || certainty(key) != Certainty::Clear
}

fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn has_secret_word(key: &str) -> bool {
    let words = words(key);
    let is_key = words.last().is_some_and(|last| last == "key")
        && words.len() > 1
        && !words.iter().rev().skip(1).take(1).any(|word| HARMLESS_KEYS.contains(&word.as_str()));
    is_key || words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// The words of `DB_PASS`, `dbPass`, `db-pass` and `db.pass`, in lower case.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in key.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}
