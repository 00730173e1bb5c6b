//! The credentials in URLs: who calls, and what signs the call.

use std::ops::Range;

use super::keys;

/// What ends a URL in a text.
const ENDS: [char; 8] = ['"', '\'', '`', '<', '>', '|', '\\', '^'];
/// Hosts whose paths are credentials.
const SECRET_PATHS: [&str; 4] =
    ["hooks.slack.com/", "discord.com/api/webhooks/", "webhook.office.com/", "api.telegram.org/"];

/// The parts of `text` that are credentials of a URL in it.
pub(super) fn credentials(text: &str) -> Vec<Range<usize>> {
    let mut found = oracle(text);
    let begins = text.match_indices("://").map(|(at, mark)| (at, at + mark.len()));
    for (scheme_ends, begin) in begins {
        let url = url_of(&text[begin..]);
        let scheme = text[..scheme_ends].rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
        let is_http = matches!(scheme, Some("http" | "https"));
        if let Some(end) = user_info(url, is_http) {
            found.push(begin..begin + end);
        }
        found.extend(in_query(url).map(|part| begin + part.start..begin + part.end));
        found.extend(in_path(url).map(|part| begin + part.start..begin + part.end));
    }
    found
}

/// The URL that `rest` begins with, without its scheme. In a list, another URL ends it.
fn url_of(rest: &str) -> &str {
    let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || ENDS.contains(&c));
    let url = &rest[..end.unwrap_or(rest.len())];
    let next = url.find("://").and_then(|next| url[..next].rfind([',', ';']));
    &url[..next.unwrap_or(url.len())]
}

/// Where the user and the password end. A password may hold characters that should have been
/// encoded, so everything up to the last `@` counts as one where there is a password at all.
fn user_info(url: &str, is_http: bool) -> Option<usize> {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    let last = url.rfind('@');
    match authority.rfind('@') {
        Some(at) if !authority[..at].contains(':') => Some(at),
        Some(_) => last,
        None => {
            let (_, port) = authority.rsplit_once(':').filter(|_| !authority.starts_with('['))?;
            let is_port = is_http && port.bytes().all(|byte| byte.is_ascii_digit());
            last.filter(|_| !is_port)
        }
    }
    .filter(|end| *end > 0)
}

/// The values of query parameters whose names say so.
fn in_query(url: &str) -> impl Iterator<Item = Range<usize>> {
    let query = url.find(['?', '#', ';']).map_or(url.len(), |at| at + 1);
    let mut at = query;
    url[query..].split_inclusive(['&', ';', '#', '?']).filter_map(move |part| {
        let begin = at;
        at += part.len();
        let part = part.trim_end_matches(['&', ';', '#', '?']);
        let (name, value) = part.split_once('=')?;
        let from = begin + name.len() + 1;
        (!value.is_empty() && keys::is_secret_in_query(name)).then_some(from..from + value.len())
    })
}

fn in_path(url: &str) -> Option<Range<usize>> {
    let prefix = SECRET_PATHS.iter().find_map(|path| {
        let at = url.find(path).filter(|at| url[..*at].find('/').is_none())?;
        Some(at + path.len())
    })?;
    (prefix < url.len()).then_some(prefix..url.len())
}

/// `scott/tiger` of `jdbc:oracle:thin:scott/tiger@host`.
fn oracle(text: &str) -> Vec<Range<usize>> {
    const THIN: &str = ":thin:";
    let Some(begin) = text.find(THIN).map(|at| at + THIN.len()) else { return Vec::new() };
    let end = text[begin..].rfind('@').filter(|end| *end > 0);
    end.map(|end| begin..begin + end).into_iter().collect()
}
