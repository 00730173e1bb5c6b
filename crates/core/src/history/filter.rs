//! Which runs a caller means.

use jiff::Timestamp;

use crate::archive::RunRecord;
use crate::{PipelineState, last_fqn_part, quote_fqn_part};

/// Which runs are meant: those that fit everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// In one of these states; any where none is given.
    pub states: Vec<PipelineState>,
    /// Created at that time or later.
    pub since: Option<Timestamp>,
    /// Created before that time.
    pub until: Option<Timestamp>,
    /// Of the pipeline with that fully qualified name.
    pub pipeline: Option<String>,
    /// Of a pipeline of that service.
    pub service: Option<String>,
    /// Waiting or failed for that reason, in letters of either case.
    pub reason: Option<String>,
}

impl RunFilter {
    /// Whether a run is meant.
    #[must_use]
    pub fn accepts(&self, run: &RunRecord) -> bool {
        let pipeline = run.pipeline.as_deref();
        (self.states.is_empty() || self.states.contains(&run.state))
            && self.accepts_time(run.created)
            && self.pipeline.as_deref().is_none_or(|wanted| pipeline == Some(wanted))
            && self
                .service
                .as_deref()
                .is_none_or(|wanted| pipeline.and_then(service_of) == Some(wanted))
            && self.reason.as_deref().is_none_or(|wanted| is_reason(run, wanted))
    }

    /// A run whose object does not say when it was created is never too old or too young.
    fn accepts_time(&self, created: Option<Timestamp>) -> bool {
        let Some(created) = created else { return true };
        self.since.is_none_or(|since| created >= since)
            && self.until.is_none_or(|until| created < until)
    }
}

fn is_reason(run: &RunRecord, wanted: &str) -> bool {
    run.reason.as_deref().is_some_and(|reason| reason.eq_ignore_ascii_case(wanted))
}

/// The service in the fully qualified name of a pipeline, quotes included.
#[must_use]
pub fn service_of(pipeline: &str) -> Option<&str> {
    let name = last_fqn_part(pipeline);
    let before = |part: &str| pipeline.strip_suffix(part)?.strip_suffix('.');
    before(&quote_fqn_part(&name)).or_else(|| before(&name))
}
