//! Logs that runs stream to the server.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The log of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunLog {
    /// All text so far.
    pub text: String,
    /// In how many requests it came.
    pub appends: usize,
    /// Whether the writer said that there is no more.
    pub closed: bool,
}

/// A piece of log as a client posts it: bare text or a batch.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Chunk {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Batch {
        #[serde(default)]
        logs: String,
        #[serde(default)]
        compressed: bool,
    },
}

impl Chunk {
    /// The text of the piece.
    pub(crate) fn text(self) -> Result<String, String> {
        match self {
            Self::Text(text) | Self::Batch { logs: text, compressed: false } => Ok(text),
            Self::Batch { logs, compressed: true } => {
                unpack(&logs).map_err(|error| format!("`logs` is not gzip in base64: {error}"))
            }
        }
    }
}

fn unpack(packed: &str) -> std::io::Result<String> {
    let zipped = STANDARD.decode(packed).map_err(std::io::Error::other)?;
    let mut text = String::new();
    GzDecoder::new(zipped.as_slice()).read_to_string(&mut text)?;
    Ok(text)
}

/// Which part of a log to read.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Window {
    /// First line, as the previous answer's `after` said.
    after: Option<usize>,
    /// How many lines.
    limit: Option<usize>,
}

/// The logs of all runs.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    runs: BTreeMap<(String, Uuid), RunLog>,
}

impl Logs {
    /// Adds text to the log of a run.
    pub(crate) fn append(&mut self, fqn: &str, run_id: Uuid, text: &str) {
        let log = self.runs.entry((fqn.to_owned(), run_id)).or_default();
        log.text.push_str(text);
        log.appends += 1;
    }

    /// Notes that the log of a run is complete.
    pub(crate) fn close(&mut self, fqn: &str, run_id: Uuid) {
        self.runs.entry((fqn.to_owned(), run_id)).or_default().closed = true;
    }

    /// The log of a run.
    pub(crate) fn get(&self, fqn: &str, run_id: Uuid) -> Option<&RunLog> {
        self.runs.get(&(fqn.to_owned(), run_id))
    }
}

impl RunLog {
    /// A page of lines: `after` says where the next one starts and is absent on the last.
    pub(crate) fn page(&self, window: &Window) -> Value {
        let lines: Vec<&str> = self.text.lines().collect();
        let start = window.after.unwrap_or(0).min(lines.len());
        let end = start.saturating_add(window.limit.unwrap_or(1_000)).min(lines.len());
        let mut page = json!({ "logs": lines[start..end].join("\n"), "total": lines.len() });
        if end < lines.len() {
            page["after"] = end.to_string().into();
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use flate2::{Compression, write::GzEncoder};
    use serde_json::{Value, json};

    use super::{Chunk, RunLog, Window};

    fn text(body: Value) -> Result<String, String> {
        serde_json::from_value::<Chunk>(body).unwrap().text()
    }

    #[test]
    fn bare_text_and_batches_are_read() {
        assert_eq!(text(json!("a\n")), Ok("a\n".to_owned()));
        let batch = json!({"logs": "b\n", "connectorId": "pod-1", "compressed": false});
        assert_eq!(text(batch), Ok("b\n".to_owned()));
    }

    #[test]
    fn a_compressed_batch_is_unpacked() {
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        zip.write_all(b"many lines").unwrap();
        let packed = STANDARD.encode(zip.finish().unwrap());
        assert_eq!(text(json!({"logs": packed, "compressed": true})).unwrap(), "many lines");
        assert!(text(json!({"logs": "??", "compressed": true})).unwrap_err().contains("base64"));
    }

    #[test]
    fn pages_join_to_the_whole_log() {
        let log = RunLog { text: "1\n2\n3\n".to_owned(), ..RunLog::default() };
        let first = log.page(&Window { after: None, limit: Some(2) });
        assert_eq!(first, json!({"logs": "1\n2", "total": 3, "after": "2"}));
        let rest = log.page(&Window { after: Some(2), limit: Some(2) });
        assert_eq!(rest, json!({"logs": "3", "total": 3}));
    }
}
