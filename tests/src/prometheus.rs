//! The real Prometheus with its tools, and Alertmanager's, as Debian's packages have them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a tool such as promtool in a directory with this input; what it prints.
///
/// # Errors
/// It is not installed, or what it complains of.
pub fn tool(program: &str, args: &[&str], directory: &Path, input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child =
        child.with_context(|| format!("no {program}: `setup/packages monitoring` installs it"))?;
    let mut stdin = child.stdin.take().context("its input is not a pipe")?;
    let input = input.to_owned();
    // Both ends at once: a full pipe stops whoever writes.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow!("the input was not written"))??;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{program} {args:?}: {}{}", said(&output.stdout), said(&output.stderr));
    }
    Ok(said(&output.stdout))
}

/// A Prometheus of its own. It ends with the test.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    /// Starts one with what a directory has: `prometheus.yml`, further files, and blocks in `data`.
    ///
    /// # Errors
    /// It is not installed, or does not start; then its log says why.
    pub fn start(directory: &Path) -> Result<Self> {
        let directory = directory.to_owned();
        // Prometheus does not say which port it was given.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(directory.join("log"))?;
        let mut command = Command::new("prometheus");
        command.current_dir(&directory).stdout(Stdio::null()).stderr(log);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        // Recorded samples are of another year.
        command.arg("--storage.tsdb.retention.time=100y");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let child =
            command.spawn().context("no prometheus: `setup/packages monitoring` installs it")?;
        Ok(Self { child, port, directory })
    }

    /// Whether it answers queries by now.
    ///
    /// # Errors
    /// It has ended; what it logged.
    pub fn is_ready(&mut self) -> Result<bool> {
        if self.child.try_wait()?.is_some() {
            bail!("{}", fs::read_to_string(self.directory.join("log"))?);
        }
        let answer = self.get("/-/ready");
        Ok(answer.is_ok_and(|(status, _)| status == 200))
    }

    /// The series that an expression has at a time, in seconds since 1970, or now.
    ///
    /// # Errors
    /// It does not answer, or what is wrong with the expression.
    pub fn query(&self, expression: &str, time: Option<i64>) -> Result<Vec<Value>> {
        let time = time.map(|time| format!("&time={time}")).unwrap_or_default();
        let mut data = self.data(&format!("/api/v1/query?query={}{time}", encoded(expression)))?;
        serde_json::from_value(data["result"].take()).with_context(|| format!("{data}"))
    }

    /// The values of a label of the selected series.
    ///
    /// # Errors
    /// It does not answer, or what is wrong with the selector.
    pub fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>> {
        let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(selector));
        Ok(serde_json::from_value(self.data(&path)?)?)
    }

    /// The alerts that are pending or fire.
    ///
    /// # Errors
    /// It does not answer.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        Ok(serde_json::from_value(self.data("/api/v1/alerts")?["alerts"].take())?)
    }

    fn data(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        let mut answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        if status != 200 {
            bail!("{path}: {answer}");
        }
        Ok(answer["data"].take())
    }

    /// HTTP/1.0: the answer ends with the connection, and has no chunks.
    fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(connection, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("it is no answer of HTTP")?;
        let status = head.split(' ').nth(1).context("it has no status")?.parse()?;
        Ok((status, body.to_owned()))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
