//! The orderly end of what runs for long: the signals that ask for it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
