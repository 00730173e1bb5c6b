//! Lines of a log that somebody wants, from the archive or from the pods.

use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, Stream, StreamExt, TryFutureExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use kube::api::LogParams;
use ompipe_archive::ArchivedLog;
use ompipe_core::PipelineIdentity;
use ompipe_core::archive::{TimedLine, TimedText, split_time};
use ompipe_core::log_lines::{LastLines, LineQuery};
use ompipe_core::log_mask::LogMask;
use ompipe_core::run::MAIN_CONTAINER;

use super::logs::{Live, LogSource, separator};
use super::runs::RunObjects;
use super::{K8sPipelineClient, LogSelection};
use crate::error::{Error, KubernetesError, Result};

/// Longest beginning of a line that is kept until its end comes.
const LONGEST: usize = 256 << 10;

impl K8sPipelineClient {
    /// The lines of a log that are wanted, as it is now. Memory is needed for a page, and for the lines
    /// of a tail.
    ///
    /// # Errors
    /// There is no such run, or it has no log yet. In the stream: the log breaks off.
    pub async fn log_lines(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        query: LineQuery,
    ) -> Result<BoxStream<'static, Result<Vec<u8>>>> {
        let selection = self.resolved(pipeline, selection).await?;
        if query.is_everything() {
            return self.log_stream(pipeline, selection).await;
        }
        if let Some(log) = self.archived_log(pipeline, selection).await? {
            return archived_lines(log, selection.attempt, query).await;
        }
        let (live, sources) = self.live(pipeline, selection).await?;
        match query.tail {
            Some(most) => {
                let text = live.tail(sources, &query, most).await?;
                Ok(stream::once(future::ready(Ok(text))).boxed())
            }
            None => Ok(live.lines(sources, query).boxed()),
        }
    }
}

impl K8sPipelineClient {
    /// The selection with the number of the attempt where the one before the last is meant.
    async fn resolved(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<LogSelection> {
        if !selection.previous {
            return Ok(selection);
        }
        let selection = LogSelection { previous: false, ..selection };
        let archived = self.archived_log(pipeline, selection).await?;
        let archived = archived.and_then(|log| log.attempts().last().map(|last| last.number));
        let (run, live) = match self.run_objects(pipeline, selection.run).await {
            Ok(RunObjects { run, .. }) => (Some(run.run_id), run.attempts),
            Err(Error::NoSuchRun { .. } | Error::NoRuns(_)) if archived.is_some() => (None, 0),
            Err(error) => return Err(error),
        };
        match archived.unwrap_or_default().max(live) {
            0 | 1 => Err(Error::NoPreviousAttempt(run.or(selection.run))),
            attempts => Ok(LogSelection { attempt: Some(attempts - 1), ..selection }),
        }
    }
}

async fn archived_lines(
    log: ArchivedLog,
    attempt: Option<usize>,
    query: LineQuery,
) -> Result<BoxStream<'static, Result<Vec<u8>>>> {
    if let Some(most) = query.tail {
        let text = archived_tail(&log, attempt, &query, most).await?;
        return Ok(stream::once(future::ready(Ok(text))).boxed());
    }
    let mut span = log.span(attempt);
    if let Some(since) = query.since {
        span = log.since(span, since).await?;
    }
    let shown = log.timed(span).map_err(Error::from).scan(true, move |begins, page| {
        future::ready(Some(page.map(|page| {
            let mut text = Vec::new();
            for line in page.lines() {
                query.show(line, *begins, &mut text);
                *begins = line.text.ends_with(b"\n");
            }
            text
        })))
    });
    Ok(shown.try_filter(|text| future::ready(!text.is_empty())).boxed())
}

/// The last lines, page by page from the end.
async fn archived_tail(
    log: &ArchivedLog,
    attempt: Option<usize>,
    query: &LineQuery,
    most: usize,
) -> Result<Vec<u8>> {
    let span = log.span(attempt);
    let mut kept = LastLines::new(most);
    for number in (span.first()..=span.last().min(log.index().total() - 1)).rev() {
        let page = span.part_of(number, &log.timed_page(number).await?);
        let mut lines = LastLines::new(kept.room());
        for line in page.lines() {
            show_into(query, line, &mut lines);
        }
        kept.put_before(lines);
        let is_earlier = |since| page.times.first().is_some_and(|(_, time)| *time < since);
        if kept.is_full() || query.since.is_some_and(is_earlier) {
            break;
        }
    }
    Ok(kept.into_text())
}

fn show_into(query: &LineQuery, line: TimedLine<'_>, into: &mut LastLines) {
    let mut text = Vec::new();
    if query.show(line, true, &mut text) {
        into.push(text);
    }
}

