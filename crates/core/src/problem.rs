//! What is wrong with an input: every problem at once, each with its field, the value found and
//! what would be right (docs/adr/0008-reject-input-as-a-whole.md).

use std::fmt;

use serde_json::Value;

/// One thing wrong with one field of an input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Path of the field, as the user would write it: `parameters.backoffLimit`.
    pub field: String,
    /// The offending value, shortened; `None` when the field is absent or its value is secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is allowed, or what to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem with a field whose value may be shown.
    pub fn new(field: impl Into<String>, value: &Value, remedy: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            value: Some(shorten(&value.to_string())),
            remedy: remedy.into(),
        }
    }

    /// A problem with a field that is absent, or whose value must not be shown.
    pub fn without_value(field: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), value: None, remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.field, self.remedy),
            None => write!(f, "{}: {}", self.field, self.remedy),
        }
    }
}

/// Everything wrong with one input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// What was being read: `configuration`, `ingestion pipeline`.
    pub subject: &'static str,
    /// The problems, in the order of the fields.
    pub list: Vec<Problem>,
}

impl Problems {
    /// A single problem.
    #[must_use]
    pub fn one(subject: &'static str, problem: Problem) -> Self {
        Self { subject, list: vec![problem] }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{count} {noun} in the {}:", self.subject)?;
        self.list.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

/// Longest value shown in a message, in characters.
const SHOWN_CHARS: usize = 80;

/// `text`, cut to a length that fits a message.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_field_value_and_remedy() {
        let problem = Problem::new("parameters.backoffLimit", &json!("x"), "must be a number");
        assert_eq!(problem.to_string(), r#"parameters.backoffLimit = "x": must be a number"#);
    }

    #[test]
    fn lists_every_problem() {
        let list = ["a", "b"].map(|field| Problem::without_value(field, "is missing")).to_vec();
        assert_eq!(
            Problems { subject: "configuration", list }.to_string(),
            "2 problems in the configuration:\n  - a: is missing\n  - b: is missing"
        );
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let shown = Problem::new("name", &json!("ü".repeat(500)), "is too long").value.unwrap();
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 1);
    }
}
