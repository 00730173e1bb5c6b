//! `ompipe exit-handler`: the same as the small program `ompipe-exit report`.

use crate::failure::{Exit, Failure};
use crate::output;

pub(crate) async fn execute() -> Result<Exit, Failure> {
    match ompipe_exit_handler::report(|name| std::env::var(name).ok()).await {
        Ok(done) => output::note(done),
        Err(error) => {
            ompipe_exit_handler::leave_message(&error.to_string());
            return Err(error.into());
        }
    }
    Ok(Exit::Success)
}
