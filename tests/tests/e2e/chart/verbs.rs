//! The server's rights, verb by verb: what it does uses every verb that the chart grants and no other,
//! and without any one of them something does not work.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use ompipe_core::config::Mode;
use ompipe_core::yaml;
use ompipe_tests::api_proxy::ApiProxy;
use ompipe_tests::helm::{Release, documents};
use ompipe_tests::rights::{Right, names};
use rstest::rstest;
use serde_json::{Value, json};

use super::deeds::{Deed, Doer, parameters};
use crate::access::limited_kubeconfig;
use crate::serve::shop;
use crate::support::{Scene, Serving, VERSION, eventually, from, install_crds};

const ACCOUNT: &str = "server";
/// What everybody may do (`system:basic-user`).
const OF_EVERYBODY: &str = "create selfsubjectaccessreviews.authorization.k8s.io";

/// What the chart grants a server: in the namespace of the runs, and in the whole cluster.
struct Granted {
    role: BTreeSet<Right>,
    cluster_role: BTreeSet<Right>,
}

impl Granted {
    fn by_the_chart(mode: Mode) -> Self {
        let values = json!({
            "server": { "credentials": { "username": "u", "password": "p" }, "kubernetesAuthentication": true },
            "pipelineServiceClientConfig": { "k8s": {
                "ingestionImage": "x:1", "useOMJobOperator": mode == Mode::Operator,
            } },
        });
        let text = Release::rendered("release", "ns").template(&values, &[]).unwrap();
        let objects: Vec<Value> = documents(&text).map(|text| yaml::parse(text).unwrap()).collect();
        let rights = |kind: &str, name: &str| {
            let is_it = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
            Right::of_rules(&objects.iter().find(is_it).unwrap()["rules"])
        };
        Self {
            role: rights("Role", "release-ompipe-server"),
            cluster_role: rights("ClusterRole", "ns-release-ompipe-server"),
        }
    }

    fn all(&self) -> BTreeSet<String> {
        names(self.role.union(&self.cluster_role))
    }

    fn right(&self, name: &str) -> &Right {
        let found = self.role.union(&self.cluster_role).find(|right| right.to_string() == name);
        found.unwrap_or_else(|| panic!("the chart does not grant {name}"))
    }
}

/// A server that has the rights of the chart, and what takes them away.
struct Limited {
    doer: Doer,
    granted: Granted,
}

impl Limited {
    async fn new(name: &str, mode: Mode) -> Self {
        let scene = shop(name).await;
        install_crds(&scene.client).await;
        let granted = Granted::by_the_chart(mode);
        let kubeconfig = limited_kubeconfig(&scene, ACCOUNT, &Right::to_rules(&granted.role)).await;
        grant_everywhere(&scene, &granted.cluster_role).await;
        let access = Kubeconfig::read_from(kubeconfig).unwrap();
        let access = Config::from_custom_kubeconfig(access, &KubeConfigOptions::default()).await;
        let proxy = ApiProxy::start(Client::try_from(access.unwrap()).unwrap()).await.unwrap();
        let mut all = parameters(mode);
        all["kubeconfigPath"] = scene.file("proxy.kubeconfig", &proxy.kubeconfig()).into();
        let section = json!({ "openMetadataVersion": VERSION, "kubernetesAuthentication": true });
        let serving = Serving::with(&scene, &all, &section).await;
        Self { doer: Doer::new(scene, proxy, serving, [mode, mode]).await, granted }
    }

    /// Lets the server have all rights but this one, or all, and waits until that is so.
    async fn without(&self, one: Option<&Right>) {
        let scene = &self.doer.scene;
        let rest = |rights: &BTreeSet<Right>| {
            let patch =
                json!({ "rules": Right::to_rules(rights.iter().filter(|r| Some(*r) != one)) });
            Patch::Merge(patch)
        };
        let params = PatchParams::default();
        let roles = scene.api::<Role>();
        roles.patch(ACCOUNT, &params, &rest(&self.granted.role)).await.unwrap();
        let roles: Api<ClusterRole> = Api::all(scene.client.clone());
        roles.patch(&scene.namespace, &params, &rest(&self.granted.cluster_role)).await.unwrap();
    }

    async fn until(&self, right: &Right, is_there: bool) {
        eventually("a change of the rights", || async {
            let allowed = self.may(right).await;
            if allowed == is_there { Ok(()) } else { Err(format!("{right}: {allowed}")) }
        })
        .await;
    }

    async fn may(&self, right: &Right) -> bool {
        let scene = &self.doer.scene;
        let (resource, part) = match right.resource.split_once('/') {
            Some((resource, part)) => (resource, Some(part)),
            None => (right.resource.as_str(), None),
        };
        let is_of_cluster = self.granted.cluster_role.contains(right);
        let review: SubjectAccessReview = from(json!({ "spec": {
            "user": format!("system:serviceaccount:{}:{ACCOUNT}", scene.namespace),
            "resourceAttributes": {
                "verb": right.verb, "group": right.group, "resource": resource, "subresource": part,
                "namespace": if is_of_cluster { None } else { Some(&scene.namespace) },
            },
        }}));
        let reviews: Api<SubjectAccessReview> = Api::all(scene.client.clone());
        let review = reviews.create(&PostParams::default(), &review).await.unwrap();
        review.status.unwrap().allowed
    }

