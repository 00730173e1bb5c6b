//! The rules that hold for every pod.

use ompipe_api::StagePodSpec;
use ompipe_core::config::{CONFIG_FILE_ENV, RESERVED_ENV, is_reserved_env};
use ompipe_core::labels;
use ompipe_tests::contract::{OF_PIPELINES, Stage, WORKERS, all_parameters, table};
use rstest::rstest;
use serde_json::{Value, json};

use crate::table::differences;
use crate::workloads::{pods, read, run, views};

/// Nothing set, everything set, and templates that say what an `OMJob` cannot say by itself.
fn configurations() -> [Value; 4] {
    let template = json!({ "podTemplate": {
        "metadata": { "labels": { "team": "data" }, "annotations": { "a": "b" }, "finalizers": ["example.org/kept"] },
        "spec": {
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] },
            ] } } },
            "initContainers": [{ "name": "wait", "image": "i", "restartPolicy": "Always" }],
            "containers": [
                { "name": "proxy", "image": "p" },
                {
                    "name": "main", "args": ["--verbose"], "workingDir": "/w",
                    "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
                    "envFrom": [{ "configMapRef": { "name": "more" } }],
                    "resources": { "claims": [{ "name": "gpu" }], "limits": { "gpu": "1" } },
                    "volumeMounts": [{ "name": "cache", "mountPath": "/cache" }],
                },
            ],
            "volumes": [{ "name": "cache", "emptyDir": {} }],
            "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["db"] }],
            "tolerations": [{ "key": "spot" }],
            "securityContext": { "supplementalGroups": [7] },
            "imagePullSecrets": [{ "name": "registry" }],
            "dnsConfig": { "options": [{ "name": "ndots", "value": "2" }] },
            "runtimeClassName": "gvisor",
        },
    }});
    let all = all_parameters(&table("of-the-table"));
    let mut supervised = all.clone();
    supervised["exitHandlerImage"] = "registry.local/exit-handler".into();
    [json!({}), all, template, supervised]
}

#[test]
fn an_om_job_can_say_every_pod() {
    for parameters in configurations() {
        for (stage, pod) in pods(&parameters) {
            let again = StagePodSpec::of_template(pod.clone()).to_template();
            assert_eq!(again, pod, "{stage:?} with {parameters}");
        }
    }
}

/// Where the pods of two stages differ.
fn differing(parameters: &Value, one: Stage, other: Stage) -> Vec<String> {
    let views = views(parameters);
    differences(&views[&one]["pod"], &views[&other]["pod"])
}

/// How the labels begin that Kueue reads.
const KUEUE: &str = "/metadata/labels/kueue.x-k8s.io";

#[rstest]
#[case(Stage::Job, Stage::CronJob)]
#[case(Stage::OmJobMain, Stage::CronOmJobMain)]
#[case(Stage::OmJobExit, Stage::CronOmJobExit)]
fn manual_and_scheduled_runs_differ_only_in_where_the_id_comes_from(
    #[case] manual: Stage,
    #[case] scheduled: Stage,
) {
    let allowed = [
        "/metadata/labels/app.kubernetes.io~1run-id",
        "/spec/containers/0/env/2/value",
        "/spec/containers/0/env/2/valueFrom",
        "/spec/containers/0/env/4/value",
        "/spec/containers/0/env/4/valueFrom",
    ];
    for parameters in configurations() {
        for path in differing(&parameters, manual, scheduled) {
            assert!(allowed.contains(&path.as_str()), "{path} with {parameters}");
        }
    }
}

#[rstest]
#[case(Stage::Job, Stage::OmJobMain, &["/spec/containers/0/lifecycle"])]
#[case(Stage::Application, Stage::ApplicationMain, &[])]
fn the_modes_differ_only_in_who_reports_the_end(
    #[case] job: Stage,
    #[case] om_job: Stage,
    #[case] expected: &[&str],
) {
    for parameters in configurations() {
        let mut expected = expected.to_vec();
        if is_supervised(&parameters) {
            expected.retain(|path| *path != "/spec/containers/0/lifecycle");
        }
        let mut differing = differing(&parameters, job, om_job);
        // What reports from the worker's container comes before its command. Kueue reads the labels of a
        // Job, and those of an OMJob's pod.
        differing.retain(|path| !path.contains("/command") && !path.contains(KUEUE));
        assert_eq!(differing, expected, "{parameters}");
    }
}

fn is_supervised(parameters: &Value) -> bool {
    !parameters["exitHandlerImage"].is_null()
}

