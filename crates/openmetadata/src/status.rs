//! The row of one run (docs/contracts/openmetadata-http.md#pipeline-status).

use ompipe_core::PipelineState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// What OpenMetadata keeps about a run. Read leniently: newer servers add fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// The run's id.
    pub run_id: String,
    /// Its state. Only this says whether the run has ended: `endDate` is set on running rows too.
    pub pipeline_state: PipelineState,
    /// When it began, in milliseconds of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<i64>,
    /// When it ended, in milliseconds of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<i64>,
}

impl PipelineStatus {
    pub(crate) fn read(row: Value) -> Result<Self, Error> {
        serde_json::from_value(row).map_err(|_| Error::Unreadable("the status of a run"))
    }
}