    async fn end(self) {
        let params = DeleteParams::default();
        let (client, name) = (&self.doer.scene.client, &self.doer.scene.namespace);
        Api::<ClusterRoleBinding>::all(client.clone()).delete(name, &params).await.unwrap();
        Api::<ClusterRole>::all(client.clone()).delete(name, &params).await.unwrap();
        self.doer.scene.end().await;
    }
}

/// Gives the account rights in the whole cluster, under the scene's name.
async fn grant_everywhere(scene: &Scene, rights: &BTreeSet<Right>) {
    let post = PostParams::default();
    let metadata = json!({ "name": scene.namespace });
    let role: ClusterRole = from(json!({ "metadata": metadata, "rules": Right::to_rules(rights) }));
    Api::all(scene.client.clone()).create(&post, &role).await.unwrap();
    let binding: ClusterRoleBinding = from(json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": scene.namespace },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": scene.namespace }],
    }));
    Api::all(scene.client.clone()).create(&post, &binding).await.unwrap();
}

/// Everything that a server does with what was made in its own mode.
const TOUR: &[Deed] = &[
    Deed::Health,
    Deed::DeployNew,
    Deed::Redeploy,
    Deed::Revisions,
    Deed::TakeBack,
    Deed::Unschedule,
    Deed::Disable,
    Deed::Pipelines,
    Deed::Runs,
    Deed::Examine,
    Deed::Trigger,
    Deed::LostTrigger,
    Deed::Turn,
    Deed::Follow,
    Deed::Kill,
    Deed::Automation,
    Deed::LostAutomation,
    Deed::Application,
    Deed::Token,
    Deed::Delete,
];
/// What it does with plain Jobs alone: the pods of `OMJobs` are the operator's.
const TOUR_OF_JOBS: &[Deed] = &[Deed::Logs, Deed::DeleteHeld, Deed::Waiting];
/// What a server that makes `OMJobs` does with what is left from before it did.
const TOUR_OF_LEFTOVERS: &[Deed] =
    &[Deed::Disable, Deed::TakeBack, Deed::Unschedule, Deed::Turn, Deed::Kill];

/// What a server does without, and says so to those who can do something about it: in mode job to look
/// at custom resources, which may be left from another mode.
fn missed(mode: Mode) -> BTreeSet<String> {
    let custom = [
        "get cronomjobs.pipelines.openmetadata.org",
        "list cronomjobs.pipelines.openmetadata.org",
        "list omjobs.pipelines.openmetadata.org",
    ];
    let custom = custom.into_iter().filter(|_| mode == Mode::Job);
    custom.map(str::to_owned).collect()
}

/// It takes a minute: every operation of a server is called once, with runs that start and end.
#[rstest]
#[case::job(Mode::Job)]
#[case::operator(Mode::Operator)]
#[tokio::test]
async fn a_server_uses_each_right_of_the_chart_and_no_other(#[case] mode: Mode) {
    let Limited { mut doer, granted } = Limited::new("verbs", mode).await;
    let does = async |doer: &Doer, deed: Deed| {
        let done = doer.does(deed).await;
        done.unwrap_or_else(|wrong| panic!("{deed:?}: {wrong}"));
    };
    for deed in TOUR {
        does(&doer, *deed).await;
    }
    doer = doer.make_in(Mode::Job).await;
    let more = if mode == Mode::Operator { TOUR_OF_LEFTOVERS } else { &[] };
    for deed in more.iter().chain(TOUR_OF_JOBS) {
        does(&doer, *deed).await;
    }
    let (refused, answered): (Vec<_>, Vec<_>) =
        doer.proxy.answers().into_iter().partition(|(_, code)| *code == 403);
    let rights = |answers: &[_]| {
        let rights = answers.iter().flat_map(|(call, code)| Right::of_answer(call, *code));
        names(&rights.collect::<Vec<_>>())
    };
    let mut used = rights(&answered);
    assert!(used.remove(OF_EVERYBODY));
    assert_eq!(used, granted.all(), "used on the left, granted on the right");
    assert_eq!(rights(&refused), missed(mode));
    Limited { doer, granted }.end().await;
}

/// A right, what cannot be done without it, and what is said then; where nothing is, what is missing.
type Need = (&'static str, Deed, Option<&'static str>);

