//! Moments at which pipelines and their runs may look different from before, for a list that is watched.

use std::future::ready;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use ompipe_api::OMJob;
use tokio::time::sleep;

use super::pipelines::PipelineFilter;
use super::queue::until_seen;
use super::{K8sPipelineClient, Reach};
use crate::object::Object;

/// Between two moments that come without a change of a run: a schedule may have changed, and callers
/// need no right to watch schedules.
const BEAT: Duration = Duration::from_secs(10);

impl K8sPipelineClient {
    /// Something for each moment at which the pipelines that are meant, or their runs, may have changed;
    /// never ends. Many moments may come at once.
    pub fn moments(&self, filter: &PipelineFilter) -> impl Stream<Item = ()> + use<> {
        let which = watcher::Config::default().labels(&filter.selector());
        let jobs = touched::<Job>(self.metadata_in(filter.reach()), which.clone());
        let pods = touched::<Pod>(self.metadata_in(filter.reach()), which.clone());
        let om_jobs = self.metadata_in::<OMJob>(filter.reach());
        // Without the kind or the right, the watch would log that at each try.
        let om_jobs = stream::once(until_seen(self.api::<OMJob>()))
            .flat_map(move |()| touched(om_jobs.clone(), which.clone()));
        let beats = stream::unfold((), |()| async { Some((sleep(BEAT).await, ())) });
        stream::select_all([jobs, pods, om_jobs.boxed(), beats.boxed()])
    }

    fn metadata_in<K: Object>(&self, reach: Reach) -> Api<PartialObjectMeta<K>> {
        let client = self.cluster.streams.clone();
        match reach {
            Reach::Namespace => Api::namespaced(client, self.config.namespace.as_str()),
            Reach::Cluster => Api::all(client),
        }
    }
}

/// Something for each change of the selected objects. A watch that breaks is taken up again.
fn touched<K: Object>(
    api: Api<PartialObjectMeta<K>>,
    which: watcher::Config,
) -> BoxStream<'static, ()> {
    let events = watcher(api, which).default_backoff();
    events.filter_map(|event| ready(event.ok().map(drop))).boxed()
}
