//! Object stores as processes. `setup/stores` puts their programs below `.build/stores`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

/// Time for a store to listen. Azurite is a program for Node.js, which reads a thousand files first.
const READY: Duration = Duration::from_mins(1);
/// Name of the bucket or container.
pub(crate) const BUCKET: &str = "logs";
pub(crate) const S3_KEY_ID: &str = "ompipe-tests";
pub(crate) const S3_SECRET: &str = "s3-secret-of-this-test";
pub(crate) const AZURE_ACCOUNT: &str = "ompipe";
/// `azure-secret-of-this-test-0123456` in base64.
pub(crate) const AZURE_KEY: &str = "YXp1cmUtc2VjcmV0LW9mLXRoaXMtdGVzdC0wMTIzNDU2";

/// A store that ends with its test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    command: fn(SocketAddr, &Path) -> Command,
}

impl Server {
    pub(crate) async fn s3() -> Self {
        let server = Self::start(versity_gateway).await;
        // Directories are buckets.
        std::fs::create_dir(server.directory.path().join(BUCKET)).unwrap();
        server
    }

    /// An S3 server whose disk has 1 MiB.
    pub(crate) async fn s3_on_a_small_disk() -> Self {
        Self::start(small_versity_gateway).await
    }

    pub(crate) async fn gcs() -> Self {
        Self::start(fake_gcs).await
    }

    pub(crate) async fn azure() -> Self {
        let server = Self::start(azurite).await;
        crate::container::create(server.address).await;
        server
    }

    async fn start(command: fn(SocketAddr, &Path) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = command(address, directory.path()).spawn().unwrap();
        let mut server = Self { child, address, directory, command };
        server.ready().await;
        server
    }

    /// Starts it again, at the same address and with what it has stored.
    pub(crate) async fn restart(&mut self) {
        self.child = (self.command)(self.address, self.directory.path()).spawn().unwrap();
        self.ready().await;
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + READY;
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the store has ended: {ended:?}");
            assert!(Instant::now() < deadline, "the store does not listen");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// It accepts connections and answers nothing.
    pub(crate) fn hang(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps its bucket.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.directory.path().join(BUCKET)
    }

    /// The same, for one that has a disk of its own.
    pub(crate) fn bucket_within(&self) -> PathBuf {
        let inside = self.bucket();
        let inside = inside.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.child.id().to_string()).join("root").join(inside)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of `setup/stores`, which ends when the test does, however that ends.
fn program(name: &str) -> Command {
    let build = std::env::var_os("OMPIPE_BUILD").map(PathBuf::from);
    let build = build.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.build"));
    let program = build.join("stores").join(name);
    assert!(program.exists(), "there is no {}: run setup/stores", program.display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn versity_gateway(address: SocketAddr, directory: &Path) -> Command {
    let mut command = program("versitygw");
    command
        .args(["--quiet", "--access", S3_KEY_ID, "--secret", S3_SECRET])
        .args(["--port", &address.to_string(), "posix"])
        .arg(directory);
    command
}

/// A disk that only this process sees, in a mount namespace of its own.
fn small_versity_gateway(address: SocketAddr, directory: &Path) -> Command {
    const SMALL: &str =
        r#"mount -t tmpfs -o size=1m none "$0" && mkdir "$0/$1" && shift && exec "$@""#;
    let gateway = versity_gateway(address, directory);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", SMALL]).arg(directory).arg(BUCKET);
    command.arg(gateway.get_program()).args(gateway.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn fake_gcs(address: SocketAddr, _: &Path) -> Command {
    let mut command = program("gcs");
    command.args(["-address", &address.to_string(), "-bucket", BUCKET]);
    command
}

fn azurite(address: SocketAddr, directory: &Path) -> Command {
    let mut command = program("node_modules/.bin/azurite-blob");
    command
        .args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string()])
        .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location"])
        .arg(directory)
        .env("AZURITE_ACCOUNTS", format!("{AZURE_ACCOUNT}:{AZURE_KEY}"));
    command
}
