//! Futures that are polled when something of their own moves. `tokio::join!`, `tokio::select!` and
//! kube's `applier` poll all that they hold whenever one thing moves, and what they hold here are
//! watches and requests, down to their TLS.

use std::any::Any;

use futures::StreamExt;
use futures::future::{self, BoxFuture};
use futures::stream::FuturesUnordered;
use tokio::task::JoinSet;

use crate::error::Error;

/// Does `work` in a task of its own, which is cancelled when its caller is dropped. A panic in there is
/// an error of that piece of work: one unforeseen object must not stop all the others.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) if error.is_panic() => Err(Error::Panicked(said(&*error.into_panic()))),
        // The runtime shuts down, and this future goes with it.
        Some(Err(_)) | None => future::pending().await,
    }
}

/// The words of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Waits until one of them ends; the others go.
pub(crate) async fn first_of<'f>(all: impl IntoIterator<Item = BoxFuture<'f, ()>>) {
    all.into_iter().collect::<FuturesUnordered<_>>().next().await;
}

/// Waits until all of them have ended.
pub(crate) async fn all_of<'f>(all: impl IntoIterator<Item = BoxFuture<'f, ()>>) {
    all.into_iter().collect::<FuturesUnordered<_>>().collect::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn only_what_moves_is_polled() {
        let (polls, moves) = (AtomicUsize::new(0), Notify::new());
        let still = future::poll_fn(|_| {
            polls.fetch_add(1, Ordering::Relaxed);
            std::task::Poll::<()>::Pending
        });
        let busy = async {
            for _ in 0..10 {
                moves.notify_one();
                moves.notified().await;
                tokio::task::yield_now().await;
            }
        };
        first_of([still.boxed(), busy.boxed()]).await;
        assert_eq!(polls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_work_alone() {
        for text in ["no", "never"] {
            let result: Result<(), Error> = apart(async move { panic!("{text}") }).await;
            assert!(matches!(result, Err(Error::Panicked(said)) if said == text));
        }
        assert_eq!(apart(async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn all_are_waited_for() {
        let done = AtomicUsize::new(0);
        let some = || async {
            tokio::task::yield_now().await;
            done.fetch_add(1, Ordering::Relaxed);
        };
        all_of([some().boxed(), some().boxed()]).await;
        assert_eq!(done.load(Ordering::Relaxed), 2);
    }
}
