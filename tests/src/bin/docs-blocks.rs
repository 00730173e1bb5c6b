//! Prints how many blocks of commands of the documents the tests have executed, and why others were not.
#![expect(clippy::print_stdout, reason = "the counts are its result")]

use std::process::ExitCode;

use clap::Parser;
use ompipe_tests::docs::{Count, Executed};

/// Counts the blocks of commands of README.md and docs/*.md after a run of the tests `docs::`, which leave
/// in .build/docs-blocks what they executed. Fails when a block was not executed and gives no reason.
#[derive(Debug, Parser)]
struct Arguments {}

fn main() -> anyhow::Result<ExitCode> {
    Arguments::parse();
    let counts = Count::all(&Executed::default())?;
    for count in &counts {
        println!("{count}");
    }
    let sum = |number: fn(&Count) -> usize| counts.iter().map(number).sum::<usize>();
    let (run, excluded) = (sum(|count| count.run), sum(|count| count.excluded.len()));
    let silent = sum(|count| count.silent.len());
    println!(
        "\ndocuments: {run} blocks were run, {excluded} were not and say why, {silent} say nothing"
    );
    Ok(if silent == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
