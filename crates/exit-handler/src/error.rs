//! Why a run was not reported.

use std::time::Duration;

use ompipe_core::report::Unusable;

/// Why a run was not reported. No variant holds a secret or a part of the config.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the variable nor a file.
    #[error("the variable config is missing or empty: set it to the workflow config as YAML")]
    NoConfig,
    /// The file that `configFile` names.
    #[error("file {path}, which configFile names, cannot be read: {source}")]
    ConfigFile {
        /// Its name.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it.
    #[error(transparent)]
    Config(#[from] Unusable),
    /// Nothing that has a status.
    #[error(
        "neither the config nor ingestionPipelineFQN names a pipeline, and it is no automation"
    )]
    NoSubject,
    /// No run.
    #[error("the variable pipelineRunId is missing or empty: set it to the run's id, a UUID")]
    NoRunId,
    /// No such run.
    #[error("pipelineRunId = {0:?}: must be a UUID such as a1b2c3d4-e5f6-7890-abcd-ef1234567890")]
    BadRunId(String),
    /// The deadline is not a valid number of seconds.
    #[error("{name} = {value:?}: must be a whole number of seconds from 1 to 86400")]
    BadDeadline {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// No source says how the run ended.
    #[error(
        "nobody says how the run ended: the variable pipelineStatus is missing, and no pod of the run \
         was found"
    )]
    NoEnd,
    /// OpenMetadata.
    #[error(transparent)]
    OpenMetadata(#[from] ompipe_openmetadata::Error),
    /// The time is over.
    #[error("not reported within {} s: {last}", .deadline.as_secs())]
    TooLate {
        /// How long it was tried.
        deadline: Duration,
        /// What came of the last try that ended.
        last: String,
    },
}

impl Error {
    /// True when OpenMetadata refused it, which it would another time.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::OpenMetadata(_))
    }

    /// True when what the exit handler was given is at fault.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        match self {
            Self::NoConfig
            | Self::ConfigFile { .. }
            | Self::Config(_)
            | Self::NoSubject
            | Self::NoRunId
            | Self::BadRunId(_)
            | Self::BadDeadline { .. }
            | Self::NoEnd => true,
            Self::OpenMetadata(_) | Self::TooLate { .. } => false,
        }
    }
}
