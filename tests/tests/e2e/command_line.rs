//! The command line as users of kubectl type it: several pipelines at once, short run ids, what is
//! deployed, what a deploy would change, waiting, and running again.

use std::process::Stdio;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Duration, timeout};

use crate::support::{INJECTED, Injector, Scene, bed, eventually};

const RUN_ID: &str = "app.kubernetes.io/run-id";
const REVISION: &str = "pipelines.openmetadata.org/config-revision";

/// A scene with the files of two pipelines in one directory, the first with a schedule.
async fn scene() -> (Scene, String, String) {
    let scene = Scene::new("cli").await;
    let config = scene.config(&json!({}));
    let schedule = json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } });
    let files = [scene.pipeline("nightly", &schedule), scene.pipeline("weekly", &json!({}))];
    let text = files.map(|file| std::fs::read_to_string(file).unwrap()).join("\n---\n");
    let stream = scene.text_file("pipelines.yaml", &text);
    (scene, config, stream)
}

/// The schedules and whether each is suspended.
async fn suspended(scene: &Scene) -> Vec<bool> {
    let schedules = scene.ours::<CronJob>().await.into_values();
    schedules.map(|schedule| schedule.spec.unwrap().suspend == Some(true)).collect()
}

#[tokio::test]
async fn several_pipelines_at_once() {
    let (scene, config, stream) = scene().await;
    let service = scene.service();
    let ompipe = async |args: &[&str]| scene.ompipe(&[args, &["-c", &config]].concat()).await;
    let deploy = ["deploy", "-f", &stream, "--service", &service];
    let tried = ompipe(&[&deploy[..], &["--dry-run"]].concat()).await.good().stdout;
    assert_eq!(tried.matches("nothing was changed (dry run)").count(), 2, "{tried}");
    assert!(scene.ours::<CronJob>().await.is_empty());
    let deployed = ompipe(&[&deploy[..], &["-o", "name"]].concat()).await.good().stdout;
    assert_eq!(deployed, "shop.nightly\nshop.weekly\n");

    let listed = ompipe(&["list"]).await.good().stdout;
    assert!(listed.lines().all(|line| line.len() <= 80), "{listed}");
    assert!(listed.starts_with("NAME          TYPE"), "{listed}");
    let names = ompipe(&["list", "-o", "name"]).await.good().stdout;
    assert_eq!(names, "shop.nightly\nshop.weekly\n");
    let wide = ompipe(&["list", "-o", "wide"]).await.good().stdout;
    assert!(wide.contains("NAMESPACE") && wide.contains("UTC"), "{wide}");
    let everywhere = ompipe(&["list", "-A", "-o", "json"]).await.good().json();
    let own = everywhere.as_array().unwrap().iter();
    let own = own.filter(|one| one["namespace"] == scene.namespace.as_str());
    assert_eq!(own.count(), 2, "{everywhere}");
    let chosen = ["list", "-l", "app.kubernetes.io/pipeline=weekly", "-o", "name"];
    assert_eq!(ompipe(&chosen).await.good().stdout, "shop.weekly\n");
    let yaml = ompipe(&["list", "-o", "yaml"]).await.good().stdout;
    assert!(yaml.starts_with("- ") && yaml.contains("fullyQualifiedName: shop.nightly"), "{yaml}");

    ompipe(&["pause", "--all"]).await.good();
    assert_eq!(suspended(&scene).await, [true]);
    assert!(ompipe(&["list"]).await.good().stdout.contains("paused"));
    let resumed = ompipe(&["resume", "nightly", "absent", "weekly"]).await.ended_with(2);
    assert!(resumed.stderr.contains("\"absent\""), "{}", resumed.stderr);
    assert_eq!(suspended(&scene).await, [false], "the others have had their turn");
    let unlike = ompipe(&["status", "shop.nigthly"]).await.ended_with(2);
    assert!(unlike.stderr.contains("did you mean shop.nightly?"), "{}", unlike.stderr);

    let deleted = ompipe(&["delete", "--all", "-o", "json"]).await.good().json();
    assert_eq!(deleted.as_array().unwrap().len(), 2, "{deleted}");
    let nothing = ompipe(&["delete", "--all"]).await.good();
    assert!(nothing.stderr.contains("no pipeline is deployed in namespace"), "{}", nothing.stderr);
    scene.end().await;
}

