//! A pod of a run, and where it is.

use ompipe_core::job::AttemptSeen;
use ompipe_core::omjob::PodSeen;

use crate::tracking::PodId;

/// An attempt of a run; `S` is what the decision sees of its pod.
#[derive(Clone, Debug)]
pub(crate) struct Attempt<S> {
    pub(crate) namespace: String,
    /// Name of the `OMJob` or Job.
    pub(crate) object: String,
    /// Its UID.
    pub(crate) owner: String,
    pub(crate) seen: S,
    /// Whether a finalizer of anybody keeps the pod.
    pub(crate) held: bool,
}

impl<S: Seen> Attempt<S> {
    /// The pod.
    pub(crate) fn id(&self) -> PodId<'_> {
        PodId { namespace: &self.namespace, name: self.seen.name(), uid: self.seen.uid() }
    }
}

/// What a decision sees of a pod, as far as its finalizer is concerned.
pub(crate) trait Seen: Clone + std::fmt::Debug {
    fn name(&self) -> &str;
    fn uid(&self) -> &str;
    /// Whether our finalizer keeps it.
    fn is_tracked(&self) -> bool;
    fn is_deleted(&self) -> bool;
}

macro_rules! seen {
    ($($seen:ty),*) => {$(
        impl Seen for $seen {
            fn name(&self) -> &str {
                &self.name
            }

            fn uid(&self) -> &str {
                &self.uid
            }

            fn is_tracked(&self) -> bool {
                self.tracked
            }

            fn is_deleted(&self) -> bool {
                self.deletion.is_some()
            }
        }
    )*};
}

seen!(PodSeen, AttemptSeen);
