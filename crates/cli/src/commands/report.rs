//! The report of a run's end by `ompipe run --follow` and `ompipe doctor --fix`.
//!
//! The worker's exit handler reports an end when it can. A run that never started, a container that the
//! kernel killed whole, a pod that was deleted by force and a node that was lost leave nobody in the
//! cluster to report, unless an operator runs there. Then this command does, since it saw the end.

use ompipe_core::report::Ending;
use ompipe_core::{Run, ServerConnection};
use ompipe_openmetadata::{EndedRun, OpenMetadata, Reported};

use super::status::courtesy;
use crate::output::{self, now};

/// Reports the end of a run to OpenMetadata, unless its row has it already. A server that does not
/// answer is a note: the exit code of the command says how the run ended.
pub(super) async fn end_of(connection: &ServerConnection, pipeline_fqn: &str, run: &Run) {
    let Some(end) = run.ended() else { return };
    let Ok(server) = OpenMetadata::new(connection) else { return };
    let ended = EndedRun {
        pipeline_fqn,
        id: run.run_id,
        service: None,
        began: run.created.unwrap_or_else(now),
        ending: Ending::of(end.reason),
        end: &end,
        now: now(),
    };
    if let Some(Reported::Written(state)) = courtesy(server.report(&ended, async || None)).await {
        output::note(format_args!("reported to OpenMetadata: {state}"));
    }
}
