//! The archive in real stores: Versity Gateway for S3, fake-gcs-server, Azurite, and files. What a store does
//! when it is stopped, slow, full or damaged is tried here, not in a model of it.
#![expect(clippy::unwrap_used, reason = "a broken set-up fails the test at once")]

mod container;
mod damage;
mod faults;
mod link;
mod logs;
mod place;
mod records;
mod refusals;
mod run;
mod server;
