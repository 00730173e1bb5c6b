//! Reads the fields of an untyped object and notes every problem instead of stopping at the
//! first (docs/adr/0008-reject-input-as-a-whole.md). Strings that spell numbers or booleans are
//! accepted, since Helm and environment variables can only give strings.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::{Problem, redaction};

/// One object being read: its path, its fields, which were asked for, what is wrong.
pub struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    asked: BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// Reads `map`, which is at `path` of the document (empty for the document itself).
    pub fn new(path: impl Into<String>, map: &'a Map<String, Value>) -> Self {
        Self { path: path.into(), map, asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value of a field; JSON null counts as absent.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// True when the field is there with the value null, which means *unset* where a default exists.
    pub fn is_null(&mut self, key: &'static str) -> bool {
        self.asked.insert(key);
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// A string field that parses into `T`; a number is taken as its text.
    pub fn parsed<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.value(key)?;
        let Some(text) = scalar_text(value) else {
            return self.note(key, "must be a string");
        };
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(remedy) => self.note(key, remedy),
        }
    }

    /// A string field, as it is.
    pub fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        value.as_str().or_else(|| self.note(key, "must be a string"))
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let number = scalar_text(value).and_then(|text| text.trim().parse().ok());
        number.filter(|number| range.contains(number)).or_else(|| {
            let (least, most) = range.into_inner();
            self.note(key, format!("must be a whole number from {least} to {most}"))
        })
    }

    /// True or false, in the words of YAML 1.1 too.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match scalar_text(value).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => self.note(key, "must be true or false"),
        }
    }

    /// An object field, read by `read` with the path extended.
    pub fn object<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Some(map) = self.value(key)?.as_object() else {
            return self.note(key, "must be a map");
        };
        let mut inner = Self::new(self.path_of(key), map);
        let read = read(&mut inner);
        self.problems.append(&mut inner.problems);
        Some(read)
    }

    /// Notes that a field is needed and absent.
    pub fn missing(&mut self, key: &'static str, remedy: impl Display) {
        self.problems
            .push(Problem::without_value(self.path_of(key), format!("is missing; {remedy}")));
    }

    /// Notes a problem with a field, showing its value unless it may be a secret; always `None`,
    /// so that it can end a read.
    pub fn note<T>(&mut self, key: &str, remedy: impl Display) -> Option<T> {
        let value = self.map.get(key).unwrap_or(&Value::Null);
        if redaction::mask(&json!({ key: value }))[key] != *value {
            return self.note_secret(key, remedy);
        }
        self.problems.push(Problem::new(self.path_of(key), value, remedy.to_string()));
        None
    }

    /// Notes a problem with a field without showing its value.
    pub fn note_secret<T>(&mut self, key: &str, remedy: impl Display) -> Option<T> {
        self.problems.push(Problem::without_value(self.path_of(key), remedy.to_string()));
        None
    }

    /// Adds problems found elsewhere.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }

    /// Refuses every field that was not asked for, with the nearest known one.
    pub fn refuse_unknown(&mut self) {
        let unknown = self.unknown();
        self.problems.extend(unknown);
    }

    /// A problem for each field that was not asked for, with the nearest known one.
    #[must_use]
    pub fn unknown(&self) -> Vec<Problem> {
        let unknown = self.map.keys().filter(|key| !self.asked.contains(key.as_str()));
        let problem = |key: &String| {
            let remedy = match nearest(key, self.asked.iter().copied()) {
                Some(known) => format!("is not a known key; did you mean {known}?"),
                None => "is not a known key; remove it".to_owned(),
            };
            Problem::without_value(self.path_of(key), remedy)
        };
        unknown.map(problem).collect()
    }

    /// Counts keys as known although their values are not used.
    pub fn know(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// As [`Self::refuse_unknown`], for a file: keys that begin with `x-` hold anchors for others.
    pub fn refuse_unknown_but_extensions(&mut self) {
        let map = self.map;
        let is_extension = |problem: &Problem| {
            map.keys().any(|key| key.starts_with("x-") && self.path_of(key) == problem.field)
        };
        let unknown = self.unknown();
        let refused: Vec<_> = unknown.into_iter().filter(|p| !is_extension(p)).collect();
        self.problems.extend(refused);
    }

    /// Everything noted.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The whole object.
    #[must_use]
    pub fn document(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// The keys that were asked for.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    /// The path of a field of this object in the document.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets.
        f.debug_struct("Fields").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The text of a string, number or boolean.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Below this Jaro-Winkler similarity a suggestion confuses more than it helps.
const LIKENESS: f64 = 0.85;

/// True when one key may be a misspelling of the other.
pub(crate) fn is_like(key: &str, other: &str) -> bool {
    likeness(key, other) >= LIKENESS
}

fn likeness(key: &str, other: &str) -> f64 {
    strsim::jaro_winkler(&key.to_lowercase(), &other.to_lowercase())
}

/// The known word most like `word`, if one is like it at all.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (likeness(word, candidate), candidate))
        .filter(|(score, _)| *score >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Members of a list that is written with commas, blanks dropped.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(document: &Value, read: impl FnOnce(&mut Fields<'_>)) -> Vec<String> {
        let mut fields = Fields::new("parameters", document.as_object().unwrap());
        read(&mut fields);
        fields.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_and_booleans_may_be_strings() {
        let document = json!({ "limit": "3", "on": "True" });
        let mut fields = Fields::new("", document.as_object().unwrap());
        assert_eq!(fields.integer("limit", 0..=9), Some(3));
        assert_eq!(fields.boolean("on"), Some(true));
        assert!(fields.into_problems().is_empty());
    }

    #[test]
    fn every_problem_is_noted() {
        let document = json!({ "limit": "many", "on": "maybe", "nested": { "size": -1 } });
        let noted = problems(&document, |fields| {
            fields.integer("limit", 0..=9);
            fields.boolean("on");
            fields.object("nested", |nested| nested.integer("size", 0..=9));
        });
        assert_eq!(
            noted,
            [
                r#"parameters.limit = "many": must be a whole number from 0 to 9"#,
                r#"parameters.on = "maybe": must be true or false"#,
                "parameters.nested.size = -1: must be a whole number from 0 to 9",
            ]
        );
    }

    #[test]
    fn a_secret_value_is_never_shown() {
        let document = json!({ "apiKey": ["hunter2"], "url": "http://u:hunter2@host" });
        let noted = problems(&document, |fields| {
            fields.string("apiKey");
            fields.integer("url", 0..=9);
        });
        assert!(noted.iter().all(|problem| !problem.contains("hunter2")), "{noted:?}");
        assert_eq!(noted.len(), 2);
    }

    #[test]
    fn unknown_keys_come_with_the_nearest_known_one_but_without_their_value() {
        let noted = problems(&json!({ "backofLimit": "s3cret", "zzz": 1 }), |fields| {
            fields.integer("backoffLimit", 0..=9);
            fields.refuse_unknown();
        });
        assert_eq!(
            noted,
            [
                "parameters.backofLimit: is not a known key; did you mean backoffLimit?",
                "parameters.zzz: is not a known key; remove it",
            ]
        );
    }
}
