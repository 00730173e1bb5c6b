//! The fault matrix: every cell of [`ompipe_tests::matrix::ROWS`] is a run that a user starts, an
//! end or a fault, and the one true end that stands in OpenMetadata then. `make fault-matrix` makes
//! the page of what is found here.

mod ends;
mod never_starts;
mod outages;
mod preemption;
mod run;
mod stops;
mod surroundings;
mod witness;
