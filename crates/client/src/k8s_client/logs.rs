//! `logs`: pages and streams of a run's log, straight from the pods. Nothing here holds more than a
//! page, whatever the size of the log.

use std::pin::Pin;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{
    AsyncBufRead, AsyncBufReadExt, Stream, StreamExt, TryFutureExt, TryStreamExt, future, stream,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use ompipe_core::archive::AttemptLog;
use ompipe_core::log_mask::LogMask;
use ompipe_core::logs::{LogPage, LogPager, page_index};
use ompipe_core::run::{self, MAIN_CONTAINER};
use ompipe_core::{PipelineIdentity, Run, RunId, WorkloadKind};

use super::K8sPipelineClient;
use super::runs::RunObjects;
use crate::error::{Error, KubernetesError, Result};

/// How long a node may send nothing of a log that is not followed.
const SILENCE: Duration = Duration::from_secs(15);

/// Which log of which run.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSelection {
    /// The run; the latest when none is named.
    pub run: Option<RunId>,
    /// One attempt, from 1; all when none is named.
    pub attempt: Option<usize>,
    /// Which of its pods.
    pub stage: LogStage,
    /// The attempt before the last one, in [`K8sPipelineClient::log_lines`].
    pub previous: bool,
}

/// Which pods of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStage {
    /// Those of the ingestion.
    #[default]
    Main,
    /// Those of the exit handler, in operator mode.
    ExitHandler,
}

/// A pod with a log: which attempt it is, from 1, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// The attempt.
    pub attempt: usize,
    /// Name of the pod.
    pub pod: String,
}

/// The logs of a run's pods, and what masks them.
pub(super) struct Live {
    pub(super) pods: Api<Pod>,
    pub(super) mask: LogMask,
}

impl K8sPipelineClient {
    /// One page of the log of all attempts of a run.
    ///
    /// # Errors
    /// There is no such run, it has no log yet, or there is no such page.
    pub async fn log_page(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        after: Option<&str>,
    ) -> Result<LogPage> {
        self.log_page_in_turn(pipeline, selection, after, async || Ok(())).await
    }

