//! The variables of the official Helm chart: each overrides its key, up to the object.

use std::collections::BTreeSet;

use ompipe_core::config::{Mode, PARAMETERS};
use ompipe_core::yaml;
use ompipe_tests::contract::{ALL, EPHEMERAL_STORAGE, Row, table};
use serde_json::{Map, Value};

use crate::workloads::{read, views_of};

/// The variables that the chart gives to the server
/// (docs/contracts/upstream-operator.md#server-environment), but the class of the client.
const OF_THE_CHART: [&str; 26] = [
    "K8S_NAMESPACE",
    "K8S_INGESTION_IMAGE",
    "K8S_IMAGE_PULL_POLICY",
    "K8S_IMAGE_PULL_SECRETS",
    "K8S_SERVICE_ACCOUNT_NAME",
    "K8S_TTL_SECONDS_AFTER_FINISHED",
    "K8S_ACTIVE_DEADLINE_SECONDS",
    "K8S_BACKOFF_LIMIT",
    "K8S_SUCCESS_JOBS_HISTORY_LIMIT",
    "K8S_FAILED_JOBS_HISTORY_LIMIT",
    "K8S_NODE_SELECTOR",
    "K8S_POD_ANNOTATIONS",
    "K8S_TOLERATIONS",
    "K8S_EXTRA_ENV_VARS",
    "K8S_RUN_AS_USER",
    "K8S_RUN_AS_GROUP",
    "K8S_FS_GROUP",
    "K8S_RUN_AS_NON_ROOT",
    "K8S_SECCOMP_PROFILE_TYPE",
    "K8S_SECCOMP_LOCALHOST_PROFILE",
    "K8S_LIMITS_CPU",
    "K8S_LIMITS_MEMORY",
    "K8S_REQUESTS_CPU",
    "K8S_REQUESTS_MEMORY",
    "K8S_ENABLE_FAILURE_DIAGNOSTICS",
    "USE_OMJOB_OPERATOR",
];

#[test]
fn the_table_has_every_variable_of_the_chart() {
    let rows = table("of-the-table");
    let listed: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.variables.iter().map(|(name, _)| *name)).collect();
    assert_eq!(listed, OF_THE_CHART.into());
}

#[test]
fn the_parameters_name_the_variables_of_the_table() {
    let rows = table("of-the-table");
    // `resources` has four, one for each amount.
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.key != "resources") {
        let row = rows.iter().find(|row| row.key == parameter.key).unwrap();
        let variable = row.variables.first().map(|(name, _)| *name);
        assert_eq!(parameter.env, variable, "{}", parameter.key);
    }
}

#[test]
fn a_variable_overrides_its_key_up_to_the_object() {
    for row in table("of-the-table").iter().filter(|row| !row.variables.is_empty()) {
        let variables: Vec<_> =
            row.variables.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let views = views_of(&read(&default_of(row), &variables).unwrap());
        for stage in ALL {
            let values = row.values(stage).filter(|(pointer, _)| *pointer != EPHEMERAL_STORAGE);
            for (pointer, value) in values {
                let found = views[&stage].pointer(pointer);
                assert_eq!(found, Some(value), "{} on {stage:?} at {pointer}", row.key);
            }
        }
    }
}

/// A file that says the default of a key.
fn default_of(row: &Row) -> Value {
    let parameter = PARAMETERS.iter().find(|parameter| parameter.key == row.key).unwrap();
    let default = yaml::parse(parameter.default).unwrap();
    Map::from_iter([(row.key.to_owned(), default)]).into()
}

#[test]
fn the_mode_is_that_of_the_variable() {
    let file = serde_json::json!({ "useOMJobOperator": false });
    assert_eq!(read(&file, &[]).unwrap().mode, Mode::Job);
    assert_eq!(read(&file, &[("USE_OMJOB_OPERATOR", "true")]).unwrap().mode, Mode::Operator);
}