#[tokio::test]
async fn what_is_deployed_and_what_would_change() {
    let (scene, config, _) = scene().await;
    let service = scene.service();
    let ompipe = async |args: &[&str]| scene.ompipe(&[args, &["-c", &config]].concat()).await;
    let file =
        |hour: u8, includes: &str| {
            let schedule = format!("0 {hour} * * *");
            scene.pipeline("nightly", &json!({
            "airflowConfig": { "scheduleInterval": schedule },
            "sourceConfig": { "config": {
                "type": "DatabaseMetadata", "schemaFilterPattern": { "includes": [includes] },
            } },
        }))
        };
    let pipeline = file(2, "sales");
    let call = |verb| [verb, "-f", pipeline.as_str(), "--service", service.as_str()];
    let new = ompipe(&call("diff")).await.ended_with(1).stdout;
    assert!(new.contains("+++ new CronJob/om-cronjob-nightly"), "{new}");
    ompipe(&call("deploy")).await.good();
    let same = ompipe(&call("diff")).await.good().stdout;
    assert_eq!(same, "pipeline shop.nightly is deployed as it is\n");
    // The file of the same name.
    assert_eq!(file(3, "catalog"), pipeline);
    let before = scene.ours::<CronJob>().await["om-cronjob-nightly"].resource_version();
    let changed = ompipe(&call("diff")).await.ended_with(1).stdout;
    assert!(changed.contains("-  schedule: 0 2 * * *\n+  schedule: 0 3 * * *"), "{changed}");
    assert!(!changed.contains(scene.standin.token()), "{changed}");
    let after = scene.ours::<CronJob>().await["om-cronjob-nightly"].resource_version();
    assert_eq!(after, before, "nothing was changed");

    let shown = ompipe(&["get", "nightly"]).await.good().stdout;
    assert!(shown.contains("Schedule:   0 2 * * * UTC"), "{shown}");
    assert!(shown.contains("- sales") && !shown.contains(scene.standin.token()), "{shown}");
    let detail = ompipe(&["get", "nightly", "-o", "json"]).await.good().json();
    assert_eq!(detail["scheduleObject"], "CronJob om-cronjob-nightly");
    assert_eq!(detail["service"], "shop");
    assert!(detail["image"].as_str().unwrap().contains("worker"), "{detail}");
    scene.end().await;
}

/// What a webhook adds to the objects is neither a change nor undone.
#[tokio::test]
async fn what_a_webhook_adds_is_no_change() {
    let (scene, config, stream) = scene().await;
    let injector = Injector::start(&scene).await;
    let service = scene.service();
    let call = async |verb: &str| {
        let args = [verb, "-c", &config, "-f", &stream, "--service", &service];
        scene.ompipe(&args).await.good().stdout
    };
    call("deploy").await;
    let schedule = async || scene.ours::<CronJob>().await["om-cronjob-nightly"].clone();
    let first = schedule().await;
    assert!(first.annotations().contains_key(INJECTED), "{:?}", first.metadata);
    assert!(call("diff").await.contains("pipeline shop.nightly is deployed as it is"));
    call("deploy").await;
    let second = schedule().await;
    assert_eq!(second.resource_version(), first.resource_version(), "{:?}", second.metadata);
    injector.remove().await;
    scene.end().await;
}

/// The revision of the config that each run has, by its id.
async fn revision_of(scene: &Scene, run: &str) -> String {
    let mut jobs = scene.ours::<Job>().await.into_values();
    let is_its_own = |job: &Job| job.labels().get(RUN_ID).is_some_and(|id| id == run);
    let job = jobs.find(is_its_own);
    job.unwrap().labels()[REVISION].clone()
}

