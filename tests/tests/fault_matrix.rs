//! The fault matrix as it is kept in the documents: every cell that is promised is there, and every
//! test that it names exists.
#![expect(clippy::panic, reason = "a broken page fails the test at once")]

use std::fs;
use std::path::Path;

use ompipe_tests::matrix::{Mode, ROWS};

const PAGE: &str = include_str!("../../docs/fault-matrix.md");

fn cells(name: &str) -> Vec<&'static str> {
    let start = format!("| **{name}** | ");
    let line = PAGE.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("docs/fault-matrix.md has no row {name:?}"));
    line.trim_end_matches(" |").split(" | ").collect()
}

/// What a test found begins with a state, or with that there is none.
fn is_found(cell: &str) -> bool {
    cell.starts_with("**no end**") || !cell.starts_with('*')
}

#[test]
fn no_documented_cell_disappears() {
    for row in ROWS {
        let cells = cells(row.name);
        assert_eq!(cells.len(), Mode::ALL.len() + 1, "{}: {cells:?}", row.name);
        for (mode, cell) in Mode::ALL.into_iter().zip(cells) {
            match row.untried(mode) {
                Some(why) => assert_eq!(cell, why.to_string(), "{}", row.name),
                None => assert!(!cell.is_empty() && is_found(cell), "{}: {cell}", row.name),
            }
        }
    }
}

#[test]
fn no_row_is_on_the_page_alone() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| **")).count();
    assert_eq!(rows, ROWS.len());
}

/// `matrix::ends::a_worker_that_ends` is a function of `e2e/matrix/ends.rs`.
#[test]
fn every_test_that_is_named_exists() {
    for row in ROWS {
        let cells = cells(row.name);
        let tests = cells.last().unwrap().split(", ").map(|test| test.trim_matches('`'));
        for test in tests {
            let (module, function) = test.rsplit_once("::").unwrap();
            let file = Path::new("tests/e2e").join(module.replace("::", "/")).with_extension("rs");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(&format!("async fn {function}(")), "{test}: none in {file:?}");
        }
    }
}
