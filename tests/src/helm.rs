//! The real helm, with the chart of this repository.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

/// Longest time that helm waits for pods, hooks and deletions.
const PATIENCE: &str = "4m";

/// One release: its name, its namespace, and the cluster that it is in.
#[derive(Clone, Debug)]
pub struct Release {
    name: String,
    namespace: String,
    kubeconfig: Option<String>,
    chart: String,
}

impl Release {
    /// A release that is only rendered: no cluster is asked.
    #[must_use]
    pub fn rendered(name: &str, namespace: &str) -> Self {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Self { name, namespace, kubeconfig: None, chart: repository("charts/ompipe") }
    }

    /// A release in a cluster.
    #[must_use]
    pub fn of_cluster(name: &str, namespace: &str, kubeconfig: &str) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..Self::rendered(name, namespace) }
    }

    /// The same of another chart.
    #[must_use]
    pub fn of_chart(self, chart: &str) -> Self {
        Self { chart: chart.to_owned(), ..self }
    }

    /// What `helm template` prints, with further arguments such as `--kube-version`.
    ///
    /// # Errors
    /// What helm says about values that it refuses.
    pub fn template(&self, values: &Value, more: &[&str]) -> Result<String> {
        let args = ["template", &self.name, &self.chart, "--values", "-"];
        self.helm(&[&args[..], more].concat(), values)
    }

    /// What `helm install` prints: the notes.
    ///
    /// # Errors
    /// What helm says.
    pub fn install(&self, values: &Value) -> Result<String> {
        self.change("install", values)
    }

    /// Changes the release to these values.
    ///
    /// # Errors
    /// What helm says.
    pub fn upgrade(&self, values: &Value) -> Result<String> {
        self.change("upgrade", values)
    }

    fn change(&self, verb: &str, values: &Value) -> Result<String> {
        let wait = ["--wait", "--timeout", PATIENCE];
        self.helm(&[&[verb, &self.name, &self.chart, "--values", "-"], &wait[..]].concat(), values)
    }

    /// The notes alone, without a cluster.
    ///
    /// # Errors
    /// What helm says.
    pub fn notes(&self, values: &Value) -> Result<String> {
        let dry = ["--dry-run=client", "--values", "-"];
        let said =
            self.helm(&[&["install", &self.name, &self.chart], &dry[..]].concat(), values)?;
        let (_, notes) = said.split_once("NOTES:\n").context("there are no notes")?;
        Ok(notes.to_owned())
    }

    /// The notes of an installation that the cluster would take.
    ///
    /// # Errors
    /// What helm says.
    pub fn notes_of_cluster(&self, values: &Value) -> Result<String> {
        let dry = ["--dry-run=server", "--values", "-"];
        self.helm(&[&["install", &self.name, &self.chart], &dry[..]].concat(), values)
    }

    /// Goes back to the revision before.
    ///
    /// # Errors
    /// What helm says.
    pub fn roll_back(&self) -> Result<String> {
        self.helm(&["rollback", &self.name, "--wait", "--timeout", PATIENCE], &Value::Null)
    }

    /// Runs the tests of the release, and returns their log.
    ///
    /// # Errors
    /// What helm says.
    pub fn test(&self) -> Result<String> {
        self.helm(&["test", &self.name, "--logs", "--timeout", PATIENCE], &Value::Null)
    }

    /// Deletes the release.
    ///
    /// # Errors
    /// What helm says.
    pub fn uninstall(&self) -> Result<String> {
        self.helm(&["uninstall", &self.name, "--wait", "--timeout", PATIENCE], &Value::Null)
    }

    fn helm(&self, args: &[&str], values: &Value) -> Result<String> {
        let mut command = Command::new(program());
        command.args(args).args(["--namespace", &self.namespace]);
        command.env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or("/dev/null"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} is not there", program()))?;
        let stdin = child.stdin.take().context("helm has no input")?;
        // What does not read its input does not need it.
        drop((&stdin).write_all(values.to_string().as_bytes()));
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        let (said, failed) = (String::from_utf8(stdout)?, String::from_utf8_lossy(&stderr));
        if status.success() { Ok(said) } else { Err(anyhow!("{said}{failed}")) }
    }
}

/// The documents of a stream of YAML, without empty ones.
pub fn documents(stream: &str) -> impl Iterator<Item = &str> {
    let documents = stream.split("\n---\n").map(|text| text.trim_start_matches("---\n"));
    documents.filter(|text| text.lines().any(|line| !line.is_empty() && !line.starts_with('#')))
}

/// A path in this repository.
#[must_use]
pub fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).display().to_string()
}

/// A path in the build directory, which is `.build` in this repository unless `OMPIPE_BUILD` names another one.
#[must_use]
pub fn built(path: &str) -> PathBuf {
    let build = std::env::var("OMPIPE_BUILD").unwrap_or_else(|_| repository(".build"));
    Path::new(&build).join(path)
}

fn program() -> String {
    std::env::var("OMPIPE_TEST_HELM").unwrap_or_else(|_| repository(".build/bin/helm"))
}
