//! The program without a cluster: what it prints, and how it ends.
#![expect(clippy::unwrap_used, reason = "a broken set-up should fail the test at once")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "t0ps3cret-token-of-the-bot";
const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

/// A directory with the files of one call.
struct Case {
    dir: TempDir,
}

impl Case {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str, document: &Value) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, document.to_string()).unwrap();
        path
    }

    /// Runs ompipe with nothing of this machine's environment but a way to no cluster.
    fn ompipe(&self, args: &[&str]) -> Outcome {
        self.ompipe_with(args, &[])
    }

    fn ompipe_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let mut command = Command::cargo_bin("ompipe").unwrap();
        command.env_clear().env("KUBECONFIG", self.dir.path().join("no-such-kubeconfig"));
        command.envs(environment.iter().copied()).args(args).timeout(Duration::from_mins(1));
        Outcome::of(&command.output().unwrap())
    }

    fn config(&self, parameters: &Value) -> String {
        let block =
            json!({ "metadataApiEndpoint": "http://127.0.0.1:1/api", "parameters": parameters });
        let document = json!({ "pipelineServiceClientConfiguration": block });
        self.file("config.yaml", &document).display().to_string()
    }

    fn pipeline(&self, document: &Value) -> String {
        self.file("pipeline.json", document).display().to_string()
    }

    fn service(&self) -> String {
        let service = json!({ "name": "shop", "serviceType": "Postgres" });
        self.file("service.json", &service).display().to_string()
    }
}

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

