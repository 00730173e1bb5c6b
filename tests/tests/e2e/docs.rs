//! The documents, word for word: each command block of a page is executed as it stands, after those
//! before it, in an empty home directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use ompipe_tests::docs::{Kind, blocks, script};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::support::{Bed, Scene, bed, eventually};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A home directory with the programs that a reader has: `ompipe` and `kubectl`.
fn home(token: &str) -> TempDir {
    let home = TempDir::new().unwrap();
    let programs = home.path().join("bin");
    fs::create_dir_all(&programs).unwrap();
    symlink(&bed().ompipe, programs.join("ompipe")).unwrap();
    // Under that name the sandbox is kubectl. With a cluster of one's own there is a real one.
    for (program, file) in [("kubectl", "sandbox"), ("helm", "helm")] {
        let file = root().join(".build/bin").join(file);
        if file.exists() {
            symlink(file.canonicalize().unwrap(), programs.join(program)).unwrap();
        }
    }
    let config = home.path().join(".config/ompipe");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("token"), token).unwrap();
    home
}

/// Executes a page, with what is the reader's own in the place of what the page has as an example.
#[expect(clippy::print_stdout, reason = "how much of a page is executed is a result of its own")]
async fn execute(page: &str, token: &str, own: &[(&str, &str)]) {
    let mut document = fs::read_to_string(root().join(page)).unwrap();
    for (example, value) in own {
        assert!(document.contains(example), "{page} does not mention {example}");
        document = document.replace(example, value);
    }
    let blocks = blocks(&document);
    let excluded: Vec<String> = blocks
        .iter()
        .filter_map(|block| match &block.kind {
            Kind::Excluded(reason) => Some(format!("  line {}: {reason}", block.line)),
            _ => None,
        })
        .collect();
    let home = home(token);
    // A checkout, for the pages that use one.
    symlink(root().join("charts").canonicalize().unwrap(), home.path().join("charts")).unwrap();
    let path = format!("{}/bin:{}", home.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &script(&blocks)])
        .current_dir(home.path())
        .env_clear()
        .envs([("HOME", home.path().display().to_string()), ("PATH", path)])
        .env("KUBECONFIG", &bed().kubeconfig)
        // Enough for the worker of the tests, beside many others.
        .envs([("K8S_REQUESTS_CPU", "10m"), ("K8S_REQUESTS_MEMORY", "64Mi")])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{page}:\n{}\n{told}",
        String::from_utf8_lossy(&output.stdout)
    );
    let run = blocks.iter().filter(|block| block.kind == Kind::Commands).count();
    println!("{page}: {run} blocks were run, {} not:\n{}", excluded.len(), excluded.join("\n"));
}

/// The documents have the same namespaces as an example, so one page is executed at a time.
static ONE_PAGE: Mutex<()> = Mutex::const_new(());

/// Deletes the namespaces that the documents have as an example, and waits until they are gone.
async fn remove_namespaces(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    for name in ["openmetadata-pipelines", "openmetadata"] {
        drop(namespaces.delete(name, &DeleteParams::background()).await);
        eventually("the end of the namespace", || async {
            let left = namespaces.get_opt(name).await.unwrap();
            if left.is_none() { Ok(()) } else { Err("it is still there".to_owned()) }
        })
        .await;
    }
}

#[tokio::test]
async fn install() {
    let _page = ONE_PAGE.lock().await;
    let scene = Scene::new("docs").await;
    remove_namespaces(&scene).await;
    let (image, url) = (bed().ompipe_image.rsplit_once(':').unwrap().0, scene.standin.url());
    let exit_handler = Bed::exit_handler_image();
    let own = [
        ("repository: registry.example.com/ompipe", format!("repository: {image}")),
        (
            "repository: registry.example.com/exit-handler",
            format!("repository: {}", exit_handler.rsplit_once(':').unwrap().0),
        ),
        ("http://openmetadata:8585/api", url.to_string()),
        ("docker.getcollate.io/openmetadata/ingestion:1.12.14", bed().worker_image.clone()),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|(one, value)| (*one, value.as_str())).collect();
    execute("docs/install.md", scene.standin.token(), &own).await;
    remove_namespaces(&scene).await;
    scene.end().await;
}

/// What a reader of the pages about pipelines has, in the place of the examples.
fn own_pipelines(scene: &Scene) -> [(&'static str, String); 2] {
    [
        ("http://openmetadata.openmetadata.svc:8585/api", scene.standin.url().to_string()),
        ("docker.getcollate.io/openmetadata/ingestion:1.12.14", bed().worker_image.clone()),
    ]
}

#[tokio::test]
async fn recipes() {
    let _page = ONE_PAGE.lock().await;
    let scene = Scene::new("docs").await;
    remove_namespaces(&scene).await;
    let service = scene.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
    drop(service.unwrap());
    let own = own_pipelines(&scene);
    let own: Vec<(&str, &str)> = own.iter().map(|(one, value)| (*one, value.as_str())).collect();
    execute("docs/recipes.md", scene.standin.token(), &own).await;
    remove_namespaces(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn quickstart() {
    let _page = ONE_PAGE.lock().await;
    let scene = Scene::new("docs").await;
    remove_namespaces(&scene).await;
    let service = scene.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
    let fields = json!({
        "name": "shop_metadata", "pipelineType": "metadata",
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": { "scheduleInterval": "0 3 * * *" },
    });
    scene.standin.add_pipeline("databaseService", &service.unwrap(), &fields).unwrap();
    let own = own_pipelines(&scene);
    let own: Vec<(&str, &str)> = own.iter().map(|(one, value)| (*one, value.as_str())).collect();
    execute("docs/quickstart.md", scene.standin.token(), &own).await;
    remove_namespaces(&scene).await;
    scene.end().await;
}