impl Live {
    /// The last lines, attempt by attempt from the end.
    async fn tail(
        &self,
        sources: Vec<LogSource>,
        query: &LineQuery,
        most: usize,
    ) -> Result<Vec<u8>> {
        let mut kept = LastLines::new(most);
        for source in sources.into_iter().rev() {
            let mut lines = LastLines::new(kept.room());
            // The kubelet counts lines too, where every one is wanted.
            let count = query.grep.is_none().then(|| i64::try_from(kept.room()).ok()).flatten();
            let mut pieces = std::pin::pin!(self.pieces(source.pod, query, count));
            while let Some(piece) = pieces.try_next().await? {
                for line in piece.lines() {
                    show_into(query, line, &mut lines);
                }
            }
            kept.put_before(lines);
            if kept.is_full() {
                break;
            }
        }
        Ok(kept.into_text())
    }

    fn lines(
        self,
        sources: Vec<LogSource>,
        query: LineQuery,
    ) -> impl Stream<Item = Result<Vec<u8>>> + Send {
        let pieces = stream::iter(sources).enumerate().map(move |(number, source)| {
            let mut before = TimedText::default();
            if number > 0 {
                before.push(None, separator(&source).as_bytes());
            }
            let log = self.pieces(source.pod, &query, None);
            let query = query.clone();
            let shown = stream::once(future::ready(Ok(before))).chain(log).map_ok(move |piece| {
                let mut text = Vec::new();
                for line in piece.lines() {
                    query.show(line, true, &mut text);
                }
                text
            });
            shown.boxed()
        });
        pieces.flatten().try_filter(|text| future::ready(!text.is_empty()))
    }

    /// The lines of a pod, with their times.
    fn pieces(
        &self,
        pod: String,
        query: &LineQuery,
        tail_lines: Option<i64>,
    ) -> impl Stream<Item = Result<TimedText>> + Send + use<> {
        let params = LogParams {
            container: Some(MAIN_CONTAINER.to_owned()),
            timestamps: true,
            tail_lines,
            // In whole seconds.
            since_time: query.since.and_then(|at| Timestamp::from_second(at.as_second()).ok()),
            ..LogParams::default()
        };
        let (pods, splitter) = (self.pods.clone(), Splitter::new(self.mask.of_another()));
        let opened = async move {
            let opened = pods.log_stream(&pod, &params).await;
            let doing = || format!("reading the log of pod {pod}");
            let log = opened.map_err(|error| KubernetesError::new(doing(), error))?;
            Ok(stream::try_unfold((Box::pin(log), splitter, pod, false), next_lines))
        };
        opened.try_flatten_stream()
    }
}

/// A log that is being read: itself, what is not complete, its pod, whether it has ended.
type Opened<L> = (std::pin::Pin<Box<L>>, Splitter, String, bool);

async fn next_lines<L: futures::AsyncBufRead>(
    (mut log, mut splitter, pod, ended): Opened<L>,
) -> Result<Option<(TimedText, Opened<L>)>> {
    if ended {
        return Ok(None);
    }
    let (lines, length) = match log.fill_buf().await {
        Ok([]) => (splitter.finish(), 0),
        Ok(piece) => (splitter.push(piece), piece.len()),
        Err(source) => return Err(Error::LogBrokeOff { pod, source }),
    };
    log.as_mut().consume(length);
    Ok(Some((lines, (log, splitter, pod, length == 0))))
}

/// Makes lines of what Kubernetes answers: each begins with its time.
struct Splitter {
    mask: LogMask,
    line: Vec<u8>,
    /// Whether a part of the line was passed on already, and the time of that.
    within: bool,
    time: Option<Timestamp>,
}

impl Splitter {
    const fn new(mask: LogMask) -> Self {
        Self { mask, line: Vec::new(), within: false, time: None }
    }

    fn push(&mut self, piece: &[u8]) -> TimedText {
        let mut lines = TimedText::default();
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            let is_whole = part.ends_with(b"\n");
            if is_whole || self.line.len() > LONGEST {
                self.pass_on(&mut lines);
                self.within = !is_whole;
            }
        }
        lines
    }

    fn pass_on(&mut self, lines: &mut TimedText) {
        let line = std::mem::take(&mut self.line);
        let mut text = &line[..];
        if !self.within {
            self.time = split_time(&line).map(|(time, rest)| {
                text = rest;
                time
            });
        }
        let time = self.time;
        self.mask.push(text, |masked| lines.push(time, masked));
    }

    fn finish(&mut self) -> TimedText {
        let mut lines = TimedText::default();
        if !self.line.is_empty() {
            self.pass_on(&mut lines);
        }
        let time = self.time;
        self.mask.finish(|masked| lines.push(time, masked));
        lines
    }
}
