//! Follows the log of one pod and stores it while it grows.

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::LogParams;
use ompipe_archive::{Error as ArchiveError, LogWriter};
use ompipe_core::archive::{Position, pipeline_folder};
use ompipe_core::log_mask::LogMask;
use ompipe_core::run::MAIN_CONTAINER;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::bound::Bound;
use super::lines::Lines;
use super::records::{self, RunObject, Subject};
use super::source::LogOf;
use super::{PATIENCE, Work};
use crate::clock;
use crate::error::code;
use crate::events::{Kind, Note};

/// Wait between two readings of a log.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Time for the beginning of an answer with a log.
const OPEN: Duration = Duration::from_mins(1);
/// How long the log of a pod that is over may be silent before it is read anew.
const SILENCE: Duration = Duration::from_secs(15);
/// Time for one call of the store that hangs.
const STORE: Duration = Duration::from_mins(1);
/// Tries to read the log of a pod that is over. Its node may be gone.
const TRIES: u32 = 8;

/// Why a log is not followed any more.
enum Stop {
    /// It is stored, or there is nothing to store.
    Done,
    /// It cannot be read or stored.
    Failed(String),
    /// Somebody else stores it, or will.
    Left,
}

/// Follows a log until it is stored to its end.
pub(super) async fn follow(work: Work, log: LogOf) {
    let leadership = work.context.writes.leadership().clone();
    let stop = tokio::select! {
        stop = attempt(&work, &log) => stop,
        () = leadership.wait_until_lost() => Stop::Left,
    };
    match stop {
        Stop::Left => return work.archiver.give_back(&log),
        Stop::Done => {}
        Stop::Failed(why) => {
            not_archived(&work, &log, &why);
        }
    }
    work.archiver.finish(&log);
    work.requeue(&log);
}

/// Tells that a log, or its end, is not in the archive.
fn not_archived(work: &Work, log: &LogOf, why: &str) {
    tracing::warn!(pod = log.pod, namespace = log.namespace, why, "a log is not archived");
    work.context.metrics.archive_failed();
    let metadata = ObjectMeta {
        name: Some(log.pod.clone()),
        namespace: Some(log.namespace.clone()),
        uid: Some(log.uid.clone()),
        ..ObjectMeta::default()
    };
    let pod = Pod { metadata, ..Pod::default() };
    let text = format!("the log of this pod is not archived to its end: {why}");
    work.context.events.tell(&pod, &Note::new(Kind::Warning, "LogNotArchived", text));
}

async fn attempt(work: &Work, log: &LogOf) -> Stop {
    let (mut pause, mut ended) = (PAUSE, None);
    loop {
        let why = match begin(work, log).await {
            Ok(stop) => return stop,
            Err(error) => error,
        };
        if work.has_ended(log) {
            let since: Instant = *ended.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                return Stop::Failed(why);
            }
        }
        tracing::debug!(pod = log.pod, why, "tries to archive a log again");
        work.context.metrics.archive_retried();
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Finds out whose log it is and where it goes on, and follows it.
async fn begin(work: &Work, log: &LogOf) -> Result<Stop, String> {
    let found = observe(work, log).await?;
    let Some(subject) = found else { return Ok(Stop::Done) };
    let pipeline = pipeline_folder(&log.namespace, &subject.pipeline);
    let folder = format!("{pipeline}/{}/{}", subject.run, log.stage.as_str());
    let open = LogWriter::open(work.archive(), folder);
    let writer = timeout(STORE, open).await.map_err(|_| "the store does not answer".to_owned())?;
    let writer = writer.map_err(|error| error.to_string())?;
    if writer.index().has_whole(&log.uid) {
        return Ok(Stop::Done);
    }
    work.archiver.keep(&work.context, &subject);
    let mask = if work.archiver.archiving.redact {
        LogMask::new(subject.secrets.map_err(|error| error.to_string())?)
    } else {
        LogMask::off()
    };
    let bound = Bound::new(work.archiver.archiving.most_per_run);
    let follower = Follower { work, log, writer, mask, bound, time: None };
    follower.follow().await
}

async fn observe(work: &Work, log: &LogOf) -> Result<Option<Subject>, String> {
    let (namespace, name, uid) = (&log.namespace, &log.object, &log.owner);
    let object = RunObject { kind: log.kind, namespace, name, uid };
    records::observe(&work.context, object).await.map_err(|error| error.to_string())
}

struct Follower<'w> {
    work: &'w Work,
    log: &'w LogOf,
    writer: LogWriter,
    mask: LogMask,
    bound: Bound,
    /// When the line that the mask holds back was written.
    time: Option<Timestamp>,
}

/// How a reading of a log ended.
enum Read {
    /// With its end.
    End,
    /// Before that.
    Broke(String),
}

