//! Looks regularly for pipelines that OpenMetadata no longer has: it deletes them all the same when its
//! pipeline service does not answer.

use std::collections::BTreeSet;
use std::time::Duration;

use ompipe_client::{Census, Orphan};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::app::App;

/// Time from one look to the next.
const EVERY: Duration = Duration::from_mins(5);
/// The same after OpenMetadata asked to delete a pipeline that it may still have had at that time.
const SOON: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
];

/// Looks until `stop`.
pub(crate) async fn look(app: &App, stop: &CancellationToken) {
    let (mut told, mut soon) = (BTreeSet::new(), [].iter());
    while !stop.is_cancelled() {
        match app.client.census().await {
            Ok(census) => act(app, &census, &mut told).await,
            Err(error) => debug!(%error, "the deployed pipelines cannot be looked at now"),
        }
        let pause = soon.next().copied().unwrap_or(EVERY);
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.look_for_orphans.notified() => soon = SOON.iter(),
            () = sleep(pause) => {}
        }
    }
}

/// Removes what was asked to be removed; other orphans are logged once, in one line.
async fn act(app: &App, census: &Census, told: &mut BTreeSet<String>) {
    app.metrics.orphaned_pipelines(census.orphans.len());
    for orphan in &census.orphans {
        let (pipeline, reason) = (&orphan.pipeline.fully_qualified_name, orphan.reason.as_str());
        if orphan.reason.is_settled() {
            remove(app, orphan).await;
        } else if told.insert(pipeline.clone()) {
            warn!(pipeline, reason, "no pipeline uses it: ompipe orphans --delete removes it");
        }
    }
}

async fn remove(app: &App, orphan: &Orphan) {
    let (pipeline, reason) = (&orphan.pipeline.fully_qualified_name, orphan.reason.as_str());
    match app.client.remove_orphan(orphan).await {
        Ok(_) => info!(pipeline, reason, "deleted"),
        Err(error) => warn!(pipeline, reason, %error, "cannot be deleted now"),
    }
}
