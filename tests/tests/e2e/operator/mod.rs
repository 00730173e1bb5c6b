//! The operator: the program as users start it, real pods, and what is left of every ending.

mod admission;
mod boundaries;
mod crash;
mod cron;
mod endings;
mod memory;
mod outages;
mod process;
mod replicas;
mod report;
mod retries;
mod rights;
mod stage;
mod way_back;

pub(crate) use admission::{Webhook, denied};
pub(crate) use process::Operator;
pub(crate) use replicas::of_upstream as upstreams_run;
pub(crate) use report::documented_rules;
pub(crate) use stage::{Stage, condition};