impl Follower<'_> {
    async fn follow(mut self) -> Result<Stop, String> {
        let (mut tries, mut pause) = (0, PAUSE);
        let (number, log) = (self.work.number(self.log), self.log);
        let mut position = self.writer.begin_attempt(number, &log.pod, &log.uid);
        loop {
            // Known before it is read: then nothing is written after what is read.
            let has_ended = self.work.has_ended(log);
            let mut lines = Lines::at(position);
            let read = self.read(&mut lines, !has_ended).await?;
            self.finish();
            position = lines.position().clone();
            match read {
                Read::End if has_ended => break,
                Read::End => (tries, pause) = (0, PAUSE),
                Read::Broke(why) => {
                    tracing::debug!(pod = log.pod, why, "a log broke off");
                    tries += u32::from(has_ended);
                    if tries >= TRIES {
                        self.tell_missing(&why);
                        break;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.store(&position).await?;
            sleep(pause).await;
        }
        self.bound.finish(&mut self.writer);
        self.writer.end_attempt();
        self.store(&position).await?;
        if let Some(subject) = observe(self.work, log).await? {
            self.work.archiver.keep(&self.work.context, &subject);
        }
        Ok(Stop::Done)
    }

    /// The end of a log that cannot be read is told where it should be.
    fn tell_missing(&mut self, why: &str) {
        let text = format!("----- ompipe: the end of this log could not be read: {why} -----\n");
        self.writer.push(text.as_bytes());
        not_archived(self.work, self.log, why);
    }

    /// Reads the log from the position on, to its end or until it breaks off.
    async fn read(&mut self, lines: &mut Lines, follow: bool) -> Result<Read, String> {
        let api = self.work.context.writes.read::<Pod>(&self.log.namespace);
        let params = LogParams {
            container: Some(MAIN_CONTAINER.to_owned()),
            follow,
            timestamps: true,
            since_time: lines.position().since(),
            ..LogParams::default()
        };
        let Ok(opened) = timeout(OPEN, api.log_stream(&self.log.pod, &params)).await else {
            return Ok(Read::Broke("its node does not answer".to_owned()));
        };
        let stream = match opened {
            Ok(stream) => stream,
            // The pod is gone, and its log with it.
            Err(error) if code(&error) == 404 => return Ok(Read::End),
            Err(error) => return Ok(Read::Broke(error.to_string())),
        };
        self.take_all(std::pin::pin!(stream), lines, follow).await
    }

    async fn take_all(
        &mut self,
        mut stream: std::pin::Pin<&mut (impl AsyncBufRead + Send)>,
        lines: &mut Lines,
        follow: bool,
    ) -> Result<Read, String> {
        let mut due = Instant::now() + self.work.archiver.renewal();
        let mut has_new = false;
        loop {
            let piece = tokio::select! {
                piece = stream.fill_buf() => piece,
                () = sleep_until(due), if has_new => {
                    self.store(lines.position()).await?;
                    due = Instant::now() + self.work.archiver.renewal();
                    has_new = false;
                    continue;
                }
                // A connection may be dead without a word.
                () = sleep(SILENCE), if follow => {
                    if self.work.has_ended(self.log) {
                        return Ok(Read::End);
                    }
                    continue;
                }
            };
            let length = match piece {
                Ok([]) => {
                    // What grows may have been cut in the middle of a line, which is read again.
                    if !follow {
                        lines.finish(|new, time| self.push(new, time));
                    }
                    return Ok(Read::End);
                }
                Ok(piece) => {
                    lines.push(piece, |new, time| self.push(new, time));
                    piece.len()
                }
                Err(error) => return Ok(Read::Broke(error.to_string())),
            };
            stream.as_mut().consume(length);
            has_new = true;
            if self.writer.has_full_pages() {
                // Until they are stored, nothing is read: the kubelet's file is the backlog.
                self.store(lines.position()).await?;
                due = Instant::now() + self.work.archiver.renewal();
                has_new = false;
            }
        }
    }

    /// Stores what there is, however often that takes. An error means to begin anew.
    async fn store(&mut self, position: &Position) -> Result<(), String> {
        let (mut pause, since) = (PAUSE, Instant::now());
        loop {
            let stored = timeout(STORE, self.writer.store(position, clock::now())).await;
            let why = match stored {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error @ ArchiveError::Overtaken)) => return Err(error.to_string()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the store does not answer".to_owned(),
            };
            tracing::warn!(pod = self.log.pod, why, "a log cannot be stored, and is tried again");
            self.work.context.metrics.archive_retried();
            if since.elapsed() >= PATIENCE && self.work.has_ended(self.log) {
                return Err(why);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes a line, or a part of one, without the secrets of the run.
    fn push(&mut self, text: &[u8], time: Timestamp) {
        let Self { mask, writer, bound, .. } = self;
        self.time = Some(time);
        mask.push(text, |masked| bound.push(writer, masked, time));
    }

    /// Writes what is left of a line without an end.
    fn finish(&mut self) {
        let Self { mask, writer, bound, time, .. } = self;
        mask.finish(|masked| match time {
            Some(time) => bound.push(writer, masked, *time),
            None => writer.push(masked),
        });
    }
}
