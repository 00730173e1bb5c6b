//! What the cluster knows about the last pod of a run, for the row of a run that failed.

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use ompipe_core::logs::LogTail;
use ompipe_core::report;
use ompipe_core::run::MAIN_CONTAINER;
use tokio::time::{Duration, timeout};

use crate::writes::Writes;

/// What a node that does not answer may cost.
const LIMIT: Duration = Duration::from_secs(5);

/// The pod, its events and the end of its log, as text. What cannot be read is left out; of the log
/// the reason takes its place.
pub(crate) async fn of_pod(writes: &Writes, pod: &Pod) -> String {
    let (events, log) =
        tokio::join!(timeout(LIMIT, events(writes, pod)), timeout(LIMIT, log(writes, pod)));
    let log = match log {
        Ok(Ok(log)) => log,
        Ok(Err(error)) => format!("(cannot be read: {})", words(error.as_ref())),
        Err(_) => "(cannot be read: its node does not answer)".to_owned(),
    };
    report::describe(pod, &events.unwrap_or_default(), &log)
}

/// The API server's own sentence: the text of the library's error has the whole answer behind it.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => {
            format!("the API server answers {}: {}", status.code, status.message)
        }
        _ => error.to_string(),
    }
}

async fn events(writes: &Writes, pod: &Pod) -> Vec<Event> {
    let about = format!("involvedObject.uid={}", pod.uid().unwrap_or_default());
    let api = writes.read::<Event>(&pod.namespace().unwrap_or_default());
    let listed = api.list(&ListParams::default().fields(&about)).await;
    listed.map(|events| events.items).unwrap_or_default()
}

async fn log(
    writes: &Writes,
    pod: &Pod,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let api = writes.read::<Pod>(&pod.namespace().unwrap_or_default());
    let params = LogParams {
        container: Some(MAIN_CONTAINER.to_owned()),
        tail_lines: Some(report::LOG_LINES.into()),
        ..LogParams::default()
    };
    let mut stream = std::pin::pin!(api.log_stream(&pod.name_any(), &params).await?);
    let mut tail = LogTail::new(report::LOG_BYTES);
    let mut buffer = vec![0; 16 << 10];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(tail.finish()),
            read => tail.push(&buffer[..read]),
        }
    }
}
