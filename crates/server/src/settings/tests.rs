use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{BasePath, ServeArgs, Settings};

fn document() -> Value {
    json!({ "server": { "credentials": { "file": "/c" } } })
}

fn read(section: &Value) -> Result<Settings, Vec<String>> {
    let read = Settings::read(&json!({ "server": section }), &ServeArgs::default());
    read.map_err(|problems| problems.list.iter().map(ToString::to_string).collect())
}

#[test]
fn only_the_credentials_have_no_default() {
    let settings = Settings::read(&document(), &ServeArgs::default()).unwrap();
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.health_listen.to_string(), "0.0.0.0:8081");
    assert_eq!(settings.base_path, BasePath::default());
    assert_eq!((settings.tls, settings.open_metadata_version), (None, None));
    assert_eq!(settings.limits.connections, 1024);
    assert_eq!(settings.limits.header_timeout, Duration::from_secs(30));
    assert_eq!(settings.shutdown.drain, Duration::from_secs(5));
    let missing = Settings::read(&Value::Null, &ServeArgs::default()).unwrap_err();
    assert!(missing.to_string().contains("server.credentials: is missing"), "{missing}");
}

#[test]
fn arguments_stand_above_the_file() {
    let args = ServeArgs {
        listen: Some("127.0.0.1:9".to_owned()),
        credentials_file: Some("/other".to_owned()),
        tls_certificate_file: Some("/cert".to_owned()),
        tls_private_key_file: Some("/key".to_owned()),
        base_path: Some(" ".to_owned()),
        ..ServeArgs::default()
    };
    let mut document = document();
    document["server"]["basePath"] = json!("/kept");
    let settings = Settings::read(&document, &args).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:9");
    assert_eq!(settings.credentials_file.to_str(), Some("/other"));
    assert_eq!(settings.tls.unwrap().private_key.to_str(), Some("/key"));
    assert_eq!(settings.base_path.to_string(), "/kept");
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = read(&json!({
        "listen": "somewhere",
        "basePath": "no slash",
        "tls": { "certificateFile": "/cert" },
        "openMetadataVersion": "latest",
        "limits": { "requests": 0, "headerTimeoutSeconds": 0, "conections": 3 },
        "shutdown": { "drainSeconds": 601 },
        "logFormat": "xml",
        "listn": 1,
    }))
    .unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| p.split([' ', ':']).next().unwrap()).collect();
    let expected = [
        "server.listen",
        "server.credentials",
        "server.basePath",
        "server.tls.privateKeyFile",
        "server.openMetadataVersion",
        "server.limits.requests",
        "server.limits.headerTimeoutSeconds",
        "server.limits.conections",
        "server.shutdown.drainSeconds",
        "server.logFormat",
        "server.listn",
    ];
    assert_eq!(fields, expected, "{problems:#?}");
}

#[test]
fn one_address_cannot_serve_both() {
    let section = json!({ "listen": "[::]:8081", "healthListen": "[::]:8081",
        "credentials": { "file": "/c" } });
    assert!(read(&section).unwrap_err()[0].contains("must differ from listen"));
}

#[rstest]
#[case("", Some(""))]
#[case("/", Some(""))]
#[case("/a/b-c/", Some("/a/b-c"))]
#[case("a", None)]
#[case("/a//b", None)]
#[case("/a/../b", None)]
#[case("/a?b", None)]
fn base_paths(#[case] text: &str, #[case] expected: Option<&str>) {
    let read = text.parse::<BasePath>().ok().map(|path| path.to_string());
    assert_eq!(read.as_deref(), expected);
}

#[rstest]
#[case("/ompipe/x", Some("/x"))]
#[case("/ompipe/", Some("/"))]
#[case("/ompipe", Some("/"))]
#[case("/ompipes/x", None)]
#[case("/x", None)]
fn what_is_below_a_base_path(#[case] path: &str, #[case] expected: Option<&str>) {
    let base: BasePath = "/ompipe".parse().unwrap();
    assert_eq!(base.strip(path), expected);
    assert_eq!(BasePath::default().strip(path), Some(path));
}
