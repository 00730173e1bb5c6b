//! What follows a reconcile that failed, the same for every controller.

use kube::Resource;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::error::Error;
use crate::events::{Events, Kind, Note};
use crate::queue::Failures;

/// Says why the reconcile of `object` failed, and when to try again. What a user can act on, an error
/// of the API server, becomes an event of the object too.
pub(crate) fn after_failure<K: Resource<DynamicType = ()>>(
    object: &K,
    error: &Error,
    failures: &Failures<ObjectRef<K>>,
    events: &Events,
) -> Action {
    let key = ObjectRef::from_obj(object);
    match error {
        Error::NotLeading => {
            // The leader goes on with it. Should this replica lead again, it starts without a wait.
            failures.clear(&key);
            return Action::await_change();
        }
        Error::Conflict(_) => tracing::debug!(object = %key, %error, "will retry"),
        Error::Panicked(_) => {
            tracing::error!(object = %key, %error, "this is a defect of the operator; will retry");
        }
        Error::Api { .. } => {
            tracing::warn!(object = %key, %error, "will retry");
            events
                .tell(object, &Note::new(Kind::Warning, "ReconciliationError", error.to_string()));
        }
    }
    Action::requeue(failures.add(key))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::{Request, Response};
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::Client;
    use kube::client::Body;
    use rstest::rstest;
    use tower::service_fn;

    use super::*;

    fn api_error() -> Error {
        Error::api("write a status")(kube::Error::LinesCodecMaxLineLengthExceeded)
    }

    type Counts = Failures<ObjectRef<Job>>;

    fn job() -> Job {
        let metadata = ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() };
        Job { metadata, ..Job::default() }
    }

    fn twice_failed() -> Counts {
        let counts = Failures::new(Duration::from_secs(30));
        counts.add(ObjectRef::from_obj(&job()));
        counts.add(ObjectRef::from_obj(&job()));
        counts
    }

    /// What follows a failure of the Job, and how many events the API server gets.
    async fn after(error: &Error, counts: &Counts) -> (Action, usize) {
        let requests = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&requests);
        let service = service_fn(move |_: Request<Body>| {
            *seen.lock().unwrap() += 1;
            let created = Response::builder().status(201).body(Body::from(b"{}".to_vec()));
            std::future::ready(created)
        });
        let (events, write) = Events::new(Client::new(service, "default"));
        let action = after_failure(&job(), error, counts, &events);
        drop(events);
        write.await;
        let written = *requests.lock().unwrap();
        (action, written)
    }

    #[rstest]
    #[case::conflict(Error::Conflict("the Job a".to_owned()), 0)]
    #[case::panic(Error::Panicked("a test".to_owned()), 0)]
    #[case::api(api_error(), 1)]
    #[tokio::test]
    async fn failures_are_counted_and_api_errors_become_events(
        #[case] error: Error,
        #[case] events: usize,
    ) {
        let expected = (Action::requeue(Duration::from_secs(1)), events);
        assert_eq!(after(&error, &twice_failed()).await, expected);
    }

    #[tokio::test]
    async fn a_lost_lease_is_not_counted_and_clears_the_count() {
        let counts = twice_failed();
        assert_eq!(after(&Error::NotLeading, &counts).await, (Action::await_change(), 0));
        let next = counts.add(ObjectRef::from_obj(&job()));
        assert_eq!(next, Duration::from_millis(250));
    }
}
