//! `logs`: pages and streams of a run's log, straight from the pods. Nothing here holds more than a
//! page, whatever the size of the log.

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::LogParams;
use ompipe_core::logs::{LogPage, LogPager, page_index};
use ompipe_core::run::{self, MAIN_CONTAINER};
use ompipe_core::{PipelineIdentity, Run, RunId, WorkloadKind};

use super::K8sPipelineClient;
use super::runs::RunObjects;
use crate::error::{Error, KubernetesError, Result};

/// Which log of which run.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSelection {
    /// The run; the latest when none is named.
    pub run: Option<RunId>,
    /// One attempt, from 1; all when none is named.
    pub attempt: Option<usize>,
    /// Which of its pods.
    pub stage: LogStage,
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
        let mut pager = LogPager::new(page_index(after)?);
        let (_, sources) = self.log_sources(pipeline, selection).await?;
        for (number, source) in sources.iter().enumerate() {
            // Before an attempt, never after one: what follows a full page must not change it.
            if number > 0 {
                pager.push(separator(source).as_bytes());
            }
            self.copy_log(&source.pod, false, |piece| {
                pager.push(piece);
                Ok(())
            })
            .await?;
        }
        Ok(pager.finish()?)
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
    ) -> Result<Run> {
        let (run, sources) = self.log_sources(pipeline, selection).await?;
        for source in sources {
            begin(&source);
            self.copy_log(&source.pod, false, &mut sink).await?;
        }
        Ok(run)
    }

    /// The pods whose logs make up the selected log, oldest first; never none.
    async fn log_sources(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<(Run, Vec<LogSource>)> {
        let RunObjects { run, workload, pods } = self.run_objects(pipeline, selection.run).await?;
        let all = match selection.stage {
            LogStage::Main => run::attempts(&workload, &pods),
            LogStage::ExitHandler if workload.kind == WorkloadKind::Job => {
                return Err(Error::NoExitHandlerPod(run.run_id));
            }
            LogStage::ExitHandler => run::exit_handlers(&workload, &pods),
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
        if sources.is_empty() { Err(no_log(&run, selection.stage)) } else { Ok((run, sources)) }
    }

    /// Copies the log of a pod's main container piece by piece; with `follow` until it ends.
    pub(super) async fn copy_log(
        &self,
        pod: &str,
        follow: bool,
        mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        let params = LogParams {
            container: Some(MAIN_CONTAINER.to_owned()),
            follow,
            ..LogParams::default()
        };
        let opened = self.streams::<Pod>().log_stream(pod, &params).await;
        let log = opened.map_err(|error| {
            KubernetesError::new(format!("reading the log of pod {pod}"), error)
        })?;
        let mut log = std::pin::pin!(log);
        while let Some(length) = copy_piece(&mut log, pod, &mut sink).await? {
            log.as_mut().consume(length);
        }
        Ok(())
    }
}

/// What stands between the logs of two attempts.
fn separator(source: &LogSource) -> String {
    format!("\n----- attempt {}, pod {} -----\n", source.attempt, source.pod)
}

/// Hands the bytes that are there to the sink; their number, or `None` at the end.
async fn copy_piece(
    log: &mut (impl AsyncBufRead + Unpin),
    pod: &str,
    sink: &mut impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<Option<usize>> {
    let broke_off = |source| Error::LogBrokeOff { pod: pod.to_owned(), source };
    let piece = log.fill_buf().await.map_err(broke_off)?;
    if piece.is_empty() {
        return Ok(None);
    }
    sink(piece).map_err(Error::LogSink)?;
    Ok(Some(piece.len()))
}

fn no_log(run: &Run, stage: LogStage) -> Error {
    let why = match (stage, &run.message) {
        (LogStage::ExitHandler, _) => "it has no exit handler that has started".to_owned(),
        (LogStage::Main, Some(message)) => message.clone(),
        (LogStage::Main, None) if run.state.is_terminal() => "its pods are gone".to_owned(),
        (LogStage::Main, None) => "its pod has not started".to_owned(),
    };
    Error::NoLog { run: run.run_id, why }
}
