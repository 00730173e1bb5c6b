//! The finalizers of an `OMJob`, which are written as a whole list: none of another owner may get lost.

use kube::{Api, ResourceExt};

use crate::error::Error;
use crate::view::{JobView, MOST_NAMES};
use crate::writes::Writes;

/// All of them. The caches keep only so many.
pub(crate) async fn of(writes: &Writes, job: &JobView) -> Result<Vec<String>, Error> {
    if job.finalizers().len() < MOST_NAMES {
        return Ok(job.finalizers().to_vec());
    }
    let api: Api<JobView> = writes.to(&job.namespace().unwrap_or_default())?;
    let live = api.get_metadata(&job.name_any()).await;
    Ok(live.map_err(Error::api("read the OMJob's finalizers"))?.finalizers().to_vec())
}
