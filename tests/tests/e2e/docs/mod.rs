//! The documents, word for word: each command block of a page is executed as it stands, after those
//! before it, by a reader with an empty home directory. `docs-blocks` counts them.

mod adoption;
mod reader;

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::operator::Operator;
use crate::support::{Bed, LOGIN, Scene, Serving, VERSION, bed, eventually};
use reader::Reader;

/// OpenMetadata's address in the pages, and the image of the workers.
const SERVER: &str = "http://openmetadata.openmetadata.svc:8585/api";
const IMAGE: &str = "docker.getcollate.io/openmetadata/ingestion:1.12.14";
/// The namespaces that the documents have as an example.
const PIPELINES: &str = "openmetadata-pipelines";
const HOME: &str = "openmetadata";
const NAMESPACES: [&str; 4] = [PIPELINES, HOME, "team-a", "ompipe-trial"];

/// A cluster without the namespaces of the documents, and an OpenMetadata server.
struct Desk {
    scene: Scene,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self { scene: Scene::new("docs").await };
        desk.remove_namespaces().await;
        desk
    }

    /// OpenMetadata's address.
    fn server(&self) -> String {
        self.scene.standin.url().trim_end_matches('/').to_owned()
    }

    /// A reader of a page that names OpenMetadata and the image of the workers.
    fn reader(&self, page: &'static str) -> Reader {
        Reader::new(self.scene.standin.token()).having(page, SERVER, self.server()).having(
            page,
            IMAGE,
            &bed().worker_image,
        )
    }

    /// Objects of a kind in a namespace of the documents.
    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.scene.client.clone(), namespace)
    }

    async fn cron_jobs(&self) -> Vec<CronJob> {
        self.api::<CronJob>(PIPELINES).list(&ListParams::default()).await.unwrap().items
    }

    /// Lets OpenMetadata know pipelines of the service `shop`; each of `fields` has a name.
    fn add_pipelines(&self, fields: &[Value]) {
        let standin = &self.scene.standin;
        let service = standin.add_service("databaseService", "shop", "Postgres", &json!({}));
        let service = service.unwrap();
        for own in fields {
            let mut fields = json!({
                "pipelineType": "metadata", "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
            });
            fields.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            standin.add_pipeline("databaseService", &service, &fields).unwrap();
        }
    }

    /// Deletes the namespaces that the documents have as an example, and waits until they are gone.
    async fn remove_namespaces(&self) {
        let namespaces: Api<Namespace> = Api::all(self.scene.client.clone());
        for name in NAMESPACES {
            drop(namespaces.delete(name, &DeleteParams::background()).await);
        }
        for name in NAMESPACES {
            eventually("the end of the namespace", || async {
                let left = namespaces.get_opt(name).await.unwrap();
                left.map_or(Ok(()), |left| Err(format!("{:?}", left.status)))
            })
            .await;
        }
    }

    async fn end(self) {
        self.remove_namespaces().await;
        self.scene.end().await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The documents have the same namespaces as an example, so one page is executed after the other. It takes minutes: a
/// reader's commands follow each other, and the runs that they start. `OMPIPE_TEST_PAGE=recipes` chooses one.
#[tokio::test]
async fn each_page_does_what_it_says() {
    let pages: [(&str, LocalBoxFuture<'_, ()>); 8] = [
        ("quickstart", quickstart().boxed_local()),
        ("recipes", recipes().boxed_local()),
        ("install and operate", install_and_operate().boxed_local()),
        ("logs", logs().boxed_local()),
        ("the pipeline service over HTTP", adoption::http_service().boxed_local()),
        ("from Airflow", adoption::from_airflow().boxed_local()),
        ("from OpenMetadata's client", adoption::from_the_kubernetes_client().boxed_local()),
        ("from OpenMetadata's operator", adoption::from_openmetadatas_operator().boxed_local()),
    ];
    let chosen = std::env::var("OMPIPE_TEST_PAGE").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, page) in pages.into_iter().filter(|(name, _)| name.contains(&chosen)) {
        if AssertUnwindSafe(page).catch_unwind().await.is_err() {
            failed.push(name);
        }
    }
    assert_eq!(failed, [""; 0]);
}

async fn quickstart() {
    let desk = Desk::new().await;
    let schedule = json!({ "scheduleInterval": "0 3 * * *" });
    desk.add_pipelines(&[json!({ "name": "shop_metadata", "airflowConfig": schedule })]);
    let page = "docs/quickstart.md";
    desk.reader(page).reads(page).await;
    desk.end().await;
}

async fn recipes() {
    let desk = Desk::new().await;
    desk.add_pipelines(&[]);
    let page = "docs/recipes.md";
    desk.reader(page).reads(page).await;
    assert!(desk.cron_jobs().await.is_empty(), "the page cleans up");
    desk.end().await;
}

/// The installation, an upgrade and a change of the password, and the end.
async fn install_and_operate() {
    const INSTALL: &str = "docs/install.md";
    const OPERATE: &str = "docs/operate.md";
    let desk = Desk::new().await;
    let reader = with_images(Reader::new(desk.scene.standin.token()), INSTALL)
        .having(INSTALL, "http://openmetadata:8585/api", desk.server())
        .having(INSTALL, IMAGE, &bed().worker_image);
    reader.reads_until(INSTALL, "Uninstall").await;
    reader.reads(OPERATE).await;
    let login = desk.api::<Secret>(HOME).get("ompipe-credentials").await.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(login[key].0.clone()).unwrap();
    assert_eq!(text("credentials"), format!("openmetadata:{}", text("password")));
    reader.reads_from(INSTALL, "Uninstall").await;
    desk.end().await;
}

/// A reader of a page that installs the chart, with the images of the tests.
fn with_images(reader: Reader, page: &'static str) -> Reader {
    let own = |image: &str| image.rsplit_once(':').unwrap().0.to_owned();
    // The first is no beginning of the second.
    reader.having(page, "registry.example.com/ompipe", own(&bed().ompipe_image)).having(
        page,
        "registry.example.com/exit-handler",
        own(&Bed::exit_handler_image()),
    )
}

/// Logs of a run that failed twice, archived by an operator.
async fn logs() {
    let desk = Desk::new().await;
    desk.add_pipelines(&[json!({ "name": "nightly" })]);
    let archive = TempDir::new().unwrap();
    let url = format!("file://{}", archive.path().display());
    let example = "export LOGS_ARCHIVE_URL=s3://my-bucket/ompipe";
    let own = format!("export LOGS_ARCHIVE_URL={url}");
    let reader = Reader::new(desk.scene.standin.token()).having("docs/logs.md", example, own);
    let config = json!({ "pipelineServiceClientConfiguration": {
        "metadataApiEndpoint": desk.scene.standin.url(),
        "parameters": {
            "ingestionImage": bed().worker_image, "backoffLimit": 1,
            "extraEnvVars": ["WORKER_MAIN:echo loading; echo ERROR: no access; exit 1"],
        },
    }});
    reader.does("ompipe rbac | kubectl apply -f -").await;
    let _operator = Operator::start(
        &desk.scene,
        &[("WATCH_NAMESPACES", PIPELINES), ("LOGS_ARCHIVE_URL", &url)],
    );
    let before = format!(
        "cat > ompipe.yaml <<'END'\n{config}\nEND\n\
         export OMPIPE_CONFIG=~/ompipe.yaml OMPIPE_TOKEN_FILE=~/.config/ompipe/token\n\
         ompipe deploy --fqn shop.nightly\n\
         ompipe run shop.nightly --follow || [[ $? == 1 ]]\n\
         [[ $(ompipe status shop.nightly -o json | jq '.[0].attempts') == 2 ]]"
    );
    reader.does(&before).await;
    reader.reads("docs/logs.md").await;
    desk.end().await;
}

/// The API of a service, with a pipeline that runs.
#[tokio::test]
async fn api() {
    let scene = Scene::new("docs-api").await;
    let parameters = json!({ "extraEnvVars": [
        "WORKER_MAIN:seq 1 100; echo ERROR: nothing to worry about",
    ]});
    let schedule = json!({ "airflowConfig": { "scheduleInterval": "0 3 * * *" } });
    let (pipeline, service) = (scene.pipeline("nightly", &schedule), scene.service());
    let config = scene.config(&parameters);
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let version = json!({ "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &parameters, &version).await;
    let own = format!("http://{}/api/v1", serving.address);
    let reader = Reader::new(scene.standin.token());
    let reader = reader.having("docs/api.md", "http://ompipe:8080/api/v1", own);
    reader.does(&format!("export LOGIN='{}:{}'", LOGIN.0, LOGIN.1)).await;
    reader.reads("docs/api.md").await;
    let run = scene.ours::<Job>().await.into_values().next().unwrap();
    assert_eq!(run.status.unwrap().succeeded, Some(1));
    let schedule = scene.ours::<CronJob>().await.into_values().next().unwrap();
    assert_eq!(schedule.spec.unwrap().suspend, Some(true));
    scene.end().await;
}