#[tokio::test]
async fn a_run_is_waited_for_named_by_its_first_digits_and_run_again_as_it_was() {
    let (scene, config, stream) = scene().await;
    let service = scene.service();
    let ompipe = async |args: &[&str]| scene.ompipe(&[args, &["-c", &config]].concat()).await;
    ompipe(&["deploy", "-f", &stream, "--service", &service]).await.good();
    let overrides = json!({ "sourceConfigOverride": { "includeViews": false } });
    let overrides = scene.file("overrides.json", &overrides);
    let run = ["run", "nightly", "--overrides", &overrides, "-o", "name"];
    let first = ompipe(&run).await.good().stdout.trim().to_owned();
    let waited = ompipe(&["wait", "nightly", "--timeout", "2m", "-o", "json"]).await.good().json();
    assert_eq!(waited["run"]["runId"], first.as_str());
    let digits = &first[..8];
    let status = ompipe(&["status", "nightly", "--run", digits]).await.good().stdout;
    assert!(status.contains(digits) && status.lines().all(|line| line.len() <= 80), "{status}");
    let unknown = ompipe(&["status", "nightly", "--run", "0000"]).await.ended_with(3);
    assert!(unknown.stderr.contains("begins with 0000"), "{}", unknown.stderr);

    let again = ompipe(&["retry", digits, "-o", "name"]).await.good().stdout.trim().to_owned();
    assert_ne!(again, first);
    let plain = eventually("a run that may start", || async {
        let started = ompipe(&["run", "nightly", "-o", "name"]).await;
        if started.code == Some(0) {
            Ok(started.stdout.trim().to_owned())
        } else {
            Err(started.stderr)
        }
    })
    .await;
    let revision = revision_of(&scene, &first).await;
    assert_eq!(revision_of(&scene, &again).await, revision, "the overrides are kept");
    assert_ne!(revision_of(&scene, &plain).await, revision);
    scene.end().await;
}

#[tokio::test]
async fn ctrl_c_says_how_to_go_on() {
    let scene = Scene::new("ctrl-c").await;
    let config = scene.config(&json!({
        "extraEnvVars": ["WORKER_MAIN:echo up; while :; do sleep 1; done"],
    }));
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let child = Scene::ompipe_in_background(&run);
    eventually("a running run", || async {
        let status = ["status", "-c", &config, "-f", &pipeline, "-o", "json"];
        let seen: Value = scene.ompipe(&status).await.good().json();
        if seen[0]["state"] == "running" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    let id = child.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("goes on") && told.contains("ompipe logs shop.nightly --run"), "{told}");
    scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    scene.end().await;
}

/// A command that goes on, and its lines as they come.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(args: &[&str]) -> Self {
        let mut child = Scene::ompipe_in_background(args);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line passes, and gives it.
    async fn line(&mut self, what: &str, passes: impl Fn(&str) -> bool) -> String {
        let found = timeout(Duration::from_mins(3), async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("it ended before {what}"));
                if passes(&line) {
                    return line;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("{what} never came"))
    }
}

#[tokio::test]
async fn a_list_is_watched_until_its_reader_goes() {
    let (scene, config, stream) = scene().await;
    let service = scene.service();
    let ompipe = async |args: &[&str]| scene.ompipe(&[args, &["-c", &config]].concat()).await;
    ompipe(&["deploy", "-f", &stream, "--service", &service]).await.good();
    let mut list = Watching::start(&["list", "--watch", "-c", &config]);
    list.line("a header", |line| line.starts_with("NAME ")).await;
    list.line("the first list", |line| line.starts_with("shop.weekly ")).await;
    let run = ompipe(&["run", "nightly", "-o", "name"]).await.good().stdout.trim().to_owned();
    let mut status = Watching::start(&["status", "-w", "-c", &config, "nightly"]);
    let is_over = |line: &str| line.starts_with(&run[..8]) && line.ends_with("success");
    status.line("the end of the run", is_over).await;
    let ended = |line: &str| line.starts_with("shop.nightly ") && line.ends_with("success");
    let row = list.line("the end in the list", ended).await;
    assert!(row.len() <= 80, "{row}");
    // Callers have no right to watch schedules: the next beat shows it.
    ompipe(&["pause", "nightly"]).await.good();
    list.line("the pause", |line| line.contains(" paused ")).await;
    let mut json = Watching::start(&["list", "-w", "-o", "json", "-c", &config]);
    json.line("a pipeline", |line| line.contains("shop.nightly")).await;
    let Watching { mut child, lines } = json;
    drop(lines);
    ompipe(&["resume", "nightly"]).await.good();
    let ended = timeout(Duration::from_mins(3), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0), "its reader has gone");
    drop((list.child, status.child));
    scene.end().await;
}

