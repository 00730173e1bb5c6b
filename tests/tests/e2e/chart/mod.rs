//! The Helm chart on a real cluster, with the real images. What it renders to is shown in the test
//! target `chart`.

mod adopt;
mod deeds;
mod dry_run;
mod installed;
mod life;
mod metrics;
mod notes;
mod pod_policy;
mod rights;
mod service;
mod verbs;
