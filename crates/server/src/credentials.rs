//! Who may call: users and passwords (HTTP Basic, RFC 7617), several for a rotation without a gap.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::reloaded::Reloaded;

/// What browsers ask for a user and a password by.
pub(crate) const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="ompipe", charset="UTF-8""#);

/// Makes digests of secrets with a key that no caller knows, so that a secret need not be kept, and
/// that the duration of a comparison reveals nothing about it.
pub(crate) struct Digests {
    key: [u8; 32],
}

/// What is kept of a secret.
pub(crate) type SecretDigest = [u8; 32];

impl Digests {
    /// With a key of their own.
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self { key }
    }

    /// The digest of a secret, and of what it is for.
    pub(crate) fn of(&self, purpose: &str, secret: &[u8]) -> SecretDigest {
        let keyed = Sha256::new().chain_update(self.key).chain_update(purpose);
        keyed.chain_update([0]).chain_update(secret).finalize().into()
    }
}

/// What follows a scheme in the header `Authorization` (RFC 9110 §11.4).
pub(crate) fn presented<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (named, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then_some(value.trim())
}

/// The credentials that are accepted.
pub(crate) struct Credentials {
    digests: Digests,
    accepted: Vec<SecretDigest>,
}

impl Credentials {
    /// Reads a file of credentials, and again when it changes.
    ///
    /// # Errors
    /// It cannot be read, or has no credentials, or a line that is not a pair of user and password.
    pub(crate) fn in_file(file: &Path) -> Result<Reloaded<Self>, String> {
        Reloaded::read(vec![file.to_owned()], |files| Self::parse(&files.concat()))
    }

    /// One `user:password` in each line; the password may hold colons.
    fn parse(content: &[u8]) -> Result<Self, String> {
        let mut credentials = Self { digests: Digests::new(), accepted: Vec::new() };
        for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                let Some((user, password)) = pair_of(line) else {
                    return Err(format!("line {number} is no user:password"));
                };
                if is_known(user, password) {
                    return Err(format!(
                        "line {number} has a password that is in examples or is the user's name"
                    ));
                }
                credentials.accepted.push(credentials.digest(line));
            }
        }
        let is_empty = credentials.accepted.is_empty();
        if is_empty { Err("has no line with user:password".to_owned()) } else { Ok(credentials) }
    }

    /// True when the request carries one of them.
    pub(crate) fn accept(&self, headers: &HeaderMap) -> bool {
        let encoded = presented(headers, "Basic");
        let pair = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        pair.is_some_and(|pair| self.accepted.contains(&self.digest(&pair)))
    }

    fn digest(&self, pair: &[u8]) -> SecretDigest {
        self.digests.of("login", pair)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("accepted", &self.accepted.len())
            .finish_non_exhaustive()
    }
}

fn pair_of(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&line[..at], &line[at + 1..]);
    (!user.is_empty() && !password.is_empty()).then_some((user, password))
}

/// True for passwords that an attacker tries first: those of examples, ours too, and the name of
/// the user, as Airflow's `admin:admin`.
fn is_known(user: &[u8], password: &[u8]) -> bool {
    const KNOWN: [&str; 8] = [
        "admin",
        "airflow",
        "change-me",
        "changeme",
        "default",
        "openmetadata",
        "password",
        "secret",
    ];
    password == user || KNOWN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(password))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    fn basic_header(pair: &str) -> HeaderMap {
        header(&format!("Basic {}", STANDARD.encode(pair)))
    }

    #[rstest]
    #[case("admin:pass:with:colons", true)]
    #[case("second:é漢", true)]
    #[case("admin:pass", false)]
    #[case("admin", false)]
    #[case(":", false)]
    fn each_line_is_accepted_as_it_is(#[case] pair: &str, #[case] expected: bool) {
        let file = "admin:pass:with:colons\r\n\nsecond:é漢\n";
        let credentials = Credentials::parse(file.as_bytes()).unwrap();
        assert_eq!(credentials.accept(&basic_header(pair)), expected);
    }

    #[rstest]
    #[case("Bearer abc")]
    #[case("Basic not-base64!")]
    #[case("Basic")]
    fn what_is_no_basic_authentication_is_refused(#[case] value: &str) {
        assert!(!Credentials::parse(b"a:b").unwrap().accept(&header(value)));
        assert!(!Credentials::parse(b"a:b").unwrap().accept(&HeaderMap::new()));
    }

    #[rstest]
    #[case("", "no line")]
    #[case("a:b\nnot-a-pair", "line 2")]
    #[case(":b", "line 1")]
    #[case("a:", "line 1")]
    fn a_file_that_is_not_right_says_where(#[case] file: &str, #[case] expected: &str) {
        let error = Credentials::parse(file.as_bytes()).unwrap_err();
        assert!(error.contains(expected) && !error.contains("not-a-pair"), "{error}");
    }

    #[rstest]
    #[case("openmetadata:change-me")]
    #[case("admin:admin")]
    #[case("anybody:Password")]
    #[case("same:same")]
    fn a_password_that_everybody_knows_is_refused(#[case] pair: &str) {
        let error = Credentials::parse(format!("a:fine\n{pair}").as_bytes()).unwrap_err();
        assert_eq!(error, "line 2 has a password that is in examples or is the user's name");
    }
}
