//! Why a reconcile did not come to its end. None of these changes a phase: it is tried again.

use thiserror::Error;

use crate::metrics::ReconcileResult;

/// What ended a reconcile early.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Another replica leads, or may do so soon.
    #[error("this replica does not lead any more")]
    NotLeading,
    /// The object changed since it was seen; the watch brings the new one.
    #[error("{0} has changed meanwhile")]
    Conflict(String),
    /// A defect of the operator: the object is tried again, later and later.
    #[error("a panic: {0}")]
    Panicked(String),
    /// The API server did not do it.
    #[error("cannot {what}: {source}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: Box<kube::Error>,
    },
}

impl Error {
    pub(crate) fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what, source: Box::new(source) }
    }

    pub(crate) fn unwritable(error: serde_json::Error) -> Self {
        let source = Box::new(kube::Error::SerdeError(error));
        Self::Api { what: "write down a status", source }
    }
}

/// What metrics call it.
pub(crate) const fn result_of<T>(result: &Result<T, Error>) -> ReconcileResult {
    match result {
        Ok(_) | Err(Error::NotLeading) => ReconcileResult::Success,
        Err(Error::Conflict(_) | Error::Panicked(_) | Error::Api { .. }) => ReconcileResult::Error,
    }
}

/// The HTTP code of an answer; 0 for none.
pub(crate) fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}
