//! What ompipe generates for workers of each release line, held to the models that this line has published. The lines
//! are in `models/lines.txt`; `models/build` installs their models, and `models/check.py` asks them. What a line
//! refuses is in [`ARGUED`]: a refusal that is not there fails, and so does one that is there and does not occur.

#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test at once")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ompipe_core::version::ReleaseLine;
use ompipe_core::{
    IngestionPipeline, PipelineType, ServerConnection, Service, VerifySsl, WorkflowConfig, yaml,
};
use ompipe_tests::helm::{built, repository};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

/// Of a case, and of the key that it has.
const KEY_OF_NONE: &str = "keyOfNoModel";

const LINES: &str = include_str!("../models/lines.txt");

/// A pipeline with its service.
#[derive(Clone, Deserialize)]
struct Case {
    title: String,
    pipeline: Value,
    service: Option<Value>,
}

/// A refusal with its reason.
struct Argued {
    /// Those of the cases that are refused for it.
    titles: &'static [&'static str],
    /// The first and the last line that refuse it.
    lines: (&'static str, &'static str),
    /// Part of what is said.
    says: &'static str,
    why: &'static str,
}

const NEWEST: &str = "99.0";

const ARGUED: &[Argued] = &[
    // Types that a line does not have. A server of that line has no pipelines of them either.
    Argued {
        titles: &["policy agent"],
        lines: ("1.0", "1.13"),
        says: "no pipelineType policyAgent",
        why: "the type is there since 2.0",
    },
    Argued {
        titles: &["default data insight"],
        lines: ("1.5", NEWEST),
        says: "ingestion workers since 1.5 do not support it",
        why: "an application of the server has taken its place; ompipe refuses it at deploy",
    },
    Argued {
        titles: &["classification"],
        lines: ("1.0", "1.5"),
        says: "no pipelineType autoClassification",
        why: "the type is there since 1.6",
    },
    Argued {
        titles: &["application", "application without settings", "application of 1.3"],
        lines: ("1.0", "1.2"),
        says: "no pipelineType application",
        why: "workers run applications since 1.3",
    },
    // `sourceConfig` is what a user wrote, and ompipe passes it on. A server of these lines refuses the keys that its workers do
    // not know, so that only a file can have them.
    Argued {
        titles: &["application"],
        lines: ("1.3", "1.6"),
        says: "appConfig",
        why: "the application AutoPilot is there since 1.7",
    },
    Argued {
        titles: &["lineage", "lineage, every setting"],
        lines: ("1.0", "1.0"),
        says: "parsingTimeoutLimit",
        why: "the key is there since 1.1",
    },
    Argued {
        titles: &["test suite", "test suite, every setting"],
        lines: ("1.0", "1.0"),
        says: "entityFullyQualifiedName",
        why: "a suite belongs to a table since 1.1",
    },
    Argued {
        titles: &["some tests of a suite"],
        lines: ("1.0", "1.5"),
        says: "testCases",
        why: "the key is there since 1.6",
    },
    Argued {
        titles: &["profiler"],
        lines: ("1.13", NEWEST),
        says: "profileSample",
        why: "profileSampleConfig has taken the key's place in 1.13",
    },
    // What a service of that line has is left out of the recording.
    Argued {
        titles: &["search index"],
        lines: ("1.0", "1.0"),
        says: "does not say where that is",
        why: "the recorded service has no search index; `default search index` has one",
    },
];

fn parsed(line: &str) -> ReleaseLine {
    ReleaseLine::in_text(&format!("{line}.0")).unwrap()
}

/// The pipelines that Airflow's builders were recorded with.
fn recorded() -> Vec<Case> {
    serde_json::from_str(include_str!("../vectors/builders.json")).unwrap()
}

/// The server itself, as its default pipelines name it.
fn catalogue() -> Value {
    json!({
        "name": "OpenMetadata", "fullyQualifiedName": "OpenMetadata", "serviceType": "OpenMetadata",
        "connection": { "config": {
            "type": "OpenMetadata", "hostPort": "http://om:8585/api", "authProvider": "openmetadata",
            "securityConfig": { "jwtToken": "made.up.token" },
            "elasticsSearch": { "type": "elasticsearch", "config": {
                "es_host": "elasticsearch", "es_port": 9200, "es_username": "elastic",
                "es_password": "made-up", "scheme": "http",
            } },
        } },
    })
}

