//! The custom resources, installed once and for all tests.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use tokio::sync::OnceCell;

/// Installs the definitions, or finds them, and waits until the API serves them. Once for all
/// tests: several first installations at the same time get in each other's way.
pub(crate) async fn install_crds(client: &Client) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| install(client)).await;
}

/// As [`install_crds`], on whatever cluster.
pub(super) async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in ompipe_api::crds() {
        let name = definition.name_any();
        let params = PatchParams::apply("ompipe-tests").force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
        await_condition(api.clone(), &name, conditions::is_crd_established()).await.unwrap();
    }
}
