//! YAML in and out; the only module that knows which library does it.
//!
//! Output is read by `PyYAML` (YAML 1.1) in the ingestion worker, so every string that YAML 1.1
//! would take for something else (`yes`, `12:30`, `1e3`) is quoted. `tests/` holds the proof
//! against the real parser.

use serde::Serialize;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

/// Why a text could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML (or JSON, its subset). The message has the place but never the text around it,
    /// which could hold a password.
    #[error("not valid YAML or JSON: {0}")]
    Syntax(String),
    /// More text than any sane document has.
    #[error("{bytes} bytes are more than the {MAX_BYTES} that are read")]
    TooLong {
        /// Size of the text.
        bytes: usize,
    },
}

/// Longest document that is read: far over the largest config that can run (design §6).
pub const MAX_BYTES: usize = 4 << 20;

/// Reads one YAML or JSON document into an untyped value.
pub fn parse(text: &str) -> Result<Value, Error> {
    read(text, DuplicateKeyPolicy::Error)
}

/// Reads a document that somebody else wrote for `PyYAML`: of a key that stands twice, the last one
/// counts, as there.
pub fn parse_leniently(text: &str) -> Result<Value, Error> {
    read(text, DuplicateKeyPolicy::LastWins)
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong { bytes: text.len() });
    }
    let options = serde_saphyr::options! { with_snippet: false, duplicate_keys: duplicate_keys };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| Error::Syntax(e.to_string()))
}

/// Writes a value as one YAML document; every string on one line, quoted where need be.
///
/// # Errors
/// Only for values that no YAML can hold; a [`Value`] never is one.
pub fn render<T: Serialize>(value: &T) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).map_err(|e| Error::Syntax(e.to_string()))
}

/// Writes a value for people: as [`render`], but a text of several lines stands as a block.
///
/// # Errors
/// As [`render`].
pub fn render_readable<T: Serialize>(value: &T) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(|e| Error::Syntax(e.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::yaml_1_1_boolean(json!("yes"))]
    #[case::sexagesimal(json!("12:30"))]
    #[case::timestamp(json!("2001-01-01"))]
    #[case::octal(json!("0o14"))]
    #[case::null(json!("~"))]
    #[case::exponent(json!("1e3"))]
    fn quotes_what_a_yaml_1_1_reader_would_change(#[case] value: Value) {
        let text = render(&json!({ "key": value })).unwrap();
        assert!(text.contains(['\'', '"']), "{text}");
        assert_eq!(parse(&text).unwrap()["key"], value);
    }

    #[test]
    fn a_text_of_several_lines_is_a_block_for_people() {
        let document = json!({ "config": "a: 1\nb: 2\n" });
        assert_eq!(render_readable(&document).unwrap(), "config: |\n  a: 1\n  b: 2\n");
        assert_eq!(render(&document).unwrap(), "config: \"a: 1\\nb: 2\\n\"\n");
    }

    #[test]
    fn syntax_errors_do_not_repeat_the_text() {
        let error = parse("jwtToken: hunter2-secret\n  bad: [").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("line"), "{error}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in any_json()) {
            let document = json!({ "document": value });
            prop_assert_eq!(&parse(&render(&document).unwrap()).unwrap(), &document);
            prop_assert_eq!(&parse(&render_readable(&document).unwrap()).unwrap(), &document);
        }
    }
}
