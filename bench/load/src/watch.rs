//! What the API server shows of the runs.

use std::fmt::Debug;

use anyhow::Context;
use futures::{StreamExt, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use ompipe_api::{OMJob, Phase};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock;
use crate::journal::{Happening, Milestone};
use crate::omjob::{WAVE, Wave};

/// Label that tells an `OMJob`'s pods apart.
const POD_TYPE: &str = "omjob.pipelines.openmetadata.org/pod-type";

type Notes = mpsc::Sender<Happening>;
type Watches = JoinSet<anyhow::Result<()>>;

/// Watches the wave's `OMJob`s and pods; returns when both watches stand.
pub(crate) async fn start(client: &Client, wave: &Wave, notes: &Notes) -> anyhow::Result<Watches> {
    let mut watches = JoinSet::new();
    let omjobs = spawn::<OMJob>(&mut watches, client, wave, notes, note_omjob);
    let pods = spawn::<Pod>(&mut watches, client, wave, notes, note_pod);
    tokio::select! {
        stand = async { tokio::try_join!(omjobs, pods) } => stand.map(drop).context("watch the runs")?,
        Some(ended) = watches.join_next() => ended??,
    }
    Ok(watches)
}

/// What an object and its deletion say about a run.
type Reading<K> = fn(&K, bool) -> Vec<Happening>;

fn spawn<K>(
    watches: &mut Watches,
    client: &Client,
    wave: &Wave,
    notes: &Notes,
    read: Reading<K>,
) -> oneshot::Receiver<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api = Api::<K>::namespaced(client.clone(), &wave.namespace);
    let config = watcher::Config::default().labels(&format!("{WAVE}={}", wave.label));
    let (stands, standing) = oneshot::channel();
    watches.spawn(follow(api, config, notes.clone(), read, stands));
    standing
}

async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    notes: Notes,
    read: Reading<K>,
    stands: oneshot::Sender<()>,
) -> anyhow::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher::watcher(api, config);
    pin_mut!(events);
    let mut stands = Some(stands);
    while let Some(event) = events.next().await {
        let happenings = match event.context("watch the runs")? {
            Event::Apply(object) | Event::InitApply(object) => read(&object, false),
            Event::Delete(object) => read(&object, true),
            Event::Init => Vec::new(),
            Event::InitDone => {
                stands.take().map(|stands| stands.send(()));
                Vec::new()
            }
        };
        for happening in happenings {
            notes.send(happening).await?;
        }
    }
    Ok(())
}

fn note_omjob(omjob: &OMJob, deleted: bool) -> Vec<Happening> {
    let at = clock::now();
    let phase = omjob.status.as_ref().and_then(|status| status.phase);
    let terminal = phase.filter(|phase| phase.is_terminal());
    let reached = [
        Some((Milestone::Seen, None)),
        terminal.map(|phase| (Milestone::Terminal, Some(phase))),
        deleted.then_some((Milestone::Gone, None)),
    ];
    let note = |(milestone, phase): (Milestone, Option<Phase>)| Happening {
        run: omjob.name_any(),
        milestone,
        at,
        phase,
    };
    reached.into_iter().flatten().map(note).collect()
}

fn note_pod(pod: &Pod, _deleted: bool) -> Vec<Happening> {
    let at = clock::now();
    let Some(owner) = pod.owner_references().first() else {
        return Vec::new();
    };
    let reached = milestones(pod).into_iter().flatten();
    reached
        .map(|milestone| Happening { run: owner.name.clone(), milestone, at, phase: None })
        .collect()
}

/// That the pod is there, that its container runs, that it is over.
fn milestones(pod: &Pod) -> [Option<Milestone>; 3] {
    let [there, runs, over] = match pod.labels().get(POD_TYPE).map(String::as_str) {
        Some("main") => [Milestone::MainPod, Milestone::MainRunning, Milestone::MainEnd],
        Some("exit-handler") => [Milestone::ExitPod, Milestone::ExitRunning, Milestone::ExitEnd],
        Some(_) | None => return [None; 3],
    };
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let state = status.into_iter().flatten().find_map(|container| container.state.as_ref());
    let is = |holds: fn(&ContainerState) -> bool| state.is_some_and(holds);
    [
        Some(there),
        is(|state| state.running.is_some()).then_some(runs),
        is(|state| state.terminated.is_some()).then_some(over),
    ]
}
