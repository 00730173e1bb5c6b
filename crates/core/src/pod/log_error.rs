//! What the end of a worker's log says about its failure: the last error, and which kind of failure
//! it is.

use super::{Reason, Trouble};
use crate::redaction;

/// Most characters of an error that are kept.
const MAX_ERROR: usize = 400;
/// How Python introduces the frames of an exception.
const TRACEBACK: &str = "Traceback (most recent call last)";
/// What our own programs print into the same log after the worker has ended.
const OWN: [&str; 3] = ["exit_handler.py: ", "ompipe-exit: ", "ompipe: "];

const BAD_CONFIG: &[&str] = &[
    "validationerror",
    "validation error for",
    "validation errors for",
    "parsingconfigurationerror",
    "configurationerror",
    "extra inputs are not permitted",
    "extra fields not permitted",
    "yaml.scanner",
    "yaml.parser",
    "uninitialized or missing config",
];
const AUTH: &[&str] = &[
    "password authentication failed",
    "authentication failed",
    "authentication failure",
    "authenticationerror",
    "authenticationexception",
    "access denied for user",
    "access denied",
    "accessdenied",
    "login failed for user",
    "login failed",
    "invalid credentials",
    "invalid username",
    "invalid password",
    "incorrect username or password",
    "bad credentials",
    "invalid_grant",
    "invalid_client",
    "invalidclienttokenid",
    "signaturedoesnotmatch",
    "ora-01017",
    "unauthorized",
    "not authorized",
    "401 client error",
    "403 client error",
    "403 forbidden",
    "token has expired",
    "expired token",
    "no pg_hba.conf entry",
];
const UNREACHABLE: &[&str] = &[
    "connection refused",
    "connection reset",
    "connection timed out",
    "connect timeout",
    "connecttimeout",
    "timed out",
    "max retries exceeded",
    "newconnectionerror",
    "failed to establish a new connection",
    "could not connect",
    "can't connect",
    "cannot connect",
    "unable to connect",
    "could not translate host name",
    "name or service not known",
    "temporary failure in name resolution",
    "nodename nor servname",
    "getaddrinfo failed",
    "unknown host",
    "unknownhostexception",
    "no route to host",
    "network is unreachable",
    "host is unreachable",
    "communications link failure",
    "certificate verify failed",
];
/// What only a call to OpenMetadata has in its error, or in the frames above it.
const OPENMETADATA: &[&str] =
    &["/ometa/", "metadata.ometa", "ometaclient", "openmetadata server", "/api/v1/"];

/// The last error of a log, with secrets masked, and its class; the class is [`Reason::Error`] where
/// the error is of none. `None` where the log has no error.
#[must_use]
pub(crate) fn last_error(log: &str) -> Option<Trouble> {
    let lines: Vec<&str> = log.lines().collect();
    let errors = lines.iter().enumerate().filter_map(|(number, line)| {
        let text = error_of(line);
        let class = class_of(text.unwrap_or(line), frames_above(&lines[..number]));
        (text.is_some() || (class.is_some() && !is_chatter(line)))
            .then(|| (text.unwrap_or(line), class))
    });
    let errors: Vec<_> = errors.collect();
    let (last, rest) = errors.split_last()?;
    // An invalid config ends a worker at once, so an earlier word of one is about something else.
    let told = |(_, class): &&(&str, Option<Reason>)| {
        class.is_some_and(|class| class != Reason::BadConfig)
    };
    let telling =
        if last.1.is_some() { last } else { rest.iter().rev().find(told).unwrap_or(last) };
    let (text, class) = *telling;
    Some(Trouble::new(class.unwrap_or(Reason::Error), shown(text)))
}

/// The text of a line that says by its form that it is an error.
fn error_of(line: &str) -> Option<&str> {
    if OWN.iter().any(|own| line.starts_with(own)) {
        return None;
    }
    let is_of_entry_point = line.starts_with("main.py: ");
    if is_of_entry_point || is_exception(line) {
        return Some(line);
    }
    logged(line)
}

/// The last line of a Python traceback: a class, and mostly what it says.
fn is_exception(line: &str) -> bool {
    const ENDINGS: [&str; 6] = ["Error", "Exception", "Timeout", "Failure", "Refused", "NotFound"];
    let class = line.split([':', ' ']).next().unwrap_or_default();
    let is_path = class.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    is_path && ENDINGS.iter().any(|ending| class.ends_with(ending))
}

/// The message of a line that a logger wrote at a level that says error.
fn logged(line: &str) -> Option<&str> {
    const LEVELS: [&str; 4] = ["ERROR", "CRITICAL", "FATAL", "SEVERE"];
    let starts = LEVELS.iter().filter_map(|level| Some((line.find(level)?, *level)));
    let (start, level) = starts.min()?;
    let before = line[..start].chars().next_back();
    let rest = &line[start + level.len()..];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if before.is_some_and(is_word) || rest.chars().next().is_some_and(is_word) {
        return None;
    }
    let message = rest.split_once(" - ").map_or(rest, |(_, message)| message);
    let message = message.trim_start_matches([':', ']', '-', '|', ' ']);
    (!message.trim().is_empty()).then_some(message)
}

/// A line that is no error, whatever words it has.
fn is_chatter(line: &str) -> bool {
    let is_own = OWN.iter().any(|own| line.starts_with(own));
    let is_frame = line.starts_with("  ") || line.starts_with(TRACEBACK);
    is_own || is_frame || ["INFO", "DEBUG", "WARN"].iter().any(|level| line.contains(level))
}

