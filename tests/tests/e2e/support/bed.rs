//! The cluster and images that `tests/on-cluster` made.

use std::env;
use std::net::IpAddr;
use std::sync::OnceLock;

use ompipe_tests::postgres::{Postgres, SAMPLE_DATABASE, SAMPLE_ROLE};
use ompipe_tests::standin::PostgresConnection;
use tempfile::TempDir;

/// Password of the sample database's role: in every test the same, in no test printed.
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// Where the tests run.
#[derive(Debug)]
pub(crate) struct Bed {
    /// The kubeconfig of an admin.
    pub(crate) kubeconfig: String,
    /// The address under which pods reach this machine.
    pub(crate) host: IpAddr,
    /// The program under test.
    pub(crate) ompipe: String,
    /// The real ingestion framework.
    pub(crate) ingestion_image: String,
    /// A worker that does as `WORKER_MAIN` says.
    pub(crate) worker_image: String,
    /// The program under test, as an image.
    pub(crate) ompipe_image: String,
    postgres: OnceLock<(Postgres, TempDir)>,
}

/// The one bed of this process.
pub(crate) fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed {
        kubeconfig: variable("KUBECONFIG"),
        host: variable("OMPIPE_TEST_HOST").parse().unwrap(),
        ompipe: variable("OMPIPE_TEST_BINARY"),
        ingestion_image: variable("OMPIPE_TEST_INGESTION_IMAGE"),
        worker_image: variable("OMPIPE_TEST_WORKER_IMAGE"),
        ompipe_image: variable("OMPIPE_TEST_IMAGE"),
        postgres: OnceLock::new(),
    })
}

impl Bed {
    /// The exit handler, as an image.
    pub(crate) fn exit_handler_image() -> String {
        variable("OMPIPE_TEST_EXIT_HANDLER_IMAGE")
    }

    /// Access to the sample database, which the first caller starts.
    pub(crate) fn sample(&self) -> PostgresConnection {
        let (postgres, _) = self.postgres.get_or_init(|| self.start_postgres());
        PostgresConnection {
            host_port: postgres.address().to_string(),
            database: SAMPLE_DATABASE.to_owned(),
            username: SAMPLE_ROLE.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    fn start_postgres(&self) -> (Postgres, TempDir) {
        let dir = TempDir::new().unwrap();
        let postgres = Postgres::start(dir.path(), &[self.host]).unwrap();
        postgres.load_sample(PASSWORD).unwrap();
        (postgres, dir)
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run these tests with `make test`, or `tests/on-cluster cargo test`"
        )
    })
}
