//! What of an `OMJob`'s specification decides its course.

use jiff::SignedDuration;
use ompipe_core::Quantity;
use ompipe_core::omjob::{Limits, MoreMemory};

use crate::{MemoryRetry, OMJobSpec};

impl OMJobSpec {
    /// The limits of the run. What is left out means what it means in a Job of Kubernetes; a
    /// negative amount, which upstream's definition accepts, means the same as one left out.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let seconds = |seconds: Option<i64>| {
            seconds.filter(|seconds| *seconds >= 0).map(SignedDuration::from_secs)
        };
        let defaults = Limits::default();
        Limits {
            active_deadline: seconds(self.active_deadline_seconds),
            backoff_limit: self.backoff_limit.map(|limit| limit.max(0).unsigned_abs()),
            more_memory: self.retry_with_more_memory.as_ref().and_then(MemoryRetry::more_memory),
            exit_deadline: seconds(self.exit_handler_deadline_seconds)
                .unwrap_or(defaults.exit_deadline),
            ttl: seconds(self.ttl_seconds_after_finished),
            suspend: self.suspend.unwrap_or_default(),
            exit_handler: self.exit_handler_spec.is_some(),
        }
    }
}

impl MemoryRetry {
    /// What it says; `None` for what is no amount of memory, which the schema refuses.
    fn more_memory(&self) -> Option<MoreMemory> {
        let limit = self.limit.0.parse::<Quantity>().ok()?.bytes()?;
        let factor = self.factor.unwrap_or(Self::DEFAULT_FACTOR).max(2).unsigned_abs();
        Some(MoreMemory { factor, limit })
    }
}

#[cfg(test)]
mod tests {
    use ompipe_core::omjob::Bytes;
    use serde_json::json;

    use super::*;

    fn limits(fields: serde_json::Value) -> Limits {
        let mut spec = json!({ "mainPodSpec": { "image": "i" } });
        if let (Some(spec), serde_json::Value::Object(fields)) = (spec.as_object_mut(), fields) {
            spec.extend(fields);
        }
        serde_json::from_value::<OMJobSpec>(spec).unwrap().limits()
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let with_exit_handler = limits(json!({ "exitHandlerSpec": { "image": "i" } }));
        assert_eq!(with_exit_handler, Limits::default());
        assert!(!limits(json!({})).exit_handler);
    }

    #[test]
    fn every_field_counts() {
        let spec = json!({
            "ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 60, "backoffLimit": 2,
            "suspend": true, "exitHandlerDeadlineSeconds": 30, "exitHandlerSpec": { "image": "i" },
            "retryWithMoreMemory": { "factor": 3, "limit": "8Gi" },
        });
        let expected = Limits {
            active_deadline: Some(SignedDuration::from_secs(60)),
            backoff_limit: Some(2),
            more_memory: Some(MoreMemory { factor: 3, limit: Bytes(8 << 30) }),
            exit_deadline: SignedDuration::from_secs(30),
            ttl: Some(SignedDuration::ZERO),
            suspend: true,
            exit_handler: true,
        };
        assert_eq!(limits(spec), expected);
    }

    #[test]
    fn memory_doubles_unless_the_factor_says_otherwise() {
        let limits = limits(json!({ "retryWithMoreMemory": { "limit": 1_073_741_824 } }));
        assert_eq!(limits.more_memory, Some(MoreMemory { factor: 2, limit: Bytes(1 << 30) }));
    }

    #[test]
    fn a_negative_ttl_keeps_the_run_for_ever() {
        assert_eq!(limits(json!({ "ttlSecondsAfterFinished": -1 })).ttl, None);
    }
}