const SECRETS: &[Need] = &[
    ("get secrets", Deed::Redeploy, None),
    ("list secrets", Deed::Redeploy, None),
    ("create secrets", Deed::DeployNew, None),
    ("update secrets", Deed::TakeBack, None),
    ("patch secrets", Deed::Redeploy, None),
    ("delete secrets", Deed::Delete, None),
];
const CONFIG_MAPS: &[Need] = &[
    ("get configmaps", Deed::Redeploy, None),
    ("list configmaps", Deed::Pipelines, None),
    ("create configmaps", Deed::DeployNew, None),
    ("update configmaps", Deed::TakeBack, None),
    ("patch configmaps", Deed::Redeploy, None),
    ("delete configmaps", Deed::Delete, None),
];
const PODS: &[Need] = &[
    ("list pods", Deed::Runs, None),
    ("watch pods", Deed::Follow, None),
    ("delete pods", Deed::DeleteHeld, None),
    ("get pods/log", Deed::Logs, None),
];
const EVENTS: &[Need] = &[
    ("watch events", Deed::Follow, Some("event: end")),
    ("list events", Deed::Waiting, Some("why it waits is not told")),
];
const JOBS: &[Need] = &[
    ("get jobs.batch", Deed::LostTrigger, None),
    ("list jobs.batch", Deed::Runs, None),
    ("watch jobs.batch", Deed::Follow, None),
    ("create jobs.batch", Deed::Trigger, None),
    ("patch jobs.batch", Deed::Turn, None),
    ("delete jobs.batch", Deed::Kill, None),
];
const CRON_JOBS: &[Need] = &[
    ("get cronjobs.batch", Deed::Redeploy, None),
    ("list cronjobs.batch", Deed::Pipelines, None),
    ("create cronjobs.batch", Deed::DeployNew, None),
    ("patch cronjobs.batch", Deed::Disable, None),
    ("delete cronjobs.batch", Deed::Unschedule, None),
];
const OM_JOBS: &[Need] = &[
    ("get omjobs.pipelines.openmetadata.org", Deed::LostTrigger, None),
    ("list omjobs.pipelines.openmetadata.org", Deed::Runs, Some("the run is not told")),
    ("watch omjobs.pipelines.openmetadata.org", Deed::Follow, None),
    ("create omjobs.pipelines.openmetadata.org", Deed::Trigger, None),
    ("patch omjobs.pipelines.openmetadata.org", Deed::Turn, None),
    ("delete omjobs.pipelines.openmetadata.org", Deed::Kill, None),
];
const CRON_OM_JOBS: &[Need] = &[
    ("get cronomjobs.pipelines.openmetadata.org", Deed::Disable, Some("the schedule goes on")),
    ("list cronomjobs.pipelines.openmetadata.org", Deed::Pipelines, Some("no schedule is told")),
    ("create cronomjobs.pipelines.openmetadata.org", Deed::DeployNew, None),
    ("patch cronomjobs.pipelines.openmetadata.org", Deed::Disable, None),
    ("delete cronomjobs.pipelines.openmetadata.org", Deed::Unschedule, None),
];
const TOKENS: &[Need] = &[
    ("create tokenreviews.authentication.k8s.io", Deed::Token, None),
    ("create subjectaccessreviews.authorization.k8s.io", Deed::Token, None),
];
const ACCOUNTS: &[Need] = &[
    ("get serviceaccounts", Deed::Examine, Some("the account of the runs is not checked")),
    (
        "create localsubjectaccessreviews.authorization.k8s.io",
        Deed::Examine,
        Some("the account of the runs is not checked"),
    ),
];
/// All of them, with the mode that they are tried in.
const NEEDS: [(Mode, &[Need]); 10] = [
    (Mode::Job, SECRETS),
    (Mode::Job, CONFIG_MAPS),
    (Mode::Job, PODS),
    (Mode::Job, EVENTS),
    (Mode::Job, JOBS),
    (Mode::Job, CRON_JOBS),
    (Mode::Job, TOKENS),
    (Mode::Operator, OM_JOBS),
    (Mode::Operator, CRON_OM_JOBS),
    (Mode::Job, ACCOUNTS),
];

/// Each right in turn, each back before the next one goes.
#[rstest]
#[case::secrets(0)]
#[case::config_maps(1)]
#[case::pods(2)]
#[case::events(3)]
#[case::jobs(4)]
#[case::cron_jobs(5)]
#[case::tokens(6)]
#[case::om_jobs(7)]
#[case::cron_om_jobs(8)]
#[case::accounts(9)]
#[tokio::test]
async fn without_one_right_a_server_cannot(#[case] group: usize) {
    let (mode, needs) = NEEDS[group];
    let limited = Limited::new("verbless", mode).await;
    for (name, deed, words) in needs {
        let right = limited.granted.right(name);
        limited.without(Some(right)).await;
        limited.until(right, false).await;
        let wrong = limited.doer.does(*deed).await.expect_err(&format!("{deed:?} without {name}"));
        let words = words.map_or_else(|| right.refusal(), str::to_owned);
        assert!(wrong.contains(&words), "{deed:?} without {name}: {wrong}");
        limited.without(None).await;
        limited.until(right, true).await;
    }
    limited.end().await;
}

#[test]
fn every_right_of_the_chart_is_taken_away_once() {
    let taken = NEEDS.iter().flat_map(|(_, needs)| needs.iter().map(|(name, ..)| *name));
    let taken: Vec<String> = taken.map(str::to_owned).collect();
    let granted = Granted::by_the_chart(Mode::Operator).all();
    assert_eq!(taken.iter().cloned().collect::<BTreeSet<_>>(), granted);
    assert_eq!(taken.len(), granted.len());
}