#[test]
fn an_exit_handler_differs_from_its_worker_only_in_what_it_runs_and_may_use() {
    let of_supervisor = [
        "/spec/containers/0/image",
        "/spec/containers/0/volumeMounts/ompipe-exit",
        "/spec/initContainers",
        "/spec/volumes/ompipe-exit",
    ];
    let allowed = [
        // The exit handler waits in no queue.
        KUEUE,
        "/spec/automountServiceAccountToken",
        "/spec/containers/0/args",
        "/spec/containers/0/command",
        "/spec/containers/0/resources",
    ];
    for parameters in configurations() {
        for path in differing(&parameters, Stage::OmJobMain, Stage::OmJobExit) {
            let is_in = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
            let is_allowed =
                is_in(&allowed) || (is_supervised(&parameters) && is_in(&of_supervisor));
            assert!(is_allowed, "{path} with {parameters}");
        }
    }
}

/// The environment of the container of a stage.
fn variables(parameters: &Value, stage: Stage) -> Vec<Value> {
    let views = views(parameters);
    views[&stage].pointer("/pod/spec/containers/0/env").unwrap().as_array().unwrap().clone()
}

#[rstest]
#[case::pair(json!(["LANG:$(config) $$ $x"]))]
#[case::text(json!("LANG:$(config) $$ $x"))]
#[case::map(json!({ "LANG": "$(config) $$ $x" }))]
#[case::kubernetes(json!([{ "name": "LANG", "value": "$(config) $$ $x" }]))]
fn a_dollar_is_never_expanded(#[case] given: Value) {
    let parameters = json!({ "extraEnvVars": given });
    for stage in OF_PIPELINES.into_iter().chain(WORKERS) {
        let variables = variables(&parameters, stage);
        let variable = variables.iter().find(|variable| variable["name"] == "LANG").unwrap();
        assert_eq!(variable["value"], "$$(config) $$$$ $$x", "{stage:?}");
    }
}

#[test]
fn a_value_that_looks_like_a_credential_is_on_no_pod() {
    let parameters = json!({ "extraEnvVars": ["DB_PASSWORD:hunter2"] });
    for stage in OF_PIPELINES.into_iter().chain(WORKERS) {
        let variables = variables(&parameters, stage);
        let variable = variables.iter().find(|variable| variable["name"] == "DB_PASSWORD").unwrap();
        assert_eq!(variable["valueFrom"]["secretKeyRef"]["key"], "env.DB_PASSWORD", "{stage:?}");
    }
    assert!(views(&parameters).values().all(|view| !view.to_string().contains("hunter2")));
}

#[test]
fn every_variable_of_a_run_is_set_once_and_reserved() {
    for delivery in ["env", "file"] {
        for stage in OF_PIPELINES {
            let variables = variables(&json!({ "configDelivery": delivery }), stage);
            let names: Vec<&str> =
                variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
            assert_eq!(names.len(), 7, "{stage:?}: {names:?}");
            assert!(names.iter().all(|name| is_reserved_env(name)), "{stage:?}: {names:?}");
        }
    }
}

#[test]
fn a_reserved_variable_is_refused_wherever_it_is_given() {
    for name in RESERVED_ENV.into_iter().chain([CONFIG_FILE_ENV]) {
        let container = json!({ "name": "main", "env": [{ "name": name, "value": "x" }] });
        let template = json!({ "spec": { "containers": [container] } });
        for parameters in [
            json!({ "extraEnvVars": [format!("{name}:x")] }),
            json!({ "extraEnvVars": format!("{name}:x") }),
            json!({ "extraEnvVars": { name: "x" } }),
            json!({ "extraEnvVars": [{ "name": name, "value": "x" }] }),
            json!({ "podTemplate": template }),
            json!({ "servicePodTemplates": { "shop": template } }),
            json!({ "pipelinePodTemplates": { "shop.nightly": template } }),
        ] {
            let refused = read(&parameters, &[]).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("is set by ompipe"), "{refused}");
        }
    }
}

#[test]
fn every_pod_carries_who_it_belongs_to() {
    for (stage, pod) in pods(&all_parameters(&table("of-the-table"))) {
        let labels = pod.metadata.unwrap().labels.unwrap();
        assert_eq!(labels[labels::MANAGED_BY], labels::OMPIPE, "{stage:?}");
        let has_id = labels.contains_key(labels::PIPELINE_ID);
        assert_eq!(has_id, OF_PIPELINES.contains(&stage), "{stage:?}");
        let of_run = labels.get(labels::RUN_ID).map(String::as_str);
        let is_scheduled = ompipe_tests::contract::SCHEDULED.contains(&stage);
        assert_eq!(of_run, (!is_scheduled).then_some(&*run().to_string()), "{stage:?}");
    }
}
