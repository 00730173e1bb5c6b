//! The termination message of the container, which `kubectl describe pod` and operators show.

use std::fs::OpenOptions;
use std::io::Write;

/// Where Kubernetes reads it, unless the pod says otherwise.
const FILE: &str = "/dev/termination-log";

/// Leaves one line as the container's termination message; outside of a container nothing happens.
pub fn leave_message(line: &str) {
    // The file is there in a container only. That it cannot be written is no failure of its own.
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(FILE) {
        let _ = file.write_all(line.as_bytes());
    }
}
