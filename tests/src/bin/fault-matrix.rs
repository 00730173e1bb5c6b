//! Makes `docs/fault-matrix.md` of what the tests found, or compares the two.
#![expect(clippy::print_stderr, reason = "says what is missing to the person who called it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ompipe_tests::matrix::{Found, Page, disagreements};

/// Writes the fault matrix from what the last run of the tests left in .build/matrix.
#[derive(Debug, Parser)]
struct Arguments {
    /// Writes nothing; fails when the page tells another state or reason than the tests found.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let found = Found::all(&Found::directory())?;
    let wrong = match Page::of(&found) {
        Err(wrong) => wrong.iter().map(ToString::to_string).collect(),
        Ok(page) if arguments.check => against(&page_file(), &page, &found)?,
        Ok(page) => write(&page_file(), &page)?,
    };
    for line in &wrong {
        eprintln!("fault-matrix: {line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn page_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fault-matrix.md")
}

fn write(file: &Path, page: &Page<'_>) -> anyhow::Result<Vec<String>> {
    std::fs::write(file, page.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(Vec::new())
}

/// The page as it is kept has to tell what was found just now.
fn against(file: &Path, _page: &Page<'_>, found: &[Found]) -> anyhow::Result<Vec<String>> {
    let kept = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(disagreements(&kept, found))
}
