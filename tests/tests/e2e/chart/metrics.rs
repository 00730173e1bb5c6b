//! The metrics of a running server: those that the alerts and the board ask for, and those of the
//! documents.

use std::collections::BTreeSet;

use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use ompipe_tests::metrics;
use reqwest::Client;

use crate::support::{Scene, Serving, answer};

#[tokio::test]
async fn a_server_has_those_that_are_asked_for_and_those_of_the_documents() {
    let scene = Scene::new("chartmetrics").await;
    let serving = Serving::start(&scene).await;
    serving.get("health-auth", &[]).await.is(200);
    answer(Client::new().get(format!("http://{}/api/v1/pipelines", serving.address))).await.is(401);
    let page = serving.probe("/metrics").await.is(200).text;

    let values = yaml::parse(include_str!("../../../../charts/values/full.yaml")).unwrap();
    let text = Release::rendered("release", "ns").template(&values, &[]).unwrap();
    let objects: Vec<_> = documents(&text).map(|text| yaml::parse(text).unwrap()).collect();
    let asked = metrics::asked_for(&objects).into_iter();
    let asked: BTreeSet<String> = asked.filter(|name| name.starts_with("ompipe_server_")).collect();
    assert!(asked.len() > 2, "{asked:?}");
    let known = metrics::series(&page);
    assert!(asked.is_subset(&known), "{asked:?} of {known:?}");

    let document = include_str!("../../../../docs/operate.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `ompipe_server_"));
    let documented = rows.map(|row| format!("ompipe_server_{}", row.split('`').next().unwrap()));
    let own = metrics::families(&page).filter(|(name, _)| name.starts_with("ompipe_server_"));
    let names = own.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        _ => name.to_owned(),
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), names.collect::<BTreeSet<_>>());
    scene.end().await;
}
