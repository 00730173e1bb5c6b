//! The operator.

pub mod last_resort;
