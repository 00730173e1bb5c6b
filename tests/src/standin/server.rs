//! The server's own thread.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::routes;
use super::shared::Shared;
use crate::connection::{CutSwitch, Listener};

/// How long requests in flight may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until [`Shared::stop`] on a thread and a runtime of its own, so that the server outlives
/// the runtime of the test that started it.
pub(super) fn spawn(listener: TcpListener, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    let listener = {
        let _entered = runtime.enter();
        Listener(tokio::net::TcpListener::from_std(listener)?)
    };
    let thread = thread::Builder::new().name("openmetadata-stand-in".to_owned());
    thread.spawn(move || runtime.block_on(serve(listener, shared)))
}

async fn serve(listener: Listener, shared: Arc<Shared>) {
    let app = routes::router(&shared).into_make_service_with_connect_info::<CutSwitch>();
    let stopped = Arc::clone(&shared);
    let server =
        axum::serve(listener, app).with_graceful_shutdown(async move { stopped.stopped().await });
    tokio::select! {
        // Never fails: accept errors are waited out inside.
        _ = server.into_future() => {}
        () = overdue(&shared) => {}
    }
}

async fn overdue(shared: &Shared) {
    shared.stopped().await;
    tokio::time::sleep(GRACE).await;
}
