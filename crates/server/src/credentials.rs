//! Who may call: users and passwords (HTTP Basic, RFC 7617), several for a rotation without a gap.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::reloaded::Reloaded;

/// What browsers ask for a user and a password by.
pub(crate) const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="ompipe", charset="UTF-8""#);
/// How long a failed login counts, in seconds.
pub(crate) const WINDOW_SECONDS: u16 = 60;
/// The same.
const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);
/// Addresses that are kept; beyond it, those whose window is over go.
const MOST_ADDRESSES: usize = 4096;

/// Makes digests of secrets with a key that no caller knows, so that a secret need not be kept, and
/// that however long a comparison takes tells nothing about it.
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

/// What stands behind a scheme in the header `Authorization` (RFC 9110 §11.4).
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
    /// It cannot be read, or has no credentials, or a line that is none.
    pub(crate) fn in_file(file: &Path) -> Result<Reloaded<Self>, String> {
        Reloaded::read(vec![file.to_owned()], |files| Self::parse(&files.concat()))
    }

    /// One `user:password` in each line; the password may hold colons.
    fn parse(content: &[u8]) -> Result<Self, String> {
        let mut credentials = Self { digests: Digests::new(), accepted: Vec::new() };
        for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                if !is_pair(line) {
                    return Err(format!("line {number} is no user:password"));
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

fn is_pair(line: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':');
    colon.is_some_and(|at| at > 0 && at + 1 < line.len())
}

/// Counts failed logins by address. One that has too many is told so instead of being asked for a
/// password again; right credentials always pass, since many callers may share one address.
#[derive(Debug)]
pub(crate) struct FailedLogins {
    most: u32,
    windows: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl FailedLogins {
    pub(crate) fn new(most_per_minute: u32) -> Self {
        Self { most: most_per_minute, windows: Mutex::default() }
    }

    /// Notes one more; true when that is too many.
    pub(crate) fn one_more(&self, address: IpAddr) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MOST_ADDRESSES {
            windows.retain(|_, (began, _)| began.elapsed() < WINDOW);
        }
        let (began, count) = windows.entry(address).or_insert_with(|| (Instant::now(), 0));
        if began.elapsed() >= WINDOW {
            (*began, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count > self.most
    }
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

    #[tokio::test(start_paused = true)]
    async fn failed_logins_count_for_a_minute() {
        let (logins, here, there) =
            (FailedLogins::new(2), [127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let failed = |address: IpAddr| logins.one_more(address);
        assert_eq!(
            [failed(here), failed(here), failed(here), failed(there)],
            [false, false, true, false]
        );
        tokio::time::advance(WINDOW).await;
        assert!(!failed(here));
    }
}