    /// As [`Self::log_page`], of which only so many are held at the same time: once a log begins to
    /// come, `turn` is awaited, and what it gives is kept until the page is there.
    ///
    /// # Errors
    /// Those too of `turn`.
    pub async fn log_page_in_turn<T>(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        after: Option<&str>,
        turn: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<LogPage> {
        let index = page_index(after)?;
        if let Some(log) = self.archived_log(pipeline, selection).await? {
            let _turn = turn().await?;
            return match selection.attempt {
                None => Ok(log.page(index).await?),
                Some(_) => page_of(log.stream(selection.attempt), index).await,
            };
        }
        let mut pager = LogPager::new(index);
        let mut log = std::pin::pin!(self.live_log(pipeline, selection).await?);
        // A node that hangs must not keep the turn from others.
        let first = log.try_next().await?;
        let _turn = turn().await?;
        pager.push(&first.unwrap_or_default());
        while let Some(piece) = log.try_next().await? {
            pager.push(&piece);
        }
        Ok(pager.finish()?)
    }

    /// A log, as it is now: what its pages are, one after the other. The next piece is read when it
    /// is asked for, so a slow reader costs no memory.
    ///
    /// # Errors
    /// There is no such run, or it has no log yet. In the stream: the log breaks off.
    pub async fn log_stream(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<BoxStream<'static, Result<Vec<u8>>>> {
        if let Some(log) = self.archived_log(pipeline, selection).await? {
            return Ok(log.stream(selection.attempt).map_err(Error::from).boxed());
        }
        Ok(self.live_log(pipeline, selection).await?.boxed())
    }

    /// As [`Self::log_stream`], from the pods.
    async fn live_log(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<impl Stream<Item = Result<Vec<u8>>> + Send + use<>> {
        let (Live { pods, mask }, sources) = self.live(pipeline, selection).await?;
        let logs = stream::iter(sources).enumerate().map(move |(number, source)| {
            // Before an attempt, never after one: what follows a full page must not change it.
            let before = (number > 0).then(|| Ok(separator(&source).into_bytes()));
            let log = pieces(pods.clone(), source.pod, false);
            stream::iter(before).chain(masked(log, mask.of_another()))
        });
        Ok(logs.flatten())
    }

    /// Hands a log, as it is now, to `sink`. `begin` hears of each attempt before its log.
    ///
    /// # Errors
    /// There is no such run, it has no log yet, or the log or the sink breaks off.
    pub async fn write_logs(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        mut begin: impl FnMut(&LogSource),
        mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        if let Some(log) = self.archived_log(pipeline, selection).await? {
            let is_wanted = |one: &&AttemptLog| selection.attempt.is_none_or(|n| n == one.number);
            let attempts: Vec<_> = log.attempts().iter().filter(is_wanted).cloned().collect();
            for AttemptLog { number: attempt, pod, .. } in attempts {
                begin(&LogSource { attempt, pod });
                let mut text = std::pin::pin!(log.clone().stream(Some(attempt)));
                while let Some(piece) = text.try_next().await? {
                    sink(&piece).map_err(Error::LogSink)?;
                }
            }
            return Ok(());
        }
        let (Live { pods, mask }, sources) = self.live(pipeline, selection).await?;
        for source in sources {
            begin(&source);
            let log = pieces(pods.clone(), source.pod, false);
            let mut log = std::pin::pin!(masked(log, mask.of_another()));
            while let Some(piece) = log.try_next().await? {
                sink(&piece).map_err(Error::LogSink)?;
            }
        }
        Ok(())
    }

    /// The pods whose logs make up the selected log, oldest first; never none.
    pub(super) async fn live(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<(Live, Vec<LogSource>)> {
        let objects = self.run_objects(pipeline, selection.run).await?;
        let sources = log_sources(&objects, selection)?;
        let mask = self.mask_of(Some(&objects.workload), &objects.pods).await;
        Ok((Live { pods: self.streams(), mask }, sources))
    }

    /// The log of a pod's main container while it is written, until it ends.
    pub(super) fn followed(
        &self,
        pod: String,
        mask: LogMask,
    ) -> impl Stream<Item = Result<Vec<u8>>> + Send + use<> {
        masked(pieces(self.streams(), pod, true), mask)
    }
}

fn log_sources(objects: &RunObjects, selection: LogSelection) -> Result<Vec<LogSource>> {
    let RunObjects { run, workload, pods } = objects;
    let all = match selection.stage {
        LogStage::Main => run::attempts(workload, pods),
        LogStage::ExitHandler if workload.kind == WorkloadKind::Job => {
            return Err(Error::NoExitHandlerPod(run.run_id));
        }
        LogStage::ExitHandler => run::exit_handlers(workload, pods),
    };
    if let Some(wanted) = selection.attempt.filter(|wanted| !(1..=all.len()).contains(wanted)) {
        let attempts = all.len();
        return Err(Error::NoSuchAttempt { run: run.run_id, attempts, wanted });
    }
    let is_wanted = |attempt| selection.attempt.is_none_or(|wanted| wanted == attempt);
    let sources: Vec<LogSource> = (1..)
        .zip(all)
        .filter(|(attempt, pod)| is_wanted(*attempt) && run::has_log(pod))
        .map(|(attempt, pod)| LogSource { attempt, pod: pod.name_any() })
        .collect();
    if sources.is_empty() { Err(no_log(run, selection.stage)) } else { Ok(sources) }
}

/// A page of a text that comes in pieces.
async fn page_of(
    text: impl Stream<Item = ompipe_archive::Result<Vec<u8>>>,
    index: usize,
) -> Result<LogPage> {
    let (mut pager, mut text) = (LogPager::new(index), std::pin::pin!(text));
    while let Some(piece) = text.try_next().await? {
        pager.push(&piece);
    }
    Ok(pager.finish()?)
}

fn pieces(pods: Api<Pod>, pod: String, follow: bool) -> impl Stream<Item = Result<Vec<u8>>> + Send {
    let opened = async move {
        let log = in_time(&pod, follow, open(&pods, &pod, follow)).await??;
        Ok(stream::try_unfold((Box::pin(log), pod), move |(log, pod)| async move {
            in_time(&pod.clone(), follow, next_piece((log, pod))).await?
        }))
    };
    opened.try_flatten_stream()
}

/// What a node says of a log, which is there already unless the log is followed, in the time that the
/// node has for it.
async fn in_time<T>(pod: &str, follow: bool, work: impl Future<Output = T>) -> Result<T> {
    if follow {
        return Ok(work.await);
    }
    tokio::time::timeout(SILENCE, work).await.map_err(|_| Error::LogBrokeOff {
        pod: pod.to_owned(),
        source: std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("its node has sent nothing for {} seconds", SILENCE.as_secs()),
        ),
    })
}

async fn open(pods: &Api<Pod>, pod: &str, follow: bool) -> Result<impl AsyncBufRead + use<>> {
    let container = Some(MAIN_CONTAINER.to_owned());
    let params = LogParams { container, follow, ..LogParams::default() };
    let opened = pods.log_stream(pod, &params).await;
    let doing = || format!("reading the log of pod {pod}");
    Ok(opened.map_err(|error| KubernetesError::new(doing(), error))?)
}

/// A log that is being read, and the pod that it is of.
type Opened<L> = (Pin<Box<L>>, String);

/// The bytes that are there; `None` at the end.
async fn next_piece<L: AsyncBufRead>(
    (mut log, pod): Opened<L>,
) -> Result<Option<(Vec<u8>, Opened<L>)>> {
    let piece = match log.fill_buf().await {
        Ok(piece) => piece.to_vec(),
        Err(source) => return Err(Error::LogBrokeOff { pod, source }),
    };
    log.as_mut().consume(piece.len());
    Ok(if piece.is_empty() { None } else { Some((piece, (log, pod))) })
}

/// A log without the secrets of its run.
fn masked(
    log: impl Stream<Item = Result<Vec<u8>>> + Send,
    mut mask: LogMask,
) -> impl Stream<Item = Result<Vec<u8>>> + Send {
    // The end, which has no piece of its own.
    let pieces = log.map_ok(Some).chain(stream::once(future::ready(Ok(None))));
    let shown = pieces.map_ok(move |piece| {
        let mut text = Vec::new();
        match piece {
            Some(piece) => mask.push(&piece, |masked| text.extend_from_slice(masked)),
            None => mask.finish(|masked| text.extend_from_slice(masked)),
        }
        text
    });
    shown.try_filter(|text| future::ready(!text.is_empty()))
}

/// The line between the logs of two attempts.
pub(super) fn separator(source: &LogSource) -> String {
    format!("\n----- attempt {}, pod {} -----\n", source.attempt, source.pod)
}

fn no_log(run: &Run, stage: LogStage) -> Error {
    let why = match (stage, &run.message) {
        (LogStage::ExitHandler, _) => "it has no exit handler that has started".to_owned(),
        (LogStage::Main, Some(message)) => message.clone(),
        (LogStage::Main, None) if run.state.is_terminal() => "its pods are gone".to_owned(),
        (LogStage::Main, None) => "its pod has not started".to_owned(),
    };
    Error::NoLog { run: run.run_id, why, ended: run.state.is_terminal() }
}
