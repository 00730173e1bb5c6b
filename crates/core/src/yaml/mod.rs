//! YAML in and out; the only module that knows which libraries do it.
//!
//! Input keeps what the user wrote: see the module `compose`.
//!
//! Output is read by `PyYAML` (YAML 1.1) in the ingestion worker, so every string that YAML 1.1
//! would take for something else (`yes`, `12:30`, `1e3`) is quoted. `tests/` holds the proof
//! against the real parser.

mod compose;

use serde::Serialize;
use serde_json::Value;

use compose::DuplicateKeys;

/// Why a text could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML (or JSON, its subset). The message has the place but never the text around it,
    /// which could hold a password.
    #[error("not valid YAML or JSON: {0}")]
    Syntax(String),
    /// More than one document; which of them is meant is not for us to guess.
    #[error("holds several YAML documents; give each a file of its own")]
    SeveralDocuments,
    /// More text than any sane document has.
    #[error("{bytes} bytes are more than the {MAX_BYTES} that are read")]
    TooLong {
        /// Size of the text.
        bytes: usize,
    },
}

/// Longest document that is read: far over the largest config that can run, for a Secret holds 1 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// Reads one YAML or JSON document into an untyped value. Plain scalars that YAML 1.1 and 1.2 read
/// differently, or whose number would be written otherwise, stay text.
///
/// # Errors
/// No YAML, a tag that is not YAML's own, several documents, or too much of it.
pub fn parse(text: &str) -> Result<Value, Error> {
    read(text, DuplicateKeys::Refuse)
}

/// Reads a stream of YAML documents, or one of JSON; empty documents are left out.
///
/// # Errors
/// As [`parse`], except that there may be several.
pub fn parse_all(text: &str) -> Result<Vec<Value>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong { bytes: text.len() });
    }
    let parsed: Result<Vec<Value>, Error> = documents(text).iter().map(|one| parse(one)).collect();
    Ok(parsed?.into_iter().filter(|document| !document.is_null()).collect())
}

/// The documents of a stream, each with as many empty lines before it that its lines have the same
/// numbers as in the stream. Nothing but a separator may begin with `---` at the start of a line
/// (YAML 1.2.2, section 9.1.2).
fn documents(text: &str) -> Vec<String> {
    let is_separator = |line: &str| {
        line.strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    let mut documents = vec![String::new()];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match documents.last_mut() {
            Some(last) if !is_separator(line) => last.push_str(line),
            _ => documents.push("\n".repeat(number) + line),
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

/// Reads a document that another program wrote for `PyYAML`: of a key that occurs twice, the last one
/// counts, as there.
///
/// # Errors
/// As [`parse`].
pub fn parse_leniently(text: &str) -> Result<Value, Error> {
    read(text, DuplicateKeys::LastWins)
}

fn read(text: &str, duplicates: DuplicateKeys) -> Result<Value, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong { bytes: text.len() });
    }
    compose::compose(text, duplicates)
}

/// Writes a value as one YAML document; every string on one line, quoted where need be.
///
/// # Errors
/// Only for values that no YAML can hold; a [`Value`] never is one.
pub fn render<T: Serialize>(value: &T) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).map_err(|e| Error::Syntax(e.to_string()))
}

