//! Random faults over many runs at once. What happens is drawn from a seed, which a failure tells:
//!
//! ```text
//! make chaos SEED=42 MINUTES=10
//! ```

mod disturb;
mod play;

use std::env;
use std::time::Duration;

use ompipe_tests::chaos::{Account, Plan, Violation, judge};
use tokio::time::Instant;

use play::Play;

/// Where everybody begins who names no seed.
const SEED: u64 = 20_261_126;
const RUNS: u64 = 50;
const EVENTS: u64 = 40;
/// Time in which all that happens happens.
const LENGTH: Duration = Duration::from_secs(20);

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text:?}: must be a number")))
}

/// What is wrong after a plan was played, one line for each run.
fn complaints(plan: &Plan, accounts: &[Account]) -> Vec<String> {
    let told = |(number, account): (usize, &Account)| {
        let wrong: Vec<_> = judge(account).iter().map(Violation::to_string).collect();
        let (run, touched) = (&plan.runs[number], &account.touched);
        let line = format!("run {number} {run:?}, touched {touched:?}: {}", wrong.join("; "));
        (!wrong.is_empty()).then_some(line)
    };
    accounts.iter().enumerate().filter_map(told).collect()
}

async fn play(plan: &Plan) -> Vec<String> {
    let play = Play::begin(plan, &[]).await;
    play.disturb().await;
    complaints(plan, &play.end().await)
}

/// One round, or as many as fit into `OMPIPE_CHAOS_MINUTES`, each from the next seed.
#[tokio::test]
async fn one_true_end_each_whatever_happens() {
    let first = variable("OMPIPE_CHAOS_SEED").unwrap_or(SEED);
    let minutes = variable("OMPIPE_CHAOS_MINUTES").unwrap_or(0);
    let end = Instant::now() + Duration::from_mins(minutes);
    for seed in first.. {
        let plan = Plan::draw(seed, RUNS, EVENTS, LENGTH);
        let begin = Instant::now();
        let wrong = play(&plan).await;
        assert!(wrong.is_empty(), "seed {seed}, again with `make chaos SEED={seed}`: {wrong:#?}");
        eprintln!("chaos: seed {seed}: {RUNS} runs, {EVENTS} events, {:?}", begin.elapsed());
        if Instant::now() >= end {
            break;
        }
    }
}

/// That this test can fail: an operator that reports no Jobs is found out.
#[tokio::test]
async fn an_operator_that_does_not_report_is_found_out() {
    let plan = Plan::draw(SEED, 8, 0, Duration::from_secs(2));
    let play = Play::begin(&plan, &[("REPORT_JOBS", "false")]).await;
    let accounts = play.end().await;
    let found: Vec<_> = accounts.iter().flat_map(judge).collect();
    let open = |violation: &Violation| matches!(violation, Violation::NoEnd(_));
    assert!(!found.is_empty() && found.iter().all(open), "{found:?}");
}
