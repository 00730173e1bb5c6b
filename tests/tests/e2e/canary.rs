//! Nothing secret outside of Secrets (docs/adr/0004-config-only-in-secrets.md): planted, then
//! looked for everywhere.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Outcome, Scene, install_crds};

const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
const PASSWORD: &str = "canary-password-7c1f0e";
const VARIABLE: &str = "canary-variable-93ab5d";
const NESTED: &str = "canary-dbt-key-55e0c2";

/// Every shape of a credential that is known (tests/vectors), with a secret of its own.
fn corpus() -> Vec<Credential> {
    let shapes: Vec<Credential> =
        serde_json::from_str(include_str!("../../vectors/credentials.json")).unwrap();
    let with_secret = |(at, shape): (usize, Credential)| {
        let (letters, digits) = (format!("qz{at:02}xv"), (730_100 + at).to_string());
        let canary = shape.canary.replace("%s", &letters).replace("%d", &digits);
        let canary = canary.replace("%%", "%");
        let escaped = Value::from(canary.as_str()).to_string();
        let is_json = shape.value.starts_with('{');
        let inner = if is_json { &escaped[1..escaped.len() - 1] } else { canary.as_str() };
        let value = shape.value.replace("%s", inner);
        let seen = if canary.contains(&letters) { letters } else { around(&canary, &digits) };
        Credential { value, canary: seen, ..shape }
    };
    shapes.into_iter().enumerate().map(with_secret).collect()
}

/// The digits with two characters on each side, or the whole text without them: a trace is full of ports, sequence
/// numbers and bytes, and now and then one of them contains any given six digits.
fn around(canary: &str, digits: &str) -> String {
    let Some(start) = canary.find(digits) else { return canary.to_owned() };
    canary[start - 2..start + digits.len() + 2].to_owned()
}

#[derive(serde::Deserialize)]
struct Credential {
    key: String,
    value: String,
    /// The part of the value that nobody may see.
    canary: String,
}

/// A pipeline with a secret in every place that has one.
fn planted(scene: &Scene) -> Value {
    let mut connection = scene.standin.server_connection();
    connection["forceEntityOverwriting"] = true.into();
    json!({
        "airflowConfig": { "scheduleInterval": "0 2 * * 0" },
        "openMetadataServerConnection": connection,
        "sourceConfig": { "config": {
            "type": "DatabaseMetadata",
            "dbtSecurityConfig": { "awsSecretAccessKey": NESTED },
            "databaseFilterPattern": { "includes": [format!("note: {PASSWORD}")] },
            "corpus": corpus()
                .into_iter()
                .map(|one| json!({ one.key: one.value }))
                .collect::<Vec<_>>(),
        }},
    })
}

/// Every object of the namespace, of every kind that the cluster has, as text.
async fn everything(scene: &Scene) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let discovery = Discovery::new(scene.client.clone()).run().await.unwrap();
    for (kind, capabilities) in
        discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources)
    {
        if capabilities.scope == Scope::Cluster || !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let text = serde_json::to_string(&object).unwrap();
            found.push((format!("{} {}", kind.kind, object.name_any()), text));
        }
    }
    found
}

fn leaks<'t>(canaries: &[&'t str], text: &str) -> Vec<&'t str> {
    canaries.iter().copied().filter(|canary| text.contains(canary)).collect()
}

/// It takes a minute: every command is called with `--log trace`, and every object of the namespace is read.
#[rstest]
#[case::job(false)]
#[case::operator(true)]
#[tokio::test]
async fn canaries_are_in_secrets_only(#[case] operator: bool) {
    let scene = Scene::new("canary").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &planted(&scene));
    let service = scene.file("service.json", &json!({
        "name": "shop", "serviceType": "Postgres",
        "connection": { "config": { "type": "Postgres", "authType": { "password": PASSWORD } } },
    }));
    let mut variables =
        vec![format!("DB_PASSWORD:{VARIABLE}"), "WORKER_MAIN:echo working; exit 1".to_owned()];
    // Whatever their names are, values of variables may be credentials.
    variables
        .extend(corpus().iter().enumerate().map(|(at, one)| format!("MODE_{at}:{}", one.value)));
    let config = scene.config(&json!({ "extraEnvVars": variables, "useOMJobOperator": operator }));
    let source = ["-c", &config, "-f", &pipeline, "--service", &service, "--log", "trace"];
    let target = ["-c", &config, "nightly", "--log", "trace"];
    let call =
        async |command: &[&str], args: &[&str]| scene.ompipe(&[command, args].concat()).await;
    let outcomes: Vec<Outcome> = vec![
        call(&["deploy"], &source).await.good(),
        // Nobody carries out an OMJob here, so only a Job has an end to wait for.
        if operator {
            call(&["run"], &source).await.good()
        } else {
            call(&["run", "--follow"], &source).await.ended_with(1)
        },
        call(&["status"], &target).await.good(),
        call(&["status", "-o", "json"], &target).await.good(),
        call(&["logs"], &target).await.ended_with(if operator { 3 } else { 0 }),
        call(&["toggle", "--disable"], &target).await.good(),
        call(&["list", "-o", "json"], &["-c", &config, "--log", "trace"]).await.good(),
        call(&["get"], &target).await.good(),
        call(&["get", "-o", "json"], &target).await.good(),
        call(&["diff", "-o", "json"], &source).await,
        call(&["deploy", "--dry-run"], &source).await.good(),
        call(&["config", "show"], &["-c", &config]).await.good(),
        call(&["render"], &source).await.good(),
        call(&["render", "-o", "json"], &source).await.good(),
        call(&["render", "--run", RUN], &source).await.good(),
        call(&["config", "check"], &["-c", &config]).await.good(),
        call(&["deploy", "-n", "no-such-namespace"], &source).await.ended_with(3),
    ];
    let corpus = corpus();
    let planted = [scene.standin.token(), PASSWORD, VARIABLE, NESTED];
    let canaries: Vec<&str> =
        planted.into_iter().chain(corpus.iter().map(|one| one.canary.as_str())).collect();
    for outcome in &outcomes {
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(leaks(&canaries, &printed), [""; 0], "{printed}");
    }
    let objects = everything(&scene).await;
    let kinds: &[&str] = if operator {
        &["ConfigMap ", "Secret ", "OMJob ", "CronOMJob "]
    } else {
        &["ConfigMap ", "Secret ", "Job ", "CronJob ", "Pod ", "Event "]
    };
    for kind in kinds {
        assert!(objects.iter().any(|(name, _)| name.starts_with(kind)), "no {kind}was looked at");
    }
    for (name, text) in objects.iter().filter(|(name, _)| !name.starts_with("Secret ")) {
        assert_eq!(leaks(&canaries, text), [""; 0], "{name}: {text}");
    }
    assert_secrets_hold(&scene, &canaries).await;
    for command in ["kill", "delete"] {
        let outcome = call(&[command], &target).await.good();
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(leaks(&canaries, &printed), [""; 0], "{printed}");
    }
    scene.end().await;
}

/// The canaries were planted at all: each is in some Secret.
async fn assert_secrets_hold(scene: &Scene, canaries: &[&str]) {
    let secrets = scene.ours::<Secret>().await;
    let texts: Vec<String> = secrets
        .values()
        .flat_map(|secret| secret.data.iter().flatten())
        .map(|(_, bytes)| String::from_utf8_lossy(&bytes.0).into_owned())
        .collect();
    for canary in canaries {
        assert!(texts.iter().any(|text| text.contains(canary)), "{canary} is nowhere");
    }
}
