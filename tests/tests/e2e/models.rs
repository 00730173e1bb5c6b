//! What ompipe generates, held to the real Python models in the ingestion image, for every
//! pipeline type; and its YAML, held to the real `PyYAML`.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams, PostParams};
use ompipe_core::yaml;
use serde_json::{Value, json};

use crate::support::{Scene, bed, eventually, from};

/// A pipeline of each type that has a worker, as little as OpenMetadata sends and a bit more.
fn every_type() -> Vec<(&'static str, Value)> {
    let database = |kind: &str| json!({ "type": kind });
    vec![
        (
            "metadata",
            json!({ "type": "DatabaseMetadata", "markDeletedTables": true,
            "schemaFilterPattern": { "includes": ["^a$", "ü*"] } }),
        ),
        ("lineage", database("DatabaseLineage")),
        ("usage", json!({ "type": "DatabaseUsage", "stageFileLocation": "/tmp/query_log" })),
        ("profiler", json!({ "type": "Profiler", "profileSample": 50.5 })),
        (
            "autoClassification",
            json!({ "type": "AutoClassification", "enableAutoClassification": true }),
        ),
        ("TestSuite", json!({ "type": "TestSuite", "entityFullyQualifiedName": "shop.a.b.c" })),
        (
            "dbt",
            json!({ "type": "DBT", "dbtConfigSource": {
            "dbtConfigType": "local", "dbtManifestFilePath": "/m.json" } }),
        ),
        ("elasticSearchReindex", json!({ "type": "MetadataToElasticSearch" })),
        (
            "application",
            json!({ "type": "Application", "sourcePythonClass": "metadata.applications.x.X",
            "appConfig": { "type": "Collate AI", "filter": "" } }),
        ),
    ]
}

/// The workflow config of a pipeline as its pod would get it.
async fn generated(
    scene: &Scene,
    config: &str,
    pipeline_type: &str,
    source_config: &Value,
) -> String {
    let pipeline = scene.pipeline(
        "every",
        &json!({
            "pipelineType": pipeline_type, "sourceConfig": { "config": source_config },
        }),
    );
    let run = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
    let (service, output) = (scene.service(), ["--show-secrets", "-o", "json"]);
    let render = ["render", "-c", config, "-f", &pipeline, "--service", &service, "--run", run];
    let objects = scene.ompipe(&[&render[..], &output].concat()).await.good().json();
    objects[0]["stringData"]["config"].as_str().unwrap().to_owned()
}

/// Runs a program in the ingestion image over `files`, mounted at /files; its exit code and log.
async fn in_the_image(
    scene: &Scene,
    command: &[&str],
    files: BTreeMap<&str, String>,
) -> (i32, String) {
    let post = PostParams::default();
    let mounted: ConfigMap =
        from(json!({ "metadata": { "generateName": "files-" }, "data": files }));
    let mounted = scene.api().create(&post, &mounted).await.unwrap().name_any();
    let job: Job = from(json!({
        "metadata": { "generateName": "python-" },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "main", "image": bed().ingestion_image, "imagePullPolicy": "IfNotPresent",
                "command": command, "volumeMounts": [{ "name": "files", "mountPath": "/files" }],
            }],
            "volumes": [{ "name": "files", "configMap": { "name": mounted } }],
        }}},
    }));
    let job = scene.api().create(&post, &job).await.unwrap().name_any();
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let (pod, code) = eventually("the end of the Python program", || async {
        let pods = scene.api::<Pod>().list(&of_job).await.map_err(|e| e.to_string())?;
        let pod = pods.items.into_iter().next().ok_or("no pod")?;
        let code = exit_code(&pod).ok_or_else(|| format!("{:?}", pod.status))?;
        Ok((pod.name_any(), code))
    })
    .await;
    (code, scene.api::<Pod>().logs(&pod, &LogParams::default()).await.unwrap())
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?;
    Some(status.terminated.as_ref()?.exit_code)
}

const CHECK: [&str; 3] = ["python", "check_config.py", "/files/configs.json"];

