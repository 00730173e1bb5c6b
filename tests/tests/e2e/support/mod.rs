//! What every test starts from.

mod barrier;
mod bed;
mod breakable;
mod browser;
mod crds;
mod deadline;
mod following;
mod injector;
mod outcome;
mod quota;
mod reviewer;
mod scene;
mod serving;
mod wait;

pub(crate) use barrier::{BARRIER, UNTIL_TOLD, release, release_on_node};
pub(crate) use bed::{Bed, PASSWORD, bed};
pub(crate) use breakable::Breakable;
pub(crate) use browser::Browser;
pub(crate) use crds::install_crds;
pub(crate) use deadline::{end_now, late_job, late_omjob};
pub(crate) use injector::{INJECTED, Injector};
pub(crate) use outcome::Outcome;
pub(crate) use quota::no_pods_allowed;
pub(crate) use reviewer::Reviewer;
pub(crate) use scene::{Scene, from};
pub(crate) use serving::{Answer, LOGIN, PREFIX, Serving, VERSION, answer};
pub(crate) use wait::{eventually, is_nightly};
