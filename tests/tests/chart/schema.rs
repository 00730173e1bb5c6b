//! The schema knows every parameter of the program, and the comments every value.

use std::collections::BTreeSet;

use ompipe_core::config::PARAMETERS;
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../charts/ompipe/values.schema.json")).unwrap()
}

#[test]
fn every_parameter_of_the_program_may_be_given() {
    let schema = schema();
    let known = schema["$defs"]["block"]["properties"]["k8s"]["properties"].as_object().unwrap();
    let known: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    let ours: BTreeSet<&str> = PARAMETERS.iter().map(|parameter| parameter.key).collect();
    let missing: Vec<_> = ours.difference(&known).collect();
    assert!(missing.is_empty(), "the schema lacks {missing:?}");
    // Those of OpenMetadata's chart.
    let more: Vec<_> = known.difference(&ours).copied().collect();
    assert_eq!(more, ["className", "metadataApiEndpoint", "rbac", "securityContext"]);
}

#[test]
fn no_object_takes_unknown_keys_by_accident() {
    fn look(path: &str, schema: &Value, open: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            if schema["additionalProperties"] != false {
                open.push(path.to_owned());
            }
            for (key, value) in properties {
                look(&format!("{path}/{key}"), value, open);
            }
        }
    }
    let (schema, mut open) = (schema(), Vec::new());
    look("", &schema, &mut open);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        look(name, definition, &mut open);
    }
    // What belongs to OpenMetadata's chart.
    assert_eq!(open, ["/openmetadata", "/openmetadata/config", "block/airflow"]);
}

#[test]
fn the_version_is_that_of_the_program() {
    let chart =
        ompipe_core::yaml::parse(include_str!("../../../charts/ompipe/Chart.yaml")).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