#[tokio::test]
async fn the_config_of_every_type_is_what_the_real_models_accept() {
    let scene = Scene::new("models").await;
    let config = scene.config(&json!({}));
    let mut items = Vec::new();
    for (pipeline_type, source_config) in every_type() {
        let text = generated(&scene, &config, pipeline_type, &source_config).await;
        let parsed = yaml::parse(&text).unwrap();
        items.push(json!({ "pipelineType": pipeline_type, "config": parsed }));
    }
    let files = BTreeMap::from([("configs.json", json!(items).to_string())]);
    let (code, log) = in_the_image(&scene, &CHECK, files).await;
    assert_eq!(code, 0, "{log}");
    let verdicts: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(verdicts.len(), items.len(), "{log}");
    assert!(verdicts.iter().all(|verdict| verdict["ok"] == true), "{log}");
    scene.end().await;
}

#[tokio::test]
async fn the_models_refuse_what_is_wrong() {
    let scene = Scene::new("models").await;
    let config = scene.config(&json!({}));
    let (pipeline_type, source_config) = every_type().swap_remove(0);
    let text = generated(&scene, &config, pipeline_type, &source_config).await;
    let mut parsed = yaml::parse(&text).unwrap();
    parsed["source"]["keyOfNoModel"] = 1.into();
    let items = json!([{ "pipelineType": pipeline_type, "config": parsed }]);
    let files = BTreeMap::from([("configs.json", items.to_string())]);
    let (code, log) = in_the_image(&scene, &CHECK, files).await;
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("keyOfNoModel"), "{log}");
    scene.end().await;
}

/// Values that YAML readers differ about, or that look like something else.
fn tricky() -> Value {
    let texts = vec![
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "null",
        "~",
        "",
        " ",
        "1",
        "1.0",
        "1e3",
        "0o14",
        "0x1f",
        "1_000",
        "12:30:45",
        "2001-01-01",
        "2001-01-01T00:00:00Z",
        "=",
        "<<",
        "*a",
        "&a",
        "!tag",
        "%TAG",
        "@at",
        "`tick`",
        "- dash",
        "a: b",
        "a #b",
        "'single'",
        "\"double\"",
        "back\\slash",
        "tab\there",
        "line\nbreak",
        "trail\n",
        "\r\n",
        "ünï",
        "数据",
        "😀",
        "\u{0}null",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}bom",
        "$HOME ${HOME} $(HOME)",
        "{{ jinja }}",
        "---",
        "...",
        "? q",
        "| pipe",
        "> fold",
        "[a]",
        "{a: b}",
        ".inf",
        ".nan",
    ];
    let long = "long ".repeat(60);
    json!({
        "texts": texts, "long": long,
        "keys": texts.iter().map(|text| ((*text).to_owned(), json!(1))).collect::<BTreeMap<_, _>>(),
        "numbers": [0, -1, i64::MAX, u64::MAX, 1.5, -0.25, 1e-7, 1e16, 1e300],
        "nested": [[], {}, [[]], [{ "a": [] }], { "b": { "c": null } }, true, false],
    })
}

#[tokio::test]
async fn the_yaml_reads_the_same_in_python() {
    let scene = Scene::new("pyyaml").await;
    let document = tricky();
    let files = BTreeMap::from([
        ("document.yaml", yaml::render(&document).unwrap()),
        ("readable.yaml", yaml::render_readable(&document).unwrap()),
        ("document.json", document.to_string()),
    ]);
    let program = "import json, yaml\n\
        wanted = json.load(open('/files/document.json'))\n\
        for name in ('document', 'readable'):\n\
        \x20   actual = yaml.safe_load(open(f'/files/{name}.yaml'))\n\
        \x20   for key in wanted:\n\
        \x20       assert actual[key] == wanted[key], (name, key, actual[key], wanted[key])\n\
        print('the same')";
    let (code, log) = in_the_image(&scene, &["python", "-c", program], files).await;
    assert_eq!((code, log.trim()), (0, "the same"), "{log}");
    scene.end().await;
}
