//! `logs`: pages and streams of a run's log, straight from the pod. Nothing here holds more than a
//! page, whatever the size of the log.

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::LogParams;
use ompipe_core::logs::{LogPage, LogPager, page_index};
use ompipe_core::run::{self, MAIN_CONTAINER};
use ompipe_core::{PipelineIdentity, Run, RunId};

use super::K8sPipelineClient;
use super::runs::RunObjects;
use crate::error::{Error, KubernetesError, Result};

impl K8sPipelineClient {
    /// One page of the newest attempt of the latest run.
    pub(super) async fn log_page(
        &self,
        pipeline: &PipelineIdentity,
        after: Option<&str>,
    ) -> Result<LogPage> {
        let mut pager = LogPager::new(page_index(after)?);
        let RunObjects { run, job, pods } = self.run_objects(pipeline, None).await?;
        let newest = run::attempts(&job, &pods).into_iter().rev().find(|pod| run::has_log(pod));
        let pod = newest.ok_or_else(|| no_log(&run))?;
        self.copy_log(&pod.name_any(), false, |piece| {
            pager.push(piece);
            Ok(())
        })
        .await?;
        Ok(pager.finish()?)
    }

    /// Hands the log of every attempt of a run, as it is now, to `sink`; the latest run when none
    /// is named. `begin` hears of each attempt before its log.
    ///
    /// # Errors
    /// There is no such run, it has no log yet, or the log or the sink breaks off.
    pub async fn write_logs(
        &self,
        pipeline: &PipelineIdentity,
        wanted: Option<RunId>,
        mut begin: impl FnMut(usize, &str),
        mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Run> {
        let RunObjects { run, job, pods } = self.run_objects(pipeline, wanted).await?;
        let attempts = run::attempts(&job, &pods);
        let with_log: Vec<(usize, &Pod)> =
            (1..).zip(attempts).filter(|(_, pod)| run::has_log(pod)).collect();
        if with_log.is_empty() {
            return Err(no_log(&run));
        }
        for (attempt, pod) in with_log {
            begin(attempt, &pod.name_any());
            self.copy_log(&pod.name_any(), false, &mut sink).await?;
        }
        Ok(run)
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

fn no_log(run: &Run) -> Error {
    let why = match &run.message {
        Some(message) => message.clone(),
        None if run.state.is_terminal() => "its pods are gone".to_owned(),
        None => "its pod has not started".to_owned(),
    };
    Error::NoLog { run: run.run_id, why }
}
