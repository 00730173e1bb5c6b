//! The id of one run: the UUID under which OpenMetadata keeps its status.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::PipelineIdentity;

/// Id of one run of a pipeline (docs/contracts/ingestion-worker.md#run-ids). All attempts of one
/// Job share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(Uuid);

impl RunId {
    /// A run id that no other run has.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id that a caller's key leads to: the same key is the same run of that pipeline.
    #[must_use]
    pub fn of_key(pipeline: &PipelineIdentity, key: &str) -> Self {
        Self(Uuid::new_v5(&pipeline.id, key.as_bytes()))
    }

    /// The first 8 hex digits, as object names contain them.
    #[must_use]
    pub fn short(self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}

impl FromStr for RunId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the hyphenated form: OpenMetadata compares run ids as text.
        let uuid =
            Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text.to_lowercase());
        uuid.map(Self).ok_or("must be a UUID such as a1b2c3d4-e5f6-7890-abcd-ef1234567890")
    }
}

impl TryFrom<String> for RunId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl From<RunId> for Uuid {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_run_of_each_pipeline() {
        let pipeline = |id: u128| PipelineIdentity {
            id: Uuid::from_u128(id),
            name: "nightly".to_owned(),
            fully_qualified_name: "shop.nightly".to_owned(),
        };
        let of = |id, key| RunId::of_key(&pipeline(id), key);
        assert_eq!(of(1, "a"), of(1, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), of(2, "a"));
    }

    #[test]
    fn only_hyphenated_uuids() {
        let id: RunId = "A1B2C3D4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
        assert_eq!(id.to_string(), "a1b2c3d4-e5f6-7890-abcd-ef1234567890");
        assert_eq!(id.short(), "a1b2c3d4");
        for bad in ["", "a1b2c3d4", "a1b2c3d4e5f67890abcdef1234567890", "manual__2024"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
