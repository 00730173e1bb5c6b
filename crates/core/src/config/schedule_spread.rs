//! `scheduleSpread`: for every pipeline, those of one service, and one pipeline.

use super::by_name::{ByName, scalar};
use crate::fields::Fields;
use crate::spread::Spread;

/// Over how many minutes the schedule of a pipeline may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleSpread {
    every: Spread,
    by_name: ByName<Spread>,
}

impl ScheduleSpread {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            every: fields.parsed("scheduleSpread").unwrap_or_default(),
            by_name: ByName::read(
                fields,
                ["serviceScheduleSpread", "pipelineScheduleSpread"],
                "minutes",
                scalar,
            ),
        }
    }

    /// The window of one pipeline: its own, else its service's, else everybody's.
    #[must_use]
    pub fn of(&self, service: Option<&str>, pipeline_fqn: &str) -> Spread {
        self.by_name.nearest(service, pipeline_fqn).copied().unwrap_or(self.every)
    }
}
