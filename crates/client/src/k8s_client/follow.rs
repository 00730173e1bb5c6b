//! Follows a run from its creation to its end: waits, streams the log of each attempt as it
//! grows, tells how it ended. Watches, so nothing is polled.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Notice, Pod};
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use ompipe_api::{OMJOB_NAME, OMJob};
use ompipe_core::labels::JOB_NAME;
use ompipe_core::{Run, RunId, Workload, WorkloadKind, run};
use tracing::{debug, warn};

use super::K8sPipelineClient;
use super::runs::of_run;
use crate::error::{Error, KubernetesError, Result};

/// Hears what a run does.
pub trait RunObserver {
    /// The run's state, or why it waits, has changed.
    fn changed(&mut self, run: &Run);

    /// Kubernetes warns of the run's Job, for instance that it may not create a pod.
    fn warning(&mut self, message: &str);

    /// The log of an attempt follows.
    fn attempt(&mut self, attempt: usize, pod: &str);

    /// The next piece of the log.
    ///
    /// # Errors
    /// When it cannot be written; the run goes on, following ends.
    fn log(&mut self, piece: &[u8]) -> std::io::Result<()>;

    /// Passes on an event. No further event is sent, and nothing more of the log is read, before
    /// that is done: an observer for whom somebody else listens waits here for that one.
    ///
    /// # Errors
    /// When the listener has gone; the run goes on, following ends.
    fn settle(&mut self) -> impl Future<Output = std::io::Result<()>> + Send {
        future::ready(Ok(()))
    }
}

impl K8sPipelineClient {
    /// Follows a run to its end.
    ///
    /// # Errors
    /// The run is deleted meanwhile, Kubernetes refuses, or the observer cannot write.
    pub async fn follow(
        &self,
        kind: WorkloadKind,
        name: &str,
        run: RunId,
        observer: &mut impl RunObserver,
    ) -> Result<Run> {
        let mut view = View::new(run);
        let mut changes = std::pin::pin!(self.changes(kind, name));
        while let Some(change) = changes.next().await {
            let change = change.or_else(|error| tolerate(kind, name, error))?;
            let ended = view.show(change, observer)?.is_some();
            observer.settle().await.map_err(Error::LogSink)?;
            self.follow_logs(&mut view, observer).await?;
            if ended {
                return self.last_words(kind, name, view, observer).await;
            }
        }
        Err(Error::RunDeleted(run))
    }

    /// Waits for the end of a run, without its log.
    ///
    /// # Errors
    /// The run is deleted meanwhile, or Kubernetes refuses.
    pub async fn wait(
        &self,
        kind: WorkloadKind,
        name: &str,
        run: RunId,
        observer: &mut impl RunObserver,
    ) -> Result<Run> {
        let mut view = View::new(run);
        let mut changes = std::pin::pin!(self.changes(kind, name));
        while let Some(change) = changes.next().await {
            let change = change.or_else(|error| tolerate(kind, name, error))?;
            if let Some(ended) = view.show(change, observer)? {
                return Ok(ended);
            }
        }
        Err(Error::RunDeleted(run))
    }

    /// Every change of a run's object and pods, and what Kubernetes warns of.
    fn changes(
        &self,
        kind: WorkloadKind,
        name: &str,
    ) -> impl Stream<Item = watcher::Result<Change>> + use<> {
        let object = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let object = match kind {
            WorkloadKind::Job => watcher(self.streams::<Job>(), object)
                .default_backoff()
                .map_ok(|event| Change::workload(event, Workload::of_job))
                .boxed(),
            WorkloadKind::OmJob => watcher(self.streams::<OMJob>(), object)
                .default_backoff()
                .map_ok(|event| Change::workload(event, OMJob::workload))
                .boxed(),
        };
        let pods = watcher::Config::default().labels(&pods_of(kind, name));
        let pods = watcher(self.streams::<Pod>(), pods)
            .default_backoff()
            .map_ok(|event| Change::Pod(Box::new(event)));
        stream::select(object, stream::select(pods, self.notices(kind, name)))
    }

    /// Reading events is a courtesy; who may not read them can still follow a run.
    fn notices(
        &self,
        kind: WorkloadKind,
        name: &str,
    ) -> impl Stream<Item = watcher::Result<Change>> + use<> {
        let kind = kind.as_str();
        let about = format!("involvedObject.kind={kind},involvedObject.name={name},type=Warning");
        watcher(self.streams::<Notice>(), watcher::Config::default().fields(&about))
            .default_backoff()
            .filter(|notice| future::ready(notice.is_ok()))
            .map_ok(|event| Change::Notice(Box::new(event)))
    }

    async fn follow_logs(&self, view: &mut View, observer: &mut impl RunObserver) -> Result<()> {
        while let Some((attempt, pod)) = view.next_log() {
            observer.attempt(attempt, &pod);
            match self.follow_log(&pod, view, observer).await {
                Err(sink @ Error::LogSink(_)) => return Err(sink),
                // A pod that goes away takes its log along; its run is followed to its end.
                Err(error) => warn!(%error, pod, "the log could not be followed to its end"),
                Ok(()) => {}
            }
            view.streamed.insert(pod);
        }
        Ok(())
    }

    async fn follow_log(
        &self,
        pod: &str,
        view: &View,
        observer: &mut impl RunObserver,
    ) -> Result<()> {
        let own: Vec<Pod> = view.pods.get(pod).cloned().into_iter().collect();
        let mask = self.mask_of(view.workload.as_ref(), &own).await;
        let mut log = std::pin::pin!(self.followed(pod.to_owned(), mask));
        while let Some(piece) = log.try_next().await? {
            observer.log(&piece).map_err(Error::LogSink)?;
            observer.settle().await.map_err(Error::LogSink)?;
        }
        Ok(())
    }

