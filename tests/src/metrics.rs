//! Names of metrics: those that the chart's alerts and its board ask for, and those that a program has.

use std::collections::BTreeSet;

use serde_json::Value;

/// What metrics of ours begin with.
const OURS: [&str; 3] = ["ompipe_", "omjob_", "process_"];

/// Every name of a metric that the alerts and the board among these objects ask for.
#[must_use]
pub fn asked_for(objects: &[Value]) -> BTreeSet<String> {
    let mut expressions = Vec::new();
    for object in objects {
        collect(&object["spec"]["groups"], &mut expressions);
        for (_, text) in object["data"].as_object().into_iter().flatten() {
            // What is no board is no JSON.
            let board = serde_json::from_str(text.as_str().unwrap_or_default());
            collect(&board.unwrap_or_default(), &mut expressions);
        }
    }
    expressions.iter().flat_map(|expression| names_in(expression)).collect()
}

/// The series of a page in the format of Prometheus, with the endings that kinds have.
#[must_use]
pub fn series(page: &str) -> BTreeSet<String> {
    let mut series = BTreeSet::new();
    for (name, kind) in families(page) {
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        series.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    series
}

/// The families of a page, each with its kind, as `OpenMetrics` names them: counters without their ending.
pub fn families(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    declared.map(|(name, kind)| match kind {
        "counter" => (name.strip_suffix("_total").unwrap_or(name), kind),
        _ => (name, kind),
    })
}

/// Every `expr` of a document.
fn collect(document: &Value, into: &mut Vec<String>) {
    match document {
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => {
            into.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, into));
        }
        _ => {}
    }
}

fn names_in(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| OURS.iter().any(|ours| word.starts_with(ours)));
    ours.map(str::to_owned)
}
