//! `podTemplate` at its three levels: of every pod, of one service, of one pipeline.

use ompipe_tests::contract::{
    ALL, EXIT_HANDLERS, OF_PIPELINES, PIPELINE_FQN, SERVICE, Stage, WORKERS,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::workloads::{pods, views};

fn container(fields: Value) -> Value {
    let mut container = fields;
    container["name"] = "main".into();
    json!({ "spec": { "containers": [container] } })
}

#[test]
fn the_more_special_template_wins_where_they_disagree() {
    let named = |name: &str, own: &str| json!({ "metadata": { "annotations": { "level": name, own: "yes" } } });
    let parameters = json!({
        "podAnnotations": { "level": "annotations" },
        "podTemplate": named("every", "of-every"),
        "servicePodTemplates": { SERVICE: named("service", "of-service"), "x": named("x", "of-x") },
        "pipelinePodTemplates": { PIPELINE_FQN: named("pipeline", "of-pipeline") },
    });
    let pods = pods(&parameters);
    for stage in ALL {
        let annotations = pods[&stage].metadata.as_ref().unwrap().annotations.as_ref().unwrap();
        let is_of_pipeline = OF_PIPELINES.contains(&stage);
        let level = if is_of_pipeline { "pipeline" } else { "every" };
        assert_eq!(annotations["level"], level, "{stage:?}");
        assert!(annotations.contains_key("of-every"), "{stage:?}");
        for key in ["of-service", "of-pipeline"] {
            assert_eq!(annotations.contains_key(key), is_of_pipeline, "{key} on {stage:?}");
        }
        assert!(!annotations.contains_key("of-x"), "{stage:?}");
    }
}

/// What a template says of the container, at each level.
#[rstest]
#[case::every(|template| json!({ "podTemplate": template }))]
#[case::service(|template| json!({ "servicePodTemplates": { SERVICE: template } }))]
#[case::pipeline(|template| json!({ "pipelinePodTemplates": { PIPELINE_FQN: template, "tagger": template } }))]
fn a_template_changes_what_the_worker_runs_and_never_its_exit_handler(
    #[case] at_level: fn(Value) -> Value,
) {
    let changes = json!({
        "image": "worker:2", "command": ["sh"], "args": ["-c", "true"],
        "resources": { "limits": { "memory": "9Gi" } },
    });
    let (before, after) = (views(&json!({})), views(&at_level(container(changes.clone()))));
    for stage in EXIT_HANDLERS {
        assert_eq!(after[&stage]["pod"], before[&stage]["pod"], "{stage:?}");
    }
    for stage in OF_PIPELINES.into_iter().filter(|stage| WORKERS.contains(stage)) {
        let main = &after[&stage]["pod"]["spec"]["containers"][0];
        for key in ["image", "args"] {
            assert_eq!(main[key], changes[key], "{key} on {stage:?}");
        }
        // A Job's shell wrapper runs the template's command, which are its last words.
        let (command, wanted) = (main["command"].as_array(), changes["command"].as_array());
        assert!(command.unwrap().ends_with(wanted.unwrap()), "command on {stage:?}: {command:?}");
        assert_eq!(main["resources"]["limits"]["memory"], "9Gi", "{stage:?}");
        assert_eq!(main["resources"]["requests"]["memory"], "1Gi", "{stage:?}");
    }
}

#[test]
fn the_rest_of_a_template_is_on_the_exit_handler_too() {
    let template = json!({ "podTemplate": {
        "spec": {
            "priorityClassName": "low",
            "containers": [{ "name": "main", "env": [{ "name": "HTTPS_PROXY", "value": "http://p" }] }],
        },
    }});
    for (stage, view) in views(&template) {
        let spec = &view["pod"]["spec"];
        assert_eq!(spec["priorityClassName"], "low", "{stage:?}");
        let variables = spec["containers"][0]["env"].as_array().unwrap();
        assert!(variables.iter().any(|variable| variable["name"] == "HTTPS_PROXY"), "{stage:?}");
    }
}

#[test]
fn a_variable_of_a_template_replaces_the_whole_variable() {
    let of_node = json!({ "fieldRef": { "fieldPath": "spec.nodeName" } });
    let secret = json!({ "secretKeyRef": { "name": "s", "key": "k" } });
    let level = |value: Value| container(json!({ "env": [value] }));
    let parameters = json!({
        "extraEnvVars": ["A:1"],
        "podTemplate": level(json!({ "name": "A", "valueFrom": of_node })),
        "servicePodTemplates": { SERVICE: level(json!({ "name": "A", "valueFrom": secret })) },
    });
    for (stage, view) in views(&parameters) {
        let variables = view["pod"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let found = variables.iter().filter(|variable| variable["name"] == "A");
        let expected = if OF_PIPELINES.contains(&stage) { &secret } else { &of_node };
        let expected = json!({ "name": "A", "valueFrom": expected });
        assert_eq!(found.collect::<Vec<_>>(), [&expected], "{stage:?}");
    }
}

#[test]
fn lists_are_merged_by_the_keys_that_kubernetes_has_for_them() {
    let parameters = json!({
        "extraEnvVars": ["TZ:1", "LANG:1"],
        "podTemplate": { "spec": {
            "containers": [
                { "name": "main", "env": [{ "name": "LANG", "value": "2" }, { "name": "C", "value": "3" }] },
                { "name": "proxy", "image": "p" },
            ],
        }},
    });
    let views = views(&parameters);
    for stage in [Stage::Job, Stage::CronJob, Stage::OmJobMain, Stage::CronOmJobMain] {
        let containers = views[&stage]["pod"]["spec"]["containers"].as_array().unwrap().clone();
        assert_eq!(containers.len(), 2, "{stage:?}");
        let extra: Vec<_> = containers[0]["env"].as_array().unwrap()[7..].to_vec();
        let pair = |name, value| json!({ "name": name, "value": value });
        assert_eq!(extra, [pair("TZ", "1"), pair("LANG", "2"), pair("C", "3")], "{stage:?}");
    }
}
