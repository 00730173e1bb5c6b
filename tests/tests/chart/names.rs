//! Releases side by side, and names within their limits.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::json;

use crate::rendered::{Rendered, full, least, with};

#[test]
fn two_releases_in_one_namespace_share_no_object_and_select_none_of_the_others() {
    let (a, b) = (Rendered::named("a", "ns", &full()), Rendered::named("b", "ns", &full()));
    let names = |rendered: &Rendered| rendered.names().into_iter().collect::<BTreeSet<_>>();
    let shared: Vec<_> = names(&a).intersection(&names(&b)).cloned().collect();
    assert!(shared.is_empty(), "{shared:?}");
    for deployment in a.all("Deployment") {
        let selector = deployment["spec"]["selector"]["matchLabels"].as_object().unwrap();
        for other in b.all("Deployment") {
            let labels = &other["spec"]["template"]["metadata"]["labels"];
            assert!(selector.iter().any(|(label, value)| labels[label] != *value), "{labels}");
        }
    }
}

#[test]
fn two_releases_of_one_name_in_two_namespaces_share_no_object_of_the_cluster() {
    let values = with(json!({ "omjobOperator": { "watchNamespaces": ["ALL"] } }));
    let of_cluster = |namespace: &str| {
        let rendered = Rendered::named("release", namespace, &values);
        let names = rendered.names().into_iter().filter(|name| name.starts_with("ClusterRole"));
        names.collect::<BTreeSet<_>>()
    };
    let (a, b) = (of_cluster("a"), of_cluster("b"));
    assert_eq!((a.len(), b.len()), (2, 2));
    assert!(a.is_disjoint(&b), "{a:?} {b:?}");
}

#[rstest]
#[case::as_the_chart("ompipe", "ompipe-server")]
#[case::another("prod", "prod-ompipe-server")]
#[case::long(
    "a-release-name-of-the-fifty-three-letters-at-the-most",
    "a-release-name-of-the-fifty-three-letter-server"
)]
fn names_follow_the_release(#[case] release: &str, #[case] server: &str) {
    let rendered = Rendered::named(release, "ns", &least());
    rendered.one("Service", server);
    for object in &rendered.objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && !name.ends_with('-'), "{name}");
        for (label, value) in object["metadata"]["labels"].as_object().unwrap() {
            assert!(value.as_str().unwrap().len() <= 63, "{label} of {name}");
        }
    }
}

#[test]
fn a_lease_may_be_shared_by_releases_that_watch_the_same() {
    let rendered = Rendered::of(&with(json!({ "omjobOperator": { "leaseName": "shared" } })));
    rendered.one("Lease", "shared");
    assert_eq!(rendered.operator_variable("LEASE_NAME").as_deref(), Some("shared"));
}
