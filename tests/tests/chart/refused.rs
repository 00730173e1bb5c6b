//! Values that cannot be used, and the sentence about each.

use ompipe_tests::helm::Release;
use rstest::rstest;
use serde_json::{Value, json};

use crate::rendered::with;

#[track_caller]
fn refusal(values: &Value) -> String {
    Release::rendered("release", "ns").template(values, &[]).unwrap_err().to_string()
}

#[rstest]
#[case::unknown(json!({ "sever": {} }), "additional properties 'sever' not allowed")]
#[case::unknown_below(
    json!({ "omjobOperator": { "replica": 3 } }),
    "at '/omjobOperator': additional properties 'replica' not allowed"
)]
#[case::unknown_parameter(
    json!({ "pipelineServiceClientConfig": { "k8s": { "ingestionImge": "x:1" } } }),
    "at '/pipelineServiceClientConfig/k8s': additional properties 'ingestionImge' not allowed"
)]
#[case::unknown_in_what_was_pasted(
    json!({ "openmetadata": { "config": { "pipelineServiceClientConfig": { "k8s": { "ttl": 1 } } } } }),
    "at '/openmetadata/config/pipelineServiceClientConfig/k8s': additional properties 'ttl' not allowed"
)]
#[case::type_of_a_number(
    json!({ "server": { "replicas": "two" } }),
    "at '/server/replicas': got string, want integer"
)]
#[case::type_of_a_switch(
    json!({ "omjobOperator": { "enabled": "yes" } }),
    "at '/omjobOperator/enabled': got string, want boolean"
)]
#[case::word(
    json!({ "pipelineServiceClientConfig": { "verifySsl": "maybe" } }),
    "at '/pipelineServiceClientConfig/verifySsl': value must be one of 'no-ssl', 'ignore', 'validate'"
)]
#[case::quantity(
    json!({ "omjobOperator": { "resources": { "limits": { "memory": "lots" } } } }),
    "at '/omjobOperator/resources/limits/memory': 'lots' does not match pattern"
)]
#[case::archive_of_no_kind(
    json!({ "logs": { "archive": { "url": "ftp://host" } } }),
    "at '/logs/archive/url': 'ftp://host' does not match pattern"
)]
#[case::bounds(
    json!({ "omjobOperator": { "leaseDurationSeconds": 1 } }),
    "at '/omjobOperator/leaseDurationSeconds': minimum: got 1, want 3"
)]
fn by_the_schema_with_its_key(#[case] values: Value, #[case] sentence: &str) {
    let said = refusal(&with(values));
    assert!(said.contains(sentence), "{said}");
}

#[rstest]
#[case::archive_of_a_directory(
    json!({ "logs": { "archive": { "url": "file:///var/lib/ompipe/archive" } } }),
    "logs.archive.volumeClaim: missing."
)]
#[case::archive_beside_the_volume(
    json!({ "logs": { "archive": { "url": "file:///var/logs", "volumeClaim": "logs" } } }),
    "logs.archive.url: \"file:///var/logs\" is not on the volume"
)]
#[case::archive_in_a_bucket_with_a_volume(
    json!({ "logs": { "archive": { "url": "s3://logs", "volumeClaim": "logs" } } }),
    "logs.archive.volumeClaim: is for a URL that begins with file://"
)]
#[case::archive_without_operator(
    json!({ "logs": { "archive": { "url": "s3://logs" } }, "omjobOperator": { "enabled": false } }),
    "logs.archive.url: is set while omjobOperator.enabled is false"
)]
#[case::credentials(
    json!({ "server": { "credentials": { "username": "", "password": "" } } }),
    "server.credentials: missing. Give existingSecret, a Secret with one user:password in each line"
)]
#[case::half_of_them(
    json!({ "server": { "credentials": { "password": "" } } }),
    "server.credentials: missing."
)]
#[case::both(
    json!({ "server": { "credentials": { "existingSecret": "x" } } }),
    "server.credentials: existingSecret and username or password contradict each other."
)]
#[case::colon(
    json!({ "server": { "credentials": { "username": "a:b" } } }),
    "server.credentials.username: must hold neither a colon nor a line break"
)]
#[case::line(
    json!({ "server": { "credentials": { "password": "a\nb:c" } } }),
    "server.credentials.password: must hold no line break"
)]
#[case::no_tag(
    json!({ "pipelineServiceClientConfig": { "k8s": { "ingestionImage": "reg:5000/om/ingestion" } } }),
    r#"k8s.ingestionImage: "reg:5000/om/ingestion" has no tag. Add that of your OpenMetadata release, as in reg:5000/om/ingestion:1.12.14."#
)]
#[case::tag_in_the_name(
    json!({ "image": { "repository": "ghcr.io/ompipe/ompipe:1" } }),
    r#"image.repository: "ghcr.io/ompipe/ompipe:1" holds a tag or digest. Put that into image.tag or image.digest."#
)]
#[case::nothing(
    json!({ "server": { "enabled": false }, "omjobOperator": { "enabled": false } }),
    "both are false, so there is nothing to install"
)]
#[case::all_and_more(
    json!({ "omjobOperator": { "watchNamespaces": ["ALL", "team-a"] } }),
    "must be either [ALL] or names of namespaces, not both"
)]
#[case::unwatched(
    json!({
        "omjobOperator": { "watchNamespaces": ["team-a"] },
        "pipelineServiceClientConfig": { "k8s": { "useOMJobOperator": true } },
    }),
    "omjobOperator.watchNamespaces: lacks ns, where k8s.useOMJobOperator puts runs."
)]
#[case::path(
    json!({ "server": { "basePath": "ompipe" } }),
    r#"server.basePath: "ompipe" must begin with a slash, as in /ompipe."#
)]
#[case::no_server(
    json!({ "pipelineServiceClientConfig": { "metadataApiEndpoint": "" } }),
    "pipelineServiceClientConfig.metadataApiEndpoint: missing."
)]
fn with_a_sentence_that_helps(#[case] values: Value, #[case] sentence: &str) {
    let said = refusal(&with(values));
    assert!(said.contains("The values cannot be used:"), "{said}");
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn every_problem_is_told_at_once() {
    let said = refusal(&json!({
        "image": { "repository": "x:1" },
        "server": { "basePath": "x" },
        "pipelineServiceClientConfig": { "k8s": { "ingestionImage": "x" } },
    }));
    // Helm prints a failure twice when it is asked for details; here it is not.
    assert_eq!(said.matches("\n- ").count(), 4, "{said}");
}
