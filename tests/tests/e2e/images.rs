//! The images that are delivered: small, without a shell, and not of root.

use std::process::Command;

use ompipe_tests::helm::built;
use rstest::rstest;
use serde_json::Value;

/// A file inside an archive.
fn read(archive: &str, file: &str) -> Vec<u8> {
    let output =
        Command::new("tar").args(["--extract", "--to-stdout", "--file", archive, file]).output();
    output.unwrap().stdout
}

fn blob(archive: &str, digest: &Value) -> Value {
    let path = digest.as_str().unwrap().replace(':', "/");
    serde_json::from_slice(&read(archive, &format!("blobs/{path}"))).unwrap()
}

#[rstest]
// The tests' program is not optimised for size, unlike the one of a release.
#[case::ompipe("ompipe", "/ompipe", 30)]
#[case::exit_handler("exit-handler", "/ompipe-exit", 6)]
fn an_image_is_small_and_runs_as_nobody(
    #[case] name: &str,
    #[case] program: &str,
    #[case] megabytes: u64,
) {
    let archive = built(&format!("images/{name}.tar")).display().to_string();
    let size = std::fs::metadata(&archive).unwrap().len();
    assert!(size <= megabytes * 1_000_000, "{archive}: {size} bytes");
    let index: Value = serde_json::from_slice(&read(&archive, "index.json")).unwrap();
    let manifest = blob(&archive, &index["manifests"][0]["digest"]);
    let config = &blob(&archive, &manifest["config"]["digest"])["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!([program]));
    assert_eq!(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
}
