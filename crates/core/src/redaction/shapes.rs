//! Credentials that are known by their look alone.

use std::ops::Range;

/// Beginnings of tokens, and the length from which such a word is one.
const PREFIXES: [(&str, usize); 34] = [
    ("AKIA", 20),
    ("ASIA", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("gldt-", 20),
    ("xoxa-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxr-", 20),
    ("xoxs-", 20),
    ("xapp-", 20),
    ("sk-", 20),
    ("sk_live_", 20),
    ("sk_test_", 20),
    ("rk_live_", 20),
    ("AIza", 39),
    ("ya29.", 20),
    ("GOCSPX-", 20),
    ("npm_", 30),
    ("pypi-", 30),
    ("dapi", 32),
    ("dop_v1_", 30),
    ("dckr_pat_", 20),
    ("hvs.", 20),
    ("SG.", 30),
    ("shpat_", 20),
    ("lin_api_", 20),
    ("ATATT3", 30),
    ("AGE-SECRET-KEY-", 30),
];

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// The parts of `text` that look like a credential.
pub(super) fn credentials(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = armoured(text).into_iter().collect();
    found.extend(tokens(text).filter(|token| is_token(&text[token.clone()])));
    found.extend(after_scheme(text));
    found
}

/// A key or certificate in PEM, and all up to its end.
fn armoured(text: &str) -> Option<Range<usize>> {
    let begin = text.find(BEGIN)?;
    let end = text.rfind(END).filter(|end| *end > begin).map(|end| end + END.len());
    let end = end.and_then(|end| Some(end + text[end..].find("-----")? + "-----".len()));
    Some(begin..end.unwrap_or(text.len()))
}

/// The words of a text, of the characters that tokens have.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut at = 0;
    text.split_inclusive(move |c: char| !is_of_token(c)).map(move |word| {
        let begin = at;
        at += word.len();
        let word = word.trim_end_matches(|c: char| !is_of_token(c) || c == '.');
        begin..begin + word.len()
    })
}

fn is_token(word: &str) -> bool {
    is_jwt(word) || PREFIXES.iter().any(|(prefix, least)| has_prefix(word, prefix, *least))
}

/// Three base64url parts, the first a JSON object; five where it is encrypted.
fn is_jwt(word: &str) -> bool {
    word.starts_with("eyJ") && matches!(word.split('.').count(), 3 | 5)
}

fn has_prefix(word: &str, prefix: &str, least: usize) -> bool {
    if word.len() < least || !word.starts_with(prefix) {
        return false;
    }
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    match prefix {
        "AKIA" | "ASIA" => word.len() == 20 && word.bytes().all(is_upper),
        "dapi" => word["dapi".len()..].bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
        // Words of a language have no digits.
        _ => word.bytes().any(|byte| byte.is_ascii_digit()),
    }
}

/// What follows the scheme of an `Authorization` header.
fn after_scheme(text: &str) -> impl Iterator<Item = Range<usize>> {
    ["Bearer ", "Basic ", "bearer ", "basic "].into_iter().flat_map(move |scheme| {
        text.match_indices(scheme).filter_map(move |(at, scheme)| {
            let begin = at + scheme.len();
            let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ')');
            let end = text[begin..].find(is_end).map_or(text.len(), |end| begin + end);
            let word = &text[begin..end];
            let is_credential = word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit());
            is_credential.then_some(begin..end)
        })
    })
}