fn metadata() -> Value {
    json!({
        "id": "11111111-2222-3333-4444-555555555555",
        "name": "shop-metadata",
        "fullyQualifiedName": "shop.shop-metadata",
        "pipelineType": "metadata",
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": { "scheduleInterval": "0 2 * * 0" },
        "service": { "type": "databaseService", "name": "shop" },
        "openMetadataServerConnection": {
            "hostPort": "http://openmetadata:8585/api", "securityConfig": { "jwtToken": TOKEN },
        },
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut document = metadata();
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

#[test]
fn help_tells_commands_and_exit_codes() {
    let outcome = Case::new().ompipe(&["--help"]);
    assert_eq!(outcome.code, Some(0));
    insta::assert_snapshot!(outcome.stdout);
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let case = Case::new();
    let config = case.config(&json!({ "namespace": "team-a" }));
    let outcome = case.ompipe(&["config", "check", "-c", &config]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert!(outcome.stdout.starts_with("configuration is valid"), "{}", outcome.stdout);
}

#[test]
fn every_problem_of_a_configuration_is_told_in_one_go() {
    let case = Case::new();
    let config = case.config(&json!({
        "namespace": "Bad_Name", "backoffLimit": "three", "typo": true,
        "resources": { "limits": { "memory": "4 gigs" } },
    }));
    let outcome = case.ompipe(&["config", "check", "-c", &config]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!(outcome.stderr);
}

#[test]
fn problems_are_json_for_scripts() {
    let case = Case::new();
    let config = case.config(&json!({ "namespace": "Bad_Name", "typo": true }));
    let outcome = case.ompipe(&["config", "check", "-c", &config, "-o", "json"]);
    let report: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(report["problems"].as_array().unwrap().len(), 2);
    assert_eq!(report["problems"][0]["value"], "\"Bad_Name\"");
}

#[test]
fn the_environment_of_the_helm_chart_overrides() {
    let case = Case::new();
    let config = case.config(&json!({ "namespace": "from-file" }));
    let (pipeline, service) = (case.pipeline(&metadata()), case.service());
    let args = ["render", "-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    let outcome = case.ompipe_with(&args, &[("K8S_NAMESPACE", "from-env")]);
    let objects: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(objects[0]["metadata"]["namespace"], "from-env");
    let outcome =
        case.ompipe_with(&[&args[..], &["-n", "typed"]].concat(), &[("K8S_NAMESPACE", "e")]);
    let objects: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(objects[0]["metadata"]["namespace"], "typed");
}

#[test]
fn render_needs_no_cluster_and_masks_secrets_unless_told_otherwise() {
    let case = Case::new();
    let (pipeline, service) = (case.pipeline(&metadata()), case.service());
    let args = ["render", "-f", &pipeline, "--service", &service];
    let masked = case.ompipe(&args);
    assert_eq!((masked.code, masked.stderr.as_str()), (Some(0), ""));
    assert!(!masked.stdout.contains(TOKEN));
    insta::assert_snapshot!(masked.stdout);
    let shown = case.ompipe(&[&args[..], &["--show-secrets"]].concat());
    assert_eq!(shown.stdout.matches(TOKEN).count(), 3);
}

#[test]
fn render_shows_one_run() {
    let case = Case::new();
    let (pipeline, service) = (case.pipeline(&metadata()), case.service());
    let outcome = case.ompipe(&["render", "-f", &pipeline, "--service", &service, "--run", RUN]);
    assert!(outcome.stdout.contains("name: om-job-shop-metadata-a1b2c3d4\n"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("kind: CronJob"));
}

#[test]
fn render_shows_the_objects_of_operator_mode() {
    let case = Case::new();
    let (pipeline, service) = (case.pipeline(&metadata()), case.service());
    let config = case.config(&json!({ "useOMJobOperator": true }));
    let source = ["render", "-c", &config, "-f", &pipeline, "--service", &service];
    let deployed = case.ompipe(&source).stdout;
    assert!(
        deployed.contains("kind: CronOMJob\n") && !deployed.contains("kind: CronJob"),
        "{deployed}"
    );
    let run = case.ompipe(&[&source[..], &["--run", RUN]].concat()).stdout;
    assert!(run.contains("kind: OMJob\n") && run.contains("exitHandlerSpec:"), "{run}");
    assert!(!deployed.contains(TOKEN) && !run.contains(TOKEN));
}

#[test]
fn the_custom_resources_are_printed_for_kubectl() {
    let outcome = Case::new().ompipe(&["crds"]);
    assert_eq!(outcome.code, Some(0));
    let kinds = outcome.stdout.lines().filter(|line| *line == "kind: CustomResourceDefinition");
    assert_eq!(kinds.count(), 2);
    let json = Case::new().ompipe(&["crds", "-o", "json"]);
    let definitions: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(definitions[0]["metadata"]["name"], "omjobs.pipelines.openmetadata.org");
}

#[test]
fn the_rights_are_printed_for_kubectl() {
    let outcome = Case::new().ompipe(&["rbac", "-n", "team-a"]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("  name: team-a\n"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("openmetadata-pipelines"), "{}", outcome.stdout);
    let json: Value =
        serde_json::from_str(&Case::new().ompipe(&["rbac", "-o", "json"]).stdout).unwrap();
    assert_eq!(json[0]["kind"], "Namespace");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let case = Case::new();
    let directory = case.dir.path().join("man1");
    let written = case.ompipe(&["man", "--directory", &directory.display().to_string()]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    for name in ["ompipe.1", "ompipe-deploy.1", "ompipe-config.1", "ompipe-serve.1"] {
        let page = fs::read_to_string(directory.join(name)).unwrap();
        assert!(page.starts_with(".ie"), "{page}");
        for heading in ["EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES", "\"SEE ALSO\""] {
            let heading = format!("\n.SH {heading}\n");
            assert_eq!(page.matches(&heading).count(), 1, "{name}: {heading}");
        }
    }
}

#[test]
fn every_value_of_the_configuration_says_where_it_comes_from() {
    let case = Case::new();
    let config = case.config(&json!({ "namespace": "from-file", "backoffLimit": 1 }));
    let environment = [("K8S_INGESTION_IMAGE", "registry/image:1"), ("OMPIPE_CONFIG", &config)];
    let shown = case.ompipe_with(&["config", "show", "-n", "typed"], &environment).stdout;
    let line = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("parameters.namespace"), "--namespace typed");
    assert_eq!(line("parameters.backoffLimit"), "file 1");
    assert_eq!(line("parameters.ingestionImage"), "variable K8S_INGESTION_IMAGE registry/image:1");
    assert_eq!(line("parameters.imagePullPolicy"), "default IfNotPresent");
    let json = case.ompipe_with(&["config", "show", "-o", "json"], &environment).stdout;
    let values: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert!(values.contains(&json!({
        "key": "parameters.backoffLimit", "value": 1, "origin": "file",
    })));
}

#[test]
fn the_version_says_the_commit_and_what_cannot_be_asked() {
    let case = Case::new();
    let client = case.ompipe(&["version", "--client"]);
    assert!(client.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", client.stdout);
    assert!(client.stdout.contains("(commit "), "{}", client.stdout);
    let all = case.ompipe(&["version", "-o", "json"]);
    let versions: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(all.code, Some(0), "{}", all.stderr);
    let told = versions["kubernetes"]["error"].as_str().unwrap();
    assert!(told.contains("no Kubernetes cluster"), "{told}");
    assert!(versions["openmetadata"]["error"].is_string(), "{versions}");
}

#[test]
fn failures_have_a_code_for_scripts() {
    let case = Case::new();
    let code = |args: &[&str]| {
        let outcome = case.ompipe(&[args, &["-o", "json"]].concat());
        let report: Value = serde_json::from_str(&outcome.stderr).unwrap();
        (outcome.code, report["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(code(&["lst"]), (Some(2), "usage".to_owned()));
    assert_eq!(code(&["list", "-n", "Bad_Name"]), (Some(2), "invalid-input".to_owned()));
    assert_eq!(code(&["list"]), (Some(3), "unavailable".to_owned()));
}

#[test]
fn a_context_that_is_not_there_is_told_with_those_that_are() {
    let case = Case::new();
    let kubeconfig = dead_cluster(&case);
    let outcome = case.ompipe(&["list", "--kubeconfig", &kubeconfig, "--context", "prod"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("no context \"prod\"; it has c"), "{}", outcome.stderr);
    let reached = case.ompipe(&["list", "--kubeconfig", &kubeconfig, "--context", "c"]);
    assert!(reached.stderr.contains("does not answer"), "{}", reached.stderr);
}

#[test]
fn the_shell_completes_options_and_contexts() {
    let case = Case::new();
    let kubeconfig = dead_cluster(&case);
    let complete = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let asks = [
            ("OMPIPE_COMPLETE", "bash"),
            ("_CLAP_COMPLETE_INDEX", index.as_str()),
            ("_CLAP_IFS", "\n"),
            ("_CLAP_COMPLETE_COMP_TYPE", "9"),
            ("_CLAP_COMPLETE_SPACE", "true"),
            ("KUBECONFIG", kubeconfig.as_str()),
        ];
        case.ompipe_with(&[&["--"], words].concat(), &asks).stdout
    };
    assert!(complete(&["ompipe", "dep"]).contains("deploy"));
    assert!(complete(&["ompipe", "list", "--all-n"]).contains("--all-namespaces"));
    assert_eq!(complete(&["ompipe", "list", "--context", ""]).trim(), "c");
}

#[test]
fn it_is_a_plugin_of_kubectl_under_another_name() {
    let case = Case::new();
    let plugin = case.dir.path().join("kubectl-ompipe");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin("ompipe"), &plugin).unwrap();
    let output = Command::new(&plugin).args(["version", "--client"]).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn several_documents_are_one_deployment_each() {
    let case = Case::new();
    let directory = case.dir.path().join("pipelines");
    fs::create_dir(&directory).unwrap();
    let mut second = metadata();
    second["name"] = json!("second");
    second["fullyQualifiedName"] = json!("shop.second");
    second["id"] = json!("21111111-2222-3333-4444-555555555555");
    fs::write(directory.join("a.yaml"), format!("---\n{}\n---\n{second}\n", metadata())).unwrap();
    fs::write(directory.join("notes.txt"), "no pipeline").unwrap();
    let (directory, service) = (directory.display().to_string(), case.service());
    let dry = ["deploy", "-f", &directory, "--service", &service, "--dry-run=client"];
    let outcome = case.ompipe(&dry);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout.matches("kind: CronJob\n").count(), 2, "{}", outcome.stdout);
    assert!(!outcome.stdout.contains(TOKEN));
    fs::write(case.dir.path().join("pipelines/b.json"), "{}").unwrap();
    let refused = case.ompipe(&dry);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("b.json"), "{}", refused.stderr);
}

#[test]
fn a_name_that_only_pods_know_is_told_with_the_way_from_here() {
    let case = Case::new();
    let block = json!({ "metadataApiEndpoint": "http://openmetadata.om.svc:8585/api" });
    let config = case.file("om.json", &json!({ "pipelineServiceClientConfiguration": block }));
    let config = config.display().to_string();
    let environment = [("OPENMETADATA_JWT_TOKEN", TOKEN)];
    let fetch = ["render", "--fqn", "shop.p", "-c", &config];
    let outcome = case.ompipe_with(&fetch, &environment);
    let way = "kubectl -n om port-forward svc/openmetadata 8585";
    assert!(outcome.stderr.contains(way), "{}", outcome.stderr);
    let server = ["--server", "http://127.0.0.1:1/api"];
    let outcome = case.ompipe_with(&[&fetch[..], &server].concat(), &environment);
    assert!(outcome.stderr.contains("http://127.0.0.1:1/api"), "{}", outcome.stderr);
}

#[test]
fn the_manual_page_tells_every_command() {
    let page = Case::new().ompipe(&["man"]).stdout;
    for command in ["deploy", "run", "status", "logs", "toggle", "kill", "delete", "doctor"] {
        assert!(page.contains(&format!("ompipe\\-{command}")), "{command} is missing");
    }
}

#[test]
fn a_pipeline_may_come_from_stdin_as_yaml() {
    let case = Case::new();
    let service = case.service();
    let mut command = Command::cargo_bin("ompipe").unwrap();
    command.env_clear().env("OPENMETADATA_JWT_TOKEN", TOKEN).write_stdin(
        "name: p\npipelineType: metadata\nsourceConfig: {config: {type: DatabaseMetadata}}\n\
         service: {type: databaseService, name: shop}\n",
    );
    let config = case.config(&json!({}));
    let args = ["render", "-c", &config, "-f", "-", "--service", &service, "--show-secrets"];
    let outcome = Outcome::of(&command.args(args).output().unwrap());
    assert!(outcome.stdout.contains("hostPort: http://127.0.0.1:1/api"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(TOKEN));
}

/// One bad pipeline per line, and what the error must name: field, value, remedy.
#[rstest]
#[case::unknown_type(with("/pipelineType", json!("metadat")), &["pipelineType = \"metadat\"", "must be one of metadata"])]
#[case::no_worker(with("/pipelineType", json!("dataInsight")), &["pipelineType dataInsight cannot run"])]
#[case::bad_cron(with("/airflowConfig/scheduleInterval", json!("61 * * * *")), &["airflowConfig.scheduleInterval = \"61 * * * *\"", "from 0 to 59"])]
#[case::seconds_cron(with("/airflowConfig/scheduleInterval", json!("0 0 2 * * ?")), &["has 6 fields", "a schedule has five"])]
#[case::bad_zone(with("/airflowConfig", json!({ "scheduleInterval": "@daily", "pipelineTimezone": "Mars/Base" })), &["airflowConfig.pipelineTimezone = \"Mars/Base\"", "IANA"])]
#[case::no_connection(with("/openMetadataServerConnection", Value::Null), &["openMetadataServerConnection is missing", "metadataApiEndpoint"])]
#[case::no_token(with("/openMetadataServerConnection/securityConfig", Value::Null), &["openMetadataServerConnection.securityConfig: is missing"])]
#[case::emptied_config(with("/sourceConfig/config", json!({})), &["sourceConfig", "may not view"])]
#[case::wrong_shape(with("/service", json!("shop")), &["service = \"shop\": must be a map"])]
#[case::too_long(with("/sourceConfig/config", json!({ "filter": "x".repeat(131_071) })), &["an environment variable holds at most 131064", "Shorten sourceConfig"])]
#[case::name_missing(with("/name", Value::Null), &["name: is missing"])]
#[case::other_service(with("/service/name", json!("other")), &["the service given is \"shop\"", "belongs to \"other\""])]
fn a_bad_pipeline_is_refused_with_field_value_and_remedy(
    #[case] document: Value,
    #[case] expected: &[&str],
) {
    let case = Case::new();
    let (pipeline, service) = (case.pipeline(&document), case.service());
    let outcome = case.ompipe(&["render", "-f", &pipeline, "--service", &service]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    for part in expected {
        assert!(outcome.stderr.contains(part), "{part:?} in {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains(TOKEN));
}

#[rstest]
#[case(&["render", "-f", "/no/such/file"], "cannot read /no/such/file")]
#[case(&["deploy"], "--file <FILE>|--fqn <NAME>")]
#[case(&["run", "p", "--run-id", "seven"], "must be a UUID")]
#[case(&["status", "p", "-f", "x"], "cannot be used with")]
#[case(&["config", "check", "-c", "/no/such/file"], "cannot read /no/such/file")]
#[case(&["list", "-n", "Bad_Name"], "--namespace = \"Bad_Name\"")]
#[case(&["lst"], "list")]
#[case(&["toggle", "p"], "<--enable|--disable>")]
#[case(&["logs", "p", "--run", "seven"], "first digits")]
#[case(&["logs", "p", "--file", "x"], "cannot be used with")]
#[case(&["wait", "p", "--timeout", "soon"], "30s, 10m or 2h")]
#[case(&["delete", "p", "--all"], "cannot be used with")]
#[case(&["list", "-A", "-n", "x"], "cannot be used with")]
#[case(&["doctor", "-o", "name"], "names nothing")]
#[case(&["list", "--config-from", "pod/x"], "secret/NAMESPACE/NAME")]
#[case(&["serve", "--config-from", "secret/x"], "mount the object")]
#[case(&["list", "--server", "localhost"], "http://localhost:8585/api")]
#[case(&["list", "--server", "http://localhost:8585"], "did you mean http://localhost:8585/api")]
#[case(&["deploy", "--dry-run=client", "-f", "/no/such/directory/"], "cannot read /no/such/directory/")]
#[case(&["toggle", "p", "--enable", "--disable"], "cannot be used with")]
#[case(&["kill"], "--file <FILE>|--fqn <NAME>>")]
#[case(&["kill", "p", "--run", "seven"], "must be a UUID")]
#[case(&["logs", "p", "--page", "1", "--follow"], "cannot be used with")]
#[case(&["logs", "p", "--container", "sidecar"], "exit-handler")]
#[case(&["test-connection", "-f", "/no/such/file"], "cannot read /no/such/file")]
#[case(&["run", "-f", "x", "--overrides", "/no/such/file"], "cannot read")]
fn wrong_usage_ends_with_2_and_says_what_is_right(#[case] args: &[&str], #[case] expected: &str) {
    let outcome = Case::new().ompipe(args);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
}

#[test]
fn a_broken_file_is_located_without_showing_its_text() {
    let case = Case::new();
    let path = case.dir.path().join("broken.yaml");
    fs::write(&path, format!("securityConfig:\n  jwtToken: {TOKEN}\n bad: [")).unwrap();
    let outcome = case.ompipe(&["render", "-f", &path.display().to_string()]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("line 3") && !outcome.stderr.contains(TOKEN),
        "{}",
        outcome.stderr
    );
}

#[test]
fn no_cluster_is_a_failure_of_the_server_kind() {
    let outcome = Case::new().ompipe(&["list"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("no Kubernetes cluster to talk to"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("KUBECONFIG"), "{}", outcome.stderr);
}

/// A kubeconfig for an address where nobody listens.
fn dead_cluster(case: &Case) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    case.file("kubeconfig", &kubeconfig).display().to_string()
}

#[test]
fn an_unreachable_cluster_is_told_with_what_was_being_done() {
    let case = Case::new();
    let kubeconfig = dead_cluster(&case);
    let (pipeline, service) = (case.pipeline(&metadata()), case.service());
    for args in [vec!["list"], vec!["deploy", "-f", &pipeline, "--service", &service]] {
        let outcome = case.ompipe_with(&args, &[("KUBECONFIG", &kubeconfig)]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
        assert!(
            outcome.stderr.contains("the Kubernetes API does not answer"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains("listing"), "{}", outcome.stderr);
    }
}

#[test]
fn a_kubeconfig_in_the_configuration_that_is_none_is_not_repeated() {
    let case = Case::new();
    let config = case.config(&json!({ "kubeConfigContent": "users: [{token: hunter2" }));
    let outcome = case.ompipe(&["list", "-c", &config]);
    assert_eq!(outcome.code, Some(3));
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("kubeConfigContent"), "{}", outcome.stderr);
}

#[test]
fn an_openmetadata_server_that_is_away_is_told() {
    let case = Case::new();
    let config = case.config(&json!({}));
    let args = ["render", "-c", &config, "--fqn", "shop.p"];
    let outcome = case.ompipe_with(&args, &[("OPENMETADATA_JWT_TOKEN", TOKEN)]);
    assert_eq!(outcome.code, Some(3));
    assert!(
        outcome.stderr.contains("fetching the pipeline: OpenMetadata does not answer"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains(TOKEN));
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
fn completions(#[case] shell: &str) {
    let outcome = Case::new().ompipe(&["completions", shell]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("OMPIPE_COMPLETE"), "{}", outcome.stdout);
}

#[test]
fn every_problem_of_the_operator_s_settings_is_told_in_one_go() {
    let environment = [("WATCH_NAMESPACES", "ALL,a"), ("METRICS_PORT", "0"), ("LOG_LEVEL", "")];
    let args = ["operator", "--reconciliation-threads=0"];
    let outcome = Case::new().ompipe_with(&args, &environment);
    let told = "error: 3 problems in the operator's settings:
  - WATCH_NAMESPACES (--watch-namespaces) = \"ALL,a\": must be either ALL or names of namespaces, not both
  - RECONCILIATION_THREADS (--reconciliation-threads) = \"0\": must be a number from 1 to 1024
  - METRICS_PORT (--metrics-port) = \"0\": must be a port from 1 to 65535
";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(2), told));
}

#[test]
fn the_problems_of_both_halves_of_a_configuration_are_told_in_one_go() {
    let case = Case::new();
    let block = json!({ "parameters": { "backoffLimit": "three" } });
    let server = json!({ "listen": "somewhere", "basePath": "x" });
    let document = json!({ "pipelineServiceClientConfiguration": block, "server": server });
    let config = case.file("both.yaml", &document).display().to_string();
    for command in [&["config", "check"][..], &["serve"]] {
        let outcome = case.ompipe(&[command, &["-c", &config, "-o", "json"]].concat());
        let report: Value = serde_json::from_str(&outcome.stderr).unwrap();
        let problems = report["problems"].as_array().unwrap();
        let fields: Vec<&str> = problems.iter().map(|p| p["field"].as_str().unwrap()).collect();
        let expected = [
            "pipelineServiceClientConfiguration.parameters.backoffLimit",
            "server.listen",
            "server.credentials",
            "server.basePath",
        ];
        assert_eq!((outcome.code, &fields[..]), (Some(2), &expected[..]), "{command:?}");
    }
}

#[test]
fn the_operator_does_not_take_a_namespace_for_another() {
    let outcome = Case::new().ompipe(&["operator", "--namespace", "a"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("--watch-namespaces and --operator-namespace"),
        "{}",
        outcome.stderr
    );
}

#[rstest]
#[case::json(&[], r#""level":"WARN""#)]
#[case::text(&[("LOG_FORMAT", "text")], " WARN ")]
fn without_a_cluster_the_operator_ends_and_says_why(
    #[case] environment: &[(&str, &str)],
    #[case] level: &str,
) {
    let ports = [(); 2].map(|()| free_port().to_string());
    let ports = [("HEALTH_CHECK_PORT", ports[0].as_str()), ("METRICS_PORT", &ports[1])];
    let polling = [("POLLING_INTERVAL_SECONDS", "10")];
    let environment = [environment, &ports, &polling].concat();
    let outcome = Case::new().ompipe_with(&["operator"], &environment);
    let (notice, error) = outcome.stderr.split_once('\n').unwrap();
    assert!(notice.contains(level) && notice.contains("POLLING_INTERVAL_SECONDS is ignored"));
    assert!(
        error.starts_with("error: no cluster: KUBECONFIG names no file that exists: "),
        "{error}"
    );
    assert_eq!(outcome.code, Some(3));
}

#[test]
fn a_port_that_is_taken_ends_the_operator() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let environment = [("HEALTH_CHECK_PORT", port.as_str())];
    let outcome = Case::new().ompipe_with(&["operator"], &environment);
    let told = format!("error: cannot listen on port {port}: ");
    assert!(outcome.stderr.starts_with(&told), "{}", outcome.stderr);
    assert_eq!(outcome.code, Some(3));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[rstest]
#[case("K8S_NAMESPACE", "Bad_Name", "K8S_NAMESPACE (environment) = \"Bad_Name\"")]
#[case("K8S_RUN_AS_USER", "root", "K8S_RUN_AS_USER (environment) = \"root\"")]
fn a_wrong_variable_without_a_file_is_told(
    #[case] variable: &str,
    #[case] value: &str,
    #[case] told: &str,
) {
    let outcome = Case::new().ompipe_with(&["config", "check"], &[(variable, value)]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("1 problem in the configuration"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}

#[test]
fn empty_variables_count_as_not_set() {
    let empty = [("OMPIPE_CONFIG", ""), ("OMPIPE_TOKEN_FILE", ""), ("OMPIPE_LOG", "")];
    let outcome = Case::new().ompipe_with(&["config", "check"], &empty);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

/// A kubeconfig whose cluster is at a port where nobody listens.
fn kubeconfig(case: &Case, server: &str, user: &Value) -> String {
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "k",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [{ "name": "k", "context": { "cluster": "c", "user": "u" } }],
    });
    case.file("kubeconfig", &document).display().to_string()
}

/// A port that nobody listens at, and the server there.
fn nowhere() -> String {
    format!("https://127.0.0.1:{}", free_port())
}

#[test]
fn a_cluster_that_no_proxy_names_is_called_without_the_proxy() {
    let (case, server) = (Case::new(), nowhere());
    let config = kubeconfig(&case, &server, &json!({ "token": "x" }));
    let environment = [
        ("KUBECONFIG", config.as_str()),
        ("HTTPS_PROXY", "http://u:hunter2@proxy.invalid:3128"),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ];
    let outcome = case.ompipe_with(&["list"], &environment);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains(&format!("{server}, context \"k\")")), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("proxy"), "{}", outcome.stderr);
}

#[test]
fn a_proxy_is_named_without_its_credentials() {
    let case = Case::new();
    let config = kubeconfig(&case, "https://cluster.invalid", &json!({ "token": "x" }));
    let proxy = format!("http://u:hunter2@127.0.0.1:{}", free_port());
    let environment = [("KUBECONFIG", config.as_str()), ("HTTPS_PROXY", proxy.as_str())];
    let outcome = case.ompipe_with(&["list"], &environment);
    assert_eq!(outcome.code, Some(3));
    let shown = proxy.replace("u:hunter2@", "");
    assert!(outcome.stderr.contains(&format!("through the proxy {shown}")), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_credential_plugin_that_fails_is_named_without_its_arguments() {
    let case = Case::new();
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin",
        "args": ["--oidc-client-secret=hunter2"], "installHint": "install the thing",
        "env": [{ "name": "AZURE_CLIENT_SECRET", "value": "hunter3" }],
    }});
    let config = kubeconfig(&case, &nowhere(), &exec);
    let outcome = case.ompipe_with(&["list"], &[("KUBECONFIG", &config)]);
    assert_eq!(outcome.code, Some(3));
    let stderr = &outcome.stderr;
    assert!(
        stderr.contains("\"no-such-plugin\"") && stderr.contains("install the thing"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter"), "{stderr}");
}

#[test]
fn a_kubeconfig_of_a_list_that_is_not_there_is_passed_over() {
    let case = Case::new();
    let server = nowhere();
    let config = kubeconfig(&case, &server, &json!({ "token": "x" }));
    let list = format!("/no/such/file:{config}");
    let outcome = case.ompipe_with(&["list"], &[("KUBECONFIG", &list)]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains(&server), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("/no/such/file"), "{}", outcome.stderr);
}

#[test]
fn a_call_to_openmetadata_that_fails_names_the_proxy() {
    let case = Case::new();
    let block = json!({ "metadataApiEndpoint": "http://openmetadata.invalid:8585/api" });
    let config = case.file("om.json", &json!({ "pipelineServiceClientConfiguration": block }));
    let proxy = format!("http://u:hunter2@127.0.0.1:{}", free_port());
    let environment = [("HTTP_PROXY", proxy.as_str()), ("OPENMETADATA_JWT_TOKEN", TOKEN)];
    let config = config.display().to_string();
    let outcome = case.ompipe_with(&["render", "--fqn", "shop.p", "-c", &config], &environment);
    let shown = proxy.replace("u:hunter2@", "");
    assert!(outcome.stderr.contains(&format!("through the proxy {shown}")), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
}

#[test]
fn a_token_in_a_secrets_manager_is_told_before_anything_is_called() {
    let case = Case::new();
    let connection = json!({
        "hostPort": "http://127.0.0.1:1/api", "securityConfig": { "jwtToken": "secret:/om/bot" },
    });
    let pipeline = case.pipeline(&with("/openMetadataServerConnection", connection));
    let outcome = case.ompipe(&["render", "-f", &pipeline]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("OPENMETADATA_JWT_TOKEN"), "{}", outcome.stderr);
}

/// What a terminal gets that is the stdout and stderr of a call.
fn on_a_terminal(case: &Case, args: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("ompipe"))
        .env_clear()
        .env("KUBECONFIG", case.dir.path().join("no-such-kubeconfig"))
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    // A terminal that nobody writes to any more ends with an error.
    let _ = std::io::Read::read_to_end(&mut fs::File::from(terminal), &mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn names_do_nothing_on_a_terminal() {
    const NAME: &str = "a\u{1b}]0;pwned\u{7}\u{202e}b\u{9b}31m";
    let case = Case::new();
    let config = case.config(&json!({}));
    let entity = json!({
        "id": "6c9ef1a3-8bbb-4bb0-a7bb-8b9a0d0dc8a4", "name": NAME, "pipelineType": "metadata",
        "fullyQualifiedName": format!("shop.{NAME}"), "displayName": NAME,
        "service": { "name": "shop", "type": "databaseService" },
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": {}, "openMetadataServerConnection": {
            "hostPort": "http://om:8585/api", "securityConfig": { "jwtToken": TOKEN } },
    });
    let pipeline = case.pipeline(&entity);
    let service = case.service();
    let source = ["-c", config.as_str(), "-f", &pipeline, "--service", &service];
    for more in [vec!["render"], vec!["render", "-o", "json"], vec!["deploy"], vec!["diff"]] {
        let shown = on_a_terminal(&case, &[more.as_slice(), &source].concat());
        let active = shown.chars().filter(|c| c.is_control() && !"\n\r\t".contains(*c));
        assert_eq!(active.collect::<String>(), "", "{more:?}: {shown:?}");
        assert!(!shown.contains('\u{202e}'), "{more:?}: {shown:?}");
    }
}