/// A pipeline of a type that the recording does not have.
fn further(title: &str, kind: &str, source_config: &Value, service: Value) -> Case {
    let is_catalogue = service["serviceType"] == "OpenMetadata";
    let reference = if is_catalogue { "metadataService" } else { "databaseService" };
    let pipeline = json!({
        "name": title, "pipelineType": kind, "sourceConfig": { "config": source_config },
        "service": { "type": reference, "name": service["name"], "fullyQualifiedName": service["name"] },
    });
    Case { title: title.to_owned(), pipeline, service: Some(service) }
}

fn cases() -> Vec<Case> {
    let shop = || json!({ "name": "shop", "serviceType": "Postgres" });
    let reindex = json!({ "type": "MetadataToElasticSearch", "useSSL": false, "timeout": 30,
        "recreateIndex": true, "batchSize": 100 });
    // The default pipelines have no more than lines from 1.0 on know.
    let of_1_0 = json!({ "type": "MetadataToElasticSearch", "useSSL": false, "timeout": 30 });
    let policies = json!({ "type": "PolicyAgent", "policies": [] });
    let mut cases = recorded();
    cases.extend([
        further(
            "default data insight",
            "dataInsight",
            &json!({ "type": "dataInsight" }),
            catalogue(),
        ),
        further("default search index", "elasticSearchReindex", &of_1_0, catalogue()),
        further("search index, its keys", "elasticSearchReindex", &reindex, catalogue()),
        further("policy agent", "policyAgent", &policies, shop()),
        application_of_1_3(),
    ]);
    cases.extend(every_setting());
    cases
}

/// An application that every line since 1.3 has. The recorded one is newer.
fn application_of_1_3() -> Case {
    let is_recorded = |case: &Case| case.title == "application";
    let mut case = recorded().into_iter().find(is_recorded).unwrap();
    "application of 1.3".clone_into(&mut case.title);
    case.pipeline["sourceConfig"]["config"]["appConfig"] = json!({ "type": "SearchIndexing" });
    case
}

/// Pipelines that ask for everything that only some lines know.
fn every_setting() -> impl Iterator<Item = Case> {
    let plain = recorded().into_iter().filter(|case| {
        ["metadata", "usage", "lineage", "test suite", "dbt, local"].contains(&case.title.as_str())
    });
    plain.map(|mut case| {
        case.title.push_str(", every setting");
        case.pipeline["raiseOnError"] = false.into();
        case.pipeline["enableStreamableLogs"] = true.into();
        case.pipeline["ingestionRunner"] = json!({ "type": "ingestionRunner", "name": "r" });
        case
    })
}

/// The pipeline of a case. One without a server connection gets one with an authority, as at a deploy.
fn pipeline_of(case: &Case) -> IngestionPipeline {
    let pipeline = IngestionPipeline::read(&case.pipeline).unwrap();
    if pipeline.server_connection.is_some() {
        return pipeline;
    }
    let connection = ServerConnection::new("https://om/api", "made.up.token", VerifySsl::Validate);
    pipeline.with_server_connection(connection.with_authority_file("/etc/ca.pem"))
}

/// What ompipe makes of a case for a worker of that line, or says about it.
fn generated(line: Option<ReleaseLine>, case: &Case) -> Result<Value, String> {
    let pipeline = pipeline_of(case);
    let service = case.service.as_ref().map(|service| Service::read(service).unwrap());
    let config = WorkflowConfig::build_for(line, &pipeline, service.as_ref());
    let config = config.map_err(|error| error.to_string())?;
    Ok(yaml::parse(config.text().expose_secret()).unwrap())
}

