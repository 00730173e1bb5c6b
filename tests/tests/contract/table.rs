//! Each key of the configuration lands where the table says, and nowhere else.

use std::collections::BTreeSet;

use ompipe_core::config::PARAMETERS;
use ompipe_tests::contract::{ALL, Row, Stage, all_parameters, at, table};
use serde_json::{Map, Value, json};

use crate::workloads::{ByStage, views};

fn rows() -> Vec<Row> {
    table("of-the-table")
}

#[test]
fn every_parameter_is_in_the_table() {
    let parameters: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.key).collect();
    let mut listed: Vec<&str> = rows().iter().map(|row| row.key).collect();
    listed.sort_by_key(|key| parameters.iter().position(|parameter| parameter == key));
    assert_eq!(listed, parameters);
}

#[test]
fn every_row_says_what_it_means_for_every_workload() {
    for row in rows() {
        for stage in ALL {
            let promises = row.promised(stage).count();
            assert_eq!(promises, 1, "{} makes {promises} promises of {stage:?}", row.key);
        }
    }
}

#[test]
fn every_key_lands_where_the_table_says_and_nowhere_else() {
    let without = views(&json!({}));
    for row in rows() {
        let with = views(&row.parameters);
        for stage in ALL {
            check(&row, stage, &with, &without);
        }
    }
}

fn check(row: &Row, stage: Stage, with: &ByStage<Value>, without: &ByStage<Value>) {
    let (key, with, without) = (row.key, &with[&stage], &without[&stage]);
    for (pointer, value) in row.values(stage) {
        assert_eq!(at(with, pointer), value, "{key} on {stage:?} at {pointer}");
        assert_ne!(
            at(without, pointer),
            value,
            "{key} on {stage:?} at {pointer} is there without the key"
        );
    }
    for path in differences(without, with) {
        let is_told = row.values(stage).any(|(pointer, _)| is_same_branch(pointer, &path));
        assert!(is_told, "{key} on {stage:?} also changes {path}");
    }
}

/// True when one of two pointers leads through the other.
fn is_same_branch(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn no_key_gets_in_the_way_of_another() {
    let rows = rows();
    let views = views(&all_parameters(&rows));
    let together = rows.iter().filter(|row| !row.is_alternative);
    for (row, stage) in together.flat_map(|row| ALL.map(|stage| (row, stage))) {
        for (pointer, value) in row.values(stage) {
            assert_eq!(at(&views[&stage], pointer), value, "{} on {stage:?} at {pointer}", row.key);
        }
    }
}

/// Pointers to the outermost values in which two documents differ.
pub(crate) fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_differences("", one, other, &mut found);
    found
}

fn collect_differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (members(one), members(other)) {
        (Some(members), Some(others)) => {
            let keys: BTreeSet<&String> = members.keys().chain(others.keys()).collect();
            for key in keys {
                let path = format!("{path}/{}", key.replace('/', "~1"));
                let of = |members: &Map<String, Value>| members.get(key).cloned();
                let (one, other) = (of(&members), of(&others));
                collect_differences(
                    &path,
                    &one.unwrap_or_default(),
                    &other.unwrap_or_default(),
                    found,
                );
            }
        }
        _ if one == other => {}
        _ => found.push(path.to_owned()),
    }
}

/// The members of a map, or those of a list by their index.
fn members(value: &Value) -> Option<Map<String, Value>> {
    let by_index = |(index, value): (usize, &Value)| (index.to_string(), value.clone());
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Array(list) => Some(list.iter().enumerate().map(by_index).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
