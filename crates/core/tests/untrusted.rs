//! What anybody may send is read without a panic, in bounded time, and says no secret in its errors: names,
//! pipelines, YAML, schedules, configs, logs. `make test` runs a short corpus; the nightly workflow gives it
//! ten minutes (`PROPTEST_CASES`).
#![expect(clippy::unwrap_used, reason = "a broken set-up should fail the test at once")]

use std::sync::LazyLock;

use jiff::Timestamp;
use ompipe_core::kubernetes::{EnvName, LabelValue, Namespace, ObjectName};
use ompipe_core::logs::LogPager;
use ompipe_core::report::Recipient;
use ompipe_core::{
    ConfigOverrides, IngestionPipeline, Quantity, RunId, Schedule, Service, Slug, Zone, printable,
    redaction, yaml,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-of-the-corpus";

static PIPELINE: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "id": "6c9ef1a3-8bbb-4bb0-a7bb-8b9a0d0dc8a4", "name": "nightly",
        "fullyQualifiedName": "shop.nightly", "pipelineType": "metadata",
        "service": { "id": "0b1a3e6c-5f0e-4f9e-9c57-5a3b3c1f2d4e", "name": "shop", "type": "databaseService" },
        "sourceConfig": { "config": { "type": "DatabaseMetadata", "includes": ["a", 1, null] } },
        "airflowConfig": { "scheduleInterval": "0 2 * * *", "retries": 2, "startDate": 1 },
        "openMetadataServerConnection": {
            "hostPort": "http://om:8585/api", "verifySSL": "no-ssl",
            "securityConfig": { "jwtToken": SECRET },
        },
        "loggerLevel": "INFO", "enabled": true, "deployed": false,
    })
});

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "(https?://|[a-z0-9@:/?#%.]|-----BEGIN |eyJ){0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z_.-]{0,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A pipeline with something else in one of its places.
fn pipeline() -> impl Strategy<Value = Value> {
    let mut pointers = Vec::new();
    collect(&PIPELINE, String::new(), &mut pointers);
    (prop::sample::select(pointers), any_json()).prop_map(|(pointer, value)| {
        let mut pipeline = PIPELINE.clone();
        *pipeline.pointer_mut(&pointer).unwrap() = value;
        pipeline
    })
}

fn collect(value: &Value, path: String, pointers: &mut Vec<String>) {
    if let Some(map) = value.as_object() {
        map.iter().for_each(|(key, value)| collect(value, format!("{path}/{key}"), pointers));
    }
    pointers.push(path);
}

/// Text as people and attackers write it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\n\\t:{}\\[\\],&*!|>'\"%@`#?~a-z0-9_.-]{0,60}",
        "(&a |\\*a|!!binary |<<: |- |\\? |: |\\{|\\}|\\[|\\]|\\n {0,4}|0o17|1e999|yes|~|\"|'|[a-z]){0,40}",
    ]
}

proptest! {
    #[test]
    fn pipelines(document in pipeline()) {
        match IngestionPipeline::read(&document) {
            Ok(pipeline) => {
                let _ = pipeline.notices(Timestamp::UNIX_EPOCH);
                let again = IngestionPipeline::read(&pipeline.document());
                prop_assert!(again.is_ok(), "what was read is not read again");
            }
            Err(problems) => prop_assert!(!problems.to_string().contains(SECRET)),
        }
        let _ = IngestionPipeline::read_file(&document);
        let shown = redaction::mask(&document).to_string();
        prop_assert!(!shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn entities_and_overrides(document in any_json()) {
        let _ = IngestionPipeline::read(&document);
        let _ = Service::read(&document);
        let _ = ConfigOverrides::read(&document);
        let _ = redaction::mask(&document);
    }

    #[test]
    fn documents_of_yaml(text in text()) {
        let _ = yaml::parse(&text);
        let _ = yaml::parse_all(&text);
        let _ = yaml::parse_leniently(&text);
        let _ = Recipient::read(&text);
    }

    #[test]
    fn what_yaml_writes_it_reads(document in any_json()) {
        if let Ok(written) = yaml::render(&document) {
            let read = yaml::parse(&written);
            // A document that is a map is what ompipe writes; other ones need not be read.
            if document.is_object() {
                prop_assert!(read.is_ok(), "{written}");
            }
        }
    }

    #[test]
    fn schedules(text in prop_oneof![
        any::<String>(), "[0-9*/,LW#?A-Z@ -]{0,30}", "@[a-z]{0,8}",
        "([0-9]{1,3}|\\*)(/[0-9]{1,4})?( ([0-9]{1,4}|\\*|[0-9]-[0-9])){0,6}",
    ]) {
        if let Ok(schedule) = Schedule::new(&text, Zone::UTC) {
            let next = schedule.next_after(Timestamp::UNIX_EPOCH);
            prop_assert!(next.is_none_or(|next| next > Timestamp::UNIX_EPOCH));
        }
    }

    #[test]
    fn names(name in any::<String>(), fqn in any::<String>()) {
        for slug in Slug::candidates(&name, &fqn) {
            let run: RunId = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
            for made in [slug.secret(), slug.cron_job(), slug.cron_om_job(), slug.job(run), slug.om_job(run)] {
                prop_assert!(made.parse::<ObjectName>().is_ok(), "{made:?} of {name:?}");
            }
        }
        let _ = (name.parse::<Namespace>(), name.parse::<EnvName>(), name.parse::<Quantity>());
        prop_assert!(LabelValue::sanitised(&name).as_str().len() <= 63);
        prop_assert!(!printable::line(&name).chars().any(printable::is_active));
    }

    #[test]
    fn logs(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), index in 0usize..3) {
        let mut pager = LogPager::new(index);
        for piece in &pieces {
            pager.push(piece);
        }
        if let Ok(page) = pager.finish() {
            prop_assert!(page.text.len() <= 983_040);
        }
    }
}
