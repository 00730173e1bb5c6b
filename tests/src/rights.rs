//! Rights, as Roles grant them and as calls of the API server need them.

use std::collections::BTreeSet;
use std::fmt;

use axum::http::Method;
use serde_json::{Value, json};

use crate::api_proxy::ApiCall;

/// One right, shown as `verb resource.group`, such as `get pods/log` or `list jobs.batch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// What may be done.
    pub verb: String,
    /// With which resource, or resource and subresource.
    pub resource: String,
    /// Its API group; empty for the core.
    pub group: String,
}

impl Right {
    /// Every right of a Role's rules.
    #[must_use]
    pub fn of_rules(rules: &Value) -> BTreeSet<Self> {
        let mut rights = BTreeSet::new();
        for rule in rules.as_array().into_iter().flatten() {
            for (group, resource) in product(&rule["apiGroups"], &rule["resources"]) {
                let right = |verb| Self { verb, resource: resource.clone(), group: group.clone() };
                rights.extend(texts(&rule["verbs"]).map(right));
            }
        }
        rights
    }

    /// The rules that grant these rights.
    pub fn to_rules<'r>(rights: impl IntoIterator<Item = &'r Self>) -> Value {
        let rule = |right: &Self| {
            let Self { verb, resource, group } = right;
            json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] })
        };
        rights.into_iter().map(rule).collect()
    }

    /// The right that a call needs; `None` for what is no resource, such as the version.
    #[must_use]
    pub fn of_call(call: &ApiCall) -> Option<Self> {
        let parts: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts[..] {
            ["api", _, ref rest @ ..] => ("", rest),
            ["apis", group, _, ref rest @ ..] => (group, rest),
            _ => return None,
        };
        let rest = if let ["namespaces", _, rest @ ..] = rest { rest } else { rest };
        let (resource, named) = match *rest {
            [kind] => (kind.to_owned(), false),
            [kind, _] => (kind.to_owned(), true),
            [kind, _, part] => (format!("{kind}/{part}"), true),
            _ => return None,
        };
        let verb = verb(call, named).to_owned();
        Some(Self { verb, resource, group: group.to_owned() })
    }

    /// The rights that a call used, as its answer tells: an apply that made an object needed the
    /// right to create it too.
    #[must_use]
    pub fn of_answer(call: &ApiCall, code: u16) -> Vec<Self> {
        let Some(right) = Self::of_call(call) else { return Vec::new() };
        let has_created = call.method == Method::PATCH && code == 201;
        let create = has_created.then(|| Self { verb: "create".to_owned(), ..right.clone() });
        [Some(right), create].into_iter().flatten().collect()
    }

    /// How the API server words that somebody lacks it.
    #[must_use]
    pub fn refusal(&self) -> String {
        format!("cannot {} resource \"{}\"", self.verb, self.resource)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, group } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group}")
    }
}

/// Rights by their names.
pub fn names<'r>(rights: impl IntoIterator<Item = &'r Right>) -> BTreeSet<String> {
    rights.into_iter().map(Right::to_string).collect()
}

fn verb(call: &ApiCall, named: bool) -> &'static str {
    match call.method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ if call.query.contains("watch=") => "watch",
        _ if named => "get",
        _ => "list",
    }
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned)
}

fn product(groups: &Value, resources: &Value) -> Vec<(String, String)> {
    texts(groups).flat_map(|g| texts(resources).map(move |r| (g.clone(), r))).collect()
}
