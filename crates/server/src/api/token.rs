//! Whether a text may be a token of Kubernetes for this service: what cannot be one is refused without
//! a question to Kubernetes, which anybody could otherwise make ask as often as they like.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

/// Longest token. Those of service accounts have about a kilobyte.
const MOST: usize = 16 << 10;

/// What a token says of itself, which only Kubernetes can confirm.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
    aud: Audiences,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

/// True for a JSON Web Token that has not expired and is for `audience`.
pub(super) fn may_be_for(audience: &str, token: &str, now: Timestamp) -> bool {
    let Some(claims) = claims(token) else { return false };
    let is_named = match &claims.aud {
        Audiences::One(one) => one == audience,
        Audiences::Many(many) => many.iter().any(|one| one == audience),
    };
    is_named && claims.exp > now.as_second()
}

fn claims(token: &str) -> Option<Claims> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return None };
    let is_whole = token.len() <= MOST && !signature.is_empty();
    URL_SAFE_NO_PAD.decode(header).ok().filter(|_| is_whole)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const LATER: i64 = 1_800_000_001;

    pub(in crate::api) fn token(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
    }

    #[rstest]
    #[case::many(json!({ "aud": ["x", "ompipe"], "exp": LATER }), true)]
    #[case::one(json!({ "aud": "ompipe", "exp": LATER }), true)]
    #[case::of_the_api_server(json!({ "aud": ["https://kubernetes.default.svc"], "exp": LATER }), false)]
    #[case::expired(json!({ "aud": ["ompipe"], "exp": 1_799_999_999 }), false)]
    #[case::without_an_end(json!({ "aud": ["ompipe"] }), false)]
    #[case::no_claims(json!([]), false)]
    fn tokens(#[case] claims: Value, #[case] expected: bool) {
        assert_eq!(may_be_for("ompipe", &token(&claims), NOW), expected);
    }

    #[rstest]
    #[case("")]
    #[case("token")]
    #[case("a.b.c")]
    #[case("..")]
    fn no_tokens(#[case] text: &str) {
        assert!(!may_be_for("ompipe", text, NOW));
    }
}
