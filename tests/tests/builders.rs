//! The workflow configs that we make, beside those that the builders of a stock server's Airflow plugin
//! make of the same pipelines (`vectors/builders.json`, recorded by `vectors/builders/record`). Whatever
//! differs is in [`ARGUED`]: a difference that is not there fails, and so does one that is there and
//! does not occur.

#![expect(clippy::unwrap_used, reason = "a broken recording fails the test at once")]

use std::collections::BTreeSet;

use ompipe_core::{IngestionPipeline, Service, WorkflowConfig, yaml};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A pipeline, and what a builder made of it.
#[derive(Deserialize)]
struct Recorded {
    title: String,
    pipeline: Value,
    service: Option<Value>,
    config: Value,
}

/// A difference with its reason in `docs/upstream-differences.md`.
struct Argued {
    /// Where, in the config.
    place: &'static str,
    /// Whether theirs and ours differ as argued.
    is: fn(&Value, &Value) -> bool,
}

const ARGUED: [Argued; 5] = [
    Argued { place: "enableStreamableLogs", is: |theirs, ours| *theirs == false && ours.is_null() },
    Argued { place: "source.serviceConnection", is: |_, ours| ours.is_null() },
    Argued {
        place: "source.serviceConnection.config.type",
        is: |theirs, ours| theirs.is_null() && ours == "MetadataES",
    },
    Argued {
        place: "workflowConfig.raiseOnError",
        is: |theirs, ours| *theirs == true && ours.is_null(),
    },
    Argued {
        place: "source.sourceConfig.config.dbtConfigSource.dbtCloudUrl",
        is: |theirs, ours| theirs.as_str().unwrap().strip_suffix('/') == ours.as_str(),
    },
];

fn recorded() -> Vec<Recorded> {
    serde_json::from_str(include_str!("../vectors/builders.json")).unwrap()
}

/// What we make of it.
fn ours(case: &Recorded) -> Value {
    let pipeline = IngestionPipeline::read(&case.pipeline).unwrap();
    let service = case.service.as_ref().map(|service| Service::read(service).unwrap());
    let config = WorkflowConfig::build(&pipeline, service.as_ref()).unwrap();
    yaml::parse(config.text().expose_secret()).unwrap()
}

/// Equal, and 3 is 3.0.
fn is_same(theirs: &Value, ours: &Value) -> bool {
    theirs == ours || theirs.as_f64().is_some_and(|number| ours.as_f64() == Some(number))
}

/// The places in which two documents differ, `a.b.c`, and what stands there.
fn differences(place: &str, theirs: &Value, ours: &Value) -> Vec<(String, [Value; 2])> {
    if is_same(theirs, ours) {
        return Vec::new();
    }
    let (Value::Object(theirs), Value::Object(ours)) = (theirs, ours) else {
        return vec![(place.to_owned(), [theirs, ours].map(Value::clone))];
    };
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let below =
        |key: &String| if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
    let at = |document: &Map<String, Value>, key: &String| {
        document.get(key).cloned().unwrap_or_default()
    };
    keys.into_iter()
        .flat_map(|key| differences(&below(key), &at(theirs, key), &at(ours, key)))
        .collect()
}

#[test]
fn our_configs_are_those_of_the_builders_but_for_what_is_argued() {
    let mut seen = BTreeSet::new();
    for case in recorded() {
        for (place, [theirs, ours]) in differences("", &case.config, &ours(&case)) {
            let argued = ARGUED.iter().find(|argued| argued.place == place);
            let what = format!("{}: {place}: {theirs} and {ours}", case.title);
            assert!(argued.is_some_and(|argued| (argued.is)(&theirs, &ours)), "{what}");
            seen.insert(place);
        }
    }
    assert_eq!(seen, ARGUED.map(|argued| argued.place.to_owned()).into(), "what is argued occurs");
}

#[test]
fn every_type_that_has_a_builder_is_recorded_and_every_argument_written_down() {
    let types: BTreeSet<String> =
        recorded().iter().map(|case| case.pipeline["pipelineType"].to_string()).collect();
    // Those of the plugin's registry.
    assert_eq!(types.len(), 9, "{types:?}");
    let document = include_str!("../../docs/upstream-differences.md");
    for argued in ARGUED {
        assert!(document.contains(&format!("| `{}` |", argued.place)), "{}", argued.place);
    }
}