/// What the models of a line say about each config, by its title; nothing where they accept it.
fn refused(line: &str, items: &[Value]) -> BTreeMap<String, String> {
    let python = built(&format!("models/{line}/bin/python"));
    assert!(python.exists(), "{} is missing: run tests/models/build", python.display());
    let mut command = Command::new(python);
    command.arg(repository("tests/models/check.py"));
    command.env("PYTHONPATH", repository("images/ingestion"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut check = command.spawn().unwrap();
    check.stdin.take().unwrap().write_all(json!(items).to_string().as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "check.py of {line}: {}", output.status);
    let said: BTreeMap<String, Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said.len(), items.len(), "an answer about each");
    let refused = said.into_iter().filter(|(_, problems)| !problems.is_empty());
    refused.map(|(title, problems)| (title, problems.join("; "))).collect()
}

fn item(case: &Case, config: &Value) -> Value {
    json!({ "title": case.title, "pipelineType": case.pipeline["pipelineType"], "config": config })
}

/// The item with a key in its source that no line knows, so that a check that accepts everything is found.
fn with_a_key_of_none(item: &Value) -> Value {
    let mut item = item.clone();
    item["title"] = KEY_OF_NONE.into();
    item["config"]["source"][KEY_OF_NONE] = 1.into();
    item
}

#[rstest]
#[case::of_1_0("1.0")]
#[case::of_1_1("1.1")]
#[case::of_1_2("1.2")]
#[case::of_1_3("1.3")]
#[case::of_1_4("1.4")]
#[case::of_1_6("1.6")]
#[case::of_1_7("1.7")]
#[case::of_1_9("1.9")]
#[case::of_1_10("1.10")]
#[case::of_1_11("1.11")]
#[case::of_1_12("1.12")]
#[case::of_1_13("1.13")]
#[case::of_2_0("2.0")]
fn a_line_accepts_every_config_but_for_what_is_argued(#[case] line: &str) {
    let (mut items, mut against) = (Vec::new(), BTreeMap::new());
    for case in cases() {
        match generated(Some(parsed(line)), &case) {
            Ok(config) => items.push(item(&case, &config)),
            Err(error) => drop(against.insert(case.title.clone(), error)),
        }
    }
    items.push(with_a_key_of_none(&items[0]));
    against.extend(refused(line, &items));
    let said = against.remove(KEY_OF_NONE).unwrap_or_default();
    assert!(said.contains(KEY_OF_NONE), "{line} accepts a key of no model: {said:?}");
    let is_of_line = |argued: &&Argued| {
        let (first, last) = argued.lines;
        (parsed(first)..=parsed(last)).contains(&parsed(line))
    };
    for argued in ARGUED.iter().filter(is_of_line) {
        for title in argued.titles {
            let said = against.remove(*title).unwrap_or_default();
            assert!(said.contains(argued.says), "{line}: {title}: {said:?}; {}", argued.why);
        }
    }
    assert!(against.is_empty(), "{line} refuses: {against:#?}");
}

/// Without the line, a config has every key that was asked for: the line before a key's first refuses it
/// for that key, and the first accepts it.
#[rstest]
#[case::raise_on_error("raiseOnError", json!(false), ["1.6", "1.7"])]
#[case::streamable_logs("enableStreamableLogs", json!(true), ["1.9", "1.10"])]
#[case::runner("ingestionRunner", json!({ "type": "ingestionRunner", "name": "r" }), ["1.11", "1.12"])]
fn a_key_is_known_since_the_line_that_we_say(
    #[case] key: &str,
    #[case] value: Value,
    #[case] lines: [&str; 2],
) {
    let [before, since] = lines;
    let mut case = recorded().swap_remove(0);
    case.pipeline[key] = value;
    let with_key = [item(&case, &generated(None, &case).unwrap())];
    let said = refused(before, &with_key);
    assert!(said[&case.title].contains(key), "{before}: {said:?}");
    assert_eq!(refused(since, &with_key), BTreeMap::new(), "{since}");
    assert_ne!(generated(Some(parsed(before)), &case), generated(None, &case));
    assert_eq!(generated(Some(parsed(since)), &case), generated(None, &case));
}

fn lines() -> impl Iterator<Item = &'static str> {
    let rows = LINES.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_whitespace().next().unwrap())
}

/// A deploy asks the server for its line only where the config depends on it.
#[test]
fn a_config_that_differs_between_lines_depends_on_the_line() {
    for case in cases() {
        let configs: Vec<_> = lines().map(|line| generated(Some(parsed(line)), &case)).collect();
        if configs.iter().any(|config| *config != configs[0]) {
            assert!(WorkflowConfig::depends_on_line(&pipeline_of(&case)), "{}", case.title);
        }
    }
}

#[test]
fn every_type_is_tried_and_every_line_has_a_test() {
    let cases = cases();
    for kind in PipelineType::ALL {
        let of_kind = |case: &Case| case.pipeline["pipelineType"] == kind.as_str();
        assert!(cases.iter().any(of_kind), "{kind}");
    }
    let source = include_str!("worker_lines.rs");
    for line in lines() {
        assert!(source.contains(&format!("#[case::of_{}(\"{line}\")]", line.replace('.', "_"))));
    }
}
