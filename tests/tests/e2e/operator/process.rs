//! An operator as a process of its own, which a test may kill at any time.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::support::{Outcome, Scene, bed, eventually};

/// A running operator. It ends with the test at the latest.
pub(crate) struct Operator {
    child: Child,
    port: u16,
    _log: Log,
}

/// What an operator logs: shown by the test that fails, and by no other.
struct Log(NamedTempFile);

impl Drop for Log {
    #[expect(clippy::print_stderr, reason = "the test harness shows what a failed test prints")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would end all tests.
            let text = std::fs::read_to_string(&self.0).unwrap_or_else(|error| error.to_string());
            eprintln!("the operator's log:\n{text}");
        }
    }
}

impl Operator {
    /// Starts an operator for the scene's namespace; variables override.
    pub(crate) fn start(scene: &Scene, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = Self::command(scene, port);
        let log = Log(NamedTempFile::new().unwrap());
        command.envs(variables.iter().copied()).stderr(log.0.reopen().unwrap());
        Self { child: command.spawn().unwrap(), port, _log: log }
    }

    /// Lets go of everything in the scene's namespace.
    pub(crate) async fn drain(scene: &Scene) {
        Self::try_to_drain(scene, &[]).await.good();
    }

    /// The same, with these variables, and what came of it.
    pub(crate) async fn try_to_drain(scene: &Scene, variables: &[(&str, &str)]) -> Outcome {
        let mut command = Self::command(scene, free_port());
        command.arg("--drain").envs(variables.iter().copied()).stderr(Stdio::piped());
        Outcome::of(&command.output().await.unwrap())
    }

    fn command(scene: &Scene, port: u16) -> Command {
        let mut command = Command::new(&bed().ompipe);
        command.env_clear().env("KUBECONFIG", &scene.kubeconfig).kill_on_drop(true);
        command.env("WATCH_NAMESPACES", &scene.namespace);
        command.env("OPERATOR_NAMESPACE", &scene.namespace);
        command.env("HEALTH_CHECK_PORT", port.to_string()).env("METRICS_PORT", port.to_string());
        let level = std::env::var("OMPIPE_TEST_LOG").unwrap_or_else(|_| "info".to_owned());
        command.env("LOG_LEVEL", level).env("LEASE_DURATION_SECONDS", "5");
        command.arg("operator").stdout(Stdio::null());
        command
    }

    /// Ends it as a crash does: it writes nothing any more.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it as Kubernetes does, and waits for it.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        assert!(self.child.wait().await.unwrap().success(), "it did not end well");
    }

    /// Waits until it is ready, as leader or as follower.
    pub(crate) async fn ready(&self, role: &str) {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        eventually("a ready operator", || async {
            let answer = reqwest::get(&url).await.map_err(|error| error.to_string())?;
            let text = answer.text().await.map_err(|error| error.to_string())?;
            let ready = text.contains(r#""ready":true"#) && text.contains(role);
            if ready { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// What it says of its readiness now; nothing while its port is closed.
    async fn readiness(&self) -> String {
        match reqwest::get(format!("http://127.0.0.1:{}/readyz", self.port)).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Whether it is ready and acts.
    pub(crate) async fn leads_and_is_ready(&self) -> bool {
        let text = self.readiness().await;
        text.contains(r#""ready":true"#) && text.contains("leader")
    }

    /// Waits until the API server has refused it a request of that kind.
    pub(crate) async fn refused(&self, verb: &str) {
        let series = format!("ompipe_operator_api_requests_total{{verb=\"{verb}\",code=\"403\"}}");
        eventually("a refusal", || async {
            let answer =
                reqwest::get(self.metrics_url()).await.map_err(|error| error.to_string())?;
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if text.contains(&series) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Where Prometheus finds its metrics.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.port)
    }

    /// The value of one series, 0 where there is none yet.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = reqwest::get(self.metrics_url()).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// A port that no other operator of these tests gets, below those that the system gives away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}
