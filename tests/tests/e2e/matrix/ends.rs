//! The worker's process ends by itself.

use std::path::Path;

use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::{Failed, PartialSuccess, Success};
use rstest::rstest;
use serde_json::json;

use super::run::{Plan, Truth};
use crate::support::bed;

const TOO_MUCH: &str = "tail /dev/zero";
const KILLS_ITSELF: &str = "kill -9 $$";

/// SIGKILL spares the first process of a container, which without a supervisor is the worker.
fn in_mode(worker: &'static str, mode: Mode) -> &'static str {
    match worker {
        // Kubernetes makes one dollar of two in a command.
        KILLS_ITSELF if mode == Mode::Hook => "sh -c 'kill -9 $$$$'; exit $?",
        KILLS_ITSELF if !mode.has_supervisor() => "sh -c 'kill -9 $$'; exit $?",
        other => other,
    }
}

/// What the shell around a plain Job's worker reports. It sees a signal where memory runs out; with
/// version 2 of control groups the kernel ends the shell too.
fn by_wrapper(worker: &str, truth: Truth) -> Truth {
    match truth {
        _ if worker == TOO_MUCH && ends_whole_containers() => Truth::Stands,
        Truth::Is(state, _) if worker == TOO_MUCH => Truth::Is(state, "Signal: "),
        other => other,
    }
}

/// Whether the kernel ends all processes of a container that uses too much memory.
fn ends_whole_containers() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[rstest]
#[case::reported("exit 0, success reported", "success", "exit 0", Truth::Stands)]
#[case::not_reported("exit 0, nothing reported", "running", "exit 0", Truth::Is(Success, ""))]
#[case::failed("exit 1", "running", "exit 1", Truth::Is(Failed, "Error: ended with exit code 1"))]
#[case::failed_after_success(
    "success reported, then exit 1",
    "success",
    "exit 1",
    Truth::Is(Failed, "Error: ended with exit code 1 (after the worker had reported success")
)]
#[case::memory_after_success(
    "success reported, then out of memory",
    "success",
    TOO_MUCH,
    Truth::Is(PartialSuccess, "OOMKilled: ")
)]
#[case::partial("partialSuccess reported, then exit 1", "partialSuccess", "exit 1", Truth::Stands)]
#[case::killed_after_partial(
    "partialSuccess reported, then SIGKILL",
    "partialSuccess",
    KILLS_ITSELF,
    Truth::Stands
)]
#[case::killed("SIGKILL inside", "running", KILLS_ITSELF, Truth::Is(Failed, "Signal: "))]
#[case::memory("out of memory", "running", TOO_MUCH, Truth::Is(Failed, "OOMKilled: "))]
#[tokio::test]
async fn a_worker_that_ends(
    #[case] row: &str,
    #[case] says: &str,
    #[case] worker: &'static str,
    #[case] truth: Truth,
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new(row, mode, in_mode(worker, mode)).says(says).begin().await;
    run.ends(if mode == Mode::Hook { by_wrapper(worker, truth) } else { truth }).await;
}

/// The real worker refuses it before it has reported anything.
/// It takes a minute: the ingestion framework needs many seconds of the processor to start.
#[rstest]
#[tokio::test]
async fn a_config_that_cannot_be_read(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let real = json!({
        "ingestionImage": bed().ingestion_image, "podTemplate": {},
        "resources": {
            "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "1Gi" },
        },
    });
    let row = "a config that the real worker cannot read";
    let run = Plan::new(row, mode, "").says("queued").with(&real).prepare().await;
    run.edit_pipeline(|pipeline| pipeline["sourceConfig"]["config"]["noSuchKey"] = 1.into());
    run.start().await;
    let truth = Truth::Is(Failed, "BadConfig: ended with exit code 2");
    run.ends(if mode == Mode::Hook { by_wrapper("", truth) } else { truth }).await;
}
