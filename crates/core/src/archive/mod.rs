//! The archive of logs and run records: what is stored under which name, where following a log goes
//! on after an interruption, and what may be deleted. The crate `ompipe-archive` stores it.
//!
//! ```text
//! v1/{namespace}/{pipeline id}/{start}-{run id}/run.json                    the record
//!                                              /{stage}/index.json          how far the log is
//!                                              /{stage}/000000.gz           a full page
//!                                              /{stage}/000001-part-512.gz  the unfinished page
//! ```
//!
//! A full page never changes. The name of an unfinished page says how long it is, so that the index
//! and the page that it names always fit together, also when two writers overlap.

mod cutter;
mod index;
mod names;
mod position;
mod record;
mod times;

pub use cutter::{PageCutter, Piece};
pub use index::{AttemptLog, LogIndex, Place};
pub use names::{
    FOLDER, PipelineName, RunFolder, Stage, page_name, part_name, pipeline_folder, pipeline_key,
};
pub use position::{Position, Resumed, Taken, split_time};
pub use record::{AttemptRecord, RunRecord, Trigger, is_expired};
pub use times::{TimedLine, TimedText, TimesWriter, read_times, whole_milliseconds};