/// The lines of the traceback that ends here, if one does.
fn frames_above<'l, 't>(lines: &'l [&'t str]) -> &'l [&'t str] {
    let is_frame = |line: &&str| line.starts_with(' ') || line.starts_with(TRACEBACK);
    let above = lines.iter().rev().take_while(|line| is_frame(line)).count();
    &lines[lines.len() - above..]
}

fn class_of(text: &str, frames: &[&str]) -> Option<Reason> {
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(BAD_CONFIG) {
        return Some(Reason::BadConfig);
    }
    let (auth, unreachable) = (says(AUTH), says(UNREACHABLE));
    let is_openmetadata = || {
        let names = |line: &str| OPENMETADATA.iter().any(|word| line.contains(word));
        names(&text) || frames.iter().any(|frame| names(&frame.to_lowercase()))
    };
    match (auth || unreachable, auth) {
        (false, _) => None,
        (true, _) if is_openmetadata() => Some(Reason::OpenMetadataUnreachable),
        (true, true) => Some(Reason::SourceAuth),
        (true, false) => Some(Reason::SourceUnreachable),
    }
}

/// The error on one line, without secrets, of a length that people read.
fn shown(text: &str) -> String {
    let line = redaction::mask_text(text);
    match line.char_indices().nth(MAX_ERROR) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const POSTGRES: &str = r#"[2026-01-01 12:00:00] INFO     {metadata.Ingestion:workflow:84} - Starting
Traceback (most recent call last):
  File "/app/site-packages/sqlalchemy/engine/base.py", line 146, in __init__
    self._dbapi_connection = engine.raw_connection()
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "db" (10.0.0.1), port 5432 failed: FATAL:  password authentication failed for user "om"

(Background on this error at: https://sqlalche.me/e/20/e3q8)
Traceback (most recent call last):
  File "/ingestion/main.py", line 9, in <module>
metadata.config.common.WorkflowExecutionError: Source reported errors
exit_handler.py: run a1 of shop.p reported as failed"#;

    #[rstest]
    #[case::source_auth(
        POSTGRES,
        Reason::SourceAuth,
        r#"password authentication failed for user "om""#
    )]
    #[case::shell(
        "psql: password authentication failed for user \"om\"",
        Reason::SourceAuth,
        "for user"
    )]
    #[case::mysql(
        "pymysql.err.OperationalError: (1045, \"Access denied for user 'om'@'10.0.0.9'\")",
        Reason::SourceAuth,
        "Access denied for user 'om'"
    )]
    #[case::logged(
        "[2026-01-01 12:00:00] ERROR    {metadata.Ingestion:source:12} - Failed: Connection refused",
        Reason::SourceUnreachable,
        "Failed: Connection refused"
    )]
    #[case::no_name(
        "could not translate host name \"nowhere\" to address: Name or service not known",
        Reason::SourceUnreachable,
        "nowhere"
    )]
    #[case::openmetadata_by_its_frames(
        "Traceback (most recent call last):\n  File \"/x/metadata/ingestion/ometa/client.py\", line 1, in get\n\
         requests.exceptions.ConnectionError: Connection refused",
        Reason::OpenMetadataUnreachable,
        "Connection refused"
    )]
    #[case::openmetadata_by_its_url(
        "urllib3.exceptions.MaxRetryError: HTTPConnectionPool(host='om'): Max retries exceeded with url: \
         /api/v1/system/version",
        Reason::OpenMetadataUnreachable,
        "/api/v1/system/version"
    )]
    #[case::config(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for A",
        Reason::BadConfig,
        "for A"
    )]
    #[case::config_of_something_else(
        "ValidationError: 1 validation error for Table\nRuntimeError: too many errors",
        Reason::Error,
        "RuntimeError: too many errors"
    )]
    #[case::no_class("ValueError: bad value", Reason::Error, "ValueError: bad value")]
    #[case::entry_point(
        "main.py: file x cannot be read",
        Reason::Error,
        "main.py: file x cannot be read"
    )]
    fn the_last_error_and_its_class(#[case] log: &str, #[case] reason: Reason, #[case] says: &str) {
        let cause = last_error(log).unwrap();
        assert_eq!(cause.reason, reason, "{cause:?}");
        assert!(cause.message.contains(says), "{cause:?}");
    }

    #[rstest]
    #[case::nothing("")]
    #[case::talk("[2026] INFO - the connection timed out, trying again\nprocessed 100 rows")]
    #[case::frame("  File \"x.py\", line 3, in connection_refused")]
    #[case::own("exit_handler.py: OpenMetadata: Connection refused")]
    #[case::part_of_a_word("NO_ERRORS were found")]
    fn no_error(#[case] log: &str) {
        assert_eq!(last_error(log), None);
    }

    #[rstest]
    #[case("ValueError: cannot connect with password=hunter2 to db", "hunter2")]
    #[case("ValueError: config {'username': 'u', 'password': 'hun ter2'}", "ter2")]
    #[case("ValueError: no driver for postgresql://om:hunter2@db/x", "hunter2")]
    #[case("ValueError: jdbc:pg://db/x?user=om&password=hunter2&ssl=1 timed out", "hunter2")]
    #[case("ValueError: sent Authorization: Bearer abcdef123456", "abcdef123456")]
    #[case("ValueError: token eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl refused", "eyJhbGciOi")]
    fn secrets_are_masked(#[case] log: &str, #[case] secret: &str) {
        let cause = last_error(log).unwrap();
        assert!(!cause.message.contains(secret), "{cause:?}");
        assert!(cause.message.starts_with("ValueError: "), "{cause:?}");
    }

    #[test]
    fn a_long_error_is_cut() {
        let cause = last_error(&format!("ValueError: {}", "ä".repeat(5000))).unwrap();
        assert_eq!(cause.message.chars().count(), MAX_ERROR + 1);
    }
}
