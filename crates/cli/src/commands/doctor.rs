//! `ompipe doctor`.

use crate::args::{Args, DoctorArgs};
use crate::failure::{Exit, Failure};

pub(super) async fn execute(_args: &Args, _doctor: &DoctorArgs) -> Result<Exit, Failure> {
    Err(Failure::usage("doctor"))
}
