//! What commands that run until they are told to end have in common: their log, their threads, the
//! signals that ask for the end.

use std::io::{self, IsTerminal};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Logs to stderr, as the other commands do; the kubelet reads both.
pub(super) fn start_log(filter: &str, as_json: bool) {
    // The libraries' spans and failed calls repeat what our lines say, and cost a tenth of the time.
    let filter = format!(
        "kube_runtime=warn,kube_client::client::builder=off,rustls_platform_verifier=off,{filter}"
    );
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    if as_json {
        log.json().flatten_event(true).with_span_list(false).init();
    } else {
        log.init();
    }
}

/// Stack of each thread, in bytes. A deploy in a debug build needs between 1 and 2 MiB of it, and a thread gets 2 MiB by
/// default. Only what is used takes memory.
const STACK: usize = 8 << 20;

/// Does `work` with so many threads. One is this one: then nothing has to be handed from thread to
/// thread, which costs more than what most requests ask for.
pub(super) fn block_on(
    threads: usize,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).thread_stack_size(STACK).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

/// Does `work` to its end; a signal cancels the token that it gets.
///
/// # Errors
/// Signals cannot be listened for.
pub(super) async fn until_told<T, W>(work: impl FnOnce(CancellationToken) -> W) -> io::Result<T>
where
    W: Future<Output = T>,
{
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let work = async {
        let _ended = shutdown.clone().drop_guard();
        work(shutdown.clone()).await
    };
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
            () = shutdown.cancelled() => {}
        }
        shutdown.cancel();
    };
    let (done, ()) = tokio::join!(work, signals);
    Ok(done)
}