    /// The run may be seen to end before its last pod is seen to start: look once more.
    async fn last_words(
        &self,
        kind: WorkloadKind,
        name: &str,
        mut view: View,
        observer: &mut impl RunObserver,
    ) -> Result<Run> {
        let pods: Vec<Pod> = self.list(&pods_of(kind, name)).await?;
        for pod in pods {
            view.take_pod(Event::Apply(pod));
        }
        self.follow_logs(&mut view, observer).await?;
        view.observe().ok_or(Error::RunDeleted(view.run))
    }
}

/// Selects the pods of a run's object.
fn pods_of(kind: WorkloadKind, name: &str) -> String {
    match kind {
        WorkloadKind::Job => format!("{JOB_NAME}={name}"),
        WorkloadKind::OmJob => format!("{OMJOB_NAME}={name}"),
    }
}

/// A watch that breaks is taken up again; one that is not allowed never will be.
fn tolerate(kind: WorkloadKind, name: &str, error: watcher::Error) -> Result<Change> {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
            if status.is_forbidden() || status.code == 401 =>
        {
            let doing = format!("watching {} {name}", kind.as_str());
            Err(KubernetesError::new(doing, kube::Error::Api(status)).into())
        }
        error => {
            debug!(%error, "a watch broke and is taken up again");
            Ok(Change::Nothing)
        }
    }
}

enum Change {
    Workload(Box<Event<Workload>>),
    Pod(Box<Event<Pod>>),
    Notice(Box<Event<Notice>>),
    Nothing,
}

impl Change {
    /// A change of a run's object; one that is no run of a pipeline says nothing.
    fn workload<K>(event: Event<K>, read: impl Fn(&K) -> Option<Workload>) -> Self {
        of_run(event, read).map_or(Self::Nothing, |event| Self::Workload(Box::new(event)))
    }
}

/// What is known of the run so far.
struct View {
    run: RunId,
    workload: Option<Workload>,
    /// True until a whole listing does not have the object, or it is seen to go.
    present: bool,
    /// Whether the listing that comes in has it.
    listed: bool,
    pods: BTreeMap<String, Pod>,
    streamed: BTreeSet<String>,
    warned: BTreeSet<String>,
    told: Option<Run>,
}

impl View {
    const fn new(run: RunId) -> Self {
        Self {
            run,
            workload: None,
            present: true,
            listed: false,
            pods: BTreeMap::new(),
            streamed: BTreeSet::new(),
            warned: BTreeSet::new(),
            told: None,
        }
    }

    fn take(&mut self, change: Change, observer: &mut impl RunObserver) {
        match change {
            Change::Workload(event) => self.take_workload(*event),
            Change::Pod(event) => self.take_pod(*event),
            Change::Notice(event) => self.take_notice(*event, observer),
            Change::Nothing => {}
        }
    }

    /// What a pod was stays known after it is gone.
    fn take_pod(&mut self, event: Event<Pod>) {
        if let Event::Apply(pod) | Event::InitApply(pod) = event {
            self.pods.insert(pod.name_any(), pod);
        }
    }

    fn take_notice(&mut self, event: Event<Notice>, observer: &mut impl RunObserver) {
        if let Event::Apply(notice) | Event::InitApply(notice) = event {
            let message = notice.message.unwrap_or_default();
            if self.warned.insert(message.clone()) {
                observer.warning(&message);
            }
        }
    }

    /// An object that a new listing does not have was deleted while no watch was open.
    fn take_workload(&mut self, event: Event<Workload>) {
        match event {
            Event::Init => self.listed = false,
            Event::InitApply(workload) => {
                self.workload = Some(workload);
                self.listed = true;
            }
            Event::InitDone => self.present = self.listed,
            Event::Apply(workload) => {
                self.workload = Some(workload);
                self.present = true;
            }
            Event::Delete(workload) => {
                self.workload = Some(workload);
                self.present = false;
            }
        }
    }

    /// The first attempt whose log has not been streamed.
    fn next_log(&self) -> Option<(usize, String)> {
        let pods: Vec<Pod> = self.pods.values().cloned().collect();
        let attempts = run::attempts(self.workload.as_ref()?, &pods);
        (1..)
            .zip(attempts)
            .find(|(_, pod)| run::has_log(pod) && !self.streamed.contains(&pod.name_any()))
            .map(|(attempt, pod)| (attempt, pod.name_any()))
    }

    fn observe(&self) -> Option<Run> {
        let pods: Vec<Pod> = self.pods.values().cloned().collect();
        Some(Run::observe(self.workload.as_ref()?, &pods))
    }

    /// Takes a change and shows what it means; the run, once it has ended.
    fn show(&mut self, change: Change, observer: &mut impl RunObserver) -> Result<Option<Run>> {
        self.take(change, observer);
        self.report(observer)
    }

    /// Tells what has changed; the run when it has ended.
    fn report(&mut self, observer: &mut impl RunObserver) -> Result<Option<Run>> {
        let gone = || if self.present { Ok(None) } else { Err(Error::RunDeleted(self.run)) };
        let Some(run) = self.observe() else {
            return gone();
        };
        if self.told.as_ref() != Some(&run) {
            observer.changed(&run);
            self.told = Some(run.clone());
        }
        if run.state.is_terminal() {
            return Ok(Some(run));
        }
        gone()
    }
}
