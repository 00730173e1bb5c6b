//! What every test starts from.

mod bed;
mod outcome;
mod scene;
mod wait;

pub(crate) use bed::{PASSWORD, bed};
pub(crate) use outcome::Outcome;
pub(crate) use scene::{Scene, from};
pub(crate) use wait::eventually;
