//! `scheduleSpread`: for every pipeline, those of one service, and one pipeline.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Problem;
use crate::fields::{Fields, scalar_text};
use crate::spread::Spread;

/// Over how many minutes the schedule of a pipeline may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleSpread {
    every: Spread,
    services: BTreeMap<String, Spread>,
    pipelines: BTreeMap<String, Spread>,
}

impl ScheduleSpread {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            every: fields.parsed("scheduleSpread").unwrap_or_default(),
            services: by_name(fields, "serviceScheduleSpread"),
            pipelines: by_name(fields, "pipelineScheduleSpread"),
        }
    }

    /// The window of one pipeline: its own, else its service's, else everybody's.
    #[must_use]
    pub fn of(&self, service: Option<&str>, pipeline_fqn: &str) -> Spread {
        let own = self.pipelines.get(pipeline_fqn);
        let service = || service.and_then(|service| self.services.get(service));
        own.or_else(service).copied().unwrap_or(self.every)
    }
}

/// A map from the name of a service or pipeline to its window.
fn by_name(fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, Spread> {
    let given = match fields.value(key) {
        None => return BTreeMap::new(),
        Some(Value::Object(map)) => map,
        Some(_) => {
            return fields.note(key, "must be a map from names to minutes").unwrap_or_default();
        }
    };
    let path = fields.path_of(key);
    let mut spreads = BTreeMap::new();
    for (name, value) in given {
        match scalar_text(value).unwrap_or_default().parse() {
            Ok(spread) => drop(spreads.insert(name.clone(), spread)),
            Err(remedy) => fields.extend([Problem::new(format!("{path}.{name}"), value, remedy)]),
        }
    }
    spreads
}
