//! Settings that services and pipelines have of their own, by name.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use crate::Problem;
use crate::fields::{Fields, scalar_text};

/// What some services and some pipelines have instead of, or in addition to, what all have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByName<T> {
    services: BTreeMap<String, T>,
    pipelines: BTreeMap<String, T>,
}

impl<T> ByName<T> {
    /// Reads the maps at two keys, that of services first. `read` gets the path and the value of each entry; `values`
    /// names the entries in the problem of a value that is not a map.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        [services, pipelines]: [&'static str; 2],
        values: &str,
        read: impl Fn(&str, &Value) -> Result<T, Vec<Problem>>,
    ) -> Self {
        Self {
            services: map(fields, services, values, &read),
            pipelines: map(fields, pipelines, values, &read),
        }
    }

    /// That of the pipeline, else of its service.
    pub(super) fn nearest(&self, service: Option<&str>, pipeline_fqn: &str) -> Option<&T> {
        self.general_first(service, pipeline_fqn).last()
    }

    /// That of the service, then that of the pipeline.
    pub(super) fn general_first<'t>(
        &'t self,
        service: Option<&str>,
        pipeline_fqn: &str,
    ) -> impl Iterator<Item = &'t T> + use<'t, T> {
        let service = service.and_then(|service| self.services.get(service));
        service.into_iter().chain(self.pipelines.get(pipeline_fqn))
    }

    /// Those of all services and pipelines.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.services.values().chain(self.pipelines.values())
    }
}

/// Reads an entry that is one text, number or boolean.
pub(super) fn scalar<T>(path: &str, value: &Value) -> Result<T, Vec<Problem>>
where
    T: FromStr<Err: Into<String>>,
{
    let text = scalar_text(value).unwrap_or_default();
    text.parse().map_err(|remedy: T::Err| vec![Problem::new(path, value, remedy.into())])
}

fn map<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    values: &str,
    read: impl Fn(&str, &Value) -> Result<T, Vec<Problem>>,
) -> BTreeMap<String, T> {
    let path = fields.path_of(key);
    let given = match fields.value(key) {
        None => return BTreeMap::new(),
        Some(Value::Object(map)) => map,
        Some(_) => {
            let remedy = format!("must be a map from names to {values}");
            return fields.note(key, remedy).unwrap_or_default();
        }
    };
    let mut all = BTreeMap::new();
    for (name, value) in given {
        match read(&format!("{path}.{name}"), value) {
            Ok(read) => drop(all.insert(name.clone(), read)),
            Err(problems) => fields.extend(problems),
        }
    }
    all
}
