//! The definitions in `crds/`, for `kubectl apply` without the program, are those of the program.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

#[test]
fn the_committed_definitions_are_what_the_program_prints() {
    let output = Command::cargo_bin("ompipe").unwrap().arg("crds").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
    let committed = ["omjobs.yaml", "cronomjobs.yaml"].map(read).concat();
    assert!(printed == committed, "crds/ is not what `ompipe crds` prints: run `make crds`");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "one file for each definition");
}
