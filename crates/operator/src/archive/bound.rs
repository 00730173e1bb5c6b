//! What a log may have at most. Behind that, only its last lines are kept, which say most about how a run
//! ended.

use std::collections::VecDeque;

use jiff::Timestamp;
use ompipe_archive::LogWriter;

/// Bytes of the last lines, which wait in memory for the end of the log.
const TAIL: usize = 64 << 10;

/// The bound of a log, and its last lines once it is reached. When another operator goes on, its last
/// lines are those since then.
#[derive(Debug)]
pub(super) struct Bound {
    most: Option<u64>,
    tail: VecDeque<(Vec<u8>, Timestamp)>,
    bytes: usize,
}

impl Bound {
    /// At most so many bytes of a log; `None` for any number.
    pub(super) const fn new(most: Option<u64>) -> Self {
        Self { most, tail: VecDeque::new(), bytes: 0 }
    }

    /// Writes a line or a part of one, or keeps it among the last.
    pub(super) fn push(&mut self, writer: &mut LogWriter, text: &[u8], time: Timestamp) {
        if self.is_reached(writer) {
            return self.keep(text, time);
        }
        writer.push_line(text, time);
        if let Some(most) = self.most.filter(|_| self.is_reached(writer)) {
            let line = format!(
                "----- ompipe: this log has reached {} MiB (LOGS_MAX_MIB_PER_RUN): what follows is left \
                 out, except its last lines -----\n",
                most >> 20
            );
            writer.push_line(line.as_bytes(), time);
        }
    }

    /// Writes the last lines: the log has ended.
    pub(super) fn finish(&mut self, writer: &mut LogWriter) {
        if self.tail.is_empty() {
            return;
        }
        writer.push(b"----- ompipe: its last lines -----\n");
        for (text, time) in self.tail.drain(..) {
            writer.push_line(&text, time);
        }
        self.bytes = 0;
    }

    fn is_reached(&self, writer: &LogWriter) -> bool {
        self.most.is_some_and(|most| writer.index().bytes >= most)
    }

    fn keep(&mut self, text: &[u8], time: Timestamp) {
        let text = &text[text.len().saturating_sub(TAIL)..];
        self.bytes += text.len();
        self.tail.push_back((text.to_owned(), time));
        while self.bytes > TAIL {
            let Some((dropped, _)) = self.tail.pop_front() else { return };
            self.bytes -= dropped.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use ompipe_archive::Archive;
    use ompipe_core::archive::{Position, RunFolder, Stage, pipeline_folder};

    use super::*;

    async fn archived(most: Option<u64>, log: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(&format!("file://{}", directory.path().display()), []).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let run = RunFolder::new(now, "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap());
        let folder = format!("{}/{run}/main", pipeline_folder("n", "p"));
        let (mut bound, mut writer) =
            (Bound::new(most), LogWriter::open(&archive, folder).await.unwrap());
        writer.begin_attempt(1, "pod", "uid");
        for line in log.split_inclusive('\n') {
            bound.push(&mut writer, line.as_bytes(), now);
            assert!(bound.bytes <= TAIL, "{} bytes wait", bound.bytes);
        }
        bound.finish(&mut writer);
        writer.end_attempt();
        writer.store(&Position::default(), now).await.unwrap();
        let stored = archive.log("n", "p", run, Stage::Main).await.unwrap().unwrap();
        let pages: Vec<Vec<u8>> = stored.stream(None).try_collect().await.unwrap();
        String::from_utf8(pages.concat()).unwrap()
    }

    fn lines(from: usize, to: usize) -> String {
        let lines: Vec<String> = (from..to).map(|number| format!("{number:>99}\n")).collect();
        lines.concat()
    }

    #[tokio::test]
    async fn a_log_beyond_its_bound_keeps_its_beginning_and_its_last_lines() {
        let log = lines(0, 30_000);
        let stored = archived(Some(1 << 20), &log).await;
        let first = (1_usize << 20).div_ceil(100);
        assert!(stored.starts_with(&lines(0, first)));
        let rest = &stored[first * 100..];
        assert!(rest.starts_with("----- ompipe: this log has reached 1 MiB"), "{}", &rest[..200]);
        assert!(rest.ends_with(&lines(30_000 - TAIL / 100, 30_000)));
        assert!(rest.len() < TAIL + 500, "{} bytes follow", rest.len());
    }

    #[tokio::test]
    async fn a_log_within_its_bound_is_whole() {
        let log = lines(0, 3000);
        assert!(archived(Some(1 << 20), &log).await == log);
        assert!(archived(None, &lines(0, 20_000)).await == lines(0, 20_000));
    }
}
