//! What the caches keep of an object: as little as the decisions need, read straight from the wire.
//! Ten thousand finished runs, whole, would fill the memory of the node that the operator shares.

mod attempt;
mod child;
mod job;
mod meta;
mod pod;
mod schedule;

pub(crate) use attempt::{Attempt, Seen};
pub(crate) use child::Child;
pub(crate) use job::{JobView, WholeJob};
pub(crate) use meta::MOST_NAMES;
pub(crate) use pod::PodView;
pub(crate) use schedule::ScheduleView;

/// Largest specification that is kept, in bytes. Those of OpenMetadata and ompipe have a few kilobytes;
/// a larger one is read again when it is needed.
const MOST_KEPT: usize = 32 << 10;

/// Lets a view be watched and written as the kind that it is a view of.
macro_rules! view_of {
    ($view:ty, $kind:ty) => {
        impl kube::Resource for $view {
            type DynamicType = ();
            type Scope = k8s_openapi::NamespaceResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::kind(&())
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::group(&())
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::version(&())
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use view_of;
