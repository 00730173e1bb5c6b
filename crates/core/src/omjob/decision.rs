//! What is to be done about an `OMJob`, as values.

use jiff::Timestamp;

use super::{Stage, Status};

/// One thing to do. Doing any of them twice leads to the same objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Put [`super::FINALIZER`] on the `OMJob`, on the condition that it is still as observed.
    AddFinalizer,
    /// Write the status, on the condition that the `OMJob` is still as observed (or as the last
    /// write of this decision left it), even when nothing changes: the condition is what counts.
    Record(Box<Status>),
    /// Make the pod of an attempt, owned and tracked. That it exists already is success.
    CreatePod {
        /// Which pod.
        stage: Stage,
        /// Number of the attempt, from 0.
        attempt: u32,
    },
    /// Put [`super::TRACKING_FINALIZER`] on a pod that another operator made.
    TrackPod {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Delete a pod with its grace period.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Take [`super::TRACKING_FINALIZER`] off a pod. That the pod is gone is success.
    ReleasePod {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Report the run's end from the operator itself, then decide again with the answer.
    ReportLastResort,
    /// Take [`super::FINALIZER`] off the `OMJob`, on the condition that it is still as observed.
    RemoveFinalizer,
    /// Delete the `OMJob` and, in the background, what it owns; on the same condition.
    DeleteOmJob,
    /// Decide again on a live read, the `OMJob` first and then its pods.
    ReadFresh,
}

/// What to do, in order, and when to look again if nothing happens until then.
///
/// The first action that fails ends the list; what is left is decided anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What to do.
    pub actions: Vec<Action>,
    /// When time alone changes the decision.
    pub next_look: Option<Timestamp>,
}

impl Decision {
    /// The status that this decision records, if it records one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.actions.iter().find_map(|action| match action {
            Action::Record(status) => Some(&**status),
            Action::AddFinalizer
            | Action::CreatePod { .. }
            | Action::TrackPod { .. }
            | Action::DeletePod { .. }
            | Action::ReleasePod { .. }
            | Action::ReportLastResort
            | Action::RemoveFinalizer
            | Action::DeleteOmJob
            | Action::ReadFresh => None,
        })
    }
}