/// Writes a value for people: as [`render`], but a text of several lines becomes a block.
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

    #[test]
    fn a_stream_has_several_documents_and_its_own_line_numbers() {
        let all = parse_all("---\na: 1\n--- # two\nb: |\n  ---\n---\n").unwrap();
        assert_eq!(all, [serde_json::json!({ "a": 1 }), serde_json::json!({ "b": "---\n" })]);
        assert_eq!(parse_all("").unwrap(), Vec::<Value>::new());
        let broken = parse_all("a: 1\n---\nb: 1\n c: [").unwrap_err().to_string();
        assert!(broken.contains("line 4"), "{broken}");
    }

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

    #[rstest]
    #[case("y")]
    #[case("n")]
    #[case("NO")]
    #[case("on")]
    #[case("Off")]
    #[case("yes")]
    #[case("012345678901")]
    #[case("0123")]
    #[case("00")]
    #[case("0o14")]
    #[case("0x1F")]
    #[case("0b11")]
    #[case("1_000")]
    #[case("2024_01")]
    #[case("1e3")]
    #[case("1.0e+3")]
    #[case("61e9540")]
    #[case("1e999")]
    #[case(".inf")]
    #[case("-.INF")]
    #[case(".nan")]
    #[case("1.10")]
    #[case("1.")]
    #[case(".5")]
    #[case("+5")]
    #[case("-0")]
    #[case("12:30:45")]
    #[case("2024-01-01")]
    #[case("123456789012345678901234567890")]
    #[case("0.1234567890123456789")]
    #[case("=")]
    fn a_scalar_with_two_readings_stays_text(#[case] text: &str) {
        let document = parse(&format!("a: {text}\nb: [{text}]\n{text}: c\n")).unwrap();
        assert_eq!(document, json!({ "a": text, "b": [text], text: "c" }));
    }

    #[rstest]
    #[case("12", json!(12))]
    #[case("-7", json!(-7))]
    #[case("0", json!(0))]
    #[case("18446744073709551615", json!(u64::MAX))]
    #[case("1.5", json!(1.5))]
    #[case("50.0", json!(50.0))]
    #[case("true", json!(true))]
    #[case("False", json!(false))]
    #[case("~", Value::Null)]
    #[case("", Value::Null)]
    #[case("!!str 12", json!("12"))]
    #[case("! 12", json!("12"))]
    #[case("!!int 12", json!(12))]
    #[case("!!float 1", json!(1.0))]
    #[case("!!null ~", Value::Null)]
    #[case("'yes'", json!("yes"))]
    #[case("|-\n  1\n  2", json!("1\n2"))]
    fn a_scalar_with_one_reading_has_it(#[case] text: &str, #[case] value: Value) {
        assert_eq!(parse(&format!("a: {text}\n")).unwrap()["a"], value);
    }

    #[test]
    fn numbers_of_json_have_one_reading() {
        let document = parse(r#"{"a": 1e3, "b": 1.10, "c": [-0.0, 1E2], "d": "1e3"}"#).unwrap();
        assert_eq!(document, json!({ "a": 1e3, "b": 1.1, "c": [-0.0, 1e2], "d": "1e3" }));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let text = "base: &base { a: 1, b: 2 }\nother: &other { b: 3, c: 4 }\n\
                    one: { <<: *base, b: 9 }\ntwo: { <<: [*base, *other] }\nlist: [*base]\n\
                    quoted: { '<<': 1 }\n&key k: *key\n";
        let document = parse(text).unwrap();
        assert_eq!(document["one"], json!({ "a": 1, "b": 9 }));
        assert_eq!(document["two"], json!({ "a": 1, "b": 2, "c": 4 }));
        assert_eq!(document["list"], json!([{ "a": 1, "b": 2 }]));
        assert_eq!(document["quoted"], json!({ "<<": 1 }));
        assert_eq!(document["k"], json!("k"));
    }

    #[test]
    fn line_ends_and_byte_order_marks_do_not_matter() {
        let text = "# comment\na: one\nb: [1, 2] # two\nc: |\n  x\n  y\n";
        let expected = json!({ "a": "one", "b": [1, 2], "c": "x\ny\n" });
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(&text.replace('\n', "\r\n")).unwrap(), expected);
        assert_eq!(parse(&format!("\u{feff}{text}")).unwrap(), expected);
        assert_eq!(parse(&format!("\u{feff}---\r\n{text}")).unwrap(), expected);
        assert_eq!(parse("\u{feff}{\"a\": 1e3}").unwrap(), json!({ "a": 1e3 }));
    }

    #[rstest]
    #[case("a: 1\n---\n")]
    #[case("---\n---\na: 1\n...\n")]
    #[case("%YAML 1.1\n---\na: 1\n")]
    fn documents_without_content_are_passed_over(#[case] text: &str) {
        assert_eq!(parse(text).unwrap(), json!({ "a": 1 }));
    }

    #[test]
    fn several_documents_are_refused() {
        let error = parse("a: hunter2\n---\nb: hunter2\n").unwrap_err().to_string();
        assert_eq!(error, "holds several YAML documents; give each a file of its own");
        assert_eq!(parse("").unwrap(), Value::Null);
    }

    #[test]
    fn a_key_that_stands_twice_is_named_or_the_last_counts() {
        let error = parse("a: 1\nb:\n  a: hunter2\n  a: hunter2\n").unwrap_err().to_string();
        assert_eq!(error, "not valid YAML or JSON: the key \"a\" stands twice (line 4, column 3)");
        assert!(parse(r#"{"a": 1, "a": 2}"#).is_err());
        assert_eq!(parse_leniently("a: 1\na: 2\n").unwrap(), json!({ "a": 2 }));
    }

    #[test]
    fn aliases_and_nesting_have_limits() {
        let level = |level: usize| {
            let items = [format!("*a{}", level - 1).as_str(); 9].join(", ");
            format!("a{level}: &a{level} [{items}]\n")
        };
        let levels = (1..12).map(level).collect::<String>();
        let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{levels}");
        assert!(parse(&bomb).unwrap_err().to_string().contains("aliases"));
        assert!(parse("a: &a [*a]").unwrap_err().to_string().contains("alias"));
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[rstest]
    #[case("jwtToken: hunter2-secret\n  bad: [")]
    #[case("jwtToken: *hunter2")]
    #[case("jwtToken: !hunter2 x")]
    #[case("jwtToken: !hunter2 [x]")]
    #[case("jwtToken: !hunter2 {x: y}")]
    #[case("jwtToken: !<hunter2> x")]
    #[case("jwtToken: !e!hunter2 x")]
    #[case("jwtToken: !!binary hunter2")]
    #[case("jwtToken: !!hunter2 x")]
    #[case("jwtToken: !!int hunter2")]
    #[case("jwtToken: !!float hunter2")]
    #[case("jwtToken: !!bool hunter2")]
    #[case("jwtToken: !!timestamp hunter2")]
    #[case("jwtToken: 'hunter2' hunter2")]
    #[case("jwtToken: \"hunter2\\q\"")]
    #[case("jwtToken: \"hunter2")]
    #[case("jwtToken: [hunter2")]
    #[case("jwtToken: @hunter2")]
    #[case("jwtToken: %hunter2")]
    #[case("jwtToken: `hunter2")]
    #[case("jwtToken: hunter2: x")]
    #[case("jwtToken: { <<: hunter2 }")]
    #[case("jwtToken: { [hunter2]: x }")]
    #[case("jwtToken:\n\thunter2: x")]
    #[case("{\"jwtToken\": \"hunter2\"")]
    fn errors_have_a_place_and_never_the_text(#[case] text: &str) {
        let error = parse(text).unwrap_err().to_string();
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