/// What bash is offered for the last of some words, by the script that users install.
async fn completed(scene: &Scene, words: &[&str]) -> Vec<String> {
    let script = scene.ompipe(&["completions", "bash"]).await.good().stdout;
    let file = scene.text_file("completion.bash", &script);
    let bin = std::path::Path::new(&bed().ompipe).parent().unwrap().display().to_string();
    let line = format!("ompipe {}", words.join(" "));
    // As bash does it: the words, the place of the last one, and the function that is registered.
    let ask = format!(
        "source {file}\nCOMP_LINE=$1 COMP_POINT=${{#1}} COMP_TYPE=9 COMP_KEY=9\nread -ra COMP_WORDS <<< \"$1\"\n\
         [[ $1 != *' ' ]] || COMP_WORDS+=('')\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         function=$(complete -p ompipe | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         $function ompipe \"${{COMP_WORDS[COMP_CWORD]}}\" ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &ask, "bash", &line]).env_clear().env("KUBECONFIG", &scene.kubeconfig);
    bash.env("PATH", format!("{bin}:/usr/bin:/bin")).stderr(Stdio::piped());
    let output = bash.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Before an empty word the options are offered too.
    let is_value = |line: &&str| !line.is_empty() && !line.starts_with('-');
    text.lines().map(str::trim).filter(is_value).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_shell_completes_pipelines_runs_and_namespaces() {
    let (scene, config, stream) = scene().await;
    let service = scene.service();
    let deploy = ["deploy", "-c", &config, "-f", &stream, "--service", &service];
    scene.ompipe(&deploy).await.good();
    let run = ["run", "-c", &config, "nightly", "-o", "name"];
    let run = scene.ompipe(&run).await.good().stdout;
    let namespace = scene.namespace.as_str();
    let complete =
        async |words: &[&str]| completed(&scene, &[&["-n", namespace], words].concat()).await;
    assert_eq!(complete(&["status", ""]).await, ["shop.nightly", "shop.weekly"]);
    assert_eq!(complete(&["pause", "shop.w"]).await, ["shop.weekly"]);
    assert_eq!(complete(&["logs", "shop.nightly", "--run", ""]).await, [&run[..8]]);
    assert_eq!(complete(&["logs", "shop.weekly", "--run", ""]).await, [""; 0]);
    assert_eq!(complete(&["retry", &run[..3]]).await, [&run[..8]]);
    let half = &namespace[..namespace.len() - 2];
    assert_eq!(completed(&scene, &["list", "-n", half]).await, [namespace]);
    scene.end().await;
}

/// Errors of every kind of command, as scripts read them.
#[tokio::test]
async fn failures_are_json_with_a_code() {
    let (scene, config, stream) = scene().await;
    let service = scene.service();
    let ompipe =
        async |args: &[&str]| scene.ompipe(&[args, &["-c", &config, "-o", "json"]].concat()).await;
    ompipe(&["deploy", "-f", &stream, "--service", &service]).await.good();
    for (args, exit, code) in [
        (&["status", "absent"][..], 2, "no-such-pipeline"),
        (&["get", "absent"], 2, "no-such-pipeline"),
        (&["logs", "nightly"], 3, "no-such-run"),
        (&["logs", "nightly", "--run", "a1b2c3d4"], 3, "no-such-run"),
        (&["wait", "nightly"], 3, "no-such-run"),
        (&["retry", "a1b2c3d4"], 3, "no-such-run"),
        (&["kill", "nightly", "--frobnicate"], 2, "usage"),
        (&["deploy", "-f", "/no/such/file"], 2, "invalid-input"),
        (&["run", "nightly", "--overrides", "/no/such/file"], 2, "invalid-input"),
    ] {
        let failed = ompipe(args).await.ended_with(exit);
        let error: Value = serde_json::from_str(&failed.stderr)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", failed.stderr));
        assert_eq!(error["code"], code, "{args:?}: {error}");
        assert!(!error["error"].as_str().unwrap().is_empty() && error["problems"].is_array());
        assert_eq!(failed.stdout, "", "{args:?}");
    }
    scene.end().await;
}
